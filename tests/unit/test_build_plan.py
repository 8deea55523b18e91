"""What to build and with what: `[build-system]` in all its forms, ids of builds, and the variables of a backend."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from felloe.build.plan import (
    BuildOrder,
    BuildSystem,
    build_id,
    build_source,
    id_of_source,
    process_environ,
    read_build_system,
    waiting_builds,
)
from felloe.errors import BuildError
from felloe.values import Dist, Fingerprint, Frame, Interpreter

WHAT = "`demo-1.0.tar.gz` of source `acme`"
LEGACY = BuildSystem(requires=("setuptools>=40.8.0",), backend="setuptools.build_meta:__legacy__")


def tree(folder: Path, **files: str | bytes) -> Path:
    """A project of files in `folder`, where `_` in their names is a dot."""
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


# What is built with what

FORMS = {
    "empty": ("", LEGACY),
    "no table": ('[project]\nname = "demo"\n[tool.other]\nrequires = ["x"]\n', LEGACY),
    "requires alone": (
        '[build-system]\nrequires = ["setuptools>=61", "wheel"]\n',
        BuildSystem(requires=("setuptools>=61", "wheel")),
    ),
    "nothing required": ("[build-system]\nrequires = []\n", BuildSystem(requires=())),
    "backend": (
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n',
        BuildSystem(requires=("hatchling",), backend="hatchling.build"),
    ),
    "object of a backend": (
        '[build-system]\nrequires = []\nbuild-backend = "a.b:c.d"\n',
        BuildSystem(requires=(), backend="a.b:c.d"),
    ),
    "backend-path": (
        '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = [".", "in/tree"]\n',
        BuildSystem(requires=(), backend="b", backend_path=(".", "in/tree")),
    ),
    "empty backend-path": (
        '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = []\n',
        BuildSystem(requires=(), backend="b"),
    ),
    "requirements are not parsed": (
        """build-system.requires = ["a ; python_version<'3'", "b @ https://example.com/b.whl", "not one !"]""",
        BuildSystem(requires=("a ; python_version<'3'", "b @ https://example.com/b.whl", "not one !")),
    ),
    "unknown keys": ("[build-system]\nrequires = []\nlater = 1\n", BuildSystem(requires=())),
    "lines of Windows": ('[build-system]\r\nrequires = ["\u00e9"]\r\n', BuildSystem(requires=("\u00e9",))),
}


@pytest.mark.parametrize(("text", "expected"), FORMS.values(), ids=FORMS)
def test_forms_of_build_system(tmp_path: Path, text: str, expected: BuildSystem) -> None:
    assert read_build_system(tree(tmp_path, pyproject_toml=text), WHAT) == expected


WRONG = {
    "no table": ("build-system = 1", "not a table"),
    "an array": ("build-system = []", "not a table"),
    "an array of tables": ("[[build-system]]\nrequires = []", "not a table"),
    "nothing in it": ("[build-system]", "`build-system.requires` is missing"),
    "no requires": ('[build-system]\nbuild-backend = "b"', "`build-system.requires` is missing"),
    "requires is a text": ('[build-system]\nrequires = "setuptools"', "`build-system.requires` is not a list"),
    "requires is a table": ("[build-system]\nrequires = {}", "`build-system.requires` is not a list"),
    "requires of numbers": ("[build-system]\nrequires = [1]", "`build-system.requires` is not a list"),
    "requires of lists": ('[build-system]\nrequires = [["a"]]', "`build-system.requires` is not a list"),
    "backend is a number": ("[build-system]\nrequires = []\nbuild-backend = 1", "`build-system.build-backend`"),
    "backend is a list": ('[build-system]\nrequires = []\nbuild-backend = ["b"]', "`build-system.build-backend`"),
    "backend is empty": ('[build-system]\nrequires = []\nbuild-backend = ""', "`build-system.build-backend`"),
    "backend is blank": ('[build-system]\nrequires = []\nbuild-backend = " "', "`build-system.build-backend`"),
    "backend-path is a text": (
        '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = "."',
        "`build-system.backend-path` is not a list",
    ),
    "backend-path of numbers": (
        '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = [1]',
        "`build-system.backend-path` is not a list",
    ),
    "backend-path alone": ('[build-system]\nrequires = []\nbackend-path = ["."]', "no `build-backend` in it"),
    "no TOML": ("[build-system", "cannot be used"),
    "a key twice": ("[build-system]\nrequires = []\nrequires = []", "cannot be used"),
    "no UTF-8": (b"[build-system]\nrequires = ['\xff']", "cannot be used"),
    "too long": ("#" * 2**20, "too long"),
    "too deep": ("a = " + "[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize(("text", "reason"), WRONG.values(), ids=WRONG)
def test_wrong_forms_of_build_system(tmp_path: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(BuildError) as caught:
        read_build_system(tree(tmp_path, pyproject_toml=text, setup_py=""), WHAT)

    assert (caught.value.code, bool(caught.value.hint)) == ("bad-pyproject", True)
    assert f"the pyproject.toml of {WHAT} cannot be used: " in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", ["setup.py", "setup.cfg"])
def test_a_project_without_pyproject_is_built_by_setuptools(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()

    assert read_build_system(tmp_path, WHAT) == LEGACY


def folder(path: Path) -> None:
    path.mkdir()


def dangling(path: Path) -> None:
    path.symlink_to("gone")


def circle(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [folder, dangling, circle, os.mkfifo])
def test_what_is_no_file_is_not_there(tmp_path: Path, make: Any) -> None:
    for name in ("pyproject.toml", "setup.py", "setup.cfg"):
        make(tmp_path / name)

    with pytest.raises(BuildError, match="holds no project"):
        read_build_system(tmp_path, WHAT)
    (tmp_path / "setup.cfg").rmdir() if make is folder else (tmp_path / "setup.cfg").unlink()
    (tmp_path / "setup.cfg").touch()
    assert read_build_system(tmp_path, WHAT) == LEGACY


def test_a_link_to_a_file_is_the_file(tmp_path: Path) -> None:
    tree(tmp_path, other_toml="[build-system]\nrequires = ['a']")
    (tmp_path / "pyproject.toml").symlink_to("other.toml")

    assert read_build_system(tmp_path, WHAT).requires == ("a",)


@pytest.mark.parametrize("others", [{}, {"README_md": "", "demo_py": "", "requirements_txt": "a"}])
def test_no_project(tmp_path: Path, others: dict[str, str]) -> None:
    with pytest.raises(BuildError) as caught:
        read_build_system(tree(tmp_path, **others), WHAT)

    assert caught.value.code == "no-project"
    assert WHAT in str(caught.value)
    assert caught.value.hint


# Ids

DIST = Dist(source="acme", kind="sdist", filename="demo-1.0.tar.gz", name="demo", version="1.0")
CONTENT = "sha256:" + "a" * 64


def test_each_input_makes_another_id() -> None:
    sources = [
        (DIST, CONTENT),
        (DIST, "sha256:" + "b" * 64),
        (evolve(DIST, subdirectory="x"), CONTENT),
        (DIST, CONTENT, "x"),
        (evolve(DIST, subdirectory="x"), CONTENT, "x"),
        (evolve(DIST, editable=True), CONTENT),
        (evolve(DIST, subdirectory="\ud800"), CONTENT),
    ]
    ids = [build_id(*source) for source in sources]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)
    assert [id_of_source(build_source(*source)) for source in sources] == ids


def test_an_id_is_what_it_always_was() -> None:
    """Another one would lose all builds that were done."""
    assert build_id(DIST, CONTENT) == "c278b703c5156406337aec1d8542bf7b"
    assert build_source(evolve(DIST, editable=True), CONTENT) == {"content": CONTENT, "editable": True}


@pytest.mark.parametrize(
    "change",
    [
        {"source": "other"},
        {"filename": "Demo_1.0.zip"},
        {"name": None, "version": None},
        {"content": CONTENT, "hashes": {"sha256": "a" * 64}, "size": 1},
        {"locator": {"url": "https://example.com/demo.zip"}},
        {"requires_python": ">=3.8", "yanked": True, "upload_time": "2026-01-31T12:00:00Z"},
    ],
)
def test_where_it_came_from_makes_no_other_id(change: dict[str, Any]) -> None:
    assert build_id(evolve(DIST, **change), CONTENT) == build_id(DIST, CONTENT)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, "demo 1.0"),
        ({"version": None}, "demo"),
        ({"name": None, "version": None}, "demo-1.0.tar.gz"),
    ],
)
def test_how_a_build_is_named_for_those_that_it_needs(change: dict[str, Any], name: str) -> None:
    order = BuildOrder(
        build="id",
        what=WHAT,
        dist=evolve(DIST, **change),
        archive=Path("archive"),
        interpreter=Interpreter(path=Path("python"), version="3.11", tags=(), markers={}),
        config_settings={},
        fingerprint=Fingerprint(settings="", interpreter="", toolchain=""),
        goal="wheel",
    )

    assert order.frame == Frame(build="id", name=name)


# The environment of a backend's process

FOLDERS: dict[str, Any] = {
    "scripts": Path("/environment/bin"),
    "temporary": Path("/site/tmp"),
    "home": Path("/site/home"),
}
OURS = {
    "HOME": "/site/home",
    "PATH": os.pathsep.join(["/environment/bin", "/usr/bin"]),
    "TMPDIR": "/site/tmp",
    "TEMP": "/site/tmp",
    "TMP": "/site/tmp",
    "PYTHONNOUSERSITE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PIP_NO_INPUT": "1",
}


@pytest.mark.parametrize(
    ("given", "more"),
    [
        ({}, {}),
        ({"CC": "gcc"}, {"CC": "gcc"}),
        (dict.fromkeys(["TMPDIR", "TEMP", "TMP", "PYTHONNOUSERSITE", "PIP_NO_INPUT"], "other"), {}),
        ({"HOME": "/home/me"}, {"HOME": "/home/me"}),  # who names it among what is passed
    ],
)
def test_a_backend_has_folders_of_its_own(given: dict[str, str], more: dict[str, str]) -> None:
    given = {"PATH": "/usr/bin", **given}
    before = dict(given)

    assert process_environ(given, **FOLDERS) == {**OURS, **more}
    assert given == before


def test_a_backend_knows_the_builds_that_wait_for_it_and_for_the_felloe_that_started_it() -> None:
    first = process_environ({}, **FOLDERS, waiting=["b", "a"])
    second = process_environ(first, **FOLDERS, waiting=["c"])

    assert waiting_builds(first) == {"a", "b"}
    assert waiting_builds(second) == {"a", "b", "c"}
    assert waiting_builds({}) == set()


@pytest.mark.parametrize(
    ("environ", "path"),
    [({"PATH": "/a:/b"}, "/environment/bin:/a:/b"), ({"PATH": ""}, "/environment/bin"), ({}, None)],
)
def test_programs_of_the_environment_come_first(environ: dict[str, str], path: str | None) -> None:
    found = process_environ(environ, **FOLDERS)["PATH"]

    assert found == (path or f"/environment/bin:{os.defpath}")
