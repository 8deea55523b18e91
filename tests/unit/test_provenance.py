"""Which wheel a backend came with."""

from __future__ import annotations

from pathlib import Path

import pytest

from felloe.build.plan import BuildSystem
from felloe.build.provenance import version_of_backend
from felloe.testing import Project, make_wheel
from felloe.values import Dist, Metadata, Wheel

FILES = {
    "one": ["one/__init__.py", "one/api.py"],
    "two-core": ["two/core/__init__.py", "two/core/api.py"],
    "compiled": ["fast.cpython-311-x86_64-linux-gnu.so", "fastest.py"],
    "moved": ["moved-1.0.data/purelib/moved.py"],
    "twice": ["again.py"],
    "again": ["again/__init__.py"],
}


def installed(folder: Path, name: str) -> Wheel:
    path = make_wheel(folder, Project(name, "1.0"), files=dict.fromkeys(FILES[name], ""))
    dist = Dist(source="one", kind="wheel", filename=path.name)
    metadata = Metadata({"name": name, "version": f"1.0+{name}"})
    return Wheel(path=path, filename=path.name, sha256="", dist=dist, metadata=metadata, rung="wheel", cached=True)


@pytest.mark.parametrize(
    ("backend", "version"),
    [
        ("one", "1.0+one"),
        ("one.api", "1.0+one"),
        ("one.api:backend.object", "1.0+one"),
        (" one ", "1.0+one"),
        ("two.core.api", "1.0+two-core"),
        ("fast", "1.0+compiled"),
        ("moved", "1.0+moved"),
        ("two", ""),
        ("again", ""),
        ("nowhere", ""),
    ],
)
def test_the_version_of_a_backend(tmp_path: Path, backend: str, version: str) -> None:
    wheels = [installed(tmp_path, name) for name in FILES]
    assert version_of_backend(BuildSystem(backend=backend), wheels) == version


def test_a_backend_of_the_projects_own_has_none(tmp_path: Path) -> None:
    assert version_of_backend(BuildSystem(backend="one", backend_path=(".",)), [installed(tmp_path, "one")]) == ""


def test_a_wheel_that_is_gone_or_none_tells_nothing(tmp_path: Path) -> None:
    gone, broken = installed(tmp_path, "one"), installed(tmp_path, "again")
    gone.path.unlink()
    broken.path.write_bytes(b"none")
    assert version_of_backend(BuildSystem(backend="again"), [gone, broken]) == ""
