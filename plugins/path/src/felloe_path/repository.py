"""The git repository that a project's folder lies in: what of it a version depends on, and one like it for a copy.

The user's repository is only read: with commands of git that write nothing, and file by file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from attrs import frozen

from felloe.plugin import CacheError, Context, SourceError, check_repository, git_environ, scm_state
from felloe_path.copying import copy_file
from felloe_path.reading import GONE, Check
from felloe_path.tree import Listing

__all__ = ["Repository", "hide_absent", "lay_repository", "repository_of", "state_of", "top_in"]

GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")  # programs of the user's
MOST_ARGUMENTS = 100_000  # bytes of paths on one command line
# How git compares a file with its index. Nothing else of the configuration is taken over: there are passwords in it.
COMPARING = (
    r"^(core\.(autocrlf|eol|filemode|symlinks|ignorecase|precomposeunicode|attributesfile)"
    r"|filter\..*\.(clean|smudge|process|required))$"
)
CONFIG = """\
[core]
	repositoryformatversion = {version}
	bare = false
	hooksPath = /dev/null
	fsmonitor = false
[gc]
	auto = 0
[maintenance]
	auto = false
"""
SHA256_FORMAT = "[extensions]\n\tobjectFormat = sha256\n"


@frozen(kw_only=True)
class Repository:
    """A repository with a work tree at the real path `top`, and a commit. Of a linked work tree, its own index.

    `branch` is a whole name of a reference, `HEAD` where it is detached. `tags` and `config` are as git prints them.
    """

    top: Path
    objects: Path
    index: Path
    shared_index: Path | None
    shallow: Path
    object_format: str
    commit: str
    branch: str
    tags: bytes
    config: bytes


async def state_of(folder: Path, ctx: Context) -> str | None:
    """`scm_state`, and a digest of what is staged and not committed, as that decides too what git says is tracked.

    None also where `folder` is not in the work tree of its repository. Raises SourceError (see `check_repository`).
    """
    check_repository(folder)
    if await _git(folder, ctx, "rev-parse", "--is-inside-work-tree") != b"true\n":
        return None
    state = await scm_state(folder, ctx)
    if state is None:
        return None
    staged = await _git(folder, ctx, "diff-index", "--cached", "--no-abbrev", "--no-ext-diff", "HEAD")
    return f"{state} staged:{sha256(staged).hexdigest()[:16]}" if staged else state


async def repository_of(folder: Path, ctx: Context) -> Repository | None:
    """That in whose work tree the real path `folder` lies; None where there is none with a commit, or no git.

    Raises SourceError (see `check_repository`).
    """
    check_repository(folder)
    said = await _git(
        *(folder, ctx, "rev-parse", "--show-toplevel", "--git-path", "objects", "--git-path", "index"),
        *("--git-path", "shallow", "--show-object-format", "HEAD", "--symbolic-full-name", "HEAD"),
        "--shared-index-path",
    )
    lines = os.fsdecode(said or b"").splitlines()
    if len(lines) not in {7, 8} or not folder.is_relative_to(lines[0]):
        return None
    names = "--format=%(objectname) %(refname)"
    return Repository(
        top=Path(lines[0]),
        objects=folder / lines[1],
        index=folder / lines[2],
        shared_index=folder / lines[7] if lines[7:] else None,
        shallow=folder / lines[3],
        object_format=lines[4],
        commit=lines[5],
        branch=lines[6],
        tags=await _git(folder, ctx, "for-each-ref", "--merged=HEAD", names, "refs/tags/") or b"",
        config=await _git(folder, ctx, "config", "-z", "--get-regexp", COMPARING) or b"",
    )


def lay_repository(repository: Repository, top: Path, check: Check) -> None:
    """Makes `.git` in the folder `top`: the same commit, tags and index, with the objects where they are.

    Laid by hand (gitrepository-layout(5)), so that neither hooks nor templates take part. Raises CacheError.
    """
    folder = top / ".git"
    try:
        for name in ("objects/info", "refs"):
            (folder / name).mkdir(parents=True)
        is_detached = repository.branch == "HEAD"
        head = repository.commit if is_detached else f"ref: {repository.branch}"
        refs = b"" if is_detached else os.fsencode(f"{repository.commit} {repository.branch}\n")
        (folder / "HEAD").write_bytes(os.fsencode(f"{head}\n"))
        (folder / "packed-refs").write_bytes(refs + repository.tags)
        (folder / "config").write_bytes(_config(repository))
        (folder / "objects/info/alternates").write_bytes(os.fsencode(os.path.realpath(repository.objects)) + b"\n")
        _copy_there(repository.index, folder / "index", check)
        _copy_there(repository.shallow, folder / "shallow", check)
        if repository.shared_index:
            _copy_there(repository.shared_index, folder / repository.shared_index.name, check)
    except OSError as error:
        raise CacheError(f"a git repository cannot be made in the cache: {error.strerror or error}") from error


def top_in(copy: Path, root: Path, repository: Repository) -> Path:
    """Where the top of the work tree is for the copy of `root`: in it, or some folders above."""
    return Path(os.path.normpath(copy / os.path.relpath(repository.top, root)))


async def hide_absent(root: Path, repository: Repository, top: Path, listing: Listing, ctx: Context) -> None:
    """Tells git in the copy `top` which tracked files are not there and need not be: so it does not call it dirty.

    `root` is the tree's own folder, `listing` what was copied of it.
    """
    absent = listing.left_out | listing.replaced
    if root == repository.top and not absent:
        return
    locate = _locator(root, repository.top)
    paths = [(path, locate(path)) for path in await _tracked(top, ctx)]
    hidden = [path for path, there in paths if there is None or _is_below(there, absent)]
    for batch in _batches(hidden):
        await _git(top, ctx, "update-index", "--skip-worktree", "--", *batch)


def _locator(root: Path, top: Path) -> Callable[[str], str | None]:
    """From a path in the repository to the path in the tree; None for what is not in it."""
    if top != root and top.is_relative_to(root):
        prefix = top.relative_to(root).as_posix()
        return lambda path: f"{prefix}/{path}"
    prefix = f"{root.relative_to(top).as_posix()}/" if root != top else ""
    return lambda path: path.removeprefix(prefix) if path.startswith(prefix) else None


async def _tracked(top: Path, ctx: Context) -> Sequence[str]:
    listed = os.fsdecode(await _git(top, ctx, "ls-files", "-z", "--stage") or b"")
    entries = (line.partition("\t") for line in listed.split("\0") if line)
    return [path for fields, _, path in entries if fields.endswith(" 0")]  # no conflict, which cannot be hidden


def _is_below(path: str, folders: frozenset[str]) -> bool:
    """Whether `path` is one of `folders`, or in one of them."""
    end = len(path)
    while end > 0:
        if path[:end] in folders:
            return True
        end = path.rfind("/", 0, end)
    return False


def _batches(paths: Sequence[str]) -> Iterator[list[str]]:
    """Few enough for one command line each."""
    batch: list[str] = []
    size = 0
    for path in paths:
        size += len(os.fsencode(path)) + 1
        if size > MOST_ARGUMENTS:
            yield batch
            batch, size = [], 0
        batch.append(path)
    if batch:
        yield batch


def _config(repository: Repository) -> bytes:
    is_sha1 = repository.object_format == "sha1"
    text = CONFIG.format(version=0 if is_sha1 else 1) + ("" if is_sha1 else SHA256_FORMAT)
    for setting in filter(None, os.fsdecode(repository.config).split("\0")):
        key, has_value, value = setting.partition("\n")
        section, _, rest = key.partition(".")
        subsection, _, name = rest.rpartition(".")
        text += f"[{section} {_quoted(subsection)}]\n" if subsection else f"[{section}]\n"
        text += f"\t{name} = {_quoted(value)}\n" if has_value else f"\t{name}\n"
    return os.fsencode(text)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _copy_there(source: Path, target: Path, check: Check) -> None:
    """Nothing where there is no such file."""
    with suppress(*GONE):
        copy_file(os.path.realpath(source), target, check)


async def _git(folder: Path, ctx: Context, *arguments: str) -> bytes | None:
    """What git prints; None where it fails, or is not there."""
    try:
        done = await ctx.run([*GIT, *arguments], network=False, cwd=folder, env=git_environ())
    except SourceError as error:
        if error.code != "no-program":
            raise
        return None
    return None if done.returncode else done.stdout
