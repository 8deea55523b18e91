"""The hooks of a source, in the order of the line. pluggy checks every implementation against these.

Hooks are addressed: `felloe.dispatch` calls the one source that owns a request, never all of them. A source may leave
out parameters that it does not need, as everywhere with pluggy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from felloe.values import (
        CacheKey,
        Claim,
        Context,
        Dist,
        Entry,
        Fetched,
        Fresh,
        Interpreter,
        Json,
        RawMetadata,
        Request,
        Stale,
    )

__all__ = ["API", "ASYNCHRONOUS", "GROUP", "REQUIRED", "SourceSpec", "hookimpl", "hookspec"]

API = 1
GROUP = "felloe.sources"
REQUIRED = ("claims", "address", "find", "cache_key", "check_freshness", "fetch")
ASYNCHRONOUS = frozenset({"find", "check_freshness", "fetch", "metadata", "build"})

hookspec = pluggy.HookspecMarker("felloe")
hookimpl = pluggy.HookimplMarker("felloe")


class SourceSpec:
    """What `felloe.values.Source` describes for type checkers, as pluggy specifications."""

    @hookspec
    def claims(self, request: Request) -> Claim | None:
        """How strongly this source claims the request; None for not at all. Synchronous, pure, no I/O."""

    @hookspec
    def address(self) -> str:  # type: ignore[empty-body]
        """The redacted canonical address of the instance; "" where the cache needs none to tell instances apart."""

    @hookspec
    async def find(self, request: Request, ctx: Context) -> Sequence[Dist]:  # type: ignore[empty-body]
        """Every file of the project (bare name), or the one distribution that a direct reference means.

        Raises ProjectNotFound where the project is not known here.
        """

    @hookspec
    def cache_key(self, dist: Dist) -> CacheKey:  # type: ignore[empty-body]
        """The place of `dist` in the cache. Synchronous and pure: equal dists, equal keys."""

    @hookspec
    async def check_freshness(self, dist: Dist, entry: Entry, ctx: Context) -> Fresh | Stale:  # type: ignore[empty-body]
        """Whether what the cache knows is still true of `dist`."""

    @hookspec
    async def fetch(self, dist: Dist, ctx: Context) -> Fetched:  # type: ignore[empty-body]
        """The bytes of `dist`, in `ctx.scratch`."""

    @hookspec
    async def metadata(self, dist: Dist, ctx: Context) -> RawMetadata | None:
        """A short cut to METADATA without the whole file; None where there is none. Optional."""

    @hookspec
    async def build(
        self, dist: Dist, interpreter: Interpreter, settings: Mapping[str, Json], ctx: Context
    ) -> Fetched | None:
        """A wheel of `dist` by the source's own means, in `ctx.scratch`; None where felloe is to build it. Optional."""
