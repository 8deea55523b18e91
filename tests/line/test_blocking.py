"""The Database without `await`: what is warm is stepped, what is cold runs on a thread, and Ctrl-C ends both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from felloe import BlockingDatabase, Database
from felloe.errors import BuildError, HashMismatchError, NetworkError, NoMatchError, OfflineError, ProjectNotFound
from felloe.progress import Event
from felloe.testing import Behaviour, IndexServer, Project, make_sdist, make_wheel
from tests.fixtures.line import Told, config_of, files_below, own_sources
from tests.fixtures.plugins import NO_FILES, SETTINGS

PATIENCE = 20.0
HEAVY = {
    "anyio", "asyncio", "filelock", "httpx", "packaging.metadata", "rich", "ssl", "stamina", "trio", "truststore",
}  # fmt: skip


# The scene


class Scene:
    """An index and a cache; `open` is a run of its own each time."""

    def __init__(self, folder: Path, server: IndexServer) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.server = server
        self.told = Told()

    def open(self, **options: Any) -> BlockingDatabase:
        self.told = Told()
        config = config_of(self.cache, self.server, **options)
        return BlockingDatabase(config, reporter=self.told, sources=own_sources())

    def add(self, *names: str) -> None:
        for name in names:
            self.server.add(make_wheel(self.folder, Project(name, "1.0")), sidecar=True)

    def warm(self, *names: str) -> None:
        self.add(*names)
        with self.open() as database:
            for name in names:
                database.metadata(name)
        self.server.clear()

    def python(self, code: str, *arguments: str) -> subprocess.Popen[str]:
        """A process of its own, configured by its environment."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        own = {"FELLOE_CACHE_DIR": str(self.cache), "FELLOE_INDEX_URL": self.server.index_url}
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=self.folder,
            env={**inherited, **NO_FILES, **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with IndexServer() as server:
        yield Scene(tmp_path, server)


def is_stepped(database: BlockingDatabase) -> bool:
    return database._portal is None and not any("portal" in thread.name for thread in threading.enumerate())


# What is warm


QUESTIONS: dict[str, Callable[[BlockingDatabase], object]] = {
    "find": lambda database: database.find("acme"),
    "select": lambda database: database.select(database.find("acme"), "acme"),
    "interpreter": lambda database: database.interpreter(),
    "metadata": lambda database: database.metadata("acme"),
    "metadata, cached": lambda database: database.metadata("acme", effort="cached"),
    "metadata of a dist": lambda database: database.metadata(database.find("acme")[0]),
    "metadata_many": lambda database: list(database.metadata_many(["acme", "other", "acme"])),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_warm_answer_is_stepped(scene: Scene, question: str) -> None:
    scene.warm("acme", "other")
    with scene.open() as database:
        assert QUESTIONS[question](database)
        assert is_stepped(database)
    assert scene.server.paths == []


def test_a_warm_answer_leaves_no_trace(scene: Scene) -> None:
    scene.warm("acme")
    before = {path: (scene.cache / path).stat().st_mtime_ns for path in files_below(scene.cache)}

    with scene.open() as database:
        database.metadata("acme")

    assert {path: (scene.cache / path).stat().st_mtime_ns for path in files_below(scene.cache)} == before


LIGHT = """\
import json, sys, threading
from felloe import BlockingDatabase
with BlockingDatabase() as database:
    answers = [database.metadata(name) for name in sys.argv[1:]]
    answers += [outcome.value for outcome in database.metadata_many(sys.argv[1:])]
print(json.dumps([[a.cached for a in answers], [t.name for t in threading.enumerate()], sorted(sys.modules)]))
"""


def test_a_warm_run_starts_no_thread_and_imports_nothing_heavy(scene: Scene) -> None:
    scene.add("acme")
    scene.server.add(make_sdist(scene.folder, Project("other", "1.0")))
    for expected in (False, True):
        process = scene.python(LIGHT, "acme", "other")
        out, errors = process.communicate(timeout=PATIENCE)
        cached, threads, modules = json.loads(out)
        assert (cached[0], errors) == (expected, "")

    assert cached == [True] * 4
    assert threads == ["MainThread"]
    assert HEAVY & set(modules) == set()


def test_a_warm_run_parses_no_metadata(scene: Scene) -> None:
    """Not even that of the installed sources."""
    scene.warm("acme")

    out, _ = scene.python(LIGHT, "acme").communicate(timeout=PATIENCE)

    assert "email.parser" not in json.loads(out)[2]


def test_the_line_is_the_same_with_and_without_await(scene: Scene) -> None:
    answers = {"find", "select", "interpreter", "metadata", "wheel", "explain", "metadata_many", "wheels"}

    assert all(callable(getattr(Database, name)) for name in answers)
    assert {name for name in vars(BlockingDatabase) if not name.startswith("_")} == {*answers, "close"}


# Events


def test_events_of_an_attempt_that_is_given_up_are_not_told(scene: Scene) -> None:
    scene.add("acme")
    with scene.open() as database:
        database.metadata("acme")

        assert scene.told.codes().count("rung") == 1
        scene.told.events.clear()
        database.metadata("acme")

    codes = scene.told.codes()
    assert sorted(codes) == sorted(set(codes))
    assert codes[-2:] == ["fresh", "rung"]


def test_a_warning_of_a_warm_answer_is_told_once(scene: Scene) -> None:
    """Found while stepping, where it cannot be healed; found again when it is."""
    scene.warm("acme")
    (record,) = files_below(scene.cache, "wheel-metadata-v0")
    (scene.cache / record).write_text("{}")

    with scene.open() as database:
        assert not database.metadata("acme").cached

    warnings = scene.told.messages("warning")
    assert len(warnings) <= 2  # by the look-up, and before it is replaced
    assert {message.split("`")[1] for message in warnings} == {record}


def test_a_reporter_may_raise(scene: Scene) -> None:
    """It is the caller's own error."""
    scene.warm("acme")

    class StopError(Exception):
        pass

    class Stopping:
        def report(self, event: Event) -> None:
            raise StopError

    config = config_of(scene.cache, scene.server)
    with BlockingDatabase(config, reporter=Stopping(), sources=own_sources()) as database, pytest.raises(StopError):
        database.metadata("acme")


# Where an event loop runs


@pytest.mark.anyio
async def test_inside_an_event_loop(scene: Scene) -> None:
    scene.add("acme", "other")
    with scene.open() as database:
        cold = database.metadata("acme")
        warm = database.metadata("acme")
        batch = {outcome.item: outcome.value.cached for outcome in database.metadata_many(["acme", "other"])}
        wheel = database.wheel("other")

    assert (cold.cached, warm.cached) == (False, True)
    assert batch == {"acme": True, "other": False}
    assert wheel.filename == "other-1.0-py3-none-any.whl"


# Threads


ASKING: dict[str, Callable[[BlockingDatabase], object]] = {
    **{name: ask for name, ask in QUESTIONS.items() if name not in {"select", "interpreter"}},
    "wheel": lambda database: database.wheel("acme"),
    "wheels": lambda database: list(database.wheels(["acme"])),
}


def in_threads(number: int, job: Callable[[], object]) -> list[BaseException | None]:
    """What `job` raises in each of some threads, which begin it at once."""
    barrier = threading.Barrier(number, timeout=PATIENCE)
    raised: list[BaseException | None] = []

    def run() -> None:
        barrier.wait()
        try:
            job()
            raised.append(None)
        except Exception as error:  # noqa: BLE001  # it is what is asked for
            raised.append(error)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return raised


@pytest.mark.parametrize("question", ASKING)
def test_another_thread_is_told_that_it_may_not_ask(scene: Scene, question: str) -> None:
    scene.warm("acme", "other")
    with scene.open() as database:
        database.metadata("acme")
        (error,) = in_threads(1, lambda: ASKING[question](database))
        assert database.metadata("acme").cached

    assert isinstance(error, RuntimeError)
    assert str(error) == "this BlockingDatabase answers another thread: open one in each thread, they share the cache"


@pytest.mark.parametrize("warm", [True, False])
def test_of_threads_that_ask_at_once_one_is_answered(scene: Scene, warm: bool) -> None:
    scene.add("acme")
    if warm:
        scene.warm("acme")
    with scene.open() as database:
        raised = in_threads(4, lambda: database.metadata("acme"))

    assert raised.count(None) == 1
    assert {str(error).partition(":")[0] for error in raised if error} == {
        "this BlockingDatabase answers another thread"
    }


@pytest.mark.parametrize("warm", [True, False])
def test_another_thread_may_close_it(scene: Scene, warm: bool) -> None:
    scene.add("acme")
    if warm:
        scene.warm("acme")
    database = scene.open()
    database.metadata("acme")

    assert in_threads(1, database.close) == [None]
    assert is_stepped(database)


def test_a_thread_other_than_the_one_that_made_it_may_ask(scene: Scene) -> None:
    scene.add("acme")
    with scene.open() as database:
        assert in_threads(1, lambda: database.metadata("acme")) == [None]


# What is cold


def test_cold_answers(scene: Scene) -> None:
    scene.add("acme")
    with scene.open() as database:
        assert not database.metadata("acme").cached
        wheel = database.wheel("acme")
        assert wheel.path.read_bytes() == (scene.folder / wheel.filename).read_bytes()
        assert database.wheel("acme").cached

    assert files_below(scene.cache, "scratch") == []
    assert files_below(scene.cache, "locks/users") == []
    assert not any("portal" in thread.name for thread in threading.enumerate())


def test_a_batch_tells_what_is_warm_first(scene: Scene) -> None:
    scene.warm("warm", "tepid")
    scene.add("cold", "icy")
    release = threading.Event()
    scene.server.behave("/files/icy*", Behaviour(hold=release))
    cached = {}

    with scene.open() as database:
        for outcome in database.metadata_many(["icy", "warm", "nowhere", "cold", "tepid"]):
            cached[outcome.item] = outcome.value.cached if outcome.error is None else type(outcome.error)
            if len(cached) == 4:
                release.set()

    assert list(cached)[:2] == ["warm", "tepid"]
    assert list(cached)[4] == "icy"
    assert cached == {"warm": True, "tepid": True, "cold": False, "nowhere": ProjectNotFound, "icy": False}


def test_an_empty_batch(scene: Scene) -> None:
    with scene.open() as database:
        assert list(database.metadata_many([])) == list(database.wheels([])) == []
        assert is_stepped(database)


@pytest.mark.parametrize("how", ["break", "close", "raise"])
def test_a_caller_that_stops_early(scene: Scene, how: str) -> None:
    """What nobody waits for any more does not hold up anybody, and what comes next is answered."""
    scene.add("acme", "held", "other")
    never = threading.Event()
    scene.server.behave("/files/held*", Behaviour(hold=never))
    with scene.open() as database:
        began = time.monotonic()
        outcomes = database.metadata_many(["held", "acme", "held"])
        if how == "break":
            for outcome in outcomes:
                assert outcome.item == "acme"
                break
            del outcomes
        elif how == "close":
            assert next(outcomes).item == "acme"
            outcomes.close()  # type: ignore[attr-defined]  # it is a generator
        else:
            with pytest.raises(RuntimeError, match="enough"):
                stop_at_the_first(outcomes)
        assert not database.metadata("other").cached

    assert time.monotonic() - began < 5
    assert files_below(scene.cache, "scratch") == []


def stop_at_the_first(outcomes: Iterator[object]) -> None:
    for _ in outcomes:
        raise RuntimeError("enough")


def test_a_batch_that_nobody_ends_ends_with_its_database(scene: Scene) -> None:
    scene.add("acme", "held")
    scene.server.behave("/files/held*", Behaviour(hold=threading.Event()))
    began = time.monotonic()
    with scene.open() as database:
        outcomes = database.metadata_many(["held", "acme"])
        assert next(outcomes).item == "acme"
    assert time.monotonic() - began < 5


# Errors


ERRORS: dict[str, tuple[type[Exception], Callable[[Scene], None]]] = {
    "nowhere": (ProjectNotFound, lambda scene: None),
    "acme>2": (NoMatchError, lambda scene: None),
    "broken": (NetworkError, lambda scene: scene.server.behave("/simple/broken/", Behaviour(statuses=[500] * 9))),
    "sdist": (BuildError, lambda scene: None),
    "forged": (HashMismatchError, lambda scene: None),
}


@pytest.mark.parametrize("text", ERRORS)
def test_errors_are_the_original_ones(scene: Scene, text: str) -> None:
    error, prepare = ERRORS[text]
    scene.add("acme")
    scene.server.add(make_sdist(scene.folder, Project("sdist", "1.0", dynamic=["Requires-Dist"]), pyproject="[broken"))
    scene.server.add(make_sdist(scene.folder, Project("forged", "1.0")), hashes={"sha256": "0" * 64})
    prepare(scene)

    with scene.open() as database:
        with pytest.raises(error) as raised:
            database.metadata(text)
        (outcome,) = database.metadata_many([text])

    assert type(raised.value) is type(outcome.error) is error
    assert raised.value.hint or error is ProjectNotFound
    shown = "".join(traceback.format_exception(raised.value))
    assert "NotSteppable" not in shown
    assert "ExceptionGroup" not in shown


def test_an_error_needs_no_network_where_none_is_allowed(scene: Scene) -> None:
    with scene.open(offline=True) as database, pytest.raises(OfflineError):
        database.metadata("acme")
    assert scene.server.paths == []


# Ctrl-C


INTERRUPTED = """\
import sys, traceback
from felloe import BlockingDatabase
names = sys.argv[2:]
questions = {
    "metadata": lambda database: database.metadata(names[0]),
    "wheel": lambda database: database.wheel(names[0]),
    "metadata_many": lambda database: list(database.metadata_many(names)),
    "wheels": lambda database: [outcome for outcome in database.wheels(names)],
}
with BlockingDatabase() as database:
    questions[sys.argv[1]](database)
"""


@pytest.mark.parametrize("question", ["metadata", "wheel", "metadata_many", "wheels"])
def test_ctrl_c_ends_it(scene: Scene, question: str) -> None:
    names = [f"acme-{number}" for number in range(5)]
    scene.add(*names)
    reached = threading.Event()
    scene.server.behave("/files/*", Behaviour(reached=reached, hold=threading.Event()))

    with scene.python(INTERRUPTED, question, *names) as process:
        assert reached.wait(PATIENCE)
        time.sleep(0.2)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert time.monotonic() - began < 5
    assert process.returncode == -signal.SIGINT, errors
    assert errors.rstrip().endswith("KeyboardInterrupt"), errors
    assert "During handling" not in errors
    assert "already running" not in errors
    assert files_below(scene.cache, "scratch", "locks/users", "archives-v0") == []

    scene.server.behave("/files/*", Behaviour())
    with scene.open() as database:
        assert [outcome.error for outcome in database.metadata_many(names)] == [None] * 5
