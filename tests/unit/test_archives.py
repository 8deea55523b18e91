"""Archives by the sha256 of their bytes: what comes out was hashed, and nothing else is touched on the way."""

from __future__ import annotations

import hashlib
import os
import stat

import pytest

from felloe.cache.archives import digests_of
from felloe.errors import CacheError
from felloe.stepping import NotSteppable, step
from tests.fixtures.cache import FOREIGN, FOREIGN_FOLDERS, Cache, Child, everything, shared_folder

pytestmark = pytest.mark.anyio

DATA = b"the bytes of an archive" * 100
SHA256 = hashlib.sha256(DATA).hexdigest()
NAME = "a-1.0.tar.gz"


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as cache:
        yield cache


@pytest.fixture
def outside(tmp_path):
    """A folder that has an archive at the place where the cache would have its own, and a good one beside it."""
    with Cache(tmp_path / "outside") as other:
        put(other).write_bytes(b"precious")
        put(other, name="b.tar.gz")
    return other.root


def put(cache, *, data=DATA, name=NAME):
    file = cache.run.folder() / "file"
    file.write_bytes(data)
    return cache.archives.put(file, SHA256, name)


async def test_put_and_verified(cache):
    path = put(cache)

    assert path == cache.root / "archives-v0" / SHA256[:2] / SHA256 / NAME
    assert path.read_bytes() == DATA
    assert await cache.archives.verified(SHA256, NAME) == path
    assert cache.warnings() == []


async def test_the_source_of_put_is_moved(cache):
    file = cache.run.folder() / "file"
    file.write_bytes(DATA)

    cache.archives.put(file, SHA256, NAME)

    assert not file.exists()


async def test_what_is_not_there_is_none_and_leaves_no_trace(cache):
    assert await cache.archives.verified(SHA256, NAME) is None
    assert cache.warnings() == []
    assert not cache.root.exists()


def test_hashing_is_work(cache):
    put(cache)

    for coroutine in (cache.archives.verified(SHA256, NAME), digests_of(cache.root / "CACHEDIR.TAG")):
        with pytest.raises(NotSteppable):
            step(coroutine)


@pytest.mark.parametrize("name", ["b-1.0.zip", "../../b", "", "con", "x" * 500])
async def test_the_same_bytes_under_another_name(cache, name):
    first = put(cache)

    path = await cache.archives.verified(SHA256, name)

    assert path == cache.layout.archive(SHA256, name) != first
    assert path.parent == first.parent
    assert path.read_bytes() == first.read_bytes() == DATA
    assert await cache.archives.verified(SHA256, name) == path
    assert cache.warnings() == []


@pytest.mark.parametrize("suffix", [".whl", ".tar.gz", ".zip"])
async def test_what_a_file_is_can_be_told_from_a_long_name_too(cache, suffix):
    name = f"{'a' * 300}-1.0{suffix}"

    path = put(cache, name=name)

    assert path.name.endswith(suffix)
    assert await cache.archives.verified(SHA256, name) == path


@pytest.mark.parametrize("data", [b"", DATA[:-1], DATA + b"x", b"\x01" + DATA[1:], DATA[:-1] + b"\x00"])
async def test_damaged_bytes_are_a_miss_and_removed(cache, data):
    path = put(cache)
    path.write_bytes(data)

    assert await cache.archives.verified(SHA256, NAME) is None
    assert cache.warnings() == [
        f"`{path.relative_to(cache.root)}` in the cache is not used: its bytes have another sha256"
    ]
    assert not path.exists()
    assert await cache.archives.verified(SHA256, NAME) is None
    assert cache.warnings() == []
    assert put(cache) == await cache.archives.verified(SHA256, NAME)


async def test_damaged_bytes_under_another_name_are_removed_too(cache):
    path = put(cache)
    path.write_bytes(b"damaged")

    assert await cache.archives.verified(SHA256, "b.tar.gz") is None
    assert not path.exists()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
async def test_foreign_thing_in_the_place_of_an_archive(cache, outside, foreign):
    path = cache.layout.archive(SHA256, NAME)
    before = everything(outside)
    path.parent.mkdir(parents=True)
    foreign(path, outside / path.relative_to(cache.root))

    assert await cache.archives.verified(SHA256, NAME) is None
    assert put(cache) == path == await cache.archives.verified(SHA256, NAME)
    assert stat.S_ISREG(path.lstat().st_mode)
    assert everything(outside) == before


@pytest.mark.timeout(20)
@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
async def test_foreign_thing_beside_an_archive(cache, outside, foreign):
    path = put(cache)
    before = everything(outside)
    beside = path.with_name("a")  # the first in order
    foreign(beside, next(outside.rglob("b.tar.gz")))

    assert await cache.archives.verified(SHA256, "c.tar.gz") == path.with_name("c.tar.gz")
    assert await cache.archives.verified(SHA256, "a") == beside
    assert beside.read_bytes() == DATA
    assert stat.S_ISREG(beside.lstat().st_mode)
    assert everything(outside) == before


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("foreign", FOREIGN_FOLDERS.values(), ids=FOREIGN_FOLDERS)
async def test_foreign_thing_in_the_way_of_a_folder(cache, outside, foreign, level):
    before = everything(outside)
    parts = cache.layout.archive(SHA256, NAME).relative_to(cache.root).parts[:level]
    place = cache.root.joinpath(*parts)
    place.parent.mkdir(parents=True)
    foreign(place, outside.joinpath(*parts))

    assert await cache.archives.verified(SHA256, NAME) is None
    assert await cache.archives.verified(SHA256, "b.tar.gz") is None
    assert put(cache) == await cache.archives.verified(SHA256, NAME)
    assert everything(outside) == before


@pytest.mark.parametrize(
    "sha256", ["..", "../../outside", "{outside}", "", ".", "../outside/archives-v0", "\x00", SHA256.upper()]
)
async def test_what_is_no_sha256_leads_nowhere(tmp_path, sha256):
    """Deep in a folder of its own, and with no path of the machine: were it to fail, it would remove what it names."""
    outside = tmp_path / "1" / "2" / "3" / "outside"
    outside.mkdir(parents=True)
    (outside / "CACHEDIR.TAG").write_text("precious")
    with Cache(outside.with_name("cache")) as cache:
        put(cache)
        before = everything(outside), everything(cache.root / "archives-v0")

        for name in ("", "CACHEDIR.TAG"):
            assert await cache.archives.verified(sha256.format(outside=outside), name) is None
        assert (everything(outside), everything(cache.root / "archives-v0")) == before


async def test_what_was_given_out_is_not_cleaned_away(cache):
    put(cache)
    cache.run.end()

    with Cache(cache.root) as reader:
        assert await reader.archives.verified(SHA256, NAME)
        with pytest.raises(CacheError, match="in use"), cache.run.alone():
            pass


async def test_digests(tmp_path):
    (tmp_path / "file").write_bytes(DATA)

    assert await digests_of(tmp_path / "file", ["md5", "unknown"]) == {
        "sha256": SHA256,
        "md5": hashlib.md5(DATA).hexdigest(),
    }
    with pytest.raises(FileNotFoundError):
        await digests_of(tmp_path / "nothing")


VERIFIES = """if True:
    async def main(name):
        say(await cache.archives.verified(sys.stdin.readline().strip(), name))
        say(cache.warnings())

    become_nobody()
    for name in ("a-1.0.tar.gz", "b.tar.gz"):
        try:
            anyio.run(main, name)
        except CacheError as error:
            say(error)
    cache.run.end()
"""


def verify_as_nobody(cache):
    with Child(cache.root, VERIFIES) as child:
        return child.finish(SHA256, SHA256)


def test_a_read_only_cache_gives_what_it_has():
    with shared_folder() as folder:
        with Cache(folder / "cache") as cache:
            path = put(cache)
        for place in [cache.root, *cache.root.rglob("*")]:
            place.chmod(0o555 if place.is_dir() else 0o444)
        before = everything(folder)

        assert verify_as_nobody(cache) == [
            str(path), "[]", f"cannot write to the cache `{cache.root}`: Permission denied"
        ]  # fmt: skip
        assert everything(folder) == before


@pytest.mark.parametrize("closed", ["file", "folder"])
def test_what_may_not_be_read_is_a_miss(closed):
    with shared_folder() as folder:
        with Cache(folder / "cache") as cache:
            path = put(cache)
        cache.root.chmod(0o755)
        (path if closed == "file" else path.parent).chmod(0)

        said = verify_as_nobody(cache)

    assert said[::2] == ["None", "None"]
    assert all("Permission denied" in warnings for warnings in said[1::2])


@pytest.mark.skipif(os.name == "nt", reason="has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o077])
async def test_umask_is_respected(cache, umask):
    before = os.umask(umask)
    try:
        path = put(cache)
        other = await cache.archives.verified(SHA256, "other")
    finally:
        os.umask(before)

    assert {stat.S_IMODE(file.stat().st_mode) for file in (path, other)} == {0o666 & ~umask}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o777 & ~umask
