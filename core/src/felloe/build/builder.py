"""One build, step by step: unpack, requirements, environment, backend, what it made.

Nobody holds a token or a lock while requirements are resolved or installed: these may have to be built themselves. A
token is held while a backend's process runs, inside it the lock of the build, and inside that nothing is waited for.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from attrs import evolve, frozen

from felloe.build.backend import Backend, BackendProcess, running_backend
from felloe.build.failure import Failure, failure_of, naming_log
from felloe.build.fingerprint import serves
from felloe.build.history import History
from felloe.build.plan import (
    BuildJob,
    BuildSystem,
    Goal,
    process_environ,
    project_folder,
    read_build_system,
    waiting_builds,
)
from felloe.build.product import own_copy, read_prepared, read_wheel
from felloe.build.provenance import version_of_backend
from felloe.build.record import Build
from felloe.build.variables import naming_left_out
from felloe.cache.archives import Archives, digests_of
from felloe.cache.layout import digest
from felloe.cache.root import writing
from felloe.cache.run import Run
from felloe.config import Building
from felloe.errors import ArchiveError, BuildError, BuildNeededError, FelloeError
from felloe.installation.environments import Environment, Environments
from felloe.progress import Event
from felloe.request import matches_environment, parse_request
from felloe.resolution.remembered import Resolutions
from felloe.stepping import work
from felloe.values import Dist, Interpreter, Json, Metadata, Wheel

if TYPE_CHECKING:
    import anyio

__all__ = ["Builder", "Other", "Supply", "Workshop"]

OLDEST_PYTHON = (3, 8)


class Supply(Protocol):
    """Where build requirements come from."""

    def __call__(self, requirements: Sequence[str]) -> Awaitable[Sequence[Wheel]]:
        """Wheels that fulfil the requirements and each other's. Raises FelloeError."""
        ...


class Other(Protocol):
    """Another way to build, which `str` names."""

    async def build(
        self, dist: Dist, source: Path, interpreter: Interpreter, settings: Mapping[str, Json], scratch: Path
    ) -> Path | None:
        """See `felloe.hookspecs.ExtensionSpec.builder`. Raises FelloeError."""
        ...


@frozen(kw_only=True)
class _Site:
    """Where one build takes place: a scratch folder, in it the project's folder and the log."""

    job: BuildJob
    folder: Path
    source: Path
    system: BuildSystem

    @property
    def requires(self) -> Sequence[str]:
        """What is installed before the backend is asked."""
        return (*self.system.requires, *self.job.extra_requires)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def new_folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder


@frozen(kw_only=True)
class _Equipped:
    """An environment, and the wheels in it."""

    environment: Environment
    wheels: Sequence[Wheel] = ()


@frozen(kw_only=True)
class Workshop:
    """What all builds of a Database share. `sources` are names and addresses, in the order of asking.

    `others` are asked before a backend is.
    """

    run: Run
    archives: Archives
    history: History
    environments: Environments
    resolutions: Resolutions
    sources: Sequence[tuple[str, str]]
    report: Callable[[Event], None]
    clock: Callable[[], float]
    others: Sequence[Other] = ()


class Builder:
    """Builds one job after the other, or side by side: so many backends at a time as `building` allows."""

    def __init__(self, workshop: Workshop, building: Building) -> None:
        self.workshop = workshop
        self._building = building
        self._tokens: anyio.CapacityLimiter | None = None
        self._queues: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._failures: list[Failure] = []  # of this run

    async def build(self, job: BuildJob, supply: Supply) -> Build:
        """What the build gave; it is in `builds-v0` then, and its wheel among the archives.

        Raises BuildError, and what `supply` raises.
        """
        await work()
        if (built := await self._built_by_other(job)) is not None:
            return built
        _refuse_old_python(job)
        _refuse_cycle(job)
        with self._site_folder() as folder:
            site = await self._unpacked(job, folder)
            await self._refuse_what_failed(site, supply)
            besides: Sequence[str] = ()
            for is_last in (False, True):
                equipped = await self._equipped(site, (*site.requires, *besides), supply)
                try:
                    done, wanted = await self._attempt(site, equipped, is_last=is_last)
                except BuildError as error:
                    await self._remember_failure(job, equipped, besides, error)
                    raise
                if done is not None:
                    return done
                besides = wanted
        raise AssertionError("the last attempt asks for nothing more")

    async def take(self, job: BuildJob, wheel: Path, giver: str = "") -> Build:
        """A wheel (in scratch) that somebody else built; as checked, kept and remembered as one of ours.

        `giver` is whom errors name, by default the source. Raises BuildError.
        """
        await work()
        with self._site_folder() as folder:
            async with self.workshop.history.building(job.build):
                try:
                    build = evolve(await self._taken(job, wheel, folder), built=self._now())
                except BuildError as error:
                    giver = giver or f"source `{job.dist.source}`"
                    hint = f"{giver} gave it as built elsewhere: report it to its authors"
                    raise BuildError(error.message, hint=hint, code=error.code) from error
                self.workshop.history.add(build)
                return build

    def builds(self, build: str) -> list[Build]:
        """Those that were done of one build id, newest first."""
        return self.workshop.history.builds(build)

    async def is_whole(self, build: Build) -> bool:
        """Whether the wheel of a build, if it made one, is in the cache with the bytes that it made."""
        if build.wheel is None or build.sha256 is None:
            return True
        return await self.workshop.archives.verified(build.sha256, build.wheel) is not None

    # -- the steps

    async def _built_by_other(self, job: BuildJob) -> Build | None:
        """What an extension made of a copy of the project that is its own; None where none of them will."""
        if not job.may_build or job.dist.editable:
            return None
        for other in self.workshop.others:
            with self._site_folder() as folder:
                async with self._token():
                    source, scratch = await self._copied(job, folder), folder / "wheel"
                    scratch.mkdir()
                    wheel = await other.build(job.dist, source, job.interpreter, job.settings, scratch)
                if wheel is not None:
                    self._tell(f"{job.what}: {other} has built a wheel")
                    return await self.take(job, wheel, str(other))
        return None

    async def _copied(self, job: BuildJob, folder: Path) -> Path:
        """The folder of the project, in a copy of what is to be built."""
        from anyio.to_thread import run_sync

        from felloe.installation.files import copy_tree
        from felloe.net.archive import unpack

        into = folder / "source"
        into.mkdir()
        if job.dist.kind == "tree":
            await run_sync(copy_tree, job.archive, into)
            return project_folder(into, job.dist, job.what)
        return project_folder(await run_sync(unpack, job.archive, job.dist.filename, into), job.dist, job.what)

    async def _unpacked(self, job: BuildJob, folder: Path) -> _Site:
        if job.dist.kind == "tree":
            top = job.editable_root if job.editable_root and job.goal == "wheel" else job.archive
            source = project_folder(top, job.dist, job.what)
        else:
            source = await self._copied(job, folder)
        return _Site(job=job, folder=folder, source=source, system=read_build_system(source, job.what))

    async def _refuse_what_failed(self, site: _Site, supply: Supply) -> None:
        """Raises BuildError where the same build failed before, in an environment with the same in it.

        What it requires is looked up for that, as another release of it may do better; no backend runs.
        """
        job = site.job
        if self._building.no_build_isolation or self._building.retry_failed:
            return
        for failure in (*self._failures, *self.workshop.history.failures(job.build)):
            if failure.is_of(job):
                wheels = await supply((*site.requires, *failure.besides))
                if _digests(wheels) == failure.requirements:
                    log = self.workshop.history.log(job.build, failure.log)
                    raise failure.error(job, log, self.workshop.clock())

    async def _remember_failure(
        self, job: BuildJob, equipped: _Equipped, besides: Sequence[str], error: BuildError
    ) -> None:
        failure = failure_of(
            error,
            job,
            requirements=_digests(equipped.wheels),
            besides=tuple(besides),
            failed=self._now(),
            log=_log_key(job),
        )
        if failure.cause == "accident" or self._building.no_build_isolation:
            return
        self._failures = [each for each in self._failures if not each.is_of(job)] + [failure]
        if failure.cause == "project":
            async with self.workshop.history.building(job.build):
                self.workshop.history.add_failure(failure)

    async def _equipped(self, site: _Site, requirements: Sequence[str], supply: Supply) -> _Equipped:
        interpreter = site.job.interpreter
        if self._building.no_build_isolation:
            here = interpreter.path
            return _Equipped(environment=Environment(root=here.parent.parent, python=here, scripts=here.parent))
        wheels = await supply(requirements)
        number = sum(1 for _ in site.folder.glob("environment-*"))
        into = site.new_folder(f"environment-{number}")
        try:
            environment = await self.workshop.environments.make(interpreter, wheels, into)
        except (ArchiveError, BuildError) as error:
            message = f"what {site.job.what} requires cannot be installed: {error.message}"
            raise BuildError(message, hint=error.hint, code=error.code, **error.payload) from error
        return _Equipped(environment=environment, wheels=wheels)

    async def _attempt(self, site: _Site, equipped: _Equipped, *, is_last: bool) -> tuple[Build | None, Sequence[str]]:
        """The build; or None, and what the backend wants besides.

        What it made is looked at when its process has ended, and can no longer change it.
        """
        job = site.job
        async with self._alone(job):
            if (known := await self._done_meanwhile(job)) is not None:
                return known, ()
            async with self._logging(site), running_backend(self._process(site, equipped)) as backend:
                extra = () if is_last else await self._wanted_besides(job, equipped, backend)
                if extra:
                    return None, extra
                began = time.monotonic()
                product = await self._product(site, backend)
                seconds = time.monotonic() - began
            return await self._recorded(site, equipped, product, seconds), ()

    async def _wanted_besides(self, job: BuildJob, equipped: _Equipped, backend: Backend) -> Sequence[str]:
        """What the backend requires; nothing where the environment has it."""
        requirements = await backend.requires_for_build(job.settings)
        if self._building.no_build_isolation or _are_met(requirements, equipped.wheels, job):
            return ()
        return requirements

    async def _product(self, site: _Site, backend: Backend) -> Path:
        """A `.dist-info` folder where that is enough and the backend can make it, else a wheel."""
        job = site.job
        if job.goal == "prepare":
            self._tell(f"{job.what}: its backend prepares metadata")
            info = await backend.prepare_metadata(job.settings, site.new_folder("metadata"))
            if info is not None:
                return info
        if not job.may_build:
            raise BuildNeededError(
                f"the backend of {job.what} cannot prepare metadata without building a wheel",
                hint="allow the effort `build`",
                code="effort-exceeded",
            )
        self._tell(f"{job.what}: its backend builds a wheel")
        return await backend.build_wheel(job.settings, site.new_folder("wheel"), None)

    async def _recorded(self, site: _Site, equipped: _Equipped, product: Path, seconds: float) -> Build:
        """The build, checked, in `builds-v0`."""
        from anyio.to_thread import run_sync

        job = site.job
        if not product.name.endswith(".whl"):
            build = _build(job, "prepare", read_prepared(product, job))
        elif job.dist.editable and job.goal == "prepare":  # the wheel leads to the copy, which is about to go
            build = _build(job, "prepare", read_wheel(product, job))
        else:
            build = await self._taken(job, product, site.folder)
        build = evolve(
            build,
            backend=site.system.backend,
            backend_version=await run_sync(version_of_backend, site.system, equipped.wheels),
            requirements=_digests(equipped.wheels),
            built=self._now(),
            seconds=round(seconds, 3),
            log=_log_key(job),
        )
        if not self._building.no_build_isolation:
            self.workshop.history.add(build)
        return build

    async def _taken(self, job: BuildJob, wheel: Path, folder: Path) -> Build:
        """The wheel that a backend made: checked, hashed, put among the archives."""
        from anyio.to_thread import run_sync

        wheel = await run_sync(own_copy, wheel, folder, job)
        metadata = await run_sync(read_wheel, wheel, job)
        size = wheel.stat().st_size
        sha256 = (await digests_of(wheel))["sha256"]
        self.workshop.archives.put(wheel, sha256, wheel.name)
        return evolve(_build(job, "wheel", metadata), wheel=wheel.name, sha256=sha256, size=size)

    async def _done_meanwhile(self, job: BuildJob) -> Build | None:
        """By another process or task that held the lock before us."""
        if self._building.no_build_isolation:
            return None
        for build in self.builds(job.build):
            needs_wheel = job.goal == "wheel"
            is_served = serves(build, job.fingerprint, job.interpreter, needs_wheel=needs_wheel, is_static=False)
            if is_served and (not needs_wheel or await self.is_whole(build)):
                return build
        return None

    # -- what they work with

    def _process(self, site: _Site, equipped: _Equipped) -> BackendProcess:
        temporary, home = site.folder / "tmp", site.folder / "home"
        for folder in (temporary, home):
            folder.mkdir(exist_ok=True)
        waiting = [frame.build for frame in (*site.job.stack, site.job.frame)]
        scripts = equipped.environment.scripts
        environ = process_environ(site.job.env, scripts=scripts, temporary=temporary, home=home, waiting=waiting)
        return BackendProcess(
            python=equipped.environment.python,
            source=site.source,
            backend=site.system.backend,
            backend_path=site.system.backend_path,
            environ=environ,
            log=site.log,
            timeout=self._building.build_timeout,
            what=site.job.what,
            editable=site.job.dist.editable,
        )

    @asynccontextmanager
    async def _alone(self, job: BuildJob) -> AsyncIterator[None]:
        """While no other backend runs for these bytes, here or in another process. Who waits here holds no token."""
        from anyio import Lock

        queue = self._queues.setdefault(job.build, Lock())
        async with queue, self._token(), self.workshop.history.building(job.build):
            yield

    def _token(self) -> anyio.CapacityLimiter:
        if self._tokens is None:
            import anyio

            self._tokens = anyio.CapacityLimiter(self._building.concurrent_builds)
        return self._tokens

    @contextmanager
    def _site_folder(self) -> Iterator[Path]:
        folder = self.workshop.run.folder()
        try:
            with writing(folder):
                yield folder
        finally:
            self.workshop.run.remove(folder)

    @asynccontextmanager
    async def _logging(self, site: _Site) -> AsyncIterator[None]:
        """What the backend printed stays in the cache; an error tells its end and names it, and what it did not get."""
        try:
            yield
        except BuildError as error:
            raise naming_left_out(naming_log(error, self._keep_log(site)), site.job.left_out) from error
        self._keep_log(site)

    def _keep_log(self, site: _Site) -> Path | None:
        if not site.log.is_file():
            return None
        job = site.job
        return self.workshop.history.keep_log(site.log, job.build, _log_key(job), job.project)

    def _now(self) -> str:
        return datetime.fromtimestamp(self.workshop.clock(), UTC).isoformat().replace("+00:00", "Z")

    def _tell(self, message: str) -> None:
        self.workshop.report(Event(code="build", message=message))


def _build(job: BuildJob, goal: Goal, metadata: Metadata) -> Build:
    return Build(
        build=job.build,
        source=job.source,
        fingerprint=job.fingerprint,
        goal=goal,
        rung=goal,
        metadata=metadata,
        inputs=job.inputs,
    )


def _refuse_old_python(job: BuildJob) -> None:
    """Raises BuildError where `worker.py` does not run on it."""
    major, minor, *_ = job.interpreter.version.split(".")
    if (int(major), int(minor)) < OLDEST_PYTHON:
        raise BuildError(
            f"{job.what} cannot be built for Python {job.interpreter.version}: builds need 3.8 or newer",
            hint="choose a version that has a wheel for it, or another Python",
            code="python-too-old",
        )


def _refuse_cycle(job: BuildJob) -> None:
    """Raises BuildError where the job is needed for itself."""
    builds = [frame.build for frame in job.stack]
    if job.build in builds:
        chain = [*job.stack[builds.index(job.build) :], job.frame]
        raise BuildError(
            f"{job.what} is needed to build itself: {' -> '.join(frame.name for frame in chain)}",
            hint="allow a wheel of one of them, or name another version with --build-constraint",
            code="build-cycle",
            chain=[frame.name for frame in chain],
        )
    if job.build in waiting_builds(os.environ):
        raise BuildError(
            f"{job.what} is needed to build itself: its backend, or that of another project, calls felloe for it",
            hint="allow a wheel of it, or tell the author of that backend",
            code="build-cycle",
        )


def _are_met(requirements: Sequence[str], wheels: Sequence[Wheel], job: BuildJob) -> bool:
    """Whether the wheels fulfil what a backend wants besides. What asks for extras is left to the resolver."""
    from packaging.utils import canonicalize_name

    versions: dict[str, str] = {canonicalize_name(each.metadata.name): each.metadata.version for each in wheels}
    for text in requirements:
        try:
            request = parse_request(text, origin="build")
        except FelloeError:
            return False  # the resolver says what is wrong with it
        if not matches_environment(request, job.interpreter):
            continue
        version = versions.get(request.name or "")
        if version is None or request.extras or request.url:
            return False
        if not request.specifier.contains(version, prereleases=True):
            return False
    return True


def _digests(wheels: Sequence[Wheel]) -> dict[str, str]:
    return {wheel.filename: wheel.sha256 for wheel in wheels}


def _log_key(job: BuildJob) -> str:
    return f"{digest(repr(job.fingerprint))}-{job.goal}"
