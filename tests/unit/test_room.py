"""Room for pages in memory: who goes on, who waits, and when there is room again."""

from __future__ import annotations

import math

import anyio
import anyio.lowlevel
import pytest

from felloe import Url
from felloe.net.room import Claim, Room
from felloe.values import Page

pytestmark = pytest.mark.anyio

LONG_AGO = -math.inf


def page(size: int) -> Page:
    return Page(url=Url("https://example.com/"), status=200, headers={}, body=bytes(size))


async def goes_on(claim: Claim, size: int) -> bool:
    """Whether it has its room without waiting."""
    with anyio.move_on_after(0) as scope:
        await claim.grow(size)
    return not scope.cancelled_caught


async def test_there_is_room_until_it_is_full_and_for_the_first_one_always() -> None:
    room = Room(10)
    with room.claim() as first, room.claim() as second:
        assert await goes_on(first, 5)
        assert await goes_on(second, 5)
        assert not await goes_on(second, 6)
        assert await goes_on(first, 1000)
    with room.claim() as third:
        assert await goes_on(third, 10)


async def test_a_page_takes_its_room_as_long_as_somebody_has_it() -> None:
    room = Room(10)
    kept = page(10)
    with room.claim() as claim:
        await claim.grow(10)
        claim.kept_by(kept)
    with room.claim() as first, room.claim() as second:
        assert await goes_on(first, 1)
        assert not await goes_on(second, 1)
        del kept
        assert await goes_on(second, 1)


async def test_whoever_waits_goes_on_when_there_is_room() -> None:
    room = Room(10)
    done = []

    async def wait() -> None:
        with room.claim() as claim:
            await claim.grow(9)
            done.append(True)

    async with anyio.create_task_group() as group:
        with room.claim() as first:
            await first.grow(9)
            group.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            assert done == []
    assert done == [True]


async def test_nobody_waits_for_ever() -> None:
    """A source may hold a page while it asks for another one."""
    room = Room(10)
    with room.claim() as first, room.claim() as second:
        await first.grow(10)
        room.hold(second, 1)
        assert not room.may_grow(second, waiting_since=math.inf)
        assert room.may_grow(second, waiting_since=LONG_AGO)
