"""The cache folder itself: made, marked, written in, and never left through a link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from felloe.cache.removal import remove_tree
from felloe.errors import CacheError

__all__ = ["TAG_FILE", "leads_outside", "make_root", "make_way", "writing"]

TAG_FILE = "CACHEDIR.TAG"
TAG = """Signature: 8a477f597d28d172789f06886806bc55
# This file marks a cache folder of felloe. See https://bford.info/cachedir/
"""


def make_root(root: Path) -> None:
    """The cache folder, readable by its owner only, marked for backup programs and git. Raises OSError."""
    if not root.is_dir():
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in ((TAG_FILE, TAG), (".gitignore", "*\n")):
        if not os.path.lexists(root / name):
            _write_new(root / name, text)


def make_way(root: Path, path: Path) -> None:
    """Real folders from `root` down to `path`, and nothing at `path` but a regular file, if it is there.

    What else is in the way is removed; of a link, the link. Raises OSError.
    """
    for folder in map(Path, _folders(root, path)):
        mode = _mode(folder)
        if stat.S_ISDIR(mode):
            continue
        if mode:
            with suppress(IsADirectoryError):  # somebody else was faster
                folder.unlink(missing_ok=True)
        folder.mkdir(exist_ok=True)
    mode = _mode(path)
    if stat.S_ISDIR(mode):
        with suppress(OSError):
            remove_tree(path)
    elif mode and not stat.S_ISREG(mode):
        path.unlink(missing_ok=True)


def leads_outside(root: Path, path: Path) -> bool:
    """Whether a folder on the way from `root` to `path` is a link, so that `path` may be anywhere."""
    return any(os.path.islink(folder) for folder in _folders(root, path))  # noqa: PTH114  # on the warm path


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """An OSError while writing below `root` becomes a CacheError that says what to do."""
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"cannot write to the cache `{root}`: {error.strerror or error}",
            hint="free some space, mend its permissions, or name another folder with --cache-dir",
            reason=error.errno,
        ) from error


def _write_new(path: Path, text: str) -> None:
    """Not through a link, and not where somebody was faster. Leaves nothing half-written. Raises OSError."""
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError:
        return
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _folders(root: Path, path: Path) -> Iterator[str]:
    """From the folder below `root` to the one that `path` is in."""
    folder = str(root)
    for part in path.relative_to(root).parts[:-1]:
        folder = f"{folder}{os.sep}{part}"
        yield folder


def _mode(path: Path) -> int:
    """The mode of what is at `path`, links not followed; 0 where nothing is."""
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return 0
