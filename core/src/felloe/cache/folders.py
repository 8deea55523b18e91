"""Folders of the cache that are made once and only read from then on: wheels unpacked, environments installed."""

from __future__ import annotations

import errno
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
        """`path`, where a folder is there; else None. A link, at it or on the way to it, does not count."""
        if not self._store.is_inside(path):
            return None
        try:
            mode = path.lstat().st_mode
        except OSError as error:
            self._store.unreadable(path, error)
            return None
        if stat.S_ISDIR(mode):
            return path
        self._store.damaged(path, "it is not a folder")
        return None

    def put(self, folder: Path, path: Path) -> Path:
        """Moves `folder` (in scratch) to `path`, which it gives. Where somebody was faster, theirs stays.

        Raises CacheError.
        """
        with writing(self._layout.root):
            make_way(self._layout.root, path.with_name("any"))
            if path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)
            try:
                folder.rename(path)
            except OSError as error:
                if error.errno not in TAKEN:
                    raise
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

    async def _make(self, path: Path, make: Callable[[Path], Awaitable[Path]]) -> Path:
        scratch = self._store.run.folder()
        try:
            with writing(self._layout.root):
                return self.put(await make(scratch), path)
        finally:
            self._store.run.remove(scratch)
