"""The options that commands share, and the session that they set up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from attrs import frozen

from felloe.blocking import BlockingDatabase
from felloe.cli.ending import tidying
from felloe.cli.order import InOrder, Word, in_order
from felloe.cli.output import Console
from felloe.config import Config, Options
from felloe.errors import ConfigError, FelloeError, RequirementError
from felloe.format_control import FormatControl
from felloe.progress import Event
from felloe.request import matches_environment, parse_request, redacted
from felloe.requirements_file import RequirementsFile, read_constraints, read_requirements
from felloe.values import Interpreter, Outcome, Request

__all__ = ["Asked", "Session", "answering", "open_session", "shared"]

F = TypeVar("F", bound=Callable[..., Any])

NO_MARKER = "its marker does not hold here"


def _in_order(*names: str, **settings: Any) -> Callable[[F], F]:
    return click.option(*names, cls=InOrder, multiple=True, type=click.UNPROCESSED, **settings)


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
    _in_order("--editable", "-e", metavar="PATH", help="A project's folder, to be edited."),
    _in_order("--requirement", "-r", metavar="FILE", help="requirements.txt; - is stdin."),
    click.option("--constraint", "-c", metavar="FILE", multiple=True, help="Constraints, as in pip."),
    click.option("--python", metavar="PATH", help="The interpreter asked about."),
    _in_order("--no-binary", metavar="NAME", help="No wheels of it; :all: for all."),
    _in_order("--only-binary", metavar="NAME", help="Only wheels of it; :all: for all."),
    click.option("--pre", "prereleases", is_flag=True, default=None, help="Pre-releases too."),
    click.option("--exclude-newer", metavar="DATE", help="Leave out what was uploaded after it."),
    click.option("--require-hashes", is_flag=True, default=None, help="Every requirement needs a hash."),
]
BUILDING = [
    click.option(
        "--config-setting",
        "--config-settings",
        "-C",
        "config_settings",
        metavar="K=V",
        multiple=True,
        help="For the backend.",
    ),
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
        command = function
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return add


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
    skipped: str = ""  # why it has no answer, which is no error


@frozen(kw_only=True)
class Session:
    """What a command works with."""

    database: BlockingDatabase
    console: Console
    asked: tuple[Asked, ...]
    interpreter: Callable[[], Interpreter]

    def answers(self, batch: Callable[[list[Request]], Iterator[Outcome]]) -> list[tuple[Asked, Outcome | None]]:
        """An outcome for each requirement, in the order asked; None for one that is skipped."""
        considered = [self._considered(each) for each in self.asked]
        outcomes = {id(each.item): each for each in batch([each.request for each in considered if each.request])}

        def outcome(asked: Asked) -> Outcome | None:
            if asked.request is not None:
                return outcomes[id(asked.request)]
            return Outcome(item=asked.text, error=asked.error) if asked.error else None

        return [(each, outcome(each)) for each in considered]

    def _considered(self, asked: Asked) -> Asked:
        """As it is; or skipped, where its marker does not hold; or with the error, where that cannot be judged."""
        request = asked.request
        try:
            if request is None or request.marker is None or matches_environment(request, self.interpreter()):
                return asked
        except FelloeError as error:
            return Asked(asked.text, error=error)
        self.console.report(Event(code="warning", message=f"`{asked.text}` is left out: {NO_MARKER}"))
        return Asked(asked.text, skipped=NO_MARKER)


@contextmanager
def open_session(
    options: Mapping[str, Any], requirements: Sequence[str] = (), *, explains: bool = False
) -> Iterator[Session]:
    """The database that the options describe. Raises FelloeError; click.UsageError where nothing is asked.

    What `explains` leaves nothing in the cache, and refuses nothing for want of a hash: each requirement says that for
    itself.
    """
    words = in_order(requirements, options.get("editable", ()), options.get("requirement", ()))
    if "requirement" in options and not words:
        raise click.UsageError("Say at least one REQUIREMENT, or give a file with -r.")
    required = {word: _requirements_file(word) for word in words if word.option == "--requirement"}
    files = [*required.values(), *_constraint_files("--constraint", options.get("constraint", ()))]
    build_constraints = _constraint_files("--build-constraint", options.get("build_constraint", ()))
    config = Config.load(**_settings(options, files), build_constraints=_constraints_of(build_constraints))
    console = Console(options["progress"], quiet=options["quiet"], verbose=options["verbose"])
    for warning in (text for file in (*files, *build_constraints) for text in file.warnings):
        console.report(Event(code="warning", message=warning))
    try:
        with BlockingDatabase(config, reporter=console) as database, tidying(database.database.release):
            asked = [each for word in words for each in _asked_by(word, required)]
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


def _asked_by(word: Word, files: Mapping[Word, RequirementsFile]) -> list[Asked]:
    if word in files:
        return [Asked(request.text, request) for request in files[word].requirements]
    return [_parsed(f"-e {word.text.strip()}" if word.option else word.text)]


def _parsed(text: str) -> Asked:
    try:
        request = parse_request(text, cwd=Path.cwd())
        return Asked(request.text, request)
    except FelloeError as error:
        return Asked(redacted(text), error=error)


def _requirements_file(word: Word) -> RequirementsFile:
    return read_requirements(_file(word.option, word.text), environ=os.environ)


def _constraint_files(option: str, paths: Sequence[str]) -> list[RequirementsFile]:
    return [read_constraints(_file(option, path), environ=os.environ) for path in paths]


def _file(option: str, path: str) -> str:
    """What `option` names. Raises ConfigError where nothing is there: then the option is wrong, and not the file."""
    if path != "-" and not os.path.isfile(path):  # noqa: PTH113  # False, and no error, for what cannot be a path
        raise ConfigError(
            f"`{option}` names `{redacted(path)}`, which is not there, or is not a file",
            hint="Check the path; `-` is standard input.",
            origin=option,
        )
    return path


def _settings(options: Mapping[str, Any], files: Sequence[RequirementsFile]) -> dict[str, Any]:
    """The keywords of `Config.load`. What is one value the command line outranks; lists of files are added to its."""
    settings = {name: value for name, value in options.items() if name in Options.__optional_keys__}
    formats = _formats(options, files)
    settings |= {"no_binary": sorted(formats.no_binary), "only_binary": sorted(formats.only_binary)}
    for name, value in (said for file in files for said in _of_file(file).items()):
        own = settings.get(name)
        settings[name] = (*(own or ()), *value) if isinstance(value, tuple) else own or value
    return settings


def _formats(options: Mapping[str, Any], files: Sequence[RequirementsFile]) -> FormatControl:
    """What comes last counts: of files in their order, then of the line."""
    found = FormatControl()
    for file in files:
        found = file.options.formats.over(found)
    said = FormatControl()
    for word in in_order((), options.get("no_binary", ()), options.get("only_binary", ())):
        is_no = word.option == "--no-binary"
        said = said.with_no_binary(word.text) if is_no else said.with_only_binary(word.text)
    return said.over(found)


def _of_file(file: RequirementsFile) -> dict[str, Any]:
    """What a requirements file says beside its requirements."""
    given = file.options
    return {
        "index_url": given.index_url,
        "extra_index_url": given.extra_index_urls,
        "find_links": given.find_links,
        "no_index": given.no_index or None,  # False would be "ask the indexes that are configured elsewhere"
        "require_hashes": given.require_hashes or None,
        "prereleases": given.prereleases or None,
        "constraints": _constraints_of([file]),
    }


def _constraints_of(files: Sequence[RequirementsFile]) -> tuple[str, ...]:
    return tuple(request.text for file in files for request in file.constraints)
