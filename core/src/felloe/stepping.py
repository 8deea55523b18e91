"""Stepping: finishing a coroutine that never has to wait, without an event loop.

A warm answer is found in memory and small files; nothing in it suspends. `step` runs such a coroutine by hand. Whatever
would really work (network, locks, threads, writing) first awaits `work()`, which suspends while stepping and does
nothing otherwise. So a coroutine that needs more than stepping can give has changed nothing when it stops.
"""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Coroutine, Generator
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["NotSteppable", "check_cancelled", "is_stepping", "must_not_step", "step", "work"]

T = TypeVar("T")

MOST_CLEANUPS = 100  # one inside the other


class NotSteppable(BaseException):  # a signal to the stepper: no `except Exception` of a plugin may swallow it
    """The coroutine has to run under an event loop."""


class _State(threading.local):
    active = False


_state = _State()


@types.coroutine
def _suspend() -> Generator[None, None, None]:
    yield


async def work() -> None:
    """The door to everything that waits or changes something: suspends while stepping, else returns at once."""
    if _state.active:
        await _suspend()


def is_stepping() -> bool:
    """Whether this thread is stepping."""
    return _state.active


def must_not_step() -> None:
    """The same door for plain functions. Raises NotSteppable while stepping."""
    if _state.active:
        raise NotSteppable


def check_cancelled() -> None:
    """Ends what runs on a thread for an event loop and is wanted by nobody any more: raises what cancellation raises.

    To be called between the steps of what may take long. Anywhere else it does nothing.
    """
    if "anyio" in sys.modules:
        from anyio import from_thread

        with suppress(RuntimeError):  # no thread of an event loop
            from_thread.check_cancelled()


def step(coroutine: Coroutine[Any, Any, T]) -> T:
    """What `coroutine` returns, if it gets there without suspending.

    Raises NotSteppable at its first suspension and at any exception of it: the caller runs it again under an event
    loop, which then tells what is really wrong.
    """
    outer, _state.active = _state.active, True
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # typeshed has Any
    except Exception as error:
        raise NotSteppable from error
    finally:
        _close(coroutine)
        _state.active = outer
    raise NotSteppable


def _close(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Leaves nothing suspended. A clean-up that awaits `work()` is no further than any other work: closed as well."""
    for _ in range(MOST_CLEANUPS):
        with suppress(Exception, NotSteppable):
            coroutine.close()
            return
