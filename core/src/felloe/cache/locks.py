"""Locks between processes. They prevent double work; no integrity depends on them."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from felloe.progress import Event
from felloe.stepping import work

__all__ = ["hold", "holder", "try_lock"]

FIRST_DELAY, LONGEST_DELAY = 0.01, 0.25
SAY_SO_AFTER = 5.0


def try_lock(path: Path) -> Callable[[], None] | None:
    """Takes the lock at `path` and gives back what releases it; None where somebody else holds it.

    The file then says who the holder is. A process that dies lets go of its locks. Raises OSError.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    path.write_text(f"process {os.getpid()} on {platform.node()}: {Path(sys.argv[0]).name}\n")
    return lock.release


def holder(path: Path) -> str:
    """Who wrote last that it holds the lock at `path`, in words."""
    try:
        return path.read_text(errors="replace")[:200].strip() or "another process"
    except OSError:
        return "another process"


@asynccontextmanager
async def hold(path: Path, report: Callable[[Event], None]) -> AsyncIterator[None]:
    """Holds the lock at `path`; waits for as long as its holder lives, and says so after 5 seconds."""
    await work()
    import anyio

    delay, waited, told = FIRST_DELAY, 0.0, False
    while (release := try_lock(path)) is None:
        if waited >= SAY_SO_AFTER and not told:
            told = True
            report(Event(code="waiting", message=f"waiting for {holder(path)}", data={"lock": path.name}))
        await anyio.sleep(delay)
        waited, delay = waited + delay, min(2 * delay, LONGEST_DELAY)
    try:
        yield
    finally:
        release()
