"""What builds require: resolved, or as it was resolved before, and brought as wheels by the line itself."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Protocol

from attrs import evolve
from packaging.specifiers import SpecifierSet

from felloe.build.plan import BuildOrder
from felloe.build.variables import of_role
from felloe.config import Building, Policy
from felloe.errors import ArchiveError, BuildCycleError, BuildError, FelloeError
from felloe.override import Override
from felloe.values import Dist, Environment, Interpreter, Json, Metadata, Provide, Request, Stack, Wheel

if TYPE_CHECKING:
    from felloe.build.builder import Workshop
    from felloe.resolution.remembered import Remembered

__all__ = ["BuildRequirements", "Finding"]

ALL = ":all:"


class Finding(Protocol):
    """The line, as builds use it for what they require; `stack` are the builds that wait for it."""

    async def find(self, item: Request) -> Sequence[Dist]: ...

    async def metadata_for(self, dist: Dist, stack: Stack) -> Metadata: ...

    async def wheel_for(self, dist: Dist, stack: Stack) -> Wheel: ...


class BuildRequirements:
    """The requirements of the builds of one Database. `overrides` are those of their metadata."""

    def __init__(self, building: Building, policy: Policy, overrides: Sequence[Override] = ()) -> None:
        self._building = building
        by_project = (building.inputs, building.extra_env, building.extra_requires)
        self._varying = frozenset().union(*by_project, (each.name for each in overrides))
        self._policy = _policy_for_requirements(policy, building)

    def provider(self, order: BuildOrder, line: Finding, workshop: Workshop) -> Provide:
        """Environments for one build."""

        async def provide(requirements: Sequence[str], interpreter: Interpreter, stack: Stack) -> Environment:
            wheels = await self._wheels(requirements, order, _Lookup(line, stack), workshop)
            try:
                return await workshop.environments.get(interpreter, wheels)
            except (ArchiveError, BuildError) as error:
                message = f"what {order.what} requires cannot be installed: {error.message}"
                raise BuildError(message, hint=error.hint, code=error.code, **error.payload) from error

        return provide

    async def _wheels(
        self, requirements: Sequence[str], order: BuildOrder, lookup: _Lookup, workshop: Workshop
    ) -> Sequence[Wheel]:
        """Wheels that fulfil the requirements and each other's, in the order of their names.

        Raises BuildError and what resolving raises.
        """
        import anyio

        dists = await self._resolved(requirements, order, lookup, workshop)
        wheels: dict[str, Wheel] = {}

        async def bring(dist: Dist) -> None:
            wheels[dist.filename] = await _blaming(order, dist, lookup.wheel(dist))

        try:
            async with anyio.create_task_group() as group:
                for dist in dists:
                    group.start_soon(bring, dist)
        except* FelloeError as errors:
            raise _first(errors) from None
        return [wheels[dist.filename] for dist in dists]

    async def _resolved(
        self, requirements: Sequence[str], order: BuildOrder, lookup: _Lookup, workshop: Workshop
    ) -> Sequence[Dist]:
        """As remembered, where the files are still listed as they were; else resolved now.

        Nothing is remembered of names whose metadata may be others although the files are the same.
        """
        from felloe.resolution.remembered import resolution_key
        from felloe.resolution.resolve import resolve

        key = resolution_key(requirements, self._policy, order.interpreter, workshop.sources, self._settings())
        remembered = workshop.resolutions.recall(key)
        if remembered and self._varying.isdisjoint(remembered.listings):
            again = await _found_again(remembered, lookup)
            if again is not None:
                return again
        dists = await resolve(
            requirements, lookup=lookup, interpreter=order.interpreter, policy=self._policy, what=order.what
        )
        if lookup.is_repeatable and self._varying.isdisjoint(lookup.listings):
            workshop.resolutions.remember(key, lookup.listings, dists)
        return dists

    def _settings(self) -> dict[str, Json]:
        """With what metadata are built, whoever requires them."""
        variables = of_role("settings", os.environ, self._building.env)
        return {"projects": dict(self._building.config_settings_package), "variables": variables}


async def _found_again(remembered: Remembered, lookup: _Lookup) -> Sequence[Dist] | None:
    """None where anything is not listed as it was: resolving again tells what is right, or what is wrong."""
    from felloe.resolution.remembered import listing_digest

    files: dict[tuple[str, str], Dist] = {}
    for name, digest in remembered.listings.items():
        try:
            listed = await lookup.find(Request(text=name, name=name, specifier=SpecifierSet(), origin="build"))
        except FelloeError:
            return None
        if listing_digest(listed) != digest:
            return None
        files |= {(name, dist.filename): dist for dist in listed}
    return [files[pin] for pin in remembered.chosen] if files.keys() >= set(remembered.chosen) else None


class _Lookup:
    """Implements `felloe.resolution.resolve.Lookup` by the line.

    `listings` are what was found by name. `is_repeatable` says that these are all that was looked up: nothing was
    missing, and no direct reference was followed, whose name must not be looked up anywhere else.
    """

    def __init__(self, line: Finding, stack: Stack) -> None:
        self._line = line
        self._stack = stack
        self.listings: dict[str, Sequence[Dist]] = {}
        self.is_repeatable = True

    async def find(self, request: Request) -> Sequence[Dist]:
        try:
            found = await self._line.find(request)
        except FelloeError:
            self.is_repeatable = False
            raise
        if request.name and request.url is None and request.path is None:
            self.listings[request.name] = found
        else:
            self.is_repeatable = False
        return found

    async def metadata(self, dist: Dist) -> Metadata:
        return await self._line.metadata_for(dist, self._stack)

    async def wheel(self, dist: Dist) -> Wheel:
        return await self._line.wheel_for(dist, self._stack)


def _policy_for_requirements(policy: Policy, building: Building) -> Policy:
    """What is said of the requests holds for their build requirements, but for what would make each a build of all."""
    return evolve(
        policy,
        constraints=building.build_constraints,
        no_binary=policy.no_binary - {ALL},
        only_binary=policy.only_binary - {ALL},
        require_hashes=False,
        prereleases=None,
    )


async def _blaming(order: BuildOrder, dist: Dist, wheel: Awaitable[Wheel]) -> Wheel:
    try:
        return await wheel
    except BuildCycleError:
        raise
    except FelloeError as error:
        raise BuildError(
            f"{order.what} needs `{dist.filename}` to be built: {error.message}",
            hint=error.hint,
            code=error.code,
            **error.payload,
        ) from error


def _first(errors: BaseExceptionGroup[FelloeError]) -> FelloeError:
    """One of them says enough; a group may be of groups."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
