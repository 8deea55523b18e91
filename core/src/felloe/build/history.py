"""The builds that were done of one source, by its build id (`builds-v0`): its bytes found elsewhere find them too."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from felloe.build.record import Build, with_document
from felloe.cache.layout import Layout
from felloe.cache.locks import hold
from felloe.cache.root import writing
from felloe.cache.store import Store
from felloe.progress import Event
from felloe.request import redacted
from felloe.values import Json

__all__ = ["History"]


class History:
    """Records of builds by build id."""

    def __init__(self, layout: Layout, store: Store, report: Callable[[Event], None]) -> None:
        self._layout = layout
        self._store = store
        self._report = report

    def builds(self, build: str) -> list[Build]:
        """What is known, newest first; what cannot be read is left out."""
        found = []
        for document in reversed(self._documents(build)):
            try:
                found.append(Build.from_json(document, {}))
            except ValueError as error:
                self._store.damaged(self._layout.builds(build), str(error))
        return found

    def building(self, build: str) -> AbstractAsyncContextManager[None]:
        """The lock held while this source is built. Inside it nothing else is waited for but the backend."""
        return hold(self._layout.root, self._layout.lock(f"build-{build}"), self._report)

    def add(self, build: Build) -> None:
        """Inside `building` only. Raises CacheError."""
        documents = with_document(self._documents(build.build), build.to_json())
        self._store.write_document(self._layout.builds(build.build), {"builds": list(documents)})

    def keep_log(self, log: Path, build: str, key: str) -> Path:
        """Moves `log` (in scratch) to where it stays, without what may be a secret in it. Raises CacheError."""
        path = self._layout.build_log(build, key)
        with writing(self._layout.root):
            _redact(log)
            self._store.place(log, path)
        return path

    def _documents(self, build: str) -> list[dict[str, Json]]:
        document = self._store.read_document(self._layout.builds(build)) or {}
        documents = document.get("builds")
        return [each for each in documents if isinstance(each, dict)] if isinstance(documents, list) else []


def _redact(log: Path) -> None:
    """Proxies have passwords too, and a backend may print its environment."""
    text = log.read_text("utf-8", "backslashreplace")
    if "://" in text:
        lines = (redacted(line) if "://" in line else line for line in text.splitlines(keepends=True))
        log.write_text("".join(lines), "utf-8")
