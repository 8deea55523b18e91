"""From an sdist or a tree to its build: known from before, done elsewhere for the same bytes, or done now."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from attrs import evolve, frozen
from packaging.utils import canonicalize_name

from felloe.build.declared import declared_values
from felloe.build.fingerprint import Inputs, fingerprint_of, preference, serves
from felloe.build.history import History
from felloe.build.plan import BuildOrder, build_id, build_source
from felloe.build.record import Build, builds_in
from felloe.build.variables import left_out, passed
from felloe.build_requirements import BuildRequirements, Finding
from felloe.build_rules import line_to_allow
from felloe.config import Building, Policy
from felloe.errors import BuildNeededError
from felloe.flights import Flights
from felloe.override import Override
from felloe.progress import Event
from felloe.record import Record
from felloe.stepping import work
from felloe.values import BuildGoal, Dist, Fingerprint, Interpreter, Json, Metadata, Stack

if TYPE_CHECKING:
    from felloe.build.builder import Builder, Elsewhere

__all__ = ["Asked", "Done", "Material", "SdistBuilds", "named", "proves_dependencies"]

ALL = ":all:"
RELIED_ON = ("name", "version", "requires-dist", "requires-python", "provides-extra")  # fields that resolvers read


@frozen(kw_only=True)
class Asked:
    """An sdist, for which interpreter and as far as what it is asked; `stack` are the builds that wait for it.

    `name` (normalised) is the project's, where it is known. `may_build` is whether a wheel may be built where the
    backend cannot prepare metadata alone.
    """

    dist: Dist
    what: str
    name: str | None = None
    interpreter: Interpreter
    goal: BuildGoal
    may_build: bool = True
    newer_than: float | None = None
    stack: Stack = ()


@frozen(kw_only=True)
class Material:
    """What is built: an archive, or a tree in scratch, whose `editable_root` is where an editable build has to run.

    `another` brings one more copy of a tree: a build changes the one that it is given.
    """

    path: Path
    another: Callable[[], Awaitable[Path]] | None = None
    editable_root: Path | None = None


class Done(NamedTuple):
    """A build, and whether it was done just now."""

    build: Build
    is_new: bool


class SdistBuilds:
    """The builds of one Database. `make_builder` is called when something has to be built.

    `overrides` are those of the metadata of what builds require.
    """

    def __init__(
        self,
        building: Building,
        policy: Policy,
        history: History,
        make_builder: Callable[[], Builder],
        overrides: Sequence[Override] = (),
    ) -> None:
        self._building = building
        self._requirements = BuildRequirements(building, policy, overrides)
        self._history = history
        self._make_builder = make_builder
        self._builder: Builder | None = None
        self._flights = Flights()

    @property
    def are_kept(self) -> bool:
        """Without isolation, what is installed takes part in a build, and nobody knows when it changes."""
        return not self._building.no_build_isolation

    def known(self, asked: Asked, record: Record) -> Build | None:
        """The best build in the record that serves, of equal ones the newest. Reads no file but those declared."""
        return self._serving(builds_in(record), named(asked, record), record) if record.builds else None

    def done(self, asked: Asked, record: Record) -> Sequence[Build]:
        """All builds of the same bytes, wherever these were found before, newest first."""
        return self._history.builds(_build_id(asked, record))

    def among(self, builds: Sequence[Build], asked: Asked, record: Record) -> Build | None:
        """The best of `builds` (newest first) that serves, as by `known`."""
        return self._serving(builds, named(asked, record, builds), record)

    async def wheel(self, build: Build) -> Path | None:
        """The wheel of a build, its sha256 checked just now; None where it is gone."""
        return await self._history.wheel(build)

    def order(self, asked: Asked, record: Record, material: Material) -> BuildOrder:
        """What would be built, were there no build that serves."""
        return self._order(named(asked, record), record, material)

    def refuse_forbidden(self, asked: Asked, record: Record) -> None:
        """Raises BuildNeededError where it may not be built."""
        self._refuse_forbidden(named(asked, record), record)

    async def get(
        self, asked: Asked, record: Record, material: Material, line: Finding, elsewhere: Elsewhere | None
    ) -> Done:
        """What a build gives: of those of the same bytes that were done before, else a new one of `material`.

        It is done by `elsewhere`, where that accepts it. Raises BuildError, BuildNeededError where it may not be built,
        and what its requirements raise.
        """
        await work()
        builder, builds = self._made_builder(), self.done(asked, record)
        asked = named(asked, record, builds)
        before = self._serving(builds, asked, record)
        if before is not None and (asked.goal == "metadata" or await self.wheel(before) is not None):
            return Done(before, is_new=False)
        order = self._order(asked, record, material)
        self._tell_why(builds, order, record)
        self._refuse_forbidden(asked, record)
        provide = self._requirements.provider(order, line, builder.workshop)

        async def build() -> tuple[Build, bool]:
            return await builder.build(order, provide, elsewhere)

        # Callers for whom no build waits may wait for each other; those inside one might wait in a circle.
        key = (order.build, order.fingerprint, order.goal, order.may_build)
        done, is_new = await (build() if order.stack else self._flights.share(key, build))
        self._tell_what_prepared_metadata_missed(done, record, asked)
        known = evolve(asked, name=_normal_name(done))
        if asked.name is None and self._fingerprint(self._inputs(known)) != order.fingerprint:
            # Nobody knew that they are meant for this one.
            return await self.get(known, record, material, line, elsewhere)
        return Done(done, is_new)

    # -- the steps

    def _tell_why(self, builds: Sequence[Build], order: BuildOrder, record: Record) -> None:
        """No build that was done before serves: the nearest one says why."""
        from felloe.build.nearest import why_built

        message = why_built(order.what, builds if self.are_kept else (), order, is_static=proves_dependencies(record))
        self._made_builder().workshop.report(Event(code="miss", message=message))

    def _tell_what_prepared_metadata_missed(self, done: Build, record: Record, asked: Asked) -> None:
        """A resolver may have relied on them. PEP 517 wants them to be those of the wheel, which count from now on."""
        same = [each for each in builds_in(record) if (each.build, each.fingerprint) == (done.build, done.fingerprint)]
        prepared = next((each for each in same if each.goal == "metadata"), None)
        if done.wheel is None or prepared is None:
            return
        if changes := _changes(prepared.metadata, done.metadata):
            message = f"the wheel of {asked.what} differs from the metadata prepared before: {'; '.join(changes)}"
            self._made_builder().workshop.report(Event(code="warning", message=message))

    def _serving(self, builds: Sequence[Build], asked: Asked, record: Record) -> Build | None:
        if not self.are_kept:
            return None
        build, wanted = _build_id(asked, record), self._fingerprint(self._inputs(asked))
        is_static, needs_wheel = proves_dependencies(record), asked.goal != "metadata"
        serving = [
            each
            for each in builds
            if each.build == build
            and serves(each, wanted, asked.interpreter, needs_wheel=needs_wheel, is_static=is_static)
        ]
        return min(serving, key=lambda each: preference(each.wheel, asked.interpreter), default=None)

    def _refuse_forbidden(self, asked: Asked, record: Record) -> None:
        self._refuse_named(asked)
        self._refuse_unlisted(asked, record.entry.content)

    def _refuse_named(self, asked: Asked) -> None:
        forbidden = self._building.no_build
        hint = "choose a version that has a wheel, or allow the build"
        if ALL in forbidden:
            option = "--no-build"
        elif asked.name in forbidden:
            option = f"--no-build-package {asked.name}"
        elif forbidden and asked.name is None:
            option, hint = "--no-build-package", "say whether it is one of these: write `NAME @ ...`"
        else:
            return
        raise _not_allowed(asked, f"`{option}` forbids", hint)

    def _refuse_unlisted(self, asked: Asked, content: str | None) -> None:
        """Raises BuildNeededError where there is a list of what may be built, and this is not on it."""
        allow, name = self._building.allow, asked.name
        if allow is None or any(each.covers(name, content) for each in allow):
            return
        hint = "say which project it is: write `NAME @ ...`"
        if name is not None:
            hint = f"where its code may run, add `{line_to_allow(name, content)}` to that list"
        but = ", but not with these contents" if name in {each.name for each in allow} else ""
        listed = f"the list `allow` of [tool.felloe.build] {'names' if but else 'does not name'}"
        raise _not_allowed(asked, f"{listed}{but}", hint)

    def _order(self, asked: Asked, record: Record, material: Material) -> BuildOrder:
        from felloe.cache.contents import project_of

        inputs = self._inputs(asked)
        names = self._passed_names(asked, inputs.extra_env)
        return BuildOrder(
            build=_build_id(asked, record),
            source=build_source(asked.dist, record.entry.content or "", record.entry.scm),
            what=asked.what,
            dist=asked.dist,
            archive=material.path,
            another=material.another,
            editable_root=material.editable_root,
            interpreter=asked.interpreter,
            config_settings=self._settings(asked),
            constraints=self._building.build_constraints,
            fingerprint=self._fingerprint(inputs),
            inputs=inputs.shown(),
            extra_requires=inputs.extra_requires,
            env=passed({**os.environ, **inputs.extra_env}, names),
            left_out=left_out(os.environ, names),
            goal=asked.goal,
            project=asked.name or project_of(record, asked.dist.filename),
            may_build=asked.may_build,
            newer_than=asked.newer_than,
            stack=asked.stack,
        )

    def _settings(self, asked: Asked) -> dict[str, Json]:
        """`-C` is for what was asked for; a backend that is built on the way may not know what it says."""
        general = {} if asked.stack else self._building.config_settings
        return {**general, **self._building.config_settings_package.get(asked.name or "", {})}

    def _inputs(self, asked: Asked) -> Inputs:
        building, name = self._building, asked.name or ""
        return Inputs(
            settings=self._settings(asked),
            constraints=building.build_constraints,
            interpreter=asked.interpreter,
            environ=os.environ,
            also=building.env,
            extra_requires=building.extra_requires.get(name, ()),
            extra_env=building.extra_env.get(name, {}),
            declared=declared_values(building.inputs.get(name, ()), os.environ),
        )

    def _passed_names(self, asked: Asked, extra_env: Iterable[str]) -> tuple[str, ...]:
        """What a user has backends of the project get, or says that it depends on: names, and beginnings of them."""
        declared = (each.variable for each in self._building.inputs.get(asked.name or "", ()))
        return (*self._building.env, *filter(None, declared), *extra_env)

    def _fingerprint(self, inputs: Inputs) -> Fingerprint:
        """Of what is built without isolation another one: it has places of its own in the cache, and serves nobody."""
        found = fingerprint_of(inputs)
        return found if self.are_kept else evolve(found, settings=f"{found.settings}-not-isolated")

    def _made_builder(self) -> Builder:
        if self._builder is None:
            self._builder = self._make_builder()
        return self._builder


def named(asked: Asked, record: Record, builds: Sequence[Build] = ()) -> Asked:
    """With the project's name, where the request, the sdist or a build of before tells it.

    `builds` are those of the same bytes, found wherever these were: no name is in the record yet.
    """
    if asked.name is not None:
        return asked
    static = [record.static.name] if record.static else []
    written = next((name for name in [asked.dist.name, *static] if name), None)
    if written is None:
        written = next((build.metadata.name for build in (*builds_in(record), *builds)), None)
    return asked if written is None else evolve(asked, name=canonicalize_name(written))


def _not_allowed(asked: Asked, why: str, hint: str) -> BuildNeededError:
    return BuildNeededError(
        f"{asked.what} would have to be built, which {why}",
        hint=hint,
        code="build-not-allowed",
        filename=asked.dist.filename,
    )


def proves_dependencies(record: Record) -> bool:
    """Whether the source says itself what it depends on: then its pure wheel is the same wherever it is built.

    Dependencies (in which extras are) are what projects compute from the environment. A version or a requires-python
    that only a build tells is computed from files, version control and settings, which have digests of their own.
    """
    return record.static is not None and "requires-dist" in record.static.fields


def _normal_name(build: Build) -> str:
    return canonicalize_name(build.metadata.name)


def _changes(old: Metadata, new: Metadata) -> list[str]:
    pairs = ((name, old.fields.get(name), new.fields.get(name)) for name in RELIED_ON)
    return [f"{name} {json.dumps(before)} -> {json.dumps(now)}" for name, before, now in pairs if before != now]


def _build_id(asked: Asked, record: Record) -> str:
    return build_id(asked.dist, record.entry.content or "", record.entry.scm)
