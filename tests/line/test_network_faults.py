"""The line over an index that misbehaves: what is asked, what is answered, what is left behind."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import stamina
from attrs import frozen

from felloe import Answer, Config, Database, HashMismatchError, NetworkError, OfflineError, SourceError, Url
from felloe.config import Limits, SourceSettings
from felloe.errors import ArchiveError, FelloeError, ProjectNotFound
from felloe.hookspecs import GROUP
from felloe.testing import Behaviour, IndexServer, Project, Reply, make_sdist, make_wheel
from tests.fixtures.pypi import LoopbackPyPI
from tests.fixtures.wire import connected_to, wire

pytestmark = pytest.mark.anyio

PAGE = "/simple/acme/"
WHEEL = "/files/acme-1.0-py3-none-any.whl"
SIDECAR = f"{WHEEL}.metadata"
JSON = "application/vnd.pypi.simple.v1+json"
SOME = 2**20


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


# The scene


@frozen(kw_only=True)
class Scene:
    folder: Path
    settings: SourceSettings

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def database(self, **options: Any) -> Database:
        """A run of its own on the one cache."""
        fixed = {"replaced_kinds": frozenset({"pypi"}), "limits": Limits(max_retry_seconds=0)}
        config = Config(sources=(self.settings,), cache_dir=self.cache, **{**fixed, **options})
        is_pypi = self.settings.kind == "pypi"
        stand_in = EntryPoint("pypi", f"{LoopbackPyPI.__module__}:{LoopbackPyPI.__qualname__}", GROUP)
        return Database(config, sources=[stand_in] if is_pypi else None)

    async def metadata(self, *requirements: str, **options: Any) -> list[Answer]:
        async with self.database(**options) as database:
            return [await database.metadata(requirement) for requirement in requirements]

    async def error(self, requirement: str = "acme", *, wheel: bool = False, **options: Any) -> FelloeError:
        async with self.database(**options) as database:
            with pytest.raises(FelloeError) as raised:
                await (database.wheel(requirement) if wheel else database.metadata(requirement))
        return raised.value

    @property
    def left_behind(self) -> list[Path]:
        """Files that nobody should find after an error: half a download, an archive of wrong bytes."""
        places = ["scratch", "archives-v0", "wheel-metadata-v0", "built-wheel-metadata-v0"]
        return [path for place in places for path in (self.cache / place).rglob("*") if path.is_file()]


def scene_of(folder: Path, *, kind: str = "index", **settings: Any) -> Scene:
    return Scene(folder=folder, settings=SourceSettings(name="n", kind=kind, settings=settings))


@pytest.fixture
def server() -> Iterator[IndexServer]:
    with IndexServer() as server:
        yield server


@pytest.fixture
def scene(server: IndexServer, tmp_path: Path) -> Scene:
    return scene_of(tmp_path, url=Url(server.index_url))


def make(folder: Path, version: str = "1.0", name: str = "acme", **fields: Any) -> Path:
    return make_wheel(folder, Project(name, version, **fields))


# Pages


async def test_a_busy_index(server: IndexServer, scene: Scene, tmp_path: Path) -> None:
    server.add(make(tmp_path), sidecar=True)
    busy = Behaviour(statuses=[Reply(503, headers={"Retry-After": "0"})])
    server.behave("*", busy)

    await scene.metadata("acme", limits=Limits())

    assert [(request.path, request.status) for request in server.requests] == [
        (PAGE, 503),
        (PAGE, 200),
        (SIDECAR, 503),
        (SIDECAR, 200),
    ]


@pytest.mark.parametrize("encoding", [None, "gzip"])
async def test_a_page_that_is_too_large(
    server: IndexServer, scene: Scene, tmp_path: Path, encoding: str | None
) -> None:
    page = b'{"meta": {"api-version": "1.0"}, "name": "acme", "files": []}' + b" " * 20 * SOME
    headers = {"Content-Type": JSON, **({"Content-Encoding": encoding} if encoding else {})}
    server.static(PAGE, gzip.compress(page) if encoding else page, headers)

    error = await scene.error(limits=Limits(max_page_bytes=SOME, max_retry_seconds=0))

    assert (type(error), error.code) == (SourceError, "too-large")
    assert not list((scene.cache / "http-v0").rglob("*"))


async def test_a_compressed_page(server: IndexServer, scene: Scene, tmp_path: Path) -> None:
    server.add(make(tmp_path), sidecar=True)
    server.behave(PAGE, Behaviour(content_encoding="gzip", etag="auto"))

    await scene.metadata("acme")
    (answer,) = await scene.metadata("acme")

    assert answer.cached
    assert [request.status for request in server.requests if request.path == PAGE] == [200, 304]


@pytest.mark.parametrize("status", [200, 304])
async def test_a_304_that_nobody_asked_for(server: IndexServer, scene: Scene, tmp_path: Path, status: int) -> None:
    """With validators that are not those of the page we have, the page is asked for again; without any page, never."""
    server.add(make(tmp_path), sidecar=True)
    if status == 200:
        server.behave(PAGE, Behaviour(etag='"one"'))
        await scene.metadata("acme")
        server.clear()
    server.behave(PAGE, Behaviour(etag='"two"', statuses=[Reply(304, headers={"ETag": '"two"'})]))

    if status == 200:
        await scene.metadata("acme")
        assert [request.status for request in server.requests] == [304, 200]
    else:
        assert (await scene.error()).code == "http-304"


async def test_the_page_of_a_redirect(server: IndexServer, scene: Scene, tmp_path: Path) -> None:
    """Relative links are relative to where the page came from."""
    wheel = make(tmp_path)
    server.static("/elsewhere/acme/", f'<a href="{wheel.name}">x</a>'.encode(), {"Content-Type": "text/html"})
    server.static(f"/elsewhere/acme/{wheel.name}", wheel.read_bytes())
    server.behave(PAGE, Behaviour(redirect="/elsewhere/acme/"))

    for _ in range(2):
        (answer,) = await scene.metadata("acme")

    assert answer.metadata.name == "acme"
    assert f"/elsewhere/acme/{wheel.name}" in server.paths


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_credentials_of_the_index_for_its_files(server: IndexServer, tmp_path: Path, elsewhere: bool) -> None:
    """The files get them where they are of the same origin, and not where they are of another port."""
    scene = scene_of(tmp_path, url=Url(server.index_url.replace("://", "://me:s3cret@")))
    wheel = make(tmp_path)
    with IndexServer() as other:
        other.add(wheel)
        server.add(wheel, url=f"{other.url}{WHEEL}" if elsewhere else None)
        server.behave("*", Behaviour(require_auth=("me", "s3cret")))

        async with scene.database() as database:
            await database.metadata("acme")
            await database.wheel("acme")

        assert all("authorization" in request.headers for request in server.requests)
        assert not any("authorization" in request.headers for request in other.requests)
        assert bool(other.requests) == elsewhere
    assert not [path for path in scene.cache.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]


async def test_a_slow_page(server: IndexServer, scene: Scene, tmp_path: Path) -> None:
    server.add(make(tmp_path))
    server.behave(PAGE, Behaviour(drip=0.01))

    assert (await scene.error(timeout=0.3)).code == "timeout"


@pytest.mark.parametrize(
    "answer", [b"", b"220 mail.example.com ESMTP\r\n", b"\x16\x03\x01\x02\0", b"HTTP/1.1 200 OK\r\n\r\n"]
)
async def test_a_server_of_something_else(tmp_path: Path, answer: bytes) -> None:
    with wire(answer) as other:
        error = await scene_of(tmp_path, url=Url(f"{other.url}/simple/")).error()

    assert isinstance(error, NetworkError | SourceError)
    assert error.hint


# Ranges


@pytest.mark.parametrize("size", [True, False])
@pytest.mark.parametrize("ranges", ["ignore", 400, 405, 416, 501])
async def test_ranges_refused(tmp_path: Path, ranges: Any, size: bool) -> None:
    with IndexServer() as server:
        scene = scene_of(tmp_path, url=Url(server.index_url))
        for name in ("acme", "other"):
            server.add(make(tmp_path, name=name, padding=SOME), size=size)
        server.behave("/files/*", Behaviour(ranges=ranges))

        answers = await scene.metadata("acme", "other")

    assert [answer.rung for answer in answers] == ["wheel", "wheel"]
    # A whole file in place of a part is the download; what is refused is asked for again.
    files = [request for request in server.requests if request.path.startswith("/files/")]
    assert ["range" in request.headers for request in files] == [True, *[False] * (1 if ranges == "ignore" else 2)]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Range": "bytes 5-9/100"},
        {"Content-Range": "bytes 0-0/*"},
        {"Content-Range": "bytes */100"},
        {"Content-Range": "0-0/100"},
        {"Content-Range": "bytes 0-0/100", "Content-Encoding": "gzip"},
        {"Content-Type": "multipart/byteranges; boundary=x"},
    ],
)
async def test_a_part_that_is_not_the_one(tmp_path: Path, headers: dict[str, str]) -> None:
    with IndexServer() as server:
        server.add(make(tmp_path, padding=SOME), size=False)
        server.behave(WHEEL, Behaviour(statuses=[Reply(206, headers=headers, body=b"P")]))

        (answer,) = await scene_of(tmp_path, url=Url(server.index_url)).metadata("acme")

    assert answer.rung == "wheel"
    assert server.paths == [PAGE, WHEEL, WHEEL]


@pytest.mark.parametrize("body", [b"", b"PK"])
async def test_a_part_of_another_length(server: IndexServer, scene: Scene, tmp_path: Path, body: bytes) -> None:
    server.add(make(tmp_path, padding=SOME), size=False)
    server.behave(WHEEL, Behaviour(statuses=[Reply(206, headers={"Content-Range": "bytes 0-0/99"}, body=body)]))

    assert isinstance(await scene.error(), NetworkError | SourceError)
    assert scene.left_behind == []


@pytest.mark.parametrize(
    "first", [{"Content-Range": "bytes 0-0/{size}", "ETag": '"old"'}, {"Content-Range": "bytes 0-0/99999"}]
)
async def test_a_file_that_changes_between_two_parts(
    server: IndexServer, scene: Scene, tmp_path: Path, first: dict[str, str]
) -> None:
    wheel = make(tmp_path, padding=SOME)
    server.add(wheel, size=False)
    headers = {name: value.format(size=wheel.stat().st_size) for name, value in first.items()}
    server.behave(WHEEL, Behaviour(etag='"new"', statuses=[Reply(206, headers=headers, body=b"P")]))

    error = await scene.error()

    assert (error.code, str(error)) == ("changed", f"{server.url}{WHEEL} changed while it was read")
    assert scene.left_behind == []


async def test_a_page_that_lies_about_the_size(tmp_path: Path) -> None:
    wheel = make(tmp_path, padding=SOME)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with IndexServer() as server:
        server.add(wheel)
        file = {"filename": wheel.name, "url": f"{server.url}{WHEEL}", "hashes": {"sha256": digest}, "size": 99}
        page = {"meta": {"api-version": "1.1"}, "name": "acme", "versions": ["1.0"], "files": [file]}
        server.page("acme", json.dumps(page).encode(), JSON)

        (answer,) = await scene_of(tmp_path, url=Url(server.index_url)).metadata("acme")

    assert (answer.rung, answer.metadata.version) == ("wheel", "1.0")
    assert server.paths == [PAGE, WHEEL, WHEEL]


async def test_what_is_no_wheel(server: IndexServer, scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "acme-1.0-py3-none-any.whl"
    path.write_bytes(b"no wheel" * 1000)
    server.add(path)

    assert isinstance(await scene.error(), ArchiveError)
    assert scene.left_behind == []


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_a_file_that_is_not_given(server: IndexServer, scene: Scene, tmp_path: Path, status: int) -> None:
    server.add(make(tmp_path))
    server.behave(WHEEL, Behaviour(statuses=[status] * 2))

    error = await scene.error()

    assert (type(error), error.code) == (NetworkError, f"http-{status}")
    assert server.paths == [PAGE, WHEEL]


# Sidecars


async def test_a_sidecar_of_other_bytes(server: IndexServer, scene: Scene, tmp_path: Path) -> None:
    server.add(make(tmp_path), sidecar=True)
    server.static(SIDECAR, b"Metadata-Version: 2.1\nName: acme\nVersion: 1.0\nRequires-Dist: evil\n")

    error = await scene.error()

    assert isinstance(error, HashMismatchError)
    assert SIDECAR in str(error)
    assert scene.left_behind == []


async def test_a_sidecar_that_is_too_large(server: IndexServer, scene: Scene, tmp_path: Path) -> None:
    server.add(make(tmp_path), sidecar=True)
    server.static(SIDECAR, b"x" * (17 * SOME))

    assert (await scene.error()).code == "too-large"
    assert scene.left_behind == []


@pytest.mark.parametrize(
    ("kind", "sidecar", "asked"),
    [
        ("pypi", None, [SIDECAR]),
        ("pypi", True, [SIDECAR]),
        ("pypi", False, [WHEEL]),
        ("index", None, [WHEEL]),
        ("index", True, [SIDECAR]),
        ("index", False, [WHEEL]),
    ],
)
async def test_which_sidecars_are_tried(
    server: IndexServer, tmp_path: Path, kind: str, sidecar: bool | None, asked: list[str]
) -> None:
    """PyPI has them for every wheel, whether the page says so or not; other indexes have those that they list."""
    wheel = make(tmp_path)
    server.add(wheel, sidecar=sidecar)
    if not sidecar:
        server.static(SIDECAR, b"Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    scene = scene_of(tmp_path, kind=kind, url=Url(server.index_url))

    (answer,) = await scene.metadata("acme")

    assert server.paths == [PAGE, *asked]
    assert answer.rung == ("sidecar" if asked == [SIDECAR] else "range")


@pytest.mark.parametrize("status", [401, 403])
async def test_a_sidecar_that_is_refused(server: IndexServer, scene: Scene, tmp_path: Path, status: int) -> None:
    """As object stores answer for what is not there."""
    server.add(make(tmp_path, padding=SOME), sidecar=True)
    server.behave(SIDECAR, Behaviour(statuses=[status]))

    (answer,) = await scene.metadata("acme")

    assert answer.rung == "range"
    assert server.paths == [PAGE, SIDECAR, WHEEL]


async def test_a_wheel_that_is_refused_like_its_sidecar(server: IndexServer, scene: Scene, tmp_path: Path) -> None:
    server.add(make(tmp_path), sidecar=True)
    server.behave("/files/*", Behaviour(statuses=[403] * 2))

    error = await scene.error()

    assert (error.code, str(error)) == ("http-403", f"source `n`: {server.url}{WHEEL} answered 403")
    assert server.paths == [PAGE, SIDECAR, WHEEL]


async def test_a_sidecar_that_the_server_fails_to_give(server: IndexServer, scene: Scene, tmp_path: Path) -> None:
    server.add(make(tmp_path), sidecar=True)
    server.behave(SIDECAR, Behaviour(statuses=[500]))

    assert (await scene.error()).code == "http-500"
    assert server.paths == [PAGE, SIDECAR]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_that_there_are_no_sidecars_is_remembered_for_the_run(
    server: IndexServer, tmp_path: Path, status: int
) -> None:
    scene = scene_of(tmp_path, kind="pypi", url=Url(server.index_url))
    names = ["acme", "other", "third"]
    for name in names:
        server.add(make(tmp_path, name=name))
    server.behave("*.metadata", Behaviour(statuses=[status] * 3))

    await scene.metadata(*names)

    assert [path for path in server.paths if path.endswith(".metadata")] == [SIDECAR]
    assert len(server.requests) == 1 + 2 * len(names)


# Downloads


async def test_a_file_of_other_bytes(server: IndexServer, scene: Scene, tmp_path: Path) -> None:
    server.add(make(tmp_path))
    server.static(WHEEL, make(tmp_path / "evil", requires_dist=["evil"]).read_bytes())

    error = await scene.error(wheel=True)

    assert isinstance(error, HashMismatchError)
    assert scene.left_behind == []


@pytest.mark.parametrize("cut", [0, 1, SOME])
async def test_a_file_that_is_cut(server: IndexServer, scene: Scene, tmp_path: Path, cut: int) -> None:
    server.add(make(tmp_path, padding=2 * SOME))
    server.behave(WHEEL, Behaviour(truncate_at=cut))

    with stamina.set_testing(True, attempts=100, cap=True):
        error = await scene.error(wheel=True, limits=Limits())

    assert (type(error), error.code) == (NetworkError, "unreachable")
    assert server.paths == [PAGE, *[WHEEL] * 4]
    assert scene.left_behind == []


async def test_a_file_that_says_it_is_compressed(server: IndexServer, scene: Scene, tmp_path: Path) -> None:
    """Some servers say so of every `.gz`, and mean the file itself: it is kept as it was sent."""
    sdist = make_sdist(tmp_path, Project("acme", "1.0"))
    server.add(sdist)
    server.behave("/files/*", Behaviour(headers={"Content-Encoding": "gzip"}))

    (answer,) = await scene.metadata("acme")

    assert answer.rung == "pkg-info"
    assert [request.headers["accept-encoding"] for request in server.requests][1:] == ["identity"]


async def test_a_cancelled_download_leaves_nothing(server: IndexServer, tmp_path: Path) -> None:
    """Half of the body has been written when it is cancelled."""

    def half(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 1_000_000)
        ended.wait()

    ended = threading.Event()
    scene = scene_of(tmp_path, url=Url(server.index_url))
    with wire(half) as files:
        server.add(make(tmp_path), url=f"{files.url}{WHEEL}")
        try:
            async with scene.database() as database:
                async with anyio.create_task_group() as group:
                    group.start_soon(database.wheel, "acme")
                    await _until_written(scene)
                    group.cancel_scope.cancel()
                assert scene.left_behind == []
        finally:
            ended.set()

    assert scene.left_behind == []
    assert not list((scene.cache / "scratch").iterdir())


async def _until_written(scene: Scene) -> None:
    with anyio.fail_after(30):
        while not any(path.stat().st_size for path in scene.left_behind):  # noqa: ASYNC110  # for a file
            await anyio.sleep(0.005)


async def test_a_closed_database_has_no_connection(server: IndexServer, scene: Scene, tmp_path: Path) -> None:
    server.add(make(tmp_path))

    async with scene.database() as database:
        await database.metadata("acme")
        assert connected_to(server.url) == 1
    for _ in range(5):
        await anyio.lowlevel.checkpoint()  # asyncio closes a socket in its next turns

    assert connected_to(server.url) == 0


async def test_after_an_error_the_next_answer_is_right(server: IndexServer, scene: Scene, tmp_path: Path) -> None:
    server.add(make(tmp_path, padding=SOME))
    server.behave(WHEEL, Behaviour(truncate_at=SOME // 2))

    async with scene.database() as database:
        with pytest.raises(NetworkError):
            await database.wheel("acme")
        server.behave(WHEEL, Behaviour())
        wheel = await database.wheel("acme")
        assert hashlib.sha256(wheel.path.read_bytes()).hexdigest() == wheel.sha256


# Folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def links_to(folder: Path) -> Scene:
    return scene_of(folder.parent, find_links=Url(folder.as_uri()))


async def test_a_folder_of_files(folder: Path) -> None:
    make(folder)
    make(folder, "2.0")
    make_sdist(folder, Project("acme", "3.0"))
    (folder / "readme.txt").write_text("no distribution")

    async with links_to(folder).database() as database:
        versions = {dist.version for dist in await database.find("acme")}
        answer = await database.metadata("acme<3")

    assert versions == {"1.0", "2.0", "3.0"}
    assert answer.metadata.version == "2.0"


@pytest.mark.parametrize("form", ["html", "json", "listing"])
async def test_an_index_in_a_folder(folder: Path, form: str) -> None:
    """PEP 503 as files, with an index file or without."""
    wheel = make(folder / "acme")
    if form == "html":
        (folder / "acme" / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    if form == "json":
        file = f'{{"filename": "{wheel.name}", "url": "{wheel.name}", "hashes": {{}}}}'
        (folder / "acme" / "index.json").write_text(
            f'{{"meta": {{"api-version": "1.0"}}, "name": "acme", "files": [{file}]}}'
        )
    scene = scene_of(folder.parent, url=Url(folder.as_uri()))

    (answer,) = await scene.metadata("acme")

    assert answer.metadata.version == "1.0"
    assert isinstance(await scene.error("other"), ProjectNotFound)


async def test_folders_need_no_network(folder: Path) -> None:
    wheel = make(folder)

    async with links_to(folder).database(offline=True) as database:
        assert (await database.metadata("acme")).metadata.version == "1.0"
        assert (await database.wheel("acme")).path.read_bytes() == wheel.read_bytes()


@pytest.mark.parametrize("first", ["metadata", "wheel"])
async def test_a_file_that_changes_in_its_folder(folder: Path, first: str) -> None:
    scene = links_to(folder)
    make(folder, requires_dist=["old"])
    async with scene.database() as database:
        await getattr(database, first)("acme")
    new = make(folder, requires_dist=["new"])

    async with scene.database() as database:
        answer = await database.metadata("acme")
        wheel = await database.wheel("acme")
        assert wheel.path.read_bytes() == new.read_bytes()

    assert answer.metadata.requires_dist == ("new",)


@pytest.mark.parametrize("first", ["metadata", "wheel"])
async def test_a_file_that_changes_without_a_new_time_or_size(folder: Path, first: str) -> None:
    scene = links_to(folder)
    old = make(folder, requires_dist=["old"])
    before = old.stat()
    async with scene.database() as database:
        await getattr(database, first)("acme")
    names = (f"new{number}" for number in range(1000))  # hashes compress differently well
    name = next(name for name in names if make(folder, requires_dist=[name]).stat().st_size == before.st_size)
    os.utime(old, ns=(before.st_atime_ns, before.st_mtime_ns))

    (answer,) = await scene.metadata("acme")

    assert answer.metadata.requires_dist == (name,)


async def test_a_folder_that_is_touched_is_read_once(folder: Path) -> None:
    scene = links_to(folder)
    wheel = make(folder)
    async with scene.database() as database:
        await database.wheel("acme")
    os.utime(wheel, ns=(1, 1))

    _, answer = await scene.metadata("acme", "acme")

    assert answer.cached


async def test_a_folder_that_is_gone(folder: Path) -> None:
    scene = links_to(folder)
    make(folder)
    await scene.metadata("acme")
    shutil.rmtree(folder)

    assert (await scene.error()).code == "project-not-found"


async def test_what_is_no_file_in_a_folder(folder: Path) -> None:
    """A FIFO would be waited for."""
    os.mkfifo(folder / "acme-1.0-py3-none-any.whl")

    assert isinstance(await links_to(folder).error(), ProjectNotFound)


async def test_what_is_no_file_in_an_index(folder: Path) -> None:
    (folder / "acme").mkdir()
    name = "acme-1.0-py3-none-any.whl"
    os.mkfifo(folder / "acme" / name)
    (folder / "acme" / "index.html").write_text(f'<a href="{name}">{name}</a>')
    scene = scene_of(folder.parent, url=Url(folder.as_uri()))

    assert "is not a regular file" in str(await scene.error())
    assert "is not a regular file" in str(await scene.error(wheel=True))


# Offline


async def test_offline(server: IndexServer, scene: Scene, tmp_path: Path) -> None:
    server.add(make(tmp_path), sidecar=True)
    server.add(make(tmp_path, name="other"), sidecar=True)
    await scene.metadata("acme")
    server.clear()

    (answer,) = await scene.metadata("acme", offline=True)

    assert answer.cached
    assert isinstance(await scene.error("acme", wheel=True, offline=True), OfflineError)
    assert isinstance(await scene.error("other", offline=True), OfflineError)
    assert server.requests == []
