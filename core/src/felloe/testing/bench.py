"""What `SourceContract` works with: caches, and runs of one source on them, each with a new instance of it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from types import coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import field, frozen

from felloe import dispatch
from felloe.assembly import Database
from felloe.config import Config, Limits
from felloe.context import ItemContext, Owner
from felloe.hookspecs import GROUP, SourceSpec
from felloe.registry import load_registry
from felloe.testing.watch import watching, writes

if TYPE_CHECKING:
    from anyio import CancelScope

    from felloe.progress import Event
    from felloe.registry import Instance
    from felloe.values import Dist

__all__ = ["Bench", "Interruption", "Run", "misfitting_parameters"]

T = TypeVar("T")

HOOKS = [name for name in vars(SourceSpec) if not name.startswith("_")]


@frozen
class Run:
    """One run of felloe with the source and no other. `calls` are the names of the hooks that were called."""

    database: Database
    instance: Instance
    calls: list[str]
    events: list[Event]

    @contextmanager
    def context(self) -> Iterator[ItemContext]:
        """A `ctx` as the source gets it, whose scratch folder is gone afterwards."""
        owner = Owner(self.instance.name, self.instance.kind.name, dispatch.address(self.instance))
        with ItemContext(self.database.services, owner, None) as ctx:
            yield ctx

    def leftovers(self) -> list[Path]:
        """Files in the scratch folder."""
        return [path for path in self.database.cache.scratch.rglob("*") if path.is_symlink() or path.is_file()]

    @contextmanager
    def elsewhere(self, scratch: Path | None) -> Iterator[list[Path]]:
        """At the end of `with`: what was left outside of the cache, and in its scratch folder outside of `scratch`.

        The current folder and that of temporary files are others meanwhile, so that child processes are seen as well.
        """
        left: list[Path] = []
        root = self.database.cache.root
        with tempfile.TemporaryDirectory() as folder, _standing_in(Path(folder)):
            with watching(writes) as written:
                yield left
            left += Path(folder).iterdir()
        left += [path for path in map(Path, written) if not path.is_relative_to(root) and os.path.lexists(path)]
        left += [path for path in self.leftovers() if scratch is None or not path.is_relative_to(scratch)]

    def key(self, dist: Dist) -> tuple[str, ...]:
        return dispatch.cache_key(self.instance, dist).parts


@frozen
class Bench:
    """Where a source is tried: `make` gives an instance of it, `name` is what it is called, `folder` is for caches."""

    make: Callable[[], object]
    name: Callable[[object], str]
    folder: Path

    def instance(self, source: object | None = None) -> Instance:
        """The source as felloe has it. Raises PluginError where its hooks are not what felloe can call."""
        config = Config(cache_dir=self.folder, strict=True)
        return load_registry(config, [self._installed(self.make() if source is None else source)]).instances[0]

    @asynccontextmanager
    async def run(self, cache: str = "cache", *, later: float = 0.0, **options: Any) -> AsyncIterator[Run]:
        """A run on the cache of that name, `later` by so many seconds, with these settings (`felloe.Config`)."""
        calls: list[str] = []
        heard = _Events()
        config = Config(cache_dir=self.folder / cache, strict=True, limits=Limits(max_retry_seconds=0), **options)
        source = self.make()
        installed = self._installed(_Watched(source, calls), self.name(source))
        clock = lambda: time.time() + later  # noqa: E731
        async with Database(config, reporter=heard, sources=[installed], clock=clock) as database:
            yield Run(database, database.registry.instances[0], calls, heard.events)

    def _installed(self, source: object, name: str = "") -> EntryPoint:
        return _Installed(name or self.name(source), source)


def misfitting_parameters(source: object) -> Iterator[tuple[str, str]]:
    """Hooks with parameters that felloe does not have for them, and these."""
    for name in HOOKS:
        known = inspect.signature(getattr(SourceSpec, name)).parameters
        if hook := getattr(source, name, None):
            unknown = [each for each in inspect.signature(hook).parameters if each not in known]
            if unknown:
                yield name, ", ".join(f"`{each}`" for each in unknown)


class _Installed(EntryPoint):
    """The entry point of a source that need not be installed, and is made already."""

    def __init__(self, name: str, source: object) -> None:
        super().__init__(name, "contract:source", GROUP)
        vars(self).update(factory=_Factory(source))

    def load(self) -> Any:
        return vars(self)["factory"]


class _Factory:
    default = True

    def __init__(self, source: object) -> None:
        self.api = getattr(source, "api", None)
        self._source = source

    def __call__(self, name: str, settings: Mapping[str, Any]) -> object:  # noqa: ARG002  # as felloe calls a class
        return self._source


class _Watched:
    """A source that is another one, and tells which hooks are called."""

    def __init__(self, source: object, calls: list[str]) -> None:
        self.api = getattr(source, "api", None)
        for name in HOOKS:
            if (hook := getattr(source, name, None)) is not None:
                setattr(self, name, _telling(hook, functools.partial(calls.append, name)))


def _telling(hook: Callable[..., Any], tell: Callable[[], None]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(hook):

        @functools.wraps(hook)
        async def wait(*arguments: Any) -> Any:
            tell()
            return await hook(*arguments)

        return wait

    @functools.wraps(hook)
    def call(*arguments: Any) -> Any:
        tell()
        return hook(*arguments)

    return call


@frozen
class _Events:
    events: list[Event] = field(factory=list)

    def report(self, event: Event) -> None:
        self.events.append(event)


class Interruption:
    """Cancels what it runs, where that waits for the `at`-th time (from 1; 0 for never), and looks what comes of it."""

    def __init__(self, at: int) -> None:
        self.waits = 0
        self.was_swallowed = False
        self._at = at

    async def run(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What `work` gives; None where it was cancelled."""
        from anyio import CancelScope

        with CancelScope() as scope:
            return await self._watch(work, scope)
        return None

    @coroutine
    def _watch(self, work: Coroutine[Any, Any, T], scope: CancelScope) -> Generator[Any, Any, T]:
        """Hands through to the event loop what `work` waits for, and back what the loop says."""
        resume: Callable[[], Any] = functools.partial(work.send, None)
        is_cancelled = False
        while True:
            try:
                waited_for = resume()
            except StopIteration as stop:
                self.was_swallowed = is_cancelled
                return stop.value  # type: ignore[no-any-return]  # typeshed has Any
            self.waits += 1
            if self.waits == self._at:
                scope.cancel()
            try:
                resume = functools.partial(work.send, (yield waited_for))
            except BaseException as error:  # noqa: BLE001  # a cancellation is one; it is for `work`
                is_cancelled = is_cancelled or (scope.cancel_called and not isinstance(error, Exception))
                resume = functools.partial(work.throw, error)


@contextmanager
def _standing_in(folder: Path) -> Iterator[None]:
    """The current folder and that for temporary files."""
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        tempfile.tempdir = before[0]
        os.environ.pop("TMPDIR")
        if before[1] is not None:
            os.environ["TMPDIR"] = before[1]
