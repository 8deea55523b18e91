"""Git repositories: which commit a ref is, what is fetched of it and kept, and what git is given of a URL."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import pytest
from attrs import evolve

from felloe.assembly import Database
from felloe.context import ItemContext, Owner
from felloe.errors import ConfigError, FelloeError, NetworkError, OfflineError, RequirementError, SourceError
from felloe.request import parse_request
from felloe.testing import GitServer, Repository
from felloe.values import Dist, Entry, Fetched, Fresh, Stale
from felloe_git import GitRepository
from felloe_git.program import SETTINGS
from felloe_git.remote import Remote
from tests.fixtures.line import Told, config_of, files_below

pytestmark = pytest.mark.anyio

HEX = "0123456789abcdef0123456789abcdef01234567"
USER, SECRET = "reader", "pa55-w0rd"
PLAIN = {"pyproject.toml": '[project]\nname = "acme"\nversion = "1.0"\n'}
ASKING = {"pyproject.toml": '[build-system]\nrequires = ["setuptools-scm"]\n'}


class Run:
    """One run of a program: what is known once is known for all its items."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.source = GitRepository("git", {})
        self.newer_than = 1.0 if database.config.refresh else None

    def context(self) -> ItemContext:
        return ItemContext(self.database.services, Owner("git", "git", ""), newer_than=self.newer_than)

    async def find(self, text: str) -> Dist:
        with self.context() as ctx:
            (dist,) = await self.source.find(parse_request(text), ctx)
        return dist

    @asynccontextmanager
    async def fetched(self, dist: Dist | str) -> AsyncIterator[Fetched]:
        found = await self.find(dist) if isinstance(dist, str) else dist
        with self.context() as ctx:
            yield await self.source.fetch(found, ctx)

    async def files(self, dist: Dist | str) -> dict[str, str]:
        """What was checked out, without what belongs to git."""
        async with self.fetched(dist) as fetched:
            return contents(fetched.path)

    async def verdict(self, dist: Dist, entry: Entry) -> Fresh | Stale:
        with self.context() as ctx:
            return await self.source.check_freshness(dist, entry, ctx)


def contents(folder: Path) -> dict[str, str]:
    own = {".git", ".gitmodules"}
    files = (path for path in folder.rglob("*") if path.is_file() and not own & {*path.relative_to(folder).parts})
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(files)}


class Scene:
    def __init__(self, folder: Path, server: GitServer) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.server = server
        self.told = Told()

    @asynccontextmanager
    async def run(self, **options: Any) -> AsyncIterator[Run]:
        self.told = Told()
        self.server.clear()
        config = config_of(self.cache, **options)
        async with Database(config, reporter=self.told, sources=[]) as database:
            yield Run(database)

    async def files(self, text: str, **options: Any) -> dict[str, str]:
        async with self.run(**options) as run:
            return await run.files(text)

    async def commit(self, text: str, **options: Any) -> str:
        async with self.run(**options) as run:
            return str((await run.find(text)).content).removeprefix("git:")

    async def error(self, text: str, **options: Any) -> FelloeError:
        with pytest.raises(FelloeError) as caught:
            await self.files(text, **options)
        assert files_below(self.cache, "scratch") == []
        assert caught.value.hint
        return caught.value

    @property
    def databases(self) -> list[Path]:
        return sorted(self.cache.glob("keep-v0/git/*/*"))

    def contains(self, *texts: str) -> list[str]:
        return [
            path
            for path in files_below(self.cache)
            if any(text.encode() in (self.cache / path).read_bytes() or text in path for text in texts)
        ]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.delenv("GIT_SSH_COMMAND", raising=False)
    with GitServer(tmp_path / "repositories") as server:
        yield Scene(tmp_path, server)


def git(*arguments: str, folder: Path) -> str:
    person = {f"GIT_{role}_{key}": "felloe" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environ = {**os.environ, **person}
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=environ).stdout.strip()


def configure(scene: Scene, key: str, value: str) -> None:
    """As a user does: in the configuration of all repositories."""
    git("config", "--file", str(scene.folder / "gitconfig"), "--add", key, value, folder=scene.folder)


def program(scene: Scene, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a shell script before all others of its name."""
    path = scene.folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")


# What a URL tells


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        ("acme @ git+https://example.com/acme", True),
        ("git+http://example.com/acme.git", True),
        ("git+ssh://git@example.com/acme@v1#subdirectory=a", True),
        ("git+file:///srv/acme", True),
        ("git@example.com:group/acme.git", True),
        ("git+git@example.com:acme", True),
        ("acme", False),
        ("https://example.com/acme.git", False),
        ("ssh://git@example.com/acme", False),
        ("git+git://example.com/acme", False),
        ("git+ext://sh/acme", False),
        ("hg+https://example.com/acme", False),
        ("./acme", False),
    ],
)
def test_what_is_claimed(text: str, claimed: bool) -> None:
    assert (GitRepository("git", {}).claims(parse_request(text)) is not None) is claimed


def test_there_are_no_settings() -> None:
    with pytest.raises(ConfigError, match="no setting `token`") as raised:
        GitRepository("git", {"token": SECRET})
    assert SECRET not in repr(raised.value) + raised.value.hint


def remote(text: str) -> Remote:
    url = parse_request(text).url
    assert url is not None
    return Remote.of(url.without_fragment())


@pytest.mark.parametrize(
    ("text", "address", "ref", "name"),
    [
        ("git+https://example.com/acme", "https://example.com/acme", None, "acme"),
        (f"git+https://{USER}:{SECRET}@EXAMPLE.com:443/a/acme.git@v1", "https://example.com/a/acme.git", "v1", "acme"),
        ("git+ssh://git@example.com:22/acme/@a/b", "ssh://git@example.com/acme/", "a/b", "acme"),
        ("git+ssh://git:x@example.com:2222/acme", "ssh://git@example.com:2222/acme", None, "acme"),
        ("git@example.com:acme.git@feature%2Fone", "ssh://git@example.com/acme.git", "feature/one", "acme"),
        ("git+file:///srv/b%40c/acme%20two@HEAD", "file:///srv/b%40c/acme%20two", "HEAD", "acme two"),
        ("git+file://localhost/srv/acme/.git", "file:///srv/acme/.git", None, "acme"),
        ("git+https://example.com/", "https://example.com/", None, "example.com"),
        ("git+https://example.com/%1b%5bred", "https://example.com/%1b%5bred", None, "%1B%5Bred"),
    ],
)
def test_what_a_url_tells(text: str, address: str, ref: str | None, name: str) -> None:
    found = remote(text)
    assert (found.address, found.ref, found.name) == (address, ref, name)
    assert SECRET not in repr(found) + str(found)


@pytest.mark.parametrize(
    "text",
    [
        "git+https://EXAMPLE.com:443/acme",
        "git+https://example.com/acme/",
        "git+https://example.com/acme.git/",
        f"git+https://{USER}:{SECRET}@example.com/acme@v1#subdirectory=a",
    ],
)
def test_urls_that_are_one(text: str) -> None:
    assert remote(text).key == remote("git+https://example.com/acme").key


@pytest.mark.parametrize(
    "text",
    [
        "git+http://example.com/acme",
        "git+https://example.com:444/acme",
        "git+https://example.com/Acme",
        "git+https://example.com/a/acme",
        "git+ssh://example.com/acme",
    ],
)
def test_urls_that_differ(text: str) -> None:
    assert remote(text).key != remote("git+https://example.com/acme").key


def test_folders_of_this_machine_are_one_where_their_paths_are() -> None:
    key = remote("git+file:///srv/acme").key
    assert remote("git+file:///srv/acme/").key == remote("git+file://localhost/srv/acme").key == key
    assert remote("git+file:///srv/acme.git").key != key


def test_a_home_folder_is_that_of_its_user() -> None:
    keys = {remote(f"git+ssh://{user}@example.com/~/acme").key for user in ("one", "two")}
    assert len(keys) == 2
    assert remote("git+ssh://one@example.com/acme").key == remote("git+ssh://two@example.com/acme").key


@pytest.mark.parametrize(
    "ref",
    [
        *("-x", "--upload-pack=touch%20x", "a..b", "a%20b", "a%0ab", "%1b", "a~1", "a^{}", "a:b", "a*", "a?b", "a[b"),
        *("a%5Cb", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a.lock/b", "a%40%7Bu%7D", "", "%40", "a."),
    ],
)
async def test_what_is_no_ref(scene: Scene, ref: str) -> None:
    async with scene.run() as run:
        with pytest.raises(RequirementError):
            await run.find(f"git+https://example.com/acme@{ref}")
    assert scene.told.events == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"git+https://example.com/acme?token={SECRET}", "has a query"),
        ("git+file://elsewhere/srv/acme", "no folder of this host"),
        ("git+file:srv/acme", "no folder of this host"),
        (f"git+https://{USER}:{SECRET}%0Ahost=x@example.com/acme", "control characters"),
        ("-e git+https://example.com/acme", "cannot be edited"),
    ],
)
async def test_what_cannot_be_meant(scene: Scene, text: str, problem: str) -> None:
    async with scene.run() as run:
        with pytest.raises(RequirementError, match=problem) as caught:
            await run.find(text)
    assert SECRET not in str(caught.value) + caught.value.hint
    assert caught.value.hint


async def test_a_full_commit_is_a_place_in_the_cache_without_asking_anybody(scene: Scene) -> None:
    async with scene.run(offline=True) as run:
        found = await run.find(f"Acme.App @ git+https://example.com/x/acme.git@{HEX.upper()}#subdirectory=libs/a")
    assert (found.kind, found.content, found.name, found.filename) == ("tree", f"git:{HEX}", "acme-app", "acme")
    repository = remote("git+https://example.com/x/acme")
    assert run.source.cache_key(found).parts == (repository.key_of("libs/a"), HEX)
    assert run.source.cache_key(evolve(found, subdirectory=None)).parts == (repository.key, HEX)
    assert len({repository.key, *map(repository.key_of, ["libs/a", "libs", "a"])}) == 4
    assert scene.told.events == []


# From a ref to a commit


async def test_refs_of_every_form(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    first = acme.commit(PLAIN)
    acme.tag("v1.0")
    acme.tag("light", annotated=False)
    second = acme.commit({"a": "2"})
    third = acme.commit({"a": "3"}, branch="feature/one")
    expected = {
        "": second,
        "@HEAD": second,
        "@main": second,
        "@feature/one": third,
        "@feature%2Fone": third,
        "@v1.0": first,
        "@light": first,
        "@refs/tags/v1.0": first,
        "@refs/heads/feature/one": third,
        f"@{first}": first,
        f"@{first[:7]}": first,
        f"@{third[:12].upper()}": third,
    }
    for url in (acme.url, acme.file_url):
        async with scene.run() as run:
            found = {ref: (await run.find(f"git+{url}{ref}")).content for ref in expected}
        assert found == {ref: f"git:{commit}" for ref, commit in expected.items()}
        assert scene.server.listings == (1 + 1 if url == acme.url else 0)  # and before the fetch for short ones


async def test_a_clone_beside_its_bare_repository(scene: Scene) -> None:
    one, other = Repository(scene.folder / "acme"), Repository(scene.folder / "acme.git")
    commits = [each.commit({**PLAIN, "a": text}) for each, text in ((one, "1"), (other, "2"))]
    async with scene.run() as run:
        found = [await run.find(f"git+{each.file_url}@main") for each in (one, other)]
        assert [dist.content for dist in found] == [f"git:{commit}" for commit in commits]
        assert (await run.files(found[0]))["a"] == "1"
        assert (await run.files(found[1]))["a"] == "2"


async def test_a_run_sees_one_commit_of_a_branch(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    first = acme.commit(PLAIN)
    async with scene.run() as run:
        one = await run.find(f"one @ git+{acme.url}@main#subdirectory=one")
        second = acme.commit({"a": "2"})
        two = await run.find(f"two @ git+{acme.url.removesuffix('.git')}#subdirectory=two")
    assert (one.content, two.content) == (f"git:{first}", f"git:{first}")
    assert scene.server.listings == 1
    assert await scene.commit(f"git+{acme.url}") == second


async def test_a_branch_and_a_tag_of_one_name(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    first = acme.commit(PLAIN)
    acme.branch("v1")
    acme.tag("v1", "main")
    assert await scene.commit(f"git+{acme.url}@v1") == first

    second = acme.commit({"a": "2"}, branch="v1")
    error = await scene.error(f"git+{acme.url}@v1")
    assert (error.code, "`refs/heads/v1`" in error.hint, "`refs/tags/v1`" in error.hint) == (
        "ambiguous-ref",
        True,
        True,
    )
    assert await scene.commit(f"git+{acme.url}@refs/heads/v1") == second
    assert await scene.commit(f"git+{acme.url}@refs/tags/v1") == first


@pytest.mark.parametrize("ref", ["nowhere", "refs/heads/nowhere", "abcdef1", "deadbeef", HEX])
async def test_what_does_not_exist(scene: Scene, ref: str) -> None:
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    error = await scene.error(f"git+{acme.url}@{ref}")
    assert isinstance(error, RequirementError)
    assert error.code == "no-such-ref"
    assert f"`{ref}`" in str(error)
    assert acme.url in str(error)


async def test_a_short_commit_that_is_two(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    change = "commit refs/heads/main\ncommitter a <a> {} +0000\ndata 0\n"
    stream = "".join(change.format(number) for number in range(600)).encode()  # always the same commits
    await anyio.run_process(["git", "fast-import", "--quiet"], cwd=acme.folder, input=stream)
    commits = git("rev-list", "main", folder=acme.folder).split()
    short, count = Counter(commit[:4] for commit in commits).most_common(1)[0]
    error = await scene.error(f"git+{acme.url}@{short}")
    assert (error.code, count) == ("ambiguous-ref", 2)
    assert all(commit in error.hint for commit in commits if commit.startswith(short))


async def test_a_repository_without_commits(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    assert (await scene.error(f"git+{acme.url}")).code == "no-such-ref"


async def test_objects_that_are_no_commits(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    acme.tag("v1")
    tag = git("rev-parse", "refs/tags/v1", folder=acme.folder)
    blob = git("hash-object", "-w", str(scene.folder / "repositories" / "acme.git" / "HEAD"), folder=acme.folder)
    git("update-ref", "refs/tags/blob", blob, folder=acme.folder)
    for ref in ("blob", blob, tag, tag[:8]):
        assert (await scene.error(f"git+{acme.url}@{ref}")).code == "no-such-ref"


# Offline, and what is gone


async def test_offline_the_last_known_commit_of_a_branch_answers_and_that_is_said(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    commit = acme.commit(PLAIN)
    assert await scene.files(f"git+{acme.url}@main") == PLAIN
    acme.commit({"a": "2"})

    async with scene.run(offline=True) as run:
        dist = await run.find(f"git+{acme.url}@main")
        assert await run.files(dist) == PLAIN
        assert await run.find(f"acme @ git+{acme.url}@main") == evolve(dist, name="acme")
    assert dist.content == f"git:{commit}"
    assert scene.server.requests == []
    (message,) = scene.told.messages("warning")
    assert commit in message
    assert "`main`" in message

    error = await scene.error(f"git+{acme.url}@other", offline=True)
    assert isinstance(error, OfflineError)
    assert "`other`" in str(error)
    assert acme.url in str(error)
    for unknown in (HEX, HEX[:7]):
        assert isinstance(await scene.error(f"git+{acme.url}@{unknown}", offline=True), OfflineError)
    assert await scene.files(f"git+{acme.url}@{commit[:8]}", offline=True) == PLAIN


async def test_offline_a_file_is_asked_all_the_same(scene: Scene) -> None:
    acme = Repository(scene.folder / "acme")
    acme.commit(PLAIN)
    assert await scene.files(f"git+{acme.file_url}", offline=True) == PLAIN


async def test_a_repository_that_is_gone(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    commit = acme.commit(PLAIN)
    await scene.files(f"git+{acme.url}@main")
    acme.delete()

    error = await scene.error(f"git+{acme.url}@main")
    assert (type(error), error.code) == (SourceError, "no-repository")
    assert acme.url in str(error)
    assert await scene.files(f"git+{acme.url}@{commit}") == PLAIN
    assert scene.server.requests == []


async def test_a_host_that_is_gone(scene: Scene) -> None:
    with GitServer(scene.folder / "other") as other:
        url = other.repository("acme").url
    assert isinstance(await scene.error(f"git+{url}"), NetworkError)


@pytest.mark.parametrize("what", ["", "a folder"])
async def test_a_folder_that_is_no_repository(scene: Scene, what: str) -> None:
    if what:
        (scene.folder / "acme").mkdir()
    error = await scene.error(f"git+file://{scene.folder}/acme")
    assert error.code == "no-repository"


async def test_a_repository_that_git_would_wait_for(scene: Scene) -> None:
    acme = Repository(scene.folder / "acme")
    (acme.folder / "config").unlink()
    os.mkfifo(acme.folder / "config")
    assert (await scene.error(f"git+{acme.file_url}")).code == "special-file"


async def test_git_is_not_installed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(scene.folder))
    error = await scene.error("git+https://example.com/acme")
    assert (error.code, "`git`" in str(error)) == ("no-program", True)


# What is fetched


async def test_files_without_history(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit({"a": "1"})
    acme.tag("v1")
    commit = acme.commit({**PLAIN, "b/c": "2"}, links={"link": "a"})
    async with scene.run() as run, run.fetched(f"git+{acme.url}") as fetched:
        assert contents(fetched.path) == {**PLAIN, "a": "1", "b/c": "2", "link": "1"}
        assert (fetched.path.name, fetched.content, fetched.scm) == ("acme", f"git:{commit}", None)
        assert git("rev-list", "HEAD", folder=fetched.path) == commit
        assert git("status", "--porcelain", folder=fetched.path) == ""
        assert git("tag", folder=fetched.path) == ""


async def test_history_and_tags_where_they_may_be_asked_for(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    acme.tag("v1")
    acme.commit({"a": "1"})
    commit = acme.commit({"lib/setup.py": "from setuptools_scm import x"})
    acme.commit({"a": "2"}, branch="other")
    acme.tag("v2", "other")
    async with scene.run() as run:
        async with run.fetched(f"git+{acme.url}") as fetched:
            assert (fetched.scm, fetched.validators) == (None, {})
        async with run.fetched(f"git+{acme.url}#subdirectory=lib") as fetched:
            assert str(fetched.scm).startswith(f"v1-2-g{commit} tags:")
            assert git("describe", folder=fetched.path).startswith("v1-2-g")
            assert git("tag", folder=fetched.path).split() == ["v1", "v2"]
            assert git("rev-parse", "--is-shallow-repository", folder=fetched.path) == "false"
            assert git("fsck", folder=fetched.path) == ""
            assert list(fetched.validators) == ["tags"]
        scene.server.clear()
        async with run.fetched(f"git+{acme.url}#subdirectory=lib") as again:
            assert (again.scm, again.validators, again.path) == (fetched.scm, fetched.validators, again.path)
    assert scene.server.requests == []


STATED = PLAIN["pyproject.toml"]


@pytest.mark.parametrize(
    ("files", "described"),
    [
        ({"setup.py": "from about import version", "about.py": "import subprocess"}, True),
        ({"setup.cfg": "[metadata]\nname = acme\n"}, True),
        ({"pyproject.toml": '[build-system]\nrequires = ["flit_core"]\n'}, True),
        ({"pyproject.toml": '[project]\nname = "acme"\ndynamic = ["version"]\n'}, True),
        ({"pyproject.toml": '[tool.poetry]\nversion = "1.0"\n'}, True),
        ({"pyproject.toml": "[project"}, True),
        ({"pyproject.toml": "[project]\nversion = 1\n"}, True),
        ({"pyproject.toml": STATED}, False),
        ({"pyproject.toml": STATED, "setup.py": "from about import version"}, False),
        ({"pyproject.toml": STATED, "setup.py": "import setuptools_scm"}, True),
        ({"a": "no project"}, False),
    ],
)
async def test_only_a_version_that_is_stated_needs_no_history(
    scene: Scene, files: dict[str, str], described: bool
) -> None:
    acme = scene.server.repository("acme")
    acme.commit({"first": "1"})
    acme.tag("v1")
    acme.commit(files)
    async with scene.run() as run, run.fetched(f"git+{acme.url}") as fetched:
        assert str(fetched.scm).startswith("v1-1-g") is described
        assert (git("tag", folder=fetched.path) == "v1") is described
    assert scene.server.fetches == (2 if described else 1)


async def test_once_history_is_there_new_commits_come_with_theirs_at_once(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit(ASKING)
    await scene.files(f"git+{acme.url}")
    acme.commit({"a": "2"})
    acme.tag("v2")
    async with scene.run() as run, run.fetched(f"git+{acme.url}") as fetched:
        assert str(fetched.scm).startswith("v2-0-g")
        assert git("rev-list", "--count", "HEAD", folder=fetched.path) == "2"


@pytest.mark.parametrize("asking", [PLAIN, ASKING])
async def test_servers_that_give_no_commit_by_its_id(scene: Scene, asking: dict[str, str]) -> None:
    scene.server.fetch_by_commit = False
    acme = scene.server.repository("acme")
    first = acme.commit(asking)
    acme.tag("v1")
    second = acme.commit({"a": "2"})
    acme.commit({"a": "3"}, branch="refs")
    assert await scene.files(f"git+{acme.url}@main") == {**asking, "a": "2"}
    assert await scene.files(f"git+{acme.url}@{first}") == asking
    assert await scene.files(f"git+{acme.url}@{second}") == {**asking, "a": "2"}


async def test_a_branch_that_moved_between_listing_and_fetching(scene: Scene) -> None:
    scene.server.fetch_by_commit = False
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    async with scene.run() as run:
        dist = await run.find(f"git+{acme.url}")
        acme.commit({"a": "2"})
        assert await run.files(dist) == PLAIN


async def test_a_checkout_is_its_own(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit(ASKING)
    acme.tag("v1")
    async with scene.run() as run, run.fetched(f"git+{acme.url}") as one:
        (one.path / "pyproject.toml").unlink()
        async with run.fetched(f"git+{acme.url}") as two:
            assert contents(two.path) == ASKING
        for database in scene.databases:
            shutil.rmtree(database)
        git("gc", "--quiet", folder=one.path)
        assert git("describe", folder=one.path) == "v1"


async def test_two_projects_of_one_repository_are_one_fetch(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit({"one/a": "1", "two/b": "2"})
    found: list[dict[str, str]] = []
    async with scene.run() as run:

        async def ask(folder: str) -> None:
            found.append(await run.files(f"{folder} @ git+{acme.url}#subdirectory={folder}"))

        async with anyio.create_task_group() as group:
            for folder in ("one", "two") * 3:
                group.start_soon(ask, folder)
    assert found == [{"one/a": "1", "two/b": "2"}] * 6
    assert (scene.server.listings, scene.server.fetches) == (1, 1)


# Freshness


def entry_of(fetched: Fetched) -> Entry:
    return Entry(content=fetched.content, scm=fetched.scm, validators=fetched.validators)


async def test_the_commit_decides(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    async with scene.run() as run:
        dist = await run.find(f"git+{acme.url}")
        entry = Entry(content=dist.content, validators={"x": 1})
        assert await run.verdict(dist, entry) == Fresh(validators={"x": 1})
        verdict = await run.verdict(dist, Entry(content=f"git:{HEX}"))
    assert isinstance(verdict, Stale)
    assert (verdict.code, verdict.evidence) == ("commit-changed", f"git:{HEX} -> {dist.content}")


async def test_tags_decide_where_versions_may_come_from_them(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    commit = acme.commit(ASKING)
    async with scene.run() as run, run.fetched(f"git+{acme.url}") as fetched:
        entry = entry_of(fetched)

    async def verdict(text: str = f"git+{acme.url}", **options: Any) -> Fresh | Stale:
        async with scene.run(**options) as run:
            return await run.verdict(await run.find(text), entry)

    assert await verdict() == Fresh(validators=entry.validators)
    assert scene.server.fetches == 0

    acme.commit({"a": "2"}, branch="other")
    acme.tag("v0", "other")
    fresh = await verdict()
    assert isinstance(fresh, Fresh)
    assert fresh.validators != entry.validators
    entry = Entry(content=entry.content, scm=entry.scm, validators=fresh.validators)
    assert await verdict() == fresh

    acme.tag("v1", commit)
    assert await verdict(f"git+{acme.url}@{commit}") == fresh
    assert scene.server.requests == []
    assert await verdict(offline=True) == fresh
    assert isinstance(await verdict(f"git+{acme.url}@{commit}", refresh=True), Stale)
    assert await verdict(f"git+{acme.url}@{commit}", refresh=True, offline=True) == fresh
    stale = await verdict()
    assert isinstance(stale, Stale)
    assert stale.code == "scm-changed"
    assert f"v1-0-g{commit}" in stale.evidence

    async with scene.run() as run, run.fetched(f"git+{acme.url}") as fetched:
        entry = entry_of(fetched)
    assert str(entry.scm).startswith("v1-0-g")
    acme.drop("refs/tags/v1")
    assert isinstance(await verdict(), Stale)


# Databases


def without_objects(database: Path) -> None:
    for pack in database.glob("objects/pack/*"):
        pack.unlink()


def with_a_cut_pack(database: Path) -> None:
    for pack in database.glob("objects/pack/*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:40])


def with_locks(database: Path) -> None:
    for name in ("shallow.lock", "config.lock", "HEAD.lock", "packed-refs.lock", "objects/pack/tmp_pack_x"):
        (database / name).write_text("")
    for folder in (database / "refs" / "felloe" / "commits", database / "refs" / "felloe" / "whole"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{HEX}.lock").write_text("")


DAMAGES: Sequence[Callable[[Path], object]] = [
    without_objects,
    with_a_cut_pack,
    with_locks,
    lambda database: (database / "HEAD").write_text(""),
    lambda database: (database / "config").write_text("[core"),
    lambda database: shutil.rmtree(database / "refs"),
    lambda database: [shutil.rmtree(database), database.mkdir()],
    lambda database: [shutil.rmtree(database), database.write_text("")],
    lambda database: (database / "shallow").write_text("nonsense\n"),
    lambda database: database.rename(database.with_name("new.git")),
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("files", [PLAIN, ASKING])
async def test_a_damaged_database_is_made_anew(
    scene: Scene, files: dict[str, str], damage: Callable[[Path], object]
) -> None:
    acme = scene.server.repository("acme")
    first = acme.commit(files)
    acme.tag("v1")
    await scene.files(f"git+{acme.url}")
    (database,) = scene.databases
    damage(database)

    assert await scene.files(f"git+{acme.url}@{first}") == files
    acme.commit({"a": "2"})
    assert await scene.files(f"git+{acme.url}") == {**files, "a": "2"}
    assert [path.name for path in scene.databases] == ["repository.git"]
    assert git("fsck", folder=scene.databases[0]) == ""
    assert [path for path in files_below(scene.cache, "keep-v0") if path.endswith((".lock", "tmp_pack_x"))] == []


async def test_a_damaged_database_is_kept_while_nothing_better_can_be_had(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    first = acme.commit(PLAIN)
    await scene.files(f"git+{acme.url}")
    second = acme.commit({"a": "2"})
    await scene.files(f"git+{acme.url}")
    (database,) = scene.databases
    (database / "refs" / "felloe" / "commits" / HEX).write_text(f"{HEX}\n")
    acme.delete()

    assert (await scene.error(f"git+{acme.url}@{HEX[::-1]}")).code == "no-repository"
    for commit in (first, second):
        assert "pyproject.toml" in await scene.files(f"git+{acme.url}@{commit}")


async def test_cancelled_in_the_middle_nothing_is_left_and_the_next_run_works(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit({**PLAIN, "a": "x" * 100_000})
    scene.server.pause()
    async with scene.run() as run:
        async with anyio.create_task_group() as group:
            group.start_soon(run.files, f"git+{acme.url}")
            await anyio.to_thread.run_sync(scene.server.reached.wait)
            group.cancel_scope.cancel()
        assert files_below(scene.cache, "scratch", "keep-v0") == []
        scene.server.resume()
        assert set(await run.files(f"git+{acme.url}")) == {"pyproject.toml", "a"}


async def test_a_git_that_outlives_a_run_that_was_killed_is_in_nobodys_way(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    scene.server.pause()
    command = [sys.executable, "-m", "felloe", "metadata", f"git+{acme.url}", "--cache-dir", str(scene.cache)]
    async with await anyio.open_process(command, stdout=None) as killed:
        await anyio.to_thread.run_sync(scene.server.reached.wait)
        killed.kill()
    scene.server.reached.clear()
    async with scene.run() as run, anyio.create_task_group() as group:
        group.start_soon(run.files, f"git+{acme.url}")
        await anyio.to_thread.run_sync(scene.server.reached.wait)
        scene.server.resume()


# Logins


async def test_a_login_in_the_url_is_used_and_shown_nowhere(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.server.require_auth = (USER, SECRET)
    acme = scene.server.repository("acme")
    acme.commit({**ASKING, "a": "1"})
    acme.tag("v1")
    log = scene.folder / "argv"
    real = shutil.which("git")
    program(scene, "git", f'printf "%s\\n" "$*" >> "{log}"\nexec "{real}" "$@"\n', monkeypatch)
    url = acme.url.replace("://", f"://{USER}:{SECRET}@")

    async with scene.run() as run:
        dist = await run.find(f"acme @ git+{url}@main")
        async with run.fetched(dist) as fetched:
            assert contents(fetched.path)["a"] == "1"
            assert scene.contains(SECRET) == []
    assert "fetch" in log.read_text()
    assert SECRET not in log.read_text() + repr(dist) + repr(scene.told.events)


@pytest.mark.parametrize("login", ["", f"{USER}@", f"{USER}:wr0ng-{SECRET}@", f"wr0ng-{SECRET}@"])
async def test_a_login_that_is_missing_or_refused(scene: Scene, login: str) -> None:
    scene.server.require_auth = (USER, SECRET)
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    error = await scene.error(f"git+{acme.url.replace('://', f'://{login}')}")
    assert error.code == "git-authentication"
    assert acme.url in str(error)
    assert SECRET not in f"{error} {error.hint} {error.payload}"
    assert scene.contains(SECRET) == []


@pytest.mark.parametrize("where", ["GIT_ASKPASS", "SSH_ASKPASS", "core.askPass"])
async def test_nobody_is_asked_for_a_login(scene: Scene, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """A program that would ask says the right password: it is not run, although the user has set it."""
    scene.server.require_auth = (SECRET, SECRET)
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    program(scene, "ask", f'echo asked >> "{scene.folder}/asked"\necho {SECRET}\n', monkeypatch)
    if where == "core.askPass":
        configure(scene, where, str(scene.folder / "bin/ask"))
    else:
        monkeypatch.setenv(where, str(scene.folder / "bin/ask"))

    error = await scene.error(f"git+{acme.url}")

    assert error.code == "git-authentication"
    assert not (scene.folder / "asked").exists()


async def test_what_traces_and_settings_of_the_environment_say_does_not_matter(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    monkeypatch.setenv("GIT_TRACE", str(scene.folder / "trace"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{scene.folder}/gone.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", scene.server.url)
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "/gone")

    assert await scene.files(f"git+{acme.url}") == PLAIN
    assert not (scene.folder / "trace").exists()


async def test_a_silent_host_is_left(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection, and says nothing."""
    monkeypatch.setitem(SETTINGS, "http.lowSpeedTime", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = await scene.error(f"git+http://127.0.0.1:{silent.getsockname()[1]}/acme")
    assert isinstance(error, NetworkError)


async def test_a_login_of_odd_characters(scene: Scene) -> None:
    user, password = "a reader's", 'p"a$(x)`y`\\n %s@:/'
    scene.server.require_auth = (user, password)
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@"
    assert await scene.files(f"git+{acme.url.replace('://', f'://{login}')}") == PLAIN


async def test_a_token_is_a_user_name_without_a_password(scene: Scene) -> None:
    scene.server.require_auth = (SECRET, "")
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    assert await scene.files(f"git+{acme.url.replace('://', f'://{SECRET}@')}") == PLAIN
    assert scene.contains(SECRET) == []


async def test_the_helpers_of_the_user_are_asked_where_the_url_has_no_login(scene: Scene) -> None:
    scene.server.require_auth = (USER, SECRET)
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    helper = f'!f() {{ test "$1" = get && echo username={USER} && echo password={SECRET}; }}; f'
    configure(scene, "credential.helper", helper)
    assert await scene.files(f"git+{acme.url}") == PLAIN

    scene.server.require_auth = ("other", "better")
    assert (await scene.error(f"git+{acme.url}@main")).code == "git-authentication"
    assert await scene.files(f"git+{acme.url.replace('://', '://other:better@')}@main") == PLAIN


async def test_a_login_is_not_given_to_another_origin(scene: Scene) -> None:
    scene.server.require_auth = (USER, SECRET)
    with GitServer(scene.folder / "other", require_auth=("other", "other")) as other:
        library = other.repository("library")
        commit = library.commit({"a": "1"})
        acme = scene.server.repository("acme")
        acme.commit(PLAIN, submodules={"library": (library.url, commit)})
        error = await scene.error(f"git+{acme.url.replace('://', f'://{USER}:{SECRET}@')}")
        assert error.code == "git-authentication"
        assert other.requests
        assert not any("authorization" in request.headers for request in other.requests)


async def test_addresses_that_the_user_replaces(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    configure(scene, f"url.{scene.server.url}/.insteadOf", "https://example.com/")
    assert await scene.files("git+https://example.com/acme.git") == PLAIN


SSH = """\
printf '%s\\n' "$*" >> "{log}"
for last; do :; done
exec sh -c "$last"
"""


async def test_ssh_asks_nobody(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    log = scene.folder / "argv"
    program(scene, "ssh", SSH.format(log=log), monkeypatch)
    url = f"git+ssh://git:{SECRET}@example.com{acme.folder}"
    assert await scene.files(url) == PLAIN
    assert "-o BatchMode=yes" in log.read_text()
    assert "git@example.com" in log.read_text()
    assert SECRET not in log.read_text()

    log.unlink()
    configure(scene, "core.sshCommand", "ssh -x")
    assert await scene.files(url) == PLAIN
    assert "-x" in log.read_text()
    assert "BatchMode" not in log.read_text()

    log.unlink()
    monkeypatch.setenv("GIT_SSH_COMMAND", "ssh -y")
    assert await scene.files(f"git@example.com:{acme.folder}") == PLAIN
    assert "-y" in log.read_text()


async def test_ssh_that_fails(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    program(scene, "ssh", 'echo "git@example.com: Permission denied (publickey)." >&2; exit 255\n', monkeypatch)
    error = await scene.error("git@example.com:acme.git")
    assert error.code == "git-authentication"
    assert "Permission denied" in str(error)


# Submodules


async def test_submodules_are_checked_out_as_deep_as_they_go(scene: Scene) -> None:
    inner = scene.server.repository("group/inner")
    inner.commit({"i": "old"})
    inner_commit = inner.commit({"i": "1"})
    inner.commit({"i": "new"})
    outer = scene.server.repository("group/outer")
    outer_commit = outer.commit({"o": "2"}, submodules={"deep/inner": ("../inner.git", inner_commit)})
    acme = scene.server.repository("acme")
    acme.commit(PLAIN, submodules={"libs/outer": ("../group/outer.git", outer_commit)})
    expected = {**PLAIN, "libs/outer/o": "2", "libs/outer/deep/inner/i": "1"}
    for url in (acme.url, acme.file_url):
        async with scene.run() as run, run.fetched(f"git+{url}") as fetched:
            assert contents(fetched.path) == expected
            assert git("status", "--porcelain", folder=fetched.path) == ""

    scene.server.fetch_by_commit = False
    shutil.rmtree(scene.cache)
    assert await scene.files(f"git+{acme.url}") == expected


@pytest.mark.parametrize("fetch_by_commit", [True, False])
async def test_a_project_in_a_submodule_has_the_history_and_the_tags_of_that(
    scene: Scene, *, fetch_by_commit: bool
) -> None:
    scene.server.fetch_by_commit = fetch_by_commit
    library = scene.server.repository("library")
    library.commit({"packages/a/pyproject.toml": ASKING["pyproject.toml"]})
    library.tag("v3")
    commit = library.commit({"a": "1"})
    acme = scene.server.repository("acme")
    acme.commit(PLAIN, submodules={"library": (library.url, commit)})
    acme.tag("v1")
    text = f"git+{acme.url}#subdirectory=library/packages/a"
    async with scene.run() as run, run.fetched(text) as fetched:
        folder = fetched.path / "library" / "packages" / "a"
        assert git("describe", "--tags", folder=folder) == f"v3-1-g{commit[:7]}"
        assert str(fetched.scm).startswith(f"v3-1-g{commit}")
        entry = entry_of(fetched)
    acme.tag("v2")
    async with scene.run() as run:
        assert await run.verdict(await run.find(text), entry) == Fresh()


async def test_a_repository_that_a_submodule_links_to_is_left_alone(scene: Scene) -> None:
    asking = scene.server.repository("asking")
    asking.commit(ASKING)
    asking.commit({"a": "2"})
    foreign = scene.folder / "foreign"
    git("clone", "--quiet", "--depth=1", asking.file_url, str(foreign), folder=scene.folder)
    before = files_below(foreign)
    library = scene.server.repository("library")
    commit = library.commit({"a": "1"}, links={"link": str(foreign)})
    acme = scene.server.repository("acme")
    acme.commit(PLAIN, submodules={"library": (library.url, commit)})
    async with scene.run() as run, run.fetched(f"git+{acme.url}#subdirectory=library/link") as fetched:
        assert fetched.scm is None
    assert files_below(foreign) == before


async def test_submodules_are_not_kept(scene: Scene) -> None:
    library = scene.server.repository("library")
    commit = library.commit({"a": "1"})
    acme = scene.server.repository("acme")
    acme.commit(PLAIN, submodules={"library": (library.url, commit)})
    assert "library/a" in await scene.files(f"git+{acme.url}")
    error = await scene.error(f"git+{acme.url}", offline=True)
    assert isinstance(error, OfflineError)
    assert "submodules" in str(error)


@pytest.mark.parametrize(
    ("submodule", "code"),
    [
        ("file://{folder}", "git-transport"),
        ("{folder}", "git-transport"),
        ("ext::sh -c 'touch% {folder}/pwned'", "git-transport"),
        ("{server}/nowhere.git", "no-repository"),
        ("--upload-pack=touch", "git-failed"),
    ],
)
async def test_submodules_that_lead_where_they_must_not(scene: Scene, submodule: str, code: str) -> None:
    library = Repository(scene.folder / "library")
    commit = library.commit({"a": "1"})
    acme = scene.server.repository("acme")
    address = submodule.format(folder=library.folder, server=scene.server.url)
    acme.commit(PLAIN, submodules={"library": (address, commit)})
    error = await scene.error(f"git+{acme.url}")
    assert error.code == code
    assert not (library.folder / "pwned").exists()


async def test_the_name_of_a_submodule_leads_nowhere_else(scene: Scene) -> None:
    library = scene.server.repository("library")
    commit = library.commit({"a": "1"})
    acme = scene.server.repository("acme")
    acme.commit(PLAIN, submodules={"library": (library.url, commit)})
    acme.commit({".gitmodules": f'[submodule "../../evil"]\n\tpath = library\n\turl = {library.url}\n'})
    await scene.error(f"git+{acme.url}")
    assert list(scene.folder.rglob("evil")) == []


# What is hostile


async def test_hooks_of_the_user_are_not_run(scene: Scene) -> None:
    hooks = scene.folder / "template" / "hooks"
    hooks.mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f'#!/bin/sh\ntouch "{scene.folder}/ran-$(basename "$0")"\n')
        (hooks / name).chmod(0o755)
    configure(scene, "init.templateDir", str(hooks.parent))
    configure(scene, "core.hooksPath", str(hooks))
    library = scene.server.repository("library")
    commit = library.commit({"a": "1"})
    acme = scene.server.repository("acme")
    acme.commit(PLAIN, submodules={"library": ("../library.git", commit)})
    assert "library/a" in await scene.files(f"git+{acme.url}")
    assert list(scene.folder.glob("ran-*")) == []


async def test_nothing_of_the_user_is_left_in_a_checkout(scene: Scene) -> None:
    (scene.folder / "template" / "hooks").mkdir(parents=True)
    (scene.folder / "template" / "hooks" / "post-checkout").write_text("")
    configure(scene, "init.templateDir", str(scene.folder / "template"))
    library = scene.server.repository("library")
    commit = library.commit({"a": "1"})
    acme = scene.server.repository("acme")
    acme.commit(PLAIN, submodules={"library": ("../library.git", commit)})
    async with scene.run() as run, run.fetched(f"git+{acme.url}") as fetched:
        assert list(fetched.path.rglob("post-checkout")) == []


def tree(repository: Repository, *lines: str) -> str:
    """An object that the git program itself would not make."""
    raw = b""
    for line in lines:
        mode, name, oid = line.split(" ")
        raw += f"{mode} {name}".encode() + b"\0" + bytes.fromhex(oid)
    return stored(repository, "tree", raw)


def stored(repository: Repository, kind: str, raw: bytes) -> str:
    command = ["git", "hash-object", "-w", "-t", kind, "--stdin", "--literally"]
    done = subprocess.run(command, cwd=repository.folder, input=raw, check=True, capture_output=True)
    return done.stdout.decode().strip()


async def test_files_that_would_lie_in_the_repository_itself(scene: Scene) -> None:
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    blob = stored(acme, "blob", b'[core]\n\tfsmonitor = "touch pwned"\n')
    hostile = tree(acme, f"40000 .git {tree(acme, f'100644 config {blob}')}")
    commit = git("commit-tree", hostile, "-m", "x", folder=acme.folder)
    git("update-ref", "refs/heads/main", commit, folder=acme.folder)
    error = await scene.error(f"git+{acme.url}")
    assert error.code == "git-failed"


async def test_a_link_and_a_folder_of_one_name(scene: Scene) -> None:
    outside = scene.folder / "outside"
    outside.mkdir()
    acme = scene.server.repository("acme")
    acme.commit(PLAIN)
    target = stored(acme, "blob", str(outside).encode())
    blob = stored(acme, "blob", b"pwned")
    hostile = tree(acme, f"120000 a {target}", f"40000 a {tree(acme, f'100644 b {blob}')}")
    commit = git("commit-tree", hostile, "-m", "x", folder=acme.folder)
    git("update-ref", "refs/heads/main", commit, folder=acme.folder)
    with suppress(SourceError):  # what git makes of it is its own affair
        await scene.files(f"git+{acme.url}")
    assert list(outside.iterdir()) == []


async def test_a_remote_that_writes_control_characters(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    program(scene, "ssh", "printf '\\033]0;pwned\\007fatal: \\033[31mno\\n' >&2; exit 1\n", monkeypatch)
    error = await scene.error("git@example.com:acme")
    assert str(error).isprintable()


async def test_a_listing_that_is_none(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    program(scene, "git", f'echo "{HEX}{HEX[:24]}\tHEAD"\n', monkeypatch)
    error = await scene.error("git+https://example.com/acme")
    assert "40 digits" in str(error)
