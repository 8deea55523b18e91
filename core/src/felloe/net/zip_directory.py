"""Where the central directory of a zip file lies (APPNOTE.TXT 4.3.14 to 4.3.16). Pure: bytes in, values out."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from attrs import frozen

from felloe.errors import ArchiveError

__all__ = ["END_SPAN", "NO_END", "Directory", "find_directory"]

END = struct.Struct("<4s4H2LH")
ZIP64_LOCATOR = struct.Struct("<4sLQL")
ZIP64_END = struct.Struct("<4sQ2H2L4Q")
END_MAGIC, ZIP64_LOCATOR_MAGIC, ZIP64_END_MAGIC = b"PK\5\6", b"PK\6\7", b"PK\6\6"

ZIP64_ROOM = ZIP64_LOCATOR.size + ZIP64_END.size
# Where the end record is looked for: before the longest comment, and as much zero padding.
END_SPAN = ZIP64_ROOM + END.size + 2 * 65535
NO_END = "is cut off, or no zip file: it has no end record"

MAX_DIRECTORY = 16 * 1024 * 1024
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF  # "see the zip64 record"


@frozen(kw_only=True)
class Directory:
    """Where the central directory lies: `size` bytes from `offset`, holding `count` entries."""

    offset: int
    size: int
    count: int

    @property
    def stop(self) -> int:
        return self.offset + self.size


def find_directory(tail: bytes, size: int) -> Directory | None:
    """The central directory of a zip file of `size` bytes that ends in `tail`; None where `tail` does not tell.

    A tail of END_SPAN bytes tells it of every zip file. Raises ArchiveError where something follows the end record, or
    it is wrong.
    """
    at = tail.rfind(END_MAGIC, 0, max(0, len(tail) - END.size + len(END_MAGIC)))
    if at < 0 or (at < ZIP64_ROOM and len(tail) < size):
        return None
    *_, comment = end = END.unpack_from(tail, at)
    padding = tail[at + END.size + comment :]
    if at + END.size + comment > len(tail) or padding.count(0) != len(padding):
        raise ArchiveError("goes on after its end")
    position = size - len(tail) + at
    if at >= ZIP64_LOCATOR.size and tail.startswith(ZIP64_LOCATOR_MAGIC, at - ZIP64_LOCATOR.size):
        return _zip64_directory(tail, at, position, end)
    return _checked(Directory(offset=end[6], size=end[5], count=end[4]), disks=end[1:3], here=end[3], stop=position)


def _zip64_directory(tail: bytes, at: int, position: int, end: tuple[int, ...]) -> Directory:
    """The record that the end record of 32 bits at `at` stands in for; the two have to agree."""
    if at < ZIP64_ROOM:
        raise ArchiveError("is damaged: its zip64 record is missing")
    _, _, record_offset, disks = ZIP64_LOCATOR.unpack_from(tail, at - ZIP64_LOCATOR.size)
    record = ZIP64_END.unpack_from(tail, at - ZIP64_ROOM)
    magic, length, _, _, disk, directory_disk, here, count, size, offset = record
    stop = position - ZIP64_ROOM
    if magic != ZIP64_END_MAGIC or length != ZIP64_END.size - 12 or record_offset != stop or disks > 1:
        raise ArchiveError("is damaged: its zip64 record is not where it should be")
    wide, limits = (disk, directory_disk, here, count, size, offset), (FULL16,) * 4 + (FULL32,) * 2
    if any(narrow not in {value, limit} for narrow, value, limit in zip(end[1:7], wide, limits, strict=True)):
        raise ArchiveError("has two end records that disagree")
    directory = Directory(offset=offset, size=size, count=count)
    return _checked(directory, disks=(disk, directory_disk), here=here, stop=stop)


def _checked(directory: Directory, *, disks: Sequence[int], here: int, stop: int) -> Directory:
    if any(disks) or here != directory.count:
        raise ArchiveError("is one part of a zip file of several parts")
    if directory.stop != stop:
        raise ArchiveError("is damaged: its central directory is not where its end record says")
    if directory.size > MAX_DIRECTORY:
        raise ArchiveError(f"has a central directory of {directory.size} bytes", code="archive-too-large")
    return directory
