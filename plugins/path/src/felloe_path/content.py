"""The content id of a project's folder, and the memory of what files held when they were last looked at."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from hashlib import sha256

from felloe.plugin import Json, must_not_step
from felloe_path.reading import GONE, Check, opened, sha256_of
from felloe_path.tree import Item, listing_of, stamp_of

__all__ = ["Content", "Remembered", "content_of"]

RACY = 2 * 10**9  # nanoseconds: no file system that is in use has coarser times
MOST_REMEMBERED = 100_000  # files of one folder, each with some hundred bytes


class Content:
    """A digest over the items of a tree: where they are, what they are, what they hold. Times do not count."""

    def __init__(self) -> None:
        self._hasher = sha256()

    def add(self, item: Item, held: str, *, executable: bool) -> None:
        """In the order of their paths. `held` is the sha256 of a file, where a link leads, "" for a folder."""
        fields = (item.path, item.kind, "x" if executable else "", held)
        self._hasher.update(b"".join(os.fsencode(field) + b"\0" for field in fields))

    def hexdigest(self) -> str:
        return self._hasher.hexdigest()


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
            began = time.time_ns()
            with opened(item.source) as (descriptor, status):
                digest = sha256_of(descriptor, check)
            if not _is_settled(status, began):
                return digest
            stamp = stamp_of(status)
        if len(self._now) < MOST_REMEMBERED:
            self._now[item.path] = f"{stamp} {digest}"
        return digest

    def news(self) -> Json:
        """The document to be remembered, None where it is what it was."""
        return None if self._now == self._before else self._now


def content_of(root: str, remembered: Remembered, check: Check, *, editable: bool = False) -> str:
    """64 hex digits over the tree below the real folder `root`, as `listing_of` gives it. Raises SourceError."""
    content = Content()
    for item in listing_of(root, check, editable=editable).items:
        check()
        try:
            held = remembered.sha256(item, check) if item.kind == "file" else item.text
        except GONE:
            continue
        content.add(item, held, executable=item.executable)
    return content.hexdigest()


def _is_settled(status: os.stat_result, began: int) -> bool:
    return status.st_ctime_ns < began - RACY and abs(status.st_mtime_ns - began) > RACY
