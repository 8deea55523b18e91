"""Environments to build in: kept for all who need the same wheels, and made anew where a build wrote in one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from felloe.cache.folders import Folders
from felloe.cache.layout import Layout
from felloe.cache.root import writing
from felloe.cache.run import Run
from felloe.cache.store import Store
from felloe.config import Limits
from felloe.errors import InterpreterError
from felloe.flights import Memory
from felloe.installation.contents import SCRIPTS, Item, environment_contents
from felloe.installation.files import copy_tree, write_items
from felloe.installation.python import HINT, Python, ask, base_of
from felloe.installation.unpacked import unpack_wheel
from felloe.installation.wheel import DEFAULT_LIMITS
from felloe.interpreter import key_of
from felloe.progress import Event
from felloe.stepping import work
from felloe.values import Environment, Interpreter, Wheel

__all__ = ["Environments", "Stamp"]

Stamp = tuple[int, int, int]


class Environments:
    """Environments of the cache: every wheel is unpacked once, every set of wheels is installed once."""

    def __init__(
        self,
        *,
        layout: Layout,
        run: Run,
        store: Store,
        report: Callable[[Event], None],
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._layout = layout
        self._run = run
        self._limits = limits
        self._folders = Folders(layout, store, report)
        self._pythons = Memory()

    async def get(self, interpreter: Interpreter, wheels: Sequence[Wheel]) -> Environment:
        """The environment of `interpreter` with just these `wheels`, which all share who ask for it.

        It is not to be written in: who runs something there asks `stamp` before and `is_as_made` behind it, and does
        without what came of it where that is false. Of the site-packages of `interpreter` and of the user it knows
        nothing. Of two wheels that bring the same file, that of the later name counts.

        Raises ArchiveError where a wheel is none, BuildError where two cannot be installed together,
        InterpreterError where no environment can be made of the interpreter, CacheError.
        """
        await work()
        base = base_of(interpreter)
        self._run.begin()
        cwd = self._run.folder()
        try:
            with writing(self._layout.root):
                return _environment(await self._kept(interpreter, base, _in_order(wheels), cwd), wheels)
        finally:
            self._run.remove(cwd)

    async def make(self, interpreter: Interpreter, wheels: Sequence[Wheel], into: Path) -> Environment:
        """The same in the empty scratch folder `into`: it may be written in, no file of it is shared with anybody."""
        from anyio.to_thread import run_sync

        kept = await self.get(interpreter, wheels)
        with writing(self._layout.root):
            await run_sync(copy_tree, kept.path, into)
        return _environment(into, wheels)

    def stamp(self, environment: Environment) -> Stamp | None:
        """Which one of those it is that were made in this place, one after the other; None where there is none now."""
        try:
            status = environment.path.lstat()
        except OSError:
            return None
        return (status.st_dev, status.st_ino, status.st_ctime_ns)

    def is_as_made(self, environment: Environment, stamp: Stamp | None) -> bool:
        """Whether nobody wrote in one that `get` gave, nor put another in its place since it had this stamp.

        Paths, sizes and times of all its files are as they were.
        """
        is_whole = self._folders.find(environment.path) is not None
        return is_whole and stamp is not None and stamp == self.stamp(environment)

    async def _kept(self, interpreter: Interpreter, base: Path, wheels: Sequence[Wheel], cwd: Path) -> Path:
        """Its folder. Locks are held one at a time."""
        from anyio.to_thread import run_sync

        path = self._layout.environment(_key(base, wheels))
        found = self._folders.find(path)
        if found is not None:
            return found
        python = await self._pythons.once(base, lambda: ask(base, cwd))
        _check_version(python, interpreter)
        unpacked = [await unpack_wheel(wheel, python, self._layout, self._folders, self._limits) for wheel in wheels]
        items = await run_sync(environment_contents, python, unpacked)
        return await self._folders.made(path, partial(_install, items, python))


def _environment(path: Path, wheels: Sequence[Wheel]) -> Environment:
    return Environment(path=path, python=path / SCRIPTS / "python", wheels=tuple(wheels))


async def _install(items: Mapping[str, Item], python: Python, into: Path) -> Path:
    from anyio.to_thread import run_sync

    await run_sync(write_items, items, (python.purelib, python.platlib), into)
    return into


def _in_order(wheels: Sequence[Wheel]) -> list[Wheel]:
    """By name, each once."""
    by_content = {wheel.sha256: wheel for wheel in wheels}
    return sorted(by_content.values(), key=lambda wheel: (wheel.filename, wheel.sha256))


def _key(base: Path, wheels: Sequence[Wheel]) -> str:
    """Hex; another one for another Python at this path, and for other wheels."""
    canonical = json.dumps([key_of(base), [wheel.sha256 for wheel in wheels]])
    return hashlib.sha256(canonical.encode()).hexdigest()


def _check_version(python: Python, interpreter: Interpreter) -> None:
    if python.version != interpreter.version:
        what = f"`{interpreter.path}` is Python {interpreter.version}"
        raise InterpreterError(f"{what}, and its base `{python.path}` is {python.version}", hint=HINT)
