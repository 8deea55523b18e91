"""A folder that the members of an archive are written into, and nothing outside of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

from attrs import define, field, frozen

from felloe.errors import ArchiveError
from felloe.net.limits import Budget, Limits
from felloe.net.member import CHUNK, MAX_NAME, Member, is_absolute, shown

__all__ = ["Tree"]

# The times that a zip file can hold in every time zone: older ones fail when a wheel is made of the files.
EARLIEST, LATEST = 315_619_200.0, 4_354_646_400.0  # 1980-01-02, 2107-12-30
MAX_LINKS = 40  # that the kernel follows in one path
STEPS_PER_ENTRY = 40

# What an operating system says to a name that it cannot have.
BAD_NAME = frozenset({errno.ENAMETOOLONG, errno.EEXIST, errno.EILSEQ, errno.EINVAL, errno.ENOTDIR, errno.ENOENT})


@frozen
class _File:
    executable: bool


@frozen
class _Link:
    target: str


@define
class _Directory:
    modified: float | None = None  # None where no member says
    children: dict[str, _Node] = field(factory=dict)


_Node = _File | _Link | _Directory


class Tree:
    """Files, directories and links below the empty folder `into`. What is written is known, so nothing is overwritten.

    Symlinks are made last, in `finish`: until then no path leads through one. A hard link becomes a copy, which is
    spent from `budget`.
    """

    def __init__(self, into: Path, limits: Limits, budget: Budget) -> None:
        self._into = into
        self._max_entries = limits.max_entries
        self._budget = budget
        self._root = _Directory()
        self._links: list[tuple[str, ...]] = []
        self._implied = 0

    def add(self, member: Member) -> None:
        """Writes `member`. The same member again is fine. Raises ArchiveError; OSError where the disk does not take it."""
        if not member.parts and member.kind != "directory":
            raise ArchiveError(f"holds a member without a name: `{shown(member.name)}`")
        with _naming(member.name):
            match member.kind:
                case "file":
                    self._add_file(member, member.blocks)
                case "hardlink":
                    self._add_file(member, self._copied(member))
                case "symlink":
                    self._add_link(member)
                case "directory":
                    self._directory(member.parts).modified = member.modified

    def finish(self) -> Path:
        """Makes the symlinks. Gives the one directory that everything lies in, else `into`.

        Raises ArchiveError where a link leaves that directory; OSError where the disk does not take it.
        """
        top = self._top()
        follower = _Follower(self._inside(top), STEPS_PER_ENTRY * self._max_entries)
        for parts in self._links:
            link = self._node(parts)
            with _naming("/".join(parts)):
                follower.check(parts[len(top) :], link)
                self._path(parts).symlink_to(link.target)
        for path, directory in self._directories():
            if directory.modified is not None:
                _set_time(path, directory.modified)
        return self._path(top)
