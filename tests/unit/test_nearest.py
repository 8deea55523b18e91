"""Which build comes nearest to a job, and what keeps it from serving."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from felloe.build.fingerprint import Inputs, fingerprint_of, serves
from felloe.build.nearest import nearest, obstacles, why_built
from felloe.build.plan import BuildOrder
from felloe.build.record import Build
from felloe.values import BuildGoal, Dist, Interpreter, Metadata

PURE = "demo-1.0-py3-none-any.whl"
COMPILED = "demo-1.0-cp311-cp311-linux_x86_64.whl"
OTHER = "demo-1.0-py2-none-any.whl"
METADATA = Metadata({"metadata-version": "2.1", "name": "demo", "version": "1.0"})
CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "setting": {"settings": {"speed": "fast"}},
    "python": {"python": "3.12.1"},
    "CFLAGS": {"environ": {"CFLAGS": "-O3"}},
}
TOLD = {
    "nothing": "",
    "setting": "settings.speed: none -> fast",
    "python": "interpreter.version: 3.11 -> 3.12",
    "CFLAGS": "toolchain.CFLAGS: none -> -O3",
}


def inputs(*, settings: Any = None, python: str = "3.11.7", environ: Any = None) -> Inputs:
    return Inputs(settings=settings or {}, constraints=(), interpreter=interpreter(python), environ=environ or {})


def interpreter(python: str) -> Interpreter:
    tags = ("cp311-cp311-linux_x86_64", "py3-none-any")
    return Interpreter(path=Path("/python"), version=python, tags=tags, markers={"python_full_version": python})


def order(goal: BuildGoal = "wheel", **changes: Any) -> BuildOrder:
    asked = inputs(**changes)
    return BuildOrder(
        build="b",
        what="demo",
        dist=Dist(source="one", kind="sdist", filename="demo-1.0.tar.gz"),
        archive=Path(),
        interpreter=asked.interpreter,
        config_settings=asked.settings,
        fingerprint=fingerprint_of(asked),
        inputs=asked.shown(),
        goal=goal,
    )


def build(wheel: str | None, *, says: bool = True, **changes: Any) -> Build:
    done = inputs(**changes)
    return Build(
        build="b",
        fingerprint=fingerprint_of(done),
        goal="wheel" if wheel else "metadata",
        rung="wheel" if wheel else "prepare",
        metadata=METADATA,
        wheel=wheel,
        inputs=done.shown() if says else {},
    )


def told(wheel: str | None, order: BuildOrder, *, is_static: bool = False, **changes: Any) -> list[str]:
    return list(map(str, obstacles(build(wheel, **changes), order, is_static=is_static)))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("wheel", [PURE, COMPILED, OTHER, None])
@pytest.mark.parametrize(("goal", "is_static"), list(product(["metadata", "wheel"], [False, True])))
def test_what_serves_has_no_obstacles_and_nothing_else_has_none(
    change: str, wheel: str | None, goal: BuildGoal, is_static: bool
) -> None:
    asked, done = order(goal, **CHANGES[change]), build(wheel)

    serving = serves(done, asked.fingerprint, asked.interpreter, needs_wheel=goal == "wheel", is_static=is_static)
    assert (obstacles(done, asked, is_static=is_static) == ()) == serving


@pytest.mark.parametrize("change", ["setting", "python", "CFLAGS"])
def test_exactly_what_changed_is_told(change: str) -> None:
    assert told(COMPILED, order(**CHANGES[change])) == [TOLD[change]]
    assert told(COMPILED, order(), **CHANGES[change])[0].partition(":")[0] == TOLD[change].partition(":")[0]


def test_what_does_not_count_is_not_told() -> None:
    everything = {name: value for change in CHANGES.values() for name, value in change.items()}

    assert told(PURE, order(**everything)) == [TOLD["setting"], TOLD["python"]]
    assert told(PURE, order(**everything), is_static=True) == [TOLD["setting"]]
    assert told(None, order("metadata", **everything)) == [TOLD["setting"], TOLD["python"]]


def test_metadata_alone_are_no_wheel() -> None:
    assert told(None, order()) == ["goal: metadata -> wheel"]


def test_a_wheel_that_does_not_fit() -> None:
    assert told(OTHER, order()) == [f"wheel: {OTHER} -> none"]


def test_a_build_that_does_not_say_its_inputs() -> None:
    asked = order(**CHANGES["setting"])
    old, new = build(PURE).fingerprint, asked.fingerprint

    assert told(PURE, asked, says=False) == [f"settings: {old.settings} -> {new.settings}"]


def test_the_nearest_is_the_one_with_the_fewest_and_the_newest_of_equal_ones() -> None:
    far = build(COMPILED, settings={"a": "1", "b": "2"}, environ={"CFLAGS": "-O1"})
    near, older = build(COMPILED, settings={"a": "1"}), build(COMPILED, settings={"a": "2"})

    found = nearest([far, near, older], order(), is_static=False)
    assert found is not None
    assert found.build is near
    assert nearest([], order(), is_static=False) is None


@pytest.mark.parametrize(
    ("builds", "sentence"),
    [
        ([], "demo was not built before"),
        ([build(PURE)], f"demo: the wheel `{PURE}` that was built is gone from the cache"),
        ([build(None)], "demo was built before, but not as it is asked for now: goal: metadata -> wheel"),
    ],
)
def test_why_it_is_built(builds: list[Build], sentence: str) -> None:
    assert why_built("demo", builds, order(), is_static=False) == sentence
