"""Small files of the cache, read and written whole.

A file's first line holds the crc32 of every byte after it. Whatever is unreadable, of another form or damaged is a miss
with a warning, never an error; writing heals it.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from felloe.cache.run import Run, writing
from felloe.progress import Event
from felloe.url import Url

__all__ = ["Store"]

LARGEST = 256 * 1024 * 1024
NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR})


class Store:
    """Documents (JSON) and checked files below one cache folder."""

    def __init__(self, root: Path, run: Run, report: Callable[[Event], None]) -> None:
        self._root = root
        self._run = run
        self._report = report

    def read_document(self, path: Path) -> dict[str, Any] | None:
        """The JSON object at `path`, without its check; None where there is none that is whole."""
        body = self.read(path)
        if body is None:
            return None
        try:
            document = json.loads(b"{" + body)
        except (ValueError, RecursionError):
            self.damaged(path, "it is not JSON")
            return None
        if isinstance(document, dict):
            return document
        self.damaged(path, "it is not an object")
        return None

    def write_document(self, path: Path, document: Mapping[str, Any]) -> None:
        """Puts a JSON object (not empty) in place of whatever is at `path`. Raises CacheError."""
        text = json.dumps(document, indent=2, ensure_ascii=False, default=_redacted)
        self.write(path, (text.removeprefix("{\n") + "\n").encode("utf-8", "surrogatepass"))

    def read(self, path: Path) -> bytes | None:
        """What follows the first line of `path`, when the first line agrees with it; else None."""
        try:
            data = _read_regular_file(path)
        except OSError as error:
            if error.errno not in NOT_THERE:
                self.damaged(path, error.strerror or str(error))
            return None
        first, _, body = data.partition(b"\n")
        if first == _first_line(body):
            return body
        self.damaged(path, "its check is wrong")
        return None

    def write(self, path: Path, body: bytes) -> None:
        """Puts `body` behind its check at `path`, in one rename. Raises CacheError."""
        temporary = self._run.folder() / "file"
        with writing(self._root):
            temporary.write_bytes(_first_line(body) + b"\n" + body)
            self.place(temporary, path)
            temporary.parent.rmdir()

    def place(self, source: Path, path: Path) -> None:
        """Renames `source` to `path`, whatever foreign thing is in the way. Raises OSError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            source.replace(path)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            self._clear_the_way(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            source.replace(path)

    def damaged(self, path: Path, reason: str) -> None:
        """Tells that `path` is not used, and why."""
        where = path.relative_to(self._root)
        self._report(Event(code="warning", message=f"`{where}` in the cache is not used: {reason}"))

    def _clear_the_way(self, path: Path) -> None:
        """What is not a folder where a folder has to be is removed, and a folder at `path` itself."""
        for place in reversed(path.relative_to(self._root).parents):
            folder = self._root / place
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                folder.unlink()
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)


def _first_line(body: bytes) -> bytes:
    return b'{"check": "%08x",' % zlib.crc32(body)


def _read_regular_file(path: Path) -> bytes:
    """Never waits on a FIFO, never follows a link at the end, never reads without bound. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise OSError(errno.EINVAL, "not a regular file of reasonable size")
        return file.read()


def _redacted(value: object) -> str:
    if isinstance(value, Url):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
