"""Whatever is found fulfils everything, and where nothing is found there is nothing: against trying all versions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felloe.errors import NoMatchError
from tests.resolution.world import Projects, World, reached

NAMES = "abcde"
VERSIONS = "123"
EXTRAS = ["", "[x]", "[y]", "[x,y]"]
SPECIFIERS = ["", *(f"{operator}{version}" for operator in ("<", ">=", "!=", "==") for version in VERSIONS)]
MARKERS = ["", "", '; extra == "x"', '; extra == "y"']


def requirements(names: str, markers: Sequence[str]) -> st.SearchStrategy[list[str]]:
    parts = st.tuples(*map(st.sampled_from, (names, EXTRAS, SPECIFIERS, markers)))
    return st.lists(parts.map("".join), max_size=3)


def of_itself(name: str) -> st.SearchStrategy[list[str]]:
    parts = st.tuples(*map(st.sampled_from, ([name], EXTRAS, MARKERS)))
    return st.lists(parts.map("".join), max_size=1)


@st.composite
def worlds(draw: st.DrawFn, *, with_circles: bool) -> Projects:
    """Without circles a project requires only those after it, and extras of its own."""
    projects: dict[str, Mapping[str, Sequence[str]]] = {}
    for position, name in enumerate(NAMES[: draw(st.integers(2, len(NAMES)))]):
        others = NAMES + "z" if with_circles else NAMES[position + 1 :] + "z"
        made = [[*draw(requirements(others, MARKERS)), *draw(of_itself(name))] for _ in range(draw(st.integers(1, 3)))]
        projects[name] = dict(zip(VERSIONS, made, strict=False))
    return projects


def found(projects: Projects, required: Sequence[str], backend: str) -> dict[str, str] | None:
    try:
        return dict(pair.split() for pair in anyio.run(World(projects).resolved, *required, backend=backend))
    except NoMatchError:
        return None


def exists(projects: Projects, required: Sequence[str]) -> bool:
    every = itertools.product(*projects.values())
    return any(reached(projects, required, dict(zip(projects, each, strict=True))) is not None for each in every)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=150, deadline=None)
@given(worlds(with_circles=False), requirements(NAMES, [""]))
def test_a_solution_is_found_exactly_where_there_is_one(backend: str, projects: Projects, required: list[str]) -> None:
    versions = found(projects, required, backend)
    if versions is None:
        assert not exists(projects, required)
    else:
        assert reached(projects, required, versions) == set(versions)


@pytest.mark.parametrize("backend", ["asyncio"])
@settings(max_examples=150, deadline=None)
@given(worlds(with_circles=True), requirements(NAMES, [""]), st.randoms(use_true_random=False))
def test_what_is_found_fulfils_everything_and_does_not_depend_on_the_order(
    backend: str, projects: Projects, required: list[str], random
) -> None:
    versions = found(projects, required, backend)
    assert versions is None or reached(projects, required, versions) == set(versions)
    random.shuffle(required)
    assert found(projects, required, backend) == versions
