"""Sources that exist in memory: what they list, what its metadata are, and what they were asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement

from felloe.config import Policy
from felloe.errors import FelloeError, ProjectNotFound
from felloe.resolution.resolve import resolve
from felloe.values import Dist, Interpreter, Metadata, Request

WHAT = "`demo-1.0.tar.gz`"
INTERPRETER = Interpreter(
    path=Path("python"),
    version="3.11.7",
    tags=("cp311-cp311-linux_x86_64", "py3-none-any"),
    markers={
        **default_environment(),
        "python_version": "3.11",
        "python_full_version": "3.11.7",
        "sys_platform": "linux",
    },
)

Projects = Mapping[str, Mapping[str, Sequence[str]]]  # by name: the versions; of each what it requires


def wheel(name: str, version: str, **fields: Any) -> Dist:
    filename = f"{name}-{version}-py3-none-any.whl"
    return Dist(
        **{"source": "index", "kind": "wheel", "filename": filename, "name": name, "version": version, **fields}
    )


def sdist(name: str, version: str, **fields: Any) -> Dist:
    filename = f"{name}-{version}.tar.gz"
    return Dist(
        **{"source": "index", "kind": "sdist", "filename": filename, "name": name, "version": version, **fields}
    )


class World:
    """Implements `felloe.resolution.resolve.Lookup`. Of each version there is a wheel, unless `listed` says otherwise.

    `listed` are the files by name, or by URL or path; `told` are metadata fields, or the error in place of them, by
    file name. `asked` is what was looked up, in order.
    """

    def __init__(
        self,
        projects: Projects | None = None,
        *,
        listed: Mapping[str, Sequence[Dist] | FelloeError] | None = None,
        told: Mapping[str, Mapping[str, Any] | FelloeError] | None = None,
    ) -> None:
        self._projects = projects or {}
        wheels = {name: [wheel(name, version) for version in made] for name, made in self._projects.items()}
        self._listed = {**wheels, **(listed or {})}
        self._told = told or {}
        self.asked: list[str] = []

    async def find(self, request: Request) -> Sequence[Dist]:
        key = str(request.url or request.path or request.name)
        self.asked.append(key)
        if key not in self._listed:
            raise ProjectNotFound(f"source `index` has no project `{key}`", hint="Check the name.")
        answer = self._listed[key]
        if isinstance(answer, FelloeError):
            raise answer
        return answer

    async def metadata(self, dist: Dist) -> Metadata:
        self.asked.append(dist.filename)
        told = self._told.get(dist.filename, {})
        if isinstance(told, FelloeError):
            raise told
        requires = self._projects.get(dist.name or "", {}).get(dist.version or "", [])
        fields = {"metadata-version": "2.1", "name": dist.name, "version": dist.version, "requires-dist": requires}
        return Metadata({**fields, **told})

    async def resolved(self, *requirements: str, policy: Policy | None = None) -> list[str]:
        """`name version` of each, in the order in which they come."""
        dists = await resolve(requirements, lookup=self, interpreter=INTERPRETER, policy=policy or Policy(), what=WHAT)
        return [f"{dist.name} {dist.version}" for dist in dists]


# What a resolution has to be, worked out the long way


def closure(projects: Projects, name: str, version: str, extras: frozenset[str]) -> list[Requirement]:
    """What one version requires with `extras`, and with those of its own that these ask for."""
    while True:
        every = map(Requirement, projects[name][version])
        applying = [each for each in every if not each.marker or any(map(_holds(each), ("", *extras)))]
        more = extras.union(*(each.extras for each in applying if each.name == name))
        if more == extras:
            return applying
        extras = more


def _holds(requirement: Requirement) -> Any:
    return lambda extra: requirement.marker.evaluate({"extra": extra})


def reached(projects: Projects, requirements: Sequence[str], versions: Mapping[str, str]) -> set[str] | None:
    """The names that `requirements` need, with theirs, where `versions` has one each that fulfils them; else None."""
    extras: dict[str, frozenset[str]] = {}
    agenda = list(map(Requirement, requirements))
    while agenda:
        each = agenda.pop()
        if each.name not in versions or not each.specifier.contains(versions[each.name]):
            return None
        known = extras.get(each.name)
        if known is None or not each.extras <= known:
            extras[each.name] = (known or frozenset()) | each.extras
            agenda += closure(projects, each.name, versions[each.name], extras[each.name])
    return set(extras)
