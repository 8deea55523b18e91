"""What is in the cache, for people; and cleaning it, which removes what felloe made and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import anyio
import pytest
from attrs import evolve

from felloe.build.fingerprint import Fingerprint
from felloe.build.history import History
from felloe.build.record import Build, with_build
from felloe.cache.contents import clean, items, normalised, size
from felloe.cache.folders import Folders
from felloe.errors import CacheError
from felloe.record import Record, with_static, with_wheel
from felloe.values import CacheKey, Entry, Metadata
from tests.fixtures.cache import FOREIGN, FOREIGN_FOLDERS, Cache, Child, everything

DATA = b"x" * 10_000
SHA256 = hashlib.sha256(DATA).hexdigest()
MARKS = {"CACHEDIR.TAG", ".gitignore"}


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as cache:
        yield cache


def add(cache, filename, *, kind="pypi", content=None, known=True):
    """An entry as the line makes it."""
    name, _, version = filename.removesuffix(".tar.gz").partition("-")
    metadata = Metadata({"metadata-version": "2.2", "name": name, "version": version.partition("-")[0]})
    record = Record(kind=kind, entry=Entry(content=content))
    if filename.endswith(".whl"):
        path = cache.layout.wheel_metadata(kind, "", CacheKey(parts=(filename,)))
        record = with_wheel(record, filename, metadata, "sidecar") if known else record
    else:
        path = cache.layout.entry(kind, "", CacheKey(parts=(filename,)))
        record = with_static(record, metadata, "pkg-info") if known else record
    anyio.run(cache.records.change, path, lambda old: record)
    return path


def add_archive(cache, filename, sha256=SHA256):
    file = cache.run.folder() / "file"
    file.write_bytes(DATA)
    return cache.archives.put(file, sha256, filename)


def add_build(cache, path, *, build, log="log", project="any", **wheel):
    """A build of the entry at `path`, as the line makes it; gives the files of it but for its wheel."""
    record = cache.records.read(path)
    done = Build(
        build=build,
        fingerprint=Fingerprint(settings=log, interpreter="", toolchain=""),
        goal="wheel" if wheel else "prepare",
        rung="wheel" if wheel else "prepare",
        metadata=record.static,
        log=log,
        **wheel,
    )
    history = History(cache.layout, cache.store, cache.events.append)
    history.add(done)
    printed = cache.run.folder() / "log"
    printed.write_bytes(DATA)
    anyio.run(cache.records.change, path, lambda old: with_build(old, done))
    return [cache.layout.builds(build), history.keep_log(printed, build, log, project)]


def add_log(cache, *, build, project, printed=DATA):
    """What a build printed that failed: nothing else is known of it."""
    log = cache.run.folder() / "log"
    log.write_bytes(printed)
    return History(cache.layout, cache.store, cache.events.append).keep_log(log, build, "0a1b-wheel", project)


def add_unpacked(cache, sha256):
    """A wheel, unpacked and compiled, as an environment takes it; gives all that there is of it."""
    folders = Folders(cache.layout, cache.store, cache.events.append)
    for name in ("files", "cpython-311-a70d0d0a"):
        made = cache.run.folder()
        (made / "a.py").write_bytes(DATA)
        made.chmod(0o500)
        folders.put(made, cache.layout.unpacked(sha256) / name)
    return [cache.layout.unpacked(sha256), *cache.layout.unpacked(sha256).iterdir()]


def add_page(cache, url, key="abcdef"):
    page = cache.layout.page(key)
    cache.store.write(page, json.dumps({"url": url}).encode() + b"\n<html>")
    return page


def add_of_all_kinds(cache):
    """Something in each of the buckets; gives the folders."""
    add(cache, "a-1.0.tar.gz", content=f"sha256:{SHA256}")
    add(cache, "a-1.0-py3-none-any.whl")
    add_archive(cache, "a-1.0.tar.gz")
    add_page(cache, "https://example.com/simple/a/")
    cache.store.write_document(cache.layout.memo("git", "", ("main",)), {"value": 1})
    cache.store.write_document(cache.layout.interpreter("ab"), {"value": 1})
    for name in ("builds-v0", "unpacked-v0", "environments-v0", "resolutions-v0", "keep-v0", "http-v1", "archives-v12"):
        (cache.root / name / "folder").mkdir(parents=True)
        (cache.root / name / "folder" / "file").write_bytes(DATA)


def clean_all(cache):
    cache.run.end()
    return clean(cache.layout, cache.run, [], None)


def clean_projects(cache, *names):
    found = list(items(cache.layout, cache.records))
    cache.run.end()
    return clean(cache.layout, cache.run, found, frozenset(names))


def first_line(log):
    return log.read_bytes().partition(b"\n")[0] + b"\n"


# Size


def test_size_of_nothing(cache):
    assert size(cache.layout) == 0


def test_size_is_that_on_disk(cache):
    path = add_archive(cache, "a.whl")
    before = size(cache.layout)
    assert before >= len(DATA)

    os.link(path, path.with_name("b.whl"))
    assert size(cache.layout) == before  # each inode once

    (path.with_name("c.whl")).write_bytes(DATA)
    assert before + len(DATA) <= size(cache.layout) <= 2 * before + len(DATA)


def test_size_does_not_count_what_links_lead_to(cache, tmp_path):
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "file").write_bytes(b"x" * 1_000_000)
    cache.root.mkdir()
    (cache.root / "folder").symlink_to(tmp_path / "large")
    (cache.root / "file").symlink_to(tmp_path / "large" / "file")

    assert size(cache.layout) < 100_000


def test_size_while_others_remove_files(cache, monkeypatch):
    path = add_archive(cache, "a.whl")
    before, walk = size(cache.layout), os.walk

    def walk_and_remove(top):
        for step in list(walk(top)):
            path.unlink(missing_ok=True)
            yield step

    monkeypatch.setattr(os, "walk", walk_and_remove)

    assert size(cache.layout) <= before - len(DATA)


# Items


def summary(cache):
    return [(item.filename, item.kind, item.name) for item in items(cache.layout, cache.records)]


def test_items_of_nothing(cache):
    assert summary(cache) == []
    assert not cache.root.exists()


def test_items_are_in_order(cache):
    for filename in ("c-1.0.tar.gz", "B_b-1.0-py3-none-any.whl", "a-1.0.tar.gz", "d-1.0.tar.gz"):
        add(cache, filename, kind="index" if filename[0] == "d" else "pypi")

    assert summary(cache) == [
        ("d-1.0.tar.gz", "index", "d"),
        ("a-1.0.tar.gz", "pypi", "a"),
        ("c-1.0.tar.gz", "pypi", "c"),
        ("B_b-1.0-py3-none-any.whl", "pypi", "b-b"),
    ]


@pytest.mark.parametrize("said", ["acme", None, 1])
def test_the_file_name_is_what_the_source_says_where_the_key_does_not_end_in_it(cache, said):
    commit = "c0" * 20
    entry = Entry(content=f"git:{commit}", locator={} if said is None else {"filename": said})
    path = cache.layout.entry("git", "", CacheKey(parts=("0" * 16, commit)))
    anyio.run(cache.records.change, path, lambda old: Record(kind="git", entry=entry))

    assert summary(cache) == [("acme" if said == "acme" else commit, "git", "")]


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("Zope.Interface-6.0.tar.gz", "zope-interface"),
        ("zope-interface-6.0.tar.gz", "zope-interface"),
        ("zope_interface-6.0-cp311-cp311-linux_x86_64.whl", "zope-interface"),
        ("master.zip", ""),
        ("f" * 40, ""),
    ],
)
def test_the_name_of_what_is_not_known(cache, filename, name):
    add(cache, filename, known=False)

    assert [item.name for item in items(cache.layout, cache.records)] == [name]


def test_what_is_damaged_or_foreign_is_no_item(cache):
    add(cache, "a-1.0.tar.gz")
    add(cache, "b-1.0.tar.gz").write_bytes(b"damaged")
    cache.store.write_document(add(cache, "c-1.0.tar.gz"), {"source": 1})
    (cache.document.parent / "other.json").write_text("{}")
    (cache.root / "wheel-metadata-v0").mkdir()
    (cache.root / "wheel-metadata-v0" / "file.txt").touch()

    assert [filename for filename, _, _ in summary(cache)] == ["a-1.0.tar.gz"]
    assert len(cache.warnings()) == 2


@pytest.mark.timeout(20)
@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_foreign_thing_in_the_place_of_a_record(cache, tmp_path, foreign):
    with Cache(tmp_path / "outside") as other:
        target = add(other, "b-1.0.tar.gz")
    add(cache, "a-1.0.tar.gz")
    path = add(cache, "b-1.0.tar.gz")
    path.unlink()
    foreign(path, target)

    assert [filename for filename, _, _ in summary(cache)] == ["a-1.0.tar.gz"]


@pytest.mark.parametrize("level", [1, 2, 3])
def test_items_are_not_looked_for_behind_links(cache, tmp_path, level):
    with Cache(tmp_path / "outside") as other:
        path = add(other, "a-1.0.tar.gz")
    parts = path.relative_to(other.root).parts[:level]
    place = cache.root.joinpath(*parts)
    place.parent.mkdir(parents=True)
    place.symlink_to(other.root.joinpath(*parts))

    assert summary(cache) == []


# Cleaning


def test_cleaning_nothing(cache):
    assert clean_all(cache) == 0
    assert not cache.root.exists()


def test_cleaning_all(cache):
    add_of_all_kinds(cache)
    before = size(cache.layout)

    freed = clean_all(cache)

    assert {path.name for path in cache.root.iterdir()} == MARKS | {"locks"}
    assert 0 < freed <= before
    assert freed == pytest.approx(before, abs=50_000)


def test_cleaning_all_leaves_what_is_not_ours(cache):
    add_of_all_kinds(cache)
    for name in ("mine-v0", "http", "http-v", "old-http-v0", "http-v0.bak", "archives-v0-mine"):
        (cache.root / name).mkdir()
        (cache.root / name / "file").write_text("mine")
    (cache.root / "notes.txt").write_text("mine")
    (cache.root / "memo-v1").write_text("a file")

    clean_all(cache)

    assert {path.name for path in cache.root.iterdir()} == MARKS | {
        "locks", "mine-v0", "http", "http-v", "old-http-v0", "http-v0.bak", "archives-v0-mine", "notes.txt", "memo-v1"
    }  # fmt: skip


@pytest.mark.parametrize("foreign", FOREIGN_FOLDERS.values(), ids=FOREIGN_FOLDERS)
@pytest.mark.parametrize("folder", ["archives-v0", "http-v0", "scratch", "locks", "locks/users"])
@pytest.mark.parametrize("names", [(), ("a",)], ids=["all", "projects"])
def test_cleaning_leaves_what_links_lead_to(cache, tmp_path, foreign, folder, names):
    with Cache(tmp_path / "outside") as outside:
        add_of_all_kinds(outside)
    before = everything(outside.root)
    place = cache.root / folder
    place.parent.mkdir(parents=True)
    foreign(place, outside.root / folder)
    add(cache, "b-1.0.tar.gz")

    clean_projects(cache, *names) if names else clean_all(cache)

    assert everything(outside.root) == before
    assert ("b-1.0.tar.gz" in {name for name, _, _ in summary(cache)}) is bool(names)


def test_a_cleaned_cache_works(cache):
    add_of_all_kinds(cache)
    clean_all(cache)

    add(cache, "a-1.0.tar.gz")

    assert summary(cache) == [("a-1.0.tar.gz", "pypi", "a")]
    assert cache.warnings() == []


def test_cleaning_removes_what_the_dead_left(cache):
    with Child(cache.root, 'folder = cache.run.folder(); (folder / "file").touch(); say(folder); wait()') as child:
        left = Path(child.heard())
    assert left.exists()

    clean_all(cache)

    assert not cache.layout.scratch.exists()


def test_cleaning_one_project(cache):
    gone = [
        add(cache, "a-1.0.tar.gz", content=f"sha256:{SHA256}"),
        add(cache, "a-1.0-py3-none-any.whl"),
        add_archive(cache, "a-1.0.tar.gz"),
        add_page(cache, "https://example.com/simple/a/", "01"),
        add_page(cache, "https://example.com/simple/A", "02"),
    ]
    stays = [
        add(cache, "a_b-1.0.tar.gz", content="git:" + "f" * 40),
        add(cache, "b-1.0.tar.gz"),
        add_archive(cache, "b-1.0.tar.gz", "f" * 64),
        add_page(cache, "https://example.com/simple/a-b/", "03"),
        add_page(cache, "https://example.com/a/simple/", "04"),
    ]

    assert clean_projects(cache, "a") > 0

    assert [path for path in gone if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []


@pytest.mark.parametrize("written", ["Zope.Interface", "zope_interface", "ZOPE-INTERFACE", "zope.-_interface"])
def test_a_project_has_one_normalised_name(cache, written):
    path = add(cache, f"{written.replace('-', '_')}-1.0.tar.gz")

    clean_projects(cache, normalised(written))

    assert normalised(written) == "zope-interface"
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [
        "sha256:..",
        "sha256:../..",
        "sha256:../../outside",
        "sha256:{outside}",
        "sha256:",
        "sha256:.",
        "git:../..",
        "..",
        "sha256",
    ],
)
def test_content_that_is_no_digest_removes_nothing_else(tmp_path, content):
    """Deep in a folder of its own, and with no path of the machine: were it to fail, it would remove what it names."""
    outside = tmp_path / "1" / "2" / "3" / "outside"
    outside.mkdir(parents=True)
    (outside / "file").touch()
    with Cache(outside.with_name("cache")) as cache:
        stays = [add_archive(cache, "b.tar.gz"), *add_unpacked(cache, "e" * 64)]
        path = add(cache, "a-1.0.tar.gz", content=content.format(outside=outside))

        clean_projects(cache, "a")

    assert not path.exists()
    assert [path for path in stays if not path.exists()] == []
    assert (outside / "file").exists()


BUILD = "b" * 32
WHEEL = "a-1.0-py3-none-any.whl"


def test_cleaning_one_project_removes_what_was_built_of_it(cache):
    path = add(cache, "a-1.0.tar.gz", content="sha256:" + "e" * 64)
    old = add(cache, "a-0.9.tar.gz")
    wheel = add_archive(cache, WHEEL)
    gone = [
        wheel,
        *add_build(cache, path, build=BUILD, wheel=WHEEL, sha256=SHA256),
        *add_build(cache, path, build=BUILD, log="metadata-alone"),
        *add_build(cache, old, build="c" * 32, wheel="a-0.9-py3-none-any.whl", sha256="d" * 64),  # the wheel is lost
    ]
    other = add(cache, "b-1.0.tar.gz")
    stays = [
        other,
        add_archive(cache, "b-1.0-py3-none-any.whl", "f" * 64),
        *add_build(cache, other, build="b" * 31 + "c", wheel="b-1.0-py3-none-any.whl", sha256="f" * 64),
    ]

    assert clean_projects(cache, "a") > 0

    assert [path for path in gone if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []
    assert not wheel.parent.exists()
    assert cache.warnings() == []


def test_cleaning_one_project_removes_the_logs_of_builds_that_failed(cache):
    """Of whatever bytes, subdirectory and settings they were: each says first of which project it is."""
    add(cache, "a-1.0.tar.gz")
    gone = [add_log(cache, build="1" * 32, project="a"), add_log(cache, build="2" * 32, project="a", printed=b"")]
    forged = first_line(gone[0]) + DATA
    stays = [
        add_log(cache, build="3" * 32, project="a-b"),
        add_log(cache, build="4" * 32, project="", printed=forged),
        add_log(cache, build="5" * 32, project="b", printed=forged),
        gone[0].with_name("mine.log"),
        gone[0].with_name("x-wheel.log"),
        gone[0].with_name(f"{'1' * 32}.log"),
        gone[0].with_name(f"{'1' * 32}-wheel.txt"),
        gone[0].with_name(f"{'2' * 32}-wheel.log"),  # in the folder of another
        cache.root / "builds-v0" / f"{'1' * 32}-wheel.log",
    ]
    for path in stays[3:]:
        path.write_bytes(forged)

    assert clean_projects(cache, "a") > 0

    assert [path for path in gone if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []


def test_cleaning_one_project_removes_what_is_remembered_of_builds_without_an_entry(cache):
    """Of such as failed, and of bytes that its entry had before."""
    failed = add_log(cache, build="1" * 32, project="a")
    path = add(cache, "a-1.0.tar.gz", content="sha256:" + "e" * 64)
    gone = [
        failed,
        cache.layout.builds("1" * 32),
        path,
        add_archive(cache, WHEEL),
        *add_build(cache, path, build=BUILD, project="a", wheel=WHEEL, sha256=SHA256),
    ]
    cache.store.write_document(gone[1], {"builds": [], "failures": [{"build": "1" * 32}]})
    anyio.run(cache.records.change, path, lambda old: evolve(old, builds=(), data={}))

    assert clean_projects(cache, "a") > 0

    assert [path for path in gone if path.exists()] == []


@pytest.mark.parametrize(
    "document", [{"builds": 1}, {"x": 1}, {"builds": [1, None, {"sha256": "../../outside"}]}, None]
)
def test_records_of_builds_that_cannot_be_read_are_removed(cache, tmp_path, document):
    (tmp_path / "outside").mkdir()
    records = add_log(cache, build=BUILD, project="a").with_name(f"{BUILD}.json")
    if document is None:
        records.write_bytes(b"[" * 100_000)
    else:
        cache.store.write_document(records, document)

    clean_projects(cache, "a")

    assert not records.exists()
    assert (tmp_path / "outside").is_dir()


def test_a_log_says_of_which_project_it_is(cache):
    printed = b"\xff one\r\ntwo https://user:secret@example.com/x\n"

    log = add_log(cache, build=BUILD, project="a-b", printed=printed)

    assert log.read_bytes() == b"felloe: a build of a-b\n\\xff one\r\ntwo https://example.com/x\n"
    assert add_log(cache, build=BUILD, project="a-b", printed=b"\xff\r\n").read_bytes().endswith(b"-b\n\xff\r\n")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_foreign_thing_in_the_place_of_a_log(cache, tmp_path, foreign):
    with Cache(tmp_path / "outside") as other:
        target = add_log(other, build="1" * 32, project="a")
    before = everything(other.root)
    log = add_log(cache, build="1" * 32, project="a")
    places = [log.with_name(f"{'1' * 32}-other.log"), log.with_name(f"{'1' * 32}.json")]
    for place in places:
        foreign(place, target)

    clean_projects(cache, "a")

    assert not log.exists()
    assert [place for place in places if not os.path.lexists(place)] == []
    assert everything(other.root) == before


def test_cleaning_one_project_removes_its_wheels_unpacked(cache):
    """Those that were fetched, and those that were built."""
    sdist = add(cache, "a-1.0.tar.gz", content="sha256:" + "d" * 64)
    add(cache, "a-2.0-py3-none-any.whl", content="sha256:" + "e" * 64)
    add_build(cache, sdist, build=BUILD, wheel=WHEEL, sha256=SHA256)
    gone = [*add_unpacked(cache, SHA256), *add_unpacked(cache, "e" * 64)]
    add(cache, "b-1.0-py3-none-any.whl", content="sha256:" + "f" * 64)
    stays = add_unpacked(cache, "f" * 64)

    assert clean_projects(cache, "a") > 0

    assert [path for path in gone if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []
    assert len(gone) == 2 * len(stays) == 10


@pytest.mark.parametrize("level", [1, 2, 3])
def test_wheels_unpacked_behind_links_stay(cache, tmp_path, level):
    with Cache(tmp_path / "outside") as outside:
        path = add_unpacked(outside, SHA256)[0]
    before = everything(outside.root)
    parts = path.relative_to(outside.root).parts[:level]
    place = cache.root.joinpath(*parts)
    place.parent.mkdir(parents=True)
    place.symlink_to(outside.root.joinpath(*parts))
    add(cache, "a-1.0-py3-none-any.whl", content=f"sha256:{SHA256}")

    clean_projects(cache, "a")

    assert summary(cache) == []
    assert everything(outside.root) == before


# Texts in the record of a build, which may be anything. `{outside}` is the path of a folder beside the cache.
HOSTILE_TEXTS = [
    "",
    ".",
    "..",
    "../..",
    "../../outside",
    "../outside/file",
    *("../" * up + "outside/" + BUILD for up in range(1, 5)),
    "{outside}",
    "{outside}/" + BUILD,
    BUILD[:2] + "/../../../outside/" + BUILD,
    BUILD + "/../../../../outside/" + BUILD,
    BUILD + "\\..",
    BUILD + "\n",
    "*" * 32,
    "?" * 32,
    "[!x]" * 8,
    "\0" * 32,
    "a" * 5000,
    "\ud800" * 32,
    None,
    1,
    [BUILD],
    {BUILD: BUILD},
]


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
@pytest.mark.parametrize("key", ["build", "sha256", "wheel"])
def test_records_of_builds_that_say_anything_remove_nothing_else(tmp_path, key, text):
    """Deep in a folder of its own, and with no path of the machine: were it to fail, it would remove what it names."""
    outside = tmp_path / "1" / "2" / "3" / "outside"
    outside.mkdir(parents=True)
    for name in ("file", "file.json", f"{BUILD}.json", f"{BUILD}-log.log", WHEEL):
        (outside / name).touch()
    text = text.format(outside=outside) if isinstance(text, str) else text
    with Cache(outside.with_name("cache")) as cache:
        other = add(cache, "b-1.0.tar.gz")
        stays = [
            add_archive(cache, "b.tar.gz", "f" * 64),
            add_archive(cache, WHEEL, "e" * 64),
            *add_unpacked(cache, "e" * 64),
            *add_build(cache, other, build="c" * 32, wheel="b-1.0-py3-none-any.whl", sha256="f" * 64),
        ]
        document = {"build": "d" * 32, "sha256": "d" * 64, "wheel": WHEEL, key: text}
        path = add(cache, "a-1.0.tar.gz")
        anyio.run(cache.records.change, path, lambda old: evolve(old, builds=(document,)))
        before = everything(outside)

        clean_projects(cache, "a")

    assert not path.exists()
    assert [path for path in stays if not path.exists()] == []
    assert everything(outside) == before


def test_logs_of_builds_behind_links_stay(cache, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    path = add(cache, "a-1.0.tar.gz")
    for file in add_build(cache, path, build=BUILD):
        file.rename(outside / file.name)
    cache.layout.builds(BUILD).parent.rmdir()
    cache.layout.builds(BUILD).parent.symlink_to(outside)
    before = everything(outside)

    clean_projects(cache, "a")

    assert not path.exists()
    assert len(before) == 2
    assert everything(outside) == before


HOSTILE_PAGES = [
    b"",
    b"\n",
    b"x" * 1_000_000,
    b"\n" + b"[" * 60_000,
    b"\n" + b'{"url": ' * 10_000,
    b"\n[]",
    b"\n1",
    b'\n"url"',
    b"\n{}",
    b'\n{"url": null}',
    b'\n{"url": ["a"]}',
    b"\n\xff\xfe",
    b'\n{"url": "' + b"a" * 1_000_000,
]


@pytest.mark.parametrize("data", HOSTILE_PAGES, ids=range(len(HOSTILE_PAGES)))
def test_damaged_pages_do_not_disturb(cache, data):
    damaged = add_page(cache, "https://example.com/simple/a/", "01")
    damaged.write_bytes(data)
    page = add_page(cache, "https://example.com/simple/a/", "02")

    clean_projects(cache, "a")

    assert damaged.read_bytes() == data
    assert not page.exists()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_foreign_thing_in_the_place_of_a_page(cache, tmp_path, foreign):
    with Cache(tmp_path / "outside") as other:
        target = add_page(other, "https://example.com/simple/a/")
    before = everything(other.root)
    page = add_page(cache, "https://example.com/simple/a/", "02")
    foreign(page.with_name("01"), target)

    clean_projects(cache, "a")

    assert not page.exists()
    assert os.path.lexists(page.with_name("01"))
    assert everything(other.root) == before


def test_cleaning_is_refused_while_another_process_is_at_work(cache):
    add_of_all_kinds(cache)
    before = everything(cache.root / "archives-v0")
    with Child(cache.root, "cache.run.begin(); say('ready'); wait()") as child:
        assert child.heard() == "ready"

        for names in (None, ("a",)):
            with pytest.raises(CacheError, match=f"the cache is in use by process {child.pid} "):
                clean_projects(cache, *names) if names else clean_all(cache)
        assert everything(cache.root / "archives-v0") == before
        child.kill()

        assert clean_all(cache) > 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a", "a"), ("A.b__c--D", "a-b-c-d"), ("_a_", "-a-"), ("", "")],
)
def test_normalised(name, expected):
    assert normalised(name) == expected
