"""What a user's file says of builds: which may be done, on what they depend besides; and what records say of them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from felloe import Config, Database, Wheel
from felloe.build_rules import AllowedBuild, DeclaredInput
from felloe.config import Building
from felloe.errors import BuildNeededError, ConfigError
from felloe.hookspecs import GROUP
from felloe.testing import IndexServer, Project, make_sdist, make_wheel
from tests.fixtures.line import config_of, own_sources, read_document
from tests.fixtures.projects import HOOKS, buildable, hooks_called, project_files, project_tree

pytestmark = pytest.mark.anyio

BUILT = ["acme get_requires", "acme wheel"]
SOURCES = [EntryPoint(name="path", value="felloe_path:LocalPath", group=GROUP)]
NEEDED = ["needed get_requires", "needed prepare", "needed get_requires", "needed wheel", *BUILT]


class Scene:
    """One index, one cache, a folder `tree` with the project `acme`; each question is a run of its own."""

    def __init__(self, folder: Path, index: IndexServer) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.index = index
        self.hooks_file = folder / "hooks"
        self.tree = project_tree(folder / "tree", "acme")

    def add(self, name: str = "acme", **options: Any) -> str:
        """The sha256 of the sdist."""
        sdist = buildable(self.folder, name, **options)
        self.index.add(sdist)
        return hashlib.sha256(sdist.read_bytes()).hexdigest()

    @asynccontextmanager
    async def database(self, building: Building | None = None) -> AsyncIterator[Database]:
        config = config_of(self.cache, self.index, building=building or Building())
        async with Database(config, sources=[*own_sources(), *SOURCES]) as database:
            yield database

    async def wheel(self, text: str = "acme", building: Building | None = None) -> Wheel:
        async with self.database(building) as database:
            return await database.wheel(text)

    async def declaring(self, text: str = "acme", **inputs: Sequence[str]) -> Wheel:
        declared = {name: tuple(map(self.declared, texts)) for name, texts in inputs.items()}
        return await self.wheel(text, Building(inputs=declared))

    def declared(self, text: str) -> DeclaredInput:
        kind, _, rest = text.partition(":")
        return DeclaredInput(text=text, path=self.folder / rest if kind == "file" else None)

    def hooks(self) -> list[str]:
        """What backends did since the last time."""
        called = hooks_called(self.hooks_file)
        self.hooks_file.unlink(missing_ok=True)
        return called

    def builds(self, name: str = "acme") -> list[dict[str, Any]]:
        """As `builds-v0` has them."""
        documents = [read_document(path) for path in self.cache.glob("builds-v0/*/*/*/record.json")]
        return [each for each in documents if each["metadata"]["name"] == name]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with IndexServer() as index:
        scene = Scene(tmp_path, index)
        monkeypatch.setenv(HOOKS, str(scene.hooks_file))
        monkeypatch.delenv("ACME_HOME", raising=False)
        monkeypatch.chdir(tmp_path)
        yield scene


def only(*names: str, **contents: str) -> Building:
    named = [AllowedBuild(name=name) for name in names]
    return Building(allow=(*named, *(AllowedBuild(name=name, content=each) for name, each in contents.items())))


# Which builds may be done


async def test_what_is_listed_is_built(scene: Scene) -> None:
    digest = scene.add()
    await scene.wheel(building=only("other", "acme"))
    assert scene.hooks() == BUILT

    scene.add("second")
    with pytest.raises(BuildNeededError):
        await scene.wheel("second", only("acme"))
    assert (await scene.wheel(building=only(acme=f"sha256:{digest}"))).cached


@pytest.mark.parametrize(
    ("building", "told"),
    [
        (only(), "does not name"),
        (only("other"), "does not name"),
        (only(acme=f"sha256:{'0' * 64}"), "names, but not with these contents"),
    ],
)
async def test_what_is_not_listed_is_not_built_and_the_line_to_add_is_told(
    scene: Scene, building: Building, told: str
) -> None:
    digest = scene.add()
    async with scene.database(building) as database:
        for ask in (database.metadata, database.wheel):
            with pytest.raises(BuildNeededError) as caught:
                await ask("acme")
    assert "`acme-1.0.tar.gz` of source `one` would have to be built" in str(caught.value)
    assert f"the list `allow` of [tool.felloe.build] {told}" in str(caught.value)
    assert caught.value.code == "build-not-allowed"
    assert f'`{{ name = "acme", sha256 = "{digest}" }}`' in caught.value.hint
    assert scene.hooks() == []

    (line,) = re.findall("add `(.+?)`", caught.value.hint)
    config = felloe_toml(scene, f"[build]\nallow = [{line}]\n")
    await scene.wheel(building=config.building)
    assert scene.hooks() == BUILT


def felloe_toml(scene: Scene, text: str) -> Config:
    (scene.folder / "felloe.toml").write_text(text)
    return Config.load(environ={"HOME": str(scene.folder), "PIP_CONFIG_FILE": os.devnull}, cwd=scene.folder)


async def test_what_was_built_before_is_served(scene: Scene) -> None:
    scene.add()
    await scene.wheel()
    assert (await scene.wheel(building=only())).cached


async def test_no_build_outranks_the_list(scene: Scene) -> None:
    scene.add()
    building = Building(allow=(AllowedBuild(name="acme"),), no_build=frozenset({":all:"}))
    with pytest.raises(BuildNeededError, match="`--no-build` forbids"):
        await scene.wheel(building=building)


@pytest.mark.parametrize("is_one_of_many", [True, False])
async def test_what_is_only_required_for_a_build_has_to_be_listed_too(scene: Scene, is_one_of_many: bool) -> None:
    """Also where a resolution only looks at it, to find out that another one is due."""
    if is_one_of_many:
        scene.index.add(make_wheel(scene.folder, Project("needed", "0.9"), files={"needed.py": ""}))
    scene.add("needed")
    scene.add(requires=["needed"], code="import needed")
    with pytest.raises(BuildNeededError, match=r"`needed-1.0.tar.gz` .*would have to be built") as caught:
        await scene.wheel(building=only("acme"))
    assert '{ name = "needed", ' in caught.value.hint
    assert scene.hooks() == []

    await scene.wheel(building=only("acme", "needed"))
    assert scene.hooks() == NEEDED


async def test_a_folder_is_listed_by_its_name(scene: Scene) -> None:
    text = f"acme @ {scene.tree.as_uri()}"
    with pytest.raises(BuildNeededError) as caught:
        await scene.wheel(text, only(acme=f"sha256:{'0' * 64}"))
    assert '`{ name = "acme" }`' in caught.value.hint
    await scene.wheel(text, only("acme"))
    assert scene.hooks() == BUILT


async def test_a_folder_is_listed_by_its_content(scene: Scene) -> None:
    text = f"acme @ {scene.tree.as_uri()}"
    async with scene.database() as database:
        (dist,) = await database.find(text)
    building = only(acme=str(dist.content))

    (scene.tree / "more.txt").touch()
    with pytest.raises(BuildNeededError):
        await scene.wheel(text, building)
    (scene.tree / "more.txt").unlink()
    await scene.wheel(text, building)
    assert scene.hooks() == BUILT


async def test_a_folder_whose_name_nobody_knows_has_to_be_named(scene: Scene) -> None:
    with pytest.raises(BuildNeededError) as caught:
        await scene.wheel("./tree", only("acme"))
    assert "NAME @" in caught.value.hint
    assert scene.hooks() == []


# What they depend on besides


async def test_what_is_declared_counts_and_back_again_nothing_is_built(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.add(requires_dist="['v' + os.environ.get('ACME_HOME', '')]")
    scene.add("other")
    inputs = {"acme": ["env:ACME_HOME", "file:acme.cfg"]}
    await scene.declaring("other", **inputs)
    scene.hooks()
    for home, cfg in ((None, None), ("1", None), ("2", None), ("2", "x"), ("2", "y"), ("", "y"), (None, "y")):
        if home is None:
            monkeypatch.delenv("ACME_HOME", raising=False)
        else:
            monkeypatch.setenv("ACME_HOME", home)
        if cfg is not None:
            (scene.folder / "acme.cfg").write_text(cfg)
        wheel = await scene.declaring(**inputs)
        assert (scene.hooks(), wheel.metadata.requires_dist) == (BUILT, (f"v{home or ''}",))
        assert (await scene.declaring(**inputs)).cached
        assert (await scene.declaring("other", **inputs)).cached

    (scene.folder / "acme.cfg").unlink()
    monkeypatch.setenv("ACME_HOME", "1")
    wheel = await scene.declaring(**inputs)
    assert (wheel.cached, wheel.metadata.requires_dist, scene.hooks()) == (True, ("v1",), [])


async def test_what_is_declared_is_told_in_the_record(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_HOME", "/opt/acme")
    monkeypatch.setenv("ACME_TOKEN", "s3cr3t")
    (scene.folder / "acme.cfg").write_text("x")
    scene.add()

    await scene.declaring(acme=["env:ACME_HOME", "env:ACME_TOKEN", "file:acme.cfg", "file:none"])

    (build,) = scene.builds()
    told = {name: value for name, value in build["inputs"].items() if name.startswith("declared.")}
    assert told.pop("declared.env:ACME_TOKEN").startswith("sha256:")
    assert told == {
        "declared.env:ACME_HOME": "/opt/acme",
        "declared.file:acme.cfg": f"sha256:{hashlib.sha256(b'x').hexdigest()}",
        "declared.file:none": "absent",
    }


async def test_what_is_declared_for_a_name_that_only_a_build_tells(scene: Scene) -> None:
    (scene.folder / "acme.cfg").write_text("x")
    await scene.declaring("./tree", acme=["file:acme.cfg"])
    assert scene.hooks() == [*BUILT, *BUILT]  # the first one told the name
    assert (await scene.declaring("./tree", acme=["file:acme.cfg"])).cached

    (scene.folder / "acme.cfg").write_text("y")
    assert not (await scene.declaring("./tree", acme=["file:acme.cfg"])).cached
    assert scene.hooks() == BUILT


async def test_what_cannot_be_read_is_told_where_it_counts(scene: Scene) -> None:
    os.mkfifo(scene.folder / "fifo")
    scene.add()
    await scene.declaring(other=["file:fifo"])
    with pytest.raises(ConfigError, match="`file:fifo`, on which builds are declared to depend, is no regular file"):
        await scene.declaring(acme=["file:fifo"])


async def test_what_is_declared_for_something_required_resolves_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its metadata may be others, although the same files are listed."""
    scene.index.add(make_wheel(scene.folder, Project("extra", "1.0"), files={"extra.py": ""}))
    scene.add("needed", requires_dist="['extra'] if 'ACME_HOME' in os.environ else []")
    scene.add("one", requires=["needed"])
    scene.add("two", requires=["needed"], code="import extra")
    await scene.declaring("one", needed=["env:ACME_HOME"])
    monkeypatch.setenv("ACME_HOME", "1")

    await scene.declaring("two", needed=["env:ACME_HOME"])


# What records say


async def test_where_a_build_comes_from(scene: Scene) -> None:
    files = project_files("acme", requires=["my-backend"])
    backend = make_wheel(scene.folder, Project("my-backend", "3.2"), files={"my_backend/api.py": files.pop("b.py")})
    scene.index.add(backend)
    pyproject = '[build-system]\nrequires = ["my-backend"]\nbuild-backend = "my_backend.api"\n'
    sdist = make_sdist(
        scene.folder,
        Project("acme", "1.0", dynamic=["Requires-Dist"]),
        files={**files, "pyproject.toml": pyproject},
    )
    scene.index.add(sdist)

    wheel = await scene.wheel()

    (build,) = scene.builds()
    assert build["source"] == {"content": f"sha256:{hashlib.sha256(sdist.read_bytes()).hexdigest()}"}
    assert (build["backend"], build["backend-version"]) == ("my_backend.api", "3.2")
    assert build["hashes"] == {backend.name: hashlib.sha256(backend.read_bytes()).hexdigest()}
    assert (build["sha256"], build["size"]) == (wheel.sha256, wheel.path.stat().st_size)
    assert 0 < build["seconds"] < 60
    assert build["built"].endswith("Z")
    assert (scene.cache / build["log"]).read_text() == ""


async def test_a_backend_of_its_own_has_no_version_and_a_folder_no_archive(scene: Scene) -> None:
    await scene.wheel("acme @ ./tree")

    (build,) = scene.builds()
    assert (build["backend"], build["backend-version"]) == ("b", "")
    assert list(build["source"]) == ["content"]
    assert build["source"]["content"].startswith("tree:")
