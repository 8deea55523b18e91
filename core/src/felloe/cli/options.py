"""The options that commands share, and the session that they set up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from attrs import frozen

from felloe.blocking import BlockingDatabase
from felloe.cli.ending import tidying
from felloe.cli.output import Console, error_object, print_json
from felloe.config import Config, Options
from felloe.errors import FelloeError, RequirementError
from felloe.progress import Event
from felloe.request import matches_environment, parse_request, redacted
from felloe.requirements_file import RequirementsFile, read_constraints, read_requirements
from felloe.values import Interpreter, Outcome, Request

__all__ = ["Asked", "Session", "answering", "open_session", "shared"]

F = TypeVar("F", bound=Callable[..., Any])

CACHE = [
    click.option("--cache-dir", metavar="DIR", help="Where the cache is."),
    click.option("--no-cache", is_flag=True, default=None, help="Use a temporary cache."),
]
SOURCES = [
    click.option("--index-url", metavar="URL", help="The default index, in place of PyPI."),
    click.option("--extra-index-url", metavar="URL", multiple=True, help="Asked before the default index."),
    click.option("--find-links", "-f", metavar="DIR", multiple=True, help="A folder or page of links."),
    click.option("--no-index", is_flag=True, default=None, help="Ask no index."),
    click.option("--cert", metavar="FILE", help="Certificates to trust."),
    click.option(
        "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Of a connection or read."
    ),
    click.option("--concurrent-downloads", type=click.IntRange(min=1), metavar="N", help="At most (50)."),
    click.option("--offline", is_flag=True, default=None, help="Send no request."),
    click.option("--refresh", is_flag=True, default=None, help="Check again all that was checked before."),
    click.option("--refresh-package", "refresh_packages", metavar="NAME", multiple=True, help="Check it again."),
]
SELECTION = [
    click.option("--editable", "-e", metavar="PATH", multiple=True, help="A project's folder, to be edited."),
    click.option("--requirement", "-r", metavar="FILE", multiple=True, help="requirements.txt; - is stdin."),
    click.option("--constraint", "-c", metavar="FILE", multiple=True, help="Constraints, as in pip."),
    click.option("--python", metavar="PATH", help="The interpreter asked about."),
    click.option("--no-binary", metavar="NAME", multiple=True, help="No wheels of it; :all: for all."),
    click.option("--only-binary", metavar="NAME", multiple=True, help="Only wheels of it; :all: for all."),
    click.option("--pre", "prereleases", is_flag=True, default=None, help="Pre-releases too."),
    click.option("--exclude-newer", metavar="DATE", help="Leave out what was uploaded after it."),
    click.option("--require-hashes", is_flag=True, default=None, help="Every requirement needs a hash."),
]
BUILDING = [
    click.option("--config-setting", "-C", "config_settings", metavar="K=V", multiple=True, help="For the backend."),
    click.option(
        "--config-settings-package", metavar="NAME:K=V", multiple=True, help="For the backend of one project."
    ),
    click.option("--build-constraint", metavar="FILE", multiple=True, help="Constraints of build requirements."),
    click.option("--no-build", is_flag=True, default=None, help="Build nothing."),
    click.option("--no-build-package", metavar="NAME", multiple=True, help="Never build it."),
    click.option("--no-build-isolation", is_flag=True, default=None, help="Build with what the interpreter has."),
    click.option("--retry-failed", is_flag=True, default=None, help="Build again what failed before."),
    click.option(
        "--build-timeout", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Of a backend's hook."
    ),
    click.option("--concurrent-builds", type=click.IntRange(min=1), metavar="N", help="At most (number of cores)."),
]
OUTPUT = [
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
    click.option("--progress", type=click.Choice(["auto", "plain", "json", "none"]), default="auto", show_default=True),
    click.option("--quiet", "-q", is_flag=True, help="Only errors on stderr."),
    click.option("--verbose", "-v", is_flag=True, help="Say why, on stderr."),
]


def shared(*groups: Sequence[Callable[[F], F]]) -> Callable[[F], F]:
    """Adds groups of options to a command."""

    def add(function: F) -> F:
        command = _with_errors_as_json(function)
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return add


def _with_errors_as_json(function: F) -> F:
    """What fails as a whole is an object too, with --json."""

    @wraps(function)
    def command(*, as_json: bool, **given: Any) -> None:
        try:
            function(as_json=as_json, **given)
        except FelloeError as error:
            if not as_json:
                raise
            print_json(error=error_object(error))
            raise click.exceptions.Exit(1) from error

    return cast(F, command)


def answering(command: F) -> F:
    """Adds what a command that answers requirements takes."""
    command = shared(SELECTION, SOURCES, BUILDING, CACHE, OUTPUT)(command)
    return click.argument("requirements", nargs=-1)(command)


@frozen
class Asked:
    """One requirement as it was asked for: parsed, or why it cannot be."""

    text: str
    request: Request | None = None
    error: FelloeError | None = None


@frozen(kw_only=True)
class Session:
    """What a command works with."""

    database: BlockingDatabase
    console: Console
    asked: tuple[Asked, ...]
    interpreter: Callable[[], Interpreter]

    def answers(self, batch: Callable[[list[Request]], Iterator[Outcome]]) -> list[tuple[Asked, Outcome]]:
        """An outcome for each requirement, in the order asked."""
        wanted = [considered for each in self.asked if (considered := self._considered(each)) is not None]
        requests = [each.request for each in wanted if each.request is not None]
        outcomes = {id(outcome.item): outcome for outcome in batch(requests)}
        return [
            (each, outcomes[id(each.request)] if each.request else Outcome(item=each.text, error=each.error))
            for each in wanted
        ]

    def _considered(self, asked: Asked) -> Asked | None:
        """As it is; None where its marker does not hold; with the error where its marker cannot be judged."""
        request = asked.request
        try:
            if request is None or request.marker is None or matches_environment(request, self.interpreter()):
                return asked
        except FelloeError as error:
            return Asked(asked.text, error=error)
        message = f"`{asked.text}` is left out: its marker does not hold here"
        self.console.report(Event(code="warning", message=message))
        return None


@contextmanager
def open_session(
    options: Mapping[str, Any], requirements: Sequence[str] = (), *, explains: bool = False
) -> Iterator[Session]:
    """The database that the options describe. Raises FelloeError; click.UsageError where nothing is asked.

    What `explains` leaves nothing in the cache, and refuses nothing for want of a hash: each requirement says that for
    itself.
    """
    files = _files(options)
    texts = [*requirements, *(f"-e {path.strip()}" for path in options.get("editable", ()))]
    if "requirement" in options and not texts and not options["requirement"]:
        raise click.UsageError("Say at least one REQUIREMENT, or give a file with -r.")
    build_constraints = [read_constraints(path, environ=os.environ) for path in options.get("build_constraint", ())]
    config = Config.load(**_settings(options, files), build_constraints=_constraints_of(build_constraints))
    console = Console(options["progress"], quiet=options["quiet"], verbose=options["verbose"])
    for warning in (text for file in (*files, *build_constraints) for text in file.warnings):
        console.report(Event(code="warning", message=warning))
    try:
        with BlockingDatabase(config, reporter=console) as database, tidying(database.database.release):
            asked = [_parsed(text) for text in texts]
            asked += [Asked(request.text, request) for file in files for request in file.requirements]
            if config.policy.require_hashes and not explains:
                _check_all_hashed(asked)
            interpreter = database.database.peek_at_interpreter if explains else database.interpreter
            yield Session(database=database, console=console, asked=tuple(asked), interpreter=interpreter)
    finally:
        console.close()


def _check_all_hashed(asked: Sequence[Asked]) -> None:
    """All or nothing: nothing is answered while one requirement could be anything."""
    bare = [each.text for each in asked if each.request is not None and not each.request.hashes]
    if bare:
        raise RequirementError(
            f"hashes are required of all, and there is none for {', '.join(f'`{text}`' for text in bare)}",
            hint="add --hash=sha256:... to each, or leave out --require-hashes",
            code="hash-required",
        )


def _parsed(text: str) -> Asked:
    try:
        request = parse_request(text, cwd=Path.cwd())
        return Asked(request.text, request)
    except FelloeError as error:
        return Asked(redacted(text), error=error)


def _files(options: Mapping[str, Any]) -> list[RequirementsFile]:
    """Those of -r, then those of -c."""
    return [
        *(read_requirements(path, environ=os.environ) for path in options.get("requirement", ())),
        *(read_constraints(path, environ=os.environ) for path in options.get("constraint", ())),
    ]


def _settings(options: Mapping[str, Any], files: Sequence[RequirementsFile]) -> dict[str, Any]:
    """The keywords of `Config.load`. What is one value the command line outranks; lists of files are added to its."""
    settings = {name: value for name, value in options.items() if name in Options.__optional_keys__}
    for name, value in (said for file in files for said in _of_file(file).items()):
        own = settings.get(name)
        settings[name] = (*(own or ()), *value) if isinstance(value, tuple) else own or value
    return settings


def _of_file(file: RequirementsFile) -> dict[str, Any]:
    """What a requirements file says beside its requirements."""
    given = file.options
    return {
        "index_url": given.index_url,
        "extra_index_url": given.extra_index_urls,
        "find_links": given.find_links,
        "no_index": given.no_index or None,  # False would be "ask the indexes that are configured elsewhere"
        "no_binary": tuple(sorted(given.no_binary)),
        "only_binary": tuple(sorted(given.only_binary)),
        "require_hashes": given.require_hashes or None,
        "prereleases": given.prereleases or None,
        "constraints": _constraints_of([file]),
    }


def _constraints_of(files: Sequence[RequirementsFile]) -> tuple[str, ...]:
    return tuple(request.text for file in files for request in file.constraints)
