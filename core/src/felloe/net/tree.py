"""A folder that the members of an archive are written into, and nothing outside of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, evolve, field, frozen

from felloe.config import Limits
from felloe.errors import ArchiveError
from felloe.net.limits import Budget
from felloe.net.member import CHUNK, Member, is_absolute, safe_parts, shown

__all__ = ["Tree"]

# The times that a zip file can hold in every time zone: where a file's is older, no wheel can be made of it.
EARLIEST, LATEST = 315_619_200.0, 4_354_646_400.0  # 1980-01-02, 2107-12-30

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
# What an operating system says of a name that it cannot have, or has already under another spelling.
BAD_NAME = frozenset({errno.ENAMETOOLONG, errno.EEXIST, errno.EILSEQ, errno.EINVAL})

MAX_TARGET = 1024  # characters
MAX_LINKS = 40  # that a kernel follows on one path
STEPS_PER_ENTRY = 40


@frozen
class _File:
    executable: bool


@frozen
class _Link:
    target: str


@define
class _Directory:
    modified: float | None = None  # None where no member says
    children: dict[str, _File | _Link | _Directory] = field(factory=dict)


class Tree:
    """What was written below the folder `into`, which has to be empty: nothing is ever overwritten.

    Symlinks are made last, in `finish`: until then no path leads through one. A hard link becomes a copy, which is
    spent from `budget`.
    """

    def __init__(self, into: Path, limits: Limits, budget: Budget) -> None:
        self._into = into
        self._budget = budget
        self._max_entries = limits.max_archive_entries
        self._root = _Directory()
        self._directories = 0
        self._links: list[tuple[tuple[str, ...], str]] = []

    def add(self, member: Member) -> None:
        """Writes `member`; the same once more is fine. Raises ArchiveError; OSError where the disk does not take it."""
        if not member.parts and member.kind != "directory":
            raise ArchiveError(f"holds a member without a name: `{shown(member.name)}`")
        with _naming(member.name):
            match member.kind:
                case "file":
                    self._add_file(member)
                case "hardlink":
                    self._add_file(self._copy(member))
                case "symlink":
                    self._add_link(member)
                case "directory":
                    self._directory(member.parts).modified = member.modified

    def finish(self) -> Path:
        """Makes the symlinks. Gives the one directory that all else lies in; where there is no such, `into`.

        Raises ArchiveError where a link leaves that directory; OSError where the disk does not take it.
        """
        top = self._top()
        follower = _Follower(self._directory(top), STEPS_PER_ENTRY * self._max_entries)
        for parts, target in self._links:
            name = "/".join(parts)
            with _naming(name):
                follower.check(f"{shown(name)}` -> `{shown(target)}", parts[len(top) :], target)
                self._path(parts).symlink_to(target)
        self._set_directory_times()
        return self._path(top)

    def _add_file(self, member: Member) -> None:
        siblings, name = self._directory(member.parts[:-1]).children, member.parts[-1]
        path, file = self._path(member.parts), _File(member.executable)
        if name not in siblings:
            _write(path, member)
            siblings[name] = file
        elif siblings[name] != file or not _holds(path, member.blocks):
            raise _twice(member)

    def _add_link(self, member: Member) -> None:
        target = member.target
        if not target or "\0" in target or len(target) > MAX_TARGET:
            raise ArchiveError(f"holds a link without a good target: `{shown(member.name)}` -> `{shown(target)}`")
        if is_absolute(target):
            raise ArchiveError(f"holds a link to an absolute path: `{shown(member.name)}` -> `{shown(target)}`")
        siblings, name = self._directory(member.parts[:-1]).children, member.parts[-1]
        if name not in siblings:
            siblings[name] = _Link(target)
            self._links.append((member.parts, target))
        elif siblings[name] != _Link(target):
            raise _twice(member)

    def _copy(self, member: Member) -> Member:
        """The hard link `member` as a file of its own."""
        parts = safe_parts(member.target)
        original = self._find(parts)
        if not isinstance(original, _File):
            what = f"`{shown(member.name)}` -> `{shown(member.target)}`"
            raise ArchiveError(f"holds a hard link to what is no file before it: {what}")
        path = self._path(parts)
        self._budget.spend(path.stat().st_size)
        return evolve(member, kind="file", executable=original.executable, blocks=_blocks(path))

    def _directory(self, parts: tuple[str, ...]) -> _Directory:
        """The directory of this path, made where it is not there yet."""
        directory = self._root
        for depth, part in enumerate(parts, 1):
            child = directory.children.get(part)
            if child is None:
                child = directory.children[part] = self._new_directory(parts[:depth])
            if not isinstance(child, _Directory):
                raise ArchiveError(f"holds something below a file or link: `{shown('/'.join(parts[:depth]))}`")
            directory = child
        return directory

    def _new_directory(self, parts: tuple[str, ...]) -> _Directory:
        self._directories += 1
        if self._directories > self._max_entries:
            raise ArchiveError(f"holds more than {self._max_entries} directories", code="archive-too-large")
        self._path(parts).mkdir(mode=0o755)
        return _Directory()

    def _find(self, parts: tuple[str, ...]) -> _File | _Link | _Directory | None:
        node: _File | _Link | _Directory | None = self._root
        for part in parts:
            node = node.children.get(part) if isinstance(node, _Directory) else None
        return node

    def _path(self, parts: tuple[str, ...]) -> Path:
        return self._into.joinpath(*parts)

    def _top(self) -> tuple[str, ...]:
        names = list(self._root.children)
        return (names[0],) if len(names) == 1 and isinstance(self._root.children[names[0]], _Directory) else ()

    def _set_directory_times(self) -> None:
        pending = [(str(self._into), self._root)]
        while pending:
            path, directory = pending.pop()
            if directory.modified is not None:
                _set_time(path, directory.modified)
            children = directory.children.items()
            pending += [(f"{path}/{name}", child) for name, child in children if isinstance(child, _Directory)]


class _Follower:
    """Follows links through a tree in memory as a kernel would on disk, with at most `steps` steps for all of them."""

    def __init__(self, root: _Directory, steps: int) -> None:
        self._root = root
        self._steps = steps

    def check(self, what: str, parts: tuple[str, ...], target: str) -> None:
        """Raises ArchiveError where the link at `parts` leaves the root on its way, or never arrives.

        What is not in the tree may be the end of the way, but nothing may go up from there.
        """
        if _leaves(len(parts) - 1, target):
            raise ArchiveError(f"holds a link that leaves it: `{what}`")
        way = [self._root]
        pending = self._split("/".join((*parts[:-1], target)))
        links = 1
        while pending:
            part = pending.pop()
            if part == "..":
                way.pop()
            elif part not in {"", "."}:
                match way[-1].children.get(part):
                    case _Directory() as directory:
                        way.append(directory)
                    case _Link(target=following):
                        links += 1
                        pending += self._split(following)
                    case _ if ".." in pending:
                        raise ArchiveError(f"holds a link through what is not there: `{what}`")
                    case _:
                        return
            if not way or links > MAX_LINKS:
                raise ArchiveError(f"holds a link that {'leaves it' if not way else 'never arrives'}: `{what}`")

    def _split(self, target: str) -> list[str]:
        """The parts of `target`, last one first."""
        parts = target.split("/")[::-1]
        self._steps -= len(parts)
        if self._steps < 0:
            raise ArchiveError("holds links that take too long to follow", code="archive-too-large")
        return parts


def _leaves(depth: int, target: str) -> bool:
    """Whether `target` leads out of a folder `depth` levels up for those who do not look where links in it lead."""
    for part in target.split("/"):
        depth += -1 if part == ".." else part not in {"", "."}
        if depth < 0:
            return True
    return False


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """A name that the operating system cannot have is the archive's fault, a full disk is not."""
    try:
        yield
    except OSError as error:
        if error.errno not in BAD_NAME:
            raise
        raise ArchiveError(f"holds a name that cannot be used here: `{shown(name)}`: {error.strerror}") from error
    except UnicodeEncodeError as error:
        raise ArchiveError(f"holds a name that cannot be used here: `{shown(name)}`: {error.reason}") from error


def _twice(member: Member) -> ArchiveError:
    return ArchiveError(f"holds two members of one name that differ: `{shown(member.name)}`")


def _write(path: Path, member: Member) -> None:
    mode = 0o755 if member.executable else 0o644
    with os.fdopen(os.open(path, NEW_FILE, mode), "wb") as file:
        for block in member.blocks:
            file.write(block)
    _set_time(path, member.modified)


def _set_time(path: Path | str, modified: float) -> None:
    modified = min(max(modified, EARLIEST), LATEST)
    os.utime(path, (modified, modified))


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            yield block


def _holds(path: Path, blocks: Iterable[bytes]) -> bool:
    """Whether the file at `path` has just these contents."""
    with path.open("rb") as file:
        return all(file.read(len(block)) == block for block in blocks) and not file.read(1)
