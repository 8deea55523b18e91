"""The line against a real nginx, whose log says what was asked and how many bytes went out."""

from __future__ import annotations

import hashlib
import html
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from felloe import Answer, Config, Database, HashMismatchError, NetworkError, OfflineError, Url
from felloe.config import Limits, SourceSettings
from felloe.testing import Project, make_wheel
from tests.fixtures.nginx import AccessLogEntry, Nginx, start_nginx

pytestmark = [pytest.mark.anyio, pytest.mark.nginx]

SOME = 4 * 2**20
MINUTE = 60.0


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


# The scene


@frozen(kw_only=True)
class Clock:
    """The time as the database is told it. It starts with nginx's own, since both are compared."""

    instants: list[float]

    def __call__(self) -> float:
        return self.instants[-1]

    def advance(self, seconds: float) -> None:
        self.instants.append(self() + seconds)


@frozen(kw_only=True)
class Scene:
    server: Nginx
    cache: Path
    clock: Clock

    def database(self, **options: Any) -> Database:
        """A run of its own on the one cache."""
        source = SourceSettings(name="n", kind="index", settings={"url": Url(self.server.index_url)})
        fixed = {"replaced_kinds": frozenset({"pypi"}), "limits": Limits(max_retry_seconds=0)}
        config = Config(sources=(source,), cache_dir=self.cache, **{**fixed, **options})
        return Database(config, clock=self.clock)

    async def metadata(self, *requirements: str, **options: Any) -> list[Answer]:
        async with self.database(**options) as database:
            return [await database.metadata(requirement) for requirement in requirements]

    def publish(self, wheel: Path, *, hashes: bool = True, size: bool = True, sidecar: bytes | None = None) -> None:
        """Puts the wheel on the server, beside what lists it."""
        served = self.server.root / "files" / wheel.name
        replace(served, wheel.read_bytes())
        if sidecar is not None:
            replace(served.with_name(served.name + ".metadata"), sidecar)
        file: dict[str, Any] = {
            "filename": wheel.name,
            "url": f"{self.server.url}/files/{wheel.name}",
            "hashes": {"sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()} if hashes else {},
            "core-metadata": sidecar is not None,
        }
        if size:
            file["size"] = wheel.stat().st_size
        project = wheel.name.partition("-")[0]
        page = {"meta": {"api-version": "1.0"}, "name": project, "files": [file]}
        folder = self.server.root / "simple" / project
        folder.mkdir(exist_ok=True)
        replace(folder / "index.json", json.dumps(page).encode())


def replace(path: Path, content: bytes) -> None:
    """nginx makes an ETag of size and whole seconds of the time of change: each new content gets another second."""
    before = path.stat().st_mtime if path.exists() else time.time() - 1000
    path.write_bytes(content)
    os.utime(path, (before + 2, before + 2))


def asked(entries: Sequence[AccessLogEntry]) -> list[tuple[str, int]]:
    return [(entry.uri.rpartition("/")[2] or "page", entry.status) for entry in entries]


@pytest.fixture
def scene(nginx: Nginx, tmp_path: Path) -> Scene:
    return Scene(server=nginx, cache=tmp_path / "cache", clock=Clock(instants=[time.time()]))


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[Scene]:
    """Pages and files are good for ten minutes."""
    with start_nginx(tmp_path / "nginx", config_server_extra='add_header Cache-Control "max-age=600";') as server:
        yield Scene(server=server, cache=tmp_path / "cache", clock=Clock(instants=[time.time()]))


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Scene]:
    """No ranges."""
    with start_nginx(tmp_path / "nginx", config_server_extra="max_ranges 0;") as server:
        yield Scene(server=server, cache=tmp_path / "cache", clock=Clock(instants=[time.time()]))


def make(folder: Path, version: str = "1.0", name: str = "acme", **fields: Any) -> Path:
    return make_wheel(folder, Project(name, version, **fields))


# Pages


@pytest.mark.parametrize("hashes", [True, False])
async def test_a_warm_revalidation_is_one_304_a_resource(scene: Scene, tmp_path: Path, hashes: bool) -> None:
    scene.publish(make(tmp_path), hashes=hashes)
    await scene.metadata("acme")
    before = len(scene.server.entries())

    (answer,) = await scene.metadata("acme")

    warm = scene.server.entries()[before:]
    file = [] if hashes else [("acme-1.0-py3-none-any.whl", 304)]
    assert asked(warm) == [("page", 304), *file]
    assert [entry.sent for entry in warm] == [0] * len(warm)
    assert all(entry.if_none_match for entry in warm)
    assert answer.cached


async def test_a_changed_page_comes_whole(scene: Scene, tmp_path: Path) -> None:
    scene.publish(make(tmp_path))
    await scene.metadata("acme")
    scene.publish(make(tmp_path, "1.1"))

    (answer,) = await scene.metadata("acme")

    assert answer.metadata.version == "1.1"
    assert [entry.status for entry in scene.server.entries() if "/simple/" in entry.uri] == [200, 200]


@pytest.mark.parametrize("hashes", [True, False])
async def test_max_age_is_obeyed(lasting: Scene, tmp_path: Path, hashes: bool) -> None:
    lasting.publish(make(tmp_path), hashes=hashes)
    await lasting.metadata("acme")
    cold = len(lasting.server.entries())

    lasting.clock.advance(9 * MINUTE)
    (answer,) = await lasting.metadata("acme")
    assert answer.cached
    assert len(lasting.server.entries()) == cold

    lasting.clock.advance(2 * MINUTE)
    await lasting.metadata("acme")
    expired = lasting.server.entries()[cold:]
    assert [(entry.status, entry.sent) for entry in expired] == [(304, 0)] * (1 if hashes else 2)


@pytest.mark.parametrize("hashes", [True, False])
async def test_refresh_asks_again_once(lasting: Scene, tmp_path: Path, hashes: bool) -> None:
    lasting.publish(make(tmp_path), hashes=hashes)
    await lasting.metadata("acme")
    cold = len(lasting.server.entries())
    lasting.clock.advance(MINUTE)

    await lasting.metadata("acme", "acme==1.0", "acme", refresh=True)

    assert [entry.status for entry in lasting.server.entries()[cold:]] == [304] * (1 if hashes else 2)


async def test_refresh_of_one_name(lasting: Scene, tmp_path: Path) -> None:
    for name in ("acme", "other"):
        lasting.publish(make(tmp_path, name=name))
    await lasting.metadata("acme", "other")
    cold = len(lasting.server.entries())
    lasting.clock.advance(MINUTE)

    await lasting.metadata("acme", "other", refresh_packages=frozenset({"other"}))

    assert [(entry.uri, entry.status) for entry in lasting.server.entries()[cold:]] == [("/simple/other/", 304)]


@pytest.mark.parametrize("hashes", [True, False])
async def test_offline_answers_from_what_is_known(scene: Scene, tmp_path: Path, hashes: bool) -> None:
    scene.publish(make(tmp_path), hashes=hashes)
    await scene.metadata("acme")
    cold = len(scene.server.entries())
    scene.clock.advance(60 * MINUTE)

    (answer,) = await scene.metadata("acme", offline=True)

    assert answer.cached
    assert answer.metadata.version == "1.0"
    assert len(scene.server.entries()) == cold


async def test_offline_knows_nothing_of_what_was_never_asked(scene: Scene, tmp_path: Path) -> None:
    scene.publish(make(tmp_path))

    with pytest.raises(OfflineError, match="the network is off"):
        await scene.metadata("acme", offline=True)

    assert scene.server.entries() == []


async def test_a_page_in_html(scene: Scene, tmp_path: Path) -> None:
    wheel = make(tmp_path)
    scene.publish(wheel)
    page = scene.server.root / "simple" / "acme"
    (page / "index.json").unlink()
    name = html.escape(wheel.name)
    (page / "index.html").write_text(f'<!DOCTYPE html><a href="../../files/{name}">{name}</a>')

    (answer,) = await scene.metadata("acme")

    assert answer.metadata.name == "acme"


# Wheels


async def test_a_sidecar_is_one_request(scene: Scene, tmp_path: Path) -> None:
    text = b"Metadata-Version: 2.1\nName: acme\nVersion: 1.0\nRequires-Dist: beside\n"
    scene.publish(make(tmp_path, padding=SOME), sidecar=text)

    (answer,) = await scene.metadata("acme")

    assert asked(scene.server.entries()) == [("page", 200), ("acme-1.0-py3-none-any.whl.metadata", 200)]
    assert (answer.rung, answer.cached) == ("sidecar", False)
    assert answer.metadata.requires_dist == ("beside",)


@pytest.mark.parametrize("size", [True, False])
@pytest.mark.parametrize("members", [1, 1000])
async def test_ranges_are_at_most_three_requests(scene: Scene, tmp_path: Path, size: bool, members: int) -> None:
    """With a thousand members, the directory does not fit into the first read."""
    files = {f"acme/module_with_a_long_name_{number}.py": "" for number in range(members)}
    scene.publish(make_wheel(tmp_path, Project("acme", "1.0", padding=SOME), files=files), size=size)

    (answer,) = await scene.metadata("acme")

    page, *parts = scene.server.entries()
    assert page.uri == "/simple/acme/"
    assert len(parts) == (1 if size else 2) + (1 if members > 1 else 0)
    assert {part.status for part in parts} == {206}
    assert sum(part.sent for part in parts) < SOME / 8
    assert (answer.rung, answer.cached) == ("range", False)


@pytest.mark.parametrize("size", [True, False])
async def test_without_ranges_it_is_one_whole_download(whole: Scene, tmp_path: Path, size: bool) -> None:
    wheel = make(tmp_path, padding=SOME)
    whole.publish(wheel, size=size)

    (answer,) = await whole.metadata("acme")

    page, download = whole.server.entries()
    assert page.uri == "/simple/acme/"
    assert download.range.startswith("bytes=")
    assert (download.status, download.sent) == (200, wheel.stat().st_size)
    assert (answer.rung, answer.cached) == ("wheel", False)


async def test_that_ranges_are_refused_is_remembered_for_the_run(whole: Scene, tmp_path: Path) -> None:
    names = ["acme", "other", "third"]
    for name in names:
        whole.publish(make(tmp_path, name=name))

    answers = await whole.metadata(*names)

    assert [answer.rung for answer in answers] == ["wheel"] * 3
    assert [bool(entry.range) for entry in whole.server.entries() if "/files/" in entry.uri] == [True, False, False]


async def test_an_advertised_sidecar_that_is_not_there(scene: Scene, tmp_path: Path) -> None:
    wheel = make(tmp_path)
    scene.publish(wheel, sidecar=b"")
    (scene.server.root / "files" / f"{wheel.name}.metadata").unlink()

    (answer,) = await scene.metadata("acme")

    assert answer.rung == "range"
    assert [status for _, status in asked(scene.server.entries())] == [200, 404, 206]


async def test_a_wheel_is_downloaded_once(scene: Scene, tmp_path: Path) -> None:
    wheel = make(tmp_path)
    scene.publish(wheel)

    async with scene.database() as database:
        first = await database.wheel("acme")
        again = await database.wheel("acme")
        content = first.path.read_bytes()

    assert content == wheel.read_bytes()
    assert (first.cached, again.cached) == (False, True)
    assert [uri for uri, _ in asked(scene.server.entries()) if uri != "page"] == [wheel.name]


# Changed files


@pytest.mark.parametrize("first", ["metadata", "wheel"])
async def test_files_without_hashes_are_asked_after(scene: Scene, tmp_path: Path, first: str) -> None:
    """RFC 9111 on each file: a 304 while it is the same, then the new bytes."""
    for name in ("acme", "other"):
        scene.publish(make(tmp_path / "old", name=name, requires_dist=["old"]), hashes=False, size=False)
    async with scene.database() as database:
        for name in ("acme", "other"):
            await getattr(database, first)(name)
    cold = len(scene.server.entries())

    scene.publish(make(tmp_path / "new", requires_dist=["new"]), hashes=False, size=False)
    acme, other = await scene.metadata("acme", "other")

    assert (acme.metadata.requires_dist, acme.cached) == (("new",), False)
    assert (other.metadata.requires_dist, other.cached) == (("old",), True)
    files = [entry for entry in scene.server.entries()[cold:] if "/files/" in entry.uri]
    assert asked(files) == [("acme-1.0-py3-none-any.whl", 200), ("other-1.0-py3-none-any.whl", 304)]


@pytest.mark.parametrize("first", ["metadata", "wheel"])
@pytest.mark.parametrize("sidecar", [True, False])
async def test_a_file_replaced_under_its_name(scene: Scene, tmp_path: Path, first: str, sidecar: bool) -> None:
    def publish(dependency: str) -> Path:
        text = f"Metadata-Version: 2.1\nName: acme\nVersion: 1.0\nRequires-Dist: {dependency}\n".encode()
        wheel = make(tmp_path / dependency, requires_dist=[dependency])
        scene.publish(wheel, sidecar=text if sidecar else None)
        return wheel

    publish("old")
    async with scene.database() as database:
        await getattr(database, first)("acme")
    new = publish("new")

    async with scene.database() as database:
        answer = await database.metadata("acme")
        wheel = await database.wheel("acme")
        content = wheel.path.read_bytes()

    assert (answer.metadata.requires_dist, answer.cached) == (("new",), False)
    assert (content, wheel.cached) == (new.read_bytes(), False)


async def test_other_bytes_than_the_page_says(scene: Scene, tmp_path: Path) -> None:
    wheel = make(tmp_path)
    scene.publish(wheel)
    replace(scene.server.root / "files" / wheel.name, make(tmp_path / "other", requires_dist=["other"]).read_bytes())

    async with scene.database() as database:
        with pytest.raises(HashMismatchError, match="sha256"):
            await database.wheel("acme")

    assert not list(scene.cache.glob("archives-v0/*/*"))


# Errors


@pytest.mark.parametrize("status", [403, 500])
async def test_an_error_of_the_server(tmp_path: Path, status: int) -> None:
    refusal = f"location /simple/acme/ {{ return {status}; }}"
    with start_nginx(tmp_path / "nginx", config_server_extra=refusal) as server:
        scene = Scene(server=server, cache=tmp_path / "cache", clock=Clock(instants=[time.time()]))

        with pytest.raises(NetworkError) as raised:
            await scene.metadata("acme")

        assert raised.value.code == f"http-{status}"
        assert raised.value.payload["status"] == status
        assert [entry.status for entry in server.entries()] == [status]


async def test_compressed_pages(tmp_path: Path) -> None:
    compression = "gzip on; gzip_min_length 1; gzip_types application/vnd.pypi.simple.v1+json; gzip_proxied any;"
    with start_nginx(tmp_path / "nginx", config_http_extra=compression) as server:
        scene = Scene(server=server, cache=tmp_path / "cache", clock=Clock(instants=[time.time()]))
        scene.publish(make(tmp_path))
        await scene.metadata("acme")
        cold = len(server.entries())

        (answer,) = await scene.metadata("acme")

        (page,) = server.entries()[cold:]
        assert (page.status, page.sent) == (304, 0)
        assert page.if_none_match.startswith("W/")
        assert answer.cached
