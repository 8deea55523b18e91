"""The bare database of a repository, where all that was fetched of it is kept."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from attrs import frozen

from felloe.plugin import Completed, Event, FelloeError, RequirementError
from felloe_git.program import Git, cut_off, failure
from felloe_git.refs import digest_of_tags

__all__ = ["Database", "no_such_commit", "using"]

T = TypeVar("T")

ALL_OF_IT = "--depth=2147483647"  # git-fetch(1): the depth that `--unshallow` stands for
NEEDED = "refs/felloe/commits"
WHOLE = "refs/felloe/whole"  # commits whose history is there, with all tags
EVERYTHING = "+refs/*:refs/felloe/all/*"
BRANCHES = "+refs/heads/*:refs/felloe/all/heads/*"
TAGS = "+refs/tags/*:refs/tags/*"
LEFT_BY_KILLED = ("*.lock", "tmp_*", "incoming-*", "tmp_objdir-*")


@frozen
class Database:
    """`path` is a bare repository that we alone are in."""

    path: Path
    git: Git

    async def has(self, commit: str) -> bool:
        return (await self._run("cat-file", "-t", commit)).stdout.strip() == b"commit"

    async def has_whole(self, commit: str) -> bool:
        """Whether its history is there, and the tags as they were then."""
        return (await self._run("show-ref", "--verify", "--quiet", f"{WHOLE}/{commit}")).returncode == 0

    async def tags(self) -> list[str]:
        """`<object> <full name>` of each that was fetched."""
        listed = await self._tell("for-each-ref", "--format=%(objectname) %(refname)", "refs/tags/")
        return listed.split("\n")[:-1]

    async def tags_digest(self) -> str:
        return digest_of_tags(await self.tags())

    async def commits_of(self, short: str) -> list[str]:
        """All commits that are there and begin so."""
        found = (await self._tell("rev-parse", f"--disambiguate={short}")).split()
        return [each for each in found if (await self._tell("cat-file", "-t", each)).strip() == "commit"]

    async def obtain(self, commit: str, ref: str | None) -> None:
        """Its files. Where history was wanted once, it comes along: it is there already but for what is new."""
        if not await self.has(commit):
            keeps_history = bool(await self._tell("for-each-ref", "--count=1", WHOLE))
            await self._bring(commit, ref, [] if keeps_history else ["--depth=1"], [])
        await self._tell("update-ref", f"{NEEDED}/{commit}", commit)

    async def obtain_whole(self, commit: str, ref: str | None) -> None:
        """Its history, and all tags."""
        await self._bring(commit, ref, self._all_of_it(), [TAGS])
        await self._tell("update-ref", f"{WHOLE}/{commit}", commit)

    async def obtain_everything(self) -> None:
        """Every branch and tag, with their history."""
        done = await self._fetch(self._all_of_it(), BRANCHES, TAGS)
        if done.returncode:
            raise failure(done, "fetch", self.git.remote)

    async def _bring(self, commit: str, ref: str | None, depth: list[str], besides: list[str]) -> None:
        """By its id where the server allows that, else by its ref, else with all that there is."""
        if self.git.is_cut_off:
            raise cut_off(self.git.remote, f"commit `{commit}`")
        for refspec in filter(None, [commit, ref, EVERYTHING]):
            options = self._all_of_it() if refspec == EVERYTHING else depth
            done = await self._fetch(options, refspec, *besides)
            if done.returncode == 0 and await self.has(commit):
                return
            if done.returncode and not _is_refused(done, commit):
                raise _told(done, commit, self.git)
        raise no_such_commit(commit, self.git)

    def _all_of_it(self) -> list[str]:
        """What makes a fetch bring the history that is missing."""
        return [ALL_OF_IT] if (self.path / "shallow").exists() else []

    async def _fetch(self, options: list[str], *refspecs: str) -> Completed:
        self.git.ctx.report(Event(code="git-fetch", message=f"git fetch {self.git.remote}"))
        fixed = ["--quiet", "--no-tags", "--no-write-fetch-head", "--update-shallow", "--force", "--prune"]
        return await self._run(
            "fetch", *fixed, *options, "--end-of-options", self.git.remote.address, *refspecs, network=True
        )

    async def _run(self, *arguments: str, network: bool = False) -> Completed:
        return await self.git.run(f"--git-dir={self.path}", *arguments, cwd=self.path, network=network)

    async def _tell(self, *arguments: str) -> str:
        return await self.git.tell(f"--git-dir={self.path}", *arguments, cwd=self.path)

    async def is_sound(self) -> bool:
        """Whether all objects that its refs lead to are there."""
        return (await self._run("fsck", "--connectivity-only", "--no-dangling", "--no-progress")).returncode == 0


async def using(folder: Path, git: Git, fn: Callable[[Database], Awaitable[T]]) -> T:
    """What `fn` gives for the database in `folder`, made where there is none.

    Where `fn` fails and the database is damaged, it is asked again for a new one, which takes the other's place when
    that went well.
    """
    database = Database(folder / "repository.git", git)
    if database.path.is_dir():
        _sweep(database.path)
        try:
            return await _sweeping(database, fn)
        except FelloeError:
            if await database.is_sound():
                raise
    anew = _empty_folder(folder)
    try:
        await git.tell("init", "--quiet", "--bare", "--object-format=sha1", str(anew))
        value = await fn(Database(anew, git))
        _replace(database.path, anew)
    finally:
        _remove(anew)
    return value


def _empty_folder(place: Path) -> Path:
    """One that nobody knows: a git that outlives a run that was killed still works in the last one."""
    for left in place.glob("new*"):
        _remove(left)
    return Path(mkdtemp(prefix="new", dir=place))


def _replace(old: Path, new: Path) -> None:
    _remove(old)
    new.rename(old)


async def _sweeping(database: Database, fn: Callable[[Database], Awaitable[T]]) -> T:
    try:
        return await fn(database)
    except BaseException:
        _sweep(database.path)
        raise


def _sweep(folder: Path) -> None:
    """Takes away what a git that was killed has left: nobody else is in here."""
    for pattern in LEFT_BY_KILLED:
        for path in list(folder.rglob(pattern)):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def no_such_commit(commit: str, git: Git) -> RequirementError:
    return RequirementError(
        f"`{git.remote}` has no commit `{commit}`",
        hint="correct it, or name a branch or tag that leads to it",
        code="no-such-ref",
    )


def _is_refused(done: Completed, commit: str) -> bool:
    """Whether the server does not give commits by their id, has another one at the ref by now, or no depth."""
    said = done.stderr.decode("utf-8", "replace")
    return "not our ref" not in said and any(
        words in said for words in ("unadvertised object", "find remote ref", "dumb http", "does not support", commit)
    )


def _told(done: Completed, commit: str, git: Git) -> FelloeError:
    if b"not our ref" in done.stderr:
        return no_such_commit(commit, git)
    return failure(done, "fetch", git.remote)
