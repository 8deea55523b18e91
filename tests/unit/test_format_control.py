"""`--no-binary` and `--only-binary`: what comes last counts, name by name and place by place."""

from __future__ import annotations

import pytest

from felloe.format_control import FormatControl


def said(line: str) -> FormatControl:
    """`no=a only=b,c`, in this order."""
    found = FormatControl()
    for word in line.split():
        option, _, value = word.partition("=")
        found = found.with_no_binary(value) if option == "no" else found.with_only_binary(value)
    return found


@pytest.mark.parametrize(
    ("line", "no", "only"),
    [
        ("no=Foo_Bar,baz", {"foo-bar", "baz"}, set()),
        ("no=a only=a", set(), {"a"}),
        ("only=a no=A", {"a"}, set()),
        ("no=a,b only=b", {"a"}, {"b"}),
        ("no=:all:", {":all:"}, {":none:"}),
        ("only=:all: no=a", {":none:", "a"}, {":all:"}),
        ("no=a only=:all:", {":none:"}, {":all:"}),
        ("no=a,b no=:none:", {":none:"}, set()),
        ("no=a,:all:,:none:,b", {":none:", "b"}, {":none:"}),
        ("no=a,,", {"a"}, set()),
    ],
)
def test_on_one_line(line: str, no: set[str], only: set[str]) -> None:
    assert said(line) == FormatControl(no_binary=frozenset(no), only_binary=frozenset(only))


@pytest.mark.parametrize(
    ("lesser", "line", "no", "only"),
    [
        ("no=a", "only=b", {"a"}, {"b"}),
        ("no=a,b", "only=a", {"b"}, {"a"}),
        ("no=:all:", "only=a", {":all:"}, {"a"}),
        ("no=a", "only=:all:", set(), {":all:"}),
        ("only=:all:", "no=:all:", {":all:"}, set()),
        ("no=a only=b", "no=:none:", set(), {"b"}),
        ("only=a", "no=:none: only=c", set(), {"a", "c"}),
    ],
)
def test_what_outranks_another_place(lesser: str, line: str, no: set[str], only: set[str]) -> None:
    found = said(line).over(said(lesser))

    assert (found.no_binary - {":none:"}, found.only_binary - {":none:"}) == (no, only)


def test_what_is_forgotten_stays_so_in_between() -> None:
    found = said("only=b").over(said("no=:none:")).over(said("no=a"))

    assert found.no_binary - {":none:"} == set()
