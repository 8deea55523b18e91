"""Folders of the cache that are made once and only read from then on: wheels unpacked, environments installed.

Beside each lies its seal, a digest over the paths, sizes and times of all files: what was changed since is not used.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

from felloe.cache.layout import Layout, digest
from felloe.cache.locks import hold
from felloe.cache.root import make_way, writing
from felloe.cache.store import Store
from felloe.progress import Event
from felloe.stepping import work

__all__ = ["Folders"]

TAKEN = frozenset({errno.ENOTEMPTY, errno.EEXIST})


class Folders:
    """Whole or not there at all: each is made in scratch and put in its place by one rename."""

    def __init__(self, layout: Layout, store: Store, report: Callable[[Event], None]) -> None:
        self._layout = layout
        self._store = store
        self._report = report

    def find(self, path: Path) -> Path | None:
        """`path`, where a folder is there as it was put there; else None.

        A link, at it or on the way to it, does not count.
        """
        if not self._store.is_inside(path):
            return None
        try:
            mode = path.lstat().st_mode
        except OSError as error:
            self._store.unreadable(path, error)
            return None
        if not stat.S_ISDIR(mode):
            self._store.damaged(path, "it is not a folder")
        elif (seal := self._store.read_document(_seal_of(path))) is None:
            return None  # it is being put there, or whoever did that was killed
        elif seal == {"seal": _seal(path)}:
            return path
        else:
            self._store.damaged(path, "it is not as it was made")
        return None

    def put(self, folder: Path, path: Path) -> Path:
        """Moves `folder` (in scratch) to `path`, which it gives. Where somebody was faster, theirs stays.

        Raises CacheError.
        """
        with writing(self._layout.root):
            make_way(self._layout.root, path.with_name("any"))
            if path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)
            seal = _seal(folder)
            try:
                folder.rename(path)
            except OSError as error:
                if error.errno not in TAKEN:
                    raise
                return path
        self._store.write_document(_seal_of(path), {"seal": seal})
        return path

    async def made(self, path: Path, make: Callable[[Path], Awaitable[Path]]) -> Path:
        """The folder at `path`; where there is none, the one that `make` gives is put there.

        `make` is called with an empty scratch folder, and gives that or one below it. It runs under a lock of this
        folder, so that of many processes one makes it, and must not wait for what others hold. Raises CacheError, also
        for an OSError of `make`.
        """
        await work()
        found = self.find(path)
        if found is not None:
            return found
        lock = self._layout.lock(f"make-{digest(path.relative_to(self._layout.root).as_posix())}")
        async with hold(self._layout.root, lock, self._report):
            return self.find(path) or await self._make(path, make)

    def _take_away(self, path: Path) -> None:
        """What is there and is not as it was made. Raises OSError."""
        if path.is_dir() and not path.is_symlink() and self._store.is_inside(path):
            away = self._store.run.folder()
            path.chmod(0o700)  # what is moved has to be writable itself
            path.rename(away / "damaged")
            self._store.run.remove(away)

    async def _make(self, path: Path, make: Callable[[Path], Awaitable[Path]]) -> Path:
        scratch = self._store.run.folder()
        try:
            with writing(self._layout.root):
                made = await make(scratch)
                self._take_away(path)
            return self.put(made, path)
        finally:
            self._store.run.remove(scratch)


def _seal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.seal")


def _seal(folder: Path) -> str:
    """Hex. What cannot be looked at is not there."""
    files = []
    for place, folders, names in os.walk(folder):
        for name in (*names, *folders):
            path = f"{place}{os.sep}{name}"
            try:
                status = os.lstat(path)
            except OSError:  # somebody takes it away just now
                continue
            if stat.S_ISDIR(status.st_mode):
                continue
            files.append(f"{os.path.relpath(path, folder)}\0{status.st_size}\0{status.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(files)).encode("utf-8", "surrogateescape")).hexdigest()
