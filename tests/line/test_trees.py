"""Folders of projects, as a source of them fetches them: read, built, built again only where they changed."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import anyio
import pytest

from felloe import Answer, Database, Wheel
from felloe.config import Building, Config, Limits, Policy
from felloe.errors import BuildError, BuildNeededError, ContractError, MetadataError, NoMatchError, RequirementError
from felloe.hookspecs import GROUP
from felloe.plugin import CacheKey, Claim, Context, Dist, Entry, Fetched, Fresh, Level, Request, Stale, hookimpl
from tests.fixtures.line import files_below
from tests.fixtures.projects import HOOKS, hooks_called, project_tree
from tests.fixtures.pythons import installed

pytestmark = pytest.mark.anyio

WHEEL = "acme-1.0-py3-none-any.whl"
BUILT = ["acme get_requires", "acme wheel"]
STATIC = '[project]\nname = "acme"\nversion = "1.0"\ndependencies = ["zlib-ng>=0.5"]\n'


class Trees:
    """A source of folders: what it would find upstream is in class attributes, so that a test can change it."""

    api = 1
    default = True
    upstream = Path()
    content: str | None = "tree:" + "1" * 64
    scm: str | None = None
    editable_root: Path | None = None
    hands_over = False
    fetched = 0

    def __init__(self, name: str, settings: Any) -> None:
        self.name = name

    @hookimpl
    def claims(self, request: Request) -> Claim | None:
        return Claim(level=Level.SCHEME, reason="a folder") if request.path else None

    @hookimpl
    def address(self) -> str:
        return ""

    @hookimpl
    async def find(self, request: Request) -> Sequence[Dist]:
        folder = {"subdirectory": request.subdirectory, "editable": request.editable}
        return [Dist(source=self.name, kind="tree", filename="acme", name=request.name, content=self.content, **folder)]

    @hookimpl
    def cache_key(self, dist: Dist) -> CacheKey:
        return CacheKey(parts=("acme", "editable" if dist.editable else "plain"))

    @hookimpl
    async def check_freshness(self, dist: Dist, entry: Entry, ctx: Context) -> Fresh | Stale:
        known, now = (entry.content, entry.scm), (dist.content, self.scm)
        if known == now:
            return Fresh()
        fetched = await self.fetch(dist, ctx) if self.hands_over else None
        return Stale(code="changed", evidence=f"{known} -> {now}", fetched=fetched)

    @hookimpl
    async def fetch(self, dist: Dist, ctx: Context) -> Fetched:
        type(self).fetched += 1
        shutil.copytree(self.upstream, ctx.scratch / "tree", symlinks=True)
        return Fetched(path=ctx.scratch / "tree", content=self.content, scm=self.scm, editable_root=self.editable_root)


class Scene:
    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.upstream = folder / "upstream"
        self.hooks_file = folder / "hooks"

    @asynccontextmanager
    async def database(self, **options: Any) -> AsyncIterator[Database]:
        point = EntryPoint(name="trees", value=f"{__name__}:Trees", group=GROUP)
        config = Config(cache_dir=self.cache, limits=Limits(max_retry_seconds=0), **options)
        async with Database(config, sources=[point]) as database:
            yield database

    async def metadata(self, text: str = "./acme", **options: Any) -> Answer:
        async with self.database(**options) as database:
            return await database.metadata(text)

    async def wheel(self, text: str = "./acme", **options: Any) -> Wheel:
        async with self.database(**options) as database:
            return await database.wheel(text)

    def hooks(self) -> list[str]:
        """What backends did since the last time."""
        called = hooks_called(self.hooks_file)
        self.hooks_file.unlink(missing_ok=True)
        return called


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    scene = Scene(tmp_path)
    project_tree(scene.upstream, "acme", requires_dist="['zlib-ng>=0.5']")
    monkeypatch.setenv(HOOKS, str(scene.hooks_file))
    monkeypatch.setattr(Trees, "upstream", scene.upstream)
    monkeypatch.setattr(Trees, "fetched", 0)
    return scene


async def test_a_tree_is_built_once(scene: Scene) -> None:
    answer = await scene.metadata()
    assert (answer.rung, answer.cached, answer.metadata.requires_dist) == ("prepare", False, ("zlib-ng>=0.5",))
    assert (answer.dist.name, answer.dist.version, answer.dist.content) == ("acme", "1.0", Trees.content)

    assert (await scene.metadata()).cached
    assert scene.hooks() == ["acme get_requires", "acme prepare"]

    wheel = await scene.wheel()
    assert (wheel.filename, wheel.cached) == (WHEEL, False)
    assert (await scene.wheel()).cached
    assert scene.hooks() == ["acme get_requires", "acme wheel"]
    assert Trees.fetched == 2
    assert files_below(scene.cache, "scratch") == []


@pytest.mark.parametrize("change", [{"content": "tree:" + "2" * 64}, {"scm": "v1.1-0-gabc"}])
async def test_what_changed_is_built_and_back_again_is_not(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    await scene.metadata()
    with monkeypatch.context() as changed:
        for name, value in change.items():
            changed.setattr(Trees, name, value)
        answer = await scene.metadata()
        assert not answer.cached
        assert {name: getattr(answer.dist, name) for name in change} == change
    assert len(scene.hooks()) == 4

    assert (await scene.metadata()).dist.scm is None
    assert scene.hooks() == []


def keep_quiet(project: Path) -> None:
    """Its backend lies in the tree, and may ask anybody anything; written so that this is not seen."""
    pyproject = project / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("backend-path", r'"backend\u002dpath"'))


@pytest.mark.parametrize("hands_over", [False, True])
@pytest.mark.parametrize(("text", "is_built"), [("", False), ("[tool.setuptools_scm]\n", True)])
async def test_a_tag_counts_where_the_project_may_ask_for_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, text: str, is_built: bool, hands_over: bool
) -> None:
    """The source always tells what version control says."""
    keep_quiet(scene.upstream)
    with (scene.upstream / "pyproject.toml").open("a") as file:
        file.write(text)
    monkeypatch.setattr(Trees, "hands_over", hands_over)
    monkeypatch.setattr(Trees, "scm", "v1.0-0-gabc tags:1")
    await scene.wheel()
    assert len(scene.hooks()) == 2

    monkeypatch.setattr(Trees, "scm", "v1.0-0-gabc tags:2")
    wheel = await scene.wheel()
    assert wheel.dist.scm == (Trees.scm if is_built else None)
    assert scene.hooks() == (["acme get_requires", "acme wheel"] if is_built else [])


async def test_a_backend_that_writes_in_its_environment_is_run_again_on_the_tree_as_it_was(scene: Scene) -> None:
    code = f"""
import sysconfig
open("left", "a").write("x")
with open(os.environ[{HOOKS!r}], "a") as file:
    file.write("%d left\\n" % os.path.getsize("left"))
open(os.path.join(sysconfig.get_path("purelib"), "written.py"), "a").write("#")
"""
    project_tree(scene.upstream, "acme", code=code)

    assert (await scene.wheel()).filename == WHEEL
    assert scene.hooks() == [*BUILT, "1 left"] * 2
    assert files_below(scene.cache, "scratch") == []


async def test_a_static_project_is_not_built(scene: Scene) -> None:
    (scene.upstream / "pyproject.toml").write_text(STATIC)
    (scene.upstream / "PKG-INFO").write_text("Metadata-Version: 2.2\nName: acme\nVersion: 0.1\n")

    answer = await scene.metadata(building=Building(no_build=frozenset({":all:"})))
    assert (answer.rung, answer.metadata.version) == ("pyproject", "1.0")
    assert answer.metadata.requires_dist == ("zlib-ng>=0.5",)
    assert scene.hooks() == []


async def test_a_link_to_another_pyproject_proves_nothing(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.toml").write_text(STATIC)
    (scene.upstream / "pyproject.toml").unlink()
    (scene.upstream / "pyproject.toml").symlink_to(tmp_path / "elsewhere.toml")

    with pytest.raises(BuildNeededError):
        await scene.metadata(building=Building(no_build=frozenset({":all:"})))


async def test_an_editable_wheel_is_built_where_the_project_is(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    (scene.upstream / "project").mkdir()
    for file in (scene.upstream / "pyproject.toml", scene.upstream / "b.py"):
        file.rename(scene.upstream / "project" / file.name)
    monkeypatch.setattr(Trees, "editable_root", scene.upstream)
    text = f"-e {scene.upstream.as_uri()}#subdirectory=project"

    assert (await scene.metadata(text)).metadata.requires_dist == ("zlib-ng>=0.5",)
    assert scene.hooks() == ["acme get_requires_editable", "acme prepare_editable", "acme prepare"]

    assert not (await scene.wheel(text)).cached
    editable = f"acme editable in {scene.upstream / 'project'}"
    assert scene.hooks() == ["acme get_requires_editable", editable, "acme wheel"]
    assert (await scene.wheel(text)).cached


async def test_what_prepares_no_editable_metadata_builds_a_wheel_of_the_copy(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    project_tree(scene.upstream, "acme", without=["prepare_metadata_for_build_editable"])
    monkeypatch.setattr(Trees, "editable_root", scene.upstream)

    answer = await scene.metadata("-e ./acme")
    assert (answer.rung, answer.wheel) == ("prepare", None)
    assert str(scene.upstream) not in " ".join(scene.hooks())
    assert files_below(scene.cache, "archives-v0") == []


async def test_a_plain_and_an_editable_build_never_meet(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trees, "editable_root", scene.upstream)
    for text in ("./acme", "-e ./acme"):
        assert not (await scene.wheel(text)).cached


async def test_a_backend_without_editable_wheels_is_named(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    project_tree(scene.upstream, "acme", without=["build_editable"])
    monkeypatch.setattr(Trees, "editable_root", scene.upstream)
    with pytest.raises(BuildError, match="has no `build_editable`") as caught:
        await scene.wheel("-e ./acme")
    assert "leave out `-e`" in caught.value.hint


async def test_settings_of_a_project_whose_name_only_a_build_tells(scene: Scene) -> None:
    building = Building(config_settings_package={"acme": {"speed": "slow"}})

    wheel = await scene.wheel(building=building)
    assert "slow" in ZipFile(wheel.path).read("acme.py").decode()
    assert scene.hooks().count("acme wheel") == 2  # the first one told the name
    assert (await scene.wheel(building=building)).cached


async def test_a_project_without_a_name_is_not_built_where_some_names_must_not_be(scene: Scene) -> None:
    building = Building(no_build=frozenset({"other"}))
    with pytest.raises(BuildNeededError) as caught:
        await scene.wheel(building=building)
    assert "NAME @" in caught.value.hint
    await scene.wheel(f"acme @ {scene.upstream.as_uri()}", building=building)
    await scene.wheel(building=building)  # its name is known by now


@pytest.mark.parametrize("kind", ["metadata", "wheel"])
async def test_many_callers_share_one_fetch_and_one_build(scene: Scene, kind: str) -> None:
    answers = []
    async with scene.database() as database, anyio.create_task_group() as group:

        async def ask() -> None:
            answers.append(await getattr(database, kind)("./acme"))

        for _ in range(20):
            group.start_soon(ask)
    assert len(answers) == 20
    assert (Trees.fetched, len(scene.hooks())) == (1, 2)


async def test_names_that_disagree_are_an_error_also_when_warm(scene: Scene) -> None:
    await scene.metadata("acme @ " + scene.upstream.as_uri())
    for _ in range(2):
        with pytest.raises(MetadataError, match="other"):
            await scene.metadata("other @ " + scene.upstream.as_uri())


@pytest.mark.parametrize("ask", ["metadata", "wheel"])
async def test_constraints_hold_for_what_is_named_late(scene: Scene, ask: str) -> None:
    forbidden = Policy(constraints=("acme<1", "other"))
    for _ in range(2):
        with pytest.raises(NoMatchError, match=r"is acme 1\.0, which the constraint `acme<1` does not allow"):
            await getattr(scene, ask)("./acme", policy=forbidden)
    with pytest.raises(NoMatchError):
        await getattr(scene, ask)(f"acme @ {scene.upstream.as_uri()}", policy=forbidden)
    await getattr(scene, ask)("./acme", policy=Policy(constraints=("acme>=1",)))


async def test_a_hash_is_refused(scene: Scene) -> None:
    text = "acme @ " + scene.upstream.as_uri() + "#sha256=" + "0" * 64
    with pytest.raises(NoMatchError, match="a tree, which has no hash"):
        await scene.metadata(text)
    with pytest.raises(RequirementError, match="hash"):
        await scene.metadata("./acme", policy=Policy(require_hashes=True))
    assert Trees.fetched == 0


@pytest.mark.parametrize("subdirectory", ["missing", "b.py", "out"])
async def test_a_subdirectory_that_is_none_or_leads_outside_is_named(scene: Scene, subdirectory: str) -> None:
    (scene.upstream / "out").symlink_to("..")
    for ask in (scene.metadata, scene.wheel):
        with pytest.raises(BuildError, match=f"has no folder `{subdirectory}`"):
            await ask(f"{scene.upstream.as_uri()}#subdirectory={subdirectory}")
    assert files_below(scene.cache, "scratch") == []


async def test_a_folder_without_a_project_is_named(scene: Scene) -> None:
    (scene.upstream / "pyproject.toml").unlink()
    with pytest.raises(BuildError, match="holds no project"):
        await scene.metadata()


@pytest.mark.parametrize("content", [None, "sha256:" + "0" * 64, "tree"])
async def test_a_source_has_to_say_what_the_content_is(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    monkeypatch.setattr(Trees, "content", content)
    with pytest.raises(ContractError, match="content id"):
        await scene.metadata()


async def test_a_tree_has_to_be_a_folder(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetch(self: Trees, dist: Dist, ctx: Context) -> Fetched:
        (ctx.scratch / "file").write_text("")
        return Fetched(path=ctx.scratch / "file", content=self.content)

    monkeypatch.setattr(Trees, "fetch", hookimpl(fetch))
    with pytest.raises(ContractError, match="not a folder"):
        await scene.metadata()


@pytest.mark.parametrize("dynamic", ["version", "requires-python", "dependencies", "optional-dependencies"])
async def test_a_pure_wheel_of_static_dependencies_serves_other_interpreters(scene: Scene, dynamic: str) -> None:
    static = {"version": '"1.0"', "requires-python": '">=3.8"', "dependencies": '["zlib-ng>=0.5"]'}
    lines = [f"{key} = {value}" for key, value in static.items() if key != dynamic]
    with (scene.upstream / "pyproject.toml").open("a") as file:
        file.write("\n".join(["[project]", 'name = "acme"', f'dynamic = ["{dynamic}"]', *lines]))
    await scene.wheel(python=installed("python3.11"))
    assert scene.hooks() == BUILT

    wheels = [await scene.wheel(python=installed(name)) for name in ("python3.12", "python3.13")]

    varies = dynamic in {"dependencies", "optional-dependencies"}
    assert [wheel.cached for wheel in wheels] == [not varies] * 2
    assert scene.hooks() == BUILT * 2 * varies
