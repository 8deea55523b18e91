"""Puts a Database together: configuration, sources, cache and network become the parts of the line."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from attrs import evolve

from felloe import dispatch
from felloe.build.history import History
from felloe.building import SdistBuilds
from felloe.cache.archives import Archives
from felloe.cache.layout import Layout
from felloe.cache.records import Records
from felloe.cache.run import Run
from felloe.cache.store import Store
from felloe.cache.temporary import TemporaryFolder
from felloe.config import Config
from felloe.context import Services
from felloe.database import Item, Line, Parts
from felloe.errors import CacheError
from felloe.extensions import Extension, Extensions
from felloe.flights import Memory
from felloe.interpreter import describe
from felloe.net.credentials import Credentials
from felloe.net.download import Downloads
from felloe.net.pages import Pages
from felloe.net.room import Room
from felloe.progress import Event, Reporter, SilentReporter
from felloe.registry import Registry, installed, load_registry
from felloe.stepping import is_stepping, must_not_step, work
from felloe.url import Url
from felloe.values import Answer, Effort, Interpreter, Json, Outcome, Wheel

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from anyio.abc import TaskGroup

    from felloe.build.builder import Builder
    from felloe.explain import Explanation, Subject
    from felloe.explaining import Explaining
    from felloe.net.client import Client

__all__ = ["Database"]

LARGEST_FILE = 64 * 2**30


class Database(Line):
    """Answers requests for metadata and wheels, from the installed sources and one cache. Use it in `async with`.

    `config` defaults to what is configured (`Config.load()`), `sources` to the installed entry points, those of
    extensions among them, `clock` to the time in seconds since the epoch. What happens is told to `reporter` and to the
    extensions that listen; warnings of the configuration are told at once. Raises ConfigError.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        reporter: Reporter | None = None,
        sources: Iterable[EntryPoint] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config or Config.load()
        found = installed() if sources is None else tuple(sources)
        self.extensions = Extensions(found, self.config, self._report)
        self.reporter: Reporter = _Listeners(reporter or SilentReporter(), self.extensions)
        self._clock = clock
        self._temporary: TemporaryFolder | None = None
        self._layout = Layout(self._root())
        self._run = Run(self._layout)
        self._store = Store(self._layout.root, self._run, self._report)
        self._archives = Archives(self._layout, self._store)
        self._network = _Network(self.config, self.extensions, self._report)
        self._room = Room(self.config.limits.max_pages_memory)
        self._interpreter: Interpreter | None = None
        self._peeked: Interpreter | None = None
        self._tasks: TaskGroup | None = None
        super().__init__(self._parts_for(load_registry(self.config, found)))
        for warning in (*self.config.warnings, *self.extensions.failures):
            self._report(Event(code="warning", message=warning))

    async def __aenter__(self) -> Self:
        from anyio import create_task_group

        self._tasks = create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._tasks is not None:
                # The tasks are only those of batches that nobody waits for any more. The caller's own error is not
                # theirs: handed in, it would come out wrapped in a group.
                self._tasks.cancel_scope.cancel()
                await self._tasks.__aexit__(None, None, None)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Closes connections and removes scratch; paths that were given out are no longer good."""
        await self._network.aclose()
        self.release()

    def release(self) -> None:
        """What can be let go of without waiting: the cache."""
        self._run.end()
        if self._temporary is not None:
            self._temporary.remove()

    @property
    def cache(self) -> Layout:
        """Where things lie in the cache."""
        return self._layout

    @property
    def run(self) -> Run:
        """This run on the cache."""
        return self._run

    @property
    def services(self) -> Services:
        """What contexts are made of."""
        return self._parts.services

    @property
    def records(self) -> Records:
        """What the cache knows."""
        return self._parts.records

    def interpreter(self) -> Interpreter:
        """The interpreter asked about; started, and waited for, where it is not known. Raises InterpreterError."""
        if self._interpreter is None:
            self._interpreter = self._described(self._store)
        return self._interpreter

    def peek_at_interpreter(self) -> Interpreter:
        """As `interpreter`, and nothing is left of it in the cache. Raises InterpreterError."""
        from felloe.cache.view import StoreView

        if self._peeked is None:
            view = StoreView(self._layout.root, self._run, self._report)
            self._peeked = self._interpreter or self._described(view)
        return self._peeked

    def _described(self, store: Store) -> Interpreter:
        return describe(self.config.python, _Remembered(self._layout, store), os.environ)

    @property
    def registry(self) -> Registry:
        """The installed sources."""
        return self._parts.registry

    async def explain(self, item: Item, *, goal: Subject = "metadata") -> Explanation:
        """How `metadata` or `wheel` (by `goal`) would answer now, and why. Changes nothing, and runs no backend.

        The network is asked where freshness depends on it. An answer that would be an error is explained as well.
        Raises RequirementError where `item` is a text that cannot be read.
        """
        with self._explaining() as line:
            return await line.explain(item, goal)

    def metadata_many(self, items: Iterable[Item], *, effort: Effort = "build") -> AsyncGenerator[Outcome, None]:
        """An Outcome for each item, as each is done."""
        return self._many(items, lambda item: self.metadata(item, effort=effort))

    def wheels(self, items: Iterable[Item]) -> AsyncGenerator[Outcome, None]:
        """An Outcome for each item, as each is done."""
        return self._many(items, self.wheel)

    async def _many(
        self, items: Iterable[Item], answer: Callable[[Item], Awaitable[Answer | Wheel]]
    ) -> AsyncGenerator[Outcome, None]:
        import anyio

        if self._tasks is None:
            raise RuntimeError("a batch needs the Database to be entered with `async with`")
        asked = list(items)
        send, receive = anyio.create_memory_object_stream[Outcome](len(asked))
        scope = anyio.CancelScope()

        async def one(item: Item) -> None:
            await send.send(await _outcome(item, answer))

        async def all_of_them() -> None:
            with scope, send:
                async with anyio.create_task_group() as group:
                    for item in asked:
                        group.start_soon(one, item)

        # The tasks belong to the Database: a generator must not leave a group of its own open where it yields.
        self._tasks.start_soon(all_of_them)
        with receive:
            try:
                async for outcome in receive:
                    yield outcome
            finally:
                scope.cancel()

    def _parts_for(self, registry: Registry) -> Parts:
        began = self._clock()
        services = self._services(self._run, self._store, self._network.client, began)
        return Parts(
            config=self.config,
            registry=registry,
            services=services,
            records=Records(self._layout, self._store, self._report),
            archives=self._archives,
            builds=self._builds(History(self._layout, self._store, self._archives, self._report)),
            builder=self._chosen_builder,
            interpreter=self.interpreter,
            know_interpreter=self._know_interpreter,
            clock=self._clock,
            newer_than=self._newer_than(began),
        )

    def _services(self, run: Run, store: Store, client: Callable[[], Awaitable[Client]], began: float) -> Services:
        shelf = _PageShelf(self._layout, store)
        limits = self.config.limits
        return Services(
            layout=self._layout,
            run=run,
            store=store,
            pages=Pages(
                client, self._network.user_of, shelf, self._report, self._clock, limits.max_page_bytes, self._room
            ),
            downloads=Downloads(client, self._report, self._clock, LARGEST_FILE, run.folder, limits),
            memory=Memory(),
            limits=limits,
            offline=self.config.offline,
            report=self._report,
            clock=self._clock,
            began=began,
        )

    @contextmanager
    def _explaining(self) -> Iterator[Explaining]:
        """The same line on a view of the cache, with scratch and locks elsewhere."""
        from felloe.cache.view import ArchivesView, RecordsView, StoreView
        from felloe.explaining import Explaining, Watch

        with _aside_run() as run:
            store = StoreView(self._layout.root, run, self._report)
            watch = Watch(self._network.client, run)
            began, archives = self._parts.services.began, ArchivesView(self._layout, store)
            history = History(self._layout, store, archives, self._report)
            parts = evolve(
                self._parts,
                services=self._services(run, store, watch.client, began),
                records=RecordsView(self._layout, store, self._report),
                archives=archives,
                builds=self._builds(history),
                interpreter=self.peek_at_interpreter,
            )
            local = evolve(self._services(run, store, watch.no_client, began), offline=True)
            know = partial(_aside, parts.interpreter)
            yield Explaining(evolve(parts, know_interpreter=know), local, store, watch, history)

    def _builds(self, history: History) -> SdistBuilds:
        config = self.config
        make_builder = partial(self._builder, history)
        return SdistBuilds(config.building, config.policy, history, make_builder, config.overrides)

    def _chosen_builder(self) -> Extension | None:
        """Raises ConfigError where the one that was chosen is not there."""
        name = self.config.building.builder
        return None if name is None else self.extensions.builder(name)

    def _builder(self, history: History) -> Builder:
        from felloe.build.builder import Builder, Workshop
        from felloe.installation.environments import Environments
        from felloe.resolution.remembered import Resolutions

        workshop = Workshop(
            layout=self._layout,
            run=self._run,
            history=history,
            environments=Environments(
                layout=self._layout, run=self._run, store=self._store, report=self._report, limits=self.config.limits
            ),
            resolutions=Resolutions(self._layout, self._store),
            sources=[(source.name, dispatch.address(source)) for source in self.registry.instances],
            limits=self.config.limits,
            report=self._report,
            clock=self._clock,
        )
        return Builder(workshop, self.config.building)

    async def _know_interpreter(self) -> None:
        """Has `interpreter` answer at once from now on: what it may wait for, it waits for on a thread."""
        if self._interpreter is None:
            await _aside(self.interpreter)

    def _root(self) -> Path:
        if self.config.cache_dir is not None:
            return Path(os.path.abspath(self.config.cache_dir))  # noqa: PTH100  # Path.absolute keeps `..`
        self._temporary = TemporaryFolder()
        return self._temporary.path / "cache"

    def _newer_than(self, now: float) -> Callable[[str | None], float | None]:
        def of(name: str | None) -> float | None:
            return now if self.config.refresh or name in self.config.refresh_packages else None

        return of

    def _report(self, event: Event) -> None:
        self.reporter.report(event)


async def _outcome(item: Item, answer: Callable[[Item], Awaitable[Answer | Wheel]]) -> Outcome:
    try:
        return Outcome(item=item, value=await answer(item))
    except Exception as error:  # noqa: BLE001  # it is the outcome of this item; the others go on
        return Outcome(item=item, error=error)


async def _aside(describe: Callable[[], Interpreter]) -> None:
    """What it may wait for, it waits for on a thread, where there is an event loop."""
    if is_stepping():
        describe()
        return
    from anyio.to_thread import run_sync

    await run_sync(describe)


@contextmanager
def _aside_run() -> Iterator[Run]:
    """A run in a temporary folder of its own."""
    folder = TemporaryFolder()
    run = Run(Layout(folder.path))
    try:
        yield run
    finally:
        run.end()
        folder.remove()


class _Listeners:
    """Implements `felloe.progress.Reporter` for those who listen, one after the other."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def report(self, event: Event) -> None:
        for reporter in self._reporters:
            reporter.report(event)


class _Network:
    """The client, made when the first request is sent: httpx is heavy, and a warm run does without."""

    def __init__(self, config: Config, extensions: Extensions, report: Callable[[Event], None]) -> None:
        self._config = config
        self._report = report
        self._credentials = Credentials.of(config, extensions.credentials)
        self._client: Client | None = None

    def user_of(self, url: Url) -> str:
        """Who asks for `url`: "" for nobody in particular.

        As far as it is written down: what is cached is not asked for, so that no extension need say who would.
        """
        pair = self._credentials.find(url)
        return pair[0] if pair else ""

    async def client(self) -> Client:
        await work()
        if self._client is None:
            from felloe.net.client import Client, settings_of

            self._client = Client(settings_of(self._config), self._credentials, self._report)
        return self._client

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


class _PageShelf:
    """Implements `felloe.net.pages.PageShelf` on the cache."""

    def __init__(self, layout: Layout, store: Store) -> None:
        self._layout = layout
        self._store = store

    def read(self, key: str) -> bytes | None:
        return self._store.read(self._layout.page(key))

    def write(self, key: str, body: bytes) -> None:
        self._store.write(self._layout.page(key), body)


class _Remembered:
    """Implements `felloe.interpreter.Remembered` on the cache."""

    def __init__(self, layout: Layout, store: Store) -> None:
        self._layout = layout
        self._store = store

    def get(self, key: str) -> Json:
        document = self._store.read_document(self._layout.interpreter(key))
        if document is None:
            must_not_step()  # what follows starts a process
        return document

    def set(self, key: str, document: Json) -> None:
        try:
            self._store.write_document(self._layout.interpreter(key), document)
        except CacheError:
            return  # it is asked again next time, that is all
