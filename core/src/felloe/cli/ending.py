"""What a signal does: work is given up and tidied away; where that takes too long, the process ends all the same.

A name look-up that hangs, or a large page that is parsed, is on a thread that nobody can stop. Whoever presses Ctrl-C
does not wait for it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from types import FrameType
from typing import NoReturn

__all__ = ["end_on_signals", "tidying"]

GRACE, TIDY = 3.0, 1.0  # seconds: to unwind; then, to remove what is left
FIRST_LOOKS = 3  # at processes that start others while they are ended

_tidy: list[Callable[[], None]] = []


def end_on_signals() -> None:
    """SIGTERM and SIGHUP unwind like Ctrl-C, as SystemExit with 128 and their number. Some 4 s later, all is over."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _unwind)


@contextmanager
def tidying(remove: Callable[[], None]) -> Iterator[None]:
    """Has `remove` called, on a thread, if the process ends here without unwinding."""
    _tidy.append(remove)
    try:
        yield
    finally:
        _tidy.remove(remove)


def _unwind(number: int, _frame: FrameType | None) -> NoReturn:
    Thread(target=_end_at_last, args=(number,), daemon=True).start()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _end_at_last(number: int) -> NoReturn:
    time.sleep(GRACE)
    for _ in range(FIRST_LOOKS):
        _kill_below(os.getpid())
    helper = Thread(target=_remove_all, daemon=True)
    helper.start()
    helper.join(TIDY)
    if number == signal.SIGINT:
        os.write(2, b"interrupted\n")
    os._exit(128 + number)


def _kill_below(pid: int) -> None:
    """Kills what a process has started, and what that has: each may be in a session of its own (Linux)."""
    from felloe.build.worker import children_of

    for child in children_of(pid):
        _kill_below(child)
        with suppress(ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGKILL)


def _remove_all() -> None:
    for remove in _tidy:
        with suppress(Exception):  # the next run removes what is left
            remove()
