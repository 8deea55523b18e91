"""Small files of the cache: whole or not there at all, whatever happens to them and whatever lies in their way."""

from __future__ import annotations

import json
import os
import stat
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from felloe.cache import store as module
from felloe.errors import CacheError
from felloe.url import Url
from tests.fixtures.cache import FOREIGN, FOREIGN_FOLDERS, Cache, Child, everything, shared_folder

DOCUMENT = {"source": {"kind": "pypi", "locator": {}}, "data": {"n\u00e4me": ["a", 1, None, True]}}
TEXT = """{"check": "%08x",
  "source": {
    "kind": "pypi",
    "locator": {}
  },
  "data": {
    "n\u00e4me": [
      "a",
      1,
      null,
      true
    ]
  }
}
"""
OLD, NEW = {"value": "old"}, {"value": "new"}
BODIES = [b"", b"\n", b"body", b"\r\n\x00\xff\n" * 3, bytes(range(256)) * 300]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as cache:
        yield cache


@pytest.fixture
def outside(tmp_path):
    """A folder with a whole document, at the place where the cache would have its own."""
    with Cache(tmp_path / "outside") as other:
        other.store.write_document(other.document, OLD)
    return other.root


def test_the_form_of_a_document(cache):
    cache.store.write_document(cache.document, DOCUMENT)

    data = cache.document.read_bytes()
    rest = data.partition(b"\n")[2]
    assert data.decode() == TEXT % zlib.crc32(rest)
    assert json.loads(data) == {"check": f"{zlib.crc32(rest):08x}", **DOCUMENT}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(), JSON_VALUES, min_size=1, max_size=3))
def test_documents_come_back(cache, document):
    cache.store.write_document(cache.document, document)

    assert cache.store.read_document(cache.document) == document
    assert cache.warnings() == []


@pytest.mark.parametrize("body", BODIES)
def test_bytes_come_back(cache, body):
    page = cache.layout.page("abcd")
    cache.store.write(page, body)

    assert cache.store.read(page) == body


@pytest.mark.parametrize("text", ["\ud800\udcff", "\u2028", "\x00", "\ufeff", "\U0001f6de"])
def test_any_character_comes_back(cache, text):
    cache.store.write_document(cache.document, {text: text})

    assert cache.store.read_document(cache.document) == {text: text}


def test_a_url_is_written_redacted(cache):
    url = Url("https://user:secret@example.com/a?token=secret")
    cache.store.write_document(cache.document, {"locator": {"urls": [url]}})

    assert cache.store.read_document(cache.document) == {"locator": {"urls": ["https://example.com/a?token=****"]}}
    assert b"secret" not in cache.document.read_bytes()


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes"])
def test_what_is_no_json_leaves_things_as_they_were(cache, value):
    cache.store.write_document(cache.document, OLD)

    with pytest.raises(TypeError):
        cache.store.write_document(cache.document, {"value": value})
    assert cache.store.read_document(cache.document) == OLD
    assert cache.in_scratch() == set()


def test_what_is_not_there_is_no_warning(cache):
    assert cache.store.read_document(cache.document) is None
    assert cache.warnings() == []
    assert not cache.root.exists()


# Damage


def is_a_miss(cache):
    """Whether there is nothing, and one warning that says where."""
    document, warnings = cache.store.read_document(cache.document), cache.warnings()
    return document is None and [w.partition(" ")[0] for w in warnings] == [
        f"`{cache.document.relative_to(cache.root).as_posix()}`"
    ]


def heals(cache):
    """Whether writing puts a document there, and nothing else is left."""
    cache.store.write_document(cache.document, NEW)
    return cache.store.read_document(cache.document) == NEW and cache.warnings() == [] and cache.in_scratch() == set()


def test_every_flipped_bit_is_a_miss(cache):
    cache.store.write_document(cache.document, DOCUMENT)
    whole = cache.document.read_bytes()
    unseen = []

    for position in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        cache.document.write_bytes(damaged)
        if not is_a_miss(cache):
            unseen.append(position)

    assert unseen == []
    assert heals(cache)


def test_every_truncation_is_a_miss(cache):
    cache.store.write_document(cache.document, DOCUMENT)
    whole = cache.document.read_bytes()
    unseen = []

    for length in range(len(whole)):
        cache.document.write_bytes(whole[:length])
        if not is_a_miss(cache):
            unseen.append(length)

    assert unseen == []
    assert heals(cache)


@pytest.mark.parametrize("body", BODIES)
def test_every_flipped_bit_and_truncation_of_bytes_is_a_miss(cache, body):
    page = cache.layout.page("abcd")
    cache.store.write(page, body)
    whole = page.read_bytes()
    places = range(len(whole))[:300]
    flipped = (whole[:i] + bytes([whole[i] ^ bit]) + whole[i + 1 :] for i in places for bit in (1, 8, 32, 128))

    for damaged in [*flipped, *(whole[:length] for length in places), whole[:-1], whole + b"\n"]:
        page.write_bytes(damaged)
        assert cache.store.read(page) is None
    assert len(cache.warnings()) == 5 * len(places) + 2


def checked(rest):
    """What has a right check, and is no document all the same."""
    return b'{"check": "%08x",\n' % zlib.crc32(rest) + rest


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"value": "no check"}',
        b"\xef\xbb\xbf" + checked(b'  "a": 1\n}\n'),
        checked(b'  "a": 1\n}\n').replace(b"\n", b"\r\n"),
        checked(b'  "a": 1\n}\n') + b"\n",
        b" " + checked(b'  "a": 1\n}\n'),
        checked(b""),
        checked(b'  "a": 1\n'),
        checked(b'  "a": 1\n}\n}'),
        checked(b'  "a": "\xff"\n}\n'),
        checked(b"[1]"),
        checked(b'  "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        checked(b'  "a": ' + b"9" * 100_000 + b"}"),
        b"\x80\x04\x95",
        b"\x00" * 1000,
    ],
)
def test_foreign_data_is_a_miss(cache, data):
    cache.store.write_document(cache.document, OLD)
    cache.document.write_bytes(data)

    assert is_a_miss(cache)
    assert heals(cache)


def test_what_is_too_large_is_a_miss_and_not_read(cache):
    cache.store.write_document(cache.document, OLD)
    os.truncate(cache.document, module.LARGEST + 1)  # with a hole: it takes no room

    assert is_a_miss(cache)
    assert heals(cache)


# Foreign things in the way


@pytest.mark.timeout(20)
@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_foreign_thing_in_the_way_of_a_document(cache, outside, foreign):
    target = outside / cache.document.relative_to(cache.root)
    before = everything(outside)
    cache.document.parent.mkdir(parents=True)
    foreign(cache.document, target)

    assert cache.store.read_document(cache.document) is None
    assert heals_after_warnings(cache)
    assert everything(outside) == before


@pytest.mark.timeout(20)
@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("foreign", FOREIGN_FOLDERS.values(), ids=FOREIGN_FOLDERS)
def test_foreign_thing_in_the_way_of_a_folder(cache, outside, foreign, level):
    before = everything(outside)
    parts = cache.document.relative_to(cache.root).parts[:level]
    place = cache.root.joinpath(*parts)
    place.parent.mkdir(parents=True)
    foreign(place, outside.joinpath(*parts))

    assert cache.store.read_document(cache.document) is None
    assert heals_after_warnings(cache)
    assert everything(outside) == before
    assert stat.S_ISDIR(place.lstat().st_mode)


def heals_after_warnings(cache):
    cache.warnings()
    return heals(cache)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_a_link_to_a_whole_document_is_not_read_through(cache, outside, level):
    """It would be read, were links followed: the place it leads to has the same document as the cache."""
    parts = cache.document.relative_to(cache.root).parts[:level]
    place = cache.root.joinpath(*parts)
    place.parent.mkdir(parents=True)
    place.symlink_to(outside.joinpath(*parts))

    assert is_a_miss(cache)


def test_a_link_inside_the_cache_is_no_better(cache):
    other = cache.document.parent.with_name("other") / "metadata.json"
    cache.store.write_document(other, OLD)
    cache.document.parent.symlink_to(other.parent)

    assert is_a_miss(cache)
    assert heals(cache)
    assert cache.store.read_document(other) == OLD


@pytest.mark.parametrize("foreign", FOREIGN_FOLDERS.values(), ids=FOREIGN_FOLDERS)
@pytest.mark.parametrize("folder", ["scratch", "locks", "locks/users"])
def test_foreign_thing_in_the_way_of_our_own_folders(cache, outside, foreign, folder):
    before = everything(outside)
    place = cache.root / folder
    place.parent.mkdir(parents=True)
    foreign(place, outside)

    assert heals(cache)
    assert everything(outside) == before


def test_the_cache_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    with Cache(tmp_path / "link") as cache:
        cache.store.write_document(cache.document, OLD)
        assert cache.store.read_document(cache.document) == OLD
        cache.document.unlink()
        cache.document.mkdir()
        assert heals_after_warnings(cache)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / cache.document.relative_to(cache.root)).is_file()


def open_files():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.skipif(sys.platform != "linux", reason="lists the open files of the process as Linux does")
@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_no_file_stays_open(cache, outside, foreign):
    cache.document.parent.mkdir(parents=True)
    foreign(cache.document, outside)
    before = open_files()

    for _ in range(10):
        cache.store.read_document(cache.document)
    assert open_files() == before
    assert len(cache.warnings()) in {0, 10}


# Putting files in place


def test_link_gives_the_same_bytes_a_second_place(cache):
    page, other = cache.layout.page("abcd"), cache.layout.page("ef01")
    cache.store.write(page, b"body")

    cache.store.link(page, other)
    cache.store.link(page, other)

    assert cache.store.read(page) == cache.store.read(other) == b"body"
    assert cache.in_scratch() == set()


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_link_over_a_foreign_thing(cache, outside, foreign):
    before = everything(outside)
    page, other = cache.layout.page("abcd"), cache.layout.page("ef01")
    cache.store.write(page, b"body")
    other.parent.mkdir(parents=True)
    foreign(other, next(outside.rglob("metadata.json")))

    cache.store.link(page, other)

    assert cache.store.read(other) == b"body"
    assert everything(outside) == before


def test_place_moves(cache):
    folder = cache.run.folder()
    (folder / "file").write_bytes(b"bytes")

    cache.store.place(folder / "file", cache.root / "archives-v0/ab/cd/file")

    assert (cache.root / "archives-v0/ab/cd/file").read_bytes() == b"bytes"
    assert cache.in_scratch() == {f"{next(cache.layout.scratch.iterdir()).name}/1"}


@pytest.mark.skipif(os.name == "nt", reason="has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o027, 0o002])
def test_umask_is_respected_and_the_cache_is_its_owners(cache, umask):
    before = os.umask(umask)
    try:
        cache.store.write_document(cache.document, OLD)
    finally:
        os.umask(before)

    assert stat.S_IMODE(cache.document.stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE(cache.document.parent.stat().st_mode) == 0o777 & ~umask
    assert stat.S_IMODE(cache.root.stat().st_mode) == 0o700


# Other processes


def test_kill_9_while_writing_leaves_one_or_the_other(cache):
    code = """if True:
        while True:
            for number in range(20):
                cache.store.write_document(cache.document, {"value": "old" * 30_000})
                cache.store.write_document(cache.document, {"value": "new" * 30_000})
            say("more")
    """
    found = set()

    for _ in range(4):
        with Child(cache.root, code) as child:
            assert child.heard() == "more"
        document = cache.store.read_document(cache.document)
        found.add(document["value"][:3])

    assert found <= {"old", "new"}
    assert cache.warnings() == []
    assert heals(cache)
    assert len(list(cache.layout.scratch.iterdir())) == 1


def test_what_is_read_while_others_write_is_whole(cache):
    code = """if True:
        say("ready")
        wait()
        for number in range(150):
            cache.store.write_document(cache.document, {"value": [number] * 3000})
    """
    with Child(cache.root, code) as one, Child(cache.root, code) as other:
        for child in (one, other):
            assert child.heard() == "ready"
            child.tell()
        values = []
        while len(values) < 500:
            document = cache.store.read_document(cache.document)
            values.append(set(document["value"]) if document else set())
        assert one.finish() == other.finish() == []

    assert {len(value) for value in values} <= {0, 1}
    assert cache.warnings() == []


def test_a_full_disk_is_a_clear_error_and_heals(cache):
    cache.store.write_document(cache.document, OLD)
    code = """if True:
        limit_files(1000)
        for target in (cache.document, cache.layout.page("abcd")):
            try:
                cache.store.write(target, b"x" * 5000)
            except CacheError as error:
                say(f"{error} / {error.hint}")
        say(cache.store.read_document(cache.document))
        say(cache.in_scratch())
        limit_files(10_000)
        cache.store.write_document(cache.document, {"value": "new"})
        cache.run.end()
    """
    with Child(cache.root, code) as child:
        *errors, document, scratch = child.finish()

    assert len(errors) == 2
    for error in errors:
        assert error.startswith(f"cannot write to the cache `{cache.root}`: File too large / free some space")
    assert (document, scratch) == (str(OLD), "set()")
    assert cache.store.read_document(cache.document) == NEW
    assert not cache.layout.page("abcd").exists()


def test_a_read_only_cache_is_read():
    code = """if True:
        become_nobody()
        say(cache.store.read_document(cache.document))
        for path in (cache.document, cache.layout.page("abcd")):
            try:
                cache.store.write(path, b"body")
            except CacheError as error:
                say(error.payload["reason"])
        cache.run.end()
    """
    with shared_folder() as folder:
        with Cache(folder / "cache") as cache:
            cache.store.write_document(cache.document, OLD)
        for path in [cache.root, *cache.root.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = everything(folder)
        with Child(cache.root, code) as child:
            document, *errors = child.finish()

        assert document == str(OLD)
        assert errors == [str(module.errno.EACCES)] * 2
        assert everything(folder) == before


def test_what_may_not_be_read_is_a_miss():
    code = """if True:
        become_nobody()
        say(cache.store.read_document(cache.document))
        say(cache.warnings())
    """
    with shared_folder() as folder:
        with Cache(folder / "cache") as cache:
            cache.store.write_document(cache.document, OLD)
        cache.root.chmod(0o755)
        cache.document.chmod(0)
        with Child(cache.root, code) as child:
            document, warnings = child.finish()

    assert document == "None"
    assert "Permission denied" in warnings


def test_an_error_that_cannot_be_helped_says_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    cache = Cache(tmp_path / "file" / "cache")

    with pytest.raises(CacheError) as caught:
        cache.store.write_document(cache.document, OLD)
    assert str(caught.value) == f"cannot write to the cache `{cache.root}`: Not a directory"
    assert "--cache-dir" in caught.value.hint
