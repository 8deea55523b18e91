"""The members of a zip file on disk, in the order of their bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from operator import attrgetter
from typing import BinaryIO

from felloe.errors import ArchiveError
from felloe.net import zip_entry
from felloe.net.limits import Budget
from felloe.net.member import CHUNK, MAX_NAME, Member, shown
from felloe.net.zip_directory import END_SPAN, NO_END, find_directory
from felloe.net.zip_entry import LOCAL, MAX_GAP, Entry

__all__ = ["ZipReader"]


class ZipReader:
    """A zip file that can be sought in. What is unpacked of it is spent from `budget`."""

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        """Raises ArchiveError where its central directory is damaged, or too large."""
        self._file = file
        self._budget = budget
        size = file.seek(0, os.SEEK_END)
        directory = find_directory(self._read(max(0, size - END_SPAN), min(size, END_SPAN)), size)
        if directory is None:
            raise ArchiveError(NO_END)
        budget.spend_entries(directory.count)
        self._directory = directory
        self.entries = zip_entry.parse_entries(self._read(directory.offset, directory.size), directory)

    def __iter__(self) -> Iterator[Member]:
        """Raises ArchiveError where a member is not what the directory says, or something lies between two."""
        entries = sorted(self.entries, key=attrgetter("offset"))
        offsets = [*(entry.offset for entry in entries), self._directory.offset]
        if offsets[0] != 0:
            raise ArchiveError("does not begin with its first member")
        for entry, stop in zip(entries, offsets[1:], strict=True):
            yield self._member(entry, self._data_start(entry, stop - entry.offset))

    def read(self, entry: Entry) -> bytes:
        """The contents of one member. Raises ArchiveError."""
        span = zip_entry.span_of(entry, self.entries, self._directory)
        return b"".join(self._blocks(entry, self._data_start(entry, span)))

    def _data_start(self, entry: Entry, span: int) -> int:
        """Where the data begin, once it is known that header, data and descriptor fill the `span` bytes exactly."""
        fixed = self._read(entry.offset, LOCAL.size)
        header_size = zip_entry.local_header_size(fixed)
        zip_entry.check_local_header(entry, self._read(entry.offset, header_size))
        start = entry.offset + header_size
        gap = entry.offset + span - start - entry.packed
        if gap < 0:
            raise ArchiveError(f"holds members that overlap: `{shown(entry.name)}`")
        zip_entry.check_gap(entry, self._read(start + entry.packed, min(gap, MAX_GAP + 1)))
        return start

    def _member(self, entry: Entry, start: int) -> Member:
        kind = entry.kind
        blocks = self._blocks(entry, start)
        return Member(
            name=entry.name,
            parts=entry.parts,
            kind=kind,
            executable=bool(entry.mode & 0o111),
            modified=entry.modified,
            target=_target(entry, blocks) if kind == "symlink" else "",
            blocks=blocks,
        )

    def _blocks(self, entry: Entry, start: int) -> Iterator[bytes]:
        self._budget.spend(entry.size)
        yield from zip_entry.unpacked(entry, self._packed(start, entry.packed))

    def _packed(self, start: int, size: int) -> Iterator[bytes]:
        for at in range(start, start + size, CHUNK):
            yield self._read(at, min(CHUNK, start + size - at))

    def _read(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        data = self._file.read(size)
        if len(data) < size:
            raise ArchiveError("is cut off")
        return data


def _target(entry: Entry, blocks: Iterator[bytes]) -> str:
    if entry.size > MAX_NAME:
        raise ArchiveError(f"holds a link with a target of {entry.size} bytes: `{shown(entry.name)}`")
    target = b"".join(blocks).decode("utf-8", "surrogateescape")
    if "\\" in target:
        raise ArchiveError(f"holds a link with a backslash: `{shown(entry.name)}` -> `{shown(target)}`")
    return target
