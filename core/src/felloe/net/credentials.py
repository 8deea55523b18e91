"""Which user name and password a URL gets: only those given for its scheme, host and port."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from felloe.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from felloe.config import Config
    from felloe.url import Url

__all__ = ["Credentials", "netrc_file"]

MAX_NETRC_BYTES = 2**20
PREFIXES = ("FELLOE_INDEX_", "UV_INDEX_")


class Credentials:
    """The credentials of one run. Its repr shows nothing."""

    def __init__(self, indexes: Iterable[tuple[str, Url]], environ: Mapping[str, str], netrc: Path | None) -> None:
        """`indexes` are name and URL of what is configured; `netrc` is the file to read, None for none."""
        self._indexes = tuple(indexes)
        self._environ = environ
        self._netrc = netrc
        self._hosts: dict[str, tuple[str, str]] | None = None

    @classmethod
    def of(cls, config: Config) -> Credentials:
        return cls(config.index_urls, config.environ, netrc_file(config.environ))

    def find(self, url: Url, *, redirected: bool = False) -> tuple[str, str] | None:
        """User name and password (either may be "") for `url`; None for no credentials.

        The first place that knows a user decides who it is: the URL itself, a configured index of the same origin
        (the one that shares most of the path), `FELLOE_INDEX_<NAME>_USERNAME` and `_PASSWORD` of an index of the same
        origin, then `UV_INDEX_<NAME>_...`, then netrc. Where it has no password, a later place may have one for the
        same user; a token given as user name needs none. `redirected` is for a URL that a server chose: netrc, which
        names hosts only, then answers for https alone.

        Raises ConfigError for a netrc file that cannot be read.
        """
        if url.scheme not in {"http", "https"}:
            return None
        user = None
        for name, password in self._candidates(url, redirected=redirected):
            user = name if user is None else user
            if password and name in {user, ""}:
                return user, password
        return None if user is None else (user, "")

    def _candidates(self, url: Url, *, redirected: bool) -> Iterator[tuple[str, str]]:
        """What each place has for `url`, best first; netrc is not opened before it is needed."""
        indexes = self._same_origin(url)
        userinfos = [url.userinfo, *(index.userinfo for _, index in indexes)]
        yield from (userinfo for userinfo in userinfos if userinfo is not None and any(userinfo))
        for name, _ in indexes:
            yield from self._from_environment(name)
        if url.scheme == "https" or not redirected:
            yield from self._from_netrc(url.host)

    def _same_origin(self, url: Url) -> list[tuple[str, Url]]:
        matching = [(name, index) for name, index in self._indexes if index.origin == url.origin]
        return sorted(matching, key=lambda named: -_shared_segments(named[1].path, url.path))

    def _from_environment(self, index: str) -> Iterator[tuple[str, str]]:
        name = re.sub(r"[^A-Z0-9]", "_", index.upper())
        for prefix in PREFIXES:
            user = self._environ.get(f"{prefix}{name}_USERNAME", "")
            password = self._environ.get(f"{prefix}{name}_PASSWORD", "")
            if user or password:
                yield user, password

    def _from_netrc(self, host: str) -> Iterator[tuple[str, str]]:
        if self._hosts is None:
            self._hosts = {} if self._netrc is None else _read_netrc(self._netrc)
        if host in self._hosts:
            yield self._hosts[host]


def netrc_file(environ: Mapping[str, str]) -> Path | None:
    """NETRC, else `~/.netrc` (or `~/_netrc`, as on Windows); None where neither is there."""
    if environ.get("NETRC"):
        return Path(environ["NETRC"])
    home = environ.get("HOME") or environ.get("USERPROFILE")
    if not home:
        return None
    return next((path for name in (".netrc", "_netrc") if _is_file(path := Path(home) / name)), None)


def _shared_segments(one: str, other: str) -> int:
    pairs = zip(one.strip("/").split("/"), other.strip("/").split("/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()  # a FIFO or a device is never opened
    except (OSError, ValueError):
        return False


def _read_netrc(path: Path) -> dict[str, tuple[str, str]]:
    """Host, in lower case, to user name and password. `default` names no host, so it is given for none.

    Raises ConfigError with file and line, and nothing of what the file says.
    """
    if not _is_file(path):
        return {}
    import netrc

    try:
        if path.stat().st_size > MAX_NETRC_BYTES:
            raise ConfigError(f"`{path}` has more than {MAX_NETRC_BYTES} bytes", hint="Set NETRC to another file.")
        hosts = netrc.netrc(str(path)).hosts
    except netrc.NetrcParseError as error:
        # The error quotes the word that it does not know, which may be a password.
        raise ConfigError(f"`{path}`, near line {error.lineno}, cannot be read as netrc", hint="Correct it.") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"`{path}` cannot be read: {reason}", hint="Set NETRC to another file.") from None
    return {host.lower(): (user, password or "") for host, (user, _, password) in hosts.items() if host != "default"}
