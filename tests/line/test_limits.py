"""Every bound is a setting: written in a file, it holds wherever a page, an archive, METADATA or a backend is met."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from felloe import Config, Database
from felloe.errors import FelloeError
from felloe.testing import IndexServer, Project, make_sdist, make_wheel
from tests.fixtures.line import own_sources
from tests.fixtures.projects import buildable

pytestmark = pytest.mark.anyio

STATIC = "[project]\nname = 'acme'\nversion = '1.0'\n"
PRINTING = "print('x' * 5000); raise ValueError"


class Scene:
    def __init__(self, folder: Path, index: IndexServer) -> None:
        self.folder = folder
        self.index = index
        (folder / "work").mkdir()

    def give(self, what: str) -> None:
        """Puts `acme` 1.0 into the index, in the form that is asked about."""
        made = self.folder / "made"
        if what in {"sidecar", "range", "wheel"}:
            wheel = make_wheel(made, Project("acme", "1.0", requires_dist=["long-name"] * 20))
            self.index.add(wheel, sidecar=what == "sidecar")
        elif what == "static sdist":
            files = {"zeros": "0" * 200_000}
            self.index.add(make_sdist(made, Project("acme", "1.0"), pyproject=STATIC, files=files))
        else:
            code = PRINTING if what == "printing" else ""
            self.index.add(buildable(self.folder, "acme", requires_dist="['long-name'] * 20", code=code))

    async def ask(self, settings: str, *, wheel: bool = False) -> None:
        (self.folder / "work/felloe.toml").write_text(settings)
        cwd, cache = self.folder / "work", self.folder / "cache"
        config = Config.load(
            environ={"HOME": str(cwd), "PIP_CONFIG_FILE": "/dev/null"},
            cwd=cwd,
            cache_dir=cache,
            index_url=self.index.index_url,
        )
        async with Database(config, sources=own_sources()) as database:
            await (database.wheel("acme") if wheel else database.metadata("acme"))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with IndexServer() as index:
        yield Scene(tmp_path, index)


@pytest.mark.parametrize(
    ("what", "settings", "code"),
    [
        ("sidecar", "max-page-bytes = 10", "too-large"),
        ("sidecar", "max-metadata-bytes = 20", "too-large"),
        ("range", "max-metadata-bytes = 20", "archive-too-large"),
        ("range", "max-archive-entries = 1", "archive-too-large"),
        ("static sdist", "max-archive-entries = 1", "archive-too-large"),
        ("static sdist", "max-metadata-bytes = 20", "archive-too-large"),
        ("static sdist", "max-unpacked-bytes = 1", "archive-too-large"),
        ("static sdist", "max-unpacked-bytes = 1\nmax-unpacked-ratio = 100000", ""),
        ("prepared", "max-metadata-bytes = 1000", ""),
        ("prepared", "max-metadata-bytes = 300", "bad-backend-output"),
    ],
)
async def test_each_setting_has_effect(scene: Scene, what: str, settings: str, code: str) -> None:
    scene.give(what)
    if not code:
        await scene.ask(settings)
        return

    with pytest.raises(FelloeError) as caught:
        await scene.ask(settings)

    assert (caught.value.code, bool(caught.value.hint)) == (code, True)


async def test_what_is_kept_of_the_output_of_a_build(scene: Scene) -> None:
    scene.give("printing")

    with pytest.raises(FelloeError) as caught:
        await scene.ask("max-build-output-bytes = 500", wheel=True)

    assert Path(caught.value.payload["log"]).stat().st_size == 500
