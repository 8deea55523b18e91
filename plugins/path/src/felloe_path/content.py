"""The content id of a project's folder, and the memory of what files held when they were last looked at."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from felloe.plugin import Context, Json, must_not_step
from felloe_path.reading import GONE, Check, aside, opened, sha256_of, shown
from felloe_path.tree import Item, Listing, stamp_of

__all__ = ["Content", "Remembered", "Seen", "changed_files", "content_of", "is_settled", "now", "remembering"]

T = TypeVar("T")

RACY = 2 * 10**9  # nanoseconds: no file system that is in use has coarser times
MOST_NAMED = 1000  # files of a tree that an entry remembers one by one
MOST_SHOWN = 5  # files that changed
MOST_REMEMBERED = 100_000  # files of one folder, each with some hundred bytes


class Content:
    """A digest over the items of a tree: where they are, what they are, what they hold. Times do not count.

    `files` has 12 digits of each file and link of a small tree, to tell which one has changed.
    """

    def __init__(self) -> None:
        self._hasher = sha256()
        self._files: dict[str, str] = {}

    def add(self, item: Item, held: str, *, executable: bool) -> None:
        """In the order of their paths. `held` is the sha256 of a file, where a link leads, "" for a folder."""
        fields = (item.path, item.kind, "x" if executable else "", held)
        encoded = b"".join(os.fsencode(field) + b"\0" for field in fields)
        self._hasher.update(encoded)
        if item.kind != "folder" and len(self._files) <= MOST_NAMED:
            self._files[shown(item.path)] = sha256(encoded).hexdigest()[:12]

    @property
    def files(self) -> Mapping[str, str]:
        return self._files if len(self._files) <= MOST_NAMED else {}

    def hexdigest(self) -> str:
        return self._hasher.hexdigest()


@frozen
class Seen:
    """What a tree holds, or a copy of it, and what there was to look at."""

    content: Content
    listing: Listing


class Remembered:
    """The sha256 of files by what `stat` says of them: a file is read again where any of that differs.

    A file that changed less than two seconds before it was read is not remembered: it could change once more without
    its times telling (git calls such a file racily clean). A change of content that leaves the size, or sets the time
    of modification back, is seen by the time of the last change of the inode, which nobody can set.
    """

    def __init__(self, document: Json) -> None:
        self._before: Mapping[str, Json] = document if isinstance(document, dict) else {}
        self._now: dict[str, Json] = {}

    def sha256(self, item: Item, check: Check) -> str:
        """Hex over the file `item`. Raises SourceError, and FileNotFoundError where it has gone."""
        known = self._before.get(item.path)
        stamp, _, digest = known.rpartition(" ") if isinstance(known, str) else ("", "", "")
        if stamp != item.stamp:
            must_not_step()
            began = now()
            with opened(item.source) as (descriptor, status):
                digest = sha256_of(descriptor, check)
            if not is_settled(status, began):
                return digest
            stamp = stamp_of(status)
        if len(self._now) < MOST_REMEMBERED:
            self._now[item.path] = f"{stamp} {digest}"
        return digest

    def news(self) -> Json:
        """The document to be remembered, None where it is what it was."""
        return None if self._now == self._before else self._now


async def remembering(path: Path, ctx: Context, look: Callable[[Remembered, Check], T]) -> T:
    """What `look` gives off the event loop, with the memory of what was read at or below `path` before."""
    memo = ctx.memo(sha256(os.fsencode(path)).hexdigest()[:16])
    remembered = Remembered(memo.get())
    found = await aside(lambda check: look(remembered, check))
    if (news := remembered.news()) is not None:
        memo.set(news)
    return found


def changed_files(old: Mapping[str, Json], new: Mapping[str, str]) -> tuple[list[str], list[str]] | None:
    """What two trees have of the files that are not the same, as `path=digest`; None where they cannot be compared."""
    if not old or not new:
        return None
    names = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    shown_names = names[:MOST_SHOWN]
    more = [f"and {len(names) - MOST_SHOWN} more"] if len(names) > MOST_SHOWN else []
    before = [f"{name}={old[name]}" for name in shown_names if name in old]
    after = [f"{name}={new[name]}" for name in shown_names if name in new]
    return [*before, *more], [*after, *more]


def content_of(listing: Listing, remembered: Remembered, check: Check) -> Content:
    """Of a tree as `listing_of` gave it. Raises SourceError."""
    content = Content()
    for item in listing.items:
        check()
        try:
            held = remembered.sha256(item, check) if item.kind == "file" else item.text
        except GONE:
            continue
        content.add(item, held, executable=item.executable)
    return content


def now() -> int:
    """In nanoseconds, as the times of files are."""
    return time.time_ns()


def is_settled(status: os.stat_result, began: int) -> bool:
    """Whether the times of a file that was looked at from `began` on will tell when it changes."""
    return status.st_ctime_ns < began - RACY and abs(status.st_mtime_ns - began) > RACY
