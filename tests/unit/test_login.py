"""Headers of a source's own: who gets them, when they are asked for, how often, and that they are left nowhere."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from felloe import Config, Database, NetworkError, OfflineError, Url
from felloe.config import Limits
from felloe.context import ItemContext, Owner
from felloe.errors import FelloeError, SourceError
from felloe.plugin import Login
from felloe.testing import Behaviour, IndexServer, Project, Reply, make_wheel
from felloe.values import Entry, Fresh, Headers, Stale
from tests.fixtures.line import Told, files_below

pytestmark = pytest.mark.anyio

NAME = "acme-1.0-py3-none-any.whl"
FILE = f"/files/{NAME}"
TOKEN = "t0k3n"
OWN = {"Authorization": f"Bearer {TOKEN}", "X-Acme": TOKEN}
OLD = Entry(validators={"status": 200, "headers": {}, "vary": {}, "requested": 0, "received": 0})


async def get(ctx: ItemContext, url: Url, headers: Headers | None) -> bytes:
    return (await ctx.http.get(url, headers=headers)).body


async def read(ctx: ItemContext, url: Url, headers: Headers | None) -> bytes:
    return await ctx.http.read(url, max_bytes=10**6, headers=headers) or b""


async def download(ctx: ItemContext, url: Url, headers: Headers | None) -> bytes:
    return (await ctx.download(url, NAME, headers=headers)).path.read_bytes()


async def revalidate(ctx: ItemContext, url: Url, headers: Headers | None) -> bytes:
    verdict = await ctx.revalidate(url, NAME, OLD, headers=headers)
    assert isinstance(verdict, Stale)
    assert verdict.fetched is not None
    return verdict.fetched.path.read_bytes()


async def wheel_metadata(ctx: ItemContext, url: Url, headers: Headers | None) -> bytes:
    raw = await ctx.wheel_metadata(url, NAME, headers=headers)
    return b"" if raw is None else raw.bytes


Door = Callable[[ItemContext, Url, "Headers | None"], Awaitable[bytes]]
DOORS: list[Door] = [get, read, download, revalidate, wheel_metadata]
every_door = pytest.mark.parametrize("door", DOORS)


class Scene:
    """A server with one wheel, which wants a token, and a cache. Each `context` is an item of the source `acme`."""

    def __init__(self, folder: Path, server: IndexServer, other: IndexServer) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.server = server
        self.other = other
        self.told = Told()
        self.given = 0
        self.failures: list[Exception] = []
        self.url = Url(f"{server.url}{FILE}")
        self.bearer: str | None = None
        for each in (server, other):
            each.add(make_wheel(folder, Project("acme", "1.0", padding=100_000)))
        self.want(TOKEN)

    def want(self, token: str, **behaviour: Any) -> None:
        self.server.behave(FILE, Behaviour(require_auth=token, etag="auto", **behaviour))

    def database(self, **options: Any) -> Database:
        fixed = {"cache_dir": self.cache, "replaced_kinds": frozenset({"pypi"}), "limits": Limits(max_retry_seconds=0)}
        return Database(Config(**{**fixed, **options}), sources=[], reporter=self.told)

    def context(self, database: Database) -> ItemContext:
        return ItemContext(database.services, Owner("acme", "acme", "https://example.com/"), newer_than=None)

    def login(self, url: Url | None = None) -> Login:
        return Login(url=url or self.url, headers=self.log_in, hint="correct `secret`")

    async def log_in(self, ctx: object) -> Mapping[str, str]:
        """Those of the server that are good by now, unless something fails first."""
        self.given += 1
        await anyio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop()
        return {"authorization": f"Bearer {self.bearer or TOKEN}", "x-number": str(self.given)}

    async def ask(self, door: Door, headers: Headers | None, url: Url | None = None, **options: Any) -> bytes:
        """As one run."""
        async with self.database(**options) as database:
            with self.context(database) as ctx:
                return await door(ctx, url or self.url, headers)

    def headers(self, name: str, server: IndexServer | None = None) -> list[str | None]:
        return [request.headers.get(name) for request in (server or self.server).requests]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with IndexServer() as server, IndexServer() as other:
        yield Scene(tmp_path, server, other)


# Who gets them


@every_door
async def test_they_are_sent(scene: Scene, door: Door) -> None:
    assert await scene.ask(door, OWN)
    assert set(scene.headers("x-acme")) == {TOKEN}


@every_door
@pytest.mark.parametrize("logs_in", [False, True])
async def test_no_other_origin_that_it_redirects_to_gets_them(scene: Scene, door: Door, logs_in: bool) -> None:
    scene.server.behave("/moved", Behaviour(redirect=f"{scene.other.url}{FILE}"))

    assert await scene.ask(door, scene.login() if logs_in else OWN, Url(f"{scene.server.url}/moved"))

    assert set(scene.headers("authorization")) == {f"Bearer {TOKEN}"}
    seen = {name for request in scene.other.requests for name in request.headers}
    assert seen.isdisjoint({"authorization", "x-acme", "x-number"})


@every_door
async def test_a_login_is_for_its_own_server(scene: Scene, door: Door) -> None:
    """Whatever a listing links to."""
    assert await scene.ask(door, scene.login(), Url(f"{scene.other.url}{FILE}"))

    assert set(scene.headers("authorization", scene.other)) == {None}
    assert scene.given == 0


async def test_what_the_core_says_is_not_changed(scene: Scene) -> None:
    await scene.ask(wheel_metadata, {**OWN, "Range": "bytes=0-1", "Accept-Encoding": "gzip"})

    assert set(scene.headers("accept-encoding")) == {"identity"}
    assert "bytes=0-1" not in scene.headers("range")


# How often


@every_door
async def test_twenty_log_in_once_and_once_more_where_the_token_has_expired(scene: Scene, door: Door) -> None:
    answers: list[bytes] = []

    async def ask(database: Database) -> None:
        with scene.context(database) as ctx:
            answers.append(await door(ctx, scene.url, scene.login()))

    async with scene.database() as database:
        for expected in (1, 2, 2):
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(ask, database)
            assert scene.given == (1 if door is revalidate else expected)  # whose answer is that of the run
            if expected == 1:
                scene.bearer = "next"
                scene.want("next")

    assert len(answers) == 60
    assert len(set(answers)) == 1


@every_door
async def test_who_is_refused_again_is_told_what_to_correct(scene: Scene, door: Door) -> None:
    scene.bearer = "wrong"
    with pytest.raises(SourceError) as raised:
        await scene.ask(door, scene.login())

    assert (raised.value.code, raised.value.hint) == ("login-refused", "correct `secret`")
    assert str(raised.value) == f"source `acme` cannot log in: {scene.url} answered 401"
    assert (scene.given, len(scene.server.requests)) == (2, 2)


@every_door
@pytest.mark.parametrize("status", [401, 403])
async def test_so_is_who_may_not_log_in(scene: Scene, door: Door, status: int) -> None:
    scene.failures = [NetworkError("no", status=status)]
    with pytest.raises(SourceError, match="`acme` cannot log in: no"):
        await scene.ask(door, scene.login())

    assert (scene.given, scene.server.requests) == (1, [])


@pytest.mark.parametrize("status", [403, 500])
async def test_any_other_answer_is_what_it_is(scene: Scene, status: int) -> None:
    scene.server.behave(FILE, Behaviour(statuses=[status]))
    with pytest.raises(NetworkError) as raised:
        await scene.ask(download, scene.login())

    assert (raised.value.code, scene.given) == (f"http-{status}", 1)


@every_door
async def test_without_a_login_a_401_is_final(scene: Scene, door: Door) -> None:
    with pytest.raises(NetworkError) as raised:
        await scene.ask(door, {"authorization": "Bearer wrong"})

    assert (raised.value.code, len(scene.server.requests)) == ("http-401", 1)


async def test_who_comes_after_a_failure_tries_again(scene: Scene) -> None:
    scene.failures = [NetworkError("not now", status=503)]
    async with scene.database() as database:
        with scene.context(database) as ctx:
            with pytest.raises(NetworkError, match="not now"):
                await read(ctx, scene.url, scene.login())
            assert await read(ctx, scene.url, scene.login())

    assert scene.given == 2


async def test_where_one_is_cancelled_the_next_logs_in(scene: Scene) -> None:
    answers: list[bytes] = []
    scopes: list[anyio.CancelScope] = []

    async def slow(ctx: object) -> Mapping[str, str]:
        scene.given += 1
        if scene.given == 1:
            scopes[0].cancel()
        await anyio.lowlevel.checkpoint()
        return OWN

    login = Login(url=scene.url, headers=slow)

    async def ask(database: Database) -> None:
        with anyio.CancelScope() as scope, scene.context(database) as ctx:
            scopes.append(scope)
            answers.append(await read(ctx, scene.url, login))

    async with scene.database() as database, anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask, database)

    assert (scene.given, len(answers)) == (2, 2)


# When: not before a request has to be sent


async def test_for_what_is_fresh_nobody_logs_in(scene: Scene) -> None:
    """The page is kept for the user whom its address names."""
    scene.want(TOKEN, cache_control="max-age=600")
    named = Url(str(scene.url).replace("://", "://web@"))
    pages = [await scene.ask(get, scene.login(), named) for _ in range(2)]

    assert pages[0] == pages[1]
    assert (scene.given, len(scene.server.requests)) == (1, 1)


async def test_nor_for_a_file_that_is(scene: Scene) -> None:
    scene.want(TOKEN, cache_control="max-age=600")
    named = Url(str(scene.url).replace("://", "://web@"))
    async with scene.database() as database:
        with scene.context(database) as ctx:
            fetched = await ctx.download(named, NAME, headers=scene.login())
            entry = Entry(validators=fetched.validators)
            verdict = await ctx.revalidate(named, NAME, entry, headers=scene.login())

            unknown = await ctx.revalidate(named, NAME, Entry(), headers=scene.login())

    assert (type(verdict), type(unknown)) == (Fresh, Stale)
    assert (scene.given, len(scene.server.requests)) == (1, 1)


async def test_nor_offline(scene: Scene) -> None:
    before = await scene.ask(get, scene.login())

    assert await scene.ask(get, scene.login(), offline=True) == before
    for door in (read, download, wheel_metadata):
        with pytest.raises(OfflineError):
            await scene.ask(door, scene.login(), offline=True)
    assert scene.given == 1


# Whose page it is


@pytest.mark.parametrize("headers", [OWN, {"X-Acme": TOKEN}])
async def test_the_page_of_one_is_not_that_of_another(scene: Scene, headers: Mapping[str, str]) -> None:
    """Though its server says that it may be kept, and nothing of whom it is for."""
    for token, body in ((headers, b"mine"), (dict.fromkeys(headers, "other"), b"yours"), (None, b"public")):
        page = Reply(200, headers={"Cache-Control": "max-age=600"}, body=body)
        scene.server.behave("/page", Behaviour(statuses=[page]))
        assert await scene.ask(get, token, Url(f"{scene.server.url}/page")) == body


async def test_nor_for_one_who_asks_at_the_same_time(scene: Scene) -> None:
    found: dict[str, bytes | str] = {}

    async def ask(database: Database, token: str) -> None:
        try:
            with scene.context(database) as ctx:
                found[token] = await get(ctx, scene.url, {"authorization": f"Bearer {token}"})
        except FelloeError as error:
            found[token] = error.code

    async with scene.database() as database, anyio.create_task_group() as group:
        for token in ("wrong", TOKEN):
            group.start_soon(ask, database, token)

    assert found["wrong"] == "http-401"
    assert isinstance(found[TOKEN], bytes)


async def test_the_page_is_asked_about_and_not_sent_again(scene: Scene) -> None:
    """With another token, too: it is a new one, as a rule."""
    first = await scene.ask(get, scene.login())
    scene.bearer = "next"
    scene.want("next")

    assert await scene.ask(get, scene.login()) == first
    assert [request.status for request in scene.server.requests] == [200, 304]


async def test_a_file_of_one_is_asked_about_for_another(scene: Scene) -> None:
    scene.want(TOKEN, cache_control="max-age=600")
    async with scene.database() as database:
        with scene.context(database) as ctx:
            entry = Entry(validators=(await ctx.download(scene.url, NAME, headers=OWN)).validators)
            await ctx.revalidate(scene.url, NAME, entry, headers=OWN)

    assert [request.status for request in scene.server.requests] == [200, 304]


# Nowhere else


def shown(error: BaseException | None) -> str:
    """An error with all that it carries."""
    parts = []
    while error is not None:
        parts += [repr(error), str(vars(error)), *traceback.format_exception(error)]
        error = error.__cause__ or error.__context__
    return "".join(parts)


@every_door
@pytest.mark.parametrize("logs_in", [False, True])
@pytest.mark.parametrize("status", [None, 401, 500])
async def test_they_are_left_nowhere(
    scene: Scene, door: Door, logs_in: bool, status: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    scene.want(TOKEN, headers={"Vary": "Authorization, X-Acme"}, statuses=[status] * 3 if status else [])
    headers = scene.login() if logs_in else OWN
    told = [repr(headers)] if logs_in else []
    with caplog.at_level(logging.DEBUG):
        async with scene.database() as database:
            with scene.context(database) as ctx:
                try:
                    await door(ctx, scene.url, headers)
                except FelloeError as error:
                    told.append(shown(error))
                told += [repr(ctx), repr(vars(ctx)), repr(database.services), repr(vars(database.services.memory))]
                told += [path.read_text("latin-1") for path in ctx.scratch.rglob("*") if path.is_file()]
    told += [caplog.text, *(repr(record.args) for record in caplog.records), repr(scene.told.events)]
    told += [f"{name} {(scene.cache / name).read_text('latin-1')}" for name in files_below(scene.cache)]

    assert "httpcore" in caplog.text
    assert set(scene.headers("authorization")) == {f"Bearer {TOKEN}"}
    for secret in (TOKEN, base64.b64encode(TOKEN.encode()).decode().rstrip("=")):
        assert secret not in "".join(told)


UNFIT: list[dict[str, str]] = [
    {"authorization": f"Bearer {TOKEN}\n"},
    {"authorization": f"Bearer {TOKEN}\r\nx-acme: 1"},
    {"authorization": f"Bearer {TOKEN}\u20ac"},
    {"authorization": f" {TOKEN}"},
    {"authorization": f"{TOKEN}\0"},
    {f"{TOKEN}: ": "1"},
    {"": TOKEN},
]


@pytest.mark.parametrize(
    ("door", "headers"), [*((door, UNFIT[0]) for door in DOORS), *((read, each) for each in UNFIT)]
)
@pytest.mark.parametrize("logs_in", [False, True])
async def test_one_that_cannot_be_sent_is_an_error_that_does_not_show_it(
    scene: Scene, door: Door, logs_in: bool, headers: Mapping[str, str]
) -> None:
    async def bad(ctx: object) -> Mapping[str, str]:
        return headers

    with pytest.raises(SourceError) as raised:
        await scene.ask(door, Login(url=scene.url, headers=bad) if logs_in else headers)

    assert raised.value.code == "invalid-header"
    assert TOKEN not in str(raised.value) + repr(raised.value) + raised.value.hint + str(raised.value.payload)
    assert scene.server.requests == []
