"""Removing folders that anybody may have filled: of any depth, with any permissions; links are not followed."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["remove_tree"]

ALL_MINE = 0o700


def remove_tree(folder: Path) -> None:
    """Removes `folder` and all in it, as far as it goes; a link in its place is removed itself.

    Not by `shutil.rmtree`: that calls itself for each level before Python 3.13, and stops at a folder that its owner
    may not write to. Here each folder is moved up to the top before it is looked into, so that no path grows long.

    Raises OSError, the first, where something stays.
    """
    failed: list[OSError] = []
    top = str(folder)
    with _collecting(failed):
        if stat.S_ISDIR(os.lstat(top).st_mode):
            _remove_folders(top, failed)
        else:
            folder.unlink()
    if failed:
        raise failed[0]


def _remove_folders(top: str, failed: list[OSError]) -> None:
    waiting, emptied = [top], []
    while waiting:
        folder = waiting.pop()
        emptied.append(folder)
        with _collecting(failed):
            waiting += _emptied(folder, top, failed)
    for folder in reversed(emptied):
        with _collecting(failed):
            os.rmdir(folder)  # noqa: PTH106  # texts, as all paths here: there may be very many


def _emptied(folder: str, top: str, failed: list[OSError]) -> list[str]:
    """Unlinks the files in `folder`; gives its folders, which lie in `top` from now on."""
    _make_mine(folder)
    with os.scandir(folder) as entries:
        found = list(entries)
    folders = []
    for entry in found:
        with _collecting(failed):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)  # noqa: PTH108
            else:
                folders.append(entry.path if folder == top else _moved(entry.path, top))
    return folders


def _moved(folder: str, top: str) -> str:
    new = f"{top}{os.sep}{uuid.uuid4().hex}"
    _make_mine(folder)  # what is moved has to be writable itself
    os.rename(folder, new)  # noqa: PTH104
    return new


def _make_mine(folder: str) -> None:
    """As far as we may: what counts is whether it can be emptied then."""
    with suppress(OSError):
        os.chmod(folder, ALL_MINE)  # noqa: PTH101


@contextmanager
def _collecting(failed: list[OSError]) -> Iterator[None]:
    """One that cannot be removed does not keep the others."""
    try:
        yield
    except FileNotFoundError:
        pass  # somebody else removed it
    except OSError as error:
        failed.append(error)
