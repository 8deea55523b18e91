"""Which user name and password a URL gets: only those given for its scheme, host and port.

What is written down is looked up without being asked for it, as by pip. Extensions, such as the one for keyrings, may
have to ask somebody: they are asked when a server wants to know, and what they answer is remembered for the run.
"""

from __future__ import annotations

import re
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from felloe.errors import ConfigError
from felloe.flights import Flights
from felloe.url import Url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from felloe.config import Config

    Pair = tuple[str, str]  # user name and password

__all__ = ["Credentials", "netrc_file"]

MAX_NETRC_BYTES = 2**20
PREFIXES = ("FELLOE_INDEX_", "UV_INDEX_")


class Credentials:
    """The credentials of one run. Its repr shows nothing."""

    def __init__(
        self,
        indexes: Iterable[tuple[str, Url]],
        environ: Mapping[str, str],
        netrc: Path | None,
        extensions: Callable[[Url], Awaitable[Pair | None]] | None = None,
    ) -> None:
        """`indexes` are name and URL of what is configured; `netrc` is the file to read, None for none."""
        self._indexes = tuple(indexes)
        self._environ = environ
        self._netrc = netrc
        self._hosts: dict[str, Pair] | None = None
        self._extensions = extensions
        self._flights = Flights()
        self._answers: dict[Url, Pair | None] = {}

    @classmethod
    def of(cls, config: Config, extensions: Callable[[Url], Awaitable[Pair | None]] | None = None) -> Credentials:
        return cls(config.index_urls, config.environ, netrc_file(config.environ), extensions)

    def find(self, url: Url, *, redirected: bool = False) -> Pair | None:
        """User name and password (either may be "") for `url`; None for no credentials.

        The first place that knows a user decides who it is: the URL itself, a configured index of the same origin
        (the one that shares most of the path), `FELLOE_INDEX_<NAME>_USERNAME` and `_PASSWORD` of an index of the same
        origin, then `UV_INDEX_<NAME>_...`, then netrc. Where it has no password, a later place may have one for the
        same user; a token given as user name needs none. `redirected` is for another origin that a server chose: netrc,
        which names hosts only, then answers for https alone.

        Raises ConfigError for a netrc file that cannot be read.
        """
        return _first(self._candidates(url, redirected=redirected))

    def known(self, url: Url, *, redirected: bool = False) -> Pair | None:
        """What `find` gives, or what an extension has answered in this run: it was asked as that would not do."""
        stated = _first(self._stated(url))
        answer = self._answers.get(self._asked_about(url, stated)) if self._answers else None
        return answer if answer and not _is_whole(stated) else self.find(url, redirected=redirected)

    async def ask(self, url: Url, refused: Pair | None, *, redirected: bool = False) -> bool:
        """Whether an extension has others for `url` than those that its server has `refused`: then they are `known`.

        Nobody is asked where a password was given in a URL or variable: it says who is meant. As by pip, a netrc does
        not, which may have one for the host alone. Each index is asked about once a run, and each origin that has none,
        by all who come at the same time; a "no" is remembered, too. Where a server has led us, there is no asking for a
        password that would go out in the clear.
        """
        stated = _first(self._stated(url))
        if self._extensions is None or _is_whole(stated) or (redirected and url.scheme != "https"):
            return False
        about = self._asked_about(url, stated)
        if about not in self._answers:
            self._answers[about] = await self._flights.share(about, partial(self._extensions, about))
        answer = self._answers[about]
        return answer is not None and answer != refused

    def _asked_about(self, url: Url, stated: Pair | None) -> Url:
        """The index of the same origin that `url` is nearest to, else the root; with the user that somebody named."""
        indexes = self._same_origin(url)
        address = (indexes[0][1] if indexes else url.join("/")).reveal().partition("?")[0]
        if stated is None or not stated[0]:
            return Url(address)
        return Url(address.replace("://", f"://{quote(stated[0], safe='')}@", 1))

    def _candidates(self, url: Url, *, redirected: bool) -> Iterator[Pair]:
        """What each place has for `url`, best first; netrc is not opened before it is needed."""
        yield from self._stated(url)
        if url.scheme == "https" or (url.scheme == "http" and not redirected):
            yield from self._from_netrc(url.host)

    def _stated(self, url: Url) -> Iterator[Pair]:
        """What was given for just this origin."""
        if url.scheme not in {"http", "https"}:
            return
        indexes = self._same_origin(url)
        userinfos = [url.userinfo, *(index.userinfo for _, index in indexes)]
        yield from (userinfo for userinfo in userinfos if userinfo is not None and any(userinfo))
        for name, _ in indexes:
            yield from self._from_environment(name)

    def _same_origin(self, url: Url) -> list[tuple[str, Url]]:
        matching = [(name, index) for name, index in self._indexes if index.origin == url.origin]
        return sorted(matching, key=lambda named: -_shared_segments(named[1].path, url.path))

    def _from_environment(self, index: str) -> Iterator[Pair]:
        name = re.sub(r"[^A-Z0-9]", "_", index.upper())
        for prefix in PREFIXES:
            user = self._environ.get(f"{prefix}{name}_USERNAME", "")
            password = self._environ.get(f"{prefix}{name}_PASSWORD", "")
            if user or password:
                yield user, password

    def _from_netrc(self, host: str) -> Iterator[Pair]:
        if self._hosts is None:
            self._hosts = {} if self._netrc is None else _read_netrc(self._netrc)
        if host in self._hosts:
            yield self._hosts[host]


def _first(candidates: Iterable[Pair]) -> Pair | None:
    """The first user, with the first password that is not another user's; None where no place knows one."""
    user = None
    for name, password in candidates:
        user = name if user is None else user
        if password and name in {user, ""}:
            return user, password
    return None if user is None else (user, "")


def _is_whole(pair: Pair | None) -> bool:
    return pair is not None and bool(pair[1])


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


def _read_netrc(path: Path) -> dict[str, Pair]:
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
