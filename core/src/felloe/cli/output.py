"""What the command line prints: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from felloe.errors import FelloeError
from felloe.progress import Event
from felloe.values import Answer, Outcome, Wheel

if TYPE_CHECKING:
    from rich.status import Status

__all__ = ["Console", "error_object", "print_json", "print_metadata", "printable", "result_object", "show_error"]

SCHEMA = 1
OF_A_BUILD = ("log", "left-out")  # of the payload of an error
# What is worth a line without -v, in `plain`: the rest is for those who want to know why.
PLAIN = frozenset({"download", "waiting", "warning"})


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
    message = f"{type(error).__name__}: {error}"
    return {"code": "internal", "message": message, "hint": "this is a fault of felloe; FELLOE_STRICT=1 shows where"}


def result_object(requirement: str, outcome: Outcome) -> dict[str, Any]:
    """What became of a requirement, as the JSON output has it: of an Answer or a Wheel, or why there is none."""
    if outcome.error is not None:
        return {"requirement": requirement, "error": error_object(outcome.error)}
    value: Answer | Wheel = outcome.value
    fields = {
        "requirement": requirement,
        "name": value.dist.name,
        "version": value.dist.version,
        "source": value.dist.source,
        "content": value.dist.content,
        "rung": value.rung,
        "cached": value.cached,
        "wheel": value.filename if isinstance(value, Wheel) else value.wheel,
    }
    if isinstance(value, Wheel):
        fields |= {"path": str(value.path), "sha256": value.sha256}
    return {**fields, "metadata": value.metadata.fields}


def show_error(error: BaseException, requirement: str = "") -> None:
    """What, where, and what to do, on stderr; with FELLOE_STRICT=1 where in the code, too."""
    if os.environ.get("FELLOE_STRICT") == "1":
        import traceback

        traceback.print_exception(error)
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
        self._told = PLAIN if progress == "plain" else frozenset({"warning"})
        self._quiet = quiet
        self._verbose = verbose
        self._counts: dict[str, int] = {}
        self._status: Status | None = None

    def report(self, event: Event) -> None:
        self._counts[event.code] = self._counts.get(event.code, 0) + 1
        if self._progress == "json":
            click.echo(json.dumps({"code": event.code, "message": event.message, **event.data}, default=str), err=True)
        elif self._verbose or (event.code in self._told and not self._quiet):
            self._line(event)
        elif self._progress == "auto" and not self._quiet and sys.stderr.isatty():
            self._show(event)

    def close(self) -> None:
        """Ends what moves; with -v says what all of it cost."""
        if self._status is not None:
            self._status.stop()
        if self._verbose and self._progress != "json":
            requests, downloads = self._counts.get("request", 0), self._counts.get("download", 0)
            click.echo(f"felloe: {requests} requests, {downloads} files downloaded", err=True)

    def _line(self, event: Event) -> None:
        click.echo(f"felloe: {event.code}: {printable(event.message)}", err=True)

    def _show(self, event: Event) -> None:
        """A line that moves, on a terminal. What is warm needs none, and does not import rich."""
        if self._status is None:
            if event.code != "request":
                return
            from rich.console import Console as Terminal
            from rich.status import Status

            self._status = Status("", console=Terminal(stderr=True))
            self._status.start()
        from rich.markup import escape

        self._status.update(escape(event.message))


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
