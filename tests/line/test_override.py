"""Metadata that a user's file says: for every source, without a request for bytes and without a build."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from felloe import Answer, Database, Wheel
from felloe.config import Building
from felloe.hookspecs import GROUP
from felloe.override import Override
from felloe.testing import IndexServer, Project, make_wheel
from tests.fixtures.line import config_of, files_below, own_sources
from tests.fixtures.projects import HOOKS, buildable, hooks_called, project_tree

pytestmark = pytest.mark.anyio

SOURCES = [EntryPoint(name="path", value="felloe_path:LocalPath", group=GROUP)]
SAID = Override(name="acme", version="1.0.0", requires_dist=("said>=1",), requires_python=">=3.9")


class Scene:
    """One index, one cache; each question is a run of its own."""

    def __init__(self, folder: Path, index: IndexServer) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.index = index
        self.hooks_file = folder / "hooks"

    @asynccontextmanager
    async def database(self, *overrides: Override, **options: Any) -> AsyncIterator[Database]:
        config = config_of(self.cache, self.index, overrides=overrides, **options)
        async with Database(config, sources=[*own_sources(), *SOURCES]) as database:
            yield database

    async def metadata(self, text: str, *overrides: Override, effort: Any = "build") -> Answer:
        async with self.database(*overrides) as database:
            return await database.metadata(text, effort=effort)

    async def wheel(self, text: str, *overrides: Override, **options: Any) -> Wheel:
        async with self.database(*overrides, **options) as database:
            return await database.wheel(text)

    def hooks(self) -> list[str]:
        """What backends did since the last time."""
        called = hooks_called(self.hooks_file)
        self.hooks_file.unlink(missing_ok=True)
        return called


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with IndexServer() as index:
        scene = Scene(tmp_path, index)
        monkeypatch.setenv(HOOKS, str(scene.hooks_file))
        monkeypatch.chdir(tmp_path)
        yield scene


@pytest.mark.parametrize("kind", ["sdist", "wheel"])
@pytest.mark.parametrize("effort", ["cached", "build"])
async def test_what_is_said_counts(scene: Scene, kind: str, effort: str) -> None:
    made = make_wheel(scene.folder, Project("acme", "1.0")) if kind == "wheel" else buildable(scene.folder, "acme")
    scene.index.add(made, sidecar=kind == "wheel")

    answer = await scene.metadata("acme", SAID, effort=effort)

    assert (answer.rung, answer.cached, answer.dist.version) == ("override", True, "1.0")
    assert answer.metadata.fields == {
        "name": "acme",
        "version": "1.0",
        "requires-dist": ["said>=1"],
        "requires-python": ">=3.9",
        "provides-extra": [],
    }
    assert scene.index.paths == ["/simple/acme/"]
    assert scene.hooks() == []
    assert files_below(scene.cache, "built-wheel-metadata-v0", "wheel-metadata-v0", "archives-v0") == []


async def test_of_another_version_it_says_nothing(scene: Scene) -> None:
    scene.index.add(buildable(scene.folder, "acme", "2.0", requires_dist="['own']"))
    answer = await scene.metadata("acme", SAID)
    assert (answer.rung, answer.metadata.requires_dist) == ("prepare", ("own",))


async def test_it_is_not_kept_and_the_wheel_is_not_changed(scene: Scene) -> None:
    scene.index.add(buildable(scene.folder, "acme", requires_dist="['own']"))
    await scene.metadata("acme", SAID)

    wheel = await scene.wheel("acme", SAID)
    assert (wheel.rung, wheel.metadata.requires_dist) == ("wheel", ("own",))
    assert (await scene.metadata("acme", SAID)).metadata.requires_dist == ("said>=1",)
    assert (await scene.metadata("acme")).metadata.requires_dist == ("own",)


async def test_a_folder_has_the_version_that_is_said(scene: Scene) -> None:
    project_tree(scene.folder / "tree", "acme", requires_dist="['own']")

    answer = await scene.metadata("acme @ ./tree", SAID)

    assert (answer.rung, answer.metadata.version, answer.metadata.requires_dist) == ("override", "1.0.0", ("said>=1",))
    assert str(answer.dist.content).startswith("tree:")
    assert scene.hooks() == []


async def test_a_folder_asked_for_without_its_name(scene: Scene) -> None:
    """Here a build tells the name, which is known from then on."""
    project_tree(scene.folder / "tree", "acme", requires_dist="['own']")
    for hooks in (["acme get_requires", "acme prepare"], []):
        answer = await scene.metadata("./tree", SAID)
        assert (answer.rung, answer.metadata.requires_dist) == ("override", ("said>=1",))
        assert scene.hooks() == hooks
    assert (await scene.metadata("./tree")).metadata.requires_dist == ("own",)


async def test_a_folder_that_says_its_name_is_not_built(scene: Scene) -> None:
    tree = project_tree(scene.folder / "tree", "acme")
    with (tree / "pyproject.toml").open("a") as file:
        file.write('[project]\nname = "Acme"\nversion = "1.0"\ndynamic = ["dependencies"]\n')
    async with scene.database(SAID) as database:
        assert (await database.explain("./tree")).rung == "override"
        assert (await database.metadata("./tree", effort="static")).rung == "override"
    assert scene.hooks() == []


async def test_it_holds_for_what_builds_require(scene: Scene) -> None:
    """Whether or not it was said when the same set was resolved before."""
    for name in ("needed", "extra"):
        scene.index.add(make_wheel(scene.folder, Project(name, "1.0"), files={f"{name}.py": ""}))
    said = Override(name="needed", version="1.0", requires_dist=("extra",))
    for name, code in (("one", ""), ("two", "import extra"), ("three", "import extra"), ("four", "")):
        scene.index.add(buildable(scene.folder, name, requires=["needed"], code=code))

    await scene.wheel("one")
    await scene.wheel("two", said)
    await scene.wheel("three", said)
    wheel = await scene.wheel("four", building=Building())
    assert wheel.filename == "four-1.0-py3-none-any.whl"
