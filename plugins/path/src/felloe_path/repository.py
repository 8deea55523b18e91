"""The git repository that a project's folder lies in: what of it a version depends on, and one like it for a copy.

The user's repository is only read: with commands of git that write nothing, and file by file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from attrs import frozen

from felloe.plugin import CacheError, Context, SourceError, check_repository, git_environ, scm_state
from felloe_path.content import is_settled, now
from felloe_path.copying import copy_file
from felloe_path.reading import GONE, Check
from felloe_path.tree import Listing, stamp_of

__all__ = ["Repository", "description_of", "hide_absent", "lay_repository", "repository_of", "top_in", "tracked_in"]

GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")  # programs of the user's
# Thousands of paths, by the shell that git brings: standard input is all that `update-index` reads them from at once.
HIDDEN = ".git/hidden"
HIDE = f"!git update-index --skip-worktree -z --stdin <{HIDDEN}"
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
REFERENCE = "%(objectname) %(refname)%(if)%(symref)%(then) %(symref)%(end)"
SYMBOLIC = re.compile(rb"^[0-9a-f]+ (\S+) (\S+)\n", re.MULTILINE)
PACKED = b"# pack-refs with: sorted \n"  # as `for-each-ref` gives them
SHA256_FORMAT = "[extensions]\n\tobjectFormat = sha256\n"


@frozen(kw_only=True)
class Repository:
    """A repository with a work tree at the real path `top`, and a commit. Of a linked work tree, its own index.

    `branch` is a whole name of a reference, `HEAD` where it is detached. `refs` and `config` are as git prints them:
    lines of an object and a name, and the name that this one stands for, if it does; thousands, perhaps.
    """

    top: Path
    objects: Path
    index: Path
    shared_index: Path | None
    shallow: Path
    object_format: str
    commit: str
    branch: str
    refs: bytes
    config: bytes


async def description_of(folder: Path, ctx: Context) -> str | None:
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


async def tracked_in(folder: Path, names: frozenset[str], ctx: Context) -> frozenset[str]:
    """Those of `names`, folders in `folder`, in which git tracks a file. Asked again where its index has changed."""
    index = _index_of(folder)
    if index is None:
        return frozenset()
    key = f"{stamp_of(index)} {' '.join(sorted(names))}"
    memo = ctx.memo("tracked", sha256(os.fsencode(folder)).hexdigest()[:16])
    known = memo.get()
    if isinstance(known, dict) and known.get("index") == key:
        return names.intersection(known.get("folders", ()))
    check_repository(folder)
    began = now()
    listed = os.fsdecode(await _git(folder, ctx, "ls-files", "-z", "--", *sorted(names)) or b"")
    tracked = names & {path.partition("/")[0] for path in listed.split("\0")}
    if is_settled(index, began):
        memo.set({"index": key, "folders": sorted(tracked)})
    return tracked


async def repository_of(folder: Path, ctx: Context) -> Repository | None:
    """That in whose work tree the real path `folder` lies; None where there is none with a commit, or no git.

    A backend may ask for it whatever the project's files say, so it is not for them to say whether there is one. Raises
    SourceError (see `check_repository`).
    """
    if not _may_be_in_one(folder):
        return None
    check_repository(folder)
    said = await _git(
        *(folder, ctx, "rev-parse", "--show-toplevel", "--git-path", "objects", "--git-path", "index"),
        *("--git-path", "shallow", "--show-object-format", "HEAD", "--symbolic-full-name", "HEAD"),
        "--shared-index-path",
    )
    lines = os.fsdecode(said or b"").splitlines()
    if len(lines) not in {7, 8} or not folder.is_relative_to(lines[0]):
        return None
    refs = await _git(folder, ctx, "for-each-ref", f"--format={REFERENCE}")
    if refs is None:
        return None
    return Repository(
        top=Path(lines[0]),
        objects=folder / lines[1],
        index=folder / lines[2],
        shared_index=folder / lines[7] if lines[7:] else None,
        shallow=folder / lines[3],
        object_format=lines[4],
        commit=lines[5],
        branch=lines[6],
        refs=refs,
        config=await _git(folder, ctx, "config", "-z", "--get-regexp", COMPARING) or b"",
    )


def lay_repository(repository: Repository, top: Path, check: Check) -> None:
    """Makes `.git` in the folder `top`: the same commit, references and index, with the objects where they are.

    Laid by hand (gitrepository-layout(5)), so that neither hooks nor templates take part. Raises CacheError.
    """
    folder = top / ".git"
    try:
        for name in ("objects/info", "refs"):
            (folder / name).mkdir(parents=True)
        is_detached = repository.branch == "HEAD"
        head = repository.commit if is_detached else f"ref: {repository.branch}"
        (folder / "HEAD").write_bytes(os.fsencode(f"{head}\n"))
        (folder / "packed-refs").write_bytes(PACKED + SYMBOLIC.sub(b"", repository.refs))
        for name, stands_for in SYMBOLIC.findall(repository.refs):
            symbolic = folder / os.fsdecode(name)
            symbolic.parent.mkdir(parents=True, exist_ok=True)
            symbolic.write_bytes(b"ref: %b\n" % stands_for)
        (folder / "config").write_bytes(_config(repository))
        (folder / "objects/info/alternates").write_bytes(os.fsencode(os.path.realpath(repository.objects)) + b"\n")
        _copy_there(repository.index, folder / "index", check)
        _copy_there(repository.shallow, folder / "shallow", check)
        if repository.shared_index:
            _copy_there(repository.shared_index, folder / repository.shared_index.name, check)
    except OSError as error:
        raise CacheError(
            f"a git repository cannot be made in the cache: {error.strerror or error}",
            hint="free some space, or name another folder with --cache-dir",
        ) from error


def top_in(copy: Path, root: Path, repository: Repository) -> Path:
    """Where the top of the work tree is for the copy of `root`: in it, or some folders above."""
    return Path(os.path.normpath(copy / os.path.relpath(repository.top, root)))


async def hide_absent(root: Path, repository: Repository, top: Path, listing: Listing, ctx: Context) -> None:
    """Tells git in the copy `top` which tracked files are not there and need not be: so it does not call it dirty.

    `root` is the tree's own folder, `listing` what was copied of it.
    """
    absent = frozenset(path for path in listing.left_out | listing.replaced if path.rpartition("/")[2] != ".git")
    if root == repository.top and not absent:
        return
    locate = _locator(root, repository.top)
    paths = [(path, locate(path)) for path in await _tracked(top, ctx)]
    hidden = [path for path, there in paths if there is None or _is_below(there, absent)]
    if hidden:
        (top / HIDDEN).write_bytes(b"".join(os.fsencode(path) + b"\0" for path in hidden))
        await _git(top, ctx, "-c", f"alias.hide={HIDE}", "hide")
        (top / HIDDEN).unlink()


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


def _may_be_in_one(folder: Path) -> bool:
    """Whether it is worth asking git."""
    return any(os.path.lexists(place / ".git") for place in (folder, *folder.parents))


def _index_of(folder: Path) -> os.stat_result | None:
    """The status of the index of the work tree that `folder` is in, found as git finds it; None where there is none."""
    for place in (folder, *folder.parents):
        pointer = place / ".git"
        try:
            if pointer.is_file():
                _, _, there = pointer.read_text(errors="surrogateescape").partition("gitdir:")
                pointer = place / there.strip()
            return (pointer / "index").stat()
        except OSError:
            if os.path.lexists(place / ".git"):
                return None
    return None


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
