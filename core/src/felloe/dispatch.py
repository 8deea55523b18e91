"""Calls hooks: the one place that does. Each call goes to exactly one source, and what comes back is checked."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType
from typing import Any

from felloe.errors import ContractError, FelloeError, PluginError
from felloe.registry import Instance
from felloe.stepping import NotSteppable
from felloe.values import CacheKey, Claim, Context, Dist, Entry, Fetched, Fresh, RawMetadata, Request, Stale

__all__ = ["address", "cache_key", "check_freshness", "claims", "fetch", "find", "metadata"]


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
    dists: Sequence[Dist] = await _await(source, "find", request=request, ctx=ctx)
    _check(source, "find", dists, Sequence)
    for dist in dists:
        _check(source, "find", dist, Dist)
        if dist.source != source.name:
            raise _broken(source, "find", f"a Dist of source `{dist.source}`, not `{source.name}`")
    return dists


def cache_key(source: Instance, dist: Dist) -> CacheKey:
    key: CacheKey = _call(source, "cache_key", dist=dist)
    _check(source, "cache_key", key, CacheKey)
    return key


async def check_freshness(source: Instance, dist: Dist, entry: Entry, ctx: Context) -> Fresh | Stale:
    verdict: Fresh | Stale = await _await(source, "check_freshness", dist=dist, entry=entry, ctx=ctx)
    _check(source, "check_freshness", verdict, Fresh | Stale)
    return verdict


async def fetch(source: Instance, dist: Dist, ctx: Context) -> Fetched:
    fetched: Fetched = await _await(source, "fetch", dist=dist, ctx=ctx)
    _check(source, "fetch", fetched, Fetched)
    if not fetched.path.is_relative_to(ctx.scratch):
        raise _broken(source, "fetch", "a path outside the scratch folder it was given")
    return fetched


async def metadata(source: Instance, dist: Dist, ctx: Context) -> RawMetadata | None:
    """None also where the source has no such hook."""
    if "metadata" not in source.hooks:
        return None
    raw: RawMetadata | None = await _await(source, "metadata", dist=dist, ctx=ctx)
    _check(source, "metadata", raw, RawMetadata | None)
    return raw


def _call(source: Instance, hook: str, **arguments: Any) -> Any:
    implementation = source.hooks[hook]
    try:
        return implementation.function(*(arguments[name] for name in implementation.argnames))
    except (FelloeError, NotSteppable):
        raise
    except Exception as error:
        raise _failed(source, hook, error) from error


async def _await(source: Instance, hook: str, **arguments: Any) -> Any:
    try:
        return await _call(source, hook, **arguments)
    except (FelloeError, NotSteppable):
        raise
    except Exception as error:
        raise _failed(source, hook, error) from error


def _check(source: Instance, hook: str, value: object, expected: type | UnionType) -> None:
    if not isinstance(value, expected):
        wanted = getattr(expected, "__name__", str(expected).replace("felloe.values.", ""))
        raise _broken(source, hook, f"{type(value).__name__}, not {wanted}")


def _failed(source: Instance, hook: str, error: Exception) -> PluginError:
    return PluginError(
        f"source `{source.name}` failed in `{hook}`: {type(error).__name__}: {error}",
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
    name, version = source.kind.distribution
    return f"{name} {version}"
