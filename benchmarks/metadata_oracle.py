"""METADATA of one source tree by its own build backend, through `build`, and what differs in what felloe says.

Two sets of requirements are the same where they are so as text, with the names of projects and extras normalised and
the parts of a specifier in order. Markers may be written in many ways: what is not the same as text is so where it is
called for in the same environments of a grid (versions of Python, platforms, machines, implementations, extras).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from attrs import asdict, evolve, field, frozen
from build import BuildBackendException, BuildException
from build.util import project_wheel_metadata
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from felloe import Answer, Metadata, Wheel

__all__ = ["Row", "arguments", "compared", "show"]

SAME = "same"

Condition = tuple[str, Marker | None]  # a requirement without its marker, and the marker

PYTHONS = [f"3.{minor}.{patch}" for minor in range(6, 16) for patch in (0, 5)]
PLATFORMS = [
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
    {"sys_platform": "cygwin", "platform_system": "CYGWIN_NT", "os_name": "posix"},
    {"sys_platform": "emscripten", "platform_system": "Emscripten", "os_name": "posix"},
]
MACHINES = ["x86_64", "aarch64", "arm64", "AMD64"]
IMPLEMENTATIONS = [("cpython", "CPython"), ("pypy", "PyPy")]


@frozen(kw_only=True)
class Said:
    """What decides a resolution, normalised."""

    name: str
    version: Version
    requires_dist: frozenset[str]
    requires_python: SpecifierSet
    provides_extra: frozenset[str]


@frozen(kw_only=True)
class Row:
    """One sdist: `verdict` is "same" or says what is wrong, `details` are the differences."""

    project: str
    backend: str = ""
    rung: str = ""
    requires: int = 0
    extras: int = 0
    verdict: str
    details: list[str] = field(factory=list)


def compared(project: str, answer: Answer | Wheel, tree: Path) -> Row:
    """The Row of `project`, whose source tree is unpacked at `tree`."""
    row = Row(
        project=project,
        backend=backend_of(tree),
        rung=answer.rung,
        requires=len(answer.metadata.requires_dist),
        extras=len(answer.metadata.provides_extra),
        verdict=SAME,
    )
    try:
        built = said_by_backend(tree)
    except (BuildException, BuildBackendException, subprocess.CalledProcessError) as error:
        return evolve(row, verdict="not compared: the build failed", details=[str(error)])
    details = differences(said_by_felloe(answer.metadata), built)
    return evolve(row, verdict="differs", details=details) if details else row


def backend_of(tree: Path) -> str:
    """As PEP 517 has it, also where pyproject.toml does not name one or is not there."""
    file = tree / "pyproject.toml"
    document = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return str(document.get("build-system", {}).get("build-backend", "setuptools.build_meta:__legacy__"))


def said_by_felloe(metadata: Metadata) -> Said:
    return said(
        (metadata.name, metadata.version, metadata.requires_python),
        metadata.requires_dist,
        metadata.provides_extra,
    )


def said_by_backend(tree: Path) -> Said:
    found = project_wheel_metadata(tree)
    requires_python = found.get_all("Requires-Python") or [None]
    return said(
        (found["Name"], found["Version"], requires_python[0]),
        found.get_all("Requires-Dist") or (),
        found.get_all("Provides-Extra") or (),
    )


def said(single: tuple[str, str, str | None], requirements: Iterable[str], extras: Iterable[str]) -> Said:
    name, version, requires_python = single
    return Said(
        name=canonicalize_name(name),
        version=Version(version),
        requires_dist=frozenset(map(normalised, requirements)),
        requires_python=SpecifierSet(requires_python or ""),
        provides_extra=frozenset(map(canonicalize_name, extras)),
    )


def normalised(text: str) -> str:
    """Extras in markers are normalised by packaging itself, which also sorts the parts of a specifier."""
    requirement = Requirement(text)
    requirement.name = canonicalize_name(requirement.name)
    requirement.extras = {canonicalize_name(extra) for extra in requirement.extras}
    return str(requirement)


def differences(ours: Said, theirs: Said) -> list[str]:
    """What differs, a line each: of what felloe says and what the backend says."""
    found = [
        f"{key}: felloe `{getattr(ours, key)}`, backend `{getattr(theirs, key)}`"
        for key in ("name", "version", "requires_python")
        if getattr(ours, key) != getattr(theirs, key)
    ]
    found += in_one_only("provides_extra", ours.provides_extra, theirs.provides_extra)
    if not mean_the_same(ours, theirs):
        found += in_one_only("requires_dist", ours.requires_dist, theirs.requires_dist)
    return found


def in_one_only(key: str, ours: frozenset[str], theirs: frozenset[str]) -> list[str]:
    return [
        *(f"{key}: only felloe has `{value}`" for value in sorted(ours - theirs)),
        *(f"{key}: only the backend has `{value}`" for value in sorted(theirs - ours)),
    ]


def mean_the_same(ours: Said, theirs: Said) -> bool:
    """Whether the requirements that are not the same as text are called for in the same environments."""
    one = conditions(ours.requires_dist - theirs.requires_dist)
    other = conditions(theirs.requires_dist - ours.requires_dist)
    if not one and not other:
        return True
    extras = ours.provides_extra | theirs.provides_extra
    return all(called_for(one, where) == called_for(other, where) for where in environments(extras))


def conditions(texts: Iterable[str]) -> list[Condition]:
    return [condition(Requirement(text)) for text in sorted(texts)]


def condition(requirement: Requirement) -> Condition:
    marker, requirement.marker = requirement.marker, None
    return str(requirement), marker


def called_for(conditions: Iterable[Condition], environment: Mapping[str, str]) -> set[str]:
    return {text for text, marker in conditions if marker is None or marker.evaluate(dict(environment))}


def environments(extras: Iterable[str]) -> Iterator[dict[str, str]]:
    combinations = product(["", *sorted(extras)], PYTHONS, PLATFORMS, MACHINES, IMPLEMENTATIONS)
    for extra, python, platform, machine, (implementation, long_name) in combinations:
        yield {
            "extra": extra,
            "python_version": python.rpartition(".")[0],
            "python_full_version": python,
            **platform,
            "platform_machine": machine,
            "implementation_name": implementation,
            "platform_python_implementation": long_name,
        }


# The command line


def arguments(description: str) -> argparse.Namespace:
    """`projects` (none for those of the script) and `json`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("projects", nargs="*", metavar="NAME==VERSION")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    return parser.parse_args()


def show(rows: Sequence[Row], *, as_json: bool) -> int:
    """Prints the rows; the exit code: 1 where one is not the same."""
    print(json.dumps({"schema": 1, "rows": [asdict(row) for row in rows]}, indent=2) if as_json else table(rows))
    return int(any(row.verdict != SAME for row in rows))


def table(rows: Sequence[Row]) -> str:
    heads = ("project", "backend", "rung", "requires", "extras", "verdict")
    cells = [heads, *(tuple(str(getattr(row, head)) for head in heads) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    blocks = ["\n    ".join([line, *row.details]) for line, row in zip(lines[1:], rows, strict=True)]
    good = sum(row.verdict == SAME for row in rows)
    return "\n".join([lines[0], *blocks, "", f"{good} of {len(rows)} are the same"])
