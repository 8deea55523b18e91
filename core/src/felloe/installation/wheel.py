"""What an unpacked wheel brings, and where it goes (binary distribution format, "Installing a wheel")."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeGuard

from attrs import frozen

from felloe.config import Limits
from felloe.errors import ArchiveError
from felloe.installation.scripts import EntryPoint, parse_entry_points
from felloe.net.member import naming, shown
from felloe.stepping import check_cancelled

if TYPE_CHECKING:
    from felloe.net.zip import ZipReader

__all__ = ["Placed", "Scheme", "WheelContents", "check_format", "read_wheel"]

Scheme = Literal["purelib", "platlib", "headers", "scripts", "data"]

INFO, DATA = ".dist-info", ".data"
DEFAULT_LIMITS = Limits()
LONGEST_PATH = 1024  # bytes: a path of Linux has 4096, and the folders that a file gets into take some of them
VERSION = re.compile(r"([0-9]{1,9})(\.[0-9]{1,9})*")


@frozen(kw_only=True)
class Placed:
    """One file: `source` is its path in the wheel, `path` the one below the folder of its scheme; slashes in both."""

    source: str
    scheme: Scheme
    path: str


@frozen(kw_only=True)
class WheelContents:
    """All that is to be installed but RECORD: a later file goes over an earlier one of the same path.

    `root` is the scheme of what lies outside of `.data`, `info` the name of the .dist-info folder there.
    """

    root: Scheme
    info: str
    files: tuple[Placed, ...]
    programs: tuple[EntryPoint, ...]

    @property
    def project(self) -> str:
        """As the .dist-info folder has it."""
        return self.info.removesuffix(INFO).rpartition("-")[0] or self.info.removesuffix(INFO)


def read_wheel(folder: Path, filename: str, limits: Limits = DEFAULT_LIMITS) -> WheelContents:
    """The contents of the wheel `filename`, which is unpacked in `folder`.

    Raises ArchiveError where it is no wheel, or one of a later format; OSError where it cannot be read.
    """
    with naming(filename):
        paths = sorted(_paths(folder))
        info = _info(paths)
        most = limits.max_metadata_bytes
        root = _root_scheme(_text(folder, f"{info}/WHEEL", most))
        files = sorted((_place(path, root) for path in paths if path != f"{info}/RECORD"), key=_data_last)
        entry_points = f"{info}/entry_points.txt"
        programs = parse_entry_points(_text(folder, entry_points, most)) if entry_points in paths else ()
        return WheelContents(root=root, info=info, files=tuple(files), programs=programs)


def check_format(archive: Path, filename: str, limits: Limits = DEFAULT_LIMITS) -> None:
    """Looks into the wheel `filename`, which is still packed.

    Raises ArchiveError where its file WHEEL is missing or cannot be read, or it is of a later format; OSError.
    """
    from felloe.net.dist_info import find_metadata
    from felloe.net.limits import Budget
    from felloe.net.zip import ZipReader

    with naming(filename), archive.open("rb") as file:
        wheel = ZipReader(file, Budget(limits, os.fstat(file.fileno()).st_size))
        info = find_metadata(wheel.entries, filename, limits.max_metadata_bytes).parts[0]
        _root_scheme(_packed_text(wheel, f"{info}/WHEEL", limits.max_metadata_bytes))


def _paths(folder: Path) -> Iterator[str]:
    """The files below `folder`, with slashes."""
    for where, folders, names in os.walk(folder):
        check_cancelled()
        for path in (Path(where, name) for name in (*folders, *names)):
            _check_path(path, path.relative_to(folder).as_posix())
        yield from (Path(where, name).relative_to(folder).as_posix() for name in names)


def _check_path(path: Path, name: str) -> None:
    """By its length first: what is too long cannot be looked at everywhere."""
    if len(os.fsencode(name)) > LONGEST_PATH:
        raise ArchiveError(f"holds a path of more than {LONGEST_PATH} bytes: `{shown(name)}`")
    if path.is_symlink():
        raise ArchiveError(f"holds a symbolic link, which a wheel cannot: `{shown(name)}`")


def _info(paths: Iterable[str]) -> str:
    """The one .dist-info folder."""
    tops = {path.partition("/")[0] for path in paths if "/" in path}
    folders = sorted(name for name in tops if name.endswith(INFO))
    if len(folders) != 1:
        names = ", ".join(f"`{shown(name)}`" for name in folders[:5]) or "none"
        raise ArchiveError(f"has to hold one .dist-info directory, and holds {names}")
    return folders[0]


def _text(folder: Path, path: str, most: int) -> str:
    try:
        with folder.joinpath(path).open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError as error:
        raise _missing(path) from error
    _check_size(len(data), path, most)
    return _decoded(data, path)


def _packed_text(wheel: ZipReader, path: str, most: int) -> str:
    found = [entry for entry in wheel.entries if "/".join(entry.parts) == path]
    if len(found) > 1:
        raise ArchiveError(f"holds {len(found)} files `{shown(path)}`, and has to hold one")
    if not found or found[0].kind != "file":
        raise _missing(path)
    _check_size(max(found[0].size, found[0].packed), path, most)
    return _decoded(wheel.read(found[0]), path)


def _missing(path: str) -> ArchiveError:
    return ArchiveError(f"has no file `{shown(path)}`, and a wheel has to have it")


def _check_size(size: int, path: str, most: int) -> None:
    if size > most:
        raise ArchiveError(f"holds more than {most} bytes in `{shown(path)}`", code="archive-too-large")


def _decoded(data: bytes, path: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ArchiveError(f"holds a file that is not UTF-8: `{shown(path)}`") from error


def _root_scheme(wheel: str) -> Scheme:
    """By WHEEL. Raises ArchiveError where the format is later than 1: then nothing of it can be known."""
    from email.parser import HeaderParser

    headers = HeaderParser().parsestr(wheel)
    version = str(headers.get("Wheel-Version", "")).strip()
    match = VERSION.fullmatch(version)
    if match is None:
        raise ArchiveError(f"has no good Wheel-Version in its file WHEEL: `{shown(version)}`")
    if int(match[1]) > 1:
        hint = "use another release, or a newer felloe"
        raise ArchiveError(f"is of the wheel format {shown(version)}, and only 1.0 is known", hint=hint)
    return "purelib" if str(headers.get("Root-Is-Purelib", "")).strip().lower() == "true" else "platlib"


def _place(path: str, root: Scheme) -> Placed:
    """Any `.data` folder counts, as for pip: its name need not be spelt as that of .dist-info."""
    top, _, below = path.partition("/")
    if not (below and top.endswith(DATA)):
        return Placed(source=path, scheme=root, path=path)
    scheme, _, rest = below.partition("/")
    if not (rest and _is_scheme(scheme)):
        raise ArchiveError(f"holds a file that has no place to go to: `{shown(path)}`")
    return Placed(source=path, scheme=scheme, path=rest)


def _is_scheme(name: str) -> TypeGuard[Scheme]:
    return name in {"purelib", "platlib", "headers", "scripts", "data"}


def _data_last(placed: Placed) -> bool:
    return placed.source != placed.path
