"""The records of entries: read without a lock, changed under the lock of the entry, whatever is there now."""

from __future__ import annotations

import json

import anyio
import pytest
from attrs import evolve

from felloe.cache import locks
from felloe.cache.locks import try_lock
from felloe.errors import CacheError
from felloe.record import Record, with_static, with_wheel
from felloe.stepping import NotSteppable, step
from felloe.values import Entry, Metadata
from tests.fixtures.cache import Cache, Child, everything, shared_folder

pytestmark = pytest.mark.anyio

WHEEL = "a-1.0-py3-none-any.whl"
METADATA = Metadata({"metadata-version": "2.2", "name": "a", "version": "1.0", "requires-dist": ["b"]})
RECORD = Record(kind="pypi", entry=Entry(content="sha256:aa", validators={"etag": '"1"'}))


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as cache:
        yield cache


def replaced_by(record):
    return lambda old: record


async def written(cache, record=RECORD):
    await cache.records.change(cache.document, replaced_by(record))
    return cache.document


def entry_lock(cache):
    """The lock of the only entry."""
    return next(cache.root.glob("locks/entry-*.lock"))


async def test_change_and_read(cache):
    record = with_static(with_wheel(RECORD, WHEEL, METADATA, "sidecar"), METADATA, "pkg-info")

    assert cache.records.read(cache.document) is None
    assert await cache.records.change(cache.document, replaced_by(record)) == record
    assert cache.records.read(cache.document) == record
    assert cache.warnings() == []


async def test_reading_leaves_no_trace_and_is_no_work(cache):
    async def reads():
        return cache.records.read(cache.document)

    assert step(reads()) is None
    assert not cache.root.exists()


def test_changing_is_work(cache):
    for coroutine in (cache.records.change(cache.document, replaced_by(RECORD)), fetches(cache)):
        with pytest.raises(NotSteppable):
            step(coroutine)

    assert not cache.root.exists()


async def fetches(cache):
    async with cache.records.fetching(cache.document):
        return await cache.records.change(cache.document, replaced_by(RECORD))


async def test_change_is_given_what_is_there_now(cache):
    given = []

    for number in range(3):
        await cache.records.change(
            cache.document, lambda old, number=number: given.append(old) or evolve(RECORD, kind=str(number))
        )

    assert [old and old.kind for old in given] == [None, "0", "1"]


async def test_the_same_record_is_not_written_again(cache):
    path = await written(cache)
    before = path.stat()

    assert await cache.records.change(path, lambda old: old) == RECORD
    assert await cache.records.change(path, replaced_by(Record.from_json(RECORD.to_json()))) == RECORD

    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_keys_of_other_releases_are_kept(cache):
    newer = RECORD.to_json()
    newer["later"] = {"any": [1]}
    newer["source"]["later"] = "too"
    newer["builds"] = [{"build": "b", "later": True}]
    newer["static"] = {"name": "a", "later": 1}
    cache.store.write_document(cache.document, newer)

    await cache.records.change(cache.document, lambda old: with_wheel(old, WHEEL, METADATA, "wheel"))

    document = json.loads(cache.document.read_bytes())
    assert document["later"] == {"any": [1]}
    assert document["source"]["later"] == "too"
    assert document["builds"] == [{"build": "b", "later": True}]
    assert document["static"] == {"name": "a", "later": 1}
    assert document["data"] == {WHEEL: METADATA.fields}


@pytest.mark.parametrize(
    "document",
    [
        {"source": {}},
        {"source": {"kind": 1}},
        {"source": []},
        {"source": None},
        {"nothing": True},
        {**RECORD.to_json(), "data": {WHEEL: {"name": "a"}}},
        {**RECORD.to_json(), "data": {WHEEL: {"name": "a", "version": "1", "requires-dist": "b"}}},
        {**RECORD.to_json(), "rungs": {WHEEL: 1}},
        {**RECORD.to_json(), "builds": {}},
    ],
)
async def test_what_is_no_record_is_a_miss_and_heals(cache, document):
    cache.store.write_document(cache.document, document)

    assert cache.records.read(cache.document) is None
    [warning] = cache.warnings()
    assert warning.startswith("`built-wheel-metadata-v0/pypi/a-1.0.tar.gz/metadata.json` in the cache is not used: ")
    await heals(cache)


async def heals(cache):
    given = []
    await cache.records.change(cache.document, lambda old: given.append(old) or RECORD)
    cache.warnings()

    assert given == [None]
    assert cache.records.read(cache.document) == RECORD
    assert cache.warnings() == []


@pytest.mark.parametrize("data", [b"", b"{", b"\x00" * 100, b'{"check": "00000000",\n}'])
async def test_what_is_damaged_is_a_miss_and_heals(cache, data):
    await written(cache)
    cache.document.write_bytes(data)

    assert cache.records.read(cache.document) is None
    assert len(cache.warnings()) == 1
    await heals(cache)


async def test_an_error_in_change_changes_nothing(cache):
    await written(cache)

    def fails(old):
        raise ValueError("the original")

    with pytest.raises(ValueError, match="the original"):
        await cache.records.change(cache.document, fails)
    assert cache.records.read(cache.document) == RECORD
    assert await cache.records.change(cache.document, replaced_by(evolve(RECORD, kind="index")))


async def test_inside_fetching_the_record_can_be_changed(cache):
    assert await fetches(cache) == RECORD
    assert cache.records.read(cache.document) == RECORD


async def test_one_fetches_at_a_time(cache):
    log = []

    async def one(number):
        async with cache.records.fetching(cache.document):
            log.append(number)
            await anyio.lowlevel.checkpoint()
            log.append(number)

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(one, number)

    assert log[::2] == log[1::2]
    assert sorted(log[::2]) == [0, 1, 2, 3]


async def test_entries_have_locks_of_their_own(cache):
    other = cache.document.parent.with_name("b-1.0.tar.gz") / "metadata.json"

    async with cache.records.fetching(cache.document), cache.records.fetching(other):
        assert await cache.records.change(other, replaced_by(RECORD)) == RECORD


async def test_waiting_for_the_lock_of_an_entry(cache, monkeypatch):
    monkeypatch.setattr(locks, "SAY_SO_AFTER", 0.0)
    await written(cache)
    release = try_lock(cache.root, entry_lock(cache))

    async with anyio.create_task_group() as group:
        group.start_soon(written, cache, evolve(RECORD, kind="index"))
        while not cache.events:
            await anyio.lowlevel.checkpoint()
        assert cache.records.read(cache.document) == RECORD  # reading waits for nobody
        release()

    assert cache.records.read(cache.document).kind == "index"
    assert [event.code for event in cache.events] == ["waiting"]


CHANGES = """if True:
    from attrs import evolve
    from felloe.record import Record
    from felloe.values import Entry

    def with_build(old, build):
        return evolve(old, builds=(*old.builds, build)) if old else Record(kind="pypi", entry=Entry(), builds=(build,))

    async def main():
        for number in range(25):
            build = {"process": os.getpid(), "number": number}
            await cache.records.change(cache.document, lambda old: with_build(old, build))
            say(number)

    say("ready")
    wait()
    anyio.run(main, backend="trio" if os.getpid() % 2 else "asyncio")
    cache.run.end()
"""


def test_processes_that_change_one_record_lose_nothing(cache):
    with Child(cache.root, CHANGES) as one, Child(cache.root, CHANGES) as other:
        for child in (one, other):
            assert child.heard() == "ready"
        one.tell()
        other.tell()
        assert len(one.finish()) == len(other.finish()) == 25

    builds = cache.records.read(cache.document).builds
    assert len(builds) == 50
    for child in (one, other):
        assert [build["number"] for build in builds if build["process"] == child.pid] == list(range(25))


async def test_what_a_killed_process_had_written_is_there(cache):
    with Child(cache.root, CHANGES) as child:
        assert child.heard() == "ready"
        child.tell()
        assert [child.heard() for _ in range(5)] == ["0", "1", "2", "3", "4"]
        child.kill()

    record = await cache.records.change(cache.document, lambda old: evolve(old, kind="index"))

    assert [build["number"] for build in record.builds][:5] == [0, 1, 2, 3, 4]
    assert cache.warnings() == []
    assert cache.in_scratch() == set()


def test_a_read_only_cache_is_read_and_a_change_is_given_and_not_kept():
    code = """if True:
        from attrs import evolve

        async def main():
            for kind in ("index", "other"):
                say((await cache.records.change(cache.document, lambda old: evolve(old, kind=old.kind + kind))).kind)
            say(cache.records.read(cache.document).kind)
            say(cache.warnings())

        become_nobody()
        anyio.run(main)
    """
    with shared_folder() as folder:
        with Cache(folder / "cache") as cache:
            anyio.run(written, cache)
        for path in [cache.root, *cache.root.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = everything(folder)
        with Child(cache.root, code) as child:
            said = child.finish()
        warning = f"cannot write to the cache `{cache.root}`: Permission denied; what was found out is not kept"
        assert said == ["pypiindex", "pypiother", "pypi", str([warning])]
        assert everything(folder) == before


@pytest.mark.parametrize("size", [0, 40])
def test_on_a_full_disk_the_old_record_stays(tmp_path, size):
    """The size is that of the largest file; the record needs more."""
    code = f"""if True:
        from attrs import evolve

        async def main():
            say((await cache.records.change(cache.document, lambda old: evolve(old, kind="index"))).kind)

        limit_files({size})
        anyio.run(main)
        say(cache.warnings())
        say(cache.in_scratch())
    """
    with Cache(tmp_path / "cache") as cache:
        anyio.run(written, cache)
        with Child(cache.root, code) as child:
            kind, warnings, left = child.finish()

        assert (kind, left) == ("index", "set()")
        assert f"cannot write to the cache `{cache.root}`: File too large" in warnings
        assert cache.records.read(cache.document) == RECORD
        assert cache.warnings() == []


async def test_where_no_cache_can_be(tmp_path):
    (tmp_path / "file").touch()
    cache = Cache(tmp_path / "file")

    assert cache.records.read(cache.document) is None
    assert await cache.records.change(cache.document, replaced_by(RECORD)) == RECORD
    [warning] = cache.warnings()
    assert warning.startswith("cannot write to the cache")
    with pytest.raises(CacheError, match="cannot write to the cache"):
        await fetches(cache)
