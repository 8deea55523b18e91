"""The driver of build backends (PEP 517): hooks run in a process of the build environment, and nothing is believed.

A backend is any program. It may hang, print without end, end its own process or its parent, leave others behind, and
answer anything. So it has a session of its own, what it starts stays below its worker and is marked by a variable, what
it prints is counted, and what it says that it made is looked for.
"""

from __future__ import annotations

import json
import os
import re
import signal
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Self

from attrs import field, frozen

from felloe.build.failure import Cause
from felloe.build.hints import cause_of, hint_for, lacks_room
from felloe.build.variables import BUILD
from felloe.build.worker import kill_children
from felloe.cache.root import writing
from felloe.errors import BuildError
from felloe.request import redacted
from felloe.stepping import work
from felloe.values import Json

if TYPE_CHECKING:
    from anyio.abc import Process

__all__ = ["Backend", "BackendProcess", "end_processes", "marked_environ", "running_backend"]

WORKER = Path(__file__).with_name("worker.py")

CHUNK = 64 * 2**10  # bytes, as all that follow
MOST_ANSWER = 2**20
MOST_LOG = 2**20  # of the output: its beginning and its end
KEPT = 64 * 2**10  # of its end
GAP = b"\n[felloe: what was printed here is left out]\n"
MOST_IN_PIPE = 2**20  # that Linux lets a program without privileges ask for
TAIL_LINES, TAIL_WIDTH = 20, 500  # of an error, in lines and characters

GRACE_SECONDS = 1.0  # to end when nothing more is asked
SWEEP_SECONDS, SWEEP_DELAY = 5.0, 0.002  # to end when killed
LOOKS = 5  # for processes, where others never stop being started

TERMINAL_CODE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")

FAILED = frozenset({"build-failed", "backend-unavailable"})  # of itself: not stopped, nor refused for what it gave
LOOK = "look at the end of its output for the reason, or choose a version that has a wheel"
TELL = "tell the author of its build backend, or choose a version that has a wheel"
PLAIN = "leave out `-e`: this backend makes no editable wheels (PEP 660)"
WAIT = "give it more time with --build-timeout, or choose a version that has a wheel"
NO_MEMORY = "if nobody killed it, memory ran out: build fewer at a time with --concurrent-builds"


@frozen(kw_only=True)
class BackendProcess:
    """What to start: `python` of the build environment, for the project in the folder `source`.

    `backend` is `module:object`, and `backend_path` are folders relative to `source` (PEP 517). `editable` asks for a
    wheel that leads to `source` (PEP 660). `environ` is the whole environment. What is printed is added to the file
    `log`, which keeps `most_log` bytes at most: the beginning, and the end of what is longer. `timeout` is in seconds,
    of each hook. `what` is how errors name it.
    """

    python: Path
    source: Path
    backend: str
    backend_path: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(repr=False)
    log: Path
    most_log: int = MOST_LOG
    timeout: float
    what: str
    editable: bool = False

    @property
    def kind(self) -> str:
        """As the names of hooks have it."""
        return "editable" if self.editable else "wheel"


@asynccontextmanager
async def running_backend(process: BackendProcess) -> AsyncIterator[Backend]:
    """A backend, in a process that ends with the context, and with it all that it started.

    Raises BuildError where `backend_path` leads out of `source`, or the process cannot be started; CacheError, at the
    latest when the context ends, where the log cannot be written.
    """
    await work()
    import anyio

    _check_backend_path(process)
    with ExitStack() as ours:
        worker = await _started(process, ours)
        try:
            yield Backend(process, worker)
            await worker.finish()
        finally:
            with anyio.CancelScope(shield=True):
                await worker.end()


class Backend:
    """The hooks of a backend that is running, to be called one after the other; after `build-timeout`, no more of them.

    Every hook raises BuildError, with the payload `hook`, `cause` (see `felloe.build.failure`), `log` (a path) and
    `tail` (the last lines of the output), and the code `build-failed`, `build-timeout`, `backend-unavailable` (it
    cannot be imported), `bad-backend-output`, or `no-room` (the disk is full).
    """

    def __init__(self, process: BackendProcess, worker: _Worker) -> None:
        self._process = process
        self._worker = worker

    async def requires_for_build(self, settings: Mapping[str, Json]) -> tuple[str, ...]:
        """What `get_requires_for_build_...` wants besides, not parsed; nothing where there is no such hook."""
        hook = f"get_requires_for_build_{self._process.kind}"
        answer = await self._call(hook, dict(settings))
        requirements = answer.get("value", [])
        if not isinstance(requirements, list) or not all(isinstance(each, str) for each in requirements):
            raise self._bad(hook, "did not give a list of requirements")
        return tuple(each.encode("utf-8", "replace").decode() for each in requirements)

    async def prepare_metadata(self, settings: Mapping[str, Json], into: Path) -> Path | None:
        """The `.dist-info` folder that the backend made in the empty folder `into`; None where it has no such hook."""
        hook = f"prepare_metadata_for_build_{self._process.kind}"
        place = _real(into)
        answer = await self._call(hook, str(into), dict(settings))
        if "value" not in answer:
            return None
        path = self._made(hook, answer["value"], ".dist-info", into, place)
        if not stat.S_ISDIR(_mode(path)):
            raise self._bad(hook, f"named `{_shown(path.name)}`, which is not there or not a folder")
        return path

    async def build_wheel(self, settings: Mapping[str, Json], into: Path, metadata: Path | None) -> Path:
        """The wheel that the backend made in the empty folder `into`: a regular file, and the only wheel there.

        `metadata` is the folder that `prepare_metadata` gave, which the wheel has to agree with.
        """
        hook = f"build_{self._process.kind}"
        place = _real(into)
        answer = await self._call(hook, str(into), dict(settings), None if metadata is None else str(metadata))
        if "value" not in answer:
            hint = PLAIN if self._process.editable else TELL
            raise self._error(hook, f"its build backend has no `{hook}`", "backend-unavailable", hint=hint)
        path = self._made(hook, answer["value"], ".whl", into, place)
        if not stat.S_ISREG(_mode(path)):
            raise self._bad(hook, f"named `{_shown(path.name)}`, which is not there or not a regular file")
        if others := [name for name in _names(into) if name.endswith(".whl") and name != path.name]:
            raise self._bad(hook, f"made `{_shown(others[0])}` besides `{_shown(path.name)}`")
        return path

    def _made(self, hook: str, name: Json, suffix: str, into: Path, place: Path | None) -> Path:
        """The path of what a hook says that it made in `into`, which was at `place` before."""
        if not isinstance(name, str):
            raise self._bad(hook, f"did not give the name of a `{suffix}`")
        if not name.endswith(suffix) or not _is_basename(name):
            raise self._bad(hook, f"gave `{_shown(name)}`, which is not the name of a `{suffix}`")
        if place is None or _real(into) != place:
            raise self._bad(hook, "took away the folder that it was given")
        return into / name

    async def _call(self, hook: str, *arguments: Json) -> dict[str, Json]:
        """The answer: with the `value` that the hook gave, without where there is no such hook. Raises BuildError."""
        await work()
        import anyio

        try:
            with anyio.fail_after(self._process.timeout):
                raw = await self._worker.ask(self._request(hook, arguments))
        except TimeoutError:
            reason = f"`{hook}` took longer than {self._process.timeout:g} s"
            raise self._error(hook, reason, "build-timeout", hint=WAIT) from None
        if raw is None:
            raise self._no_answer(hook)
        return self._checked(hook, _parsed(raw))

    def _request(self, hook: str, arguments: Sequence[Json]) -> bytes:
        source = self._process.source.absolute()
        request = {
            "source": str(source),
            "backend": self._process.backend,
            "backend-path": [str(source / folder) for folder in self._process.backend_path],
            "hook": hook,
            "arguments": arguments,
        }
        return json.dumps(request).encode() + b"\n"

    def _checked(self, hook: str, answer: dict[str, Json]) -> dict[str, Json]:
        """`answer` where it tells of no failure. Raises BuildError."""
        said = _shown(f"{answer.get('type')}: {answer.get('text')}").removesuffix(":")
        match answer.get("kind"):
            case "result" | "absent":
                return answer
            case "failed":
                raise self._error(hook, f"`{hook}` failed with {said}", "build-failed")
            case "unavailable":
                backend = _shown(self._process.backend)
                raise self._error(hook, f"its build backend `{backend}` cannot be used: {said}", "backend-unavailable")
            case "not-json":
                raise self._bad(hook, "gave a value that is no text and no list of texts")
            case "too-large":
                raise self._bad(hook, f"gave more than {MOST_ANSWER} bytes")
        raise self._bad(hook, "gave an answer that cannot be read")

    def _no_answer(self, hook: str) -> BuildError:
        code = self._worker.returncode
        if code is None:
            return self._bad(hook, f"gave more than {MOST_ANSWER} bytes")
        hint = NO_MEMORY if _signal_of(code) == signal.SIGKILL else LOOK
        cause: Cause | None = "accident" if _signal_of(code) else None
        return self._error(hook, f"its process {_ending(code)} in `{hook}`", "build-failed", hint=hint, cause=cause)

    def _bad(self, hook: str, what: str) -> BuildError:
        return self._error(hook, f"`{hook}` {what}", "bad-backend-output", hint=TELL)

    def _error(self, hook: str, reason: str, code: str, *, hint: str = LOOK, cause: Cause | None = None) -> BuildError:
        lines = self._worker.log.last_lines()
        said = [*lines, reason]
        if code in FAILED and lacks_room(said):
            code = "no-room"
        cause = cause or cause_of(said) or ("machine" if code == "build-timeout" else "project")
        hint = hint_for(said) or hint
        return _error(self._process, reason, code, hint, cause=cause, hook=hook, tail=lines[-TAIL_LINES:])


def _error(process: BackendProcess, reason: str, code: str, hint: str, **payload: Json) -> BuildError:
    message = f"{process.what} cannot be built: {reason}"
    return BuildError(message, hint=hint, code=code, **{"hook": "", "tail": [], "log": str(process.log), **payload})


def _check_backend_path(process: BackendProcess) -> None:
    """Raises BuildError where a folder is not one of the project's (PEP 517)."""
    source = process.source.resolve()
    for folder in process.backend_path:
        if Path(folder).is_absolute() or not _leads_below(source, folder):
            reason = f"its `backend-path` has `{_shown(folder)}`, which is not inside of it"
            raise _error(process, reason, "backend-unavailable", TELL)


def _leads_below(source: Path, folder: str) -> bool:
    try:
        return (source / folder).resolve().is_relative_to(source)
    except (OSError, ValueError, RuntimeError):  # no possible name, or links in a circle
        return False


# What a backend says that it made


def _real(folder: Path) -> Path | None:
    try:
        return folder.resolve(strict=True)
    except (OSError, RuntimeError):
        return None


def _mode(path: Path) -> int:
    """The mode of what is at `path`, links not followed; 0 where nothing is."""
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def _is_basename(name: str) -> bool:
    return name.isprintable() and not name.startswith(".") and not set(name) & set("/\\")


def _parsed(raw: bytes) -> dict[str, Json]:
    """Empty where it is not what a worker sends."""
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


# The process


class _Worker:
    """A process that runs `worker.py`, our ends of the pipes to it, and its log."""

    def __init__(self, process: Process, mark: bytes, requests: FileIO, answers: FileIO, log: _Log) -> None:
        self._process = process
        self._mark = mark
        self._requests = requests
        self._answers = answers
        self.log = log

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def ask(self, request: bytes) -> bytes | None:
        """The line that answers `request`; None where it is longer than allowed, or the process ended without one."""
        answer = bytearray()

        async def exchange() -> None:
            with suppress(BrokenPipeError):  # then the process ends, which is waited for
                await _send(self._requests, request)
            await _receive_line(self._answers, answer)

        await self._until_end_or(exchange)
        line, newline, _ = bytes(answer + _rest(self._answers, MOST_ANSWER)).partition(b"\n")
        return line if newline else None

    async def finish(self) -> None:
        """Says that nothing more is asked. What a backend does at exit may remove its temporary files."""
        import anyio

        self._requests.close()
        with anyio.move_on_after(GRACE_SECONDS):
            await self._until_end_or(anyio.sleep_forever)

    async def end(self) -> None:
        """Kills all that is left: below the worker, in its session, and what has the mark."""
        import anyio

        with anyio.move_on_after(SWEEP_SECONDS):
            await self._end_children()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with anyio.move_on_after(SWEEP_SECONDS):
            await _sweep(self._mark)
        await self._process.aclose()
        self.log.catch_up()

    async def _end_children(self) -> None:
        """Kills those of the worker until it ends, which it does when it has none; it gets what they leave."""
        import anyio

        pid = self._process.pid
        while self._process.returncode is None and kill_children(pid):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGCONT)  # a backend may have stopped it
            with anyio.move_on_after(SWEEP_DELAY):
                await self._process.wait()

    async def _until_end_or(self, done: Callable[[], Awaitable[None]]) -> None:
        """Until the process ends or `done` returns; meanwhile, what is printed is logged."""
        import anyio

        async def watch() -> None:
            await done()
            group.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self.log.follow)
                group.start_soon(watch)
                await self._process.wait()
                group.cancel_scope.cancel()
        finally:
            self.log.catch_up()


async def _started(process: BackendProcess, ours: ExitStack) -> _Worker:
    """What stays open here is closed by `ours`. Raises BuildError."""
    import anyio

    mark = os.urandom(16).hex()
    environ = marked_environ(process.environ, mark)
    with writing(process.log.parent):
        file = ours.enter_context(process.log.open("ab", buffering=0))
    with ExitStack() as theirs:
        try:
            stdin, requests = _pipe(theirs, ours)
            answers, stdout = _pipe(ours, theirs)
            output, stderr = _pipe(ours, theirs)
            started = await anyio.open_process(
                [str(process.python), str(WORKER)],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=process.source,
                env=environ,
                start_new_session=True,
            )
        except OSError as error:
            reason = f"its process cannot be started: {error}"
            raise _error(process, reason, "build-failed", LOOK, cause="accident") from error
    log = ours.enter_context(_Log(file, output, process))
    for end in (requests, answers, output):
        os.set_blocking(end.fileno(), False)
    return _Worker(started, mark.encode(), requests, answers, log)


def marked_environ(environ: Mapping[str, str], mark: str) -> dict[str, str]:
    """The environment by which the processes of a build are known, besides the marks that it has.

    In a build of another felloe, what is started here belongs to that build as well.
    """
    return {**environ, BUILD: f"{environ.get(BUILD, '')} {mark}".strip()}


async def end_processes(marked: str) -> None:
    """Kills those of a build that were left with this mark, where the system tells (Linux)."""
    await work()
    import anyio

    with anyio.move_on_after(SWEEP_SECONDS):
        await _sweep(os.fsencode(marked))


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[FileIO, FileIO]:
    """The ends of a new pipe, each closed by its stack."""
    reading, writing = os.pipe()
    return reader.enter_context(FileIO(reading, "r")), writer.enter_context(FileIO(writing, "w"))


async def _send(end: FileIO, data: bytes) -> None:
    import anyio

    rest = memoryview(data)
    while rest:
        await anyio.wait_writable(end)
        rest = rest[end.write(rest) or 0 :]


async def _receive_line(end: FileIO, into: bytearray) -> None:
    """Until there is a newline, or too much. Never returns where nobody can write any more."""
    import anyio

    while b"\n" not in into and len(into) <= MOST_ANSWER:
        await anyio.wait_readable(end)
        data = end.read(CHUNK)
        if data == b"":
            await anyio.sleep_forever()
        into += data or b""


def _rest(end: FileIO, most: int) -> bytes:
    """What is in a pipe now, up to about `most` bytes."""
    data = bytearray()
    while len(data) < most and (chunk := end.read(CHUNK)):
        data += chunk
    return bytes(data)


async def _sweep(mark: bytes) -> None:
    """Kills every process with `mark` in its environment, until there is none. Only Linux shows them.

    One may start another and end while they are looked for: what was started meanwhile has to be looked for as well.
    """
    import anyio

    looks = 0
    while looks < LOOKS:
        newest = _newest_process()
        found = _kill_marked(mark)
        if not found and _newest_process() == newest:
            return
        looks = 0 if found else looks + 1
        await anyio.sleep(SWEEP_DELAY if found else 0)  # what is killed takes its time


def _kill_marked(mark: bytes) -> bool:
    """Whether there was any."""
    found = False
    for pid in sorted((int(name) for name in _names(Path("/proc")) if name.isdecimal()), reverse=True):
        if _has_mark(_read(f"/proc/{pid}/environ"), mark):
            found = True
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    return found


def _has_mark(environ: bytes, mark: bytes) -> bool:
    """By the variable that is for it: a path may be in others too, as in PWD of a shell that somebody started there."""
    return any(each.startswith(b"%s=" % BUILD.encode()) and mark in each for each in environ.split(b"\0"))


def _newest_process() -> bytes:
    """The number of the process that was started last, by whomever."""
    return _read("/proc/loadavg").rpartition(b" ")[2]


def _read(path: str) -> bytes:
    """Empty where there is nothing, as for a process that ended, or it is not ours to look at."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _signal_of(returncode: int) -> int:
    """The number of the signal that ended a process, as it is told by a system and by shells; 0 for none."""
    return -returncode if returncode < 0 else max(returncode - 128, 0)


def _ending(returncode: int) -> str:
    try:
        return f"was killed by {signal.Signals(_signal_of(returncode)).name}"
    except ValueError:
        return f"ended with exit code {returncode}"


# What it prints


class _Log:
    """What comes out of a pipe: the first bytes go to `file`, the last ones are kept, and go there after a gap.

    A context: it raises CacheError at its end where something could not be written.
    """

    def __init__(self, file: FileIO, output: FileIO, process: BackendProcess) -> None:
        self._file = file
        self._output = output
        self._folder = process.log.parent
        self._failure: OSError | None = None
        self._most_end = min(KEPT, process.most_log // 2)
        self._most_begin = max(process.most_log - self._most_end - len(GAP), 0)
        self._room = max(self._most_begin - file.tell(), 0)
        self._end = bytearray()
        self._printed = 0
        self._left_out = 0

    async def follow(self) -> None:
        """Until nobody can print any more."""
        import anyio

        while True:
            await anyio.wait_readable(self._output)
            data = self._output.read(CHUNK)
            if data == b"":
                return
            self._add(data or b"")

    def catch_up(self) -> None:
        """What was printed until now."""
        self._add(_rest(self._output, MOST_IN_PIPE))

    def last_lines(self) -> list[str]:
        """For people: without what a terminal would obey, and without secrets of URLs."""
        text = self._end.decode("utf-8", "replace")
        if self._printed > KEPT:  # the first line may have lost the begin of a URL, by which a secret is known
            text = text.partition("\n")[2]
        lines = text.rstrip().split("\n") if text.strip() else []
        return [_shown(line.rstrip().rpartition("\r")[2]) for line in lines]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """A build that failed may have failed for the same reason; who gives up is not told."""
        self._write_end()
        if self._failure is not None and (kind is None or issubclass(kind, Exception)):
            with writing(self._folder):
                raise self._failure

    def _write_end(self) -> None:
        """In place of the end of a process before, where there was one: the log has one beginning and one end."""
        if self._left_out == 0:
            return
        shown = self._end[-min(self._left_out, self._most_end) :]
        is_gap = self._left_out > len(shown) or self._file.tell() > self._most_begin
        with suppress(OSError):  # what cannot be cut cannot be written to either, which is told
            self._file.truncate(min(self._file.tell(), self._most_begin))
        self._write((GAP if is_gap else b"") + shown)

    def _add(self, data: bytes) -> None:
        begin = data[: self._room]
        self._printed += len(data)
        self._room -= len(begin)
        self._left_out += len(data) - len(begin)
        self._write(begin)
        self._end += data
        del self._end[:-KEPT]

    def _write(self, data: bytes) -> None:
        """Nothing more after a failure, which is told at the end: the output has to be read on."""
        try:
            while data and self._failure is None:
                data = data[self._file.write(data) or 0 :]
        except OSError as error:
            self._failure = error


def _shown(text: str) -> str:
    """One line for people."""
    text = "".join(char if char.isprintable() else " " for char in TERMINAL_CODE.sub("", redacted(text)))
    return text[:TAIL_WIDTH].rstrip()
