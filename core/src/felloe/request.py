"""Requirements as people write them: PEP 508, URLs, paths and editable ones, each with its hashes.

Pure: whether a requirement is a path is seen from its form, and nothing is looked up on disk.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import unquote

from attrs import evolve, frozen
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidName, canonicalize_name

from felloe.errors import RequirementError
from felloe.url import Url
from felloe.values import Request

if TYPE_CHECKING:
    from felloe.values import Interpreter, Origin

__all__ = ["Expanded", "matches_environment", "parse_hash", "parse_pep508", "parse_request", "redacted"]

T = TypeVar("T")

MAX_LENGTH = 32_768  # characters of a requirement, without its hashes
MAX_REMEMBERED = 512  # characters of one that is worth remembering: thousands of them stay small
MAX_SHOWN = 200  # characters of it in an error
HASH_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}
ARCHIVE_SUFFIXES = (".whl", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
SEPARATORS = tuple(separator for separator in ("/", os.sep, os.altsep) if separator)
FORMS = 'Write `name==1.0`, `name[extra]>=1; python_version >= "3.11"`, `name @ URL`, a URL, or a path like `./name`.'

# Possessive throughout: none of these may go back over a hostile text.
EDITABLE = re.compile(r"\s*+(?:-e(?:\s++|(?=[./])|$)|--editable(?:=|\s++|$))?+")
OPTION = re.compile(r"(?<=\s)--?[A-Za-z]")
HASH_OPTION = re.compile(r"--hash(?:=|\s++)(\S++)\s*+")
CONFIG_OPTION = re.compile(r"-C|--config-s")  # as short as it is clear, like every option of pip
QUOTED = re.compile(r"""(["'])(.*)\1""", re.DOTALL)
NAMED_REFERENCE = re.compile(r"[A-Za-z0-9][\w.-]*+\s*+(?:\[[^\]]*+\]\s*+)?+@")
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*+://|(?:https?|ssh|file):|(?:git|hg|svn|bzr)\+", re.IGNORECASE)
NO_SCHEME = re.compile(r"(?://)?[^/\\:]++:[^/\\@]*+@")  # `user:password@host`, which no path may look like
REMOTE_PATH = re.compile(r"[^/\\:]{2,}:")  # of scp, as in `git@host:path`; one letter is a drive
SCP = re.compile(
    r"(?:git\+([\w.-]++)|(git))@(?!(?:https?|ssh|file):)(\[[0-9A-Fa-f:.]++\]|[\w.-]++):(?!//)/?+(?=[^/\s])"
)
AFTER_URL = re.compile(r"(?<=\s);|;(?=\s)")  # a URL may have semicolons of its own
AFTER_PATH = re.compile(r";")
ENDLESS_NUMBER = re.compile(r"[0-9]{1000}")
PRINTED_URL = re.compile(  # what stands before the host, with as few or as many slashes as it has, and the rest
    r"((?<=file):/{1,2}+|:/++|\b(?:https?|ssh):/*+|\b(?:git|hg|svn|bzr)\+(?!https?:|ssh:|[A-Za-z0-9.-]*+:/))(\S*+)",
    re.IGNORECASE,
)
END_OF_AUTHORITY = re.compile(r"[/?#]")
HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]*+\]|[^:@]*+)(?::[0-9]*+)?+")


class Expanded(str):
    """A text with the values of variables in it. A value may be a secret, so `redacted` gives what was `written`.

    What str's own methods make of it is a plain str, with the values and without this protection.
    """

    __slots__ = ("written",)

    written: str

    def __new__(cls, text: str, *, written: str) -> Self:
        expanded = super().__new__(cls, text)
        expanded.written = written
        return expanded


def parse_request(
    text: str, *, origin: Origin = "user", cwd: Path | None = None, hashes: Iterable[str] = frozenset()
) -> Request:
    """The request that `text` is.

    Of a user: PEP 508, a URL, a path, each perhaps after `-e` and before `--hash=ALGORITHM:HEX` options. A relative
    path starts from `cwd` (default: the current folder). A path has a separator, a leading dot or an archive's suffix;
    a bare name after `-e` is one too. `git@host:path` is `git+ssh://git@host/path`. What a dependency or a build
    requires is PEP 508 alone, with absolute URLs.

    Of `path` and `url` one is set at most: a `file:` URL gives a path, which is absolute. `url` keeps its fragment,
    of which `subdirectory`, `egg` and digests are read. `hashes` (`algorithm:hex`) count like those in the text.
    Raises RequirementError; its payload has the column (from 1) where that is known.
    """
    written, options = _split_hashes(text) if origin == "user" else (text, [])
    request = _as_user_wrote(written, cwd or Path()) if origin == "user" else _named(written, None)
    allowed = frozenset(map(parse_hash, (*hashes, *options)))
    return _checked(evolve(request, hashes=_agreed(request, allowed), origin=origin))


def parse_pep508(text: str) -> Requirement:
    """`text` as PEP 508, memoised, so not to be changed. Raises RequirementError as `parse_request`."""
    return _remembered(text) if len(text) <= MAX_REMEMBERED else _pep508(text)


@lru_cache(maxsize=8192)
def _remembered(text: str) -> Requirement:
    return _pep508(text)


def _pep508(text: str) -> Requirement:
    _check_length(text)
    if ENDLESS_NUMBER.search(text):
        raise RequirementError(f"`{_shown(text)}` is not a requirement: it has a number of 1000 digits", hint=FORMS)
    return _parse(Requirement, text, text)


def parse_hash(text: str) -> str:
    """`algorithm:hex` in lower case. Raises RequirementError unless it is a sha256, sha384 or sha512."""
    algorithm, _, digest = text.strip().lower().partition(":")
    if algorithm not in HASH_DIGITS:
        raise RequirementError(
            f"`{_shown(text)}` is not a hash that can be relied on", hint="Give `sha256:HEX`, or a sha384 or sha512."
        )
    if not re.fullmatch(f"[0-9a-f]{{{HASH_DIGITS[algorithm]}}}", digest):
        raise RequirementError(
            f"`{_shown(text)}` is not a hash: a {algorithm} has {HASH_DIGITS[algorithm]} hexadecimal digits",
            hint=f"Write `{algorithm}:` and the digits.",
        )
    return f"{algorithm}:{digest}"


def matches_environment(request: Request, interpreter: Interpreter) -> bool:
    """Whether the marker of `request` holds there, no extra being asked for.

    Raises RequirementError for a marker that compares what has no order, or asks for what is no marker value. It has
    the marker as `request.text` shows it, and not what packaging says, which quotes the values of variables.
    """
    if request.marker is None:
        return True
    try:
        return request.marker.evaluate({**interpreter.markers, "extra": ""})
    except (ValueError, LookupError, RecursionError):
        raise RequirementError(
            f"the marker of `{request.text}` has no meaning",
            hint="Compare marker variables (PEP 508), such as `python_version`, with texts of their kind.",
        ) from None


def redacted(text: str) -> str:
    """`text` with what may be a secret taken out of it: userinfo, queries, unknown fragments of URLs, and variables."""
    if isinstance(text, Expanded):
        return redacted(text.written)
    last = text.rfind("@")
    for url in PRINTED_URL.finditer(text):
        if url.end() < last and not _has_clear_host(url[2]):  # the rest may be a password with a blank in it
            text = f"{text[: url.end(1)]}****{text[last:]}"
            break
    return PRINTED_URL.sub(lambda match: match[1] + _without_secrets(match[2]), text)


# The forms


def _as_user_wrote(text: str, cwd: Path) -> Request:
    flag, subject = _split_flag(text)
    if subject.lstrip().startswith("-"):
        raise _not_an_option(subject, len(subject) - len(subject.lstrip()))
    read = _unnamed if _has_no_name(subject.strip(), editable=bool(flag)) else _named
    request = read(subject, cwd)
    return evolve(request, text=f"{flag} {request.text}", editable=True) if flag else request


def _split_flag(text: str) -> tuple[str, str]:
    """`-e` or `--editable`, and the text with blanks in its place: so columns stay what they are."""
    start = EDITABLE.match(text)
    length = len(start[0]) if start else 0
    return text[:length].strip().rstrip("="), " " * length + text[length:]


def _has_no_name(text: str, *, editable: bool) -> bool:
    """Whether it is a URL or a path alone. Only those can be editable."""
    if SCP.match(text):
        return True
    if not text or NAMED_REFERENCE.match(text):
        return False
    return editable or ADDRESS.match(text) is not None or _looks_like_path(text.partition(";")[0])


def _named(text: str, cwd: Path | None) -> Request:
    """PEP 508. Where `cwd` is None, a direct reference has to be an absolute URL."""
    requirement = parse_pep508(text)
    request = Request(
        text=text.strip(),
        name=canonicalize_name(requirement.name),
        extras=frozenset(map(canonicalize_name, requirement.extras)),
        specifier=requirement.specifier,
        marker=requirement.marker,
    )
    return request if requirement.url is None else _located(request, requirement.url, cwd)


def _unnamed(text: str, cwd: Path) -> Request:
    """A URL or a path, perhaps with a marker."""
    _check_length(text)
    is_url = ADDRESS.match(text.strip()) or SCP.match(text.strip())
    separator = (AFTER_URL if is_url else AFTER_PATH).search(text)
    place = (text[: separator.start()] if separator else text).strip()
    marker = _parse(Marker, text[separator.end() :], text, separator.end()) if separator else None
    return _located(Request(text=text.strip(), specifier=SpecifierSet(), marker=marker), place, cwd)


def _located(request: Request, place: str, cwd: Path | None) -> Request:
    if cwd is not None and SCP.match(place):
        address = _as_ssh(place)
        return _at_url(evolve(request, text=request.text.replace(place, address)), address, cwd)
    if cwd is None or ADDRESS.match(place) or (request.name and REMOTE_PATH.match(place)):
        return _at_url(request, place, cwd)
    return _at_path(request, place, cwd)


def _as_ssh(place: str) -> str:
    """What git reads in the form of scp, `git@host:path`, as the URL that it stands for."""
    return SCP.sub(lambda match: f"git+ssh://{match[1] or match[2]}@{match[3]}/", place, count=1)


def _at_url(request: Request, address: str, cwd: Path | None) -> Request:
    """`request` with where it is, and what the fragment says of it."""
    url = _url(address)
    fragment = _read_fragment(url)
    if request.name and fragment.name and request.name != fragment.name:
        raise RequirementError(
            f"`{redacted(request.text)}` is called `{request.name}` and `{fragment.name}`",
            hint="Leave out `#egg=`.",
        )
    is_file = url.scheme == "file"
    return evolve(
        request,
        text=request.text if is_file else request.text.replace(address, redacted(address)),
        name=request.name or fragment.name,
        extras=request.extras | fragment.extras,
        url=None if is_file else url,
        path=_path_of(url, cwd) if is_file else None,
        subdirectory=fragment.subdirectory,
        hashes=fragment.hashes,
    )


def _at_path(request: Request, text: str, cwd: Path) -> Request:
    """A path, perhaps with extras: `./folder[extra]`."""
    place, extras = _split_extras(text)
    if NO_SCHEME.match(place):
        raise RequirementError(
            "a URL starts with its scheme", hint="Write `https://HOST/PATH`; a path starts with `./`."
        )
    return evolve(request, path=_absolute(place, cwd), extras=request.extras | _names(extras))


def _looks_like_path(text: str) -> bool:
    place, _ = _split_extras(text.strip())
    has_separator = any(separator in place for separator in SEPARATORS)
    return has_separator or place.startswith(".") or _is_archive(place)


def _is_archive(filename: str) -> bool:
    return filename.lower().endswith(ARCHIVE_SUFFIXES)


def _split_extras(text: str) -> tuple[str, str]:
    """What stands before `[...]` at the end, and what in it."""
    if not text.endswith("]") or "[" not in text:
        return text, ""
    place, _, extras = text[:-1].rpartition("[")
    return place.rstrip(), extras


def _names(text: str) -> frozenset[str]:
    """Extras, as in brackets."""
    return frozenset(_normalised(name) for name in text.split(",") if name.strip())


def _normalised(name: str) -> str:
    try:
        return canonicalize_name(name.strip(), validate=True)
    except InvalidName:
        raise RequirementError(
            f"`{_shown(name)}` is not a name", hint="Names have letters, digits, and `.`, `-`, `_` between them."
        ) from None


# URLs and paths


def _url(address: str) -> Url:
    try:
        return Url(address)
    except RequirementError:
        place = address.removeprefix("git+")
        is_remote_path = REMOTE_PATH.match(place) and not ADDRESS.match(place)
        hint = "Write `git+ssh://git@HOST/PATH`." if is_remote_path else FORMS
        raise RequirementError(f"`{_shown(address)}` is not an absolute URL", hint=hint) from None


def _path_of(url: Url, cwd: Path | None) -> Path:
    """RFC 8089."""
    if url.host not in {"", "localhost"} or url.userinfo is not None:
        raise RequirementError(f"`{url}` names a file on another host", hint="A `file:` URL has three slashes.")
    path = unquote(url.path, errors="surrogateescape")
    return _absolute(path.removeprefix("/") if os.name == "nt" else path, cwd)


def _absolute(text: str, cwd: Path | None) -> Path:
    """With `..` as it is, since a folder may be a link to elsewhere."""
    path = Path(text)
    if not text or "\0" in text or (cwd is None and not path.is_absolute()):
        raise RequirementError(f"`{_shown(text)}` is not an absolute path", hint="Write `name @ file:///PATH`.")
    try:
        return path if cwd is None else (cwd / path).absolute()
    except FileNotFoundError as error:
        raise RequirementError(
            f"`{_shown(text)}` starts from the current folder, which is gone", hint="Change to a folder that exists."
        ) from error


@frozen(kw_only=True)
class _Fragment:
    """What pip reads in the fragment of a URL: `#subdirectory=d&egg=name[extra]&sha256=HEX`."""

    name: str | None
    extras: frozenset[str]
    subdirectory: str | None
    hashes: frozenset[str]


def _read_fragment(url: Url) -> _Fragment:
    pairs = [(key, unquote(value)) for key, _, value in (part.partition("=") for part in url.fragment.split("&"))]
    values = dict(pairs)
    name, extras = _split_extras(values.get("egg", "").strip())
    return _Fragment(
        name=_normalised(name) if name else None,
        extras=_names(extras),
        subdirectory=_inner_folder(values.get("subdirectory", "")),
        hashes=frozenset(parse_hash(f"{key}:{value}") for key, value in pairs if key in hashlib.algorithms_guaranteed),
    )


def _inner_folder(text: str) -> str | None:
    """A relative path that cannot leave the folder it starts from; None for that folder itself."""
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or set(text) & set("\\\0"):
        raise RequirementError(
            f"the subdirectory `{_shown(text)}` is not inside the source", hint="Give a relative path without `..`."
        )
    return "/".join(path.parts) or None


# Hashes


def _split_hashes(text: str) -> tuple[str, list[str]]:
    """The requirement, and the values of the `--hash` options after it, perhaps in quotes as for a shell."""
    first = OPTION.search(text, len(text) - len(text.lstrip()) + 1)
    position = first.start() if first else len(text)
    end, values = position, []
    while position < len(text):
        option = HASH_OPTION.match(text, position)
        if option is None:
            raise _not_an_option(text, position)
        quoted = QUOTED.fullmatch(option[1])
        values.append(quoted[2] if quoted else option[1])
        position = option.end()
    return text[:end].rstrip(), values


def _not_an_option(text: str, position: int) -> RequirementError:
    name = text[position:].split(maxsplit=1)[0].partition("=")[0]
    hint = "Only `--hash=sha256:HEX` may follow a requirement."
    if CONFIG_OPTION.match(name):
        hint = "Give it to felloe instead: `--config-settings-package NAME:KEY=VALUE`, or `-C KEY=VALUE` for all."
    return RequirementError(
        f"`{_shown(name)}` at column {position + 1} is not an option of a requirement", hint=hint, column=position + 1
    )


def _agreed(request: Request, given: frozenset[str]) -> frozenset[str]:
    """Hashes of options and of the URL. One in the URL means these bytes only, so it narrows what options allow."""
    algorithms = {text.partition(":")[0] for text in request.hashes}
    rivals = frozenset(text for text in given if text.partition(":")[0] in algorithms)
    if rivals and not request.hashes <= rivals:
        raise RequirementError(
            f"`{request.text}` has one hash in its URL and another in `--hash`", hint="Leave out the wrong one."
        )
    return (given - rivals) | request.hashes


def _checked(request: Request) -> Request:
    """Raises RequirementError for parts that do not go together."""
    is_plain_url = request.url is not None and request.url.scheme in {"http", "https"}
    is_repository = request.url is not None and "+" in request.url.scheme
    if request.editable and (is_plain_url or (request.path is not None and _is_archive(request.path.name))):
        raise RequirementError(
            f"`{request.text}` is an archive, which cannot be edited", hint="Give a folder, or leave out `-e`."
        )
    if request.hashes and (request.editable or is_repository):
        raise RequirementError(
            f"`{request.text}` has a hash, but is no archive that could have it",
            hint="Leave out the hash; a full commit id in a `git+` URL says as much.",
        )
    return request


# What packaging says of a mistake, with its place


def _parse(kind: Callable[[str], T], part: str, whole: str, start: int = 0) -> T:
    """`kind(part)`, where `part` stands at `start` in `whole`."""
    try:
        return kind(part)
    except RecursionError:
        raise RequirementError(f"`{_shown(whole)}` is nested too deeply", hint=FORMS) from None
    except (ValueError, SyntaxError) as error:  # its text has the requirement as it is, so it must not be chained
        raise _syntax_error(str(error), whole, start) from None


def _syntax_error(problem: str, whole: str, start: int) -> RequirementError:
    """packaging's text has the problem in the first line, and a caret below the place, indented by 4, in the last."""
    lines = problem.split("\n")
    expected, marker = lines[0][:1].lower() + lines[0][1:], lines[-1]
    if not marker.endswith("^") or marker.strip(" ~^"):
        return RequirementError(f"`{_shown(whole)}` is not a requirement: {expected}", hint=FORMS)
    column = start + len(marker) - 4
    return RequirementError(
        f"`{_shown(whole)}` is not a requirement: {expected}, at column {column}{_excerpt(whole, column)}",
        hint=FORMS,
        column=column,
    )


def _excerpt(text: str, column: int) -> str:
    """Two lines that point at `column` of `text`; nothing where the line would be too long to show."""
    line = _printable(redacted(text.strip()))
    before = _printable(redacted(text[: column - 1].lstrip()))
    return f"\n    {line}\n    {' ' * len(before)}^" if 0 < len(line) <= MAX_SHOWN else ""


def _shown(text: str) -> str:
    line = redacted(text.strip())
    return _printable(line if len(line) <= MAX_SHOWN else line[:MAX_SHOWN] + "...")


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _without_secrets(address: str) -> str:
    """What follows the scheme, without userinfo, its query masked, of its fragment what requirements have there."""
    before, _, fragment = _without_userinfo(address).partition("#")
    place, question, _ = before.partition("?")
    known = "&".join(part for part in fragment.split("&") if _is_known(part.partition("=")[0]))
    return place + ("?****" if question else "") + (f"#{known}" if known else "")


def _has_clear_host(rest: str) -> bool:
    authority, *path = END_OF_AUTHORITY.split(rest, maxsplit=1)
    return bool(path) and HOST.fullmatch(authority.rpartition("@")[2]) is not None


def _without_userinfo(rest: str) -> str:
    """Where no host can be told from a password, nothing up to the last `@` is shown."""
    authority = END_OF_AUTHORITY.split(rest, maxsplit=1)[0]
    if HOST.fullmatch(authority.rpartition("@")[2]):
        return rest[authority.rfind("@") + 1 :]
    return "****@" + rest.rpartition("@")[2] if "@" in rest else "****"


def _is_known(key: str) -> bool:
    return key in {"subdirectory", "egg"} or key in hashlib.algorithms_guaranteed


def _check_length(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise RequirementError(
            f"`{_shown(text)}` is not a requirement: it has {len(text)} characters",
            hint=f"A requirement has at most {MAX_LENGTH}.",
        )
