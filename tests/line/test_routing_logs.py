"""Which index hears of which name, read from the logs of the indexes: a private name must not reach a public one.

In all of it, `private` is asked before `public`, and a client that were misled would find what it asks for at `public`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from felloe import BlockingDatabase, Config, Database, Dist, Url, parse_request
from felloe.config import Limits, SourceSettings
from felloe.errors import (
    AmbiguousSourceError,
    ConfigError,
    ContractError,
    FelloeError,
    NetworkError,
    OfflineError,
    PluginError,
    ProjectNotFound,
    RequirementError,
    SourceError,
)
from felloe.hookspecs import GROUP
from felloe.testing import Behaviour, IndexServer, Project, make_wheel
from felloe.values import Origin
from tests.fixtures.plugins import NO_FILES, SOURCE, Plugin, Site, changed, make_site

pytestmark = pytest.mark.anyio

PAGE = "/simple/acme-core/"
JSON = "application/vnd.pypi.simple.v1+json"


# The scene


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path, Project("acme-core", "1.0"))


@pytest.fixture
def private() -> Iterator[IndexServer]:
    """Knows nothing, as yet."""
    with IndexServer() as server:
        yield server


@pytest.fixture
def public(wheel: Path, tmp_path: Path) -> Iterator[IndexServer]:
    """Knows `acme-core` and `other`."""
    with IndexServer() as server:
        server.add(wheel)
        server.add(make_wheel(tmp_path, Project("other", "1.0")))
        yield server


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with make_site(tmp_path / "site") as site:
        yield site


def index(name: str, server: IndexServer, **settings: Any) -> SourceSettings:
    return SourceSettings(
        name=name, kind="index", settings={"url": Url(server.index_url), **settings}, origin="pyproject.toml"
    )


class Scene:
    """The two indexes, configured; `settings` are those of `private`."""

    def __init__(self, folder: Path, private: IndexServer, public: IndexServer) -> None:
        self.cache = folder / "cache"
        self.private = private
        self.public = public

    def config(self, *others: SourceSettings, settings: dict[str, Any] | None = None, **options: Any) -> Config:
        both = (index("private", self.private, **(settings or {})), index("public", self.public))
        fixed = {"cache_dir": self.cache, "replaced_kinds": frozenset({"pypi"}), "limits": Limits(max_retry_seconds=0)}
        return Config(sources=(*others, *both), **{**fixed, **options})

    @property
    def asked(self) -> tuple[list[str], list[str]]:
        """The paths that `private` and `public` were asked for."""
        return self.private.paths, self.public.paths


@pytest.fixture
def scene(tmp_path: Path, private: IndexServer, public: IndexServer) -> Scene:
    return Scene(tmp_path, private, public)


def installed(site: Site | None = None) -> list[EntryPoint]:
    """felloe's own sources, and those of `site`."""
    own = [point for point in entry_points(group=GROUP) if point.name in {"pypi", "index"}]
    return own if site is None else [*own, *site.entry_points()]


async def find(config: Config, text: str = "acme-core", *, origin: Origin = "user", site: Site | None = None) -> str:
    """The source that answered."""
    async with Database(config, sources=installed(site)) as database:
        return source_of(await database.find(parse_request(text, origin=origin)))


def source_of(dists: Sequence[Dist]) -> str:
    (source,) = {dist.source for dist in dists}
    return source


def claiming(answer: str) -> str:
    """A source whose `claims` gives `answer`, and whose `find` fails."""
    code = changed("        return None\n", f"        return {answer}\n")
    return code.replace("raise ProjectNotFound", "1 / 0; ").replace("import CacheKey", "import CacheKey, Claim, Level")


# One index after the other


async def test_the_first_index_that_knows_the_project_answers(scene: Scene, wheel: Path) -> None:
    scene.private.add(wheel)

    assert await find(scene.config()) == "private"
    assert scene.asked == ([PAGE], [])


async def test_an_index_that_knows_the_project_answers_even_without_the_version(scene: Scene, tmp_path: Path) -> None:
    scene.private.add(make_wheel(tmp_path / "old", Project("acme-core", "0.1")))

    async with Database(scene.config(), sources=installed()) as database:
        with pytest.raises(FelloeError, match="does not match the only version that is there"):
            await database.metadata("acme-core>=1")

    assert scene.asked == ([PAGE], [])


async def test_a_project_without_files_is_known(scene: Scene) -> None:
    scene.private.page("acme-core", b'{"meta": {"api-version": "1.0"}, "name": "acme-core", "files": []}', JSON)

    async with Database(scene.config(), sources=installed()) as database:
        assert not await database.find("acme-core")

    assert scene.asked == ([PAGE], [])


@pytest.mark.parametrize(
    ("status", "missing"), [(404, []), (410, []), (404, [403]), (403, [403]), (401, [401, 403]), (500, [500])]
)
async def test_an_index_that_says_it_does_not_know_the_project(scene: Scene, status: int, missing: list[int]) -> None:
    scene.private.behave(PAGE, Behaviour(statuses=[status]))

    assert await find(scene.config(settings={"missing": missing})) == "public"
    assert scene.asked == ([PAGE], [PAGE])


async def test_a_project_that_nobody_knows(scene: Scene) -> None:
    with pytest.raises(ProjectNotFound) as raised:
        await find(scene.config(), "nothing")

    assert str(raised.value) == "`private` does not know `nothing`; `public` does not know `nothing`"
    assert scene.asked == (["/simple/nothing/"], ["/simple/nothing/"])


# Any other failure ends it


@pytest.mark.parametrize("missing", [[], [402]])
@pytest.mark.parametrize("status", [400, 401, 403, 405, 418, 429, 500, 502, 503])
async def test_an_error_is_an_error(scene: Scene, status: int, missing: list[int]) -> None:
    scene.private.behave(PAGE, Behaviour(statuses=[status]))

    with pytest.raises(NetworkError, match=f"answered {status}"):
        await find(scene.config(settings={"missing": missing}))

    assert scene.asked == ([PAGE], [])


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(Behaviour(truncate_at=1), id="cut"),
        pytest.param(Behaviour(redirect="ftp://127.0.0.1/"), id="a redirect elsewhere"),
        pytest.param(Behaviour(redirect=PAGE), id="a redirect without end"),
        pytest.param(Behaviour(headers={"Content-Encoding": "gzip"}), id="not what it is said to be packed with"),
        pytest.param(Behaviour(headers={"Content-Type": "image/png"}), id="of another type"),
    ],
)
async def test_a_page_that_does_not_come_whole(scene: Scene, wheel: Path, behaviour: Behaviour) -> None:
    scene.private.add(wheel)
    scene.private.behave(PAGE, behaviour)

    with pytest.raises((NetworkError, SourceError)):
        await find(scene.config())

    assert set(scene.private.paths) == {PAGE}
    assert scene.public.paths == []


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"no JSON",
        b"[]",
        b'{"meta": {"api-version": "2.0"}, "name": "acme-core", "files": []}',
        b'{"meta": {"api-version": "1.0"}, "name": "acme-core"}',
        b"[" * 100_000,
    ],
    ids=["empty", "no JSON", "no object", "another API", "no files", "deep"],
)
async def test_a_page_that_is_none(scene: Scene, page: bytes) -> None:
    scene.private.page("acme-core", page, JSON)

    with pytest.raises(SourceError):
        await find(scene.config())

    assert scene.asked == ([PAGE], [])


async def test_a_page_that_is_too_large(scene: Scene) -> None:
    scene.private.page("acme-core", b" " * 2000, JSON)
    limits = Limits(max_page_bytes=1000, max_retry_seconds=0)

    with pytest.raises(SourceError, match="larger than 1000 bytes"):
        await find(scene.config(limits=limits))

    assert scene.asked == ([PAGE], [])


async def test_an_index_that_takes_too_long(scene: Scene) -> None:
    reached = threading.Event()
    scene.private.behave(PAGE, Behaviour(hold=threading.Event(), reached=reached))

    with pytest.raises(NetworkError, match=re.escape("took longer than 0.2 s")):
        await find(scene.config(timeout=0.2))

    assert reached.is_set()
    assert scene.public.paths == []


async def test_an_index_that_is_not_there(scene: Scene) -> None:
    with IndexServer() as gone:
        settings = index("gone", gone)

    with pytest.raises(NetworkError, match="cannot be read"):
        await find(scene.config(settings))

    assert scene.asked == ([], [])


async def test_offline_does_not_take_what_another_index_once_said(scene: Scene, wheel: Path) -> None:
    scene.private.add(wheel)
    alone = Config(sources=(index("public", scene.public),), cache_dir=scene.cache, replaced_kinds=frozenset({"pypi"}))
    assert await find(alone) == "public"

    with pytest.raises(OfflineError):
        await find(scene.config(offline=True))

    assert scene.asked == ([], [PAGE])


async def test_an_index_that_failed_once_is_not_left_out_the_next_time(scene: Scene, wheel: Path) -> None:
    scene.private.add(wheel)
    scene.private.behave(PAGE, Behaviour(statuses=[500]))
    config = scene.config(refresh=True)

    with pytest.raises(NetworkError):
        await find(config)

    assert await find(config) == "private"
    assert scene.asked == ([PAGE, PAGE], [])


async def test_of_a_batch_each_name_goes_its_own_way(scene: Scene) -> None:
    scene.private.behave(PAGE, Behaviour(statuses=[500]))

    async with Database(scene.config(), sources=installed()) as database:
        outcomes = {outcome.item: outcome async for outcome in database.metadata_many(["acme-core", "other"])}

    assert isinstance(outcomes["acme-core"].error, NetworkError)
    assert outcomes["other"].value.dist.source == "public"
    assert PAGE in scene.private.paths
    assert not any("acme" in path for path in scene.public.paths)


# Names that belong to one index


@pytest.mark.parametrize("text", ["acme-core", "Acme.Core>=1", "acme_core[extra]; python_version > '3'"])
@pytest.mark.parametrize("origin", ["user", "dependency", "build"])
async def test_a_pinned_name_never_falls_through(scene: Scene, text: str, origin: Origin) -> None:
    with pytest.raises(ProjectNotFound):
        await find(scene.config(pins={"acme-*": "private"}), text, origin=origin)

    assert scene.asked == ([PAGE], [])


async def test_a_pinned_name_is_asked_of_its_index_alone(scene: Scene, wheel: Path) -> None:
    scene.private.add(wheel)

    assert await find(scene.config(pins={"acme-core": "public"})) == "public"
    assert scene.asked == ([], [PAGE])


async def test_a_pin_to_a_source_that_is_not_there(scene: Scene) -> None:
    with pytest.raises(ConfigError, match="there is no source `gone`"):
        await find(scene.config(pins={"acme-*": "gone"}))

    assert scene.asked == ([], [])


@pytest.mark.parametrize("behaviour", [Behaviour(), Behaviour(statuses=[403]), Behaviour(statuses=[500])])
async def test_a_name_in_a_namespace_never_falls_through(scene: Scene, behaviour: Behaviour) -> None:
    scene.private.behave(PAGE, behaviour)

    with pytest.raises((ProjectNotFound, NetworkError)):
        await find(scene.config(settings={"projects": ["acme-*"], "missing": [403]}))

    assert scene.asked == ([PAGE], [])


async def test_an_index_with_projects_of_its_own_is_asked_for_nothing_else(scene: Scene) -> None:
    assert await find(scene.config(settings={"projects": ["acme-*"]}), "other") == "public"
    assert scene.asked == ([], ["/simple/other/"])


URL = "acme-core @ https://evil.example/acme_core-1.0.tar.gz"
FILE = "acme-core @ file:///tmp/acme_core-1.0.tar.gz"


@pytest.mark.parametrize("origin", ["dependency", "build"])
@pytest.mark.parametrize("text", [URL, FILE])
async def test_a_dependency_does_not_go_round_a_pin(scene: Scene, text: str, origin: Origin) -> None:
    with pytest.raises(RequirementError, match="pinned to `private`") as raised:
        await find(scene.config(pins={"acme-*": "private"}), text, origin=origin)

    assert raised.value.code == "pinned"
    assert scene.asked == ([], [])


# Two with an equal right

AMBIGUOUS = """\
[[tool.felloe.index]]
name = "north"
url = "{private}"
projects = ["acme-*"]

[[tool.felloe.index]]
name = "south"
url = "{public}"
projects = ["acme-core"]
"""


def configured(folder: Path, text: str) -> Config:
    """The configuration of a project's folder, and of nothing else on this machine."""
    (folder / "pyproject.toml").write_text(text)
    return Config.load(environ={**NO_FILES, "FELLOE_CACHE_DIR": str(folder / "cache")}, cwd=folder)


async def test_nobody_is_asked_until_a_line_settles_it(scene: Scene, tmp_path: Path, wheel: Path) -> None:
    scene.private.add(wheel)
    text = AMBIGUOUS.format(private=scene.private.index_url, public=scene.public.index_url)

    with pytest.raises(AmbiguousSourceError) as raised:
        await find(configured(tmp_path, text))

    assert "`north` (of felloe-pypi: its projects are acme-*)" in str(raised.value)
    assert "`south` (of felloe-pypi: its projects are acme-core)" in str(raised.value)
    assert scene.asked == ([], [])

    table, line = raised.value.hint.removeprefix("say which one, under ").split(" in pyproject.toml: ")

    assert await find(configured(tmp_path, f"{text}\n{table}\n{line}\n")) == "north"
    assert scene.asked == ([PAGE], [])


async def test_a_plugin_and_an_index_with_an_equal_right(scene: Scene, site: Site) -> None:
    code = claiming("Claim(level=Level.NAMESPACE, reason='of Acme')")
    site.install(Plugin("felloe-acme", kinds={"acme": "acme:Source"}, modules={"acme": code}))

    with pytest.raises(AmbiguousSourceError) as raised:
        await find(scene.config(settings={"projects": ["acme-*"]}), site=site)

    assert "`acme` (of felloe-acme: of Acme)" in str(raised.value)
    assert "`private` (of felloe-pypi: its projects are acme-*)" in str(raised.value)
    assert scene.asked == ([], [])


# A broken plugin, which may be the one that owns the name

CORP = SourceSettings(name="corp", kind="acme", origin="pyproject.toml")
NEEDS_TOKEN = changed("        self.settings = settings\n", "        settings['token']\n")
LOST = [
    pytest.param("raise RuntimeError('no licence')", (), "no licence", id="cannot be imported"),
    pytest.param(changed("api = 1", "api = 2"), (), "version 2 of the plugin API", id="of another API"),
    pytest.param(changed("def claims", "def claim"), (), "there is no hook `claim`", id="of another form"),
    pytest.param(NEEDS_TOKEN, (CORP,), "'token'", id="not configured"),
]


def break_plugin(site: Site, code: str) -> None:
    site.install(Plugin("felloe-acme", kinds={"acme": "acme:Source"}, modules={"acme": code}))


@pytest.mark.parametrize(("code", "sources", "reason"), LOST)
async def test_while_a_plugin_is_broken_no_name_reaches_an_index(
    scene: Scene, site: Site, code: str, sources: tuple[SourceSettings, ...], reason: str
) -> None:
    break_plugin(site, code)

    with pytest.raises(PluginError, match=re.escape(reason)) as raised:
        await find(scene.config(*sources), site=site)

    assert raised.value.code == "source-not-loaded"
    assert "of felloe-acme 1.0" in str(raised.value)
    assert "FELLOE_DISABLE=acme" in str(raised.value)
    assert scene.asked == ([], [])


@pytest.mark.parametrize(("code", "sources", "reason"), LOST)
async def test_a_broken_plugin_that_is_disabled_is_in_nobody_s_way(
    scene: Scene, site: Site, code: str, sources: tuple[SourceSettings, ...], reason: str
) -> None:
    break_plugin(site, code)

    assert await find(scene.config(*sources, disabled=frozenset({"acme"})), site=site) == "public"
    assert scene.asked == ([PAGE], [PAGE])


async def test_two_distributions_with_one_kind_are_broken(scene: Scene, site: Site) -> None:
    break_plugin(site, SOURCE)
    site.install(Plugin("acme-fork", kinds={"acme": "fork:Source"}, modules={"fork": SOURCE}))

    with pytest.raises(PluginError, match="2 distributions bring the kind `acme`"):
        await find(scene.config(), site=site)

    assert scene.asked == ([], [])
    assert await find(scene.config(disabled=frozenset({"acme"})), site=site) == "public"


async def test_a_configured_source_that_is_not_installed_is_missed(scene: Scene) -> None:
    with pytest.raises(PluginError, match="no installed plugin brings sources of kind `acme`"):
        await find(scene.config(CORP))

    assert scene.asked == ([], [])


@pytest.mark.parametrize(
    "options",
    [{"pins": {"acme-*": "private"}}, {"settings": {"projects": ["acme-*"]}}, {"settings": {"projects": ["Acme_*"]}}],
)
async def test_a_name_with_an_owner_is_answered_while_another_plugin_is_broken(
    scene: Scene, site: Site, wheel: Path, options: dict[str, Any]
) -> None:
    break_plugin(site, "raise RuntimeError")
    scene.private.add(wheel)

    assert await find(scene.config(**options), site=site) == "private"
    assert scene.asked == ([PAGE], [])


async def test_a_name_pinned_to_a_broken_plugin_says_why_it_is_not_there(scene: Scene, site: Site) -> None:
    break_plugin(site, "raise RuntimeError('no licence')")

    with pytest.raises(ConfigError, match="there is no source `acme`") as raised:
        await find(scene.config(pins={"acme-*": "acme"}), site=site)

    assert "no licence" in raised.value.hint
    assert scene.asked == ([], [])


FAILS_LATE = [
    pytest.param(claiming("1 / 0"), PluginError, id="fails to claim"),
    pytest.param(claiming("True"), ContractError, id="lies in a claim"),
    pytest.param(
        claiming("Claim(level=Level.FALLBACK, reason='any')"), PluginError, id="fails to find what any index may know"
    ),
    pytest.param(
        claiming("Claim(level=Level.NAMESPACE, reason='own')"), PluginError, id="fails to find what is its own"
    ),
]


@pytest.mark.parametrize(("code", "error"), FAILS_LATE)
async def test_a_plugin_that_fails_when_it_is_asked(
    scene: Scene, site: Site, code: str, error: type[PluginError]
) -> None:
    break_plugin(site, code)

    with pytest.raises(error, match="source `corp`") as raised:
        await find(scene.config(CORP), site=site)

    assert type(raised.value) is error
    assert scene.asked == ([], [])
    assert await find(scene.config(CORP, disabled=frozenset({"acme"})), site=site) == "public"


# A plugin that gives what is not its own

THIEF = """\
from pathlib import Path

from felloe.plugin import CacheKey, Claim, Dist, Fetched, Fresh, Level, Stale, hookimpl


class Source:
    api = 1

    def __init__(self, name, settings):
        self.name = name
        self.path = Path(settings["path"])
        self.steals = settings["steals"]

    @hookimpl
    def claims(self):
        return Claim(level=Level.NAMESPACE, reason="all")

    @hookimpl
    def address(self):
        return ""

    @hookimpl
    async def find(self):
        return [Dist(source=self.name, kind="wheel", filename=self.path.name, name="acme-core", version="1.0")]

    @hookimpl
    def cache_key(self, dist):
        return CacheKey(parts=(dist.filename,))

    @hookimpl
    async def check_freshness(self):
        stolen = Stale(code="changed", evidence="a -> b", fetched=Fetched(path=self.path))
        return stolen if self.steals == "check_freshness" else Fresh()

    @hookimpl
    async def fetch(self, ctx):
        copy = ctx.scratch / self.path.name
        copy.write_bytes(self.path.read_bytes())
        return Fetched(path=self.path if self.steals == "fetch" else copy)
"""


@pytest.mark.parametrize("hook", ["fetch", "check_freshness"])
def test_a_file_outside_scratch_stays_where_it_is(scene: Scene, site: Site, wheel: Path, hook: str) -> None:
    site.install(Plugin("felloe-thief", kinds={"thief": "thief:Source"}, modules={"thief": THIEF}))
    before = wheel.read_bytes()

    def open_database(steals: str) -> BlockingDatabase:
        settings = {"path": wheel, "steals": steals}
        config = scene.config(SourceSettings(name="thief", kind="thief", settings=settings))
        return BlockingDatabase(config, sources=installed(site))

    if hook == "check_freshness":
        with open_database("nothing") as database:
            assert database.wheel("acme-core").path.read_bytes() == before
    with open_database(hook) as database, pytest.raises(ContractError, match=f"`thief` gave back from `{hook}`"):
        database.wheel("acme-core")

    assert wheel.read_bytes() == before
    assert scene.asked == ([], [])


# Without an event loop, where a request is first tried by hand and then again


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, "public", id="falls through"),
        pytest.param({"pins": {"acme-*": "private"}}, ProjectNotFound, id="pinned"),
        pytest.param({"settings": {"projects": ["acme-*"]}}, ProjectNotFound, id="in a namespace"),
    ],
)
def test_blocking(scene: Scene, options: dict[str, Any], expected: Any) -> None:
    with BlockingDatabase(scene.config(**options), sources=installed()) as database:
        if expected == "public":
            assert source_of(database.find("acme-core")) == "public"
        else:
            with pytest.raises(expected):
                database.find("acme-core")

    assert scene.asked == ([PAGE], [PAGE] if expected == "public" else [])


def test_blocking_while_a_plugin_is_broken(scene: Scene, site: Site) -> None:
    break_plugin(site, "raise RuntimeError")

    with BlockingDatabase(scene.config(), sources=installed(site)) as database:
        with pytest.raises(PluginError):
            database.find("acme-core")
        outcomes = list(database.metadata_many(["acme-core", "other"]))

    assert [type(outcome.error) for outcome in outcomes] == [PluginError, PluginError]
    assert scene.asked == ([], [])


# The command that somebody types


def test_at_the_command_line(scene: Scene, site: Site) -> None:
    break_plugin(site, "raise RuntimeError('no licence')")
    (site.folder.parent / "felloe.toml").write_text(f'[[index]]\nname = "private"\nurl = "{scene.private.index_url}"\n')
    run = "import sys; sys.argv = ['felloe', 'metadata', 'acme-core']; import felloe.cli; felloe.cli.main()"
    environ = {"FELLOE_CACHE_DIR": str(scene.cache), "FELLOE_INDEX_URL": scene.public.index_url}

    broken = site.python(run, **environ)

    assert (broken.returncode, broken.stdout) == (1, "")
    assert "of felloe-acme 1.0 cannot be loaded: RuntimeError: no licence" in broken.stderr
    assert scene.asked == ([], [])

    disabled = site.python(run, **environ, FELLOE_DISABLE="acme")

    assert disabled.returncode == 0, disabled.stderr
    assert "acme-core" in disabled.stdout
    assert scene.private.paths[0] == scene.public.paths[0] == PAGE
