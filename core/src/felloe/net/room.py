"""Room in memory for pages: how much of them is there at a time, over all requests.

A page counts from its first byte until nobody holds it any more, which is when it has been parsed. What has come in
goes on while there is room; then only the page that began first does, so that there is always one that ends.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from felloe.values import Page

__all__ = ["Claim", "Room"]

LOOK_SECONDS = 0.02  # between looks at the room
# Who waited so long, and nobody has left meanwhile, goes on: that costs memory, and a page that drips holds up nobody.
PATIENCE_SECONDS = 30.0


class Room:
    """For `most` bytes, and one page that is larger."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[Claim, int] = {}
        self._coming: dict[Claim, None] = {}
        self._left = -math.inf

    @contextmanager
    def claim(self) -> Iterator[Claim]:
        """For one page while it comes in; then it is given up, unless it was `kept_by` the page."""
        claim = Claim(self)
        self._coming[claim] = None
        try:
            yield claim
        finally:
            del self._coming[claim]
            if not claim.is_kept:
                self.leave(claim)

    def hold(self, claim: Claim, size: int) -> None:
        self._held[claim] = size

    def leave(self, claim: Claim) -> None:
        self._held.pop(claim, None)
        self._left = time.monotonic()

    def may_grow(self, claim: Claim, waiting_since: float) -> bool:
        if sum(list(self._held.values())) <= self._most or claim is next(iter(self._coming)):
            return True
        return time.monotonic() - max(waiting_since, self._left) > PATIENCE_SECONDS


class Claim:
    """What one page takes."""

    def __init__(self, room: Room) -> None:
        self.is_kept = False
        self._room = room

    async def grow(self, size: int) -> None:
        """Now it has `size` bytes. Waits until it may have more."""
        import anyio

        self._room.hold(self, size)
        since = time.monotonic()
        while not self._room.may_grow(self, since):  # noqa: ASYNC110  # who leaves may do so on any thread
            await anyio.sleep(LOOK_SECONDS)

    def kept_by(self, page: Page) -> None:
        """The claim lasts as long as `page`."""
        self.is_kept = True
        self._room.hold(self, len(page.body))
        weakref.finalize(page, self._room.leave, self).atexit = False
