"""Calls hooks: the one place that does. Each call goes to exactly one plugin, and what comes back is checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from types import UnionType
from typing import Any, Protocol

from attrs import frozen

from felloe.errors import ContractError, FelloeError, NetworkError, PluginError
from felloe.registry import Hooks, Instance, told_by
from felloe.stepping import NotSteppable
from felloe.url import Url
from felloe.values import (
    BuildJob,
    Built,
    CacheKey,
    Claim,
    Context,
    Dist,
    Entry,
    Fetched,
    Fresh,
    Json,
    Level,
    RawMetadata,
    Request,
    Stale,
)

__all__ = [
    "Plugin",
    "accepts",
    "address",
    "build",
    "cache_key",
    "check_freshness",
    "claims",
    "fetch",
    "find",
    "metadata",
    "perform",
]

REFUSED = frozenset({401, 403})  # statuses that speak of credentials
SHORT_CUTS = frozenset({"sidecar", "range"})
KINDS = frozenset({"sdist", "wheel", "tree"})
is_wheel_name = re.compile(r"[^-/]+-[^-/]+(-[0-9][^-/]*)?-[^-/]+-[^-/]+-[^-/]+\.whl").fullmatch  # PEP 427
# What is wrong in a field would come to light far from the source that put it there.
FIELDS: Mapping[type, Mapping[str, type | UnionType]] = {
    Claim: {"level": Level, "reason": str},
    CacheKey: {"parts": tuple},
    Dist: {
        "kind": str,
        "filename": str,
        "name": str | None,
        "version": str | None,
        "content": str | None,
        "hashes": Mapping,
        "size": int | None,
        "requires_python": str | None,
        "yanked": bool | str,
        "upload_time": str | None,
        "subdirectory": str | None,
        "scm": str | None,
        "editable": bool,
        "locator": Mapping,
    },
    Fresh: {"validators": Mapping},
    Stale: {"code": str, "evidence": str, "fetched": Fetched | None},
    Fetched: {
        "path": Path,
        "content": str | None,
        "validators": Mapping,
        "filename": str | None,
        "scm": str | None,
        "editable_root": Path | None,
    },
    RawMetadata: {"bytes": bytes, "rung": str, "validators": Mapping},
    Built: {
        "goal": str,
        "wheel": Path | None,
        "metadata": RawMetadata | None,
        "requires": tuple,
        "provenance": Mapping,
    },
}


class Plugin(Protocol):
    """Whose hooks are called, as errors tell of it."""

    @property
    def hooks(self) -> Hooks: ...

    @property
    def title(self) -> str:
        """As errors name it: source `acme`."""
        ...

    @property
    def about(self) -> Mapping[str, str]:
        """The same for programs: `source` or `extension`, and its name."""
        ...

    @property
    def authors(self) -> str:
        """Whom to tell: its distribution and version. Reads METADATA."""
        ...


@frozen
class _Call:
    """What errors name: which hook of which plugin, and of which distribution where it is called for one."""

    plugin: Plugin
    hook: str
    dist: Dist | None = None

    def __str__(self) -> str:
        return f"`{self.hook}`" if self.dist is None else f"`{self.hook}` for `{self.dist.filename}`"

    @property
    def payload(self) -> dict[str, str]:
        about = {} if self.dist is None else {"dist": self.dist.filename}
        return {**self.plugin.about, "hook": self.hook, **about}


def claims(source: Instance, request: Request) -> Claim | None:
    """Raises PluginError and ContractError, as every function here."""
    call = _Call(source, "claims")
    claim: Claim | None = _perform(call, request=request)
    _check(call, claim, Claim | None)
    return claim


def address(source: Instance) -> str:
    call = _Call(source, "address")
    text: str = _perform(call)
    _check(call, text, str)
    return text


async def find(source: Instance, request: Request, ctx: Context) -> Sequence[Dist]:
    """All of them name this source and are frozen Dists; of a direct reference there is exactly one."""
    call = _Call(source, "find")
    found: Sequence[Dist] = await _await(call, request=request, ctx=ctx)
    _check(call, found, Sequence)
    with _blaming(call):
        dists = tuple(found)
    for dist in dists:
        if not isinstance(dist, Dist):
            raise _broken(call, f"{type(dist).__name__}, not Dist")
        if dist.source != source.name:
            raise _broken(call, f"a Dist of source `{dist.source}`, not `{source.name}`")
    _check_fields(call, Dist, dists)
    if unknown := {dist.kind for dist in dists} - KINDS:
        raise _broken(call, f"a Dist of the kind `{min(unknown)}`")
    if len(dists) != 1 and (request.url is not None or request.path is not None):
        raise _broken(call, f"{len(dists)} Dists for a direct reference, not exactly one")
    return dists


def cache_key(source: Instance, dist: Dist) -> CacheKey:
    # Of the thousands that `find` may give, the locator of this one will be stored.
    _check_json(_Call(source, "find", dist), "locator", dist.locator)
    call = _Call(source, "cache_key", dist)
    key: CacheKey = _perform(call, dist=dist)
    _check(call, key, CacheKey)
    return key


async def check_freshness(source: Instance, dist: Dist, entry: Entry, ctx: Context) -> Fresh | Stale:
    call = _Call(source, "check_freshness", dist)
    verdict: Fresh | Stale = await _await(call, dist=dist, entry=entry, ctx=ctx)
    _check(call, verdict, Fresh | Stale)
    if isinstance(verdict, Stale) and verdict.fetched is not None:
        _check_fetched(call, verdict.fetched, ctx)
    return verdict


async def fetch(source: Instance, dist: Dist, ctx: Context) -> Fetched:
    call = _Call(source, "fetch", dist)
    fetched: Fetched = await _await(call, dist=dist, ctx=ctx)
    _check_fetched(call, fetched, ctx)
    return fetched


async def metadata(source: Instance, dist: Dist, ctx: Context) -> RawMetadata | None:
    """None also where the source has no such hook."""
    if "metadata" not in source.hooks:
        return None
    call = _Call(source, "metadata", dist)
    raw: RawMetadata | None = await _await(call, dist=dist, ctx=ctx)
    _check(call, raw, RawMetadata | None)
    if raw is not None and raw.rung not in SHORT_CUTS:
        raise _broken(call, f"the rung `{raw.rung}`, not {' or '.join(sorted(SHORT_CUTS))}")
    return raw


def accepts(builder: Plugin, job: BuildJob) -> bool:
    call = _Call(builder, "accepts", job.dist)
    answer: bool = _perform(call, job=job)
    _check(call, answer, bool)
    return answer


async def build(plugin: Plugin, job: BuildJob, ctx: Context) -> Built:
    """What a source or a builder made of the job: a wheel in the scratch of `ctx`, or metadata where these will do."""
    call = _Call(plugin, "build", job.dist)
    built: Built = await _await(call, job=job, ctx=ctx)
    _check(call, built, Built)
    if built.goal != job.goal and (job.goal, built.goal) != ("metadata", "wheel"):
        raise _broken(call, f"a Built for the goal `{built.goal}`, not `{job.goal}`")
    if not all(isinstance(each, str) for each in built.requires):
        raise _broken(call, "a Built whose `requires` are not all texts")
    if built.goal == "metadata":
        _check_prepared(call, built)
    else:
        _check_wheel(call, built, ctx)
    return built


def perform(hooks: Hooks, hook: str, **arguments: Any) -> Any:
    """What the implementation of `hook` gives, called with those of the arguments that it takes."""
    implementation = hooks[hook]
    return implementation.function(*(arguments[name] for name in implementation.argnames))


def _perform(call: _Call, **arguments: Any) -> Any:
    with _blaming(call):
        return perform(call.plugin.hooks, call.hook, **arguments)


async def _await(call: _Call, **arguments: Any) -> Any:
    with _blaming(call):
        return await _perform(call, **arguments)


@contextmanager
def _blaming(call: _Call) -> Iterator[None]:
    """What a plugin raises becomes a PluginError; our own errors, cancellation and exits pass."""
    try:
        yield
    except NetworkError as error:
        if error.payload.get("status") in REFUSED:
            _tell_whose(call, error)
        raise
    except (FelloeError, NotSteppable):
        raise
    except Exception as error:
        raise _failed(call, error) from error


def _check(call: _Call, value: object, expected: type | UnionType) -> None:
    if not isinstance(value, expected):
        raise _broken(call, f"{type(value).__name__}, not {_name_of(expected)}")
    if type(value) in FIELDS:
        _check_fields(call, type(value), [value])
    if isinstance(value, Fresh | Fetched | RawMetadata):
        _check_json(call, "validators", value.validators)
    if isinstance(value, Built):
        _check_json(call, "provenance", value.provenance)


def _check_fields(call: _Call, cls: type, values: Sequence[object]) -> None:
    """The fields of `values`, all of class `cls`. An index may list thousands: each type is looked at once."""
    for field, expected in FIELDS[cls].items():
        for given in dict.fromkeys(map(type, map(attrgetter(field), values))):
            if not issubclass(given, expected):
                what = f"a {cls.__name__} whose `{field}` is {given.__name__}, not {_name_of(expected)}"
                raise _broken(call, what)


def _check_json(call: _Call, field: str, value: Mapping[str, Json]) -> None:
    try:
        json.dumps(dict(value), default=_redacted)
    except (TypeError, ValueError, RecursionError) as error:
        raise _broken(call, f"`{field}` that cannot be written as JSON: {error}") from error


def _redacted(value: object) -> str:
    if isinstance(value, Url):
        return str(value)
    raise TypeError(f"there is a value of type {type(value).__name__}")


def _check_fetched(call: _Call, fetched: Fetched, ctx: Context) -> None:
    _check(call, fetched, Fetched)
    _check_path(call, fetched.path, ctx)


def _check_path(call: _Call, path: Path, ctx: Context) -> None:
    """The core moves the file into the cache: it has to be one that the plugin was free to make."""
    with _blaming(call):
        is_inside = path.resolve().is_relative_to(ctx.scratch.resolve())
        is_link = path.is_symlink()
    if is_link or not is_inside:
        raise _broken(call, "a path that is a link, or outside the scratch folder it was given")


def _check_wheel(call: _Call, built: Built, ctx: Context) -> None:
    if built.wheel is None:
        raise _broken(call, f"a Built for the goal `{built.goal}` without a wheel")
    _check_path(call, built.wheel, ctx)
    if not is_wheel_name(built.wheel.name):
        raise _broken(call, f"`{built.wheel.name}`, which is not the name of a wheel")


def _check_prepared(call: _Call, built: Built) -> None:
    if built.wheel is not None or built.metadata is None:
        raise _broken(call, "a Built for the goal `metadata` with a wheel, or without metadata")
    _check(call, built.metadata, RawMetadata)
    if built.metadata.rung != "prepare":
        raise _broken(call, f"metadata of the rung `{built.metadata.rung}`, not prepare")


def _name_of(expected: type | UnionType) -> str:
    return expected.__name__ if isinstance(expected, type) else str(expected).replace("felloe.values.", "")


def _tell_whose(call: _Call, error: NetworkError) -> None:
    """Adds whose credentials have to be mended, and where an index has its own, the variables for them.

    The error stays what it is: it may be of a class of the plugin's own. Of several who waited for it the first adds.
    """
    if error.payload.keys() & call.plugin.about.keys():
        return
    error.payload.update(call.plugin.about)
    error.message = f"{call.plugin.title}: {error.message}"
    if isinstance(call.plugin, Instance) and address(call.plugin):
        error.hint = error.hint.replace("<NAME>", re.sub("[^A-Z0-9]", "_", call.plugin.name.upper()))


def _failed(call: _Call, error: Exception) -> PluginError:
    return PluginError(
        f"{call.plugin.title} failed in {call}: {told_by(error)}",
        hint=f"report it to the authors of {call.plugin.authors}; FELLOE_STRICT=1 shows where it happened",
        **call.payload,
    )


def _broken(call: _Call, what: str) -> ContractError:
    return ContractError(
        f"{call.plugin.title} gave back from {call}: {what}",
        hint=f"report it to the authors of {call.plugin.authors}",
        **call.payload,
    )
