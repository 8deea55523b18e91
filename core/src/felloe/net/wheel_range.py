"""METADATA of a remote wheel, from a few of its bytes. No network is used here: a way to read ranges is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from felloe.config import Limits
from felloe.errors import ArchiveError
from felloe.net.dist_info import find_metadata
from felloe.net.limits import DEFAULT_LIMITS, Budget
from felloe.net.member import naming
from felloe.net.zip_directory import END_SPAN, NO_END, Directory, find_directory
from felloe.net.zip_entry import MAX_GAP, MAX_HEADER, parse_entries, read_span, span_of

__all__ = ["read_metadata"]

# Holds the central directory and the .dist-info before it of four wheels in five.
TAIL = 32 * 1024
# RECORD lies between METADATA and a central directory that is about as large; read with it up to this size.
MAX_LEAD = 256 * 1024

Read = Callable[[int, int], Awaitable[bytes]]


async def read_metadata(read: Read, size: int, filename: str, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """METADATA of the wheel `filename`, which has `size` bytes.

    `read(first, last)` gives these bytes, both included. One read where all is in the last 32 KiB, as a rule; else two,
    at most three (and one more for a long comment at the end of the file).

    Raises ArchiveError where the zip file is damaged or ambiguous, or has not just one `.dist-info` directory, of its
    own name and version, with METADATA.
    """
    with naming(filename):
        file = _FileEnd(read, size)
        directory = await _directory(file, size)
        Budget(limits, size).spend_entries(directory.count)
        entries = parse_entries(await _directory_bytes(file, directory), directory)
        entry = find_metadata(entries, filename, limits.max_metadata_bytes)
        span = span_of(entry, entries, directory)
        if span > MAX_HEADER + entry.packed + MAX_GAP:
            raise ArchiveError("holds something that its directory does not tell of")
        return read_span(entry, await file.between(entry.offset, entry.offset + span))


async def _directory(file: _FileEnd, size: int) -> Directory:
    for length in (TAIL, END_SPAN):
        tail = await file.between(max(0, size - length), size)
        if directory := find_directory(tail, size):
            return directory
    raise ArchiveError(NO_END)


async def _directory_bytes(file: _FileEnd, directory: Directory) -> bytes:
    """Where they have to be read, the same read is to bring METADATA too."""
    if not file.holds(directory.offset):
        lead = min(directory.size, MAX_LEAD) + TAIL
        await file.between(max(0, directory.offset - lead), directory.stop)
    return await file.between(directory.offset, directory.stop)


class _FileEnd:
    """The end of a remote file as far as it was read; nothing of it is read twice."""

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self._start = size
        self._held = b""

    def holds(self, start: int) -> bool:
        """Whether all from `start` on was read."""
        return start >= self._start

    async def between(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`. Kept for later where they reach what is there already."""
        if self.holds(start):
            return self._slice(start, stop)
        missing = await self._read(start, min(stop, self._start) - 1)
        if len(missing) != min(stop, self._start) - start:
            raise ArchiveError("is cut off")
        if stop < self._start:
            return missing
        self._start, self._held = start, missing + self._held
        return self._slice(start, stop)

    def _slice(self, start: int, stop: int) -> bytes:
        return self._held[start - self._start : stop - self._start]
