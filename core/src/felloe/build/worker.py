"""Calls the hooks of a build backend (PEP 517), one after the other, in the Python of the build environment.

A script: it knows nothing of felloe, and has to run on Python 3.8. Requests are lines of JSON on its standard input,
answers are lines of JSON on its standard output; a backend gets neither, and all that it prints goes to standard error.

The backend runs in a child of this process. So a backend that kills its parent kills this one, and never felloe. On
Linux, what the backend leaves becomes a child of this process, which kills it before it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

TYPE_CHECKING = False  # the module `typing` costs more than all of this
if TYPE_CHECKING:
    from typing import Any, BinaryIO, NoReturn

GRACE = 1.0  # seconds that a backend has to end by itself when nobody listens any more
KILLING, KILLING_DELAY = 5.0, 0.001  # seconds that what is killed has to end, and between two looks
PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h
MOST_ANSWER = 2**20  # bytes
MOST_TEXT = 2000  # characters of what an exception says


def main() -> None:
    _forget_own_folder()
    requests, answers, log = _take_streams()
    waiting, ready = os.pipe()
    child = os.fork()
    if child:
        _supervise(child, requests, ready)
    os.close(ready)
    os.read(waiting, 1)  # until the parent closes it: what is started from now on is not lost
    os.close(waiting)
    serve(os.fdopen(requests, "rb"), os.fdopen(answers, "wb"), os.fdopen(log, "wb"))


def _forget_own_folder() -> None:
    """Python puts the folder of a script first on `sys.path`: what lies there is not for the backend."""
    if sys.path and sys.path[0] == os.path.dirname(os.path.realpath(__file__)):
        del sys.path[0]


def _take_streams() -> tuple[int, int, int]:
    """Copies of stdin, stdout and stderr that no program inherits. They become: nothing, stderr, stderr."""
    taken = os.dup(0), os.dup(1), os.dup(2)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    # What was printed is not lost where the process is killed, and no character is an error.
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]  # it is no other
    return taken


# The parent


def _supervise(child: int, requests: int, ready: int) -> NoReturn:
    """Ends as the child does; a signal is told as shells tell it. What the child leaves is killed before."""
    import _thread

    adopting = _adopt_orphans()
    os.close(ready)
    _thread.start_new_thread(_end_all_without_felloe, (requests,), {"adopting": adopting})
    status = _wait_for(child)
    _end_children()
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _adopt_orphans() -> bool:
    """From now on, what loses its parent becomes a child of this process, in whatever session it is. Only on Linux.

    https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html
    """
    try:
        import ctypes  # after the fork: what it costs is not in the backend's process

        return bool(ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except Exception:  # a Python may be made without
        return False


def _wait_for(child: int) -> int:
    """How it ended. So may orphans meanwhile."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return status


def _end_children() -> None:
    """Kills until there are none. The children of what is killed become ours, so these are killed as well."""
    import time

    deadline = time.monotonic() + KILLING
    with contextlib.suppress(ChildProcessError):  # there are no more
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                kill_children(os.getpid())
                time.sleep(KILLING_DELAY)


def _end_all_without_felloe(requests: int, *, adopting: bool) -> None:
    """Waits until nobody can send requests any more, which is so when felloe was killed, and kills what is left."""
    import select
    import signal
    import time

    waiting = select.poll()
    waiting.register(requests, 0)  # no event but that the other end is closed
    waiting.poll()
    time.sleep(GRACE)
    if not (adopting and kill_children(os.getpid())):  # else the backend ends, and the main thread kills what it leaves
        os.killpg(os.getpid(), signal.SIGKILL)


def kill_children(pid: int) -> bool:
    """Kills the children of a process. Whether there were any, also such as ended before and are not yet waited for.

    False where the system does not show them: only Linux does.
    """
    import signal

    children = children_of(pid)
    for child in children:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGKILL)
    return bool(children)


def children_of(pid: int) -> list[int]:
    folder = f"/proc/{pid}/task"
    try:
        return [int(child) for thread in os.listdir(folder) for child in _read(f"{folder}/{thread}/children").split()]
    except OSError:  # some kernels are built without that
        return _children_by_parent(pid)


def _children_by_parent(pid: int) -> list[int]:
    """From a look at all processes, which takes longer and may miss one that is just started."""
    found = []
    with contextlib.suppress(OSError):  # no Linux
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):  # ended since
                # After the name, which may be anything in parentheses: the state and the parent (proc_pid_stat(5)).
                if int(_read(f"/proc/{name}/stat").rpartition(b")")[2].split()[1]) == pid:
                    found.append(int(name))
    return found


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


# The child


def serve(requests: BinaryIO, answers: BinaryIO, log: BinaryIO) -> None:
    """Answers until there are no more requests."""
    parent = os.getppid()
    for line in requests:
        answer = _encoded(_respond(json.loads(line), log))
        if os.getppid() != parent:
            os._exit(1)  # nobody would end what this process leaves: it is no build to rely on
        _flush()
        answers.write(answer + b"\n")
        answers.flush()


def _respond(request: dict[str, Any], log: BinaryIO) -> dict[str, Any]:
    try:
        os.chdir(request["source"])  # a hook may have left it
        backend = _load(request["backend"], request["backend-path"])
        hook = getattr(backend, request["hook"], None)
    except BaseException as error:
        return _failure("unavailable", error, log)
    if hook is None:
        return {"kind": "absent"}
    try:
        return {"kind": "result", "value": hook(*request["arguments"])}
    except BaseException as error:
        return _failure("failed", error, log)


def _load(name: str, folders: list[str]) -> Any:
    """The object `module:attribute.attribute`. A module in `folders` (absolute) comes before all others."""
    import importlib

    module_name, _, attributes = name.partition(":")
    if sys.path[: len(folders)] != folders:
        sys.path[:0] = folders
    module = importlib.import_module(module_name)
    if folders and not any(_is_below(folder, place) for folder in folders for place in _places(module)):
        raise ImportError(f"module {module_name!r} was found outside of backend-path")
    backend = module
    for attribute in filter(None, attributes.split(".")):
        backend = getattr(backend, attribute)
    return backend


def _places(module: Any) -> list[str]:
    file = getattr(module, "__file__", None)
    return [file] if file else list(getattr(module, "__path__", []))


def _is_below(folder: str, path: str) -> bool:
    folder, path = os.path.realpath(folder), os.path.realpath(path)
    return os.path.commonpath([folder, path]) == folder


def _failure(kind: str, error: BaseException, log: BinaryIO) -> dict[str, Any]:
    text = ""
    with contextlib.suppress(BaseException):  # what an exception does when it is asked is the backend's as well
        text = str(error)[:MOST_TEXT]
    with contextlib.suppress(BaseException):
        import traceback

        _flush()
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        log.write("".join(lines).encode("utf-8", "replace"))
        log.flush()
    return {"kind": kind, "type": str(type(error).__name__), "text": text}


def _encoded(answer: dict[str, Any]) -> bytes:
    try:
        encoded = json.dumps(answer).encode()
    except BaseException as error:
        return json.dumps({"kind": "not-json", "type": str(type(error).__name__)}).encode()
    return encoded if len(encoded) <= MOST_ANSWER else b'{"kind": "too-large"}'


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):  # closed, or none at all
            stream.flush()


if __name__ == "__main__":
    main()
