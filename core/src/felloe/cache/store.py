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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from felloe.cache.root import leads_outside, make_way, writing
from felloe.cache.run import Run
from felloe.progress import Event
from felloe.url import Url

__all__ = ["Store"]

LARGEST = 256 * 1024 * 1024
NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR})


class Store:
    """Documents (JSON) and checked files below one cache folder."""

    def __init__(self, root: Path, run: Run, report: Callable[[Event], None]) -> None:
        self.run = run
        self._root = root
        self._report = report

    def read_document(self, path: Path) -> dict[str, Any] | None:
        """The JSON object at `path`, without its check; None where there is none that is whole."""
        body = self.read(path)
        if body is None:
            return None
        try:
            document: dict[str, Any] = json.loads(b"{" + body)  # what begins so is an object, if it is anything
        except (ValueError, RecursionError):
            self.damaged(path, "it is not JSON")
            return None
        return document

    def write_document(self, path: Path, document: Mapping[str, Any]) -> None:
        """Puts a JSON object (not empty) in place of whatever is at `path`. Raises CacheError."""
        self.write(path, _body(document))

    def place_folder(self, folder: Path, path: Path, name: str, document: Mapping[str, Any]) -> None:
        """Moves `folder` (in scratch), with `document` in its file `name`, in place of whatever is at `path`.

        By one rename: nobody sees a part of it. Raises CacheError.
        """
        away = self.run.folder()
        body = _body(document)
        try:
            with writing(self._root):
                (folder / name).write_bytes(_first_line(body) + b"\n" + body)
                make_way(self._root, path.with_name("any"))
                with suppress(FileNotFoundError):
                    path.rename(away / "old")
                folder.rename(path)
        finally:
            self.run.remove(away)

    def read(self, path: Path) -> bytes | None:
        """What follows the first line of `path`, when the first line agrees with it; else None."""
        if not self.is_inside(path):
            return None
        try:
            data = _read_regular_file(path)
        except OSError as error:
            self.unreadable(path, error)
            return None
        first, newline, body = data.partition(b"\n")
        if newline and first == _first_line(body):
            return body
        self.damaged(path, "its check is wrong")
        return None

    def write(self, path: Path, body: bytes) -> None:
        """Puts `body` behind its check at `path`, in one rename. Raises CacheError."""
        with self._new_file() as temporary:
            temporary.write_bytes(_first_line(body) + b"\n" + body)
            self.place(temporary, path)

    def link(self, source: Path, path: Path) -> None:
        """Puts `source`, a file of the cache, at `path` as well. Raises CacheError."""
        with self._new_file() as temporary:
            try:
                os.link(source, temporary)
            except OSError:
                shutil.copyfile(source, temporary)
            self.place(temporary, path)

    def place(self, source: Path, path: Path) -> None:
        """Renames `source` to `path`, whatever foreign thing is in the way. Raises OSError."""
        make_way(self._root, path)
        source.replace(path)

    def is_inside(self, path: Path) -> bool:
        """Whether `path` is where it says, with no link on the way; tells where it is not."""
        outside = leads_outside(self._root, path)
        if outside:
            self.damaged(path, "a folder on the way to it is a link")
        return not outside

    def unreadable(self, path: Path, error: OSError) -> None:
        """Tells that `path` is not used for `error`; nothing where it is just not there."""
        if error.errno not in NOT_THERE:
            self.damaged(path, error.strerror or str(error))

    def damaged(self, path: Path, reason: str) -> None:
        """Tells that `path` is not used, and why."""
        where = path.relative_to(self._root)
        self._report(Event(code="warning", message=f"`{where}` in the cache is not used: {reason}"))

    @contextmanager
    def _new_file(self) -> Iterator[Path]:
        """Where a file is made before it is put in its place; nothing is left of it. Raises CacheError."""
        folder = self.run.folder()
        try:
            with writing(self._root):
                yield folder / "file"
        finally:
            self.run.remove(folder)


def _body(document: Mapping[str, Any]) -> bytes:
    """All of a document (not empty) but its first line."""
    text = json.dumps(document, indent=2, ensure_ascii=False, default=_redacted)
    return (text.removeprefix("{\n") + "\n").encode("utf-8", "surrogatepass")


def _first_line(body: bytes) -> bytes:
    return b'{"check": "%08x",' % zlib.crc32(body)


def _read_regular_file(path: Path) -> bytes:
    """Never waits on a FIFO, never follows a link at the end, never reads without bound. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise OSError(errno.EINVAL, "not a regular file of reasonable size")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _redacted(value: object) -> str:
    if isinstance(value, Url):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
