"""The hooks of a source, in the order of the line, and those of extensions. pluggy checks implementations by these.

Hooks of sources are addressed: `felloe.dispatch` calls the one source that owns a request, never all of them. Those of
extensions are called by `felloe.extensions`, one extension after the other. Both may leave out parameters that they do
not need, as everywhere with pluggy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from felloe.progress import Event
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
        RawMetadata,
        Request,
        Stale,
    )

__all__ = [
    "API",
    "ASYNCHRONOUS",
    "EXTENSIONS",
    "GROUP",
    "REQUIRED",
    "ExtensionSpec",
    "SourceSpec",
    "hookimpl",
    "hookspec",
]

API = 1
GROUP = "felloe.sources"
EXTENSIONS = "felloe.plugins"
REQUIRED = ("claims", "address", "find", "cache_key", "check_freshness", "fetch")
ASYNCHRONOUS = frozenset({"find", "check_freshness", "fetch", "build", "metadata", "credentials"})

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
    async def build(self, job: BuildJob, ctx: Context) -> Built:  # type: ignore[empty-body]
        """The job done by the source's own means, in `ctx.scratch`. Optional: felloe calls the backend itself."""

    @hookspec
    async def metadata(self, dist: Dist, ctx: Context) -> RawMetadata | None:
        """A short cut to METADATA without the whole file; None where there is none. Optional."""


class ExtensionSpec:
    """The hooks of extensions (group `felloe.plugins`). All are optional, and several extensions may have one."""

    @hookspec
    async def credentials(self, url: Url) -> tuple[str, str] | None:
        """User name and password for the origin of `url` (scheme, host, port); None where there are none here.

        Called when a server answered 401 and neither a URL nor a variable of the environment has a password for it,
        once a run for each index, or for each origin that is none's. `url` is the index, else the root of the server;
        its `userinfo` is the user that somebody named, without a password, or None. The first answer wins.
        """

    @hookspec
    def report(self, event: Event) -> None:
        """Something happened. Synchronous, called for every event, on the thread where it happened."""

    @hookspec
    def accepts(self, job: BuildJob) -> bool:  # type: ignore[empty-body]
        """Whether this builder, chosen by `[tool.felloe.build] builder`, does the job. Synchronous; with `build`."""

    @hookspec
    async def build(self, job: BuildJob, ctx: Context) -> Built:  # type: ignore[empty-body]
        """As the hook of a source: the job done, in `ctx.scratch`. Called for what it accepts, and with `accepts`."""
