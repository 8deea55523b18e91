"""Single flight: callers that ask for the same thing at the same time share one piece of work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from felloe.stepping import work

__all__ = ["Flights", "Memory"]


class _Flight:
    def __init__(self) -> None:
        import anyio

        self.done = anyio.Event()
        self.landed = False
        self.value: Any = None
        self.error: Exception | None = None


class Flights:
    """Work under way, by key."""

    def __init__(self) -> None:
        self._flying: dict[Hashable, _Flight] = {}

    async def share(self, key: Hashable, fn: Callable[[], Awaitable[Any]]) -> Any:
        """What `fn` gives; who comes while it runs waits for it, and gets its value or its error.

        Where the one that runs it is cancelled, the next one runs it.
        """
        await work()
        while flight := self._flying.get(key):
            await flight.done.wait()
            if flight.error is not None:
                raise flight.error
            if flight.landed:
                return flight.value
        return await self._fly(key, fn)

    async def _fly(self, key: Hashable, fn: Callable[[], Awaitable[Any]]) -> Any:
        flight = self._flying[key] = _Flight()
        try:
            flight.value = await fn()
            flight.landed = True
        except Exception as error:
            flight.error = error
            raise
        finally:
            del self._flying[key]
            flight.done.set()
        return flight.value


class Memory:
    """What was worked out once in this run, by key. An error is not kept."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}
        self._flights = Flights()

    async def once(self, key: Hashable, fn: Callable[[], Awaitable[Any]]) -> Any:
        """What `fn` gave the first time; without suspending where it is known."""
        if key not in self._known:
            self._known[key] = await self._flights.share(key, fn)
        return self._known[key]
