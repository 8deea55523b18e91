"""Small real distributions, made in code: `make_wheel` and `make_sdist`.

The same arguments give the same bytes, so that a test can count on hashes.
"""

from __future__ import annotations

import base64
import bz2
import csv
import gzip
import hashlib
import io
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from attrs import field, frozen
from packaging.tags import parse_tag
from packaging.utils import canonicalize_version

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Project", "SdistFormat", "make_sdist", "make_wheel"]

SdistFormat = Literal[".tar.gz", ".tar.bz2", ".tar.xz", ".zip"]

# A file's content by its path in the archive; None leaves out a file that would be made otherwise.
Files = Mapping[str, bytes | str | None]

MINIMAL_PYPROJECT = "[build-system]\nrequires = []\n"

COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    ".tar.gz": partial(gzip.compress, mtime=0),
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}


@frozen
class Project:
    """What a wheel and an sdist of one release have in common.

    `metadata_version` is 2.1 in a wheel and 2.2 in an sdist where it is None. `dynamic` fields are declared by an
    sdist alone (PEP 643). `metadata` replaces the whole text of METADATA and PKG-INFO. `padding` is a number of bytes
    that do not compress, put in front, so that reading a part of the file is worth it.
    """

    name: str
    version: str
    requires_dist: Sequence[str] = field(default=(), kw_only=True)
    requires_python: str | None = field(default=None, kw_only=True)
    extras: Sequence[str] = field(default=(), kw_only=True)
    dynamic: Sequence[str] = field(default=(), kw_only=True)
    metadata_version: str | None = field(default=None, kw_only=True)
    metadata: str | None = field(default=None, kw_only=True)
    padding: int = field(default=0, kw_only=True)

    @property
    def module(self) -> str:
        """The name as file names have it: lower case, runs of `-_.` as one `_` (PEP 427, PEP 625)."""
        return re.sub(r"[-_.]+", "_", self.name).lower()

    @property
    def stem(self) -> str:
        """`<name>-<version>` as file names begin; a version that is not PEP 440 stays as it is, but for its dashes."""
        version = canonicalize_version(self.version, strip_trailing_zero=False)
        return f"{self.module}-{version.replace('-', '_')}"


def make_wheel(
    folder: Path,
    project: Project,
    *,
    tags: str = "py3-none-any",
    build: str | None = None,
    files: Files | None = None,
) -> Path:
    """A wheel of `project` in `folder` (PEP 427), with RECORD; `tags` may be compressed (`py2.py3-none-any`).

    `files` replaces what would be made, too: `{f"{project.stem}.dist-info/WHEEL": None}` is a wheel without WHEEL.

        make_wheel(folder, Project("acme", "1.0", requires_dist=["zlib-ng>=0.5"]), files={"acme.py": "x = 1"})
    """
    info = f"{project.stem}.dist-info"
    given = files or {}
    padding = {f"{project.module}/padding.bin": _padding(project.padding)} if project.padding else {}
    made = {f"{info}/METADATA": _core_metadata(project, "2.1"), f"{info}/WHEEL": _wheel_file(tags, build)}
    contents = _contents(padding, given, made, given)
    record = f"{info}/RECORD"
    contents = _contents(contents, {record: _record(contents, record)}, given)
    middle = f"-{build}" if build else ""
    return _write(folder / f"{project.stem}{middle}-{tags}.whl", _zip(contents))


def make_sdist(
    folder: Path,
    project: Project,
    *,
    pyproject: str | None = None,
    files: Files | None = None,
    format: SdistFormat = ".tar.gz",  # noqa: A002  # as in shutil.make_archive
) -> Path:
    """An sdist of `project` in `folder` (PEP 625): PKG-INFO, pyproject.toml and `files`, below one folder.

    `pyproject` is the text of pyproject.toml; where it is None, it says nothing but `requires = []`.
    `files={"PKG-INFO": None}` is an sdist without PKG-INFO.

        make_sdist(folder, Project("acme", "1.0", dynamic=["Requires-Dist"]), pyproject=..., files={"acme.py": "x = 1"})
    """
    made = {
        "PKG-INFO": _core_metadata(project, "2.2", dynamic=project.dynamic),
        "pyproject.toml": MINIMAL_PYPROJECT if pyproject is None else pyproject,
    }
    padding = {"padding.bin": _padding(project.padding)} if project.padding else {}
    contents = _contents(padding, made, files or {})
    below = {f"{project.stem}/{path}": content for path, content in contents.items()}
    packed = _zip(below) if format == ".zip" else COMPRESS[format](_tar(below))
    return _write(folder / f"{project.stem}{format}", packed)


def _core_metadata(project: Project, metadata_version: str, *, dynamic: Sequence[str] = ()) -> str:
    if project.metadata is not None:
        return project.metadata
    fields = [
        ("Metadata-Version", project.metadata_version or metadata_version),
        ("Name", project.name),
        ("Version", project.version),
        *(("Dynamic", name) for name in dynamic),
        *(("Requires-Python", text) for text in [project.requires_python] if text is not None),
        *(("Requires-Dist", text) for text in project.requires_dist),
        *(("Provides-Extra", name) for name in project.extras),
    ]
    return _headers(fields)


def _wheel_file(tags: str, build: str | None) -> str:
    pure = tags.endswith("-none-any")
    fields = [("Wheel-Version", "1.0"), ("Generator", "felloe.testing"), ("Root-Is-Purelib", str(pure).lower())]
    fields += [("Tag", tag) for tag in sorted(map(str, parse_tag(tags)))]
    fields += [("Build", build)] if build else []
    return _headers(fields)


def _headers(fields: Sequence[tuple[str, str]]) -> str:
    return "".join(f"{name}: {value}\n" for name, value in fields)


def _record(contents: Mapping[str, bytes], record: str) -> str:
    """RECORD (PEP 376, PEP 427): every file with its hash and size, and itself without."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for path, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.writerow([path, f"sha256={digest}", len(content)])
    rows.writerow([record, "", ""])
    return text.getvalue()


def _padding(size: int) -> bytes:
    return hashlib.shake_128(b"felloe").digest(size)


def _contents(*layers: Files) -> dict[str, bytes]:
    """The layers, one over the other, as bytes; a path keeps the place where it was first named."""
    merged = {path: content for layer in layers for path, content in layer.items()}
    return {
        path: content.encode() if isinstance(content, str) else content
        for path, content in merged.items()
        if content is not None
    }


def _zip(contents: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, content in contents.items():
            member = zipfile.ZipInfo(path)
            member.create_system = 3  # Unix, wherever this runs: the permissions below are of that kind
            member.external_attr = 0o100644 << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _tar(contents: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in contents.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
