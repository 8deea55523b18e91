"""Pages in the cache: what is answered without a request, above all that there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from felloe import Answer, Database, NetworkError, OfflineError, Url
from felloe.context import ItemContext, Owner
from felloe.errors import FelloeError, ProjectNotFound
from felloe.testing import Behaviour, IndexServer, Project, Reply, make_wheel
from felloe.values import Page
from tests.fixtures.line import Told, config_of, files_below, own_sources

pytestmark = pytest.mark.anyio

PAGE = "/simple/acme/"
LIFETIME = 600.0
NOON = 1_769_860_800.0  # 2026-01-31T12:00:00Z


class Scene:
    """Two indexes and a cache. Each question is a run of its own."""

    def __init__(self, folder: Path, one: IndexServer, two: IndexServer) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.one = one
        self.two = two
        self.now = NOON
        self.told = Told()

    def database(self, **options: Any) -> Database:
        self.told = Told()
        config = config_of(self.cache, self.one, self.two, **options)
        return Database(config, reporter=self.told, sources=own_sources(), clock=lambda: self.now)

    async def page(self, *, newer_than: float | None = None, **options: Any) -> Page:
        """The page of the first index."""
        async with self.database(**options) as database:
            with ItemContext(database.services, Owner("one", "index", "one"), newer_than) as ctx:
                return await ctx.http.get(Url(f"{self.one.url}{PAGE}"), lifetime=LIFETIME)

    async def ask(self, **options: Any) -> Answer:
        async with self.database(**options) as database:
            return await database.metadata("acme")

    async def error(self, **options: Any) -> FelloeError:
        with pytest.raises(FelloeError) as raised:
            await self.ask(**options)
        return raised.value

    def publish(self, server: IndexServer, version: str) -> None:
        server.add(make_wheel(self.folder, Project("acme", version)), sidecar=True)

    def asked(self) -> tuple[int, int]:
        """How often each index was asked for anything since the last time."""
        counts = len(self.one.requests), len(self.two.requests)
        self.one.clear()
        self.two.clear()
        return counts


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with IndexServer() as one, IndexServer() as two:
        yield Scene(tmp_path, one, two)


# That a page is not there


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, LIFETIME),
        ({"Cache-Control": "max-age=60"}, 60),
        ({"Cache-Control": "max-age=9000"}, 9000),
        ({"Cache-Control": "no-cache"}, 0),
        ({"ETag": '"a"'}, 0),
    ],
)
async def test_it_is_known_for_as_long_as_a_page(
    scene: Scene, status: int, headers: dict[str, str], seconds: float
) -> None:
    gone = Reply(status, headers=headers, body=b"no such project")
    scene.one.behave(PAGE, Behaviour(statuses=[gone] * 2))

    assert (await scene.page()).status == status
    scene.now += max(seconds - 1, 0)
    page = await scene.page()
    assert (page.status, page.body) == (status, b"no such project")
    assert scene.asked() == ((1 if seconds else 2), 0)

    scene.now += 2 * LIFETIME
    assert (await scene.page(offline=True)).status == status
    assert "page-offline" in scene.told.codes()
    assert scene.asked() == (0, 0)


async def test_it_is_asked_again_after_that_and_by_refresh(scene: Scene) -> None:
    await scene.page()
    scene.publish(scene.one, "1.0")

    scene.now += 1
    assert (await scene.page()).status == 404
    assert (await scene.page(newer_than=scene.now)).status == 200
    assert (await scene.page()).status == 200
    assert scene.asked() == (2, 0)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (404, {"Cache-Control": "no-store"}),
        (410, {"Cache-Control": "max-age=60, no-store"}),
        (401, {"Cache-Control": "max-age=60"}),
        (403, {"Cache-Control": "max-age=60"}),
        (403, {}),
        (500, {"Cache-Control": "max-age=60"}),
    ],
)
async def test_what_is_not_kept(scene: Scene, status: int, headers: dict[str, str]) -> None:
    scene.one.behave(PAGE, Behaviour(statuses=[Reply(status, headers=headers)]))
    with suppress(NetworkError):
        await scene.page()

    assert scene.asked() == (1, 0)
    assert files_below(scene.cache, "http-v0") == []
    with pytest.raises(OfflineError):
        await scene.page(offline=True)


async def test_an_error_does_not_take_the_place_of_a_page(scene: Scene) -> None:
    scene.publish(scene.one, "1.0")
    before = await scene.page()
    scene.now += 2 * LIFETIME
    scene.one.behave(PAGE, Behaviour(statuses=[500]))

    with pytest.raises(NetworkError):
        await scene.page()

    assert (await scene.page(offline=True)).body == before.body


# Names of the second index


async def test_offline_a_name_of_the_second_index_is_answered(scene: Scene) -> None:
    scene.publish(scene.two, "1.0")
    await scene.ask()
    scene.now += 10 * LIFETIME
    scene.asked()

    answer = await scene.ask(offline=True)

    assert (answer.cached, answer.dist.source) == (True, "two")
    assert len(scene.told.messages("page-offline")) == 2
    assert scene.asked() == (0, 0)


async def test_offline_a_name_that_nobody_knows_is_not_found(scene: Scene) -> None:
    for offline in (False, True):
        error = await scene.error(offline=offline)
        assert (type(error), str(error)) == (ProjectNotFound, "`one` does not know `acme`; `two` does not know `acme`")

    assert scene.asked() == (1, 1)


@pytest.mark.parametrize("refresh", [True, False])
async def test_what_the_first_index_gets_later_is_found(scene: Scene, refresh: bool) -> None:
    """Within the lifetime by refreshing, after it in any case."""
    scene.publish(scene.two, "1.0")
    await scene.ask()
    scene.publish(scene.one, "2.0")
    scene.now += 1
    assert (await scene.ask()).metadata.version == "1.0"

    scene.now += 1 if refresh else LIFETIME
    answer = await scene.ask(refresh=refresh)

    assert (answer.metadata.version, answer.dist.source) == ("2.0", "one")


@pytest.mark.parametrize("status", [401, 403, 500])
async def test_an_error_of_the_first_index_never_hands_on(scene: Scene, status: int) -> None:
    scene.publish(scene.two, "1.0")
    scene.one.behave(PAGE, Behaviour(statuses=[status] * 2))

    for _ in range(2):
        assert (await scene.error()).code == f"http-{status}"

    assert scene.asked() == (2, 0)
    assert isinstance(await scene.error(offline=True), OfflineError)
