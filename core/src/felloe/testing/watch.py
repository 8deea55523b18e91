"""What code does to the world outside of it, heard by an audit hook (PEP 578): nothing of it is replaced.

Calls that raise no audit event (`os.stat`) and what child processes do are not heard.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Heard", "connects", "does_anything", "watching", "writes"]

Heard = list[str]
Interest = Callable[[str, Sequence[Any]], str | None]
"""What to tell of an event and its arguments; None for nothing."""

EFFECTS = ("os.", "pathlib.", "shutil.", "socket.", "subprocess.", "tempfile.", "urllib.")
SINGLE_EFFECTS = frozenset(
    ["_thread.start_joinable_thread", "_thread.start_new_thread", "open", "sqlite3.connect", "time.sleep"]
)
CONNECTIONS = frozenset(
    ["socket.connect", "socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname", "socket.sendto"]
)
TARGETS = {"os.link": 1, "os.mkdir": 0, "os.rename": 1, "os.symlink": 1}  # which argument is the path that is made
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
IMPORTING = "<frozen importlib._bootstrap>"


class _Watch:
    """Hears this thread, and those that begin while it watches: servers that a test has begun before are not heard."""

    def __init__(self, interest: Interest) -> None:
        self.heard: Heard = []
        self._interest = interest
        self._others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}

    def hear(self, event: str, arguments: Sequence[Any]) -> None:
        if threading.get_ident() in self._others or (told := self._interest(event, arguments)) is None:
            return
        if not _is_importing():
            self.heard.append(told)


_watches: list[_Watch] = []


@contextmanager
def watching(interest: Interest) -> Iterator[Heard]:
    """What is done until the end of `with`, each as `interest` tells it. What imports do does not count."""
    watch = _Watch(interest)
    _install()
    _watches.append(watch)
    try:
        yield watch.heard
    finally:
        _watches.remove(watch)


def does_anything(event: str, arguments: Sequence[Any]) -> str | None:
    """Reads or writes files, opens sockets, starts processes or threads, sleeps."""
    if not event.startswith(EFFECTS) and event not in SINGLE_EFFECTS:
        return None
    return f"{event}({', '.join(repr(each) for each in arguments[:2])})"


def connects(event: str, arguments: Sequence[Any]) -> str | None:
    """Opens a connection, or looks up a host."""
    if event not in CONNECTIONS or (event == "socket.connect" and isinstance(arguments[1], str | bytes)):
        return None  # a socket in the file system leads to no server
    return f"{event}({', '.join(repr(each) for each in arguments if isinstance(each, str | int | tuple))})"


def writes(event: str, arguments: Sequence[Any]) -> str | None:
    """The absolute path of what is written, made or moved there."""
    if event == "open":
        path, _, flags = arguments
        found = path if isinstance(flags, int) and flags & WRITING else None
    else:
        found = arguments[TARGETS[event]] if event in TARGETS else None
    text = os.fsdecode(found) if isinstance(found, str | bytes | os.PathLike) else ""
    return text if Path(text).is_absolute() and not text.startswith("/dev/") else None


def _install() -> None:
    """Once: an audit hook cannot be taken away again."""
    if not getattr(_install, "done", False):
        _install.done = True  # type: ignore[attr-defined]  # a flag of its own
        sys.addaudithook(_hear)


def _hear(event: str, arguments: Sequence[Any]) -> None:
    for watch in tuple(_watches):
        watch.hear(event, arguments)


def _is_importing() -> bool:
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            return True
        frame = frame.f_back
    return False
