"""The line: from a requirement to its metadata or its wheel, step by step.

requirement -> Request -> owner -> Dist -> CacheKey -> Entry? -> Fresh | Stale -> Fetched -> metadata / wheel
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from attrs import evolve, frozen
from packaging.specifiers import SpecifierSet

from felloe import dispatch, hash_rules
from felloe.build.plan import BuildJob, Goal, Stack
from felloe.build.record import Build, with_build
from felloe.building import Asked, SdistBuilds
from felloe.cache.archives import Archives, digests_of
from felloe.cache.records import Records
from felloe.context import ItemContext, Owner, Services
from felloe.errors import (
    BuildNeededError,
    CacheError,
    ContractError,
    ProjectNotFound,
)
from felloe.metadata import check_identity, parse_metadata, proves, static_metadata
from felloe.progress import Event
from felloe.record import Record, based_on, refreshed, with_static, with_wheel
from felloe.request import parse_request
from felloe.routing import Claimed, Route, route
from felloe.select import select
from felloe.values import (
    Answer,
    Dist,
    Effort,
    Entry,
    Fetched,
    Fresh,
    Interpreter,
    Json,
    Metadata,
    RawMetadata,
    Request,
    Rung,
    Stale,
    Wheel,
)

if TYPE_CHECKING:
    from felloe.config import Config
    from felloe.registry import Instance, Registry

__all__ = ["Line", "Parts"]

Item = str | Request | Dist
Found = tuple[Metadata, Rung] | None
EFFORTS: tuple[Effort, ...] = get_args(Effort)
STATIC_MEMBERS = ("PKG-INFO", "pyproject.toml")


@frozen(kw_only=True)
class Parts:
    """What the line is made of; `assembly.py` puts it together."""

    config: Config
    registry: Registry
    services: Services
    records: Records
    archives: Archives
    builds: SdistBuilds
    interpreter: Callable[[], Interpreter]
    know_interpreter: Callable[[], Awaitable[None]]
    clock: Callable[[], float]
    newer_than: Callable[[str | None], float | None]


@frozen(kw_only=True)
class Place:
    """One Dist being answered: who owns it, what the owner may use, and where the cache keeps what it knows."""

    request: Request
    dist: Dist
    source: Instance
    ctx: ItemContext
    path: Path
    stack: Stack = ()

    @property
    def what(self) -> str:
        """How errors name it."""
        return f"`{self.dist.filename}` of source `{self.source.name}`"


class Checked(NamedTuple):
    """What the cache holds, whether it is still true, and bytes that had to be downloaded to find out."""

    found: Record | None
    is_fresh: bool = False
    fetched: Fetched | None = None

    @property
    def record(self) -> Record | None:
        """What is known and true."""
        return self.found if self.is_fresh else None


class Known(NamedTuple):
    """Metadata, the rung that gave them, and the build that they are of, if one was needed."""

    metadata: Metadata
    rung: Rung
    build: Build | None = None


class Brought(NamedTuple):
    """An archive in the cache whose bytes were hashed just now, and whether they had to be received."""

    record: Record
    path: Path
    received: bool


class Line:
    """Answers requests and Dists. Every public method takes a Request, its text, or a Dist that `find` gave."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def find(self, item: str | Request) -> Sequence[Dist]:
        """All distributions, as their source lists them.

        Raises ProjectNotFound, RequirementError, SourceError, NetworkError, PluginError.
        """
        request = self._request(item)
        unknown: list[str] = []
        for source in self._route(request).sources:
            with self._context(source, request.name) as ctx:
                try:
                    return await dispatch.find(source, request, ctx)
                except ProjectNotFound as error:
                    unknown.append(str(error))
        raise ProjectNotFound("; ".join(unknown), hint="check the name and the index", project=request.name)

    def select(self, dists: Sequence[Dist], request: str | Request) -> Dist:
        """The one of `dists` that answers `request` in the environment asked about. Raises NoMatchError.

        Asks the interpreter, once, where it is not known yet.
        """
        return select(dists, self._request(request), self._parts.interpreter(), self._parts.config.policy)

    async def metadata(self, item: Item, *, effort: Effort = "build") -> Answer:
        """Metadata by the first rung that answers; `effort` bounds how far to go.

        Raises what `find` and `select` raise, and MetadataError, ArchiveError, HashMismatchError, BuildError,
        BuildNeededError.
        """
        if effort not in EFFORTS:
            raise ValueError(f"{effort!r} is no effort; there are {', '.join(EFFORTS)}")
        return await self._metadata(item, effort, ())

    async def wheel(self, item: Item) -> Wheel:
        """A wheel whose sha256 was checked, built where there is none. Raises as `metadata` does."""
        return await self._wheel(item, ())

    # -- what builds require, by the same line (`felloe.building.Requirements`)

    async def metadata_for(self, dist: Dist, stack: Stack) -> Metadata:
        """Of something that the builds in `stack` wait for."""
        return (await self._metadata(dist, "build", stack)).metadata

    async def wheel_for(self, dist: Dist, stack: Stack) -> Wheel:
        """Of something that the builds in `stack` wait for."""
        return await self._wheel(dist, stack)

    # -- the line

    async def _metadata(self, item: Item, effort: Effort, stack: Stack) -> Answer:
        with await self._place(item, stack) as at:
            checked = await self._check(at)
            if checked.record and (known := await self._recall(at, checked.record)):
                return self._answer(at, checked.record, known, cached=checked.fetched is None)
            if effort == "cached":
                raise _beyond_effort(at, effort, "is not in the cache")
            if raw := await self._short_cut(at, checked.fetched):
                record = await self._remember(at, raw)
                return self._answer(at, record, Known(*_known_wheel(record, at.dist)), cached=False)
            brought = await self._bring(at, checked)
            if known := await self._recall(at, brought.record):
                return self._answer(at, brought.record, known, cached=not brought.received)
            if effort == "static":
                raise _beyond_effort(at, effort, "needs a build")
            return await self._answer_by_build(at, brought, effort)

    async def _wheel(self, item: Item, stack: Stack) -> Wheel:
        with await self._place(item, stack) as at:
            checked = await self._check(at)
            if at.dist.kind == "wheel":
                return await self._fetched_wheel(at, checked)
            return await self._built_wheel(at, checked)

    async def _fetched_wheel(self, at: Place, checked: Checked) -> Wheel:
        brought = await self._bring(at, checked)
        known = await self._recall(at, brought.record)
        if known is None:
            raise ContractError(f"{at.what} was read, and gave no metadata")
        answer = self._answer(at, brought.record, known, cached=not brought.received)
        return _wheel(answer, brought.path, at.dist.filename, brought.record.entry.digests["sha256"])

    async def _built_wheel(self, at: Place, checked: Checked) -> Wheel:
        record, received = checked.record, checked.fetched is not None
        build = await self._known_build(at, record, "wheel") if record else None
        path = await self._wheel_of(build) if build else None
        if record is None or build is None or path is None:
            brought = await self._bring(at, checked)
            record, build, is_new = await self._built(at, brought, "wheel")
            path, received = await self._wheel_of(build), brought.received or is_new
        if path is None:
            raise CacheError(f"the wheel of {at.what} is gone from the cache", hint="try again", code="wheel-gone")
        answer = self._answer(at, record, Known(build.metadata, build.rung, build), cached=not received)
        return _wheel(answer, path, build.wheel or "", build.sha256 or "")

    # -- the steps, in the order of the line

    def _request(self, item: str | Request) -> Request:
        if not isinstance(item, str | Request):
            raise TypeError(f"a requirement is a text, a Request or a Dist, not {type(item).__name__}")
        return parse_request(item) if isinstance(item, str) else item

    def _route(self, request: Request) -> Route:
        claims = [
            Claimed(source, claim)
            for source in self._parts.registry.instances
            if (claim := dispatch.claims(source, request)) is not None
        ]
        return route(request, claims, self._parts.registry, self._parts.config.pins)

    async def _place(self, item: Item, stack: Stack) -> AbstractContextManager[Place]:
        if isinstance(item, Dist):
            return self._at(self._request_for(item, stack), item, stack)
        request = self._request(item)
        if self._parts.config.policy.require_hashes:
            hash_rules.refuse_without_hash(request)
        dists = await self.find(request)
        await self._parts.know_interpreter()
        return self._at(request, self.select(dists, request), stack)

    def _request_for(self, dist: Dist, stack: Stack) -> Request:
        """Where hashes are required, those that its source declares are allowed. What builds require needs none."""
        request = Request(text=dist.filename, name=dist.name, specifier=SpecifierSet())
        if self._parts.config.policy.require_hashes and not stack:
            request = evolve(request, hashes=hash_rules.declared_hashes(dist))
            hash_rules.refuse_without_hash(request)
        return request

    @contextmanager
    def _at(self, request: Request, dist: Dist, stack: Stack) -> Iterator[Place]:
        source = self._parts.registry.instance(dist.source)
        with self._context(source, dist.name) as ctx:
            key = dispatch.cache_key(source, dist)
            layout = self._parts.services.layout
            locate = layout.wheel_metadata if dist.kind == "wheel" else layout.entry
            path = locate(source.kind.name, dispatch.address(source), key)
            yield Place(request=request, dist=dist, source=source, ctx=ctx, path=path, stack=stack)

    def _context(self, source: Instance, name: str | None) -> ItemContext:
        owner = Owner(source.name, source.kind.name, dispatch.address(source))
        return ItemContext(self._parts.services, owner, self._parts.newer_than(name))

    async def _check(self, at: Place) -> Checked:
        """Entry? -> Fresh | Stale."""
        record = self._parts.records.read(at.path)
        if record is None:
            return Checked(None)
        verdict = await dispatch.check_freshness(at.source, at.dist, record.entry, at.ctx)
        fetched = verdict.fetched if isinstance(verdict, Stale) else None
        if fetched is not None and await self._same_bytes(fetched, record.entry):
            verdict = Fresh(validators=fetched.validators)
        if isinstance(verdict, Fresh):
            self._tell("fresh", f"{at.what} is fresh")
            return Checked(await self._refreshed(at, record, verdict), is_fresh=True, fetched=fetched)
        self._tell("stale", f"{at.what} is stale: {verdict.code}: {verdict.evidence}")
        return Checked(record, fetched=fetched)

    async def _same_bytes(self, fetched: Fetched, entry: Entry) -> bool:
        return f"sha256:{(await digests_of(fetched.path))['sha256']}" == entry.content

    async def _refreshed(self, at: Place, record: Record, verdict: Fresh) -> Record:
        if dict(verdict.validators) == dict(record.entry.validators):
            return record
        entry = evolve(record.entry, validators=verdict.validators, checked=self._now())
        return await self._parts.records.change(at.path, lambda old: refreshed(old, record, entry))

    async def _recall(self, at: Place, record: Record) -> Known | None:
        """What the record answers, under the hash rules and with names that agree."""
        known = await self._known(at, record)
        if known is None or (at.request.hashes and not hash_rules.is_hashed(at.request, record.entry, known.rung)):
            return None
        check_identity(known.metadata, name=at.dist.name, version=at.dist.version, what=at.what)
        return known

    async def _known(self, at: Place, record: Record) -> Known | None:
        if found := _metadata_in(record, at.dist):
            return Known(*found)
        build = await self._known_build(at, record, "prepare")
        return Known(build.metadata, build.rung, build) if build else None

    async def _known_build(self, at: Place, record: Record, goal: Goal) -> Build | None:
        """One that serves, as far as the record of the entry tells, under the hash rules."""
        if not record.builds or (at.request.hashes and not hash_rules.is_hashed(at.request, record.entry, goal)):
            return None
        return self._parts.builds.known(await self._asked(at, goal), record)

    async def _short_cut(self, at: Place, fetched: Fetched | None) -> RawMetadata | None:
        """The source's own way to METADATA; not under hash rules, which only whole bytes satisfy."""
        if at.dist.kind != "wheel" or at.request.hashes or fetched is not None:
            return None
        return await dispatch.metadata(at.source, at.dist, at.ctx)

    async def _remember(self, at: Place, raw: RawMetadata) -> Record:
        metadata = self._parsed(at, raw.bytes)
        entry = self._entry(at, at.dist.hashes, raw.validators, verified=False)
        return await self._parts.records.change(
            at.path,
            lambda old: with_wheel(based_on(old, at.source.kind.name, entry), at.dist.filename, metadata, raw.rung),
        )

    async def _bring(self, at: Place, checked: Checked) -> Brought:
        """The bytes: from the cache where it has what is wanted, else fetched, hashed, and read once."""
        fetched = checked.fetched
        if fetched is None and (brought := await self._from_cache(at, checked.record)):
            return brought
        async with self._parts.records.fetching(at.path):
            # Somebody may have fetched it while we waited for the lock.
            latest = self._parts.records.read(at.path)
            is_news = (
                latest is not None
                and latest != checked.found
                and hash_rules.is_as_declared(at.dist, latest.entry.digests)
            )
            if fetched is None and is_news and (brought := await self._from_cache(at, latest)):
                return brought
            fetched = fetched or await dispatch.fetch(at.source, at.dist, at.ctx)
            path, entry = await self._put(at, fetched)
            return Brought(await self._read(at, path, entry), path, received=True)

    async def _from_cache(self, at: Place, record: Record | None) -> Brought | None:
        content = (record.entry.content if record else None) or at.dist.content or ""
        algorithm, _, sha256 = content.partition(":")
        path = await self._parts.archives.verified(sha256, at.dist.filename) if algorithm == "sha256" else None
        if path is None:
            return None
        digests = await digests_of(path, hash_rules.algorithms(at.request, at.dist))
        if not hash_rules.is_as_declared(at.dist, digests):
            return None  # they were right once: the source declares others now
        hash_rules.check_bytes(at.request, at.dist, digests, at.what)
        if record is None or not record.entry.verified or not record.entry.digests.items() >= digests.items():
            validators = record.entry.validators if record else {}
            record = await self._read(at, path, self._entry(at, digests, validators, verified=True))
        return Brought(record, path, received=False)

    async def _put(self, at: Place, fetched: Fetched) -> tuple[Path, Entry]:
        if fetched.path.is_symlink() or not fetched.path.is_file():
            raise ContractError(f"source `{at.source.name}` fetched something that is not a regular file")
        digests = await digests_of(fetched.path, hash_rules.algorithms(at.request, at.dist))
        hash_rules.check_bytes(at.request, at.dist, digests, at.what)
        if fetched.content not in {None, f"sha256:{digests['sha256']}"}:
            raise ContractError(f"source `{at.source.name}` fetched other bytes than it says: `{fetched.content}`")
        path = self._parts.archives.put(fetched.path, digests["sha256"], at.dist.filename)
        return path, self._entry(at, digests, fetched.validators, verified=True)

    async def _read(self, at: Place, path: Path, entry: Entry) -> Record:
        """What the bytes tell of themselves, put into the record of their entry."""
        if at.dist.kind == "wheel":
            found: Found = self._parsed(at, await _read_wheel(path, at.dist.filename)), "wheel"
        else:
            found = self._proven(at, await _read_sdist(path, at.dist.filename))
        return await self._parts.records.change(
            at.path, lambda old: _with_found(at, based_on(old, at.source.kind.name, entry), found)
        )

    def _proven(self, at: Place, members: Mapping[str, bytes]) -> Found:
        found = static_metadata(members, filename_version=at.dist.version)
        if found is not None:
            check_identity(found[0], name=at.dist.name, version=at.dist.version, what=at.what)
        return found

    def _parsed(self, at: Place, raw: bytes) -> Metadata:
        metadata = parse_metadata(raw, what=at.what, max_bytes=self._parts.config.limits.max_metadata_bytes)
        check_identity(metadata, name=at.dist.name, version=at.dist.version, what=at.what)
        return metadata

    def _entry(self, at: Place, digests: Mapping[str, str], validators: Mapping[str, Json], *, verified: bool) -> Entry:
        now = self._now()
        return Entry(
            content=f"sha256:{digests['sha256']}" if "sha256" in digests else None,
            digests=digests,
            verified=verified,
            validators=validators,
            locator=at.dist.locator,
            fetched=now,
            checked=now,
        )

    async def _answer_by_build(self, at: Place, brought: Brought, effort: Effort) -> Answer:
        record, build, is_new = await self._built(at, brought, "prepare", may_build=effort == "build")
        known = Known(build.metadata, build.rung, build)
        return self._answer(at, record, known, cached=not (brought.received or is_new))

    async def _built(
        self, at: Place, brought: Brought, goal: Goal, *, may_build: bool = True
    ) -> tuple[Record, Build, bool]:
        """The record with a build that serves, the build, and whether it was done just now."""
        asked = evolve(await self._asked(at, goal), may_build=may_build)

        async def offer(job: BuildJob) -> Path | None:
            fetched = await dispatch.build(at.source, at.dist, job.interpreter, job.settings, at.ctx)
            return fetched.path if fetched else None

        build, is_new = await self._parts.builds.get(asked, brought.record, brought.path, self, offer)
        kind, entry = at.source.kind.name, brought.record.entry
        record = await self._parts.records.change(at.path, lambda old: with_build(based_on(old, kind, entry), build))
        return record, build, is_new

    async def _asked(self, at: Place, goal: Goal) -> Asked:
        await self._parts.know_interpreter()
        return Asked(dist=at.dist, what=at.what, interpreter=self._parts.interpreter(), goal=goal, stack=at.stack)

    async def _wheel_of(self, build: Build) -> Path | None:
        return await self._parts.archives.verified(build.sha256 or "", build.wheel or "")

    def _answer(self, at: Place, record: Record, known: Known, *, cached: bool) -> Answer:
        self._tell("rung", f"{at.what}: {known.rung}{', cached' if cached else ''}")
        metadata, dist = known.metadata, at.dist
        dist = evolve(dist, name=dist.name or metadata.name, version=metadata.version, content=record.entry.content)
        wheel = known.build.wheel if known.build else at.dist.filename if at.dist.kind == "wheel" else None
        return Answer(metadata=metadata, rung=known.rung, cached=cached, dist=dist, wheel=wheel)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._parts.clock(), UTC).isoformat().replace("+00:00", "Z")

    def _tell(self, code: str, message: str) -> None:
        self._parts.services.report(Event(code=code, message=message))


async def _read_wheel(path: Path, filename: str) -> bytes:
    from anyio.to_thread import run_sync

    from felloe.net.archive import read_wheel_metadata

    return await run_sync(read_wheel_metadata, path, filename)


async def _read_sdist(path: Path, filename: str) -> Mapping[str, bytes]:
    from anyio.to_thread import run_sync

    from felloe.net.archive import read_sdist_members

    return await run_sync(read_sdist_members, path, filename, STATIC_MEMBERS)


def _known_wheel(record: Record, dist: Dist) -> tuple[Metadata, Rung]:
    return record.data[dist.filename], record.rung_of(dist.filename)


def _metadata_in(record: Record, dist: Dist) -> Found:
    """What the record knows of `dist` itself, and by which rung."""
    if dist.kind == "wheel":
        return _known_wheel(record, dist) if dist.filename in record.data else None
    if record.static is not None and record.static_rung is not None and proves(record.static):
        return record.static, record.static_rung
    return None


def _with_found(at: Place, record: Record, found: Found) -> Record:
    """The record with what its bytes told, which outranks what was told of them before."""
    if found is None:
        return record
    if at.dist.kind != "wheel":
        return with_static(record, *found)
    filename = at.dist.filename
    if record.rung_of(filename) not in hash_rules.FROM_BYTES:
        record = evolve(record, data={name: data for name, data in record.data.items() if name != filename})
    return with_wheel(record, filename, *found)


def _wheel(answer: Answer, path: Path, filename: str, sha256: str) -> Wheel:
    return Wheel(
        path=path,
        filename=filename,
        sha256=sha256,
        dist=answer.dist,
        metadata=answer.metadata,
        rung=answer.rung,
        cached=answer.cached,
    )


def _beyond_effort(at: Place, effort: Effort, why: str) -> BuildNeededError:
    return BuildNeededError(
        f"the metadata of {at.what} {why}, and no more effort than `{effort}` is allowed",
        hint="allow the effort `build`",
        code="effort-exceeded",
        requirement=at.request.text,
        filename=at.dist.filename,
    )
