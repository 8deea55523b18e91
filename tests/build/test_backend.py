"""The hooks of a backend that does as PEP 517 says, and backends that cannot be used or fail as they may."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from felloe.build import worker
from felloe.build.backend import running_backend
from felloe.errors import BuildError
from tests.fixtures.backends import WHEEL, Project, is_running

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]

ALL_HOOKS = """
import json
def note(*arguments):
    print(json.dumps([os.getpid(), os.getcwd(), *arguments]))
def get_requires_for_build_wheel(settings=None):
    note(settings)
    return ["wheel>=0.40", 'tomli; python_version < "3.11"']
def prepare_metadata_for_build_wheel(folder, settings=None):
    note(folder, settings)
    os.mkdir(os.path.join(folder, "demo-1.0.dist-info"))
    return "demo-1.0.dist-info"
def build_wheel(folder, settings=None, metadata=None):
    note(folder, settings, metadata)
    return write(folder)
"""
ONLY_BUILD = """
def build_wheel(folder, settings=None, metadata=None):
    return write(folder)
"""


def requires(code: str) -> str:
    """A backend whose one hook is this."""
    return f"def get_requires_for_build_wheel(settings):\n{'    ' + code.strip().replace(chr(10), chr(10) + '    ')}\n"


async def failing(project: Project, **changes: object) -> BuildError:
    """How `get_requires_for_build_wheel` fails."""
    with pytest.raises(BuildError) as caught:
        async with running_backend(project.process(**changes)) as backend:
            await backend.requires_for_build({})
    return caught.value


async def test_the_hooks_run_in_one_process(tmp_path: Path) -> None:
    project = Project(tmp_path, ALL_HOOKS)
    metadata, wheel = project.new("metadata"), project.new("wheel")
    settings = {"--global-option": ["a", "b"], "key": "valué"}

    async with running_backend(project.process()) as backend:
        assert await backend.requires_for_build({}) == ("wheel>=0.40", 'tomli; python_version < "3.11"')
        info = await backend.prepare_metadata(settings, metadata)
        assert info == metadata / "demo-1.0.dist-info"
        assert await backend.build_wheel(settings, wheel, info) == wheel / WHEEL

    noted = [json.loads(line) for line in project.printed.splitlines()]
    assert {tuple(each[:2]) for each in noted} == {(noted[0][0], str(project.source))}
    assert [each[2:] for each in noted] == [[{}], [str(metadata), settings], [str(wheel), settings, str(info)]]
    assert not is_running(noted[0][0])


async def test_hooks_that_a_backend_need_not_have(tmp_path: Path) -> None:
    project = Project(tmp_path, ONLY_BUILD)
    wheel = project.new("wheel")

    async with running_backend(project.process()) as backend:
        assert await backend.requires_for_build({}) == ()
        assert await backend.prepare_metadata({}, project.new("metadata")) is None
        assert await backend.build_wheel({}, wheel, None) == wheel / WHEEL


async def test_a_backend_without_build_wheel(tmp_path: Path) -> None:
    project = Project(tmp_path, "")

    with pytest.raises(BuildError, match="its build backend has no `build_wheel`") as caught:
        async with running_backend(project.process()) as backend:
            await backend.build_wheel({}, project.new("wheel"), None)

    assert caught.value.code == "backend-unavailable"


async def test_a_backend_that_is_an_attribute(tmp_path: Path) -> None:
    code = """
    class Outer:
        class Inner:
            @staticmethod
            def get_requires_for_build_wheel(settings):
                return ["inner"]
    """
    async with running_backend(Project(tmp_path, code).process(backend="backend:Outer.Inner")) as backend:
        assert await backend.requires_for_build({}) == ("inner",)


async def test_a_backend_sees_its_environment_and_nothing_of_ours(tmp_path: Path) -> None:
    code = requires("""
import importlib.util
ours = [name for name in ("hints", "worker", "fingerprint", "plan") if importlib.util.find_spec(name)]
return [sys.stdin.read(), sys.path[0], *sorted(os.environ), *ours, *{"ctypes"} & {*sys.modules}]
""")
    project = Project(tmp_path, code)
    environ = {"PIDS": str(tmp_path), "ACME": "1", "LC_CTYPE": "C.UTF-8"}

    async with running_backend(project.process(environ=environ)) as backend:
        seen = await backend.requires_for_build({})

    assert seen == ("", str(project.source), "ACME", "FELLOE_BUILD", "LC_CTYPE", "PIDS")


async def test_all_that_is_printed_is_in_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = requires("""
print("one")
print("two", file=sys.stderr)
subprocess.run("echo three; echo four >&2", shell=True)
os.write(1, b"five\\n")
sys.stdout.write("\\udcff six\\n")
return []
""")
    project = Project(tmp_path, code)
    for _ in range(2):
        async with running_backend(project.process()) as backend:
            await backend.requires_for_build({})

    assert project.printed.split() == ["one", "two", "three", "four", "five", "\\udcff", "six"] * 2
    assert capfd.readouterr() == ("", "")


async def test_a_hook_that_fails(tmp_path: Path) -> None:
    project = Project(tmp_path, requires("print('step', 1)\nraise RuntimeError('no\\nway')"))

    error = await failing(project)

    expected = "`demo-1.0.tar.gz` of source `acme` cannot be built: `get_requires_for_build_wheel` failed with "
    assert (error.code, str(error)) == ("build-failed", expected + "RuntimeError: no way")
    assert error.payload["hook"] == "get_requires_for_build_wheel"
    assert error.payload["log"] == str(project.log)
    assert error.payload["tail"][0] == "step 1"
    assert error.payload["tail"][-2:] == ["RuntimeError: no", "way"]
    assert error.payload["tail"] == project.printed.splitlines()
    assert error.hint
    json.dumps(error.payload)


async def test_a_missing_header_gives_a_hint(tmp_path: Path) -> None:
    project = Project(tmp_path, requires("print('x.c:1:10: fatal error: ffi.h: No such file')\nsys.exit(1)"))

    error = await failing(project)

    assert "`ffi.h`" in error.hint
    assert str(error).endswith("failed with SystemExit: 1")


async def test_the_tail_is_short_clean_and_without_secrets(tmp_path: Path) -> None:
    code = requires("""
for number in range(1000):
    print("line", number)
print("\\x1b[31mred\\x1b[0m \\x07bell")
print("10%\\r50%\\r100%")
print("from https://user:secret@example.com/simple/")
print("x" * 10000)
raise RuntimeError("https://user:secret@example.com/ " + "y" * 10000)
""")
    error = await failing(Project(tmp_path, code))

    tail = error.payload["tail"]
    assert len(tail) == 20
    assert {"red  bell", "100%", "from https://example.com/simple/", "x" * 500} <= set(tail)
    assert "secret" not in str(error) + json.dumps(error.payload)
    assert len(str(error)) < 1000


@pytest.mark.parametrize(
    ("code", "changes", "said"),
    [
        ("import no_such_module", {}, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise OSError('broken')", {}, "OSError: broken"),
        ("sys.exit('no')", {}, "SystemExit: no"),
        ("class Half: pass\nraise Half", {}, "TypeError: exceptions must derive from BaseException"),
        ("x = (", {}, "SyntaxError"),
        ("", {"backend": "elsewhere"}, "ModuleNotFoundError: No module named 'elsewhere'"),
        ("", {"backend": "backend:nothing"}, "AttributeError: module 'backend' has no attribute 'nothing'"),
        ("", {"backend": ":x"}, "ValueError: Empty module name"),
        ("", {"backend": ".backend"}, "TypeError"),
        ("", {"backend": "json"}, "ImportError: module 'json' was found outside of backend-path"),
        ("", {"backend_path": ()}, "ModuleNotFoundError: No module named 'backend'"),
        ("", {"backend_path": ("missing",)}, "ModuleNotFoundError: No module named 'backend'"),
    ],
)
async def test_a_backend_that_cannot_be_imported(
    tmp_path: Path, code: str, changes: dict[str, object], said: str
) -> None:
    error = await failing(Project(tmp_path, code), **changes)

    assert error.code == "backend-unavailable"
    assert f"cannot be used: {said}" in str(error)


@pytest.mark.parametrize("folder", ["..", "inner/../..", "/", "link", "link/inner", "a\0b"])
async def test_a_backend_path_that_leads_outside(tmp_path: Path, folder: str) -> None:
    project = Project(tmp_path, "")
    (project.source / "link").symlink_to(tmp_path)

    error = await failing(project, backend_path=(".", folder))

    assert error.code == "backend-unavailable"
    assert "`backend-path`" in str(error)
    assert not project.log.exists()


async def test_a_backend_path_of_links_and_folders_inside(tmp_path: Path) -> None:
    project = Project(tmp_path, "from helper import get_requires_for_build_wheel")
    (project.source / "tools").mkdir()
    (project.source / "link").symlink_to("tools")
    (project.source / "tools/helper.py").write_text(requires("return ['helped']"))

    async with running_backend(project.process(backend_path=("link/..", "link"))) as backend:
        assert await backend.requires_for_build({}) == ("helped",)


@pytest.mark.parametrize("changes", [{"python": Path("/no/such/python")}, {"source": Path("/no/such/folder")}])
async def test_a_process_that_cannot_be_started(tmp_path: Path, changes: dict[str, object]) -> None:
    error = await failing(Project(tmp_path, ""), backend_path=(), **changes)

    assert error.code == "build-failed"
    assert "cannot be started" in str(error)


async def test_what_is_no_python(tmp_path: Path) -> None:
    error = await failing(Project(tmp_path, ""), python=Path("/bin/sh"))

    assert error.code == "build-failed"
    assert "its process ended with exit code" in str(error)


async def test_a_backend_ends_as_programs_do(tmp_path: Path) -> None:
    project = Project(tmp_path, "import atexit\natexit.register(print, 'ended')\n" + requires("return []"))
    async with running_backend(project.process()) as backend:
        await backend.requires_for_build({})

    assert project.printed == "ended\n"


@pytest.mark.parametrize("how", ["good", "failed", "died", "late", "cancelled", "not started"])
async def test_nothing_is_left_open(tmp_path: Path, how: str) -> None:
    ways = {
        "good": "return []",
        "failed": "raise ValueError",
        "died": "os._exit(1)",
        "late": "time.sleep(100)",
        "cancelled": "time.sleep(100)",
        "not started": "",
    }
    project = Project(tmp_path, requires(f"pid(os.getpid())\npid(os.getppid())\n{ways[how]}"))
    changes = {"python": Path("/no/such/python")} if how == "not started" else {}

    async def run() -> None:
        with anyio.move_on_after(0.25 if how == "cancelled" else 60):
            async with running_backend(project.process(timeout=0.25 if how == "late" else 60.0, **changes)) as backend:
                await backend.requires_for_build({})

    async def attempt() -> None:
        try:
            await run()
        except BuildError:
            assert how not in {"good", "cancelled"}

    await attempt()  # what an event loop opens once
    before = open_files(), len(anyio.get_running_tasks())
    await attempt()

    assert (open_files(), len(anyio.get_running_tasks())) == before
    assert not any(map(is_running, project.pids))
    assert len(project.pids) == (0 if how == "not started" else 4) or how in {"late", "cancelled"}


def test_the_children_of_a_process() -> None:
    """Also those of its other threads, and such as have ended; on kernels that do not list them, from all processes."""
    with ThreadPoolExecutor(1) as thread:
        ended = subprocess.Popen([sys.executable, "-c", "pass"])
        running = thread.submit(subprocess.Popen, ["sleep", "100"]).result()
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)

        children = worker.children_of(os.getpid())
        by_parent = worker._children_by_parent(os.getpid())
        running.kill()

    assert {ended.pid, running.pid} <= set(children) == set(by_parent)
    assert (ended.wait(), running.wait()) == (0, -signal.SIGKILL)


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


async def test_an_error_between_hooks_comes_out_as_it_is(tmp_path: Path) -> None:
    project = Project(tmp_path, requires("pid(os.getpid())\nreturn []"))

    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with running_backend(project.process()) as backend:
            await backend.requires_for_build({})
            raise ZeroDivisionError

    assert not any(map(is_running, project.pids))


async def test_many_at_once(tmp_path: Path) -> None:
    async def build(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        project = Project(folder, requires(f"print({number})\nreturn ['n{number}']"))
        async with running_backend(project.process()) as backend:
            found.append((number, await backend.requires_for_build({}), project.printed))

    found: list[tuple[int, tuple[str, ...], str]] = []
    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(build, number)

    assert sorted(found) == [(number, (f"n{number}",), f"{number}\n") for number in range(8)]


# Other interpreters


def interpreters() -> list[Path]:
    """Each Python from 3.8 that is found on PATH or kept by pyenv, one for each minor version."""
    found = {}
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    folders += Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob("versions/*/bin")
    for folder in folders:
        for path in folder.glob("python3.*"):
            match = re.fullmatch(r"python3\.(\d+)", path.name)
            if match and int(match[1]) >= 8 and "shims" not in path.parts:
                found.setdefault(int(match[1]), path)
    return [path for _, path in sorted(found.items())]


@pytest.mark.parametrize(
    "python",
    [pytest.param(path, id=path.name) for path in interpreters()]
    or [pytest.param(None, marks=pytest.mark.skip(reason="no other Python is found"))],
)
async def test_other_interpreters(tmp_path: Path, python: Path) -> None:
    project = Project(tmp_path, ALL_HOOKS + "print('version', *sys.version_info[:2])")
    wheel = project.new("wheel")

    async with running_backend(project.process(python=python)) as backend:
        assert len(await backend.requires_for_build({})) == 2
        assert await backend.build_wheel({}, wheel, None) == wheel / WHEEL

    assert project.printed.startswith("version 3 " + python.name.removeprefix("python3."))


@pytest.mark.parametrize("python", [pytest.param(path, id=path.name) for path in interpreters()][:1])
def test_the_worker_compiles_on_the_oldest(python: Path) -> None:
    code = "import sys; compile(open(sys.argv[1]).read(), 'worker', 'exec', dont_inherit=True)"

    subprocess.run([python, "-I", "-W", "error", "-c", code, worker.__file__], check=True)
