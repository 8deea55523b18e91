"""`felloe_pypi.SimpleIndex`: which settings it takes, what it asks for, and what is no answer of an index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from felloe import Config, Database, Url
from felloe.config import SourceSettings
from felloe.errors import ConfigError, FelloeError, NetworkError, PluginError, ProjectNotFound, SourceError
from felloe.testing import Behaviour, IndexServer, Project, make_wheel
from felloe_pypi import PyPI, SimpleIndex
from tests.fixtures.line import Told, own_sources

pytestmark = pytest.mark.anyio

TOKEN = "s3cr3t-t0ken"


class Acme(SimpleIndex):
    """An index with a setting of its own."""

    def __init__(self, name: str, settings: dict[str, Any]) -> None:
        own = dict(settings)
        self.team = own.pop("team", "")
        super().__init__(name, {"url": f"https://{self.team}.example.com/simple/", **own})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    """Knows `acme`."""
    with IndexServer() as server:
        server.add(make_wheel(tmp_path / "made", Project("acme", "1.0")), sidecar=True)
        yield server


def index(name: str, **settings: Any) -> SourceSettings:
    return SourceSettings(name=name, kind="index", settings=settings, origin=f"felloe.toml [[index]] {name}")


def database(folder: Path, *sources: SourceSettings, told: Told | None = None, **options: Any) -> Database:
    fixed = {"cache_dir": folder / "cache", "replaced_kinds": frozenset({"pypi"})}
    config = Config(sources=sources, **{**fixed, **options})
    return Database(config, reporter=told, sources=own_sources())


async def error_of(folder: Path, *sources: SourceSettings, **options: Any) -> FelloeError:
    async with database(folder, *sources, **options) as asked:
        with pytest.raises(FelloeError) as raised:
            await asked.metadata("acme")
    return raised.value


# Settings


@pytest.mark.parametrize("kind", [SimpleIndex, PyPI, Acme])
@pytest.mark.parametrize("unknown", ["project", "Projects", "find-links", "default", "token"])
def test_a_setting_that_it_does_not_have_is_named(kind: type, unknown: str) -> None:
    settings = {} if kind is PyPI else {"url": "https://example.com/simple/"}
    with pytest.raises(ConfigError) as raised:
        kind("acme", {**settings, unknown: TOKEN})

    assert str(raised.value) == f"source `acme` has no setting `{unknown}`"
    assert raised.value.hint == "it has `url`, `find_links`, `projects`, `missing`"


@pytest.mark.parametrize("key", ["url", "find_links"])
def test_only_pypi_itself_is_of_the_kind_pypi(key: str) -> None:
    with pytest.raises(ConfigError) as raised:
        PyPI("company", {key: Url("https://example.com/simple/")})

    assert str(raised.value) == f"source `company` of kind `pypi` is PyPI itself, and has no `{key}`"
    assert (raised.value.hint, raised.value.payload) == ('write kind = "index" for any other index', {"key": key})


def test_settings_that_it_has() -> None:
    made = SimpleIndex("acme", {"url": "https://example.com/", "projects": ["Acme_*"], "missing": [403]})

    assert (str(made.url), made.projects, made.missing) == ("https://example.com/", ["acme-*"], {403, 404, 410})


def test_a_subclass_may_have_settings_of_its_own() -> None:
    made = Acme("acme", {"team": "blue", "projects": ["acme-*"]})

    assert (made.team, str(made.url)) == ("blue", "https://blue.example.com/simple/")


@pytest.mark.parametrize("misspelt", ["project", "names"])
async def test_a_misspelt_setting_sends_no_name_anywhere(server: IndexServer, tmp_path: Path, misspelt: str) -> None:
    private = index("private", url=Url(server.index_url), **{misspelt: ["acme*"]})

    error = await error_of(tmp_path, private, index("public", url=Url(server.index_url)))

    assert isinstance(error, PluginError)
    for word in ("felloe.toml [[index]] private", f"`{misspelt}`", "`projects`"):
        assert word in str(error)
    assert server.requests == []


# The address


ADDRESSES = [
    ("url", "https://example.com/simple", "https://example.com/simple/"),
    ("url", "https://example.com/simple/", "https://example.com/simple/"),
    ("url", "https://me:secret@EXAMPLE.com:443/simple", "https://example.com/simple/"),
    ("find_links", "https://example.com/links", "https://example.com/links"),
    ("find_links", "https://example.com/links/", "https://example.com/links/"),
]


@pytest.mark.parametrize(("key", "given", "address"), ADDRESSES)
def test_an_address_is_written_one_way(key: str, given: str, address: str) -> None:
    assert SimpleIndex("acme", {key: Url(given)}).address() == address


def test_an_address_with_a_query_tells_queries_apart() -> None:
    ways = ["simple?token=a", "simple/?token=a", "simple/?token=b"]
    first, same, other = (SimpleIndex("acme", {"url": f"https://example.com/{way}"}).address() for way in ways)

    assert first == same != other
    assert first.startswith("https://example.com/simple/?token=****#")


async def test_both_ways_to_write_an_address_share_what_is_cached(server: IndexServer, tmp_path: Path) -> None:
    answers = []
    for url in (server.index_url.rstrip("/"), f"{server.index_url.rstrip('/')}/"):
        async with database(tmp_path, index("acme", url=Url(url))) as asked:
            answers.append(await asked.metadata("acme"))

    assert [answer.cached for answer in answers] == [False, True]


# The query of an address


@pytest.mark.parametrize("end", ["simple/?token={}", "simple?token={}", "simple/?token={}#fragment"])
async def test_the_query_is_sent_for_each_page_and_shown_nowhere(server: IndexServer, tmp_path: Path, end: str) -> None:
    server.behave("*", Behaviour(etag="auto"))
    address = Url(f"{server.url}/{end.format(TOKEN)}")
    told = Told()

    for refresh in (False, True):
        async with database(tmp_path, index(str(address), url=address), told=told, refresh=refresh) as asked:
            assert (await asked.metadata("acme")).metadata.version == "1.0"
            with pytest.raises(ProjectNotFound) as raised:
                await asked.metadata("other")

    sent = {(request.path, request.query) for request in server.requests}
    assert sent == {
        ("/simple/acme/", f"token={TOKEN}"),
        ("/simple/other/", f"token={TOKEN}"),
        ("/files/acme-1.0-py3-none-any.whl.metadata", ""),
    }
    assert TOKEN not in repr(told.events) + str(raised.value)
    for path in (tmp_path / "cache").rglob("*"):
        assert TOKEN not in path.name
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


async def test_another_query_is_another_page(server: IndexServer, tmp_path: Path) -> None:
    for token in ("one", "two"):
        async with database(tmp_path, index("n", url=Url(f"{server.index_url}?token={token}"))) as asked:
            await asked.find("acme")

    assert [request.query for request in server.requests] == ["token=one", "token=two"]


# Folders


@pytest.mark.parametrize(
    ("setting", "path", "projects"),
    [
        ("find_links", "gone", ["acme"]),
        ("find_links", "gone/links.html", ["acme"]),
        ("url", "gone", []),
        ("url", "gone/simple/", ["acme"]),
    ],
)
async def test_a_folder_that_is_not_there_is_no_answer(
    server: IndexServer, tmp_path: Path, setting: str, path: str, projects: list[str]
) -> None:
    url = Url(f"{tmp_path.as_uri()}/{path}")
    local = index("local", **{setting: url, "projects": projects})

    error = await error_of(tmp_path, local, index("next", url=Url(server.index_url)))

    assert (type(error), error.code) == (SourceError, "no-such-folder")
    assert str(url).rstrip("/") in str(error)
    assert error.hint
    assert server.requests == []


async def test_links_for_any_name_that_are_not_there_are_passed_over(server: IndexServer, tmp_path: Path) -> None:
    local = index("local", find_links=Url(f"{tmp_path.as_uri()}/gone"))

    async with database(tmp_path, local, index("next", url=Url(server.index_url))) as asked:
        assert await asked.find("acme")


@pytest.mark.parametrize("setting", ["find_links", "url"])
async def test_a_folder_without_the_project_hands_on(server: IndexServer, tmp_path: Path, setting: str) -> None:
    make_wheel(tmp_path / "local" / "other", Project("other", "1.0"))
    local = index("local", **{setting: Url((tmp_path / "local").as_uri())})

    async with database(tmp_path, local, index("next", url=Url(server.index_url))) as asked:
        assert (await asked.metadata("acme")).dist.source == "next"


async def test_a_page_of_links_that_a_server_does_not_have_knows_nothing(server: IndexServer, tmp_path: Path) -> None:
    links = index("links", find_links=Url(f"{server.url}/links.html"))

    assert isinstance(await error_of(tmp_path, links), ProjectNotFound)


async def test_a_folder_on_another_host(tmp_path: Path) -> None:
    assert isinstance(await error_of(tmp_path, index("n", url=Url("file://example.com/simple/"))), NetworkError)
