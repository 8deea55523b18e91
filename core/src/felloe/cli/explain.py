"""`felloe explain`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from felloe.build.record import Build
from felloe.build.variables import told
from felloe.cli.options import Asked, answering, open_session
from felloe.cli.output import end, print_results, printable, show_error
from felloe.explain import Explanation, Subject
from felloe.values import Outcome, Request

__all__ = ["command"]

Line = tuple[str, str]


@click.command("explain")
@answering
@click.option("--wheel", is_flag=True, help="Explain its wheel, instead of its metadata.")
def command(requirements: tuple[str, ...], as_json: bool, wheel: bool, **options: Any) -> None:  # noqa: FBT001  # click's
    """How each REQUIREMENT would be answered now, and why. Nothing is built, and nothing in the cache changes."""
    goal: Subject = "wheel" if wheel else "metadata"
    with open_session(options, requirements, explains=True) as session:

        def explain(requests: Sequence[Request]) -> Iterator[Outcome]:
            return (Outcome(item=each, value=session.database.explain(each, goal=goal)) for each in requests)

        answers = session.answers(explain)
    if as_json:
        print_results(answers, Explanation.to_json)
    else:
        _print_all([(asked, outcome) for asked, outcome in answers if outcome is not None])
    end(answers)
    if any(outcome is not None and outcome.value.error is not None for _, outcome in answers):
        raise click.exceptions.Exit(1)


def _print_all(answers: Sequence[tuple[Asked, Outcome]]) -> None:
    for position, (asked, outcome) in enumerate(answers):
        if position:
            click.echo()
        if outcome.error is not None:
            show_error(outcome.error, asked.text)
        else:
            _print(outcome.value)


def _print(explanation: Explanation) -> None:
    """A line for each reason; of those that answer the same question, the first one names it."""
    click.echo(printable(explanation.requirement))
    named = ""
    for name, text in _lines(explanation):
        click.echo(f"  {name if name != named else '':<11} {printable(text)}")
        named = name


def _lines(explanation: Explanation) -> Iterator[Line]:
    yield from _about_the_owner(explanation)
    yield from _about_the_dist(explanation)
    yield from _about_the_cache(explanation)
    for difference in explanation.differences:
        yield "changed", str(difference)
    if explanation.fingerprint is not None:
        yield "fingerprint", ", ".join(map(" ".join, explanation.fingerprint.to_json().items()))
    if explanation.left_out:
        yield "left out", told(explanation.left_out)
    if explanation.build is not None:
        yield "build", _told(explanation.build)
    if explanation.rungs:
        yield "rung", ", else ".join(explanation.rungs)
    if explanation.steps:
        yield "action", _action(explanation)
    if explanation.error is not None:
        yield "error", explanation.error.message
        if explanation.error.hint:
            yield "hint", explanation.error.hint


def _about_the_owner(explanation: Explanation) -> Iterator[Line]:
    if explanation.owner is not None:
        reason = f": {explanation.reason}" if explanation.reason else ""
        yield "owner", f"{explanation.owner}{reason}"
    for claimed in explanation.claims:
        claim = claimed.claim
        yield "claims", f"{claimed.source.name}, {claim.level.name.lower()}: {claim.reason}"


def _about_the_dist(explanation: Explanation) -> Iterator[Line]:
    dist, others = explanation.dist, explanation.others
    if dist is not None:
        yield "chosen", f"{dist.filename}, {dist.kind}{f', {dist.content}' if dist.content else ''}"
    if others is not None and others.less_preferred + others.not_fitting:
        yield "others", f"{others.less_preferred} would do and come after it, {others.not_fitting} will not do"


def _about_the_cache(explanation: Explanation) -> Iterator[Line]:
    entry, verdict = explanation.entry, explanation.verdict
    if explanation.path is not None:
        yield "key", "/".join(explanation.key)
        yield "path", str(explanation.path)
    if entry is not None:
        how = "hashed by felloe" if entry.verified else "not hashed by felloe"
        yield "entry", f"{entry.content or 'content not known'}, {how}"
        yield "entry", f"fetched {entry.fetched}, checked {entry.checked}"
    if verdict is not None:
        code = f", {verdict.code}" if verdict.code else ""
        is_told = not verdict.evidence or verdict.changes()
        yield "verdict", f"{verdict.state}{code}{'' if is_told else f': {verdict.evidence}'}"


def _told(build: Build) -> str:
    return f"{build.wheel or 'metadata'} of {build.built}, in {build.seconds:g} s"


def _action(explanation: Explanation) -> str:
    steps = ", then ".join(explanation.steps)
    if explanation.may_follow:
        steps += f", then perhaps {explanation.may_follow}: its bytes will tell"
    known = [f"{explanation.size} bytes"] if explanation.size is not None else []
    known += [f"{explanation.seconds:g} s last time"] if explanation.seconds is not None else []
    return f"{steps} ({', '.join(known)})" if known else steps
