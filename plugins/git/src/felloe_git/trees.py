"""A checkout for each build, and what version tools learn in it."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from felloe.plugin import Context, Dist, Fetched, asks_scm, scm_state
from felloe_git.checkout import check_out, check_out_submodules, repository_of, with_history
from felloe_git.database import Database, using
from felloe_git.program import Git, git_for
from felloe_git.remote import Remote, commit_of

__all__ = ["current_state", "fetched"]

Validators = dict[str, Any]  # `tags`: a digest of all tags, where the project may ask for them; else nothing


async def fetched(dist: Dist, ctx: Context) -> Fetched:
    git, folder = await _site(dist, ctx)
    async with ctx.keep(git.remote.key) as kept:
        validators = await using(kept, git, lambda database: _checked_out(database, dist, folder))
    await check_out_submodules(git, folder)
    scm = await scm_state(folder, ctx) if validators else None
    return Fetched(path=folder, content=dist.content, scm=scm, validators=validators)


async def current_state(dist: Dist, ctx: Context) -> tuple[str | None, Validators]:
    """What version tools would learn by the tags of now, and new validators."""
    git, folder = await _site(dist, ctx)

    async def learn(database: Database) -> Validators:
        shutil.rmtree(folder, ignore_errors=True)
        await database.obtain(commit_of(dist), dist.locator.get("ref"))
        await repository_of(database, commit_of(dist), folder)
        return await _add_history(database, dist, folder)

    async with ctx.keep(git.remote.key) as kept:
        validators = await using(kept, git, learn)
    return await scm_state(folder, ctx), validators


async def _site(dist: Dist, ctx: Context) -> tuple[Git, Path]:
    """git for the repository, and a folder to be made; some builds look at its name."""
    git = await git_for(Remote.of(dist.locator["url"]), ctx)
    return git, Path(mkdtemp(dir=ctx.scratch)) / git.remote.folder


async def _checked_out(database: Database, dist: Dist, folder: Path) -> Validators:
    shutil.rmtree(folder, ignore_errors=True)
    await database.obtain(commit_of(dist), dist.locator.get("ref"))
    await repository_of(database, commit_of(dist), folder)
    await check_out(database.git, commit_of(dist), folder)
    return await _add_history(database, dist, folder) if asks_scm(folder / (dist.subdirectory or "")) else {}


async def _add_history(database: Database, dist: Dist, folder: Path) -> Validators:
    """With all tags. Nobody is asked where these are as they were listed, or no list was needed."""
    commit, listed = commit_of(dist), dist.locator.get("tags")
    if not (await database.has_whole(commit) and listed in {None, await database.tags_digest()}):
        await database.obtain_whole(commit, dist.locator.get("ref"))
    await with_history(database, folder)
    return {"tags": await database.tags_digest()}
