"""One body is enough: where the whole wheel comes in place of a part, and where two items ask for the same at once."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import anyio.to_thread
import pytest
import stamina
from anyio.abc import TaskGroup

from felloe import Answer, Database, HashMismatchError, NetworkError, SourceError, Url
from felloe.config import Limits
from felloe.context import ItemContext, Owner
from felloe.errors import CacheError, FelloeError
from felloe.net.credentials import Credentials
from felloe.net.download import Downloads
from felloe.testing import Behaviour, IndexServer, Project, Reply, make_wheel
from felloe.values import Fetched
from tests.fixtures.line import Told, config_of, files_below, own_sources
from tests.fixtures.wire import wire

pytestmark = pytest.mark.anyio

PAGE = "/simple/acme/"
NAME = "acme-1.0-py3-none-any.whl"
FILE = f"/files/{NAME}"
TEXT = b"Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n"
SOME = 200_000
WHOLE = Behaviour(ranges="ignore")


class Scene:
    """An index that gives no parts of files, and a cache."""

    def __init__(self, folder: Path, server: IndexServer) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.server = server
        self.told = Told()

    @asynccontextmanager
    async def database(self, **options: Any) -> AsyncIterator[Database]:
        """A run of its own; it knows the interpreter already."""
        config = config_of(self.cache, self.server, **options)
        async with Database(config, reporter=self.told, sources=own_sources()) as database:
            database.interpreter()
            yield database

    async def ask(self, **options: Any) -> Answer:
        async with self.database(**options) as database:
            return await database.metadata("acme")

    async def error(self, **options: Any) -> FelloeError:
        with pytest.raises(FelloeError) as raised:
            await self.ask(**options)
        return raised.value

    def add(self, **listing: Any) -> Path:
        wheel = make_wheel(self.folder, Project("acme", "1.0", padding=SOME))
        self.server.add(wheel, **listing)
        return wheel

    def left_behind(self) -> list[str]:
        return files_below(self.cache, "scratch", "archives-v0", "wheel-metadata-v0")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with IndexServer() as server:
        server.behave("/files/*", WHOLE)
        yield Scene(tmp_path, server)


@contextmanager
def item_of(database: Database) -> Iterator[ItemContext]:
    with ItemContext(database.services, Owner("one", "index", "https://example.com/"), newer_than=None) as ctx:
        yield ctx


# One request, one body


@pytest.mark.parametrize("hashes", [True, False, {"md5": "right"}, {"sha512": "right", "sha256": "right"}])
@pytest.mark.parametrize("size", [True, False])
async def test_it_is_the_download(scene: Scene, hashes: Any, size: bool) -> None:
    wheel = scene.add()
    content = wheel.read_bytes()
    if isinstance(hashes, dict):
        hashes = {algorithm: hashlib.new(algorithm, content).hexdigest() for algorithm in hashes}
    scene.server.add(wheel, hashes=hashes, size=size)

    answer = await scene.ask()

    assert (answer.rung, answer.cached, answer.metadata.version) == ("wheel", False, "1.0")
    assert [(request.path, request.sent) for request in scene.server.requests[1:]] == [(FILE, len(content))]
    assert [event.data["bytes"] for event in scene.told.events if event.code == "download"] == [len(content)]
    assert [path.read_bytes() for path in (scene.cache / "archives-v0").rglob("*.whl")] == [content]
    assert files_below(scene.cache, "scratch") == []


async def test_it_is_known_from_then_on(scene: Scene) -> None:
    scene.add()
    await scene.ask()
    scene.server.clear()

    async with scene.database() as database:
        answer, wheel = await database.metadata("acme"), await database.wheel("acme")

    assert answer.cached
    assert wheel.cached
    assert scene.server.paths == []


async def test_its_validators_are_those_of_a_download(scene: Scene) -> None:
    scene.server.behave("/files/*", Behaviour(ranges="ignore", etag="auto"))
    scene.add(hashes=False)
    await scene.ask()
    scene.server.clear()

    assert (await scene.ask()).cached
    assert [(request.path, request.status) for request in scene.server.requests] == [(FILE, 304)]


async def test_of_other_files_no_part_is_asked_for_in_this_run(scene: Scene) -> None:
    names = ("acme", "other", "third")
    for name in names:
        scene.server.add(make_wheel(scene.folder, Project(name, "1.0")))

    async with scene.database() as database:
        for name in names:
            assert (await database.metadata(name)).rung == "wheel"

    files = [request for request in scene.server.requests if request.path.startswith("/files/")]
    assert ["range" in request.headers for request in files] == [True, False, False]


async def test_only_in_place_of_the_first_part(tmp_path: Path) -> None:
    """A server that gives one part and then the whole is not to be trusted about which file that is."""
    with IndexServer() as server:
        scene = Scene(tmp_path, server)
        size = scene.add(size=False).stat().st_size
        first = Reply(206, headers={"Content-Range": f"bytes 0-0/{size}"}, body=b"P")
        server.behave("/files/*", Behaviour(ranges="ignore", statuses=[first]))

        assert (await scene.ask()).rung == "wheel"

    # The server's log is complete when it has ended: one of these replies was not read to its end.
    files = [request for request in server.requests if request.path == FILE]
    assert sorted("range" in request.headers for request in files) == [False, True, True]


async def test_the_file_is_handed_out_once(scene: Scene) -> None:
    """Whoever got it may move it away."""
    url = Url(scene.server.add(scene.add()))

    async with scene.database() as database:
        with item_of(database) as ctx:
            assert await ctx.wheel_metadata(url, NAME) is None
            first = await ctx.download(url, NAME)
            first.path.unlink()
            again = await ctx.download(url, NAME)
            assert (again.path, again.content) == (first.path, first.content)
            assert again.path.is_file()

    assert scene.server.paths == [FILE, FILE]


# What can be wrong with it


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
async def test_other_bytes_than_the_page_says(scene: Scene, algorithm: str) -> None:
    scene.add(hashes={algorithm: "0" * hashlib.new(algorithm).digest_size * 2})

    assert isinstance(await scene.error(), HashMismatchError)
    assert scene.server.paths == [PAGE, FILE]
    assert scene.left_behind() == []


async def test_other_bytes_than_a_source_asks_for(scene: Scene) -> None:
    url = Url(scene.server.add(scene.add()))

    async with scene.database() as database:
        with item_of(database) as ctx:
            await ctx.wheel_metadata(url, NAME)
            with pytest.raises(HashMismatchError, match=FILE):
                await ctx.download(url, NAME, {"sha256": "0" * 64})

    assert scene.server.paths == [FILE]


@pytest.mark.parametrize("cut", [0, 1, SOME])
async def test_a_body_that_is_cut_each_time(scene: Scene, cut: int) -> None:
    scene.add()
    scene.server.behave("/files/*", Behaviour(ranges="ignore", truncate_at=cut))

    with stamina.set_testing(True, attempts=100, cap=True):
        error = await scene.error(limits=Limits())

    assert (type(error), error.code) == (NetworkError, "unreachable")
    assert scene.server.paths == [PAGE, *[FILE] * 4]
    assert scene.left_behind() == []


async def test_a_body_that_is_cut_once(scene: Scene) -> None:
    wheel = scene.add()
    content = wheel.read_bytes()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
    with wire(head + content[:SOME], head + content) as files, stamina.set_testing(True, attempts=100, cap=True):
        scene.server.add(wheel, url=f"{files.url}{FILE}")
        answer = await scene.ask(limits=Limits())

    assert answer.rung == "wheel"
    assert ["range: " in request.lower() for request in files.heads] == [True, True]
    assert [path.read_bytes() for path in (scene.cache / "archives-v0").rglob("*.whl")] == [content]


async def test_a_disk_without_room(scene: Scene) -> None:
    """A limit on the size of files stands for the disk."""
    scene.add()

    with small_files(SOME // 2):
        error = await scene.error()

    assert isinstance(error, CacheError)
    assert "File too large" in str(error)
    assert scene.left_behind() == []
    assert (await scene.ask()).rung == "wheel"


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("max_bytes", [SOME, SOME * 2])
async def test_it_may_be_as_large_as_a_download(scene: Scene, max_bytes: int) -> None:
    from felloe.net.client import Client, NetSettings

    url = Url(scene.server.add(scene.add()))
    client = Client(NetSettings(), Credentials((), {}, None), scene.told.report)

    async def connected() -> Client:
        return client

    downloads = Downloads(connected, scene.told.report, lambda: 0.0, max_bytes, lambda: scene.folder)
    try:
        found = await downloads.wheel_metadata(url, NAME, None, lambda: scene.folder / "target")
    except SourceError as error:
        found = error.code
    await client.aclose()

    assert found == "too-large" if max_bytes == SOME else isinstance(found, Fetched)


# Two items that ask for the same at once

Asking = Callable[[ItemContext], Awaitable[Any]]


class Asked:
    """Two items that have asked, and wait for one reply that is held."""

    def __init__(self, database: Database) -> None:
        self.scopes = [anyio.CancelScope(), anyio.CancelScope()]
        self.given: list[Any] = [None, None]
        self.hold = Event()
        self._database = database
        self._reached = Event()

    def behaviour(self, **others: Any) -> Behaviour:
        return Behaviour(hold=self.hold, reached=self._reached, **others)

    async def wait(self, ask: Asking, group: TaskGroup) -> None:
        for number in range(2):
            group.start_soon(self._one, number, ask)
            await anyio.to_thread.run_sync(self._reached.wait)
        await anyio.wait_all_tasks_blocked()

    async def _one(self, number: int, ask: Asking) -> None:
        with self.scopes[number], item_of(self._database) as ctx:
            self.given[number] = await ask(ctx)


@pytest.mark.parametrize("size", [True, False])
async def test_parts_are_asked_for_once(scene: Scene, size: bool) -> None:
    wheel = scene.add()
    url = Url(scene.server.add(wheel))

    async with scene.database() as database:
        asked = Asked(database)
        scene.server.behave(FILE, asked.behaviour())
        async with anyio.create_task_group() as group:
            await asked.wait(lambda ctx: ctx.wheel_metadata(url, NAME, wheel.stat().st_size if size else None), group)
            asked.hold.set()

    one, other = asked.given
    assert one == other
    assert one.rung == "range"
    assert scene.server.paths == [FILE] * (1 if size else 2)


async def test_a_sidecar_is_asked_for_once_and_compared_for_each(scene: Scene) -> None:
    url = Url(scene.server.add(scene.add(), sidecar=True)).with_suffix(".metadata")
    expected = iter(["0" * 64, hashlib.sha256(TEXT).hexdigest()])
    scene.server.static(f"{FILE}.metadata", TEXT)

    async def ask(ctx: ItemContext) -> Any:
        try:
            return await ctx.http.read(url, max_bytes=1000, hashes={"sha256": next(expected)})
        except HashMismatchError as error:
            return error.code

    async with scene.database() as database:
        asked = Asked(database)
        scene.server.behave(f"{FILE}.metadata", asked.behaviour())
        async with anyio.create_task_group() as group:
            await asked.wait(ask, group)
            asked.hold.set()

    assert asked.given == ["hash-mismatch", TEXT]
    assert scene.server.paths == [f"{FILE}.metadata"]


async def fetched(ctx: ItemContext, url: Url) -> Any:
    """Whether METADATA came, and the file that `download` gives after that, with the folder of the item."""
    raw = await ctx.wheel_metadata(url, NAME)
    found = await ctx.download(url, NAME)
    return raw, found.path.is_relative_to(ctx.scratch), found.path.stat().st_size


@pytest.mark.parametrize("cancelled", [True, False])
async def test_the_whole_belongs_to_the_one_that_asked(scene: Scene, cancelled: bool) -> None:
    """The other item has its own, in its own folder; so it does where the first is cancelled."""
    wheel = scene.add()
    url = Url(scene.server.add(wheel))

    async with scene.database() as database:
        asked = Asked(database)
        scene.server.behave(FILE, asked.behaviour(ranges="ignore"))
        async with anyio.create_task_group() as group:
            await asked.wait(lambda ctx: fetched(ctx, url), group)
            if cancelled:
                asked.scopes[0].cancel()
            asked.hold.set()

    own = (None, True, wheel.stat().st_size)
    assert asked.given == [None if cancelled else own, own]
    assert cancelled or len(scene.server.requests) == 2


async def test_of_two_items_of_one_wheel_one_downloads(scene: Scene) -> None:
    scene.add()

    async with scene.database() as database:
        outcomes = [outcome async for outcome in database.metadata_many(["acme", "acme==1.0"])]

    assert [outcome.value.metadata.version for outcome in outcomes] == ["1.0", "1.0"]
    assert scene.server.paths == [PAGE, FILE]
