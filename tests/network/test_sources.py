"""One real project by every way that a requirement may take, and the tree of the cache. Skipped without PyPI."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from felloe import BlockingDatabase, Config, Dist
from felloe.testing import GitServer
from tests.network.test_pypi import settings

pytestmark = [pytest.mark.network, pytest.mark.timeout(60), pytest.mark.usefixtures("reached")]
pytest_plugins = ["tests.network.test_pypi"]  # `reached`

VERSION = "1.16.0"
SDIST, WHEEL = f"six-{VERSION}.tar.gz", f"six-{VERSION}-py2.py3-none-any.whl"


@pytest.fixture
def database(tmp_path: Path) -> BlockingDatabase:
    return BlockingDatabase(Config.load(environ=settings(tmp_path), cwd=tmp_path))


def test_one_project_by_every_way(database: BlockingDatabase, tmp_path: Path) -> None:
    with database as db, GitServer(tmp_path / "served") as server:
        listed = {dist.filename: dist for dist in db.find("six")}
        project = unpacked(db, listed[SDIST], tmp_path)
        repository = server.repository("six")
        files = {path.name: path.read_bytes() for path in project.iterdir() if path.is_file()}
        commit = repository.commit({name: text for name, text in files.items() if name != "PKG-INFO"})
        ways = {
            "sdist by name": listed[SDIST],
            "wheel by name": f"six=={VERSION}",
            "sdist by URL": f"six @ {listed[SDIST].locator['url'].reveal()}",
            "wheel by URL": f"six @ {listed[WHEEL].locator['url'].reveal()}",
            "commit over http": f"six @ git+{repository.url}@{commit}",
            "branch of file://": f"six @ git+{repository.file_url}@main",
            "folder": f"six @ {project.as_uri()}",
        }
        answers = {way: db.metadata(item) for way, item in ways.items()}
        wheels = {way: db.wheel(item) for way, item in ways.items()}
        again = {way: db.metadata(item).cached for way, item in ways.items()}

    assert {(each.metadata.name, each.metadata.version) for each in answers.values()} == {("six", VERSION)}
    assert {wheel.filename for wheel in wheels.values()} == {WHEEL}
    assert all(again.values())
    entries = tmp_path / "cache/built-wheel-metadata-v0"
    found = {path.relative_to(entries).parts for path in entries.rglob("metadata.json")}
    assert {(parts[0], len(parts), parts[-2]) for parts in found if parts[0] != "pypi"} == {
        ("url", 4, SDIST),
        ("git", 4, commit),
        ("path", 4, project.name),
    }
    assert ("pypi", SDIST, "metadata.json") in found


def unpacked(db: BlockingDatabase, sdist: Dist, folder: Path) -> Path:
    """The project in an sdist of PyPI, as its author has it in a folder."""
    db.metadata(sdist)
    (archive,) = (folder / "cache/archives-v0").rglob(sdist.filename)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    shutil.rmtree(folder / f"six-{VERSION}/six.egg-info", ignore_errors=True)
    return folder / sdist.filename.removesuffix(".tar.gz")
