"""How an explanation is found out: the line, gone up to where work would begin.

It goes on a view of the cache that writes nothing (`felloe.cache.view`), with scratch elsewhere. The network is asked
where freshness depends on it; no bytes are fetched through it but those that a server sends in place of "not modified".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from attrs import evolve

from felloe import dispatch
from felloe.build.fingerprint import Difference
from felloe.build.history import History
from felloe.build.nearest import nearest
from felloe.build.plan import BuildOrder
from felloe.build.record import Build, builds_in
from felloe.building import Material, named, proves_dependencies
from felloe.cache.root import writing
from felloe.cache.run import Run
from felloe.cache.store import Store
from felloe.cache.view import StoreView
from felloe.context import ItemContext, ItemMemo, Owner, Services
from felloe.database import Before, Item, Line, Parts, may_cut_short
from felloe.errors import FelloeError, OfflineError
from felloe.explain import Action, Explanation, Others, Subject, Verdict
from felloe.metadata import check_identity
from felloe.place import Brought, Checked, Place
from felloe.record import Record, based_on
from felloe.routing import Claimed, Route
from felloe.select import ranked
from felloe.stepping import must_not_step, work
from felloe.values import Answer, BuildGoal, Dist, Entry, Fetched, Fresh, Json, RawMetadata, Request, Rung, Stale, Wheel

if TYPE_CHECKING:
    from felloe.net.client import Client
    from felloe.registry import Instance

__all__ = ["Explaining", "Watch"]

NOTHING = Material(path=Path())  # to build of: nothing is built
UNREAD: Mapping[str, tuple[Rung, ...]] = {
    "sdist": ("pkg-info", "pyproject", "prepare", "wheel"),
    "tree": ("pyproject", "prepare", "wheel"),
}


class _EnoughError(Exception):
    """What follows would be work: all that can be said was said."""


class Watch:
    """Sees what sources do while something is explained: whether they ask the network, and what they remember anew."""

    def __init__(self, client: Callable[[], Awaitable[Client]], run: Run) -> None:
        """`client` is what requests are sent by, `run` has the scratch."""
        self.has_asked = False
        self.remembered: list[Difference] = []
        self._client = client
        self._run = run
        self._copies: dict[Path, Path] = {}

    async def client(self) -> Client:
        """To be used in place of the one that is watched."""
        self.has_asked = True
        return await self._client()

    async def no_client(self) -> Client:
        """Raises OfflineError: what is to be received would be work."""
        raise _not_now()

    async def copy_of(self, folder: Path) -> Path:
        """In scratch, made at the first time; empty where there is no such folder. Raises CacheError."""
        await work()
        from anyio.to_thread import run_sync

        if folder not in self._copies:
            self._copies[folder] = self._run.folder()
            await run_sync(_copy, folder, self._copies[folder])
        return self._copies[folder]


class _Context(ItemContext):
    """Changes nothing. A local one refuses what a source would do only to bring bytes."""

    def __init__(
        self, services: Services, owner: Owner, newer_than: float | None, watch: Watch, *, is_local: bool
    ) -> None:
        super().__init__(services, owner, newer_than)
        self._watch = watch
        self._is_local = is_local

    def memo(self, *key: str) -> ItemMemo:
        path = self._services.layout.memo(self._owner.kind, self._owner.address, key)
        return _Memo(self._services.store, path, key[-1], self._watch.remembered)

    @asynccontextmanager
    async def keep(self, *key: str) -> AsyncIterator[Path]:
        if self._is_local:
            raise _not_now()  # to copy it may take long
        folder = self._services.layout.kept(self._owner.kind, self._owner.address, key)
        yield await self._watch.copy_of(folder)

    async def run(self, argv: Sequence[str], *, network: bool, **options: Any) -> Any:
        completed = await super().run(argv, network=network, **options)
        self._watch.has_asked = self._watch.has_asked or network
        return completed


class _Memo(ItemMemo):
    """Sees when one text takes the place of another: the commit of a branch, say."""

    def __init__(self, store: Store, path: Path, name: str, remembered: list[Difference]) -> None:
        super().__init__(store, path)
        self._name = name
        self._remembered = remembered

    def set(self, value: Json) -> None:
        old = self.get()
        super().set(value)
        if isinstance(old, str) and isinstance(value, str) and old != value:
            self._remembered.append(Difference(f"remembered.{self._name}", old, value))


class Explaining(Line):
    """The line on a view of the cache, for one explanation.

    `parts` are those of the view; `local` are services without network, by which bytes are brought that lie on this
    machine.
    """

    def __init__(self, parts: Parts, local: Services, store: StoreView, watch: Watch, history: History) -> None:
        super().__init__(parts)
        self._local = local
        self._store = store
        self._watch = watch
        self._history = history
        self._said = Explanation(requirement="", goal="metadata")
        self._old: Record | None = None
        self._is_unread = False  # its bytes are not here
        self._is_copied = False  # they were brought without the network

    async def explain(self, item: Item, goal: Subject) -> Explanation:
        """Raises RequirementError where `item` is a text that cannot be read."""
        if goal not in get_args(Subject):
            raise ValueError(f"{goal!r} is nothing to explain; there are {', '.join(get_args(Subject))}")
        text = item.filename if isinstance(item, Dist) else self._request(item).text
        self._said = Explanation(requirement=text, goal=goal)
        try:
            answer = await (self._wheel(item, ()) if goal == "wheel" else self._metadata(item, "build", ()))
            self._note_answer(answer)
        except _EnoughError:
            pass
        except FelloeError as error:
            must_not_step()  # under an event loop there may be none
            self._note(error=error, rungs=(), steps=(), size=None)
        changes = (*self._watch.remembered, *(self._said.verdict.changes() if self._said.verdict else ()))
        return evolve(self._said, differences=(*changes, *self._said.differences))

    def _note(self, **known: Any) -> None:
        self._said = evolve(self._said, **known)

    def _note_answer(self, answer: Answer | Wheel) -> None:
        received: tuple[Action, ...] = ("download",) if self._is_copied else ()
        asked: Action = "revalidate" if self._has_asked() else "hit"
        self._note(rungs=(answer.rung,), steps=self._said.steps or received or (asked,))

    def _has_asked(self) -> bool:
        return self._watch.has_asked and not self._parts.services.offline

    # -- the steps of the line, up to where work would begin

    def _claims(self, request: Request) -> Sequence[Claimed]:
        claims = super()._claims(request)
        self._note(claims=tuple(claims))
        return claims

    def _route(self, request: Request) -> Route:
        found = super()._route(request)
        owner = found.sources[0].name if len(found.sources) == 1 else None
        self._note(owner=owner, reason=found.reason)
        return found

    async def find(self, item: str | Request) -> Sequence[Dist]:
        dists = await super().find(item)
        if dists:
            self._note(owner=dists[0].source)
        return dists

    def select(self, dists: Sequence[Dist], request: str | Request) -> Dist:
        chosen = super().select(dists, request)
        fitting = ranked(dists, self._request(request), self._parts.interpreter(), self._parts.config.policy)
        others = Others(less_preferred=len(fitting) - 1, not_fitting=len(dists) - len(fitting))
        self._note(dist=chosen, others=others)
        return chosen

    def _context(self, source: Instance, name: str | None) -> ItemContext:
        return self._context_with(self._parts.services, source, name, is_local=False)

    def _context_with(self, services: Services, source: Instance, name: str | None, *, is_local: bool) -> ItemContext:
        owner = Owner(source.name, source.kind.name, dispatch.address(source))
        return _Context(services, owner, self._parts.newer_than(name), self._watch, is_local=is_local)

    async def _check(self, at: Place) -> Checked:
        key = dispatch.cache_key(at.source, at.dist).parts
        self._note(dist=at.dist, owner=at.source.name, key=key, path=at.path)
        checked = await super()._check(at)
        self._old = checked.found
        if checked.found is None:
            reason = self._store.damages.get(at.path)
            self._note(verdict=Verdict(state="none", code="damaged" if reason else "", evidence=reason or ""))
        elif checked.is_fresh and self._said.verdict:
            self._note(verdict=evolve(self._said.verdict, state="fresh"))
        if checked.fetched is not None and not checked.is_fresh:
            self._note(steps=("download",), size=_size_of(checked.fetched.path))
        return checked

    async def _verdict(self, at: Place, entry: Entry) -> Fresh | Stale:
        self._note(entry=entry)
        verdict = await super()._verdict(at, entry)
        code, evidence = (verdict.code, verdict.evidence) if isinstance(verdict, Stale) else ("", "")
        self._note(verdict=Verdict(state="stale" if code else "fresh", code=code, evidence=evidence))
        return verdict

    async def _known_build(self, at: Place, record: Record, goal: BuildGoal) -> Build | None:
        build = await super()._known_build(at, record, goal)
        if build is not None:
            self._note_order(await self._order(at, record, goal))
            self._note(build=build)
        return build

    async def _built_before(self, at: Place, checked: Checked, goal: BuildGoal) -> Before | None:
        before = await super()._built_before(at, checked, goal)
        if before is not None:
            self._note_order(await self._order(at, before.record, goal))
            self._note(build=before.build)
        return before

    async def _short_cut(self, at: Place, fetched: Fetched | None) -> RawMetadata | None:
        if self._parts.services.offline:
            return await super()._short_cut(at, fetched)
        if may_cut_short(at, fetched) and "metadata" in at.source.hooks:
            self._note(steps=("download",), rungs=("sidecar", "range", "wheel"))
            raise _EnoughError
        return None

    async def _bring(self, at: Place, checked: Checked) -> Brought:
        """Those that are here; of others no more than what is said of them."""
        if self._parts.services.offline:
            brought = await super()._bring(at, checked)
        else:
            try:
                with self._local_place(at) as here:
                    brought = await super()._bring(here, checked)
            except OfflineError:
                return self._unread(at, checked)
        self._is_copied = brought.received and checked.fetched is None
        return brought

    @contextmanager
    def _local_place(self, at: Place) -> Iterator[Place]:
        with self._context_with(self._local, at.source, at.dist.name, is_local=True) as ctx:
            yield evolve(at, ctx=ctx)

    def _unread(self, at: Place, checked: Checked) -> Brought:
        size = at.dist.size if at.dist.size is not None else self._last_size(at)
        self._note(steps=("download",), size=size)
        if at.dist.kind == "wheel":
            self._note(rungs=("wheel",))
            raise _EnoughError
        self._is_unread = checked.record is None
        entry = Entry(content=at.dist.content, scm=at.dist.scm, locator=at.dist.locator)
        record = checked.record or based_on(checked.found, at.source.kind.name, entry)
        return Brought(record, Path(), received=True)

    async def _built(
        self,
        at: Place,
        brought: Brought,
        goal: BuildGoal,
        *,
        may_build: bool = True,  # noqa: ARG002  # as in the base class
    ) -> tuple[Record, Build, bool]:
        record, builds = brought.record, self._parts.builds
        if record.static is not None:
            check_identity(record.static, name=at.dist.name, version=at.dist.version, what=at.what)
        if record.entry.content is None:
            raise self._depending_on_the_bytes(at, goal)
        asked = await self._asked(at, goal)
        done = builds.done(asked, record)
        asked = named(asked, record, done)
        order = builds.order(asked, record, NOTHING)
        self._note_order(order)
        before = builds.among(done, asked, record)
        if before is not None and (goal == "metadata" or await self._is_whole(before)):
            self._note(build=before)
            return record, before, False
        if builds.are_kept:
            self._note_nearest(done, order, record)
        if self._is_unread and (goal == "metadata" or (at.dist.kind == "tree" and at.dist.scm is None)):
            raise self._depending_on_the_bytes(at, goal)  # version control, too, may be told with the bytes
        builds.refuse_forbidden(asked, record)
        self._refuse_what_failed(order)
        if goal == "metadata":
            raise self._enough(("prepare",), (*self._said.steps, "prepare"))
        raise self._enough(("wheel",), (*self._said.steps, "build"))

    # -- what is said on the way

    def _depending_on_the_bytes(self, at: Place, goal: BuildGoal) -> _EnoughError:
        """A backend runs where they prove nothing; for a wheel, where the same bytes were not built before."""
        if goal != "metadata":
            return self._enough(("wheel",), self._said.steps, "build")
        return self._enough(UNREAD[at.dist.kind], self._said.steps, "prepare")

    def _enough(
        self, rungs: tuple[Rung, ...], steps: tuple[Action, ...], may_follow: Action | None = None
    ) -> _EnoughError:
        self._note(rungs=rungs, steps=steps, may_follow=may_follow)
        return _EnoughError()

    def _note_order(self, order: BuildOrder) -> None:
        self._note(fingerprint=order.fingerprint, left_out=order.left_out)

    def _note_nearest(self, done: Sequence[Build], order: BuildOrder, record: Record) -> None:
        """Of the same source; where there is none, of what its source was before."""
        old = builds_in(self._old) if self._old else []
        same = [*done, *(each for each in builds_in(record) if each.build == order.build)]
        found = nearest(same or old, order, is_static=proves_dependencies(record))
        seconds = next((each.seconds for each in (*same, *old) if each.goal == order.goal), None)
        self._note(seconds=seconds)
        if found is None:
            return
        is_gone = found.build.build == order.build and not found.differences
        lost = [Difference("wheel", found.build.wheel, None)] if is_gone else []
        self._note(build=found.build, differences=(*found.differences, *lost))

    def _refuse_what_failed(self, order: BuildOrder) -> None:
        """Raises BuildError where a failure is remembered."""
        building = self._parts.config.building
        if building.no_build_isolation or building.retry_failed:
            return
        failure, now = self._history.failure(order), self._parts.clock()
        if failure is not None and failure.cause == "project" and failure.is_of(order, now):
            error = failure.error(order, self._history.log(order), now)
            self._note(failure=error)
            raise error

    async def _order(self, at: Place, record: Record, goal: BuildGoal) -> BuildOrder:
        return self._parts.builds.order(await self._asked(at, goal), record, NOTHING)

    async def _is_whole(self, build: Build) -> bool:
        return build.wheel is None or await self._wheel_of(build) is not None

    def _last_size(self, at: Place) -> int | None:
        """Of the archive that is known of it."""
        sha256 = self._said.entry.digests.get("sha256") if self._said.entry else None
        return _size_of(self._parts.services.layout.archive(sha256, at.dist.filename)) if sha256 else None


def _copy(folder: Path, into: Path) -> None:
    from felloe.installation.files import copy_tree

    if folder.is_dir() and not folder.is_symlink():
        with writing(into):
            copy_tree(folder, into)


def _not_now() -> OfflineError:
    return OfflineError(
        "nothing is fetched to explain an answer", hint="ask for `felloe metadata` of it, which may fetch"
    )


def _size_of(file: Path) -> int | None:
    try:
        return file.stat().st_size if file.is_file() else None
    except OSError:
        return None
