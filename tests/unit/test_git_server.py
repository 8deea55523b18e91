"""The git server of felloe.testing, asked by the git program."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from felloe.errors import SourceError
from felloe.testing import GitServer, Repository

ENVIRON = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def git(*arguments: str, folder: Path | None = None) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, env={**os.environ, **ENVIRON}, check=False
    )
    return done.stdout if done.returncode == 0 else f"failed: {done.stderr}"


def test_what_is_made_alike_has_the_same_commits(tmp_path: Path) -> None:
    commits = []
    for name in ("one", "two"):
        repository = Repository(tmp_path / name)
        repository.commit({"a": "1", "b/c": b"\0\n"})
        repository.tag("v1.0")
        repository.commit({"a": None}, branch="other", links={"link": "../elsewhere"})
        commits.append([git("ls-remote", repository.file_url)])
    assert commits[0] == commits[1]
    assert "refs/tags/v1.0^{}" in commits[0][0]


@pytest.mark.parametrize("transport", ["http", "file"])
def test_files_links_branches_tags_and_submodules(tmp_path: Path, transport: str) -> None:
    with GitServer(tmp_path / "repositories") as server:
        library = server.repository("group/library")
        commit = library.commit({"library.py": "x = 1\n"})
        acme = server.repository("acme")
        first = acme.commit({"a.txt": "one", "gone": "soon"}, links={"link": "a.txt"})
        acme.tag("v1", annotated=False)
        acme.commit({"gone": None, "b.txt": "two"}, submodules={"library": ("./group/library", commit)})
        acme.branch("old", "v1")
        url = acme.url if transport == "http" else acme.file_url

        git("clone", "--quiet", url, str(tmp_path / "work"))
        work = tmp_path / "work"
        assert sorted(path.name for path in work.iterdir()) == [
            ".git",
            ".gitmodules",
            "a.txt",
            "b.txt",
            "library",
            "link",
        ]
        assert (work / "link").readlink() == Path("a.txt")
        assert git("rev-parse", "origin/old", "v1", folder=work).split() == [first, first]
        assert commit in git("ls-tree", "HEAD", folder=work)


def test_requests_are_told(tmp_path: Path) -> None:
    with GitServer(tmp_path) as server:
        acme = server.repository("acme")
        acme.commit({"a": "1"})
        git("ls-remote", acme.url)
        assert (server.listings, server.fetches) == (1, 0)
        server.clear()
        git("clone", "--quiet", acme.url, str(tmp_path / "work"))
        assert (server.listings, server.fetches) == (1, 1)
        assert {request.path for request in server.requests} == {"/acme.git/info/refs", "/acme.git/git-upload-pack"}
        assert "failed" in git("ls-remote", f"{server.url}/other.git")
        assert server.requests[-1].status == 404


def test_a_login_is_required(tmp_path: Path) -> None:
    with GitServer(tmp_path, require_auth=("reader", "secret")) as server:
        acme = server.repository("acme")
        acme.commit({"a": "1"})
        assert "failed" in git("ls-remote", acme.url)
        assert {request.status for request in server.requests} == {401}
        assert "refs/heads/main" in git("ls-remote", acme.url.replace("://", "://reader:secret@"))


@pytest.mark.parametrize("allowed", [True, False])
def test_commits_by_their_id(tmp_path: Path, allowed: bool) -> None:
    with GitServer(tmp_path / "repositories", fetch_by_commit=allowed) as server:
        acme = server.repository("acme")
        first = acme.commit({"a": "1"})
        acme.commit({"a": "2"})
        git("init", "--quiet", str(tmp_path / "work"))
        said = git("fetch", "--quiet", "--depth=1", acme.url, first, folder=tmp_path / "work")
        assert ("failed" not in said) is allowed
        assert "failed" not in git("fetch", "--quiet", acme.url, "main", folder=tmp_path / "work")


def test_a_repository_can_move_and_go(tmp_path: Path) -> None:
    with GitServer(tmp_path / "repositories") as server:
        acme = server.repository("acme")
        commit = acme.commit({"a": "1"})
        moved = acme.move(tmp_path / "elsewhere")
        assert "failed" in git("ls-remote", acme.url)
        assert moved.commit_of("main") == commit
        moved.tag("v1")
        moved.drop("refs/tags/v1")
        assert "v1" not in git("ls-remote", moved.file_url)
        moved.delete()
        assert not (tmp_path / "elsewhere").exists()
        with pytest.raises(SourceError, match="git"):
            moved.commit_of("main")


def test_a_fetch_can_be_kept_waiting(tmp_path: Path) -> None:
    with GitServer(tmp_path / "repositories") as server:
        acme = server.repository("acme")
        acme.commit({"a": "1"})
        server.pause()
        with subprocess.Popen(["git", "clone", "--quiet", acme.url, str(tmp_path / "work")]) as process:
            assert server.reached.wait(20)
            assert process.poll() is None
            server.resume()
            assert process.wait(20) == 0
