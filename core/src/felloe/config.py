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

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NoReturn, TypedDict, Unpack

from attrs import field, frozen

from felloe import config_readers as read
from felloe.build_rules import (
    AllowedBuild,
    DeclaredInput,
    allowed_builds,
    declared_inputs,
    extra_env,
    extra_requires,
    passed_variables,
)
from felloe.config_layers import Given, Layer, find_layers
from felloe.errors import ConfigError, RequirementError
from felloe.format_control import ALL, NONE, FormatControl
from felloe.override import Override, read_overrides
from felloe.url import Url

__all__ = ["DEFAULT_INDEX", "Building", "Config", "Limits", "Options", "Policy", "SourceSettings", "may_be_index"]

DEFAULT_INDEX = "pypi"  # the kind of the index that is asked where none is configured in its place
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
    """Bounds against hostile and broken servers, archives and backends.

    An archive may unpack to `max_unpacked_bytes`, or to `max_unpacked_ratio` times its packed size if that is more, and
    hold `max_archive_entries`. `max_metadata_bytes` are of METADATA, and of each other file that is read out of an
    archive; `max_page_bytes` of an index page, decoded, and `max_pages_memory` of all that are in memory at a time (one
    that is larger comes alone); `max_build_output_bytes` of what is kept of a build's output.
    `max_retry_seconds` are for all tries of a request.
    """

    max_page_bytes: int = 128 * 2**20
    max_pages_memory: int = 48 * 2**20
    max_metadata_bytes: int = 16 * 2**20
    max_unpacked_bytes: int = 512 * 2**20
    max_unpacked_ratio: int = 20
    max_archive_entries: int = 100_000
    max_build_output_bytes: int = 2**20
    max_retry_seconds: float = 60.0


@frozen(kw_only=True)
class Building:
    """How sdists are built.

    `config_settings` are those of every request's backend (PEP 517), `config_settings_package` those of a project by
    name, whoever needs it. `build_constraints` (PEP 508) bind build requirements. Names in `no_build` (or `:all:`) are
    never built, and where there is a list `allow`, nothing else than what it covers. `env` are names of variables that
    backends get besides the usual ones, or beginnings of names with a `*`. By name of a project, `extra_requires` are
    build requirements (PEP 508) and `extra_env` variables besides its own, and `inputs` what else its builds depend on.
    `builder` is the extension that builds what it accepts in the core's place. What failed before is tried again with
    `retry_failed`. `build_timeout` is in seconds, of one hook of a backend.
    """

    config_settings: Mapping[str, str | list[str]] = field(factory=dict)
    config_settings_package: Mapping[str, Mapping[str, str | list[str]]] = field(factory=dict)
    build_constraints: tuple[str, ...] = ()
    no_build: frozenset[str] = frozenset()
    allow: tuple[AllowedBuild, ...] | None = None
    env: tuple[str, ...] = ()
    extra_requires: Mapping[str, tuple[str, ...]] = field(factory=dict)
    extra_env: Mapping[str, Mapping[str, str]] = field(factory=dict, repr=False)
    inputs: Mapping[str, tuple[DeclaredInput, ...]] = field(factory=dict)
    builder: str | None = None
    no_build_isolation: bool = False
    retry_failed: bool = False
    build_timeout: float = 3600.0
    concurrent_builds: int = field(factory=lambda: os.cpu_count() or 1)


class Options(TypedDict, total=False):
    """The keywords of `Config.load`. None and an empty sequence are "not given"; False is given.

    `index_url` and an item of `extra_index_url` may be `NAME=URL`. Relative paths start from `cwd`. `exclude_newer` is
    RFC 3339, or a date, which includes the whole of that day in UTC. What `no_binary` and `only_binary` say of a name
    takes the place of what any lesser place says of it.
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
    config_settings: Sequence[str] | None
    config_settings_package: Sequence[str] | None
    build_constraints: Sequence[str] | None
    no_build: bool | None
    no_build_package: Sequence[str] | None
    no_build_isolation: bool | None
    retry_failed: bool | None
    build_timeout: float | None
    concurrent_builds: int | None
    max_page_bytes: int | None
    max_pages_memory: int | None
    max_metadata_bytes: int | None
    max_unpacked_bytes: int | None
    max_unpacked_ratio: int | None
    max_archive_entries: int | None
    max_build_output_bytes: int | None
    max_retry_seconds: float | None
    disabled: Sequence[str] | None
    strict: bool | None


def _normal_pins(pins: Mapping[str, str]) -> Mapping[str, str]:
    return {read.normal_pattern(pattern): source for pattern, source in pins.items()}


@frozen(kw_only=True)
class Config:
    """All settings. No field shows a secret in its repr.

    `cache_dir` None is a temporary folder (`--no-cache`). `sources` are in the order in which they are asked;
    `replaced_kinds` are the kinds of which no default instance is made. `pins` maps patterns of normalised names to
    names of sources, in the order of the file. `proxies` maps `http` and `https` to what uv or pip is configured
    with, for a scheme for which the environment has no proxy variable; `no_proxy` are hosts that are reached without
    those. `cert_origin` says where `cert` is set, for error messages. `overrides` are metadata that hold whatever a
    source has. `environ` is the part of the environment that tells credentials. `warnings` are sentences on settings
    that were found and do not count, each with its place. Times are in seconds.
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
    cert_origin: str = field(default="", eq=False)
    proxies: Mapping[str, Url] = field(factory=dict)
    no_proxy: tuple[str, ...] = ()
    timeout: float = 30.0
    concurrent_downloads: int = 50
    limits: Limits = field(factory=Limits)
    building: Building = field(factory=Building)
    overrides: tuple[Override, ...] = ()
    environ: Mapping[str, str] = field(factory=dict, repr=False, eq=False)
    warnings: tuple[str, ...] = ()

    @classmethod
    def load(
        cls, *, environ: Mapping[str, str] | None = None, cwd: Path | None = None, **overrides: Unpack[Options]
    ) -> Config:
        """The settings that hold in `cwd`; see the top of this module for what outranks what.

        Raises ConfigError naming the place of what is wrong. Unknown keys in files are left alone, since a later
        version may know them, but not in the tables that say what may be built and what it depends on; what is in the
        table of a source is for the source to judge; an unknown keyword is a TypeError.
        """
        if unknown := overrides.keys() - Options.__optional_keys__:
            raise TypeError(f"unknown settings: {', '.join(sorted(unknown))}")
        environ = os.environ if environ is None else environ
        layers = find_layers(overrides, environ, _absolute(cwd))
        own = [layer for layer in layers if layer.tool == "felloe"]
        cert = read.first(layers, "cert")
        return cls(
            cache_dir=_cache_dir(own),
            sources=_sources(layers),
            replaced_kinds=frozenset({DEFAULT_INDEX}) if _replaces_default(layers) else frozenset(),
            policy=_policy(own),
            limits=Limits(**read.values(own, LIMITS)),
            building=_building(own),
            overrides=() if (metadata := read.first(own, "metadata")) is None else read_overrides(metadata),
            proxies=_proxies(layers, environ),
            no_proxy=_no_proxy(layers, environ),
            environ=_credential_variables(environ),
            warnings=tuple(text for layer in layers for text in layer.warnings),
            **read.values(own, GENERAL),
            cert=None if cert is None else read.path(cert),
            cert_origin="" if cert is None else cert.origin,
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
    no_cache = read.first(layers, "no-cache")
    if no_cache is not None and read.boolean(no_cache):
        return None
    given = read.first(layers, "cache-dir")
    if given is not None:
        return read.path(given)
    from platformdirs import user_cache_path

    return user_cache_path("felloe", appauthor=False)


def _policy(layers: Sequence[Layer]) -> Policy:
    formats = reduce(lambda lesser, layer: _formats(layer).over(lesser), reversed(layers), FormatControl())
    return Policy(
        no_binary=formats.no_binary - {NONE},
        only_binary=formats.only_binary - {NONE},
        **read.values(layers, POLICY),
    )


def _formats(layer: Layer) -> FormatControl:
    """What one place says, in no order: a name outranks `:all:`. Raises ConfigError where it says both of a name."""
    said = read.values([layer], FORMATS)
    no = FormatControl().with_no_binary(said.get("no_binary", "")).no_binary
    only = FormatControl().with_only_binary(said.get("only_binary", "")).only_binary
    for name in sorted((no & only) - {NONE}):
        origins = " and in ".join(f"`{layer.settings[key].origin}`" for key in FORMATS)
        raise layer.settings["only-binary"].error(
            f"`{name}` is in {origins}, which leaves nothing to select", hint="Take it out of one of them."
        )
    return FormatControl(no_binary=no, only_binary=only)


def _building(layers: Sequence[Layer]) -> Building:
    no_build, names = read.first(layers, "no-build"), read.first(layers, "no-build-package")
    refused = read.names(names) if names is not None else frozenset()
    if no_build is not None and read.boolean(no_build):
        refused |= {ALL}
    return Building(no_build=refused, **read.values(layers, BUILDING), **_build_table(layers))


def _build_table(layers: Sequence[Layer]) -> dict[str, Any]:
    """What `[tool.felloe.build]` says: a table that only files have.

    What is not known is refused: where `allow` is misspelt, everything would be allowed.
    """
    given = read.first(layers, "build")
    if given is None:
        return {}
    read.check_table(given, tuple(BUILD_TABLE))
    return {key.replace("-", "_"): reader(given.at(key)) for key, reader in BUILD_TABLE.items() if key in given.value}


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
    given = {scheme: read.first(layers, f"{scheme}-proxy") for scheme in schemes}
    return {scheme: _proxy(proxy) for scheme, proxy in given.items() if proxy is not None}


def _no_proxy(layers: Sequence[Layer], environ: Mapping[str, str]) -> tuple[str, ...]:
    given = None if _is_set(environ, "no_proxy") else read.first(layers, "no-proxy")
    return () if given is None else read.texts(given)


def _is_set(environ: Mapping[str, str], *names: str) -> bool:
    return any(environ.get(name) or environ.get(name.upper()) for name in names)


def _proxy(given: Given) -> Url:
    text = read.text(given)
    try:
        return Url(text if "://" in text else f"http://{text}")
    except RequirementError:
        _refuse_url(given)


# Sources


def _sources(layers: Sequence[Layer]) -> tuple[SourceSettings, ...]:
    """Indexes and find-links, place by place, then the sources of any kind, then what replaces the default index."""
    asked = _before_no_index(layers)
    default = read.first(asked, "index-url")
    return _unique(
        [
            *_extra_indexes(layers, asked),
            *_other_sources(layers, asked),
            *([] if default is None or default.value is None else [_index(default)]),
        ]
    )


def _replaces_default(layers: Sequence[Layer]) -> bool:
    asked = _before_no_index(layers)
    return len(asked) < len(layers) or read.first(asked, "index-url") is not None


def _before_no_index(layers: Sequence[Layer]) -> Sequence[Layer]:
    """The places whose index URLs count: the first that says yes or no to `no-index` decides."""
    for position, layer in enumerate(layers):
        if "no-index" in layer.settings:
            return layers[:position] if read.boolean(layer.settings["no-index"]) else layers
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
    return source.kind == DEFAULT_INDEX or (source.kind == "index" and "url" in source.settings)


def _index(given: Given) -> SourceSettings:
    """An instance of kind `index`, of a text or a table; what else is in the table is the source's to judge."""
    table = _table(given)
    if table.get("kind", "index") != "index":
        place = given.at("kind").origin
        raise given.error(f"`{place}`: an index has no other kind", hint="Write `[[source]]` for sources of any kind.")
    _check_list(given, "projects", str)
    _check_list(given, "missing", int)
    return _instance(given, "index", {**_own_settings(table), "url": _url(given.at("url"))})


def _find_links(given: Given) -> SourceSettings:
    return _instance(given, "index", {"find_links": _url(given.at("url"))})


def _source(given: Given) -> SourceSettings:
    """An instance of any kind; the name is obligatory."""
    if not isinstance(given.value, Mapping):
        read.refuse(given, "a table", given.value)
    table = given.value
    for key in ("name", "kind"):
        if not isinstance(table.get(key), str) or not table[key]:
            raise given.error(f"`{given.origin}` needs a `{key}`, which is a text", hint=f'Add `{key} = "..."`.')
    if table["kind"] == "index" and "url" in table:
        return _index(given)
    settings = _own_settings(table)
    if "://" in str(settings.get("url")):
        settings["url"] = _absolute_url(given.at("url"), str(settings["url"]))
    return _instance(given, table["kind"], settings)


def _table(given: Given) -> Mapping[str, Any]:
    """A URL alone is a table of nothing else."""
    return given.value if isinstance(given.value, Mapping) else {"url": given.value}


def _own_settings(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in {"name", "kind"}}


def _instance(given: Given, kind: str, settings: Mapping[str, Any]) -> SourceSettings:
    name = _table(given).get("name", "")
    if not isinstance(name, str):
        read.refuse(given.at("name"), "a text", name)
    return SourceSettings(name=name or _unnamed(settings), kind=kind, settings=settings, origin=given.origin)


def _unnamed(settings: Mapping[str, Any]) -> str:
    """What an index without a name is called: its URL, redacted."""
    return str(settings.get("url", settings.get("find_links")))


def _check_list(given: Given, key: str, kind: type) -> None:
    value = _table(given).get(key, [])
    if not isinstance(value, list) or not all(type(item) is kind for item in value):
        read.refuse(given.at(key), f"a list of {'texts' if kind is str else 'status codes'}", value)


def _unique(sources: Iterable[SourceSettings]) -> tuple[SourceSettings, ...]:
    """The sources, each once. Raises ConfigError where two of them have one name."""
    found: dict[str, SourceSettings] = {}
    for source in sources:
        other = found.setdefault(source.name, source)
        if other is not source and not _is_repetition(other, source):
            where = f"one in `{other.origin}`, one in `{source.origin}`"
            if other.origin == source.origin:
                where = f"both in `{source.origin}`"
            raise ConfigError(
                f"two sources are named `{source.name}`: {where}",
                hint="Give each another `name`.",
                origin=other.origin,
            )
    return tuple(found.values())


def _is_repetition(one: SourceSettings, other: SourceSettings) -> bool:
    """The same index, given twice without a name."""
    return one.name == _unnamed(one.settings) and (one.kind, one.settings) == (other.kind, other.settings)


def _url(given: Given) -> Url:
    """An index or a page of links: a URL, or the path of a folder."""
    text = str(given.value).strip() if isinstance(given.value, str | Path) else ""
    if "://" in text or text.startswith("file:"):
        if not may_be_index(text):
            _refuse_url(given)
        return Url(text)
    if not text or not _is_path(text):
        _refuse_url(given)
    return Url(Path(os.path.normpath(given.base / text)).as_uri())


def may_be_index(text: str) -> bool:
    """Whether `text` is a URL that an index, or a page of links, may have."""
    try:
        url = Url(text)
    except RequirementError:
        return False
    return url.scheme == "file" or (url.scheme in INDEX_SCHEMES and bool(url.host))


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
    raise given.error(
        f"`{given.origin}` has to be a URL (http, https, file) or the path of a folder",
        hint="Write `https://HOST/PATH`, with what is special in user name and password percent-encoded.",
    ) from None


GENERAL: Mapping[str, Callable[[Given], Any]] = {
    "pins": read.pins,
    "disabled": read.kinds,
    "strict": read.boolean,
    "python": read.python,
    "offline": read.boolean,
    "refresh": read.boolean,
    "refresh-packages": read.names,
    "timeout": read.seconds,
    "concurrent-downloads": read.count,
}
FORMATS: Mapping[str, Callable[[Given], Any]] = {
    "no-binary": read.names_or_all,
    "only-binary": read.names_or_all,
}
POLICY: Mapping[str, Callable[[Given], Any]] = {
    "exclude-newer": read.instant,
    "require-hashes": read.boolean,
    "constraints": read.texts,
    "prereleases": read.boolean,
}
BUILDING: Mapping[str, Callable[[Given], Any]] = {
    "config-settings": read.config_settings,
    "config-settings-package": read.package_settings,
    "build-constraints": read.texts,
    "no-build-isolation": read.boolean,
    "retry-failed": read.boolean,
    "build-timeout": read.seconds,
    "concurrent-builds": read.count,
    "inputs": declared_inputs,
}
BUILD_TABLE: Mapping[str, Callable[[Given], Any]] = {
    "allow": allowed_builds,
    "env": passed_variables,
    "extra-requires": extra_requires,
    "extra-env": extra_env,
    "builder": read.text,
}
LIMITS: Mapping[str, Callable[[Given], Any]] = {
    "max-page-bytes": read.count,
    "max-pages-memory": read.count,
    "max-metadata-bytes": read.count,
    "max-unpacked-bytes": read.count,
    "max-unpacked-ratio": read.count,
    "max-archive-entries": read.count,
    "max-build-output-bytes": read.count,
    "max-retry-seconds": read.seconds,
}
