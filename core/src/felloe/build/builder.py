"""One build, step by step: unpack, requirements, environment, backend, what it made.

Nobody holds a lock or a token while requirements are resolved or installed: these may have to be built themselves. The
lock of the build is taken when its environment is complete, and inside it nothing is waited for but a token, which is
held while a backend's process runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from attrs import evolve, frozen

from felloe.build.backend import Backend, BackendProcess, end_processes, marked_environ, running_backend
from felloe.build.failure import Failure, failure_of, naming_log
from felloe.build.fingerprint import serves
from felloe.build.history import History
from felloe.build.plan import (
    BuildOrder,
    BuildSystem,
    process_environ,
    project_folder,
    read_build_system,
    waiting_builds,
)
from felloe.build.product import moved_wheel, read_given, read_prepared, read_wheel
from felloe.build.provenance import version_of_backend
from felloe.build.record import Build
from felloe.build.variables import naming_left_out
from felloe.cache.archives import digests_of
from felloe.cache.layout import Layout
from felloe.cache.removal import remove_tree
from felloe.cache.root import make_way, writing
from felloe.cache.run import Run
from felloe.config import Building, Limits
from felloe.errors import BuildCycleError, BuildError, BuildNeededError, CacheError, FelloeError
from felloe.installation.environments import Environments, Stamp
from felloe.progress import Event
from felloe.request import matches_environment, parse_request
from felloe.resolution.remembered import Resolutions
from felloe.stepping import work
from felloe.values import BuildGoal, BuildJob, Built, Environment, Metadata, Provide, Wheel

if TYPE_CHECKING:
    import anyio

__all__ = ["Builder", "Elsewhere", "Workshop"]

OLDEST_PYTHON = (3, 8)
MOST_ATTEMPTS = 5  # each is one more time that a backend asks for something besides


class Elsewhere(Protocol):
    """Who builds in the core's place, a source or a builder that the user chose; `str` names it."""

    def accepts(self, job: BuildJob) -> bool:
        """Whether the job is for it. Raises FelloeError."""
        ...

    async def build(self, job: BuildJob) -> Built:
        """What it made, checked against the contract. Raises FelloeError."""
        ...


@frozen(kw_only=True)
class _Site:
    """Where one build takes place: a scratch folder, in which `top` has the project's folder `source`."""

    order: BuildOrder
    folder: Path
    top: Path
    source: Path

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def is_of_the_user(self) -> bool:
        """Whether it is built where it lies (PEP 660)."""
        return self.top == self.order.editable_root

    def new_folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder


@frozen
class _Attempt:
    """With what a backend is run; `besides` are the requirements that it asked for before.

    An environment that many share had the `stamp` when the backend was started.
    """

    system: BuildSystem
    environment: Environment
    besides: Sequence[str] = ()
    is_shared: bool = True
    stamp: Stamp | None = None


@frozen
class _Outcome:
    """What came of an attempt: a build, and whether it was done just now; or what the backend wants besides."""

    build: Build | None = None
    is_new: bool = False
    wanted: Sequence[str] = ()


class _EnvironmentChangedError(Exception):
    """Somebody wrote in an environment that many share."""


@frozen(kw_only=True)
class Workshop:
    """What all builds of a Database share. `sources` are names and addresses, in the order of asking."""

    layout: Layout
    run: Run
    history: History
    environments: Environments
    resolutions: Resolutions
    sources: Sequence[tuple[str, str]]
    limits: Limits
    report: Callable[[Event], None]
    clock: Callable[[], float]


class Builder:
    """Builds one job after the other, or side by side: so many backends at a time as `building` allows."""

    def __init__(self, workshop: Workshop, building: Building) -> None:
        self.workshop = workshop
        self._building = building
        self._tokens: anyio.CapacityLimiter | None = None
        self._queues: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._failures: list[Failure] = []  # of this run

    async def build(
        self, order: BuildOrder, provide: Provide, elsewhere: Elsewhere | None = None
    ) -> tuple[Build, bool]:
        """What the build gave, and whether it was done here: not where another process was faster.

        It is in `builds-v0` then, with its wheel. It is done by `elsewhere`, where that accepts it, else by the
        backend. Raises BuildError, and what `provide` and `elsewhere` raise.
        """
        await work()
        _refuse_cycle(order)
        self._refuse_what_failed(order)
        with self._folder() as folder:
            site = await self._unpacked(order, folder)
            if elsewhere is not None and elsewhere.accepts(self._job(site)):
                return await self._built_elsewhere(site, elsewhere)
            _refuse_old_python(order)
            return await self._built_by_backend(site, provide)

    # -- by somebody else

    async def _built_elsewhere(self, site: _Site, elsewhere: Elsewhere) -> tuple[Build, bool]:
        order = site.order
        async with self._alone(order):
            if (known := await self._done_meanwhile(order)) is not None:
                return known, False
            self._tell(f"{order.what}: {elsewhere} builds it")
            began = time.monotonic()
            built = await elsewhere.build(self._job(site))
            try:
                return await self._given(site, built, time.monotonic() - began), True
            except BuildError as error:
                hint = f"{elsewhere} gave it as built elsewhere: report it to its authors"
                raise BuildError(error.message, hint=hint, code=error.code) from error

    async def _given(self, site: _Site, built: Built, seconds: float) -> Build:
        """What somebody else made, checked and kept as one of ours."""
        with self._folder(is_kept=not self._is_kept) as into:
            if built.wheel is not None:
                build = await self._with_wheel(site.order, built.wheel, into)
            else:
                raw = b"" if built.metadata is None else built.metadata.bytes
                build = _build(site.order, "metadata", read_given(raw, site.order, self.workshop.limits))
            build = evolve(build, requires=built.requires, provenance=built.provenance, seconds=round(seconds, 3))
            return self._add(build, into)

    def _job(self, site: _Site) -> BuildJob:
        return site.order.job(site.source, self._environ(site, scripts=None))

    # -- by the project's backend

    async def _built_by_backend(self, site: _Site, provide: Provide) -> tuple[Build, bool]:
        order, system = site.order, read_build_system(site.source, site.order.what)
        besides: Sequence[str] = ()
        for _ in range(MOST_ATTEMPTS):
            environment = await self._equipped(order, (*system.requires, *order.extra_requires, *besides), provide)
            attempt = _Attempt(system, environment, besides)
            try:
                outcome = await self._attempt(site, attempt)
            except _EnvironmentChangedError:
                outcome = await self._attempt_alone(order, attempt)
            if outcome.build is not None:
                return outcome.build, outcome.is_new
            besides = (*besides, *outcome.wanted)
        raise BuildError(
            f"{order.what} cannot be built: its backend asks for more requirements each time it gets some",
            hint="tell the author of its build backend, or choose a version that has a wheel",
            code="bad-backend-output",
        )

    async def _unpacked(self, order: BuildOrder, folder: Path) -> _Site:
        """In a place of its own; a tree in scratch is one already."""
        from anyio.to_thread import run_sync

        from felloe.net.archive import unpack

        if order.dist.kind == "tree":
            top = order.editable_root if order.editable_root and order.goal == "editable" else order.archive
            source = project_folder(top, order.dist, order.what)
        else:
            top = folder / "source"
            top.mkdir()
            source = await run_sync(unpack, order.archive, order.dist.filename, top, self.workshop.limits)
            source = project_folder(source, order.dist, order.what)
        return _Site(order=order, folder=folder, top=top, source=source)

    async def _equipped(self, order: BuildOrder, requirements: Sequence[str], provide: Provide) -> Environment:
        if self._building.no_build_isolation:
            here = order.interpreter.path
            return Environment(path=here.parent.parent, python=here)
        return await provide(requirements, order.interpreter, (*order.stack, order.frame))

    async def _attempt_alone(self, order: BuildOrder, attempt: _Attempt) -> _Outcome:
        """Again, of the project as it was, in an environment of its own: a backend wrote in one that many share."""
        with self._folder() as into, self._folder() as folder:
            if order.another is not None:
                order = evolve(order, archive=await order.another())
            environment = await self.workshop.environments.make(order.interpreter, attempt.environment.wheels, into)
            again = evolve(attempt, environment=environment, is_shared=False)
            return await self._attempt(await self._unpacked(order, folder), again)

    async def _attempt(self, site: _Site, attempt: _Attempt) -> _Outcome:
        """Raises _EnvironmentChangedError, and BuildError."""
        order = site.order
        async with self._alone(order):
            if (known := await self._done_meanwhile(order)) is not None:
                return _Outcome(known)
            self._refuse_what_failed(order)  # of another process, or task, that held the lock before us
            attempt = evolve(attempt, stamp=self.workshop.environments.stamp(attempt.environment))
            async with self._workplace(site) as place:
                try:
                    return await self._worked(place, attempt)
                except BuildError as error:
                    self._check_environment(attempt)
                    raise self._remembered(place, attempt.environment, error) from error.__cause__

    async def _worked(self, site: _Site, attempt: _Attempt) -> _Outcome:
        """As `_attempt`. What was made is looked at when the process has ended, and can no longer change it."""
        order = site.order
        async with running_backend(self._process(site, attempt)) as backend:
            if wanted := await self._wanted_besides(order, attempt, backend):
                return _Outcome(wanted=wanted)
            began = time.monotonic()
            made = await self._made(site, backend)
            seconds = time.monotonic() - began
        self._check_environment(attempt)
        return _Outcome(await self._recorded(site, attempt, made, seconds), is_new=True)

    async def _wanted_besides(self, order: BuildOrder, attempt: _Attempt, backend: Backend) -> Sequence[str]:
        """What the backend requires and has not asked for before; nothing where the environment has it."""
        requirements = await backend.requires_for_build(order.config_settings)
        if self._building.no_build_isolation or _are_met(requirements, attempt.environment.wheels, order):
            return ()
        return [each for each in requirements if each not in attempt.besides]

    def _check_environment(self, attempt: _Attempt) -> None:
        """Raises _EnvironmentChangedError: what came of it may be the work of another build."""
        is_kept = attempt.is_shared and not self._building.no_build_isolation
        if is_kept and not self.workshop.environments.is_as_made(attempt.environment, attempt.stamp):
            raise _EnvironmentChangedError

    async def _made(self, site: _Site, backend: Backend) -> Path:
        """A `.dist-info` folder where that is enough and the backend can make it, else a wheel."""
        order = site.order
        if order.goal == "metadata":
            self._tell(f"{order.what}: its backend prepares metadata")
            info = await backend.prepare_metadata(order.config_settings, site.new_folder("metadata"))
            if info is not None:
                return info
        if not order.may_build:
            raise BuildNeededError(
                f"the backend of {order.what} cannot prepare metadata without building a wheel",
                hint="allow the effort `build`",
                code="effort-exceeded",
            )
        self._tell(f"{order.what}: its backend builds a wheel")
        return await backend.build_wheel(order.config_settings, site.new_folder("wheel"), None)

    # -- what came of it

    async def _recorded(self, site: _Site, attempt: _Attempt, made: Path, seconds: float) -> Build:
        """The build, checked, in `builds-v0`."""
        from anyio.to_thread import run_sync

        order, system, wheels = site.order, attempt.system, attempt.environment.wheels
        limits = self.workshop.limits
        with self._folder(is_kept=not self._is_kept) as into:
            if not made.name.endswith(".whl"):
                build = _build(order, "metadata", read_prepared(made, order, limits))
            elif order.dist.editable and order.goal == "metadata":  # it leads to the copy, which is about to go
                build = _build(order, "metadata", read_wheel(made, order, limits))
            else:
                build = await self._with_wheel(order, made, into)
            build = evolve(
                build,
                backend=system.backend,
                backend_version=await run_sync(version_of_backend, system, wheels, limits),
                requires=_pins(wheels),
                hashes={wheel.filename: wheel.sha256 for wheel in wheels},
                seconds=round(seconds, 3),
            )
            self._keep_log(site, into)
            return self._add(build, into)

    async def _with_wheel(self, order: BuildOrder, wheel: Path, into: Path) -> Build:
        """The wheel that was made: checked, hashed, moved to `into`."""
        from anyio.to_thread import run_sync

        wheel = await run_sync(moved_wheel, wheel, into, order)
        metadata = await run_sync(read_wheel, wheel, order, self.workshop.limits)
        sha256, size = (await digests_of(wheel))["sha256"], wheel.stat().st_size
        goal: BuildGoal = "editable" if order.goal == "editable" else "wheel"
        return evolve(_build(order, goal, metadata), wheel=wheel.name, sha256=sha256, size=size)

    def _add(self, build: Build, folder: Path) -> Build:
        return self.workshop.history.add(evolve(build, built=self._now()), folder, is_kept=self._is_kept)

    def _remembered(self, site: _Site, environment: Environment, error: BuildError) -> BuildError:
        """The error with its log, which is kept. What it tells is remembered as its cause has it.

        It names what its backend did not get.
        """
        failure = failure_of(error, site.order, requires=_pins(environment.wheels), failed=self._now())
        if self._is_kept and failure.cause != "accident":
            self._failures = [each for each in self._failures if not self._is_same(each, site.order)] + [failure]
        with suppress(CacheError), self._folder() as into:  # a full disk, which is likely to be the error itself
            self._keep_log(site, into)
            self.workshop.history.add_failure(failure, into)
        return naming_left_out(naming_log(error, self.workshop.history.log(site.order)), site.order.left_out)

    def _refuse_what_failed(self, order: BuildOrder) -> None:
        """Raises BuildError where the same build failed before, and it would be so again."""
        if not self._is_kept or self._building.retry_failed:
            return
        kept = self.workshop.history.failure(order)
        known = [*self._failures, *([kept] if kept and kept.cause == "project" else [])]
        if (failure := next((each for each in known if self._is_same(each, order)), None)) is not None:
            raise failure.error(order, self.workshop.history.log(order), self.workshop.clock())

    def _is_same(self, failure: Failure, order: BuildOrder) -> bool:
        return failure.is_of(order, self.workshop.clock())

    async def _done_meanwhile(self, order: BuildOrder) -> Build | None:
        """By another process or task that held the lock before us."""
        if not self._is_kept:
            return None
        for build in self.workshop.history.builds(order.build):
            needs_wheel = order.goal != "metadata"
            is_served = serves(build, order.fingerprint, order.interpreter, needs_wheel=needs_wheel, is_static=False)
            if is_served and (not needs_wheel or await self.workshop.history.wheel(build) is not None):
                return build
        return None

    # -- what they work with

    @property
    def _is_kept(self) -> bool:
        """Without isolation, what is installed takes part in a build, and nobody knows when it changes."""
        return not self._building.no_build_isolation

    def _process(self, site: _Site, attempt: _Attempt) -> BackendProcess:
        return BackendProcess(
            python=attempt.environment.python,
            source=site.source,
            backend=attempt.system.backend,
            backend_path=attempt.system.backend_path,
            environ=self._environ(site, scripts=attempt.environment.scripts),
            log=site.log,
            most_log=self.workshop.limits.max_build_output_bytes,
            timeout=self._building.build_timeout,
            what=site.order.what,
            editable=site.order.dist.editable,
        )

    def _environ(self, site: _Site, scripts: Path | None) -> dict[str, str]:
        folders = {"temporary": site.folder / "tmp", "home": site.folder / "home"}
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
        waiting = [frame.build for frame in (*site.order.stack, site.order.frame)]
        environ = process_environ(site.order.env, **folders, scripts=scripts, waiting=waiting)
        return marked_environ(environ, str(site.folder))

    @asynccontextmanager
    async def _workplace(self, site: _Site) -> AsyncIterator[_Site]:
        """The site at a path that is the same for every build of this job: what is built there repeats to the byte.

        Made anew, inside the lock of the build. The project is moved there and back, if it is not the user's own.
        """
        layout, order = self.workshop.layout, site.order
        place = layout.workplace(order.build, order.fingerprint.key)
        await end_processes(marked=str(place))  # a felloe that was killed could not end its backend
        with writing(layout.root):
            with suppress(FileNotFoundError):
                remove_tree(place)
            make_way(layout.root, place / "any")
        there = evolve(site, folder=place)
        try:
            if not site.is_of_the_user:
                top = place / "source"
                with writing(layout.root):
                    site.top.rename(top)
                there = evolve(there, top=top, source=top / site.source.relative_to(site.top))
            yield there
        finally:
            with suppress(OSError):
                if there.top != site.top:
                    there.top.rename(site.top)
            self.workshop.run.remove(place)

    @asynccontextmanager
    async def _alone(self, order: BuildOrder) -> AsyncIterator[None]:
        """While no other backend works at this job, here or in another process.

        Who waits for that holds no token, and who waits for a token holds no lock: the backend that has the token may
        run a felloe that wants the lock.
        """
        from anyio import Lock

        async with self._queues.setdefault(f"{order.build}-{order.fingerprint.key}", Lock()):
            while True:
                async with self._token():
                    if (release := self.workshop.history.try_building(order)) is not None:
                        try:
                            yield
                        finally:
                            release()
                        return
                async with self.workshop.history.building(order):
                    pass  # whoever worked at it is done

    def _token(self) -> anyio.CapacityLimiter:
        if self._tokens is None:
            import anyio

            self._tokens = anyio.CapacityLimiter(self._building.concurrent_builds)
        return self._tokens

    @contextmanager
    def _folder(self, *, is_kept: bool = False) -> Iterator[Path]:
        """One in scratch; one that `is_kept` stays there as long as the run lasts."""
        folder = self.workshop.run.folder()
        try:
            with writing(folder):
                yield folder
        finally:
            if not is_kept:
                self.workshop.run.remove(folder)

    def _keep_log(self, site: _Site, folder: Path) -> None:
        if site.log.is_file():
            self.workshop.history.keep_log(site.log, folder)

    def _now(self) -> str:
        return datetime.fromtimestamp(self.workshop.clock(), UTC).isoformat().replace("+00:00", "Z")

    def _tell(self, message: str) -> None:
        self.workshop.report(Event(code="build", message=message))


def _build(order: BuildOrder, goal: BuildGoal, metadata: Metadata) -> Build:
    return Build(
        build=order.build,
        source=order.source,
        project=order.project,
        fingerprint=order.fingerprint,
        goal=goal,
        rung="prepare" if goal == "metadata" else "wheel",
        metadata=metadata,
        inputs=order.inputs,
    )


def _refuse_old_python(order: BuildOrder) -> None:
    """Raises BuildError where `worker.py` does not run on it."""
    major, minor, *_ = order.interpreter.version.split(".")
    if (int(major), int(minor)) < OLDEST_PYTHON:
        raise BuildError(
            f"{order.what} cannot be built for Python {order.interpreter.version}: builds need 3.8 or newer",
            hint="choose a version that has a wheel for it, or another Python",
            code="python-too-old",
        )


def _refuse_cycle(order: BuildOrder) -> None:
    """Raises BuildError where the job is needed for itself."""
    builds = [frame.build for frame in order.stack]
    if order.build in builds:
        chain = [*order.stack[builds.index(order.build) :], order.frame]
        raise BuildCycleError(
            f"{order.what} is needed to build itself: {' -> '.join(frame.name for frame in chain)}",
            hint="allow a wheel of one of them, or name another version with --build-constraint",
            chain=[frame.name for frame in chain],
        )
    if order.build in waiting_builds(os.environ):
        raise BuildCycleError(
            f"{order.what} is needed to build itself: its backend, or that of another project, calls felloe for it",
            hint="allow a wheel of it, or tell the author of that backend",
        )


def _are_met(requirements: Sequence[str], wheels: Sequence[Wheel], order: BuildOrder) -> bool:
    """Whether the wheels fulfil what a backend wants besides. What asks for extras is left to the resolver."""
    from packaging.utils import canonicalize_name

    versions: dict[str, str] = {canonicalize_name(each.metadata.name): each.metadata.version for each in wheels}
    for text in requirements:
        try:
            request = parse_request(text, origin="build")
        except FelloeError:
            return False  # the resolver says what is wrong with it
        if not matches_environment(request, order.interpreter):
            continue
        version = versions.get(request.name or "")
        if version is None or request.extras or request.url:
            return False
        if not request.specifier.contains(version, prereleases=True):
            return False
    return True


def _pins(wheels: Sequence[Wheel]) -> tuple[str, ...]:
    return tuple(f"{wheel.metadata.name}=={wheel.metadata.version}" for wheel in wheels)
