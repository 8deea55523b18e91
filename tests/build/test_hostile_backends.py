"""Backends that do what no backend should: each ends in the right error, at once or at its limit, and leaves none."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import anyio
import pytest

from felloe.build.backend import MOST_LOG, Backend, end_processes, running_backend
from felloe.build.variables import BUILD as MARK
from felloe.errors import BuildError
from tests.fixtures.backends import WHEEL, Project, is_running

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]


def hook(name: str, code: str) -> str:
    return f"def {name}(*arguments):\n" + "".join(f"    {line}\n" for line in code.strip().splitlines())


async def call(backend: Backend, name: str, settings: dict[str, str], into: Path) -> object:
    if name == BUILD:
        return await backend.build_wheel(settings, into, None)
    if name == PREPARE:
        return await backend.prepare_metadata(settings, into)
    return await backend.requires_for_build(settings)


async def requires(project: Project, **changes: object) -> tuple[str, ...]:
    """What the hook gives, in a process of its own."""
    async with running_backend(project.process(**changes)) as backend:
        return await backend.requires_for_build({})


async def failing(tmp_path: Path, code: str, **changes: object) -> BuildError:
    """How a hook with this code fails, of which no process is left."""
    project = Project(tmp_path, hook(REQUIRES, code))
    with pytest.raises(BuildError) as caught:
        await requires(project, **changes)
    assert not any(map(is_running, project.pids))
    json.dumps(caught.value.payload)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    return caught.value


# What it says that it made. An answer that is refused does not end the process: one is enough for a table.

ANYTHING = """
def build_wheel(into, settings, metadata=None):
    scope = dict(globals(), into=into)
    exec(settings["code"], scope)
    return scope.get("answer")
def prepare_metadata_for_build_wheel(into, settings):
    return build_wheel(into, settings)
def get_requires_for_build_wheel(settings):
    return build_wheel(None, settings)
"""
REQUIRES, PREPARE, BUILD = "get_requires_for_build_wheel", "prepare_metadata_for_build_wheel", "build_wheel"

WHEELS = [
    ("answer = None", "did not give the name of a `.whl`"),
    ("answer = [write(into)]", "did not give the name of a `.whl`"),
    ("answer = object()", "gave a value that is no text"),
    ("answer = write(into).encode()", "gave a value that is no text"),
    ("answer = os.path.join(into, write(into))", "is not the name of a `.whl`"),
    ("answer = '../' + os.path.basename(into) + '/' + write(into)", "is not the name of a `.whl`"),
    ("answer = '..\\\\' + write(into)", "is not the name of a `.whl`"),
    ("answer = write(into, '.whl')", "is not the name of a `.whl`"),
    ("answer = write(into, 'demo-1.0.tar.gz')", "is not the name of a `.whl`"),
    ("answer = 'a\\0b.whl'", "gave `a b.whl`"),
    ("answer = '\\ud800.whl'", "gave ` .whl`"),
    ("answer = '\\x1b[2J.whl'", "gave `.whl`"),
    ("answer = 'x' * 10000 + '.whl'", "is not there or not a regular file"),
    ("answer = 'x' * 2**21", "gave more than 1048576 bytes"),
    ("answer = NAME", "is not there or not a regular file"),
    ("answer = NAME; os.mkdir(os.path.join(into, NAME))", "is not there or not a regular file"),
    ("answer = NAME; os.mkfifo(os.path.join(into, NAME))", "is not there or not a regular file"),
    ("answer = NAME; os.symlink(__file__, os.path.join(into, NAME))", "is not there or not a regular file"),
    ("answer = NAME; os.symlink('gone', os.path.join(into, NAME))", "is not there or not a regular file"),
    ("answer = write(into); write(into, 'other.whl')", f"made `other.whl` besides `{WHEEL}`"),
    ("answer = NAME; os.rmdir(into)", "took away the folder"),
    ("answer = write('.'); os.rmdir(into); os.symlink(os.getcwd(), into)", "took away the folder"),
    ("os.rename(into, into + '-moved'); answer = write(into + '-moved')", "took away the folder"),
]
METADATA = [
    ("answer = None", "did not give the name of a `.dist-info`"),
    ("answer = 'demo'; os.mkdir(os.path.join(into, 'demo'))", "is not the name of a `.dist-info`"),
    ("answer = '/demo-1.0.dist-info'", "is not the name of a `.dist-info`"),
    ("answer = 'demo-1.0.dist-info'", "is not there or not a folder"),
    ("answer = write(into, 'demo-1.0.dist-info')", "is not there or not a folder"),
    ("answer = 'a.dist-info'; os.symlink('/', os.path.join(into, 'a.dist-info'))", "is not there or not a folder"),
    ("answer = 'demo-1.0.dist-info'; os.rmdir(into)", "took away the folder"),
]
REQUIREMENTS = [
    ("answer = 'wheel'", "did not give a list of requirements"),
    ("answer = None", "did not give a list of requirements"),
    ("answer = {'wheel': 1}", "did not give a list of requirements"),
    ("answer = ['wheel', None]", "did not give a list of requirements"),
    ("answer = float('nan')", "did not give a list of requirements"),
    ("answer = {'wheel'}", "gave a value that is no text"),
    ("answer = (each for each in [])", "gave a value that is no text"),
    ("answer = []; answer.append(answer)", "gave a value that is no text"),
    ("answer = {}; exec('for _ in range(10**5): answer = [answer]')", "gave a value that is no text"),
    ("answer = ['wheel'] * 10**6", "gave more than 1048576 bytes"),
]


@pytest.mark.parametrize(("name", "cases"), [(BUILD, WHEELS), (PREPARE, METADATA), (REQUIRES, REQUIREMENTS)])
async def test_what_a_backend_did_not_make(tmp_path: Path, name: str, cases: list[tuple[str, str]]) -> None:
    project = Project(tmp_path, ANYTHING)
    async with running_backend(project.process()) as backend:
        for number, (code, said) in enumerate(cases):
            with pytest.raises(BuildError) as caught:
                await call(backend, name, {"code": code}, project.new(str(number)))
            message = str(caught.value)
            assert (code, caught.value.code) == (code, "bad-backend-output")
            assert f"cannot be built: `{name}` " in message
            assert said in message
            assert message.isprintable()
            assert len(message) < 1000


async def test_requirements_that_cannot_be_printed_can(tmp_path: Path) -> None:
    project = Project(tmp_path, hook(REQUIRES, "return ('a\\ud800', 'b\\0')"))

    assert await requires(project) == ("a?", "b\0")


# How it ends


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("os._exit(3)", "its process ended with exit code 3 in"),
        ("os._exit(0)", "its process ended with exit code 0 in"),
        ("os.abort()", "its process was killed by SIGABRT in"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "its process was killed by SIGKILL in"),
        ("os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(100)", "its process was killed by SIGKILL in"),
        ("os.kill(os.getppid(), signal.SIGTERM)\ntime.sleep(100)", "its process was killed by SIGTERM in"),
        ("os.killpg(0, signal.SIGKILL)", "its process was killed by SIGKILL in"),
        ("os.closerange(0, 256)\nreturn []", "its process ended with exit code"),
        ("sys.exit('error: no')", "failed with SystemExit: error: no"),
        ("raise KeyboardInterrupt", "failed with KeyboardInterrupt"),
        ("raise GeneratorExit", "failed with GeneratorExit"),
        ("raise MemoryError", "failed with MemoryError"),
        ("os.kill(os.getpid(), signal.SIGINT)\ntime.sleep(100)", "failed with KeyboardInterrupt"),
        ("def f(): f()\nf()", "failed with RecursionError"),
        ("class E(Exception):\n    def __str__(self): os.abort(self)\nraise E", "failed with E"),
        ("class E(Exception):\n    def __str__(self): sys.exit()\nraise E", "failed with E"),
        ("raise ValueError('\\x1b[2J\\ud800\\n' + 'x' * 2**24)", "failed with ValueError:"),
        ("import shutil\nshutil.rmtree(os.getcwd())\nraise ValueError(1)", "failed with ValueError: 1"),
        ("sys.stdout = sys.stderr = sys.stdin = None\nraise ValueError(1)", "failed with ValueError: 1"),
        ("sys.exc_info = json = None\nsys.modules.clear()\nraise ValueError(1)", "failed with ValueError: 1"),
    ],
)
async def test_a_hook_that_does_not_return(tmp_path: Path, code: str, said: str) -> None:
    error = await failing(tmp_path, "pid(os.getpid())\npid(os.getppid())\n" + code)

    assert error.code == "build-failed"
    assert said in str(error)


@pytest.mark.parametrize("raised", ["SIGKILL", "SIGSEGV"])
async def test_what_the_system_may_have_killed(tmp_path: Path, raised: str) -> None:
    error = await failing(tmp_path, f"os.kill(os.getpid(), signal.{raised})")

    assert ("memory" in error.hint) == (raised == "SIGKILL")


async def test_a_second_hook_after_the_process_has_ended(tmp_path: Path) -> None:
    code = "import threading\n" + hook(REQUIRES, "threading.Timer(0.05, os._exit, [7]).start()\nreturn []")
    code += hook("build_wheel", "time.sleep(100)")
    async with running_backend(Project(tmp_path, code).process()) as backend:
        await backend.requires_for_build({})
        for _ in range(2):
            with pytest.raises(BuildError, match="ended with exit code 7 in `build_wheel`"):
                await backend.build_wheel({}, tmp_path, None)


@pytest.mark.parametrize(
    "code",
    [
        "time.sleep(100)",
        "while True: pass",
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\ntime.sleep(100)",
        "os.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(100)",
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "while True: sys.stdout.write('x' * 10000)",
    ],
)
async def test_a_hook_that_takes_too_long(tmp_path: Path, code: str) -> None:
    error = await failing(tmp_path, "pid(os.getpid())\npid(os.getppid())\n" + code, timeout=0.25)

    assert error.code == "build-timeout"
    assert "`get_requires_for_build_wheel` took longer than 0.25 s" in str(error)
    assert "--build-timeout" in error.hint


async def test_the_answer_is_not_what_another_thread_says(tmp_path: Path) -> None:
    code = """
    for number in range(3, 20):
        try:
            os.write(number, b'[' * 10**5 + b'\\n')
        except OSError:
            pass
    return []
    """
    error = await failing(tmp_path, "\n".join(line.removeprefix("    ") for line in code.splitlines()))

    assert error.code == "bad-backend-output"
    assert "gave an answer that cannot be read" in str(error)


# What it does besides


@pytest.mark.parametrize(
    "code",
    [
        "os.chdir('/')",
        "os.close(0); os.close(1); os.close(2)",
        "sys.stdin.close(); sys.stdout.close(); sys.stderr.close()",
        "sys.stdout = sys.stderr = None",
        "sys.path.clear(); os.environ.clear(); sys.argv.clear()",
        "assert sys.stdin.read() == '' and os.read(0, 1) == b''",
        "os.dup2(os.open('/dev/full', os.O_RDWR), 1); sys.stdout.reconfigure(line_buffering=False); print('x')",
    ],
)
async def test_what_does_no_harm(tmp_path: Path, code: str) -> None:
    project = Project(
        tmp_path, hook(REQUIRES, code + "\nreturn []") + hook("build_wheel", "return write(arguments[0])")
    )
    async with running_backend(project.process()) as backend:
        assert await backend.requires_for_build({}) == ()
        assert await backend.build_wheel({}, project.new("wheel"), None) == tmp_path / "wheel" / WHEEL


async def test_100_megabytes_of_output(tmp_path: Path) -> None:
    code = "print('begin')\nfor _ in range(100): print('x' * 2**20)\nprint('end')\nraise ValueError"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    error = await failing(tmp_path, code)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024
    log = (tmp_path / "log").read_bytes()
    assert log.startswith(b"begin\nxxx")
    assert len(log) == MOST_LOG
    assert b"\n[felloe: " in log
    assert b"x\nend\nTraceback" in log
    assert error.payload["tail"][0] == "end"


@pytest.mark.parametrize("most", [100, 1000, 200_000])
async def test_several_processes_share_the_room_of_a_log(tmp_path: Path, most: int) -> None:
    """The log has the beginning of what the first one printed, and the end of the last."""
    project = Project(tmp_path, hook(REQUIRES, "print('begin' + 'x' * 300_000 + 'end')\nreturn []"))

    for _ in range(3):
        await requires(project, most_log=most)

    log = project.log.read_bytes()
    assert len(log) == most
    assert log.startswith(b"begin")
    assert log.endswith(b"xend\n")
    assert log.count(b"[felloe: ") == 1


async def test_a_thread_that_stays(tmp_path: Path) -> None:
    code = "import threading\n" + hook(REQUIRES, "threading.Thread(target=time.sleep, args=[100]).start()\nreturn []")
    started = time.monotonic()

    assert await requires(Project(tmp_path, code)) == ()

    assert time.monotonic() - started < 10


# What it leaves. `STAY` notes its process and stays; `CHAIN` is a new process all the time, and holds the file `chain`.

STAY = """
import os, sys, time
open(os.path.join(sys.argv[1], "pids", str(os.getpid())), "w").close()
time.sleep(100)
"""
CHAIN = """
import fcntl, os, sys, time
file = open(os.path.join(sys.argv[1], "chain"), "w")
fcntl.flock(file, fcntl.LOCK_SH)
open(os.path.join(sys.argv[1], "pids", str(os.getpid())), "w").close()
end = time.monotonic() + 15
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
"""
COMMANDS = "".join(
    f"{name} = [sys.executable, '-c', {code!r}, os.path.dirname(os.environ['PIDS'])]\n"
    for name, code in [("STAY", STAY), ("CHAIN", CHAIN)]
)
WITHOUT_MARK = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, COMMAND, {})
    os._exit(0)
"""
LEAVE = {
    "child": "subprocess.Popen(STAY)",
    "session": "subprocess.Popen(STAY, start_new_session=True)",
    "daemon": """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 3)
        pid(os.getpid())
        time.sleep(100)
    os._exit(0)
""",
    "forking": """
if os.fork() == 0:
    os.setsid()
    for _ in range(5):
        pid(os.getpid())
        if os.fork():
            os._exit(0)
    time.sleep(100)
""",
    "without mark": WITHOUT_MARK.replace("COMMAND", "STAY"),
    "chain": WITHOUT_MARK.replace("COMMAND", "CHAIN"),
}
WAIT = "\nwhile not os.listdir(os.environ['PIDS']): time.sleep(0.01)\n"
STOP_PARENT = "os.kill(os.getppid(), signal.SIGSTOP)"


@pytest.mark.parametrize(
    ("how", "end"),
    [
        ("child", "return []"),
        ("session", "return []"),
        ("daemon", "return []"),
        ("daemon", "os._exit(1)"),
        ("daemon", "time.sleep(100)"),
        ("forking", "return []"),
        ("without mark", "return []"),
        ("without mark", "raise ValueError"),
        ("without mark", "os._exit(1)"),
        ("without mark", "time.sleep(100)"),
        ("without mark", f"{STOP_PARENT}; raise ValueError"),
        ("without mark", f"{STOP_PARENT}; time.sleep(100)"),
        ("chain", "return []"),
        ("chain", "raise ValueError"),
        ("chain", "os._exit(1)"),
    ],
)
async def test_no_process_is_left(tmp_path: Path, how: str, end: str) -> None:
    project = Project(tmp_path, COMMANDS + hook(REQUIRES, LEAVE[how] + WAIT + end))

    with nullcontext() if "return" in end else pytest.raises(BuildError):
        await requires(project, timeout=1.0 if "sleep" in end else 60.0)

    assert_none_is_left(project)


async def test_an_import_leaves_no_process(tmp_path: Path) -> None:
    """Not even where a worker takes its time until it gets what is left."""
    project = Project(tmp_path, COMMANDS + LEAVE["without mark"] + hook(REQUIRES, WAIT + "return []"))
    replace_ctypes(project, "import sys, time\ntime.sleep(0.2)\ndel sys.modules['ctypes'], sys.path[0]\nimport ctypes")

    await requires(project)

    assert_none_is_left(project)


async def test_an_orphan_that_ended_is_gone(tmp_path: Path) -> None:
    """Who stops a daemon waits for that."""
    stop = """
number = int(os.listdir(os.environ['PIDS'])[0])
os.kill(number, signal.SIGKILL)
while os.path.exists(f'/proc/{number}'): time.sleep(0.01)
return []
"""
    project = Project(tmp_path, hook(REQUIRES, LEAVE["daemon"] + WAIT + stop))

    assert await requires(project, timeout=10.0) == ()


@pytest.mark.parametrize("how", ["daemon", "without mark"])
async def test_cancellation_leaves_no_process(tmp_path: Path, how: str) -> None:
    project = Project(tmp_path, COMMANDS + hook(REQUIRES, LEAVE[how] + "time.sleep(100)"))

    async with anyio.create_task_group() as group:
        group.start_soon(requires, project)
        with anyio.fail_after(10):
            while not project.pids:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()

    assert_none_is_left(project)


async def test_a_python_without_ctypes(tmp_path: Path) -> None:
    """As it is on other systems: what keeps its environment is found."""
    project = Project(tmp_path, COMMANDS + hook(REQUIRES, LEAVE["daemon"] + WAIT + "return []"))
    replace_ctypes(project, "raise ImportError")

    await requires(project)

    assert_none_is_left(project)


def test_who_only_knows_of_the_place_is_left_alone(tmp_path: Path) -> None:
    place = str(tmp_path / "place")
    with (
        subprocess.Popen(["sleep", "100"], env={"PATH": os.defpath, "PWD": place}) as innocent,
        subprocess.Popen(["sleep", "100"], env={"PATH": os.defpath, MARK: f"{place} more"}) as left,
    ):
        anyio.run(end_processes, place)

        assert left.wait() == -signal.SIGKILL
        assert innocent.poll() is None
        innocent.kill()


@pytest.mark.parametrize(
    ("ways", "ctypes"), [(("child", "session", "daemon", "without mark"), True), (("child",), False)]
)
def test_a_build_ends_when_felloe_is_killed(tmp_path: Path, ways: tuple[str, ...], ctypes: bool) -> None:
    leave = "\n".join(LEAVE[how] for how in ways)
    project = Project(
        tmp_path, COMMANDS + hook(REQUIRES, f"pid(os.getpid())\npid(os.getppid())\n{leave}\ntime.sleep(100)")
    )
    if not ctypes:
        replace_ctypes(project, "raise ImportError")
    code = """
import json, sys, anyio
from pathlib import Path
from felloe.build.backend import BackendProcess, running_backend
async def main(folder, environ):
    process = BackendProcess(
        python=Path(sys.executable), source=folder / "source", backend="backend", backend_path=(".",),
        environ=environ, log=folder / "log", timeout=100.0, what="demo",
    )
    async with running_backend(process) as backend:
        await backend.requires_for_build({})
anyio.run(main, Path(sys.argv[1]), json.loads(sys.argv[2]))
"""
    felloe = subprocess.Popen([sys.executable, "-c", code, tmp_path, json.dumps(project.environ)])
    wait_until(lambda: len(project.pids) == 2 + len(ways))

    felloe.send_signal(signal.SIGKILL)
    felloe.wait()

    wait_until(lambda: not any(map(is_running, project.pids)))


def replace_ctypes(project: Project, code: str) -> None:
    folder = project.new("path")
    (folder / "ctypes.py").write_text(code)
    project.environ["PYTHONPATH"] = str(folder)


def assert_none_is_left(project: Project) -> None:
    assert project.pids
    assert not any(map(is_running, project.pids))
    with (project.folder / "chain").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody holds it


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_the_next_build_is_right(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    await failing(tmp_path / "bad", "os.kill(os.getppid(), signal.SIGKILL)")

    assert await requires(Project(tmp_path, hook(REQUIRES, "return ['good']"))) == ("good",)
    assert "FELLOE_BUILD" not in os.environ
