"""A URL that cannot be printed with its secrets."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

from felloe.errors import RequirementError

__all__ = ["Url"]

DEFAULT_PORTS = {"http": 80, "https": 443, "ssh": 22}
MASK = "****"
WITHOUT_HOST = frozenset({"file", "git+file"})
is_plain = re.compile(r"https?://[a-z0-9.-]+/").match  # no userinfo, no port: nothing for urllib to check


class Url:
    """An absolute URL. `str`, `repr` and JSON show it without userinfo and with query values masked.

    The address as given (`reveal`) and the userinfo (`userinfo`) are for who opens it alone: `felloe.net`, and a source
    that has a program do so.
    """

    __slots__ = ("__dict__", "_text")

    def __init__(self, text: str | Url) -> None:
        """Raises RequirementError where `text` is not `scheme://host/...` (or `file:...`), or its port is none."""
        self._text: str = text._text if isinstance(text, Url) else text.strip()  # noqa: SLF001  # one of our own
        if is_plain(self._text) and " " not in self._text and self._text.isprintable():
            return  # a page of an index has thousands of these; what prints is neither white space nor control
        try:
            self._parts.port  # noqa: B018  # urllib checks the port when it is asked for
            whole = bool(self._parts.hostname) or self._parts.scheme in WITHOUT_HOST
        except ValueError:
            whole = False
        if not whole or not self._parts.scheme or any(c.isspace() or ord(c) < 32 for c in self._text):
            raise RequirementError(
                f"`{_without_userinfo(self._text)}` is not a URL",
                hint="it has to be scheme://host/path, with special characters in user name and password quoted",
            ) from None

    @cached_property
    def _parts(self) -> SplitResult:
        return urlsplit(self._text)

    @property
    def scheme(self) -> str:
        return self._parts.scheme

    @property
    def host(self) -> str:
        """In lower case, "" where there is none (file:)."""
        return self._parts.hostname or ""

    @property
    def port(self) -> int | None:
        """The port that a connection goes to: as written, else the scheme's own."""
        return DEFAULT_PORTS.get(self.scheme) if self._parts.port is None else self._parts.port

    @property
    def origin(self) -> tuple[str, str, int | None]:
        """What a secret is given for: scheme, host and port (RFC 6454)."""
        return (self.scheme, self.host, self.port)

    @property
    def path(self) -> str:
        """As written, percent-encoded."""
        return self._parts.path

    @property
    def filename(self) -> str:
        """The last segment of the path, percent-decoded; "" for a folder."""
        return unquote(self._parts.path.rpartition("/")[2])

    @property
    def fragment(self) -> str:
        return self._parts.fragment

    @property
    def userinfo(self) -> tuple[str, str] | None:
        """User name and password, percent-decoded. For who opens it alone."""
        if self._parts.username is None:
            return None
        return unquote(self._parts.username), unquote(self._parts.password or "")

    def reveal(self) -> str:
        """The address to open: without userinfo and fragment, with its query. For who opens it alone."""
        return _unsplit(self.scheme, self._netloc, self._parts.path, self._parts.query)

    def join(self, reference: str) -> Url:
        """What `reference` (absolute or relative, RFC 3986) means on a page of this address.

        Userinfo is passed on to the same origin only. Raises RequirementError where it is not a URL.
        """
        target = Url(reference if is_plain(reference) else self._resolved(reference))
        if "@" in self._text and target.origin == self.origin and target.userinfo is None and self.userinfo is not None:
            return target._with_userinfo(self._parts.netloc.rpartition("@")[0])
        return target

    def without_fragment(self) -> Url:
        return Url(self._text.partition("#")[0])

    def as_directory(self) -> Url:
        """The same address ending in `/`, so that `join` goes below it."""
        path = self._parts.path if self._parts.path.endswith("/") else self._parts.path + "/"
        return Url(_unsplit(self.scheme, self._parts.netloc, path, self._parts.query))

    def with_suffix(self, suffix: str) -> Url:
        """The same address with `suffix` at the end of its path, without fragment."""
        path = self._parts.path + suffix
        return Url(_unsplit(self.scheme, self._parts.netloc, path, self._parts.query))

    def digest(self) -> str:
        """16 hex digits over the canonical form: no userinfo, no default port, host and scheme in lower case."""
        return hashlib.sha256(self.reveal().encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def _resolved(self, reference: str) -> str:
        try:
            return urljoin(self._text, reference)
        except ValueError:  # urllib's words may have the userinfo in them
            raise RequirementError(
                f"`{_without_userinfo(reference)}` is not a URL",
                hint="it has to be an address, absolute or relative, as RFC 3986 has it",
            ) from None

    @property
    def _netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = self._parts.port
        return host if port is None or port == DEFAULT_PORTS.get(self.scheme) else f"{host}:{port}"

    def _with_userinfo(self, userinfo: str) -> Url:
        parts = self._parts._replace(netloc=f"{userinfo}@{self._parts.netloc}")
        return Url(urlunsplit(parts))

    def __str__(self) -> str:
        masked = "&".join(map(_masked, filter(None, self._parts.query.split("&"))))
        return _unsplit(self.scheme, self._netloc, self._parts.path, masked)

    def __repr__(self) -> str:
        return f"Url({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def _unsplit(scheme: str, netloc: str, path: str, query: str) -> str:
    """urllib writes `//` without a host for `file` alone."""
    text = urlunsplit((scheme, netloc, path, query, ""))
    start = f"{scheme}:/"
    is_short = scheme in WITHOUT_HOST and text.startswith(start) and not text.startswith(f"{start}/")
    return f"{start}//{text.removeprefix(start)}" if is_short else text


def _masked(parameter: str) -> str:
    """What has no name may be a token all by itself."""
    name, equals, _ = parameter.partition("=")
    return f"{name}={MASK}" if equals else MASK


def _without_userinfo(text: str) -> str:
    """For a text that does not even split: nothing between `://` and the last `@`, and no query, is shown."""
    scheme, separator, rest = text.partition("://") if "://" in text else ("", "", text)
    _, at, shown = rest.rpartition("@")
    return scheme + separator + (MASK + at if at else "") + shown.partition("?")[0]
