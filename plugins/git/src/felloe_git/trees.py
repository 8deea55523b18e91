"""A checkout for each build, and what version tools learn in it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from felloe.plugin import Context, Dist, Fetched, asks_scm, load_pyproject, scm_state
from felloe_git.checkout import check_out, check_out_submodules, complete_submodule, repository_of, with_history
from felloe_git.database import Database, using
from felloe_git.program import Git, git_for
from felloe_git.remote import Remote, commit_of

__all__ = ["current_state", "fetched"]

PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")

Validators = dict[str, Any]  # `tags`: a digest of all tags, where the project may ask for them; else nothing


async def fetched(dist: Dist, ctx: Context) -> Fetched:
    git, folder = await _site(dist, ctx)
    async with ctx.keep(git.remote.key) as kept:
        validators = await using(kept, git, lambda database: _checked_out(database, dist, folder))
    await check_out_submodules(git, folder)
    project = await _project_that_asks(git, folder, dist, has_history=bool(validators))
    scm = await scm_state(project, ctx) if project else None
    return Fetched(path=folder, content=dist.content, scm=scm, validators=validators)


async def current_state(dist: Dist, listed: str | None, ctx: Context) -> tuple[str | None, Validators]:
    """What version tools would learn by the tags of now, of which `listed` is the digest, and new validators."""
    git, folder = await _site(dist, ctx)

    async def learn(database: Database) -> Validators:
        shutil.rmtree(folder, ignore_errors=True)
        await database.obtain(commit_of(dist), dist.locator.get("ref"))
        await repository_of(database, commit_of(dist), folder)
        return await _add_history(database, dist, listed, folder)

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
    if not _may_ask(folder / (dist.subdirectory or "")):
        return {}
    return await _add_history(database, dist, dist.locator.get("tags"), folder)


async def _project_that_asks(git: Git, folder: Path, dist: Dist, *, has_history: bool) -> Path | None:
    """The folder of a project that may ask version control. One in a submodule was not there before that was."""
    if has_history:
        return folder
    project = folder / (dist.subdirectory or "")
    if not _is_inside(project, folder) or not _may_ask(project):
        return None
    await complete_submodule(git, project)
    return project


def _may_ask(project: Path) -> bool:
    """Whether the project in that folder may take its version from version control.

    Only a version that it states rules that out: what a setup.py imports may run git, whatever its own text says.
    """
    is_project = any((project / name).is_file() for name in PROJECT_FILES)
    return asks_scm(project) or (is_project and not _states_version(project / "pyproject.toml"))


def _states_version(pyproject: Path) -> bool:
    try:
        stated = load_pyproject(pyproject.read_bytes()).get("project") if pyproject.is_file() else None
    except (OSError, ValueError):
        return False
    return isinstance(stated, dict) and isinstance(stated.get("version"), str)


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether no link leads out: there may be a repository of the user's."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


async def _add_history(database: Database, dist: Dist, listed: str | None, folder: Path) -> Validators:
    """With all tags. Nobody is asked where these are as they were listed, or no list was needed."""
    commit = commit_of(dist)
    if not (await database.has_whole(commit) and listed in {None, await database.tags_digest()}):
        await database.obtain_whole(commit, dist.locator.get("ref"))
    await with_history(database, folder)
    return {"tags": await database.tags_digest()}
