"""`felloe metadata`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from felloe.cli.options import Asked, answering, open_session
from felloe.cli.output import answer_object, end, print_metadata, print_results, show_error
from felloe.values import Outcome

__all__ = ["command"]


@click.command("metadata")
@answering
@click.option(
    "--effort",
    type=click.Choice(["cached", "static", "prepare", "build"]),
    default="build",
    show_default=True,
    help="How far to go.",
)
def command(requirements: tuple[str, ...], as_json: bool, effort: Any, **options: Any) -> None:  # noqa: FBT001  # click's
    """METADATA of each REQUIREMENT: no dependencies, nothing installed."""
    with open_session(options, requirements) as session:
        answers = session.answers(lambda requests: session.database.metadata_many(requests, effort=effort))
    if as_json:
        print_results(answers, answer_object)
    else:
        _print([(asked, outcome) for asked, outcome in answers if outcome is not None])
    end(answers)


def _print(answers: Sequence[tuple[Asked, Outcome]]) -> None:
    good = [outcome.value for _, outcome in answers if outcome.error is None]
    for position, answer in enumerate(good):
        if position:
            click.echo()
        print_metadata(answer.metadata.fields)
    for asked, outcome in answers:
        if outcome.error is not None:
            show_error(outcome.error, asked.text)
