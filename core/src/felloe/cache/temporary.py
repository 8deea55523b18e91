"""Temporary folders, of runs that have no cache or leave it alone.

Each holds a lock while it is in use. A run that is killed cannot remove its own; the next one does.
"""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from felloe.cache.removal import remove_tree

__all__ = ["TemporaryFolder", "remove_dead_folders"]

PREFIX = "felloe-run-"
LOCK = ".felloe-lock"
NEW_SECONDS = 3600.0  # in which an empty folder may be one that is just made


class TemporaryFolder:
    """A new folder, at `path`, which nobody else may look into. Raises OSError."""

    def __init__(self) -> None:
        from filelock import FileLock

        remove_dead_folders()
        self._top = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = FileLock(self._top / LOCK, thread_local=False)
        self._lock.acquire(blocking=False)
        self.path = self._top / "run"
        self.path.mkdir()

    def remove(self) -> None:
        """With all that is in it. What cannot be removed now may be by the next run."""
        with suppress(OSError):
            remove_tree(self._top)
        self._lock.release()


def remove_dead_folders() -> None:
    """Removes the folders of runs that were killed."""
    from filelock import FileLock, Timeout

    for folder in _own_folders():
        lock = FileLock(folder / LOCK, thread_local=False)
        with suppress(OSError, Timeout):
            if not stat.S_ISREG(_mode(folder / LOCK)):
                if time.time() - folder.stat().st_mtime > NEW_SECONDS:
                    folder.rmdir()  # only an empty one: what is in another is not ours
                continue
            lock.acquire(blocking=False)
            try:
                remove_tree(folder)
            finally:
                lock.release()


def _own_folders() -> Iterator[Path]:
    """Those of this user: in a folder that all may write to, others may have such a name."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                uid = getattr(os, "getuid", lambda: 0)()
                if entry.stat(follow_symlinks=False).st_uid == uid:
                    yield Path(entry.path)


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return 0
