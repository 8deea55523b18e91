"""What belongs to a project's folder, and where links in it lead."""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterator, Sequence
from typing import Literal

from attrs import frozen

from felloe.plugin import SourceError
from felloe_path.exclusion import NOTHING, Exclusion
from felloe_path.reading import GONE, Check, is_program, opened, shown, special, telling, vanished

__all__ = ["Item", "Listing", "listing_of", "stamp_of"]

VIRTUAL_ENVIRONMENT = "pyvenv.cfg"
CACHE_TAG = "CACHEDIR.TAG"  # https://bford.info/cachedir/
CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
SOURCE, BYTECODE = ".py", ".pyc"

MOST_ITEMS = 1_000_000
MOST_LINKS = 40  # that a kernel follows on one path


@frozen
class Item:
    """A folder, file or link of the tree. `path` is relative to it, with `/`; of a file, `source` is where it lies.

    `text` is where a link leads. `stamp` changes whenever a file's content does.
    """

    path: str
    kind: Literal["folder", "file", "link"]
    source: str
    executable: bool = False
    stamp: str = ""
    text: str = ""


@frozen
class Listing:
    """All that belongs to a tree, a folder before what is in it.

    `left_out` are the paths of what lies there and does not belong to it; `replaced` those of links that lead out, in
    whose place is what they lead to.
    """

    items: Sequence[Item]
    left_out: frozenset[str]
    replaced: frozenset[str]


@frozen
class _Folder:
    """`path` in the tree, and the real path `source`. Links may not leave the real folder `top`.

    `via` are the real folders in which the links lie that led here.
    """

    path: str
    source: str
    top: str
    via: tuple[str, ...] = ()


def listing_of(root: str, check: Check, exclusion: Exclusion = NOTHING) -> Listing:
    """The tree below the real folder `root`, without what `exclusion` covers. Opens nothing but tags of caches.

    Raises SourceError where there is a FIFO, a socket or a device, where links lead in a circle, or where a folder
    cannot be read. What vanishes meanwhile is not there.
    """
    walk = _Walk(exclusion)
    pending = [_Folder("", root, root)]
    while pending:
        check()
        pending += walk.enter(pending.pop())
        if len(walk.items) > MOST_ITEMS:
            raise SourceError(
                f"`{shown(root)}` holds more than {MOST_ITEMS} files", hint="give another path", code="too-large"
            )
    items = sorted(walk.items, key=lambda item: os.fsencode(item.path))
    return Listing(items, frozenset(walk.left_out), frozenset(walk.replaced))


def stamp_of(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino} {status.st_dev}"


class _Walk:
    """Goes through folders one by one, without recursion: a path may be thousands of folders deep."""

    def __init__(self, exclusion: Exclusion) -> None:
        self._exclusion = exclusion
        self.items: list[Item] = []
        self.left_out: list[str] = []
        self.replaced: list[str] = []

    def enter(self, folder: _Folder) -> Iterator[_Folder]:
        """Takes what is in `folder`, and gives the folders that are to be entered next."""
        try:
            entries = _entries(folder.source)
        except GONE as error:
            if not folder.path:
                raise vanished(folder.source) from error
            return
        if folder.path:
            if _is_left_out(entries):
                self.left_out.append(folder.path)
                return
            self.items.append(Item(folder.path, "folder", folder.source))
        names = {entry.name for entry in entries}
        for entry in entries:
            path = f"{folder.path}/{entry.name}" if folder.path else entry.name
            if self._exclusion.covers(path, entry.name) or _is_bytecode(entry.name, names):
                self.left_out.append(path)
            elif (next_folder := self._take(folder, path, entry)) is not None:
                yield next_folder

    def _take(self, folder: _Folder, path: str, entry: os.DirEntry[str]) -> _Folder | None:
        try:
            with telling(entry.path):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    return self._take_link(folder, path, entry.path)
        except GONE:
            return None
        if stat.S_ISDIR(status.st_mode):
            return _Folder(path, entry.path, folder.top, folder.via)
        self._take_file(path, entry.path, status, entry.path)
        return None

    def _take_file(self, path: str, source: str, status: os.stat_result, named: str) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise special(named, status.st_mode)
        self.items.append(Item(path, "file", source, is_program(status), stamp_of(status)))

    def _take_link(self, folder: _Folder, path: str, source: str) -> _Folder | None:
        """A link that stays in the tree, or leads nowhere, is a link there as well; else it is what it leads to."""
        text = os.readlink(source)  # noqa: PTH115  # thousands of them
        try:
            status = os.stat(source)  # noqa: PTH116  # thousands of them
        except GONE:
            status = None
        if status is None or _stays_inside(folder, text):
            self.items.append(Item(path, "link", source, text=text))
            return None
        self.replaced.append(path)
        target = os.path.realpath(source, strict=True)
        if not stat.S_ISDIR(status.st_mode):
            self._take_file(path, target, status, source)
            return None
        via = (*folder.via, folder.source)
        if any(_is_inside(each, target) for each in via):
            raise SourceError(
                f"the link `{shown(source)}` leads to `{shown(target)}`, which it lies in itself",
                hint="remove the link, or give another path",
                code="link-loop",
            )
        return _Folder(path, target, target, via)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with telling(folder), os.scandir(folder) as entries:
        return list(entries)


def _is_left_out(entries: Sequence[os.DirEntry[str]]) -> bool:
    by_name = {entry.name: entry for entry in entries}
    if VIRTUAL_ENVIRONMENT in by_name:
        return True
    tag = by_name.get(CACHE_TAG)
    return tag is not None and tag.is_file(follow_symlinks=False) and _is_signed(tag.path)


def _is_bytecode(name: str, names: Container[str]) -> bool:
    """Of a source beside it: where there is none, it is the module itself."""
    return name.endswith(BYTECODE) and name.removesuffix(BYTECODE) + SOURCE in names


def _is_signed(tag: str) -> bool:
    try:
        with opened(tag) as (descriptor, _):
            return os.read(descriptor, len(CACHE_SIGNATURE)) == CACHE_SIGNATURE
    except GONE:
        return False


def _stays_inside(folder: _Folder, text: str) -> bool:
    """Whether the link `text` in `folder` leads on in its tree alone, step by step, and so will in a copy of it."""
    position = _parts(folder.source.removeprefix(folder.top))
    pending = _parts(text)[::-1]
    texts = [text]
    while pending:
        part = pending.pop()
        if part == ".." and not position:
            return False
        if part == "..":
            position.pop()
        elif (further := _link_text("/".join([folder.top, *position, part]))) is None:
            position.append(part)
        else:
            texts.append(further)
            pending += _parts(further)[::-1]
        if len(texts) > MOST_LINKS:
            return False
    return not any(map(os.path.isabs, texts))


def _parts(path: str) -> list[str]:
    return [part for part in path.replace(os.sep, "/").split("/") if part not in {"", "."}]


def _link_text(path: str) -> str | None:
    """None for what is no link, or not there."""
    try:
        return os.readlink(path)  # noqa: PTH115  # thousands of them
    except OSError:
        return None


def _is_inside(path: str, folder: str) -> bool:
    return f"{path}{os.sep}".startswith(folder if folder.endswith(os.sep) else f"{folder}{os.sep}")
