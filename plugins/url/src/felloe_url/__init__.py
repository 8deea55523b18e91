"""Wheels and sdists by their URL, over http and https (kind `url`), in the order of the line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import parse_qsl, quote

from felloe.plugin import (
    CacheKey,
    Claim,
    Context,
    Dist,
    Entry,
    Fetched,
    Fresh,
    Level,
    RawMetadata,
    Request,
    Stale,
    Url,
    hookimpl,
    key_part,
    refuse_unknown,
    sdist_identity,
    wheel_identity,
)

__all__ = ["DirectUrl"]

SCHEMES = frozenset({"http", "https"})
ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})


class DirectUrl:
    """Wheels and sdists by direct reference (PEP 508): `name @ https://...`, or the URL alone.

    A file whose name ends in `.whl` is a wheel; any other is an sdist, whatever it is called (`master.zip`). It has no
    settings: any raises ConfigError.
    """

    api = 1
    default = True

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        refuse_unknown(name, settings)
        self.name = name

    @hookimpl
    def claims(self, request: Request) -> Claim | None:
        if request.url is None or request.url.scheme not in SCHEMES:
            return None
        return Claim(level=Level.SCHEME, reason=f"it answers for {request.url.scheme} URLs of files")

    @hookimpl
    def address(self) -> str:
        return ""

    @hookimpl
    async def find(self, request: Request) -> Sequence[Dist]:
        """The one that the URL names, as far as that tells. Raises RequirementError for a wheel of another project."""
        url = cast(Url, request.url)
        filename = _filename(url)
        is_wheel = filename.endswith(".whl")
        name, version = (wheel_identity if is_wheel else sdist_identity)(request, filename)
        hashes = _declared_hashes(url)
        return [
            Dist(
                source=self.name,
                kind="wheel" if is_wheel else "sdist",
                filename=filename,
                name=request.name or name,
                version=version,
                content=f"sha256:{hashes['sha256']}" if "sha256" in hashes else None,
                hashes=hashes,
                subdirectory=None if is_wheel else request.subdirectory,
                locator={"url": url.without_fragment()},
            )
        ]

    @hookimpl
    def cache_key(self, dist: Dist) -> CacheKey:
        """What each project in one archive tells of itself is kept apart; its bytes are the same for all."""
        url: Url = dist.locator["url"]
        project = [f"subdirectory={dist.subdirectory}"] if dist.subdirectory else []
        return CacheKey(parts=(url.digest(), *map(key_part, [*project, dist.filename])))

    @hookimpl
    async def check_freshness(self, dist: Dist, entry: Entry, ctx: Context) -> Fresh | Stale:
        """The hashes in the URL decide; only where it has none the server is asked."""
        if dist.hashes:
            return _compared(dist, entry)
        return await ctx.revalidate(dist.locator["url"], dist.filename, entry)

    @hookimpl
    async def fetch(self, dist: Dist, ctx: Context) -> Fetched:
        return await ctx.download(dist.locator["url"], dist.filename, dist.hashes)

    @hookimpl
    async def metadata(self, dist: Dist, ctx: Context) -> RawMetadata | None:
        """By reading parts of the wheel. Nobody says that there is a sidecar, and a guess costs a request."""
        return await ctx.wheel_metadata(dist.locator["url"], dist.filename)


def _filename(url: Url) -> str:
    """The last segment of the path, decoded; quoted where it would not print, the host where there is none."""
    name = url.filename or url.host
    return name if name.isprintable() else quote(name)


def _declared_hashes(url: Url) -> Mapping[str, str]:
    """Those in the fragment, algorithm to hex. The request allows them, and perhaps others that its options name."""
    return {key: digest.lower() for key, digest in parse_qsl(url.fragment) if key in ALGORITHMS}


def _compared(dist: Dist, entry: Entry) -> Fresh | Stale:
    """The entry has to know every hash that is declared: what it has not hashed, its bytes have yet to tell."""
    for algorithm, digest in sorted(dist.hashes.items()):
        known = entry.digests.get(algorithm)
        if known != digest:
            return Stale(code="hash-changed", evidence=f"{algorithm} {known or 'none'} -> {digest}")
    return Fresh(validators=entry.validators)
