"""The members of a zip file as its central directory has them, and what has to agree (APPNOTE.TXT 4.3, 4.4, 4.5).

Readers of zip differ in what they believe, the directory or the headers before the data: here both say the same.
Pure: bytes in, values out.
"""

from __future__ import annotations

import calendar
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator

from attrs import frozen

from felloe.errors import ArchiveError
from felloe.net.member import CHUNK, Kind, safe_parts, shown
from felloe.net.zip_directory import FULL16, FULL32, Directory

__all__ = [
    "LOCAL",
    "MAX_GAP",
    "MAX_HEADER",
    "Entry",
    "check_gap",
    "check_local_header",
    "local_header_size",
    "parse_entries",
    "read_span",
    "span_of",
    "unpacked",
]

CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL_MAGIC, LOCAL_MAGIC, DESCRIPTOR_MAGIC = b"PK\1\2", b"PK\3\4", b"PK\7\x08"

MAX_HEADER = LOCAL.size + 2 * 65535
MAX_GAP = 24  # the longest data descriptor

ZIP64_FIELD, UNICODE_PATH_FIELD = 0x0001, 0x7075
STORED, DEFLATED = 0, 8
ENCRYPTED = 0x0001 | 0x0040 | 0x2000
PATCHED = 0x0020
DEFERRED = 0x0008  # sizes and crc come after the data
UTF8 = 0x0800


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
    flags, method, time, date, crc, packed, size = fields[3:10]
    name_size, extra_size, comment_size, disk, _, mode, offset = fields[10:]
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
    """The values; in place of one at its limit the next 64 bits of the zip64 field, where there is such (4.5.3)."""
    field = extra.get(ZIP64_FIELD)
    widened = []
    for value, limit in values:
        if field is None or value != limit:
            widened.append(value)
            continue
        width = 8 if limit == FULL32 else 4
        if len(field) < width:
            raise ArchiveError("is damaged: a member's zip64 field is too short")
        widened.append(int.from_bytes(field[:width], "little"))
        field = field[width:]
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
    """How many bytes belong to `entry`, from its offset to the next. Raises ArchiveError where another has the same."""
    others = [other.offset for other in entries if other is not entry]
    if entry.offset in others:
        raise ArchiveError(f"holds members that overlap: `{shown(entry.name)}`")
    return min((offset for offset in others if offset > entry.offset), default=directory.offset) - entry.offset


def local_header_size(start: bytes) -> int:
    """The whole size of the local header whose first LOCAL.size bytes `start` begins with. Raises ArchiveError."""
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
    """Raises ArchiveError where `gap`, between the data and the next member, is not just the data descriptor."""
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
