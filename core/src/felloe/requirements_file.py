"""Requirements files in pip's format: what is required, what is constrained, and where it is to come from.

The format is that of pip's manual ("Requirements File Format"): comments, continued lines, nested files, `${VARIABLE}`,
options. A nested file is found beside the file that names it; a path to a distribution starts from the current folder.
"""

from __future__ import annotations

import codecs
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from attrs import evolve, field, frozen
from packaging.utils import InvalidName, canonicalize_name

from felloe.config import may_be_index
from felloe.errors import RequirementError
from felloe.format_control import ALL, NONE, FormatControl
from felloe.request import Expanded, parse_request, redacted
from felloe.values import Request

__all__ = ["FileOptions", "RequirementsFile", "read_constraints", "read_requirements"]

MAX_BYTES = 16 * 2**20  # of one file
MAX_DEPTH = 50  # files in one another
MAX_REQUIREMENTS = 100_000  # and constraints, of all files
MAX_SHOWN = 200  # characters of a line in an error
MAX_OPTIONS = 32_768  # characters of a line of options

BYTE_ORDER_MARKS = (  # UTF-16's is the start of UTF-32's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
CODING = re.compile(rb"#.*?coding[:=][ \t]*([-\w.]+)")
COMMENT = re.compile(r"(?:^|(?<=\s))#.*")
COMMENT_LINE = re.compile(r"\s*+#")
VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
SHORT = {"-i": "--index-url", "-f": "--find-links", "-r": "--requirement", "-c": "--constraint"}
IGNORED = {  # options, and what is told of each
    "--prefer-binary": "the highest version is taken, wheel or not; `--only-binary` leaves out source distributions",
    "--trusted-host": "the certificate of every host is checked; `--cert` names those to trust",
    "--use-feature": "it is about pip itself",
}
WITH_VALUE = frozenset(
    {*SHORT.values(), "--extra-index-url", "--no-binary", "--only-binary", "--trusted-host", "--use-feature"}
)
NESTING = frozenset({"--requirement", "--constraint"})
SWITCHES = frozenset({"--no-index", "--require-hashes", "--pre", "--prefer-binary"})
OPTIONS = sorted(WITH_VALUE | SWITCHES)


@frozen(kw_only=True)
class FileOptions:
    """The options in a requirements file, all nested files included.

    URLs are texts as written, which may hold a password; a path is its `file:` URL. `formats` is what `--no-binary` and
    `--only-binary` come to.
    """

    index_url: str | None = field(default=None, repr=False)
    extra_index_urls: tuple[str, ...] = field(default=(), repr=False)
    find_links: tuple[str, ...] = field(default=(), repr=False)
    no_index: bool = False
    formats: FormatControl = field(factory=FormatControl)
    require_hashes: bool = False
    prereleases: bool = False


@frozen(kw_only=True)
class RequirementsFile:
    """What a requirements file says, in its order.

    A requirement that has a variable is shown as it is written: its `text` keeps the `${NAME}`, since the value may be
    a secret. The `text` of a constraint is always complete, and PEP 508; with a variable it is an `Expanded`, which
    `felloe.request.redacted` shows as it is written. `warnings` says which options are ignored, and why, each once.
    """

    requirements: tuple[Request, ...] = ()
    constraints: tuple[Request, ...] = ()
    options: FileOptions = field(factory=FileOptions)
    warnings: tuple[str, ...] = ()


def read_requirements(path: Path | str, *, environ: Mapping[str, str], cwd: Path | None = None) -> RequirementsFile:
    """The requirements file at `path`, `-` being standard input, and all that it nests.

    `environ` gives the values of `${NAME}`; one that is unset or empty stays as it is. Relative paths of distributions
    start from `cwd` (default: the current folder). A file that is nested twice is read once.
    Raises RequirementError: its message starts with `file:line:column`, its payload has them, and neither has a value
    of `environ`.
    """
    return _read(str(path), _Reader(environ, Path() if cwd is None else cwd), constrains=False)


def read_constraints(path: Path | str, *, environ: Mapping[str, str], cwd: Path | None = None) -> RequirementsFile:
    """As `read_requirements`, with the lines of the file taken for constraints."""
    return _read(str(path), _Reader(environ, Path() if cwd is None else cwd), constrains=True)


def _read(path: str, reader: _Reader, *, constrains: bool) -> RequirementsFile:
    if path == "-":
        source = _Source("<stdin>", reader.cwd, _decoded(_standard_input(), "<stdin>"))
        reader.read(source, constrains=constrains)
    else:
        shown = redacted(path)
        reader.read(_opened(Path(path), shown), constrains=constrains, chain={os.path.realpath(path): shown})
    return reader.result()


@frozen
class _Source:
    """A file's text, how errors name it, and the folder in which it looks for nested files."""

    shown: str
    folder: Path
    text: str = field(repr=False)
    is_hidden: bool = False  # the folder's name comes from a variable


@frozen(kw_only=True)
class _Line:
    """A line, put together of the physical ones that it continues on, without its comment.

    `pieces` has, for each physical line, where it starts in `written` and its number.
    """

    source: _Source
    pieces: tuple[tuple[int, int], ...]
    written: str
    text: str = field(repr=False)  # with the values of the variables

    @property
    def is_filled_in(self) -> bool:
        return self.text != self.written

    @property
    def shown(self) -> str:
        """As written, redacted, without hashes."""
        return redacted(re.split(r"\s--hash\b", self.written, maxsplit=1)[0].strip())

    @contextmanager
    def placed(self) -> Iterator[None]:
        """Names this line in every RequirementError from within."""
        try:
            yield
        except RequirementError as error:
            if self.is_filled_in:  # the error may have the value of a variable in it
                raise self._error_without_values(error) from None
            raise self._error(error) from error

    def _error(self, error: RequirementError) -> RequirementError:
        place = self._place(error.payload.get("column") or self._start)
        return RequirementError(
            self._told(place, error.message),
            hint=error.hint,
            code=error.code,
            **{**error.payload, **place, "file": self.source.shown},
        )

    def _error_without_values(self, error: RequirementError) -> RequirementError:
        place = self._place(self._start)
        names = " and ".join(f"`${{{name}}}`" for name in dict.fromkeys(VARIABLE.findall(self.written)))
        return RequirementError(
            self._told(place, f"`{self.shown:.{MAX_SHOWN}}` cannot be used with the values of its variables"),
            hint=f"Check what {names} stands for.",
            code=error.code,
            file=self.source.shown,
            **place,
        )

    def warning(self, message: str) -> str:
        """`message`, which has no value of a variable in it, with the place of this line."""
        return self._told(self._place(self._start), message)

    def _told(self, place: Mapping[str, int], message: str) -> str:
        return f"{self.source.shown}:{place['line']}:{place['column']}: {message}"

    @property
    def _start(self) -> int:
        """The column of the first character that is not blank."""
        return len(self.written) - len(self.written.lstrip()) + 1

    def _place(self, column: int) -> Mapping[str, int]:
        """Where `column` of `written` is in the file."""
        offset, number = max(piece for piece in self.pieces if piece[0] < column)
        return {"line": number, "column": column - offset}


class _Reader:
    """Collects what a file and the files nested in it say."""

    def __init__(self, environ: Mapping[str, str], cwd: Path) -> None:
        self.cwd = cwd
        self._environ = environ
        self._seen: set[tuple[str, bool]] = set()
        self._requirements: list[Request] = []
        self._constraints: list[Request] = []
        self._options = FileOptions()
        self._warnings: dict[str, str] = {}

    def result(self) -> RequirementsFile:
        return RequirementsFile(
            requirements=tuple(self._requirements),
            constraints=tuple(self._constraints),
            options=self._options,
            warnings=tuple(self._warnings.values()),
        )

    def read(self, source: _Source, *, constrains: bool = False, chain: Mapping[str, str] | None = None) -> None:
        """`chain` has the real paths of the files that led here, this one at the end, and how errors name them."""
        for line in _lines(source, self._environ):
            with line.placed():
                options = _options_of(line)
                if not options:
                    self._add(line, constrains=constrains)
            for name, value in options:
                if name in NESTING:
                    self._nest(line, value, constrains=name == "--constraint", chain=chain or {})
                elif name in IGNORED:
                    self._warnings.setdefault(name, line.warning(f"`{name}` is ignored: {IGNORED[name]}"))
                else:
                    with line.placed():
                        self._set(name, value, source)

    def _add(self, line: _Line, *, constrains: bool) -> None:
        if len(self._requirements) + len(self._constraints) >= MAX_REQUIREMENTS:
            raise RequirementError(f"there are more than {MAX_REQUIREMENTS} requirements", hint="Require fewer.")
        request = parse_request(line.text, cwd=self.cwd)
        if constrains:
            text = Expanded(request.text, written=line.shown) if line.is_filled_in else request.text
            self._constraints.append(evolve(_checked_constraint(request), text=text))
        else:
            self._requirements.append(evolve(request, text=line.shown) if line.is_filled_in else request)

    def _nest(self, line: _Line, value: str, *, constrains: bool, chain: Mapping[str, str]) -> None:
        with line.placed():
            path = _nested(line.source, value)
            is_hidden = line.is_filled_in or line.source.is_hidden
            shown = line.shown if is_hidden else str(path)
            real = os.path.realpath(path)
            _check_chain(real, chain)
            nested = evolve(_opened(path, shown), is_hidden=is_hidden)
        if (real, constrains) not in self._seen:
            self._seen.add((real, constrains))
            self.read(nested, constrains=constrains, chain={**chain, real: shown})

    def _set(self, name: str, value: str, source: _Source) -> None:
        options = self._options
        match name:
            case "--index-url":
                options = evolve(options, index_url=_address(value, self.cwd))
            case "--extra-index-url":
                options = evolve(options, extra_index_urls=(*options.extra_index_urls, _address(value, self.cwd)))
            case "--find-links":
                links = _address(value, source.folder if _exists(source.folder / value) else self.cwd)
                options = evolve(options, find_links=(*options.find_links, links))
            case "--no-binary":
                options = evolve(options, formats=options.formats.with_no_binary(_checked_names(value)))
            case "--only-binary":
                options = evolve(options, formats=options.formats.with_only_binary(_checked_names(value)))
            case "--no-index":
                options = evolve(options, no_index=True)
            case "--require-hashes":
                options = evolve(options, require_hashes=True)
            case "--pre":
                options = evolve(options, prereleases=True)
        self._options = options


# Lines


def _lines(source: _Source, environ: Mapping[str, str]) -> Iterator[_Line]:
    for pieces in _continued(source.text):
        written = COMMENT.sub("", "".join(text for _, text in pieces)).rstrip()
        if written.strip():
            yield _Line(
                source=source,
                pieces=_starts(pieces),
                written=written,
                text=VARIABLE.sub(lambda match: environ.get(match[1]) or match[0], written),
            )


def _continued(text: str) -> Iterator[list[tuple[int, str]]]:
    """Numbers and texts of the physical lines of each line. A comment ends a line even with a backslash."""
    pieces: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        is_comment = COMMENT_LINE.match(line) is not None
        if line.endswith("\\") and not is_comment:
            pieces.append((number, line[:-1]))
            continue
        yield [*pieces, (number, f" {line}" if is_comment else line)]
        pieces = []
    if pieces:
        yield pieces


def _starts(pieces: list[tuple[int, str]]) -> tuple[tuple[int, int], ...]:
    starts, offset = [], 0
    for number, text in pieces:
        starts.append((offset, number))
        offset += len(text)
    return tuple(starts)


# Options


def _options_of(line: _Line) -> Sequence[tuple[str, str]]:
    """Long names and values ("" for a switch); none for the line of a requirement."""
    text = line.text.lstrip()
    if not text.startswith("-") or text.startswith(("-e", "--editable")):
        return ()
    return list(_split_options(text))


def _split_options(text: str) -> Iterator[tuple[str, str]]:
    words = iter(_words(text))
    for word in words:
        written, equals, value = _split_word(word)
        name = _full_name(written)
        if name in WITH_VALUE:
            value = value if equals else next(words, "")
        if (name in WITH_VALUE) != bool(value) or (name in SWITCHES and equals):
            problem = "needs a value" if name in WITH_VALUE else "takes no value"
            raise RequirementError(f"`{name}` {problem}", hint="See pip's manual on requirements files.")
        yield name, value


def _words(text: str) -> list[str]:
    if len(text) > MAX_OPTIONS:
        raise RequirementError(f"the line has {len(text)} characters", hint="Write fewer options on one line.")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise RequirementError(f"the line cannot be split into options: {error}", hint="Close the quotes.") from error


def _split_word(word: str) -> tuple[str, str, str]:
    """`--name=value`, `-nvalue`, or the name alone."""
    if word[:2] in SHORT:
        return SHORT[word[:2]], word[2:3], word[2:]
    return word.partition("=")


def _full_name(written: str) -> str:
    """pip's options may be shortened as long as they are clear; one that is written in full always is."""
    names = [written] if written in OPTIONS else [name for name in OPTIONS if name.startswith(written)]
    if len(names) == 1:
        return names[0]
    if names and len(written) > len("--"):
        raise RequirementError(
            f"`{written}` may mean {' or '.join(f'`{name}`' for name in names)}", hint="Write the option in full."
        )
    raise RequirementError(
        f"`{redacted(written)}` is not an option that a requirements file may have",
        hint=f"These are known: {', '.join(OPTIONS)}.",
    )


def _nested(source: _Source, value: str) -> Path:
    if _is_url(value):
        raise RequirementError(
            f"`{redacted(value)}` is a URL, and only files can be nested", hint="Download it, and name the copy."
        )
    if "\0" in value:
        raise RequirementError("a path has no NUL character", hint="Correct the line.")
    return source.folder / value


def _check_chain(path: str, chain: Mapping[str, str]) -> None:
    if path in chain:
        names = list(chain.values())[list(chain).index(path) :]
        raise RequirementError(
            f"the files nest each other in a cycle: {' -> '.join((*names, names[0]))}",
            hint="Take out one of the lines.",
        )
    if len(chain) >= MAX_DEPTH:
        raise RequirementError(f"more than {MAX_DEPTH} files are nested in each other", hint="Nest fewer.")


def _is_url(value: str) -> bool:
    return "://" in value or value.startswith("file:")


def _address(value: str, folder: Path) -> str:
    """A URL as it is, a path as a `file:` URL."""
    if _is_url(value):
        if not may_be_index(value):
            problem = "is not a URL (http, https, file)"
            raise RequirementError(f"`{redacted(value)}` {problem}", hint="Write `https://HOST/PATH`.")
        return value
    if not _is_path(value):
        raise RequirementError("what is no URL has to be the path of a folder", hint="Write `https://HOST/PATH`.")
    return Path(os.path.normpath((folder / value).absolute())).as_uri()


def _is_path(value: str) -> bool:
    """`user:password@host/simple`, a URL without its scheme, must not become a path that is shown."""
    is_clear = Path(value).is_absolute() or value.startswith(".") or not set(value) & set("@:")
    return is_clear and "\0" not in value


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  # False, and no error, for what cannot be a path


def _checked_names(value: str) -> str:
    for name in map(str.strip, value.split(",")):
        try:
            if name not in {ALL, NONE}:
                canonicalize_name(name, validate=True)
        except InvalidName as error:
            raise RequirementError(
                f"`{name:.80}` is no name of a project", hint="Give names with commas between them, or `:all:`."
            ) from error
    return value


def _checked_constraint(request: Request) -> Request:
    problems = {
        "is editable": request.editable,
        "has no name": request.name is None,
        "has extras": bool(request.extras),
        "has a hash": bool(request.hashes),
    }
    for problem in (text for text, is_so in problems.items() if is_so):
        raise RequirementError(
            f"`{request.text}` {problem}, so it cannot be a constraint", hint="Write `name` and versions alone."
        )
    return request


# Files


def _opened(path: Path, shown: str) -> _Source:
    """Never waits: a FIFO or a device is not opened."""
    try:
        if not path.is_file():
            raise RequirementError(
                f"`{shown}` is not there, or is not a file", hint="Check the path; `-` is standard input."
            )
        with path.open("rb") as file:
            return _Source(shown, path.parent, _decoded(_bounded(file, shown), shown))
    except OSError as error:
        raise RequirementError(f"`{shown}` cannot be read: {error.strerror}", hint="Make it readable.") from error


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise RequirementError("there is no standard input", hint="Name a file.")
    return _bounded(sys.stdin.buffer, "<stdin>")


def _bounded(file: IO[bytes], shown: str) -> bytes:
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise RequirementError(f"`{shown}` has more than {MAX_BYTES} bytes", hint="A requirements file is smaller.")
    return data


def _decoded(data: bytes, shown: str) -> str:
    """By its byte order mark, by a comment in the first two lines (PEP 263), else UTF-8."""
    start, encoding = _encoding(data)
    try:
        return data[start:].decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, start + error.start) + 1
        raise RequirementError(
            f"{shown}:{line}: the file is not {encoding}",
            hint="Save it as UTF-8, or name its encoding: `# -*- coding: ... -*-`.",
            file=shown,
            line=line,
        ) from error
    except (LookupError, ValueError) as error:
        raise RequirementError(
            f"`{shown}` names the encoding `{encoding}`, which is not known", hint="Save it as UTF-8."
        ) from error


def _encoding(data: bytes) -> tuple[int, str]:
    """How many bytes the mark has, and the encoding."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return len(mark), encoding
    for line in data.split(b"\n", 2)[:2]:
        if comment := CODING.match(line):
            return 0, comment[1].decode("ascii")
    return 0, "utf-8"
