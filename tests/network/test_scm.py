"""Projects whose versions are made of tags, by the tools that do so, as they are today: from git, and from a folder.

What they require to be built comes from PyPI. Skipped where it cannot be reached.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from felloe import BlockingDatabase, Config, Wheel
from felloe.hookspecs import GROUP
from felloe.testing import Repository
from tests.network.test_pypi import settings

pytestmark = [pytest.mark.network, pytest.mark.timeout(120), pytest.mark.usefixtures("reached")]
pytest_plugins = ["tests.network.test_pypi"]  # `reached`

SOURCES = frozenset({"felloe_git", "felloe_path", "felloe_pypi"})
SETUPTOOLS = "setuptools.build_meta"
HATCHLING = "hatchling.build"


def pyproject(requires: str, backend: str, *lines: str) -> str:
    system = ["[build-system]", f"requires = [{requires}]", f'build-backend = "{backend}"']
    return "\n".join([*system, *lines, ""])


def dynamic(requires: str, backend: str, *lines: str) -> dict[str, str]:
    """A project of one module, whose [project] leaves the version open."""
    project = ("[project]", 'name = "acme"', 'dynamic = ["version"]')
    return {"pyproject.toml": pyproject(requires, backend, *project, *lines), "acme.py": ""}


TOOLS: Mapping[str, Mapping[str, str]] = {
    "setuptools-scm": dynamic('"setuptools>=77", "setuptools-scm>=8"', SETUPTOOLS, "[tool.setuptools_scm]"),
    "setuptools-scm in setup.py": {
        "pyproject.toml": pyproject('"setuptools>=77", "setuptools-scm"', SETUPTOOLS),
        "setup.py": "from setuptools import setup\nsetup(name='acme', use_scm_version=True, py_modules=['acme'])\n",
        "acme.py": "",
    },
    "hatch-vcs": dynamic(
        '"hatchling", "hatch-vcs"',
        HATCHLING,
        "[tool.hatch]",
        'version.source = "vcs"',
        'build.targets.wheel.only-include = ["acme.py"]',
    ),
    "versioningit": dynamic('"setuptools>=77", "versioningit>=3"', SETUPTOOLS, "[tool.versioningit]"),
    "versioningit in hatchling": dynamic(
        '"hatchling", "versioningit>=3"',
        HATCHLING,
        "[tool.hatch]",
        'version.source = "versioningit"',
        'build.targets.wheel.only-include = ["acme.py"]',
    ),
    "pdm-backend": dynamic('"pdm-backend"', "pdm.backend", "[tool.pdm.version]", 'source = "scm"'),
    "poetry-dynamic-versioning": {
        "pyproject.toml": pyproject(
            '"poetry-core>=2", "poetry-dynamic-versioning>=1.8"',
            "poetry_dynamic_versioning.backend",
            "[tool.poetry]",
            'name = "acme"',
            'version = "0.0.0"',
            'description = ""',
            "authors = []",
            "[tool.poetry-dynamic-versioning]",
            "enable = true",
        ),
        "acme.py": "",
    },
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests, so that what builds require is downloaded once."""
    return tmp_path_factory.mktemp("scm")


class Scene:
    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.cache = cache
        self.upstream = Repository(folder / "upstream.git")

    def wheel(self, text: str) -> Wheel:
        """Asked by a run of its own."""
        config = Config.load(environ=settings(self.cache), cwd=self.folder)
        with BlockingDatabase(config, sources=sources()) as database:
            metadata = database.metadata(text).metadata
            wheel = database.wheel(text)
        assert metadata.version == wheel.metadata.version
        return wheel

    def pull(self, work: Path) -> None:
        """What is upstream by now, with all tags, in the work tree `work`."""
        git(work, "pull", "--quiet", "--tags")


def sources() -> list[EntryPoint]:
    return [point for point in entry_points(group=GROUP) if point.value.partition(":")[0] in SOURCES]


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def scene(tmp_path: Path, cache: Path) -> Scene:
    return Scene(tmp_path, cache)


@pytest.mark.parametrize("place", ["git", "folder"])
@pytest.mark.parametrize("tool", TOOLS)
def test_a_version_is_made_of_tags(scene: Scene, tool: str, place: str) -> None:
    upstream, work = scene.upstream, scene.folder / "acme"
    upstream.commit(TOOLS[tool])
    upstream.tag("v1.0")
    git(scene.folder, "clone", "--quiet", upstream.file_url, str(work))
    text = f"acme @ git+{upstream.file_url}@main" if place == "git" else str(work)
    assert scene.wheel(text).metadata.version == "1.0"
    assert scene.wheel(text).cached

    upstream.commit({"README.md": "more"})
    scene.pull(work)
    assert scene.wheel(text).metadata.version != "1.0"

    upstream.tag("v2.0")
    scene.pull(work)
    wheel = scene.wheel(text)
    assert wheel.metadata.version == "2.0"
    assert wheel.filename.startswith("acme-2.0-")
    assert scene.wheel(text).cached


def test_an_editable_build_by_setuptools_is_done_once(scene: Scene) -> None:
    work = scene.folder / "acme"
    work.mkdir()
    for path, text in TOOLS["setuptools-scm in setup.py"].items():
        (work / path).write_text(text.replace("use_scm_version=True", "version='1.0'"))
    scene.wheel(f"-e {work}")
    assert (work / "acme.egg-info").is_dir()
    assert scene.wheel(f"-e {work}").cached
