"""What a user's file says of builds, project by project: which may be done, and what they depend on besides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

from felloe import config_readers as read
from felloe.config_layers import Given, items_of
from felloe.errors import ConfigError, FelloeError

__all__ = [
    "AllowedBuild",
    "DeclaredInput",
    "allowed_builds",
    "declared_inputs",
    "extra_env",
    "extra_requires",
    "line_to_allow",
    "passed_variables",
]

ALLOWED = ("name", "sha256", "content")
DECLARED = ("env", "files")
FIXED = ("sha256:", "git:")  # content ids that nobody makes anew by editing a file
is_sha256 = re.compile(r"[0-9a-fA-F]{64}").fullmatch
is_variable = re.compile(r"[^=*\0]+").fullmatch
is_pattern = re.compile(r"[^=*\0]+\*?").fullmatch
is_content = re.compile(r"[a-z0-9]+:[!-~]+").fullmatch


@frozen(kw_only=True)
class AllowedBuild:
    """A project (normalised) whose builds are allowed; with a `content` (a content id, see Dist), of that alone."""

    name: str
    content: str | None = None

    def covers(self, name: str | None, content: str | None) -> bool:
        return self.name == name and self.content in {None, content}


@frozen(kw_only=True)
class DeclaredInput:
    """What builds of a project depend on: `env:VARIABLE`, or `file:PATH` with the path as written.

    `path` is that of the file, absolute; None for a variable.
    """

    text: str
    path: Path | None = None

    @property
    def variable(self) -> str | None:
        """Its name; None for a file."""
        return self.text.removeprefix("env:") if self.path is None else None


def allowed_builds(given: Given) -> tuple[AllowedBuild, ...]:
    """A list of tables: `name`, and perhaps `sha256` (hex) or `content`. Raises ConfigError."""
    if not isinstance(given.value, list | tuple):
        read.refuse(given, 'a list of tables `{ name = "..." }`', given.value)
    return tuple(map(_allowed_build, items_of(given)))


def declared_inputs(given: Given) -> Mapping[str, tuple[DeclaredInput, ...]]:
    """Tables with the lists `env` and `files`, by names of projects, which are normalised here. Raises ConfigError."""
    found: dict[str, tuple[DeclaredInput, ...]] = {}
    for name, here in _by_project(given, "a table for each project, with `env` and `files`"):
        found[name] = (*found.get(name, ()), *_inputs_of_a_project(here))
    return found


def passed_variables(given: Given) -> tuple[str, ...]:
    """Names of variables, or beginnings of names with a `*`. Raises ConfigError."""
    names = read.texts(given)
    for name in names:
        if not is_pattern(name):
            read.refuse(given, "a list of names of variables, each perhaps with a `*` at its end", name)
    return names


def extra_requires(given: Given) -> Mapping[str, tuple[str, ...]]:
    """Lists of requirements (PEP 508) by names of projects, which are normalised here. Raises ConfigError."""
    from felloe.request import parse_pep508

    found: dict[str, tuple[str, ...]] = {}
    for name, here in _by_project(given, "a table of lists of requirements, by names of projects"):
        texts = read.texts(here)
        for text in texts:
            try:
                parse_pep508(text)
            except FelloeError as error:
                raise ConfigError(f"`{here.origin}`: {error.message}", hint=error.hint) from error
        found[name] = (*found.get(name, ()), *texts)
    return found


def extra_env(given: Given) -> Mapping[str, Mapping[str, str]]:
    """Tables of variables by names of projects, which are normalised here. Raises ConfigError."""
    found: dict[str, dict[str, str]] = {}
    for name, here in _by_project(given, "a table of tables of variables, by names of projects"):
        if not isinstance(here.value, Mapping):
            read.refuse(here, 'a table of `VARIABLE = "VALUE"`', here.value)
        for variable, value in here.value.items():
            if not is_variable(variable) or not isinstance(value, str) or "\0" in value:
                read.refuse(here.at(variable), "a variable with its value, which is a text", value)
            found.setdefault(name, {})[variable] = value
    return found


def line_to_allow(name: str, content: str | None) -> str:
    """What allows builds of just this, as TOML. Of a folder by its name alone: each edit makes it another content."""
    if content is None or not content.startswith(FIXED):
        return f'{{ name = "{name}" }}'
    if content.startswith("sha256:"):
        return f'{{ name = "{name}", sha256 = "{content.removeprefix("sha256:")}" }}'
    return f'{{ name = "{name}", content = "{content}" }}'


def _by_project(given: Given, expected: str) -> Iterator[tuple[str, Given]]:
    """What a table has for each project, by its normalised name. Raises ConfigError where it is no table."""
    if not isinstance(given.value, Mapping):
        read.refuse(given, expected, given.value)
    yield from ((read.normalised(given, name), given.at(name)) for name in given.value)


def _allowed_build(given: Given) -> AllowedBuild:
    """What is not known is refused: without it, more would be allowed than was meant."""
    read.check_table(given, ALLOWED)
    name = read.normalised(given.at("name"), read.text(given.at("name")))
    if "sha256" not in given.value:
        return AllowedBuild(name=name, content=_content(given.at("content")) if "content" in given.value else None)
    if "content" in given.value:
        raise ConfigError(f"`{given.origin}` has a `sha256` and a `content`", hint="Keep one of them.")
    return AllowedBuild(name=name, content=f"sha256:{_sha256(given.at('sha256'))}")


def _sha256(given: Given) -> str:
    if not isinstance(given.value, str) or not is_sha256(given.value):
        read.refuse(given, "a sha256, which is 64 hex digits", given.value)
    return given.value.lower()


def _content(given: Given) -> str:
    if not isinstance(given.value, str) or not is_content(given.value):
        read.refuse(given, "a content id like `git:COMMIT`", given.value)
    return given.value


def _inputs_of_a_project(given: Given) -> Iterator[DeclaredInput]:
    read.check_table(given, DECLARED)
    for text in read.texts(given.at("env")) if "env" in given.value else ():
        if not is_variable(text):
            read.refuse(given.at("env"), "a list of names of variables", text)
        yield DeclaredInput(text=f"env:{text}")
    for text in read.texts(given.at("files")) if "files" in given.value else ():
        if not text or "\0" in text:
            read.refuse(given.at("files"), "a list of paths", text)
        yield DeclaredInput(text=f"file:{text}", path=given.base / text)
