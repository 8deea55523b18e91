"""The central directory of a zip file, and what has to agree with it (APPNOTE.TXT 4.3, 4.4, 4.5.3). Pure: bytes in, values out.

Readers of zip differ in what they believe: the directory or the headers before the data, the first or the last of two
records. Here all of them have to say the same.
"""

from __future__ import annotations

import calendar
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from felloe.errors import ArchiveError
from felloe.net.member import CHUNK, Kind, safe_parts, shown

__all__ = [
    "END_SPAN",
    "LOCAL",
    "MAX_GAP",
    "MAX_SPAN_OVERHEAD",
    "Directory",
    "Entry",
    "check_gap",
    "check_local_header",
    "find_directory",
    "local_header_size",
    "parse_entries",
    "read_span",
    "span_of",
    "unpacked",
]

END = struct.Struct("<4s4H2LH")
ZIP64_LOCATOR = struct.Struct("<4sLQL")
ZIP64_END = struct.Struct("<4sQ2H2L4Q")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
END_MAGIC, ZIP64_LOCATOR_MAGIC, ZIP64_END_MAGIC = b"PK\5\6", b"PK\6\7", b"PK\6\6"
CENTRAL_MAGIC, LOCAL_MAGIC, DESCRIPTOR_MAGIC = b"PK\1\2", b"PK\3\4", b"PK\7\x08"

MAX_DIRECTORY = 16 * 1024 * 1024
ZIP64_ROOM = ZIP64_LOCATOR.size + ZIP64_END.size
# Where the end record is looked for: the longest comment, and as much zero padding.
END_SPAN = ZIP64_ROOM + END.size + 2 * 65535
MAX_GAP = 24  # the longest data descriptor
MAX_SPAN_OVERHEAD = LOCAL.size + 2 * 65535 + MAX_GAP

NO_END = "is cut off, or no zip file: it has no end record"
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF  # "see the zip64 record"
ZIP64_FIELD, UNICODE_PATH_FIELD = 0x0001, 0x7075
STORED, DEFLATED = 0, 8
ENCRYPTED = 0x0001 | 0x0040 | 0x2000
PATCHED = 0x0020
DEFERRED = 0x0008  # sizes and crc come after the data
UTF8 = 0x0800


@frozen(kw_only=True)
class Directory:
    """Where the central directory lies: `size` bytes from `offset`, holding `count` entries."""

    offset: int
    size: int
    count: int

    @property
    def stop(self) -> int:
        return self.offset + self.size


@frozen(kw_only=True)
class Entry:
    """One member, as the central directory has it.

    `packed` and `size` are its bytes in the file and unpacked, `offset` is where its local header begins, `mode` has
    the permissions and kind of Unix (0 where unknown), `modified` is in seconds since the epoch.
    """

    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int
    modified: float

    @property
    def parts(self) -> tuple[str, ...]:
        """Raises ArchiveError where the name is not one to be trusted."""
        if "\\" in self.name:
            raise ArchiveError(f"holds a name with a backslash: `{shown(self.name)}`")
        return safe_parts(self.name)

    @property
    def kind(self) -> Kind:
        """Raises ArchiveError where it is none of ours, or the name says another."""
        form = stat.S_IFMT(self.mode)
        if self.name.endswith("/") and form in {0, stat.S_IFDIR, stat.S_IFREG} and self.size == 0:
            return "directory"
        if not self.name.endswith("/") and form in {0, stat.S_IFREG}:
            return "file"
        if not self.name.endswith("/") and form == stat.S_IFLNK:
            return "symlink"
        raise ArchiveError(f"holds a member that is no file, directory or link: `{shown(self.name)}`")


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


def parse_entries(data: bytes, directory: Directory) -> tuple[Entry, ...]:
    """The entries of a central directory whose bytes are `data`, in its order. Raises ArchiveError."""
    entries = []
    start = 0
    for _ in range(directory.count):
        entry, start = _parse_entry(data, start)
        if entry.offset + entry.packed > directory.offset:
            raise ArchiveError(f"is damaged: `{shown(entry.name)}` lies outside of it")
        entries.append(entry)
    if start != len(data):
        raise ArchiveError("is damaged: its central directory holds more than its end record says")
    return tuple(entries)


def _parse_entry(data: bytes, start: int) -> tuple[Entry, int]:
    """The entry at `start`, and where the next begins."""
    if len(data) < start + CENTRAL.size or not data.startswith(CENTRAL_MAGIC, start):
        raise ArchiveError("is damaged: its central directory is cut off")
    fields = CENTRAL.unpack_from(data, start)
    _, _, _, flags, method, time, date, crc, packed, size, name_size, extra_size, comment_size, disk, _, mode, offset = fields
    name_stop = start + CENTRAL.size + name_size
    extra_stop = name_stop + extra_size
    raw_name = data[start + CENTRAL.size : name_stop]
    extra = _extra_fields(data[name_stop:extra_stop])
    size, packed, offset, disk = _widened(extra, (size, FULL32), (packed, FULL32), (offset, FULL32), (disk, FULL16))
    entry = Entry(
        raw_name=raw_name,
        name=_decoded(raw_name, flags),
        flags=flags,
        method=method,
        crc=crc,
        packed=packed,
        size=size,
        offset=offset,
        mode=mode >> 16,
        modified=_modified(date, time),
    )
    _check_supported(entry, extra)
    if disk:
        raise ArchiveError("is one part of a zip file of several parts")
    return entry, extra_stop + comment_size


def _extra_fields(data: bytes) -> dict[int, bytes]:
    """By their ids. A rest too short for a field is padding."""
    fields: dict[int, bytes] = {}
    start = 0
    while start + 4 <= len(data):
        tag, size = struct.unpack_from("<2H", data, start)
        start += 4
        if start + size > len(data) or (tag in fields and tag in {ZIP64_FIELD, UNICODE_PATH_FIELD}):
            raise ArchiveError("is damaged: a member's extra fields are wrong")
        fields[tag] = data[start : start + size]
        start += size
    return fields


def _widened(extra: dict[int, bytes], *values: tuple[int, int]) -> list[int]:
    """Each of the values; where it is at its limit, its 64 bits (or 32, for the disk) of the zip64 field take its place."""
    field = extra.get(ZIP64_FIELD, b"")
    widened = []
    for value, limit in values:
        if value == limit and ZIP64_FIELD in extra:
            width = 8 if limit == FULL32 else 4
            if len(field) < width:
                raise ArchiveError("is damaged: a member's zip64 field is too short")
            value, field = int.from_bytes(field[:width], "little"), field[width:]
        widened.append(value)
    return widened


def _decoded(raw_name: bytes, flags: int) -> str:
    try:
        return raw_name.decode("utf-8" if flags & UTF8 else "cp437")
    except UnicodeDecodeError as error:
        raise ArchiveError(f"holds a name that is not the UTF-8 it claims to be: `{raw_name!r}`") from error


def _modified(date: int, time: int) -> float:
    """Times in a zip file name no time zone: taken for UTC, so that the same file unpacks to the same everywhere."""
    year, month, day = 1980 + (date >> 9), min(max(date >> 5 & 15, 1), 12), max(date & 31, 1)
    return calendar.timegm((year, month, day, time >> 11, time >> 5 & 63, 2 * (time & 31)))


def _check_supported(entry: Entry, extra: dict[int, bytes]) -> None:
    if entry.flags & ENCRYPTED:
        raise ArchiveError(f"holds an encrypted member: `{shown(entry.name)}`")
    if entry.method not in {STORED, DEFLATED} or entry.flags & PATCHED:
        raise ArchiveError(f"holds a member compressed by method {entry.method}: `{shown(entry.name)}`")
    if entry.method == STORED and entry.packed != entry.size:
        raise ArchiveError(f"holds a stored member with two sizes: `{shown(entry.name)}`")
    if extra.get(UNICODE_PATH_FIELD, bytes(5) + entry.raw_name)[5:] != entry.raw_name:
        raise ArchiveError(f"holds a member with two names: `{shown(entry.name)}`")


def span_of(entry: Entry, entries: Iterable[Entry], directory: Directory) -> int:
    """How many bytes from its offset on belong to `entry`: up to the next member. Raises ArchiveError where it shares them."""
    others = [other.offset for other in entries if other is not entry]
    if entry.offset in others:
        raise ArchiveError(f"holds members that overlap: `{shown(entry.name)}`")
    return min((offset for offset in others if offset > entry.offset), default=directory.offset) - entry.offset


def local_header_size(start: bytes) -> int:
    """The whole size of the local header that begins with `start` (of at least LOCAL.size bytes). Raises ArchiveError."""
    if len(start) < LOCAL.size or not start.startswith(LOCAL_MAGIC):
        raise ArchiveError("is damaged: a local header is missing")
    *_, name_size, extra_size = LOCAL.unpack_from(start)
    return int(LOCAL.size + name_size + extra_size)


def check_local_header(entry: Entry, header: bytes) -> None:
    """Raises ArchiveError where the local header tells of another member than the central directory does."""
    _, _, flags, method, _, _, crc, packed, size, name_size, _ = LOCAL.unpack_from(header)
    name_stop = LOCAL.size + name_size
    extra = _extra_fields(header[name_stop:])
    size, packed = _widened(extra, (size, FULL32), (packed, FULL32))
    agreed = (
        header[LOCAL.size : name_stop] == entry.raw_name
        and method == entry.method
        and not (flags ^ entry.flags) & (ENCRYPTED | DEFERRED | UTF8)
        and extra.get(UNICODE_PATH_FIELD, bytes(5) + entry.raw_name)[5:] == entry.raw_name
        and all(
            local == central or (flags & DEFERRED and local == 0)
            for local, central in ((crc, entry.crc), (packed, entry.packed), (size, entry.size))
        )
    )
    if not agreed:
        raise ArchiveError(f"says two things of one member: `{shown(entry.name)}`")


def check_gap(entry: Entry, gap: bytes) -> None:
    """Raises ArchiveError where something other than its data descriptor lies between the member's data and the next."""
    if gap not in _descriptors(entry):
        raise ArchiveError(f"holds something that its directory does not tell of, after `{shown(entry.name)}`")


def _descriptors(entry: Entry) -> Iterator[bytes]:
    """Every form of the data descriptor (4.3.9): its magic is optional, sizes are of 32 or of 64 bits."""
    if not entry.flags & DEFERRED:
        yield b""
        return
    for form in ("<LQQ", "<LLL") if max(entry.packed, entry.size) <= FULL32 else ("<LQQ",):
        descriptor = struct.pack(form, entry.crc, entry.packed, entry.size)
        yield descriptor
        yield DESCRIPTOR_MAGIC + descriptor


def read_span(entry: Entry, span: bytes) -> bytes:
    """The contents of `entry`, whose local header, data and descriptor are `span`. Raises ArchiveError."""
    start = local_header_size(span)
    check_local_header(entry, span[:start])
    check_gap(entry, span[start + entry.packed :])
    return b"".join(unpacked(entry, [span[start : start + entry.packed]]))


def unpacked(entry: Entry, packed: Iterable[bytes]) -> Iterator[bytes]:
    """The contents of `entry`, whose bytes in the file are `packed`.

    Raises ArchiveError where they are not of its size and crc; never more than its size is given.
    """
    size = crc = 0
    for block in packed if entry.method == STORED else _inflated(entry, packed):
        size += len(block)
        if size > entry.size:
            break
        crc = zlib.crc32(block, crc)
        yield block
    if (size, crc) != (entry.size, entry.crc):
        raise ArchiveError(f"holds a damaged member: `{shown(entry.name)}`")


def _inflated(entry: Entry, packed: Iterable[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for data in packed:
            yield from _inflate(inflater, data)
    except zlib.error as error:
        raise ArchiveError(f"holds a damaged member: `{shown(entry.name)}`: {error}") from error
    if not inflater.eof or inflater.unused_data:
        raise ArchiveError(f"holds a member whose data have another length: `{shown(entry.name)}`")


def _inflate(inflater: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """Blocks of at most CHUNK bytes. A full one may have left some output behind, though all input was taken."""
    full = True
    while data or full:
        block = inflater.decompress(data, CHUNK)
        full, data = len(block) == CHUNK, inflater.unconsumed_tail
        if block:
            yield block
