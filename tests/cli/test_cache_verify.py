"""`felloe cache verify`: whatever is not as it was written is told, with what to do, and nothing is changed."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from zipfile import ZipFile

import pytest

from felloe.build.history import History
from felloe.build.plan import BuildOrder
from felloe.cache.contents import clean, items
from felloe.cache.layout import Layout
from felloe.cache.run import Run
from felloe.config import Limits
from felloe.testing import IndexServer, Project, make_wheel
from felloe.values import Dist, Fingerprint, Interpreter
from felloe.verify import Fault, Verification
from tests.cli.conftest import fill
from tests.fixtures.cache import FOREIGN, Cache, everything
from tests.fixtures.line import change_document, read_document
from tests.fixtures.program import Program
from tests.fixtures.projects import HOOKS, buildable, hooks_called

WHEEL = "delta-1.0-py3-none-any.whl"
BUILDS = "builds-v0/*/*/*/record.json"
RECORD = "built-wheel-metadata-v0/**/delta-1.0.tar.gz/metadata.json"
CLEAN = "`felloe cache clean delta`, and ask for it again"
REMOVE_FOLDER = "remove its folder: felloe does not use it, and builds again what it needs"

Of = Literal["wheel", "metadata", "failure"]  # what came of a build


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with all that felloe keeps: of `delta` both metadata and a wheel were built, `epsilon` failed."""
    folder = tmp_path_factory.mktemp("verify")
    with IndexServer() as index:
        fill(index, folder / "made")
        index.add(make_wheel(folder, Project("needed", "1.0"), files={"needed.py": ""}))
        index.add(buildable(folder, "delta", requires=["needed"], code="print('delta is built')"))
        index.add(buildable(folder, "epsilon", code="raise SystemExit('no use')"))
        felloe = Program(folder, FELLOE_INDEX_URL=index.index_url)
        felloe("metadata", "delta", "acme")
        felloe("wheel", "delta", "gamma", "-o", "out")
        felloe("wheel", "epsilon", "-o", "out", code=1)
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


def summary(cache: Path) -> list[tuple[str, str]]:
    """Where the faults are, and what they are."""
    return [(fault.path, fault.code) for fault in faults(cache)]


def below(cache: Path, path: Path) -> str:
    return path.relative_to(cache).as_posix()


def one(cache: Path, pattern: str) -> Path:
    """The first of the files."""
    return min(path for path in cache.glob(pattern) if path.is_file())


def record_of(cache: Path, of: Of) -> Path:
    """The record of the build that came to this."""
    documents = {path: read_document(path) for path in cache.glob(BUILDS)}
    found = {"failure" if "error" in each else str(each["goal"]): path for path, each in documents.items()}
    assert len(found) == len(documents) == 3
    return found[of]


def wheel_of(cache: Path) -> Path:
    return record_of(cache, "wheel").with_name(WHEEL)


def clean_projects(cache: Path, *names: str) -> None:
    with Cache(cache) as ours:
        clean(ours.layout, ours.run, list(items(ours.layout, ours.records)), frozenset(names))


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
    wheel_of(cache).unlink()
    before = everything(cache)

    human = felloe("cache", "verify", "--cache-dir", cache, code=1)
    document = felloe("cache", "verify", "--cache-dir", cache, "--json", code=1).document

    gone, damaged = human.out.splitlines()
    assert gone.startswith("builds-v0/")
    assert gone.endswith(f"/wheel/record.json: the wheel `{WHEEL}` that it records is gone; nothing need be done: "
                         "it is built again when it is asked for")  # fmt: skip
    assert damaged.startswith("built-wheel-metadata-v0/")
    assert "metadata.json: its check is wrong; remove it: " in damaged
    assert human.err.startswith("2 faults in ")
    assert [fault["code"] for fault in document["faults"]] == ["wheel-gone", "damaged"]
    assert [f"{fault['path']}: {fault['message']}; {fault['hint']}" for fault in document["faults"]] == [gone, damaged]
    assert everything(cache) == before


# What is found


DAMAGES = [spoil, lambda path: path.write_bytes(b""), lambda path: os.truncate(path, 20)]


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        ("archives-v0/*/*/delta*.tar.gz", "damaged-archive"),
        ("archives-v0/*/*/gamma*.whl", "damaged-archive"),
        (RECORD, "damaged"),
        ("wheel-metadata-v0/**/*.json", "damaged"),
        ("resolutions-v0/*/*", "damaged"),
        ("http-v0/*/*", "damaged"),
        ("interpreters-v0/*", "damaged"),
        ("unpacked-v0/*/*/*.seal", "damaged"),
        ("environments-v0/*/*.seal", "damaged"),
    ],
)
@pytest.mark.parametrize("change", DAMAGES)
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


# Builds


@pytest.mark.parametrize("change", DAMAGES)
@pytest.mark.parametrize("of", ["wheel", "metadata", "failure"])
def test_a_damaged_record_of_a_build(cache: Path, of: Of, change: Callable[[Path], None]) -> None:
    """What lies beside it, of which it may have told, is no fault of its own."""
    path = record_of(cache, of)
    change(path)

    (fault,) = faults(cache)

    assert (fault.path, fault.code, fault.hint) == (below(cache, path), "damaged", REMOVE_FOLDER)
    shutil.rmtree(path.parent)
    assert [fault.code for fault in faults(cache)] == (["wheel-gone"] if of == "wheel" else [])


@pytest.mark.parametrize(
    ("change", "why"), [(spoil, "another sha256"), *((change, "another size") for change in DAMAGES[1:])]
)
def test_a_damaged_wheel(cache: Path, change: Callable[[Path], None], why: str) -> None:
    """It is part of its record; that the entry tells of it as well makes no second fault."""
    change(wheel_of(cache))

    (fault,) = faults(cache)

    assert (fault.path, fault.code) == (below(cache, record_of(cache, "wheel")), "wheel-differs")
    assert fault.message == f"the wheel `{WHEEL}` that it records has {why}"
    assert fault.hint == CLEAN
    clean_projects(cache, "delta")
    assert faults(cache) == []


def test_a_wheel_that_is_gone(cache: Path) -> None:
    wheel_of(cache).unlink()

    (fault,) = faults(cache)

    assert (fault.path, fault.code) == (below(cache, record_of(cache, "wheel")), "wheel-gone")
    assert fault.message == f"the wheel `{WHEEL}` that it records is gone"


@pytest.mark.parametrize("of", ["wheel", "metadata", "failure"])
def test_a_log_may_say_anything_or_not_be_there(cache: Path, of: Of) -> None:
    log = record_of(cache, of).with_name("log.txt")
    log.write_bytes(b"\xff\0")
    assert faults(cache) == []
    log.unlink()
    assert faults(cache) == []


@pytest.mark.parametrize("of", ["wheel", "metadata", "failure"])
def test_what_the_record_of_a_build_does_not_know(cache: Path, of: Of) -> None:
    folder = record_of(cache, of).parent
    names = ["other-1.0-py3-none-any.whl", "record.json.bak", "mine/log.txt", "mine/record.json"]
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes((folder / "record.json").read_bytes())

    assert sorted(summary(cache)) == sorted((below(cache, folder / name), "foreign") for name in names)


def test_what_lies_where_no_record_is(cache: Path) -> None:
    record = record_of(cache, "wheel")
    record.unlink()

    expected = [(below(cache, record.with_name(name)), "foreign") for name in (WHEEL, "log.txt")]
    assert summary(cache) == expected  # the entry knows all about the wheel, which is whole


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        (lambda build: build["metadata"].update({"requires-dist": ["x"]}), "wheel-differs", "another requires-dist in"),
        (lambda build: build["metadata"].update(name="other"), "wheel-differs", "another name in"),
        (lambda build: build["metadata"].update(version="2"), "wheel-differs", "another version in"),
        (lambda build: build["metadata"].update({"requires-python": ">3"}), "wheel-differs", "another requires-python"),
        (lambda build: build["metadata"].update({"provides-extra": ["x"]}), "wheel-differs", "another provides-extra"),
        (lambda build: build.update(size=1), "wheel-differs", "has another size"),
        (lambda build: build.update(sha256="0" * 64), "wheel-differs", "has another sha256"),
        (lambda build: build.update(sha256=f"/../../../{'0' * 54}"), "wheel-differs", "has another sha256"),
        (lambda build: build.update(sha256="../.."), "wheel-differs", "has another sha256"),
        (lambda build: build.update(wheel="other-1.0-py3-none-any.whl"), "wheel-gone", "is gone"),
        (lambda build: build.update(wheel="\x1b[31m-1-py3-none-any.whl"), "wheel-gone", "\\x1b[31m"),
        (lambda build: build.update(wheel="\0-1-py3-none-any.whl"), "unreadable-build", "is not the name of a wheel"),
        (lambda build: build.update(wheel="..-1-py3-none-any.whl"), "wheel-gone", "is gone"),
        (lambda build: build.update(wheel="/etc/hostname"), "unreadable-build", "is not the name of a wheel"),
        (lambda build: build.update(wheel=f"../wheel/{WHEEL}"), "unreadable-build", "is not the name of a wheel"),
        (lambda build: build.update(wheel=[WHEEL]), "unreadable-build", "is not a text"),
        (lambda build: build.update(wheel={"x": 1}), "unreadable-build", "is not a text"),
        (lambda build: build["source"].update(content="sha256:0"), "wrong-source", "of another source"),
        (lambda build: build.update(build="0" * 32), "wrong-source", "of another source"),
        (lambda build: build.update(build="0" * 32, source={}), "wrong-source", "of another build"),
        (lambda build: build.update(build="../.."), "unreadable-build", "is no build id"),
        (lambda build: build["fingerprint"].update(settings="x"), "wrong-source", "of another build"),
        (lambda build: build["fingerprint"].update(interpreter="x"), "wrong-source", "of another build"),
        (lambda build: build["fingerprint"].update(toolchain="x"), "wrong-source", "of another build"),
        (lambda build: build["fingerprint"].update(toolchain=1), "unreadable-build", "is not a text"),
        (lambda build: build.update(goal="editable"), "wrong-source", "of another build"),
        (lambda build: build.update(goal="metadata"), "wrong-source", "of another build"),
        (lambda build: build.update(goal="x"), "unreadable-build", "'x' is none of"),
        (lambda build: build.update(source=3), "unreadable-build", "is not a table"),
        (lambda build: build.update(source=[[1, 2], ["a", 3]]), "unreadable-build", ""),
    ],
)
def test_a_record_that_does_not_agree(cache: Path, change: Any, code: str, told: str) -> None:
    """A wheel of another name than it says is a fault as well."""
    path = record_of(cache, "wheel")
    change_document(path, change)

    *others, fault = faults(cache)

    assert (fault.path, fault.code) == (below(cache, path), code)
    assert told in fault.message
    is_named = read_document(path)["wheel"] == WHEEL
    assert [(each.path, each.code) for each in others] == (
        [] if is_named else [(below(cache, path.with_name(WHEEL)), "foreign")]
    )
    if code in {"wheel-differs", "wrong-source"}:
        name = read_document(path)["metadata"]["name"]
        assert fault.hint == CLEAN.replace("delta", name)
        clean_projects(cache, name)
        assert not path.parent.exists()


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        (lambda failure: failure.update(build="0" * 32), "wrong-source", "of another build"),
        (lambda failure: failure.update(build="../.."), "wrong-source", "of another build"),
        (lambda failure: failure.update(build="/etc"), "wrong-source", "of another build"),
        (lambda failure: failure["fingerprint"].update(settings="x"), "wrong-source", "of another build"),
        (lambda failure: failure.update(goal="metadata"), "wrong-source", "of another build"),
        (lambda failure: failure.update(goal="x"), "unreadable-build", "'x' is none of"),
        (lambda failure: failure.update(goal=[]), "unreadable-build", "is none of"),
        (lambda failure: failure["error"].update(cause="x"), "unreadable-build", "'x' is none of"),
        (lambda failure: failure.update(fingerprint=1), "unreadable-build", "cannot be read"),
        (lambda failure: failure.update(error=None), "unreadable-build", "cannot be read"),
        (lambda failure: failure.update(error=[]), "unreadable-build", "cannot be read"),
        (lambda failure: failure.update(error={}), "unreadable-build", "cannot be read"),
        (lambda failure: failure.pop("what"), "unreadable-build", "cannot be read"),
    ],
)
def test_a_failure_that_does_not_agree(cache: Path, change: Any, code: str, told: str) -> None:
    path = record_of(cache, "failure")
    change_document(path, change)

    (fault,) = faults(cache)

    assert (fault.path, fault.code, fault.hint) == (below(cache, path), code, REMOVE_FOLDER)
    assert told in fault.message


@pytest.mark.parametrize(
    "document", [{"builds": []}, {"builds": 3}, {"x": None}, {"metadata": {}}, {"error": 3}, {"error": "x"}]
)
@pytest.mark.parametrize("of", ["metadata", "failure"])
def test_a_record_of_another_form(cache: Path, of: Of, document: dict[str, Any]) -> None:
    path = record_of(cache, of)
    change_document(path, lambda old: old.clear() or old.update(document))

    (fault,) = faults(cache)

    assert (fault.path, fault.code, fault.hint) == (below(cache, path), "unreadable-build", REMOVE_FOLDER)


@pytest.mark.parametrize("of", ["wheel", "failure"])
def test_texts_that_no_file_can_have_are_told(cache: Path, of: Of) -> None:
    path = record_of(cache, of)
    change_document(path, lambda build: build["fingerprint"].update(settings="\ud800"))

    (fault,) = faults(cache)

    assert fault.path == below(cache, path)
    assert fault.code in {"unreadable-build", "wrong-source"}


OTHER = {
    "build": "0" * 32,
    "fingerprint": Fingerprint(settings="x", interpreter="y", toolchain="z"),
    "goal": "editable",
}


@pytest.mark.parametrize("changed", [["build"], ["fingerprint"], ["goal"], list(OTHER)], ids=" ".join)
@pytest.mark.parametrize("of", ["wheel", "metadata", "failure"])
def test_a_record_of_another_build_is_a_fault_and_no_hit(cache: Path, of: Of, changed: list[str]) -> None:
    record = record_of(cache, of)
    document = read_document(record)
    right = {**{name: document[name] for name in OTHER}, "fingerprint": Fingerprint(**document["fingerprint"])}
    asked = {**right, **{name: OTHER[name] for name in changed}}
    place = Layout(cache).build(asked["build"], asked["fingerprint"].key, asked["goal"])
    with Cache(cache) as ours:
        history = History(ours.layout, ours.store, ours.archives, ours.events.append)
        known = history.builds(asked["build"])
        shutil.copytree(record.parent, place)

        (fault,) = faults(cache)

        assert (fault.path, fault.code) == (below(cache, place / "record.json"), "wrong-source")
        assert fault.hint == (REMOVE_FOLDER if of == "failure" else CLEAN)
        assert history.builds(asked["build"]) == known
        told = ours.warnings()
        assert [message for message in told if "it is of another build" in message] == ([] if of == "failure" else told)
        hits = [is_remembered(history, order_of(**each), document.get("failed")) for each in (right, asked)]
        assert hits == [of == "failure", False]


def order_of(**asked: Any) -> BuildOrder:
    dist = Dist(source="index", kind="sdist", filename="delta-1.0.tar.gz")
    python = Interpreter(path=Path("/python"), version="3.11.7", tags=(), markers={})
    return BuildOrder(what="it", dist=dist, archive=Path(), interpreter=python, config_settings={}, **asked)


def is_remembered(history: History, order: BuildOrder, failed: str | None) -> bool:
    """Whether it failed, when it was asked for at once."""
    failure = history.failure(order)
    now = 0.0 if failed is None else datetime.fromisoformat(failed).timestamp()
    return failure is not None and failure.is_of(order, now)


def test_what_is_in_the_place_of_a_build_is_not_taken_for_it(
    felloe: Program, index: IndexServer, tmp_path: Path
) -> None:
    """Neither the wheel of another build nor the failure of another."""
    index.add(buildable(tmp_path, "delta", code="assert (config_settings or {}).get('speed') != 'none'"))
    calls = tmp_path / "calls"

    def hooks_of_delta(*arguments: str) -> list[str]:
        """Without its entry, which knows more."""
        shutil.rmtree(felloe.cache / "built-wheel-metadata-v0", ignore_errors=True)
        calls.unlink(missing_ok=True)
        felloe("wheel", "delta", "-o", "out", *arguments, **{HOOKS: str(calls)})
        return hooks_called(calls)

    built = hooks_of_delta()
    assert "delta wheel" in built
    assert hooks_of_delta() == []
    felloe("wheel", "delta", "-o", "out", "-C", "speed=none", code=1)
    (good,) = (path.parent for path in felloe.cache.glob(f"builds-v0/*/*/wheel/{WHEEL}"))
    (failed,) = (folder for folder in good.parent.parent.glob("*/wheel") if folder != good)
    place = Layout(felloe.cache).build(good.parent.parent.name, "0" * 16, "wheel")
    place.parent.mkdir()
    good.rename(place)
    assert hooks_of_delta() == built
    shutil.rmtree(good)
    shutil.copytree(failed, good)
    assert hooks_of_delta() == built

    document = felloe("cache", "verify", "--json", code=1).document
    assert [(fault["path"], fault["code"]) for fault in document["faults"]] == [
        (below(felloe.cache, place / "record.json"), "wrong-source")
    ]


def test_the_builds_of_an_entry_are_checked_as_well(cache: Path) -> None:
    path = one(cache, RECORD)
    change_document(path, lambda document: document["data"][WHEEL].update({"requires-dist": ["x"]}))

    (fault,) = faults(cache)

    assert (fault.path, fault.code) == (below(cache, path), "wheel-differs")
    assert fault.hint == CLEAN


def test_an_entry_may_tell_of_a_build_that_was_replaced(cache: Path) -> None:
    """By one of the same job, for another entry of the same bytes: who asks for the old wheel gets the new one."""
    wheel = wheel_of(cache)
    with ZipFile(wheel, "a") as archive:
        archive.comment = b"built again"
    now = {"sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(), "size": wheel.stat().st_size}
    change_document(record_of(cache, "wheel"), lambda build: build.update(now))
    assert faults(cache) == []

    wheel.unlink()
    assert summary(cache) == [(below(cache, record_of(cache, "wheel")), "wheel-gone")]


def test_an_entry_may_tell_of_a_build_that_is_gone(cache: Path) -> None:
    shutil.rmtree(wheel_of(cache).parent)
    assert summary(cache) == [(below(cache, one(cache, RECORD)), "wheel-gone")]


def test_what_is_wrong_with_a_wheel_is_told_once(cache: Path) -> None:
    spoil(wheel_of(cache))
    assert [fault.code for fault in faults(cache)] == ["wheel-differs"]
    wheel_of(cache).unlink()
    assert [fault.code for fault in faults(cache)] == ["wheel-gone"]


def test_each_of_several_wheels_with_the_same_bytes_is_looked_at(cache: Path) -> None:
    first = record_of(cache, "wheel")
    other = {"settings": "x", "interpreter": "y", "toolchain": "z"}
    document = read_document(first)
    second = Layout(cache).build(document["build"], Fingerprint(**other).key, "wheel") / "record.json"
    shutil.copytree(first.parent, second.parent)
    change_document(second, lambda build: build.update(fingerprint=other))
    archive = Layout(cache).archive(document["sha256"], WHEEL)
    archive.parent.mkdir(parents=True)
    shutil.copy(first.with_name(WHEEL), archive)
    assert faults(cache) == []

    spoil(archive)
    spoil(first.with_name(WHEEL))
    second.with_name(WHEEL).unlink()

    expected = [(first, "wheel-differs"), (second, "wheel-gone")]
    assert sorted(summary(cache)) == sorted(
        [(below(cache, archive), "damaged-archive"), *((below(cache, path), code) for path, code in expected)]
    )


def test_the_same_bytes_under_another_name_will_do_for_an_archive_alone(cache: Path) -> None:
    archive, wheel = one(cache, "archives-v0/*/*/gamma*.whl"), wheel_of(cache)
    archive.rename(archive.with_name("other.whl"))
    assert faults(cache) == []
    wheel.rename(wheel.with_name("other.whl"))
    assert summary(cache) == [
        (below(cache, wheel.with_name("other.whl")), "foreign"),
        (below(cache, record_of(cache, "wheel")), "wheel-gone"),
    ]


def test_a_wheel_whose_name_is_that_of_another(cache: Path) -> None:
    """As its record has it, and not as its metadata do."""
    name = "\x1b[31m-1-py3-none-any.whl"
    wheel_of(cache).rename(wheel_of(cache).with_name(name))
    change_document(record_of(cache, "wheel"), lambda build: build.update(wheel=name))

    fault = faults(cache)[0]

    assert (fault.path, fault.code) == (below(cache, record_of(cache, "wheel")), "wheel-differs")
    assert "the wheel `\\x1b[31m-1-py3-none-any.whl` that it records cannot be read: " in fault.message


def test_a_wheel_that_is_none(cache: Path) -> None:
    """Its bytes are those recorded; they are no wheel."""
    sdist = one(cache, "archives-v0/*/*/delta*.tar.gz")
    shutil.copy(sdist, wheel_of(cache))
    recorded = {"sha256": sdist.parent.name, "size": sdist.stat().st_size}
    change_document(record_of(cache, "wheel"), lambda build: build.update(recorded))

    (fault,) = faults(cache)

    assert fault.code == "wheel-differs"
    assert "cannot be read: " in fault.message


# What is not felloe's


KEY = "c" * 16
NAMES = ["", "/record.json", "/log.txt", f"/{WHEEL}"]
PLACES = [
    *(f"{bucket}/{path}" for bucket in ("archives-v0", "builds-v0", "unpacked-v0") for path in ("x", "aa/x")),
    f"archives-v0/aa/{'a' * 64}/x",
    "builds-v0",
    *(f"builds-v0/{'a' * 32}{path}" for path in ("", f"/{KEY}", *(f"/{KEY}/wheel{name}" for name in NAMES))),
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


NO_BUILDS = [
    "",
    "b" * 32,
    f"{'b' * 32}/{KEY}",
    f"{'b' * 32}/wheel",
    f"{'b' * 32}/{KEY}/prepare",
    f"{'b' * 32}/{KEY}/WHEEL",
    f"{'b' * 32}/{KEY}/wheel/wheel",
    f"{'b' * 32}/{KEY}c/wheel",
    f"{'b' * 32}/{'C' * 16}/wheel",
    f"{'b' * 31}/{KEY}/wheel",
    f"x/{KEY}/wheel",
    f"bb/{'b' * 32}/{KEY}/wheel",
]


@pytest.mark.parametrize(
    "place",
    [
        "archives-v0/x",
        f"archives-v0/bb/{'a' * 64}/x",
        "archives-v0/aa/short/x",
        "builds-v0/aa/x.json",
        f"builds-v0/aa/{'b' * 32}.json",
        "builds-v0/aa/x.log",
        *(f"builds-v0/{folder}{name}" for folder in NO_BUILDS for name in NAMES if name),
        *(f"builds-v0/{'b' * 32}/{KEY}/wheel/{name}" for name in ("x", WHEEL, "log.txt", "record.json.bak")),
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


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_wheel_behind_a_link_is_gone(cache: Path, tmp_path: Path, level: int) -> None:
    place = [wheel_of(cache), *wheel_of(cache).parents][level]
    place.rename(tmp_path / "outside")
    place.symlink_to(tmp_path / "outside")

    knows = record_of(cache, "wheel") if level == 0 else one(cache, RECORD)
    assert summary(cache) == [(below(cache, place), "foreign"), (below(cache, knows), "wheel-gone")]


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
