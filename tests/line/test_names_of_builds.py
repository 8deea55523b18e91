"""A build belongs to the bytes that were built: under whatever name, or none, and wherever these are asked for."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from felloe import Database
from felloe.config import Building, Config
from felloe.errors import BuildError
from felloe.hookspecs import GROUP
from tests.fixtures.projects import HOOKS, hooks_called, project_tree

pytestmark = pytest.mark.anyio

FAST = Building(config_settings_package={"acme": {"speed": "fast"}})


class Scene:
    """The folders `here` and `there` with the same project, which says its name only when it is built."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.here = project_tree(folder / "here", "acme")
        self.there = folder / "there"
        shutil.copytree(self.here, self.there)
        self.hooks_file = folder / "hooks"

    @asynccontextmanager
    async def database(self, **options: Any) -> AsyncIterator[Database]:
        sources = [point for point in entry_points(group=GROUP) if point.name == "path"]
        async with Database(Config(cache_dir=self.cache, **options), sources=sources) as database:
            yield database

    def hooks(self) -> list[str]:
        """What backends did since the last time."""
        called = hooks_called(self.hooks_file)
        self.hooks_file.unlink(missing_ok=True)
        return called


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(tmp_path)
    monkeypatch.setenv(HOOKS, str(scene.hooks_file))
    return scene


async def test_what_is_meant_for_a_name_holds_for_the_same_bytes_elsewhere(scene: Scene) -> None:
    """The first build of them told the name, and was done without it."""
    async with scene.database(building=FAST) as database:
        await database.wheel(str(scene.here))
        assert scene.hooks().count("acme wheel") == 2
        said = await database.explain(str(scene.there), goal="wheel")
        wheel = await database.wheel(str(scene.there))
        assert "fast" in ZipFile(wheel.path).read("acme.py").decode()
    assert scene.hooks() == []
    assert said.build is not None
    assert said.fingerprint == said.build.fingerprint


@pytest.mark.parametrize("goal", ["metadata", "wheel"])
async def test_a_wrong_name_is_no_fault_of_the_project(scene: Scene, goal: str) -> None:
    async with scene.database() as database:
        ask = getattr(database, goal)
        with pytest.raises(BuildError, match="is for `other`, but its metadata are for `acme`"):
            await ask(f"other @ {scene.here.as_uri()}")
    async with scene.database() as database:
        ask = getattr(database, goal)
        for requirement in (f"acme @ {scene.here.as_uri()}", str(scene.there)):
            assert (await ask(requirement)).metadata.name == "acme"


async def test_metadata_of_the_same_bytes_elsewhere_need_no_wheel(scene: Scene) -> None:
    """That of the first place is gone: it would be built again for who wants it."""
    async with scene.database() as database:
        (await database.wheel(str(scene.here))).path.unlink()
        scene.hooks()
        said = await database.explain(str(scene.there))
        assert (said.rung, said.steps) == ("wheel", ("download",))
        assert (await database.metadata(str(scene.there))).rung == "wheel"
    assert scene.hooks() == []
