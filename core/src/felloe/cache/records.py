"""The records of entries: `metadata.json`, read without a lock, changed under the lock of the entry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from felloe.cache.layout import Layout, digest
from felloe.cache.locks import hold
from felloe.cache.store import Store
from felloe.errors import CacheError
from felloe.progress import Event
from felloe.record import Record

if TYPE_CHECKING:
    from anyio import Lock

__all__ = ["Records"]


class Records:
    """Records by their path in the cache."""

    def __init__(self, layout: Layout, store: Store, report: Callable[[Event], None]) -> None:
        self._layout = layout
        self._store = store
        self._report = report
        self._warnings: set[str] = set()
        self._queues: WeakValueDictionary[Path, Lock] = WeakValueDictionary()

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
        """Puts in place what `change` makes of the record, and gives it. Nothing else is awaited under the lock.

        The same record is not written again. Where the cache cannot be written, that is told, and the record is given
        all the same: what is not kept is worked out again.
        """
        new = None
        try:
            async with self._hold(path, "entry"):
                old = self.read(path)
                new = change(old)
                if new != old:
                    self._store.write_document(path, new.to_json())
        except CacheError as error:
            self._warn(f"{error}; what was found out is not kept")
        return change(self.read(path)) if new is None else new

    @asynccontextmanager
    async def fetching(self, path: Path) -> AsyncIterator[None]:
        """The lock held while the bytes of this entry are fetched.

        Inside it only the lock of `change` may be taken, which waits for nothing itself. Raises CacheError.
        """
        from anyio import Lock

        # In this process one waits for the other without looking at the file again and again.
        async with self._queues.setdefault(path, Lock()), self._hold(path, "fetch"):
            yield

    def _warn(self, message: str) -> None:
        """Once: every record of a run has the same trouble."""
        if message not in self._warnings:
            self._warnings.add(message)
            self._report(Event(code="warning", message=message))

    def _hold(self, path: Path, purpose: str) -> AbstractAsyncContextManager[None]:
        root = self._layout.root
        lock = self._layout.lock(f"{purpose}-{digest(path.relative_to(root).as_posix())}")
        return hold(root, lock, self._report)
