"""`felloe cache verify`: whatever is not as it was written is told, with what to do, and nothing is changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from felloe.cache.layout import Layout
from felloe.cache.run import Run
from felloe.config import Limits
from felloe.testing import IndexServer, Project, make_wheel
from felloe.verify import Fault, Verification
from tests.cli.conftest import fill
from tests.fixtures.cache import FOREIGN, everything
from tests.fixtures.line import change_document
from tests.fixtures.program import Program
from tests.fixtures.projects import buildable

WHEEL = "delta-1.0-py3-none-any.whl"
BUILDS = "builds-v0/*/*.json"
RECORD = "built-wheel-metadata-v0/**/metadata.json"
CLEAN = "`felloe cache clean delta`, and ask for it again"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with all that felloe keeps."""
    folder = tmp_path_factory.mktemp("verify")
    with IndexServer() as index:
        fill(index, folder / "made")
        index.add(make_wheel(folder, Project("needed", "1.0"), files={"needed.py": ""}))
        index.add(buildable(folder, "delta", requires=["needed"], code="print('delta is built')"))
        felloe = Program(folder, FELLOE_INDEX_URL=index.index_url)
        felloe("metadata", "delta", "acme")
        felloe("wheel", "delta", "gamma", "-o", "out")
    return felloe.cache


@pytest.fixture
def cache(good: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt; times are kept, which seals look at."""
    return shutil.copytree(good, tmp_path / "cache", symlinks=True)


def faults(cache: Path) -> list[Fault]:
    """Nothing is changed by it."""
    before = everything(cache)
    layout = Layout(cache)
    found = list(Verification(layout, Run(layout), Limits()).faults())
    assert everything(cache) == before
    assert all(each.path.isprintable() and each.message.isprintable() and each.hint for each in found)
    return found


def one(cache: Path, pattern: str) -> Path:
    """The first of the files."""
    return min(path for path in cache.glob(pattern) if path.is_file())


def spoil(path: Path) -> None:
    """A byte of it is another one."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# The command


def test_all_is_well(felloe: Program, cache: Path) -> None:
    human = felloe("cache", "verify", "--cache-dir", cache)
    document = felloe("cache", "verify", "--cache-dir", cache, "--json").document

    kinds = ["archives", "builds", "entries", "folders", "documents"]
    assert (list(document["checked"]), document["faults"]) == (kinds, [])
    assert all(count > 0 for count in document["checked"].values())
    counts = ", ".join(f"{count} {kind}" for kind, count in document["checked"].items())
    assert human.out == f"all is well in {counts}\n"


def test_a_cache_that_is_not_there_is_not_made(felloe: Program) -> None:
    assert felloe("cache", "verify").out.startswith("all is well in 0 archives, ")
    assert not felloe.cache.exists()


def test_each_fault_is_a_line_with_what_to_do(felloe: Program, cache: Path) -> None:
    spoil(one(cache, RECORD))
    one(cache, f"archives-v0/*/*/{WHEEL}").unlink()
    before = everything(cache)

    human = felloe("cache", "verify", "--cache-dir", cache, code=1)
    document = felloe("cache", "verify", "--cache-dir", cache, "--json", code=1).document

    gone, damaged = human.out.splitlines()
    assert gone.startswith("builds-v0/")
    assert gone.endswith(f": the wheel `{WHEEL}` that it records is gone; nothing need be done: it is built again when "
                         "it is asked for")  # fmt: skip
    assert damaged.startswith("built-wheel-metadata-v0/")
    assert "metadata.json: its check is wrong; remove it: " in damaged
    assert human.err.startswith("2 faults in ")
    assert [fault["code"] for fault in document["faults"]] == ["wheel-gone", "damaged"]
    assert [f"{fault['path']}: {fault['message']}; {fault['hint']}" for fault in document["faults"]] == [gone, damaged]
    assert everything(cache) == before


# What is found


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        ("archives-v0/*/*/delta*.tar.gz", "damaged-archive"),
        (f"archives-v0/*/*/{WHEEL}", "damaged-archive"),
        (BUILDS, "damaged"),
        (RECORD, "damaged"),
        ("wheel-metadata-v0/**/*.json", "damaged"),
        ("resolutions-v0/*/*", "damaged"),
        ("http-v0/*/*", "damaged"),
        ("interpreters-v0/*", "damaged"),
        ("unpacked-v0/*/*/*.seal", "damaged"),
        ("environments-v0/*/*.seal", "damaged"),
    ],
)
@pytest.mark.parametrize("change", [spoil, lambda path: path.write_bytes(b""), lambda path: os.truncate(path, 20)])
def test_a_damaged_file(cache: Path, pattern: str, code: str, change: Callable[[Path], None]) -> None:
    path = one(cache, pattern)
    change(path)

    (fault,) = faults(cache)

    assert (fault.path, fault.code) == (path.relative_to(cache).as_posix(), code)


@pytest.mark.parametrize(
    ("pattern", "depth"),
    [("unpacked-v0/*/*/files/needed.py", 4), ("unpacked-v0/**/*.pyc", 4), ("environments-v0/**/needed.py", 3)],
)
@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_text("spoilt")])
def test_a_sealed_folder_that_is_another(cache: Path, pattern: str, depth: int, change: Callable[[Path], None]) -> None:
    path = one(cache, pattern)
    change(path)

    (fault,) = faults(cache)

    assert (fault.path, fault.code) == ("/".join(path.relative_to(cache).parts[:depth]), "damaged")
    assert fault.message == "it is not as it was made"


def test_a_folder_without_its_seal_is_being_made(cache: Path) -> None:
    one(cache, "unpacked-v0/*/*/*.seal").unlink()
    assert faults(cache) == []


# Records of builds


def in_build(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], None]:
    """Of the wheel, among those of `builds-v0`."""
    return lambda document: [change(build) for build in document["builds"] if "wheel" in build] and None


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        (lambda build: build["metadata"].update({"requires-dist": ["x"]}), "wheel-differs", "another requires-dist in"),
        (lambda build: build["metadata"].update(name="other"), "wheel-differs", "another name in"),
        (lambda build: build["metadata"].update(version="2"), "wheel-differs", "another version in"),
        (lambda build: build["metadata"].update({"requires-python": ">3"}), "wheel-differs", "another requires-python"),
        (lambda build: build["metadata"].update({"provides-extra": ["x"]}), "wheel-differs", "another provides-extra"),
        (lambda build: build.update(size=1), "wheel-differs", "has another size"),
        (lambda build: build.update(sha256="0" * 64), "wheel-gone", "is gone"),
        (lambda build: build.update(wheel="other-1.0-py3-none-any.whl"), "wheel-differs", "cannot be read"),
        (lambda build: build["source"].update(content="sha256:0"), "wrong-source", "of another source"),
        (lambda build: build.update(build="0" * 32), "wrong-source", "of another source"),
        (lambda build: build.update(goal="x"), "unreadable-build", "'x' is none of"),
        (lambda build: build.update(wheel="/etc/hostname"), "unreadable-build", "is not the name of a wheel"),
        (lambda build: build.update(sha256=f"/../../../{'0' * 54}"), "wheel-gone", "is gone"),
        (lambda build: build.update(sha256="../.."), "wheel-gone", "is gone"),
        (lambda build: build.update(wheel="\x1b[31m-1-py3-none-any.whl"), "wheel-differs", "\\x1b[31m"),
        (lambda build: build.update(source=3), "unreadable-build", "cannot be read"),
    ],
)
def test_a_record_that_does_not_agree(cache: Path, change: Any, code: str, told: str) -> None:
    path = one(cache, BUILDS)
    change_document(path, in_build(change))

    (fault,) = faults(cache)

    assert (fault.path, fault.code) == (path.relative_to(cache).as_posix(), code)
    assert told in fault.message
    if code in {"wheel-differs", "wrong-source"}:
        assert fault.hint in {CLEAN, CLEAN.replace("delta", "other")}


@pytest.mark.parametrize("builds", [None, 3, {}, [3], ["x"], [[]]])
def test_a_record_of_another_form(cache: Path, builds: Any) -> None:
    change_document(one(cache, BUILDS), lambda document: document.update(builds=builds))
    assert [fault.code for fault in faults(cache)] == ["unreadable-build"]


def test_the_builds_of_an_entry_are_checked_as_well(cache: Path) -> None:
    path = one(cache, RECORD)
    change_document(path, lambda document: document["data"][WHEEL].update({"requires-dist": ["x"]}))

    (fault,) = faults(cache)

    assert (fault.path, fault.code) == (path.relative_to(cache).as_posix(), "wheel-differs")
    assert fault.hint == CLEAN


def test_what_is_wrong_with_a_wheel_is_told_once(cache: Path) -> None:
    spoil(one(cache, f"archives-v0/*/*/{WHEEL}"))
    assert [fault.code for fault in faults(cache)] == ["damaged-archive"]
    one(cache, f"archives-v0/*/*/{WHEEL}").unlink()
    assert [fault.code for fault in faults(cache)] == ["wheel-gone"]


def test_the_same_bytes_under_another_name_will_do(cache: Path) -> None:
    path = one(cache, f"archives-v0/*/*/{WHEEL}")
    path.rename(path.with_name("other.whl"))
    assert faults(cache) == []


def test_a_wheel_that_is_none(cache: Path) -> None:
    """Its bytes are those recorded; they are no wheel."""
    sdist = one(cache, "archives-v0/*/*/delta*.tar.gz")
    recorded = {"sha256": sdist.parent.name, "size": sdist.stat().st_size}
    change_document(one(cache, BUILDS), in_build(lambda build: build.update(recorded)))

    (fault,) = faults(cache)

    assert fault.code == "wheel-differs"
    assert "cannot be read: " in fault.message


# What is not felloe's


PLACES = [
    *(f"{bucket}/{path}" for bucket in ("archives-v0", "builds-v0", "unpacked-v0") for path in ("x", "aa/x")),
    f"archives-v0/aa/{'a' * 64}/x",
    "builds-v0",
    "built-wheel-metadata-v0/index/x",
    "memo-v0/x",
    "http-v0/aa",
]


@pytest.mark.parametrize("kind", ["FIFO", "socket", *(kind for kind in FOREIGN if "link" in kind)])
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file_is_told_and_not_opened(tmp_path: Path, kind: str, place: str) -> None:
    cache, outside = tmp_path / "cache", tmp_path / "outside"
    outside.mkdir()
    (outside / "x.json").write_text("outside")
    (cache / place).parent.mkdir(parents=True)
    FOREIGN[kind](cache / place, outside)

    assert [(fault.path, fault.code) for fault in faults(cache)] == [(place, "foreign")]


@pytest.mark.parametrize(
    "place",
    [
        "archives-v0/x",
        f"archives-v0/bb/{'a' * 64}/x",
        "archives-v0/aa/short/x",
        "builds-v0/aa/x.json",
        f"builds-v0/aa/{'b' * 32}.json",
        "builds-v0/aa/x.log",
        "unpacked-v0/x",
        "environments-v0/aa/x",
        "built-wheel-metadata-v0/index/x",
        "builds-v0/aa/\x1b[31m\udcff\n",
    ],
)
def test_a_file_that_felloe_does_not_put_there(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.touch()

    (fault,) = faults(tmp_path)

    assert fault.code == "foreign"


def test_an_archive_behind_a_link_is_gone(cache: Path, tmp_path: Path) -> None:
    folder = one(cache, f"archives-v0/*/*/{WHEEL}").parent
    folder.rename(tmp_path / "outside")
    folder.symlink_to(tmp_path / "outside")
    assert [fault.code for fault in faults(cache)] == ["foreign", "wheel-gone"]


def test_folders_without_end(tmp_path: Path) -> None:
    deep = tmp_path.joinpath("memo-v0", *(["x"] * 400))
    deep.mkdir(parents=True)
    assert [fault.code for fault in faults(tmp_path)] == ["foreign"]


def test_what_else_lies_in_the_cache_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").symlink_to("/etc")
    (tmp_path / "keep-v0").mkdir()
    os.mkfifo(tmp_path / "keep-v0" / "fifo")
    assert faults(tmp_path) == []
