"""Whether what felloe reads out of an sdist, without building it, is what its build backend says.

    python benchmarks/static_metadata.py [--json] [NAME==VERSION ...]

The Database is asked with `--no-binary :all:`. Each answer has to come by a static rung, and no sdist may be unpacked
to disk for it. The same sdist is then unpacked, and its backend asked for METADATA by `build` in an environment of its
own.

`metadata_oracle.py` says when two answers are the same.

Exits 1 where an answer differs or could not be had. Needs `felloe`, `build`, and an index; takes a few minutes.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve
from metadata_oracle import Row, arguments, compared, show

from felloe import BlockingDatabase, Config, Outcome
from felloe.net.archive import unpack

PROJECTS = (
    # hatchling
    "hatchling==1.25.0",
    "attrs==24.2.0",
    "httpx==0.27.2",
    "pydantic==2.8.2",
    "virtualenv==20.26.3",
    "scikit-build-core==0.11.5",
    # flit-core
    "flit-core==3.9.0",
    "build==1.2.1",
    "click==8.1.8",
    "flask==3.0.3",
    "jinja2==3.1.4",
    "packaging==24.1",
    # setuptools, with a [project] table
    "aiohttp==3.12.15",
    "anyio==4.4.0",
    "anyio==4.9.0",
    "django==5.2.4",
    "ipython==8.26.0",
    "networkx==3.3",
    "pytest==8.3.2",
    "setuptools==72.1.0",
    "twine==5.1.1",
    # poetry-core
    "poetry==2.1.3",
    "tomlkit==0.13.3",
    # pdm-backend
    "fastapi==0.112.0",
    "pdm==2.22.0",
    # meson-python
    "meson-python==0.16.0",
    "meson-python==0.18.0",
    # scikit-build-core
    "boost-histogram==1.5.2",
    "nanobind==2.7.0",
)
RUNGS = frozenset({"pkg-info", "pyproject"})
BUILDS_AT_ONCE = 2


def main() -> int:
    options = arguments("Compares felloe's static metadata with those of build backends.")
    with tempfile.TemporaryDirectory() as folder:
        return show(compare_all(options.projects or PROJECTS, Path(folder)), as_json=options.json)


def compare_all(projects: Sequence[str], folder: Path) -> list[Row]:
    """A Row for each project, in their order; `folder` is empty."""
    config = Config.load(no_binary=[":all:"], cache_dir=folder / "cache")
    with BlockingDatabase(config) as database:
        with unpacking() as unpacked:
            outcomes = {str(outcome.item): outcome for outcome in database.metadata_many(projects)}
        if unpacked:
            raise SystemExit(f"felloe unpacked sdists to disk: {', '.join(unpacked)}")
        archives = {project: archive for project in projects if (archive := archive_of(database, outcomes[project]))}
        trees = unpacked_below(folder, archives)
    with ThreadPoolExecutor(BUILDS_AT_ONCE) as threads:
        return list(threads.map(lambda project: compare(outcomes[project], trees.get(project)), projects))


def unpacked_below(folder: Path, archives: Mapping[str, Path]) -> dict[str, Path]:
    """The tree of each archive. Stops where that goes unseen: not to have seen felloe unpack would show nothing."""
    trees = {}
    for number, (project, archive) in enumerate(archives.items()):
        into = folder / str(number)
        into.mkdir()
        with unpacking() as unpacked:
            trees[project] = unpack(archive, archive.name, into)
        if not unpacked:
            raise SystemExit(f"`{archive.name}` was unpacked to disk, and it was not seen")
    return trees


def archive_of(database: BlockingDatabase, outcome: Outcome) -> Path | None:
    if outcome.error is not None:
        return None
    dist = outcome.value.dist
    return database.database.cache.archive(dist.content.removeprefix("sha256:"), dist.filename)


# What is written to disk, seen by an audit hook, which cannot be taken away again

written: list[Path] = []


def note_writing(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        written.append(Path(arguments[0]))


@contextmanager
def unpacking() -> Iterator[list[str]]:
    """The folders into which a PKG-INFO or pyproject.toml was written; filled in at the end of `with`."""
    found: list[str] = []
    written.clear()
    yield found
    found += [str(path.parent) for path in written if path.name in {"PKG-INFO", "pyproject.toml"}]


# One sdist


def compare(outcome: Outcome, tree: Path | None) -> Row:
    if tree is None:
        return Row(project=str(outcome.item), verdict=f"no answer: {outcome.error}")
    row = compared(str(outcome.item), outcome.value, tree)
    return row if row.rung in RUNGS else evolve(row, verdict=f"not static: {row.rung}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # backends have much to say about old projects
    sys.addaudithook(note_writing)
    sys.exit(main())
