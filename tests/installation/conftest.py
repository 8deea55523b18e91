"""A cache with environments, wheels as the database hands them over, and programs run in an environment."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache as remembered
from pathlib import Path

import pytest

from felloe.installation.environments import Environments
from felloe.interpreter import query
from felloe.testing import Project, make_wheel
from felloe.values import Dist, Environment, Interpreter, Metadata, Wheel
from tests.fixtures.cache import Cache
from tests.fixtures.pythons import installed

__all__ = ["Workshop", "interpreter", "make_venv", "run", "wheel_at"]


class Workshop(Cache):
    """A cache whose environments are at work."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.environments = Environments(layout=self.layout, run=self.run, store=self.store, report=self.events.append)

    async def make(self, *wheels: Wheel, python: Interpreter | None = None) -> Environment:
        return await self.environments.make(python or interpreter(), wheels, self.run.folder())

    def wheel(self, name: str, version: str = "1.0", *, files: Mapping[str, str | bytes | None] | None = None) -> Wheel:
        """One with these files, in the cache."""
        made = make_wheel(self.run.folder(), Project(name, version), files=files)
        sha256 = hashlib.sha256(made.read_bytes()).hexdigest()
        return wheel_at(self.archives.put(made, sha256, made.name))

    def kept(self) -> list[Path]:
        return sorted(path for path in self.root.glob("environments-v0/*/*") if path.is_dir())


def wheel_at(path: Path) -> Wheel:
    return Wheel(
        path=path,
        filename=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        dist=Dist(source="test", kind="wheel", filename=path.name),
        metadata=Metadata({}),
        rung="wheel",
        cached=True,
    )


def run(environment: Environment, *argv: str | Path, env: Mapping[str, str] | None = None) -> str:
    """What a program prints that runs in the environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    path = f"{environment.scripts}{os.pathsep}{clean['PATH']}"
    completed = subprocess.run(
        argv, env={**clean, "PATH": path, **(env or {})}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (completed.returncode, completed.stderr) == (0, "")
    return completed.stdout


def make_venv(python: Path, root: Path, *options: str) -> Path:
    """The Python of an environment that venv makes."""
    subprocess.run([python, "-m", "venv", "--without-pip", *options, root], check=True)
    return root / "bin" / "python"


@remembered
def interpreter(name: str | None = None) -> Interpreter:
    """The Python of this name on this machine; that of the tests where there is no name."""
    return query(Path(sys.executable) if name is None else installed(name))


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    with Workshop(tmp_path / "cache") as workshop:
        yield workshop
