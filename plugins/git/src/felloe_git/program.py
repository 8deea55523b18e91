"""The git program: its environment, and what it says when it fails."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from felloe.plugin import (
    Completed,
    Context,
    FelloeError,
    NetworkError,
    OfflineError,
    SourceError,
    check_repository,
    git_environ,
    redacted,
)
from felloe_git.remote import Remote

__all__ = ["Git", "cut_off", "failure", "git_for"]

SECONDS = 3600.0  # for what a big repository takes
# Whatever the user has set, in our databases and checkouts: nobody is asked, no host is silent for long (one that works
# sends a few bytes each 5 s), no hooks, no processes that stay, nothing packed again behind our back, the bytes of
# files as they are in the commit.
SETTINGS = {
    "core.askPass": "",
    "credential.interactive": "false",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "60",
    "core.hooksPath": os.devnull,
    "core.autocrlf": "false",
    "core.fsmonitor": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "fetch.unpackLimit": "1",
    "fetch.prune": "false",
    "fetch.pruneTags": "false",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
}
FIXED = {"GIT_ALLOW_PROTOCOL": "http:https:ssh:file", "GIT_DEFAULT_REF_FORMAT": "files", "GIT_TEMPLATE_DIR": ""}
OWN_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
# A login is given to git as gitcredentials(7) has it: by a helper of this origin alone, which prints two variables.
USER, PASSWORD = "FELLOE_GIT_USER", "FELLOE_GIT_PASSWORD"
HELPER = f'!f() {{ if test "$1" = get; then printf "username=%s\\npassword=%s\\n" "${USER}" "${PASSWORD}"; fi; }}; f'
SAYING_LITTLE = re.compile(
    r"$|hint:|warning:|trace:|[\d:.]+ \S+:\d+|Please make sure you|and the repository exists|Cloning into"
    r"|fatal: clone of|Failed to clone"
)
MOST_LINES = 3


@frozen
class Git:
    """git for one repository and one item; `environ` is its whole environment."""

    ctx: Context
    remote: Remote
    environ: Mapping[str, str]

    async def run(
        self, *arguments: str, cwd: Path | None = None, network: bool = False, seconds: float = SECONDS
    ) -> Completed:
        return await self.ctx.run(
            ["git", *arguments],
            network=network and not self.remote.is_local,
            cwd=cwd,
            env=self.environ,
            timeout=seconds,
        )

    async def tell(self, *arguments: str, cwd: Path | None = None) -> str:
        """What it prints, which may be names that are no UTF-8. Raises SourceError where it fails."""
        done = await self.run(*arguments, cwd=cwd)
        if done.returncode:
            raise failure(done, next(word for word in arguments if not word.startswith("-")), self.remote)
        return done.stdout.decode("utf-8", "surrogateescape")

    @property
    def is_cut_off(self) -> bool:
        """Whether the repository cannot be reached, and may not be."""
        return self.ctx.offline and not self.remote.is_local

    def for_submodules(self) -> Git:
        """The same, where addresses come from the repository: to files only from a repository that is a file.

        CVE-2022-39253. What may not use the network may not use any transport that does.
        """
        remotes = () if self.ctx.offline else ("http", "https", "ssh")
        allowed = [*remotes, *(["file"] if self.remote.is_local else [])]
        return Git(self.ctx, self.remote, {**self.environ, "GIT_ALLOW_PROTOCOL": ":".join(allowed) or "none"})


async def git_for(remote: Remote, ctx: Context) -> Git:
    """Raises SourceError where git would never end with a repository of this machine."""
    if remote.is_local:
        check_repository(remote.path)
    own_ssh = {"GIT_SSH", "GIT_SSH_COMMAND"} & os.environ.keys() or await ctx.once("ssh", lambda: _has_ssh(ctx))
    environ = {**git_environ(), **FIXED}
    if not own_ssh:
        environ["GIT_SSH_COMMAND"] = OWN_SSH
    settings = list(SETTINGS.items())
    if remote.login is not None:
        environ[USER], environ[PASSWORD] = remote.login
        settings += _credentials(remote, has_password=bool(remote.login[1]))
    return Git(ctx, remote, _with_settings(environ, settings))


async def _has_ssh(ctx: Context) -> bool:
    done = await ctx.run(["git", "config", "--get", "core.sshCommand"], network=False, env=git_environ())
    return done.returncode == 0


def _credentials(remote: Remote, *, has_password: bool) -> Iterable[tuple[str, str]]:
    """The user's own helpers are asked first where the URL has no password, and not at all where it has one."""
    key = f"credential.{remote.origin}"
    if has_password:
        return [(f"{key}.helper", ""), (f"{key}.helper", HELPER)]
    return [(f"{key}.helper", HELPER)]


def _with_settings(environ: Mapping[str, str], settings: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """As git-config(1) has it."""
    added = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        added |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {**environ, **added}


# Failures


@frozen
class _Cause:
    says: re.Pattern[str]
    code: str
    hint: str
    kind: type[FelloeError] = SourceError


CAUSES = (
    _Cause(
        re.compile(
            r"Authentication failed|could not read (?:Username|Password)|Permission denied|Access denied"
            r"|returned error: 40[13]|Host key verification failed"
        ),
        "git-authentication",
        "give git what it needs for this host: a credential helper, a key in an ssh agent, or `USER:TOKEN@` in the URL",
    ),
    _Cause(re.compile("dubious ownership"), "git-ownership", "`git config --global --add safe.directory FOLDER`"),
    _Cause(
        re.compile(r"transport '[^']*' not allowed"),
        "git-transport",
        "a repository may use http, https and ssh, and files only where it is one itself",
    ),
    _Cause(
        re.compile(
            r"resolve host|Connection (?:refused|timed out|reset|closed)|Failed to connect|Could(?:n't| not) connect"
            r"|timed out|too slow|unreachable|early EOF|RPC failed|returned error: (?:429|5\d\d)|No route"
        ),
        "network",
        "check the host's name and the network; a commit that is known needs neither",
        NetworkError,
    ),
    _Cause(
        re.compile(
            r"(?:'|[Rr]epository) not found|could not be found|returned error: 404|does not exist"
            r"|does not appear to be a git repo|not a git repo"
        ),
        "no-repository",
        "check the URL; a private repository may say so to who has not logged in",
    ),
)


def failure(done: Completed, verb: str, remote: Remote) -> FelloeError:
    """What git said, without secrets, and what to do."""
    said = _without_secrets(done.stderr.decode("utf-8", "replace"), remote)
    cause = next((cause for cause in CAUSES if cause.says.search(said)), None)
    message = f"`git {verb}` failed for `{remote}`: {_last_lines(said) or f'exit code {done.returncode}'}"
    if cause is None:
        return SourceError(message, hint="what git says is above; try the same with git itself", code="git-failed")
    return cause.kind(message, hint=cause.hint, code=cause.code)


def cut_off(remote: Remote, what: str) -> OfflineError:
    return OfflineError(f"{what} of `{remote}` is not known, and the network is off", hint="run without --offline once")


def _without_secrets(text: str, remote: Remote) -> str:
    for secret in remote.secrets:
        text = text.replace(secret, "****")
    return "\n".join(map(redacted, text.splitlines()))


def _last_lines(text: str) -> str:
    lines = ["".join(c if c.isprintable() else " " for c in line).strip() for line in text.splitlines()]
    return "; ".join([line for line in lines if not SAYING_LITTLE.match(line)][-MOST_LINES:])[:1000]
