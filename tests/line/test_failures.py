"""Builds that failed: told again without the backend, tried again where something may have changed."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from felloe import Database
from felloe.config import Building
from felloe.errors import BuildError, CacheError, FelloeError
from felloe.testing import IndexServer, Project, make_wheel
from tests.fixtures.line import config_of, own_sources
from tests.fixtures.projects import HOOKS, buildable, hooks_called

pytestmark = pytest.mark.anyio

BROKEN = "print('what went wrong'); raise RuntimeError('broken')"


class Scene:
    """One index, one cache; each question is a run of its own, so many seconds after now."""

    def __init__(self, folder: Path, index: IndexServer) -> None:
        self.folder = folder
        self.index = index
        self.hooks_file = folder / "hooks"

    @asynccontextmanager
    async def database(self, later: float = 0, **options: Any) -> AsyncIterator[Database]:
        config = config_of(self.folder / "cache", self.index, **options)
        async with Database(config, sources=own_sources(), clock=lambda: time.time() + later) as database:
            yield database

    async def failing(self, **options: Any) -> FelloeError:
        async with self.database(**options) as database:
            with pytest.raises((BuildError, CacheError)) as caught:
                await database.wheel("acme")
        return caught.value

    def add(self, **options: Any) -> None:
        self.index.add(buildable(self.folder, "acme", **options))

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
        yield scene


async def test_a_failure_is_told_again_without_the_backend(scene: Scene) -> None:
    scene.add(code=BROKEN)
    first = await scene.failing()
    assert scene.hooks() == ["acme get_requires", "acme wheel"]

    again = await scene.failing()
    assert scene.hooks() == []
    assert again.code == first.code == "build-failed"
    assert "it failed just now" in str(again)
    assert "RuntimeError: broken" in str(again)
    assert "what went wrong" in str(again)
    assert again.payload["log"] == first.payload["log"]
    assert "what went wrong" in Path(again.payload["log"]).read_text()
    assert first.hint in again.hint
    assert "--retry-failed" in again.hint


@pytest.mark.parametrize(("later", "age"), [(60, "1 minute ago"), (7300, "2 hours ago"), (86_399, "23 hours ago")])
async def test_its_age_is_told(scene: Scene, later: float, age: str) -> None:
    scene.add(code=BROKEN)
    await scene.failing()
    assert f"it failed {age}" in str(await scene.failing(later=later))


async def test_a_failure_is_told_again_in_the_same_run(scene: Scene) -> None:
    scene.add(code="print('fatal error: zlib.h: No such file or directory'); raise RuntimeError('broken')")
    async with scene.database() as database:
        for _ in range(2):
            with pytest.raises(BuildError, match="broken"):
                await database.wheel("acme")
    assert scene.hooks().count("acme wheel") == 1


@pytest.mark.parametrize(
    ("code", "options"),
    [
        pytest.param("print('fatal error: zlib.h: No such file or directory'); raise RuntimeError", {}, id="header"),
        pytest.param("import signal; os.kill(os.getpid(), signal.SIGKILL)", {}, id="killed"),
        pytest.param("raise OSError(28, 'No space left on device')", {}, id="no room"),
        pytest.param("import time; time.sleep(60)", {"build_timeout": 2.0}, id="too slow"),
    ],
)
async def test_what_is_no_fault_of_the_project_is_tried_again_by_the_next_run(
    scene: Scene, code: str, options: dict[str, Any]
) -> None:
    scene.add(code=code)
    for _ in range(2):
        error = await scene.failing(building=Building(**options))
        assert "it failed" not in str(error)
        assert "acme wheel" in scene.hooks()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"building": Building(retry_failed=True)}, id="--retry-failed"),
        pytest.param({"building": Building(config_settings={"speed": "slow"})}, id="other settings"),
        pytest.param({"building": Building(build_constraints=("wheel<99",))}, id="other constraints"),
        pytest.param({"refresh": True, "later": 1}, id="--refresh"),
    ],
)
async def test_it_is_tried_again(scene: Scene, options: dict[str, Any]) -> None:
    scene.add(code=BROKEN)
    await scene.failing()
    scene.hooks()
    assert "it failed" not in str(await scene.failing(**options))
    assert "acme wheel" in scene.hooks()


@pytest.mark.parametrize("options", [{"later": 86_400}, {"later": 3600, "building": Building(retry_failed=True)}])
async def test_another_release_of_what_it_requires_may_do_better(scene: Scene, options: dict[str, Any]) -> None:
    """What is resolved is not asked for each time: a failure is told again for a day at most."""
    scene.index.add(make_wheel(scene.folder, Project("needed", "1.0"), files={"needed.py": "version = 1"}))
    scene.add(requires=["needed"], code="import needed; assert needed.version == 2")
    failed = await scene.failing()
    scene.hooks()
    scene.index.add(make_wheel(scene.folder, Project("needed", "2.0"), files={"needed.py": "version = 2"}))
    assert "it failed" in str(await scene.failing(later=86_399))
    assert scene.hooks() == []

    async with scene.database(**options) as database:
        await database.wheel("acme")
    assert "acme wheel" in scene.hooks()
    assert not Path(failed.payload["log"]).read_text()


async def test_what_is_built_at_last_has_not_failed(scene: Scene) -> None:
    wait = scene.folder / "wait"
    wait.touch()
    scene.add(code=f"assert not os.path.exists({str(wait)!r})")
    await scene.failing()
    wait.unlink()
    async with scene.database(building=Building(retry_failed=True)) as database:
        await database.wheel("acme")
    (document,) = (scene.folder / "cache").glob("builds-v0/*/*/wheel/record.json")
    assert "error" not in json.loads(document.read_text())


@pytest.mark.parametrize("damage", ["{}", '{"error": {}}', '{"error": 1, "fingerprint": []}', "none"])
async def test_a_damaged_record_is_no_failure(scene: Scene, damage: str) -> None:
    scene.add(code=BROKEN)
    await scene.failing()
    (document,) = (scene.folder / "cache").glob("builds-v0/*/*/*/record.json")
    document.write_text(damage)
    assert "it failed" not in str(await scene.failing())


async def test_it_is_told_of_what_was_asked_for(scene: Scene) -> None:
    """The same bytes by another way failed for the same reason."""
    scene.add(code=BROKEN)
    await scene.failing()
    with IndexServer() as other:
        other.add(scene.folder / "acme-1.0.tar.gz")
        config = config_of(scene.folder / "cache", scene.index, other, pins={"acme": "two"})
        async with Database(config, sources=own_sources()) as database:
            with pytest.raises(BuildError, match=r"of source `two` cannot be built: .*it failed"):
                await database.wheel("acme")


async def test_where_the_log_is_gone_the_rest_is_told(scene: Scene) -> None:
    scene.add(code=BROKEN)
    Path((await scene.failing()).payload["log"]).unlink()
    again = await scene.failing()
    assert "broken" in str(again)
    assert "log" not in again.payload


async def test_metadata_and_wheel_fail_each_for_itself(scene: Scene) -> None:
    scene.add(code=BROKEN)
    await scene.failing()
    async with scene.database() as database:
        assert (await database.metadata("acme")).rung == "prepare"
