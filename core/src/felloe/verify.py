"""Whether the cache holds what it says it does: each file is looked at, nothing is changed, and no link is followed.

What sources keep in folders of their own (`keep-v0`) is theirs to check.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attrs import frozen

from felloe.build.failure import Failure
from felloe.build.plan import id_of_source
from felloe.build.record import Build
from felloe.cache import layout as names
from felloe.cache.contents import is_build_folder, normalised
from felloe.cache.folders import Folders
from felloe.cache.layout import Layout
from felloe.cache.records import Records
from felloe.cache.root import leads_outside
from felloe.cache.run import Run
from felloe.cache.store import Store
from felloe.config import Limits
from felloe.errors import FelloeError
from felloe.hashing import digests_of_file
from felloe.metadata import RESOLVED, parse_metadata
from felloe.net.member import shown
from felloe.values import Json, Metadata

__all__ = ["Fault", "Verification"]

COMPARED = ("name", "version", *RESOLVED)
SEALED_AT = {names.UNPACKED: 3, names.ENVIRONMENTS: 2}  # how deep below the bucket
DEEPEST = 50  # folders in one another: a key has few parts
is_name = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?").fullmatch
is_sha256 = re.compile(r"[0-9a-f]{64}").fullmatch

REMOVE = "remove it: felloe does not use it, and finds out again what it needs"
REMOVE_FOLDER = "remove its folder: felloe does not use it, and builds again what it needs"


@frozen(kw_only=True)
class Fault:
    """What is wrong with the file or folder `path` (below the cache folder), and what to do. All of it is printable."""

    path: str
    code: str
    message: str
    hint: str


Check = Callable[[Path], Iterator[Fault]]


class Verification:
    """One look at all of the cache; `counts` says how much was looked at, by what it is."""

    def __init__(self, layout: Layout, run: Run, limits: Limits) -> None:
        self._limits = limits
        self.counts = Counter({"archives": 0, "builds": 0, "entries": 0, "folders": 0, "documents": 0})
        self._layout = layout
        self._store = _Watched(layout.root, run)
        self._records = Records(layout, self._store, lambda _: None)
        self._folders = Folders(layout, self._store, lambda _: None)
        self._told: set[Path] = set()  # wheels that were built, whose fault was told: entries name them as well

    def faults(self) -> Iterator[Fault]:
        """What is wrong, as it is found. Others may be at work on the cache: what goes meanwhile is no fault."""
        checks: Mapping[str, Check] = {
            names.ARCHIVES: self._archive,
            names.BUILDS: self._history,
            names.ENTRIES: self._entry,
            names.WHEEL_METADATA: self._entry,
            names.UNPACKED: self._nothing_else,
            names.ENVIRONMENTS: self._nothing_else,
            names.RESOLUTIONS: self._document,
            names.INTERPRETERS: self._document,
            names.MEMOS: self._document,
            names.PAGES: self._page,
        }
        for bucket, check in checks.items():
            yield from self._below(self._layout.root / bucket, check, sealed_at=SEALED_AT.get(bucket, DEEPEST + 1))

    # -- each kind of file

    def _archive(self, path: Path) -> Iterator[Fault]:
        sha256 = path.parent.name
        if not is_sha256(sha256) or path.parent != self._layout.archive(sha256, "any").parent:
            yield self._foreign(path)
            return
        self.counts["archives"] += 1
        try:
            is_whole = digests_of_file(path)["sha256"] == sha256
        except FileNotFoundError:
            return
        except OSError as error:
            yield self._fault(path, "unreadable", f"it cannot be read: {error.strerror}", REMOVE)
            return
        if not is_whole:
            hint = "remove it: it is fetched again when it is asked for"
            yield self._fault(path, "damaged-archive", "its bytes have another sha256", hint)

    def _history(self, path: Path) -> Iterator[Fault]:
        """The record of a build, its wheel, or what was printed."""
        if not is_build_folder(self._layout, path.parent):
            yield self._foreign(path)
        elif path.name != names.RECORD:
            yield from self._beside_record(path)
        elif (document := self._store.read_document(path)) is None:
            yield from self._damaged(path, REMOVE_FOLDER)
        elif "error" in document:
            yield from self._failure(path, document)
        else:
            yield from self._build(path, document, {})

    def _beside_record(self, path: Path) -> Iterator[Fault]:
        """What the record does not know is not looked at by anybody. Where that is damaged, that alone is told."""
        record = path.with_name(names.RECORD)
        document = self._store.read_document(record)
        is_known = path.name in (names.LOG, document.get("wheel")) if document else _is(stat.S_ISREG, record)
        if not is_known:
            yield self._foreign(path)

    def _failure(self, path: Path, document: Mapping[str, Json]) -> Iterator[Fault]:
        self.counts["builds"] += 1
        try:
            failure = Failure.from_json(document)
            folder = self._layout.build(failure.build, failure.fingerprint.key, failure.goal)
        except ValueError as error:
            yield self._fault(path, "unreadable-build", f"{error}", REMOVE_FOLDER)
            return
        if path.parent != folder:
            yield self._fault(path, "wrong-source", "it has the record of another build", REMOVE_FOLDER)

    def _entry(self, path: Path) -> Iterator[Fault]:
        if path.suffix != ".json":
            yield self._foreign(path)
            return
        self.counts["entries"] += 1
        record = self._records.read(path)
        if record is None:
            yield from self._damaged(path)
            return
        for build in record.builds:
            yield from self._build(path, build, record.data)

    def _document(self, path: Path) -> Iterator[Fault]:
        self.counts["documents"] += 1
        if self._store.read_document(path) is None:
            yield from self._damaged(path)

    def _page(self, path: Path) -> Iterator[Fault]:
        self.counts["documents"] += 1
        if self._store.read(path) is None:
            yield from self._damaged(path)

    def _nothing_else(self, path: Path) -> Iterator[Fault]:
        """Beside sealed folders."""
        if path.suffix != ".seal":
            yield self._foreign(path)

    def _sealed(self, path: Path) -> Iterator[Fault]:
        """One that has no seal yet is being made, or is made again."""
        self.counts["folders"] += 1
        if self._folders.find(path) is None:
            yield from self._damaged(path)
            yield from self._damaged(path.with_name(f"{path.name}.seal"))

    # -- the record of a build, and its wheel

    def _build(self, path: Path, document: Json, data: Mapping[str, Metadata]) -> Iterator[Fault]:
        """One of `builds-v0`, or the same as an entry tells of it."""
        is_entry = path.name != names.RECORD
        try:
            build = Build.from_json(document, data)
            folder = self._layout.build(build.build, build.fingerprint.key, build.goal)
            is_of_another_source = build.source and id_of_source(build.source) != build.build
        except (ValueError, TypeError) as error:
            yield self._fault(path, "unreadable-build", f"{error}", REMOVE if is_entry else REMOVE_FOLDER)
            return
        self.counts["builds"] += 1
        if is_of_another_source:
            yield self._fault(path, "wrong-source", "it has the record of a build of another source", _clean(build))
        elif not is_entry and path.parent != folder:
            yield self._fault(path, "wrong-source", "it has the record of another build", _clean(build))
        elif build.wheel is not None and not (is_entry and self._is_replaced(build, folder)):
            yield from self._wheel(path, build, folder / build.wheel)

    def _is_replaced(self, build: Build, folder: Path) -> bool:
        """Whether the same was built again since: an entry that tells of the old wheel finds the new one there."""
        now = self._store.read_document(folder / names.RECORD) or {}
        return now.get("sha256", build.sha256) != build.sha256

    def _wheel(self, path: Path, build: Build, wheel: Path) -> Iterator[Fault]:
        if wheel in self._told:
            return
        what = f"the wheel `{shown(wheel.name)}` that it records"
        if leads_outside(self._layout.root, wheel) or not _is(stat.S_ISREG, wheel):
            self._told.add(wheel)
            hint = "nothing need be done: it is built again when it is asked for"
            yield self._fault(path, "wheel-gone", f"{what} is gone", hint)
        elif why := _wrong_bytes(wheel, build) or _difference(wheel, build.metadata, self._limits):
            self._told.add(wheel)
            yield self._fault(path, "wheel-differs", f"{what} {why}", _clean(build))

    # -- going through folders

    def _below(self, path: Path, check: Check, *, sealed_at: int, depth: int = 0) -> Iterator[Fault]:
        """All files below `path`, and the folders so deep that they are sealed."""
        if _is(stat.S_ISREG, path):
            yield from [self._foreign(path)] if depth == 0 else check(path)
        elif not _is(stat.S_ISDIR, path) or depth > DEEPEST:
            yield from [self._foreign(path)] if os.path.lexists(path) else ()
        elif depth == sealed_at:
            yield from self._sealed(path)
        else:
            try:
                children = _children(path)
            except OSError as error:
                yield self._fault(path, "unreadable", f"it cannot be read: {error.strerror}", "mend its permissions")
                return
            for child in children:
                yield from self._below(child, check, sealed_at=sealed_at, depth=depth + 1)

    # -- what is said

    def _damaged(self, path: Path, hint: str = REMOVE) -> Iterator[Fault]:
        if reason := self._store.reasons.pop(path, None):
            yield self._fault(path, "damaged", reason, hint)

    def _foreign(self, path: Path) -> Fault:
        return self._fault(path, "foreign", "it is nothing that felloe puts there", "remove it: felloe does not use it")

    def _fault(self, path: Path, code: str, message: str, hint: str) -> Fault:
        where = "/".join(map(shown, path.relative_to(self._layout.root).parts))
        return Fault(path=where, code=code, message=shown(message), hint=hint)


class _Watched(Store):
    """`reasons` has, by path, why what was read last is not used."""

    def __init__(self, root: Path, run: Run) -> None:
        super().__init__(root, run, lambda _: None)
        self.reasons: dict[Path, str] = {}

    def damaged(self, path: Path, reason: str) -> None:
        self.reasons[path] = reason


def _wrong_bytes(wheel: Path, build: Build) -> str:
    """What tells that they are not those that were built; "" where they are."""
    try:
        if build.size not in {None, wheel.stat().st_size}:
            return "has another size"
        return "" if digests_of_file(wheel)["sha256"] == build.sha256 else "has another sha256"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _difference(wheel: Path, recorded: Metadata, limits: Limits) -> str:
    """Where the metadata of a wheel are not those recorded, or why they cannot be read; "" where all is well."""
    from felloe.installation.wheel import check_format
    from felloe.net.archive import read_wheel_metadata

    try:
        check_format(wheel, wheel.name, limits)
        raw = read_wheel_metadata(wheel, wheel.name, limits)
        metadata = parse_metadata(raw, what="it", max_bytes=limits.max_metadata_bytes)
    except (FelloeError, OSError) as error:
        return f"cannot be read: {error}"
    differing = [name for name in COMPARED if metadata.fields.get(name) != recorded.fields.get(name)]
    return f"has another {', '.join(differing)} in METADATA" if differing else ""


def _clean(build: Build) -> str:
    name = normalised(build.metadata.name)
    return f"`felloe cache clean {name}`, and ask for it again" if is_name(name) else REMOVE


def _children(folder: Path) -> list[Path]:
    """In the order of their names; none where it has gone. Raises OSError."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is(kind: Callable[[int], bool], path: Path) -> bool:
    """Without following a link."""
    try:
        return kind(path.lstat().st_mode)
    except (OSError, ValueError):  # a name may be no path
        return False
