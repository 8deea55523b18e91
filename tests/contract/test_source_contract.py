"""felloe's own sources keep the contract: the same class that everyone else's pass."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from felloe import Url
from felloe.testing import Behaviour, GitServer, IndexServer, Project, SourceContract, make_sdist, make_wheel
from felloe.testing.bench import Bench
from felloe_git import GitRepository
from felloe_path import LocalPath
from felloe_pypi import SimpleIndex
from felloe_url import DirectUrl
from tests.fixtures.farm import Farm
from tests.fixtures.projects import buildable, project_files, project_tree
from tests.fixtures.pypi import LoopbackPyPI

PASSWORD, TOKEN = "pa55-w0rd", "t0k3n"


class TestUrl(SourceContract):
    """A wheel whose server has nothing but validators."""

    @pytest.fixture(autouse=True)
    def server(self, tmp_path: Path) -> Iterator[None]:
        with IndexServer() as self.index:
            self.folder = tmp_path
            self.index.behave("*", Behaviour(etag="auto"))
            self.url = self.index.add(make_wheel(tmp_path, Project("acme", "1.0")))
            yield

    def source(self) -> object:
        return DirectUrl("url", {})

    def known_request(self) -> str:
        return f"acme @ {self.url}"

    def unknown_request(self) -> str:
        return f"{self.index.url}/nothing-1.0.tar.gz"

    def mutate(self) -> None:
        self.index.add(make_wheel(self.folder, Project("acme", "1.0", requires_dist=["new"])))


class TestUrlOfAnSdist(TestUrl):
    """One that has to be built; its server names a lifetime, and wants to know who asks."""

    builds = True
    fresh_for = 600.0
    secrets = (PASSWORD, TOKEN)

    @pytest.fixture(autouse=True)
    def server(self, tmp_path: Path) -> Iterator[None]:
        with IndexServer() as self.index:
            self.folder = tmp_path
            login = ("reader", PASSWORD)
            self.index.behave("*", Behaviour(cache_control="max-age=600", require_auth=login))
            self.index.static("/master.zip", buildable(tmp_path, "acme").read_bytes())
            self.url = with_login(f"{self.index.url}/master.zip?token={TOKEN}")
            yield

    def mutate(self) -> None:
        changed = buildable(self.folder, "acme", requires_dist="['new']")
        self.index.static("/master.zip", changed.read_bytes())


class TestIndex(SourceContract):
    """An index that wants a password, and says nothing of how long its pages are good."""

    lists_many = True
    fresh_for = 600.0
    secrets = (PASSWORD, TOKEN)

    @pytest.fixture(autouse=True)
    def server(self, tmp_path: Path) -> Iterator[None]:
        with IndexServer() as self.index:
            self.folder = tmp_path
            self.index.behave("*", Behaviour(require_auth=("reader", PASSWORD)))
            for version in ("1.0", "1.1", "1.2"):
                self.index.add(make_wheel(tmp_path, Project("acme", version)))
            yield

    def source(self) -> object:
        return SimpleIndex("company", {"url": Url(with_login(f"{self.index.index_url}?token={TOKEN}"))})

    def known_request(self) -> str:
        return "acme"

    def unknown_request(self) -> str:
        return "nothing"

    def mutate(self) -> None:
        self.index.add(make_wheel(self.folder, Project("acme", "1.2", requires_dist=["new"])))


class TestFarm(SourceContract):
    """An index that builds its sdists itself."""

    builds = True
    prepares: str | None = None

    @pytest.fixture(autouse=True)
    def server(self, tmp_path: Path) -> Iterator[None]:
        with IndexServer() as self.index:
            self.folder = tmp_path
            self.index.behave("*", Behaviour(etag="auto", cache_control="no-cache"))
            self.mutate("old")
            yield

    def source(self) -> object:
        return Farm("farm", {"url": Url(self.index.index_url), "gives": "acme", "prepares": self.prepares})

    def known_request(self) -> str:
        return "acme"

    def unknown_request(self) -> str:
        return "nothing"

    def mutate(self, requires: str = "new") -> None:
        project = Project("acme", "1.0", dynamic=["Requires-Dist"])
        self.index.add(make_sdist(self.folder, project, files={"farmed": requires}))


class TestPyPI(SourceContract):
    """With sidecars, and pages that are asked for each time."""

    lists_many = True

    @pytest.fixture(autouse=True)
    def server(self, tmp_path: Path) -> Iterator[None]:
        with IndexServer() as self.index:
            self.folder = tmp_path
            self.index.behave("*", Behaviour(etag="auto", cache_control="no-cache"))
            self.index.add(make_sdist(tmp_path, Project("acme", "1.0")))
            self.index.add(make_wheel(tmp_path, Project("acme", "1.0")), sidecar=True)
            yield

    def source(self) -> object:
        return LoopbackPyPI("pypi", {"url": Url(self.index.index_url)})

    def known_request(self) -> str:
        return "acme"

    def unknown_request(self) -> str:
        return "nothing"

    def mutate(self) -> None:
        self.index.add(make_wheel(self.folder, Project("acme", "1.1")), sidecar=True)


class TestGit(SourceContract):
    """A branch over http that moves; it has a submodule, and wants a password."""

    builds = True
    secrets = (PASSWORD,)

    @pytest.fixture(autouse=True)
    def server(self, tmp_path: Path) -> Iterator[None]:
        with GitServer(tmp_path / "served", require_auth=("reader", PASSWORD)) as self.git:
            self.repository = self.git.repository("acme")
            submodule = ("../library.git", self.git.repository("library").commit({"a.c": "1"}))
            self.repository.commit(project_files("acme"), submodules={"library": submodule})
            yield

    def source(self) -> object:
        return GitRepository("git", {})

    def known_request(self) -> str:
        return f"acme @ git+{with_login(self.repository.url)}"

    def unknown_request(self) -> str:
        return f"git+{with_login(self.repository.url)}@no-such-branch"

    def mutate(self) -> None:
        self.repository.commit(project_files("acme", requires_dist="['new']"))


class TestPath(SourceContract):
    """A directory that is worked in."""

    networked = False
    builds = True

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.project = project_tree(tmp_path / "project", "acme")

    def source(self) -> object:
        return LocalPath("path", {})

    def known_request(self) -> str:
        return f"acme @ {self.project.as_uri()}"

    def unknown_request(self) -> str:
        return f"{self.project.as_uri()}/nothing"

    def mutate(self) -> None:
        project_tree(self.project, "acme", requires_dist="['new']")


class TestPathOfAnSdist(TestPath):
    """A file that is made again."""

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.project = buildable(tmp_path, "acme")

    def mutate(self) -> None:
        buildable(self.project.parent, "acme", requires_dist="['new']")


def with_login(url: str) -> str:
    return url.replace("://", f"://reader:{PASSWORD}@")


KITS = [TestUrl, TestUrlOfAnSdist, TestIndex, TestFarm, TestPyPI, TestGit, TestPath, TestPathOfAnSdist]


@pytest.mark.parametrize("kit", KITS)
def test_a_subclass_is_short(kit: type) -> None:
    assert len(inspect.getsource(kit).splitlines()) <= 30


def test_a_farm_that_prepares_other_metadata_than_it_builds(tmp_path: Path) -> None:
    """What the kit says of it."""
    kit = type("Broken", (TestFarm,), {"prepares": "guessed"})()
    kit.folder = tmp_path
    with IndexServer() as kit.index:
        kit.mutate("old")
        bench = Bench(kit.source, kit._name_of, tmp_path / "bench")
        with pytest.raises(pytest.fail.Exception, match="`build` prepares other metadata") as raised:
            kit.test_it_answers("asyncio", bench)
    assert "What to change: " in str(raised.value)


def test_what_else_is_in_testing_needs_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; from felloe.testing import IndexServer, make_wheel"

    subprocess.run([sys.executable, "-c", code], check=True)
