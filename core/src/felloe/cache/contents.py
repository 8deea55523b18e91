"""What is in the cache, for people: how much, which entries, and removing it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from felloe.cache.layout import BUILDS, ENTRIES, PAGES, WHEEL_METADATA, Layout
from felloe.cache.records import Records
from felloe.cache.removal import remove_tree
from felloe.cache.root import TAG_FILE, leads_outside, writing
from felloe.cache.run import Run, is_name
from felloe.record import Record
from felloe.values import Json

__all__ = ["Item", "clean", "first_line_of_log", "items", "normalised", "project_of", "size"]

BUCKET = re.compile(
    r"(built-wheel-metadata|wheel-metadata|builds|archives|unpacked|environments|resolutions|http|keep|memo|interpreters)"
    r"-v\d+"
)
LONGEST_LINE = 65536
is_digest = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}").fullmatch
is_sha256 = re.compile(r"[0-9a-f]{64}").fullmatch
is_log = re.compile(r"[0-9a-f]{32}-[0-9a-z-]+\.log").fullmatch
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


def first_line_of_log(project: str) -> bytes:
    """What the log of a build begins with, by which it is found when its project (normalised) is removed."""
    return f"felloe: a build of {project}\n".encode("utf-8", "surrogateescape")


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
    """What runs left; all of them are dead."""
    for folder in scratch.iterdir():
        if is_name(folder.name) and folder.is_dir() and not folder.is_symlink():
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
                _remove_build(layout, build)
    for page in _files(layout, PAGES):
        if _project_of(page) in names:
            page.unlink(missing_ok=True)
    for source in _built(layout, names):
        _remove_builds(layout, source)


def _remove_archive(layout: Layout, sha256: str, filename: str) -> None:
    """As it was fetched or built, and unpacked."""
    folders = [layout.archive(sha256, filename).parent]
    if is_sha256(sha256):
        folders.append(layout.unpacked(sha256))
    for folder in folders:
        if not leads_outside(layout.root, folder / "any"):
            with suppress(OSError):
                remove_tree(folder)


def _remove_build(layout: Layout, build: Mapping[str, Json]) -> None:
    """Its wheel, and all that is known of the builds of its source. A record may say anything: it is no path."""
    _remove_wheel(layout, build)
    source = str(build.get("build"))
    if is_digest(source) and not leads_outside(layout.root, layout.builds(source)):
        _remove_builds(layout, source)


def _remove_builds(layout: Layout, source: str) -> None:
    """What is known of the builds of one source, by its build id, that were done or failed."""
    records = layout.builds(source)
    for build in _documents(records):
        _remove_wheel(layout, build)
    for path in filter(_is_regular, (records, *records.parent.glob(f"{source}-*.log"))):
        path.unlink(missing_ok=True)


def _remove_wheel(layout: Layout, build: Mapping[str, Json]) -> None:
    if is_digest(str(build.get("sha256"))):
        _remove_archive(layout, str(build["sha256"]), str(build.get("wheel")))


def _built(layout: Layout, names: frozenset[str]) -> set[str]:
    """The build ids of these projects, as their logs say: of builds that failed, and of older bytes, no entry tells."""
    first_lines = frozenset(map(first_line_of_log, names))
    found = set()
    for log in _files(layout, BUILDS):
        source, _, key = log.stem.partition("-")
        if is_log(log.name) and log == layout.build_log(source, key) and _first_line(log) in first_lines:
            found.add(source)
    return found


def _documents(records: Path) -> list[Mapping[str, Json]]:
    """The builds that were done of one source, as they are written; none where that cannot be read."""
    try:
        builds = json.loads(records.read_bytes())["builds"] if _is_regular(records) else []
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []
    return [build for build in builds if isinstance(build, dict)] if isinstance(builds, list) else []


def _files(layout: Layout, bucket: str) -> list[Path]:
    """The regular files of a bucket, in the order of their paths; where links lead to does not count."""
    top = layout.root / bucket
    walked = () if top.is_symlink() else os.walk(top)
    paths = [Path(folder) / name for folder, _, names in walked for name in names]
    return sorted(filter(_is_regular, paths))


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline(LONGEST_LINE)


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
