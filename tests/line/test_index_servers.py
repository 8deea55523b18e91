"""The line against index servers that people run: pypiserver (HTML, a password) and devpi-server (JSON)."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from attrs import frozen

from felloe import Answer, Config, Database, HashMismatchError, NetworkError, ProjectNotFound, Url
from felloe.config import Limits, SourceSettings
from felloe.testing import IndexServer, Project, SourceContract, make_sdist, make_wheel
from felloe_pypi import SimpleIndex
from tests.fixtures.index_servers import Devpi, LogEntry, PyPIServer, start_devpi, start_pypiserver
from tests.fixtures.line import own_sources
from tests.fixtures.plugins import NO_FILES

pytestmark = pytest.mark.anyio

SOME = 2**18
MINUTE = 60.0
LOGIN = ("reader", "s3cr3t p@ss")
NAMES = (f"acme-{number:04}" for number in itertools.count())  # the servers live on from test to test
SERVERS = ["pypiserver", "devpi"]


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


# The scene


@pytest.fixture(scope="session")
def pypiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PyPIServer]:
    with start_pypiserver(tmp_path_factory.mktemp("pypiserver") / "server", LOGIN, "--overwrite") as server:
        yield server


@pytest.fixture(scope="session")
def devpi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devpi]:
    with start_devpi(tmp_path_factory.mktemp("devpi") / "server") as server:
        yield server


@frozen(kw_only=True)
class Index:
    """An index on one of the servers; `url` is with the login that it needs."""

    server: PyPIServer | Devpi
    name: str
    url: str

    def upload(self, file: Path) -> None:
        self.server.upload(self.name, file)

    def asked(self) -> list[tuple[str, int]]:
        """What was asked of this index so far: `page` or the name of a file, and the status of the reply."""
        names = (self.name, self.name.replace("-", "_"))
        entries = [entry for entry in self.server.entries() if entry.method == "GET"]
        return [_told(entry) for entry in entries if any(name in entry.path for name in names)]


def _told(entry: LogEntry) -> tuple[str, int]:
    return entry.path.rpartition("/")[2] or "page", entry.status


def on_pypiserver(server: PyPIServer) -> Index:
    user, password = map(quote, server.login)
    return Index(server=server, name=next(NAMES), url=server.index_url.replace("://", f"://{user}:{password}@"))


def on_devpi(server: Devpi) -> Index:
    name = next(NAMES)
    return Index(server=server, name=name, url=server.stage(name))


@pytest.fixture
def index(request: pytest.FixtureRequest) -> Index:
    """On the server that the test names; each test has a project of its own, which is named like the index."""
    server = request.getfixturevalue(request.param)
    return on_devpi(server) if isinstance(server, Devpi) else on_pypiserver(server)


on_each = pytest.mark.parametrize("index", SERVERS, indirect=True)


class Scene:
    """Runs on one cache, at a time of their own, which starts with that of the servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = time.time()

    def database(self, *indexes: str, **options: Any) -> Database:
        sources = [
            SourceSettings(name=f"index{number}", kind="index", settings={"url": Url(url)}, origin="a test")
            for number, url in enumerate(indexes)
        ]
        fixed = {"replaced_kinds": frozenset({"pypi"}), "limits": Limits(max_retry_seconds=0)}
        config = Config(sources=tuple(sources), cache_dir=self.folder / "cache", **{**fixed, **options})
        return Database(config, sources=own_sources(), clock=lambda: self.now)

    async def metadata(self, requirement: str, *indexes: str, **options: Any) -> Answer:
        async with self.database(*indexes, **options) as database:
            return await database.metadata(requirement)

    def wheel(self, name: str, version: str = "1.0", **fields: Any) -> Path:
        return make_wheel(self.folder / "made", Project(name, version, **fields))

    def sdist(self, name: str, version: str = "1.0", **fields: Any) -> Path:
        return make_sdist(self.folder / "made", Project(name, version, **fields))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


# What is there


@on_each
async def test_every_file_is_listed_with_its_hash(scene: Scene, index: Index) -> None:
    files = [scene.wheel(index.name), scene.sdist(index.name), scene.wheel(index.name, "1.1")]
    for file in files:
        index.upload(file)

    async with scene.database(index.url) as database:
        dists = await database.find(index.name)

    assert {dist.filename: dist.hashes for dist in dists} == {file.name: {"sha256": sha256(file)} for file in files}
    assert sorted((dist.version, dist.kind) for dist in dists) == [("1.0", "sdist"), ("1.0", "wheel"), ("1.1", "wheel")]
    assert {dist.locator["url"].origin for dist in dists} == {Url(index.url).origin}
    assert index.asked() == [("page", 200)]


@on_each
async def test_a_wheel_and_an_sdist_are_fetched_once(scene: Scene, index: Index) -> None:
    wheel, sdist = scene.wheel(index.name, requires_dist=["zlib-ng"]), scene.sdist(index.name, requires_dist=["tomli"])
    index.upload(wheel)
    index.upload(sdist)

    for cached in (False, True):
        async with scene.database(index.url) as database:
            dists = {dist.kind: dist for dist in await database.find(index.name)}
            found = await database.wheel(dists["wheel"])
            answer = await database.metadata(dists["sdist"])
            assert (sha256(found.path), found.sha256, found.cached) == (sha256(wheel), sha256(wheel), cached)
            assert found.metadata.requires_dist == ("zlib-ng",)
            assert (answer.metadata.requires_dist, answer.rung, answer.cached) == (("tomli",), "pkg-info", cached)

    assert index.asked() == [("page", 200), (wheel.name, 200), (sdist.name, 200)]


@pytest.mark.parametrize(
    ("index", "rung", "statuses"),
    [("pypiserver", "range", [206, 206, 200]), ("devpi", "wheel", [200])],
    indirect=["index"],
)
async def test_metadata_of_a_wheel_by_ranges_where_they_are_honoured(
    scene: Scene, index: Index, rung: str, statuses: list[int]
) -> None:
    wheel = scene.wheel(index.name, padding=SOME, requires_dist=["zlib-ng"])
    index.upload(wheel)

    async with scene.database(index.url) as database:
        answer = await database.metadata(index.name)
        found = await database.wheel(index.name)

    assert (answer.rung, answer.metadata.requires_dist) == (rung, ("zlib-ng",))
    assert found.sha256 == sha256(wheel)
    assert index.asked() == [("page", 200), *((wheel.name, status) for status in statuses)]


async def test_a_sidecar_of_devpi(scene: Scene, tmp_path: Path) -> None:
    """It lists `core-metadata` without a hash."""
    with start_devpi(tmp_path / "devpi", "--enable-core-metadata") as server:
        index = on_devpi(server)
        wheel = scene.wheel(index.name, padding=SOME, requires_dist=["zlib-ng"])
        index.upload(wheel)

        answer = await scene.metadata(index.name, index.url)

        assert (answer.rung, answer.metadata.requires_dist) == ("sidecar", ("zlib-ng",))
        assert index.asked() == [("page", 200), (f"{wheel.name}.metadata", 200)]


async def test_what_a_mirror_of_devpi_says_is_yanked(scene: Scene, devpi: Devpi) -> None:
    """Of its own indexes devpi has no such word, but it hands on that of another."""
    name = next(NAMES)
    with IndexServer() as upstream:
        upstream.add(scene.wheel(name))
        upstream.add(scene.wheel(name, "1.1"), yanked="broken")
        upstream.static(
            "/simple/", f'<!DOCTYPE html><a href="{name}/">{name}</a>'.encode(), {"Content-Type": "text/html"}
        )
        url = devpi.mirror(name, upstream.index_url)

        async with scene.database(url) as database:
            dists = await database.find(name)
            answer = await database.metadata(name)

    assert {dist.version: dist.yanked for dist in dists} == {"1.0": False, "1.1": "broken"}
    assert answer.metadata.version == "1.0"


# What has changed


@on_each
async def test_a_page_is_asked_for_again_after_ten_minutes(scene: Scene, index: Index) -> None:
    """Neither server says for how long its pages are good, or sends a validator."""
    index.upload(scene.wheel(index.name))
    await scene.metadata(index.name, index.url)
    cold = len(index.asked())

    scene.now += 9 * MINUTE
    assert (await scene.metadata(index.name, index.url)).cached
    assert index.asked()[cold:] == []

    scene.now += 2 * MINUTE
    assert (await scene.metadata(index.name, index.url)).cached
    assert index.asked()[cold:] == [("page", 200)]


async def test_a_file_without_a_hash_is_asked_for_by_its_date(scene: Scene, tmp_path: Path) -> None:
    with start_pypiserver(tmp_path / "server", LOGIN, "--hash-algo=no") as server:
        index = on_pypiserver(server)
        wheel = scene.wheel(index.name)
        index.upload(wheel)

        for cached in (False, True):
            async with scene.database(index.url) as database:
                found = await database.wheel(index.name)
                assert (found.sha256, found.cached) == (sha256(wheel), cached)

        assert index.asked()[-1] == (wheel.name, 304)
        assert {status for _, status in index.asked()[:-1]} <= {200, 206}


@on_each
async def test_an_upload_is_seen_by_who_refreshes(scene: Scene, index: Index) -> None:
    index.upload(scene.wheel(index.name))
    await scene.metadata(index.name, index.url)
    index.upload(scene.wheel(index.name, "1.1"))
    scene.now += MINUTE

    assert (await scene.metadata(index.name, index.url)).metadata.version == "1.0"
    assert (await scene.metadata(index.name, index.url, refresh=True)).metadata.version == "1.1"
    assert index.asked().count(("page", 200)) == 2


@on_each
async def test_other_bytes_of_the_same_name(scene: Scene, index: Index) -> None:
    """Both servers allow it, as they are configured here."""
    index.upload(scene.wheel(index.name, requires_dist=["old"]))
    await scene.metadata(index.name, index.url)
    index.upload(scene.wheel(index.name, requires_dist=["new"]))
    scene.now += MINUTE

    answer = await scene.metadata(index.name, index.url, refresh=True)

    assert (answer.metadata.requires_dist, answer.cached) == (("new",), False)


async def test_bytes_that_are_not_those_on_the_page(scene: Scene, pypiserver: PyPIServer) -> None:
    index = on_pypiserver(pypiserver)
    index.upload(scene.wheel(index.name))
    async with scene.database(index.url) as database:
        await database.find(index.name)
    index.upload(scene.wheel(index.name, requires_dist=["evil"]))

    async with scene.database(index.url) as database:
        with pytest.raises(HashMismatchError, match="sha256"):
            await database.wheel(index.name)


# Who may ask


@pytest.mark.parametrize(("login", "status"), [("", 401), ("reader:wr0ng@", 403), ("nobody:wr0ng@", 403)])
async def test_who_has_no_right_login_is_told_so(
    scene: Scene, pypiserver: PyPIServer, devpi: Devpi, login: str, status: int
) -> None:
    """And nobody else is asked."""
    index, other = on_pypiserver(pypiserver), on_devpi(devpi)
    index.upload(scene.wheel(index.name))

    with pytest.raises(NetworkError) as raised:
        await scene.metadata(index.name, pypiserver.index_url.replace("://", f"://{login}"), other.url)

    error = raised.value
    assert str(error) == f"source `index0`: {pypiserver.index_url}{index.name}/ answered {status}"
    assert error.code == f"http-{status}"
    assert "FELLOE_INDEX_INDEX0_USERNAME" in error.hint
    assert "wr0ng" not in f"{error!r} {vars(error)}"
    assert index.asked() == [("page", status)]
    assert other.asked() == []


async def test_a_login_from_the_environment(scene: Scene, pypiserver: PyPIServer, tmp_path: Path) -> None:
    index = on_pypiserver(pypiserver)
    wheel = scene.wheel(index.name)
    index.upload(wheel)
    (tmp_path / "felloe.toml").write_text(f'[[index]]\nname = "acme"\nurl = "{pypiserver.index_url}"\n')
    user, password = LOGIN
    login = {"FELLOE_INDEX_ACME_USERNAME": user, "FELLOE_INDEX_ACME_PASSWORD": password}
    config = Config.load(environ={**NO_FILES, **login}, cwd=tmp_path, cache_dir=tmp_path / "cache")

    async with Database(config, sources=own_sources()) as database:
        found = await database.wheel(index.name)

    assert found.sha256 == sha256(wheel)
    kept = b"".join(file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file())
    assert b"s3cr3t" not in kept


@pytest.mark.parametrize("first", SERVERS)
async def test_a_project_that_one_does_not_know_is_asked_of_the_next(
    scene: Scene, pypiserver: PyPIServer, devpi: Devpi, first: str
) -> None:
    indexes = {"pypiserver": on_pypiserver(pypiserver), "devpi": on_devpi(devpi)}
    one = indexes.pop(first)
    (other,) = indexes.values()
    other.upload(scene.wheel(other.name))

    answer = await scene.metadata(other.name, one.url, other.url)

    assert answer.dist.source == "index1"
    with pytest.raises(ProjectNotFound, match=r"`index0` does not know `nothing`; `index1` does not know `nothing`"):
        await scene.metadata("nothing", one.url, other.url)


# The tests that every source has to pass


class ContractOfAnIndex(SourceContract):
    """Of the kind `index`. It may give what it was told ten minutes ago: neither server says how long that holds."""

    lists_many = True
    fresh_for = 10 * MINUTE

    index: Index
    scene: Scene

    def source(self) -> SimpleIndex:
        return SimpleIndex("contract", {"url": Url(self.index.url)})

    def known_request(self) -> str:
        return self.index.name

    def unknown_request(self) -> str:
        return f"{self.index.name}-nowhere"

    def mutate(self) -> None:
        self.index.upload(self.scene.wheel(self.index.name, "1.1"))

    def fill(self, index: Index, scene: Scene) -> None:
        self.index, self.scene = index, scene
        index.upload(scene.wheel(index.name, padding=SOME))
        index.upload(scene.sdist(index.name))


class TestContractOnPyPIServer(ContractOfAnIndex):
    secrets = (LOGIN[1],)

    @pytest.fixture(autouse=True)
    def _filled(self, pypiserver: PyPIServer, scene: Scene) -> None:
        self.fill(on_pypiserver(pypiserver), scene)


class TestContractOnDevpi(ContractOfAnIndex):
    @pytest.fixture(autouse=True)
    def _filled(self, devpi: Devpi, scene: Scene) -> None:
        self.fill(on_devpi(devpi), scene)
