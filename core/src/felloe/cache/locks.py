"""Locks between processes. They prevent double work; no integrity depends on them."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from felloe.cache.root import make_root, make_way, writing
from felloe.progress import Event
from felloe.stepping import work

__all__ = ["hold", "holder", "try_lock"]

FIRST_DELAY, LONGEST_DELAY = 0.01, 0.25
SAY_SO_AFTER = 5.0


def try_lock(root: Path, path: Path) -> Callable[[], None] | None:
    """Takes the lock at `path` in the cache `root` and gives back what releases it; None where somebody else holds it.

    The file then says who the holder is. A process that dies lets go of its locks. Raises CacheError.
    """
    from filelock import FileLock, Timeout

    with writing(root):
        make_root(root)
        make_way(root, path)
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return None
    with suppress(OSError):  # a full disk has room for a lock, though not for words, and can be cleaned
        path.write_text(f"process {os.getpid()} on {platform.node()}: {Path(sys.argv[0]).name}\n")
    return lock.release


def holder(path: Path) -> str:
    """Who wrote last that it holds the lock at `path`, in words."""
    try:
        return path.read_text(errors="replace")[:200].strip() or "another process"
    except OSError:
        return "another process"


@asynccontextmanager
async def hold(root: Path, path: Path, report: Callable[[Event], None]) -> AsyncIterator[None]:
    """Holds the lock at `path` in the cache `root`; waits while its holder lives, and says so after 5 seconds.

    Raises CacheError.
    """
    await work()
    import anyio

    delay, waited, told = FIRST_DELAY, 0.0, False
    while (release := try_lock(root, path)) is None:
        if waited >= SAY_SO_AFTER and not told:
            told = True
            report(Event(code="waiting", message=f"waiting for {holder(path)}", data={"lock": path.name}))
        await anyio.sleep(delay)
        waited, delay = waited + delay, min(2 * delay, LONGEST_DELAY)
    try:
        yield
    finally:
        release()
