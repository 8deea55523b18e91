"""What build requirements resolved to: while the same is listed, and for what."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from felloe.cache.layout import Layout
from felloe.config import Policy
from felloe.resolution.remembered import Remembered, Resolutions, listing_digest, resolution_key
from felloe.url import Url
from felloe.values import Dist, Interpreter
from tests.fixtures.cache import FOREIGN, Cache

KEY = "ab" + 62 * "0"
SECRET = "pa55-w0rd"


def dist(name: str, version: str, **changes: Any) -> Dist:
    filename = f"{name}-{version}-py3-none-any.whl"
    url = Url(f"https://reader:{SECRET}@example.com/{filename}")
    fields = {"hashes": {"sha256": "a" * 64}, "locator": {"url": url}, **changes}
    return Dist(source="acme", kind="wheel", filename=filename, name=name, version=version, **fields)


WHEEL = dist("wheel", "0.45.1")
LISTINGS = {"wheel": [WHEEL, dist("wheel", "0.45.0")], "setuptools": [dist("setuptools", "70.0")]}
CHOSEN = [LISTINGS["setuptools"][0], WHEEL]
REMEMBERED = Remembered(
    listings={name: listing_digest(dists) for name, dists in LISTINGS.items()},
    chosen=(("setuptools", "setuptools-70.0-py3-none-any.whl"), ("wheel", "wheel-0.45.1-py3-none-any.whl")),
)


class Scene:
    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.resolutions = Resolutions(cache.layout, cache.store)
        self.path = cache.layout.resolution(KEY)

    def remember(self, listings: dict[str, list[Dist]] = LISTINGS, chosen: Sequence[Dist] = CHOSEN) -> None:
        self.resolutions.remember(KEY, listings, chosen)

    def recall(self) -> Remembered | None:
        return self.resolutions.recall(KEY)

    def damage(self, **changes: Any) -> None:
        """Writes what is remembered again, with a right check; what is changed to None is not there."""
        self.remember()
        changed = {**(self.cache.store.read_document(self.path) or {}), **changes}
        self.cache.store.write_document(
            self.path, {key: value for key, value in changed.items() if value is not None} or {"nothing": 0}
        )


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Cache(tmp_path / "cache") as cache:
        yield Scene(cache)


def test_what_is_remembered_is_recalled(scene: Scene) -> None:
    assert scene.recall() is None

    scene.remember()

    assert scene.recall() == REMEMBERED
    assert scene.cache.warnings() == []


def test_nothing_required_is_remembered_as_well(scene: Scene) -> None:
    scene.remember({}, [])

    assert scene.recall() == Remembered(listings={}, chosen=())


@pytest.mark.parametrize(
    ("listings", "chosen"),
    [
        ({"wheel": [WHEEL, dist("wheel", "0.1", hashes={})]}, [WHEEL]),  # which may be other bytes tomorrow
        ({}, [WHEEL]),
        ({"wheel": [WHEEL]}, [evolve(WHEEL, name=None)]),
    ],
)
def test_what_could_not_be_told_apart_is_not_remembered(
    scene: Scene, listings: dict[str, list[Dist]], chosen: list[Dist]
) -> None:
    scene.remember(listings, chosen)

    assert scene.recall() is None
    assert scene.cache.warnings() == []


def test_no_secret_is_written(scene: Scene) -> None:
    scene.remember()

    assert SECRET not in scene.path.read_text()
    assert "example.com" not in scene.path.read_text()


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({}, True),
        ({"locator": {}, "size": 1}, True),
        ({"source": "other"}, False),
        ({"filename": "wheel-0.45.2-py3-none-any.whl"}, False),
        ({"content": "git:" + "f" * 40}, False),
        ({"hashes": {"sha256": "b" * 64}}, False),
        ({"hashes": {"sha256": "a" * 64, "md5": "c" * 32}}, False),
        ({"requires_python": ">=3.9"}, False),
        ({"yanked": "broken"}, False),
        ({"upload_time": "2026-01-31T12:00:00Z"}, False),
    ],
)
def test_what_makes_another_listing(changes: dict[str, Any], is_same: bool) -> None:
    other = dist("wheel", "0.45.0")

    assert (listing_digest([other, evolve(WHEEL, **changes)]) == REMEMBERED.listings["wheel"]) is is_same
    assert listing_digest([WHEEL]) != REMEMBERED.listings["wheel"]


# Damaged documents

DAMAGED: list[dict[str, Any]] = [
    {"listings": None},
    {"distributions": None},
    {"listings": None, "distributions": None},
    *({"listings": odd} for odd in (1, "", "text", [], {"a": 1}, {"a": None})),
    *({"distributions": odd} for odd in (1, "", "text", {}, [1], ["a"], [["a"]], [["a", 1]], [[None, "a"]], [{}])),
]


@pytest.mark.parametrize("changes", DAMAGED, ids=json.dumps)
def test_a_damaged_document_is_a_miss_and_heals(scene: Scene, changes: dict[str, Any]) -> None:
    scene.damage(**changes)

    assert scene.recall() is None
    [warning] = scene.cache.warnings()
    assert warning.startswith(f"`resolutions-v0/ab/{KEY}.json` in the cache is not used: ")

    scene.remember()
    assert scene.recall() == REMEMBERED


def test_keys_of_other_releases_do_not_disturb(scene: Scene) -> None:
    scene.damage(later=1)

    assert scene.recall() == REMEMBERED


@pytest.mark.timeout(20)
@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_foreign_thing_in_its_place(scene: Scene, tmp_path: Path, foreign: Any) -> None:
    with Cache(tmp_path / "outside") as other:
        Scene(other).remember()
        outside = Layout(other.root).resolution(KEY)
    scene.path.parent.mkdir(parents=True)
    foreign(scene.path, outside)

    assert scene.recall() is None
    scene.remember()
    assert scene.recall() == REMEMBERED
    assert outside.is_file()


# What it is remembered for

POLICY = Policy(
    constraints=("setuptools<70", "wheel"),
    no_binary=frozenset({"a", "b"}),
    only_binary=frozenset({"c", "d"}),
    exclude_newer=1.0,
)
INTERPRETER = Interpreter(
    path=Path("/usr/bin/python3.11"),
    version="3.11.7",
    tags=("cp311-cp311-linux_x86_64", "py3-none-any"),
    markers={"python_full_version": "3.11.7", "platform_release": "6.1", "platform_version": "#1"},
)
INPUTS: dict[str, Any] = {
    "requirements": ("setuptools>=40.8", "wheel"),
    "policy": POLICY,
    "interpreter": INTERPRETER,
    "sources": [("acme", "https://example.com/simple/"), ("pypi", "")],
    "settings": {"acme": {"speed": "fast"}},
}


def key(**changes: Any) -> str:
    return resolution_key(**{**INPUTS, **changes})


def markers(**changes: str) -> Interpreter:
    return evolve(INTERPRETER, markers={**INTERPRETER.markers, **changes})


CHANGES: list[dict[str, Any]] = [
    {"settings": {}},
    {"settings": {"acme": {"speed": "slow"}}},
    {"requirements": ()},
    {"requirements": ("setuptools>=40.8",)},
    {"requirements": ("setuptools>=40.9", "wheel")},
    {"requirements": ("setuptools>=40.8", "wheel\ud800")},
    {"policy": evolve(POLICY, constraints=("setuptools<71", "wheel"))},
    {"policy": evolve(POLICY, constraints=())},
    {"policy": evolve(POLICY, no_binary=frozenset({"a"}))},
    {"policy": evolve(POLICY, only_binary=frozenset({"c"}))},
    {"policy": evolve(POLICY, no_binary=POLICY.only_binary, only_binary=POLICY.no_binary)},
    {"policy": evolve(POLICY, exclude_newer=2.0)},
    {"policy": evolve(POLICY, exclude_newer=None)},
    {"interpreter": markers(python_full_version="3.11.8")},
    {"interpreter": markers(sys_platform="darwin")},
    {"interpreter": evolve(INTERPRETER, tags=INTERPRETER.tags[1:])},
    {"interpreter": evolve(INTERPRETER, tags=INTERPRETER.tags[::-1])},
    {"sources": [("pypi", "")]},
    {"sources": [("acme", "https://example.com/other/"), ("pypi", "")]},
    {"sources": [("other", "https://example.com/simple/"), ("pypi", "")]},
    {"sources": [("pypi", ""), ("acme", "https://example.com/simple/")]},
]


def test_each_input_makes_another_key() -> None:
    keys = [key(), *(key(**change) for change in CHANGES)]

    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in keys)


@pytest.mark.parametrize(
    "change",
    [
        {"requirements": INPUTS["requirements"][::-1]},
        {"requirements": list(INPUTS["requirements"])},
        {"policy": evolve(POLICY, constraints=POLICY.constraints[::-1])},
        {"interpreter": markers(platform_release="6.2", platform_version="#2")},
        {"interpreter": evolve(INTERPRETER, path=Path("/elsewhere/python"))},
    ],
)
def test_what_makes_no_other_key(change: dict[str, Any]) -> None:
    assert key(**change) == key()
