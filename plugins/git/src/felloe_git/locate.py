"""From a ref to a commit."""

from __future__ import annotations

from typing import cast

from felloe.plugin import Context, Event, RequirementError
from felloe_git.database import Database, using
from felloe_git.program import Git, cut_off, failure, git_for
from felloe_git.refs import Listing, may_be_commit
from felloe_git.remote import Place, Remote, is_commit

__all__ = ["locate", "tags_of_now"]

LIST_SECONDS = 300.0  # for the names of all refs


async def locate(remote: Remote, ctx: Context) -> Place:
    """The commit that the ref is now, the same for all who ask in one run; offline, what it was.

    Raises RequirementError where there is no such ref, or it is ambiguous; OfflineError where it is not known.
    """
    git = await git_for(remote, ctx)
    if git.is_cut_off:
        return await _remembered(git)
    listing = await _listing(git)
    ref = listing.resolve(remote.ref or "HEAD", str(remote))
    commit = listing.commit(ref) if ref else await _commit_by_short(git)
    _remember(git, cast(str, commit))
    return Place(commit=cast(str, commit), ref=ref, tags=listing.tags())


async def tags_of_now(remote: Remote, ctx: Context) -> str | None:
    """A digest of all tags, listed once a run; None where the repository may not be asked."""
    git = await git_for(remote, ctx)
    return None if git.is_cut_off else (await _listing(git)).tags()


async def _listing(git: Git) -> Listing:
    return cast(Listing, await git.ctx.once(f"refs {git.remote.key}", lambda: _listed(git)))


async def _listed(git: Git) -> Listing:
    git.ctx.report(Event(code="git-list", message=f"git ls-remote {git.remote}"))
    done = await git.run(
        *("ls-remote", "--quiet", "--end-of-options", git.remote.address), network=True, seconds=LIST_SECONDS
    )
    if done.returncode:
        raise failure(done, "ls-remote", git.remote)
    return Listing.of(done.stdout, str(git.remote))


async def _commit_by_short(git: Git) -> str:
    """Raises RequirementError where the ref is no short commit either."""
    ref = git.remote.ref or "HEAD"
    if not may_be_commit(ref):
        raise _no_such_ref(git)
    commit: str = await git.ctx.once(f"short {git.remote.key} {ref}", lambda: _completed(git, ref.lower()))
    return commit


async def _completed(git: Git, short: str) -> str:
    async with git.ctx.keep(git.remote.key) as kept:
        return await using(kept, git, lambda database: _completed_in(database, short))


async def _completed_in(database: Database, short: str) -> str:
    found = await database.commits_of(short)
    if not found and not database.git.is_cut_off:
        await database.obtain_everything()
        found = await database.commits_of(short)
    if len(found) > 1:
        raise RequirementError(
            f"`{short}` is the start of {len(found)} commits of `{database.git.remote}`",
            hint="write more digits: " + ", ".join(f"`{commit}`" for commit in sorted(found)[:3]),
            code="ambiguous-ref",
        )
    if not found:
        git = database.git
        raise cut_off(git.remote, f"`{short}`") if git.is_cut_off else _no_such_ref(git)
    return found[0]


async def _remembered(git: Git) -> Place:
    """The commit that a ref was when it was last seen, or that it begins. Raises OfflineError."""
    remote, ref = git.remote, git.remote.ref or "HEAD"
    commit = git.ctx.memo(remote.key, ref).get()
    if not isinstance(commit, str) or not is_commit(commit):
        if not may_be_commit(ref):
            raise cut_off(remote, f"`{ref}`")
        return Place(commit=await _commit_by_short(git))
    await git.ctx.once(f"offline {remote.key} {ref}", lambda: _tell_of_age(git, ref, commit))
    return Place(commit=commit)


async def _tell_of_age(git: Git, ref: str, commit: str) -> None:
    """A branch may have moved: whoever builds of it has to know."""
    message = f"`{ref}` of `{git.remote}` was commit {commit} when it was last seen; the network is off"
    git.ctx.report(Event(code="warning", message=message, data={"ref": ref, "commit": commit}))


def _remember(git: Git, commit: str) -> None:
    memo = git.ctx.memo(git.remote.key, git.remote.ref or "HEAD")
    if memo.get() != commit:
        memo.set(commit)


def _no_such_ref(git: Git) -> RequirementError:
    remote = git.remote
    if remote.ref is None:
        return RequirementError(
            f"`{remote}` has no default branch: it has no commits, or its HEAD leads nowhere",
            hint="name a branch, tag or commit after `@`",
            code="no-such-ref",
        )
    return RequirementError(
        f"`{remote}` has no branch, tag or commit `{remote.ref}`",
        hint=f"`git ls-remote {remote}` lists what there is",
        code="no-such-ref",
    )
