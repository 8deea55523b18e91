"""The file name of an sdist tells its project where the request does not, and is held to what the archive says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from felloe import Answer, Database
from felloe.config import Building, Policy
from felloe.errors import FelloeError, NoMatchError
from felloe.hookspecs import GROUP
from felloe.testing import Behaviour, IndexServer, Project, make_sdist, make_wheel
from tests.fixtures.line import config_of
from tests.fixtures.projects import buildable

pytestmark = pytest.mark.anyio

DYNAMIC = '[project]\nname = "dyn"\ndynamic = ["version"]\n'
MAX_AGE = Behaviour(etag="auto", cache_control="max-age=3600")


class Scene:
    """A folder, and a server that has the same files; each question is a run of its own."""

    def __init__(self, folder: Path, server: IndexServer, scheme: str) -> None:
        self.folder = folder
        self.server = server
        self._scheme = scheme

    def put(self, sdist: Path, name: str) -> str:
        """Where the sdist is, under another name."""
        if self._scheme == "path":
            return sdist.rename(self.folder / name).as_uri()
        self.server.static(f"/{name}", sdist.read_bytes())
        self.server.behave(f"/{name}", MAX_AGE)
        return f"{self.server.url}/{name}"

    @asynccontextmanager
    async def database(self, **options: Any) -> AsyncIterator[Database]:
        sources = [point for point in entry_points(group=GROUP) if point.name in {"path", "url"}]
        self.server.clear()
        async with Database(config_of(self.folder / "cache", **options), sources=sources) as database:
            yield database

    async def metadata(self, text: str, effort: Any = "build", **options: Any) -> Answer:
        async with self.database(**options) as database:
            return await database.metadata(text, effort=effort)

    async def error(self, text: str, **options: Any) -> FelloeError:
        with pytest.raises(FelloeError) as raised:
            await self.metadata(text, **options)
        return raised.value


@pytest.fixture(params=["path", "url"])
def scene(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    with IndexServer() as server:
        yield Scene(tmp_path, server, request.param)


def stated(folder: Path, name: str = "demo", version: str = "1.0") -> Path:
    """An sdist that says what it is."""
    return make_sdist(folder / "made", Project(name, version))


@pytest.mark.parametrize(
    ("asked", "filename"),
    [
        ("{}", "demo-1.0.tar.gz"),
        ("{}", "Demo-1.tar.gz"),
        ("{}", "master.tar.gz"),
        ("{}", "v9.9.tar.gz"),
        ("{}", "demo-v9.9.tar.gz"),
        ("demo @ {}", "demo-1.0.tar.gz"),
        ("demo @ {}", "release-1.0.tar.gz"),
        ("demo @ {}", "release-9.9.tar.gz"),
    ],
)
async def test_names_that_agree_or_tell_nothing(scene: Scene, asked: str, filename: str) -> None:
    text = asked.format(scene.put(stated(scene.folder), filename))

    for is_warm in (False, True):
        answer = await scene.metadata(text)
        assert (answer.dist.name, answer.dist.version, answer.cached) == ("demo", "1.0", is_warm)


@pytest.mark.parametrize("is_built", [False, True])
@pytest.mark.parametrize(
    ("asked", "filename", "told", "by_name"),
    [
        ("{}", "evil-9.9.tar.gz", "is for `evil`, but its metadata are for `demo`", True),
        ("{}", "release-1.0.tar.gz", "is for `release`, but its metadata are for `demo`", True),
        ("{}", "demo-9.9.tar.gz", "is version `9.9`, but its metadata are for version `1.0`", False),
        ("demo @ {}", "demo-9.9.tar.gz", "is version `9.9`, but its metadata are for version `1.0`", False),
    ],
)
async def test_names_that_disagree(
    scene: Scene, asked: str, filename: str, told: str, by_name: bool, is_built: bool
) -> None:
    """Whoever named the project can have it all the same, if only the file is named after something else."""
    sdist = buildable(scene.folder / "made", "demo") if is_built else stated(scene.folder)
    url = scene.put(sdist, filename)

    for _ in range(2):
        error = await scene.error(asked.format(url))
        assert told in str(error)
        assert ("write `NAME @ URL`" in error.hint) is by_name
    if by_name:
        assert (await scene.metadata(f"demo @ {url}")).dist.name == "demo"
        assert told in str(await scene.error(url))


async def test_a_dynamic_version_is_that_of_the_file_name(scene: Scene) -> None:
    sdist = make_sdist(
        scene.folder / "made", Project("dyn", "1.0", metadata_version="2.1"), files={"pyproject.toml": DYNAMIC}
    )
    answer = await scene.metadata(scene.put(sdist, "dyn-1.0.tar.gz"), effort="static")

    assert (answer.rung, answer.dist.name, answer.metadata.version) == ("pyproject", "dyn", "1.0")


async def test_restrictions_of_builds_are_of_the_project_that_the_file_name_tells(scene: Scene) -> None:
    url = scene.put(buildable(scene.folder / "made", "demo"), "demo-1.0.tar.gz")

    refused = await scene.error(url, building=Building(no_build=frozenset({"demo"})))
    assert "--no-build-package" in str(refused)
    answer = await scene.metadata(url, building=Building(no_build=frozenset({"other"})))
    assert answer.rung == "prepare"


async def test_constraints_hold_for_the_project_that_the_file_name_tells(scene: Scene) -> None:
    url = scene.put(stated(scene.folder), "demo-1.0.tar.gz")

    assert isinstance(await scene.error(url, policy=Policy(constraints=("demo==2.0",))), NoMatchError)
    assert (await scene.metadata(url, policy=Policy(constraints=("demo==1.0",)))).dist.version == "1.0"


async def test_a_project_in_a_subdirectory_has_no_part_in_the_file_name(scene: Scene) -> None:
    inner = '[project]\nname = "inner"\nversion = "3.0"\n'
    sdist = make_sdist(scene.folder / "made", Project("demo", "1.0"), files={"inner/pyproject.toml": inner})

    answer = await scene.metadata(f"{scene.put(sdist, 'demo-1.0.tar.gz')}#subdirectory=inner")

    assert (answer.dist.name, answer.dist.version) == ("inner", "3.0")


@pytest.mark.parametrize(("name", "requests"), [("demo", 1), ("other", 0)])
async def test_a_refresh_of_the_project_that_the_file_name_tells(tmp_path: Path, name: str, requests: int) -> None:
    with IndexServer() as server:
        scene = Scene(tmp_path, server, "url")
        url = scene.put(stated(tmp_path), "demo-1.0.tar.gz")
        await scene.metadata(url)

        answer = await scene.metadata(url, refresh_packages=frozenset({name}))

        assert answer.cached
        assert [request.status for request in server.requests] == [304] * requests


async def test_a_wheel_is_held_to_its_constraints_too(scene: Scene) -> None:
    wheel = make_wheel(scene.folder / "made", Project("demo", "1.0"))
    url = scene.put(wheel, wheel.name)

    error = await scene.error(url, policy=Policy(constraints=("demo==2.0",)))

    assert isinstance(error, NoMatchError)
