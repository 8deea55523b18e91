"""The scene of the command line: the program in a process of its own, and an index on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from felloe.testing import IndexServer, Project, make_sdist, make_wheel
from tests.fixtures.program import Program

NEEDS_BUILD = """\
[build-system]
requires = ["setuptools"]
[project]
name = "beta"
version = "1.0"
dynamic = ["dependencies"]
"""


def acme(version: str) -> Project:
    requires = ["zlib-ng>=0.5", 'tomli; extra == "fast"']
    return Project("acme", version, requires_dist=requires, requires_python=">=3.8", extras=["fast"])


@pytest.fixture
def index(tmp_path: Path) -> Iterator[IndexServer]:
    """Knows `acme` 1.0, 2.0 and 3.0rc1, `beta` 1.0 as an sdist that has to be built, and `gamma` 1.0."""
    with IndexServer() as server:
        fill(server, tmp_path / "made")
        yield server


def fill(server: IndexServer, folder: Path) -> None:
    for version, year in (("1.0", 2023), ("2.0", 2024), ("3.0rc1", 2025)):
        wheel = make_wheel(folder, acme(version))
        server.add(wheel, sidecar=True, upload_time=f"{year}-06-01T00:00:00Z")
    server.add(make_sdist(folder, acme("2.0")), upload_time="2024-06-01T00:00:00Z")
    server.add(make_sdist(folder, Project("beta", "1.0", dynamic=["Requires-Dist"]), pyproject=NEEDS_BUILD))
    server.add(make_wheel(folder, Project("gamma", "1.0")), sidecar=True)


@pytest.fixture
def felloe(tmp_path: Path, index: IndexServer) -> Program:
    """Asks `index`, in place of PyPI."""
    return Program(tmp_path, FELLOE_INDEX_URL=index.index_url)
