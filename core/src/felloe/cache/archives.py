"""Sdists and wheels as they were fetched, by the sha256 of their bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from felloe.cache.layout import Layout
from felloe.cache.root import writing
from felloe.cache.store import Store
from felloe.hashing import digests_of_file
from felloe.stepping import work

__all__ = ["Archives", "digests_of"]


class Archives:
    """Bytes by content: the same file from two places is kept once."""

    def __init__(self, layout: Layout, store: Store) -> None:
        self._layout = layout
        self._store = store

    async def verified(self, sha256: str, filename: str) -> Path | None:
        """The archive of these bytes under this name, hashed just now; None where there is none.

        What is damaged is removed, so that it is fetched again. The same bytes under another name will do. The cache
        counts as in use from now on. Raises CacheError.
        """
        await work()
        path = self._layout.archive(sha256, filename)
        found = self._find(path)
        if found is None:
            return None
        if not await self._handed_out(found, sha256):
            return None
        if found != path:
            self._store.link(found, path)
        return path

    async def whole(self, path: Path, sha256: str) -> Path | None:
        """The file at `path`, anywhere in the cache, where it has these bytes; as for `verified`. Raises CacheError."""
        await work()
        if not self._store.is_inside(path) or not _is_regular(path):
            return None
        return path if await self._handed_out(path, sha256) else None

    def put(self, file: Path, sha256: str, filename: str) -> Path:
        """Moves `file` (in scratch, of these bytes) into the cache. Raises CacheError."""
        path = self._layout.archive(sha256, filename)
        with writing(self._layout.root):
            self._store.place(file, path)
        return path

    def _find(self, path: Path) -> Path | None:
        """The file at `path`, else the first beside it. Links and devices do not count."""
        if not self._store.is_inside(path):
            return None
        try:
            files = [file for file in sorted(path.parent.iterdir()) if _is_regular(file)]
        except OSError as error:
            self._store.unreadable(path, error)
            return None
        return path if path in files else next(iter(files), None)

    async def _handed_out(self, file: Path, sha256: str) -> bool:
        self._store.run.hand_out()
        return await self._is_whole(file, sha256)

    async def _is_whole(self, file: Path, sha256: str) -> bool:
        try:
            whole = (await digests_of(file))["sha256"] == sha256
        except OSError as error:
            self._store.unreadable(file, error)
            return False
        if not whole:
            self._discard(file)
        return whole

    def _discard(self, file: Path) -> None:
        self._store.damaged(file, "its bytes have another sha256")
        with writing(self._layout.root):
            file.unlink(missing_ok=True)


def _is_regular(path: Path) -> bool:
    """Links and devices do not count."""
    return path.is_file() and not path.is_symlink()


async def digests_of(file: Path, algorithms: Iterable[str] = ()) -> Mapping[str, str]:
    """Hex digests of the bytes of `file`: sha256, and the others asked for. Hashed on a thread of its own."""
    await work()
    from anyio.to_thread import run_sync

    return await run_sync(digests_of_file, file, tuple(algorithms))
