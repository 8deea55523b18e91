"""Stepping: a coroutine that never suspends is finished by hand, any other is left as if it had not begun."""

from __future__ import annotations

import gc
import threading
from contextlib import asynccontextmanager, suppress

import anyio
import pytest

from felloe.stepping import NotSteppable, is_stepping, must_not_step, step, work


async def plain(value):
    return value


async def working(log):
    await work()
    log.append("worked")
    return "done"


def can_step(coroutine):
    try:
        step(coroutine)
    except NotSteppable:
        return False
    return True


@pytest.fixture(autouse=True)
def nothing_is_left():
    """A coroutine that was never awaited, or would not be closed, is a warning when it is collected."""
    yield
    gc.collect()
    assert not is_stepping()


async def deep(depth):
    return await deep(depth - 1) if depth else "bottom"


async def many():
    return [await plain(number) for number in range(3)]


async def with_context():
    @asynccontextmanager
    async def context():
        yield "inside"

    async with context() as value:
        return value


async def generated():
    async def numbers():
        yield 1
        yield 2

    return [number async for number in numbers()]


@pytest.mark.parametrize(
    ("coroutine", "value"),
    [
        (lambda: plain(1), 1),
        (lambda: plain(None), None),
        (lambda: deep(100), "bottom"),
        (many, [0, 1, 2]),
        (with_context, "inside"),
        (generated, [1, 2]),
    ],
)
def test_finishes_what_does_not_suspend(coroutine, value):
    assert step(coroutine()) == value


def test_work_stops_it_before_anything_is_done():
    log = []

    with pytest.raises(NotSteppable):
        step(working(log))
    assert log == []


@pytest.mark.anyio
async def test_work_does_nothing_under_an_event_loop():
    log = []

    with anyio.CancelScope() as scope:
        scope.cancel()  # a checkpoint would raise
        assert await working(log) == "done"
    assert log == ["worked"]


async def swallows_exceptions(log):
    with suppress(Exception):
        await working(log)
    log.append("went on")


async def swallows_exceptions_of_plain_functions(log):
    with suppress(Exception):
        must_not_step()
        log.append("worked")
    log.append("went on")


async def swallows_everything(log):
    with suppress(BaseException):
        await working(log)
    return "wrong"


@pytest.mark.parametrize(
    "coroutine", [swallows_exceptions, swallows_exceptions_of_plain_functions, swallows_everything]
)
def test_nobody_can_swallow_it(coroutine):
    log = []

    assert not can_step(coroutine(log))
    assert log == []


async def failing(error):
    raise error


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("x"), LookupError(), NotSteppable(), TimeoutError()])
def test_any_exception_is_told_under_an_event_loop_only(error):
    with pytest.raises(NotSteppable) as caught:
        step(failing(error))

    assert error in {caught.value, caught.value.__cause__}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_passes(error):
    with pytest.raises(error):
        step(failing(error()))


@pytest.mark.parametrize("wait", [lambda: anyio.sleep(1), lambda: anyio.Lock().acquire(), anyio.sleep_forever])
def test_waiting_without_work_is_an_exception_like_others(wait):
    async def waits():
        with suppress(Exception):
            await wait()
        await work()

    assert not can_step(waits())


async def works_in_finally(log):
    try:
        await work()
    finally:
        await working(log)


async def works_in_exit(log):
    @asynccontextmanager
    async def context():
        try:
            yield
        finally:
            await working(log)

    async with context(), context(), context():
        await work()


async def waits_in_finally(log):
    try:
        await work()
    finally:
        await anyio.sleep(1)
        log.append("worked")


async def fails_in_finally(log):
    try:
        await work()
    finally:
        raise ValueError("x")


async def asks_plainly_in_finally(log):
    try:
        await work()
    finally:
        must_not_step()
        log.append("worked")


@pytest.mark.parametrize(
    "coroutine", [works_in_finally, works_in_exit, waits_in_finally, fails_in_finally, asks_plainly_in_finally]
)
def test_a_clean_up_does_no_work_either(coroutine):
    log = []

    assert not can_step(coroutine(log))
    assert log == []
    assert not is_stepping()


def test_plain_clean_up_is_done():
    log = []

    async def cleans():
        try:
            await work()
        finally:
            log.append("cleaned")

    assert not can_step(cleans())
    assert log == ["cleaned"]


@pytest.mark.parametrize("inner", [lambda: plain(1), lambda: working([]), lambda: failing(ValueError())])
def test_stepping_inside_stepping(inner):
    log = []

    async def outer():
        log.append(can_step(inner()))
        assert is_stepping()
        await working(log)

    assert not can_step(outer())
    assert "worked" not in log
    assert not is_stepping()


def test_plain_functions_stop_it_too():
    async def asks():
        must_not_step()

    assert not can_step(asks())
    assert must_not_step() is None


def test_other_threads_are_not_stepping():
    seen = []

    async def asks_a_thread():
        thread = threading.Thread(target=lambda: seen.append(is_stepping()))
        thread.start()
        thread.join()
        return is_stepping()

    assert step(asks_a_thread()) is True
    assert seen == [False]


@pytest.mark.anyio
async def test_it_runs_again_under_an_event_loop():
    log = []

    assert not can_step(working(log))
    assert await working(log) == "done"
    assert log == ["worked"]
