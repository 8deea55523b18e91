"""What `explain` says, that it changes nothing, and that the run after it does what it said."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from felloe import BlockingDatabase, Database, Explanation
from felloe.config import Building, Config, Policy
from felloe.errors import BuildError, FelloeError, RequirementError
from felloe.explain import Others, Verdict
from felloe.hookspecs import GROUP
from felloe.testing import Behaviour, GitServer, IndexServer, Project, make_sdist, make_wheel
from tests.fixtures.line import Told, change_document, config_of, files_below, read_document
from tests.fixtures.projects import HOOKS, buildable, hooks_called, project_files, project_tree
from tests.fixtures.pythons import installed

pytestmark = pytest.mark.anyio

SDIST = "acme-1.0.tar.gz"
WHEEL = "acme-1.0-py3-none-any.whl"
PREPARED = ["acme get_requires", "acme prepare"]
BUILT = ["acme get_requires", "acme wheel"]
COMPILED = "'py3-none-' + __import__('sysconfig').get_platform().replace('-', '_').replace('.', '_')"
KEPT = Behaviour(cache_control="max-age=600")
NOT_KNOWN = Verdict(state="none")


def all_sources() -> list[EntryPoint]:
    return [point for point in entry_points(group=GROUP) if point.name in {"index", "pypi", "url", "path", "git"}]


class Scene:
    """An index, a git server, a project's folder and a cache. Each question is a run of its own."""

    def __init__(self, folder: Path, index: IndexServer, git: GitServer) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.project = folder / "acme"
        self.index = index
        self.git = git
        self.told = Told()

    def config(self, **options: Any) -> Config:
        return config_of(self.cache, self.index, **options)

    @asynccontextmanager
    async def database(self, **options: Any) -> AsyncIterator[Database]:
        self.told = Told()
        async with Database(self.config(**options), reporter=self.told, sources=all_sources()) as database:
            yield database

    async def run(self, text: str, goal: str, **options: Any) -> Any:
        """The answer."""
        async with self.database(**options) as database:
            return await (database.wheel(text) if goal == "wheel" else database.metadata(text))

    async def explain(self, text: str, goal: Any = "metadata", **options: Any) -> Explanation:
        """Of a run of its own, which is seen to change nothing and to run no backend."""
        before = snapshot(self.cache)
        async with self.database(**options) as database:
            said = await database.explain(text, goal=goal)
        assert snapshot(self.cache) == before
        assert self.hooks() == []
        return said

    def hooks(self) -> list[str]:
        """What backends did since the last time."""
        file = self.folder / "hooks"
        called = hooks_called(file)
        file.unlink(missing_ok=True)
        return called

    def requests(self) -> int:
        """Sent since the last time; git lists refs once more before it fetches, or not."""
        sent = len(self.index.requests) + min(self.git.listings, 1) + self.git.fetches
        self.forget()
        return sent

    def forget(self) -> None:
        self.index.clear()
        self.git.clear()

    def only(self, pattern: str) -> Path:
        (path,) = self.cache.glob(pattern)
        return path


def snapshot(folder: Path) -> Mapping[str, Any]:
    """All that is there, and whether the folder itself is."""
    return {str(path): what_is(path) for path in [folder, *sorted(folder.rglob("*"))] if os.path.lexists(path)}


def what_is(path: Path) -> tuple[Any, ...]:
    status = path.lstat()
    held = path.read_bytes() if path.is_file() else None
    return (status.st_mode, status.st_size, status.st_mtime_ns, held)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv(HOOKS, str(tmp_path / "hooks"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.delenv("CFLAGS", raising=False)
    monkeypatch.chdir(tmp_path)
    with IndexServer() as index, GitServer(tmp_path / "repositories") as git:
        index.behave("/simple/*", KEPT)
        yield Scene(tmp_path, index, git)


# The table: one thing changes, `explain` names it, and the run does what was said


Change = Callable[[Scene, pytest.MonkeyPatch], None]


@frozen(kw_only=True)
class Row:
    """`begin` makes what is asked for, and gives how; `change` is what happens between two runs.

    `options` are those of the second run. `inputs` map what changed to patterns of old and new. `steps` are foretold;
    `hooks` and `requests` are what the run then takes.
    """

    begin: Callable[[Scene], str]
    goal: str = "metadata"
    change: Change = lambda scene, patch: None
    options: Mapping[str, Any] = field(factory=dict)
    inputs: Mapping[str, tuple[str, str]] = field(factory=dict)
    verdict: tuple[str, str] = ("fresh", "")
    steps: Sequence[str]
    hooks: Sequence[str] = ()
    requests: int = 0


def a_tree(scene: Scene) -> str:
    project_tree(scene.project, "acme", requires_dist="[open('version').read().strip()]")
    (scene.project / "version").write_text("one\n")
    (scene.project / "spare").write_text("")
    return f"acme @ {scene.project.as_uri()}"


def a_tree_that_declares(scene: Scene) -> str:
    text = a_tree(scene)
    (scene.folder / "shared.h").write_text("1")
    with (scene.project / "pyproject.toml").open("a") as file:
        file.write('[tool.felloe]\ncache-keys = [{ env = "ACME_FLAVOUR" }, { env = "OTHER" }, "../shared.h"]\n')
    return text


def a_static_tree(scene: Scene) -> str:
    scene.project.mkdir()
    write_static(scene)
    return f"acme @ {scene.project.as_uri()}"


def write_static(scene: Scene, version: str = "1.0") -> None:
    (scene.project / "pyproject.toml").write_text(f'[project]\nname = "acme"\nversion = "{version}"\n')


def an_sdist(scene: Scene) -> str:
    scene.index.add(buildable(scene.folder, "acme"))
    return "acme"


def a_compiled_sdist(scene: Scene) -> str:
    scene.index.add(buildable(scene.folder, "acme", tag=COMPILED))
    return "acme"


def a_static_sdist(scene: Scene) -> str:
    scene.index.add(make_sdist(scene.folder, Project("acme", "1.0")))
    return "acme"


def a_wheel(scene: Scene) -> str:
    scene.index.add(make_wheel(scene.folder, Project("acme", "1.0")), sidecar=True)
    return "acme"


def a_url(scene: Scene) -> str:
    serve(scene, buildable(scene.folder, "acme"), etag='"one"')
    return f"acme @ {scene.index.url}/{SDIST}"


def serve(scene: Scene, file: Path, *, etag: str) -> None:
    scene.index.static(f"/{SDIST}", file.read_bytes())
    scene.index.behave(f"/{SDIST}", Behaviour(etag=etag, cache_control="no-cache"))


def a_branch(scene: Scene) -> str:
    repository = scene.git.repository("acme")
    repository.commit(project_files("acme"))
    return f"acme @ git+{repository.url}@main"


def a_commit(scene: Scene) -> str:
    repository = scene.git.repository("acme")
    return f"acme @ git+{repository.url}@{repository.commit(project_files('acme'))}"


def write(name: str, text: str) -> Change:
    return lambda scene, patch: (scene.project / name).write_text(text) and None


def touch(scene: Scene, _: Any) -> None:
    os.utime(scene.project / "version", (1, 1))


def edit_and_set_back(scene: Scene, _: Any) -> None:
    file = scene.project / "version"
    status = file.stat()
    file.write_text("two\n")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def delete(scene: Scene, _: Any) -> None:
    (scene.project / "spare").unlink()


def flip(scene: Scene, _: Any) -> None:
    entry = scene.only("built-wheel-metadata-v0/**/metadata.json")
    body = bytearray(entry.read_bytes())
    body[-20] ^= 1
    entry.write_bytes(body)


def lose_the_wheel(scene: Scene, _: Any) -> None:
    scene.only(f"builds-v0/**/{WHEEL}").unlink()


def lose_the_sdist(scene: Scene, _: Any) -> None:
    scene.only(f"archives-v0/**/{SDIST}").unlink()


def set_cflags(_: Scene, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("CFLAGS", "-O3")


def add_a_commit(scene: Scene, _: Any) -> None:
    scene.git.repository("acme").commit({"new": "file"})


def new_etag(scene: Scene, _: Any) -> None:
    serve(scene, scene.folder / SDIST, etag='"two"')


def new_bytes_by_url(scene: Scene, _: Any) -> None:
    serve(scene, buildable(scene.folder, "acme", requires_dist="['attrs']"), etag='"two"')


def new_bytes_on_the_index(scene: Scene, _: Any) -> None:
    scene.index.behave("/simple/*", Behaviour(cache_control="no-cache"))
    scene.index.add(buildable(scene.folder, "acme", requires_dist="['attrs']"))


def new_static_bytes_on_the_index(scene: Scene, _: Any) -> None:
    scene.index.add(make_sdist(scene.folder, Project("acme", "1.0", requires_dist=["attrs"])))


def new_wheel_on_the_index(scene: Scene, _: Any) -> None:
    scene.index.add(make_wheel(scene.folder, Project("acme", "1.0", requires_dist=["attrs"])), sidecar=True)


EDITED = {"source.content": ("version=[0-9a-f]{12}", "version=[0-9a-f]{12}")}
GONE = {"source.content": ("spare=[0-9a-f]{12}", "none")}
COME = {"source.content": ("none", "new=[0-9a-f]{12}")}
STALE_TREE = ("stale", "content-changed")
HASH = {"source.hash": ("sha256 [0-9a-f]{64}", "[0-9a-f]{64}")}
FAST = Building(config_settings={"speed": "fast"})
LIMITED = Building(build_constraints=("setuptools<70",))
SPEED = {"settings.speed": ("None", "fast")}
CFLAGS = {"toolchain.CFLAGS": ("None", "-O3")}
COMMIT = "[0-9a-f]{40}"
ETAGS = {"source.etag": ('"one"', '"two"')}

TABLE = {
    "nothing": Row(begin=an_sdist, steps=["hit"]),
    "nothing, a wheel": Row(begin=an_sdist, goal="wheel", steps=["hit"]),
    "a version file": Row(
        begin=a_tree,
        change=write("version", "three"),
        inputs=EDITED,
        verdict=STALE_TREE,
        steps=["prepare"],
        hooks=PREPARED,
    ),
    "a static tree": Row(
        begin=a_static_tree,
        change=lambda scene, _: write_static(scene, "1.1"),
        inputs={"source.content": ("pyproject.toml=[0-9a-f]{12}", "pyproject.toml=[0-9a-f]{12}")},
        verdict=STALE_TREE,
        steps=["download"],
    ),
    "a declared variable": Row(
        begin=a_tree_that_declares,
        change=lambda scene, patch: patch.setenv("ACME_FLAVOUR", "salt"),
        inputs={"source.declared": ("env:ACME_FLAVOUR=none", "env:ACME_FLAVOUR=[0-9a-f]{16}")},
        verdict=("stale", "declared-changed"),
        steps=["prepare"],
        hooks=PREPARED,
    ),
    "a declared file": Row(
        begin=a_tree_that_declares,
        change=lambda scene, patch: (scene.folder / "shared.h").write_text("2") and None,
        inputs={"source.declared": ("file:../shared.h=[0-9a-f]{16}", "file:../shared.h=[0-9a-f]{16}")},
        verdict=("stale", "declared-changed"),
        steps=["prepare"],
        hooks=PREPARED,
    ),
    "touch": Row(begin=a_tree, change=touch, steps=["hit"]),
    "a byte with the time set back": Row(
        begin=a_tree,
        goal="wheel",
        change=edit_and_set_back,
        inputs=EDITED,
        verdict=STALE_TREE,
        steps=["build"],
        hooks=BUILT,
    ),
    "a file deleted": Row(
        begin=a_tree,
        change=delete,
        inputs=GONE,
        verdict=STALE_TREE,
        steps=["prepare"],
        hooks=PREPARED,
    ),
    "a new file": Row(
        begin=a_tree,
        change=write("new", "x"),
        inputs=COME,
        verdict=STALE_TREE,
        steps=["prepare"],
        hooks=PREPARED,
    ),
    "a config setting": Row(
        begin=an_sdist, options={"building": FAST}, inputs=SPEED, steps=["prepare"], hooks=PREPARED
    ),
    "a config setting, a wheel": Row(
        begin=an_sdist, goal="wheel", options={"building": FAST}, inputs=SPEED, steps=["build"], hooks=BUILT
    ),
    "a config setting, a tree": Row(
        begin=a_tree, options={"building": FAST}, inputs=SPEED, steps=["prepare"], hooks=PREPARED
    ),
    "a build constraint": Row(
        begin=an_sdist,
        options={"building": LIMITED},
        inputs={"build-constraints": ("None", "setuptools<70")},
        steps=["prepare"],
        hooks=PREPARED,
    ),
    "CFLAGS, compiled": Row(
        begin=a_compiled_sdist, goal="wheel", change=set_cflags, inputs=CFLAGS, steps=["build"], hooks=BUILT
    ),
    "CFLAGS, pure": Row(begin=an_sdist, goal="wheel", change=set_cflags, steps=["hit"]),
    "a branch that moved": Row(
        begin=a_branch,
        change=add_a_commit,
        inputs={"remembered.main": (COMMIT, COMMIT)},
        verdict=("none", ""),
        steps=["download"],
        hooks=PREPARED,
        requests=2,
    ),
    "a branch that did not move": Row(begin=a_branch, steps=["revalidate"], requests=1),
    "a commit": Row(begin=a_commit, steps=["hit"]),
    "a new ETag": Row(
        begin=a_url, change=new_etag, inputs=ETAGS, verdict=("fresh", "etag-changed"), steps=["revalidate"], requests=1
    ),
    "the same ETag": Row(begin=a_url, steps=["revalidate"], requests=1),
    "new bytes by URL": Row(
        begin=a_url,
        change=new_bytes_by_url,
        inputs=ETAGS,
        verdict=("stale", "etag-changed"),
        steps=["download", "prepare"],
        hooks=PREPARED,
        requests=1,
    ),
    "new bytes on the index": Row(
        begin=an_sdist,
        goal="wheel",
        change=new_bytes_on_the_index,
        options={"refresh": True},
        inputs=HASH,
        verdict=("stale", "hash-changed"),
        steps=["download", "build"],
        hooks=BUILT,
        requests=2,
    ),
    "new static bytes on the index": Row(
        begin=a_static_sdist,
        change=new_static_bytes_on_the_index,
        options={"refresh": True},
        inputs=HASH,
        verdict=("stale", "hash-changed"),
        steps=["download"],
        requests=2,
    ),
    "a new wheel on the index": Row(
        begin=a_wheel,
        change=new_wheel_on_the_index,
        options={"refresh": True},
        inputs=HASH,
        verdict=("stale", "hash-changed"),
        steps=["download"],
        requests=2,
    ),
    "refresh": Row(begin=an_sdist, options={"refresh": True}, steps=["revalidate"], requests=1),
    "refresh, a wheel": Row(begin=a_wheel, options={"refresh": True}, steps=["revalidate"], requests=1),
    "offline": Row(begin=a_branch, options={"offline": True}, steps=["hit"]),
    "a corrupted entry": Row(begin=an_sdist, change=flip, verdict=("none", "damaged"), steps=["hit"]),
    "a corrupted entry, a wheel": Row(
        begin=an_sdist, goal="wheel", change=flip, verdict=("none", "damaged"), steps=["hit"]
    ),
    "a wheel gone": Row(
        begin=an_sdist,
        goal="wheel",
        change=lose_the_wheel,
        inputs={"wheel": (re.escape(WHEEL), "None")},
        steps=["build"],
        hooks=BUILT,
    ),
    "an sdist gone": Row(
        begin=an_sdist,
        change=lose_the_sdist,
        options={"building": FAST},
        inputs=SPEED,
        steps=["download", "prepare"],
        hooks=PREPARED,
        requests=1,
    ),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
async def test_the_run_does_what_was_said(scene: Scene, monkeypatch: pytest.MonkeyPatch, row: Row) -> None:
    await check(scene, monkeypatch, row)


async def test_another_interpreter(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("abi", "version")
    inputs = {f"interpreter.{name}": (".*3.*11.*", ".*3.*12.*") for name in names}
    row = Row(
        begin=an_sdist, options={"python": installed("python3.12")}, inputs=inputs, steps=["prepare"], hooks=PREPARED
    )
    await check(scene, monkeypatch, row, python=installed("python3.11"))


async def check(scene: Scene, patch: pytest.MonkeyPatch, row: Row, **options: Any) -> None:
    text = row.begin(scene)
    before = await scene.run(text, row.goal, **options)
    row.change(scene, patch)
    scene.hooks()

    said = await scene.explain(text, row.goal, **{**options, **row.options})
    assert {each.input for each in said.differences} == row.inputs.keys()
    for each in said.differences:
        old, new = row.inputs[each.input]
        assert re.fullmatch(old, str(each.old)), each
        assert re.fullmatch(new, str(each.new)), each
        assert each.old != each.new
    assert said.verdict is not None
    assert (said.verdict.state, said.verdict.code) == row.verdict
    assert (list(said.steps), said.error) == (row.steps, None)

    scene.forget()
    answer = await scene.run(text, row.goal, **{**options, **row.options})
    assert (scene.hooks(), scene.requests()) == (list(row.hooks), row.requests)
    assert answer.rung in said.rungs
    assert answer.cached == (row.steps in (["hit"], ["revalidate"]) and "etag-changed" not in row.verdict)
    assert said.action == row.steps[-1]
    ran = {"": None, "prepare": "prepare", "wheel": "build"}["".join(row.hooks[-1:]).removeprefix("acme ")]
    assert ran in {said.action, said.may_follow} or ran is None
    assert ran is not None or said.action not in {"prepare", "build"}
    if row.steps == ["hit"]:
        assert answer.metadata == before.metadata


# What else is said


async def test_what_is_said_of_an_sdist_from_the_first_time_on(scene: Scene) -> None:
    an_sdist(scene)
    scene.index.add(make_wheel(scene.folder, Project("acme", "1.0"), tags="cp27-none-any"))

    first = await scene.explain("acme")
    assert not scene.cache.exists()
    assert [(each.source.name, each.claim.level.name) for each in first.claims] == [("one", "FALLBACK")]
    assert (first.owner, first.reason) == ("one", "the first of these that knows the project answers")
    assert first.dist is not None
    assert first.dist.filename == SDIST
    assert first.others == Others(less_preferred=0, not_fitting=1)
    assert (first.entry, first.verdict, first.build) == (None, NOT_KNOWN, None)
    assert (first.rung, first.steps, first.may_follow) == (None, ("download",), "prepare")
    assert first.rungs == ("pkg-info", "pyproject", "prepare", "wheel")
    assert first.size == first.dist.size is not None

    wheel = await scene.run("acme", "wheel")
    (build,) = read_document(scene.only(f"built-wheel-metadata-v0/**/{SDIST}/metadata.json"))["builds"]
    scene.hooks()
    again = await scene.explain("acme", "wheel")
    assert again.path == scene.only(f"built-wheel-metadata-v0/**/{SDIST}/metadata.json")
    assert again.key == (SDIST,)
    assert again.entry is not None
    assert again.entry.verified
    assert again.fingerprint is not None
    assert again.fingerprint.to_json() == build["fingerprint"]
    assert again.build is not None
    assert (again.build.sha256, again.build.seconds) == (wheel.sha256, build["seconds"])
    assert (again.rung, again.action) == ("wheel", "hit")

    other = await scene.explain("acme", "wheel", building=FAST)
    assert (other.action, other.seconds) == ("build", build["seconds"])


async def test_a_wheel_is_read_in_part_or_whole(scene: Scene) -> None:
    a_wheel(scene)

    metadata, wheel = await scene.explain("acme"), await scene.explain("acme", "wheel")
    assert (metadata.steps, metadata.rungs) == (("download",), ("sidecar", "range", "wheel"))
    assert (wheel.steps, wheel.rungs) == (("download",), ("wheel",))
    await scene.run("acme", "metadata")
    assert (await scene.explain("acme")).rung == "sidecar"
    assert (await scene.explain("acme", "wheel")).steps == ("download",)


async def test_the_same_bytes_from_elsewhere_are_not_built_again(scene: Scene) -> None:
    an_sdist(scene)
    await scene.run("acme", "wheel")
    scene.hooks()

    text = f"acme @ {(scene.folder / SDIST).as_uri()}"
    said = await scene.explain(text, "wheel")
    assert (said.verdict, said.steps, said.rung) == (NOT_KNOWN, ("hit",), "wheel")
    await scene.run(text, "wheel")
    assert scene.hooks() == []


async def test_only_metadata_were_prepared(scene: Scene) -> None:
    an_sdist(scene)
    await scene.run("acme", "metadata")
    scene.hooks()

    said = await scene.explain("acme", "wheel")
    assert (said.steps, list(map(str, said.differences))) == (("build",), ["goal: metadata -> wheel"])


async def test_a_build_that_does_not_say_its_inputs(scene: Scene) -> None:
    an_sdist(scene)
    await scene.run("acme", "metadata")
    change_document(
        scene.only("built-wheel-metadata-v0/**/metadata.json"), lambda each: each["builds"][0].pop("inputs")
    )
    change_document(scene.only("builds-v0/**/record.json"), lambda each: each.pop("inputs"))
    scene.hooks()

    (difference,) = (await scene.explain("acme", building=FAST)).differences
    assert difference.input == "settings"
    assert re.fullmatch("[0-9a-f]{16} -> [0-9a-f]{16}", f"{difference.old} -> {difference.new}")


async def test_a_secret_that_changed_is_not_shown(scene: Scene) -> None:
    an_sdist(scene)
    await scene.run("acme", "metadata", building=with_setting("https://u:one@example.com/"))
    scene.hooks()

    said = await scene.explain("acme", building=with_setting("https://u:two@example.com/"))
    assert [each.input for each in said.differences] == ["settings"]
    assert "two" not in str(said.to_json()["differences"])


def with_setting(value: str) -> Building:
    return Building(config_settings={"mirror": value})


ERRORS = {
    "no-build": ({"building": Building(no_build=frozenset({":all:"}))}, "acme", "build-not-allowed"),
    "no-build-package": ({"building": Building(no_build=frozenset({"acme"}))}, "acme", "build-not-allowed"),
    "no version": ({}, "acme>=2", "no-matching-distribution"),
    "no project": ({}, "missing", "project-not-found"),
    "no source": ({"disabled": frozenset({"url"})}, "acme @ https://example.com/acme.zip", "no-source"),
    "no hash": ({"policy": Policy(require_hashes=True)}, "acme", "hash-required"),
    "offline": ({"offline": True}, "other", "offline"),
    "no folder": ({}, "./missing", "path-not-found"),
}


@pytest.mark.parametrize(("options", "text", "code"), ERRORS.values(), ids=ERRORS)
async def test_an_answer_that_is_an_error(scene: Scene, options: dict[str, Any], text: str, code: str) -> None:
    an_sdist(scene)
    scene.index.add(buildable(scene.folder, "acme"))
    await scene.run("acme", "metadata")
    scene.hooks()

    said = await scene.explain(text, "wheel", **options)
    with pytest.raises(FelloeError) as caught:
        await scene.run(text, "wheel", **options)
    assert said.error is not None
    assert (said.error.code, str(said.error)) == (code, str(caught.value))
    assert (said.action, said.to_json()["error"]["message"]) == (None, str(said.error))


async def test_a_failure_that_would_be_told_again(scene: Scene) -> None:
    scene.index.add(buildable(scene.folder, "acme", code="raise RuntimeError('broken')"))
    with pytest.raises(BuildError):
        await scene.run("acme", "wheel")
    scene.hooks()

    said = await scene.explain("acme", "wheel")
    assert (said.error, said.action) == (said.failure, None)
    assert said.failure is not None
    assert "RuntimeError: broken" in str(said.failure)
    anew = await scene.explain("acme", "wheel", building=Building(retry_failed=True))
    assert (anew.failure, anew.action) == (None, "build")


async def test_what_cannot_be_read_is_not_explained(scene: Scene) -> None:
    async with scene.database() as database:
        with pytest.raises(RequirementError):
            await database.explain("acme ==")
        with pytest.raises(ValueError, match="nothing to explain"):
            await database.explain("acme", goal="answer")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await database.explain(1)  # type: ignore[arg-type]


@pytest.mark.parametrize("cache", ["missing", "empty"])
@pytest.mark.parametrize("begin", [an_sdist, a_wheel, a_url, a_tree, a_branch, a_commit])
async def test_nothing_is_made_in_a_cache_that_is_not_there(
    scene: Scene, begin: Callable[[Scene], str], cache: str
) -> None:
    text = begin(scene)
    if cache == "empty":
        scene.cache.mkdir()

    for goal in ("metadata", "wheel"):
        said = await scene.explain(text, goal)
        assert (said.error, said.verdict) == (None, NOT_KNOWN)
    assert files_below(scene.cache) == []
    assert scene.cache.exists() == (cache == "empty")


async def test_the_same_commit_from_elsewhere_may_not_be_built_again(scene: Scene) -> None:
    text = a_commit(scene)
    await scene.run(text, "wheel")
    scene.hooks()
    mirror = scene.git.repository("mirror")
    commit = mirror.commit(project_files("acme"))
    assert text.endswith(commit)

    elsewhere = f"acme @ git+{mirror.url}@{commit}"
    said = await scene.explain(elsewhere, "wheel")
    assert (said.steps, said.may_follow) == (("download",), "build")
    await scene.run(elsewhere, "wheel")
    assert scene.hooks() == []


async def test_a_dist_is_explained_as_its_requirement_is(scene: Scene) -> None:
    an_sdist(scene)
    async with scene.database() as database:
        (dist,) = await database.find("acme")
        said = await database.explain(dist)
    assert (said.requirement, said.owner, said.claims) == (SDIST, "one", ())
    assert said.steps == ("download",)


async def test_a_run_in_the_same_database_keeps_what_the_explanation_did_not(scene: Scene) -> None:
    a_static_sdist(scene)
    async with scene.database() as database:
        await database.explain("acme")
        assert not scene.cache.exists()
        await database.metadata("acme")
        assert (await database.explain("acme")).action == "hit"
    assert {path.split("/")[0] for path in files_below(scene.cache)} >= {"http-v0", "interpreters-v0", "archives-v0"}


async def test_a_damaged_archive_is_told_of_and_stays(scene: Scene) -> None:
    an_sdist(scene)
    await scene.run("acme", "wheel")
    scene.only(f"builds-v0/**/{WHEEL}").write_bytes(b"damaged")
    scene.hooks()

    said = await scene.explain("acme", "wheel")
    assert (said.action, list(map(str, said.differences))) == ("build", [f"wheel: {WHEEL} -> none"])
    assert "its bytes have another sha256" in scene.told.messages("warning")[0]


async def test_tags_that_appear_later(scene: Scene) -> None:
    repository = scene.git.repository("acme")
    repository.commit({**project_files("acme"), "setup.cfg": "[tool:setuptools_scm]\n"})
    text = f"acme @ git+{repository.url}"
    await scene.run(text, "metadata")
    repository.tag("v1.0")
    scene.hooks()

    said = await scene.explain(text)
    (difference,) = said.differences
    assert (difference.input, said.verdict and said.verdict.code) == ("source.scm", "scm-changed")
    assert (difference.new or "").startswith("v1.0-0-g")
    assert (said.action, said.may_follow) == ("download", "prepare")
    await scene.run(text, "metadata")
    assert scene.hooks() == PREPARED


def test_the_blocking_database_explains_a_warm_answer_without_an_event_loop(scene: Scene) -> None:
    a_static_sdist(scene)
    with BlockingDatabase(scene.config(), sources=all_sources()) as database:
        assert database.explain("acme").action == "download"
        database.metadata("acme")
    with BlockingDatabase(scene.config(), sources=all_sources()) as database:
        assert (database.explain("acme").action, database._portal) == ("hit", None)


# Events of any run


async def test_a_run_tells_why(scene: Scene) -> None:
    an_sdist(scene)
    what = f"`{SDIST}` of source `one`"

    await scene.run("acme", "wheel")
    assert scene.told.messages("owner") == [
        "`acme` is asked of `one`: the first of these that knows the project answers"
    ]
    assert scene.told.messages("miss") == [f"nothing is known of {what}", f"{what} was not built before"]

    await scene.run("acme", "wheel", building=FAST)
    changed = f"{what} was built before, but not as it is asked for now: settings.speed: none -> fast"
    assert (scene.told.messages("miss"), scene.told.messages("fresh")) == ([changed], [f"{what} is fresh"])

    for wheel in scene.cache.glob(f"builds-v0/**/{WHEEL}"):
        wheel.unlink()
    await scene.run("acme", "wheel")
    assert scene.told.messages("miss") == [f"{what}: the wheel `{WHEEL}` that was built is gone from the cache"]
