"""Sdists and wheels as they were fetched, by the sha256 of their bytes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from felloe.cache.layout import Layout
from felloe.cache.run import writing
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

        What is damaged is removed, so that it is fetched again. The same bytes under another name will do.
        """
        await work()
        path = self._layout.archive(sha256, filename)
        found = path if path.is_file() else next(_regular_files(path.parent), None)
        if found is None:
            return None
        if (await digests_of(found))["sha256"] != sha256:
            self._store.damaged(found, "its bytes have another sha256")
            with writing(self._layout.root):
                found.unlink(missing_ok=True)
            return None
        if found != path:
            with writing(self._layout.root):
                _link(found, path)
        return path

    def put(self, file: Path, sha256: str, filename: str) -> Path:
        """Moves `file` (in scratch, of these bytes) into the cache. Raises CacheError."""
        path = self._layout.archive(sha256, filename)
        with writing(self._layout.root):
            self._store.place(file, path)
        return path


async def digests_of(file: Path, algorithms: Iterable[str] = ()) -> Mapping[str, str]:
    """Hex digests of the bytes of `file`: sha256, and the others asked for. Hashed on a thread of its own."""
    await work()
    from anyio.to_thread import run_sync

    return await run_sync(digests_of_file, file, tuple(algorithms))


def _regular_files(folder: Path) -> Iterator[Path]:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return iter([file for file in files if file.is_file() and not file.is_symlink()])


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
