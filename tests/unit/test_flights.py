"""Single flight: callers that ask for the same thing at the same time share one piece of work."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from felloe.flights import Flights, Memory
from felloe.stepping import NotSteppable, step

pytestmark = pytest.mark.anyio


class Work:
    """Something slow: it goes on when it is told to, and counts how often it was begun."""

    def __init__(self, error=None):
        self.begun = 0
        self.go_on = anyio.Event()
        self._error = error

    async def __call__(self):
        self.begun += 1
        number = self.begun
        await self.go_on.wait()
        if self._error:
            raise self._error
        return f"value {number}"


class Callers:
    """Tasks that ask for one thing; each in a scope of its own, so that one can be cancelled."""

    def __init__(self, group, share):
        self.outcomes = []
        self._group = group
        self._share = share
        self._scopes = []

    async def ask(self, count=1):
        for _ in range(count):
            self._scopes.append(anyio.CancelScope())
            self._group.start_soon(self._one, self._scopes[-1])
        await anyio.wait_all_tasks_blocked()

    async def cancel(self, number):
        self._scopes[number].cancel()
        await anyio.wait_all_tasks_blocked()

    async def _one(self, scope):
        with scope:
            try:
                self.outcomes.append(await self._share())
            except ValueError as error:
                self.outcomes.append(error)


@pytest.fixture(params=[lambda: Flights().share, lambda: Memory().once], ids=["flights", "memory"])
def share(request):
    return request.param()


async def test_twenty_callers_one_call(share):
    work = Work()

    async with anyio.create_task_group() as group:
        callers = Callers(group, lambda: share("key", work))
        await callers.ask(20)
        assert (work.begun, callers.outcomes) == (1, [])
        work.go_on.set()

    assert (work.begun, callers.outcomes) == (1, ["value 1"] * 20)


async def test_the_error_goes_to_all_and_is_not_kept(share):
    error = ValueError("the original")
    work = Work(error)

    async with anyio.create_task_group() as group:
        callers = Callers(group, lambda: share("key", work))
        await callers.ask(20)
        work.go_on.set()

    assert callers.outcomes == [error] * 20
    assert work.begun == 1
    with pytest.raises(ValueError, match="the original"):
        await share("key", work)
    assert work.begun == 2


async def test_a_follower_takes_over_from_a_cancelled_leader(share):
    work = Work()

    async with anyio.create_task_group() as group:
        callers = Callers(group, lambda: share("key", work))
        await callers.ask()  # the leader, before the others
        await callers.ask(19)
        await callers.cancel(0)
        assert work.begun == 2
        work.go_on.set()

    assert callers.outcomes == ["value 2"] * 19


async def test_leaders_are_cancelled_one_after_the_other(share):
    work = Work()

    async with anyio.create_task_group() as group:
        callers = Callers(group, lambda: share("key", work))
        await callers.ask(5)
        for number in range(5):
            await callers.cancel(number)
        await callers.ask()
        work.go_on.set()

    assert len(callers.outcomes) == 1


async def test_a_cancelled_follower_disturbs_nobody(share):
    work = Work()

    async with anyio.create_task_group() as group:
        callers = Callers(group, lambda: share("key", work))
        await callers.ask()  # the leader, before the others
        await callers.ask(2)
        await callers.cancel(1)
        work.go_on.set()

    assert (work.begun, callers.outcomes) == (1, ["value 1"] * 2)


async def test_keys_have_nothing_to_do_with_each_other(share):
    work = Work()

    async with anyio.create_task_group() as group:
        one, other = Callers(group, lambda: share("a", work)), Callers(group, lambda: share(("a", 1), work))
        await one.ask(2)
        await other.ask(2)
        assert work.begun == 2
        work.go_on.set()

    assert sorted(one.outcomes + other.outcomes) == ["value 1", "value 1", "value 2", "value 2"]


async def test_one_flight_may_ask_for_another(share):
    async def outer():
        return ["outer", await share("inner", inner)]

    async def inner():
        await checkpoint()
        return "inner"

    assert await share("outer", outer) == ["outer", "inner"]


@pytest.mark.parametrize("value", [None, 0, "", False])
async def test_values_that_are_false_are_values(share, value):
    async def fn():
        return value

    assert await share("key", fn) is value


async def test_flights_keep_nothing():
    flights, work = Flights(), Work()
    work.go_on.set()

    assert await flights.share("key", work) == "value 1"
    assert await flights.share("key", work) == "value 2"


async def test_memory_keeps_values():
    memory, work = Memory(), Work()
    work.go_on.set()

    assert await memory.once("key", work) == "value 1"
    assert await memory.once("key", work) == "value 1"
    assert work.begun == 1


@pytest.mark.parametrize("value", ["value", None])
async def test_memory_answers_without_suspending(value):
    memory = Memory()

    async def fn():
        return value

    await memory.once("key", fn)

    assert step(memory.once("key", fn)) is value


@pytest.mark.parametrize("share", [Flights().share, Memory().once], ids=["flights", "memory"])
def test_what_is_not_known_is_not_begun_while_stepping(share):
    async def fn():
        raise AssertionError("begun")

    with pytest.raises(NotSteppable) as caught:
        step(share("key", fn))
    assert caught.value.__cause__ is None
