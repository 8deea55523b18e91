"""Builds with the backends that projects use, from PyPI as it is today. Skipped where it cannot be reached.

What is built is made here and listed by an index on loopback; what it requires to be built comes from PyPI.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from attrs import evolve, frozen

from felloe import BlockingDatabase, Config
from felloe.testing import IndexServer, Project, make_sdist
from felloe.testing.artifacts import SdistFormat
from tests.cli.test_imports import imported
from tests.fixtures.line import own_sources, read_document
from tests.fixtures.plugins import NO_FILES
from tests.fixtures.program import Program
from tests.fixtures.pythons import installed

# How to reach the network is not for a test to say.
REACH = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

pytestmark = [pytest.mark.network, pytest.mark.timeout(60), pytest.mark.usefixtures("reached")]
pytest_plugins = ["tests.network.test_pypi", "tests.cli.test_imports"]  # `reached` and `telling`


@pytest.fixture(scope="session")
def index() -> Iterator[IndexServer]:
    with IndexServer() as server:
        yield server


@pytest.fixture(scope="session")
def felloe(index: IndexServer, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """One for all tests, so that what builds require is downloaded once. Names that begin with `demo-` are of `index`.

    Everything else is asked of PyPI alone.
    """
    names = {*REACH, *map(str.lower, REACH)} & os.environ.keys()
    program = Program(tmp_path_factory.mktemp("builds"), **{name: os.environ[name] for name in names})
    program.write("felloe.toml", "[[index]]", 'name = "own"', f'url = "{index.index_url}"', 'projects = ["demo-*"]')
    return program


@frozen(kw_only=True)
class Case:
    """An sdist, and what its build gives. In the text of a file, NAME is its name and MODULE that with underscores.

    `told` are the requirements in its PKG-INFO, whose format is too old for them to prove anything. `environment` are
    names of projects that have to be there when it is built.
    """

    files: Mapping[str, str]
    requires_dist: Sequence[str] = ("attrs>=20",)
    tags: str = "py3-none-any"
    format: SdistFormat = ".tar.gz"
    told: Sequence[str] = ()
    environment: Sequence[str] = ()

    def make(self, folder: Path, name: str) -> Path:
        project = Project(name, "1.0", requires_dist=self.told, metadata_version="1.2")
        names = {"NAME": name, "MODULE": project.module}
        files = {replaced(path, names): replaced(text, names) for path, text in self.files.items()}
        return make_sdist(folder, project, files={"pyproject.toml": None, **files}, format=self.format)


def replaced(text: str, words: Mapping[str, str]) -> str:
    for word, by in words.items():
        text = text.replace(word, by)
    return text


def pyproject(requires: str, backend: str, *lines: str) -> str:
    """pyproject.toml, where one project is required; without `build-backend` where `backend` is ""."""
    named = [f'build-backend = "{backend}"'] if backend else []
    return "\n".join(["[build-system]", f'requires = ["{requires}"]', *named, *lines, ""])


SETUPTOOLS = "setuptools.build_meta"
DYNAMIC = ("[project]", 'name = "NAME"', 'version = "1.0"', 'requires-python = ">=3.8"', 'dynamic = ["dependencies"]')
VCS = ("[project]", 'name = "NAME"', 'requires-python = ">=3.8"', 'dynamic = ["version", "dependencies"]')
OF_FILE = ("[tool.setuptools]", "py-modules = []", 'dynamic.dependencies = {file = ["needed.txt"]}')
SETUP = """\
from setuptools import setup
setup(name="NAME", version="1.0", py_modules=[], install_requires=["attrs>=20"])
"""
SETUP_CFG = """\
[metadata]
name = NAME
version = 1.0
[options]
install_requires = attrs>=20
"""
BESIDES = """\
from setuptools.build_meta import *

def get_requires_for_build_wheel(config_settings=None):
    return ['no-such-project-at-all; python_version < "3"', 'urllib3[socks]>=2; python_version >= "3"']
"""
HATCH_HOOK = """\
from hatchling.metadata.plugin.interface import MetadataHookInterface

class Hook(MetadataHookInterface):
    def update(self, metadata):
        metadata["dependencies"] = ["attrs>=20"]
"""
PDM_HOOK = """\
def pdm_build_initialize(context):
    context.config.metadata["dependencies"] = ["attrs>=20"]
"""

CASES = {
    # setuptools
    "setup-py": Case(
        files={
            "setup.py": "import needed\n" + SETUP.replace('["attrs>=20"]', "needed.LIST"),
            "needed.py": "LIST = ['attrs>=20']\n",  # an old project finds what lies beside it
        }
    ),
    "setup-cfg": Case(files={"setup.cfg": SETUP_CFG}),
    "no-backend": Case(files={"pyproject.toml": pyproject("setuptools", ""), "setup.py": SETUP}),
    "zip": Case(files={"setup.py": SETUP}, format=".zip"),
    "dynamic": Case(
        files={
            "pyproject.toml": pyproject("setuptools", SETUPTOOLS, *DYNAMIC, *OF_FILE),
            "needed.txt": "attrs>=20\n",
        }
    ),
    "old-setuptools": Case(  # which asks for `wheel` when it runs
        files={"pyproject.toml": pyproject("setuptools==68.2.2", SETUPTOOLS), "setup.py": SETUP},
        environment=["setuptools", "wheel"],
    ),
    "in-tree": Case(
        files={
            "pyproject.toml": pyproject("setuptools", "backend", 'backend-path = ["in/tree"]'),
            "in/tree/backend.py": "from setuptools.build_meta import *\n",
            "setup.py": SETUP,
        }
    ),
    "markers-and-extras": Case(
        files={
            "pyproject.toml": pyproject("setuptools", "backend", 'backend-path = ["."]'),
            "backend.py": BESIDES,
            "setup.py": "import socks, urllib3\n" + SETUP,
        },
        environment=["setuptools", "urllib3", "pysocks"],
    ),
    "setuptools-scm": Case(  # which finds the version in PKG-INFO
        files={
            "pyproject.toml": pyproject("setuptools-scm>=8", SETUPTOOLS, *VCS, *OF_FILE, "[tool.setuptools_scm]"),
            "needed.txt": "attrs>=20\n",
        },
        environment=["setuptools_scm", "setuptools"],
    ),
    # others
    "flit": Case(
        files={
            "pyproject.toml": pyproject(
                "flit_core<4",
                "flit_core.buildapi",
                "[tool.flit.metadata]",
                'module = "MODULE"',
                'dist-name = "NAME"',
                'author = "A"',
                'requires-python = ">=3.8"',
                'requires = ["attrs>=20"]',
            ),
            "MODULE.py": '"""About."""\n__version__ = "1.0"\n',
        }
    ),
    "hatchling": Case(
        files={
            "pyproject.toml": pyproject(
                "hatchling",
                "hatchling.build",
                *DYNAMIC,
                "[tool.hatch]",
                "metadata.hooks.custom = {}",
                "build.targets.wheel.bypass-selection = true",
            ),
            "hatch_build.py": HATCH_HOOK,
        }
    ),
    "hatch-vcs": Case(  # which finds the version, and hatchling the dependencies, in PKG-INFO
        files={
            "pyproject.toml": pyproject(
                "hatch-vcs",
                "hatchling.build",
                *VCS,
                "[tool.hatch]",
                'version.source = "vcs"',
                "build.targets.wheel.bypass-selection = true",
            )
        },
        told=["attrs>=20"],
        environment=["hatch_vcs", "hatchling", "setuptools_scm"],
    ),
    "poetry": Case(
        files={
            "pyproject.toml": pyproject(
                "poetry-core>=2",
                "poetry.core.masonry.api",
                "[tool.poetry]",
                'name = "NAME"',
                'version = "1.0"',
                'description = ""',
                "authors = []",
                'dependencies = {python = "^3.8", attrs = ">=20"}',
            ),
            "MODULE.py": "",
        },
        requires_dist=["attrs (>=20)"],
    ),
    "pdm": Case(
        files={
            "pyproject.toml": pyproject("pdm-backend", "pdm.backend", *DYNAMIC),
            "pdm_build.py": PDM_HOOK,
            "MODULE.py": "",
        }
    ),
}


def built(case: Case, name: str, felloe: Program, index: IndexServer, folder: Path) -> Path:
    """The wheel of the case, after its metadata were asked for; all that is told of it has to be right."""
    filename = index.add(case.make(folder, name)).rpartition("/")[2]
    with BlockingDatabase(Config.load(environ=felloe.environ, cwd=felloe.cwd), sources=own_sources()) as database:
        prepared, wheel, again = database.metadata(name), database.wheel(name), database.metadata(name)
        shutil.copy(wheel.path, folder)

    assert (prepared.rung, prepared.cached, wheel.rung, wheel.cached) == ("prepare", False, "wheel", False)
    assert (again.rung, again.cached, again.wheel) == ("wheel", True, wheel.filename)
    assert wheel.filename == f"{name.replace('-', '_')}-1.0-{case.tags}.whl"
    for metadata in (prepared.metadata, wheel.metadata, again.metadata):
        assert (metadata.name, metadata.version) == (name, "1.0")
        assert metadata.requires_dist == tuple(case.requires_dist)
    assert set(case.environment) <= environment_of(filename, felloe)
    return folder / wheel.filename


def environment_of(sdist: str, felloe: Program) -> set[str]:
    """The names of the projects that were there in the last build of an sdist of `index`."""
    (path,) = felloe.cache.glob(f"built-wheel-metadata-v0/index/*/{sdist}/metadata.json")
    build = read_document(path)["builds"][-1]
    return {wheel.partition("-")[0].lower() for wheel in build["hashes"]}


def installed_by_pip(wheel: Path, folder: Path) -> Path:
    """The folder into which pip has installed it."""
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", folder, wheel]
    done = subprocess.run(pip, env={**os.environ, **NO_FILES}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", CASES)
def test_a_backend(name: str, felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    built(CASES[name], f"demo-{name}", felloe, index, tmp_path)


# An extension in C

EXTENSION = Case(
    files={
        "setup.py": """\
from setuptools import Extension, setup
setup(name="NAME", version="1.0", ext_modules=[Extension("MODULE", ["MODULE.c"])], install_requires=["attrs>=20"])
""",
        "MODULE.c": """\
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "MODULE", "About.", -1, NULL};
PyMODINIT_FUNC PyInit_MODULE(void) { return PyModule_Create(&module); }
""",
    },
    tags="cp{0}{1}-cp{0}{1}{2}-{3}".format(
        *sys.version_info[:2], sys.abiflags, sysconfig.get_platform().replace("-", "_").replace(".", "_")
    ),
)


def test_an_extension_in_c(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    compiler = str(sysconfig.get_config_var("CC")).split()[0]
    if shutil.which(compiler) is None or not Path(sysconfig.get_path("include"), "Python.h").is_file():
        pytest.skip(f"there is no compiler `{compiler}`, or no Python.h")

    wheel = built(EXTENSION, "demo-extension", felloe, index, tmp_path)

    site = installed_by_pip(wheel, tmp_path / "site")
    imports = [sys.executable, "-c", "import demo_extension; print(demo_extension.__doc__)"]
    assert subprocess.check_output(imports, cwd=site, text=True) == "About.\n"


# Other Pythons

OF_ITS_PYTHON = Case(
    files={
        "setup.cfg": "[options]\npy_modules =\n",
        "setup.py": "import sys\n" + SETUP.replace('"attrs>=20"', "'py%d.%d' % sys.version_info[:2]"),
    }
)
PYTHONS = [
    ("python3.8", "setuptools==58.0.4"),
    ("python3.8", "setuptools"),
    ("python3.13", "setuptools==68.2.2"),
    ("python3.13", "setuptools"),
]


@pytest.mark.parametrize(("python", "requires"), PYTHONS)
def test_another_python(python: str, requires: str, felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    name = f"demo-{python}-{requires.replace('==', '-')}".replace(".", "-")
    case = evolve(OF_ITS_PYTHON, files={**OF_ITS_PYTHON.files, "pyproject.toml": pyproject(requires, SETUPTOOLS)})
    index.add(case.make(tmp_path, name))
    asked = [name, "--python", installed(python), "--json"]

    (prepared,) = felloe("metadata", *asked).results
    (wheel,) = felloe("wheel", *asked, "-o", tmp_path / "wheels").results

    assert [each["rung"] for each in (prepared, wheel)] == ["prepare", "wheel"]
    assert [each["metadata"]["requires-dist"] for each in (prepared, wheel)] == [[python.replace("python", "py")]] * 2
    assert [path.name for path in (tmp_path / "wheels").iterdir()] == [wheel["wheel"]]
    assert wheel["wheel"] == f"{name.replace('-', '_')}-1.0-py3-none-any.whl"


# A project of PyPI

ALLAUTH = "django-allauth==0.51.0"
ALLAUTH_WHEEL = "django_allauth-0.51.0-py3-none-any.whl"
ALLAUTH_REQUIRES = [
    "Django>=2.0",
    "python3-openid>=3.0.8",
    "requests-oauthlib>=0.3.0",
    "requests",
    "pyjwt[crypto]>=1.7",
]
WORK = {"request", "download", "build"}  # codes of events


def test_a_project_of_pypi(felloe: Program, tmp_path: Path) -> None:
    (prepared,) = felloe("metadata", ALLAUTH, "--json").results
    (wheel,) = felloe("wheel", ALLAUTH, "-o", tmp_path, "--json").results

    assert [(each["rung"], each["cached"]) for each in (prepared, wheel)] == [("prepare", False), ("wheel", False)]
    for each in (prepared, wheel):
        assert each["metadata"]["requires-dist"] == ALLAUTH_REQUIRES
    record = read_document(felloe.cache / "built-wheel-metadata-v0/pypi/django-allauth-0.51.0.tar.gz/metadata.json")
    assert record["data"][ALLAUTH_WHEEL]["name"] == "django-allauth"
    assert (installed_by_pip(tmp_path / ALLAUTH_WHEEL, tmp_path / "site") / "allauth" / "models.py").is_file()


def test_a_project_of_pypi_is_built_once(felloe: Program, tmp_path: Path) -> None:
    felloe("wheel", ALLAUTH, "-o", tmp_path)

    again = felloe("metadata", ALLAUTH, "--json", "--progress", "json")
    wheel = felloe("wheel", ALLAUTH, "-o", tmp_path, "--json", "--progress", "json")

    (result,) = again.results
    assert (result["rung"], result["cached"], result["wheel"]) == ("wheel", True, ALLAUTH_WHEEL)
    assert wheel.results[0]["cached"]
    for run in (again, wheel):
        assert "fresh" in codes(run.err)
        assert codes(run.err) & WORK == set()


def test_what_was_built_of_a_project_of_pypi_is_told_without_reading_anything_again(
    felloe: Program, telling: str, tmp_path: Path
) -> None:
    felloe("wheel", ALLAUTH, "-o", tmp_path)

    again = felloe("metadata", ALLAUTH, PYTHONPATH=telling)

    assert imported(again.err) & {"email.parser", "felloe.net.zip", "felloe.build.builder"} == set()


def codes(err: str) -> set[str]:
    """Of the events that were told by `--progress json`."""
    return {json.loads(line)["code"] for line in err.splitlines() if line.startswith("{")}
