"""sdists and wheels: unpacked, or some of their members read, without trust in what is in them.

Only regular files, directories, hard links (as copies) and symlinks that stay in the tree; `tar`, `zip` and `tree` say
what is refused. The standard library's extractors are not used.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from felloe.config import Limits
from felloe.errors import ArchiveError
from felloe.net.decompression import decompressor_for, open_decompressed
from felloe.net.dist_info import find_metadata
from felloe.net.limits import DEFAULT_LIMITS, HINT, Budget
from felloe.net.member import Member, naming, shown
from felloe.net.tar import TarReader
from felloe.net.tree import Tree
from felloe.net.zip import ZipReader
from felloe.stepping import check_cancelled

__all__ = ["read_sdist_members", "read_wheel_metadata", "unpack"]

ZIP_MAGIC = b"PK"


def unpack(archive: Path, filename: str, into: Path, limits: Limits = DEFAULT_LIMITS) -> Path:
    """Unpacks an sdist or a wheel (gzip, bzip2 or xz over tar; zip: by its first bytes) into the empty folder `into`.

    Gives the one top-level directory, or `into` where there is none or something beside it. `filename` is for messages.
    Files have the mode 0o644, or 0o755 where anyone may execute them, less the umask. Times are the archive's, within
    what a zip file can hold.

    Raises ArchiveError naming the member, and leaves below `into` what was written before; OSError where the disk does
    not take a file.
    """
    with naming(filename), _opened(archive) as file:
        budget = Budget(limits, _size(file))
        tree = Tree(into, limits, budget)
        for member in _members(file, budget):
            check_cancelled()
            tree.add(member)
        return tree.finish()


def read_sdist_members(
    archive: Path, filename: str, names: Sequence[str], limits: Limits = DEFAULT_LIMITS
) -> dict[str, bytes]:
    """Those of the files `<top>/<name>` that an sdist has, without unpacking it; `top` is where its first member lies.

    A link or directory of that name is left out. The archive is read to its end, although all may be found before: a
    copy that differs may follow, or nothing of what should. Raises ArchiveError for these, as `unpack` does.
    """
    with naming(filename), _opened(archive) as file:
        return _read_members(_members(file, Budget(limits, _size(file))), frozenset(names), limits.max_metadata_bytes)


def read_wheel_metadata(archive: Path, filename: str, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """METADATA of the wheel `filename`.

    Raises ArchiveError where it has not just one `.dist-info` directory, of its own name and version, with METADATA.
    """
    with naming(filename), _opened(archive) as file:
        wheel = ZipReader(file, Budget(limits, _size(file)))
        return wheel.read(find_metadata(wheel.entries, filename, limits.max_metadata_bytes))


def _members(file: BinaryIO, budget: Budget) -> Iterable[Member]:
    start = file.read(6)
    file.seek(0)
    if make := decompressor_for(start):
        return TarReader(open_decompressed(file, make), budget)
    if start.startswith(ZIP_MAGIC):
        return ZipReader(file, budget)
    raise ArchiveError("is no archive: its first bytes are not those of gzip, bzip2, xz or zip")


def _read_members(members: Iterable[Member], wanted: frozenset[str], max_member: int) -> dict[str, bytes]:
    top: str | None = None
    found: dict[str, bytes | None] = {}
    for member in filter(lambda member: member.parts, members):
        check_cancelled()
        top = top or member.parts[0]
        name = "/".join(member.parts[1:])
        if member.parts[0] == top and name in wanted:
            contents = _contents(member, max_member)
            if found.setdefault(name, contents) != contents:
                raise ArchiveError(f"holds two members of one name that differ: `{shown(member.name)}`")
    return {name: contents for name, contents in found.items() if contents is not None}


def _contents(member: Member, max_member: int) -> bytes | None:
    """None for what is no file."""
    if member.kind != "file":
        return None
    contents = bytearray()
    for block in member.blocks:
        contents += block
        if len(contents) > max_member:
            message = f"holds more than {max_member} bytes in `{shown(member.name)}`"
            raise ArchiveError(message, hint=HINT.format("`max-metadata-bytes`"), code="archive-too-large")
    return bytes(contents)


@contextmanager
def _opened(archive: Path) -> Iterator[BinaryIO]:
    """Raises ArchiveError where it is no file that can be read; a FIFO or device is not opened."""
    try:
        if not stat.S_ISREG(archive.stat().st_mode):
            raise ArchiveError("is not a regular file")
        file = archive.open("rb")
    except OSError as error:
        raise ArchiveError(f"cannot be read: {error.strerror or error}") from error
    with file:
        yield file


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
