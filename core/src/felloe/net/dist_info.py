"""Which member of a wheel is its METADATA (binary distribution format, "The .dist-info directory"). Pure."""

from __future__ import annotations

from collections.abc import Iterable

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from felloe.errors import ArchiveError
from felloe.net.limits import HINT
from felloe.net.member import shown
from felloe.net.zip_entry import Entry

__all__ = ["find_metadata"]

SUFFIX = ".dist-info"


def find_metadata(entries: Iterable[Entry], filename: str, max_bytes: int) -> Entry:
    """METADATA in the one `.dist-info` directory of the wheel `filename`, which has to be of its name and version.

    Raises ArchiveError where there is none or more than one, or it has more than `max_bytes`.
    """
    members = [(entry.parts, entry) for entry in entries]
    folder = _dist_info({parts[0] for parts, _ in members if parts and parts[0].endswith(SUFFIX)})
    _check_name(folder, filename)
    found = [entry for parts, entry in members if parts == (folder, "METADATA")]
    if len(found) != 1 or found[0].kind != "file":
        raise ArchiveError(f"holds {len(found) or 'no'} files `{shown(folder)}/METADATA`, and has to hold one")
    if max(found[0].size, found[0].packed) > max_bytes:
        raise ArchiveError(
            f"has METADATA of {found[0].size} bytes", hint=HINT.format("`max-metadata-bytes`"), code="archive-too-large"
        )
    return found[0]


def _dist_info(folders: set[str]) -> str:
    if len(folders) != 1:
        names = ", ".join(f"`{shown(name)}`" for name in sorted(folders)[:5]) or "none"
        raise ArchiveError(f"has to hold one .dist-info directory, and holds {names}")
    return folders.pop()


def _check_name(folder: str, filename: str) -> None:
    """Names agree by PEP 503, versions by PEP 440; `_` in a file name may stand for `-`."""
    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion) as error:
        raise ArchiveError(f"is not the name of a wheel: {error}") from error
    of_name, _, of_version = folder.removesuffix(SUFFIX).rpartition("-")
    try:
        agree = canonicalize_name(of_name) == name and Version(of_version.replace("_", "-")) == version
    except InvalidVersion:
        agree = False
    if not agree:
        raise ArchiveError(f"holds the metadata of something else: `{shown(folder)}`")
