"""What version control says of a folder: who may ask, and what the answer depends on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from felloe.assembly import Database
from felloe.config import Config
from felloe.context import ItemContext, Owner
from felloe.plugin import SourceError, asks_scm, git_environ, scm_state
from felloe.testing import Repository

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", '[build-system]\nrequires = ["setuptools-scm[toml]>=8"]'),
        ("pyproject.toml", '[build-system]\nrequires = ["Setuptools_SCM"]'),
        ("pyproject.toml", "[tool.setuptools_scm]"),
        ("pyproject.toml", '[tool.hatch.version]\nsource = "vcs"'),
        ("pyproject.toml", '[build-system]\nrequires = ["hatchling", "hatch-vcs"]'),
        ("pyproject.toml", "[tool.vcs-versioning]"),
        ("pyproject.toml", '[tool.pdm.version]\nsource = "scm"'),
        ("pyproject.toml", '[tool.pdm.version]\nsource = "call"\ngetter = "acme:version"'),
        ("pyproject.toml", "[tool.uv]\ncache-keys = [{ git = true }]"),
        ("pyproject.toml", "[tool.uv]\ncache-keys = [{ git = { commit = true } }]"),
        ("pyproject.toml", "[tool.poetry-dynamic-versioning]\nenable = true"),
        ("pyproject.toml", '[build-system]\nrequires = ["uv-dynamic-versioning"]'),
        ("pyproject.toml", '[build-system]\nrequires = ["flit_scm"]'),
        ("pyproject.toml", "[tool.setuptools-git-versioning]"),
        ("pyproject.toml", "[tool.versioningit]"),
        ("pyproject.toml", '[build-system]\nbackend-path = ["."]'),
        ("setup.cfg", "[options]\nsetup_requires =\n    pbr\n"),
        ("setup.cfg", "[versioneer]\nVCS = git\n"),
        ("setup.py", "from dunamai import Version"),
        ("setup.py", "setup(use_scm_version=True, setup_requires=['setuptools_scm'])"),
        ("setup.py", "subprocess.check_output(['git', 'rev-parse', 'HEAD'])"),
        ("setup.py", "os.popen('git describe').read()"),
        ("setup.py", "import git\n"),
        ("setup.py", "setup(setup_requires=['vcversioner'])"),
        ("setup.py", "setup(use_katversion=True)"),
        ("setup.py", "subprocess.run(['/usr/bin/git', 'describe'])"),
        ("meson.build", "project('a', version: run_command('git', 'describe').stdout())"),
        ("meson.build", "vcs_tag(input: 'version.py.in', output: 'version.py')"),
        ("CMakeLists.txt", "execute_process(COMMAND git describe --tags)"),
        ("CMakeLists.txt", "find_package(Git REQUIRED)"),
        ("version.py", "check_output(['git', 'describe'])"),
        ("acme/_version.py", "def get_version_from_git():\n    return run(['git', 'rev-parse', 'HEAD'])"),
        ("src/acme/version.py", "Popen(['git', 'describe'])"),
    ],
)
def test_a_project_that_may_ask(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    assert asks_scm(tmp_path)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", '[build-system]\nrequires = ["hatchling"]\n[project]\nname = "a"\nversion = "1.0"\n'),
        ("pyproject.toml", '[project.urls]\nsource = "https://example.com/a.git"\n'),
        ("setup.py", "from setuptools import setup; setup(url='https://example.com/digits/a.git')"),
        ("setup.cfg", "[metadata]\nname = legit\n"),
        ("README.md", "setuptools-scm"),
        ("CMakeLists.txt", "FetchContent_Declare(b GIT_REPOSITORY https://example.com/b.git GIT_TAG v1)"),
        ("_version.py", "__version__ = '1.0'\n"),
    ],
)
def test_a_project_that_asks_for_nothing(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    assert not asks_scm(tmp_path)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "setup.py")
    (tmp_path / "setup.cfg").mkdir()
    (tmp_path / "pyproject.toml").symlink_to("pyproject.toml")
    assert not asks_scm(tmp_path)
    assert not asks_scm(tmp_path / "nowhere")


@pytest.fixture
async def ctx(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Any]:
    config = Config(cache_dir=tmp_path / "cache", replaced_kinds=frozenset({"pypi"}))
    async with Database(config, sources=[]) as database:
        with ItemContext(database.services, Owner("git", "git", ""), newer_than=None) as context:
            yield context


def clone(repository: Repository, folder: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(repository.folder), str(folder)], check=True, capture_output=True)
    return folder


def linked_work_tree(repository: Repository, folder: Path) -> Path:
    work = clone(repository, folder)
    linked = folder.with_name("linked")
    add = ["git", "worktree", "add", "--quiet", "--detach", str(linked)]
    subprocess.run(add, check=True, capture_output=True, cwd=work)
    return linked


async def test_the_state_is_the_description_of_the_commit_and_all_reachable_tags(tmp_path: Path, ctx: Any) -> None:
    upstream = Repository(tmp_path / "upstream")
    first = upstream.commit({"folder/a": "1"})
    states = []
    for change in (
        lambda: None,
        lambda: upstream.tag("v1.0"),
        lambda: upstream.tag("other", annotated=False),
        lambda: upstream.tag("v1.0"),  # another object
        lambda: upstream.commit({"folder/a": "2"}),
    ):
        change()
        work = clone(upstream, tmp_path / f"work{len(states)}")
        states.append(await scm_state(work / "folder", ctx))

    assert states[0].startswith(f"{first} tags:")
    assert states[1].startswith(f"v1.0-0-g{first} tags:")
    assert states[4].startswith(f"v1.0-1-g{upstream.commit_of('main')} tags:")
    assert len(set(states)) == len(states)
    assert not any("\n" in state for state in states)


async def test_branches_and_tags_that_do_not_lead_here_say_nothing(tmp_path: Path, ctx: Any) -> None:
    upstream = Repository(tmp_path / "upstream")
    upstream.commit({"a": "1"})
    upstream.tag("v1.0")
    before = await scm_state(clone(upstream, tmp_path / "before"), ctx)

    upstream.commit({"a": "2"}, branch="other")
    upstream.tag("v2.0", "other")
    assert await scm_state(clone(upstream, tmp_path / "after"), ctx) == before


async def test_no_repository_no_commit_no_git(tmp_path: Path, ctx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    work = clone(Repository(tmp_path / "empty"), tmp_path / "work")
    assert await scm_state(work, ctx) is None

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "folder").mkdir()
    assert await scm_state(tmp_path / "folder", ctx) is None

    monkeypatch.setenv("PATH", str(tmp_path))
    assert await scm_state(work, ctx) is None


@pytest.mark.parametrize("name", ["HEAD", "config", "index", "packed-refs", "refs/heads/main"])
@pytest.mark.parametrize("make", [clone, linked_work_tree, "bare"])
async def test_git_never_waits_for_a_fifo(tmp_path: Path, ctx: Any, name: str, make: Any) -> None:
    upstream = Repository(tmp_path / "upstream")
    upstream.commit({"folder/a": "1"})
    work = upstream.folder if make == "bare" else make(upstream, tmp_path / "work")
    git = upstream.folder if make == "bare" else tmp_path / "work/.git"
    (git / name).unlink(missing_ok=True)
    os.mkfifo(git / name)

    with anyio.fail_after(20), pytest.raises(SourceError, match=f"/{name}` is a FIFO") as caught:
        await scm_state(work, ctx)
    assert (caught.value.code, bool(caught.value.hint)) == ("special-file", True)


async def test_the_repository_of_who_runs_us_is_not_asked(
    tmp_path: Path, ctx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream, other = Repository(tmp_path / "upstream"), Repository(tmp_path / "other")
    commit = upstream.commit({"a": "1"})
    other.commit({"b": "2"})
    work = clone(upstream, tmp_path / "work")
    monkeypatch.setenv("GIT_DIR", str(other.folder))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))

    assert str(await scm_state(work, ctx)).startswith(commit)
    assert {"GIT_DIR", "GIT_INDEX_FILE"} & git_environ().keys() == set()


@pytest.mark.parametrize(
    ("name", "is_kept"),
    [
        ("GIT_SSL_CAINFO", True),
        ("GIT_SSH_COMMAND", True),
        ("GIT_CONFIG_GLOBAL", True),
        ("GIT_CONFIG_COUNT", False),
        ("GIT_CONFIG_PARAMETERS", False),
        ("GIT_TRACE", False),
        ("GIT_TRACE_CURL", False),
        ("GIT_EXTERNAL_DIFF", False),
        ("GIT_EDITOR", False),
        ("GIT_WHATEVER_COMES", False),
        ("PATH", True),
    ],
)
def test_what_git_sees_of_the_environment(name: str, is_kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "/given")
    assert (git_environ().get(name) == "/given") is is_kept


def test_no_program_is_asked_for_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_ASKPASS", "SSH_ASKPASS"):
        monkeypatch.setenv(name, "/given")
    assert [git_environ()[name] for name in ("GIT_ASKPASS", "SSH_ASKPASS")] == ["", ""]
