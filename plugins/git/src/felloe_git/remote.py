"""Where a repository is: what its URL says, and what git is given of that."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote

from attrs import field, frozen

from felloe.plugin import Dist, RequirementError, Url, key_part

__all__ = ["CONTENT", "SCHEMES", "Place", "Remote", "commit_of", "is_commit"]

CONTENT = "git:"  # what the content of a tree begins with, before its commit
is_commit = re.compile(r"[0-9a-f]{40}", re.IGNORECASE).fullmatch
SCHEMES = frozenset({"git+https", "git+http", "git+ssh", "git+file"})
# git-check-ref-format(1), and what git takes for an option or for an expression.
NO_REF = re.compile(
    r"^[-/.]|[/.]$|\.\.|//|/\.|\.lock(?:/|$)|@\{|^@$|[\x00-\x20\x7f~^:?*\[\\]|[^\S ]",
)


@frozen(kw_only=True)
class Place:
    """A commit; the full name of the ref that it was found by; a digest of all tags, where refs were listed."""

    commit: str
    ref: str | None = None
    tags: str | None = None

    @property
    def known(self) -> Mapping[str, str]:
        """`ref` and `tags`, for a locator."""
        return {key: value for key, value in (("ref", self.ref), ("tags", self.tags)) if value is not None}


@frozen(kw_only=True)
class Remote:
    """A repository, and what is asked of it.

    `address` is what git is given: without secrets, without a ref, in canonical form but for its end. `key` is 16 hex
    digits that say which repository it is, the same for every way to write it. `login` is user name and password for
    http and https. `ref` is as written, decoded; None for the default branch.
    """

    address: str
    key: str
    name: str
    ref: str | None
    login: tuple[str, str] | None = field(repr=False)

    @classmethod
    def of(cls, url: Url) -> Self:
        """Raises RequirementError for a URL that has a query, and for what is no ref."""
        path, at, ref = url.path.rpartition("@") if "@" in url.path else (url.path, "", "")
        place = _plain(url, path)
        end = place.path.rstrip("/")
        return cls(
            address=_with_user(place, url) if place.scheme == "ssh" else place.reveal(),
            key=_identity(place, end, url).digest(),
            name=_name(_without_suffix(end)) or place.host or "repository",
            ref=_checked_ref(unquote(ref), url) if at else None,
            login=_checked_login(url) if place.scheme in {"http", "https"} else None,
        )

    @property
    def commit(self) -> str | None:
        """Where `ref` is a full commit, which nobody has to be asked for."""
        return self.ref.lower() if self.ref is not None and is_commit(self.ref) else None

    def key_of(self, *what: str | None) -> str:
        """As `key`, of the project in the folder of the repository that `what` begins with, if any."""
        if not any(what):
            return self.key
        text = "\0".join([self.key, *(each or "" for each in what)])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    @property
    def is_local(self) -> bool:
        """Whether no network is needed to reach it."""
        return self.address.startswith("file:")

    @property
    def path(self) -> Path:
        """Where it is on this machine; only where it `is_local`."""
        return Path(unquote(self.address.removeprefix("file://")))

    @property
    def origin(self) -> str:
        """Scheme, host and port, as git's settings for `credential.<URL>` have them."""
        return "/".join(self.address.split("/")[:3])

    @property
    def folder(self) -> str:
        """Its name, as a file name."""
        return key_part(self.name)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that nobody may see; a user name without a password is a token."""
        user, password = self.login or ("", "")
        return tuple(each for secret in filter(None, [password or user]) for each in (secret, quote(secret, safe="")))

    def __str__(self) -> str:
        return str(Url(self.address))


def commit_of(dist: Dist) -> str:
    return str(dist.content).removeprefix(CONTENT)


def _plain(url: Url, path: str) -> Url:
    """The URL without `git+`, userinfo, ref and fragment."""
    text = url.reveal()
    if "?" in text:
        raise RequirementError(f"`{url}` has a query, which no repository has", hint="leave out `?` and what follows")
    scheme = url.scheme.removeprefix("git+")
    if scheme == "file":
        if url.host not in {"", "localhost"} or not path.startswith("/"):
            raise RequirementError(f"`{url}` is no folder of this host", hint="write `git+file:///PATH`")
        return Url(f"file://{path}")
    host = text.partition("://")[2].partition("/")[0]
    return Url(f"{scheme}://{host}{path}")


def _without_suffix(path: str) -> str:
    return path.removesuffix(".git").rstrip("/")


def _identity(place: Url, end: str, url: Url) -> Url:
    """What tells repositories apart. A home folder (`/~/`) belongs to a user; nothing else does.

    To a host `acme` and `acme.git` are one. On this machine they may be a clone, and a bare repository beside it.
    """
    address = place.reveal()
    end = end if place.scheme == "file" else _without_suffix(end)
    if place.scheme == "ssh" and place.path.startswith("/~/"):
        return Url(f"{_with_user(place, url)}".removesuffix(place.path) + f"/~{_user(url)}{end[2:]}")
    return Url(address.removesuffix(place.path) + end)


def _with_user(place: Url, url: Url) -> str:
    """A user of ssh is no secret, and has no password there."""
    scheme, _, rest = place.reveal().partition("://")
    return f"{scheme}://{quote(_user(url), safe='')}@{rest}" if url.userinfo else f"{scheme}://{rest}"


def _user(url: Url) -> str:
    return url.userinfo[0] if url.userinfo else ""


def _name(path: str) -> str:
    name = unquote(path.rpartition("/")[2])
    return name if name.isprintable() else quote(name)


def _checked_ref(ref: str, url: Url) -> str:
    if not ref or NO_REF.search(ref) or not ref.isprintable():
        shown = ref if ref.isprintable() else quote(ref)
        raise RequirementError(
            f"`{shown}` cannot be a branch, tag or commit of `{url}`",
            hint="what follows the last `@` of the path has to be one; `@` in a folder's name is written `%40`",
            code="invalid-ref",
        )
    return ref


def _checked_login(url: Url) -> tuple[str, str] | None:
    """Each is one line of what git reads (gitcredentials(7))."""
    login = url.userinfo
    if login is not None and not all(character.isprintable() for part in login for character in part):
        raise RequirementError(f"user name and password for `{url}` have control characters", hint="correct the URL")
    return login if login and any(login) else None
