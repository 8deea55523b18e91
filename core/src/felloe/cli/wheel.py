"""`felloe wheel`."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click
from attrs import evolve

from felloe.cli.options import answering, open_session
from felloe.cli.output import answer_object, end, print_results, show_error
from felloe.errors import CacheError
from felloe.values import Outcome, Wheel

__all__ = ["command"]


@click.command("wheel")
@answering
@click.option(
    "--output", "-o", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Where to put them."
)
def command(requirements: tuple[str, ...], as_json: bool, output: Path, **options: Any) -> None:  # noqa: FBT001  # click's
    """A wheel of each REQUIREMENT, fetched or found in the cache; its sha256 is checked."""
    with open_session(options, requirements) as session:
        outcomes = session.answers(session.database.wheels)
        put: dict[str, str] = {}
        answers = [(asked, outcome and _put(outcome, output, put)) for asked, outcome in outcomes]
    if as_json:
        print_results(answers, answer_object)
    for asked, outcome in () if as_json else answers:
        if outcome is not None and outcome.error is not None:
            show_error(outcome.error, asked.text)
        elif outcome is not None:
            click.echo(str(outcome.value.path))
    end(answers)


def _put(outcome: Outcome, folder: Path, put: dict[str, str]) -> Outcome:
    """The outcome with its wheel copied into `folder`, whole or not at all.

    `put` is what was before, file name to sha256: no wheel takes the place of another one.
    """
    if outcome.error is not None:
        return outcome
    wheel: Wheel = outcome.value
    if put.setdefault(wheel.filename, wheel.sha256) != wheel.sha256:
        reason = f"another wheel of the name `{wheel.filename}` was put into `{folder}` just before"
        hint = "ask for them one by one, each with a folder of its own (-o)"
        return Outcome(item=outcome.item, error=CacheError(reason, code="output", hint=hint))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".felloe-", dir=folder) as temporary:
            copy = Path(temporary) / wheel.filename
            shutil.copyfile(wheel.path, copy)
            os.replace(copy, folder / wheel.filename)  # noqa: PTH105  # Path.replace would do the same
    except OSError as error:
        reason = f"`{folder / wheel.filename}` cannot be written: {error.strerror or error}"
        return Outcome(item=outcome.item, error=CacheError(reason, code="output", hint="name another folder with -o"))
    return Outcome(item=outcome.item, value=evolve(wheel, path=folder / wheel.filename))
