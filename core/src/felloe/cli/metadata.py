"""`felloe metadata`."""

from __future__ import annotations

from typing import Any

import click

from felloe.cli.options import Asked, answering, open_session
from felloe.cli.output import print_json, print_metadata, result_object, show_error
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
        print_json(results=[result_object(asked.text, outcome) for asked, outcome in answers])
    else:
        _print(answers)
    if any(outcome.error for _, outcome in answers):
        raise click.exceptions.Exit(1)


def _print(answers: list[tuple[Asked, Outcome]]) -> None:
    good = [outcome.value for _, outcome in answers if outcome.error is None]
    for position, answer in enumerate(good):
        if position:
            click.echo()
        print_metadata(answer.metadata.fields)
    for asked, outcome in answers:
        if outcome.error is not None:
            show_error(outcome.error, asked.text)
