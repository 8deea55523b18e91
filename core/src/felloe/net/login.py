"""Headers of a source's own: checked before they are sent, and had by logging in where they expire."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from felloe.errors import NetworkError, SourceError
from felloe.flights import Flights, Memory
from felloe.values import Headers, Login

if TYPE_CHECKING:
    from felloe.url import Url
    from felloe.values import Context

__all__ = ["Sender"]

T = TypeVar("T")

UNAUTHORIZED, FORBIDDEN = 401, 403
is_field_name = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch  # RFC 9110, section 5.1


class Sender:
    """Has requests of one source sent with its own headers. Who is logged in is remembered for the run in `memory`."""

    def __init__(self, memory: Memory, source: str, ctx: Context) -> None:
        self._memory = memory
        self._source = source
        self._ctx = ctx

    async def send(self, headers: Headers | None, url: Url, ask: Callable[[Mapping[str, str]], Awaitable[T]]) -> T:
        """What `ask` gives with these headers, or those of the Login.

        Offline nobody logs in: `ask` does without, and finds what is known. Raises SourceError where a header cannot be
        sent or the Login is refused, and what `ask` raises.
        """
        if not isinstance(headers, Login):
            return await ask(_sendable(headers or {}))
        if self._ctx.offline or url.origin != headers.url.origin:
            return await ask({})
        session = await self._memory.once((self._source, headers), _new_session)
        sent = await self._log_in(session, headers, refused=None)
        try:
            return await ask(sent)
        except NetworkError as error:
            if error.payload.get("status") != UNAUTHORIZED:
                raise
        sent = await self._log_in(session, headers, refused=sent)
        with self._telling_of_refusal(headers, {UNAUTHORIZED}):
            return await ask(sent)

    async def _log_in(self, session: _Session, login: Login, *, refused: Mapping[str, str] | None) -> Mapping[str, str]:
        async def log_in() -> Mapping[str, str]:
            return _sendable(await login.headers(self._ctx))

        with self._telling_of_refusal(login, {UNAUTHORIZED, FORBIDDEN}):
            return await session.headers(refused, log_in)

    @contextmanager
    def _telling_of_refusal(self, login: Login, statuses: Container[object]) -> Iterator[None]:
        """Who is refused has to correct a setting; that no server could be reached would be another matter."""
        try:
            yield
        except NetworkError as error:
            if error.payload.get("status") not in statuses:
                raise
            raise SourceError(
                f"source `{self._source}` cannot log in: {error}",
                hint=login.hint or f"correct the settings of `{self._source}`",
                code="login-refused",
                source=self._source,
            ) from error


class _Session:
    """What a source is logged in with, for all its items. Its repr shows nothing."""

    def __init__(self) -> None:
        self._headers: Mapping[str, str] | None = None
        self._flights = Flights()

    async def headers(
        self, refused: Mapping[str, str] | None, log_in: Callable[[], Awaitable[Mapping[str, str]]]
    ) -> Mapping[str, str]:
        """Those in use; where these were `refused` (None: where there are none), what `log_in` gives, once for all."""

        async def renew() -> None:
            if self._headers is refused:  # the one who tried before was cancelled, perhaps when it was done
                self._headers = await log_in()

        if self._headers is refused:
            await self._flights.share("login", renew)
        return cast("Mapping[str, str]", self._headers)


async def _new_session() -> _Session:
    return _Session()


def _sendable(headers: Mapping[str, str]) -> Mapping[str, str]:
    """With names in lower case. Raises SourceError, which shows nothing of a value.

    Later it would be too late: what refuses such a header quotes it.
    """
    for name, value in headers.items():
        if not is_field_name(name) or not (value.isascii() and value.isprintable() and value == value.strip()):
            what = f"the header `{name}`" if is_field_name(name) else "the name of a header"
            raise SourceError(
                f"{what} has a character that cannot be sent",
                hint="look at what it is made of: a secret, perhaps, that was read with the end of its line",
                code="invalid-header",
            )
    return {name.lower(): value for name, value in headers.items()}
