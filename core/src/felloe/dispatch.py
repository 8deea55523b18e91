"""Calls hooks: the one place that does. Each call goes to exactly one source, and what comes back is checked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from types import UnionType
from typing import Any

from felloe.errors import ContractError, FelloeError, PluginError
from felloe.registry import Instance, told_by
from felloe.stepping import NotSteppable
from felloe.url import Url
from felloe.values import (
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

__all__ = ["address", "cache_key", "check_freshness", "claims", "fetch", "find", "metadata"]

SHORT_CUTS = frozenset({"sidecar", "range"})
KINDS = frozenset({"sdist", "wheel", "tree"})
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
        "locator": Mapping,
    },
    Fresh: {"validators": Mapping},
    Stale: {"code": str, "evidence": str, "fetched": Fetched | None},
    Fetched: {"path": Path, "content": str | None, "validators": Mapping},
    RawMetadata: {"bytes": bytes, "rung": str, "validators": Mapping},
}


def claims(source: Instance, request: Request) -> Claim | None:
    """Raises PluginError and ContractError, as every function here."""
    claim: Claim | None = _call(source, "claims", request=request)
    _check(source, "claims", claim, Claim | None)
    return claim


def address(source: Instance) -> str:
    text: str = _call(source, "address")
    _check(source, "address", text, str)
    return text


async def find(source: Instance, request: Request, ctx: Context) -> Sequence[Dist]:
    """All of them name this source and are frozen Dists."""
    found: Sequence[Dist] = await _await(source, "find", request=request, ctx=ctx)
    _check(source, "find", found, Sequence)
    with _blaming(source, "find"):
        dists = tuple(found)
    for dist in dists:
        if not isinstance(dist, Dist):
            raise _broken(source, "find", f"{type(dist).__name__}, not Dist")
        if dist.source != source.name:
            raise _broken(source, "find", f"a Dist of source `{dist.source}`, not `{source.name}`")
    _check_fields(source, "find", Dist, dists)
    if unknown := {dist.kind for dist in dists} - KINDS:
        raise _broken(source, "find", f"a Dist of the kind `{min(unknown)}`")
    return dists


def cache_key(source: Instance, dist: Dist) -> CacheKey:
    # Of the thousands that `find` may give, the locator of this one will be stored.
    _check_json(source, "find", "locator", dist.locator)
    key: CacheKey = _call(source, "cache_key", dist=dist)
    _check(source, "cache_key", key, CacheKey)
    return key


async def check_freshness(source: Instance, dist: Dist, entry: Entry, ctx: Context) -> Fresh | Stale:
    verdict: Fresh | Stale = await _await(source, "check_freshness", dist=dist, entry=entry, ctx=ctx)
    _check(source, "check_freshness", verdict, Fresh | Stale)
    if isinstance(verdict, Stale) and verdict.fetched is not None:
        _check_fetched(source, "check_freshness", verdict.fetched, ctx)
    return verdict


async def fetch(source: Instance, dist: Dist, ctx: Context) -> Fetched:
    fetched: Fetched = await _await(source, "fetch", dist=dist, ctx=ctx)
    _check_fetched(source, "fetch", fetched, ctx)
    return fetched


async def metadata(source: Instance, dist: Dist, ctx: Context) -> RawMetadata | None:
    """None also where the source has no such hook."""
    if "metadata" not in source.hooks:
        return None
    raw: RawMetadata | None = await _await(source, "metadata", dist=dist, ctx=ctx)
    _check(source, "metadata", raw, RawMetadata | None)
    if raw is not None and raw.rung not in SHORT_CUTS:
        raise _broken(source, "metadata", f"the rung `{raw.rung}`, not {' or '.join(sorted(SHORT_CUTS))}")
    return raw


def _call(source: Instance, hook: str, **arguments: Any) -> Any:
    implementation = source.hooks[hook]
    with _blaming(source, hook):
        return implementation.function(*(arguments[name] for name in implementation.argnames))


async def _await(source: Instance, hook: str, **arguments: Any) -> Any:
    with _blaming(source, hook):
        return await _call(source, hook, **arguments)


@contextmanager
def _blaming(source: Instance, hook: str) -> Iterator[None]:
    """What a plugin raises becomes a PluginError; our own errors, cancellation and exits pass."""
    try:
        yield
    except (FelloeError, NotSteppable):
        raise
    except Exception as error:
        raise _failed(source, hook, error) from error


def _check(source: Instance, hook: str, value: object, expected: type | UnionType) -> None:
    if not isinstance(value, expected):
        raise _broken(source, hook, f"{type(value).__name__}, not {_name_of(expected)}")
    if type(value) in FIELDS:
        _check_fields(source, hook, type(value), [value])
    if isinstance(value, Fresh | Fetched | RawMetadata):
        _check_json(source, hook, "validators", value.validators)


def _check_fields(source: Instance, hook: str, cls: type, values: Sequence[object]) -> None:
    """The fields of `values`, all of class `cls`. An index may list thousands: each type is looked at once."""
    for field, expected in FIELDS[cls].items():
        for given in dict.fromkeys(map(type, map(attrgetter(field), values))):
            if not issubclass(given, expected):
                what = f"a {cls.__name__} whose `{field}` is {given.__name__}, not {_name_of(expected)}"
                raise _broken(source, hook, what)


def _check_json(source: Instance, hook: str, field: str, value: Mapping[str, Json]) -> None:
    try:
        json.dumps(dict(value), default=_redacted)
    except (TypeError, ValueError, RecursionError) as error:
        raise _broken(source, hook, f"`{field}` that cannot be written as JSON: {error}") from error


def _redacted(value: object) -> str:
    if isinstance(value, Url):
        return str(value)
    raise TypeError(f"there is a value of type {type(value).__name__}")


def _check_fetched(source: Instance, hook: str, fetched: Fetched, ctx: Context) -> None:
    """The core moves the file into the cache: it has to be one that the source was free to make."""
    _check(source, hook, fetched, Fetched)
    with _blaming(source, hook):
        is_inside = fetched.path.resolve().is_relative_to(ctx.scratch.resolve())
        is_link = fetched.path.is_symlink()
    if is_link or not is_inside:
        raise _broken(source, hook, "a path that is a link, or outside the scratch folder it was given")


def _name_of(expected: type | UnionType) -> str:
    return expected.__name__ if isinstance(expected, type) else str(expected).replace("felloe.values.", "")


def _failed(source: Instance, hook: str, error: Exception) -> PluginError:
    return PluginError(
        f"source `{source.name}` failed in `{hook}`: {told_by(error)}",
        hint=f"report it to the authors of {_authors(source)}; FELLOE_STRICT=1 shows where it happened",
        source=source.name,
        hook=hook,
    )


def _broken(source: Instance, hook: str, what: str) -> ContractError:
    return ContractError(
        f"source `{source.name}` gave back from `{hook}`: {what}",
        hint=f"report it to the authors of {_authors(source)}",
        source=source.name,
        hook=hook,
    )


def _authors(source: Instance) -> str:
    return " ".join(source.kind.distribution)
