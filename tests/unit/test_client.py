"""`felloe.net.client` over real sockets: retries, limits of time and size, redirects, credentials, TLS, proxies."""

from __future__ import annotations

import gzip
import os
import re
import socket
import ssl
import sys
import threading
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import proxy_bypass

import anyio
import anyio.lowlevel
import pytest
import stamina
import trustme

from felloe import Config, NetworkError, OfflineError, SourceError, Url
from felloe.errors import ConfigError, FelloeError
from felloe.net.client import Client, Exchange, NetSettings, Response, _Text, is_exempt, owed_bytes, settings_of
from felloe.net.credentials import Credentials
from felloe.progress import Event
from felloe.testing import Behaviour, IndexServer, Reply
from tests.fixtures.wire import Proxy, connected_to, hang_up, wire

pytestmark = pytest.mark.anyio

MIB = 2**20
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello"
AT_ONCE = {"Retry-After": "0"}


# The scene


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT_"):
            monkeypatch.delenv(name)


@pytest.fixture
def without_waiting() -> Iterator[None]:
    """As many attempts as otherwise, at once."""
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


@pytest.fixture
def server() -> Iterator[IndexServer]:
    """`hello` at /page."""
    with IndexServer() as server:
        server.static("/page", b"hello")
        yield server


@asynccontextmanager
async def client_of(
    *,
    report: Callable[[Event], None] = lambda _: None,
    credentials: Credentials | None = None,
    **settings: Any,
) -> AsyncIterator[Client]:
    client = Client(NetSettings(**settings), credentials or Credentials((), {}, None), report)
    try:
        yield client
    finally:
        await client.aclose()


async def text_of(response: Response) -> bytes:
    return await response.body(MIB)


async def get(url: str, read: Callable[[Response], Any] = text_of, **settings: Any) -> Any:
    headers = settings.pop("headers", {})
    async with client_of(**settings) as client:
        return await client.exchange(Exchange(url=Url(url), headers=headers), read)


async def error_of(url: str, **settings: Any) -> FelloeError:
    with pytest.raises(FelloeError) as raised:
        await get(url, **settings)
    return raised.value


# Retries


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again(server: IndexServer, status: int) -> None:
    server.behave("/page", Behaviour(statuses=[Reply(status, headers=AT_ONCE)] * 2))
    events: list[Event] = []

    assert await get(f"{server.url}/page", report=events.append) == b"hello"
    assert [request.status for request in server.requests] == [status, status, 200]
    assert [event.data["status"] for event in events] == [status, status, 200]


@pytest.mark.usefixtures("without_waiting")
@pytest.mark.parametrize("retry_after", ["", "soon", "-1", "Wed, 21 Oct 2015 07:28:00 GMT", "0.5", "30"])
async def test_any_word_on_when_to_come_back(server: IndexServer, retry_after: str) -> None:
    server.behave("/page", Behaviour(statuses=[Reply(503, headers={"Retry-After": retry_after})]))

    assert await get(f"{server.url}/page") == b"hello"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 418, 451, 501])
async def test_what_will_not_pass_is_not(server: IndexServer, status: int) -> None:
    server.behave("/page", Behaviour(statuses=[Reply(status, headers=AT_ONCE)]))

    error = await error_of(f"{server.url}/page")

    assert (error.code, error.payload["status"]) == (f"http-{status}", status)
    assert str(error) == f"{server.url}/page answered {status}"
    assert len(server.requests) == 1


async def test_nothing_is_printed(server: IndexServer) -> None:
    """Of retries, say: a logger without a handler writes to stderr."""
    server.behave("/page", Behaviour(statuses=[Reply(503, headers=AT_ONCE)]))
    code = f"""if True:
        import anyio
        from felloe import Url
        from felloe.net.client import Client, Exchange, NetSettings
        from felloe.net.credentials import Credentials

        async def main():
            client = Client(NetSettings(), Credentials((), {{}}, None), lambda event: None)
            await client.exchange(Exchange(url=Url("{server.url}/page")), lambda response: response.body(9))
            await client.aclose()

        anyio.run(main)
    """

    done = await anyio.run_process([sys.executable, "-c", code], check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert [request.status for request in server.requests] == [503, 200]


async def test_there_is_an_end_to_it(server: IndexServer) -> None:
    server.behave("/page", Behaviour(statuses=[Reply(503, headers=AT_ONCE)] * 10))

    assert (await error_of(f"{server.url}/page")).code == "http-503"
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("retry_after", "asked"),
    [
        ("61", "61 s"),
        ("36000", "36000 s"),
        ("9" * 400, "2147483648 s"),
        ("Fri, 31 Dec 9999 23:59:59 GMT", r"\d{12} s"),
    ],
)
async def test_what_is_too_long_to_wait_for_fails_at_once(
    server: IndexServer, status: int, retry_after: str, asked: str
) -> None:
    server.behave("/page", Behaviour(statuses=[Reply(status, headers={"Retry-After": retry_after})]))
    events: list[Event] = []

    with anyio.fail_after(10):
        error = await error_of(f"{server.url}/page", report=events.append)

    assert error.code == f"http-{status}"
    assert re.fullmatch(f"{server.url}/page answered {status}, and asks to wait {asked}", str(error))
    assert [event.code for event in events] == ["request"]


@pytest.mark.usefixtures("without_waiting")
@pytest.mark.parametrize(("retry_after", "told"), [("0", 0), ("5", 0), ("6", 3), ("50", 3)])
async def test_a_long_pause_is_told(server: IndexServer, retry_after: str, told: int) -> None:
    """Those that are made: there is none after the last attempt."""
    server.behave("/page", Behaviour(statuses=[Reply(429, headers={"Retry-After": retry_after})] * 10))
    events: list[Event] = []

    await error_of(f"{server.url}/page", report=events.append)

    waiting = [(event.message, event.data) for event in events if event.code == "waiting"]
    message = f"{server.url}/page answered 429, and asks to wait {retry_after} s"
    assert waiting == [(message, {"seconds": float(retry_after)})] * told
    assert len(server.requests) == 4


async def test_no_retries(server: IndexServer) -> None:
    server.behave("/page", Behaviour(statuses=[Reply(503, headers=AT_ONCE)]))

    assert (await error_of(f"{server.url}/page", retry_seconds=0)).code == "http-503"
    assert len(server.requests) == 1


@pytest.mark.usefixtures("without_waiting")
@pytest.mark.parametrize("fault", [CUT, hang_up, b"garbage", b"\0" * 1000, b"HTTP/1.1 abc\r\n\r\n", b"HTTP/9.9 200"])
async def test_a_connection_that_fails_once(fault: Any) -> None:
    with wire(fault, OK) as server:
        assert await get(server.url) == b"hello"
        assert len(server.heads) == 2


@pytest.mark.usefixtures("without_waiting")
@pytest.mark.parametrize(
    "fault",
    [
        CUT,
        hang_up,
        b"garbage",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 200_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ],
    ids=["cut", "hang up", "garbage", "head", "negative", "no number", "two lengths", "no chunk", "half a chunk"],
)
async def test_a_connection_that_fails_each_time(fault: Any) -> None:
    with wire(fault) as server:
        error = await error_of(server.url)

        assert isinstance(error, NetworkError)
        assert (error.code, error.hint) == ("unreachable", "check the address and the network, or use --offline")
        assert len(server.heads) == 4


async def test_more_than_the_announced_length_is_not_read() -> None:
    with wire(OK + b", world") as server:
        assert await get(server.url) == b"hello"


async def test_a_body_without_length() -> None:
    with wire(b"HTTP/1.0 200 OK\r\n\r\nhello") as server:
        assert await get(server.url) == b"hello"


@pytest.mark.usefixtures("without_waiting")
async def test_nobody_listens() -> None:
    with IndexServer() as gone:
        url = gone.url

    error = await error_of(url)

    assert error.code == "unreachable"
    assert url in str(error)


async def test_what_the_reader_raises_is_not_tried_again(server: IndexServer) -> None:
    async def read(response: Response) -> bytes:
        await text_of(response)
        raise SourceError("not that")

    with pytest.raises(SourceError, match="not that"):
        await get(f"{server.url}/page", read)

    assert len(server.requests) == 1


async def test_offline_sends_nothing(server: IndexServer) -> None:
    assert isinstance(await error_of(f"{server.url}/page", offline=True), OfflineError)
    assert server.requests == []


# Time


async def test_a_server_that_never_answers(server: IndexServer) -> None:
    server.behave("/page", Behaviour(hold=threading.Event()))

    error = await error_of(f"{server.url}/page", timeout=0.2, retry_seconds=0)

    assert (error.code, str(error)) == ("timeout", f"{server.url}/page took longer than 0.2 s")
    assert "--timeout" in error.hint


async def test_a_slow_drip_is_cut(server: IndexServer) -> None:
    """Each byte comes in time, so that only the whole can be too slow."""
    server.static("/page", b"x" * 5000)
    server.behave("/page", Behaviour(drip=0.01))

    assert (await error_of(f"{server.url}/page", timeout=0.3, retry_seconds=0)).code == "timeout"


@pytest.mark.parametrize(
    ("seconds", "owed"),
    [
        (0.0, 0),
        (60.0, 0),
        (61.0, 61**2 * 10240 / 600),  # about 1 KiB/s
        (120.0, 120 * 2048),
        (600.0, 600 * 10240),
        (86400.0, 86400 * 10240),
    ],
)
def test_what_a_body_owes(seconds: float, owed: float) -> None:
    assert owed_bytes(seconds, 60.0) == pytest.approx(owed)


async def test_a_body_that_keeps_dripping_is_cut(server: IndexServer) -> None:
    """Every read of it is in time, as far as that goes."""
    server.static("/page", b"x" * 100_000)
    server.behave("/page", Behaviour(drip=0.01))

    error = await error_of(f"{server.url}/page", free_seconds=0.2, retry_seconds=0)

    assert error.code == "timeout"
    assert "comes too slowly" in str(error)
    assert error.hint


async def test_the_last_try_ends_with_the_others(server: IndexServer) -> None:
    """It was begun in time, and would not be answered."""
    server.behave("/page", Behaviour(statuses=[Reply(503, headers=AT_ONCE)], redirect=f"{server.url}/next"))
    server.behave("/next", Behaviour(hold=threading.Event()))

    with anyio.fail_after(20):
        error = await error_of(f"{server.url}/page", timeout=30, retry_seconds=1)

    assert (error.code, "within 1 s, all tries" in str(error), bool(error.hint)) == ("timeout", True, True)


async def test_redirects_are_one_try(server: IndexServer) -> None:
    """All of them have the time of one answer, if no more tries are made."""
    server.behave("/page", Behaviour(redirect=f"{server.url}/next"))
    server.behave("/next", Behaviour(hold=threading.Event()))

    with anyio.fail_after(20):
        error = await error_of(f"{server.url}/page", timeout=0.5, retry_seconds=0)

    assert error.code == "timeout"


async def test_a_slow_head_is_cut() -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not stopped.wait(0.02):
            connection.sendall(b"X-More: x\r\n")

    stopped = threading.Event()
    with wire(drip) as server:
        try:
            assert (await error_of(server.url, timeout=0.2, retry_seconds=0)).code == "timeout"
        finally:
            stopped.set()


@pytest.mark.usefixtures("without_waiting")
async def test_a_time_out_may_pass(server: IndexServer) -> None:
    server.behave("/page", Behaviour(hold=threading.Event()))

    assert (await error_of(f"{server.url}/page", timeout=0.1)).code == "timeout"


# Size and encoding


def encoded(encoding: str, body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def raw_deflate(body: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"hello", mtime=0)),  # they name the tests, which all processes have to call the same
        ("GZIP", gzip.compress(b"hello", mtime=0)),
        ("x-gzip", gzip.compress(b"hello", mtime=0)),
        ("deflate", zlib.compress(b"hello")),
        ("deflate", raw_deflate(b"hello")),
        ("identity", b"hello"),
    ],
)
async def test_encodings(encoding: str, body: bytes) -> None:
    with wire(encoded(encoding, body)) as server:
        assert await get(server.url) == b"hello"


HELLO = (gzip.compress(b"hel"), gzip.compress(b""), gzip.compress(b"lo"))


@pytest.mark.parametrize(
    ("body", "size"),
    [
        pytest.param(b"".join(HELLO), 5, id="members"),
        pytest.param(b"\0".join(HELLO), 5, id="zeros between them"),
        pytest.param(b"".join(HELLO) + b"\0" * 100_000, 5, id="zeros after them"),
        pytest.param(zlib.compress(b"hello") + b"\0" * 512, 5, id="zeros after zlib's form"),
        pytest.param(b"".join(gzip.compress(os.urandom(1000), 0) for _ in range(500)), 500_000, id="many"),
    ],
)
async def test_several_members_are_one_body(body: bytes, size: int) -> None:
    """RFC 1952, section 2.2. Wherever they are cut into blocks."""
    with wire(encoded("deflate" if body[0] == 0x78 else "gzip", body)) as server:
        assert len(await get(server.url)) == size


@pytest.mark.parametrize("cut", range(1, len(b"".join(HELLO))))
async def test_members_may_be_cut_anywhere(cut: int) -> None:
    text = _Text(Url("https://example.com"), "gzip", 5)
    text.write(b"".join(HELLO)[:cut])
    text.write(b"".join(HELLO)[cut:])

    assert text.whole() == b"hello"


@pytest.mark.parametrize(
    ("encoding", "body", "code"),
    [
        pytest.param("gzip", gzip.compress(b"hello") + b"more", "invalid-encoding", id="text"),
        pytest.param("gzip", gzip.compress(b"hello") + b"\0\0m", "invalid-encoding", id="one letter"),
        pytest.param("gzip", gzip.compress(b"hello") + zlib.compress(b"more"), "invalid-encoding", id="another form"),
        pytest.param("gzip", b"".join(HELLO)[:-1], "invalid-encoding", id="cut"),
        pytest.param("gzip", b"".join(HELLO)[:-4] + b"\0" * 4, "invalid-encoding", id="a wrong check"),
        pytest.param("gzip", gzip.compress(b"") * 10_001, "invalid-encoding", id="too many"),
        pytest.param("deflate", zlib.compress(b"hello") * 2, "invalid-encoding", id="twice"),
        pytest.param("deflate", raw_deflate(b"hello") + b"more", "invalid-encoding", id="raw"),
        pytest.param("gzip", gzip.compress(b"x" * MIB) + gzip.compress(b"x"), "too-large", id="one byte too large"),
        pytest.param("gzip", gzip.compress(b"x" * (MIB - 9)) * 99, "too-large", id="all of them too large"),
        pytest.param("gzip", gzip.compress(b"hello") + b"\0" * 3 * MIB, "too-large", id="zeros without end"),
    ],
)
async def test_what_follows_a_member(encoding: str, body: bytes, code: str) -> None:
    with wire(encoded(encoding, body)) as server:
        error = await error_of(server.url)

        assert (type(error), error.code) == (SourceError, code)
        assert len(server.heads) == 1


async def test_no_body_at_all() -> None:
    with wire(encoded("gzip", b"")) as server:
        assert await get(server.url) == b""


@pytest.mark.parametrize(
    ("encoding", "body", "code"),
    [
        ("gzip", b"hello", "invalid-encoding"),
        ("gzip", gzip.compress(b"hello")[:-9], "invalid-encoding"),
        ("gzip", gzip.compress(b"hello")[:-8] + b"\0" * 8, "invalid-encoding"),
        ("br", b"hello", "unknown-encoding"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"hello")), "unknown-encoding"),
    ],
    ids=["not at all", "cut", "wrong check", "another", "twice"],
)
async def test_encodings_that_are_wrong(encoding: str, body: bytes, code: str) -> None:
    with wire(encoded(encoding, body)) as server:
        error = await error_of(server.url)

        assert (type(error), error.code) == (SourceError, code)
        assert len(server.heads) == 1


@pytest.mark.parametrize("body", [b"x" * (4 * MIB), b"x" * (MIB + 1)])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_body_that_is_too_large(encoding: str, body: bytes) -> None:
    with wire(encoded(encoding, gzip.compress(body) if encoding == "gzip" else body)) as server:
        error = await error_of(server.url)

        assert error.code == "too-large"
        assert str(error) == f"{server.url} is larger than {MIB} bytes"


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_body_that_is_just_not_too_large(encoding: str) -> None:
    body = b"x" * MIB
    with wire(encoded(encoding, gzip.compress(body) if encoding == "gzip" else body)) as server:
        assert await get(server.url) == body


async def test_a_bomb_takes_no_more_than_allowed() -> None:
    bomb = gzip.compress(b"\0" * (64 * MIB), 1)
    with wire(encoded("gzip", bomb)) as server:
        async with client_of() as client:
            tracemalloc.start()
            try:
                with pytest.raises(SourceError, match="larger than"):
                    await client.exchange(Exchange(url=Url(server.url)), text_of)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    assert peak < 16 * MIB


# Redirects


@pytest.mark.parametrize("target", ["{server}/page", "/page", "page", "../page", "//{netloc}/page", "?x=1", "/page#f"])
async def test_redirects(server: IndexServer, target: str) -> None:
    netloc = server.url.partition("//")[2]
    server.static("/here/there", b"hello")
    status = [Reply(302, headers={"Location": target.format(server=server.url, netloc=netloc)})]
    server.static("/here/page", b"hello")
    server.behave("/here/there", Behaviour(statuses=status))

    assert await get(f"{server.url}/here/there") == b"hello"
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_each_redirect(server: IndexServer, status: int) -> None:
    server.behave("/old", Behaviour(statuses=[Reply(status, headers={"Location": "/page"})]))
    read: list[Response] = []

    async def remember(response: Response) -> None:
        read.append(response)

    await get(f"{server.url}/old", remember)

    assert [str(response.url) for response in read] == [f"{server.url}/page"]


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://127.0.0.1/", "javascript:alert(1)", "http://[::1", "http://h:99999/"],
)
async def test_redirects_that_are_refused(server: IndexServer, target: str) -> None:
    server.behave("/page", Behaviour(redirect=target))

    error = await error_of(f"{server.url}/page", retry_seconds=0)

    assert (type(error), error.code) == (NetworkError, "forbidden-redirect")
    assert len(server.requests) == 1


async def test_a_redirect_without_target(server: IndexServer) -> None:
    server.behave("/page", Behaviour(statuses=[302]))

    assert (await error_of(f"{server.url}/page")).code == "http-302"


async def test_redirects_in_a_circle(server: IndexServer) -> None:
    server.behave("/page", Behaviour(redirect="/other"))
    server.behave("/other", Behaviour(redirect="/page"))

    assert "redirects more than 10 times" in str(await error_of(f"{server.url}/page"))
    assert len(server.requests) == 10


# Credentials


def basic(server: IndexServer) -> str:
    return server.url.replace("://", "://me:s3cret@")


def sent_to(server: IndexServer) -> list[bool]:
    """Of each request, whether it had credentials."""
    return ["authorization" in request.headers for request in server.requests]


NETRC = "machine 127.0.0.1 login me password s3cret"


@pytest.mark.parametrize("place", ["url", "index", "environment", "netrc"])
async def test_credentials(server: IndexServer, tmp_path: Path, place: str) -> None:
    server.behave("/page", Behaviour(require_auth=("me", "s3cret")))
    (tmp_path / "netrc").write_text(NETRC)
    index = Url(basic(server) if place == "index" else server.url)
    variables = {"FELLOE_INDEX_N_USERNAME": "me", "FELLOE_INDEX_N_PASSWORD": "s3cret"}
    credentials = Credentials(
        [("n", index)] if place in {"index", "environment"} else [],
        variables if place == "environment" else {},
        tmp_path / "netrc" if place == "netrc" else None,
    )

    url = basic(server) if place == "url" else server.url

    assert await get(f"{url}/page", credentials=credentials) == b"hello"
    assert sent_to(server) == [True]


@pytest.mark.parametrize("place", ["url", "index", "environment"])
async def test_credentials_of_another_port(server: IndexServer, place: str) -> None:
    with IndexServer() as other:
        other.static("/page", b"hello")
        credentials = Credentials(
            [("n", Url(basic(other) if place == "index" else other.url))],
            {"FELLOE_INDEX_N_USERNAME": "me", "FELLOE_INDEX_N_PASSWORD": "s3cret"} if place == "environment" else {},
            None,
        )
        if place == "url":
            server.behave("/page", Behaviour(redirect=f"{other.url}/page"))
            await get(f"{basic(server)}/page", credentials=Credentials((), {}, None))
            assert sent_to(server) == [True]
            assert sent_to(other) == [False]
        else:
            await get(f"{server.url}/page", credentials=credentials)
            assert sent_to(server) == [False]


async def test_a_redirect_within_the_origin_keeps_credentials(server: IndexServer) -> None:
    server.behave("/old", Behaviour(redirect="/page"))

    await get(f"{basic(server)}/old")

    assert sent_to(server) == [True, True]


@pytest.mark.parametrize("netrc", [True, False])
async def test_a_redirect_elsewhere_does_not(server: IndexServer, tmp_path: Path, netrc: bool) -> None:
    """netrc names hosts only: a server must not be able to ask for what is there by a plain redirect."""
    (tmp_path / "netrc").write_text(NETRC)
    with IndexServer() as other:
        other.static("/page", b"hello")
        server.behave("/page", Behaviour(redirect=f"{other.url}/page"))
        headers = {"Authorization": "Bearer s3cret", "cookie": "s3cret", "X-Token": "s3cret", "Accept": "text/html"}
        credentials = Credentials((), {}, tmp_path / "netrc" if netrc else None)

        await get(f"{server.url}/page", credentials=credentials, headers=headers)

        assert sent_to(server) == [True]
        (request,) = other.requests
        assert "s3cret" not in repr(request)
        assert sent_to(other) == [False]
        assert request.headers["accept"] == "text/html"


async def test_the_word_of_a_source_outranks_credentials(server: IndexServer) -> None:
    await get(f"{basic(server)}/page", headers={"Authorization": "Bearer its-own"})

    assert [request.headers["authorization"] for request in server.requests] == ["Bearer its-own"]


async def test_a_redirect_there_and_back(server: IndexServer) -> None:
    with IndexServer() as other:
        server.behave("/page", Behaviour(redirect=f"{other.url}/back"))
        other.behave("/back", Behaviour(redirect=f"{server.url}/end"))
        server.static("/end", b"hello")

        assert await get(f"{basic(server)}/page", credentials=Credentials([("n", Url(basic(server)))], {}, None))
        assert (sent_to(server), sent_to(other)) == ([True, True], [False])


async def test_secrets_are_in_no_error_and_no_event(server: IndexServer) -> None:
    server.behave("/page", Behaviour(statuses=[Reply(403, headers=AT_ONCE)]))
    events: list[Event] = []

    error = await error_of(f"{basic(server)}/page?token=s3cret", report=events.append)

    told = "".join(map(repr, [*events, error, error.hint, error.payload, error.__cause__, str(error)]))
    assert "/page" in told
    assert "s3cret" not in told


async def test_what_is_asked_for_without_credentials(server: IndexServer) -> None:
    server.behave("/page", Behaviour(require_auth=("me", "s3cret")))

    error = await error_of(f"{server.url}/page")

    assert error.code == "http-401"
    assert "netrc" in error.hint


async def test_an_extension_is_asked_by_whoever_is_refused(server: IndexServer) -> None:
    """While it thinks, no connection is held: one is all there is."""
    server.static("/free", b"hello")
    server.behave("/page", Behaviour(require_auth=("me", "s3cret"), redirect="/free"))
    begun, go_on, asked = anyio.Event(), anyio.Event(), []

    async def answer(url: Url) -> tuple[str, str]:
        asked.append(str(url))
        begun.set()
        await go_on.wait()
        return "me", "s3cret"

    credentials = Credentials((), {}, None, answer)
    async with client_of(credentials=credentials, concurrent=1) as client, anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(client.exchange, Exchange(url=Url(f"{server.url}/page")), text_of)
        await begun.wait()
        assert await client.exchange(Exchange(url=Url(f"{server.url}/free")), text_of) == b"hello"
        go_on.set()

    assert asked == [f"{server.url}/"]
    assert sorted(request.status for request in server.requests if request.path == "/page")[:3] == [302] * 3


@pytest.mark.parametrize("answer", [("me", "wrong"), None])
async def test_an_answer_that_is_refused_is_not_sent_again(server: IndexServer, answer: Any) -> None:
    server.behave("/page", Behaviour(require_auth=("me", "s3cret")))

    async def extension(url: Url) -> Any:
        return answer

    error = await error_of(f"{server.url}/page", credentials=Credentials((), {}, None, extension))

    assert error.code == "http-401"
    assert [request.status for request in server.requests] == [401] * (2 if answer else 1)
    assert error.__context__ is None  # nothing behind it knows what was sent


async def test_no_extension_is_asked_where_a_source_has_a_word_of_its_own(server: IndexServer) -> None:
    server.behave("/page", Behaviour(require_auth=("me", "s3cret")))

    async def extension(url: Url) -> Any:
        raise AssertionError

    credentials = Credentials((), {}, None, extension)
    error = await error_of(f"{server.url}/page", credentials=credentials, headers={"Authorization": "Bearer old"})

    assert error.code == "http-401"


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[IndexServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with IndexServer(ssl_context=context) as server:
        server.static("/page", b"hello")
        yield server


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return path


async def test_a_certificate_that_is_trusted(secure: IndexServer, certificate: Path) -> None:
    assert await get(f"{secure.url}/page", cert=certificate) == b"hello"


async def test_a_certificate_of_the_environment(
    secure: IndexServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    settings = settings_of(Config())

    assert await get(f"{secure.url}/page", cert=settings.cert, cert_folder=settings.cert_folder) == b"hello"


@pytest.mark.parametrize("other", [True, False])
async def test_a_certificate_that_is_not_trusted(secure: IndexServer, tmp_path: Path, other: bool) -> None:
    path = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(path)

    error = await error_of(f"{secure.url}/page", cert=path if other else None)

    assert (error.code, error.hint) == ("untrusted", "name the certificates to trust with --cert or SSL_CERT_FILE")
    assert secure.requests == []


async def test_a_certificate_of_another_host(authority: trustme.CA, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("example.com").configure_cert(context)
    with IndexServer(ssl_context=context) as server:
        assert (await error_of(f"{server.url}/page", cert=certificate)).code == "untrusted"


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_certificates_that_cannot_be_read(secure: IndexServer, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.pem"
    if content is not None:
        path.write_bytes(content)

    error = await error_of(f"{secure.url}/page", cert=path)

    assert error.code == "invalid-certificates"
    assert f"`{path}`" in str(error)


async def test_certificates_in_a_fifo_are_not_waited_for(secure: IndexServer, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    error = await error_of(f"{secure.url}/page", cert=tmp_path / "fifo")

    assert (error.code, str(error).endswith(": it is no regular file")) == ("invalid-certificates", True)


async def test_from_tls_to_plain_is_refused(server: IndexServer, secure: IndexServer, certificate: Path) -> None:
    secure.behave("/page", Behaviour(redirect=f"{server.url}/page"))

    assert (await error_of(f"{secure.url}/page", cert=certificate)).code == "forbidden-redirect"
    assert server.requests == []


async def test_from_plain_to_tls(server: IndexServer, secure: IndexServer, certificate: Path) -> None:
    server.behave("/page", Behaviour(redirect=f"{secure.url}/page"))

    assert await get(f"{server.url}/page", cert=certificate) == b"hello"


@pytest.mark.usefixtures("without_waiting")
async def test_a_plain_server_asked_for_tls(server: IndexServer) -> None:
    assert (await error_of(f"{server.url.replace('http', 'https')}/page")).code == "unreachable"


# Proxies


def with_userinfo(url: str, user: str = "me", password: str = "p%40ss") -> str:
    return url.replace("://", f"://{user}:{password}@")


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "configured"])
async def test_a_proxy(server: IndexServer, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with Proxy("me", "p@ss").running() as proxy:
        address = with_userinfo(proxy.url)
        proxies = {"http": Url(address)} if name == "configured" else {}
        if not proxies:
            monkeypatch.setenv(name, address)

        assert await get(f"{server.url}/page", proxies=proxies) == b"hello"

    assert [head.split("\r\n")[0] for head in proxy.heads] == [f"GET {server.url}/page HTTP/1.1"]
    assert "proxy-authorization" not in server.requests[0].headers


async def test_a_proxy_of_tls(secure: IndexServer, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy("me", "p@ss").running() as proxy:
        monkeypatch.setenv("https_proxy", with_userinfo(proxy.url))

        url = with_userinfo(secure.url, "you", "s3cret")
        assert await get(f"{url}/page", cert=certificate) == b"hello"

    assert [head.split(" ")[0] for head in proxy.heads] == ["CONNECT"]
    assert "\r\nauthorization:" not in proxy.heads[0].lower()
    assert sent_to(secure) == [True]


@pytest.mark.usefixtures("without_waiting")
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_refuses(server: IndexServer, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    with Proxy("me", "p@ss").running() as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", with_userinfo(proxy.url, "me", "wr0ng"))

        error = await error_of(f"{server.url.replace('http', scheme)}/page")

    assert "407" in str(error)
    assert "wr0ng" not in f"{error!r}{error.payload}{error.__cause__!r}"
    assert server.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:{port}", "other,127.0.0.1", "*"])
async def test_hosts_without_proxy(server: IndexServer, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with wire(hang_up) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", host.format(port=Url(server.url).port))

        assert await get(f"{server.url}/page") == b"hello"
        assert proxy.heads == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:{port}", "*", "127.0.0.2", "0.0.1", "127.0.0.1:1"])
async def test_hosts_without_the_configured_proxy(server: IndexServer, host: str) -> None:
    no_proxy = ("other", host.format(port=Url(server.url).port))
    with Proxy("me", "p@ss").running() as proxy:
        proxies = {"http": Url(with_userinfo(proxy.url))}
        assert await get(f"{server.url}/page", proxies=proxies, no_proxy=no_proxy) == b"hello"

    assert bool(proxy.heads) == (host in {"127.0.0.2", "0.0.1", "127.0.0.1:1"})


HOSTS = [
    ("http://example.com/", "example.com", True),
    ("http://example.com/", ".example.com", True),
    ("http://example.com/", "EXAMPLE.com", True),
    ("http://example.com/", " example.com ", True),
    ("http://files.example.com/", "example.com", True),
    ("http://a.files.example.com/", ".example.com", True),
    ("http://FILES.example.com/", "com", True),
    ("https://files.example.com/", "example.com:443", True),
    ("https://files.example.com:8443/", "example.com:8443", True),
    ("https://files.example.com:8443/", "example.com", True),
    ("https://files.example.com/", "*", True),
    ("https://files.example.com:8443/", "example.com:443", False),
    ("http://example.com/", "files.example.com", False),
    ("http://badexample.com/", "example.com", False),
    ("http://example.com.example.org/", "example.com", False),
    ("http://example.com/", "", False),
    ("http://example.com/", "*.com", False),
    ("http://192.0.2.1/", "192.0.2.1", True),
    ("http://192.0.2.1/", "92.0.2.1", False),
    ("http://[2001:db8::1]/", "2001:db8::1", True),
    ("http://[2001:db8::1]/", "2001:db8::2", False),
]


@pytest.mark.parametrize(("url", "name", "expected"), HOSTS)
def test_which_hosts_are_exempt(url: str, name: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the environment's own `no_proxy` is read."""
    monkeypatch.setenv("no_proxy", name)

    assert is_exempt(Url(url), ["localhost", name]) is expected
    assert bool(proxy_bypass(f"{Url(url).host}:{Url(url).port}")) is expected


@pytest.mark.parametrize(
    ("url", "name", "expected"),
    [
        ("http://192.0.2.1/", "2.1", False),
        ("http://[2001:db8::1]:8080/", "[2001:db8::1]", True),
        ("http://[2001:db8::1]:8080/", "[2001:db8::1]:8080", True),
        ("http://[2001:db8::1]:8080/", "[2001:db8::1]:80", False),
        ("http://example.com./", "example.com", True),
        ("http://example.com./", "", False),
    ],
)
def test_which_hosts_are_exempt_as_curl_has_it(url: str, name: str, expected: bool) -> None:
    assert is_exempt(Url(url), [name]) is expected


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1", "ftp://127.0.0.1:1", "http://me:s3cret@[::1", "http://"])
async def test_a_proxy_that_is_none(server: IndexServer, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("http_proxy", address)

    error = await error_of(f"{server.url}/page")

    assert isinstance(error, ConfigError)
    assert error.hint == "a proxy has to be http://host:port or https://host:port"
    assert "s3cret" not in f"{error}{error.__cause__}"


# Connections


class Counting(BaseHTTPRequestHandler):
    """Lets requests go on only when as many are there as are expected at the same time; counts the most there were."""

    protocol_version = "HTTP/1.1"
    together: threading.Barrier
    most = now = 0
    lock = threading.Lock()

    def do_GET(self) -> None:
        with self.lock:
            type(self).now += 1
            type(self).most = max(self.most, self.now)
        self.together.wait(30)
        with self.lock:
            type(self).now -= 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


async def test_no_more_requests_at_once_than_allowed() -> None:
    handler = type("Handler", (Counting,), {"together": threading.Barrier(3)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        url = Url(f"http://127.0.0.1:{server.server_address[1]}/")
        try:
            async with client_of(concurrent=3) as client, anyio.create_task_group() as group:
                for _ in range(12):
                    group.start_soon(client.exchange, Exchange(url=url), text_of)
        finally:
            server.shutdown()
            thread.join()

    assert (handler.most, handler.now) == (3, 0)  # type: ignore[attr-defined]


async def test_connections_are_used_again_and_closed_at_the_end(server: IndexServer) -> None:
    async with client_of() as client:
        for _ in range(3):
            await client.exchange(Exchange(url=Url(f"{server.url}/page")), text_of)
        assert connected_to(server.url) == 1
    for _ in range(5):
        await anyio.lowlevel.checkpoint()  # asyncio closes a socket in its next turns

    assert connected_to(server.url) == 0


@pytest.mark.parametrize("reply", [OK, CUT, encoded("gzip", b"no"), b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno"])
async def test_no_connection_is_left_open_after_an_error(reply: bytes) -> None:
    with wire(reply) as server:
        for read in (text_of, _unread):
            with_error = reply != OK
            async with client_of(retry_seconds=0) as client:
                try:
                    await client.exchange(Exchange(url=Url(server.url)), read)
                except FelloeError:
                    assert with_error
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            assert connected_to(server.url) == 0


async def _unread(_response: Response) -> None:
    """Leaves the body where it is."""


async def test_a_cancelled_request_leaves_no_connection(server: IndexServer) -> None:
    reached, hold = threading.Event(), threading.Event()
    server.behave("/page", Behaviour(reached=reached, hold=hold))

    async with client_of() as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.exchange, Exchange(url=Url(f"{server.url}/page")), text_of)
            await anyio.to_thread.run_sync(reached.wait)
            group.cancel_scope.cancel()
        hold.set()
        server.behave("/page", Behaviour())
        assert await client.exchange(Exchange(url=Url(f"{server.url}/page")), text_of) == b"hello"


async def test_the_order_of_headers_and_who_we_are(server: IndexServer) -> None:
    headers: Mapping[str, str] = {"accept": "text/html"}

    await get(f"{server.url}/page", headers=headers, user_agent="felloe/1")

    (request,) = server.requests
    assert request.headers["accept"] == "text/html"
    assert request.headers["user-agent"] == "felloe/1"
