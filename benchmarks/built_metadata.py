"""Whether what felloe has of sdists that have to be built is what their build backends say.

    python benchmarks/built_metadata.py [--json] [NAME==VERSION ...]

The Database is asked with `--no-binary :all:` and an empty cache. Of an sdist that tells its metadata without a build
a wheel is built, and the wheel's METADATA count. The same sdist is then unpacked, and its backend asked for METADATA by
`build` in an environment of its own.
`metadata_oracle.py` says when two answers are the same.

Exits 1 where an answer differs or could not be had. Needs `felloe`, `build`, a C compiler, and an index; takes some
minutes.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import evolve
from metadata_oracle import Row, arguments, compared, show

from felloe import BlockingDatabase, Config, Outcome
from felloe.net.archive import unpack

PROJECTS = (
    # setuptools without a [project] table, old and new
    "django-allauth==0.51.0",
    "docopt==0.6.2",
    "future==1.0.0",
    "psutil==5.9.8",
    "python-dateutil==2.9.0.post0",
    "requests==2.31.0",
    "simplejson==3.19.2",
    "sqlalchemy==1.4.52",
    "termcolor==1.1.0",
    "tornado==6.4.1",
    "wrapt==1.16.0",
    # setuptools-scm
    "pytest-asyncio==0.21.1",
    "pytest-xdist==2.5.0",
    "pluggy==1.0.0",
    "tqdm==4.66.1",
    # flit-core
    "typing-extensions==4.3.0",
    "flit-core==3.2.0",
    "entrypoints==0.4",
    "testpath==0.6.0",
    # hatchling, with and without hatch-vcs
    "jsonschema==4.17.3",
    "anyio==3.6.2",
    "platformdirs==2.6.0",
    "soupsieve==2.3.2.post1",
    "filelock==3.9.0",
    # poetry-core
    "rich==12.6.0",
    "tomlkit==0.11.6",
    "pastel==0.2.1",
    "fastapi-pagination==0.12.0",
    # pdm-backend and pdm-pep517
    "griffe==0.47.0",
    "pdm-backend==2.3.3",
    "pdm-pep517==1.1.3",
    # meson-python
    "meson-python==0.16.0",
    "contourpy==1.3.0",
    # scikit-build-core
    "nanobind==2.7.0",
    # C extensions
    "markupsafe==2.1.3",
    "pyyaml==6.0.1",
    "msgpack==1.0.5",
)
BUILDS_AT_ONCE = 2
BUILT = frozenset({"prepare", "wheel"})


def main() -> int:
    options = arguments("Compares felloe's metadata of built sdists with those of `build`.")
    with tempfile.TemporaryDirectory() as folder:
        return show(compare_all(options.projects or PROJECTS, Path(folder)), as_json=options.json)


def compare_all(projects: Sequence[str], folder: Path) -> list[Row]:
    """A Row for each project, in their order; `folder` is empty."""
    config = Config.load(no_binary=[":all:"], cache_dir=folder / "cache")
    with BlockingDatabase(config) as database:
        outcomes = {str(outcome.item): outcome for outcome in database.metadata_many(projects)}
        static = [project for project, outcome in outcomes.items() if outcome.value and outcome.value.rung not in BUILT]
        outcomes |= {str(outcome.item): outcome for outcome in database.wheels(static)}
        trees = {
            project: unpacked(database, outcomes[project], folder / str(number))
            for number, project in enumerate(projects)
            if outcomes[project].error is None
        }
    with ThreadPoolExecutor(BUILDS_AT_ONCE) as threads:
        return list(threads.map(lambda project: compare(outcomes[project], trees.get(project)), projects))


def unpacked(database: BlockingDatabase, outcome: Outcome, into: Path) -> Path:
    dist = outcome.value.dist
    archive = database.database.cache.archive(dist.content.removeprefix("sha256:"), dist.filename)
    into.mkdir()
    return unpack(archive, archive.name, into)


def compare(outcome: Outcome, tree: Path | None) -> Row:
    if tree is None:
        return Row(project=str(outcome.item), verdict=f"no answer: {outcome.error}")
    row = compared(str(outcome.item), outcome.value, tree)
    return row if row.rung in BUILT else evolve(row, verdict=f"not built: {row.rung}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # backends have much to say about old projects
    sys.exit(main())
