"""Which Python environments are made of, and how it lays them out."""

from __future__ import annotations

import os
import sys
import sysconfig

import attrs
import pytest

from felloe.errors import InterpreterError
from felloe.installation.python import ask, base_of
from tests.installation.conftest import interpreter, make_venv

pytestmark = pytest.mark.anyio


def at(path, version="3.11.7"):
    return attrs.evolve(interpreter(), path=path, version=version)


def program(path, text="#!/bin/sh\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def environment(root, home, *, copied=False, config="pyvenv.cfg"):
    """Its Python, a link or a copy."""
    python = root / "bin" / "python"
    python.parent.mkdir(parents=True)
    if copied:
        program(python)
    else:
        python.symlink_to(home / "python3.11")
    (root / config).write_text(f"# text\nHome={home} \ninclude-system-site-packages = true\nversion = 3.11.7\n")
    return python


@pytest.fixture
def base(tmp_path):
    return program(tmp_path / "opt" / "bin" / "python3.11")


def test_one_that_is_in_no_environment_is_its_own_base(base):
    assert base_of(at(base)) == base


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("config", ["pyvenv.cfg", "bin/pyvenv.cfg"])
def test_the_base_of_an_environment(tmp_path, base, copied, config):
    python = environment(tmp_path / "env", base.parent, copied=copied, config=config)

    assert base_of(at(python)) == base


def test_environments_made_from_environments(tmp_path, base):
    one = environment(tmp_path / "one", base.parent, copied=True)
    two = environment(tmp_path / "two", one.parent, copied=True)

    assert base_of(at(two)) == base


def test_links_to_a_python_are_followed(tmp_path, base):
    link = tmp_path / "usr" / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(base)

    assert base_of(at(link)) == base


def test_of_several_in_the_home_it_is_that_of_the_version(tmp_path, base):
    for name in ("python", "python3", "python3.10"):
        program(base.with_name(name))

    assert base_of(at(environment(tmp_path / "env", base.parent, copied=True))) == base


@pytest.mark.parametrize("text", ["", "version = 3.11\n", "home\n", "home =\n", "\udcff = \udcfe\n"])
def test_a_configuration_without_home_makes_no_environment(tmp_path, text):
    python = program(tmp_path / "env" / "bin" / "python")
    (tmp_path / "env" / "pyvenv.cfg").write_text(text, "utf-8", "surrogateescape")

    assert base_of(at(python)) == python


def test_a_configuration_that_is_a_fifo_is_not_opened(tmp_path):
    python = program(tmp_path / "env" / "bin" / "python")
    os.mkfifo(tmp_path / "env" / "pyvenv.cfg")

    with pytest.raises(InterpreterError, match=r"pyvenv.cfg` is not a regular file"):
        base_of(at(python))


def test_an_environment_whose_python_is_gone(tmp_path):
    python = environment(tmp_path / "env", tmp_path / "gone", copied=True)

    with pytest.raises(InterpreterError, match=r"in an environment whose Python is gone: `.*gone`"):
        base_of(at(python))


def test_environments_in_a_circle(tmp_path):
    python = environment(tmp_path / "env", tmp_path / "env" / "bin", copied=True)

    with pytest.raises(InterpreterError, match="without end"):
        base_of(at(python))


async def test_asking_the_python_of_the_tests(tmp_path):
    path = base_of(interpreter())
    python = await ask(path, tmp_path)

    assert python.path == path
    assert python.version == ".".join(map(str, sys.version_info[:3]))
    assert python.name == f"python{sys.version_info[0]}.{sys.version_info[1]}"
    root = sysconfig.get_path("data", "venv")
    assert {name: f"{root}/{getattr(python, name)}" for name in ("purelib", "platlib")} == {
        name: sysconfig.get_path(name, "venv") for name in ("purelib", "platlib")
    }
    assert python.cache_tag == sys.implementation.cache_tag
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("minor", [6, 7, 8, 9, 10, 12, 13, 14])
async def test_asking_others(tmp_path, minor):
    found = interpreter(f"python3.{minor}")
    python = await ask(base_of(found), tmp_path)

    assert python.version == found.version
    assert python.purelib == python.platlib == f"lib/python3.{minor}/site-packages"


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\nexit 1\n",
        "#!/bin/sh\n",
        "#!/bin/sh\necho '[]'\n",
        "#!/bin/sh\necho '{}'\n",
        "#!/bin/sh\necho null\n",
        """#!/bin/sh\necho '{"version": "3.1", "purelib": "../x", "platlib": "x", "cache_tag": "", "magic": ""}'\n""",
        """#!/bin/sh\necho '{"version": "3.1", "purelib": "/x", "platlib": "x", "cache_tag": "", "magic": ""}'\n""",
        """#!/bin/sh\necho '{"version": "3.1", "purelib": 1, "platlib": "x", "cache_tag": "", "magic": ""}'\n""",
        "#!/no/such/shell\n",
        "#!/bin/sh\nyes\n",
    ],
)
async def test_what_is_no_python(tmp_path, text):
    path = program(tmp_path / "python", text)

    with pytest.raises(InterpreterError, match="no environment can be made of") as caught:
        await ask(path, tmp_path)
    assert caught.value.hint


async def test_its_surroundings_do_not_matter(tmp_path, monkeypatch):
    """Neither variables nor what lies in the folder that it runs in."""
    (tmp_path / "json.py").write_text("raise SystemExit")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", "/nowhere")

    assert (await ask(base_of(interpreter()), tmp_path)).magic


def test_real_environments(tmp_path):
    """As venv makes them; each is taken for what it is made of."""
    path = base_of(interpreter())
    link = make_venv(path, tmp_path / "link")
    made = [link, make_venv(path, tmp_path / "copy", "--copies"), make_venv(link, tmp_path / "inner")]

    assert {base_of(at(each, interpreter().version)) for each in made} == {path}
