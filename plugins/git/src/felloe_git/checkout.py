"""A repository in the scratch folder, with the files of one commit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from felloe_git.database import ALL_OF_IT, Database
from felloe_git.program import Git, cut_off, failure

__all__ = ["check_out", "check_out_submodules", "complete_submodule", "repository_of", "with_history"]


async def repository_of(database: Database, commit: str, folder: Path) -> None:
    """A repository at `commit` in `folder`, which is made, without files and tags.

    It shares the bytes of objects with the database and nothing else, so that whatever becomes of that does not matter.
    """
    git = database.git
    await git.tell("init", "--quiet", "--object-format=sha1", str(folder))
    await git.tell("config", "--local", "remote.origin.url", git.remote.address, cwd=folder)
    _share_objects(database.path, folder / ".git")
    (folder / ".git" / "HEAD").write_text(f"{commit}\n")


async def check_out(git: Git, commit: str, folder: Path) -> None:
    await git.tell("checkout", "--quiet", "--force", "--detach", commit, cwd=folder)


async def with_history(database: Database, folder: Path) -> None:
    """Adds what the database has by now, and its tags."""
    _share_objects(database.path, folder / ".git")
    lines = "".join(f"{line}\n" for line in await database.tags())
    (folder / ".git" / "packed-refs").write_text(lines, encoding="utf-8", errors="surrogateescape")


async def check_out_submodules(git: Git, folder: Path) -> None:
    """All of them, as deep as they go. Raises SourceError where one cannot be had, OfflineError."""
    if not (folder / ".gitmodules").is_file():
        return
    git = git.for_submodules()
    update = ["submodule", "--quiet", "update", "--init", "--recursive", "--force"]
    if (await git.run(*update, "--depth=1", cwd=folder)).returncode == 0:
        return
    # A server that gives no commit by its id gives everything.
    await git.run("submodule", "--quiet", "deinit", "--all", "--force", cwd=folder)
    shutil.rmtree(folder / ".git" / "modules", ignore_errors=True)
    done = await git.run(*update, cwd=folder)
    if done.returncode and git.ctx.offline:
        raise cut_off(git.remote, "at least one of the submodules")
    if done.returncode:
        raise failure(done, "submodule update", git.remote)


async def complete_submodule(git: Git, folder: Path) -> None:
    """Adds history and tags to the submodule that `folder` lies in. Raises SourceError where they cannot be had."""
    git = git.for_submodules()
    is_shallow = (await git.tell("rev-parse", "--is-shallow-repository", cwd=folder)).strip() == "true"
    origin = (await git.tell("remote", cwd=folder)).split("\n")[0]  # what it is called may be the user's setting
    refs = [f"+refs/heads/*:refs/remotes/{origin}/*", "+refs/tags/*:refs/tags/*"]
    depth = [ALL_OF_IT] if is_shallow else []
    done = await git.run("fetch", "--quiet", "--no-tags", *depth, "--end-of-options", origin, *refs, cwd=folder)
    if done.returncode:
        raise failure(done, "fetch", git.remote)


def _share_objects(database: Path, target: Path) -> None:
    """By hard links: git never writes to an object that is there."""
    for file in [*database.glob("objects/pack/pack-*"), *database.glob("objects/[0-9a-f][0-9a-f]/*")]:
        there = target / file.relative_to(database)
        if not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            _link(file, there)
    shallow = target / "shallow"
    if (database / "shallow").exists():
        shutil.copyfile(database / "shallow", shallow)
    else:
        shallow.unlink(missing_ok=True)


def _link(file: Path, there: Path) -> None:
    try:
        os.link(file, there)
    except OSError:  # the file system has none
        shutil.copyfile(file, there)
