"""The HTTP cache for pages: what RFC 9111 allows is answered without a request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from felloe import freshness
from felloe.errors import CacheError, NetworkError, RequirementError
from felloe.flights import Flights
from felloe.hashing import Hashing, check_digests
from felloe.net import files
from felloe.net.room import Room
from felloe.progress import Event
from felloe.url import Url
from felloe.values import Page

if TYPE_CHECKING:
    from felloe.net.client import Client, Response

__all__ = ["Asked", "PageShelf", "Pages", "as_key", "response_of"]

ANSWERS = frozenset({200, 304, 404, 410})
NO_PAGE = frozenset({404, 410})


class PageShelf(Protocol):
    """Where pages are kept, by a key in hex."""

    def read(self, key: str) -> bytes | None: ...

    def write(self, key: str, body: bytes) -> None: ...


@frozen
class Stored:
    """A page as it lies in the cache, and what decides whether it is still good."""

    page: Page
    response: freshness.Response


@frozen(kw_only=True)
class Asked:
    """How a page is asked for: see `felloe.values.Http.get`."""

    url: Url
    headers: Mapping[str, str]
    lifetime: float
    newer_than: float | None

    def key(self, user: str) -> str:
        """Where the page is kept. What one user may see is not shown to another; the password plays no part."""
        text = f"{self.url.reveal()}\n{self.headers['accept']}\n{user}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Pages:
    """Pages of HTTP servers and of the local file system."""

    def __init__(
        self,
        client: Callable[[], Awaitable[Client]],
        user_of: Callable[[Url], str],
        shelf: PageShelf,
        report: Callable[[Event], None],
        clock: Callable[[], float],
        max_bytes: int,
        room: Room,
    ) -> None:
        self._client = client
        self._room = room
        self._user_of = user_of
        self._flights = Flights()
        self._shelf = shelf
        self._report = report
        self._clock = clock
        self._max_bytes = max_bytes

    def fresh(self, asked: Asked) -> Page | None:
        """The page, where it is fresh in the cache: no request, whoever asks."""
        stored = self._stored(asked)
        if stored is None:
            return None
        decision = _decide(asked, stored, self._clock())
        return self._told_fresh(stored, decision) if isinstance(decision, freshness.Usable) else None

    async def get(self, asked: Asked, *, offline: bool) -> Page:
        """The page, from the cache while it is fresh; else after one request, conditional where that is possible."""
        if asked.url.scheme == "file":
            return files.read_page(asked.url, self._max_bytes)
        stored = self._stored(asked)
        if stored is None:
            return await self._share(asked, None, {})
        response = stored.response
        match _decide(asked, stored, self._clock()):
            case freshness.Usable() as decision:
                return self._told_fresh(stored, decision)
            case _ if offline:
                self._tell("page-offline", f"{stored.page.url}: no request, offline: as of the last time")
                return stored.page
            case freshness.Conditional(headers=headers):
                del stored  # it is read again where it is confirmed: many of them may be large
                return await self._share(asked, response, headers)

    async def read(
        self,
        url: Url,
        max_bytes: int,
        hashes: Mapping[str, str] | None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes | None:
        """A small file, not cached; None where there is none. Raises HashMismatchError."""
        if url.scheme == "file":
            page = files.read_page(url, max_bytes)
        else:
            what = (url, max_bytes, as_key(headers or {}))
            page = await self._flights.share(what, lambda: self._read_remote(url, max_bytes, headers or {}))
        if page.status in NO_PAGE:
            return None
        hashing = Hashing(hashes or ())
        hashing.update(page.body)
        check_digests(str(url), hashing.digests(), hashes or {})
        return page.body

    async def _read_remote(self, url: Url, max_bytes: int, headers: Mapping[str, str]) -> Page:
        client = await self._client()
        from felloe.net.client import Exchange

        async def read(response: Response) -> Page:
            if response.status != 200:
                return Page(url=response.url, status=response.status, headers=response.headers, body=b"")
            return await self._received(response, max_bytes)

        return await client.exchange(Exchange(url=url, headers=headers, answers=frozenset({200}) | NO_PAGE), read)

    async def _received(self, response: Response, max_bytes: int) -> Page:
        with self._room.claim() as claim:
            body = await response.body(max_bytes, claim.grow)
            page = Page(url=response.url, status=response.status, headers=response.headers, body=body)
            claim.kept_by(page)
        return page

    async def _share(self, asked: Asked, stored: freshness.Response | None, conditions: Mapping[str, str]) -> Page:
        """One request for all who ask for the same at the same time."""
        what = (self._key(asked), asked.newer_than, as_key(asked.headers))
        page: Page = await self._flights.share(what, lambda: self._request(asked, stored, conditions))
        return page

    def _key(self, asked: Asked) -> str:
        return asked.key(self._user_of(asked.url))

    async def _request(self, asked: Asked, stored: freshness.Response | None, conditions: Mapping[str, str]) -> Page:
        client = await self._client()
        from felloe.net.client import Exchange

        sent = self._clock()

        async def read(response: Response) -> Page | freshness.Response | None:
            new = response_of(response, asked.url, asked.headers, sent, self._clock())
            if response.status == 304:
                return _confirmed(asked, stored, new)
            page = await self._received(response, self._max_bytes)
            self._keep(asked, page, new)
            return page

        headers = {**asked.headers, **conditions}
        answer = await client.exchange(Exchange(url=asked.url, headers=headers, answers=ANSWERS), read)
        page = await self._read_again(asked, answer) if isinstance(answer, freshness.Response) else answer
        return page or await self._request(asked, None, {})

    async def _read_again(self, asked: Asked, response: freshness.Response) -> Page | None:
        """The page of the cache, of which a server said that it has not changed; None where it has gone meanwhile."""
        with self._room.claim() as claim:
            await claim.grow(0)
            stored = self._stored(asked)
            if stored is None:
                return None
            claim.kept_by(stored.page)
        self._keep(asked, stored.page, response)
        self._tell("page-revalidated", f"{stored.page.url}: not changed")
        return stored.page

    def _stored(self, asked: Asked) -> Stored | None:
        data = self._shelf.read(self._key(asked))
        if data is None:
            return None
        head, _, body = data.partition(b"\n")
        try:
            response = freshness.Response.from_json(json.loads(head))
            page = Page(
                url=asked.url.join(response.url or ""), status=response.status, headers=response.headers, body=body
            )
        except (ValueError, RequirementError, RecursionError):
            return None
        return Stored(page, response)

    def _keep(self, asked: Asked, page: Page, response: freshness.Response) -> None:
        if not freshness.storable(page.status, response.headers):
            return
        head = json.dumps(response.to_json()).encode()
        try:
            self._shelf.write(self._key(asked), head + b"\n" + page.body)
        except CacheError as error:
            # The page is here all the same: a cache that cannot be written to only costs a request next time.
            self._tell("warning", str(error))

    def _told_fresh(self, stored: Stored, decision: freshness.Usable) -> Page:
        self._tell("page-fresh", f"{stored.page.url}: no request, fresh for {decision.seconds:.0f} s")
        return stored.page

    def _tell(self, code: str, message: str) -> None:
        self._report(Event(code=code, message=message))


def _confirmed(asked: Asked, stored: freshness.Response | None, new: freshness.Response) -> freshness.Response | None:
    """What is known of the stored page now, if the 304 speaks of it. Raises NetworkError for one nobody asked for."""
    if stored is None:
        raise NetworkError(
            f"{asked.url} answered 304 to a request without conditions",
            hint="tell whoever runs the server, or the proxy before it",
            code="http-304",
        )
    return freshness.updated(stored, new) if freshness.confirmed(stored, new) else None


def _decide(asked: Asked, stored: Stored, now: float) -> freshness.Usable | freshness.Conditional:
    return freshness.decide(
        stored.response,
        request_headers=asked.headers,
        now=now,
        fallback=asked.lifetime,
        newer_than=asked.newer_than,
    )


def as_key(headers: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Who asks with other headers at the same time may get another answer. In memory alone: it may hold a token."""
    return frozenset(headers.items())


def response_of(
    response: Response, asked: Url, sent_headers: Mapping[str, str], sent: float, received: float
) -> freshness.Response:
    """What decides later whether this response is still good; `sent` and `received` are seconds since the epoch.

    Headers of a source's own may tell who asks, whether or not the server says so in Vary; where the URL that was
    `asked` for names the user, that does.
    """
    own = () if asked.userinfo and asked.userinfo[0] else sorted(sent_headers.keys() - freshness.NEGOTIATED)
    headers = {**response.headers, "vary": ", ".join(filter(None, [response.headers.get("vary"), *own]))}
    return freshness.Response(
        status=response.status,
        headers=headers if own else response.headers,
        vary=freshness.nominated(headers, sent_headers),
        requested=sent,
        received=received,
        url=str(response.url),
    )
