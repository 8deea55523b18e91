"""Environments to build in: each a copy, for one build, of one that is kept for all who need the same wheels."""

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

__all__ = ["Environments"]


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

    async def make(self, interpreter: Interpreter, wheels: Sequence[Wheel], into: Path) -> Environment:
        """An environment of `interpreter` with just these `wheels`, in the empty scratch folder `into`.

        It may be written in: no file of it is shared with anybody. Of the site-packages of `interpreter` and of the
        user it knows nothing. Of two wheels that bring the same file, that of the later name counts.

        Raises ArchiveError where a wheel is none, BuildError where two cannot be installed together,
        InterpreterError where no environment can be made of the interpreter, CacheError.
        """
        await work()
        from anyio.to_thread import run_sync

        base = base_of(interpreter)
        self._run.begin()
        with writing(self._layout.root):
            kept = await self._kept(interpreter, base, _in_order(wheels), into)
            await run_sync(copy_tree, kept, into)
        return Environment(path=into, python=into / SCRIPTS / "python", wheels=tuple(wheels))

    async def _kept(self, interpreter: Interpreter, base: Path, wheels: Sequence[Wheel], cwd: Path) -> Path:
        """The one that is copied and never run in. Locks are held one at a time."""
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
