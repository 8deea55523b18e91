"""The builds that were done of one source, by its build id (`builds-v0`): its bytes found elsewhere find them too.

Each is a folder, by the key of its fingerprint and its goal: `record.json`, the wheel, and `log.txt`. It is put there
by one rename, so it is there as a whole or not at all. A failure is a record with an `error` and without a wheel, which
a later result replaces.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple

from attrs import evolve

from felloe.build.failure import Failure
from felloe.build.plan import BuildOrder
from felloe.build.record import Build
from felloe.cache.archives import Archives
from felloe.cache.layout import LOG, RECORD, Layout
from felloe.cache.locks import hold, try_lock
from felloe.cache.root import writing
from felloe.cache.store import Store
from felloe.progress import Event
from felloe.request import redacted

__all__ = ["History"]


class _Job(NamedTuple):
    """What names the folder of a build."""

    build: str
    fingerprint: str
    goal: str


class History:
    """Builds by build id. Those that are not to be kept last as long as the run."""

    def __init__(self, layout: Layout, store: Store, archives: Archives, report: Callable[[Event], None]) -> None:
        self._layout = layout
        self._store = store
        self._archives = archives
        self._report = report
        self._of_this_run: dict[_Job, Path] = {}

    def builds(self, build: str) -> list[Build]:
        """Those that were done of a source, newest first; what cannot be read is left out."""
        found = []
        for folder in self._folders(build):
            document = self._store.read_document(folder / RECORD)
            if document is None or "error" in document:
                continue
            try:
                done = Build.from_json(document, {})
            except ValueError as error:
                self._store.damaged(folder / RECORD, str(error))
                continue
            if folder == self._layout.build(*_job(done)):
                found.append(done)
            else:
                self._store.damaged(folder / RECORD, "it is of another build")
        return sorted(found, key=lambda each: each.built, reverse=True)

    def failure(self, order: BuildOrder) -> Failure | None:
        """What is remembered of the same job, if it failed."""
        path = self._layout.build(*_job(order)) / RECORD
        document = self._store.read_document(path)
        if document is None or "error" not in document:
            return None
        try:
            return Failure.from_json(document)
        except ValueError as error:
            self._store.damaged(path, str(error))
            return None

    def building(self, order: BuildOrder) -> AbstractAsyncContextManager[None]:
        """The lock held while a backend works at a job. Inside it nothing else is waited for but the backend."""
        return hold(self._layout.root, self._lock_of(order), self._report)

    def try_building(self, order: BuildOrder) -> Callable[[], None] | None:
        """Takes the lock of `building` and gives back what releases it; None where somebody else holds it.

        Raises CacheError.
        """
        return try_lock(self._layout.root, self._lock_of(order))

    def add(self, build: Build, folder: Path, *, is_kept: bool) -> Build:
        """A build, whose wheel and log lie in `folder` (in scratch), as it is kept. Under the lock of `building` only.

        Raises CacheError.
        """
        if not is_kept:
            self._of_this_run[_job(build)] = folder
            return build
        path = self._layout.build(*_job(build))
        if (folder / LOG).is_file():
            build = evolve(build, log=(path / LOG).relative_to(self._layout.root).as_posix())
        self._store.place_folder(folder, path, RECORD, build.to_json())
        return build

    def add_failure(self, failure: Failure, folder: Path) -> None:
        """One whose log lies in `folder`, in place of what is there. Inside `building` only. Raises CacheError."""
        self._store.place_folder(folder, self._layout.build(*_job(failure)), RECORD, failure.to_json())

    async def wheel(self, build: Build) -> Path | None:
        """The wheel that a build made, its sha256 checked just now; None where it is gone. Raises CacheError."""
        if build.wheel is None or build.sha256 is None:
            return None
        folder = self._of_this_run.get(_job(build))
        if folder is None:
            folder = self._layout.build(*_job(build))
            kept = self._store.read_document(folder / RECORD)
            if kept is not None and kept.get("sha256") != build.sha256:
                return None  # it was built again since: the wheel that is there is good, but another one
        return await self._archives.whole(folder / build.wheel, build.sha256)

    def log(self, done: Build | Failure | BuildOrder) -> Path | None:
        """Where what a backend printed is kept; None where there is nothing."""
        path = self._layout.build(*_job(done)) / LOG
        return path if path.is_file() and not path.is_symlink() else None

    def keep_log(self, log: Path, folder: Path) -> None:
        """Puts what a backend printed into `folder`, without what may be a secret in it. Raises CacheError."""
        with writing(self._layout.root):
            (folder / LOG).write_bytes(_redacted(log.read_bytes()))

    def _lock_of(self, order: BuildOrder) -> Path:
        return self._layout.build_lock(order.build, order.fingerprint.key)

    def _folders(self, build: str) -> Iterator[Path]:
        """In the order of their paths."""
        top = self._layout.builds(build)
        if self._store.is_inside(top / "any"):
            for fingerprint in _folders_in(top):
                yield from _folders_in(fingerprint)


def _job(of: Build | Failure | BuildOrder) -> _Job:
    return _Job(of.build, of.fingerprint.key, of.goal)


def _folders_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _redacted(printed: bytes) -> bytes:
    """Proxies have passwords too, and a backend may print its environment."""
    if b"://" not in printed:
        return printed
    lines = printed.decode("utf-8", "backslashreplace").splitlines(keepends=True)
    return "".join(redacted(line) if "://" in line else line for line in lines).encode()
