"""One build as a value, and as the documents of `builds-v0` and `metadata.json`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve, fields

from felloe.build.record import Build, builds_in, with_build, with_document
from felloe.record import Record
from felloe.values import Entry, Fingerprint, Metadata

WHEEL = "demo-1.0-py3-none-any.whl"
OTHER_WHEEL = "demo-1.0-cp311-cp311-linux_x86_64.whl"
METADATA = Metadata({"metadata-version": "2.1", "name": "demo", "version": "1.0", "requires-dist": ["a"]})
OTHER_METADATA = Metadata({**METADATA.fields, "requires-dist": ["b"]})
FINGERPRINT = Fingerprint(settings="s", interpreter="i", toolchain="t")
BUILD = Build(
    build="b" * 32,
    source={"content": "sha256:" + "e" * 64, "subdirectory": "core"},
    project="demo",
    fingerprint=FINGERPRINT,
    goal="wheel",
    rung="wheel",
    metadata=METADATA,
    wheel=WHEEL,
    sha256="a" * 64,
    size=1234,
    backend="setuptools.build_meta",
    backend_version="70.0",
    requires=("setuptools==70.0",),
    hashes={"setuptools-70.0-py3-none-any.whl": "c" * 64},
    built="2026-01-31T12:00:00Z",
    seconds=1.25,
    log="builds-v0/b/f/wheel/log.txt",
)
PREPARED = evolve(BUILD, goal="metadata", rung="prepare", wheel=None, sha256=None, size=None, log="")
EMPTY = Record(kind="index", entry=Entry(content="sha256:" + "e" * 64))


def document(build: Build = BUILD, /, **changes: Any) -> dict[str, Any]:
    """As JSON has it; what is changed to None is not there."""
    changed = {**json.loads(json.dumps(build.to_json())), **changes}
    return {key: value for key, value in changed.items() if value is not None}


def record(*builds: Build) -> Record:
    """Built one after the other, written and read again."""
    found = EMPTY
    for build in builds:
        found = with_build(found, build)
    return Record.from_json(json.loads(json.dumps(found.to_json())))


# The document


@pytest.mark.parametrize(
    "build", [BUILD, PREPARED, evolve(BUILD, goal="metadata"), evolve(BUILD, provenance={"by": ["farm"]})]
)
def test_round_trip(build: Build) -> None:
    assert Build.from_json(document(build), {}) == build


def test_the_document_in_the_order_in_which_people_read_it() -> None:
    assert list(document()) == [
        "build", "source", "project", "fingerprint", "inputs", "goal", "wheel", "sha256", "size", "seconds", "built",
        "log", "requires", "hashes", "backend", "backend-version", "rung", "metadata",
    ]  # fmt: skip
    assert set(document(PREPARED)) == set(document()) - {"wheel", "sha256", "size"}


def test_of_little_is_read_what_there_is() -> None:
    optional = dict.fromkeys(
        ("source", "project", "size", "backend", "backend-version", "requires", "hashes", "built", "seconds", "log")
    )

    found = Build.from_json(document(**optional), {})

    told = {field.name for field in fields(Build)} - {name.replace("-", "_") for name in optional}
    assert {name: getattr(found, name) for name in told} == {name: getattr(BUILD, name) for name in told}
    assert (found.size, found.backend, found.requires, found.built, found.seconds) == (None, "", (), "", 0.0)
    assert (found.source, found.backend_version, found.hashes, found.log) == ({}, "", {}, "")


def test_metadata_are_those_of_the_record_where_it_has_none() -> None:
    assert Build.from_json(document(metadata=None), {WHEEL: OTHER_METADATA}).metadata == OTHER_METADATA


def test_keys_of_other_releases_do_not_disturb() -> None:
    assert Build.from_json(document(later=1), {}) == BUILD


ODD: list[dict[str, Any]] = [
    *({key: None} for key in ("build", "fingerprint", "goal", "rung", "sha256")),
    *({key: odd} for key in ("build", "fingerprint", "goal", "rung") for odd in (1, [], {})),
    {"fingerprint": "odd"},
    {"fingerprint": {"settings": "s", "interpreter": "i"}},
    {"fingerprint": {"settings": "s", "interpreter": "i", "toolchain": 1}},
    {"goal": "odd"},
    {"rung": "odd"},
    {"rung": "pkg-info"},
    {"wheel": 1},
    {"wheel": "demo-1.0.tar.gz"},
    {"wheel": "demo.whl"},
    {"wheel": "py3-none-any.whl"},
    {"wheel": f"../{WHEEL}"},
    {"wheel": f"/tmp/{WHEEL}"},
    {"sha256": 1},
    *({"size": odd} for odd in ("1", 1.5, [], True)),
    {"source": 1},
    {"source": ["content"]},
    {"backend": 1},
    {"backend-version": 1},
    *({"build": odd} for odd in ("b", "../..", "B" * 32, "b" * 32 + "\n")),
    *({"requires": odd} for odd in (1, [1], [["a"]])),
    *({"hashes": odd} for odd in ("a", 1, ["a"], {"a": 1})),
    *({"provenance": odd} for odd in ("a", 1, ["a"])),
    {"built": 1},
    *({"seconds": odd} for odd in ("soon", [], {})),
    {"log": 1},
    *({"metadata": odd} for odd in (1, [], {}, {"name": "demo"}, {**METADATA.fields, "requires-dist": "a"})),
]


@pytest.mark.parametrize("change", ODD, ids=json.dumps)
def test_a_document_of_odd_types_is_refused_and_left_out(change: dict[str, Any]) -> None:
    odd = document(**change)

    with pytest.raises(ValueError, match=r"\w"):
        Build.from_json(odd, {})
    documents = (document(PREPARED), odd, {}, document())
    assert builds_in(evolve(EMPTY, builds=documents)) == [BUILD, PREPARED]


@pytest.mark.parametrize("odd", [None, 1, "text", [], ["build"]])
def test_what_is_no_document_is_refused(odd: Any) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        Build.from_json(odd, {})


def test_metadata_that_are_nowhere_are_refused() -> None:
    for odd in (document(metadata=None), document(PREPARED, metadata=None)):
        with pytest.raises(ValueError, match=r"\w"):
            Build.from_json(odd, {OTHER_WHEEL: METADATA})


# Builds in a record


def test_a_build_in_a_record() -> None:
    found = record(BUILD)

    assert (found.data, found.rungs) == ({WHEEL: METADATA}, {WHEEL: "wheel"})
    assert found.builds == (document(metadata=None),)
    assert builds_in(found) == [BUILD]


def test_metadata_without_a_wheel_stay_with_the_build() -> None:
    found = record(PREPARED)

    assert (found.data, found.rungs) == ({}, {})
    assert found.builds == (document(PREPARED),)
    assert builds_in(found) == [PREPARED]


OTHERS = [
    evolve(BUILD, fingerprint=evolve(FINGERPRINT, settings="x")),
    evolve(BUILD, fingerprint=evolve(FINGERPRINT, interpreter="x")),
    evolve(BUILD, fingerprint=evolve(FINGERPRINT, toolchain="x")),
    evolve(BUILD, goal="metadata"),
    evolve(BUILD, build="f" * 32),
    PREPARED,
]


@pytest.mark.parametrize("other", OTHERS)
def test_builds_of_other_inputs_are_kept_newest_first(other: Build) -> None:
    assert builds_in(record(BUILD, other)) == [other, BUILD]
    assert builds_in(record(other, BUILD)) == [BUILD, other]


def test_a_build_replaces_that_of_the_same_inputs() -> None:
    again = evolve(BUILD, sha256="f" * 64, size=1, built="2027-01-31T12:00:00Z")

    assert builds_in(record(BUILD, PREPARED, again)) == [again, PREPARED]
    assert builds_in(record(BUILD, BUILD)) == [BUILD]


def test_metadata_that_differ_are_kept_apart() -> None:
    """Under the wheel's name are the first, which another environment may have given."""
    other = evolve(BUILD, fingerprint=evolve(FINGERPRINT, interpreter="x"), metadata=OTHER_METADATA)

    found = record(BUILD, other)

    assert found.data == {WHEEL: METADATA}
    assert ["metadata" in each for each in found.builds] == [False, True]
    assert builds_in(found) == [other, BUILD]


def test_metadata_that_differ_replace_none_of_the_same_inputs() -> None:
    again = evolve(BUILD, metadata=OTHER_METADATA)

    found = record(BUILD, again)

    assert found.data == {WHEEL: METADATA}
    assert builds_in(found) == [again]


def test_wheels_of_other_names_are_beside_each_other() -> None:
    other = evolve(BUILD, fingerprint=evolve(FINGERPRINT, interpreter="x"), wheel=OTHER_WHEEL, metadata=OTHER_METADATA)

    found = record(BUILD, other)

    assert found.data == {WHEEL: METADATA, OTHER_WHEEL: OTHER_METADATA}
    assert [sorted(each) for each in found.builds] == [sorted(document(metadata=None))] * 2
    assert builds_in(found) == [other, BUILD]


def test_what_else_is_in_a_record_stays() -> None:
    before = evolve(EMPTY, data={OTHER_WHEEL: METADATA}, rungs={OTHER_WHEEL: "sidecar"}, builds=({"later": 1},))

    after = with_build(evolve(before, extra={"later": 1}), BUILD)

    assert after == evolve(
        before,
        data={**before.data, WHEEL: METADATA},
        rungs={**before.rungs, WHEEL: "wheel"},
        builds=({"later": 1}, document(metadata=None)),
        extra={"later": 1},
    )


def test_a_list_of_documents_with_one_more() -> None:
    one, other = document(), document(OTHERS[0])

    assert with_document([], one) == (one,)
    assert with_document([one, other], {**one, "size": 1}) == (other, {**one, "size": 1})
    assert with_document([{}, {"build": []}], one) == ({}, {"build": []}, one)
