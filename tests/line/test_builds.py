"""sdists that have to be built: once, remembered, found again, and never when it was not needed."""

from __future__ import annotations

import base64
import hashlib
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from felloe import Answer, Database, Url, Wheel, parse_request
from felloe.config import Building, Policy, SourceSettings
from felloe.errors import BuildCycleError, BuildError, BuildNeededError, ContractError, FelloeError
from felloe.hookspecs import GROUP
from felloe.testing import Behaviour, IndexServer, Project, make_sdist, make_wheel
from tests.fixtures.line import Told, config_of, files_below, own_sources, read_document
from tests.fixtures.projects import HOOKS, buildable, hooks_called, project_files
from tests.fixtures.pythons import installed

pytestmark = pytest.mark.anyio

SDIST = "acme-1.0.tar.gz"
WHEEL = "acme-1.0-py3-none-any.whl"
SECRET = "pa55-w0rd"
AT_EXIT = f"import atexit; path = os.path.join(wheel_directory, {WHEEL!r})"


class Scene:
    """One index, one cache; each question is a run of its own."""

    def __init__(self, folder: Path, index: IndexServer) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.index = index
        self.hooks_file = folder / "hooks"
        self.told = Told()

    @asynccontextmanager
    async def database(self, building: Building | None = None, **options: Any) -> AsyncIterator[Database]:
        self.told = Told()
        config = config_of(self.cache, self.index, building=building or Building(), **options)
        async with Database(config, reporter=self.told, sources=own_sources()) as database:
            yield database

    async def metadata(self, text: str = "acme", *, effort: Any = "build", **options: Any) -> Answer:
        async with self.database(**options) as database:
            return await database.metadata(text, effort=effort)

    async def wheel(self, text: str = "acme", **options: Any) -> Wheel:
        async with self.database(**options) as database:
            return await database.wheel(text)

    def add(self, name: str = "acme", *arguments: Any, **options: Any) -> Path:
        sdist = buildable(self.folder, name, *arguments, **options)
        self.index.add(sdist)
        return sdist

    def add_asking(self, most: int) -> None:
        """A project whose backend asks for one of so many wheels, as long as it has not got it."""
        for number in range(most):
            self.index.add(make_wheel(self.folder, Project(f"needed{number}", "1.0"), files={f"needed{number}.py": ""}))
        files = project_files("acme")
        files["b.py"] = files["b.py"].replace('    return SAYS["extra_requires"]\n', ASKS_MORE.format(most=most), 1)
        project = Project("acme", "1.0", dynamic=["Requires-Dist"])
        self.index.add(make_sdist(self.folder, project, files=files))

    def hooks(self) -> list[str]:
        """What backends did since the last time."""
        called = hooks_called(self.hooks_file)
        self.hooks_file.unlink(missing_ok=True)
        return called

    @property
    def record(self) -> dict[str, Any]:
        (path,) = self.cache.glob(f"built-wheel-metadata-v0/**/{SDIST}/metadata.json")
        return read_document(path)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with IndexServer() as index:
        scene = Scene(tmp_path, index)
        monkeypatch.setenv(HOOKS, str(scene.hooks_file))
        yield scene


async def test_metadata_are_prepared_once(scene: Scene) -> None:
    scene.add(requires_dist="['zlib-ng>=0.5']")

    answer = await scene.metadata()
    assert (answer.rung, answer.cached, answer.metadata.requires_dist) == ("prepare", False, ("zlib-ng>=0.5",))
    assert scene.hooks() == ["acme get_requires", "acme prepare"]
    assert scene.record["data"] == {}

    again = await scene.metadata()
    assert (again.rung, again.cached, again.metadata) == ("prepare", True, answer.metadata)
    assert scene.hooks() == []


async def test_a_wheel_is_built_once_and_answers_for_metadata(scene: Scene) -> None:
    scene.add(requires_dist="['zlib-ng>=0.5']")

    wheel = await scene.wheel()
    assert (wheel.filename, wheel.rung, wheel.cached) == (WHEEL, "wheel", False)
    assert scene.hooks() == ["acme get_requires", "acme wheel"]
    assert scene.record["data"][WHEEL]["name"] == "acme"
    assert [build["wheel"] for build in scene.record["builds"]] == [WHEEL]
    assert "metadata" not in scene.record["builds"][0]

    again, answer = await scene.wheel(), await scene.metadata()
    assert (again.cached, again.sha256, again.path.name) == (True, wheel.sha256, WHEEL)
    assert (answer.rung, answer.cached, answer.wheel) == ("wheel", True, WHEEL)
    assert scene.hooks() == []
    assert files_below(scene.cache, "scratch") == []


async def test_a_backend_that_cannot_prepare_builds(scene: Scene) -> None:
    scene.add(without=["prepare_metadata_for_build_wheel", "get_requires_for_build_wheel"])

    assert (await scene.metadata()).rung == "wheel"
    assert (await scene.wheel()).cached
    assert scene.hooks() == ["acme wheel"]


async def test_a_second_identical_run_writes_the_same_bytes(scene: Scene) -> None:
    scene.add()
    await scene.wheel()
    before = {path: (scene.cache / path).read_bytes() for path in files_below(scene.cache, "built-wheel-metadata-v0")}

    await scene.wheel()
    await scene.metadata()
    assert {path: (scene.cache / path).read_bytes() for path in before} == before


async def test_a_wheel_that_differs_from_the_metadata_prepared_before_is_told_and_counts(scene: Scene) -> None:
    dynamic = "['zlib-ng>=1'] if 'wheel' in open(os.environ['LC_TEST_HOOKS_CALLED']).read() else []"
    scene.add(requires_dist=dynamic)
    assert (await scene.metadata()).metadata.requires_dist == ()

    await scene.wheel()
    (message,) = scene.told.messages("warning")
    assert 'requires-dist null -> ["zlib-ng>=1"]' in message
    assert (await scene.metadata()).metadata.requires_dist == ("zlib-ng>=1",)


async def test_new_bytes_are_built_and_replace_what_was_known(scene: Scene) -> None:
    scene.add(requires_dist="['old']")
    await scene.wheel()
    scene.hooks()

    scene.add(requires_dist="['new']")
    wheel = await scene.wheel(refresh=True)
    assert wheel.metadata.requires_dist == ("new",)
    assert scene.hooks() == ["acme get_requires", "acme wheel"]
    assert [len(scene.record["builds"]), list(scene.record["data"])] == [1, [WHEEL]]
    assert scene.record["data"][WHEEL]["requires-dist"] == ["new"]


async def test_a_wheel_that_was_lost_is_built_again(scene: Scene) -> None:
    scene.add()
    wheel = await scene.wheel()
    wheel.path.unlink()
    scene.hooks()

    assert (await scene.metadata()).cached
    assert not (await scene.wheel()).cached
    assert scene.hooks() == ["acme get_requires", "acme wheel"]


@pytest.mark.parametrize("variable", ["CFLAGS", "CMAKE_ARGS"])
async def test_a_pure_wheel_does_not_depend_on_the_toolchain(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    scene.add()
    await scene.wheel()
    monkeypatch.setenv(variable, "-O3")

    assert (await scene.wheel()).cached


async def test_settings_make_another_build(scene: Scene) -> None:
    scene.add()
    plain = await scene.wheel()
    fast = await scene.wheel(building=Building(config_settings={"speed": "fast"}))
    named = await scene.wheel(building=Building(config_settings_package={"acme": {"speed": "slow"}}))
    assert len({plain.sha256, fast.sha256, named.sha256}) == 3
    assert scene.hooks() == ["acme get_requires", "acme wheel"] * 3

    assert (await scene.wheel()).sha256 == plain.sha256
    assert (await scene.wheel(building=Building(config_settings={"speed": "fast"}))).sha256 == fast.sha256
    assert scene.hooks() == []


async def test_an_interpreter_that_no_wheel_fits_gets_its_own(scene: Scene) -> None:
    scene.add(tag="'cp%d%d-none-any' % sys.version_info[:2]", requires_dist="['py%d%d' % sys.version_info[:2]]")
    pythons = {name: installed(name) for name in ("python3.12", "python3.13")}

    for name, python in pythons.items():
        wheel = await scene.wheel(python=python)
        assert wheel.filename == f"acme-1.0-{name.replace('python3.', 'cp3')}-none-any.whl"
        assert wheel.metadata.requires_dist == (name.replace("python3.", "py3"),)
    assert scene.hooks() == ["acme get_requires", "acme wheel"] * 2
    assert [path for path in scene.index.paths if path.endswith(SDIST)] == [f"/files/{SDIST}"]
    assert len(scene.record["data"]) == len(scene.record["builds"]) == 2

    for name, python in pythons.items():
        assert (await scene.wheel(python=python)).cached
        assert (await scene.metadata(python=python)).metadata.requires_dist == (name.replace("python3.", "py3"),)
    assert scene.hooks() == []


async def test_metadata_that_vary_under_one_wheel_name_are_kept_apart(scene: Scene) -> None:
    scene.add(requires_dist="['py%d%d' % sys.version_info[:2]]")
    pythons = [installed("python3.13"), installed("python3.12")]
    for python in pythons:
        await scene.wheel(python=python)
    scene.hooks()

    answers = [await scene.metadata(python=python) for python in pythons]
    assert [answer.metadata.requires_dist for answer in answers] == [("py313",), ("py312",)]
    assert [answer.wheel for answer in answers] == [WHEEL, WHEEL]
    assert len({(await scene.wheel(python=python)).sha256 for python in pythons}) == 2
    assert scene.hooks() == []


# What builds require


async def test_requirements_are_installed_and_those_the_backend_adds(scene: Scene) -> None:
    for name in ("first", "second"):
        wheel = make_wheel(scene.folder, Project(name, "1.0"), files={f"{name}.py": f"text = {name!r}\n"})
        scene.index.add(wheel)
    scene.add(requires=["first"], extra_requires=["second>=1"], code="import first, second; assert second.text")

    await scene.wheel()
    assert scene.hooks() == ["acme get_requires"] * 2 + ["acme wheel"]
    (build,) = scene.record["builds"]
    assert sorted(build["hashes"]) == ["first-1.0-py3-none-any.whl", "second-1.0-py3-none-any.whl"]
    assert sorted(build["requires"]) == ["first==1.0", "second==1.0"]


ASKS_MORE = """\
    for number in range({most}):
        if not __import__("importlib.util").util.find_spec("needed%d" % number):
            return ["needed%d" % number]
    return []
"""


async def test_a_backend_is_asked_again_where_it_has_what_it_asked_for(scene: Scene) -> None:
    scene.add_asking(2)
    await scene.wheel()
    assert scene.hooks() == ["acme get_requires"] * 3 + ["acme wheel"]


async def test_a_backend_that_never_has_enough(scene: Scene) -> None:
    scene.add_asking(6)
    with pytest.raises(BuildError, match="asks for more requirements each time"):
        await scene.wheel()
    assert files_below(scene.cache, "scratch") == []


async def test_a_backend_that_writes_in_its_environment_is_run_again_in_one_of_its_own(scene: Scene) -> None:
    """No other build ever sees what it wrote there."""
    spoilt = "os.path.join(sys.prefix, 'spoilt')"
    scene.add(code=f"assert not os.path.exists({spoilt}); open({spoilt}, 'w').close()")
    scene.add("other", code=f"assert not os.path.exists({spoilt})")

    wheels = [await scene.wheel(), await scene.wheel("other")]

    assert [wheel.filename for wheel in wheels] == [WHEEL, WHEEL.replace("acme", "other")]
    assert scene.hooks() == ["acme get_requires", "acme wheel"] * 2 + ["other get_requires", "other wheel"]
    assert files_below(scene.cache, "scratch") == []


async def test_a_requirement_that_is_an_sdist_is_built_before(scene: Scene) -> None:
    scene.add("needed")
    scene.add(requires=["needed"], code="import needed")

    await scene.wheel()
    assert scene.hooks() == [
        "needed get_requires",
        "needed prepare",
        "needed get_requires",
        "needed wheel",
        "acme get_requires",
        "acme wheel",
    ]


@pytest.mark.parametrize("at_once", [1, 8])
async def test_many_builds_with_one_requirement_to_be_built(scene: Scene, at_once: int) -> None:
    scene.add("needed")
    names = [f"acme{number}" for number in range(8)]
    for name in names:
        scene.add(name, requires=["needed"], code="import needed")

    async with scene.database(building=Building(concurrent_builds=at_once)) as database:
        with anyio.fail_after(100):
            outcomes = [outcome async for outcome in database.wheels(names)]
    assert [str(outcome.error) for outcome in outcomes if outcome.error] == []
    called = scene.hooks()
    started = [each for each in called if each.startswith("needed")]
    assert started == ["needed get_requires", "needed prepare", "needed get_requires", "needed wheel"]
    assert sorted(each for each in called if each.startswith("acme")) == sorted(
        f"{name} {hook}" for name in names for hook in ("get_requires", "wheel")
    )


HELD = f"""
import fcntl, time
def is_held(name):
    with open(os.path.join(os.environ["LC_TEST_LOCKS"], name), "a") as file:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB) is not None
        except BlockingIOError:
            return True
most = 0
for _ in range(50):
    names = [name for name in os.listdir(os.environ["LC_TEST_LOCKS"]) if name.startswith("build-")]
    most = max(most, sum(map(is_held, names)))
    time.sleep(0.02)
with open(os.environ[{HOOKS!r}], "a") as file:
    file.write("%d held\\n" % most)
"""


async def test_who_waits_for_a_token_holds_no_lock(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    # The backend that has the token may run a felloe that wants the lock: both would wait for ever.
    monkeypatch.setenv("LC_TEST_LOCKS", str(scene.cache / "locks"))
    for name in ("acme", "other"):
        scene.add(name, code=f"exec({HELD!r}, globals())")

    async with scene.database(Building(concurrent_builds=1)) as database, anyio.create_task_group() as group:
        group.start_soon(database.wheel, "acme")
        group.start_soon(database.wheel, "other")
    assert [line for line in scene.hooks() if line.endswith("held")] == ["1 held"] * 2


async def test_builds_with_the_same_requirements_share_one_environment(scene: Scene) -> None:
    scene.index.add(make_wheel(scene.folder, Project("needed", "1.0"), files={"needed.py": "clean = True\n"}))
    spoil = "import needed; assert needed.clean; open(needed.__file__, 'w').write('clean = False')"
    names = [f"acme{number}" for number in range(20)]
    for name in names:
        scene.add(name, requires=["needed"], code=spoil)

    async with scene.database() as database:
        outcomes = [outcome async for outcome in database.wheels(names)]
    assert [outcome.error for outcome in outcomes] == [None] * 20
    kept = [path for path in scene.cache.glob("environments-v0/*/*") if path.is_dir()]
    assert len(kept) == 1


CYCLES = [
    pytest.param({"a": ["b"], "b": ["a"]}, ["a"], "a 1.0 -> b 1.0 -> a 1.0", id="one"),
    pytest.param({"a": ["b"], "b": ["a"]}, ["a", "b"], " -> ", id="both at once"),
    pytest.param({"a": ["a"]}, ["a"], "a 1.0 -> a 1.0", id="itself"),
    pytest.param({"a": ["b"], "b": ["c"], "c": ["a"]}, ["a", "b", "c"], " -> ", id="three at once"),
]


@pytest.mark.parametrize(("projects", "asked", "said"), CYCLES)
async def test_a_cycle_is_named_at_once(
    scene: Scene, projects: dict[str, Sequence[str]], asked: Sequence[str], said: str
) -> None:
    for name, requires in projects.items():
        scene.add(name, requires=requires)

    async with scene.database() as database:
        with anyio.fail_after(60):
            outcomes = [outcome async for outcome in database.wheels(asked)]
    assert {type(outcome.error) for outcome in outcomes} == {BuildCycleError}
    assert {outcome.error.code for outcome in outcomes if isinstance(outcome.error, FelloeError)} == {"build-cycle"}
    assert all(said in str(outcome.error) for outcome in outcomes)
    assert scene.hooks() == []


async def test_twenty_callers_build_once(scene: Scene) -> None:
    scene.add()
    async with scene.database() as database:
        outcomes = [outcome async for outcome in database.wheels(["acme"] * 20)]
    assert [outcome.error for outcome in outcomes] == [None] * 20
    assert scene.hooks() == ["acme get_requires", "acme wheel"]


async def test_a_requirement_of_a_private_index(scene: Scene) -> None:
    scene.add(requires=["needed"], code="import needed")
    with IndexServer() as private:
        private.add(make_wheel(scene.folder, Project("needed", "1.0"), files={"needed.py": ""}))
        private.behave("/*", Behaviour(require_auth=("reader", SECRET)))
        url = private.index_url.replace("://", f"://reader:{SECRET}@")
        config = config_of(scene.cache, scene.index)
        source = SourceSettings(name="private", kind="index", settings={"url": Url(url), "projects": ["needed"]})
        async with Database(evolve(config, sources=(*config.sources, source)), sources=own_sources()) as database:
            wheel = await database.wheel("acme")
    assert wheel.filename == WHEEL
    assert not any("needed" in path for path in scene.index.paths)
    for path in files_below(scene.cache):
        assert SECRET.encode() not in (scene.cache / path).read_bytes()
        assert base64.b64encode(f"reader:{SECRET}".encode()) not in (scene.cache / path).read_bytes()


async def test_a_requirement_that_is_not_there(scene: Scene) -> None:
    scene.add(requires=["nothing-like-it"])
    with pytest.raises(FelloeError) as caught:
        await scene.wheel()
    assert "nothing-like-it" in str(caught.value)
    assert SDIST in str(caught.value)
    assert files_below(scene.cache, "scratch") == []


# What a source has built elsewhere


@asynccontextmanager
async def farm(scene: Scene, gives: str, **building: Any) -> AsyncIterator[Database]:
    settings = {"url": Url(scene.index.index_url), "gives": gives}
    config = config_of(scene.cache, building=Building(**building))
    config = evolve(config, sources=(SourceSettings(name="farm", kind="farm", settings=settings),))
    point = EntryPoint(name="farm", value="tests.fixtures.farm:Farm", group=GROUP)
    async with Database(config, sources=[point]) as database:
        yield database


async def test_a_wheel_that_its_source_has_built_is_not_built_here(scene: Scene) -> None:
    scene.add()
    async with farm(scene, "acme") as database:
        answer, wheel = await database.metadata("acme"), await database.wheel("acme")
        assert (answer.rung, answer.wheel, answer.metadata.requires_dist) == ("wheel", WHEEL, ("farmed",))
        assert (wheel.cached, wheel.filename) == (True, WHEEL)
    assert scene.hooks() == []
    assert files_below(scene.cache, "scratch") == []


@pytest.mark.parametrize(
    ("gives", "error", "said"),
    [
        ("other", BuildError, "holds the metadata of something else|is for `acme`"),
        ("elsewhere", ContractError, "outside the scratch folder"),
        ("no wheel", ContractError, "not the name of a wheel"),
    ],
)
async def test_what_a_source_gives_is_checked(scene: Scene, gives: str, error: type[FelloeError], said: str) -> None:
    scene.add()
    async with farm(scene, gives) as database:
        with pytest.raises(error, match=said):
            await database.wheel("acme")
    assert files_below(scene.cache, "scratch", "builds-v0") == []


# What was built before, found by what it is


async def test_a_build_is_found_where_the_bytes_are_not(scene: Scene) -> None:
    """By another index, in another record: the hash on its page tells what it is."""
    scene.add()
    await scene.wheel()
    scene.hooks()
    shutil.rmtree(scene.cache / "archives-v0")
    with IndexServer() as other:
        other.add(scene.folder / SDIST)
        other.behave("/files/*", Behaviour(statuses=[404] * 9))
        config = config_of(scene.cache, other)
        async with Database(config, sources=own_sources()) as database:
            answers = [await database.metadata("acme", effort="cached"), await database.metadata("acme")]
            wheel = await database.wheel("acme")
        assert not any(path.endswith(SDIST) for path in other.paths)

    assert [(answer.rung, answer.cached, answer.wheel) for answer in answers] == [("wheel", True, WHEEL)] * 2
    assert (wheel.cached, wheel.filename, wheel.dist.content) == (True, WHEEL, answers[0].dist.content)
    assert scene.hooks() == []
    documents = [read_document(path) for path in scene.cache.glob(f"built-wheel-metadata-v0/**/{SDIST}/metadata.json")]
    assert [len(document["builds"]) for document in documents] == [1, 1]


async def test_a_build_found_so_is_no_answer_under_hash_rules(scene: Scene) -> None:
    sdist = scene.add()
    await scene.wheel()
    scene.hooks()
    with IndexServer() as other:
        other.add(sdist)
        rule = f"acme --hash=sha256:{hashlib.sha256(sdist.read_bytes()).hexdigest()}"
        async with Database(config_of(scene.cache, other), sources=own_sources()) as database:
            wheel = await database.wheel(parse_request(rule))
    assert (wheel.filename, scene.hooks()) == (WHEEL, [])


async def test_a_record_of_another_build_is_none(scene: Scene) -> None:
    scene.add()
    await scene.wheel()
    (folder,) = scene.cache.glob("builds-v0/*/*")
    other = folder.with_name("0" * 16)
    folder.rename(other)
    (metadata,) = scene.cache.glob("built-wheel-metadata-v0/**/metadata.json")
    metadata.unlink()
    scene.hooks()

    await scene.wheel()

    assert scene.hooks() == ["acme get_requires", "acme wheel"]
    assert any("it is of another build" in message for message in scene.told.messages("warning"))


async def test_a_build_takes_place_where_the_last_one_did(scene: Scene) -> None:
    scene.add(code="print(os.getcwd())")
    places = set()
    for _ in range(2):
        wheel = await scene.wheel()
        places.add(wheel.path.with_name("log.txt").read_text())
        shutil.rmtree(scene.cache / "builds-v0")
    assert len(places) == 1
    assert files_below(scene.cache, "scratch") == []


# What is not allowed


@pytest.mark.parametrize(
    ("building", "option"),
    [
        (Building(no_build=frozenset({":all:"})), "--no-build"),
        (Building(no_build=frozenset({"acme"})), "--no-build-package acme"),
    ],
)
async def test_no_build_is_obeyed(scene: Scene, building: Building, option: str) -> None:
    scene.add()
    with pytest.raises(BuildNeededError, match=option) as caught:
        await scene.wheel(building=building)
    assert caught.value.code == "build-not-allowed"
    assert scene.hooks() == []

    await scene.wheel()
    assert (await scene.wheel(building=building)).cached


@pytest.mark.parametrize("effort", ["cached", "static"])
async def test_effort_bounds_how_far_to_go(scene: Scene, effort: str) -> None:
    scene.add()
    with pytest.raises(BuildNeededError) as caught:
        await scene.metadata(effort=effort)
    assert caught.value.code == "effort-exceeded"
    assert scene.hooks() == []


async def test_prepare_does_not_build(scene: Scene) -> None:
    scene.add(without=["prepare_metadata_for_build_wheel"])
    with pytest.raises(BuildNeededError, match="without building"):
        await scene.metadata(effort="prepare")
    assert scene.hooks() == ["acme get_requires"]

    scene.add("other")
    assert (await scene.metadata("other", effort="prepare")).rung == "prepare"


async def test_build_constraints_bind_requirements_alone(scene: Scene) -> None:
    for version in ("1.0", "2.0"):
        scene.index.add(make_wheel(scene.folder, Project("needed", version), files={"needed.py": f"v = '{version}'\n"}))
    scene.add(requires=["needed"])

    await scene.wheel(building=Building(build_constraints=("needed<2",)), policy=Policy(constraints=("needed>1.5",)))
    (build,) = scene.record["builds"]
    assert list(build["hashes"]) == ["needed-1.0-py3-none-any.whl"]


async def test_without_isolation_the_interpreter_itself_builds(scene: Scene) -> None:
    scene.add(requires=["nothing-like-it"], code="import pytest")

    await scene.wheel(building=Building(no_build_isolation=True), python=Path(sys.executable))
    assert scene.hooks() == ["acme get_requires", "acme wheel"]

    # What is installed there may be another thing by now.
    await scene.wheel(building=Building(no_build_isolation=True), python=Path(sys.executable))
    assert scene.hooks() == ["acme get_requires", "acme wheel"]
    assert scene.record["builds"] == []


async def test_a_failing_build_tells_its_last_lines_and_its_log(scene: Scene) -> None:
    scene.add(code="print('about to fail'); raise RuntimeError('no luck')")
    with pytest.raises(BuildError, match="no luck") as caught:
        await scene.wheel()
    assert "about to fail" in str(caught.value)
    log = Path(caught.value.payload["log"])
    assert "about to fail" in log.read_text()
    assert log.is_relative_to(scene.cache / "builds-v0")
    assert files_below(scene.cache, "scratch") == []


async def test_a_wheel_that_is_linked_from_elsewhere_is_copied(scene: Scene) -> None:
    keep = scene.folder / "kept.whl"
    scene.add(code=f"{AT_EXIT}; atexit.register(os.link, path, {str(keep)!r})")

    wheel = await scene.wheel()
    assert keep.read_bytes() == wheel.path.read_bytes()
    keep.write_bytes(b"spoilt")
    assert (await scene.wheel()).sha256 == wheel.sha256


@pytest.mark.parametrize(
    "late",
    [
        "os.remove(path)",
        "os.remove(path); os.symlink('/etc/hostname', path)",
        "os.remove(path); os.mkfifo(path)",
        "open(path, 'w').close()",
    ],
)
async def test_what_a_backend_changes_at_its_end_counts(scene: Scene, late: str) -> None:
    scene.add(code=f"{AT_EXIT}; atexit.register(exec, {late!r}, {{'os': os, 'path': path}})")

    with pytest.raises(BuildError) as caught:
        await scene.wheel()
    assert caught.value.code == "bad-backend-output"
    assert files_below(scene.cache, "scratch") == []


async def test_the_same_bytes_of_another_index_are_not_built_again(scene: Scene) -> None:
    sdist = scene.add()
    await scene.wheel()
    scene.hooks()
    with IndexServer() as other:
        other.add(sdist)
        config = evolve(config_of(scene.cache, other), building=Building())
        async with Database(config, sources=own_sources()) as database:
            wheel = await database.wheel("acme")
    assert wheel.filename == WHEEL
    assert scene.hooks() == []


# What build requirements resolved to


def add_needed(scene: Scene, version: str) -> None:
    wheel = make_wheel(scene.folder, Project("needed", version), files={"needed.py": f"version = {version!r}\n"})
    scene.index.add(wheel)


async def built_with(scene: Scene, name: str, **options: Any) -> str:
    """The version of `needed` that `name` is built with, which needs any."""
    scene.add(name, requires=["needed"], requires_dist="['needed==' + __import__('needed').version]")
    wheel = await scene.wheel(name, **options)
    return wheel.metadata.requires_dist[0]


async def test_a_resolution_counts_while_the_same_is_listed(scene: Scene) -> None:
    add_needed(scene, "1.0")
    assert await built_with(scene, "acme") == "needed==1.0"
    (resolution,) = scene.cache.glob("resolutions-v0/*/*")
    before = resolution.read_bytes()
    assert await built_with(scene, "other") == "needed==1.0"
    assert resolution.read_bytes() == before

    add_needed(scene, "2.0")
    assert await built_with(scene, "third", refresh=True) == "needed==2.0"
    assert resolution.read_bytes() != before
    assert scene.told.messages("warning") == []


async def test_a_damaged_resolution_is_made_again(scene: Scene) -> None:
    add_needed(scene, "1.0")
    await built_with(scene, "acme")
    (resolution,) = scene.cache.glob("resolutions-v0/*/*")
    before = resolution.read_bytes()
    resolution.write_bytes(before[:-3])

    assert await built_with(scene, "other") == "needed==1.0"
    assert resolution.read_bytes() == before


@pytest.mark.parametrize("damage", ["a module is gone", "a module is empty", "the folder is empty"])
async def test_a_damaged_environment_is_made_again(scene: Scene, damage: str) -> None:
    add_needed(scene, "1.0")
    await built_with(scene, "acme")
    for module in list(scene.cache.glob("environments-v0/*/*/lib/*/site-packages/needed.py")):
        for compiled in module.parent.glob("__pycache__/needed*"):
            compiled.unlink()
        if damage == "a module is empty":
            module.unlink()
            module.touch()
        elif damage == "a module is gone":
            module.unlink()
        else:
            shutil.rmtree(module.parents[3])
            module.parents[3].mkdir()

    assert await built_with(scene, "other") == "needed==1.0"


async def test_settings_of_what_is_required_make_another_resolution(scene: Scene) -> None:
    scene.index.add(make_wheel(scene.folder, Project("extra", "1.0"), files={"extra.py": ""}))
    scene.add("needed", requires_dist="['extra'] if config_settings else []")
    scene.add("one", requires=["needed"])
    await scene.wheel("one")
    scene.add("two", requires=["needed"], code="import extra")

    await scene.wheel("two", building=Building(config_settings_package={"needed": {"flag": "1"}}))


async def test_no_build_of_what_is_required_names_the_option(scene: Scene) -> None:
    scene.add("needed")
    scene.add(requires=["needed"], code="import needed")
    with pytest.raises(BuildNeededError, match="--no-build-package needed"):
        await scene.wheel(building=Building(no_build=frozenset({"needed"})))
    await scene.wheel("needed")
    assert await scene.wheel(building=Building(no_build=frozenset({"needed"})))
