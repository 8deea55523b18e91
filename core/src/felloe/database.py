"""The line: from a requirement to its metadata or its wheel, step by step.

requirement -> Request -> owner -> Dist -> CacheKey -> Entry? -> Fresh | Stale -> Fetched -> Built -> metadata / wheel
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from attrs import evolve, frozen
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from felloe import dispatch, hash_rules
from felloe.build.record import Build, builds_in, with_build
from felloe.building import Asked, Material, SdistBuilds
from felloe.cache.archives import Archives, digests_of
from felloe.cache.records import Records
from felloe.context import ItemContext, Owner, Services
from felloe.entries import Entries, counted_scm
from felloe.errors import (
    REPORT,
    BuildNeededError,
    CacheError,
    ContractError,
    ProjectNotFound,
    SourceChangedError,
)
from felloe.flights import Flights
from felloe.hookspecs import EXTENSIONS
from felloe.metadata import check_identity, proves
from felloe.override import overridden
from felloe.place import Brought, Checked, Place
from felloe.progress import Event
from felloe.record import Record, based_on
from felloe.request import parse_request
from felloe.routing import Claimed, Route, route
from felloe.select import check_constraints, select
from felloe.values import (
    Answer,
    BuildGoal,
    BuildJob,
    Built,
    Dist,
    Effort,
    Entry,
    Fetched,
    Fresh,
    Interpreter,
    Metadata,
    RawMetadata,
    Request,
    Rung,
    Stack,
    Stale,
    Wheel,
)

if TYPE_CHECKING:
    from felloe.build.builder import Elsewhere
    from felloe.config import Config
    from felloe.dispatch import Plugin
    from felloe.registry import Instance, Registry

__all__ = ["Item", "Line", "Parts", "may_cut_short"]

Item = str | Request | Dist
Found = tuple[Metadata, Rung] | None
EFFORTS: tuple[Effort, ...] = get_args(Effort)


@frozen(kw_only=True)
class Parts:
    """What the line is made of; `assembly.py` puts it together. `builder` gives the one that the user chose, if any."""

    config: Config
    registry: Registry
    services: Services
    records: Records
    archives: Archives
    builds: SdistBuilds
    builder: Callable[[], Plugin | None]
    interpreter: Callable[[], Interpreter]
    know_interpreter: Callable[[], Awaitable[None]]
    clock: Callable[[], float]
    newer_than: Callable[[str | None], float | None]


class Known(NamedTuple):
    """Metadata, the rung that gave them, and the build that they are of, if one was needed."""

    metadata: Metadata
    rung: Rung
    build: Build | None = None


class Before(NamedTuple):
    """A build that was found without the bytes, the record that has it from now on, and what the user says instead."""

    record: Record
    build: Build
    said: Known | None

    @property
    def known(self) -> Known:
        return self.said or Known(self.build.metadata, self.build.rung, self.build)


class Line:
    """Answers requests and Dists. Every public method takes a Request, its text, or a Dist that `find` gave."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._entries = Entries(parts.records, parts.archives, self._now, parts.config.limits)
        self._trees = Flights()

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

    # -- what builds require, by the same line (`felloe.build_requirements.Finding`)

    async def metadata_for(self, dist: Dist, stack: Stack) -> Metadata:
        """Of something that the builds in `stack` wait for."""
        return (await self._metadata(dist, "build", stack)).metadata

    async def wheel_for(self, dist: Dist, stack: Stack) -> Wheel:
        """Of something that the builds in `stack` wait for."""
        return await self._wheel(dist, stack)

    # -- the line

    async def _metadata(self, item: Item, effort: Effort, stack: Stack) -> Answer:
        with await self._place(item, stack) as at:
            if said := overridden(self._parts.config.overrides, at.dist):
                return self._overridden(at, said)
            checked = await self._check(at)
            if checked.record and (known := await self._recall(at, checked.record)):
                return self._answer(at, checked.record, known, cached=checked.fetched is None)
            if (found := await self._built_before(at, checked, "metadata")) is not None:
                return self._answer(at, found.record, found.known, cached=True)
            if effort == "cached":
                raise _beyond_effort(at, effort, "is not in the cache")
            if raw := await self._short_cut(at, checked.fetched):
                record = await self._entries.remember(at, raw)
                known = Known(*_known_wheel(record, at.dist))
                self._check_identity(at, known.metadata)
                return self._answer(at, record, known, cached=False)
            answer: Answer = await self._shared(at, effort, lambda: self._found_out(at, checked, effort))
            return answer

    def _overridden(self, at: Place, said: Metadata) -> Answer:
        """What the user says: no bytes are looked at, and no source is asked for them."""
        self._tell("rung", f"{at.what}: override")
        dist = evolve(at.dist, version=said.version)
        wheel = dist.filename if dist.kind == "wheel" else None
        return Answer(metadata=said, rung="override", cached=True, dist=dist, wheel=wheel)

    def _overridden_late(self, at: Place, told: Iterable[str | None]) -> Known | None:
        """What the user says of a project whose name was not asked for, where that is the first of those `told`."""
        if at.dist.name is not None or not self._parts.config.overrides:
            return None
        name = next(filter(None, told), None)
        said = name and overridden(self._parts.config.overrides, evolve(at.dist, name=canonicalize_name(name)))
        return Known(said, "override") if said else None

    async def _found_out(self, at: Place, checked: Checked, effort: Effort) -> Answer:
        """By reading its bytes, or by a build."""
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
            wheel: Wheel = await self._shared(at, "wheel", lambda: self._built_wheel(at, checked))
            return wheel

    async def _shared(self, at: Place, goal: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """What `work` gives. Who asks for one tree at the same time shares one copy of it, and what comes of that.

        Archives are shared by the cache. Callers that builds wait for might wait for each other in a circle.
        """
        if at.dist.kind != "tree" or at.stack:
            return await work()
        return await self._trees.share((at.path, at.dist.name, at.dist.content, at.dist.scm, goal), work)

    async def _fetched_wheel(self, at: Place, checked: Checked) -> Wheel:
        brought = await self._bring(at, checked)
        known = await self._recall(at, brought.record)
        if known is None:
            raise ContractError(f"{at.what} was read, and gave no metadata", hint=REPORT)
        answer = self._answer(at, brought.record, known, cached=not brought.received)
        return _wheel(answer, brought.path, at.dist.filename, brought.record.entry.digests["sha256"])

    async def _built_wheel(self, at: Place, checked: Checked) -> Wheel:
        goal: BuildGoal = "editable" if at.dist.editable else "wheel"
        record, received = checked.record, checked.fetched is not None
        build = await self._known_build(at, record, goal) if record else None
        path = await self._wheel_of(build) if build else None
        if path is None and (found := await self._built_before(at, checked, goal)) is not None:
            record, build, path = found.record, found.build, await self._wheel_of(found.build)
        if record is None or build is None or path is None:
            brought = await self._bring(at, checked)
            record, build, is_new = await self._built(at, brought, goal)
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

    def _claims(self, request: Request) -> Sequence[Claimed]:
        return [
            Claimed(source, claim)
            for source in self._parts.registry.instances
            if (claim := dispatch.claims(source, request)) is not None
        ]

    def _route(self, request: Request) -> Route:
        found = route(request, self._claims(request), self._parts.registry, self._parts.config.pins)
        names = " or ".join(f"`{source.name}`" for source in found.sources)
        self._tell("owner", f"`{request.text}` is asked of {names}: {found.reason}")
        return found

    async def _place(self, item: Item, stack: Stack) -> AbstractContextManager[Place]:
        if isinstance(item, Dist):
            return self._at(self._request_for(item, stack), item, stack)
        request = self._request(item)
        if self._parts.config.policy.require_hashes:
            hash_rules.refuse_without_hash(request)
        await self._parts.know_interpreter()
        dists = await self.find(request)
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
            path = self._entry_of(source, dist)
            whole = evolve(dist, subdirectory=None) if dist.kind == "sdist" and dist.subdirectory else None
            archive = self._entry_of(source, whole) if whole else None
            yield Place(request=request, dist=dist, source=source, ctx=ctx, path=path, archive=archive, stack=stack)

    def _entry_of(self, source: Instance, dist: Dist) -> Path:
        layout = self._parts.services.layout
        locate = layout.wheel_metadata if dist.kind == "wheel" else layout.entry
        return locate(source.kind.name, dispatch.address(source), dispatch.cache_key(source, dist))

    def _context(self, source: Instance, name: str | None) -> ItemContext:
        owner = Owner(source.name, source.kind.name, dispatch.address(source))
        return ItemContext(self._parts.services, owner, self._parts.newer_than(name))

    async def _check(self, at: Place) -> Checked:
        """Entry? -> Fresh | Stale."""
        record = self._parts.records.read(at.path)
        if record is None:
            self._tell("miss", f"nothing is known of {at.what}")
            return Checked(None)
        verdict = await self._verdict(at, record.entry)
        fetched = verdict.fetched if isinstance(verdict, Stale) else None
        if fetched is not None and await self._same_bytes(at, fetched, record.entry):
            verdict = Fresh(validators=fetched.validators)
        if isinstance(verdict, Fresh):
            self._tell("fresh", f"{at.what} is fresh")
            return Checked(await self._entries.refresh(at, record, verdict), is_fresh=True, fetched=fetched)
        self._tell("stale", f"{at.what} is stale: {verdict.code}: {verdict.evidence}")
        return Checked(record, fetched=fetched)

    async def _verdict(self, at: Place, entry: Entry) -> Fresh | Stale:
        return await dispatch.check_freshness(at.source, at.dist, entry, at.ctx)

    async def _same_bytes(self, at: Place, fetched: Fetched, entry: Entry) -> bool:
        if at.dist.kind == "tree":
            return (fetched.content, counted_scm(at.dist, fetched)) == (entry.content, entry.scm)
        return f"sha256:{(await digests_of(fetched.path))['sha256']}" == entry.content

    async def _recall(self, at: Place, record: Record) -> Known | None:
        """What the record answers, under the hash rules and with names that agree."""
        if said := self._overridden_late(at, _names_in(record)):
            return said
        known = await self._known(at, record)
        if known is None or (at.request.hashes and not hash_rules.is_hashed(at.request, record.entry, known.rung)):
            return None
        self._check_identity(at, known.metadata)
        return known

    async def _known(self, at: Place, record: Record) -> Known | None:
        if found := _metadata_in(record, at.dist):
            return Known(*found)
        build = await self._known_build(at, record, "metadata")
        return Known(build.metadata, build.rung, build) if build else None

    async def _known_build(self, at: Place, record: Record, goal: BuildGoal) -> Build | None:
        """One that serves, as far as the record of the entry tells, under the hash rules."""
        rung: Rung = "prepare" if goal == "metadata" else "wheel"
        if not record.builds or (at.request.hashes and not hash_rules.is_hashed(at.request, record.entry, rung)):
            return None
        build = self._parts.builds.known(await self._asked(at, goal), record)
        if build is not None:
            self._check_identity(at, build.metadata)
        return build

    async def _built_before(self, at: Place, checked: Checked, goal: BuildGoal) -> Before | None:
        """One of the same bytes, found elsewhere or in other days, where these are told before they are brought.

        Not under hash rules, which only bytes satisfy that were hashed for this entry, nor of a tree whose source says
        nothing of version control yet: it may tell with the bytes what the build depends on.
        """
        if checked.record is None and at.dist.kind == "tree" and at.dist.scm is None:
            return None
        entry = checked.record.entry if checked.record else Entry(content=at.dist.content, scm=at.dist.scm)
        if at.dist.kind == "wheel" or entry.content is None or at.request.hashes or checked.fetched is not None:
            return None
        asked, kind = await self._asked(at, goal), at.source.kind.name
        entry = evolve(entry, digests=entry.digests or at.dist.hashes, locator=at.dist.locator)
        record = checked.record or based_on(checked.found, kind, entry)
        build = self._parts.builds.among(self._parts.builds.done(asked, record), asked, record)
        if build is None or (goal != "metadata" and await self._wheel_of(build) is None):
            return None
        self._check_identity(at, build.metadata)
        now = self._now()
        entry = evolve(record.entry, fetched=record.entry.fetched or now, checked=record.entry.checked or now)
        record = await self._parts.records.change(at.path, lambda old: with_build(based_on(old, kind, entry), build))
        return Before(record, build, self._overridden_late(at, [build.metadata.name]))

    async def _short_cut(self, at: Place, fetched: Fetched | None) -> RawMetadata | None:
        """The source's own way to METADATA, where it may have one."""
        return await dispatch.metadata(at.source, at.dist, at.ctx) if may_cut_short(at, fetched) else None

    async def _bring(self, at: Place, checked: Checked) -> Brought:
        return await self._entries.bring(at, checked)

    async def _answer_by_build(self, at: Place, brought: Brought, effort: Effort) -> Answer:
        record, build, is_new = await self._built(at, brought, "metadata", may_build=effort == "build")
        known = self._overridden_late(at, [build.metadata.name]) or Known(build.metadata, build.rung, build)
        return self._answer(at, record, known, cached=not (brought.received or is_new))

    async def _built(
        self, at: Place, brought: Brought, goal: BuildGoal, *, may_build: bool = True
    ) -> tuple[Record, Build, bool]:
        """The record with a build that serves, the build, and whether it was done just now."""
        asked = evolve(await self._asked(at, goal), may_build=may_build)
        if brought.record.static is not None:  # no code of a mislabelled project is run
            self._check_identity(at, brought.record.static)

        with self._elsewhere(at) as elsewhere, ExitStack() as copies:
            material = Material(path=brought.path, editable_root=brought.editable_root)
            if at.dist.kind == "tree":
                material = evolve(material, another=lambda: self._another_copy(at, brought, copies))
            build, is_new = await self._parts.builds.get(asked, brought.record, material, self, elsewhere)
        self._check_identity(at, build.metadata)  # the same bytes may have been built under no name, or another
        if not self._parts.builds.are_kept:
            return brought.record, build, is_new
        kind, entry = at.source.kind.name, brought.record.entry
        record = await self._parts.records.change(at.path, lambda old: with_build(based_on(old, kind, entry), build))
        return record, build, is_new

    async def _another_copy(self, at: Place, brought: Brought, copies: ExitStack) -> Path:
        """Of the tree that was brought, as it was before a build changed it; there as long as `copies` is open.

        Raises SourceChangedError.
        """
        ctx = copies.enter_context(self._context(at.source, at.dist.name))
        fetched = await dispatch.fetch(at.source, at.dist, ctx)
        if not await self._same_bytes(at, fetched, brought.record.entry):
            raise SourceChangedError(
                f"{at.what} changed while it was built, and would have to be built again as it was",
                hint="try again when nobody works at it",
            )
        return fetched.path

    @contextmanager
    def _elsewhere(self, at: Place) -> Iterator[Elsewhere | None]:
        """Who may build in the core's place: the source itself, else the builder that the user chose."""
        chosen = self._parts.builder()
        if "build" in at.source.hooks:
            yield OtherBuilder(at.source, at.ctx)
        elif chosen is not None:
            # A kind that no source can have: what it keeps is its own.
            owner = Owner(chosen.title, f"{EXTENSIONS}:{chosen.about['extension']}", "")
            with ItemContext(self._parts.services, owner, at.ctx.newer_than) as ctx:
                yield OtherBuilder(chosen, ctx)
        else:
            yield None

    async def _asked(self, at: Place, goal: BuildGoal) -> Asked:
        await self._parts.know_interpreter()
        return Asked(
            dist=at.dist,
            what=at.what,
            interpreter=self._parts.interpreter(),
            goal=goal,
            newer_than=at.ctx.newer_than,
            stack=at.stack,
        )

    def _check_identity(self, at: Place, metadata: Metadata) -> None:
        """Raises MetadataError where `metadata` are of something else, NoMatchError where a constraint forbids them.

        What was asked for by name, and has a version, was compared with the constraints when it was selected.
        """
        check_identity(metadata, name=at.dist.name, version=at.dist.version, what=at.what)
        policy = self._parts.config.policy
        if policy.constraints and not at.stack and None in {at.request.name, at.dist.version}:
            check_constraints(metadata, at.request, self._parts.interpreter(), policy, at.what)

    async def _wheel_of(self, build: Build) -> Path | None:
        return await self._parts.builds.wheel(build)

    def _answer(self, at: Place, record: Record, known: Known, *, cached: bool) -> Answer:
        self._tell("rung", f"{at.what}: {known.rung}{', cached' if cached else ''}")
        metadata, dist = known.metadata, at.dist
        entry, name = record.entry, dist.name or metadata.name
        dist = evolve(dist, name=name, version=metadata.version, content=entry.content, scm=entry.scm)
        wheel = known.build.wheel if known.build else at.dist.filename if at.dist.kind == "wheel" else None
        return Answer(metadata=metadata, rung=known.rung, cached=cached, dist=dist, wheel=wheel)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._parts.clock(), UTC).isoformat().replace("+00:00", "Z")

    def _tell(self, code: str, message: str) -> None:
        self._parts.services.report(Event(code=code, message=message))


@frozen
class OtherBuilder:
    """Implements `felloe.build.builder.Elsewhere` by the hooks of a plugin: a source builds all that is its own."""

    plugin: Plugin
    ctx: ItemContext

    def accepts(self, job: BuildJob) -> bool:
        return "accepts" not in self.plugin.hooks or dispatch.accepts(self.plugin, job)

    async def build(self, job: BuildJob) -> Built:
        return await dispatch.build(self.plugin, job, self.ctx)

    def __str__(self) -> str:
        return self.plugin.title


def may_cut_short(at: Place, fetched: Fetched | None) -> bool:
    """Not under hash rules, which only whole bytes satisfy."""
    return at.dist.kind == "wheel" and not at.request.hashes and fetched is None


def _names_in(record: Record) -> Iterator[str | None]:
    """Of the project, as it says itself and as its builds do."""
    yield record.static.name if record.static else None
    yield from (build.metadata.name for build in builds_in(record))


def _known_wheel(record: Record, dist: Dist) -> tuple[Metadata, Rung]:
    return record.data[dist.filename], record.rung_of(dist.filename)


def _metadata_in(record: Record, dist: Dist) -> Found:
    """What the record knows of `dist` itself, and by which rung."""
    if dist.kind == "wheel":
        return _known_wheel(record, dist) if dist.filename in record.data else None
    if record.static is not None and record.static_rung is not None and proves(record.static):
        return record.static, record.static_rung
    return None


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
