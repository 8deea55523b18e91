"""What the command line prints: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from felloe.errors import ConfigError, FelloeError
from felloe.progress import Event
from felloe.values import Answer, Outcome, Wheel

if TYPE_CHECKING:
    from felloe.cli.moving import Moving
    from felloe.cli.options import Asked

__all__ = [
    "Console",
    "answer_object",
    "end",
    "error_object",
    "exit_code",
    "print_json",
    "print_metadata",
    "print_results",
    "printable",
    "show_error",
    "show_failure",
    "show_traceback",
]

SCHEMA = 1
OF_A_BUILD = ("log", "left-out")  # of the payload of an error
REPORT_IT = "this is a fault of felloe: report it, with the command and what FELLOE_STRICT=1 shows"
# What is worth a line without -v, in `plain`: the rest is for those who want to know why.
PLAIN = frozenset({"build", "download", "waiting", "warning"})
# Of what takes a while: something begins to move on a terminal.
WORK = frozenset({"build", "download", "git-fetch", "git-list", "receiving", "request", "waiting"})


def print_json(**content: Any) -> None:
    """One object with a `schema`."""
    click.echo(json.dumps({"schema": SCHEMA, **content}, indent=2, ensure_ascii=False, default=str))


def printable(text: str) -> str:
    """`text` with nothing in it that a terminal would obey but the ends of lines: others write requirements, too."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def error_object(error: BaseException) -> dict[str, Any]:
    """An error as the JSON output has it.

    That of a build names the file with all that its backend printed, and the variables that this did not get.
    """
    if isinstance(error, FelloeError):
        of_a_build: dict[str, Any] = {key: error.payload[key] for key in OF_A_BUILD if key in error.payload}
        return {"code": error.code, "message": str(error), "hint": error.hint, **of_a_build}
    return {"code": "internal-error", "message": f"{type(error).__name__}: {error}", "hint": REPORT_IT}


def exit_code(error: BaseException) -> int:
    """What the program exits with where `error` is of all that it was asked: 2 for a wrong option, else 1."""
    is_usage = isinstance(error, ConfigError) and str(error.payload.get("origin", "")).startswith("-")
    return 2 if is_usage else 1


def print_results(
    answers: Sequence[tuple[Asked, Outcome | None]], of_value: Callable[[Any], Mapping[str, Any]]
) -> None:
    """What became of each requirement, as the JSON output has it: its value, the error, or why it is skipped."""
    print_json(results=[_result_object(asked, outcome, of_value) for asked, outcome in answers])


def end(answers: Iterable[tuple[Asked, Outcome | None]]) -> None:
    """Ends the program with 1 where there is an error among them."""
    if any(outcome is not None and outcome.error is not None for _, outcome in answers):
        raise click.exceptions.Exit(1)


def _result_object(
    asked: Asked, outcome: Outcome | None, of_value: Callable[[Any], Mapping[str, Any]]
) -> dict[str, Any]:
    if outcome is None:
        return {"requirement": asked.text, "skipped": asked.skipped}
    if outcome.error is not None:
        show_traceback(outcome.error)
        return {"requirement": asked.text, "error": error_object(outcome.error)}
    return {"requirement": asked.text, **of_value(outcome.value)}


def answer_object(value: Answer | Wheel) -> dict[str, Any]:
    """What is known of a distribution, as the JSON output has it."""
    fields = {
        "name": value.dist.name,
        "version": value.dist.version,
        "source": value.dist.source,
        "content": value.dist.content,
        "rung": value.rung,
        "cached": value.cached,
        "wheel": value.filename if isinstance(value, Wheel) else value.wheel,
    }
    if isinstance(value, Wheel):
        fields |= {"path": str(value.path.absolute()), "sha256": value.sha256}
    return {**fields, "metadata": value.metadata.fields}


def show_failure(error: BaseException, *, as_json: bool) -> None:
    """Of all that was asked: an object on stdout, or a person's form of it on stderr."""
    if as_json:
        show_traceback(error)
        print_json(error=error_object(error))
    else:
        show_error(error)


def show_traceback(error: BaseException) -> None:
    """Where in the code, on stderr: with FELLOE_STRICT=1 alone."""
    if os.environ.get("FELLOE_STRICT") == "1":
        import traceback

        traceback.print_exception(error)


def show_error(error: BaseException, requirement: str = "") -> None:
    """What, where, and what to do, on stderr; with FELLOE_STRICT=1 where in the code, too."""
    show_traceback(error)
    shown = error_object(error)
    said = printable(f"{requirement and requirement + ': '}{shown['message']}")
    text = f"{click.style('error', fg='red')}: {said}"
    click.echo(text, err=True, color=False if os.environ.get("NO_COLOR") else None)
    if shown["hint"]:
        click.echo(f"  hint: {printable(shown['hint'])}", err=True)


class Console:
    """Tells events on stderr, as `--progress`, `-q` and `-v` say. Implements `felloe.progress.Reporter`."""

    def __init__(self, progress: str, *, quiet: bool, verbose: bool) -> None:
        self._progress = progress
        self._moves = progress == "auto" and not quiet and not verbose and sys.stderr.isatty()
        self._told = _told(progress, moves=self._moves, quiet=quiet, verbose=verbose)
        self._verbose = verbose
        self._counts: dict[str, int] = {}
        self._moving: Moving | None = None

    def report(self, event: Event) -> None:
        self._counts[event.code] = self._counts.get(event.code, 0) + 1
        if self._progress == "json":
            click.echo(json.dumps({"code": event.code, "message": event.message, **event.data}, default=str), err=True)
        elif self._told is None or event.code in self._told:
            self._line(event)
        elif self._moves and (self._moving is not None or event.code in WORK):
            self._show(event)

    def close(self) -> None:
        """Ends what moves; with -v says what all of it cost."""
        if self._moving is not None:
            self._moving.close()
        if self._verbose and self._progress != "json":
            requests, downloads = self._counts.get("request", 0), self._counts.get("download", 0)
            click.echo(f"felloe: {requests} requests, {downloads} files downloaded", err=True)

    def _line(self, event: Event) -> None:
        line = f"felloe: {event.code}: {printable(event.message)}"
        if self._moving is not None:
            self._moving.line(line)
        elif event.code != "receiving":
            click.echo(line, err=True)

    def _show(self, event: Event) -> None:
        """What is warm needs nothing that moves, and does not import rich."""
        if self._moving is None:
            try:
                from felloe.cli.moving import Moving
            except ModuleNotFoundError:  # without the extra `cli`, click may have come with something else
                self._moves = False
                return
            self._moving = Moving()
        self._moving.show(event, printable(event.message))


def _told(progress: str, *, moves: bool, quiet: bool, verbose: bool) -> frozenset[str] | None:
    """The codes of events that are told in a line; None for all. Who waits wants to know why, in a log, too."""
    if verbose:
        return None
    if quiet:
        return frozenset()
    if progress == "plain":
        return PLAIN
    return frozenset({"warning"}) if moves or progress == "none" else frozenset({"waiting", "warning"})


def print_metadata(fields: Mapping[str, Any]) -> None:
    """Core metadata in their own form (RFC 822), without the description."""
    for key, value in fields.items():
        for line in _lines(value):
            click.echo(f"{key.title()}: {line}")


def _lines(value: Any) -> Iterable[str]:
    if value is None:
        return []
    values = value if isinstance(value, list) else [value]
    return [str(each).replace("\n", "\n        ") for each in values]
