"""The records of entries: `metadata.json`, read without a lock, changed under the lock of the entry."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from felloe.cache.layout import Layout, digest
from felloe.cache.locks import hold
from felloe.cache.store import Store
from felloe.progress import Event
from felloe.record import Record

__all__ = ["Records"]


class Records:
    """Records by their path in the cache."""

    def __init__(self, layout: Layout, store: Store, report: Callable[[Event], None]) -> None:
        self._layout = layout
        self._store = store
        self._report = report

    def read(self, path: Path) -> Record | None:
        """What is known there; None for nothing, or nothing that can be read."""
        document = self._store.read_document(path)
        if document is None:
            return None
        try:
            return Record.from_json(document)
        except ValueError as error:
            self._store.damaged(path, str(error))
            return None

    async def change(self, path: Path, change: Callable[[Record | None], Record]) -> Record:
        """Puts in place what `change` makes of the record. Nothing else is awaited under the lock.

        The same record is not written again. Raises CacheError.
        """
        async with self._hold(path, "entry"):
            old = self.read(path)
            new = change(old)
            if new != old:
                self._store.write_document(path, new.to_json())
            return new

    def fetching(self, path: Path) -> AbstractAsyncContextManager[None]:
        """The lock held while the bytes of this entry are fetched.

        Inside it only the lock of `change` may be taken, which waits for nothing itself.
        """
        return self._hold(path, "fetch")

    def _hold(self, path: Path, purpose: str) -> AbstractAsyncContextManager[None]:
        root = self._layout.root
        lock = self._layout.lock(f"{purpose}-{digest(path.relative_to(root).as_posix())}")
        return hold(root, lock, self._report)
