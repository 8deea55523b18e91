"""Looking at paths that may be anything: what is not a regular file is never opened."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from felloe.plugin import SourceError, is_stepping

__all__ = ["Check", "aside", "is_program", "located", "opened", "sha256_of", "shown", "special", "telling", "vanished"]

T = TypeVar("T")
Check = Callable[[], None]  # called between files: raises where the answer is no longer wanted

BLOCK = 1024 * 1024
GONE = (FileNotFoundError, NotADirectoryError)
# A path that is swapped for a FIFO or a link after it was looked at is neither waited for nor followed.
READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
SPECIAL = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


async def aside(work: Callable[[Check], T]) -> T:
    """Off the event loop, until nobody waits any more. While stepping there is none: what reads a file stops that."""
    if is_stepping():
        return work(lambda: None)
    from anyio.from_thread import check_cancelled
    from anyio.to_thread import run_sync

    return await run_sync(work, check_cancelled)


def located(path: Path) -> tuple[Path, os.stat_result]:
    """The real path, without links and `..`, and what is there. Raises SourceError where nothing is."""
    try:
        with telling(str(path)):
            real = path.resolve(strict=True)
            return real, real.lstat()
    except GONE as error:
        raise SourceError(
            f"`{shown(path)}` does not exist", hint="correct the path, or make what it names", code="path-not-found"
        ) from error


@contextmanager
def opened(path: str) -> Iterator[tuple[int, os.stat_result]]:
    """A descriptor of the regular file at the real path `path`, and its status.

    Raises SourceError, and FileNotFoundError where it has gone.
    """
    with telling(path):
        descriptor = os.open(path, READ)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise special(path, status.st_mode)
        yield descriptor, status
    finally:
        os.close(descriptor)


def sha256_of(descriptor: int, check: Check) -> str:
    """Hex over what is left to be read of an open file, in blocks."""
    hasher = sha256()
    while block := os.read(descriptor, BLOCK):
        hasher.update(block)
        check()
    return hasher.hexdigest()


@contextmanager
def telling(path: str) -> Iterator[None]:
    """An OSError becomes a SourceError that names `path`, but for those of what is not there."""
    try:
        yield
    except GONE:
        raise
    except (OSError, RuntimeError) as error:  # RuntimeError: what pathlib says of a loop before Python 3.13
        if not isinstance(error, OSError) or error.errno == errno.ELOOP:
            raise SourceError(
                f"`{shown(path)}` leads back to itself", hint="remove the link, or give another path", code="link-loop"
            ) from error
        raise SourceError(
            f"`{shown(path)}` cannot be read: {error.strerror or error}",
            hint="make it readable, or give another path",
            code="unreadable",
        ) from error


def special(path: str | Path, mode: int) -> SourceError:
    """For what is neither a regular file nor a folder nor a link."""
    kind = SPECIAL.get(stat.S_IFMT(mode), "no regular file")
    return SourceError(
        f"`{shown(path)}` is {kind}, which is not opened",
        hint="give another path, or take it out of the folder",
        code="special-file",
    )


def vanished(path: str | Path) -> SourceError:
    return SourceError(f"`{shown(path)}` vanished while it was read", hint="try again", code="path-not-found")


def is_program(status: os.stat_result) -> bool:
    """Whether its owner may execute it, which is what version control keeps of its permissions."""
    return bool(status.st_mode & stat.S_IXUSR)


def shown(path: str | Path) -> str:
    """As it can be printed: a name may hold anything, terminal codes as well."""
    text = str(path)
    return text if text.isprintable() else ascii(text)[1:-1]
