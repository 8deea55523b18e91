"""Every answer is that of a clean build, and nothing is built or asked for that was not needed.

The situations are those of `benchmarks/correctness.py`, which has uv and pip answer them as well. Here each question
has its exact counts: the hooks of backends that are called, and the requests that reach an index.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import anyio
import pytest

from benchmarks.correctness_matrix import HOOKS, ROWS, Ask, Files, Scene, clean_build, files_in, judged, places
from felloe import Database
from felloe.config import Building
from felloe.errors import FelloeError
from felloe.hookspecs import GROUP
from tests.fixtures.line import config_of
from tests.fixtures.projects import hooks_called
from tests.fixtures.pythons import installed

pytestmark = pytest.mark.anyio

MODULES = ("felloe_git", "felloe_path", "felloe_pypi", "felloe_url")
OWN = f"python3.{sys.version_info.minor}"
BACKENDS = {"python3.11": "asyncio", "python3.12": "trio", "python3.13": "asyncio"}
PYTHONS = {**BACKENDS, OWN: BACKENDS.get(OWN, "trio")}

Counts = tuple[Sequence[str], int]  # hooks that are called, and requests

NOTHING: Counts = ((), 0)
BUILT: Counts = (("get_requires", "wheel"), 0)
EDITABLE: Counts = (("get_requires_editable", "editable"), 0)
# From an index, whose page servers here want to be asked for each time; or by a URL, which they want likewise.
NEW: Counts = (("get_requires", "wheel"), 2)
ONE_REQUEST: Counts = (("get_requires", "wheel"), 1)
KNOWN: Counts = ((), 1)

WARMED = "Requires-Dist depends on the Python, built by another before"
COUNTS: dict[str, Sequence[Counts]] = {
    "nothing changes, of a folder": [BUILT, NOTHING],
    "nothing changes, of an sdist in an index": [NEW, KNOWN],
    "a version file changes, and back": [BUILT, BUILT, NOTHING],
    "`touch pyproject.toml`": [BUILT, NOTHING],
    "a byte is edited, and the time set back": [BUILT, BUILT],
    "a file is deleted": [BUILT, BUILT],
    "a file is new": [BUILT, BUILT],
    "another `-C`, and back": [NEW, ONE_REQUEST, KNOWN],
    # What it requires: its page, which is then asked about again, and two requests for the wheel.
    "another build constraint, and back": [(BUILT[0], 5), (BUILT[0], 4), KNOWN],
    "other CFLAGS for compiled code, and back": [NEW, ONE_REQUEST, KNOWN],
    "other CFLAGS for a pure wheel": [NEW, KNOWN],
    "one sdist by index, second index, URL and path": [NEW, KNOWN, KNOWN, NOTHING],
    "new bytes under the same file name in an index": [NEW, NEW],
    "new bytes at a URL": [ONE_REQUEST, ONE_REQUEST],
    "the same bytes at a URL, with a new ETag": [ONE_REQUEST, KNOWN],
    "a branch of a git repository moves": [BUILT, BUILT],
    "back to a commit, with its repository gone": [BUILT, BUILT, NOTHING],
    "a tag is put on the same commit of a git repository later": [BUILT, BUILT, NOTHING],
    "a tag is put on the same commit of a folder later": [BUILT, BUILT],
    "two subdirectories of one archive": [ONE_REQUEST, ONE_REQUEST, KNOWN, KNOWN],
    "two subdirectories of one commit": [BUILT, BUILT, NOTHING, NOTHING],
    "an editable and a plain build of one project": [EDITABLE, BUILT, NOTHING, NOTHING],
    "a build that failed is asked for again": [NEW, KNOWN],
    "two processes ask for one sdist at once": [(BUILT[0], 3)],  # each asks for the page, one for the file
    "build requirements in a cycle": [((), 5)],
    "one bit of what the cache keeps is flipped": [NEW, ONE_REQUEST],
    "several wheels fit: the best tags, then the greatest build tag": [((), 2)],
    "an sdist whose metadata are of another project": [NEW, KNOWN],
    "a declared variable changes, and back (cache-keys)": [BUILT, BUILT, NOTHING],
    "a declared file outside of the folder changes (cache-keys)": [BUILT, BUILT],
    "an empty commit, which is declared (cache-keys)": [BUILT, BUILT],
}


@pytest.fixture(params=PYTHONS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def anyio_backend(name: str) -> str:
    return PYTHONS[name]


@pytest.fixture
def scene(tmp_path: Path, name: str) -> Iterator[Scene]:
    with places(tmp_path, python_of(name), list(others(name))) as scene:
        yield scene


def python_of(name: str) -> Path:
    return Path(sys.executable) if name == OWN else installed(name)


def others(name: str) -> Iterator[Path]:
    for other in PYTHONS.keys() - {name}:
        with suppress(pytest.skip.Exception):
            yield python_of(other)


def expected(situation: str, scene: Scene) -> Sequence[Counts]:
    if situation != WARMED:
        return COUNTS[situation]
    pythons = 1 + len(scene.others)
    return [NEW, *[ONE_REQUEST] * (pythons - 1), *[KNOWN] * pythons]


@pytest.mark.parametrize("situation", ROWS)
async def test_it_is_right(situation: str, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    truths: list[Files | None] = []
    counted: list[Counts] = []
    for ask in ROWS[situation](scene):
        with monkeypatch.context() as patched:
            said, counts = await answered(ask, scene, patched)
        truths.append(clean_build(ask, os.environ))
        counted.append(counts)
        assert judged(ask, said, truths, counts[0]) == "right", f"question {len(truths)}"
    assert counted == list(expected(situation, scene))


async def answered(ask: Ask, scene: Scene, patched: pytest.MonkeyPatch) -> tuple[Files | None, Counts]:
    """By a run of its own: the files of the wheel, None where there is none."""
    hooks = scene.folder / "hooks"
    hooks.unlink(missing_ok=True)
    for variable, value in {HOOKS: str(hooks), **ask.environ}.items():
        patched.setenv(variable, value)
    for server in (scene.index, scene.second):
        server.clear()
    building = Building(config_settings=ask.settings, build_constraints=tuple(ask.constraints), env=tuple(ask.passed))
    config = config_of(scene.cache, ask.index, building=building, python=ask.python)
    said: list[Files | None] = [None] * ask.at_once

    async def ask_for_it(number: int) -> None:
        async with Database(config, sources=all_sources()) as database:
            with suppress(FelloeError):
                wheel = await database.wheel(ask.text)
                assert (await database.metadata(wheel.dist)).metadata == wheel.metadata
                said[number] = files_in(wheel.path)

    async with anyio.create_task_group() as group:
        for number in range(ask.at_once):
            group.start_soon(ask_for_it, number)
    assert all(each == said[0] for each in said)
    return said[0], (tuple(hooks_called(hooks)), len(scene.index.requests) + len(scene.second.requests))


def all_sources() -> list[EntryPoint]:
    """Those that come with felloe, whatever else is installed."""
    return [point for point in entry_points(group=GROUP) if point.value.partition(":")[0] in MODULES]
