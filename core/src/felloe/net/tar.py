"""The members of a tar stream (POSIX.1-2008 ustar and pax, GNU long names), read once from front to back.

The standard library parses the 512 bytes of one header. What may go before it (pax records, GNU long names) is read
here: `tarfile` reads it without a bound and calls itself for each one. What readers of tar do not agree on is refused.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from attrs import frozen

from felloe.errors import ArchiveError
from felloe.net.limits import Budget
from felloe.net.member import CHUNK, Kind, Member, safe_parts, shown

__all__ = ["TarReader"]

BLOCK = tarfile.BLOCKSIZE
END = bytes(BLOCK)

KINDS: dict[bytes, Kind] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
}
REFUSED = {
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a FIFO",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
LONG_NAMES = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
EXTENSIONS = {*LONG_NAMES, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE}

# A name, a link's target, pax records for the member and for all: no tool writes more before one member.
MAX_EXTENSIONS = 4
MAX_EXTENSION = 1024 * 1024
MAX_ALL_EXTENSIONS = 32 * 1024 * 1024
MAX_PADDING = 64 * 1024 * 1024

PAX_RECORD = re.compile(rb"([0-9]{1,8}) ")
PAX_VALUES = {
    "path": re.compile(".+", re.DOTALL),
    "linkpath": re.compile(".+", re.DOTALL),
    "size": re.compile("[0-9]{1,18}"),
    "mtime": re.compile(r"-?[0-9]{1,18}(\.[0-9]*)?"),
}
SPARSE = "GNU.sparse."


@frozen
class _Header:
    """One header and the `extension` records before it, by their pax keywords."""

    block: bytes
    info: tarfile.TarInfo
    extension: dict[str, str]

    @property
    def name(self) -> str:
        """As written; that of a directory ends in a slash where the header alone tells."""
        plain = f"{self.info.name}/" if self.info.isdir() else self.info.name
        return self.extension.get("path", plain)

    @property
    def target(self) -> str:
        return self.extension.get("linkpath", self.info.linkname)

    @property
    def size(self) -> int:
        return int(self.extension.get("size", self.info.size))

    @property
    def modified(self) -> float:
        return float(self.extension.get("mtime", self.info.mtime))

    @property
    def kind(self) -> Kind:
        """Raises ArchiveError where it is none of ours, or readers disagree on it."""
        typeflag = self.block[156:157]
        if typeflag not in KINDS:
            what = REFUSED.get(typeflag, f"a member of an unknown type {typeflag!r}")
            raise ArchiveError(f"holds {what}: `{shown(self.name)}`")
        if typeflag == tarfile.AREGTYPE and self.name.endswith("/"):
            return "directory"  # before POSIX, directories had no type of their own
        kind = KINDS[typeflag]
        if kind != "directory" and self.name.endswith("/"):
            raise ArchiveError(f"holds a {kind} with the name of a directory: `{shown(self.name)}`")
        return kind


class TarReader:
    """The members of the tar archive in `stream`, which has to be buffered. Their sizes are spent from `budget`.

    A member's blocks are there until the next member is asked for.
    """

    def __init__(self, stream: BinaryIO, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget
        self._extension_bytes = 0

    def __iter__(self) -> Iterator[Member]:
        """Raises ArchiveError where the archive is damaged, cut, too large, or goes on after its end."""
        while (header := self._next_header()) is not None:
            self._budget.spend_entries(1)
            self._budget.spend(header.size)
            data = self._data(header.size)
            yield _member(header, data)
            for _ in data:
                pass  # what the caller left
        self._check_nothing_follows()

    def _next_header(self) -> _Header | None:
        """None at the end."""
        extension: dict[str, str] = {}
        for extensions in range(MAX_EXTENSIONS + 1):
            block = self._read(BLOCK)
            if block == END and not extensions:
                return None
            info = _parse(block)
            typeflag = block[156:157]
            if typeflag not in EXTENSIONS:
                return _Header(block, info, extension)
            for key, value in _records(typeflag, self._extension(info.size)):
                _extend(extension, key, value)
        raise ArchiveError("holds a member with too many extended headers")

    def _extension(self, size: int) -> bytes:
        self._extension_bytes += size
        if not 0 <= size <= MAX_EXTENSION or self._extension_bytes > MAX_ALL_EXTENSIONS:
            raise ArchiveError(f"holds an extended header of {size} bytes", code="archive-too-large")
        return b"".join(self._data(size))

    def _data(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes, and the padding after them passed over."""
        for left in range(size, 0, -CHUNK):
            yield self._read(min(left, CHUNK))
        self._read(-size % BLOCK)

    def _read(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) < count:
            raise ArchiveError("is cut off")
        return data

    def _check_nothing_follows(self) -> None:
        for _ in range(0, MAX_PADDING, CHUNK):
            padding = self._stream.read(CHUNK)
            if padding.count(0) != len(padding):
                break
            if not padding:
                return
        raise ArchiveError("goes on after its end")


def _parse(block: bytes) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError) as error:
        raise ArchiveError(f"is damaged, or no tar archive: {error}") from error
    if info.size < 0:
        raise ArchiveError(f"holds a member of a negative size: `{shown(info.name)}`")
    # Before POSIX, and in GNU's format, the field of the name's first part held something else.
    if block[345] and block[257:263] != tarfile.POSIX_MAGIC[:6]:
        raise ArchiveError(f"holds a name that can be read in two ways: `{shown(info.name)}`")
    return info


def _records(typeflag: bytes, payload: bytes) -> Iterator[tuple[str, str]]:
    """Keyword and value of what an extended header says of the member after it."""
    if typeflag in LONG_NAMES:
        name, _, rest = payload.partition(b"\0")
        if rest.strip(b"\0"):
            raise ArchiveError(f"holds a name with a NUL: `{shown(_decoded(payload))}`")
        yield LONG_NAMES[typeflag], _decoded(name)
    elif typeflag == tarfile.XGLTYPE:
        _check_global(_pax_records(payload))
    else:
        yield from _pax_records(payload)


def _pax_records(payload: bytes) -> Iterator[tuple[str, str]]:
    """As POSIX has them: the record's length in decimal, a space, the keyword, `=`, the value, a line feed."""
    start = 0
    while start < len(payload):
        match = PAX_RECORD.match(payload, start)
        stop = start + int(match[1]) if match else 0
        record = payload[match.end() : stop] if match else b""
        keyword, equals, value = record[:-1].partition(b"=")
        if not (record.endswith(b"\n") and keyword and equals and stop <= len(payload)):
            raise ArchiveError("holds a damaged pax header")
        yield _decoded(keyword), _decoded(value)
        start = stop


def _check_global(records: Iterable[tuple[str, str]]) -> None:
    """A comment for all members is fine (git writes its commit there), one name or size for all is not."""
    for keyword, value in records:
        if keyword in PAX_VALUES and keyword != "mtime":
            raise ArchiveError(f"holds one {keyword} for all members: `{shown(value)}`")
        _check_not_sparse(keyword)


def _extend(extension: dict[str, str], keyword: str, value: str) -> None:
    _check_not_sparse(keyword)
    if keyword not in PAX_VALUES:
        return
    if not PAX_VALUES[keyword].fullmatch(value):
        raise ArchiveError(f"holds a pax header whose {keyword} is wrong: `{shown(value)}`")
    if extension.setdefault(keyword, value) != value:
        raise ArchiveError(f"holds a member with two values of {keyword}: `{shown(value)}`")


def _check_not_sparse(keyword: str) -> None:
    if keyword.startswith(SPARSE):
        raise ArchiveError("holds a sparse file")


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _member(header: _Header, blocks: Iterator[bytes]) -> Member:
    kind = header.kind
    if kind != "file" and header.size:
        # Some readers pass over the data of such a member, others take it for the next header.
        raise ArchiveError(f"holds a {kind} with data: `{shown(header.name)}`")
    return Member(
        name=header.name,
        parts=safe_parts(header.name),
        kind=kind,
        executable=bool(header.info.mode & 0o111),
        modified=header.modified,
        target=header.target,
        blocks=blocks,
    )
