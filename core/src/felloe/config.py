"""What felloe is configured with: one frozen value out of options, the environment and files.

An earlier place outranks a later one:

1. options: the keywords of `Config.load`,
2. `FELLOE_*` variables (`SSL_CERT_FILE` for the certificates),
3. the nearest `felloe.toml`, or `pyproject.toml` with a table `[tool.felloe]`, from the current folder upwards,
4. uv's variables, 5. pip's variables, 6. uv's files, 7. pip's files.

From uv and pip come only indexes, certificates and proxies. The first place that names a default index gives it. The
other indexes all come from the first *tool* (felloe, uv, pip) that has any, and so do the find-links: pip's and uv's
are never mixed, as each set was written to be asked alone. Within a tool they are what the tool makes of them: an
option or variable stands in place of its like, felloe's and uv's files add to them. `no-index` speaks for its own place
and all that follow: no index URL of these is asked, and PyPI neither.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypedDict, Unpack

from attrs import field, frozen

from felloe.config_layers import Given, Layer, find_layers
from felloe.errors import ConfigError, RequirementError
from felloe.url import Url

__all__ = ["Config", "Limits", "Options", "Policy", "SourceSettings"]

ALL = ":all:"
INDEX_SCHEMES = frozenset({"http", "https", "file"})


@frozen(kw_only=True)
class SourceSettings:
    """One configured instance of a source. `origin` says where it is configured, for error messages.

    `settings` are the source's own, as written, except that `url` (and `find_links` of an index) is a Url; a path
    is its `file:` form. An unnamed index is named after its URL, redacted.
    """

    name: str
    kind: str
    settings: Mapping[str, Any] = field(factory=dict, repr=False)  # a source may take a token
    origin: str = ""


@frozen(kw_only=True)
class Policy:
    """Which distributions may be selected. Names are normalised (PEP 503), or `:all:`.

    Of `no_binary` and `only_binary` a name outranks `:all:`. `exclude_newer` is in seconds since the epoch: a file
    uploaded at that instant or later is left out. `constraints` are PEP 508 texts. `prereleases` None is "only where
    the requirement says so, or there is nothing else".
    """

    no_binary: frozenset[str] = frozenset()
    only_binary: frozenset[str] = frozenset()
    exclude_newer: float | None = None
    require_hashes: bool = False
    constraints: tuple[str, ...] = ()
    prereleases: bool | None = None


@frozen(kw_only=True)
class Limits:
    """Bounds against hostile and broken servers: an index page (decoded), METADATA, and all retries of a request."""

    max_page_bytes: int = 128 * 2**20
    max_metadata_bytes: int = 16 * 2**20
    max_retry_seconds: float = 60.0


class Options(TypedDict, total=False):
    """The keywords of `Config.load`. None and an empty sequence are "not given"; False is given.

    `index_url` and an item of `extra_index_url` may be `NAME=URL`. Relative paths start from `cwd`. `exclude_newer` is
    RFC 3339, or a date, which includes the whole of that day in UTC.
    """

    cache_dir: Path | str | None
    no_cache: bool | None
    index_url: str | None
    extra_index_url: Sequence[str] | None
    find_links: Sequence[str | Path] | None
    no_index: bool | None
    python: Path | str | None
    offline: bool | None
    refresh: bool | None
    refresh_packages: Sequence[str] | None
    no_binary: Sequence[str] | None
    only_binary: Sequence[str] | None
    exclude_newer: str | None
    require_hashes: bool | None
    constraints: Sequence[str] | None
    prereleases: bool | None
    cert: Path | str | None
    timeout: float | None
    concurrent_downloads: int | None
    max_page_bytes: int | None
    max_metadata_bytes: int | None
    max_retry_seconds: float | None
    disabled: Sequence[str] | None
    strict: bool | None


def _normal(pattern: str) -> str:
    """A name, or a pattern of names, as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", pattern).lower()


def _normal_pins(pins: Mapping[str, str]) -> Mapping[str, str]:
    return {_normal(pattern): source for pattern, source in pins.items()}


@frozen(kw_only=True)
class Config:
    """All settings. No field shows a secret in its repr.

    `cache_dir` None is a temporary folder (`--no-cache`). `sources` are in the order in which they are asked;
    `replaced_kinds` are the kinds of which no default instance is made. `pins` maps patterns of normalised names to
    names of sources, in the order of the file. `proxies` maps `http` and `https` to what uv or pip is configured
    with, for a scheme for which the environment has no proxy variable; `no_proxy` are hosts that are reached without
    those. `environ` is the part of the environment that tells credentials. Times are in seconds.
    """

    cache_dir: Path | None = None
    sources: tuple[SourceSettings, ...] = ()
    replaced_kinds: frozenset[str] = frozenset()
    pins: Mapping[str, str] = field(factory=dict, converter=_normal_pins)
    disabled: frozenset[str] = frozenset()
    strict: bool = False
    policy: Policy = field(factory=Policy)
    python: Path | None = None
    offline: bool = False
    refresh: bool = False
    refresh_packages: frozenset[str] = frozenset()
    cert: Path | None = None
    proxies: Mapping[str, Url] = field(factory=dict)
    no_proxy: tuple[str, ...] = ()
    timeout: float = 30.0
    concurrent_downloads: int = 50
    limits: Limits = field(factory=Limits)
    environ: Mapping[str, str] = field(factory=dict, repr=False, eq=False)

    @classmethod
    def load(
        cls, *, environ: Mapping[str, str] | None = None, cwd: Path | None = None, **overrides: Unpack[Options]
    ) -> Config:
        """The settings that hold in `cwd`; see the top of this module for what outranks what.

        Raises ConfigError naming the place of what is wrong. Unknown keys in files are left alone, since a later
        version may know them; an unknown keyword is a TypeError.
        """
        if unknown := overrides.keys() - Options.__optional_keys__:
            raise TypeError(f"unknown settings: {', '.join(sorted(unknown))}")
        environ = os.environ if environ is None else environ
        layers = find_layers(overrides, environ, _absolute(cwd))
        own = [layer for layer in layers if layer.tool == "felloe"]
        return cls(
            cache_dir=_cache_dir(own),
            sources=_sources(layers),
            replaced_kinds=frozenset({"pypi"}) if _replaces_default(layers) else frozenset(),
            policy=_policy(own),
            limits=Limits(**_values(own, LIMITS)),
            proxies=_proxies(layers, environ),
            no_proxy=_no_proxy(layers, environ),
            environ=_credential_variables(environ),
            **_values(own, GENERAL),
            **_values(layers, {"cert": _path}),
        )

    @property
    def index_urls(self) -> tuple[tuple[str, Url], ...]:
        """Name and URL of each configured source that has one: what credentials may be configured for."""
        urls = ((source.name, source.settings.get(key)) for source in self.sources for key in ("url", "find_links"))
        return tuple((name, url) for name, url in urls if isinstance(url, Url))


def _absolute(cwd: Path | None) -> Path:
    try:
        return (cwd or Path()).absolute()
    except FileNotFoundError as error:
        raise ConfigError("the current folder is gone", hint="Change to a folder that exists.") from error


def _cache_dir(layers: Sequence[Layer]) -> Path | None:
    no_cache = _first(layers, "no-cache")
    if no_cache is not None and _boolean(no_cache):
        return None
    given = _first(layers, "cache-dir")
    if given is not None:
        return _path(given)
    from platformdirs import user_cache_path

    return user_cache_path("felloe", appauthor=False)


def _policy(layers: Sequence[Layer]) -> Policy:
    policy = Policy(**_values(layers, POLICY))
    for name in sorted(policy.no_binary & policy.only_binary):
        raise ConfigError(
            f"`{name}` is given to `--no-binary` and to `--only-binary`, which leaves nothing to select",
            hint="Take it out of one of them.",
        )
    return policy


def _credential_variables(environ: Mapping[str, str]) -> dict[str, str]:
    prefixes, suffixes = ("FELLOE_INDEX_", "UV_INDEX_"), ("_USERNAME", "_PASSWORD")
    files = {"NETRC", "HOME", "USERPROFILE"}
    return {
        name: value
        for name, value in environ.items()
        if name in files or (name.startswith(prefixes) and name.endswith(suffixes))
    }


# Proxies: the environment's own variables are the client's to read, and outrank these


def _proxies(layers: Sequence[Layer], environ: Mapping[str, str]) -> dict[str, Url]:
    schemes = [scheme for scheme in ("http", "https") if not _is_set(environ, f"{scheme}_proxy", "all_proxy")]
    given = {scheme: _first(layers, f"{scheme}-proxy") for scheme in schemes}
    return {scheme: _proxy(proxy) for scheme, proxy in given.items() if proxy is not None}


def _no_proxy(layers: Sequence[Layer], environ: Mapping[str, str]) -> tuple[str, ...]:
    given = None if _is_set(environ, "no_proxy") else _first(layers, "no-proxy")
    return () if given is None else _texts(given)


def _is_set(environ: Mapping[str, str], *names: str) -> bool:
    return any(environ.get(name) or environ.get(name.upper()) for name in names)


def _proxy(given: Given) -> Url:
    text = _text(given)
    try:
        return Url(text if "://" in text else f"http://{text}")
    except RequirementError:
        _refuse_url(given)


# Sources


def _sources(layers: Sequence[Layer]) -> tuple[SourceSettings, ...]:
    """Indexes and find-links, place by place, then the sources of any kind, then what replaces the default index."""
    asked = _before_no_index(layers)
    default = _first(asked, "index-url")
    return _unique(
        [
            *_extra_indexes(layers, asked),
            *_other_sources(layers, asked),
            *([] if default is None or default.value is None else [_index(default)]),
        ]
    )


def _replaces_default(layers: Sequence[Layer]) -> bool:
    asked = _before_no_index(layers)
    return len(asked) < len(layers) or _first(asked, "index-url") is not None


def _before_no_index(layers: Sequence[Layer]) -> Sequence[Layer]:
    """The places whose index URLs count: the first that says yes or no to `no-index` decides."""
    for position, layer in enumerate(layers):
        if "no-index" in layer.settings:
            return layers[:position] if _boolean(layer.settings["no-index"]) else layers
    return layers


def _extra_indexes(layers: Sequence[Layer], asked: Sequence[Layer]) -> Iterator[SourceSettings]:
    with_indexes = _speakers(asked, lambda layer: layer.indexes)
    with_links = _speakers(layers, lambda layer: layer.links)
    for layer in layers:
        if layer in with_indexes:
            yield from map(_index, layer.indexes)
        if layer in with_links:
            yield from map(_find_links, layer.links)


def _speakers(layers: Sequence[Layer], items: Callable[[Layer], tuple[Given, ...]]) -> list[Layer]:
    """The places that have items, of the first tool that has any, without those that give way."""
    having = [layer for layer in layers if items(layer)]
    mine = [layer for layer in having if layer.tool == having[0].tool]
    return [layer for position, layer in enumerate(mine) if position == 0 or layer.adds]


def _other_sources(layers: Sequence[Layer], asked: Sequence[Layer]) -> Iterator[SourceSettings]:
    for layer in layers:
        sources = map(_source, layer.sources)
        yield from (source for source in sources if layer in asked or not _is_index_url(source))


def _is_index_url(source: SourceSettings) -> bool:
    return source.kind == "pypi" or (source.kind == "index" and "url" in source.settings)


def _index(given: Given) -> SourceSettings:
    """An instance of kind `index`, of a text or a table; what else is in the table is the source's to judge."""
    table = _table(given)
    _check_list(given, "projects", table.get("projects", []), str)
    _check_list(given, "missing", table.get("missing", []), int)
    return _instance(given, "index", {**_own_settings(table), "url": _url(given, table.get("url"))})


def _find_links(given: Given) -> SourceSettings:
    return _instance(given, "index", {"find_links": _url(given, _table(given).get("url"))})


def _source(given: Given) -> SourceSettings:
    """An instance of any kind; the name is obligatory."""
    if not isinstance(given.value, Mapping):
        _refuse(given, "a table", given.value)
    table = given.value
    for key in ("name", "kind"):
        if not isinstance(table.get(key), str) or not table[key]:
            raise ConfigError(f"`{given.origin}` needs a `{key}`, which is a text", hint=f'Add `{key} = "..."`.')
    if table["kind"] == "index" and "url" in table:
        return _index(given)
    settings = _own_settings(table)
    if "://" in str(settings.get("url")):
        settings["url"] = _absolute_url(given, str(settings["url"]))
    return _instance(given, table["kind"], settings)


def _table(given: Given) -> Mapping[str, Any]:
    """A URL alone is a table of nothing else."""
    return given.value if isinstance(given.value, Mapping) else {"url": given.value}


def _own_settings(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in {"name", "kind"}}


def _instance(given: Given, kind: str, settings: Mapping[str, Any]) -> SourceSettings:
    name = _table(given).get("name", "")
    if not isinstance(name, str):
        _refuse(given, "a table with a text for `name`", name)
    return SourceSettings(name=name or _unnamed(settings), kind=kind, settings=settings, origin=given.origin)


def _unnamed(settings: Mapping[str, Any]) -> str:
    """What an index without a name is called: its URL, redacted."""
    return str(settings.get("url", settings.get("find_links")))


def _check_list(given: Given, key: str, value: object, kind: type) -> None:
    if not isinstance(value, list) or not all(type(item) is kind for item in value):
        _refuse(given, f"a table with a list of {'texts' if kind is str else 'status codes'} for `{key}`", value)


def _unique(sources: Iterable[SourceSettings]) -> tuple[SourceSettings, ...]:
    """The sources, each once. Raises ConfigError where two of them have one name."""
    found: dict[str, SourceSettings] = {}
    for source in sources:
        other = found.setdefault(source.name, source)
        if other is not source and not _is_repetition(other, source):
            raise ConfigError(
                f"two sources are named `{source.name}`: one in `{other.origin}`, one in `{source.origin}`",
                hint="Give each a name of its own.",
            )
    return tuple(found.values())


def _is_repetition(one: SourceSettings, other: SourceSettings) -> bool:
    """The same index, given twice without a name."""
    return one.name == _unnamed(one.settings) and (one.kind, one.settings) == (other.kind, other.settings)


def _url(given: Given, value: object) -> Url:
    """An index or a page of links: a URL, or the path of a folder."""
    text = str(value).strip() if isinstance(value, str | Path) else ""
    if "://" in text or text.startswith("file:"):
        url = _absolute_url(given, text)
        if url.scheme not in INDEX_SCHEMES or (url.scheme != "file" and not url.host):
            _refuse_url(given)
        return url
    if not text or not _is_path(text):
        _refuse_url(given)
    return Url(Path(os.path.normpath(given.base / text)).as_uri())


def _is_path(text: str) -> bool:
    """`user:password@host/simple`, a URL without its scheme, must not become a path that is shown."""
    return Path(text).is_absolute() or text.startswith(".") or not set(text) & set("@:")


def _absolute_url(given: Given, text: str) -> Url:
    try:
        return Url(text)
    except RequirementError:
        _refuse_url(given)


def _refuse_url(given: Given) -> NoReturn:
    """Without the value, and without the error that has it: what cannot be parsed cannot be redacted."""
    raise ConfigError(
        f"`{given.origin}` has to be a URL (http, https, file) or the path of a folder",
        hint="Write `https://HOST/PATH`, with what is special in user name and password percent-encoded.",
    ) from None


# Reading a value: each takes what somebody gave and raises ConfigError naming where


def _first(layers: Iterable[Layer], name: str) -> Given | None:
    return next((layer.settings[name] for layer in layers if name in layer.settings), None)


def _values(layers: Sequence[Layer], readers: Mapping[str, Callable[[Given], Any]]) -> dict[str, Any]:
    """Field to value, for the settings that somebody gave; the others keep the default of their class."""
    given = {name: _first(layers, name) for name in readers}
    return {name.replace("-", "_"): readers[name](value) for name, value in given.items() if value is not None}


def _refuse(given: Given, expected: str, value: object) -> NoReturn:
    raise ConfigError(f"`{given.origin}` has to be {expected}, not `{value!r:.80}`", hint="Correct the value.")


def _boolean(given: Given) -> bool:
    word = str(given.value).strip().lower() if isinstance(given.value, str | bool) else ""
    if word in {"1", "true", "yes", "on", "t", "y"}:
        return True
    if word in {"0", "false", "no", "off", "f", "n"}:
        return False
    _refuse(given, "true or false", given.value)


def _text(given: Given) -> str:
    if not isinstance(given.value, str) or not given.value.strip():
        _refuse(given, "a text", given.value)
    return given.value.strip()


def _texts(given: Given) -> tuple[str, ...]:
    values = given.value if isinstance(given.value, list | tuple) else [given.value]
    if not all(isinstance(value, str) for value in values):
        _refuse(given, "a list of texts", given.value)
    return tuple(values)


def _path(given: Given) -> Path:
    """Absolute, with links as they are: the python of a virtual environment is one."""
    if not isinstance(given.value, str | Path) or not str(given.value).strip():
        _refuse(given, "a path", given.value)
    return given.base / given.value


def _python(given: Given) -> Path:
    """A path, or the bare name of a program, which is looked up on PATH when it is asked."""
    path = _path(given)
    return Path(str(given.value)) if Path(str(given.value)).name == str(given.value) else path


def _seconds(given: Given) -> float:
    value = given.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        _refuse(given, "a number of seconds above 0", value)
    return float(value)


def _count(given: Given) -> int:
    value = given.value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        _refuse(given, "a whole number above 0", value)
    return value


def _kinds(given: Given) -> frozenset[str]:
    return frozenset(_texts(given))


def _names(given: Given) -> frozenset[str]:
    """Names of projects, normalised (PEP 503)."""
    return frozenset(_normalised(given, text) for text in _texts(given))


def _names_or_all(given: Given) -> frozenset[str]:
    """As pip has it: commas separate, `:all:` is every name, `:none:` forgets what stands before it."""
    names: set[str] = set()
    for text in ",".join(_texts(given)).split(","):
        if text.strip() == ":none:":
            names.clear()
        elif text.strip():
            names.add(ALL if text.strip() == ALL else _normalised(given, text))
    return frozenset(names)


def _normalised(given: Given, text: str) -> str:
    from packaging.utils import InvalidName, canonicalize_name

    try:
        return canonicalize_name(text.strip(), validate=True)
    except InvalidName as error:
        raise ConfigError(
            f"`{given.origin}` has `{text:.80}`, which is no name of a project",
            hint="Names look like `django-allauth`.",
        ) from error


def _instant(given: Given) -> float:
    """Seconds since the epoch. A date is the end of that day in UTC, so that it means the same on every machine."""
    from datetime import UTC, date, datetime, timedelta

    text = given.value.isoformat() if isinstance(given.value, date) else _text(given)
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            return (datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(days=1)).timestamp()
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.timestamp()
    except (ValueError, OverflowError):
        pass  # refused below
    _refuse(given, "a date (`2024-01-31`) or an instant with its offset (`2024-01-31T12:00:00Z`)", text)


def _pins(given: Given) -> dict[str, str]:
    """Patterns are normalised like the names that they are compared with."""
    if not isinstance(given.value, dict) or not all(isinstance(name, str) for name in given.value.values()):
        _refuse(given, 'a table of `"PATTERN" = "SOURCE"`', given.value)
    pins: dict[str, str] = {}
    for pattern, source in given.value.items():
        if pins.setdefault(_normal(pattern), source) != source:
            raise ConfigError(f"`{given.origin}` pins `{pattern}` to two sources", hint="Keep one of the lines.")
    return pins


GENERAL: Mapping[str, Callable[[Given], Any]] = {
    "pins": _pins,
    "disabled": _kinds,
    "strict": _boolean,
    "python": _python,
    "offline": _boolean,
    "refresh": _boolean,
    "refresh-packages": _names,
    "timeout": _seconds,
    "concurrent-downloads": _count,
}
POLICY: Mapping[str, Callable[[Given], Any]] = {
    "no-binary": _names_or_all,
    "only-binary": _names_or_all,
    "exclude-newer": _instant,
    "require-hashes": _boolean,
    "constraints": _texts,
    "prereleases": _boolean,
}
LIMITS: Mapping[str, Callable[[Given], Any]] = {
    "max-page-bytes": _count,
    "max-metadata-bytes": _count,
    "max-retry-seconds": _seconds,
}
