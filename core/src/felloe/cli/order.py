"""The order of the command line, across its options and arguments: click groups the values of each by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click
from attrs import frozen

if TYPE_CHECKING:
    from click.parser import _OptionParser, _ParsingState

__all__ = ["InOrder", "Word", "in_order"]


@frozen
class Word:
    """A value of the command line: of which option ("" for an argument), and its place, by which words sort."""

    place: tuple[int, int]
    option: str
    text: str


class InOrder(click.Option):
    """An option whose values are Words: any number of them (`multiple`), not converted (`UNPROCESSED`)."""

    def add_to_parser(self, parser: _OptionParser, ctx: click.Context) -> None:
        """Has the parser put the place beside each value, which it knows, and does not hand on."""
        super().add_to_parser(parser, ctx)
        option = parser._long_opt[self.opts[0]]  # noqa: SLF001  # there is no public way
        process = option.process

        def place(value: str, state: _ParsingState) -> None:
            process(Word((len(state.largs), len(state.order)), self.opts[0], value), state)

        option.process = place  # type: ignore[method-assign]


def in_order(arguments: Sequence[str], *options: Iterable[Word]) -> list[Word]:
    """The words of all of them, as they were given."""
    words = [Word((position, -1), "", text) for position, text in enumerate(arguments, 1)]
    words += [word for option in options for word in option]
    return sorted(words, key=lambda word: word.place)
