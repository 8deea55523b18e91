"""What build requirements resolved to: how long it counts, and for what."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from felloe.cache.layout import Layout
from felloe.config import Policy
from felloe.resolution.remembered import LIFETIME, Pin, Resolutions, resolution_key
from felloe.url import Url
from felloe.values import Dist, Interpreter
from tests.fixtures.cache import FOREIGN, Cache

KEY = "ab" + 62 * "0"
NOW = 1_800_000_000.5  # in the year 2027
SECRET = "pa55-w0rd"
DISTS = (
    Dist(
        source="acme",
        kind="wheel",
        filename="wheel-0.45.1-py3-none-any.whl",
        name="wheel",
        version="0.45.1",
        content="sha256:" + "a" * 64,
        hashes={"sha256": "a" * 64},
        locator={"url": Url(f"https://reader:{SECRET}@example.com/wheel-0.45.1-py3-none-any.whl")},
    ),
    Dist(source="pypi", kind="sdist", filename="setuptools-70.0.tar.gz", name="setuptools", version="70.0"),
)
PINS = [
    Pin(
        name="wheel",
        source="acme",
        filename="wheel-0.45.1-py3-none-any.whl",
        content="sha256:" + "a" * 64,
        hashes={"sha256": "a" * 64},
    ),
    Pin(name="setuptools", source="pypi", filename="setuptools-70.0.tar.gz", content=None, hashes={}),
]


class Clock:
    """Says what it is told to say: seconds since the epoch."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Scene:
    """One cache and one clock; each question is a run of its own."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.clock = Clock()
        self.path = cache.layout.resolution(KEY)

    def run(self, *, offline: bool = False, refresh: bool = False) -> Resolutions:
        return Resolutions(self.cache.layout, self.cache.store, self.clock, offline=offline, refresh=refresh)

    def remember(self, *dists: Dist) -> None:
        self.run().remember(KEY, dists or DISTS)

    def recall(self, **options: bool) -> list[Pin] | None:
        return self.run(**options).recall(KEY)

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

    assert scene.recall() == PINS
    assert scene.cache.warnings() == []


def test_nothing_required_is_remembered_as_well(scene: Scene) -> None:
    scene.run().remember(KEY, [])

    assert scene.recall() == []


def test_what_has_no_name_to_be_found_by_is_not_remembered(scene: Scene) -> None:
    scene.remember(DISTS[0], evolve(DISTS[1], name=None))

    assert scene.recall() is None
    assert scene.cache.warnings() == []


def test_the_newest_counts(scene: Scene) -> None:
    scene.remember()
    scene.remember(DISTS[1])

    assert scene.recall() == PINS[1:]


def test_no_secret_is_written(scene: Scene) -> None:
    scene.remember()

    assert SECRET not in scene.path.read_text()
    assert "example.com" not in scene.path.read_text()
    assert json.loads(scene.path.read_text())["resolved"] == "2027-01-15T08:00:00.500000Z"


# For how long


@pytest.mark.parametrize(
    ("age", "options", "counts"),
    [
        (0, {}, True),
        (LIFETIME, {}, True),
        (LIFETIME + 1, {}, False),
        (-1, {}, False),  # the clock was put back
        (-1e9, {}, False),
        (0, {"offline": True}, True),
        (LIFETIME + 1, {"offline": True}, True),
        (1e9, {"offline": True}, True),
        (-1, {"offline": True}, True),
        (0.5, {"refresh": True}, False),
        (LIFETIME + 1, {"refresh": True}, False),
        (0.5, {"refresh": True, "offline": True}, False),
    ],
)
def test_how_long_it_counts(scene: Scene, age: float, options: dict[str, bool], counts: bool) -> None:
    scene.remember()
    scene.clock.now = NOW + age

    assert scene.recall(**options) == (PINS if counts else None)
    assert scene.cache.warnings() == []


def test_a_run_that_refreshes_resolves_once(scene: Scene) -> None:
    scene.remember(DISTS[1])
    scene.clock.now += 1
    run = scene.run(refresh=True)
    assert run.recall(KEY) is None

    scene.clock.now += 1
    run.remember(KEY, DISTS)
    assert run.recall(KEY) == PINS
    scene.clock.now += LIFETIME
    assert run.recall(KEY) == PINS
    scene.clock.now += 1
    assert run.recall(KEY) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"locator": {}, "size": 1, "yanked": True, "upload_time": "2026-01-31T12:00:00Z"}, True),
        ({"source": "other"}, False),
        ({"filename": "wheel-0.45.2-py3-none-any.whl"}, False),
        ({"content": None}, False),
        ({"content": "git:" + "f" * 40}, False),
        ({"hashes": {}}, False),
        ({"hashes": {"sha256": "b" * 64}}, False),
        ({"hashes": {"sha256": "a" * 64, "md5": "c" * 32}}, False),
    ],
)
def test_which_file_a_pin_is_of(change: dict[str, Any], expected: bool) -> None:
    assert PINS[0].is_of(evolve(DISTS[0], **change)) is expected
    assert not PINS[1].is_of(evolve(DISTS[0], **change))


# Damaged documents

WHOLE: dict[str, Any] = {"name": "a", "source": "acme", "filename": "a.whl", "content": "git:f", "hashes": {}}
DAMAGED: list[dict[str, Any]] = [
    {"resolved": None},
    {"distributions": None},
    {"resolved": None, "distributions": None},
    *({"resolved": odd} for odd in (1, [], {}, "", "soon", "2026-01-31T25:00:00Z", "0001-01-01T00:00:00")),
    *({"distributions": odd} for odd in (1, "", "text", {}, WHOLE, [1], ["a"], [[]], [{}], [None])),
    *({"distributions": [{key: odd for key, odd in WHOLE.items() if key != left_out}]} for left_out in WHOLE),
    *({"distributions": [{**WHOLE, key: odd}]} for key in WHOLE for odd in (1, ["a"], {"a": 1})),
    *({"distributions": [{**WHOLE, key: None}]} for key in WHOLE if key != "content"),
    {"distributions": [{**WHOLE, "hashes": "text"}]},
]


@pytest.mark.parametrize("changes", DAMAGED, ids=json.dumps)
@pytest.mark.parametrize("offline", [False, True])
def test_a_damaged_document_is_a_miss_and_heals(scene: Scene, changes: dict[str, Any], offline: bool) -> None:
    scene.damage(**changes)

    assert scene.recall(offline=offline) is None
    [warning] = scene.cache.warnings()
    assert warning.startswith(f"`resolutions-v0/ab/{KEY}.json` in the cache is not used: ")

    scene.remember()
    assert scene.recall() == PINS
    assert scene.cache.warnings() == []


def test_keys_of_other_releases_do_not_disturb(scene: Scene) -> None:
    scene.damage(distributions=[{**WHOLE, "later": 1}], later=1)

    assert scene.recall() == [Pin(**WHOLE)]
    assert scene.cache.warnings() == []


@pytest.mark.parametrize("data", [b"", b"{", b"\x00" * 100, b'{"check": "00000000",\n}'])
def test_damaged_bytes_are_a_miss(scene: Scene, data: bytes) -> None:
    scene.remember()
    scene.path.write_bytes(data)

    assert scene.recall() is None
    assert len(scene.cache.warnings()) == 1


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
    assert scene.recall() == PINS
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
}


def key(**changes: Any) -> str:
    return resolution_key(**{**INPUTS, **changes})


def markers(**changes: str) -> Interpreter:
    return evolve(INTERPRETER, markers={**INTERPRETER.markers, **changes})


CHANGES: list[dict[str, Any]] = [
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
