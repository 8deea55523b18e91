"""What is in the cache, for people: how much, which entries, and removing it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import get_args

from attrs import frozen

from felloe.cache.layout import BUILDS, ENTRIES, PAGES, RECORD, WHEEL_METADATA, Layout
from felloe.cache.records import Records
from felloe.cache.removal import remove_tree
from felloe.cache.root import TAG_FILE, leads_outside, writing
from felloe.cache.run import Run, is_ours
from felloe.record import Record
from felloe.values import BuildGoal, Json

__all__ = ["Item", "clean", "is_build_folder", "items", "normalised", "project_of", "size"]

BUCKET = re.compile(
    r"(built-wheel-metadata|wheel-metadata|builds|archives|unpacked|environments|resolutions|http|keep|memo|interpreters)"
    r"-v\d+"
)
GOALS = frozenset(get_args(BuildGoal))
LONGEST_LINE = 65536
is_build_id = re.compile(r"[0-9a-f]{32}").fullmatch
is_key = re.compile(r"[0-9a-f]{16}").fullmatch  # of a fingerprint
is_sha256 = re.compile(r"[0-9a-f]{64}").fullmatch
SEPARATORS = re.compile(r"[-_.]+")


@frozen(kw_only=True)
class Item:
    """One entry: `path` is that of its record, `filename` that of its distribution."""

    path: Path
    filename: str
    kind: str
    record: Record

    @property
    def name(self) -> str:
        """The project, normalised; "" where neither metadata nor file name tell."""
        return project_of(self.record, self.filename)


def project_of(record: Record, filename: str) -> str:
    """The project of an entry whose distribution is `filename`, normalised; "" where neither tells."""
    static = [record.static] if record.static else []
    known = [each.fields for each in (*record.data.values(), *static)]
    prepared = [each for build in record.builds if isinstance(each := build.get("metadata"), dict)]
    written = next((str(each["name"]) for each in (*known, *prepared) if "name" in each), None)
    return normalised(written or _project_in(filename))


def is_build_folder(layout: Layout, folder: Path) -> bool:
    """Whether `folder` is where one build is kept. What lies elsewhere in `builds-v0` is nothing that felloe knows."""
    build, key, goal = folder.parent.parent.name, folder.parent.name, folder.name
    is_named = is_build_id(build) and is_key(key) and goal in GOALS
    return bool(is_named) and folder == layout.build(build, key, goal)


def size(layout: Layout) -> int:
    """Bytes on disk of all files below the cache folder, each inode once."""
    seen = {}
    for folder, _, names in os.walk(layout.root):
        for name in names:
            with suppress(FileNotFoundError):  # others may be at work
                status = (Path(folder) / name).lstat()
                seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


def items(layout: Layout, records: Records) -> Iterator[Item]:
    """All entries that can be read, in the order of their paths."""
    for path in _files(layout, ENTRIES):
        if path.name == "metadata.json" and (record := records.read(path)) is not None:
            yield Item(path=path, filename=_filename_of(record, path.parent.name), kind=record.kind, record=record)
    for path in _files(layout, WHEEL_METADATA):
        if path.suffix == ".json" and (record := records.read(path)) is not None:
            yield Item(path=path, filename=path.name.removesuffix(".json"), kind=record.kind, record=record)


def _filename_of(record: Record, folder: str) -> str:
    """As the source says where its key does not end in it, such as a commit."""
    said = record.entry.locator.get("filename")
    return said if isinstance(said, str) else folder


def clean(layout: Layout, run: Run, found: Iterable[Item], names: frozenset[str] | None) -> int:
    """Removes all that felloe keeps, or what belongs to the projects `names` (normalised); gives the bytes freed.

    Raises CacheError where another process uses the cache.
    """
    if not (layout.root / TAG_FILE).is_file():
        return 0  # nothing of ours: a run marks the folder before it puts anything there
    before = size(layout)
    with run.alone(), writing(layout.root):
        if names is None:
            _remove_all(layout)
        else:
            _remove_projects(layout, found, names)
    return max(0, before - size(layout))


def _remove_all(layout: Layout) -> None:
    """Only folders that felloe makes: the cache folder may be one that somebody keeps other things in."""
    for folder in layout.root.iterdir():
        if BUCKET.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
            remove_tree(folder)
    if layout.scratch.is_dir() and not layout.scratch.is_symlink():
        _remove_scratch(layout.scratch)


def _remove_scratch(scratch: Path) -> None:
    """What runs and builds left; all of them are dead."""
    for folder in filter(is_ours, scratch.iterdir()):
        remove_tree(folder)
    with suppress(OSError):  # something else is in it
        scratch.rmdir()


def _remove_projects(layout: Layout, found: Iterable[Item], names: frozenset[str]) -> None:
    for item in found:
        if item.name in names:
            item.path.unlink(missing_ok=True)
            algorithm, _, digest = (item.record.entry.content or "").partition(":")
            if algorithm == "sha256":
                _remove_archive(layout, digest, item.filename)
            for build in item.record.builds:
                _remove_unpacked(layout, str(build.get("sha256")))
                _remove_builds(layout, str(build.get("build")))
    for page in _files(layout, PAGES):
        if _project_of(page) in names:
            page.unlink(missing_ok=True)
    for source in _built(layout, names):
        _remove_builds(layout, source)


def _remove_archive(layout: Layout, sha256: str, filename: str) -> None:
    """As it was fetched, and unpacked."""
    _remove_below(layout, layout.archive(sha256, filename).parent)
    _remove_unpacked(layout, sha256)


def _remove_unpacked(layout: Layout, sha256: str) -> None:
    """A record may say anything: it is no path."""
    if is_sha256(sha256):
        _remove_below(layout, layout.unpacked(sha256))


def _remove_below(layout: Layout, folder: Path) -> None:
    if not leads_outside(layout.root, folder / "any"):
        with suppress(OSError):
            remove_tree(folder)


def _remove_builds(layout: Layout, source: str) -> None:
    """All builds of a source, by its build id, that were done or failed; and what was unpacked of their wheels.

    A record may say anything: it is no path.
    """
    if not is_build_id(source) or leads_outside(layout.root, layout.builds(source) / "any"):
        return
    for folder in sorted(layout.builds(source).glob("*/*")):
        if is_build_folder(layout, folder) and not leads_outside(layout.root, folder / "any") and folder.is_dir():
            _remove_unpacked(layout, str(_document(folder / RECORD).get("sha256")))
            _remove_below(layout, folder)
            with suppress(OSError):
                folder.parent.rmdir()  # with the last of its fingerprint, and of its source
                folder.parent.parent.rmdir()


def _built(layout: Layout, names: frozenset[str]) -> set[str]:
    """The build ids of these projects, as the records of builds say: of failures and of older bytes, no entry tells.

    By the name that was asked for, and by that of what was made.
    """
    found = set()
    for path in _files(layout, BUILDS):
        if path.name == RECORD and is_build_folder(layout, path.parent):
            document = _document(path)
            metadata = document.get("metadata")
            told = [document.get("project"), metadata.get("name") if isinstance(metadata, dict) else None]
            if not names.isdisjoint(normalised(name) for name in told if isinstance(name, str)):
                found.add(path.parent.parent.parent.name)
    return found


def _document(path: Path) -> Mapping[str, Json]:
    """As it is written; empty where it cannot be read."""
    try:
        document = json.loads(path.read_bytes()) if _is_regular(path) else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _files(layout: Layout, bucket: str) -> list[Path]:
    """The regular files of a bucket, in the order of their paths; where links lead to does not count."""
    top = layout.root / bucket
    walked = () if top.is_symlink() else os.walk(top)
    paths = [Path(folder) / name for folder, _, names in walked for name in names]
    return sorted(filter(_is_regular, paths))


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _project_of(page: Path) -> str:
    """The project whose page this is, by the last part of its address."""
    with page.open("rb") as file:
        file.readline(LONGEST_LINE)
        try:
            url = json.loads(file.readline(LONGEST_LINE))["url"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return ""
    return normalised(str(url).rstrip("/").rpartition("/")[2])


def _project_in(filename: str) -> str:
    """As far as the name of an sdist or wheel tells; "" where it does not."""
    return filename.partition("-")[0] if filename.endswith(".whl") else filename.rpartition("-")[0]


def normalised(name: str) -> str:
    """As PEP 503 has it."""
    return SEPARATORS.sub("-", name).lower()
