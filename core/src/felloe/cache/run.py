"""One run of felloe on a cache: that it is in use, and its scratch folder.

A run holds a lock file of its own below `locks/users`. Whose lock is free is dead: its scratch is removed by the next
run. Cleaning the cache holds the door (`locks/users.lock`) and asks every lock of a run.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Lock

from felloe.cache.layout import Layout
from felloe.cache.locks import holder, try_lock
from felloe.cache.removal import remove_tree
from felloe.cache.root import make_way, writing
from felloe.cache.temporary import remove_dead_folders
from felloe.errors import CacheError
from felloe.stepping import must_not_step

__all__ = ["Run", "is_ours"]

DOOR = "users"
DOOR_TRIES, DOOR_DELAY = 200, 0.05
is_name = re.compile(r"[0-9a-f]{12}").fullmatch  # of a run
is_workplace = re.compile(r"[0-9a-f]{32}-[0-9a-f]{16}").fullmatch  # of a build: its id and the key of its fingerprint


class Run:
    """Begun at the first write or the first path handed out; a run that only reads leaves no trace."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._name = uuid.uuid4().hex[:12]
        self._release: Callable[[], None] | None = None
        self._has_begun = False
        self._beginning = Lock()
        self._numbers = count(1)

    def begin(self) -> None:
        """Makes the cache folder, says that it is in use, removes what dead runs left. Raises CacheError."""
        if self._has_begun:
            return
        must_not_step()
        with self._beginning:  # several threads may want to write first
            if self._has_begun:
                return
            if self._release is None:  # as it was taken by an attempt that failed later
                with _door(self._layout):
                    self._release = try_lock(self._layout.root, self._lock_of(self._name))
            with writing(self._layout.root):
                make_way(self._layout.root, self._scratch / "1")
                self._remove_dead()
            remove_dead_folders()
            self._has_begun = True

    def hand_out(self) -> None:
        """Begins before a path of the cache is given out. What cannot be written to is not cleaned by others either.

        Raises CacheError where the cache is being cleaned.
        """
        try:
            self.begin()
        except CacheError as error:
            if "reason" not in error.payload:
                raise

    def folder(self) -> Path:
        """A new empty folder in scratch. Raises CacheError."""
        must_not_step()
        self.begin()
        folder = self._scratch / str(next(self._numbers))
        with writing(self._layout.root):
            folder.mkdir()
        return folder

    def remove(self, folder: Path) -> None:
        """Removes a folder that `folder` gave, with what is in it."""
        _remove(folder)

    def end(self) -> None:
        """Removes the scratch folder and says that the cache is no longer in use."""
        if self._release is None:
            return
        _remove(self._scratch)
        with suppress(OSError):
            self._lock_of(self._name).unlink()
        self._release()
        self._release = None
        self._has_begun = False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While no run uses the cache, this one neither. Raises CacheError naming who does."""
        with writing(self._layout.root), _door(self._layout):
            for lock in sorted(self._layout.users.glob("*.lock")):
                release = try_lock(self._layout.root, lock)
                if release is None:
                    raise CacheError(
                        f"the cache is in use by {holder(lock)}", hint="try again when it is done", code="cache-in-use"
                    )
                lock.unlink(missing_ok=True)
                release()
            yield

    @property
    def _scratch(self) -> Path:
        return self._layout.scratch / self._name

    def _lock_of(self, name: str) -> Path:
        return self._layout.users / f"{name}.lock"

    def _remove_dead(self) -> None:
        for folder in filter(is_ours, self._layout.scratch.iterdir()):
            lock = self._lock_of(folder.name) if is_name(folder.name) else self._layout.lock(f"build-{folder.name}")
            if folder != self._scratch and (release := try_lock(self._layout.root, lock)):
                _remove(folder)
                lock.unlink(missing_ok=True)
                release()


def is_ours(path: Path) -> bool:
    """Whether it is a folder of a run, or the workplace of a build. What else lies in scratch is not ours to remove."""
    is_known = is_name(path.name) or is_workplace(path.name)
    return is_known is not None and path.is_dir() and not path.is_symlink()


def _remove(folder: Path) -> None:
    """What cannot be removed now may be by the next run: no answer depends on it."""
    with suppress(OSError):
        remove_tree(folder)


@contextmanager
def _door(layout: Layout) -> Iterator[None]:
    """Held for a moment by a run that begins, and by a cleaning for as long as it lasts."""
    lock = layout.lock(DOOR)
    for _ in range(DOOR_TRIES):
        if release := try_lock(layout.root, lock):
            break
        time.sleep(DOOR_DELAY)
    else:
        raise CacheError(f"the cache is being cleaned by {holder(lock)}", hint="try again when it is done")
    try:
        yield
    finally:
        release()
