"""Folders made once: whole or not there, whoever else makes them and whatever lies in their way."""

from __future__ import annotations

import errno
import os
import stat

import anyio
import anyio.lowlevel
import pytest

from felloe.cache.folders import Folders
from felloe.errors import CacheError
from felloe.stepping import NotSteppable, step
from tests.fixtures.cache import FOREIGN_FOLDERS, Cache, Child, everything, shared_folder

pytestmark = pytest.mark.anyio

SHA256 = "ab" * 32


class CacheWithFolders(Cache):
    def __init__(self, root):
        super().__init__(root)
        self.folders = Folders(self.layout, self.store, self.events.append)
        self.place = self.layout.unpacked(SHA256)

    def scratch(self, text="made"):
        """A folder to put somewhere."""
        folder = self.run.folder()
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text(text)
        return folder

    def text(self):
        """What is in the folder in its place."""
        return (self.place / "sub" / "file").read_text()


@pytest.fixture
def cache(tmp_path):
    with CacheWithFolders(tmp_path / "cache") as cache:
        yield cache


@pytest.fixture
def outside(tmp_path):
    """A folder that has a folder at the place where the cache would have its own."""
    with CacheWithFolders(tmp_path / "outside") as other:
        other.folders.put(other.scratch("precious"), other.place)
    return other.root


def makes(text, calls=None):
    async def make(folder):
        assert list(folder.iterdir()) == []
        await anyio.lowlevel.checkpoint()
        (folder / "inner" / "sub").mkdir(parents=True)
        (folder / "inner" / "sub" / "file").write_text(text)
        if calls is not None:
            calls.append(text)
        return folder / "inner"

    return make


def test_put_and_find(cache):
    folder = cache.scratch()

    assert cache.folders.put(folder, cache.place) == cache.place
    assert cache.folders.find(cache.place) == cache.place
    assert cache.text() == "made"
    assert not folder.exists()
    assert cache.warnings() == []


def test_what_is_not_there_is_none_and_leaves_no_trace(cache):
    assert cache.folders.find(cache.place) is None
    assert cache.warnings() == []
    assert not cache.root.exists()


def test_where_somebody_was_faster_theirs_stays(cache):
    cache.folders.put(cache.scratch("theirs"), cache.place)
    ours = cache.scratch("ours")

    assert cache.folders.put(ours, cache.place) == cache.place
    assert cache.text() == "theirs"
    assert ours.exists()


def test_an_empty_folder_in_the_place_is_replaced(cache):
    cache.place.mkdir(parents=True)

    cache.folders.put(cache.scratch(), cache.place)

    assert cache.text() == "made"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("foreign", FOREIGN_FOLDERS.values(), ids=FOREIGN_FOLDERS)
@pytest.mark.parametrize("level", [1, 2, 3])
async def test_foreign_thing_in_the_place_or_in_the_way(cache, outside, foreign, level):
    before = everything(outside)
    parts = cache.place.relative_to(cache.root).parts[:level]
    place = cache.root.joinpath(*parts)
    place.parent.mkdir(parents=True)
    foreign(place, outside.joinpath(*parts))

    assert cache.folders.find(cache.place) is None
    assert await cache.folders.made(cache.place, makes("made")) == cache.place
    assert cache.text() == "made"
    assert stat.S_ISDIR(place.lstat().st_mode)
    assert everything(outside) == before
    assert cache.in_scratch() == set()


@pytest.mark.parametrize("foreign", [*FOREIGN_FOLDERS])
def test_what_is_no_folder_is_told(cache, outside, foreign):
    cache.place.parent.mkdir(parents=True)
    FOREIGN_FOLDERS[foreign](cache.place, outside)

    assert cache.folders.find(cache.place) is None
    where = cache.place.relative_to(cache.root)
    assert cache.warnings() == [f"`{where}` in the cache is not used: it is not a folder"]


DAMAGES = {
    "a file is gone": lambda file: file.unlink(),
    "a file is empty": lambda file: file.write_text(""),
    "a file has other bytes": lambda file: file.write_text("MADE"),
    "a file more": lambda file: file.with_name("new").touch(),
    "a link for a file": lambda file: (file.unlink(), file.symlink_to(__file__)),
    "no seal": lambda file: file.parent.parent.with_suffix(".seal").unlink(),
    "a broken seal": lambda file: file.parent.parent.with_suffix(".seal").write_text("no"),
    "another seal": lambda file: file.parent.parent.with_suffix(".seal").write_text('{"check": "00000000",\n'),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_what_was_changed_is_made_again(cache, damage):
    calls = []
    await cache.folders.made(cache.place, makes("made", calls))
    DAMAGES[damage](cache.place / "sub" / "file")

    assert cache.folders.find(cache.place) is None
    assert bool(cache.warnings()) is (damage != "no seal")
    await cache.folders.made(cache.place, makes("made", calls))
    assert (cache.text(), calls) == ("made", ["made", "made"])
    assert cache.folders.find(cache.place) == cache.place
    assert cache.in_scratch() == set()


async def test_made_once(cache):
    calls = []

    for text in ("first", "second"):
        assert await cache.folders.made(cache.place, makes(text, calls)) == cache.place

    assert (cache.text(), calls) == ("first", ["first"])
    assert cache.in_scratch() == set()


async def test_made_once_by_many_at_once(cache):
    calls = []

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(cache.folders.made, cache.place, makes(str(number), calls))

    assert calls == [cache.text()]
    assert cache.in_scratch() == set()


async def test_others_wait_for_no_other_folder(cache):
    """While one is made, another can be made."""
    other = cache.layout.unpacked("cd" * 32)

    async def make(folder):
        with anyio.fail_after(5):
            await cache.folders.made(other, makes("other"))
        return await makes("made")(folder)

    await cache.folders.made(cache.place, make)

    assert cache.text() == "made"


@pytest.mark.parametrize("error", [ValueError("broken"), OSError(errno.ENOSPC, "No space left on device")])
async def test_what_fails_leaves_nothing(cache, error):
    async def make(folder):
        (folder / "half").touch()
        raise error

    with pytest.raises(CacheError if isinstance(error, OSError) else ValueError, match=error.args[-1]):
        await cache.folders.made(cache.place, make)
    assert not cache.place.exists()
    assert cache.in_scratch() == set()
    await cache.folders.made(cache.place, makes("made"))
    assert cache.text() == "made"


async def test_what_is_cancelled_leaves_nothing(cache):
    async def make(folder):
        (folder / "half").touch()
        await anyio.sleep_forever()

    with anyio.move_on_after(0.05):
        await cache.folders.made(cache.place, make)

    assert not cache.place.exists()
    assert cache.in_scratch() == set()
    await cache.folders.made(cache.place, makes("made"))
    assert cache.text() == "made"


def test_making_is_work(cache):
    with pytest.raises(NotSteppable):
        step(cache.folders.made(cache.place, makes("made")))
    assert not cache.root.exists()


MAKES = """if True:
    from felloe.cache.folders import Folders
    folders = Folders(cache.layout, cache.store, cache.events.append)
    place = cache.layout.unpacked("ab" * 32)

    async def make(folder):
        (folder / "half").touch()
        say("making")
        wait()
        return folder

    anyio.run(folders.made, place, make)
    say("made")
    cache.run.end()
"""


@pytest.mark.parametrize("dies", [True, False])
async def test_of_two_processes_one_makes_it(cache, dies):
    calls = []
    with Child(cache.root, MAKES) as child:
        assert child.heard() == "making"
        async with anyio.create_task_group() as group:
            group.start_soon(cache.folders.made, cache.place, makes("ours", calls))
            await anyio.sleep(0.05)
            assert calls == []
            child.kill() if dies else child.tell()

    assert calls == (["ours"] if dies else [])
    assert (cache.place / "half").exists() is not dies


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="needs root, to become somebody else")
def test_a_read_only_cache_gives_what_it_has():
    finds = """if True:
        from felloe.cache.folders import Folders
        become_nobody()
        folders = Folders(cache.layout, cache.store, cache.events.append)
        say(folders.find(cache.layout.unpacked("ab" * 32)))
        try:
            folders.put(cache.layout.scratch, cache.layout.unpacked("cd" * 32))
        except CacheError as error:
            say(error)
        say(cache.warnings())
    """
    with shared_folder() as folder:
        with CacheWithFolders(folder / "cache") as cache:
            cache.folders.put(cache.scratch(), cache.place)
        for place in [cache.root, *cache.root.rglob("*")]:
            place.chmod(0o555 if place.is_dir() else 0o444)
        before = everything(folder)

        with Child(cache.root, finds) as child:
            said = child.finish()
        assert said == [str(cache.place), f"cannot write to the cache `{cache.root}`: Permission denied", "[]"]
        assert everything(folder) == before
