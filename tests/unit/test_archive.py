"""Archives made in code: what must unpack, and what must be refused without a byte written elsewhere."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import evolve, field, frozen

from felloe.config import Limits
from felloe.errors import ArchiveError
from felloe.net.archive import read_sdist_members, read_wheel_metadata, unpack

TAR_END = bytes(1024)
PKG_INFO = b"Metadata-Version: 2.2\nName: acme\nVersion: 1.0\n"
MTIME = 1_700_000_000
Form = Literal[0, 1, 2]
FORMATS: dict[str, Form] = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}
SMALL = Limits(max_unpacked_bytes=20_000, max_unpacked_ratio=0, max_archive_entries=10, max_metadata_bytes=1000)

REG, DIR, SYM, LNK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


# Making archives


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def member(
    name: str, data: bytes = b"", *, form: Form = tarfile.PAX_FORMAT, pax: dict[str, str] | None = None, **fields: Any
) -> bytes:
    """One member of a tar archive, header and data. `fields` are those of TarInfo; a `size` may lie."""
    info = tarfile.TarInfo(name)
    info.pax_headers = pax or {}
    for key, value in {"size": len(data), "mtime": MTIME, **fields}.items():
        setattr(info, key, value)
    return info.tobuf(form, "utf-8", "surrogateescape") + padded(data)


def symlink(name: str, target: str) -> bytes:
    return member(name, type=SYM, linkname=target)


def hardlink(name: str, target: str) -> bytes:
    return member(name, type=LNK, linkname=target)


def folder(name: str) -> bytes:
    return member(name, type=DIR, mode=0o755)


def extended(payload: bytes, typeflag: bytes = tarfile.XHDTYPE, size: int | None = None) -> bytes:
    """An extended header whose payload is whatever it is."""
    size = len(payload) if size is None else size
    return member("././@PaxHeader", payload, type=typeflag, size=size, form=tarfile.GNU_FORMAT)


def record(keyword: str, value: str) -> bytes:
    """One pax record, its length included in itself."""
    rest = f" {keyword}={value}\n".encode("utf-8", "surrogateescape")
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def patched(block: bytes, at: int, data: bytes) -> bytes:
    """A tar header with other bytes, and the checksum that goes with them."""
    header = bytearray(block[:512])
    header[at : at + len(data)] = data
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + block[512:]


def tar(*members: bytes) -> bytes:
    return b"".join(members) + TAR_END


@frozen(kw_only=True)
class Zipped:
    """One member of a zip file. `local` and `central` replace fields of the two headers, counted after the magic."""

    name: bytes
    data: bytes = b""
    method: int = zipfile.ZIP_STORED
    flags: int = 0
    mode: int = 0
    local: dict[int, int] = field(factory=dict)
    central: dict[int, int] = field(factory=dict)
    local_name: bytes | None = None
    local_extra: bytes = b""
    central_extra: bytes = b""
    after: bytes = b""

    @property
    def packed(self) -> bytes:
        if self.method != zipfile.ZIP_DEFLATED:
            return self.data
        deflater = zlib.compressobj(wbits=-15)
        return deflater.compress(self.data) + deflater.flush()

    @property
    def sizes(self) -> list[int]:
        return [zlib.crc32(self.data), len(self.packed), len(self.data)]

    def descriptor(self, form: str = "<3L", magic: bytes = b"PK\7\x08") -> bytes:
        return magic + struct.pack(form, *self.sizes)

    def local_part(self) -> bytes:
        name = self.name if self.local_name is None else self.local_name
        sizes = [0, 0, 0] if self.flags & 8 else self.sizes
        fields = [20, self.flags, self.method, 0, 0x5A21, *sizes, len(name), len(self.local_extra)]
        fields = [self.local.get(i, value) for i, value in enumerate(fields)]
        return struct.pack("<4s5H3L2H", b"PK\3\4", *fields) + name + self.local_extra + self.packed + self.after

    def central_part(self, offset: int) -> bytes:
        fields = [0x314, 20, self.flags, self.method, 0, 0x5A21, *self.sizes]
        fields += [len(self.name), len(self.central_extra), 0, 0, 0, self.mode << 16, offset]
        fields = [self.central.get(i, value) for i, value in enumerate(fields)]
        return struct.pack("<4s6H3L5H2L", b"PK\1\2", *fields) + self.name + self.central_extra


def zip_parts(members: tuple[Zipped, ...], before: bytes = b"") -> tuple[bytes, dict[str, int]]:
    """A zip file without its end record, and the fields of that."""
    data, directory = bytearray(before), bytearray()
    for one in members:
        directory += one.central_part(len(data))
        data += one.local_part()
    end = {"disk": 0, "start": 0, "here": len(members), "count": len(members), "size": len(directory)}
    return bytes(data + directory), {**end, "offset": len(data)}


def zipped(*members: Zipped, before: bytes = b"", comment: bytes = b"", **changed: int) -> bytes:
    """A zip file. `changed` replaces fields of the end record."""
    data, end = zip_parts(members, before)
    return data + struct.pack("<4s4H2LH", b"PK\5\6", *{**end, **changed}.values(), len(comment)) + comment


def zip64(*members: Zipped, locator: dict[str, int] | None = None, wide: dict[str, int] | None = None) -> bytes:
    """A zip file whose end record of 32 bits says "see the other one" in every field."""
    data, end = zip_parts(members)
    fields = {"length": 44, "made": 45, "needed": 45, **end, **(wide or {})}
    place = {"disk": 0, "offset": len(data), "disks": 1, **(locator or {})}
    return (
        data
        + struct.pack("<4sQ2H2L4Q", b"PK\6\6", *fields.values())
        + struct.pack("<4sLQL", b"PK\6\7", *place.values())
        + struct.pack("<4s4H2LH", b"PK\5\6", *[0xFFFF] * 4, *[0xFFFFFFFF] * 2, 0)
    )


# Unpacking them


@frozen
class Box:
    """A folder with an archive, an empty `into`, and everything else that must stay as it is."""

    path: Path

    @property
    def into(self) -> Path:
        return self.path / "deep" / "into"

    def archive(self, data: bytes) -> Path:
        archive = self.path / "archive"
        archive.write_bytes(data)
        return archive

    def unpack(self, data: bytes, limits: Limits | None = None) -> Path:
        archive = self.archive(data)
        before = self.outside()
        try:
            return unpack(archive, "acme-1.0.tar.gz", self.into, limits or Limits())
        finally:
            assert self.outside() == before

    def outside(self) -> dict[str, tuple[Any, ...]]:
        """Every path but those below `into`, with its inode, times and contents."""
        found: dict[str, tuple[Any, ...]] = {}
        for path in sorted(self.path.rglob("*")):
            if self.into not in path.parents and path not in {self.into, self.into.parent}:
                status = path.lstat()
                contents = path.read_bytes() if path.is_file() else sorted(map(str, path.iterdir()))
                found[str(path)] = (status.st_ino, status.st_mode, status.st_nlink, status.st_mtime_ns, contents)
        found["deep"] = tuple(sorted(map(str, self.into.parent.iterdir())))
        return found

    def tree(self) -> dict[str, bytes | str | None]:
        """What lies below `into`: contents of files, targets of links, None for directories."""
        return tree(self.into)


def tree(top: Path) -> dict[str, bytes | str | None]:
    found: dict[str, bytes | str | None] = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = None if path.is_dir() else path.read_bytes()
    return found


@pytest.fixture
def box(tmp_path: Path) -> Box:
    box = Box(tmp_path / "box")
    box.into.mkdir(parents=True)
    (box.path / "secret").write_bytes(b"secret")
    (box.path / "elsewhere").mkdir()
    (box.path / "elsewhere" / "file").write_bytes(b"untouched")
    return box


# What must unpack

SDIST = {
    "acme-1.0/PKG-INFO": PKG_INFO,
    "acme-1.0/src/acme/__init__.py": b"x = 1\n" * 100_000,
    "acme-1.0/src/acme/empty.py": b"",
    f"acme-1.0/{'long/' * 30}{'n' * 90}": b"long",
}


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("form", FORMATS)
def test_a_tar_archive_of_every_form(box: Box, form: str, suffix: str) -> None:
    data = tar(*(member(name, content, form=FORMATS[form]) for name, content in SDIST.items()))
    assert box.unpack(COMPRESS[suffix](data)) == box.into / "acme-1.0"
    assert {name: content for name, content in box.tree().items() if content is not None} == SDIST


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("seekable", [True, False], ids=["seekable", "streamed"])
def test_a_zip_file_as_the_standard_library_writes_it(box: Box, method: int, seekable: bool) -> None:
    assert box.unpack(standard_zip(SDIST, method, seekable)) == box.into / "acme-1.0"
    assert {name: content for name, content in box.tree().items() if content is not None} == SDIST


class Unseekable(io.BytesIO):
    """Makes zipfile write data descriptors."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def standard_zip(contents: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, seekable: bool = True) -> bytes:
    file = io.BytesIO() if seekable else Unseekable()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


GLOBAL_COMMENT = extended(record("comment", "f" * 40), tarfile.XGLTYPE)
GOOD_TARS = {
    "dot slash": (tar(folder("./"), folder("./a"), member("./a/b", b"b")), {"a": None, "a/b": b"b"}),
    "double slash": (tar(member("a//b/./c", b"c")), {"a": None, "a/b": None, "a/b/c": b"c"}),
    "pax global header": (tar(GLOBAL_COMMENT, member("a", b"a")), {"a": b"a"}),
    "pax path": (tar(member("x" * 300 + "é", b"a", pax={"path": "é/ü"})), {"é": None, "é/ü": b"a"}),
    "gnu long link": (
        tar(member("l", type=SYM, linkname="d" * 120, form=tarfile.GNU_FORMAT), member("d" * 120)),
        {"l": "d" * 120, "d" * 120: b""},
    ),
    "directory before POSIX": (tar(member("a/", type=tarfile.AREGTYPE, form=tarfile.USTAR_FORMAT)), {"a": None}),
    "contiguous file": (tar(member("a", b"a", type=tarfile.CONTTYPE)), {"a": b"a"}),
    "the same file twice": (tar(member("a", b"a"), member("a", b"a")), {"a": b"a"}),
    "the same directory twice": (tar(folder("a"), member("a/b"), folder("a/")), {"a": None, "a/b": b""}),
    "the same link twice": (tar(symlink("a", "b"), symlink("a", "b"), member("b")), {"a": "b", "b": b""}),
    "symlink": (tar(member("a/b", b"b"), symlink("a/l", "b")), {"a": None, "a/b": b"b", "a/l": "b"}),
    "symlink before its target": (tar(symlink("l", "a/b"), member("a/b", b"b")), {"l": "a/b", "a": None, "a/b": b"b"}),
    "symlink upwards": (
        tar(member("t/a/b/c", b"c"), member("t/d", b"d"), symlink("t/a/b/l", "../../d")),
        {"t": None, "t/a": None, "t/a/b": None, "t/a/b/c": b"c", "t/d": b"d", "t/a/b/l": "../../d"},
    ),
    "symlink to nothing": (tar(folder("a"), symlink("a/l", "b/c")), {"a": None, "a/l": "b/c"}),
    "symlink to its own folder": (tar(folder("a"), symlink("a/l", ".")), {"a": None, "a/l": "."}),
    "chain of symlinks": (
        tar(symlink("t/a", "b"), symlink("t/b", "c"), folder("t/c")),
        {"t": None, "t/a": "b", "t/b": "c", "t/c": None},
    ),
    "hard link": (tar(member("a/b", b"bb"), hardlink("c", "./a/b")), {"a": None, "a/b": b"bb", "c": b"bb"}),
    "hard link twice": (tar(member("a", b"a"), hardlink("b", "a"), hardlink("b", "a")), {"a": b"a", "b": b"a"}),
    "backslash": (tar(member("a\\b", b"")), {"a\\b": b""}),
    "no member": (tar(), {}),
}  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), GOOD_TARS.values(), ids=GOOD_TARS)
def test_what_a_tar_archive_may_hold(box: Box, data: bytes, expected: dict[str, Any]) -> None:
    box.unpack(gzip.compress(data))
    assert box.tree() == expected


UNIX_LINK, UNIX_DIR, UNIX_FILE = stat.S_IFLNK | 0o777, stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644
A = Zipped(name=b"a", data=b"contents of a")
STREAMED = evolve(A, flags=8)
NAMED_BY_EXTRA = struct.pack("<2HBL", 0x7075, 6, 1, 0) + b"a"

GOOD_ZIPS = {
    "stored": (zipped(A), {"a": b"contents of a"}),
    "deflated": (zipped(evolve(A, method=8)), {"a": b"contents of a"}),
    "directory": (zipped(Zipped(name=b"d/", mode=UNIX_DIR), Zipped(name=b"d/f")), {"d": None, "d/f": b""}),
    "directory without a mode": (zipped(Zipped(name=b"d/")), {"d": None}),
    "deflated directory": (zipped(Zipped(name=b"d/", method=8)), {"d": None}),
    "symlink": (zipped(A, Zipped(name=b"l", data=b"a", mode=UNIX_LINK)), {"a": b"contents of a", "l": "a"}),
    "deflated symlink": (zipped(A, Zipped(name=b"l", data=b"a", mode=UNIX_LINK, method=8)), {"a": A.data, "l": "a"}),
    "the same member twice": (zipped(A, A), {"a": b"contents of a"}),
    "utf-8": (zipped(Zipped(name="é".encode(), flags=0x800)), {"é": b""}),
    "cp437": (zipped(Zipped(name=b"\x82")), {"é": b""}),
    "name in an extra field too": (zipped(evolve(A, central_extra=NAMED_BY_EXTRA)), {"a": A.data}),
    "short extra field": (zipped(evolve(A, central_extra=b"\0\0", local_extra=b"\0\0\0")), {"a": A.data}),
    "comment": (zipped(A, comment=b"a comment"), {"a": A.data}),
    "zero padding": (zipped(A) + bytes(600), {"a": A.data}),
    "zip64": (zip64(A), {"a": A.data}),
    "zip64 sizes": (
        zipped(
            evolve(
                A,
                central={6: zlib.crc32(A.data), 7: 0xFFFFFFFF, 8: 0xFFFFFFFF},
                central_extra=struct.pack("<2H2Q", 1, 16, 13, 13),
                local={6: 0xFFFFFFFF, 7: 0xFFFFFFFF},
                local_extra=struct.pack("<2H2Q", 1, 16, 13, 13),
            )
        ),
        {"a": A.data},
    ),
    "descriptor": (zipped(evolve(STREAMED, after=STREAMED.descriptor())), {"a": A.data}),
    "descriptor without its magic": (zipped(evolve(STREAMED, after=STREAMED.descriptor(magic=b""))), {"a": A.data}),
    "wide descriptor": (zipped(evolve(STREAMED, after=STREAMED.descriptor("<L2Q"))), {"a": A.data}),
    "no member": (zipped(), {}),
}  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), GOOD_ZIPS.values(), ids=GOOD_ZIPS)
def test_what_a_zip_file_may_hold(box: Box, data: bytes, expected: dict[str, Any]) -> None:
    box.unpack(data)
    assert box.tree() == expected


def test_modes_and_times(box: Box) -> None:
    old_umask = os.umask(0o022)
    try:
        box.unpack(gzip.compress(tar(
            folder("t"), member("t/plain", mode=0o666), member("t/script", mode=0o4711), member("t/locked", mode=0),
            hardlink("t/copy", "t/script"), member("t/fraction", pax={"mtime": "1600000000.25"}),
            member("t/ancient", mtime=0), member("t/before", pax={"mtime": "-5000000000"}),
            member("t/never", pax={"mtime": "999999999999999999"}),
        )))  # fmt: skip
    finally:
        os.umask(old_umask)
    stats = {path.name: path.stat() for path in [box.into / "t", *(box.into / "t").iterdir()]}
    assert {name: oct(stat.S_IMODE(status.st_mode)) for name, status in stats.items()} == {
        "t": "0o755", "plain": "0o644", "script": "0o755", "locked": "0o644", "copy": "0o755", "fraction": "0o644",
        "ancient": "0o644", "before": "0o644", "never": "0o644",
    }  # fmt: skip
    year_1980, year_2107 = 315_619_200, 4_354_646_400
    assert {name: status.st_mtime for name, status in stats.items()} == {
        "t": MTIME, "plain": MTIME, "script": MTIME, "locked": MTIME, "copy": MTIME, "fraction": 1_600_000_000.25,
        "ancient": year_1980, "before": year_1980, "never": year_2107,
    }  # fmt: skip
    assert stats["copy"].st_nlink == 1


def test_the_umask_is_respected(box: Box) -> None:
    old_umask = os.umask(0o077)
    try:
        box.unpack(gzip.compress(tar(member("t/f", mode=0o777))))
    finally:
        os.umask(old_umask)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (box.into / "t", box.into / "t" / "f")} == {0o700}


def test_times_in_a_zip_file_are_taken_for_utc(box: Box) -> None:
    midnight = {4: 0, 5: (2023 - 1980) << 9 | 11 << 5 | 14}
    impossible = {4: 0xFFFF, 5: 0}  # 1980, month 0, day 0, 31:63:62
    box.unpack(zipped(Zipped(name=b"a", central=midnight), Zipped(name=b"b", central=impossible)))
    assert (box.into / "a").stat().st_mtime == 1_699_920_000
    assert (box.into / "b").stat().st_mtime == 315_648_242


def test_modes_in_a_zip_file(box: Box) -> None:
    box.unpack(zipped(Zipped(name=b"a", mode=UNIX_FILE | 0o6111), Zipped(name=b"b", mode=UNIX_FILE), Zipped(name=b"c")))
    assert {path.name: path.stat().st_mode & 0o7111 for path in box.into.iterdir()} == {"a": 0o111, "b": 0, "c": 0}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([folder("t"), member("t/f")], "t"),
        ([member("t/f")], "t"),
        ([member("./t/f")], "t"),
        ([member("f")], "."),
        ([member("t/f"), member("g")], "."),
        ([member("t/f"), member("u/f")], "."),
        ([member("t/f"), symlink("l", "t")], "."),
        ([], "."),
    ],
)
def test_the_top_level_directory(box: Box, members: list[bytes], expected: str) -> None:
    assert box.unpack(gzip.compress(tar(*members))) == box.into / expected


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="names there are Unicode")
def test_a_name_that_is_not_utf_8_is_kept_as_it_is(box: Box) -> None:
    box.unpack(gzip.compress(tar(member("\udcff\udcfe.txt", b"x", form=tarfile.GNU_FORMAT))))
    assert os.listdir(os.fsencode(box.into)) == [b"\xff\xfe.txt"]  # noqa: PTH208  # as bytes


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_several_streams_are_one_and_zero_padding_is_fine(box: Box, compress: Any) -> None:
    data = tar(member("a", b"a" * 700_000), member("b", bytes(700_000)))
    box.unpack(compress(data[:5000]) + compress(b"") + compress(data[5000:]) + bytes(400_000))
    assert box.tree() == {"a": b"a" * 700_000, "b": bytes(700_000)}


@pytest.mark.skipif(os.name == "nt", reason="names there are Unicode")
def test_a_name_that_the_system_cannot_encode(box: Box) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from felloe.net.archive import unpack
        unpack(Path(sys.argv[1]), "acme-1.0.tar.gz", Path(sys.argv[2]))
    """
    archive = box.archive(gzip.compress(tar(member("é"))))
    child = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code, str(archive), str(box.into)],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        check=False,
    )
    assert b"ArchiveError: `acme-1.0.tar.gz` holds a name that cannot be used here" in child.stderr


def test_the_standard_library_unpacks_the_same(box: Box, tmp_path: Path) -> None:
    data = gzip.compress(tar(*(member(name, content) for name, content in SDIST.items()), symlink("acme-1.0/l", "src")))
    box.unpack(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(tmp_path / "other", filter="data")
    assert box.tree() == tree(tmp_path / "other")


# What must be refused


def refused(box: Box, data: bytes, message: str, limits: Limits | None = None) -> None:
    with pytest.raises(ArchiveError, match=message) as caught:
        box.unpack(data, limits)
    assert str(caught.value).startswith("`acme-1.0.tar.gz` ")
    assert str(caught.value).isprintable()
    assert caught.value.hint


F = member("f", b"f")
NAMES = {
    "absolute": ("/etc/passwd", "absolute path: `/etc/passwd`"),
    "absolute twice": ("//etc/passwd", "absolute"),
    "drive letter": ("C:/windows", "absolute"),
    "drive letter after a dot": ("./c:evil", "absolute"),
    "dot-dot": ("../evil", "leads out of its folder: `../evil`"),
    "dot-dot inside": ("a/../../evil", "leads out"),
    "dot-dot that stays": ("a/../b", "leads out"),
    "dot-dot at the end": ("a/..", "leads out"),
    "only a dot": (".", "without a name"),
    "too long for a system": ("a/" * 2500 + "b", "5001 characters"),
    "too deep": ("a/" * 200 + "b", "a path of 201 names"),
    "too long for a file": ("n" * 300, "cannot be used here: `nnnn"),
}


@pytest.mark.parametrize(("name", "message"), NAMES.values(), ids=NAMES)
def test_a_name_that_leads_elsewhere(box: Box, name: str, message: str) -> None:
    refused(box, gzip.compress(tar(F, member(name, b"evil"))), message)
    refused(box, zipped(A, Zipped(name=name.encode(), data=b"evil")), message)


LONG_NAME = tarfile.GNUTYPE_LONGNAME
LOOP_OF_TWO = symlink("a", "b") + symlink("b", "a")
TOO_LONG_CHAIN = b"".join(symlink(f"l{i}", f"l{i + 1}") for i in range(41)) + member("l41")
BAD_TARS = {
    # names in other places
    "directory elsewhere": (folder("../evil"), "leads out"),
    "symlink elsewhere": (symlink("../evil", "f"), "leads out"),
    "name with a NUL": (member("a", pax={"path": "a\0/../../b"}), r"a NUL: `a\\x00"),
    "long name with a NUL": (extended(b"a\0../evil\0", LONG_NAME) + F, "a NUL"),
    "no name": (member("", b""), "without a name"),
    "empty name": (member("f", pax={"path": ""}), "path is wrong"),
    "file that is named a directory": (member("a/", b"x"), "name of a directory"),
    "symlink that is named a directory": (symlink("a/", "f"), "name of a directory"),
    "terminal": (member("../\x1b[2J\u202e", b""), r"`../\\x1b\[2J\\u202e`"),
    # symlinks
    "absolute symlink": (symlink("a", "/etc"), "absolute path: `a` -> `/etc`"),
    "symlink to a drive": (symlink("a", "c:"), "absolute path"),
    "symlink out": (symlink("a", ".."), "link that leaves it: `a` -> `..`"),
    "symlink far out": (symlink("t/a", "b/../../../etc"), "leaves it"),
    "symlink out of the top-level directory": (symlink("t/a", "../t/b") + member("t/b"), "leaves it"),
    "symlink out in two steps": (symlink("a", ".") + symlink("b", "a/.."), "leaves it"),
    "symlink out in three steps": (
        folder("d/e") + symlink("d/e/up", "..") + symlink("a", "d/e/up/up2") + symlink("d/up2", "../..") + F,
        "leaves it",
    ),
    "symlink out through depth": (folder("x/y") + symlink("s", "x/y") + symlink("x/y/t", "../../..") + F, "leaves it"),
    "symlink out for those who do not look": (
        folder("x/y") + symlink("s", "x/y/z") + folder("x/y/z") + symlink("l", "s/../../f") + F,
        "leaves it",
    ),
    "symlink up from nothing": (symlink("a", "nothing/../f") + F, "through what is not there"),
    "symlink up from a file": (symlink("a", "f/../f") + F, "through what is not there"),
    "symlink to itself": (symlink("a", "a"), "never arrives"),
    "symlinks in a circle": (LOOP_OF_TWO, "never arrives"),
    "symlinks in a growing circle": (symlink("a", "b/x") + symlink("b", "a/y"), "never arrives"),
    "symlinks that double": (b"".join(symlink(f"l{i}", f"l{i + 1}/l{i + 1}") for i in range(60)), "never arrives"),
    "symlinks for ever": (TOO_LONG_CHAIN, "never arrives"),
    "symlink to nowhere": (symlink("a", ""), "without a good target"),
    "symlink with a NUL": (member("a", type=SYM, pax={"linkpath": "f\0"}), "without a good target"),
    "symlink of great length": (symlink("a", "f" * 1025), "without a good target"),
    "file through a symlink": (folder("d") + symlink("a", "d") + member("a/f"), "below a file or link: `a`"),
    "file through a symlink out": (symlink("a", "/tmp") + member("a/f"), "absolute path"),
    "directory through a symlink": (folder("d") + symlink("a", "d") + folder("a/e"), "below a file or link"),
    "symlink in place of a directory": (member("a/f") + symlink("a", ".."), "differ: `a`"),
    # hard links
    "hard link out": (hardlink("a", "../secret"), "leads out of its folder: `../secret`"),
    "hard link to an absolute path": (hardlink("a", "/etc/passwd"), "absolute path: `/etc/passwd`"),
    "hard link to what comes later": (hardlink("a", "f") + F, "no file before it: `a` -> `f`"),
    "hard link to itself": (hardlink("a", "a"), "no file before it"),
    "hard link to a directory": (folder("d") + hardlink("a", "d"), "no file before it"),
    "hard link to a symlink": (F + symlink("l", "f") + hardlink("a", "l"), "no file before it"),
    "hard link through a symlink": (member("d/f") + symlink("l", "d") + hardlink("a", "l/f"), "no file before it"),
    "hard link to the root": (hardlink("a", "."), "no file before it"),
    # kinds
    "device": (member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3), "a device: `null`"),
    "block device": (member("sda", type=tarfile.BLKTYPE), "a device: `sda`"),
    "FIFO": (member("pipe", type=tarfile.FIFOTYPE), "a FIFO: `pipe`"),
    "unknown": (member("x", type=b"Z"), "unknown type b'Z': `x`"),
    "volume": (member("x", type=b"V"), "unknown type"),
    "sparse": (member("x", type=tarfile.GNUTYPE_SPARSE, form=tarfile.GNU_FORMAT), "a sparse file: `x`"),
    "sparse 0.1": (member("x", pax={"GNU.sparse.map": "0,1"}), "sparse"),
    "sparse 1.0": (member("x", pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}), "sparse"),
    "sparse for all": (extended(record("GNU.sparse.size", "9"), tarfile.XGLTYPE) + F, "sparse"),
    "directory with data": (member("d", b"x" * 512, type=DIR), "directory with data: `d/`"),
    "symlink with data": (member("d", b"x" * 512, type=SYM, linkname="f"), "symlink with data"),
    "hard link with data": (F + member("d", b"x" * 512, type=LNK, linkname="f"), "hardlink with data"),
    # twice
    "file twice": (member("a", b"1") + member("a", b"2"), "differ: `a`"),
    "file twice, one longer": (member("a", b"1") + member("a", b"12"), "differ: `a`"),
    "file twice, one shorter": (member("a", b"12") + member("./a", b"1"), "differ: `./a`"),
    "file twice, one to execute": (member("a", b"1") + member("a", b"1", mode=0o755), "differ"),
    "file where a directory was": (folder("a") + member("a"), "differ"),
    "directory where a file was": (member("a") + folder("a"), "below a file or link"),
    "file below a file": (member("a") + member("a/b"), "below a file or link"),
    "symlink where a file was": (member("a") + symlink("a", "f"), "differ"),
    "file where a symlink was": (symlink("a", "f") + member("a"), "differ"),
    "symlink twice": (symlink("a", "f") + symlink("a", "g"), "differ"),
    "hard link where a file was": (F + member("g", b"g") + hardlink("g", "f"), "differ"),
    # headers
    "bad checksum": (F[:100] + b"0000777" + F[107:], "damaged, or no tar archive: bad checksum"),
    "negative size": (patched(F, 124, b"\xff" * 12), "negative size"),
    "two ways to read a name": (patched(member("f", form=tarfile.GNU_FORMAT), 345, b"old"), "two ways: `old/f`"),
    "one path for all": (extended(record("path", "x"), tarfile.XGLTYPE) + F, "one path for all members: `x`"),
    "one size for all": (extended(record("size", "0"), tarfile.XGLTYPE) + F, "one size for all"),
    "wrong size": (member("f", pax={"size": "-1"}), "size is wrong: `-1`"),
    "wrong time": (member("f", pax={"mtime": "nan"}), "mtime is wrong"),
    "two paths": (extended(record("path", "a") + record("path", "b")) + F, "two values of path"),
    "two long names": (extended(b"a\0", LONG_NAME) + extended(b"b\0", LONG_NAME) + F, "two values of path"),
    "pax path and long name": (extended(b"a\0", LONG_NAME) + extended(record("path", "b")) + F, "two values of path"),
    "pax record without a length": (extended(b"path=x\n") + F, "damaged pax header"),
    "pax record of length 0": (extended(b"0 path=x\n") + F, "damaged pax header"),
    "pax record that is too long": (extended(b"99 path=x\n") + F, "damaged pax header"),
    "pax record of huge length": (extended(b"9" * 5000 + b" path=x\n") + F, "damaged pax header"),
    "pax record without an end": (extended(b"9 path=xx") + F, "damaged pax header"),
    "pax record without a keyword": (extended(b"5 =x\n") + F, "damaged pax header"),
    "huge pax header": (extended(b"", size=1 << 40) + F, "extended header of 1099511627776 bytes"),
    "huge long name": (extended(b"", LONG_NAME, size=1 << 40) + F, "extended header of"),
    "many extended headers": (extended(record("comment", "x")) * 1000 + F, "too many extended headers"),
    "extended header for nothing": (F + extended(record("comment", "x")), "damaged"),
    # sizes
    "huge file": (member("f", size=1 << 40), "unpacks to more than 536870912 bytes"),
    "huge file of GNU": (member("f", size=1 << 60, form=tarfile.GNU_FORMAT), "unpacks to more than"),
    # the end
    "something after the end": (F + TAR_END + b"x", "goes on after its end"),
    "another archive after the end": (F + TAR_END + member("g"), "goes on after its end"),
    "something after a lone zero block": (F + bytes(512) + F, "goes on after its end"),
}


@pytest.mark.parametrize(("members", "message"), BAD_TARS.values(), ids=BAD_TARS)
def test_what_a_tar_archive_must_not_hold(box: Box, members: bytes, message: str) -> None:
    refused(box, gzip.compress(tar(members)), message)


def test_links_that_take_for_ever_to_follow(box: Box) -> None:
    slow = b"".join(symlink(f"l{i}", "./" * 500 + f"l{i + 1}") for i in range(30)) + member("l30")
    refused(box, gzip.compress(tar(slow)), "too long to follow", Limits(max_archive_entries=100))


UNICODE_PATH = struct.pack("<2HBL", 0x7075, 6, 1, 0) + b"b"
DEFLATED = Zipped(name=b"a", data=b"deflated " * 1000, method=8)
CRC, PACKED, SIZE = zlib.crc32(A.data), len(A.data), len(A.data)
ZIP64_EXTRA = struct.pack("<2H2Q", 1, 16, SIZE, PACKED)
BAD_ZIPS = {
    # names and kinds
    "backslash": (zipped(Zipped(name=b"a\\b")), r"a backslash: `a\\b`"),
    "name with a NUL": (zipped(Zipped(name=b"a\0b")), "a NUL"),
    "no name": (zipped(Zipped(name=b"")), "without a name"),
    "no utf-8": (zipped(Zipped(name=b"\xff", flags=0x800)), "not the UTF-8 it claims"),
    "two names": (zipped(evolve(A, central_extra=UNICODE_PATH)), "two names: `a`"),
    "two names before the data": (zipped(evolve(A, local_extra=UNICODE_PATH)), "two things of one member: `a`"),
    "symlink out": (zipped(Zipped(name=b"l", data=b"../secret", mode=UNIX_LINK)), "leaves it: `l` -> `../secret`"),
    "absolute symlink": (zipped(Zipped(name=b"l", data=b"/etc/passwd", mode=UNIX_LINK)), "absolute path"),
    "symlink with a backslash": (zipped(Zipped(name=b"l", data=b"..\\x", mode=UNIX_LINK)), "backslash"),
    "symlink with a NUL": (zipped(Zipped(name=b"l", data=b"a\0b", mode=UNIX_LINK)), "without a good target"),
    "symlink to nowhere": (zipped(Zipped(name=b"l", mode=UNIX_LINK)), "without a good target"),
    "symlink of great length": (zipped(Zipped(name=b"l", data=b"x" * 5000, mode=UNIX_LINK)), "target of 5000 bytes"),
    "file through a symlink": (
        zipped(Zipped(name=b"d/"), Zipped(name=b"l", data=b"d", mode=UNIX_LINK), Zipped(name=b"l/f")),
        "below a file or link",
    ),
    "FIFO": (zipped(Zipped(name=b"p", mode=stat.S_IFIFO | 0o644)), "no file, directory or link: `p`"),
    "device": (zipped(Zipped(name=b"p", mode=stat.S_IFCHR | 0o644)), "no file, directory or link"),
    "directory that is named a file": (zipped(Zipped(name=b"d", mode=UNIX_DIR)), "no file, directory or link"),
    "symlink that is named a directory": (zipped(Zipped(name=b"d/", mode=UNIX_LINK)), "no file, directory or link"),
    "directory with data": (zipped(Zipped(name=b"d/", data=b"x")), "no file, directory or link"),
    "file twice": (zipped(A, evolve(A, data=b"contents of b")), "differ: `a`"),
    # how they are compressed
    "encrypted": (zipped(evolve(A, flags=1)), "encrypted member: `a`"),
    "encrypted before the data": (zipped(evolve(A, local={1: 1})), "two things"),
    "strongly encrypted": (zipped(evolve(A, flags=0x41)), "encrypted"),
    "patched": (zipped(evolve(A, flags=0x20)), "compressed by method 0"),
    "bzip2": (zipped(evolve(A, method=12)), "compressed by method 12: `a`"),
    "stored in two sizes": (zipped(evolve(A, central={7: 12})), "two sizes"),
    "another crc": (zipped(evolve(A, local={5: 1}, central={6: 1})), "damaged member: `a`"),
    "longer than it says": (zipped(evolve(DEFLATED, local={7: 9}, central={8: 9})), "damaged member"),
    "shorter than it says": (zipped(evolve(DEFLATED, local={7: 9999}, central={8: 9999})), "damaged member"),
    "no deflate": (zipped(evolve(A, local={2: 8}, central={3: 8})), "damaged member: `a`: Error -3"),
    "data after the deflated ones": (
        zipped(evolve(DEFLATED, local={6: 60}, central={7: 60}, after=bytes(60 - len(DEFLATED.packed)))),
        "data have another length",
    ),
    "deflated data are cut": (zipped(evolve(DEFLATED, local={6: 20}, central={7: 20})), "directory does not tell"),
    # local and central headers
    "other name": (zipped(evolve(A, local_name=b"b")), "two things of one member: `a`"),
    "longer name": (zipped(evolve(A, local_name=b"ab")), "two things"),
    "other method": (zipped(evolve(A, local={2: 8})), "two things"),
    "other crc": (zipped(evolve(A, local={5: 1})), "two things"),
    "other packed size": (zipped(evolve(A, local={6: 1})), "two things"),
    "other size": (zipped(evolve(A, local={7: 1})), "two things"),
    "other deferred size": (zipped(evolve(STREAMED, local={7: 1}, after=STREAMED.descriptor())), "two things"),
    "deferred in one": (zipped(evolve(A, local={1: 8, 5: 0, 6: 0, 7: 0}, after=A.descriptor())), "two things"),
    "utf-8 in one": (zipped(evolve(A, local={1: 0x800})), "two things"),
    "other zip64 size": (
        zipped(evolve(A, local={6: 0xFFFFFFFF, 7: 0xFFFFFFFF}, local_extra=struct.pack("<2H2Q", 1, 16, 1, 1))),
        "two things",
    ),
    "no zip64 size": (zipped(evolve(A, local={6: 0xFFFFFFFF, 7: 0xFFFFFFFF})), "two things"),
    "short zip64 field": (zipped(evolve(A, central={7: 0xFFFFFFFF}, central_extra=b"\1\0\4\0\0\0\0\0")), "too short"),
    "two zip64 fields": (zipped(evolve(A, central_extra=ZIP64_EXTRA * 2)), "extra fields are wrong"),
    "extra field that is too long": (zipped(evolve(A, central_extra=b"\x99\0\xff\0")), "extra fields are wrong"),
    "other disk": (zipped(evolve(A, central={12: 1})), "several parts"),
    "no local header": (zipped(A).replace(b"PK\3\4", b"PK\3\5", 1), "local header is missing"),
    # where members lie
    "descriptor is missing": (zipped(STREAMED), "directory does not tell of, after `a`"),
    "other descriptor": (zipped(evolve(STREAMED, after=STREAMED.descriptor()[:-1] + b"x")), "does not tell"),
    "descriptor that is not announced": (zipped(evolve(A, after=A.descriptor())), "does not tell"),
    "hidden member": (zipped(evolve(A, after=Zipped(name=b"hidden").local_part())), "does not tell"),
    "hidden member first": (
        zipped(Zipped(name=b"b"), before=Zipped(name=b"hidden", data=b"PK").local_part()),
        "does not begin with its first",
    ),
    "members at one place": (zipped(A, evolve(A, central={15: 0})), "overlap: `a`"),
    "members in one another": (
        zipped(Zipped(name=b"b", data=A.local_part()), evolve(A, central={15: 31})),
        "overlap: `b`",
    ),
    "member outside": (zipped(evolve(A, central={15: 9999})), "lies outside"),
    "member in the directory": (zipped(evolve(A, central={15: len(A.local_part())})), "lies outside"),
    # the end
    "something after the end": (zipped(A) + b"x", "goes on after its end"),
    "shorter comment": (zipped(A, comment=b"12345") + b"6", "goes on after its end"),
    "longer comment": (zipped(A, comment=b"12345")[:-1], "goes on after its end"),
    "end in a comment": (zipped(A, comment=zipped(Zipped(name=b"b"))), "not where its end record says"),
    "no end": (zipped(A)[:-22], "it has no end record"),
    "too many entries": (zipped(A, count=2, here=2), "cut off"),
    "too few entries": (zipped(A, A, count=1, here=1), "holds more than its end record says"),
    "fewer here": (zipped(A, A, here=1), "several parts"),
    "other disk at the end": (zipped(A, disk=1), "several parts"),
    "directory elsewhere": (zipped(A, offset=1), "not where its end record says"),
    "directory longer": (zipped(A, size=1), "not where its end record says"),
    "directory of another kind": (zipped(A).replace(b"PK\1\2", b"PK\1\3"), "central directory is cut off"),
    "zip64 with another place": (zip64(A, locator={"offset": 0}), "not where it should be"),
    "zip64 of several disks": (zip64(A, locator={"disks": 2}), "not where it should be"),
    "zip64 of another length": (zip64(A, wide={"length": 45}), "not where it should be"),
    "zip64 with another count": (zip64(A, wide={"count": 2}), "several parts"),
    "zip64 with another offset": (zip64(A, wide={"offset": 1}), "not where its end record says"),
    "zip64 with a huge directory": (zip64(A, wide={"size": 1 << 62}), "not where its end record says"),
    "zip64 without room for its record": (b"PK\3\4" + zip64()[-42:], "zip64 record is missing"),
    "zip64 that disagrees": (zip64(A)[:-14] + struct.pack("<2H2LH", 1, 2, 0, 0, 0), "two end records that disagree"),
    "zip64 without its record": (zip64(A).replace(b"PK\6\6", b"PK\6\5"), "not where it should be"),
}


@pytest.mark.parametrize(("data", "message"), BAD_ZIPS.values(), ids=BAD_ZIPS)
def test_what_a_zip_file_must_not_hold(box: Box, data: bytes, message: str) -> None:
    refused(box, data, message)


# Damage

WHOLE = {
    ".tar.gz": gzip.compress(tar(member("a/b", b"b" * 9), symlink("a/l", "b"))),
    ".tar.bz2": bz2.compress(tar(member("a/b", b"b" * 9), symlink("a/l", "b"))),
    ".tar.xz": lzma.compress(tar(member("a/b", b"b" * 9), symlink("a/l", "b"))),
    ".zip": zipped(A, Zipped(name=b"b/l", data=b"..", mode=UNIX_LINK), evolve(STREAMED, after=STREAMED.descriptor())),
    "zip64": zip64(A, evolve(DEFLATED, name=b"b")),
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_every_truncation_is_refused(tmp_path: Path, data: bytes) -> None:
    archive = tmp_path / "archive"
    for length in range(len(data)):
        (into := tmp_path / str(length)).mkdir()
        archive.write_bytes(data[:length])
        with pytest.raises(ArchiveError):
            unpack(archive, "acme-1.0.zip", into)


@pytest.mark.parametrize("cut", [0, 1, 511, 512, 513, 1024])
def test_a_tar_archive_without_its_end_is_refused(box: Box, cut: int) -> None:
    refused(box, gzip.compress(member("a", b"a" * 512)[:cut]), "is cut off")


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_no_flipped_byte_gives_other_contents(tmp_path: Path, data: bytes, mask: int) -> None:
    archive = tmp_path / "archive"
    for at in range(len(data)):
        (into := tmp_path / str(at)).mkdir()
        archive.write_bytes(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
        try:
            unpack(archive, "acme-1.0.zip", into)
        except ArchiveError:
            continue
        contents = {name: value for name, value in tree(into).items() if isinstance(value, bytes)}
        assert set(contents.values()) <= {b"b" * 9, b"..", A.data, DEFLATED.data}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["archive", *map(str, range(len(data)))])


@pytest.mark.parametrize("mask", [0x01, 0x10, 0x80, 0xFF])
def test_no_flipped_byte_of_a_header_leads_out(tmp_path: Path, mask: int) -> None:
    data = tar(extended(record("path", "a/b") + record("mtime", "1.5")) + F, hardlink("c", "a/b"), symlink("l", "c"))
    archive = tmp_path / "archive"
    for at in range(len(data)):
        (into := tmp_path / str(at)).mkdir()
        archive.write_bytes(gzip.compress(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :], 1))
        try:
            unpack(archive, "acme-1.0.tar.gz", into)
        except ArchiveError:
            continue
        assert all(str(target).isalpha() for target in tree(into).values() if isinstance(target, str))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["archive", *map(str, range(len(data)))])


GOOD = tar(F)
NO_ARCHIVES = {
    "empty": (b"", "is no archive"),
    "text": (b"<!DOCTYPE html>", "is no archive"),
    "tar without compression": (GOOD, "is no archive"),
    "gzip of text": (gzip.compress(b"text" * 500), "damaged, or no tar archive"),
    "gzip of little": (gzip.compress(b"text"), "is cut off"),
    "gzip of nothing": (gzip.compress(b""), "is cut off"),
    "zip of one signature": (b"PK\3\4", "no end record"),
    "gzip with another crc": (gzip.compress(GOOD)[:-8] + bytes(8), "damaged"),
    "gzip and something": (gzip.compress(GOOD) + b"x", "cut off|followed by something else"),
    "gzip, zeros and something": (gzip.compress(GOOD) + bytes(600_000) + b"something", "followed by something else"),
    "bzip2 and something": (bz2.compress(GOOD) + b"something", "followed by something else"),
    "xz and something": (lzma.compress(GOOD) + b"something longer than a header", "followed by something else"),
    "gzip and another": (gzip.compress(GOOD) + gzip.compress(GOOD), "goes on after its end"),
    "gzip and half another": (gzip.compress(GOOD) + gzip.compress(bytes(99))[:-1], "cut off"),
    "bzip2 with another crc": (bz2.compress(GOOD)[:-1] + b"\xff", "damaged|cut off"),
    "xz with another check": (lzma.compress(GOOD)[:-20] + bytes(20), "damaged"),
}


@pytest.mark.parametrize(("data", "message"), NO_ARCHIVES.values(), ids=NO_ARCHIVES)
def test_what_is_no_archive_or_more_than_one(box: Box, data: bytes, message: str) -> None:
    refused(box, data, message)


def test_an_archive_has_to_be_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, message in (("fifo", "not a regular file"), (".", "not a regular file"), ("none", "cannot be read")):
        with pytest.raises(ArchiveError, match=f"`a.tar.gz` .*{message}"):
            unpack(tmp_path / path, "a.tar.gz", tmp_path)


def test_nothing_is_overwritten(box: Box) -> None:
    (box.into / "f").write_bytes(b"mine")
    refused(box, gzip.compress(tar(F)), "cannot be used here: `f`")
    (box.into / "d").symlink_to(box.path / "elsewhere")
    refused(box, gzip.compress(tar(folder("d"))), "cannot be used here: `d/`")
    refused(box, gzip.compress(tar(member("d/f"))), "cannot be used here: `d/f`")
    assert (box.into / "f").read_bytes() == b"mine"


def test_a_folder_that_is_not_there_is_not_the_fault_of_the_archive(box: Box) -> None:
    box.into.rmdir()
    with pytest.raises(FileNotFoundError):
        unpack(box.archive(gzip.compress(GOOD)), "a.tar.gz", box.into)


# Limits

HARD_LINKS = tar(member("f", b"x" * 9000), *(hardlink(f"l{i}", "f") for i in range(9)))
LYING = Zipped(name=b"a", data=bytes(50_000), method=8, local={7: 9}, central={8: 9})
BOMBS = {
    "tar": (gzip.compress(tar(member("a", bytes(15_000)), member("b", bytes(6000)))), "more than 20000 bytes"),
    "the same file again": (gzip.compress(tar(*[member("a", bytes(9000))] * 3)), "more than 20000 bytes"),
    "hard links": (gzip.compress(HARD_LINKS), "more than 20000 bytes"),
    "zeros after the end": (gzip.compress(tar() + bytes(65 << 20), 1), "goes on after its end"),
    "zip": (zipped(Zipped(name=b"a", data=bytes(50_000), method=8)), "more than 20000 bytes"),
    "stored zip": (zipped(Zipped(name=b"a", data=bytes(50_000))), "more than 20000 bytes"),
    "zip that lies": (zipped(LYING), "damaged member: `a`"),
    "entries": (gzip.compress(tar(*[member("a")] * 11)), "more than 10 entries"),
    "entries of a zip file": (zipped(*(Zipped(name=b"%d" % i) for i in range(11))), "more than 10 entries"),
    "entries of an endless zip64": (zip64(A, wide={"count": 1 << 60, "here": 1 << 60}), "more than 10 entries"),
    "directories on the way": (gzip.compress(tar(member("a/" * 11 + "b"))), "more than 10 directories"),
}


@pytest.mark.parametrize(("data", "message"), BOMBS.values(), ids=BOMBS)
def test_bombs(box: Box, data: bytes, message: str) -> None:
    refused(box, data, message, SMALL)
    files = [path for path in box.into.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= SMALL.max_unpacked_bytes


def test_many_large_extended_headers(box: Box) -> None:
    refused(box, gzip.compress((extended(record("comment", "x" * 1_000_000)) + F) * 70, 1), "extended header of 10000")


def test_just_within_the_limits(box: Box) -> None:
    box.unpack(gzip.compress(tar(*(member(f"t/{i}", bytes(2000)) for i in range(10)))), SMALL)
    assert len(box.tree()) == 11


def test_a_large_archive_may_unpack_to_a_multiple_of_its_size(box: Box) -> None:
    limits = Limits(max_unpacked_bytes=0, max_unpacked_ratio=20)
    some, many = (gzip.compress(tar(member("a", bytes(range(256)) * 8 * times))) for times in (2, 100))
    assert len(some) * 20 > 4096
    box.unpack(some, limits)
    refused(box, many, f"unpacks to more than {20 * len(many)} bytes", limits)


def test_one_entry_more_than_allowed(tmp_path: Path) -> None:
    (tmp_path / "tar").write_bytes(gzip.compress(tar(member("a/PKG-INFO") * 100_001), 1))
    (tmp_path / "zip").write_bytes(zip64(*[Zipped(name=b"a/PKG-INFO")] * 100_001))
    for name in ("tar", "zip"):
        with pytest.raises(ArchiveError, match="more than 100000 entries"):
            read_sdist_members(tmp_path / name, "a", ["PKG-INFO"])


def test_100_000_entries_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "zip").write_bytes(zip64(*[Zipped(name=b"a/PKG-INFO", data=b"x")] * 100_000))
    assert read_sdist_members(tmp_path / "zip", "a", ["PKG-INFO"]) == {"PKG-INFO": b"x"}


def test_a_long_central_directory(box: Box) -> None:
    long = [Zipped(name=b"n" * 60_000, data=b"") for _ in range(280)]
    refused(box, zipped(*long), "central directory of 16812880 bytes")


def test_too_many_streams(box: Box) -> None:
    refused(box, gzip.compress(GOOD) + gzip.compress(b"") * 100_000, "more than 100000 compressed streams")


def test_xz_that_asks_for_gigabytes(box: Box) -> None:
    data = bytearray(lzma.compress(GOOD))
    assert data[12:16] == b"\x02\x00\x21\x01"  # a block header of 12 bytes with the filter LZMA2
    data[16] = 39  # a dictionary of 3 GiB
    data[20:24] = struct.pack("<L", zlib.crc32(data[12:20]))
    refused(box, bytes(data), "[Mm]emory")


# Members of an sdist


def packed(*members: bytes) -> bytes:
    return gzip.compress(tar(*members))


SDISTS = {
    "tar": (packed(member("acme-1.0/PKG-INFO", b"1"), member("acme-1.0/pyproject.toml", b"2")), b"1", b"2"),
    "dot slash": (packed(folder("./"), member("./acme-1.0/PKG-INFO", b"1")), b"1", None),
    "last": (packed(member("acme-1.0/x", b"x" * 9999), member("acme-1.0/PKG-INFO", b"1")), b"1", None),
    "zip": (standard_zip({"acme-1.0/setup.py": b"", "acme-1.0/pyproject.toml": b"2"}), None, b"2"),
    "one deeper": (packed(folder("t"), member("t/acme.egg-info/PKG-INFO", b"1"), member("t/t/PKG-INFO")), None, None),
    "beside": (packed(member("t/PKG-INFO", b"1"), member("u/PKG-INFO", b"2"), member("PKG-INFO", b"3")), b"1", None),
    "no top-level directory": (packed(member("PKG-INFO", b"1")), None, None),
    "the same twice": (packed(member("t/PKG-INFO", b"1"), member("t/./PKG-INFO", b"1")), b"1", None),
    "empty": (packed(member("t/PKG-INFO")), b"", None),
    "link": (packed(member("t/a"), symlink("t/PKG-INFO", "a"), hardlink("t/pyproject.toml", "t/a")), None, None),
    "directory": (packed(folder("t/PKG-INFO")), None, None),
    "pax header first": (packed(GLOBAL_COMMENT, member("t/PKG-INFO", b"1")), b"1", None),
    "nothing": (packed(), None, None),
}  # fmt: skip


@pytest.mark.parametrize(("data", "pkg_info", "pyproject"), SDISTS.values(), ids=SDISTS)
def test_members_of_an_sdist(box: Box, data: bytes, pkg_info: bytes | None, pyproject: bytes | None) -> None:
    expected = {"PKG-INFO": pkg_info, "pyproject.toml": pyproject}
    found = read_sdist_members(box.archive(data), "acme-1.0.tar.gz", ["PKG-INFO", "pyproject.toml"])
    assert found == {name: content for name, content in expected.items() if content is not None}
    assert box.tree() == {}


P = member("t/PKG-INFO", b"1")
BAD_SDISTS = {
    "differs later": (packed(P, member("t/a", b"x" * 5000), member("t/PKG-INFO", b"2")), "differ: `t/PKG-INFO`"),
    "link later": (packed(P, symlink("t/PKG-INFO", "a")), "differ"),
    "link before": (packed(symlink("t/PKG-INFO", "a"), P), "differ"),
    "differs in a zip file": (
        zipped(Zipped(name=b"t/PKG-INFO", data=b"1"), Zipped(name=b"t/PKG-INFO", data=b"2")),
        "differ",
    ),
    "cut after it": (packed(P, member("t/a", os.urandom(5000)))[:-100], "cut off"),
    "something after it": (packed(P) + b"x" * 100, "followed by something else"),
    "bad name after it": (packed(P, member("../x")), "leads out"),
    "device after it": (packed(P, member("t/null", type=tarfile.CHRTYPE)), "a device"),
    "too large": (packed(member("t/PKG-INFO", b"x" * 1001)), "more than 1000 bytes in `t/PKG-INFO`"),
    "bomb after it": (packed(P, member("t/a", bytes(30_000))), "unpacks to more than 20000 bytes"),
    "many after it": (packed(*[P] * 11), "more than 10 entries"),
    "damaged in a zip file": (zipped(Zipped(name=b"t/PKG-INFO", data=b"1", local={5: 1}, central={6: 1})), "damaged"),
}


@pytest.mark.parametrize(("data", "message"), BAD_SDISTS.values(), ids=BAD_SDISTS)
def test_members_of_a_bad_sdist(box: Box, data: bytes, message: str) -> None:
    with pytest.raises(ArchiveError, match=f"`acme-1.0.tar.gz` .*{message}"):
        read_sdist_members(box.archive(data), "acme-1.0.tar.gz", ["PKG-INFO"], SMALL)


# METADATA of a wheel

WHEEL = "acme_web-1.0-py3-none-any.whl"
METADATA = b"Metadata-Version: 2.1\nName: acme-web\nVersion: 1.0\n"


@pytest.mark.parametrize(
    ("filename", "info"),
    [
        (WHEEL, "acme_web-1.0"),
        ("Acme.Web-1.0-py3-none-any.whl", "acme_web-1.0"),
        (WHEEL, "Acme-Web-1.0"),
        (WHEEL, "acme_web-1.0.0"),
        (WHEEL, "acme_web-v1"),
        ("acme_web-1.0-1build-py3-none-any.whl", "acme_web-1.0"),
        ("acme_web-1.0+local.1-py3-none-any.whl", "acme_web-1.0+local_1"),
        ("acme_web-1.0.post1-py3-none-any.whl", "acme_web-1.0_1"),
    ],
)
def test_metadata_of_a_wheel(box: Box, filename: str, info: str) -> None:
    contents = {"acme.py": b"", f"{info}.dist-info/METADATA": METADATA, "vendored/b-1.dist-info/METADATA": b"other"}
    assert read_wheel_metadata(box.archive(standard_zip(contents)), filename) == METADATA


GOOD_METADATA = Zipped(name=b"acme_web-1.0.dist-info/METADATA", data=METADATA)


def info(name: str) -> bytes:
    return standard_zip({f"{name}/METADATA": METADATA})


BAD_WHEELS = {
    "no .dist-info": (info("acme_web-1.0.egg-info"), WHEEL, "holds none"),
    "two .dist-info": (
        zipped(GOOD_METADATA, Zipped(name=b"b-1.dist-info/")),
        WHEEL,
        "holds `acme_web-1.0.dist-info`, `b-1.dist-info`",
    ),
    "other case": (zipped(GOOD_METADATA, Zipped(name=b"Acme_Web-1.0.dist-info/WHEEL")), WHEEL, "one .dist-info"),
    "other name": (info("acme-1.0.dist-info"), WHEEL, "something else: `acme-1.0.dist-info`"),
    "other version": (info("acme_web-1.1.dist-info"), WHEEL, "something else"),
    "no version": (info("acme_web-x.dist-info"), WHEEL, "something else"),
    "nothing": (info(".dist-info"), WHEEL, "something else"),
    "no METADATA": (zipped(Zipped(name=b"acme_web-1.0.dist-info/")), WHEEL, "holds no files"),
    "METADATA twice": (zipped(GOOD_METADATA, GOOD_METADATA), WHEEL, "holds 2 files"),
    "METADATA twice by another spelling": (
        zipped(GOOD_METADATA, evolve(GOOD_METADATA, name=b"./acme_web-1.0.dist-info//METADATA")),
        WHEEL,
        "holds 2 files",
    ),
    "METADATA is a symlink": (zipped(evolve(GOOD_METADATA, mode=UNIX_LINK)), WHEEL, "has to hold one"),
    "METADATA is a directory": (
        zipped(Zipped(name=b"acme_web-1.0.dist-info/METADATA/")),
        WHEEL,
        "has to hold one",
    ),
    "METADATA is too large": (zipped(evolve(GOOD_METADATA, central={8: 1 << 25}, method=8)), WHEEL, "has METADATA of"),
    "METADATA is a bomb": (
        standard_zip({"acme_web-1.0.dist-info/METADATA": bytes((16 << 20) + 1)}),
        WHEEL,
        "METADATA of 16777217 bytes",
    ),
    "METADATA lies": (zipped(evolve(GOOD_METADATA, local={7: 9}, central={8: 9}, method=8)), WHEEL, "damaged member"),
    "METADATA is damaged": (zipped(GOOD_METADATA).replace(b"Version: 1.0", b"Version: 2.0"), WHEEL, "damaged member"),
    "METADATA has two names": (zipped(evolve(GOOD_METADATA, local_name=b"x" * 31)), WHEEL, "two things"),
    "METADATA is encrypted": (zipped(evolve(GOOD_METADATA, flags=1)), WHEEL, "encrypted"),
    "METADATA at the place of another": (
        zipped(evolve(GOOD_METADATA, name=b"other"), evolve(GOOD_METADATA, central={15: 0})),
        WHEEL,
        "overlap",
    ),
    "METADATA in another": (
        zipped(GOOD_METADATA, evolve(A, central={15: 40})),
        WHEEL,
        "overlap: `acme_web",
    ),
    "bad name": (zipped(GOOD_METADATA, Zipped(name=b"../x")), WHEEL, "leads out"),
    "something after the end": (zipped(GOOD_METADATA) + b"x", WHEEL, "goes on after its end"),
    "file name": (zipped(GOOD_METADATA), "acme_web.whl", "not the name of a wheel"),
    "file name without a version": (zipped(GOOD_METADATA), "acme_web-x-py3-none-any.whl", "not the name of a wheel"),
    "tar": (packed(F), WHEEL, "no end record"),
    "empty": (b"", WHEEL, "no end record"),
}


@pytest.mark.parametrize(("data", "filename", "message"), BAD_WHEELS.values(), ids=BAD_WHEELS)
def test_metadata_of_a_bad_wheel(box: Box, data: bytes, filename: str, message: str) -> None:
    with pytest.raises(ArchiveError, match=f"`{filename}` .*{message}"):
        read_wheel_metadata(box.archive(data), filename)
