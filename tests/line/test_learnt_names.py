"""The name of a file that a source learns no sooner than with its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from felloe import Config, Database
from felloe.hookspecs import GROUP
from felloe.plugin import CacheKey, Claim, Context, Dist, Entry, Fetched, Fresh, Level, Request, hookimpl
from felloe.testing import Project, make_sdist
from tests.fixtures.line import files_below

pytestmark = pytest.mark.anyio


class Shelf:
    """Numbers for names: what is on the shelf is seen when it is taken down."""

    api = 1
    default = True

    def __init__(self, name: str, settings: Any) -> None:
        self.name = name

    @hookimpl
    def claims(self) -> Claim | None:
        return Claim(level=Level.NAMESPACE, reason="it is on the shelf")

    @hookimpl
    def address(self) -> str:
        return ""

    @hookimpl
    async def find(self, request: Request) -> Sequence[Dist]:
        return [Dist(source=self.name, kind="sdist", filename="42", name=request.name, version="1.0")]

    @hookimpl
    def cache_key(self) -> CacheKey:
        return CacheKey(parts=("42",))

    @hookimpl
    async def check_freshness(self, entry: Entry) -> Fresh:
        return Fresh(validators=entry.validators)

    @hookimpl
    async def fetch(self, ctx: Context) -> Fetched:
        sdist = make_sdist(ctx.scratch, Project("acme", "1.0"))
        return Fetched(path=sdist, filename=sdist.name)


async def test_it_names_the_archive_in_the_cache(tmp_path: Path) -> None:
    point = EntryPoint("shelf", f"{Shelf.__module__}:Shelf", GROUP)
    for is_warm in (False, True):
        async with Database(Config(cache_dir=tmp_path), sources=[point]) as database:
            answer = await database.metadata("acme", effort="static")
        assert (answer.rung, answer.cached) == ("pkg-info", is_warm)

    assert [Path(file).name for file in files_below(tmp_path, "archives-v0")] == ["acme-1.0.tar.gz"]
