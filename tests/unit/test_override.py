"""Metadata by name and version: which table holds for which distribution, and what is wrong with one."""

from __future__ import annotations

from typing import Any

import pytest

from felloe.config_layers import Given
from felloe.errors import ConfigError
from felloe.override import Override, overridden, read_overrides
from felloe.values import Dist


def dist(version: str | None, name: str | None = "numpy") -> Dist:
    return Dist(source="one", kind="sdist", filename="any.tar.gz", name=name, version=version)


def of(*versions: str | None, name: str = "numpy") -> list[Override]:
    """Each says its own version as what it requires."""
    return [Override(name=name, version=version, requires_dist=(f"of-{version}",)) for version in versions]


@pytest.mark.parametrize(
    ("given", "asked", "told"),
    [
        (of("1.0"), dist("1.0"), ("1.0", "of-1.0")),
        (of("1.0"), dist("1.0.0"), ("1.0.0", "of-1.0")),
        (of("1.0"), dist("1.1"), None),
        (of("1.0"), dist("odd"), None),
        (of(None), dist("odd"), ("odd", "of-None")),
        (of(None, "1.0"), dist("1"), ("1", "of-1.0")),
        (of("1.0", None), dist("2"), ("2", "of-None")),
        (of("1.0"), dist(None), ("1.0", "of-1.0")),
        (of("1.0", "2.0"), dist(None), None),
        (of("1.0", None), dist(None), None),
        (of(None), dist(None), None),
        (of("1.0", name="other"), dist("1.0"), None),
        (of("1.0"), dist("1.0", name=None), None),
        ([], dist("1.0"), None),
    ],
)
def test_which_one_holds(given: list[Override], asked: Dist, told: tuple[str, str] | None) -> None:
    found = overridden(given, asked)

    assert (found and (found.version, *found.requires_dist)) == told


def test_what_is_not_said_is_not_there() -> None:
    found = overridden([Override(name="numpy")], dist("1.0"))

    assert found is not None
    assert found.fields == {
        "name": "numpy",
        "version": "1.0",
        "requires-dist": [],
        "requires-python": None,
        "provides-extra": [],
    }


# As they are written


def given(*tables: Any) -> Given:
    return Given(list(tables), "felloe.toml [[metadata]]", base=None)  # type: ignore[arg-type]


def test_all_that_a_table_says() -> None:
    table = {
        "name": "NumPy",
        "version": "1.26.4",
        "requires-dist": ["a>=1", 'b; extra == "fast"'],
        "requires-python": ">=3.9",
        "provides-extra": ["fast"],
    }
    expected = Override(
        name="numpy",
        version="1.26.4",
        requires_dist=("a>=1", 'b; extra == "fast"'),
        requires_python=">=3.9",
        provides_extra=("fast",),
    )
    assert read_overrides(given(table)) == (expected,)
    assert read_overrides(given()) == ()


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, "#1: name` has to be a text"),
        ({"name": "?"}, "?: name` has `?`, which is no name of a project"),
        ({"name": "a", "version": "1.*"}, "a: version` has to be a version as PEP 440 has it, not `'1.*'`"),
        ({"name": "a", "version": 1}, "a: version` has to be a text"),
        ({"name": "a", "requires-dist": ["b=1"]}, "a: requires-dist`: `b=1`"),
        ({"name": "a", "requires-dist": [1]}, "a: requires-dist` has to be a list of texts"),
        ({"name": "a", "requires-python": "3.9+"}, "a: requires-python` has to be a specifier like `>=3.9`"),
        ({"name": "a", "provides-extra": ["?"]}, "a: provides-extra` has to be a list of names of extras, not `'?'`"),
        ({"name": "a", "requires_dist": []}, "a: requires_dist` is not known"),
        ("a", "felloe.toml [[metadata]]` has to be a table"),
    ],
)
def test_what_is_wrong_with_a_table(table: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_overrides(given(table))
    assert told in str(caught.value)
    assert str(caught.value).startswith("`felloe.toml [[metadata]]")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ({"version": "1.0"}, {"version": "1"}, "are of version 1 of `acme`"),
        ({}, {}, "are of every version of `acme`"),
    ],
)
def test_two_tables_of_one_version(one: Any, other: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_overrides(given({"name": "Acme", **one}, {"name": "acme", **other}))
    assert told in str(caught.value)


def test_tables_of_other_versions_and_names() -> None:
    tables = [{"name": "acme"}, {"name": "acme", "version": "1"}, {"name": "acme", "version": "2"}, {"name": "other"}]
    assert len(read_overrides(given(*tables))) == 4
