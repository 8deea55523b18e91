"""What builds get of the environment: what counts, and what a user names; the rest is left out, and told."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from felloe import Database, Wheel
from felloe.config import Building
from felloe.errors import BuildError
from felloe.testing import IndexServer, Project, make_wheel
from tests.fixtures.line import config_of, own_sources
from tests.fixtures.projects import HOOKS, buildable, hooks_called

pytestmark = pytest.mark.anyio

BUILT = ["acme get_requires", "acme wheel"]
FLAVOUR = "['v' + os.environ.get('ACME_FLAVOUR', '')]"
BROKEN = "raise RuntimeError('broken')"


class Scene:
    """One index, one cache; each question is a run of its own."""

    def __init__(self, folder: Path, index: IndexServer) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.index = index
        self.seen_file = folder / "seen"
        self.hooks_file = folder / "hooks"

    @asynccontextmanager
    async def database(self, **building: Any) -> AsyncIterator[Database]:
        config = config_of(self.cache, self.index, building=Building(**building))
        async with Database(config, sources=own_sources()) as database:
            yield database

    async def wheel(self, text: str = "acme", **building: Any) -> Wheel:
        async with self.database(**building) as database:
            return await database.wheel(text)

    async def failing(self, **building: Any) -> BuildError:
        with pytest.raises(BuildError) as caught:
            await self.wheel(**building)
        return caught.value

    def add(self, name: str = "acme", **options: Any) -> None:
        self.index.add(buildable(self.folder, name, **options))

    def add_wheel(self, name: str) -> None:
        self.index.add(make_wheel(self.folder, Project(name, "1.0"), files={f"{name}.py": ""}))

    async def seen(self, **building: Any) -> dict[str, str]:
        """The environment of a backend, and in `:home` what is in its home folder."""
        code = (
            f"home = {{':home': ' '.join(os.listdir(os.environ['HOME']))}}; file = open({str(self.seen_file)!r}, 'w')"
        )
        self.add(code=f"{code}; file.write(json.dumps({{**os.environ, **home}})); file.close()")
        await self.wheel(**building)
        found: dict[str, str] = json.loads(self.seen_file.read_text())
        return found

    def hooks(self) -> list[str]:
        """What backends did since the last time."""
        called = hooks_called(self.hooks_file)
        self.hooks_file.unlink(missing_ok=True)
        return called


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("SOURCE_DATE_EPOCH", "PYTHONHASHSEED", "CARGO_HOME", "RUSTUP_HOME"):
        monkeypatch.delenv(name, raising=False)
    with IndexServer() as index:
        scene = Scene(tmp_path, index)
        monkeypatch.setenv(HOOKS, str(scene.hooks_file))
        yield scene


async def test_a_backend_gets_what_counts_and_folders_of_its_own(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    home = scene.folder / "home"
    home.mkdir()
    (home / ".netrc").write_text("machine example.com login me password pa55-w0rd")
    for name, value in {"HOME": str(home), "ACME_TOKEN": "pa55-w0rd", "CFLAGS": "-O3", "LC_ALL": "C"}.items():
        monkeypatch.setenv(name, value)

    seen = await scene.seen()

    assert "pa55-w0rd" not in str(seen)
    assert {"ACME_TOKEN", "PYTEST_CURRENT_TEST", "VIRTUAL_ENV"} & seen.keys() == set()
    assert (seen["CFLAGS"], seen["LC_ALL"], seen[":home"]) == ("-O3", "C", "")
    assert (seen["SOURCE_DATE_EPOCH"], seen["PYTHONHASHSEED"]) == ("315619200", "0")
    assert (seen["CARGO_HOME"], seen["RUSTUP_HOME"]) == (f"{home}/.cargo", f"{home}/.rustup")
    for name in ("HOME", "TMPDIR"):
        assert Path(seen[name]).is_relative_to(scene.cache / "scratch")
        assert not Path(seen[name]).exists()
    assert seen["PATH"].endswith(os.environ["PATH"])
    assert {"FELLOE_BUILD", "FELLOE_WAITING_BUILDS"} <= seen.keys()


async def test_what_a_user_names_is_passed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACME_A", "ACME_B", "OTHER", "MORE", "HOME"):
        monkeypatch.setenv(name, str(scene.folder))

    seen = await scene.seen(
        env=("ACME_*", "OTHER", "HOME"),
        extra_env={"acme": {"SET": "1", "OTHER": "2"}, "another": {"NOT_SET": "1"}},
    )

    assert {name: seen.get(name) for name in ("ACME_A", "OTHER", "MORE", "HOME", "SET", "NOT_SET")} == {
        "ACME_A": str(scene.folder),
        "OTHER": "2",
        "MORE": None,
        "HOME": str(scene.folder),
        "SET": "1",
        "NOT_SET": None,
    }


async def test_what_is_passed_counts_and_what_is_not_does_not(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.add(requires_dist=FLAVOUR)
    for flavour, env, told, called in (
        ("sweet", (), "v", BUILT),
        ("sour", (), "v", []),
        ("sweet", ("ACME_*",), "vsweet", BUILT),
        ("sour", ("ACME_*",), "vsour", BUILT),
        ("sweet", ("ACME_FLAVOUR",), "vsweet", []),
        ("sour", (), "v", []),
    ):
        monkeypatch.setenv("ACME_FLAVOUR", flavour)
        wheel = await scene.wheel(env=env)
        assert (wheel.metadata.requires_dist, scene.hooks()) == ((told,), called)


async def test_the_instant_of_a_user_counts(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.add(requires_dist="['v' + os.environ['SOURCE_DATE_EPOCH']]")
    assert (await scene.wheel()).metadata.requires_dist == ("v315619200",)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert (await scene.wheel()).metadata.requires_dist == ("v1700000000",)
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert (await scene.wheel()).cached


async def test_the_seed_of_hashes_does_not(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.add()
    await scene.wheel()
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    assert (await scene.wheel()).cached


async def test_what_a_project_does_not_say_that_it_needs(scene: Scene) -> None:
    scene.add_wheel("forgotten")
    scene.add_wheel("needed")
    scene.add(requires=["needed"], code="import needed, forgotten; assert os.environ['ACME_FLAVOUR'] == 'sweet'")
    assert "forgotten" in str(await scene.failing())
    mended: dict[str, Any] = {
        "extra_requires": {"acme": ("forgotten",), "other": ("nowhere",)},
        "extra_env": {"acme": {"ACME_FLAVOUR": "sweet"}},
    }

    await scene.wheel(**mended)
    assert (await scene.wheel(**mended)).cached

    assert "broken" not in str(await scene.failing())  # neither of them is served without
    del mended["extra_env"]
    assert "ACME_FLAVOUR" in str(await scene.failing(**mended))


async def test_what_is_passed_resolves_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata of a build requirement may be others, although the same files are listed."""
    scene.add_wheel("extra")
    scene.add("needed", requires_dist="['extra'] if 'ACME_FLAVOUR' in os.environ else []")
    scene.add("one", requires=["needed"])
    scene.add("two", requires=["needed"], code="import extra")
    await scene.wheel("one", env=("ACME_*",))
    monkeypatch.setenv("ACME_FLAVOUR", "sweet")

    await scene.wheel("two", env=("ACME_*",))


# What is left out is told


async def test_a_failure_names_what_was_left_out_and_no_values(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.add(code=BROKEN)
    monkeypatch.setenv("AAA_TOKEN", "pa55-w0rd")
    first, again = await scene.failing(), await scene.failing()
    assert scene.hooks() == BUILT

    monkeypatch.delenv("AAA_TOKEN")
    later = await scene.failing()

    for error, is_named in ((first, True), (again, True), (later, False)):
        assert ("AAA_TOKEN" in error.payload["left-out"]) is is_named
        assert ("AAA_TOKEN" in str(error)) is is_named
        assert str(error).count("it did not get") == 1  # of the others that tests run with
        assert "pa55-w0rd" not in f"{error}{error.payload}"
        assert error.payload["left-out"] == sorted(error.payload["left-out"])


async def test_a_failure_of_what_is_needed_names_it_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AAA_TOKEN", "x")
    scene.add("needed", code=BROKEN)
    scene.add(requires=["needed"])

    error = await scene.failing()

    assert str(error).count("AAA_TOKEN") == 1


async def test_an_explanation_names_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AAA_TOKEN", "x")
    monkeypatch.setenv("ACME_FLAVOUR", "sweet")
    scene.add()
    for is_known in (False, True):
        async with scene.database(env=("ACME_*",)) as database:
            said = await database.explain("acme", goal="wheel")
        assert (said.build is not None) is is_known
        assert said.left_out is not None
        assert "AAA_TOKEN" in said.left_out
        assert {"ACME_FLAVOUR", "PATH", HOOKS} & set(said.left_out) == set()
        assert said.to_json()["left-out"] == list(said.left_out)
        await scene.wheel(env=("ACME_*",))


async def test_where_nothing_is_built_nothing_is_left_out(scene: Scene) -> None:
    scene.add_wheel("pure")
    async with scene.database() as database:
        said = await database.explain("pure")

    assert (said.left_out, said.to_json()["left-out"]) == (None, None)
