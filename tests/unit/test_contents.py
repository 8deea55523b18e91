"""What is in the cache, for people; and cleaning it, which removes what felloe made and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import anyio
import pytest
from attrs import evolve

from felloe.build.failure import Failure
from felloe.build.history import History
from felloe.build.record import Build, with_build
from felloe.cache.contents import clean, is_build_folder, items, normalised, size
from felloe.cache.folders import Folders
from felloe.errors import CacheError
from felloe.record import Record, with_static, with_wheel
from felloe.values import CacheKey, Entry, Fingerprint, Metadata
from tests.fixtures.cache import FOREIGN, FOREIGN_FOLDERS, Cache, Child, everything
from tests.fixtures.line import read_document

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


def add_build(cache, path, *, build, settings="", project="any", printed=DATA, **wheel):
    """A build of the entry at `path`, as the line makes it; gives its folder, and what is in it."""
    history, into = History(cache.layout, cache.store, cache.archives, cache.events.append), cache.run.folder()
    if wheel:
        (into / wheel["wheel"]).write_bytes(DATA)
    keep_log(cache, history, into, printed)
    done = Build(
        build=build,
        project=project,
        fingerprint=Fingerprint(settings=settings, interpreter="", toolchain=""),
        goal="wheel" if wheel else "metadata",
        rung="wheel" if wheel else "prepare",
        metadata=cache.records.read(path).static,
        **wheel,
    )
    done = history.add(done, into, is_kept=True)
    anyio.run(cache.records.change, path, lambda old: with_build(old, done))
    return folder_and_files(cache.layout.build(build, done.fingerprint.key, done.goal))


def add_failure(cache, *, build, project, settings="", message="", printed=DATA):
    """A build that failed, of which no entry tells; gives its folder, and what is in it."""
    history, into = History(cache.layout, cache.store, cache.archives, cache.events.append), cache.run.folder()
    keep_log(cache, history, into, printed)
    failure = Failure(
        build=build,
        fingerprint=Fingerprint(settings=settings, interpreter="", toolchain=""),
        goal="wheel",
        what="it",
        project=project,
        cause="project",
        code="build",
        message=message,
    )
    history.add_failure(failure, into)
    return folder_and_files(cache.layout.build(build, failure.fingerprint.key, failure.goal))


def keep_log(cache, history, into, printed):
    log = cache.run.folder() / "log"
    log.write_bytes(printed)
    history.keep_log(log, into)


def folder_and_files(folder):
    return [folder, *sorted(folder.iterdir())]


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
    add_failure(cache, build="1" * 32, project="a")
    for name in ("unpacked-v0", "environments-v0", "resolutions-v0", "keep-v0", "http-v1", "archives-v12"):
        (cache.root / name / "folder").mkdir(parents=True)
        (cache.root / name / "folder" / "file").write_bytes(DATA)


def clean_all(cache):
    cache.run.end()
    return clean(cache.layout, cache.run, [], None)


def clean_projects(cache, *names):
    found = list(items(cache.layout, cache.records))
    cache.run.end()
    return clean(cache.layout, cache.run, found, frozenset(names))


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
@pytest.mark.parametrize("folder", ["archives-v0", "builds-v0", "http-v0", "scratch", "locks", "locks/users"])
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


WORKPLACE = f"{'b' * 32}-{'c' * 16}"
NO_WORKPLACES = [
    "mine",
    "b" * 32,
    "c" * 16,
    f"{'b' * 31}-{'c' * 16}",
    f"{'b' * 32}-{'c' * 17}",
    f"{'B' * 32}-{'c' * 16}",
    f"{'b' * 32}_{'c' * 16}",
    f"{WORKPLACE}-x",
    f"x-{WORKPLACE}",
    f"{WORKPLACE}\n",
]


def test_cleaning_removes_the_workplaces_that_builds_left(cache, tmp_path):
    """Of a felloe that was killed. What else lies in scratch is somebody else's."""
    cache.run.begin()
    left = [cache.layout.workplace("b" * 32, "c" * 16), cache.layout.workplace("0" * 32, "d" * 16)]
    stays = [cache.layout.scratch / name for name in NO_WORKPLACES]
    for folder in [*left, *stays]:
        (folder / "source" / "deep").mkdir(parents=True)
        (folder / "source" / "deep" / "file").write_bytes(DATA)
    (left[0] / "source").chmod(0o500)
    file, link = (cache.layout.scratch / f"{digit * 32}-{digit * 16}" for digit in "ef")
    file.touch()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    link.symlink_to(tmp_path / "outside")

    assert left[0].name == WORKPLACE
    assert clean_all(cache) > 0

    assert [path for path in left if path.exists()] == []
    assert [path for path in stays if not (path / "source" / "deep" / "file").exists()] == []
    assert file.is_file()
    assert link.is_symlink()
    assert (tmp_path / "outside" / "file").exists()


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
    gone = [
        *add_build(cache, path, build=BUILD, wheel=WHEEL, sha256=SHA256),
        *add_build(cache, path, build=BUILD, settings="other", wheel=WHEEL, sha256=SHA256),
        *add_build(cache, path, build=BUILD),
        *add_build(cache, old, build="c" * 32, wheel="a-0.9-py3-none-any.whl", sha256="d" * 64),
        *add_failure(cache, build=BUILD, project="", settings="failed"),  # of the same source
        cache.layout.builds(BUILD),
        cache.layout.builds("c" * 32),
    ]
    lost = next(path for path in gone if path.name == "a-0.9-py3-none-any.whl")
    lost.unlink()
    other = add(cache, "b-1.0.tar.gz")
    stays = [
        other,
        add_archive(cache, WHEEL, "f" * 64),
        *add_build(cache, other, build="b" * 31 + "c", wheel="b-1.0-py3-none-any.whl", sha256="f" * 64),
    ]

    assert len([path for path in gone if path.name in {"record.json", "log.txt", WHEEL}]) == 12
    assert clean_projects(cache, "a") > 0

    assert [path for path in gone if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []
    assert cache.warnings() == []


def test_cleaning_one_project_removes_its_builds_that_failed(cache):
    """Of whatever bytes, subdirectory and settings they were: each says of which project it is."""
    add(cache, "a-1.0.tar.gz")
    gone = [
        *add_failure(cache, build="1" * 32, project="a"),
        *add_failure(cache, build="1" * 32, project="a", settings="other", printed=b""),
        *add_failure(cache, build="2" * 32, project="a"),
        cache.layout.builds("1" * 32),
        cache.layout.builds("2" * 32),
    ]
    forged = gone[0].joinpath("record.json").read_bytes()
    text = forged.decode()
    stays = [
        *add_failure(cache, build="3" * 32, project="a-b", printed=forged),
        *add_failure(cache, build="4" * 32, project="", printed=forged, message=text),
        *add_failure(cache, build="5" * 32, project="b", printed=forged, message=text),
        *add_failure(cache, build="6" * 32, project="none"),
    ]

    assert clean_projects(cache, "a") > 0

    assert [path for path in gone if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []


KEY = "c" * 16
NO_PLACES = [
    "record.json",
    f"{KEY}/record.json",
    f"{'1' * 32}/record.json",
    f"{'1' * 32}/wheel/record.json",
    f"{'1' * 32}/{KEY}/record.json",
    f"{'1' * 32}/{KEY}/mine/record.json",
    f"{'1' * 32}/{KEY}/prepare/record.json",
    f"{'1' * 32}/mine/wheel/record.json",
    f"{'1' * 32}/{'C' * 16}/wheel/record.json",
    f"{'1' * 32}/{KEY}\n/wheel/record.json",
    f"mine/{KEY}/wheel/record.json",
    f"{'1' * 31}/{KEY}/wheel/record.json",
    f"11/{'1' * 32}/{KEY}/wheel/record.json",
    f"{'1' * 32}/{KEY}/wheel/wheel/record.json",
    f"{'1' * 32}/{KEY}/wheel/mine.json",
    f"{'1' * 32}/{KEY}/wheel/log.txt",
]


@pytest.mark.parametrize("place", NO_PLACES)
def test_what_is_no_record_of_a_build_removes_nothing(cache, place):
    """However it calls itself: neither itself, nor what lies around it."""
    with Cache(cache.root.with_name("other")) as other:
        forged = add_failure(other, build="1" * 32, project="a")[0] / "record.json"
        data = forged.read_bytes()
    add(cache, "a-1.0.tar.gz")
    stays = [
        *add_failure(cache, build="1" * 32, project="b"),
        *add_failure(cache, build="2" * 32, project="b"),
        cache.root / "builds-v0" / place,
    ]
    stays[-1].parent.mkdir(parents=True, exist_ok=True)
    stays[-1].write_bytes(data)

    clean_projects(cache, "a")

    assert [path for path in stays if not path.exists()] == []
    assert stays[-1].read_bytes() == data
    assert not is_build_folder(cache.layout, stays[-1].parent) or stays[-1].name != "record.json"


@pytest.mark.parametrize("goal", ["metadata", "wheel", "editable"])
def test_where_a_build_is_kept(cache, goal):
    folder = cache.layout.build(BUILD, KEY, goal)

    assert is_build_folder(cache.layout, folder)
    assert not is_build_folder(cache.layout, folder.parent)
    assert not is_build_folder(cache.layout, folder / goal)
    assert not is_build_folder(cache.layout, cache.root / "builds-v1" / BUILD / KEY / goal)


def test_cleaning_one_project_removes_its_builds_without_an_entry(cache):
    """Of such as failed, and of bytes that its entry had before."""
    path = add(cache, "a-1.0.tar.gz", content="sha256:" + "e" * 64)
    gone = [
        path,
        *add_build(cache, path, build=BUILD, project="a", wheel=WHEEL, sha256=SHA256),
        *add_unpacked(cache, SHA256),
        *add_failure(cache, build=BUILD, project="a", settings="failed"),
        *add_failure(cache, build="1" * 32, project="a"),
    ]
    anyio.run(cache.records.change, path, lambda old: evolve(old, builds=(), data={}))

    assert clean_projects(cache, "a") > 0

    assert [path for path in gone if path.exists()] == []
    assert list((cache.root / "builds-v0").iterdir()) == []


@pytest.mark.parametrize("written", ["a-b", "A_b", "a.B"])
def test_a_build_without_a_project_is_known_by_what_it_made(cache, written):
    """Who asked for it did not know the name; what failed of the same source goes with it."""
    path = add(cache, f"{written.replace('-', '_')}-1.0.tar.gz")
    gone = [
        *add_build(cache, path, build=BUILD, project=""),
        *add_failure(cache, build=BUILD, project="", settings="failed"),
    ]
    path.unlink()
    stays = add_failure(cache, build="1" * 32, project="")

    assert clean_projects(cache, "a-b") > 0

    assert [path for path in gone if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[" * 100_000,
        b'{"project": ' * 10_000,
        b"[1]",
        b'"a"',
        b"1",
        b"{}",
        b"\xff\xfe",
        b'{"project": 1, "metadata": 1, "sha256": 1}',
        b'{"project": ["a"], "metadata": {"name": ["a"]}, "sha256": ["../../outside"]}',
        b'{"sha256": "../../outside"}',
        None,
    ],
    ids=range(12),
)
def test_builds_whose_records_cannot_be_read_are_removed(cache, tmp_path, data):
    """Where an entry tells of them, or a build of the same source."""
    (tmp_path / "outside").mkdir()
    path = add(cache, "a-1.0.tar.gz")
    gone = [
        *add_build(cache, path, build=BUILD, wheel=WHEEL, sha256=SHA256),
        *add_failure(cache, build="1" * 32, project="", settings="damaged"),
        *add_failure(cache, build="1" * 32, project="a"),
    ]
    stays = add_failure(cache, build="2" * 32, project="")
    for folder in (gone[0], gone[4], stays[0]):
        record = folder / "record.json"
        record.unlink() if data is None else record.write_bytes(data)

    clean_projects(cache, "a")

    assert [path for path in gone if path.exists()] == []
    assert stays[0].exists()
    assert (tmp_path / "outside").is_dir()


def test_the_record_of_a_build_says_of_which_project_it_is(cache):
    path = add(cache, "a-1.0.tar.gz")

    failed = add_failure(cache, build="1" * 32, project="a-b")[0]
    built = add_build(cache, path, build=BUILD, project="a-b")[0]

    assert [read_document(folder / "record.json")["project"] for folder in (failed, built)] == ["a-b", "a-b"]


@pytest.mark.parametrize(
    ("printed", "kept"),
    [
        (b"", b""),
        (b"\xff\r\n", b"\xff\r\n"),
        (
            b"\xff one\r\ntwo https://user:secret@example.com/x\n",
            b"\\xff one\r\ntwo https://example.com/x\n",
        ),
    ],
)
def test_a_log_has_what_was_printed_but_no_secret(cache, printed, kept):
    folder = add_failure(cache, build=BUILD, project="a-b", printed=printed)[0]

    assert (folder / "log.txt").read_bytes() == kept


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["record.json", "log.txt", WHEEL])
@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_foreign_thing_in_the_folder_of_a_build(cache, tmp_path, foreign, name):
    """It is removed with the build; what it leads to is not looked at."""
    with Cache(tmp_path / "outside") as other:
        there = add(other, "a-1.0.tar.gz")
        outside = add_build(other, there, build=BUILD, project="a", wheel=WHEEL, sha256="e" * 64)
    before = everything(other.root)
    stays = add_unpacked(cache, "e" * 64)
    path = add(cache, "a-1.0.tar.gz")
    gone = [path, *add_build(cache, path, build=BUILD, project="a", wheel=WHEEL, sha256=SHA256)]
    (gone[1] / name).unlink()
    foreign(gone[1] / name, outside[0] / name)

    clean_projects(cache, "a")

    assert [path for path in gone if os.path.lexists(path)] == []
    assert [path for path in stays if not path.exists()] == []
    assert everything(other.root) == before


@pytest.mark.timeout(20)
@pytest.mark.parametrize("foreign", FOREIGN_FOLDERS.values(), ids=FOREIGN_FOLDERS)
def test_foreign_thing_in_the_place_of_a_build(cache, tmp_path, foreign):
    """It stays where it is, whatever the folder that it leads to has in it."""
    with Cache(tmp_path / "outside") as other:
        outside = add_failure(other, build="1" * 32, project="a")[0]
    before = everything(other.root)
    add(cache, "a-1.0.tar.gz")
    gone = add_failure(cache, build="1" * 32, project="a", settings="here")
    places = [
        (gone[0].with_name("editable"), outside),
        (cache.layout.build("1" * 32, KEY, "wheel").parent, outside.parent),
        (cache.layout.builds("2" * 32), outside.parent.parent),
    ]
    for place, target in places:
        foreign(place, target)

    clean_projects(cache, "a")

    assert [path for path in gone if path.exists()] == []
    assert [place for place, _ in places if not os.path.lexists(place)] == []
    assert everything(other.root) == before


def test_cleaning_one_project_removes_its_wheels_unpacked(cache):
    """Those that were fetched, and those that were built: as their builds say, or an entry that knew them before."""
    sdist = add(cache, "a-1.0.tar.gz", content="sha256:" + "d" * 64)
    add(cache, "a-2.0-py3-none-any.whl", content="sha256:" + "e" * 64)
    built, lost, older = SHA256, "1" * 64, "2" * 64
    add_build(cache, sdist, build="c" * 32, project="a", wheel=WHEEL, sha256=older)
    anyio.run(cache.records.change, sdist, lambda old: evolve(old, builds=()))
    add_build(cache, sdist, build=BUILD, wheel=WHEEL, sha256=built)
    record = add_build(cache, sdist, build=BUILD, settings="lost", wheel=WHEEL, sha256=lost)[0] / "record.json"
    record.unlink()
    gone = [path for sha256 in (built, "e" * 64, lost, older) for path in add_unpacked(cache, sha256)]
    other = add(cache, "b-1.0.tar.gz")
    add(cache, "b-1.0-py3-none-any.whl", content="sha256:" + "f" * 64)
    add_build(cache, other, build="3" * 32, wheel="b-1.0-py3-none-any.whl", sha256="3" * 64)
    stays = [*add_unpacked(cache, "f" * 64), *add_unpacked(cache, "3" * 64)]

    assert clean_projects(cache, "a") > 0

    assert [path for path in gone if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []
    assert len(gone) == 2 * len(stays) == 20


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
@pytest.mark.parametrize("key", ["build", "sha256", "wheel", "log"])
def test_records_of_builds_that_say_anything_remove_nothing_else(tmp_path, key, text):
    """Those of an entry, and those of `builds-v0`.

    Deep in a folder of its own, and with no path of the machine: were it to fail, it would remove what it names.
    """
    outside = tmp_path / "1" / "2" / "3" / "outside"
    for folder in (outside, outside / BUILD / KEY / "wheel", outside / KEY / "wheel", outside / "wheel"):
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("file", "log.txt", WHEEL):
            (folder / name).touch()
        (folder / "record.json").write_text('{"project": "a"}')
    text = text.format(outside=outside) if isinstance(text, str) else text
    with Cache(outside.with_name("cache")) as cache:
        other = add(cache, "b-1.0.tar.gz")
        stays = [
            add_archive(cache, "b.tar.gz", "f" * 64),
            add_archive(cache, WHEEL, "e" * 64),
            *add_unpacked(cache, "e" * 64),
            *add_build(cache, other, build="c" * 32, project="b", wheel="b-1.0-py3-none-any.whl", sha256="f" * 64),
        ]
        document = {"project": "a", "build": "d" * 32, "sha256": "d" * 64, "wheel": WHEEL, "log": "", key: text}
        path = add(cache, "a-1.0.tar.gz")
        anyio.run(cache.records.change, path, lambda old: evolve(old, builds=(document,)))
        gone = [path, *(cache.layout.build(build, KEY, "wheel") for build in ("d" * 32, "1" * 32))]
        for folder in gone[1:]:
            cache.store.write_document(folder / "record.json", document)
        before = everything(outside)

        clean_projects(cache, "a")

    assert [path for path in gone if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []
    assert everything(outside) == before


@pytest.mark.parametrize("knows", ["the entry", "the record"])
@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_builds_behind_links_stay(cache, tmp_path, level, knows):
    outside = tmp_path / "outside"
    path = add(cache, "a-1.0.tar.gz")
    folder = add_build(cache, path, build=BUILD, project="a", wheel=WHEEL, sha256=SHA256)[0]
    if knows == "the record":
        anyio.run(cache.records.change, path, lambda old: evolve(old, builds=()))
    place = cache.root.joinpath(*folder.relative_to(cache.root).parts[:level])
    place.rename(outside)
    place.symlink_to(outside)
    before = everything(outside)

    clean_projects(cache, "a")

    assert not path.exists()
    assert len([name for name in before if name.endswith(("record.json", "log.txt", WHEEL))]) == 3
    assert everything(outside) == before
    assert place.is_symlink()


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
