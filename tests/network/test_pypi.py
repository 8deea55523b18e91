"""PyPI itself, as it is today. Skipped where it cannot be reached."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Unpack

import pytest
from attrs import field, frozen
from click.testing import CliRunner

from felloe import Answer, BlockingDatabase, Config, Dist, Event, NetworkError, ProjectNotFound, Request
from felloe.cli.program import felloe
from felloe.config import Options
from felloe.hookspecs import GROUP
from felloe.plugin import Context, RawMetadata, hookimpl
from felloe_pypi import PyPI
from felloe_pypi.page import dist_of, parse_page
from tests.fixtures.plugins import NO_FILES

OUTSIDE = ("FELLOE_", "UV_", "PIP_")  # settings that would lead to another index
WHEELS = ("flask==3.0.3", "boto3==1.34.0", "pydantic-core==2.20.0")
SDIST = "hatchling==1.25.0"
SMALL = "iniconfig==2.0.0"
DORMANT = "colorama"  # lists both kinds of file, old and new ones, and seldom changes
UNKNOWN = "felloe-has-no-project-of-this-name"


class ByRange(PyPI):
    """PyPI as if it had no sidecars."""

    @hookimpl
    async def metadata(self, dist: Dist, ctx: Context) -> RawMetadata | None:
        return await ctx.wheel_metadata(dist.locator["url"], dist.filename, dist.size)


class AsHtml(PyPI):
    """PyPI asked for its pages in the older form."""

    @hookimpl
    async def find(self, request: Request, ctx: Context) -> Sequence[Dist]:
        name = str(request.name)
        page = await ctx.http.get(self.index_url(ctx).as_directory().join(f"{name}/"), accept="text/html")
        assert page.headers["content-type"].startswith("text/html")
        return [dist for file in parse_page(page, name) if (dist := dist_of(file, name, self.name))]


@frozen
class Heard:
    """The codes of all that was reported."""

    codes: list[str] = field(factory=list)

    def report(self, event: Event) -> None:
        self.codes.append(event.code)


def settings(folder: Path) -> dict[str, str]:
    """The environment, but for what is set for felloe, uv and pip: how to reach the network stays."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OUTSIDE)}
    return {**inherited, **NO_FILES, "FELLOE_CACHE_DIR": str(folder / "cache")}


def database(
    folder: Path, source: type[PyPI] = PyPI, heard: Heard | None = None, **options: Unpack[Options]
) -> BlockingDatabase:
    """PyPI alone, with a cache in `folder`; `options` are those of `Config.load`."""
    config = Config.load(environ=settings(folder), cwd=folder, **options)
    point = EntryPoint("pypi", f"{source.__module__}:{source.__qualname__}", GROUP)
    return BlockingDatabase(config, reporter=heard, sources=[point])


def answers(database: BlockingDatabase, items: Sequence[str]) -> list[Answer]:
    """In the order asked."""
    outcomes = {outcome.item: outcome for outcome in database.metadata_many(items)}
    assert [outcome.error for outcome in outcomes.values()] == [None] * len(items)
    return [outcomes[item].value for item in items]


@pytest.fixture(scope="session")
def reached(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Asks once. A skip is remembered for the session, as any failure of a fixture is."""
    folder = tmp_path_factory.mktemp("probe")
    with database(folder, timeout=5.0, max_retry_seconds=0.1) as pypi:
        try:
            pypi.find(DORMANT)
        except NetworkError as error:
            pytest.skip(f"PyPI cannot be reached: {error}")


pytestmark = [pytest.mark.network, pytest.mark.timeout(60), pytest.mark.usefixtures("reached")]


def test_metadata_come_without_the_wheels_and_again_without_a_request(tmp_path: Path) -> None:
    with database(tmp_path, heard=(cold := Heard())) as pypi:
        first = answers(pypi, WHEELS)
    with database(tmp_path, heard=(warm := Heard())) as pypi:
        second = answers(pypi, WHEELS)

    assert {answer.rung for answer in first} <= {"sidecar", "range"}
    assert [answer.cached for answer in (*first, *second)] == [False] * 3 + [True] * 3
    assert [answer.metadata for answer in first] == [answer.metadata for answer in second]
    assert "request" in cold.codes
    assert "download" not in cold.codes
    assert warm.codes
    assert {"request", "download"}.isdisjoint(warm.codes)
    assert not (tmp_path / "cache" / "archives-v0").exists()


def test_parts_of_a_wheel_tell_what_its_sidecar_tells(tmp_path: Path) -> None:
    with database(tmp_path / "sidecar") as pypi:
        by_sidecar = answers(pypi, WHEELS)
    with database(tmp_path / "range", ByRange, heard=(heard := Heard())) as pypi:
        by_range = answers(pypi, WHEELS)

    assert [answer.rung for answer in by_sidecar] == ["sidecar"] * 3
    assert [answer.rung for answer in by_range] == ["range"] * 3
    assert [answer.metadata for answer in by_range] == [answer.metadata for answer in by_sidecar]
    assert "download" not in heard.codes


def test_an_sdist_tells_its_own_metadata(tmp_path: Path) -> None:
    with database(tmp_path, no_binary=[":all:"]) as pypi:
        answer = pypi.metadata(SDIST)

    assert (answer.rung, answer.cached, answer.dist.filename) == ("pkg-info", False, "hatchling-1.25.0.tar.gz")
    assert "pluggy>=1.0.0" in answer.metadata.requires_dist
    assert answer.metadata.requires_python == ">=3.8"


def test_a_project_that_is_not_there(tmp_path: Path) -> None:
    with database(tmp_path) as pypi, pytest.raises(ProjectNotFound, match=UNKNOWN):
        pypi.find(UNKNOWN)


def test_a_page_lists_the_same_files_in_both_forms(tmp_path: Path) -> None:
    with database(tmp_path / "json") as pypi:
        json_files = pypi.find(DORMANT)
    with database(tmp_path / "html", AsHtml) as pypi:
        html_files = pypi.find(DORMANT)

    assert {"sdist", "wheel"} == {dist.kind for dist in json_files}
    assert sorted(map(told_in_both, html_files)) == sorted(map(told_in_both, json_files))


def told_in_both(dist: Dist) -> tuple[str, str]:
    """An HTML page has no sizes and no times."""
    return dist.filename, str((dist.content, dist.requires_python, dist.yanked))


def test_the_command_brings_the_wheel_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with database(tmp_path) as pypi:
        expected = pypi.select(pypi.find(SMALL), SMALL)
    monkeypatch.chdir(tmp_path)
    environ = {**dict.fromkeys(os.environ), **settings(tmp_path)}

    result = CliRunner(env=environ).invoke(felloe, ["wheel", SMALL, "-o", "wheels", "--json"])

    assert result.exit_code == 0
    (wheel,) = json.loads(result.stdout)["results"]
    assert wheel["wheel"] == expected.filename
    assert f"sha256:{wheel['sha256']}" == expected.content
    assert sha256_of(tmp_path / "wheels" / expected.filename) == wheel["sha256"]


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
