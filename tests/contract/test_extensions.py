"""Extensions, in the group `felloe.plugins`: found, checked, listed, and each hook called when it is said to be."""

from __future__ import annotations

import json
import platform
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar, Self

import anyio
import pytest
from attrs import evolve

from felloe import BlockingDatabase, Config, Database
from felloe.config import Building
from felloe.errors import BuildError, ConfigError, ContractError, FelloeError, NetworkError, PluginError
from felloe.hookspecs import EXTENSIONS
from felloe.plugin import BuildJob, Built, Context, Event, RawMetadata, Url, hookimpl
from felloe.registry import load_registry
from felloe.testing import Behaviour, IndexServer, Project, make_wheel
from tests.fixtures.line import Told, config_of, files_below, own_sources
from tests.fixtures.plugins import SOURCE, Plugin, Site, make_site
from tests.fixtures.projects import HOOKS, buildable, hooks_called

EXTENSION = """\
from felloe.plugin import hookimpl


class Extension:
    @hookimpl
    def report(self, event):
        pass
"""
CREDENTIALS = "async def credentials(self, url): pass"
REMEDY = "(mend or uninstall it, or do without it: FELLOE_DISABLE=acme)"
PAIR = ("me", "s3cret")
WHEEL = "acme-1.0-py3-none-any.whl"


def hook(definition: str) -> str:
    """An extension with this as its one hook."""
    return EXTENSION.replace("def report(self, event):\n        pass", definition)


def acme(code: str, value: str = "acme:Extension", **options: Any) -> Plugin:
    return Plugin("felloe-acme", extensions={"acme": value}, modules={"acme": code}, **options)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with make_site(tmp_path / "site") as site:
        site.install(Plugin("felloe-good", extensions={"good": "good:Extension"}, modules={"good": EXTENSION}))
        yield site


@pytest.fixture
def index(tmp_path: Path) -> Iterator[IndexServer]:
    with IndexServer() as server:
        server.add(make_wheel(tmp_path, Project("acme", "1.0")), sidecar=True)
        yield server


def states(database: Database) -> dict[str, str]:
    return {each.kind.name: each.kind.state for each in database.extensions.all()}


def open_with(site: Site, told: Told | None = None, **options: Any) -> Database:
    config = Config(cache_dir=site.folder.parent / "cache", **options)
    return Database(config, reporter=told, sources=site.entry_points())


# What is good, and what is broken

GOOD = [
    pytest.param(EXTENSION, "acme:Extension", {"report"}, id="a class"),
    pytest.param(EXTENSION + "\n\nit = Extension()\n", "acme:it", {"report"}, id="an instance"),
    pytest.param(
        "from felloe.plugin import hookimpl\n\n\n@hookimpl\ndef report(event):\n    pass\n",
        "acme",
        {"report"},
        id="a module",
    ),
    pytest.param(hook("def report(self):\n        pass"), "acme:Extension", {"report"}, id="fewer parameters"),
    pytest.param(hook(CREDENTIALS), "acme:Extension", {"credentials"}, id="credentials"),
    pytest.param(
        hook("def accepts(self, job): pass\n\n    @hookimpl\n    async def build(self, job, ctx): pass"),
        "acme:Extension",
        {"accepts", "build"},
        id="builder",
    ),
    pytest.param(EXTENSION + "    api = 1\n", "acme:Extension", {"report"}, id="with its API"),
]
BROKEN = [
    pytest.param("import no_such_module", "cannot be loaded: ModuleNotFoundError: No module named", id="import"),
    pytest.param("raise SystemExit(3)", "cannot be loaded: SystemExit: 3", id="exits"),
    pytest.param("", "cannot be loaded: AttributeError: module 'acme' has no attribute", id="no such attribute"),
    pytest.param(EXTENSION + "    api = 2\n", "version 2 of the plugin API, this felloe has 1", id="a later API"),
    pytest.param("Extension = 3", "it has no hook (marked with @hookimpl)", id="nothing of the kind"),
    pytest.param(EXTENSION.replace("    @hookimpl\n", ""), "it has no hook", id="unmarked"),
    pytest.param(hook("def reprot(self, event): pass"), "there is no hook `reprot`", id="misspelt"),
    pytest.param(hook("def find(self, request): pass"), "there is no hook `find`", id="a hook of sources"),
    pytest.param(hook("async def report(self, event): pass"), "`report` has to be a plain function", id="async"),
    pytest.param(hook("def accepts(self, job): pass"), "needs `accepts` and `build`, and it lacks `build`", id="half"),
    pytest.param(hook("def credentials(self, url): pass"), "`credentials` has to be `async def`", id="not async"),
    pytest.param(hook("async def credentials(self, url, user): pass"), "'user'", id="unknown parameter"),
    pytest.param(hook("async def credentials(self, url=None): pass"), "the parameter `url=None`", id="default"),
    pytest.param(
        EXTENSION + "\n    def __init__(self):\n        raise OSError('https://me:s3cret@acme.example/ is down')\n",
        "it cannot be made: OSError: https://acme.example/ is down",
        id="cannot be made",
    ),
    pytest.param(EXTENSION + "\n    def __init__(self, name): pass\n", "it cannot be made: TypeError", id="arguments"),
]


@pytest.mark.parametrize(("code", "value", "hooks"), GOOD)
def test_what_an_extension_may_be(site: Site, code: str, value: str, hooks: set[str]) -> None:
    site.install(acme(code, value))

    database = open_with(site, strict=True)

    assert states(database) == {"acme": "loaded", "good": "loaded"}
    assert set(database.extensions.all()[0].hooks) == hooks


@pytest.mark.parametrize(("code", "reason"), BROKEN)
def test_one_that_is_broken_is_told_of_and_takes_no_other_with_it(site: Site, code: str, reason: str) -> None:
    site.install(acme(code))
    told = Told()

    database = open_with(site, told)

    assert states(database) == {"acme": "failed", "good": "loaded"}
    assert database.registry.failures == ()  # no name may be its own: indexes are asked as ever
    (warning,) = told.messages("warning")
    assert warning.startswith("extension `acme` of felloe-acme 1.0 ")
    assert reason in warning
    assert warning.endswith(REMEDY)
    assert "s3cret" not in warning
    with pytest.raises((FelloeError, ImportError, AttributeError, SystemExit)):
        open_with(site, strict=True)


def test_of_two_distributions_with_one_name_neither_is_loaded(site: Site) -> None:
    site.install(acme(EXTENSION))
    site.install(Plugin("acme-fork", extensions={"acme": "fork:Extension"}, modules={"fork": EXTENSION}))

    database = open_with(site)

    assert [each.kind.state for each in database.extensions.all()] == ["failed", "failed", "loaded"]
    assert "2 distributions bring the extension `acme`; uninstall all but one" in database.extensions.failures[0]


def test_what_is_disabled_is_not_even_imported(site: Site, tmp_path: Path) -> None:
    site.install(acme(f"open({str(tmp_path / 'imported')!r}, 'w')"))

    database = open_with(site, strict=True, disabled=frozenset({"acme"}))

    assert states(database) == {"acme": "disabled", "good": "loaded"}
    assert not (tmp_path / "imported").exists()


def test_a_source_and_an_extension_may_have_one_name(site: Site) -> None:
    site.install(acme(EXTENSION, kinds={"acme": "source:Source"}))
    (site.folder / "source.py").write_text(SOURCE)

    database = open_with(site, strict=True)

    assert [each.name for each in database.registry.instances] == ["acme"]
    assert states(database) == {"acme": "loaded", "good": "loaded"}
    assert [kind.name for kind in load_registry(Config(), site.entry_points()).kinds] == ["acme"]


def test_ours_are_imported_when_a_hook_is_asked_for(site: Site) -> None:
    """What listens has to be known from the start; ours do not."""
    code = "import sys; from felloe import Database; db = Database(); name = 'felloe.net.keyring';"
    ours = Plugin("felloe-ours", extensions={"ours": "felloe.net.keyring:Keyring"})
    site.install(ours)
    show = "print(name in sys.modules, 'good' in sys.modules); db.extensions.all(); print(name in sys.modules)"

    done = site.python(f"{code} {show}", FELLOE_CACHE_DIR=str(site.folder / "cache"))

    assert done.stdout == "False True\nTrue\n", done.stderr


# report


class Listener:
    def __init__(self) -> None:
        self.events: list[Event] = []

    @hookimpl
    def report(self, event: Event) -> None:
        self.events.append(event)


class Failing(Listener):
    @hookimpl
    def report(self, event: Event) -> None:
        super().report(event)
        raise OSError("https://me:s3cret@log.example.com/ is down")


listening = Listener()
failing = Failing()


def point(name: str, attribute: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{attribute}", EXTENSIONS)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    for each in (listening, failing):
        each.events.clear()
    for giver in (Giver, Second):
        giver.asked, giver.gives, giver.waits, giver.users = [], {}, None, []


def test_every_event_is_heard(index: IndexServer, tmp_path: Path) -> None:
    """Once, as by the reporter: what is tried without an event loop and given up is not told."""
    told = Told()
    sources = [*own_sources(), point("ear", "listening")]
    for _ in range(2):
        with BlockingDatabase(config_of(tmp_path / "cache", index), reporter=told, sources=sources) as database:
            database.metadata("acme")

    assert listening.events == told.events
    assert {"request", "rung", "fresh"} <= {event.code for event in listening.events}


def test_what_a_listener_raises_is_told_of_once(index: IndexServer, tmp_path: Path) -> None:
    told = Told()
    sources = [*own_sources(), point("ear", "listening"), point("a-broken-ear", "failing")]
    with BlockingDatabase(config_of(tmp_path / "cache", index), reporter=told, sources=sources) as database:
        assert database.metadata("acme").metadata.version == "1.0"

    (warning,) = told.messages("warning")
    assert "extension `a-broken-ear` of " in warning
    assert "failed in `report`: OSError: https://log.example.com/ is down" in warning
    assert len(failing.events) == len(told.events)  # it may be the one event only that it cannot bear
    assert sorted(map(str, listening.events)) == sorted(map(str, told.events))


# credentials


class Giver:
    """`gives` is what it has for a host, an exception to raise it."""

    asked: ClassVar[list[str]] = []
    users: ClassVar[list[Any]] = []
    gives: ClassVar[dict[str, Any]] = {}
    waits: Any = None

    @hookimpl
    async def credentials(self, url: Url) -> tuple[str, str] | None:
        type(self).asked.append(str(url))
        type(self).users.append(url.userinfo)
        await anyio.sleep(0.02 if self.waits is None else self.waits)
        answer = self.gives.get(str(url.port))
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Second(Giver):
    pass


@pytest.fixture
def private(index: IndexServer) -> IndexServer:
    index.behave("*", Behaviour(require_auth=PAIR))
    return index


def giving(index: IndexServer, answer: Any, giver: type[Giver] = Giver) -> None:
    giver.gives = {**giver.gives, index.index_url.split(":")[2].split("/")[0]: answer}


def database_of(
    folder: Path, *servers: IndexServer, told: Told | None = None, seconds: bool = False, **options: Any
) -> Database:
    sources = [*own_sources(), point("giver", "Giver"), *([point("second", "Second")] if seconds else [])]
    return Database(config_of(folder / "cache", *servers, **options), reporter=told, sources=sources)


@pytest.mark.anyio
async def test_a_server_that_wants_to_know_gets_what_an_extension_has(private: IndexServer, tmp_path: Path) -> None:
    giving(private, PAIR)
    told = Told()
    async with database_of(tmp_path, private, told=told) as database:
        assert (await database.metadata("acme")).metadata.version == "1.0"
        assert (await database.wheel("acme")).filename == WHEEL

    assert Giver.asked == [private.index_url]
    assert Giver.users == [None]
    assert [request.status for request in private.requests].count(401) == 1
    assert "s3cret" not in repr(told.events) + repr(database)
    for path in files_below(tmp_path / "cache"):
        assert b"s3cret" not in (tmp_path / "cache" / path).read_bytes()
        assert b"bWU6czNjcmV0" not in (tmp_path / "cache" / path).read_bytes()


@pytest.mark.anyio
async def test_what_is_warm_asks_nobody(private: IndexServer, tmp_path: Path) -> None:
    private.behave("/simple/*", Behaviour(require_auth=PAIR, cache_control="max-age=600"))
    giving(private, PAIR)
    for _ in range(2):
        async with database_of(tmp_path, private) as database:
            answer = await database.metadata("acme")

    assert answer.cached
    assert len(Giver.asked) == 1


@pytest.mark.anyio
async def test_a_server_that_does_not_ask_gets_nothing(index: IndexServer, tmp_path: Path) -> None:
    giving(index, PAIR)
    async with database_of(tmp_path, index) as database:
        await database.metadata("acme")

    assert Giver.asked == []
    assert not any("authorization" in request.headers for request in index.requests)


@pytest.mark.anyio
@pytest.mark.parametrize("answer", [PAIR, None])
async def test_all_who_come_at_once_ask_once(private: IndexServer, tmp_path: Path, answer: Any) -> None:
    """A "no" is remembered as well."""
    names = [f"acme-{number}" for number in range(20)]
    for name in names:
        private.add(make_wheel(tmp_path, Project(name, "1.0")), sidecar=True)
    giving(private, answer)
    async with database_of(tmp_path, private) as database:
        outcomes = [outcome async for outcome in database.metadata_many(names)]
        with pytest.raises(NetworkError) if answer is None else anyio.CancelScope():
            await database.metadata("acme")

    assert len(outcomes) == 20
    assert all((outcome.error is None) == (answer is not None) for outcome in outcomes)
    assert {getattr(outcome.error, "code", "") for outcome in outcomes} == ({""} if answer else {"http-401"})
    assert len(Giver.asked) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "shown"),
    [
        pytest.param(RuntimeError("s3cret"), "failed in `credentials`: RuntimeError (", id="whatever it read"),
        pytest.param(FelloeError("log in first", hint="run login"), "log in first (run login)", id="its own words"),
        pytest.param(["me", "s3cret"], "it gave back list, not a user name and a password", id="a list"),
        pytest.param(("s3cret",), "it gave back tuple, not", id="one alone"),
        pytest.param((b"me", b"s3cret"), "it gave back tuple, not", id="bytes"),
    ],
)
async def test_one_that_fails_is_told_of_and_the_next_is_asked(
    private: IndexServer, tmp_path: Path, broken: Any, shown: str
) -> None:
    giving(private, broken)
    giving(private, PAIR, Second)
    told = Told()
    async with database_of(tmp_path, private, told=told, seconds=True) as database:
        assert (await database.metadata("acme")).metadata.version == "1.0"

    (warning,) = told.messages("warning")
    assert warning.startswith("extension `giver` of ")
    assert shown in warning
    assert warning.endswith((" (run login)", "or do without it: FELLOE_DISABLE=giver)"))
    assert "s3cret" not in repr(told.events)


@pytest.mark.anyio
async def test_strict_raises_what_one_raises(private: IndexServer, tmp_path: Path) -> None:
    giving(private, RuntimeError("s3cret"))
    async with database_of(tmp_path, private, strict=True) as database:
        with pytest.raises(
            PluginError, match=r"extension `giver` of .* failed in `credentials`: RuntimeError"
        ) as raised:
            await database.metadata("acme")

    assert isinstance(raised.value.__cause__, RuntimeError)
    assert "s3cret" not in str(raised.value)


@pytest.mark.anyio
async def test_the_first_with_an_answer_is_the_last_to_be_asked(private: IndexServer, tmp_path: Path) -> None:
    giving(private, PAIR)
    giving(private, ("other", "wrong"), Second)
    async with database_of(tmp_path, private, seconds=True) as database:
        await database.metadata("acme")

    assert (len(Giver.asked), Second.asked) == (1, [])


@pytest.mark.anyio
async def test_an_answer_is_for_its_own_origin(private: IndexServer, tmp_path: Path) -> None:
    """Another server is asked about by itself, and sees nothing of the first one's."""
    giving(private, PAIR)
    wheel = make_wheel(tmp_path / "made", Project("beta", "1.0"))
    with IndexServer() as other:
        other.behave("*", Behaviour(require_auth=("you", "else")))
        other.static(f"/files/{wheel.name}", wheel.read_bytes())
        private.add(wheel, url=f"{other.url}/files/{wheel.name}")
        async with database_of(tmp_path, private) as database:
            with pytest.raises(NetworkError, match="answered 401"):
                await database.metadata("beta")

        assert Giver.asked == [private.index_url, f"{other.url}/"]
        assert not any("authorization" in request.headers for request in other.requests)


@pytest.mark.anyio
@pytest.mark.parametrize("waits", [0.02, 30])
async def test_one_that_is_cancelled_is_asked_by_the_next(private: IndexServer, tmp_path: Path, waits: float) -> None:
    giving(private, PAIR)
    Giver.waits = waits
    async with database_of(tmp_path, private) as database:
        with anyio.move_on_after(0.3):
            await database.metadata("acme")
        Giver.waits = 0
        assert (await database.metadata("acme")).metadata.version == "1.0"

    assert len(Giver.asked) == (1 if waits < 1 else 2)


# The keyring of the system


class Ring:
    """As a backend of `keyring` has it: what is there by service, None for whoever it is."""

    def __init__(self, passwords: dict[tuple[str, str | None], Any]) -> None:
        import keyring
        from keyring.backend import KeyringBackend
        from keyring.credentials import SimpleCredential

        self.asked: list[tuple[str, str | None]] = []
        self.threads: set[int] = set()
        ring = self

        class Backend(KeyringBackend):
            priority = 1.0  # type: ignore[assignment]  # as its documentation says it is set

            def get_credential(self, service: str, username: str | None) -> Any:
                ring.asked.append((service, username))
                ring.threads.add(threading.get_ident())
                found = passwords.get((service, username))
                if isinstance(found, Exception):
                    raise found
                return None if found is None else SimpleCredential(*found)

            def get_password(self, service: str, username: str) -> None: ...
            def set_password(self, service: str, username: str, password: str) -> None: ...
            def delete_password(self, service: str, username: str) -> None: ...

        self.before = keyring.get_keyring()
        keyring.set_keyring(Backend())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        import keyring

        keyring.set_keyring(self.before)


@pytest.fixture
def keyring() -> Any:
    return pytest.importorskip("keyring")


def with_keyring(folder: Path, *servers: IndexServer, told: Told | None = None, **options: Any) -> Database:
    sources = [*own_sources(), EntryPoint("keyring", "felloe.net.keyring:Keyring", EXTENSIONS)]
    return Database(config_of(folder / "cache", *servers, **options), reporter=told, sources=sources)


@pytest.mark.anyio
@pytest.mark.parametrize("by", ["index", "host"])
async def test_a_keyring_is_asked_as_pip_asks_it(private: IndexServer, tmp_path: Path, keyring: Any, by: str) -> None:
    host = private.url.removeprefix("http://")
    services = [private.index_url, host]
    with Ring({(services[0] if by == "index" else host, None): PAIR}) as ring:
        async with with_keyring(tmp_path, private) as database:
            await database.metadata("acme")

    assert ring.asked == [(service, None) for service in services[: 1 if by == "index" else 2]]
    assert threading.get_ident() not in ring.threads


@pytest.mark.anyio
async def test_a_keyring_is_asked_for_the_user_that_is_named(
    private: IndexServer, tmp_path: Path, keyring: Any
) -> None:
    config = config_of(tmp_path / "cache", private)
    (source,) = config.sources
    named = evolve(source, settings={"url": Url(private.index_url.replace("://", "://me@"))})
    sources = [*own_sources(), EntryPoint("keyring", "felloe.net.keyring:Keyring", EXTENSIONS)]
    with Ring({(private.index_url, "me"): PAIR}) as ring:
        async with Database(evolve(config, sources=(named,)), sources=sources) as database:
            await database.metadata("acme")

    assert ring.asked == [(private.index_url, "me")]


@pytest.mark.anyio
async def test_a_keyring_that_fails_is_told_of_once(private: IndexServer, tmp_path: Path, keyring: Any) -> None:
    told = Told()
    with IndexServer() as other, Ring({(private.index_url, None): keyring.errors.KeyringLocked("locked")}) as ring:
        other.behave("*", Behaviour(require_auth=PAIR))
        async with with_keyring(tmp_path, private, other, told=told) as database:
            for server in (private, other):
                with pytest.raises(NetworkError, match="answered 401"):
                    await database.services.pages.read(Url(f"{server.url}/x"), 9, None)

    (warning,) = told.messages("warning")
    assert "failed in `credentials`: the keyring cannot be read: KeyringLocked: locked (" in warning
    assert len(ring.asked) == 1


@pytest.mark.anyio
async def test_without_the_library_there_is_no_answer(
    private: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)  # as good as not there
    told = Told()
    async with with_keyring(tmp_path, private, told=told) as database:
        with pytest.raises(NetworkError) as raised:
            await database.services.pages.read(Url(f"{private.url}/x"), 9, None)

    assert raised.value.code == "http-401"
    assert "felloe-core[keyring]" in raised.value.hint
    assert told.messages("warning") == []


# builder


class OtherBuilder:
    """Says what it was given, changes the project and gives what `gives` says; "none" is not accepted."""

    gives = "acme"
    jobs: ClassVar[list[BuildJob]] = []
    files: ClassVar[list[str]] = []

    @hookimpl
    def accepts(self, job: BuildJob) -> Any:
        return "maybe" if self.gives == "no answer" else self.gives != "none"

    @hookimpl
    async def build(self, job: BuildJob, ctx: Context) -> Any:
        self.jobs.append(job)
        self.files[:] = sorted(path.name for path in job.tree.iterdir())
        (job.tree / "pyproject.toml").unlink()
        match self.gives:
            case "raises":
                raise RuntimeError("out of order")
            case "metadata" if job.goal == "metadata":
                return Built(goal="metadata", metadata=RawMetadata(bytes=METADATA, rung="prepare"))
            case "bad metadata":
                return Built(goal="metadata", metadata=RawMetadata(bytes=b"Name: beta", rung="prepare"))
            case broken if broken in BROKEN_BUILDS:
                return BROKEN_BUILDS[broken]
        made = make_wheel(ctx.scratch, Project(WHEELS.get(self.gives, self.gives), "1.0", requires_dist=["otherwise"]))
        return Built(goal="wheel", wheel=made, requires=("maker==3.0",), provenance={"farm": "north"})


METADATA = b"Metadata-Version: 2.1\nName: acme\nVersion: 1.0\nRequires-Dist: told\n"
WHEELS = {"metadata": "acme"}
BROKEN_BUILDS = {
    "nothing": None,
    "elsewhere": Built(goal="wheel", wheel=Path(__file__)),
    "no path": Built(goal="wheel", wheel="acme-1.0-py3-none-any.whl"),
    "no wheel": Built(goal="wheel"),
    "another goal": Built(goal="editable", wheel=Path(__file__)),
    "odd requires": Built(goal="wheel", requires=(1,)),
    "odd provenance": Built(goal="wheel", provenance={"at": object()}),
}


@pytest.fixture
def building(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A database on an index with one sdist, and the builder `other`, which is chosen where nothing else is said."""
    monkeypatch.setenv(HOOKS, str(tmp_path / "hooks"))
    monkeypatch.setattr(OtherBuilder, "gives", "acme")
    monkeypatch.setattr(OtherBuilder, "jobs", [])
    with IndexServer() as server:
        server.add(buildable(tmp_path / "made", "acme"))

        def database(builder: str | None = "other", **options: Any) -> Database:
            config = config_of(tmp_path / "cache", server, building=Building(builder=builder, **options))
            return Database(config, sources=[*own_sources(), point("other", "OtherBuilder")])

        yield database


@pytest.mark.anyio
async def test_the_chosen_builder_builds_in_felloe_s_place(building: Any, tmp_path: Path) -> None:
    async with building(config_settings={"speed": "fast"}, build_constraints=("maker<4",)) as database:
        answer, wheel = await database.metadata("acme"), await database.wheel("acme")

    (job,) = OtherBuilder.jobs
    assert (answer.rung, answer.wheel, answer.metadata.requires_dist) == ("wheel", WHEEL, ("otherwise",))
    assert (wheel.cached, wheel.filename) == (True, WHEEL)
    assert {"pyproject.toml", "b.py"} <= set(OtherBuilder.files)
    assert (job.dist.name, job.goal, job.config_settings) == ("acme", "metadata", {"speed": "fast"})
    assert (job.constraints, job.stack) == (("maker<4",), ())
    assert (len(job.fingerprint.key), job.interpreter.version) == (16, platform.python_version())
    assert "PATH" in job.env
    assert hooks_called(tmp_path / "hooks") == []
    assert files_below(tmp_path / "cache", "scratch") == []
    record = json.loads(next((tmp_path / "cache").glob("builds-v0/*/*/wheel/record.json")).read_text())
    assert (record["requires"], record["provenance"]) == (["maker==3.0"], {"farm": "north"})


@pytest.mark.anyio
async def test_a_builder_may_prepare_metadata_alone(building: Any, tmp_path: Path) -> None:
    OtherBuilder.gives = "metadata"
    async with building() as database:
        prepared = await database.metadata("acme", effort="prepare")
        again, wheel = await database.metadata("acme"), await database.wheel("acme")

    assert (prepared.rung, prepared.wheel, prepared.metadata.requires_dist) == ("prepare", None, ("told",))
    assert (again.cached, again.metadata) == (True, prepared.metadata)
    assert (wheel.cached, wheel.metadata.requires_dist) == (False, ("otherwise",))
    assert [job.goal for job in OtherBuilder.jobs] == ["metadata", "wheel"]
    assert hooks_called(tmp_path / "hooks") == []


@pytest.mark.anyio
@pytest.mark.parametrize(("builder", "gives"), [("other", "none"), (None, "acme")])
async def test_what_no_builder_is_there_for_is_built_here(
    building: Any, tmp_path: Path, builder: str | None, gives: str
) -> None:
    OtherBuilder.gives = gives
    async with building(builder) as database:
        await database.wheel("acme")

    assert OtherBuilder.jobs == []
    assert hooks_called(tmp_path / "hooks") == ["acme get_requires", "acme wheel"]


@pytest.mark.anyio
async def test_a_builder_that_is_not_there_is_not_done_without(building: Any, tmp_path: Path) -> None:
    async with building("missing") as database:
        with pytest.raises(ConfigError, match="the builder `missing`, and there is none of that name") as raised:
            await database.wheel("acme")

    assert "builders that are there: `other`" in raised.value.hint
    assert hooks_called(tmp_path / "hooks") == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("gives", "error", "said"),
    [
        ("raises", PluginError, "extension `other` failed in `build` for .*: RuntimeError: out of order"),
        ("no answer", ContractError, "str, not bool"),
        ("nothing", ContractError, "NoneType, not Built"),
        ("elsewhere", ContractError, "outside the scratch folder"),
        ("no path", ContractError, "a Built whose `wheel` is str"),
        ("no wheel", ContractError, "without a wheel"),
        ("another goal", ContractError, "for the goal `editable`, not `wheel`"),
        ("odd requires", ContractError, "whose `requires` are not all texts"),
        ("odd provenance", ContractError, "`provenance` that cannot be written as JSON"),
        ("bad metadata", ContractError, "for the goal `metadata`, not `wheel`"),
        ("beta", BuildError, "made what cannot be used"),
    ],
)
async def test_what_a_builder_gives_is_checked(
    building: Any, tmp_path: Path, gives: str, error: type[FelloeError], said: str
) -> None:
    OtherBuilder.gives = gives
    async with building() as database:
        with pytest.raises(error, match=said) as raised:
            await database.wheel("acme")

    assert raised.value.hint
    assert hooks_called(tmp_path / "hooks") == []
    assert files_below(tmp_path / "cache", "scratch", "builds-v0") == []
