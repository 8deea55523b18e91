"""The line: from a requirement to its metadata or its wheel, step by step.

requirement -> Request -> owner -> Dist -> CacheKey -> Entry? -> Fresh | Stale -> Fetched -> metadata / wheel
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from attrs import evolve, frozen
from packaging.specifiers import SpecifierSet

from felloe import dispatch
from felloe.cache.archives import Archives, digests_of
from felloe.cache.records import Records
from felloe.context import ItemContext, Owner, Services
from felloe.errors import (
    BuildNeededError,
    ContractError,
    HashMismatchError,
    ProjectNotFound,
    RequirementError,
)
from felloe.hashing import check_digests
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
STATIC_MEMBERS = ("PKG-INFO", "pyproject.toml")
# Rungs whose metadata came out of bytes that we hashed.
FROM_BYTES = frozenset({"pkg-info", "pyproject", "prepare", "wheel"})


@frozen(kw_only=True)
class Parts:
    """What the line is made of; `assembly.py` puts it together."""

    config: Config
    registry: Registry
    services: Services
    records: Records
    archives: Archives
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

        Raises what `find` and `select` raise, and MetadataError, ArchiveError, HashMismatchError, BuildNeededError.
        """
        with await self._place(item) as at:
            checked = await self._check(at)
            if checked.record and (known := self._recall(at, checked.record)):
                return self._answer(at, checked.record, known, cached=checked.fetched is None)
            if effort == "cached":
                raise _beyond_effort(at)
            if raw := await self._short_cut(at, checked.fetched):
                record, received = await self._remember(at, raw), True
            else:
                record, _, received = await self._bring(at, checked)
            known = self._recall(at, record)
            if known is None:
                raise _build_needed(at)
            return self._answer(at, record, known, cached=not received)

    async def wheel(self, item: Item) -> Wheel:
        """A wheel whose sha256 was checked. Raises as `metadata` does."""
        with await self._place(item) as at:
            if at.dist.kind != "wheel":
                raise _build_needed(at)
            record, path, received = await self._bring(at, await self._check(at))
            known = self._recall(at, record)
            if known is None:
                raise _build_needed(at)
            answer = self._answer(at, record, known, cached=not received)
            return Wheel(
                path=path,
                filename=at.dist.filename,
                sha256=record.entry.digests["sha256"],
                dist=answer.dist,
                metadata=answer.metadata,
                rung=answer.rung,
                cached=answer.cached,
            )

    # -- the steps, in the order of the line

    def _request(self, item: str | Request) -> Request:
        return parse_request(item) if isinstance(item, str) else item

    def _route(self, request: Request) -> Route:
        claims = [
            Claimed(source, claim)
            for source in self._parts.registry.instances
            if (claim := dispatch.claims(source, request)) is not None
        ]
        return route(request, claims, self._parts.registry, self._parts.config.pins)

    async def _place(self, item: Item) -> AbstractContextManager[Place]:
        if isinstance(item, Dist):
            request = Request(
                text=item.filename, name=item.name, specifier=SpecifierSet(), hashes=self._required_hashes(item)
            )
            self._check_hash_rules(request)
            return self._at(request, item)
        request = self._request(item)
        self._check_hash_rules(request)
        dists = await self.find(request)
        await self._parts.know_interpreter()
        return self._at(request, self.select(dists, request))

    def _required_hashes(self, dist: Dist) -> frozenset[str]:
        """Where hashes are required, those that its source declares are the ones allowed."""
        required = self._parts.config.policy.require_hashes
        return frozenset(f"{name}:{digest}" for name, digest in dist.hashes.items()) if required else frozenset()

    def _check_hash_rules(self, request: Request) -> None:
        if self._parts.config.policy.require_hashes and not request.hashes:
            raise RequirementError(
                f"`{request.text}` has no hash, and hashes are required of all",
                hint="add --hash=sha256:... to it, or leave out --require-hashes",
                code="hash-required",
            )

    @contextmanager
    def _at(self, request: Request, dist: Dist) -> Iterator[Place]:
        source = self._parts.registry.instance(dist.source)
        with self._context(source, dist.name) as ctx:
            key = dispatch.cache_key(source, dist)
            layout = self._parts.services.layout
            locate = layout.wheel_metadata if dist.kind == "wheel" else layout.entry
            path = locate(source.kind.name, dispatch.address(source), key)
            yield Place(request=request, dist=dist, source=source, ctx=ctx, path=path)

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

    def _recall(self, at: Place, record: Record) -> Found:
        """What the record answers, under the hash rules and with names that agree."""
        known = _metadata_in(record, at.dist)
        if known is None or (at.request.hashes and not _is_hashed(at.request, record.entry, known[1])):
            return None
        check_identity(known[0], name=at.dist.name, version=at.dist.version, what=at.what)
        return known

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
            is_news = latest is not None and latest != checked.found and _is_as_declared(at.dist, latest.entry)
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
        digests = await digests_of(path, _algorithms(at))
        if any(digests[name] != at.dist.hashes[name] for name in at.dist.hashes.keys() & digests.keys()):
            return None  # they were right once: the source declares others now
        self._check_digests(at, digests)
        if record is None or not record.entry.verified or not record.entry.digests.items() >= digests.items():
            validators = record.entry.validators if record else {}
            record = await self._read(at, path, self._entry(at, digests, validators, verified=True))
        return Brought(record, path, received=False)

    async def _put(self, at: Place, fetched: Fetched) -> tuple[Path, Entry]:
        if fetched.path.is_symlink() or not fetched.path.is_file():
            raise ContractError(f"source `{at.source.name}` fetched something that is not a regular file")
        digests = await digests_of(fetched.path, _algorithms(at))
        self._check_digests(at, digests)
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

    def _check_digests(self, at: Place, digests: Mapping[str, str]) -> None:
        check_digests(at.what, digests, at.dist.hashes)
        if at.request.hashes and not _are_allowed(at.request, digests):
            raise HashMismatchError(
                f"{at.what} has the sha256 `{digests['sha256']}`, which `{at.request.text}` does not allow",
                hint="if these are the right bytes, allow their hash",
                actual=digests["sha256"],
            )

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

    def _answer(self, at: Place, record: Record, known: tuple[Metadata, Rung], *, cached: bool) -> Answer:
        metadata, rung = known
        self._tell("rung", f"{at.what}: {rung}{', cached' if cached else ''}")
        dist = evolve(
            at.dist, name=at.dist.name or metadata.name, version=metadata.version, content=record.entry.content
        )
        wheel = at.dist.filename if at.dist.kind == "wheel" else None
        return Answer(metadata=metadata, rung=rung, cached=cached, dist=dist, wheel=wheel)

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


def _metadata_in(record: Record, dist: Dist) -> Found:
    """What the record knows of `dist`, and by which rung."""
    if dist.kind == "wheel":
        known = record.data.get(dist.filename)
        return (known, record.rung_of(dist.filename)) if known else None
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
    if record.rung_of(filename) not in FROM_BYTES:
        record = evolve(record, data={name: data for name, data in record.data.items() if name != filename})
    return with_wheel(record, filename, *found)


def _is_as_declared(dist: Dist, entry: Entry) -> bool:
    return all(entry.digests.get(algorithm, digest) == digest for algorithm, digest in dist.hashes.items())


def _is_hashed(request: Request, entry: Entry, rung: Rung) -> bool:
    """Whether the metadata came out of bytes that we hashed and that the request allows."""
    return entry.verified and rung in FROM_BYTES and _are_allowed(request, entry.digests)


def _are_allowed(request: Request, digests: Mapping[str, str]) -> bool:
    return any(f"{algorithm}:{digest}" in request.hashes for algorithm, digest in digests.items())


def _algorithms(at: Place) -> set[str]:
    """What has to be hashed with, besides sha256, to compare with all that was declared or allowed."""
    return {*at.dist.hashes, *(allowed.partition(":")[0] for allowed in at.request.hashes)}


def _build_needed(at: Place) -> BuildNeededError:
    return BuildNeededError(
        f"{at.what} would have to be built: it does not say its dependencies itself",
        hint="choose a version that has a wheel, or allow wheels for it",
        requirement=at.request.text,
        filename=at.dist.filename,
    )


def _beyond_effort(at: Place) -> BuildNeededError:
    return BuildNeededError(
        f"the metadata of {at.what} is not in the cache, and no more effort than `cached` is allowed",
        hint="allow the effort `static` or `build`",
        code="effort-exceeded",
        requirement=at.request.text,
    )
