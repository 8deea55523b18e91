"""The builds that were done of one source, by its build id (`builds-v0`): its bytes found elsewhere find them too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

from felloe.build.failure import Failure
from felloe.build.record import Build, is_same_job, with_document
from felloe.cache.contents import first_line_of_log
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
        for document in reversed(self._documents(build, "builds")):
            try:
                found.append(Build.from_json(document, {}))
            except ValueError as error:
                self._store.damaged(self._layout.builds(build), str(error))
        return found

    def building(self, build: str) -> AbstractAsyncContextManager[None]:
        """The lock held while this source is built. Inside it nothing else is waited for but the backend."""
        return hold(self._layout.root, self._layout.lock(f"build-{build}"), self._report)

    def add(self, build: Build) -> None:
        """Inside `building` only; of the same job there is no failure any more. Raises CacheError."""
        document = build.to_json()
        failures = [each for each in self._documents(build.build, "failures") if not is_same_job(each, document)]
        self._write(build.build, with_document(self._documents(build.build, "builds"), document), failures)

    def failures(self, build: str) -> list[Failure]:
        """Those that are remembered; what cannot be read is left out."""
        found = []
        for document in self._documents(build, "failures"):
            with suppress(ValueError):
                found.append(Failure.from_json(document))
        return found

    def add_failure(self, failure: Failure) -> None:
        """In place of one of the same job. Inside `building` only. Raises CacheError."""
        failures = with_document(self._documents(failure.build, "failures"), failure.to_json())
        self._write(failure.build, self._documents(failure.build, "builds"), failures)

    def log(self, build: str, key: str) -> Path | None:
        """Where what a backend printed is kept; None where there is nothing."""
        path = self._layout.build_log(build, key)
        return path if key and path.is_file() else None

    def keep_log(self, log: Path, build: str, key: str, project: str = "") -> Path:
        """Moves `log` (in scratch) to where it stays, without what may be a secret in it. Raises CacheError.

        Its first line says of which `project` (normalised; "" where nobody knows) it is: a build that failed leaves
        nothing else.
        """
        path = self._layout.build_log(build, key)
        with writing(self._layout.root):
            log.write_bytes(first_line_of_log(project) + _redacted(log.read_bytes()))
            self._store.place(log, path)
        return path

    def _write(self, build: str, builds: Sequence[Mapping[str, Json]], failures: Sequence[Mapping[str, Json]]) -> None:
        document = {"builds": list(builds), **({"failures": list(failures)} if failures else {})}
        self._store.write_document(self._layout.builds(build), document)

    def _documents(self, build: str, key: str) -> list[dict[str, Json]]:
        document = self._store.read_document(self._layout.builds(build)) or {}
        documents = document.get(key)
        return [each for each in documents if isinstance(each, dict)] if isinstance(documents, list) else []


def _redacted(printed: bytes) -> bytes:
    """Proxies have passwords too, and a backend may print its environment."""
    if b"://" not in printed:
        return printed
    lines = printed.decode("utf-8", "backslashreplace").splitlines(keepends=True)
    return "".join(redacted(line) if "://" in line else line for line in lines).encode()
