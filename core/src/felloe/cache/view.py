"""A cache that is only read: what would be written is kept in memory, and seen by those that read the same view.

For explaining. No lock is taken, nothing is made, removed or mended. Scratch is elsewhere: that of the run it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from felloe.cache.archives import Archives
from felloe.cache.layout import Layout
from felloe.cache.records import Records
from felloe.cache.run import Run
from felloe.cache.store import Store
from felloe.progress import Event
from felloe.stepping import work

__all__ = ["ArchivesView", "RecordsView", "StoreView"]


class StoreView(Store):
    """`damages` are the files of the cache that are not used, by their paths, and why."""

    def __init__(self, root: Path, run: Run, report: Callable[[Event], None]) -> None:
        super().__init__(root, run, report)
        self.damages: dict[Path, str] = {}
        self._written: dict[Path, bytes] = {}

    def read(self, path: Path) -> bytes | None:
        return self._written[path] if path in self._written else super().read(path)

    def write(self, path: Path, body: bytes) -> None:
        self._written[path] = body

    def damaged(self, path: Path, reason: str) -> None:
        self.damages[path] = reason
        super().damaged(path, reason)


class ArchivesView(Archives):
    """What is put into it stays where it is, and lasts no longer than that."""

    def __init__(self, layout: Layout, store: Store) -> None:
        super().__init__(layout, store)
        self._put: dict[str, Path] = {}

    async def verified(self, sha256: str, filename: str) -> Path | None:
        await work()
        found = self._put.get(sha256) or self._find(self._layout.archive(sha256, filename))
        return found if found is not None and await self._is_whole(found, sha256) else None

    def put(self, file: Path, sha256: str, filename: str) -> Path:  # noqa: ARG002  # as in the base class
        self._put[sha256] = file
        return file

    async def _handed_out(self, file: Path, sha256: str) -> bool:
        return await self._is_whole(file, sha256)

    def _discard(self, file: Path) -> None:
        self._store.damaged(file, "its bytes have another sha256")


class RecordsView(Records):
    """Changed without a lock: nobody else sees the change."""

    def _hold(self, path: Path, purpose: str) -> AbstractAsyncContextManager[None]:  # noqa: ARG002
        return nullcontext()
