"""Projects in git repositories, from a requirement to metadata and wheels: what is built, and what never again."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import anyio
import pytest

from felloe import Answer, Database, Wheel
from felloe.errors import BuildError, BuildNeededError, FelloeError, MetadataError, OfflineError, RequirementError
from felloe.hookspecs import GROUP
from felloe.stepping import step
from felloe.testing import GitServer, Repository
from tests.fixtures.line import Told, config_of, files_below
from tests.fixtures.projects import HOOKS, hooks_called, project_files

pytestmark = pytest.mark.anyio

GIT = EntryPoint(name="git", value="felloe_git:GitRepository", group=GROUP)
SECRET = "pa55-w0rd"
STATIC = {"pyproject.toml": '[project]\nname = "acme"\nversion = "1.0"\ndependencies = ["zlib-ng"]\n'}
PREPARED = ["acme get_requires", "acme prepare"]
BUILT = ["acme get_requires", "acme wheel"]
DESCRIBED = """
import subprocess
described = subprocess.run(["git", "describe", "--tags"], check=True, capture_output=True, text=True).stdout.strip()
VERSION = described.removeprefix("v").replace("-", ".dev", 1).replace("-", "+")
INFO = "%s-%s.dist-info" % (NAME, VERSION)
"""


class Scene:
    """A git server, a cache; each question is a run of its own."""

    def __init__(self, folder: Path, server: GitServer) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.server = server
        self.told = Told()

    @asynccontextmanager
    async def database(self, **options: Any) -> AsyncIterator[Database]:
        self.told = Told()
        self.server.clear()
        async with Database(config_of(self.cache, **options), reporter=self.told, sources=[GIT]) as database:
            yield database

    async def metadata(self, text: str, **options: Any) -> Answer:
        async with self.database(**options) as database:
            return await database.metadata(text)

    async def wheel(self, text: str, **options: Any) -> Wheel:
        async with self.database(**options) as database:
            return await database.wheel(text)

    async def error(self, text: str, **options: Any) -> FelloeError:
        with pytest.raises(FelloeError) as caught:
            await self.metadata(text, **options)
        assert files_below(self.cache, "scratch") == []
        return caught.value

    def hooks(self) -> list[str]:
        """What backends did since the last time."""
        file = self.folder / "hooks"
        called = hooks_called(file)
        file.unlink(missing_ok=True)
        return called

    def asked(self) -> tuple[int, int]:
        """Requests of the last run: for refs, for objects."""
        return self.server.listings, self.server.fetches

    def entries(self) -> list[str]:
        folder = self.cache / "built-wheel-metadata-v0"
        return sorted(path.parent.relative_to(folder).as_posix() for path in folder.rglob("metadata.json"))


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv(HOOKS, str(tmp_path / "hooks"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    with GitServer(tmp_path / "repositories") as server:
        yield Scene(tmp_path, server)


def below(folder: str, files: Mapping[str, str]) -> dict[str, str]:
    return {f"{folder}/{path}": text for path, text in files.items()}


async def test_what_pyproject_proves_needs_no_build(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    commit = acme.commit(STATIC)
    answer = await scene.metadata(f"git+{acme.url}")
    assert (answer.rung, answer.metadata.requires_dist) == ("pyproject", ("zlib-ng",))
    assert scene.asked() == (1, 1)
    (entry,) = scene.entries()
    kind, _, *rest = entry.split("/")
    assert (kind, rest) == ("git", [commit])

    again = await scene.metadata(f"acme @ git+{acme.url}@main")
    assert (again.cached, again.metadata, scene.asked()) == (True, answer.metadata, (1, 0))
    exact = await scene.metadata(f"acme @ git+{acme.url}@{commit}")
    assert (exact.cached, scene.asked()) == (True, (0, 0))


@pytest.mark.parametrize("transport", ["http", "file"])
async def test_a_branch_moves_and_comes_back(scene: Scene, transport: str) -> None:
    acme = scene.server.repository("acme")
    first = acme.commit(project_files("acme"))
    url = f"git+{acme.url if transport == 'http' else acme.file_url}"
    old = await scene.wheel(f"{url}@main")
    assert (old.cached, scene.hooks()) == (False, BUILT)
    assert (await scene.wheel(f"{url}@main")).cached

    second = acme.commit(project_files("acme", "2.0"))
    new = await scene.wheel(f"{url}@main")
    assert (new.filename, new.cached, scene.hooks()) == ("acme-2.0-py3-none-any.whl", False, BUILT)
    assert (old.dist.content, new.dist.content) == (f"git:{first}", f"git:{second}")

    assert (await scene.wheel(f"{url}@{first}")).sha256 == old.sha256
    assert scene.asked() == (0, 0)
    acme.delete()
    for commit, wheel in ((first, old), (second, new)):
        again = await scene.wheel(f"acme @ {url}@{commit}")
        assert (again.cached, again.sha256) == (True, wheel.sha256)
    assert scene.hooks() == []
    assert (await scene.error(f"{url}@main")).code == "no-repository"


async def test_offline_a_branch_is_what_it_was(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit(project_files("acme"))
    await scene.wheel(f"git+{acme.url}")
    scene.hooks()
    acme.commit(project_files("acme", "2.0"))

    wheel = await scene.wheel(f"git+{acme.url}", offline=True)
    assert (wheel.filename, wheel.cached) == ("acme-1.0-py3-none-any.whl", True)
    assert [message for message in scene.told.messages("warning") if "last seen" in message]
    assert (scene.hooks(), scene.server.requests) == ([], [])
    assert isinstance(await scene.error(f"git+{acme.url}@other", offline=True), OfflineError)


async def test_a_known_commit_is_built_offline(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    commit = acme.commit(project_files("acme"))
    await scene.metadata(f"git+{acme.url}")
    assert scene.hooks() == PREPARED
    assert not (await scene.wheel(f"git+{acme.url}@{commit}", offline=True)).cached
    assert scene.hooks() == BUILT


def project(name: str) -> dict[str, str]:
    return below(name, {"pyproject.toml": f'[project]\nname = "{name}"\nversion = "1.0"\ndependencies = []\n'})


async def both(scene: Scene, url: str) -> set[str]:
    """The names of two projects of one repository, asked for at once."""
    texts = [f"one @ git+{url}@main#subdirectory=one", f"two @ git+{url}#subdirectory=two"]
    async with scene.database() as database:
        answers = [outcome.value async for outcome in database.metadata_many(texts)]
    assert len({answer.dist.content for answer in answers}) == 1
    return {answer.metadata.name for answer in answers}


async def test_a_full_commit_that_is_known_waits_for_nothing(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    commit = acme.commit(project_files("acme"))
    await scene.metadata(f"git+{acme.url}")
    async with scene.database() as database:
        answer = step(database.metadata(f"git+{acme.url}@{commit}"))
    assert (answer.cached, scene.server.requests) == (True, [])


async def test_two_subdirectories_are_one_fetch(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    commit = acme.commit(project("one") | project("two"))
    assert await both(scene, acme.url) == {"one", "two"}
    assert scene.asked() == (1, 1)
    places = [entry.split("/") for entry in scene.entries()]
    assert [place[2:] for place in places] == [[commit]] * 2
    assert len({place[1] for place in places}) == 2
    assert await both(scene, acme.url) == {"one", "two"}
    assert scene.asked() == (1, 0)


async def test_two_subdirectories_that_need_history_share_it(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit(below("one", project_files("one")) | below("two", project_files("two")))
    assert await both(scene, acme.url) == {"one", "two"}
    assert scene.told.codes().count("git-list") == 1
    assert scene.server.fetches == 2  # the files, and then history and tags


async def test_many_callers_cause_one_fetch_and_one_build(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit(project_files("acme"))
    wheels: list[Wheel] = []
    async with scene.database() as database:

        async def ask() -> None:
            wheels.append(await database.wheel(f"git+{acme.url}"))

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(ask)
        assert len({wheel.sha256 for wheel in wheels}) == 1
    assert (scene.hooks(), scene.told.codes().count("git-list")) == (BUILT, 1)


def described(name: str = "acme") -> dict[str, str]:
    """A project whose backend asks git for its version."""
    files = project_files(name)
    before, marker, after = files["b.py"].partition('INFO = "%s-%s.dist-info" % (NAME, VERSION)\n')
    assert marker
    return {**files, "b.py": before + DESCRIBED + after}


async def test_a_version_that_comes_from_a_tag(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    commit = acme.commit(described())
    acme.tag("v1.0")
    assert (await scene.wheel(f"git+{acme.url}")).metadata.version == "1.0"
    scene.hooks()

    acme.tag("v1.1", commit)  # describe prefers the newer one
    assert (await scene.wheel(f"git+{acme.url}")).metadata.version == "1.1"
    assert scene.hooks() == BUILT

    acme.tag("elsewhere", annotated=False, at=acme.commit({"a": "1"}, branch="other"))
    assert (await scene.wheel(f"git+{acme.url}")).cached
    assert (await scene.wheel(f"git+{acme.url}")).cached
    assert (scene.hooks(), scene.server.fetches) == ([], 0)

    acme.commit({"a": "1"})
    assert (await scene.wheel(f"git+{acme.url}")).metadata.version.startswith("1.1.dev1+g")


async def test_a_tag_that_is_taken_back_finds_its_build(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit(described())
    acme.tag("v1.0")
    old = await scene.wheel(f"git+{acme.url}")
    acme.tag("v2.0", annotated=True)
    assert (await scene.wheel(f"git+{acme.url}")).metadata.version == "2.0"
    acme.drop("refs/tags/v2.0")
    scene.hooks()
    again = await scene.wheel(f"git+{acme.url}")
    assert (again.metadata.version, again.sha256, scene.hooks()) == ("1.0", old.sha256, [])


async def test_submodules_are_there_when_it_is_built(scene: Scene) -> None:
    library = scene.server.repository("library")
    commit = library.commit({"number": "7"})
    acme = scene.server.repository("acme")
    code = "assert open('library/number').read() == '7'"
    acme.commit(project_files("acme", code=code), submodules={"library": ("../library.git", commit)})
    assert (await scene.wheel(f"git+{acme.url}")).filename == "acme-1.0-py3-none-any.whl"


async def test_a_login_is_nowhere_in_the_cache_and_nowhere_in_what_is_told(scene: Scene) -> None:
    scene.server.require_auth = ("reader", SECRET)
    acme = scene.server.repository("acme")
    acme.commit(project_files("acme"))
    url = f"git+{acme.url.replace('://', f'://reader:{SECRET}@')}"
    answer = await scene.metadata(f"acme @ {url}")
    await scene.wheel(url)
    told = repr(answer) + repr(scene.told.events)
    assert SECRET not in told
    assert [path for path in files_below(scene.cache) if SECRET.encode() in (scene.cache / path).read_bytes()] == []


# What is wrong


@pytest.mark.parametrize(
    ("ref", "code"),
    [
        ("@nowhere", "no-such-ref"),
        ("@--upload-pack=x", "invalid-ref"),
        ("@both", "ambiguous-ref"),
        (f"@{'0' * 40}", "no-such-ref"),
        ("@0000000", "no-such-ref"),
    ],
)
async def test_refs_that_will_not_do(scene: Scene, ref: str, code: str) -> None:
    acme = scene.server.repository("acme")
    acme.commit(STATIC)
    acme.tag("both")
    acme.branch("both", acme.commit({"a": "1"}))
    error = await scene.error(f"git+{acme.url}{ref}")
    assert isinstance(error, RequirementError)
    assert (error.code, bool(error.hint), acme.url in str(error)) == (code, True, True)


@pytest.mark.parametrize("subdirectory", ["nowhere", "file", "out", "up", "loop"])
async def test_subdirectories_that_are_missing_or_lead_outside(scene: Scene, subdirectory: str) -> None:
    outside = scene.folder / "outside"
    outside.mkdir()
    for path, text in project_files("acme").items():
        (outside / path).write_text(text)
    acme = scene.server.repository("acme")
    acme.commit({"file": "1"}, links={"out": str(outside), "up": "../../../..", "loop": "loop"})
    error = await scene.error(f"git+{acme.url}#subdirectory={subdirectory}")
    assert isinstance(error, BuildError | MetadataError | RequirementError)
    assert f"{subdirectory}" in str(error)
    assert scene.hooks() == []


async def test_a_repository_without_a_project(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit({"README": "nothing"})
    error = await scene.error(f"git+{acme.url}")
    assert error.hint


async def test_a_name_that_is_another_also_when_warm(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit(STATIC)
    for _ in range(2):
        error = await scene.error(f"other @ git+{acme.url}")
        assert "`other`" in str(error)
        assert (await scene.metadata(f"acme @ git+{acme.url}")).metadata.name == "acme"


async def test_hashes_and_builds_that_are_not_allowed(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit(project_files("acme"))
    assert isinstance(await scene.error(f"git+{acme.url} --hash=sha256:{'0' * 64}"), RequirementError)
    async with scene.database() as database:
        with pytest.raises(BuildNeededError):
            await database.metadata(f"git+{acme.url}", effort="static")
    assert scene.hooks() == []


async def test_a_damaged_entry_and_a_damaged_database(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    commit = acme.commit(project_files("acme"))
    wheel = await scene.wheel(f"git+{acme.url}")
    for path in scene.cache.glob("keep-v0/git/*/repository.git/objects"):
        shutil.rmtree(path)
    for path in scene.cache.glob("built-wheel-metadata-v0/**/metadata.json"):
        path.write_text(json.dumps({}))
    scene.hooks()
    again = await scene.wheel(f"git+{acme.url}@{commit}")
    assert (again.sha256, scene.hooks()) == (wheel.sha256, [])


async def test_a_repository_of_files_alone(scene: Scene) -> None:
    acme = Repository(scene.folder / "b@c" / "acme")
    acme.commit(STATIC)
    answer = await scene.metadata(f"git+{acme.file_url.replace('@', '%40')}@main", offline=True)
    assert answer.metadata.name == "acme"
