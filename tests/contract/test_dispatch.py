"""Hooks are called one by one, and what comes out of them is not believed: neither values nor exceptions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from attrs import evolve, frozen
from packaging.specifiers import SpecifierSet

from felloe import dispatch
from felloe.config import Config, SourceSettings
from felloe.errors import ContractError, FelloeError, NetworkError, PluginError, ProjectNotFound
from felloe.registry import Instance, load_registry
from felloe.stepping import NotSteppable
from felloe.url import Url
from felloe.values import (
    CacheKey,
    Claim,
    Context,
    Dist,
    Entry,
    Fetched,
    Fresh,
    Level,
    RawMetadata,
    Request,
    Stale,
)
from tests.fixtures.plugins import SOURCE, Plugin, make_site

pytestmark = pytest.mark.anyio

# A plugin whose hooks do what the settings say: `hook` names a hook, `answer` gives what it gives back.
SCRIPTED = """\
from felloe.plugin import hookimpl


class Source:
    api = 1

    def __init__(self, name, settings):
        self.answer = settings["answer"]
        self.wait = settings["wait"]

    @hookimpl
    def claims(self, request):
        return self.answer(None)

    @hookimpl
    def address(self):
        return self.answer(None)

    @hookimpl
    async def find(self, request, ctx):
        await self.wait()
        return self.answer(ctx)

    @hookimpl
    def cache_key(self, dist):
        return self.answer(None)

    @hookimpl
    async def check_freshness(self, dist, entry, ctx):
        await self.wait()
        return self.answer(ctx)

    @hookimpl
    async def fetch(self, dist, ctx):
        await self.wait()
        return self.answer(ctx)

    @hookimpl
    async def metadata(self, dist, ctx):
        await self.wait()
        return self.answer(ctx)
"""
# One that leaves out what it does not need, and has the rest in an order of its own.
SPARING = """\
from felloe.plugin import CacheKey, Fetched, Fresh, hookimpl


class Source:
    api = 1

    def __init__(self, name, settings):
        self.note = settings["answer"]

    @hookimpl
    def claims(self):
        return None

    @hookimpl
    def address(self):
        return ""

    @hookimpl
    async def find(self, ctx, request):
        self.note(("find", ctx, request))
        return []

    @hookimpl
    def cache_key(self):
        return CacheKey(parts=("all",))

    @hookimpl
    async def check_freshness(self, entry):
        self.note(("check_freshness", entry))
        return Fresh()

    @hookimpl
    async def fetch(self, ctx):
        self.note(("fetch", ctx))
        return Fetched(path=ctx.scratch / "file")

    @hookimpl
    async def metadata(self, ctx, dist):
        self.note(("metadata", ctx, dist))
"""
HOOKS = ["claims", "address", "find", "cache_key", "check_freshness", "fetch", "metadata"]
ASYNCHRONOUS = ["find", "check_freshness", "fetch", "metadata"]

REQUEST = Request(text="acme", name="acme", specifier=SpecifierSet())
DIST = Dist(source="corp", kind="wheel", filename="acme-1.0-py3-none-any.whl", name="acme", version="1.0")
URL = Url("https://acme.example/")

FOR_ONE = {"cache_key", "check_freshness", "fetch", "metadata"}  # hooks that are called for one Dist


def named(hook: str) -> str:
    """A hook as errors name it."""
    return f"`{hook}` for `{DIST.filename}`" if hook in FOR_ONE else f"`{hook}`"


def payload(hook: str) -> dict[str, str]:
    about = {"dist": DIST.filename} if hook in FOR_ONE else {}
    return {"source": "corp", "hook": hook, **about}


@frozen
class Room:
    """As much of a context as is looked at: a folder that a source may write to."""

    scratch: Path


@pytest.fixture
def room(tmp_path: Path) -> Room:
    (tmp_path / "scratch").mkdir()
    return Room(tmp_path / "scratch")


async def at_once() -> None:
    """Waits for nothing."""


Answer = Callable[[Room], object]
Make = Callable[..., Instance]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes the source `corp` out of an installed plugin; `answer` is what each of its hooks gives back."""
    with make_site(tmp_path / "site") as site:

        def source(
            answer: Answer = lambda _: None, wait: Callable[[], Awaitable[None]] = at_once, code: str = SCRIPTED
        ) -> Instance:
            site.install(Plugin("felloe-acme", kinds={"acme": "acme:Source"}, modules={"acme": code}))
            settings = SourceSettings(name="corp", kind="acme", settings={"answer": answer, "wait": wait})
            return load_registry(Config(sources=(settings,), strict=True), site.entry_points()).instance("corp")

        yield source


async def call(hook: str, source: Instance, room: Room) -> Any:
    """What `hook` of `source` gives, as the line would ask."""
    ctx = cast("Context", room)
    match hook:
        case "claims":
            return dispatch.claims(source, REQUEST)
        case "address":
            return dispatch.address(source)
        case "find":
            return await dispatch.find(source, REQUEST, ctx)
        case "cache_key":
            return dispatch.cache_key(source, DIST)
        case "check_freshness":
            return await dispatch.check_freshness(source, DIST, Entry(), ctx)
        case "fetch":
            return await dispatch.fetch(source, DIST, ctx)
        case _:
            return await dispatch.metadata(source, DIST, ctx)


# What is right


GOOD: list[tuple[str, Answer]] = [
    ("claims", lambda _: None),
    ("claims", lambda _: Claim(level=Level.NAMESPACE, reason="its own")),
    ("address", lambda _: ""),
    ("find", lambda _: (DIST, evolve(DIST, kind="sdist", name=None, version=None))),
    ("find", lambda _: ()),
    ("cache_key", lambda _: CacheKey(parts=("a", "b"))),
    ("check_freshness", lambda _: Fresh()),
    ("check_freshness", lambda _: Stale(code="changed", evidence="a -> b")),
    ("check_freshness", lambda room: Stale(code="c", evidence="e", fetched=Fetched(path=room.scratch / "file"))),
    ("fetch", lambda room: Fetched(path=room.scratch / "file")),
    ("fetch", lambda room: Fetched(path=room.scratch / "folder" / ".." / "file", content="sha256:00")),
    ("metadata", lambda _: None),
    ("metadata", lambda _: RawMetadata(bytes=b"", rung="sidecar")),
]


@pytest.mark.parametrize(("hook", "answer"), GOOD)
async def test_what_keeps_the_contract_comes_back(make: Make, room: Room, hook: str, answer: Answer) -> None:
    assert await call(hook, make(answer), room) == answer(room)


async def test_what_is_found_is_no_longer_the_source_s_to_change(make: Make, room: Room) -> None:
    mine = [DIST]

    found = await call("find", make(lambda _: mine), room)
    mine.clear()

    assert found == (DIST,)


DIRECT = [
    Request(text=f"acme @ {URL}", name="acme", url=URL, specifier=SpecifierSet()),
    Request(text="./acme", path=Path("acme"), specifier=SpecifierSet()),
]


@pytest.mark.parametrize("request_", DIRECT, ids=["url", "path"])
@pytest.mark.parametrize("number", [0, 1, 2])
async def test_a_direct_reference_means_one_distribution(
    make: Make, room: Room, request_: Request, number: int
) -> None:
    source = make(lambda _: [DIST] * number)
    asked = dispatch.find(source, request_, cast("Context", room))

    if number == 1:
        assert await asked == (DIST,)
        return
    with pytest.raises(ContractError) as raised:
        await asked
    assert (
        str(raised.value)
        == f"source `corp` gave back from `find`: {number} Dists for a direct reference, not exactly one"
    )


async def test_a_source_without_the_short_cut(make: Make, room: Room) -> None:
    assert await call("metadata", make(code=SOURCE), room) is None


async def test_a_hook_gets_the_parameters_that_it_names(make: Make, room: Room) -> None:
    noted: list[Any] = []
    source = make(noted.append, code=SPARING)

    for hook in HOOKS:
        await call(hook, source, room)

    assert noted == [("find", room, REQUEST), ("check_freshness", Entry()), ("fetch", room), ("metadata", room, DIST)]


# Lies


class Late(Sequence[Dist]):
    """A sequence that has nothing when it is asked."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: Any) -> Any:
        raise LookupError("the page is gone")


def lying(value: Any, **fields: object) -> Any:
    """A copy of `value` with fields that no type checker would let pass."""
    return evolve(value, **fields)


CLAIM = Claim(level=Level.NAMESPACE, reason="its own")
KEY = CacheKey(parts=("a", "b"))
STALE = Stale(code="changed", evidence="a -> b")
FETCHED = Fetched(path=Path("file"))
RAW = RawMetadata(bytes=b"Name: acme", rung="sidecar")
PATH = type(Path()).__name__

LIES: list[tuple[str, object, str]] = [
    ("claims", True, "bool, not Claim | None"),
    ("claims", Level.NAMESPACE, "Level, not Claim | None"),
    ("claims", lying(CLAIM, level=3), "a Claim whose `level` is int, not Level"),
    ("claims", lying(CLAIM, level="namespace"), "a Claim whose `level` is str, not Level"),
    ("claims", lying(CLAIM, reason=None), "a Claim whose `reason` is NoneType, not str"),
    ("address", None, "NoneType, not str"),
    ("address", URL, "Url, not str"),
    ("find", None, "NoneType, not Sequence"),
    ("find", DIST, "Dist, not Sequence"),
    ("find", {DIST.filename: DIST}, "dict, not Sequence"),
    ("find", iter([DIST]), "list_iterator, not Sequence"),
    ("find", (dist for dist in [DIST]), "generator, not Sequence"),
    ("find", "acme", "str, not Dist"),
    ("find", [DIST, None], "NoneType, not Dist"),
    ("find", [DIST, lying(DIST, source="pypi")], "a Dist of source `pypi`, not `corp`"),
    ("find", [DIST, lying(DIST, kind=None)], "a Dist whose `kind` is NoneType, not str"),
    ("find", [DIST, lying(DIST, filename=None)], "a Dist whose `filename` is NoneType, not str"),
    ("find", [DIST, lying(DIST, version=1.0)], "a Dist whose `version` is float, not str | None"),
    ("find", [DIST, lying(DIST, hashes=None)], "a Dist whose `hashes` is NoneType, not Mapping"),
    ("find", [DIST, lying(DIST, locator=URL)], "a Dist whose `locator` is Url, not Mapping"),
    ("cache_key", ("a", "b"), "tuple, not CacheKey"),
    ("cache_key", "a/b", "str, not CacheKey"),
    ("cache_key", None, "NoneType, not CacheKey"),
    ("cache_key", lying(KEY, parts="ab"), "a CacheKey whose `parts` is str, not tuple"),
    ("check_freshness", True, "bool, not Fresh | Stale"),
    ("check_freshness", None, "NoneType, not Fresh | Stale"),
    ("check_freshness", lying(Fresh(), validators=None), "a Fresh whose `validators` is NoneType, not Mapping"),
    ("check_freshness", lying(STALE, evidence=None), "a Stale whose `evidence` is NoneType, not str"),
    ("check_freshness", lying(STALE, fetched=Path()), f"a Stale whose `fetched` is {PATH}, not Fetched | None"),
    ("check_freshness", lying(STALE, fetched=lying(FETCHED, path="f")), "a Fetched whose `path` is str, not Path"),
    ("fetch", None, "NoneType, not Fetched"),
    ("fetch", Path("file"), f"{PATH}, not Fetched"),
    ("fetch", lying(FETCHED, path="file"), "a Fetched whose `path` is str, not Path"),
    ("fetch", lying(FETCHED, content=b""), "a Fetched whose `content` is bytes, not str | None"),
    ("fetch", lying(FETCHED, filename=Path("f")), f"a Fetched whose `filename` is {PATH}, not str | None"),
    ("metadata", b"Name: acme", "bytes, not RawMetadata | None"),
    ("metadata", lying(RAW, bytes="Name: acme"), "a RawMetadata whose `bytes` is str, not bytes"),
    ("metadata", lying(RAW, validators=None), "a RawMetadata whose `validators` is NoneType, not Mapping"),
]


@pytest.mark.parametrize(("hook", "lie", "what"), LIES)
async def test_a_value_of_another_type(make: Make, room: Room, hook: str, lie: object, what: str) -> None:
    with pytest.raises(ContractError) as raised:
        await call(hook, make(lambda _: lie), room)

    assert str(raised.value) == f"source `corp` gave back from {named(hook)}: {what}"
    assert raised.value.hint == "report it to the authors of felloe-acme 1.0"
    assert raised.value.payload == payload(hook)


async def test_a_sequence_that_fails_when_it_is_read(make: Make, room: Room) -> None:
    with pytest.raises(PluginError, match="source `corp` failed in `find`: LookupError: the page is gone"):
        await call("find", make(lambda _: Late()), room)


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({1, 2}, "there is a value of type set"),
        (CIRCLE, "Circular reference detected"),
        ({(): 1}, "keys must be str, int"),
    ],
)
async def test_what_cannot_be_stored(make: Make, room: Room, value: object, told: str) -> None:
    wrong = {"at": value}
    answers: dict[str, object] = {
        "check_freshness": Fresh(validators=wrong),
        "fetch": Fetched(path=room.scratch / "file", validators=wrong),
        "metadata": RawMetadata(bytes=b"", rung="range", validators=wrong),
    }
    for hook, answer in answers.items():
        with pytest.raises(ContractError) as raised:
            await call(hook, make(lambda _, answer=answer: answer), room)
        assert f"gave back from {named(hook)}: `validators` that cannot be written as JSON: {told}" in str(raised.value)

    with pytest.raises(ContractError, match=f"`find` for `{DIST.filename}`: `locator` that cannot be written as JSON"):
        dispatch.cache_key(make(lambda _: KEY), lying(DIST, locator=wrong))


async def test_a_url_may_be_stored(make: Make, room: Room) -> None:
    assert await call("check_freshness", make(lambda _: Fresh(validators={"at": URL})), room)
    assert dispatch.cache_key(make(lambda _: KEY), evolve(DIST, locator={"url": URL})) == KEY


# Paths: the core moves what was fetched into the cache, so it must not be what belongs to somebody


def outside(room: Room) -> Path:
    path = room.scratch.parent / "outside"
    path.mkdir(exist_ok=True)
    (path / "file").touch()
    return path


def link(room: Room, target: Path, name: str = "link") -> Path:
    (room.scratch / name).symlink_to(target)
    return room.scratch / name


PATHS: dict[str, Callable[[Room], Path]] = {
    "elsewhere": lambda room: outside(room) / "file",
    "by dots": lambda room: room.scratch / ".." / outside(room).name / "file",
    "beside": lambda room: room.scratch.with_name("scratch-2") / "file",
    "relative": lambda room: Path("file"),
    "a link outside": lambda room: link(room, outside(room) / "file"),
    "a link inside": lambda room: link(room, room.scratch / "file"),
    "a link to nothing": lambda room: link(room, Path("nothing")),
    "below a link": lambda room: link(room, outside(room)) / "file",
}


@pytest.mark.parametrize("where", PATHS)
@pytest.mark.parametrize("hook", ["fetch", "check_freshness"])
async def test_a_path_that_is_not_the_source_s_to_give(make: Make, room: Room, hook: str, where: str) -> None:
    fetched = Fetched(path=PATHS[where](room))
    answer = fetched if hook == "fetch" else Stale(code="c", evidence="e", fetched=fetched)

    with pytest.raises(ContractError, match="a path that is a link, or outside the scratch folder") as raised:
        await call(hook, make(lambda _: answer), room)

    assert f"source `corp` gave back from {named(hook)}: " in str(raised.value)


@pytest.mark.parametrize("target", ["loop", "nul\0"])
async def test_a_path_that_leads_nowhere(make: Make, room: Room, target: str) -> None:
    link(room, Path("loop"), "loop")

    with pytest.raises(PluginError, match=r"source `corp` (failed in|gave back from) `fetch`"):
        await call("fetch", make(lambda _: Fetched(path=room.scratch / target / "file")), room)


# Exceptions


@contextmanager
def raising(error: BaseException) -> Iterator[Answer]:
    """An answer that raises `error`, whose traceback would keep the test's frames alive."""

    def answer(_: Room) -> object:
        raise error

    yield answer
    error.__traceback__ = None


FOREIGN: list[tuple[Exception, str]] = [
    (ValueError("no such page"), "ValueError: no such page"),
    (KeyError("files"), "KeyError: 'files'"),
    (RuntimeError(), "RuntimeError"),
    (TimeoutError(), "TimeoutError"),
    (StopIteration(), "StopIteration"),
    (RecursionError("too deep"), "RecursionError: too deep"),
    (ExceptionGroup("two", [ValueError(), KeyError()]), "ExceptionGroup: two (2 sub-exceptions)"),
]


@pytest.mark.parametrize("hook", HOOKS)
async def test_a_foreign_exception_says_whose_it_is(make: Make, room: Room, hook: str) -> None:
    error = ValueError("no such page")

    with raising(error) as answer, pytest.raises(PluginError) as raised:
        await call(hook, make(answer), room)

    assert str(raised.value) == f"source `corp` failed in {named(hook)}: ValueError: no such page"
    assert raised.value.hint.startswith("report it to the authors of felloe-acme 1.0;")
    assert raised.value.payload == payload(hook)
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(("error", "told"), FOREIGN)
@pytest.mark.parametrize("hook", ["claims", "fetch"])
async def test_every_foreign_exception_is_told(make: Make, room: Room, hook: str, error: Exception, told: str) -> None:
    with raising(error) as answer, pytest.raises(PluginError) as raised:
        await call(hook, make(answer), room)

    if isinstance(error, StopIteration) and hook == "fetch":
        told = "RuntimeError: coroutine raised StopIteration"  # Python's own doing
    assert str(raised.value) == f"source `corp` failed in {named(hook)}: {told}"


async def test_a_part_that_cannot_be_in_a_key(make: Make, room: Room) -> None:
    with pytest.raises(PluginError, match=r"`cache_key` for `acme-.*`: ValueError: '\.\.' cannot be a part"):
        await call("cache_key", make(lambda _: CacheKey(parts=("..", "etc"))), room)


@pytest.mark.parametrize("error", [ProjectNotFound("no"), NetworkError("down"), FelloeError("odd"), NotSteppable()])
@pytest.mark.parametrize("hook", HOOKS)
async def test_our_own_errors_pass(make: Make, room: Room, hook: str, error: Exception) -> None:
    with raising(error) as answer, pytest.raises(type(error)) as raised:
        await call(hook, make(answer), room)

    assert raised.value is error


class TokenRefusedError(NetworkError):
    """What a plugin calls its own."""

    code = "token-refused"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("kind", [NetworkError, TokenRefusedError])
async def test_credentials_that_are_refused_say_whose_they_are(
    make: Make, room: Room, kind: type[NetworkError], status: int
) -> None:
    """By whoever waited for the same answer too, and once."""
    error = kind("refused", hint="set FELLOE_INDEX_<NAME>_PASSWORD", status=status)
    source = make(code=SCRIPTED.replace("return self.answer(None)", 'return "https://acme.example"'))

    for _ in range(2):
        with raising(error) as answer, pytest.raises(kind) as raised:
            await call("fetch", evolve(source, hooks={**source.hooks, "fetch": make(answer).hooks["fetch"]}), room)

    assert raised.value is error
    assert str(error) == "source `corp`: refused"
    assert error.hint == "set FELLOE_INDEX_CORP_PASSWORD"
    assert (error.code, error.payload) == (kind.code, {"status": status, "source": "corp"})


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
@pytest.mark.parametrize("hook", HOOKS)
async def test_what_ends_the_process_passes(make: Make, room: Room, hook: str, error: BaseException) -> None:
    """A signal's handler may raise them in any hook."""
    with raising(error) as answer, pytest.raises(type(error)) as raised:
        await call(hook, make(answer), room)

    assert raised.value is error


@pytest.mark.parametrize("hook", ASYNCHRONOUS)
async def test_cancellation_passes(make: Make, room: Room, hook: str) -> None:
    started = anyio.Event()
    ended: list[str] = []

    async def hang() -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("hook")

    async def ask() -> None:
        try:
            await call(hook, make(wait=hang), room)
        except Exception as error:  # noqa: BLE001  # none may come
            ended.append(repr(error))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await started.wait()
        group.cancel_scope.cancel()

    assert ended == ["hook"]


async def test_the_time_limit_of_a_caller_is_not_the_fault_of_the_source(make: Make, room: Room) -> None:
    with pytest.raises(TimeoutError), anyio.fail_after(0):
        await call("find", make(wait=anyio.sleep_forever), room)


@pytest.mark.parametrize("hook", HOOKS)
async def test_no_secret_of_a_url_is_told(make: Make, room: Room, hook: str) -> None:
    """What a plugin's own client says often has the URL in it; that of the cause is seen in a traceback alone."""
    error = OSError("cannot reach https://me:hunter2@acme.example/simple/?token=hunter2: no route")

    with raising(error) as answer, pytest.raises(PluginError) as raised:
        await call(hook, make(answer), room)

    assert "cannot reach https://acme.example/simple/" in str(raised.value)
    assert "hunter2" not in f"{raised.value!r} {raised.value} {raised.value.hint} {raised.value.payload}"
