"""Locks between processes: one holder at a time, and none that is dead."""

from __future__ import annotations

import os
import platform

import anyio
import pytest

from felloe.cache import locks as module
from felloe.cache.locks import hold, holder, try_lock
from felloe.errors import CacheError
from felloe.stepping import NotSteppable, step
from tests.fixtures.cache import FOREIGN, FOREIGN_FOLDERS, Child, everything, shared_folder

HOLDS = """if True:
    from felloe.cache.locks import try_lock
    release = try_lock(cache.root, cache.layout.lock("a"))
    say(release is not None)
    wait()
    release()
    say("released")
    wait()
"""


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def lock(root):
    return root / "locks" / "a.lock"


def is_free(root, lock):
    if release := try_lock(root, lock):
        release()
    return release is not None


def told(events):
    return [(event.code, event.message) for event in events]


def test_one_at_a_time(root, lock):
    release = try_lock(root, lock)

    assert release is not None
    assert try_lock(root, lock) is None
    release()
    assert is_free(root, lock)
    assert is_free(root, lock.with_name("b.lock"))


def test_it_says_who_holds_it(root, lock):
    release = try_lock(root, lock)
    assert release is not None

    assert holder(lock).startswith(f"process {os.getpid()} on {platform.node()}: ")
    release()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "another process"),
        (b"", "another process"),
        (b" \n", "another process"),
        (b"process\xff 1", "process\ufffd 1"),
    ],
)
def test_who_holds_it_in_words(tmp_path, content, words):
    if content is not None:
        (tmp_path / "lock").write_bytes(content)

    assert holder(tmp_path / "lock") == words


def test_words_are_few(tmp_path):
    (tmp_path / "lock").write_text("x" * 1000)

    assert len(holder(tmp_path / "lock")) == 200


def test_another_process_holds_it_until_it_lets_go(root, lock):
    with Child(root, HOLDS) as child:
        assert child.heard() == "True"
        assert try_lock(root, lock) is None
        assert holder(lock).startswith(f"process {child.pid} on {platform.node()}: ")
        child.tell()
        assert child.heard() == "released"
        assert is_free(root, lock)


def test_a_process_that_was_killed_holds_nothing(root, lock):
    with Child(root, HOLDS) as child:
        assert child.heard() == "True"
        assert not is_free(root, lock)
        child.kill()

        assert is_free(root, lock)


def test_the_cache_that_a_lock_makes_is_its_owners(root, lock):
    assert is_free(root, lock)

    assert root.stat().st_mode & 0o777 == 0o700
    assert (root / "CACHEDIR.TAG").is_file()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_foreign_thing_in_the_way_of_a_lock(tmp_path, root, lock, foreign):
    outside = tmp_path / "outside" / "file"
    outside.parent.mkdir()
    outside.write_text("outside")
    before = everything(outside.parent)
    lock.parent.mkdir(parents=True)
    foreign(lock, outside)

    release = try_lock(root, lock)
    assert release is not None
    assert try_lock(root, lock) is None
    release()
    assert everything(outside.parent) == before


@pytest.mark.parametrize("foreign", FOREIGN_FOLDERS.values(), ids=FOREIGN_FOLDERS)
def test_foreign_thing_in_the_way_of_the_folder(tmp_path, root, lock, foreign):
    outside = tmp_path / "outside"
    outside.mkdir()
    root.mkdir()
    foreign(lock.parent, outside)

    assert is_free(root, lock)
    assert everything(outside) == {}
    assert not outside.with_name("new").exists()


def test_a_full_disk_has_room_for_a_lock(root, lock):
    assert is_free(root, lock)

    with Child(root, "limit_files(0)\n" + HOLDS) as child:
        assert child.heard() == "True"
        assert try_lock(root, lock) is None
        assert holder(lock) == "another process"


def test_a_cache_that_cannot_be_written_to():
    code = """if True:
        from felloe.cache.locks import hold, try_lock
        become_nobody()

        async def holds():
            async with hold(cache.root, cache.layout.lock("a"), print):
                say("held")

        for take in (lambda: try_lock(cache.root, cache.layout.lock("a")), lambda: anyio.run(holds)):
            try:
                take()
            except CacheError as error:
                say(error)
    """
    with shared_folder() as folder:
        root = folder / "cache"
        root.mkdir(mode=0o555)
        with Child(root, code) as child:
            assert child.finish() == [f"cannot write to the cache `{root}`: Permission denied"] * 2


def test_a_cache_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(CacheError, match="cannot write to the cache"):
        try_lock(tmp_path / "file", tmp_path / "file" / "locks" / "a.lock")


def test_holding_is_work(root, lock):
    async def holds():
        async with hold(root, lock, print):
            pass

    with pytest.raises(NotSteppable):
        step(holds())
    assert not root.exists()


@pytest.mark.anyio
async def test_hold(root, lock):
    events = []

    async with hold(root, lock, events.append):
        assert try_lock(root, lock) is None

    assert is_free(root, lock)
    assert events == []


@pytest.mark.anyio
async def test_an_error_lets_go(root, lock):
    with pytest.raises(ValueError, match="the original"):
        async with hold(root, lock, print):
            raise ValueError("the original")

    assert is_free(root, lock)


@pytest.mark.anyio
async def test_cancellation_lets_go(root, lock):
    with anyio.CancelScope() as scope:
        async with hold(root, lock, print):
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert is_free(root, lock)


@pytest.mark.anyio
async def test_tasks_hold_it_one_after_the_other(root, lock):
    inside, most = [], []

    async def one(number):
        async with hold(root, lock, print):
            inside.append(number)
            most.append(len(inside))
            await anyio.lowlevel.checkpoint()
            inside.remove(number)

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(one, number)

    assert most == [1] * 5


@pytest.mark.anyio
async def test_the_next_gets_it_when_its_holder_is_killed(root, lock, monkeypatch):
    monkeypatch.setattr(module, "SAY_SO_AFTER", 0.0)
    events, order = [], []

    async def waits():
        async with hold(root, lock, events.append):
            order.append("held")

    with Child(root, HOLDS) as child:
        assert child.heard() == "True"
        async with anyio.create_task_group() as group:
            group.start_soon(waits)
            while not events:
                await anyio.lowlevel.checkpoint()
            order.append("killed")
            child.kill()

    assert order == ["killed", "held"]
    assert told(events) == [("waiting", f"waiting for process {child.pid} on {platform.node()}: -c")]
    assert events[0].data == {"lock": "a.lock"}


@pytest.mark.anyio
async def test_who_waits_long_is_told_once(root, lock, monkeypatch):
    monkeypatch.setattr(module, "SAY_SO_AFTER", 0.02)
    monkeypatch.setattr(module, "LONGEST_DELAY", 0.01)
    events = []
    tries = 0

    def counted(root, path):
        nonlocal tries
        tries += 1
        if tries == 10:
            release()
        return try_lock(root, path)

    monkeypatch.setattr(module, "try_lock", counted)
    release = try_lock(root, lock)
    async with hold(root, lock, events.append):
        pass

    assert [event.code for event in events] == ["waiting"]
    assert tries >= 10


@pytest.mark.anyio
async def test_who_waits_a_moment_is_not_told(root, lock):
    events = []
    release = try_lock(root, lock)

    async def waits():
        async with hold(root, lock, events.append):
            pass

    async with anyio.create_task_group() as group:
        group.start_soon(waits)
        await anyio.lowlevel.checkpoint()
        release()

    assert events == []


@pytest.mark.anyio
async def test_cancellation_while_waiting_leaves_nothing(root, lock, monkeypatch):
    monkeypatch.setattr(module, "SAY_SO_AFTER", 0.0)
    release = try_lock(root, lock)
    held = []

    with anyio.CancelScope() as scope:
        async with hold(root, lock, lambda event: scope.cancel()):
            held.append(True)

    assert scope.cancelled_caught
    assert held == []
    release()
    assert is_free(root, lock)
