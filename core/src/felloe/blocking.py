"""The Database for callers without an event loop.

A warm answer is stepped: finished by hand, without event loop, thread or lock. What really has to work runs in an event
loop on a thread of its own, which is started when it is first needed.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any, Self, TypeVar

from felloe.assembly import Database
from felloe.config import Config
from felloe.progress import Event, Reporter
from felloe.stepping import NotSteppable, step
from felloe.values import Answer, Dist, Effort, Interpreter, Outcome, Request, Wheel

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from felloe.explain import Explanation, Subject

__all__ = ["BlockingDatabase"]

T = TypeVar("T")
Item = str | Request | Dist


class BlockingDatabase:
    """The same names as `Database`, without `await`. Use it in `with`.

    It answers the thread that asks first and no other, which gets RuntimeError. Any thread may close it.
    """

    def __init__(self, config: Config | None = None, *, reporter: Reporter | None = None, **options: Any) -> None:
        """`options` are those of Database."""
        self.database = Database(config, reporter=reporter, **options)
        self.database.reporter = self._held = _HeldReporter(self.database.reporter)
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None
        self._owner: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes connections and removes scratch; paths that were given out are no longer good."""
        self._stack.close()
        self._portal = None
        self.database.release()

    def find(self, item: str | Request) -> Sequence[Dist]:
        """See Database.find."""
        return self._finish(lambda: self.database.find(item))

    def select(self, dists: Sequence[Dist], request: str | Request) -> Dist:
        """See Database.select."""
        return self.database.select(dists, request)

    def interpreter(self) -> Interpreter:
        """See Database.interpreter."""
        return self.database.interpreter()

    def metadata(self, item: Item, *, effort: Effort = "build") -> Answer:
        """See Database.metadata."""
        return self._finish(lambda: self.database.metadata(item, effort=effort))

    def wheel(self, item: Item) -> Wheel:
        """See Database.wheel."""
        return self._finish(lambda: self.database.wheel(item))

    def explain(self, item: Item, *, goal: Subject = "metadata") -> Explanation:
        """See Database.explain."""
        return self._finish(lambda: self.database.explain(item, goal=goal))

    def metadata_many(self, items: Iterable[Item], *, effort: Effort = "build") -> Iterator[Outcome]:
        """An Outcome for each item, as each is done; warm ones come first."""
        return self._many(
            items,
            lambda item: self.database.metadata(item, effort=effort),
            lambda cold: self.database.metadata_many(cold, effort=effort),
        )

    def wheels(self, items: Iterable[Item]) -> Iterator[Outcome]:
        """An Outcome for each item, as each is done."""
        return self._many(items, self.database.wheel, self.database.wheels)

    def _many(
        self,
        items: Iterable[Item],
        answer: Callable[[Item], Coroutine[Any, Any, Any]],
        batch: Callable[[list[Item]], AsyncGenerator[Outcome, None]],
    ) -> Iterator[Outcome]:
        self._check_thread()
        cold: list[Item] = []
        for item in items:
            try:
                yield Outcome(item=item, value=self._step(lambda: answer(item)))  # noqa: B023  # called at once
            except NotSteppable:
                cold.append(item)
        if cold:
            yield from self._outcomes(lambda: batch(cold))

    def _outcomes(self, batch: Callable[[], AsyncGenerator[Outcome, None]]) -> Iterator[Outcome]:
        portal = self._running()
        outcomes = portal.call(_Batch, batch())
        try:
            while (outcome := _call(portal, outcomes.next)) is not None:
                yield outcome
        finally:
            if portal is self._portal:  # else all was ended with it
                portal.call(outcomes.aclose)

    def _finish(self, coroutine: Callable[[], Coroutine[Any, Any, T]]) -> T:
        self._check_thread()
        with suppress(NotSteppable):
            return self._step(coroutine)
        return _call(self._running(), coroutine)

    def _check_thread(self) -> None:
        if self._owner.setdefault("thread", get_ident()) != get_ident():  # of two that come at once, one is the first
            raise RuntimeError(
                "this BlockingDatabase answers another thread: open one in each thread, they share the cache"
            )

    def _step(self, coroutine: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if _event_loop_runs():
            raise NotSteppable
        with self._held.while_trying():
            return step(coroutine())

    def _running(self) -> BlockingPortal:
        if self._portal is None:
            from anyio.from_thread import start_blocking_portal

            self._portal = self._stack.enter_context(start_blocking_portal())
            self._stack.enter_context(self._portal.wrap_async_context_manager(self.database))
        return self._portal


class _Batch:
    """An async generator that may be closed while it is asked: by the time it is, that has ended."""

    def __init__(self, outcomes: AsyncGenerator[Outcome, None]) -> None:
        from anyio import Lock

        self._outcomes = outcomes
        self._lock = Lock()

    async def next(self) -> Outcome | None:
        async with self._lock:
            return await anext(self._outcomes, None)

    async def aclose(self) -> None:
        async with self._lock:
            await self._outcomes.aclose()


class _HeldReporter:
    """Holds events back while an attempt may still be given up; they are told when it succeeded."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._events: list[Event] | None = None

    def report(self, event: Event) -> None:
        if self._events is None:
            self._reporter.report(event)
        else:
            self._events.append(event)

    @contextmanager
    def while_trying(self) -> Iterator[None]:
        held: list[Event] = []
        self._events = held
        try:
            yield
        finally:
            self._events = None
        for event in held:
            self._reporter.report(event)


def _call(portal: BlockingPortal, coroutine: Callable[[], Awaitable[T]]) -> T:
    """What it gives, or raises. Whoever is interrupted while waiting does not leave it running."""
    future = portal.start_task_soon(coroutine)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _event_loop_runs() -> bool:
    """Whether this thread runs asyncio or trio, without importing either."""
    asyncio, trio = sys.modules.get("asyncio"), sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return True
    return asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001  # the documented one raises
