"""Which Python is asked about, and what it says of itself."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import packaging
import pytest
from packaging.specifiers import SpecifierSet
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

from felloe.errors import InterpreterError
from felloe.interpreter import (
    _abis,
    _ask,
    _Build,
    _library,
    _machine,
    _tags,
    describe,
    from_json,
    key_of,
    locate,
    query,
    to_json,
)
from tests.fixtures.pythons import installed

if TYPE_CHECKING:
    from felloe.values import Interpreter

CPYTHONS = [f"python3.{minor}" for minor in range(6, 15)]
OTHERS = [*CPYTHONS, "pypy3"]

posix = pytest.mark.skipif(os.name != "posix", reason="a program is a shell script here")


class Shelf(dict[str, Any]):
    """Where descriptions are kept, for one test."""

    def set(self, key: str, document: Any) -> None:
        self[key] = json.loads(json.dumps(document))


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of the Python that runs the tests, with nothing in it."""
    root = tmp_path_factory.mktemp("environment") / ".venv"
    venv.create(root, symlinks=os.name == "posix")
    return root


@pytest.fixture
def python(environment: Path) -> Path:
    return locate(environment, {})


def refused(python: Path | None, environ: dict[str, str]) -> str:
    with pytest.raises(InterpreterError) as caught:
        locate(python, environ)
    assert "--python" in caught.value.hint
    return str(caught.value)


class TestLocate:
    def test_the_one_that_runs_felloe(self):
        assert locate(None, {}) == Path(sys.executable)

    @pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
    def test_the_active_environment(self, environment: Path, python: Path, variable: str):
        assert locate(None, {variable: str(environment)}) == python
        assert python.is_relative_to(environment)

    def test_the_inner_environment_is_the_active_one(self, environment: Path, python: Path):
        assert locate(None, {"CONDA_PREFIX": sys.base_prefix, "VIRTUAL_ENV": str(environment)}) == python

    def test_what_is_given_comes_first(self, environment: Path):
        assert locate(Path(sys.executable), {"VIRTUAL_ENV": str(environment)}) == Path(sys.executable)

    def test_a_link_stays_a_link(self, python: Path):
        assert locate(python, {}) == python

    def test_a_relative_path(self, environment: Path, python: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.chdir(environment.parent)
        assert locate(python.relative_to(environment.parent), {}) == python
        assert locate(Path(environment.name), {"PATH": ""}) == python

    @posix
    def test_a_bare_name_is_found_on_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "bin").mkdir()
        program = script(tmp_path / "bin" / "mypython", "")
        script(tmp_path / "mypython", "")
        monkeypatch.chdir(tmp_path)
        assert locate(Path("mypython"), {"PATH": str(tmp_path / "bin")}) == program
        assert locate(Path("mypython"), {"PATH": ""}) == tmp_path / "mypython"

    @pytest.mark.parametrize("name", ["gone", "gone/python", "nul\0", "x" * 5000, "file/python"])
    def test_not_there(self, tmp_path: Path, name: str):
        (tmp_path / "file").touch()
        assert "not there" in refused(tmp_path / name, {})

    def test_a_bare_name_that_is_nowhere(self):
        assert "`no-such-python`" in refused(Path("no-such-python"), {"PATH": os.defpath})

    def test_a_folder_that_is_no_environment(self, tmp_path: Path):
        assert "folder" in refused(tmp_path, {})

    @pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
    def test_an_active_environment_that_is_gone(self, tmp_path: Path, variable: str):
        assert f"`{variable}`" in refused(None, {variable: str(tmp_path / "gone")})

    @posix
    def test_not_executable(self, tmp_path: Path):
        (tmp_path / "python").touch(mode=0o644)
        assert "executed" in refused(tmp_path / "python", {})

    @posix
    def test_a_pipe_is_not_opened(self, tmp_path: Path):
        os.mkfifo(tmp_path / "python")
        assert "not a file" in refused(tmp_path / "python", {})


def is_like_this_one(found: Interpreter) -> bool:
    own = query(Path(sys.executable))
    return (found.version, found.tags, found.markers) == (own.version, own.tags, own.markers)


class TestQuery:
    def test_this_process_answers_for_itself(self):
        found = query(Path(sys.executable), time_limit=0)
        assert found.path == Path(sys.executable)
        assert found.version == ".".join(map(str, sys.version_info[:3]))
        assert found.tags == tuple(str(tag) for tag in sys_tags())
        assert found.markers["python_version"] == f"{sys.version_info.major}.{sys.version_info.minor}"

    @posix
    def test_an_environment_whose_configuration_is_a_pipe_is_not_asked(self, tmp_path: Path):
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/python").symlink_to(sys.executable)
        os.mkfifo(tmp_path / "pyvenv.cfg")
        with pytest.raises(InterpreterError, match=r"pyvenv.cfg`, which says how .* is not a regular file"):
            query(tmp_path / "bin/python")

    def test_an_environment_says_the_same_as_its_base(self, python: Path):
        found = query(python)
        assert found.path == python
        assert is_like_this_one(found)

    def test_other_names_in_one_environment_are_the_same(self, tmp_path: Path):
        link = Path(sys.executable).parent / f"python{sys.version_info.major}.{sys.version_info.minor}"
        if not link.exists() or not link.samefile(sys.executable):
            pytest.skip("the Python that runs the tests has one name only")
        assert query(link, time_limit=0).path == link

    @posix
    def test_a_program_that_leads_to_an_interpreter(self, tmp_path: Path, python: Path):
        found = query(script(tmp_path / "shim", f'echo noise; echo noise >&2; exec "{python}" "$@"'))
        assert found.path == python
        assert is_like_this_one(found)

    @pytest.mark.parametrize("name", OTHERS)
    def test_other_pythons(self, name: str):
        found = query(installed(name))
        assert found.tags[-1] == "py30-none-any"
        assert len(set(found.tags)) == len(found.tags)
        major, minor = found.version.split(".")[:2]
        assert found.markers["python_version"] == f"{major}.{minor}"
        assert found.tags[0].startswith(f"{'pp' if 'pypy' in name else 'cp'}{major}{minor}-")
        assert found.version in SpecifierSet(f"=={major}.{minor}.*")

    @pytest.mark.oracle
    @pytest.mark.parametrize("name", CPYTHONS)
    def test_packaging_says_the_same_where_it_runs(self, name: str):
        """What is worked out for an old Python is worked out right for those on which that can be seen."""
        path = installed(name)
        told = _ask(path, _library(), 20)
        if "tags" not in told:
            pytest.skip("packaging does not run on it")
        code = "import json, sys; sys.path.insert(0, sys.argv[1]); from packaging import markers\n"
        code += "print(json.dumps(dict(markers.default_environment())))"
        markers = subprocess.check_output([path, "-I", "-S", "-B", "-c", code, _library().parent])

        alone = _ask(path, Path("nothing"), 20)

        assert "tags" not in alone
        assert _tags(path, alone) == told["tags"]
        assert alone["markers"] == json.loads(markers)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("python3.6", ["cp36-cp36m-", "cp36-abi3-", "cp36-none-", "cp35-abi3-"]),
            ("python3.7", ["cp37-cp37m-", "cp37-abi3-", "cp37-none-", "cp36-abi3-"]),
            ("python3.8", ["cp38-cp38-", "cp38-abi3-", "cp38-none-", "cp37-abi3-"]),
        ],
    )
    def test_tags_of_one_that_packaging_does_not_run_on(self, name: str, expected: list[str]):
        found, own = query(installed(name)), query(Path(sys.executable))
        platforms = {tag.rpartition("-")[2] for tag in own.tags}
        native = [tag for tag in found.tags if tag.startswith("cp") and tag.endswith("-" + own.tags[0].split("-")[2])]
        assert [tag.rpartition("-")[0] + "-" for tag in native[:4]] == expected
        assert {tag.rpartition("-")[2] for tag in found.tags} == platforms
        plain = [tag for tag in found.tags if tag.endswith("-none-any")]
        assert plain[:2] == [f"cp3{name[-1]}-none-any", f"py3{name[-1]}-none-any"]
        assert "py39-none-any" not in plain

    @pytest.mark.parametrize(
        ("release", "flags", "expected"),
        [
            ((3, 7), ["pymalloc"], ["cp37m"]),
            ((3, 7), ["pymalloc", "debug"], ["cp37dm"]),
            ((3, 7), [], ["cp37"]),
            ((3, 8), ["pymalloc"], ["cp38"]),
            ((3, 8), ["pymalloc", "debug"], ["cp38d", "cp38"]),
            ((3, 13), ["pymalloc", "threaded"], ["cp313t"]),
            ((3, 13), ["pymalloc", "threaded", "debug"], ["cp313td", "cp313t"]),
        ],
    )
    def test_abis(self, release: tuple[int, int], flags: list[str], expected: list[str]):
        given = {flag: flag in flags for flag in ("debug", "pymalloc", "threaded")}
        assert _abis(release, _Build(implementation="cpython", machine="", **given)) == expected

    def test_tags_are_those_of_wheels(self, python: Path):
        tag = query(python).tags[0]
        assert {str(found) for found in parse_wheel_filename(f"demo-1.0-{tag}.whl")[3]} == {tag}

    def test_nothing_of_the_caller_reaches_it(self, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "json.py").write_text("raise SystemExit(1)")
        (tmp_path / "sitecustomize.py").write_text("raise SystemExit(1)")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("PYTHONHOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        assert is_like_this_one(query(python))

    @pytest.mark.parametrize("name", OTHERS)
    def test_no_byte_code_is_written_beside_our_packaging(self, name: str):
        path = installed(name)
        program = "import sys; print(sys.implementation.cache_tag)"
        tag = subprocess.check_output([path, "-c", program], text=True).strip()
        if tag == sys.implementation.cache_tag:
            pytest.skip("the tests themselves write byte code for this one")
        library = Path(packaging.__file__).parent
        before = {file: file.stat().st_mtime_ns for file in library.rglob(f"*.{tag}.pyc")}
        query(path)
        assert {file: file.stat().st_mtime_ns for file in library.rglob(f"*.{tag}.pyc")} == before


BUILD = {"implementation": "cpython", "machine": _machine(), "debug": False, "pymalloc": True, "threaded": False}


def answering(**facts: Any) -> str:
    """A script that gives this answer."""
    return f"echo '{json.dumps(facts)}' > \"$6\""


@posix
class TestNotAPython:
    def refused(self, path: Path, time_limit: float = 20.0) -> str:
        with pytest.raises(InterpreterError) as caught:
            query(path, time_limit=time_limit)
        assert caught.value.hint
        assert str(path) in str(caught.value)
        return str(caught.value)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("echo garbage", "did not answer"),
            ("exit 1", "exit code 1"),
            ("kill -9 $$", "exit code -9"),
            ("head -c 100000000 /dev/zero; exit 3", "exit code 3"),
            ("head -c 100000000 /dev/zero >&2; exit 3", "exit code 3"),
            ('echo garbage > "$6"', "cannot be read"),
            ('echo [] > "$6"', "cannot be read"),
            ('head -c 9000000 /dev/zero | tr "\\0" "[" > "$6"', "cannot be read"),
            ('head -c 900000 /dev/zero | tr "\\0" "[" > "$6"', "cannot be read"),
            (answering(version="3.5.1"), "is Python 3.5.1; felloe can ask 3.6 and newer"),
            (answering(version="2.7.18", tags=["py27-none-any"]), "is Python 2.7.18; felloe can ask 3.6 and newer"),
            (answering(tags=1), "cannot be right: its version is not X.Y.Z"),
            (answering(version="3.8"), "cannot be right: its version is not X.Y.Z"),
            (answering(version=[3, 8, 1]), "cannot be right: its version is not X.Y.Z"),
            (answering(version="3.9.1", tags=1), "cannot be right: the path"),
            (answering(version="3.8.1"), "cannot be right: it tells neither its tags nor its build"),
            (answering(version="3.8.1", build=BUILD | {"colour": 1}), "it tells neither its tags nor its build"),
            (answering(version="3.8.1", build=BUILD), "cannot be right: the path"),
            (
                answering(version="3.8.16", build=BUILD | {"implementation": "pypy"}),
                "is Python 3.8.16; felloe can ask one this old if it is CPython, and this is pypy",
            ),
            (
                answering(version="3.8.18", build=BUILD | {"machine": "i686, 32 bit, no glibc"}),
                f"if it is for what felloe runs on ({_machine()}), and this is for i686, 32 bit, no glibc",
            ),
            ('mkfifo "$6"', "did not answer"),
        ],
    )
    def test_a_script(self, tmp_path: Path, text: str, reason: str):
        assert reason in self.refused(script(tmp_path / "python", text))

    def test_time_limit(self, tmp_path: Path):
        alive = tmp_path / "alive"
        os.mkfifo(alive)
        reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
        try:
            program = script(tmp_path / "python", f'exec 3>"{alive}"; sleep 600')
            assert "within 1 s" in self.refused(program, time_limit=1)
            assert select.select([reader], [], [], 30)[0], "what it started is still running"
            assert os.read(reader, 1) == b""
        finally:
            os.close(reader)

    def test_what_keeps_the_output_open_is_not_waited_for(self, tmp_path: Path):
        text = f'sleep 600 & echo $! > "{tmp_path}/child"; exit 4'
        try:
            assert "exit code 4" in self.refused(script(tmp_path / "python", text))
        finally:
            os.kill(int((tmp_path / "child").read_text()), 9)

    def test_not_a_program(self, tmp_path: Path):
        program = tmp_path / "python"
        program.write_bytes(b"\0\1\2")
        program.chmod(0o755)
        assert "cannot be run" in self.refused(program)

    def test_an_interpreter_of_the_script_that_is_gone(self, tmp_path: Path):
        program = tmp_path / "python"
        program.write_text("#!/no/such/interpreter\n")
        program.chmod(0o755)
        assert "cannot be run" in self.refused(program)


class TestDescribe:
    def test_asked_once(self, environment: Path, python: Path):
        shelf = Shelf()
        first = describe(environment, shelf, {})
        [key] = shelf
        assert key == key_of(python)
        shelf[key]["version"] = "remembered"
        second = describe(None, shelf, {"VIRTUAL_ENV": str(environment)})
        assert (second.version, second.tags) == ("remembered", first.tags)

    @pytest.mark.parametrize("document", [None, [], {}, {"path": "/elsewhere"}, 1])
    def test_what_cannot_be_read_is_asked_again(self, python: Path, document: Any):
        shelf = Shelf({key_of(python): document})
        assert describe(python, shelf, {}) == from_json(shelf[key_of(python)])

    def test_a_description_of_another_path_does_not_count(self, python: Path):
        shelf = Shelf()
        found = describe(python, shelf, {})
        shelf[key_of(python)]["path"] = sys.executable
        assert describe(python, shelf, {}) == found

    @posix
    def test_what_leads_elsewhere_is_not_remembered(self, tmp_path: Path, python: Path):
        shelf = Shelf()
        shim = script(tmp_path / "shim", f'exec "{python}" "$@"')
        assert describe(shim, shelf, {}).path == python
        assert shelf == {}

    def test_not_there(self, tmp_path: Path):
        with pytest.raises(InterpreterError):
            describe(tmp_path / "gone", Shelf(), {})

    @posix
    @pytest.mark.parametrize("found", ["gone", "is no Python"])
    @pytest.mark.parametrize(
        ("variable", "given"),
        [
            ("VIRTUAL_ENV", None),
            ("CONDA_PREFIX", None),
            ("FELLOE_PYTHON", "whole"),
            ("FELLOE_PYTHON", "relative"),
            (None, "whole"),
        ],
    )
    def test_a_hint_names_the_variable_that_led_there(
        self, tmp_path: Path, found: str, variable: str | None, given: str | None
    ):
        path = tmp_path / "env"
        if found != "gone":
            (path / "bin").mkdir(parents=True)
            script(path / "bin" / "python", "exit 1")
        environ = {"VIRTUAL_ENV": "/another", "FELLOE_PYTHON": "/another"} if variable is None else {}
        if variable is not None:
            environ[variable] = "./env" if given == "relative" else str(path)

        with pytest.raises(InterpreterError) as caught:
            describe(path if given else None, Shelf(), environ)

        last = "with `--python`" if variable is None else f"with `--python`, or correct `{variable}`, which led here"
        assert caught.value.hint.endswith(f"give the path of a Python 3.6 or newer, or of an environment, {last}")

    def test_a_bare_name_of_the_environment(self):
        with pytest.raises(InterpreterError) as caught:
            describe(Path("no-such-python"), Shelf(), {"PATH": os.defpath, "FELLOE_PYTHON": "no-such-python"})
        assert "correct `FELLOE_PYTHON`" in caught.value.hint


class TestKey:
    def test_stays(self, python: Path):
        assert key_of(python) == key_of(python)
        assert len(key_of(python)) == 16

    def test_changes_with_the_path(self, python: Path):
        assert key_of(python) != key_of(Path(sys.executable))

    def test_changes_with_the_program(self, tmp_path: Path):
        program = tmp_path / "python"
        program.write_text("one")
        os.utime(program, ns=(1, 1))
        first = key_of(program)
        program.write_text("longer")
        os.utime(program, ns=(1, 1))
        second = key_of(program)
        os.utime(program, ns=(1, 2))
        assert len({first, second, key_of(program)}) == 3

    def test_changes_with_what_a_link_leads_to(self, tmp_path: Path):
        one, other, link = tmp_path / "one", tmp_path / "other", tmp_path / "link"
        for file in (one, other):
            file.write_text("same")
            os.utime(file, ns=(1, 1))
        link.symlink_to(one)
        first = key_of(link)
        link.unlink()
        link.symlink_to(other)
        assert key_of(link) != first

    def test_changes_with_the_environment(self, tmp_path: Path):
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin" / "python"
        program.touch()
        before = key_of(program)
        (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin")
        assert key_of(program) != before

    def test_gone(self, tmp_path: Path):
        with pytest.raises(InterpreterError, match="not there"):
            key_of(tmp_path / "gone")


class TestJson:
    def test_round_trip(self):
        interpreter = query(Path(sys.executable))
        document = to_json(interpreter)
        assert from_json(json.loads(json.dumps(document))) == interpreter
        assert list(document) == ["path", "version", "tags", "markers"]

    @pytest.mark.parametrize("key", ["path", "version", "tags", "markers"])
    @pytest.mark.parametrize("wrong", [None, 1, [], [1], {"a": 1}], ids=repr)
    def test_malformed(self, key: str, wrong: Any):
        document = {**to_json(query(Path(sys.executable))), key: wrong}
        with pytest.raises(ValueError, match="of an interpreter"):
            from_json(document)

    @pytest.mark.parametrize("document", [None, [], "text", 1])
    def test_not_an_object(self, document: Any):
        with pytest.raises(ValueError, match="of an interpreter"):
            from_json(document)


def test_the_warm_path_is_light():
    program = (
        "import sys; import felloe.interpreter\n"
        "print(sorted({'packaging.tags', 'packaging.markers', 'subprocess', 'tempfile'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
