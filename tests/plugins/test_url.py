"""Direct URLs of wheels and sdists: what a URL tells, what is kept of it, and when its server is asked again."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import anyio
import pytest

from felloe import Answer, Database, Wheel
from felloe.cache import contents
from felloe.config import Policy
from felloe.errors import (
    ArchiveError,
    BuildError,
    ConfigError,
    FelloeError,
    HashMismatchError,
    MetadataError,
    NetworkError,
    NoMatchError,
    OfflineError,
    RequirementError,
)
from felloe.hookspecs import GROUP
from felloe.request import parse_request
from felloe.testing import Behaviour, IndexServer, Project, make_sdist, make_wheel
from felloe_url import DirectUrl
from tests.fixtures.line import Told, config_of, files_below, read_document
from tests.fixtures.projects import HOOKS, buildable, hooks_called

pytestmark = pytest.mark.anyio

HOST = "https://example.com"
SDIST = "acme-1.0.tar.gz"
WHEEL = "acme-1.0-py3-none-any.whl"
SECRET = "pa55-w0rd"
TOKEN = "t0k3n"
HEX = "0123456789abcdef" * 4
LONG_HEX = HEX * 2
URL_SOURCE = EntryPoint(name="url", value="felloe_url:DirectUrl", group=GROUP)
PREPARED = ["acme get_requires", "acme prepare"]
BUILT = ["acme get_requires", "acme wheel"]


# What a URL tells


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        (f"acme @ {HOST}/{SDIST}", True),
        (f"{HOST}/{SDIST}", True),
        ("HTTP://example.com/master.zip", True),
        (f"{HOST}/acme.git", True),
        ("acme", False),
        ("git+https://example.com/acme", False),
        ("git+http://example.com/acme.zip", False),
        ("ssh://example.com/acme.zip", False),
        ("file:///acme-1.0.tar.gz", False),
        (f"./{SDIST}", False),
    ],
)
def test_what_is_claimed(text: str, claimed: bool) -> None:
    assert (DirectUrl("url", {}).claims(parse_request(text)) is not None) is claimed


def test_there_are_no_settings() -> None:
    with pytest.raises(ConfigError, match="no setting `token`") as raised:
        DirectUrl("url", {"token": SECRET})
    assert SECRET not in repr(raised.value) + raised.value.hint


async def dist_of(text: str) -> Any:
    (dist,) = await DirectUrl("url", {}).find(parse_request(text))
    return dist


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{HOST}/{SDIST}", ("sdist", SDIST, "acme", "1.0")),
        (f"acme @ {HOST}/{SDIST}", ("sdist", SDIST, "acme", "1.0")),
        (f"acme @ {HOST}/release-1.0.tar.gz", ("sdist", "release-1.0.tar.gz", "acme", None)),
        (f"{HOST}/{SDIST}#subdirectory=app", ("sdist", SDIST, None, None)),
        (f"Acme.App @ {HOST}/{SDIST}", ("sdist", SDIST, "acme-app", None)),
        (f"{HOST}/{SDIST}#egg=acme", ("sdist", SDIST, "acme", "1.0")),
        (f"{HOST}/{WHEEL}", ("wheel", WHEEL, "acme", "1.0")),
        (f"acme @ {HOST}/{WHEEL}", ("wheel", WHEEL, "acme", "1.0")),
        (f"{HOST}/Acme_App-1.0-2-py3-none-any.whl", ("wheel", "Acme_App-1.0-2-py3-none-any.whl", "acme-app", "1.0")),
        (
            f"{HOST}/acme-1.0%2Blocal-py3-none-any.whl",
            ("wheel", "acme-1.0+local-py3-none-any.whl", "acme", "1.0+local"),
        ),
        (f"{HOST}/acme.whl", ("wheel", "acme.whl", None, None)),
        (f"{HOST}/{WHEEL}?sha=1#egg=acme", ("wheel", WHEEL, "acme", "1.0")),
        (f"{HOST}/get?file={WHEEL}", ("sdist", "get", None, None)),
        (f"{HOST}/archive/refs/heads/main", ("sdist", "main", None, None)),
        (f"{HOST}/archive/feature%2Fone.zip", ("sdist", "feature/one.zip", None, None)),
        (f"{HOST}/two%20words.zip", ("sdist", "two words.zip", None, None)),
        (f"{HOST}/%1b%5bred.zip", ("sdist", "%1B%5Bred.zip", None, None)),
        (f"{HOST}/download/", ("sdist", "example.com", None, None)),
        (f"{HOST}", ("sdist", "example.com", None, None)),
    ],
)
async def test_what_a_url_tells(text: str, expected: tuple[str, ...]) -> None:
    dist = await dist_of(text)
    assert (dist.kind, dist.filename, dist.name, dist.version) == expected


@pytest.mark.parametrize(
    ("fragment", "hashes", "subdirectory"),
    [
        ("", {}, None),
        (f"sha256={HEX}", {"sha256": HEX}, None),
        (f"sha256={HEX.upper()}", {"sha256": HEX}, None),
        (f"subdirectory=a%20b/c&sha512={LONG_HEX}", {"sha512": LONG_HEX}, "a b/c"),
        (f"egg=acme&sha256={HEX}&sha384={HEX}{HEX[:32]}", {"sha256": HEX, "sha384": HEX + HEX[:32]}, None),
    ],
)
async def test_what_a_fragment_tells(fragment: str, hashes: dict[str, str], subdirectory: str | None) -> None:
    dist = await dist_of(f"acme @ {HOST}/{SDIST}#{fragment}")
    assert (dict(dist.hashes), dist.subdirectory) == (hashes, subdirectory)
    assert dist.content == (f"sha256:{hashes['sha256']}" if "sha256" in hashes else None)


async def test_hashes_of_options_are_allowed_but_not_declared() -> None:
    request = parse_request(f"{HOST}/{SDIST}", hashes=[f"sha256:{HEX}", f"sha256:{HEX[::-1]}"])
    (dist,) = await DirectUrl("url", {}).find(request)
    assert (dict(dist.hashes), dist.content) == ({}, None)


async def test_a_wheel_of_another_project() -> None:
    with pytest.raises(RequirementError, match="is a wheel of `other`") as raised:
        await dist_of(f"acme @ https://reader:{SECRET}@example.com/other-1.0-py3-none-any.whl?key={TOKEN}")
    assert raised.value.code == "names-disagree"
    assert SECRET not in str(raised.value)
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        f"HTTPS://EXAMPLE.com:443/{SDIST}?v=1",
        f"https://reader:{SECRET}@example.com/{SDIST}?v=1",
        f"acme @ {HOST}/{SDIST}?v=1#egg=acme&sha256={HEX}",
    ],
)
async def test_urls_that_are_one(text: str) -> None:
    source = DirectUrl("url", {})
    key = source.cache_key(await dist_of(text))
    assert key == source.cache_key(await dist_of(f"{HOST}/{SDIST}?v=1"))
    assert key.parts[1:] == (SDIST,)


@pytest.mark.parametrize(
    "text",
    [
        f"http://example.com/{SDIST}",
        f"https://example.com:444/{SDIST}",
        f"{HOST}/ACME-1.0.tar.gz",
        f"{HOST}/{SDIST}?v=2",
        f"{HOST}/{SDIST}#subdirectory=a",
    ],
)
async def test_urls_that_differ(text: str) -> None:
    source = DirectUrl("url", {})
    assert source.cache_key(await dist_of(text)) != source.cache_key(await dist_of(f"{HOST}/{SDIST}"))


async def test_subdirectories_have_entries_of_their_own_below_one_url() -> None:
    source = DirectUrl("url", {})
    top, one, two = [
        source.cache_key(await dist_of(f"{HOST}/{SDIST}{fragment}")).parts
        for fragment in ("", "#subdirectory=libs/one", "#subdirectory=two")
    ]
    assert top == (one[0], SDIST)
    assert one == (top[0], "subdirectory=libs%2Fone", SDIST)
    assert two == (top[0], "subdirectory=two", SDIST)


async def test_a_subdirectory_of_a_wheel_is_nothing() -> None:
    source = DirectUrl("url", {})
    wheels = [await dist_of(f"{HOST}/{WHEEL}{fragment}") for fragment in ("", "#subdirectory=a")]
    assert wheels[0] == wheels[1]
    assert source.cache_key(wheels[0]) == source.cache_key(wheels[1])


# The line


class Scene:
    """A server with files at any path, and a cache; each question is a run of its own."""

    def __init__(self, folder: Path, server: IndexServer) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.server = server
        self.later = 0.0
        self.told = Told()

    @asynccontextmanager
    async def database(self, **options: Any) -> AsyncIterator[Database]:
        self.told = Told()
        self.server.clear()
        config = config_of(self.cache, **options)
        clock = lambda: time.time() + self.later  # noqa: E731
        async with Database(config, reporter=self.told, sources=[URL_SOURCE], clock=clock) as database:
            yield database

    async def metadata(self, text: str, **options: Any) -> Answer:
        async with self.database(**options) as database:
            return await database.metadata(text)

    async def wheel(self, text: str, **options: Any) -> Wheel:
        async with self.database(**options) as database:
            return await database.wheel(text)

    async def error(self, text: str, ask: str = "metadata", **options: Any) -> FelloeError:
        with pytest.raises(FelloeError) as raised:
            await (self.wheel if ask == "wheel" else self.metadata)(text, **options)
        assert files_below(self.cache, "scratch") == []
        return raised.value

    def serve(self, path: str, file: Path | bytes, behaviour: Behaviour | None = None) -> str:
        """The address of these bytes at `path`, which is percent-decoded; with a validator and no lifetime."""
        self.server.static(path, file if isinstance(file, bytes) else file.read_bytes())
        self.server.behave(path, behaviour or Behaviour(etag="auto"))
        return self.server.url + path

    def hooks(self) -> list[str]:
        """What backends did since the last time."""
        file = self.folder / "hooks"
        called = hooks_called(file)
        file.unlink(missing_ok=True)
        return called

    def statuses(self) -> list[int]:
        """Of the answers to the last run's requests."""
        return [request.status for request in self.server.requests]

    def entries(self) -> list[Path]:
        return sorted(self.cache.glob("built-wheel-metadata-v0/**/metadata.json"))

    def archives(self) -> list[str]:
        return files_below(self.cache, "archives-v0")

    def contains(self, *texts: str) -> bool:
        return any(
            text.encode() in (self.cache / path).read_bytes() or text in path
            for path in files_below(self.cache)
            for text in texts
        )


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with IndexServer() as server:
        monkeypatch.setenv(HOOKS, str(tmp_path / "hooks"))
        yield Scene(tmp_path, server)


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def repository(folder: Path, *names: str) -> bytes:
    """As a host of repositories packs one: no PKG-INFO, at the top nothing but folders, each a project to be built."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in names:
            with tarfile.open(buildable(folder, name)) as project:
                for member in project.getmembers():
                    content = project.extractfile(member)
                    member.name = member.name.replace(f"{name}-1.0", f"repository-main/{name}")
                    if not member.name.endswith("/PKG-INFO"):
                        archive.addfile(member, content)
    return packed.getvalue()


MAX_AGE = Behaviour(etag="auto", cache_control="max-age=600")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        (f"/{SDIST}", f"/{SDIST}"),
        ("/master.zip", "/master.zip"),
        ("/archive/main", "/archive/main"),
        ("/two words.zip", "/two%20words.zip"),
        ("/get", f"/get?file={SDIST}&token={TOKEN}"),
        ("/", ""),
    ],
)
@pytest.mark.parametrize("name", ["", "acme @ "])
async def test_an_sdist_of_any_file_name(scene: Scene, name: str, path: str, asked: str) -> None:
    sdist = make_sdist(scene.folder, Project("acme", "1.0", requires_dist=["zlib-ng"]), format=".zip")
    scene.serve(path, sdist, MAX_AGE)

    answer = await scene.metadata(name + scene.server.url + asked)
    assert (answer.rung, answer.cached, answer.metadata.requires_dist) == ("pkg-info", False, ("zlib-ng",))
    assert (answer.dist.name, answer.dist.version) == ("acme", "1.0")
    assert scene.server.paths == [path]

    again = await scene.metadata(name + scene.server.url + asked)
    assert (again.cached, again.metadata) == (True, answer.metadata)
    assert scene.server.paths == []
    assert not scene.contains(TOKEN)


async def test_a_wheel_is_read_in_part_then_fetched_once(scene: Scene) -> None:
    wheel = make_wheel(scene.folder, Project("acme", "1.0", padding=100_000))
    url = scene.serve(f"/{WHEEL}", wheel, MAX_AGE)

    answer = await scene.metadata(url)
    assert (answer.rung, answer.cached, answer.wheel) == ("range", False, WHEEL)
    assert set(scene.statuses()) == {206}
    assert sum(request.sent for request in scene.server.requests) < 50_000

    again = await scene.metadata(f"acme @ {url}")
    assert (again.rung, again.cached, scene.statuses()) == ("range", True, [])

    fetched = await scene.wheel(url)
    assert (fetched.sha256, fetched.cached, scene.statuses()) == (sha256(wheel), False, [200])
    assert ((await scene.wheel(url)).cached, scene.statuses()) == (True, [])


async def test_a_build_is_done_once(scene: Scene) -> None:
    url = scene.serve("/master.zip", buildable(scene.folder, "acme"), MAX_AGE)

    answer = await scene.metadata(url)
    assert (answer.rung, answer.cached, scene.hooks()) == ("prepare", False, PREPARED)
    wheel = await scene.wheel(url)
    assert (wheel.filename, wheel.cached, scene.hooks()) == (WHEEL, False, BUILT)

    for text in (url, f"acme @ {url}"):
        assert (await scene.metadata(text)).cached
        assert (await scene.wheel(text)).sha256 == wheel.sha256
        assert (scene.hooks(), scene.server.paths) == ([], [])
    (entry,) = scene.entries()
    assert entry.relative_to(scene.cache).parts[:2] == ("built-wheel-metadata-v0", "url")
    assert entry.parent.name == "master.zip"


LAST_MODIFIED = "Thu, 01 Jan 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("behaviour", "statuses"),
    [
        pytest.param(MAX_AGE, [], id="max-age"),
        pytest.param(Behaviour(cache_control="max-age=600, immutable"), [], id="immutable"),
        pytest.param(Behaviour(etag="auto"), [304], id="etag"),
        pytest.param(Behaviour(last_modified=LAST_MODIFIED), [304], id="last-modified"),
        pytest.param(Behaviour(etag="auto", cache_control="no-cache"), [304], id="no-cache"),
        pytest.param(Behaviour(etag="auto", cache_control="max-age=60", headers={"Age": "61"}), [304], id="age"),
        pytest.param(Behaviour(etag="auto", cache_control="max-age=600", headers={"Vary": "*"}), [304], id="vary"),
        pytest.param(Behaviour(cache_control="max-age=600", headers={"Vary": "Accept-Encoding"}), [], id="vary-same"),
        pytest.param(Behaviour(), [200], id="no validator"),
        pytest.param(Behaviour(etag="auto", cache_control="no-store, max-age=600"), [304], id="no-store"),
    ],
)
async def test_what_the_server_says_of_a_second_run(scene: Scene, behaviour: Behaviour, statuses: list[int]) -> None:
    url = scene.serve(f"/{SDIST}", buildable(scene.folder, "acme"), behaviour)
    await scene.wheel(url)
    scene.hooks()
    scene.later += 1

    again = await scene.wheel(url)
    assert (scene.hooks(), scene.statuses()) == ([], statuses)
    assert again.cached is (200 not in statuses)


async def test_the_same_bytes_with_new_validators_refresh_the_entry(scene: Scene) -> None:
    sdist = buildable(scene.folder, "acme")
    url = scene.serve(f"/{SDIST}", sdist, Behaviour(etag='"1"'))
    await scene.metadata(url)
    scene.hooks()
    scene.serve(f"/{SDIST}", sdist, Behaviour(etag='"2"'))
    scene.later += 1

    await scene.metadata(url)
    assert (scene.statuses(), scene.hooks()) == ([200], [])
    (entry,) = scene.entries()
    assert read_document(entry)["source"]["validators"]["headers"]["etag"] == '"2"'

    assert (await scene.metadata(url)).cached
    assert (scene.statuses(), scene.hooks()) == ([304], [])


@pytest.mark.parametrize("ask", ["metadata", "wheel"])
async def test_new_bytes_are_built(scene: Scene, ask: str) -> None:
    url = scene.serve("/latest.tar.gz", buildable(scene.folder, "acme", requires_dist="['old']"))
    ask_for = scene.wheel if ask == "wheel" else scene.metadata
    await ask_for(url)
    scene.hooks()
    scene.serve("/latest.tar.gz", buildable(scene.folder, "acme", "2.0", requires_dist="['new']"))

    answer = await ask_for(f"acme @ {url}")
    assert (answer.metadata.version, answer.metadata.requires_dist, answer.cached) == ("2.0", ("new",), False)
    assert (scene.statuses(), scene.hooks()) == ([200], BUILT if ask == "wheel" else PREPARED)
    assert (await ask_for(url)).metadata == answer.metadata
    assert (scene.statuses(), scene.hooks()) == ([304], [])


async def test_a_new_wheel_at_the_same_url(scene: Scene) -> None:
    url = scene.serve(f"/{WHEEL}", make_wheel(scene.folder, Project("acme", "1.0", padding=50_000)))
    await scene.metadata(url)
    new = make_wheel(scene.folder, Project("acme", "1.0", padding=50_000, requires_dist=["new"]))
    scene.serve(f"/{WHEEL}", new)

    answer = await scene.metadata(url)
    assert (answer.rung, answer.metadata.requires_dist, scene.statuses()) == ("wheel", ("new",), [200])
    assert (await scene.wheel(url)).sha256 == sha256(new)


async def test_refresh_asks_within_the_lifetime(scene: Scene) -> None:
    url = scene.serve(f"/{SDIST}", buildable(scene.folder, "acme"), MAX_AGE)
    await scene.metadata(url)
    scene.hooks()
    scene.later += 1

    assert (await scene.metadata(url, refresh=True)).cached
    assert (scene.statuses(), scene.hooks()) == ([304], [])


async def test_offline(scene: Scene) -> None:
    url = scene.serve(f"/{SDIST}", buildable(scene.folder, "acme"), Behaviour(etag="auto", cache_control="max-age=1"))
    assert isinstance(await scene.error(url, offline=True), OfflineError)

    wheel = await scene.wheel(url)
    scene.later += 1000
    again = await scene.wheel(url, offline=True)
    assert (again.sha256, again.cached, scene.server.paths) == (wheel.sha256, True, [])
    assert scene.told.messages("page-offline") == [f"{url}: no request, offline: as of the last time"]


async def test_many_callers_of_one_url(scene: Scene) -> None:
    url = scene.serve(f"/{SDIST}", buildable(scene.folder, "acme"))
    async with scene.database() as database:
        outcomes = [outcome async for outcome in database.wheels([url, f"acme @ {url}"] * 3)]
    assert [outcome.error for outcome in outcomes] == [None] * 6
    assert (scene.statuses(), scene.hooks()) == ([200], BUILT)


async def test_a_build_requirement_by_url(scene: Scene) -> None:
    needed = scene.serve("/needed-main.zip", buildable(scene.folder, "needed"))
    requires = [f"needed @ {needed}#sha256={sha256(scene.folder / 'needed-1.0.tar.gz')}"]
    url = scene.serve(f"/{SDIST}", buildable(scene.folder, "acme", requires=requires, code="import needed"))

    assert (await scene.wheel(url)).filename == WHEEL
    assert scene.hooks() == [hook.replace("acme", "needed") for hook in (*PREPARED, *BUILT)] + BUILT
    assert sorted(scene.server.paths) == ["/acme-1.0.tar.gz", "/needed-main.zip"]


# Hashes


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
async def test_a_hash_in_the_url_needs_no_second_request(scene: Scene, algorithm: str) -> None:
    sdist = buildable(scene.folder, "acme")
    digest = hashlib.new(algorithm, sdist.read_bytes()).hexdigest()
    url = scene.serve(f"/{SDIST}", sdist) + f"#{algorithm}={digest}"

    assert not (await scene.wheel(url)).cached
    assert ((await scene.wheel(url, refresh=True)).cached, scene.server.paths) == (True, [])
    assert ((await scene.metadata(url, policy=Policy(require_hashes=True))).cached, scene.server.paths) == (True, [])
    assert scene.hooks() == BUILT


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("made", [SDIST, WHEEL])
async def test_a_wrong_hash(scene: Scene, made: str, warm: bool) -> None:
    make = make_sdist if made == SDIST else make_wheel
    url = scene.serve(f"/{made}", make(scene.folder, Project("acme", "1.0")))
    if warm:
        await scene.metadata(url)
    before = scene.archives()

    for ask in ("metadata", "wheel"):
        assert isinstance(await scene.error(f"{url}#sha256={HEX}", ask), HashMismatchError)
    assert scene.archives() == before
    assert (await scene.metadata(url)).metadata.version == "1.0"


async def test_a_hash_that_the_cache_knows_is_not_fetched(scene: Scene) -> None:
    sdist = buildable(scene.folder, "acme")
    await scene.wheel(scene.serve("/one.zip", sdist))
    scene.hooks()

    again = await scene.wheel(scene.serve("/two.zip", sdist) + f"#sha256={sha256(sdist)}")
    assert (again.cached, scene.server.paths, scene.hooks()) == (True, [], [])


async def test_a_hash_that_moves_on(scene: Scene) -> None:
    old = buildable(scene.folder / "old", "acme", requires_dist="['old']")
    new = buildable(scene.folder / "new", "acme", requires_dist="['new']")
    url = scene.serve(f"/{SDIST}", old)
    await scene.metadata(f"{url}#sha256={sha256(old)}")
    scene.serve(f"/{SDIST}", new)

    answer = await scene.metadata(f"{url}#sha256={sha256(new)}")
    assert (answer.metadata.requires_dist, scene.statuses()) == (("new",), [200])
    scene.hooks()
    back = await scene.metadata(f"{url}#sha256={sha256(old)}")
    assert (back.metadata.requires_dist, scene.statuses(), scene.hooks()) == (("old",), [], [])
    assert (await scene.metadata(url)).metadata.requires_dist == ("new",)


# Subdirectories


async def test_two_projects_of_one_archive(scene: Scene) -> None:
    url = scene.serve("/repo.tar.gz", repository(scene.folder, "one", "two"), MAX_AGE)
    texts = [f"one @ {url}#subdirectory=one", f"{url}#subdirectory=two"]
    async with scene.database() as database:
        outcomes = [outcome async for outcome in database.metadata_many(texts)]
    assert sorted(outcome.value.metadata.name for outcome in outcomes) == ["one", "two"]
    assert sorted(scene.hooks()) == ["one get_requires", "one prepare", "two get_requires", "two prepare"]
    assert (len(scene.entries()), len(scene.archives())) == (3, 1)  # of each project, and of the archive

    for text, name in zip(texts, ("one", "two"), strict=True):
        assert (await scene.metadata(text)).metadata.name == name
        assert (scene.hooks(), scene.server.paths) == ([], [])


@pytest.mark.parametrize("behaviour", ["MAX_AGE", "ETAG", "NOTHING"])
async def test_two_projects_of_one_archive_are_one_download(scene: Scene, behaviour: str) -> None:
    known = {"MAX_AGE": MAX_AGE, "ETAG": Behaviour(etag="auto"), "NOTHING": Behaviour()}
    url = scene.serve("/repo.tar.gz", repository(scene.folder, "one", "two"), known[behaviour])
    async with scene.database() as database, anyio.create_task_group() as group:
        for name in ("one", "two"):
            group.start_soon(database.metadata, f"{url}#subdirectory={name}")
    assert scene.statuses() == [200]


async def test_two_projects_of_one_archive_in_two_runs(scene: Scene) -> None:
    url = scene.serve("/repo.tar.gz", repository(scene.folder, "one", "two"), Behaviour(etag="auto"))
    assert (await scene.metadata(f"{url}#subdirectory=one")).metadata.name == "one"
    assert scene.statuses() == [200]
    assert (await scene.metadata(f"{url}#subdirectory=two")).metadata.name == "two"
    assert scene.statuses() == [304]

    scene.serve("/repo.tar.gz", repository(scene.folder, "one", "two", "three"), Behaviour(etag="auto"))
    assert (await scene.metadata(f"{url}#subdirectory=three")).metadata.name == "three"
    assert scene.statuses() == [200]


async def test_two_projects_of_one_archive_with_a_hash_are_one_download(scene: Scene) -> None:
    archive = repository(scene.folder, "one", "two")
    url = scene.serve("/repo.tar.gz", archive)
    fragment = f"#sha256={hashlib.sha256(archive).hexdigest()}&subdirectory="
    assert (await scene.metadata(f"{url}{fragment}one")).metadata.name == "one"
    assert (await scene.metadata(f"{url}{fragment}two")).metadata.name == "two"
    assert scene.statuses() == []


@pytest.mark.parametrize("fragment", ["", "#subdirectory=three"])
async def test_a_folder_without_a_project(scene: Scene, fragment: str) -> None:
    url = scene.serve("/repo.tar.gz", repository(scene.folder, "one", "two"))
    error = await scene.error(url + fragment)
    assert (type(error), error.code) == (BuildError, "no-project")


async def test_a_subdirectory_that_leads_outside(scene: Scene) -> None:
    error = await scene.error(f"{scene.server.url}/repo.tar.gz#subdirectory=../one")
    assert (type(error), scene.server.paths) == (RequirementError, [])


async def test_what_the_top_of_an_archive_proves_is_not_said_of_a_folder_in_it(scene: Scene) -> None:
    inner = 'project = {name = "inner", version = "2.0", dependencies = ["zlib-ng"]}\n'
    sdist = make_sdist(scene.folder, Project("outer", "1.0"), files={"inner/pyproject.toml": inner})
    url = scene.serve("/outer.zip", sdist)

    answer = await scene.metadata(f"{url}#subdirectory=inner")
    assert (answer.metadata.name, answer.metadata.version, answer.rung) == ("inner", "2.0", "pyproject")
    assert answer.metadata.requires_dist == ("zlib-ng",)


async def test_what_the_top_proves_is_read_after_a_folder_in_it(scene: Scene) -> None:
    inner = 'project = {name = "inner", version = "2.0", dependencies = ["zlib-ng"]}\n'
    sdist = make_sdist(scene.folder, Project("outer", "1.0"), files={"inner/pyproject.toml": inner})
    url = scene.serve("/outer.zip", sdist, MAX_AGE)

    await scene.metadata(f"{url}#subdirectory=inner")
    answer = await scene.metadata(url)
    assert (answer.metadata.name, answer.rung) == ("outer", "pkg-info")


async def test_another_project_of_one_archive_with_another_kind_of_hash(scene: Scene) -> None:
    archive = repository(scene.folder, "one", "two")
    url = scene.serve("/repo.tar.gz", archive, MAX_AGE)
    await scene.metadata(f"{url}#subdirectory=one")

    wrong, right = ([f"sha512:{hashlib.sha512(each).hexdigest()}"] for each in (b"other", archive))
    async with scene.database() as database:
        with pytest.raises(HashMismatchError):
            await database.metadata(parse_request(f"{url}#subdirectory=two", hashes=wrong))
        answer = await database.metadata(parse_request(f"{url}#subdirectory=two", hashes=right))
    assert answer.metadata.name == "two"


def projects(folder: Path, version: str) -> Path:
    """An sdist with two more projects in folders."""
    inner = {
        f"{name}/pyproject.toml": f'project = {{name = "{name}", version = "{version}"}}\n' for name in ("one", "two")
    }
    return make_sdist(folder, Project("acme", version), files=inner)


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize(
    "forms",
    [
        ["{}", "acme @ {}"],
        ["{}#subdirectory=one", "{}#subdirectory=two"],
        ["two @ {}#subdirectory=two", "{}", "{}#subdirectory=one", "{}#subdirectory=two"],
    ],
)
async def test_a_url_is_asked_once_in_a_run(scene: Scene, forms: list[str], version: str, at_once: bool) -> None:
    """Whatever of it is wanted, and in which words; what it sends is received once."""
    url = scene.serve("/archive", projects(scene.folder, "1.0"))
    texts = [form.format(url) for form in forms]
    async with scene.database() as database:
        for text in texts:
            assert (await database.metadata(text)).metadata.version == "1.0"
    assert scene.statuses() == [200]
    scene.serve("/archive", projects(scene.folder, version))

    async with scene.database() as database:
        if at_once:
            outcomes = [outcome async for outcome in database.metadata_many(texts)]
            answers = [outcome.value for outcome in outcomes if outcome.error is None]
        else:
            answers = [await database.metadata(text) for text in texts]

    assert [answer.metadata.version for answer in answers] == [version] * len(texts)
    assert scene.statuses() == [304 if version == "1.0" else 200]
    assert files_below(scene.cache, "scratch") == []


@pytest.mark.parametrize("number", [1, 2])
async def test_a_url_that_could_not_be_asked_is_asked_again(scene: Scene, number: int) -> None:
    url = scene.serve(f"/{SDIST}", make_sdist(scene.folder, Project("acme", "1.0")))
    await scene.metadata(url)
    scene.server.behave(f"/{SDIST}", Behaviour(etag="auto", statuses=[403] * number))

    async with scene.database() as database:
        for _ in range(number):
            with pytest.raises(NetworkError, match="answered 403"):
                await database.metadata(url)
        assert (await database.metadata(url)).cached
    assert scene.statuses() == [*[403] * number, 304]


# Names


@pytest.mark.parametrize(
    ("is_built", "warm", "ask"),
    [
        (False, "", "metadata"),
        (False, "", "wheel"),
        (False, "metadata", "metadata"),
        (False, "metadata", "wheel"),
        (True, "", "metadata"),
        (True, "", "wheel"),
        (True, "metadata", "metadata"),
        (True, "metadata", "wheel"),
        (True, "wheel", "metadata"),
        (True, "wheel", "wheel"),
    ],
)
async def test_an_sdist_of_another_project(scene: Scene, warm: str, ask: str, is_built: bool) -> None:
    other = buildable(scene.folder, "other") if is_built else make_sdist(scene.folder, Project("other", "1.0"))
    url = scene.serve("/other-1.0.tar.gz", other, MAX_AGE)
    if warm:
        await (scene.wheel if warm == "wheel" else scene.metadata)(url)

    error = await scene.error(f"acme @ {url}", ask)
    assert isinstance(error, MetadataError | BuildError)
    assert "is for `acme`, but its metadata are for `other`" in str(error)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("ask", ["metadata", "wheel"])
async def test_a_wheel_whose_metadata_are_of_another_project(scene: Scene, ask: str, warm: bool) -> None:
    lying = Project("acme", "1.0", metadata="Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    url = scene.serve(f"/{WHEEL}", make_wheel(scene.folder, lying), MAX_AGE)
    if warm:
        await scene.error(url)
    error = await scene.error(f"acme @ {url}", ask)
    assert (type(error), error.code) == (MetadataError, "names-disagree")


async def test_the_cache_lists_and_cleans_what_has_no_name_of_its_own(scene: Scene) -> None:
    url = scene.serve("/master.zip", buildable(scene.folder, "acme"), MAX_AGE)
    await scene.wheel(url)
    async with scene.database() as database:
        found = list(contents.items(database.cache, database.records))
        assert [(item.name, item.filename, item.kind) for item in found] == [("acme", "master.zip", "url")]
        contents.clean(database.cache, database.run, found, frozenset({"acme"}))
    assert (scene.entries(), scene.archives()) == ([], [])


async def test_the_cache_lists_what_was_prepared(scene: Scene) -> None:
    url = scene.serve("/master.zip", repository(scene.folder, "acme"), MAX_AGE)
    await scene.metadata(f"{url}#subdirectory=acme")
    async with scene.database() as database:
        assert [item.name for item in contents.items(database.cache, database.records)] == ["", "acme"]


# Where it is


async def test_credentials_stay_with_their_origin_and_out_of_the_cache(scene: Scene) -> None:
    sdist = buildable(scene.folder, "acme")
    with IndexServer() as elsewhere:
        elsewhere.static("/real.zip", sdist.read_bytes())
        elsewhere.behave("/real.zip", Behaviour(etag="auto"))
        target = f"{elsewhere.url}/real.zip?sig={TOKEN}"
        plain = scene.serve("/acme.zip", b"", Behaviour(require_auth=("reader", SECRET), redirect=target))
        url = plain.replace("://", f"://reader:{SECRET}@")

        assert (await scene.error(plain)).code == "http-401"
        assert (await scene.wheel(url)).filename == WHEEL
        await scene.metadata(url, refresh=True)
        assert [request.status for request in elsewhere.requests] == [200, 304]
        assert not any("authorization" in request.headers for request in elsewhere.requests)
    assert not scene.contains(SECRET, TOKEN, base64.b64encode(f"reader:{SECRET}".encode()).decode())
    assert SECRET not in repr(scene.told.events)


async def test_a_redirect_is_followed_again(scene: Scene) -> None:
    for version in ("1.0", "2.0"):
        scene.serve(f"/{version}.zip", make_sdist(scene.folder, Project("acme", version)), MAX_AGE)
    url = scene.serve("/latest", b"", Behaviour(redirect="/1.0.zip"))
    assert (await scene.metadata(url)).metadata.version == "1.0"
    scene.serve("/latest", b"", Behaviour(redirect="/2.0.zip"))
    assert (await scene.metadata(url)).metadata.version == "2.0"


async def test_validators_of_one_redirect_say_nothing_of_the_next(scene: Scene) -> None:
    for version in ("1.0", "2.0"):
        sdist = make_sdist(scene.folder, Project("acme", version))
        scene.serve(f"/{version}.zip", sdist, Behaviour(last_modified=LAST_MODIFIED))
    url = scene.serve("/latest", b"", Behaviour(redirect="/1.0.zip"))
    assert (await scene.metadata(url)).metadata.version == "1.0"
    scene.serve("/latest", b"", Behaviour(redirect="/2.0.zip"))
    assert (await scene.metadata(url)).metadata.version == "2.0"


# Bad input


@pytest.mark.parametrize("path", ["/acme.zip", "/acme.git", f"/{SDIST}", f"/{WHEEL}"])
async def test_what_is_no_archive(scene: Scene, path: str) -> None:
    url = scene.serve(path, b"<!DOCTYPE html><title>Sign in</title>" * 100)
    for ask in ("metadata", "wheel"):
        assert isinstance(await scene.error(url, ask), ArchiveError)


@pytest.mark.parametrize("filename", ["acme.whl", "acme-1.0-cp27-cp27m-win32.whl"])
async def test_a_wheel_that_does_not_fit(scene: Scene, filename: str) -> None:
    assert isinstance(await scene.error(f"{scene.server.url}/{filename}"), NoMatchError)
    assert scene.server.paths == []


@pytest.mark.parametrize("made", [SDIST, WHEEL])
async def test_a_file_that_is_not_there_or_has_gone(scene: Scene, made: str) -> None:
    url = f"{scene.server.url}/{made}"
    assert (await scene.error(url)).code == "http-404"

    make = make_sdist if made == SDIST else make_wheel
    scene.serve(f"/{made}", make(scene.folder, Project("acme", "1.0")))
    await scene.wheel(url) if made == WHEEL else await scene.metadata(url)
    scene.server.behave(f"/{made}", Behaviour(statuses=[404]))
    error = await scene.error(url)
    assert (type(error), error.code) == (NetworkError, "http-404")
    assert ((await scene.metadata(url)).metadata.version, scene.statuses()) == ("1.0", [200])
