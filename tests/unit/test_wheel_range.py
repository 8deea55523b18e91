"""METADATA by ranges: the same as from the whole file, in few reads, or an error."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import define, field

from felloe.errors import ArchiveError
from felloe.net.wheel_range import read_metadata

pytestmark = pytest.mark.anyio

FILENAME = "acme_web-1.0-py3-none-any.whl"
INFO = "acme_web-1.0.dist-info"
METADATA = b"Metadata-Version: 2.1\nName: acme-web\nVersion: 1.0\n\n" + b"".join(b"%d\n" % i for i in range(500))
FILES = {"acme_web.py": b"x = 1\n"}
TAIL_FILES = {f"{INFO}/METADATA": METADATA, f"{INFO}/WHEEL": b"Wheel-Version: 1.0\n", f"{INFO}/RECORD": b"acme.py,,\n"}


@define
class Remote:
    """A file that is read in ranges, none of them twice."""

    data: bytes
    reads: list[tuple[int, int]] = field(factory=list)
    cut: int = 0  # bytes that each answer lacks

    async def read(self, first: int, last: int) -> bytes:
        assert 0 <= first <= last < len(self.data)
        assert all(last < other_first or other_last < first for other_first, other_last in self.reads)
        self.reads.append((first, last))
        return self.data[first : last + 1 - self.cut]

    async def metadata(self, filename: str = FILENAME) -> bytes:
        return await read_metadata(self.read, len(self.data), filename)


class Unseekable(io.BytesIO):
    """Makes zipfile write sizes after the data."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def wheel(
    contents: Mapping[str, bytes],
    method: int = zipfile.ZIP_DEFLATED,
    comment: bytes = b"",
    file: io.BytesIO | None = None,
) -> bytes:
    file = file or io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.comment = comment
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def with_zip64(data: bytes, *, shift: int = 0) -> bytes:
    """The same zip file, its end record saying that another one counts."""
    _, _, _, _, count, size, offset, _ = struct.unpack("<4s4H2LH", data[-22:])
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset + shift)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(data) - 22, 1)
    return data[:-22] + wide + locator + struct.pack("<4s4H2LH", b"PK\5\6", *[0xFFFF] * 4, *[0xFFFFFFFF] * 2, 0)


def noise(size: int) -> dict[str, bytes]:
    return {"acme_web/noise.bin": bytes(i * i % 251 for i in range(size))}


def many(count: int) -> dict[str, bytes]:
    return {f"acme_web/a_module_with_a_long_name_{i}.py": b"" for i in range(count)}


STORED = zipfile.ZIP_STORED
SHAPES = {
    "small": (wheel({**FILES, **TAIL_FILES}), 1),
    "stored": (wheel({**FILES, **TAIL_FILES}, STORED), 1),
    "streamed": (wheel({**FILES, **TAIL_FILES}, file=Unseekable()), 1),
    "zip64": (with_zip64(wheel({**FILES, **TAIL_FILES})), 1),
    "comment": (wheel({**FILES, **TAIL_FILES}, comment=b"a comment"), 1),
    "zero padding": (wheel({**FILES, **TAIL_FILES}) + bytes(500), 1),
    "large, metadata last": (wheel({**noise(200_000), **TAIL_FILES}, STORED), 1),
    "large, metadata first": (wheel({**TAIL_FILES, **noise(200_000)}, STORED), 2),
    "large, metadata first, streamed": (wheel({**TAIL_FILES, **noise(200_000)}, STORED, file=Unseekable()), 2),
    "metadata at the edge of the tail": (
        wheel({**noise(200_000), **TAIL_FILES, "acme_web/b": bytes(32_000)}, STORED),
        2,
    ),
    "many files, metadata last": (wheel({**many(2000), **TAIL_FILES}), 2),
    "many files, metadata first": (wheel({**TAIL_FILES, **noise(300_000), **many(2000)}, STORED), 3),
    "long comment": (wheel({**noise(300_000), **TAIL_FILES}, STORED, comment=b"c" * 50_000), 2),
    "large metadata": (wheel({f"{INFO}/METADATA": METADATA * 2000, **noise(200_000)}, STORED), 2),
    "empty metadata": (wheel({f"{INFO}/METADATA": b"", **noise(200_000)}, STORED), 2),
}


@pytest.mark.parametrize(("data", "reads"), SHAPES.values(), ids=SHAPES)
async def test_the_same_as_from_the_whole_file(data: bytes, reads: int) -> None:
    remote = Remote(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert await remote.metadata() == archive.read(f"{INFO}/METADATA")
    assert len(remote.reads) == reads


async def test_little_is_read_of_a_large_wheel() -> None:
    remote = Remote(wheel({**TAIL_FILES, **noise(2_000_000)}, STORED))
    assert await remote.metadata() == METADATA
    assert sum(last - first + 1 for first, last in remote.reads) < 40_000


async def test_names_and_versions_agree_by_their_rules() -> None:
    remote = Remote(wheel({"Acme-Web-1.0.0.dist-info/METADATA": METADATA}))
    assert await remote.metadata("acme.web-1-py3-none-any.whl") == METADATA


SMALL = wheel({**FILES, **TAIL_FILES}, STORED)
FIRST = wheel({**TAIL_FILES, **noise(100_000)}, STORED)
CENTRAL = SMALL.rindex(b"PK\1\2", 0, SMALL.rindex(f"{INFO}/METADATA".encode()))  # of METADATA


def changed(data: bytes, at: int, form: str, *values: int) -> bytes:
    new = struct.pack(form, *values)
    return data[:at] + new + data[at + len(new) :]


BAD = {
    "empty": (b"", "no end record"),
    "no zip file": (bytes(100_000), "no end record"),
    "HTML": (b"<!DOCTYPE html>" * 9000, "no end record"),
    "cut": (SMALL[:-1], "no end record"),
    "only an end record": (SMALL[-22:], "not where its end record says"),
    "cut in front": (SMALL[1:], "not where its end record says"),
    "something in front": (b"#!/bin/sh\n" + SMALL, "not where its end record says"),
    "something after the end": (SMALL + b"x", "goes on after its end"),
    "shorter comment": (wheel(TAIL_FILES, comment=b"123") + b"4", "goes on after its end"),
    "end in a comment": (wheel(TAIL_FILES, comment=wheel(TAIL_FILES)), "not where its end record says"),
    "zip64 that lies": (with_zip64(SMALL, shift=-1), "not where its end record says"),
    "huge directory": (changed(SMALL, len(SMALL) - 10, "<L", 0xFFFFFFF0), "not where its end record says"),
    "too many entries": (changed(SMALL, len(SMALL) - 14, "<2H", 9, 9), "cut off"),
    "100_001 entries": (
        with_zip64(SMALL).replace(struct.pack("<2Q", 4, 4), struct.pack("<2Q", 100_001, 100_001)),
        "more than 100000 entries",
    ),
    "damaged directory": (changed(SMALL, CENTRAL, "<L", 0), "cut off"),
    "encrypted": (changed(SMALL, CENTRAL + 8, "<H", 1), "encrypted"),
    "other method": (changed(SMALL, CENTRAL + 10, "<H", 8), "two things"),
    "unknown method": (changed(SMALL, CENTRAL + 10, "<H", 14), "method 14"),
    "other crc": (changed(SMALL, CENTRAL + 16, "<L", 1), "two things"),
    "huge metadata": (changed(SMALL, CENTRAL + 20, "<2L", 1 << 30, 1 << 30), "lies outside"),
    "metadata outside": (changed(SMALL, CENTRAL + 42, "<L", 1 << 30), "lies outside"),
    "metadata in the middle of something": (changed(SMALL, CENTRAL + 42, "<L", 3), "local header is missing"),
    "metadata at the place of another": (changed(SMALL, CENTRAL + 42, "<L", 0), "overlap"),
    "other name before the data": (SMALL.replace(b"/METADATA", b"/METAdata", 1), "two things"),
    "other contents": (SMALL.replace(b"Version: 1.0", b"Version: 1.1"), "damaged member"),
    "other contents, metadata first": (FIRST.replace(b"Version: 1.0", b"Version: 1.1"), "damaged member"),
    "bomb": (wheel({f"{INFO}/METADATA": bytes((16 << 20) + 1)}), "METADATA of 16777217 bytes"),
    "more than it says": (
        changed(changed(wheel(TAIL_FILES), 22, "<L", 9), wheel(TAIL_FILES).index(b"PK\1\2") + 24, "<L", 9),
        "damaged member",
    ),
    "no .dist-info": (wheel(FILES), "holds none"),
    "two .dist-info": (wheel({**TAIL_FILES, "b-1.dist-info/METADATA": b""}), "holds `acme_web-1.0.dist-info`, `b-1"),
    "no METADATA": (wheel({f"{INFO}/RECORD": b""}), "holds no files"),
    "other version": (wheel({"acme_web-2.0.dist-info/METADATA": METADATA}), "something else: `acme_web-2.0.dist-info`"),
    "bad name": (wheel({**TAIL_FILES, "../x": b""}), "leads out"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "message"), BAD.values(), ids=BAD)
async def test_a_bad_wheel(data: bytes, message: str) -> None:
    with pytest.raises(ArchiveError, match=f"`{FILENAME}` .*{message}") as caught:
        await Remote(data).metadata()
    assert caught.value.hint


async def test_a_gap_that_no_directory_tells_of_is_not_read() -> None:
    """Of three members the directory tells of the first and the last, and 300 kB lie between these."""
    data = wheel({f"{INFO}/METADATA": METADATA, **noise(300_000), "acme_web.py": b""}, STORED)
    start = data.rindex(b"PK\1\2", 0, data.rindex(b"acme_web/noise.bin"))
    stop = data.rindex(b"PK\1\2", 0, data.rindex(b"acme_web.py"))
    *_, size, offset, _ = struct.unpack("<4s4H2LH", data[-22:])
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, size - (stop - start), offset, 0)
    remote = Remote(data[:start] + data[stop:-22] + end)
    with pytest.raises(ArchiveError, match="directory does not tell of"):
        await remote.metadata()
    assert len(remote.reads) == 1


async def test_a_name_that_is_no_wheel() -> None:
    with pytest.raises(ArchiveError, match=r"`acme\.whl` is not the name of a wheel"):
        await Remote(SMALL).metadata("acme.whl")


async def test_an_answer_that_is_too_short() -> None:
    with pytest.raises(ArchiveError, match="cut off"):
        await Remote(SMALL, cut=1).metadata()


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
async def test_no_flipped_byte_gives_other_metadata(mask: int) -> None:
    refused = 0
    for at in range(len(SMALL)):
        flipped = SMALL[:at] + bytes([SMALL[at] ^ mask]) + SMALL[at + 1 :]
        try:
            assert await Remote(flipped).metadata() == METADATA
        except ArchiveError:
            refused += 1
    assert refused > len(METADATA)


async def test_every_truncation_is_refused() -> None:
    for length in range(0, len(SMALL), 7):
        with pytest.raises(ArchiveError):
            await Remote(SMALL[:length]).metadata()
