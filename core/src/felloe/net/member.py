"""One member of an archive, as the readers of tar and zip hand it over: its name is checked, nothing is written yet."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from attrs import frozen

from felloe.errors import ArchiveError

__all__ = ["CHUNK", "MAX_NAME", "Kind", "Member", "is_absolute", "naming", "safe_parts", "shown"]

Kind = Literal["file", "directory", "symlink", "hardlink"]

CHUNK = 256 * 1024
MAX_NAME = 4096  # characters: what Linux opens at most
MAX_DEPTH = 200  # folders in one another: shutil.rmtree calls itself for each before Python 3.13
MAX_SHOWN = 200
HINT = "the archive is damaged or was made to do harm: do not use it, and tell whoever publishes it"
DRIVE = re.compile("[A-Za-z]:")


@frozen(kw_only=True)
class Member:
    """`parts` are the names of the folders it lies in and its own, none of which leads elsewhere; () is the root.

    `modified` is in seconds since the epoch, as the archive has it. `target` is that of a link, as written. `blocks`
    are the contents of a file: to be read once, before the next member is asked for. Reading them raises ArchiveError
    where they are not what the archive promised.
    """

    name: str
    parts: tuple[str, ...]
    kind: Kind
    executable: bool = False
    modified: float = 0.0
    target: str = ""
    blocks: Iterable[bytes] = ()


def safe_parts(name: str) -> tuple[str, ...]:
    """The parts of a member's name, but for empty ones and `.`. Raises ArchiveError where it could lead elsewhere."""
    if not name:
        raise ArchiveError("holds a member without a name")
    if "\0" in name:
        raise ArchiveError(f"holds a name with a NUL: `{shown(name)}`")
    if len(name) > MAX_NAME:
        raise ArchiveError(f"holds a name of {len(name)} characters: `{shown(name)}`")
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if is_absolute(name) or (parts and is_absolute(parts[0])):
        raise ArchiveError(f"holds an absolute path: `{shown(name)}`")
    if ".." in parts or os.sep in "".join(parts):
        raise ArchiveError(f"holds a path that leads out of its folder: `{shown(name)}`")
    if len(parts) > MAX_DEPTH:
        raise ArchiveError(f"holds a path of {len(parts)} names: `{shown(name)}`")
    return parts


def is_absolute(path: str) -> bool:
    """Whether `path` is absolute anywhere: it begins with a slash or a drive letter."""
    return path.startswith("/") or DRIVE.match(path) is not None


def shown(name: str) -> str:
    """`name` for a message: nothing that a terminal would obey, and not endless."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name[:MAX_SHOWN])
    return text if len(name) <= MAX_SHOWN else text + "..."


@contextmanager
def naming(filename: str) -> Iterator[None]:
    """Makes a sentence of an ArchiveError that says only what is wrong: the name of the archive comes first."""
    try:
        yield
    except ArchiveError as error:
        message = f"`{shown(filename)}` {error.message}"
        raise ArchiveError(message, hint=error.hint or HINT, code=error.code, file=filename) from error
