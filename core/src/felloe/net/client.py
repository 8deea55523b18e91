"""HTTP requests: connections, redirects, credentials, retries, time limits. The one user of httpx."""

from __future__ import annotations

import logging
import math
import os
import ssl
import stat
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.request import getproxies, proxy_bypass

import anyio
import httpx
import stamina
from attrs import field, frozen

from felloe.errors import ConfigError, FelloeError, NetworkError, OfflineError, RequirementError, SourceError
from felloe.net.credentials import Credentials
from felloe.progress import Event
from felloe.url import Url

if TYPE_CHECKING:
    from felloe.config import Config

__all__ = ["Client", "Exchange", "NetSettings", "Response", "is_exempt", "owed_bytes", "settings_of"]

T = TypeVar("T")

MOST_REDIRECTS = 10
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PUBLIC = frozenset({"accept", "accept-encoding", "if-modified-since", "if-none-match", "range"})
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
ATTEMPTS, FIRST_WAIT, LONGEST_WAIT = 4, 0.5, 10.0
# A body has to bring this much in each span of the time limit, or it is cut: a slow drip must not hold us for ever.
SLOWEST_BLOCK = 16 * 1024
PIECE = 1024  # bytes that are decoded at once where memory counts: they may stand for a thousand times as many
# Over all of its time, it has to bring on average this much a second, as soon as it has taken ten times the span that
# is free; before that, less. Many downloads that share a thin line are not cut, and what drips does not go on for days.
SLOWEST_RATE, RISE = 10 * 1024, 10
PLAIN = frozenset({"", "identity"})
# stamina logs each retry. Whoever listens to logs gets that; where nobody does, nothing is to be printed.
logging.getLogger("stamina").addHandler(logging.NullHandler())

PROXY_SCHEMES = frozenset({"http", "https"})
PROXY_HINT = "a proxy has to be http://host:port or https://host:port"
HINT_LARGE = "look whether the address is right; if it is, raise `max-page-bytes` or `max-metadata-bytes`"
SERVER = "tell whoever runs the server, or the proxy before it"
ENCODINGS = PLAIN | {"gzip", "x-gzip", "deflate"}
GZIP, ZLIB, RAW = 31, 15, -15  # "window bits", by which zlib tells its formats apart
MOST_MEMBERS = 10_000  # of one body; each takes some time, however little it holds
OVERHEAD = 1024  # bytes that an encoding may add to the shortest body
LONG_PAUSE = 5.0  # seconds; who has to wait longer is told why
LONGEST_PAUSE = 2.0**31  # seconds, for any number that is larger (RFC 9111, section 1.2.2)


class Decoder(Protocol):
    """As zlib has it."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


@frozen(kw_only=True)
class NetSettings:
    """Limits of all requests. Times in seconds.

    `cert` is a PEM file that is trusted in place of the system's store; `cert_origin` is where it, or the folder, is
    set. A body may take `free_seconds` at whatever pace; see `owed_bytes` for the rest of its time.
    """

    offline: bool = False
    timeout: float = 30.0
    free_seconds: float = 60.0
    retry_seconds: float = 60.0
    concurrent: int = 50
    cert: Path | None = None
    cert_folder: Path | None = None
    cert_origin: str = ""
    proxies: Mapping[str, Url] = field(factory=dict)
    no_proxy: tuple[str, ...] = ()
    user_agent: str = "felloe"


def _in_lower_case(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@frozen(kw_only=True)
class Exchange:
    """One request to be sent; redirects are followed. A status that is not among `answers` is an error.

    Names of `headers` are in lower case, however they are given.
    """

    url: Url
    method: str = "GET"
    headers: Mapping[str, str] = field(factory=dict, converter=_in_lower_case)
    answers: frozenset[int] = frozenset({200})


class Response:
    """A response whose body has not been read: `url` after redirects, header names in lower case."""

    def __init__(self, url: Url, response: httpx.Response, settings: NetSettings) -> None:
        self.url = url
        self.status = response.status_code
        self.headers = _in_lower_case(response.headers)
        self._response = response
        self._timeout = settings.timeout
        self._free = settings.free_seconds
        self._began = anyio.current_time()
        self._received = 0

    async def pour(
        self,
        write: Callable[[bytes], None],
        pause: Callable[[], Awaitable[None]] | None = None,
        most: int = sys.maxsize,
    ) -> None:
        """Hands the body to `write` in blocks of `most` bytes, as it was sent: not decoded. `pause` follows each block.

        Raises TimeoutError or NetworkError where it comes too slowly, and what `write` raises.
        """
        chunks = self._response.aiter_raw()
        try:
            while block := await self._next_block(chunks):
                for start in range(0, len(block), most):
                    write(block[start : start + most])
                    if pause:
                        await self._while_nothing_is_owed(pause)
        finally:
            await _end(chunks)

    async def body(self, max_bytes: int, grow: Callable[[int], Awaitable[None]] | None = None) -> bytes:
        """The whole body, decoded; `grow` is told of its size so far, and may wait.

        Raises SourceError where it is longer than `max_bytes`, or encoded as nobody asked for or not as it says.
        """
        text = _Text(self.url, self.headers.get("content-encoding", ""), max_bytes)
        if grow is None:
            await self.pour(text.write)
        else:
            await self.pour(text.write, lambda: grow(text.size), PIECE if text.is_encoded else sys.maxsize)
        return text.whole()

    async def _while_nothing_is_owed(self, pause: Callable[[], Awaitable[None]]) -> None:
        began = anyio.current_time()
        await pause()
        self._began += anyio.current_time() - began

    async def _next_block(self, chunks: AsyncIterator[bytes]) -> bytes:
        """At least SLOWEST_BLOCK bytes, or what is left; b"" at the end."""
        parts: list[bytes] = []
        size = 0
        with anyio.fail_after(self._timeout):
            while size < SLOWEST_BLOCK and (chunk := await anext(chunks, None)) is not None:
                parts.append(chunk)
                size += len(chunk)
                self._check_pace(len(chunk))
        return b"".join(parts)

    def _check_pace(self, count: int) -> None:
        self._received += count
        seconds = anyio.current_time() - self._began
        if self._received < owed_bytes(seconds, self._free):
            raise NetworkError(
                f"{self.url} comes too slowly: {self._received} bytes in {math.ceil(seconds)} s",
                hint="try again later, or with fewer --concurrent-downloads",
                code="timeout",
                transient=True,
            )


def owed_bytes(seconds: float, free: float) -> float:
    """What a body has to have brought after `seconds`, of which `free` cost nothing: on average, more with the time."""
    return 0.0 if seconds <= free else seconds * SLOWEST_RATE * min(1.0, seconds / (RISE * free))


class _Text:
    """A body in memory, decoded on the way and never larger than allowed: few bytes may stand for very many.

    Several members of gzip are one body, and zeros may follow them (RFC 1952, section 2.2); anything else is an error.
    """

    def __init__(self, url: Url, encoding: str, max_bytes: int) -> None:
        if encoding.lower() not in ENCODINGS:
            raise SourceError(
                f"{url} is encoded as `{encoding}`, which nobody asked for", hint=SERVER, code="unknown-encoding"
            )
        self._url = url
        self.is_encoded = encoding.lower() not in PLAIN
        self._max_bytes = max_bytes
        self._received = 0
        self._format = RAW
        self._members = 0
        self._decoder: Decoder | None = None
        self._data = bytearray()

    def write(self, block: bytes) -> None:
        self._received += len(block)
        if self._received > 2 * self._max_bytes + OVERHEAD:  # what stands for nothing could go on for ever
            raise self._too_large()
        if not self.is_encoded:
            self._add(block)
        while self.is_encoded and (block := self._without_padding(block)):
            block = self._decode(block)

    @property
    def size(self) -> int:
        return len(self._data)

    def whole(self) -> bytes:
        if self._decoder is not None and not self._decoder.eof:
            raise self._damaged("it ends too early")
        return bytes(self._data)

    def _add(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > self._max_bytes:
            raise self._too_large()

    def _without_padding(self, block: bytes) -> bytes:
        ended = self._decoder is not None and self._decoder.eof
        return block.lstrip(b"\0") if ended else block

    def _decode(self, block: bytes) -> bytes:
        """Takes what belongs to one member, and gives back what follows it."""
        import zlib

        decoder = self._decoder
        if decoder is None or decoder.eof:
            decoder = self._decoder = self._next_decoder(block)
        try:
            data = decoder.decompress(block, self._max_bytes + 1 - len(self._data))
        except zlib.error as error:
            raise self._damaged(str(error)) from error
        self._add(data)
        return decoder.unused_data

    def _next_decoder(self, start: bytes) -> Decoder:
        import zlib

        if not self._members:
            self._format = _format_of(start[0])
        elif self._format != GZIP:
            raise self._damaged("something follows its end")
        elif self._members == MOST_MEMBERS:
            raise self._damaged(f"it has more than {MOST_MEMBERS} members")
        self._members += 1
        return zlib.decompressobj(self._format)

    def _too_large(self) -> SourceError:
        message = f"{self._url} is larger than {self._max_bytes} bytes"
        return SourceError(message, hint=HINT_LARGE, code="too-large")

    def _damaged(self, reason: str) -> SourceError:
        return SourceError(f"{self._url} is not encoded as it says: {reason}", hint=SERVER, code="invalid-encoding")


def _format_of(first: int) -> int:
    """By the first byte. Some servers send `deflate` without any header (RFC 9110, section 8.4.1.2)."""
    if first == 0x1F:
        return GZIP
    return ZLIB if first & 0x0F == 8 else RAW


async def _end(chunks: AsyncIterator[bytes]) -> None:
    """Ends a body that is not wanted any more from within: httpx closes none of the generators that it is made of.

    What was received already comes first, a few blocks at the most.
    """
    with anyio.CancelScope() as scope, suppress(httpx.TransportError, httpx.StreamError):
        scope.cancel()
        while await anext(chunks, None) is not None:
            pass


class Client:
    """Sends requests under one limit of concurrency, each on a connection of its own while it lasts."""

    def __init__(self, settings: NetSettings, credentials: Credentials, report: Callable[[Event], None]) -> None:
        self._settings = settings
        self._credentials = credentials
        self._report = report
        self._limiter = anyio.CapacityLimiter(settings.concurrent)
        self._connections = _Connections(settings)

    async def exchange(self, request: Exchange, read: Callable[[Response], Awaitable[T]]) -> T:
        """What `read` makes of the response, after retries of what may pass.

        Raises OfflineError, NetworkError (with `status` in its payload where there is one), and what `read` raises.
        """
        if self._settings.offline:
            raise OfflineError(f"{request.url} is needed, and the network is off", hint="run without --offline once")
        patience = _Patience(self._settings, self._report)
        async for attempt in stamina.retry_context(
            on=patience.pause_after,
            attempts=patience.attempts,
            timeout=self._settings.retry_seconds or None,
            wait_initial=FIRST_WAIT,
            wait_max=LONGEST_WAIT,
        ):
            with attempt:
                return await self._try(request, read, patience)
        raise AssertionError("stamina raises what the last attempt raised")

    async def aclose(self) -> None:
        await self._connections.aclose()

    async def _try(self, request: Exchange, read: Callable[[Response], Awaitable[T]], patience: _Patience) -> T:
        try:
            return await self._allowed(request, read, patience)
        except TimeoutError as error:
            raise self._too_slow(request.url) from error
        except httpx.TimeoutException as error:
            raise self._too_slow(request.url) from error
        except (httpx.TransportError, httpx.StreamError, httpx.InvalidURL, UnicodeError, OSError) as error:
            if isinstance(error, OSError) and not isinstance(error, ssl.SSLError | ConnectionError):
                raise  # a file that could not be written, say
            raise _unreachable(request.url, error) from error

    async def _allowed(self, request: Exchange, read: Callable[[Response], Awaitable[T]], patience: _Patience) -> T:
        """As `_follow`, again for each server on the way for whom an extension has other credentials.

        No connection is held meanwhile: somebody may have to be asked for a password.
        """
        while isinstance(answer := await self._follow(request, read, patience), _Refused):
            redirected = answer.url.origin != request.url.origin
            if not await self._credentials.ask(answer.url, answer.pair, redirected=redirected):
                raise answer.error
        return answer

    async def _follow(
        self, request: Exchange, read: Callable[[Response], Awaitable[T]], patience: _Patience
    ) -> T | _Refused:
        url = request.url
        for _ in range(MOST_REDIRECTS):
            headers, pair = self._headers(url, request)
            async with self._send(url, request.method, headers, patience) as response:
                self._report(_event(request, response))
                target = response.headers.get("location")
                if response.status not in REDIRECTS or target is None:
                    if response.status in request.answers:
                        return await read(response)
                    if response.status == 401 and (pair or "authorization" not in headers):
                        return _Refused(url, pair, _error_status(response))
                    raise _error_status(response)
            url = _redirected(url, target)
        raise NetworkError(
            f"{request.url} redirects more than {MOST_REDIRECTS} times",
            hint="correct the address to the one that it leads to in the end, if there is one",
        )

    def _headers(self, url: Url, request: Exchange) -> tuple[Mapping[str, str], tuple[str, str] | None]:
        """What is sent along, and the user name and password in it, unless the source has a word of its own."""
        same_origin = url.origin == request.url.origin
        headers = {"user-agent": self._settings.user_agent, **(request.headers if same_origin else _public(request))}
        pair = None if "authorization" in headers else self._credentials.known(url, redirected=not same_origin)
        if pair is not None:
            headers["authorization"] = "Basic " + b64encode(":".join(pair).encode()).decode("ascii")  # RFC 7617
        return headers, pair

    @asynccontextmanager
    async def _send(
        self, url: Url, method: str, headers: Mapping[str, str], patience: _Patience
    ) -> AsyncIterator[Response]:
        limit = self._settings.timeout
        raw = httpx.Request(method, url.reveal(), headers=headers)
        raw.extensions["timeout"] = {"connect": limit, "read": limit, "write": limit, "pool": limit}
        asked = anyio.current_time()
        async with self._limiter, self._connections.of(url) as transport:
            patience.extend(anyio.current_time() - asked)  # nobody is slow while others are served
            with patience.capped(url), anyio.fail_after(2 * limit):
                response = await transport.handle_async_request(raw)
            try:
                yield Response(url, response, self._settings)
            finally:
                with anyio.CancelScope(shield=True):
                    await response.aclose()

    def _too_slow(self, url: Url) -> NetworkError:
        return NetworkError(
            f"{url} took longer than {self._settings.timeout:g} s",
            hint="try again, or allow more with --timeout",
            code="timeout",
            transient=True,
        )


@frozen
class _Refused:
    """A server answered 401 at `url` to `pair`, or to nobody in particular.

    Not an exception, which others would carry on as their context, password and all.
    """

    url: Url
    pair: tuple[str, str] | None = field(repr=False)
    error: NetworkError


class _Patience:
    """What one request may still cost: how many attempts, and how many seconds until the last of them is answered.

    The first one, over all redirects, may take what one answer may take, if that is longer.
    """

    def __init__(self, settings: NetSettings, report: Callable[[Event], None]) -> None:
        self.attempts = ATTEMPTS if settings.retry_seconds else 1
        self._made = 0
        self._seconds = settings.retry_seconds
        self._end = anyio.current_time() + settings.retry_seconds
        self._more = max(2 * settings.timeout - settings.retry_seconds, 0.0)
        self._report = report

    def extend(self, seconds: float) -> None:
        self._end += seconds

    @contextmanager
    def capped(self, url: Url) -> Iterator[None]:
        """Raises NetworkError where what is done here takes longer than all attempts may."""
        more = 0.0 if self._made else self._more
        left = self._end - anyio.current_time() + more
        with anyio.move_on_after(max(left, 0.0)) as scope:
            yield
        if scope.cancelled_caught:
            raise NetworkError(
                f"{url} did not answer within {self._seconds + more:g} s, all tries taken",
                hint="try again later, or allow more with `max-retry-seconds`",
                code="timeout",
            )

    def pause_after(self, error: Exception) -> bool | float:
        """Whether to try again, or after how many seconds: those that the server asks for, or none at all."""
        self._made += 1
        if not isinstance(error, NetworkError) or not error.payload.get("transient") or self._made == self.attempts:
            return False
        pause: float | None = error.payload.get("retry_after")
        if pause is None:
            return True
        if pause > self._end - anyio.current_time():
            return False
        if pause > LONG_PAUSE:
            self._report(Event(code="waiting", message=str(error), data={"seconds": pause}))
        return pause


class _Connections:
    """Idle connections, by origin. Each transport holds one: a pool of many slows down with many waiting tasks."""

    def __init__(self, settings: NetSettings) -> None:
        self._settings = settings
        self._idle: dict[tuple[str, str, int | None], list[httpx.AsyncHTTPTransport]] = {}
        self._all: list[httpx.AsyncHTTPTransport] = []
        self._trust: ssl.SSLContext | None = None

    @asynccontextmanager
    async def of(self, url: Url) -> AsyncIterator[httpx.AsyncHTTPTransport]:
        idle = self._idle.setdefault(url.origin, [])
        transport = idle.pop() if idle else self._new(url)
        try:
            yield transport
        finally:
            idle.append(transport)

    async def aclose(self) -> None:
        for transport in self._all:
            await transport.aclose()
        self._all.clear()
        self._idle.clear()

    def _new(self, url: Url) -> httpx.AsyncHTTPTransport:
        transport = httpx.AsyncHTTPTransport(
            verify=self._trusted() if url.scheme == "https" else False,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30.0),
            proxy=self._proxy_for(url),
            trust_env=False,
        )
        self._all.append(transport)
        return transport

    def _trusted(self) -> ssl.SSLContext:
        if self._trust is None:
            self._trust = _ssl_context(self._settings)
        return self._trust

    def _proxy_for(self, url: Url) -> httpx.Proxy | None:
        """The environment's proxy for this scheme, else the configured one."""
        proxies = getproxies()
        if address := proxies.get(url.scheme) or proxies.get("all"):
            proxy = None if proxy_bypass(f"{url.host}:{url.port}") else _proxy_at(address)
        else:
            proxy = None if is_exempt(url, self._settings.no_proxy) else self._settings.proxies.get(url.scheme)
        return None if proxy is None else _as_httpx_has_it(proxy)


def is_exempt(url: Url, no_proxy: Iterable[str]) -> bool:
    """Whether no proxy is to be used for `url`, by the rules of curl.

    `no_proxy` names hosts and domains, with a port or without; a domain stands for all hosts in it, with a dot before
    it or without. An IP address stands for itself, `*` for all.
    """
    names = {name.strip(" .").lower().replace("[", "").replace("]", "") for name in no_proxy}
    domains = _domains_of(url.host)
    return not names.isdisjoint({"*", *domains, *(f"{domain}:{url.port}" for domain in domains)})


def _domains_of(host: str) -> list[str]:
    """The host and every domain above it; an IP address is in none."""
    if ":" in host or host.replace(".", "").isdecimal():
        return [host]
    labels = host.rstrip(".").split(".")
    return [".".join(labels[start:]) for start in range(len(labels))]


def _proxy_at(address: str) -> Url:
    """What a variable of the environment names. Raises ConfigError."""
    try:
        return Url(address if "://" in address else f"http://{address}")
    except RequirementError as error:
        raise ConfigError(f"a proxy variable is set to what is no URL: {error}", hint=PROXY_HINT) from error


def _as_httpx_has_it(proxy: Url) -> httpx.Proxy:
    if proxy.scheme not in PROXY_SCHEMES:
        raise ConfigError(f"the proxy `{proxy}` is of no kind that can be used", hint=PROXY_HINT)
    return httpx.Proxy(proxy.reveal(), auth=proxy.userinfo)


def settings_of(config: Config) -> NetSettings:
    """What `config` and the environment say about requests."""
    from importlib.metadata import version

    folder = os.environ.get("SSL_CERT_DIR")
    file = config.cert or os.environ.get("SSL_CERT_FILE")
    return NetSettings(
        offline=config.offline,
        timeout=config.timeout,
        retry_seconds=config.limits.max_retry_seconds,
        concurrent=config.concurrent_downloads,
        cert=Path(file) if file else None,
        cert_folder=Path(folder) if folder and not file else None,
        cert_origin=config.cert_origin or ("SSL_CERT_FILE" if file else "SSL_CERT_DIR"),
        proxies=config.proxies,
        no_proxy=config.no_proxy,
        user_agent=f"felloe/{version('felloe-core')}",
    )


def _ssl_context(settings: NetSettings) -> ssl.SSLContext:
    """The system's trust store, unless a file or folder of certificates was named."""
    if settings.cert is None and settings.cert_folder is None:
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if settings.cert is not None and not stat.S_ISREG(settings.cert.stat().st_mode):
            raise OSError("it is no regular file")
        return ssl.create_default_context(cafile=settings.cert, capath=settings.cert_folder)
    except OSError as error:  # ssl.SSLError as well
        raise NetworkError(
            f"certificates cannot be read from `{settings.cert or settings.cert_folder}`: {error}",
            hint=f"correct `{settings.cert_origin or '--cert'}`: it has to name certificates in PEM form",
            code="invalid-certificates",
        ) from error


def _public(request: Exchange) -> Mapping[str, str]:
    """The headers that another origin may see: what a source sets itself may be a token under any name."""
    return {name: value for name, value in request.headers.items() if name in PUBLIC}


def _redirected(url: Url, target: str) -> Url:
    try:
        new = url.join(target)
    except RequirementError as error:
        raise NetworkError(
            f"{url} redirects to what is no URL: {error}", hint=SERVER, code="forbidden-redirect"
        ) from error
    if new.scheme not in {"http", "https"} or (url.scheme, new.scheme) == ("https", "http"):
        raise NetworkError(
            f"{url} redirects to {new}, which is refused",
            hint="give an address that leads to https at once",
            code="forbidden-redirect",
        )
    return new


def _error_status(response: Response) -> NetworkError:
    status, pause = response.status, _pause_of(response.headers.get("retry-after", ""))
    asked = f", and asks to wait {math.ceil(pause)} s" if pause else ""
    return NetworkError(
        f"{response.url} answered {status}{asked}",
        hint=_hint_for(status),
        code=f"http-{status}",
        status=status,
        transient=status in TRANSIENT,
        retry_after=pause,
    )


def _pause_of(retry_after: str) -> float | None:
    """Seconds, of either form of Retry-After (RFC 9110, section 10.2.3); None where it is not there or neither."""
    if retry_after.isascii() and retry_after.isdecimal():
        return min(float(retry_after), LONGEST_PAUSE)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _hint_for(status: int) -> str:
    if status == 401:
        return (
            "give a user name and password in the URL, in netrc, for an index as FELLOE_INDEX_<NAME>_USERNAME and "
            "_PASSWORD, or keep them in a keyring (felloe-core[keyring])"
        )
    if status == 403:
        return (
            "check the credentials (the URL, netrc, FELLOE_INDEX_<NAME>_USERNAME and _PASSWORD); only if this index "
            'says 403 for "no such project" and has no private names, set missing = [403] for it'
        )
    return "try again later" if status in TRANSIENT else "check the address of the index"


def _unreachable(url: Url, error: Exception) -> FelloeError:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            hint = "name the certificates to trust with --cert or SSL_CERT_FILE"
            return NetworkError(f"{url} cannot be trusted: {cause.verify_message}", hint=hint, code="untrusted")
    reason = next(filter(None, map(str, _causes(error))), type(error).__name__)
    transient = isinstance(error, httpx.TransportError | ConnectionError)
    hint = "check the address and the network, or use --offline"
    return NetworkError(f"{url} cannot be read: {reason}", hint=hint, code="unreachable", transient=transient)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what is behind it: each library on the way wraps another, some without a word."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _event(request: Exchange, response: Response) -> Event:
    return Event(
        code="request",
        message=f"{request.method} {response.url}: {response.status}",
        data={"method": request.method, "url": str(response.url), "status": response.status},
    )
