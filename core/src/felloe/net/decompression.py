"""gzip, bzip2 and xz as one plain stream that ends where the file ends.

The standard library's file objects pass over whatever follows a bzip2 or xz stream; here it is an error. Several
streams one after the other are one (RFC 1952, section 2.2), zero padding is fine.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import BinaryIO, Protocol

from felloe.errors import ArchiveError
from felloe.net.member import CHUNK

__all__ = ["decompressor_for", "open_decompressed"]

# xz -9 takes 65 MiB. A file may ask for 4 GiB.
MAX_XZ_MEMORY = 256 * 1024 * 1024
# pbzip2 and bgzip write many; each costs some time, however little it holds.
MAX_STREAMS = 100_000


class Decompressor(Protocol):
    """One stream, as in `bz2` and `lzma`."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _GzipDecompressor:
    """zlib's decompressor with the manners of the other two."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)
        self._filled = False

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        # A block as long as was allowed may have left some output behind, though all input was taken.
        return not self._zlib.unconsumed_tail and not self._filled

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        block = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self._filled = len(block) == max_length
        return block


def _xz_decompressor() -> Decompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_XZ_MEMORY)


MAGIC: tuple[tuple[bytes, Callable[[], Decompressor]], ...] = (
    (b"\x1f\x8b", _GzipDecompressor),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", _xz_decompressor),
)


def decompressor_for(start: bytes) -> Callable[[], Decompressor] | None:
    """What makes a decompressor for a file that begins with `start`; None where it is compressed in no known way."""
    return next((make for magic, make in MAGIC if start.startswith(magic)), None)


def open_decompressed(file: BinaryIO, make: Callable[[], Decompressor]) -> io.BufferedReader:
    """What `file` holds. Reading raises ArchiveError where it is damaged, cut, or followed by something else."""
    return io.BufferedReader(_Decompressed(file, make), CHUNK)


class _Decompressed(io.RawIOBase):
    def __init__(self, file: BinaryIO, make: Callable[[], Decompressor]) -> None:
        self._file = file
        self._make = make
        self._stream = make()
        self._streams = 1
        self._next_input = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io's own classes pass a memoryview
        block = self._block(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def _block(self, max_length: int) -> bytes:
        """At most `max_length` bytes, b"" at the end."""
        while not self._ended:
            if self._stream.eof:
                self._begin_next_stream()
            elif block := self._decompress(max_length):
                return block
        return b""

    def _decompress(self, max_length: int) -> bytes:
        data = self._input() if self._stream.needs_input else b""
        last = self._stream.needs_input and not data
        try:
            block = self._stream.decompress(data, max_length)
        except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
            raise ArchiveError(f"is damaged, or followed by something else: {error}") from error
        if last and not block and not self._stream.eof:
            raise ArchiveError("is cut off")
        return block

    def _input(self) -> bytes:
        data, self._next_input = self._next_input, b""
        return data or self._file.read(CHUNK)

    def _begin_next_stream(self) -> None:
        rest = self._stream.unused_data.lstrip(b"\0")
        while not rest:
            if not (data := self._file.read(CHUNK)):
                self._ended = True
                return
            rest = data.lstrip(b"\0")
        self._streams += 1
        if self._streams > MAX_STREAMS:
            raise ArchiveError(f"is made of more than {MAX_STREAMS} compressed streams")
        self._stream = self._make()
        self._next_input = rest
