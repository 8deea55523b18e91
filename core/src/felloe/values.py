"""The values that pass along the line, from a requirement to its metadata.

All are frozen. They are built by keyword, so that a field can be added without breaking a plugin; `Metadata`, to which
none will be, by position as well.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from attrs import field, frozen

from felloe.url import Url

if TYPE_CHECKING:
    from packaging.markers import Marker
    from packaging.specifiers import SpecifierSet

    from felloe.progress import Event

__all__ = [
    "Answer",
    "BuildGoal",
    "BuildJob",
    "Built",
    "CacheKey",
    "Claim",
    "Completed",
    "Context",
    "Dist",
    "DistKind",
    "Effort",
    "Entry",
    "Environment",
    "Fetched",
    "Fingerprint",
    "Frame",
    "Fresh",
    "Headers",
    "Http",
    "Interpreter",
    "Json",
    "Level",
    "Login",
    "Metadata",
    "Origin",
    "Outcome",
    "Page",
    "Provide",
    "RawMetadata",
    "Request",
    "Rung",
    "Source",
    "Stack",
    "Stale",
    "Wheel",
]

Json = Any  # a value that the standard library's json writes; a Url is written redacted

BuildGoal = Literal["metadata", "wheel", "editable"]
DistKind = Literal["sdist", "wheel", "tree"]
Origin = Literal["user", "dependency", "build"]
Rung = Literal["override", "sidecar", "range", "pkg-info", "pyproject", "prepare", "wheel"]
Effort = Literal["cached", "static", "prepare", "build"]


@frozen(kw_only=True)
class Request:
    """One requirement, as somebody wrote it (PEP 508 and the forms of the command line).

    `name` is normalised (PEP 503). `hashes` are `algorithm:hex`; where there are any, only these bytes will do.
    `text` shows no secret.
    """

    text: str
    name: str | None = None
    extras: frozenset[str] = frozenset()
    url: Url | None = None
    path: Path | None = None
    subdirectory: str | None = None
    editable: bool = False
    hashes: frozenset[str] = frozenset()
    origin: Origin = "user"
    specifier: SpecifierSet
    marker: Marker | None = None


class Level(enum.IntEnum):
    """How strongly a source claims a bare name."""

    FALLBACK = 1  # may know any name: indexes, asked in the configured order
    SCHEME = 2  # a direct reference of its scheme
    NAMESPACE = 3  # names of this form are its own: never asked elsewhere


@frozen(kw_only=True)
class Claim:
    """A source's word that a request is its to answer; `reason` is shown by `explain` and in errors."""

    level: Level
    reason: str


@frozen(kw_only=True)
class Dist:
    """One distribution that a source has found.

    `name` is normalised; `version` is as the file name or the source has it. `content` is a content id
    (`sha256:HEX`, `git:COMMIT`, `tree:DIGEST`), None where only the bytes can tell. `hashes` maps algorithm to hex,
    as the source declares them. `size` is in bytes. `yanked` is False, or the reason (True for none given).
    `locator` is the source's own mapping; it is stored, and a `Url` in it is stored redacted.

    The kind `tree` is a project's folder, not packed into an archive. `editable` asks for a wheel that leads to the
    project's own folder (PEP 660); what `content` says has to tell such folders apart.
    """

    source: str
    kind: DistKind
    filename: str
    name: str | None = None
    version: str | None = None
    content: str | None = None
    hashes: Mapping[str, str] = field(factory=dict)
    size: int | None = None
    requires_python: str | None = None
    yanked: bool | str = False
    upload_time: str | None = None
    subdirectory: str | None = None
    scm: str | None = None
    editable: bool = False
    locator: Mapping[str, Json] = field(factory=dict)


@frozen(kw_only=True)
class CacheKey:
    """The folders below `<bucket>/<kind>/[<address>/]` that belong to one Dist; see `felloe.plugin.key_part`.

    Raises ValueError where a part could leave that folder or cannot be a file name.
    """

    parts: tuple[str, ...] = field()

    @parts.validator
    def _check(self, _attribute: Any, parts: tuple[str, ...]) -> None:
        if not parts:
            raise ValueError("a cache key needs at least one part")
        for part in parts:
            if part in {"", ".", ".."} or set(part) & set("/\\\0"):
                raise ValueError(f"{part!r} cannot be a part of a cache key; quote it with key_part()")


@frozen(kw_only=True)
class Entry:
    """What the cache knows of one Dist. `fetched` and `checked` are RFC 3339 instants in UTC.

    `digests` maps algorithm to hex of the bytes; `verified` says that we hashed them ourselves. `validators` are
    the source's own, to tell whether the entry is still true. `scm` is what the source gave with a tree, as far as its
    build may ask for it.
    """

    content: str | None = None
    digests: Mapping[str, str] = field(factory=dict)
    verified: bool = False
    scm: str | None = None
    validators: Mapping[str, Json] = field(factory=dict)
    locator: Mapping[str, Json] = field(factory=dict)
    fetched: str = ""
    checked: str = ""


@frozen(kw_only=True)
class Fetched:
    """Bytes that a source brought: a file, or for the kind `tree` a folder, in the scratch folder it was given.

    `content` is their content id; a file needs none, the core hashes it. `filename` is for a source that learns it with
    the bytes: it names the archive in the cache, and no more; kind and project are as `find` has said. `scm` is what
    version control says of a tree and its files do not (see `scm_state`): where it differs, another build is due, if
    the project's build may ask for it (see `asks_scm`). `editable_root` is the project's own folder, where an editable
    build has to run; nothing else is ever written there.
    """

    path: Path
    content: str | None = None
    validators: Mapping[str, Json] = field(factory=dict)
    filename: str | None = None
    scm: str | None = None
    editable_root: Path | None = None


@frozen(kw_only=True)
class Fresh:
    """The entry is still true; `validators` replace those of the entry."""

    validators: Mapping[str, Json] = field(factory=dict)


@frozen(kw_only=True)
class Stale:
    """The entry is no longer known to be true. `code` is short, `evidence` says old and new.

    `fetched` hands over bytes that had to be downloaded to find out: where their content is the entry's, the core
    takes the entry for fresh.
    """

    code: str
    evidence: str
    fetched: Fetched | None = None


@frozen(kw_only=True)
class RawMetadata:
    """METADATA as bytes (core metadata, RFC 822 form) and how they were had; the core parses them.

    `validators` are those of the distribution's file, where reading it showed them.
    """

    bytes: bytes
    rung: Rung
    validators: Mapping[str, Json] = field(factory=dict)


@frozen(kw_only=True)
class Page:
    """A response of an HTTP server: `url` after redirects, `headers` with names in lower case, `body` decoded."""

    url: Url
    status: int
    headers: Mapping[str, str]
    body: bytes


@frozen(kw_only=True)
class Interpreter:
    """The Python asked about: its tags in order of preference (PEP 425), its marker values (PEP 508)."""

    path: Path
    version: str
    tags: tuple[str, ...]
    markers: Mapping[str, str]


@frozen
class Metadata:
    """Core metadata without the description, as kebab-case keys; multiple-use fields are lists (of what is written).

    A missing key is "not there" for a wheel, and "not proven" for what an sdist alone tells.
    """

    fields: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As written."""
        return str(self.fields["name"])

    @property
    def version(self) -> str:
        """As written."""
        return str(self.fields["version"])

    @property
    def requires_python(self) -> str | None:
        return self.fields.get("requires-python")

    @property
    def requires_dist(self) -> tuple[str, ...]:
        """As written; `felloe.parse_pep508` parses one, memoised."""
        return tuple(self.fields.get("requires-dist", ()))

    @property
    def provides_extra(self) -> tuple[str, ...]:
        return tuple(self.fields.get("provides-extra", ()))


@frozen(kw_only=True)
class Wheel:
    """A wheel whose sha256 (hex) was just checked, and its metadata; `cached` says that no body was received.

    `path` is good until the Database closes.
    """

    path: Path
    filename: str
    sha256: str
    dist: Dist
    metadata: Metadata
    rung: Rung
    cached: bool


@frozen(kw_only=True)
class Answer:
    """Metadata, the rung that gave it, and whether it was cached (no backend hook ran, no body was received)."""

    metadata: Metadata
    rung: Rung
    cached: bool
    dist: Dist
    wheel: str | None = None


@frozen(kw_only=True)
class Outcome:
    """One item of a batch, done: a value or an error."""

    item: Any
    value: Any = None
    error: Exception | None = None


@frozen(kw_only=True)
class Fingerprint:
    """What a build depends on besides its source, in three digests of 16 hex digits each."""

    settings: str
    interpreter: str
    toolchain: str

    def to_json(self) -> dict[str, Json]:
        return {"settings": self.settings, "interpreter": self.interpreter, "toolchain": self.toolchain}

    @property
    def key(self) -> str:
        """16 hex digits over all three, as paths and locks of the cache have it."""
        text = f"{self.settings}-{self.interpreter}-{self.toolchain}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@frozen(kw_only=True)
class Frame:
    """One build under way (`build` is its build id), as those that it waits for see it."""

    build: str
    name: str


Stack = tuple[Frame, ...]


@frozen(kw_only=True)
class BuildJob:
    """One build to be done, for whoever does it: the source itself, a chosen builder, or the core.

    `tree` is the project's folder, unpacked, which may be changed; for the goal `editable` it is the user's own, where
    a wheel has to lead. The goal `metadata` asks for METADATA alone where that costs less than a wheel.
    `config_settings` are the backend's (PEP 517), `constraints` and `extra_requires` are PEP 508 texts for its build
    requirements, `env` is the whole environment of its processes. `fingerprint` says all that the build depends on
    besides `dist`; `stack` are the builds that wait for it, the longest-waiting first.
    """

    dist: Dist
    tree: Path
    goal: BuildGoal
    interpreter: Interpreter
    config_settings: Mapping[str, Json]
    constraints: tuple[str, ...] = ()
    extra_requires: tuple[str, ...] = ()
    env: Mapping[str, str] = field(factory=dict, repr=False)
    fingerprint: Fingerprint
    stack: Stack = ()


@frozen(kw_only=True)
class Built:
    """What a build gave: a wheel, or for the goal `metadata` perhaps METADATA alone (of the rung `prepare`).

    `wheel` is a regular file in scratch, named as PEP 427 has it; where there is one, its METADATA are what counts.
    `requires` are pins of what it was built with (`name==version`), `provenance` is what else is worth knowing of who
    built it and how: JSON, without secrets. It is kept with the build.
    """

    goal: BuildGoal
    wheel: Path | None = None
    metadata: RawMetadata | None = None
    requires: tuple[str, ...] = ()
    provenance: Mapping[str, Json] = field(factory=dict)


@frozen(kw_only=True)
class Environment:
    """A virtual environment (PEP 405) in the folder `path`; `python` runs in it, and `wheels` are installed there."""

    path: Path
    python: Path
    wheels: tuple[Wheel, ...] = ()

    @property
    def scripts(self) -> Path:
        """The folder of its programs, which belongs first on PATH."""
        return self.python.parent


class Provide(Protocol):
    """Where builds get their environments from."""

    def __call__(self, requirements: Sequence[str], interpreter: Interpreter, stack: Stack) -> Awaitable[Environment]:
        """An environment with what fulfils `requirements` (PEP 508), and each other's. It is not to be written in.

        `stack` are the builds that wait for it, the one that asks last. Raises FelloeError.
        """
        ...


@frozen(kw_only=True)
class Completed:
    """A program that ended: its exit code (negative: the signal that ended it) and what it printed."""

    returncode: int
    stdout: bytes
    stderr: bytes


@frozen(kw_only=True)
class Login:
    """How a source logs in where that has to be done again from time to time: a token that expires, say.

    `headers(ctx)` gives the headers to send, and asks for them without this Login: with a secret that it was given. It
    is called when a request has to be sent and not before, once a run for all who ask; and where a server answers 401,
    once more for all of them, after which each request is sent once more. What it gives goes to the origin of `url`
    alone, whatever is asked for. `hint` says what to correct where it is refused: the setting.
    """

    url: Url
    headers: Callable[[Context], Awaitable[Mapping[str, str]]] = field(repr=False)
    hint: str = ""


Headers = Mapping[str, str] | Login


class Http(Protocol):
    """HTTP for sources: authentication, retries, limits, offline, redaction and a cache for pages come with it.

    `headers`, here and in Context, are the source's own, such as a token; a Login gives them where they expire. They go
    to the origin of `url` (scheme, host, port) and to no other that it redirects to, and are never stored, shown or
    logged. Whether that origin may see them is the source's to say: a page may link to any. What came in answer is kept
    as if the server had named them in Vary, so that it is asked each time; where `url` names a user
    (`https://user@host/`), it is kept for that user, as long as the server allows.

    Raises SourceError for a header that cannot be sent, and for a Login that is refused.
    """

    async def get(
        self, url: Url, *, accept: str = "*/*", lifetime: float = 0.0, headers: Headers | None = None
    ) -> Page:
        """A page, from the cache where RFC 9111 allows.

        `lifetime` (seconds) counts for a response that names neither a lifetime nor a validator. Status 200, 404 and
        410 come back as they are; any other raises NetworkError. `file:` gives the file (404 where there is none), or
        a folder's listing as HTML.
        """
        ...

    async def read(
        self,
        url: Url,
        *,
        max_bytes: int | None = None,
        hashes: Mapping[str, str] | None = None,
        headers: Headers | None = None,
    ) -> bytes | None:
        """A small file, not cached; None where there is none (404, 410). `max_bytes` None: as METADATA may have.

        Raises HashMismatchError, NetworkError, OfflineError.
        """
        ...


class Context(Protocol):
    """What the core does for a source: where abilities grow. A source never sees a path of the cache."""

    @property
    def http(self) -> Http: ...

    @property
    def scratch(self) -> Path:
        """An empty folder on the cache's file system, removed when the item is done."""
        ...

    @property
    def newer_than(self) -> float | None:
        """The instant of `--refresh` (seconds since the epoch): what was checked earlier has to be checked again."""
        ...

    @property
    def offline(self) -> bool: ...

    def report(self, event: Event) -> None: ...

    def memo(self, *key: str) -> Memo:
        """One small JSON value that lives as long as the cache does."""
        ...

    async def download(
        self,
        url: Url,
        name: str,
        hashes: Mapping[str, str] | None = None,
        *,
        headers: Headers | None = None,
    ) -> Fetched:
        """The file at `url`, in scratch under `name`, hashed on the way; `headers` as for Http.

        Raises HashMismatchError, NetworkError, OfflineError.
        """
        ...

    async def revalidate(self, url: Url, name: str, entry: Entry, *, headers: Headers | None = None) -> Fresh | Stale:
        """No request while the entry's validators say fresh (RFC 9111); else one, whose body comes back."""
        ...

    async def wheel_metadata(
        self, url: Url, name: str, size: int | None = None, *, headers: Headers | None = None
    ) -> RawMetadata | None:
        """METADATA of a wheel by reading parts of it (rung `range`); None where the host cannot.

        `size` is that of the file in bytes, where it is known; it saves one request. Where the host sends the whole
        file instead, that is what `download` of the same URL gives next.
        """
        ...

    def keep(self, *key: str) -> AbstractAsyncContextManager[Path]:
        """A folder of the source's own that lives as long as the cache does, while nobody else is in it."""
        ...

    async def run(
        self,
        argv: Sequence[str],
        *,
        network: bool,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 600.0,  # noqa: ASYNC109  # the program's, in seconds
    ) -> Completed:
        """Runs a program in `cwd` (default: scratch), without standard input; its children end with it.

        `env` is its whole environment (default: ours). `network` says that it needs the network: then OfflineError
        is raised where that is off. Raises SourceError where it cannot be started, or takes too much.
        """
        ...

    async def once(self, key: str, fn: Callable[[], Awaitable[Any]]) -> Any:
        """What `fn` gives, called once for this key in this run, however many ask at once. An error is not kept."""
        ...


class Memo(Protocol):
    """One small JSON value of a source."""

    def get(self) -> Json: ...

    def set(self, value: Json) -> None: ...


class Source(Protocol):
    """What a plugin's object offers, in the order of the line. Hooks are marked with `felloe.plugin.hookimpl`.

    The class has `api = 1`; `default = True` makes an instance where none is configured. It is called as
    `Source(name, settings)` and raises ConfigError (or ValueError) where the settings will not do.
    """

    def claims(self, request: Request) -> Claim | None: ...

    def address(self) -> str: ...

    async def find(self, request: Request, ctx: Context) -> Sequence[Dist]: ...

    def cache_key(self, dist: Dist) -> CacheKey: ...

    async def check_freshness(self, dist: Dist, entry: Entry, ctx: Context) -> Fresh | Stale: ...

    async def fetch(self, dist: Dist, ctx: Context) -> Fetched: ...

    async def build(self, job: BuildJob, ctx: Context) -> Built: ...

    async def metadata(self, dist: Dist, ctx: Context) -> RawMetadata | None: ...
