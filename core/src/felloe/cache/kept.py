"""Folders that a source keeps for itself: git's bare repositories, say. One process at a time is in one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from felloe.cache.layout import Layout, digest
from felloe.cache.locks import hold
from felloe.cache.root import make_way, writing
from felloe.cache.run import Run
from felloe.progress import Event

__all__ = ["holding"]


@asynccontextmanager
async def holding(layout: Layout, run: Run, folder: Path, report: Callable[[Event], None]) -> AsyncIterator[Path]:
    """`folder` (of `layout.kept`), made where it is not there, while nobody else is in it. Raises CacheError."""
    name = digest(folder.relative_to(layout.root).as_posix())
    async with hold(layout.root, layout.lock(f"keep-{name}"), report):
        run.begin()
        with writing(layout.root):
            make_way(layout.root, folder / "any")
        yield folder
