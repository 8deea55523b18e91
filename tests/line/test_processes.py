"""Many processes on one cache, processes that are killed, and caches that cannot be written to."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from felloe import BlockingDatabase
from felloe.testing import Behaviour, IndexServer, Project, make_sdist, make_wheel
from tests.fixtures.line import config_of, files_below, own_sources
from tests.fixtures.plugins import NO_FILES, SETTINGS
from tests.fixtures.projects import HOOKS, buildable, hooks_called

PATIENCE = 60.0
PLAIN = Project("acme", "1.0")
MANY = 32
NOT_LEFT = ("scratch", "locks/users")

# What follows a line of `PREPARE` runs when the parent says so; a failure is told like the command line does.
CHILD = """\
import json, sys
from felloe import BlockingDatabase, FelloeError
{prepare}
verb, *names = sys.argv[1:]
results = []
with BlockingDatabase() as database:
    print("ready", flush=True)
    sys.stdin.readline()
    for name in names:
        try:
            answer = getattr(database, verb)(name)
            results.append([answer.dist.version, answer.cached])
        except FelloeError as error:
            results.append([error.code, str(error), error.hint])
print(json.dumps(results))
"""
HEAVY = "import anyio.from_thread, asyncio, filelock, httpcore, httpx, ssl, stamina, truststore"
# So that permissions hold for root as well: the owner of all files, but without its privileges.
UNPRIVILEGED = """\
import ctypes
class Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
assert ctypes.CDLL(None).capset(ctypes.byref(Header(0x20080522, 0)), (ctypes.c_uint32 * 6)()) == 0
"""
WITHOUT_PRIVILEGES = UNPRIVILEGED if sys.platform == "linux" else ""
SMALL_FILES = """\
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
"""


class Scene:
    """An index and a cache; `start` is a process that waits until it is told to begin."""

    def __init__(self, folder: Path, server: IndexServer) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.server = server

    def start(self, verb: str, *names: str, prepare: str = "", **options: Any) -> subprocess.Popen[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        own = {"FELLOE_CACHE_DIR": str(self.cache), "FELLOE_INDEX_URL": self.server.index_url}
        return subprocess.Popen(
            [sys.executable, "-c", CHILD.format(prepare=prepare), verb, *names],
            cwd=self.folder,
            env={**inherited, **NO_FILES, **own},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def run(self, verb: str, *names: str, prepare: str = "", **options: Any) -> list[Any]:
        with self.start(verb, *names, prepare=prepare, **options) as process:
            (result,) = results_of([process])
        return result

    def ask(self, name: str = "acme", verb: str = "metadata") -> Any:
        """In this process."""
        with BlockingDatabase(config_of(self.cache, self.server), sources=own_sources()) as database:
            return getattr(database, verb)(name)

    def add_sdist(self, project: Project = PLAIN, **listing: Any) -> Path:
        sdist = make_sdist(self.folder, project)
        self.server.add(sdist, **listing)
        return sdist

    def asked_for_files(self) -> list[str]:
        return [path for path in self.server.paths if path.startswith("/files/")]

    def assert_tidy(self) -> None:
        """No process is left that uses the cache, and no half-made file."""
        assert files_below(self.cache, *NOT_LEFT) == []
        assert list((self.cache / "scratch").glob("*")) == []


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with IndexServer() as server:
        yield Scene(tmp_path, server)


def begin(processes: Sequence[subprocess.Popen[str]]) -> None:
    """At one time."""
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()


def results_of(processes: Sequence[subprocess.Popen[str]]) -> list[Any]:
    """Lets them begin and waits for what they print; nothing on stderr is wanted."""
    begin(processes)
    told = [process.communicate(timeout=PATIENCE) for process in processes]
    assert {errors for _, errors in told} == {""}
    return [json.loads(out) for out, _ in told]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Many at once


def test_many_processes_fetch_once(scene: Scene) -> None:
    """Whether the page tells the hash or not: who waited for another one's download takes that."""
    scene.add_sdist(Project("told", "1.0", padding=300_000))
    scene.add_sdist(Project("untold", "1.0", padding=300_000), hashes=False)
    with ExitStack() as stack:
        processes = [stack.enter_context(scene.start("metadata", "told", "untold", prepare=HEAVY)) for _ in range(MANY)]
        results = results_of(processes)

    assert {tuple(version for version, _ in result) for result in results} == {("1.0", "1.0")}
    downloads = [request for request in scene.server.requests if request.path.startswith("/files/") and request.sent]
    assert sorted(request.path for request in downloads) == ["/files/told-1.0.tar.gz", "/files/untold-1.0.tar.gz"]
    assert [result[0][1] for result in results].count(False) == 1
    assert [result[1][1] for result in results].count(False) == 1
    scene.assert_tidy()


@pytest.mark.parametrize("code", ["", "raise RuntimeError('no luck')"], ids=["good", "failing"])
def test_many_processes_build_once(scene: Scene, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited takes what came of it: the wheel, or the error."""
    monkeypatch.setenv(HOOKS, str(scene.folder / "hooks"))
    scene.server.add(buildable(scene.folder, "acme", code=code))
    with ExitStack() as stack:
        processes = [stack.enter_context(scene.start("wheel", "acme", prepare=HEAVY)) for _ in range(MANY)]
        results = results_of(processes)

    assert hooks_called(scene.folder / "hooks") == ["acme get_requires", "acme wheel"]
    assert len([path for path in scene.asked_for_files() if path.endswith(".tar.gz")]) == 1
    if code:
        assert {result[0] for (result,) in results} == {"build-failed"}
        assert {"it failed" in result[1] for (result,) in results} == {True, False}
    else:
        assert {result[0] for (result,) in results} == {"1.0"}
        assert [result[1] for (result,) in results].count(False) in {1, 2}  # who received it, and who built it
    scene.assert_tidy()


def test_builds_of_other_settings_do_not_wait_for_each_other(scene: Scene) -> None:
    """Each goes on when the other one has begun."""
    wait = "begun = config_settings['begun'].split(':'); open(begun[0], 'w').close()\n"
    wait += "import time\nwhile not os.path.exists(begun[1]): time.sleep(0.01)"
    scene.server.add(buildable(scene.folder, "acme", code=wait))
    places = [str(scene.folder / name) for name in ("one", "two")]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(scene.start("wheel", "acme", prepare=with_setting("begun", ":".join(order))))
            for order in (places, places[::-1])
        ]
        results = results_of(processes)

    assert results == [[["1.0", False]]] * 2
    scene.assert_tidy()


def with_setting(name: str, value: str) -> str:
    """A line by which the database of a child has a config setting."""
    return (
        "from functools import partial; from felloe import Config\n"
        f"BlockingDatabase = partial(BlockingDatabase, Config.load(config_settings=['{name}={value}']))"
    )


# kill -9


def test_a_process_that_is_killed_while_it_builds_leaves_nothing_wrong(scene: Scene) -> None:
    """Its backend goes on, until another run builds in the same place: that run ends it first."""
    began, late = scene.folder / "began", scene.folder / "late"
    waits = f"open({str(began)!r}, 'w').close(); import time; time.sleep(3600)"
    code = f"if not os.path.exists({str(late)!r}): exec({waits!r})"
    scene.server.add(buildable(scene.folder, "acme", code=code))
    with scene.start("wheel", "acme") as process:
        begin([process])
        wait_until(began.exists)
        (workplace,) = (path for path in (scene.cache / "scratch").iterdir() if "-" in path.name)
        process.send_signal(signal.SIGKILL)
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert files_below(scene.cache, "builds-v0", "built-wheel-metadata-v0/index/data") == []
    late.touch()

    wheel = scene.ask(verb="wheel")

    assert (wheel.dist.version, wheel.cached) == ("1.0", False)
    assert not workplace.exists()
    if sys.platform == "linux":
        assert processes_in(workplace) == []
    scene.assert_tidy()


def processes_in(folder: Path) -> list[int]:
    """Those whose environment names it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.fsencode(folder) in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def test_what_a_dead_build_left_is_removed_by_any_run(scene: Scene) -> None:
    scene.add_sdist()
    workplace = scene.cache / "scratch" / f"{'b' * 32}-{'f' * 16}"
    (workplace / "source").mkdir(parents=True)
    scene.ask()

    assert not workplace.exists()


KILLED = {
    "before the first byte": lambda reached: Behaviour(reached=reached, hold=threading.Event()),
    "in the middle": lambda reached: Behaviour(reached=reached, drip=0.01),
}


@pytest.mark.parametrize("verb", ["metadata", "wheel"])
@pytest.mark.parametrize("when", KILLED)
def test_a_process_that_is_killed_leaves_nothing_wrong(scene: Scene, when: str, verb: str) -> None:
    artifact = make_sdist if verb == "metadata" else make_wheel
    file = artifact(scene.folder, Project("acme", "1.0", padding=100_000))
    scene.server.add(file)
    reached = threading.Event()
    scene.server.behave("/files/*", KILLED[when](reached))
    with scene.start(verb, "acme") as process:
        begin([process])
        assert reached.wait(PATIENCE)
        if when == "in the middle":
            wait_until(lambda: files_below(scene.cache, "scratch"))
        process.send_signal(signal.SIGKILL)
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert files_below(scene.cache, "archives-v0", "built-wheel-metadata-v0", "wheel-metadata-v0") == []
    scene.server.behave("/files/*", Behaviour())

    began = time.monotonic()
    answer = scene.ask(verb=verb)

    assert time.monotonic() - began < 5
    assert (answer.dist.version, answer.cached) == ("1.0", False)
    (archive,) = files_below(scene.cache, "archives-v0")
    assert (scene.cache / archive).read_bytes() == file.read_bytes()
    scene.assert_tidy()


def test_what_a_dead_process_held_is_free_for_one_that_waits(scene: Scene) -> None:
    scene.add_sdist()
    reached = threading.Event()
    scene.server.behave("/files/*", Behaviour(reached=reached, hold=threading.Event()))
    with scene.start("metadata", "acme") as one, scene.start("metadata", "acme") as two:
        begin([one, two])
        assert reached.wait(PATIENCE)
        wait_until(lambda: len(files_below(scene.cache, "locks/users")) == 2)
        (lock,) = (scene.cache / "locks").glob("fetch-*.lock")
        holder, waiting = (one, two) if f"process {one.pid} on" in lock.read_text() else (two, one)
        scene.server.behave("/files/*", Behaviour())
        holder.kill()
        out, errors = waiting.communicate(timeout=PATIENCE)

    assert (json.loads(out), errors) == ([["1.0", False]], "")
    scene.add_sdist(Project("other", "1.0"))
    scene.ask("other")
    scene.assert_tidy()


# A cache that cannot be written to


@pytest.fixture
def read_only(scene: Scene) -> Iterator[Scene]:
    """Warm of an sdist `acme` and a wheel `tool`; nothing in it may be changed."""
    scene.add_sdist()
    scene.server.add(make_wheel(scene.folder, Project("tool", "1.0")))
    scene.server.add(make_wheel(scene.folder, Project("other", "1.0")))
    scene.ask()
    scene.ask("tool", "wheel")
    scene.server.clear()
    paths = [scene.cache, *scene.cache.rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    yield scene
    for path, mode in modes.items():
        path.chmod(mode)


@pytest.mark.skipif(sys.platform != "linux" and os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize(
    ("verb", "name"), [("metadata", "acme"), ("metadata", "tool"), ("wheel", "tool"), ("metadata", "acme>=1")]
)
def test_a_read_only_cache_serves_what_is_warm(read_only: Scene, verb: str, name: str) -> None:
    assert read_only.run(verb, name, prepare=WITHOUT_PRIVILEGES) == [["1.0", True]]

    assert read_only.server.paths == []


@pytest.mark.skipif(sys.platform != "linux" and os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_says_so_where_it_has_to_be_written(read_only: Scene) -> None:
    ((code, message, hint), warm) = read_only.run("wheel", "other", "tool", prepare=WITHOUT_PRIVILEGES)

    assert code == "cache"
    assert f"cannot write to the cache `{read_only.cache}`: Permission denied" in message
    assert "--cache-dir" in hint
    assert warm == ["1.0", True]


@pytest.mark.skipif(sys.platform != "linux" and os.geteuid() == 0, reason="root may write everywhere")
def test_metadata_in_hand_are_an_answer_in_a_read_only_cache_too(read_only: Scene) -> None:
    for _ in range(2):
        assert read_only.run("metadata", "other", prepare=WITHOUT_PRIVILEGES) == [["1.0", False]]


@pytest.mark.parametrize(
    ("verb", "limit"), [("metadata", 0), ("metadata", 2000), ("metadata", 50_000), ("wheel", 4096)]
)
def test_a_full_disk_is_told_and_heals(scene: Scene, verb: str, limit: int) -> None:
    """A limit on the size of files stands for the disk: what does not fit gets an error from the system."""
    artifact = make_sdist if verb == "metadata" else make_wheel
    scene.server.add(artifact(scene.folder, Project("acme", "1.0", padding=100_000)))
    scene.server.add(make_wheel(scene.folder, Project("tool", "1.0")), sidecar=True)
    scene.ask("tool")

    # What is imported before the limit holds may write where it likes: it is the disk of the cache that is full.
    ((code, message, hint),) = scene.run(verb, "acme", prepare=f"{HEAVY}\n{SMALL_FILES.format(limit=limit)}")
    (warm,) = scene.run("metadata", "tool", prepare=SMALL_FILES.format(limit=0))

    assert code in {"cache", "network"}
    assert "File too large" in message
    assert hint
    assert warm == ["1.0", True]
    assert files_below(scene.cache, "archives-v0") == []
    scene.assert_tidy()

    assert scene.run(verb, "acme") == [["1.0", False]]
    assert scene.run(verb, "acme") == [["1.0", True]]
    scene.assert_tidy()


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_the_umask_is_respected(scene: Scene, umask: int) -> None:
    scene.add_sdist()
    scene.server.add(make_wheel(scene.folder, Project("tool", "1.0")), sidecar=True)

    scene.run("metadata", "acme", "tool", umask=umask)
    scene.run("wheel", "tool", umask=umask)

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in scene.cache.rglob("*")}
    assert stat.S_IMODE(scene.cache.stat().st_mode) == 0o700
    assert len(modes) > 20
    assert {str(path): oct(mode) for path, mode in modes.items() if mode & umask} == {}
    kept = {path: mode for path, mode in modes.items() if path.is_file() and "locks" not in path.parts}
    assert {str(path): oct(mode) for path, mode in kept.items() if mode != 0o666 & ~umask} == {}


def test_a_cache_that_is_a_file(scene: Scene) -> None:
    scene.add_sdist()
    scene.cache.write_text("not a folder")

    ((code, message, _),) = scene.run("metadata", "acme")

    assert (code, str(scene.cache) in message) == ("cache", True)
    assert scene.cache.read_text() == "not a folder"
