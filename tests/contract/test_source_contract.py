"""felloe's own sources keep the contract: the same class that everyone else's pass."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from felloe import Url
from felloe.testing import Behaviour, IndexServer, Project, SourceContract, make_sdist, make_wheel
from felloe_pypi import PyPI, SimpleIndex
from felloe_url import DirectUrl
from tests.fixtures.projects import buildable

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
        return PyPI("pypi", {"url": Url(self.index.index_url)})

    def known_request(self) -> str:
        return "acme"

    def unknown_request(self) -> str:
        return "nothing"

    def mutate(self) -> None:
        self.index.add(make_wheel(self.folder, Project("acme", "1.1")), sidecar=True)


def with_login(url: str) -> str:
    return url.replace("://", f"://reader:{PASSWORD}@")


@pytest.mark.parametrize("kit", [TestUrl, TestUrlOfAnSdist, TestIndex, TestPyPI])
def test_a_subclass_is_short(kit: type) -> None:
    assert len(inspect.getsource(kit).splitlines()) <= 30


def test_what_else_is_in_testing_needs_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; from felloe.testing import IndexServer, make_wheel"

    subprocess.run([sys.executable, "-c", code], check=True)
