"""Copies of files and folders in scratch, hashed as they were copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from felloe.plugin import CacheError
from felloe_path.content import Content, Seen
from felloe_path.exclusion import NOTHING, Exclusion
from felloe_path.reading import GONE, Check, is_program, opened, sha256_of, shown
from felloe_path.tree import Item, listing_of

__all__ = ["copy_file", "copy_tree", "remove_tree"]

BLOCK = 1024 * 1024
MOST_AT_ONCE = 64 * BLOCK
NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
# The times that a zip file can hold in every time zone: of a file that is older, no wheel can be made.
EARLIEST, LATEST = 315_619_200 * 10**9, 4_354_646_400 * 10**9  # 1980-01-02, 2107-12-30


def copy_tree(root: str, into: Path, check: Check, exclusion: Exclusion = NOTHING) -> Seen:
    """Copies the tree below the real folder `root`, as `listing_of` gives it, into the folder `into`, which is made.

    Files have the mode 0o755 or 0o644, less the umask, and the time of modification that they had, within what a zip
    file can hold. What is given back is the content of the copy. Raises SourceError as `listing_of`, and CacheError
    where the copy cannot be written.
    """
    listing, content = listing_of(root, check, exclusion), Content()
    with _writing(root):
        into.mkdir(parents=True)
        for item in listing.items:
            check()
            with suppress(*GONE):
                held, executable = _make(item, into / item.path, check)
                content.add(item, held, executable=executable)
    return Seen(content, listing)


def copy_file(source: str, target: Path, check: Check) -> None:
    """Copies the regular file at the real path `source`. Raises as `copy_tree`, and FileNotFoundError."""
    with _writing(source):
        _copy(source, target, check)


def remove_tree(folder: Path) -> None:
    """Takes away a folder in scratch with all that is in it; what cannot be taken away goes when scratch does."""
    shutil.rmtree(folder, ignore_errors=True)


def _make(item: Item, target: Path, check: Check) -> tuple[str, bool]:
    """What the copy of `item` holds, and whether it is executable. Raises FileNotFoundError where a file has gone."""
    if item.kind == "file":
        return _copy(item.source, target, check)
    if item.kind == "link":
        target.symlink_to(item.text)
    else:
        target.mkdir()
    return item.text, False


def _copy(source: str, target: Path, check: Check) -> tuple[str, bool]:
    """The sha256 of the copy, and whether it is executable."""
    with opened(source) as (reading, status):
        executable = is_program(status)
        writing = os.open(target, NEW_FILE, 0o755 if executable else 0o644)
        try:
            _copy_bytes(reading, writing, check)
            os.lseek(writing, 0, os.SEEK_SET)
            digest = sha256_of(writing, check)
        finally:
            os.close(writing)
    modified = min(max(status.st_mtime_ns, EARLIEST), LATEST)
    os.utime(target, ns=(modified, modified))
    return digest, executable


def _copy_bytes(reading: int, writing: int, check: Check) -> None:
    """By the file system where it can (it may share the blocks until one is written to), else byte by byte."""
    if hasattr(os, "copy_file_range"):
        with suppress(OSError):
            while os.copy_file_range(reading, writing, MOST_AT_ONCE):
                check()
    while block := os.read(reading, BLOCK):  # nothing, if that got to the end
        check()
        while block:
            block = block[os.write(writing, block) :]


@contextmanager
def _writing(source: str) -> Iterator[None]:
    try:
        yield
    except GONE:
        raise
    except OSError as error:
        raise CacheError(
            f"`{shown(source)}` cannot be copied into the cache: {error.strerror or error}",
            hint="free some space, or name another folder with --cache-dir",
            reason=error.errno,
        ) from error
