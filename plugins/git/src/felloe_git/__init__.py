"""Projects in git repositories (kind `git`), in the order of the line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from felloe.plugin import (
    CacheKey,
    Claim,
    Context,
    Dist,
    Entry,
    Fetched,
    Fresh,
    Level,
    Request,
    RequirementError,
    Stale,
    Url,
    hookimpl,
    refuse_unknown,
)
from felloe_git.remote import CONTENT, SCHEMES, Place, Remote, commit_of

__all__ = ["GitRepository"]


class GitRepository:
    """Projects by direct reference (PEP 508) to a git repository: `name @ git+https://HOST/PATH@REF`.

    A ref becomes a commit once in a run; from then on the commit decides. It has no settings: any raises ConfigError.
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
        return Claim(level=Level.SCHEME, reason=f"it answers for {request.url.scheme} URLs")

    @hookimpl
    def address(self) -> str:
        return ""

    @hookimpl
    async def find(self, request: Request, ctx: Context) -> Sequence[Dist]:
        """The one commit that the URL means. A full commit is taken at its word.

        Raises RequirementError where there is no such ref, or it is ambiguous; OfflineError where it is not known.
        """
        if request.editable:
            raise RequirementError(
                f"`{request.text}` is a repository, which cannot be edited where it is",
                hint="clone it, and write `-e ./FOLDER`; or leave out `-e`",
            )
        url = cast(Url, request.url).without_fragment()
        remote = Remote.of(url)
        place = await _place_of(remote, ctx)
        return [
            Dist(
                source=self.name,
                kind="tree",
                filename=remote.name,
                name=request.name,
                content=CONTENT + place.commit,
                subdirectory=request.subdirectory,
                locator={"url": url, "filename": remote.name, **place.known},
            )
        ]

    @hookimpl
    def cache_key(self, dist: Dist) -> CacheKey:
        """What each project of a repository tells of itself is kept apart, and what an editable one would tell."""
        what = [dist.subdirectory, *(["editable"] if dist.editable else [])]
        return CacheKey(parts=(Remote.of(dist.locator["url"]).key_of(*what), commit_of(dist)))

    @hookimpl
    async def check_freshness(self, dist: Dist, entry: Entry, ctx: Context) -> Fresh | Stale:
        """The commit decides, and tags where the project may take its version from them and they have changed.

        Where a full commit was named, tags are only looked at when the user wants all to be checked again.
        """
        if entry.content != dist.content:
            return Stale(code="commit-changed", evidence=f"{entry.content} -> {dist.content}")
        listed = await _tags(dist, entry, ctx)
        if listed in {None, entry.validators.get("tags")}:
            return Fresh(validators=entry.validators)
        from felloe_git.trees import current_state

        scm, validators = await current_state(dist, listed, ctx)
        if scm != entry.scm:
            return Stale(code="scm-changed", evidence=f"{entry.scm} -> {scm}")
        return Fresh(validators=validators)

    @hookimpl
    async def fetch(self, dist: Dist, ctx: Context) -> Fetched:
        """A checkout of its own. It has history and tags where the project may ask for them."""
        from felloe_git.trees import fetched

        return await fetched(dist, ctx)


async def _tags(dist: Dist, entry: Entry, ctx: Context) -> str | None:
    """A digest of the tags of now; None where they do not matter, or nobody is asked for them.

    Those of a submodule, whose projects have no digest, were looked at when it was fetched.
    """
    if entry.scm is None or "tags" not in entry.validators:
        return None
    if "tags" in dist.locator or ctx.newer_than is None:
        return cast("str | None", dist.locator.get("tags"))
    from felloe_git.locate import tags_of_now

    return await tags_of_now(Remote.of(dist.locator["url"]), ctx)


async def _place_of(remote: Remote, ctx: Context) -> Place:
    """A full commit is known without what asking needs."""
    if remote.commit is not None:
        return Place(commit=remote.commit)
    from felloe_git.locate import locate

    return await locate(remote, ctx)
