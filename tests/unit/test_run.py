"""One run on a cache: that it is in use, its scratch folder, and what the dead leave behind."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from felloe.cache import run as module
from felloe.errors import CacheError
from felloe.stepping import NotSteppable, step
from tests.fixtures.cache import FOREIGN, FOREIGN_FOLDERS, Cache, Child, everything, shared_folder

SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55\n"
WORKS = """if True:
    folder = cache.run.folder()
    (folder / "file").write_bytes(b"x" * 1000)
    say(folder)
    wait()
    cache.run.end()
"""
CLEANS = """if True:
    with cache.run.alone():
        say("alone")
        wait()
"""


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as cache:
        yield cache


def files(cache):
    """All files of the cache."""
    return {path.relative_to(cache.root).as_posix() for path in cache.root.rglob("*") if path.is_file()}


def alone(cache):
    with cache.run.alone():
        return True


# The cache folder


def test_the_cache_folder(cache):
    cache.run.begin()

    assert stat.S_IMODE(cache.root.stat().st_mode) == 0o700
    assert (cache.root / "CACHEDIR.TAG").read_bytes().startswith(SIGNATURE)
    assert (cache.root / ".gitignore").read_text() == "*\n"


def test_a_folder_that_is_there_stays_as_it_is(cache):
    cache.root.mkdir(mode=0o750)
    cache.root.chmod(0o750)
    (cache.root / ".gitignore").write_text("mine\n")
    (cache.root / "mine").write_text("mine")

    cache.run.begin()
    cache.run.end()

    assert stat.S_IMODE(cache.root.stat().st_mode) == 0o750
    assert (cache.root / ".gitignore").read_text() == "mine\n"
    assert (cache.root / "mine").read_text() == "mine"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["CACHEDIR.TAG", ".gitignore"])
@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_marks_are_not_written_over_or_through(cache, tmp_path, name, foreign):
    outside = tmp_path / "outside"
    outside.write_text("outside")
    cache.root.mkdir()
    foreign(cache.root / name, outside)

    cache.run.begin()

    assert outside.read_text() == "outside"
    assert not outside.with_name("new").exists()


def test_a_run_that_only_reads_leaves_no_trace(cache):
    cache.store.read_document(cache.document)
    cache.run.end()

    assert not cache.root.exists()


async def asks_for_a_folder(cache):
    return cache.run.folder()


def test_nothing_is_made_while_stepping(cache):
    with pytest.raises(NotSteppable):
        step(asks_for_a_folder(cache))

    assert not cache.root.exists()


@pytest.mark.parametrize("place", ["", "cache", "cache/below"])
def test_no_folder_can_be_there(tmp_path, place):
    (tmp_path / "file").touch()
    root = tmp_path / "file" / place

    with pytest.raises(CacheError) as caught:
        Cache(root).run.begin()
    assert str(caught.value).startswith(f"cannot write to the cache `{root}`: ")
    assert caught.value.hint


# Scratch


def test_folders_of_scratch_are_new_and_empty(cache):
    folders = [cache.run.folder() for _ in range(3)]

    assert len(set(folders)) == 3
    assert all(list(folder.iterdir()) == [] for folder in folders)
    assert all(folder.is_relative_to(cache.layout.scratch) for folder in folders)


def test_a_folder_is_removed_with_what_is_in_it(cache):
    folder = cache.run.folder()
    (folder / "below").mkdir()
    (folder / "below" / "file").touch()

    cache.run.remove(folder)
    cache.run.remove(folder)

    assert cache.in_scratch() == set()
    assert list(cache.run.folder().iterdir()) == []


def test_the_end_leaves_the_marks_and_no_lock(cache):
    cache.run.folder()
    cache.run.end()
    cache.run.end()

    assert files(cache) == {"CACHEDIR.TAG", ".gitignore", "locks/users.lock"}
    assert list(cache.layout.scratch.iterdir()) == []


def test_a_run_may_begin_again(cache):
    first = cache.run.folder()
    cache.run.end()

    assert cache.run.folder() != first


def test_the_end_of_a_cache_that_is_gone(cache):
    cache.run.folder()
    cache.root.rename(cache.root.with_name("elsewhere"))
    cache.root.touch()

    cache.run.end()

    assert cache.root.read_bytes() == b""


def test_scratch_of_a_killed_run_is_removed_by_the_next(cache):
    with Child(cache.root, WORKS) as child:
        left = Path(child.heard())
        child.kill()
    assert left.exists()

    cache.run.begin()

    assert cache.in_scratch() == set()
    assert len(list(cache.layout.users.iterdir())) == 1


def test_scratch_of_a_living_run_is_not_removed(cache):
    with Child(cache.root, WORKS) as dead, Child(cache.root, WORKS) as living:
        left, kept = Path(dead.heard()), Path(living.heard())
        dead.kill()

        with Cache(cache.root) as other:
            other.run.begin()
        assert not left.exists()
        assert [file.name for file in kept.iterdir()] == ["file"]
        living.tell()
        assert living.finish() == []

    assert list(cache.layout.scratch.iterdir()) == []


def test_two_runs_of_one_process_know_of_each_other(cache):
    folder = cache.run.folder()

    with Cache(cache.root) as other:
        other.run.begin()
        assert folder.is_dir()
    assert folder.is_dir()


def test_many_processes_begin_at_once(cache):
    code = """if True:
        say("ready")
        wait()
        for number in range(20):
            (cache.run.folder() / "file").touch()
            cache.run.end()
    """
    children = [Child(cache.root, code) for _ in range(4)]

    assert [child.heard() for child in children] == ["ready"] * 4
    for child in children:
        child.tell()
    assert [child.finish() for child in children] == [[]] * 4
    assert files(cache) == {"CACHEDIR.TAG", ".gitignore", "locks/users.lock"}


OURS = "0123456789ab"  # the name of a run


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", [OURS, "a", ".hidden"])
@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_foreign_thing_in_scratch(cache, tmp_path, name, foreign):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    cache.layout.scratch.mkdir(parents=True)
    foreign(cache.layout.scratch / name, outside)
    before = everything(cache.layout.scratch)

    assert list(cache.run.folder().iterdir()) == []
    cache.run.end()

    assert everything(outside) == {"file": b""}
    if name != OURS:
        assert everything(cache.layout.scratch) == before


def test_a_name_in_scratch_that_is_too_long_for_a_lock(cache):
    (cache.layout.scratch / ("x" * 255)).mkdir(parents=True)

    assert list(cache.run.folder().iterdir()) == []


@pytest.mark.parametrize("folder", ["scratch", "locks", "locks/users"])
@pytest.mark.parametrize("foreign", FOREIGN_FOLDERS.values(), ids=FOREIGN_FOLDERS)
def test_foreign_thing_in_the_way_of_a_folder(cache, tmp_path, folder, foreign):
    """Above all, what a link leads to is not taken for the scratch of dead runs."""
    outside = tmp_path / "outside"
    for below in (OURS, "users", f"users/{OURS}.lock"):
        (outside / below).mkdir(parents=True)
    before = everything(outside)
    place = cache.root / folder
    place.parent.mkdir(parents=True)
    foreign(place, outside)

    (cache.run.folder() / "file").touch()
    cache.run.end()
    assert alone(cache)

    assert everything(outside) == before
    assert not outside.with_name("new").exists()
    assert stat.S_ISDIR(place.lstat().st_mode)


def test_a_full_disk(cache):
    code = """if True:
        limit_files(0)
        try:
            cache.run.begin()
        except CacheError as error:
            say(error)
    """
    with Child(cache.root, code) as child:
        assert child.finish() == [f"cannot write to the cache `{cache.root}`: File too large"]

    assert files(cache) == set()
    cache.run.begin()
    assert (cache.root / "CACHEDIR.TAG").read_bytes().startswith(SIGNATURE)


# Alone


def test_alone(cache):
    assert alone(cache)
    cache.run.begin()
    cache.run.end()
    assert alone(cache)


def test_not_alone_while_another_process_lives(cache):
    with Child(cache.root, WORKS) as child:
        child.heard()

        with pytest.raises(CacheError) as caught:
            alone(cache)
        assert str(caught.value).startswith(f"the cache is in use by process {child.pid} on ")
        assert caught.value.code == "cache-in-use"
        assert caught.value.hint

        child.kill()
        assert alone(cache)
    assert list(cache.layout.users.iterdir()) == []


def test_not_alone_while_this_run_lasts(cache):
    cache.run.begin()

    with pytest.raises(CacheError, match=f"in use by process {os.getpid()} "):
        alone(cache)


def test_nobody_begins_while_one_is_alone(cache, monkeypatch):
    monkeypatch.setattr(module, "DOOR_TRIES", 2)
    monkeypatch.setattr(module, "DOOR_DELAY", 0.0)

    with Child(cache.root, CLEANS) as child:
        assert child.heard() == "alone"
        for begin in (cache.run.begin, cache.run.folder, cache.run.hand_out, lambda: alone(cache)):
            with pytest.raises(CacheError, match=f"is being cleaned by process {child.pid} ") as caught:
                begin()
            assert caught.value.hint == "try again when it is done"
        child.kill()

        cache.run.begin()


def test_who_begins_waits_for_the_one_who_is_alone(cache, monkeypatch):
    with Child(cache.root, CLEANS) as child:
        assert child.heard() == "alone"
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: child.finish("go on")))

        cache.run.begin()

    assert cache.layout.scratch.is_dir()


def test_an_error_opens_the_door(cache):
    with pytest.raises(ValueError, match="the original"), cache.run.alone():
        raise ValueError("the original")

    cache.run.begin()
    assert cache.layout.scratch.is_dir()


def test_a_full_disk_can_be_cleaned(cache):
    cache.run.begin()
    cache.run.end()

    with Child(cache.root, "limit_files(0)\n" + CLEANS) as child:
        assert child.heard() == "alone"


# Handing out


def test_what_is_handed_out_is_in_use(cache):
    cache.run.hand_out()

    with Cache(cache.root) as other, pytest.raises(CacheError, match="in use"):
        alone(other)


def test_a_read_only_cache_hands_out():
    code = """if True:
        become_nobody()
        cache.run.hand_out()
        for begin in (cache.run.begin, cache.run.folder):
            try:
                begin()
            except CacheError as error:
                say(error)
        cache.run.end()
    """
    with shared_folder() as folder:
        with Cache(folder / "cache") as cache:
            cache.run.begin()
        for path in [cache.root, *cache.root.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = everything(folder)
        with Child(cache.root, code) as child:
            assert child.finish() == [f"cannot write to the cache `{cache.root}`: Permission denied"] * 2
        assert everything(folder) == before


def test_threads_that_begin_at_once(cache):
    with ThreadPoolExecutor(16) as threads:
        folders = list(threads.map(lambda _: cache.run.folder(), range(64)))

    assert len(set(folders)) == 64
    assert all(folder.is_dir() for folder in folders)
