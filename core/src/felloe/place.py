"""Where the line is: one Dist being answered, and what was found of it so far."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from attrs import frozen

from felloe.context import ItemContext
from felloe.record import Record
from felloe.values import Dist, Fetched, Request, Stack

if TYPE_CHECKING:
    from felloe.registry import Instance

__all__ = ["Brought", "Checked", "Place"]


@frozen(kw_only=True)
class Place:
    """One Dist being answered: who owns it, what the owner may use, and where the cache keeps what it knows.

    Of a project in a subdirectory, `archive` is where it keeps what it knows of the whole archive.
    """

    request: Request
    dist: Dist
    source: Instance
    ctx: ItemContext
    path: Path
    archive: Path | None = None
    stack: Stack = ()

    @property
    def what(self) -> str:
        """How errors name it."""
        return f"`{self.dist.filename}` of source `{self.source.name}`"


class Checked(NamedTuple):
    """What the cache holds, whether it is still true, and bytes that had to be downloaded to find out."""

    found: Record | None
    is_fresh: bool = False
    fetched: Fetched | None = None

    @property
    def record(self) -> Record | None:
        """What is known and true."""
        return self.found if self.is_fresh else None


class Brought(NamedTuple):
    """An archive in the cache whose bytes were hashed just now, and whether they had to be received.

    Of a tree, `path` is a copy in scratch, and `editable_root` the folder where an editable build has to run.
    """

    record: Record
    path: Path
    received: bool
    editable_root: Path | None = None
