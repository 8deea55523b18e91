"""Which build that was done comes nearest to a job, and what keeps it from serving. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from felloe.build.fingerprint import Difference, differences, fits, serves
from felloe.build.plan import BuildOrder
from felloe.build.record import Build

__all__ = ["Nearest", "nearest", "obstacles", "why_built"]


class Nearest(NamedTuple):
    """A build that was done before, and what keeps it from serving: nothing where it serves."""

    build: Build
    differences: Sequence[Difference]


def nearest(builds: Iterable[Build], order: BuildOrder, *, is_static: bool) -> Nearest | None:
    """The one from which least keeps it; of equal ones the first. None where there are no builds."""
    found = [Nearest(build, obstacles(build, order, is_static=is_static)) for build in builds]
    return min(found, key=lambda each: len(each.differences), default=None)


def obstacles(build: Build, order: BuildOrder, *, is_static: bool) -> Sequence[Difference]:
    """The inputs that are others now, as far as they count for this build (see `serves`); old and new.

    Where a build does not say its inputs, or what differs in them is hidden, the digests that differ.
    """
    needs_wheel = order.goal != "metadata"
    if serves(build, order.fingerprint, order.interpreter, needs_wheel=needs_wheel, is_static=is_static):
        return ()
    found = []
    if needs_wheel and build.wheel is None:
        found.append(Difference("goal", build.goal, order.goal))
    old, new = build.fingerprint.to_json(), order.fingerprint.to_json()
    for name in _digests_that_count(build, order, is_static=is_static):
        if old[name] != new[name]:
            found += _inputs_of(name, build, order) or [Difference(name, old[name], new[name])]
    return found or [Difference("wheel", build.wheel, None)]  # it does not even fit the Python that it was built on


def why_built(what: str, builds: Iterable[Build], order: BuildOrder, *, is_static: bool) -> str:
    """A sentence for `what`."""
    found = nearest(builds, order, is_static=is_static)
    if found is None:
        return f"{what} was not built before"
    if not found.differences:
        return f"{what}: the wheel `{found.build.wheel}` that was built is gone from the cache"
    return f"{what} was built before, but not as it is asked for now: {'; '.join(map(str, found.differences))}"


def _digests_that_count(build: Build, order: BuildOrder, *, is_static: bool) -> Sequence[str]:
    """Of the fingerprint's; what compilers read counts for compiled code alone."""
    if build.wheel is None:
        return ("settings", "interpreter")
    if not build.wheel.endswith("-none-any.whl"):
        return ("settings", "interpreter", "toolchain")
    return ("settings",) if is_static and fits(build.wheel, order.interpreter) else ("settings", "interpreter")


def _inputs_of(name: str, build: Build, order: BuildOrder) -> list[Difference]:
    """Those of one of the digests; none where the build does not say its inputs."""
    if not build.inputs:
        return []
    return [each for each in differences(build.inputs, order.inputs) if _digest_of(each.input) == name]


def _digest_of(name: str) -> str:
    """Which of the digests an input is part of."""
    group = name.partition(".")[0]
    return group if group in {"interpreter", "toolchain"} else "settings"
