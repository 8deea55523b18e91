"""Version control of a project's folder: whether its build may ask for it, and what it would learn."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from felloe.errors import SourceError

if TYPE_CHECKING:
    from felloe.values import Context

__all__ = ["OF_ANOTHER_REPOSITORY", "asks_scm", "check_repository", "git_environ", "scm_state"]

CONFIGURATION = ("pyproject.toml", "setup.cfg", "setup.py", "meson.build", "CMakeLists.txt")
# What a setup.py or a configuration above imports or runs to learn the version.
HELPERS = ("version.py", "_version.py")
MOST_READ = 2**20  # bytes of each
ASKS = re.compile(
    rb"setuptools[-_.]?(?:scm|git|vcs|gitver|dynver)|(?:hatch|flit|poetry|uv|pdm)[-_.](?:vcs|scm|git|version|dynamic)"
    rb"|vcs[-_.]?version|version(?:ing[-_.]?it|eer)|dunamai|git[-_.]?version|gitpython|pygit2|dulwich|setupmeta"
    rb"|dynamic[-_.]version|vcversioner|katversion|autosemver|\bvcver\b|\bvcs_tag\b|\bpbr\b|\bscm\b|\bvcs\b"
    rb"|git\s+(?:describe|rev-parse|rev-list|log)|(?:[\"']|/bin/)git[\"'\s]"
    rb"|\bgit\s*=\s*(?:true|\{[^}]*true)|\bsource\s*=\s*[\"']call[\"']"  # cache-keys; what pdm calls
    rb"|find_package\s*\(\s*git\b|backend-path|^\s*(?:from|import)\s+git\b",  # a backend in the tree may do anything
    re.IGNORECASE | re.MULTILINE,
)
# What git's own `rev-parse --local-env-vars` lists: they tie git to one repository, that of a hook that runs us, say.
OF_ANOTHER_REPOSITORY = frozenset(
    f"GIT_{name}"
    for name in (
        *("DIR", "WORK_TREE", "IMPLICIT_WORK_TREE", "INDEX_FILE", "INDEX_VERSION", "PREFIX", "COMMON_DIR", "NAMESPACE"),
        *("OBJECT_DIRECTORY", "ALTERNATE_OBJECT_DIRECTORIES", "QUARANTINE_PATH", "SHALLOW_FILE", "GRAFT_FILE"),
        *("NO_REPLACE_OBJECTS", "REPLACE_REF_BASE", "INTERNAL_SUPER_PREFIX", "CONFIG", "REFLOG_ACTION"),
    )
)

# Of all the `GIT_*` that there are, those that say what this machine is like. The others change what git answers, have
# it write traces into what it answers, or run programs that wait for somebody.
OF_THIS_MACHINE = frozenset(
    f"GIT_{name}"
    for name in (
        *("EXEC_PATH", "CEILING_DIRECTORIES", "DISCOVERY_ACROSS_FILESYSTEM"),  # where git is, and how far up it looks
        *("CONFIG_GLOBAL", "CONFIG_SYSTEM", "CONFIG_NOSYSTEM"),  # where the user's settings are
        *("SSH", "SSH_COMMAND", "SSH_VARIANT"),  # how hosts are reached
        *("SSL_CAINFO", "SSL_CAPATH", "SSL_CERT", "SSL_KEY", "SSL_NO_VERIFY", "SSL_VERSION", "SSL_CIPHER_LIST"),
        *("HTTP_PROXY_AUTHMETHOD", "PROXY_SSL_CAINFO", "PROXY_SSL_CERT", "PROXY_SSL_KEY"),
    )
)
# Nobody is asked: an empty program is none, of git as of ssh, and stands in place of the one that the user has set.
ASKING_NOBODY = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS": "",
    "SSH_ASKPASS_REQUIRE": "never",
    "GCM_INTERACTIVE": "never",  # the credential manager that comes with git on some systems
}

# What git opens of a repository before it does anything else, and waits for where it is a FIFO.
OPENED = ("HEAD", "config", "config.worktree", "commondir", "index", "packed-refs", "shallow", "info/grafts")
MOST_PATH = 4096  # bytes of a file that says where a repository is


def asks_scm(folder: Path) -> bool:
    """Whether the project in `folder` may take its version or its files from version control.

    Seen from the text of what configures its build, and of the files that versions usually are computed in: better once
    too often. A file that cannot be read, or is none, says nothing.
    """
    return any(ASKS.search(_start_of(file)) for file in _telling_files(folder))


async def scm_state(repository: Path, ctx: Context) -> str | None:
    """What version tools learn of the git repository that `repository` is in, and that its files do not say.

    One line: `git describe` of its commit (`v1.0-3-g<40 hex>`, the commit alone where no tag is reachable), and 16 hex
    digits over the names and objects of all tags that are reachable from it: `<description> tags:<digest>`. None where
    there is no git repository, no commit in it, or no git program. Raises SourceError where git takes too long, or
    would never end (see `check_repository`).

    Whether the work tree is dirty is not in it: the commit decides that, the files, which a content id is made of, and
    the index, which a source adds where it is not that of the commit. `--dirty` would be of the whole work tree, other
    files of which may be no part of what is built.
    """
    check_repository(repository)
    described = await _git(repository, ctx, "describe", "--tags", "--long", "--always", "--abbrev=40", "HEAD")
    if described is None:
        return None
    names = "--format=%(refname) %(objectname) %(*objectname)"
    tags = await _git(repository, ctx, "for-each-ref", "--merged=HEAD", names, "refs/tags/")
    digest = hashlib.sha256(tags or b"").hexdigest()[:16]
    return f"{described.decode('utf-8', 'replace').strip()} tags:{digest}"


def check_repository(folder: Path) -> None:
    """Has git never wait for what is no file: raises SourceError where the repository that `folder` is in has such.

    That is one that git would find from there; nothing is said of a folder without.
    """
    for place in (folder, *folder.parents):
        if found := _repository_at(place):
            for path in (file for part in found for file in _opened_of(part)):
                if not _is_openable(path):
                    raise SourceError(
                        f"`{path}` is a FIFO, a socket or a device, which is not opened",
                        hint="mend this git repository, or move the project out of it",
                        code="special-file",
                    )
            return


def git_environ() -> Mapping[str, str]:
    """Our environment for the git program: tied to no repository, asking nobody, its messages in English."""
    kept = {name: value for name, value in os.environ.items() if name in OF_THIS_MACHINE or name[:4] != "GIT_"}
    return {**kept, **ASKING_NOBODY, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}


def _repository_at(place: Path) -> list[Path]:
    """The folders of the repository whose work tree, or bare repository, is at `place` (gitrepository-layout(5))."""
    git = place / ".git"
    if git.is_file():
        git = place / _path_in(git).removeprefix("gitdir:").strip()
    elif not git.is_dir():
        git = place
        if not ((git / "objects").is_dir() and (git / "refs").is_dir()):
            return []
    common = git / _path_in(git / "commondir")
    return [git] if common == git else [git, common]


def _path_in(file: Path) -> str:
    return os.fsdecode(_start_of(file)[:MOST_PATH]).strip().replace("\0", "")


def _opened_of(git: Path) -> Iterator[Path]:
    yield from (git / name for name in OPENED)
    for folder, _, names in os.walk(git / "refs"):
        yield from (Path(folder, name) for name in names)


def _is_openable(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # git will say it, if it matters
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _telling_files(folder: Path) -> Iterator[Path]:
    yield from (folder / name for name in CONFIGURATION)
    for place in (folder, *_folders_in(folder), *_folders_in(folder / "src")):
        yield from (place / name for name in HELPERS)


def _folders_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _start_of(file: Path) -> bytes:
    try:
        if not file.is_file():  # a FIFO would keep us waiting
            return b""
        with file.open("rb") as stream:
            return stream.read(MOST_READ)
    except OSError:
        return b""


async def _git(repository: Path, ctx: Context, *arguments: str) -> bytes | None:
    """What git prints; None where it fails, or is not there."""
    try:
        done = await ctx.run(["git", *arguments], network=False, cwd=repository, env=git_environ())
    except SourceError as error:
        if error.code != "no-program":
            raise
        return None
    return None if done.returncode else done.stdout
