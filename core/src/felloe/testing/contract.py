"""The conformance kit: the tests that every source has to pass. See `SourceContract`."""

from __future__ import annotations

import functools
import logging
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import anyio
import pytest
from attrs import evolve

from felloe import dispatch
from felloe.errors import BuildNeededError, FelloeError, OfflineError, PluginError, ProjectNotFound
from felloe.testing.bench import Bench, Interruption, Run, misfitting_parameters
from felloe.testing.foreign import foreign_to, kind_of, parsed
from felloe.testing.judging import (
    broken,
    check_content,
    check_same,
    comes_back,
    content_of,
    differ,
    first_difference,
    lines_run,
    secrets_in,
    shown,
    telling,
    text_of,
    whole,
)
from felloe.testing.watch import connects, does_anything, watching
from felloe.values import Answer, Dist, Level, Request

__all__ = ["SourceContract"]

BACKENDS = ("asyncio", "trio")
HEAVY = ("asyncio", "httpx", "rich", "ssl")
TELL_IMPORTS = """\
import sys
before = set(sys.modules)
import felloe.plugin, {module}
print(*sorted({heavy!r} & (set(sys.modules) - before)))
"""
CALLERS = 20
MOST_FETCHED = 4  # of the files that a project lists
MOST_INTERRUPTIONS = 8
MOST_LINES = 5000  # of Python that `claims` may run; a slow one takes some hundreds


class SourceContract:
    """The tests that every source has to pass: a subclass says what is tried, and pytest does the rest.

        from felloe.testing import Behaviour, IndexServer, Project, SourceContract, make_wheel

        class TestAcme(SourceContract):
            lists_many = True

            @pytest.fixture(autouse=True)
            def server(self, tmp_path):
                with IndexServer() as self.index:
                    self.folder = tmp_path
                    self.index.behave("*", Behaviour(etag="auto", cache_control="no-cache"))
                    for version in ("1.0", "1.1"):
                        self.index.add(make_wheel(tmp_path, Project("acme", version)))
                    yield

            def source(self):
                return Acme("acme", {"url": Url(self.index.index_url)})

            def known_request(self):
                return "acme"

            def unknown_request(self):
                return "acme-of-nobody"

            def mutate(self):
                self.index.add(make_wheel(self.folder, Project("acme", "1.2")))

    Each test has its own instance of the subclass, and new folders for the cache. Tests that wait run on asyncio, and
    on trio where that is installed. A failure says which promise is broken, and what to change. No other source is
    there: what a project needs to be built has to be in it. The fixtures `backend` and `bench` are the kit's own.

    What is promised of time: an answer that upstream no longer gives is not given again, except for `fresh_for`
    seconds. `--refresh` (`ctx.newer_than`) always asks again.
    """

    name: ClassVar[str] = ""
    """What `source()` is called, where it has no attribute `name` that says so. Its Dists have to name it."""
    networked: ClassVar[bool] = True
    """Whether it asks servers. Where they cannot be asked, and the cache has no answer, that is an OfflineError."""
    lists_many: ClassVar[bool] = False
    """Whether `find` gives several files for `known_request`, as for the bare name of a project."""
    builds: ClassVar[bool] = False
    """Whether the metadata of `known_request` has to be built. What builds it may require nothing."""
    fresh_for: ClassVar[float] = 0.0
    """For how many seconds upstream lets old answers be used (`Cache-Control: max-age`)."""
    secrets: ClassVar[Sequence[str]] = ()
    """Passwords and tokens that `source()` or `known_request()` have in them, which nobody may see afterwards."""

    def source(self) -> object:
        """A new instance, as felloe would make it of its settings."""
        raise NotImplementedError(f"{type(self).__name__} has to define `source`")

    def known_request(self) -> Request | str:
        """Something that the source has."""
        raise NotImplementedError(f"{type(self).__name__} has to define `known_request`")

    def unknown_request(self) -> Request | str:
        """Something that the source claims and does not have."""
        raise NotImplementedError(f"{type(self).__name__} has to define `unknown_request`")

    def mutate(self) -> None:
        """Changes what is upstream, so that the metadata or the bytes of `known_request` are others."""
        raise NotImplementedError(f"{type(self).__name__} has to define `mutate`")

    def foreign_requests(self) -> Sequence[Request | str]:
        """What is not this source's to answer: direct references of all kinds but that of `known_request`, and names.

        A source that answers for several kinds says here which ones are not its own.
        """
        return foreign_to(self._known())

    @pytest.fixture(params=BACKENDS)
    def backend(self, request: pytest.FixtureRequest) -> str:
        if find_spec(request.param) is None:
            pytest.skip(f"{request.param} is not installed")
        return str(request.param)

    @pytest.fixture
    def bench(self, tmp_path_factory: pytest.TempPathFactory) -> Bench:
        return Bench(self.source, self._name_of, tmp_path_factory.mktemp("contract"))

    # -- hooks that are plain functions

    def test_felloe_can_call_its_hooks(self, bench: Bench) -> None:
        """The class has `api`, the hooks have the names and parameters of `felloe.values.Source`."""
        try:
            bench.instance()
        except PluginError as error:
            misfits = "".join(f"; `{hook}` takes {names}" for hook, names in misfitting_parameters(self.source()))
            reason = error.payload.get("reason", error)
            broken("felloe cannot call the hooks", f"{reason}{misfits}; felloe.plugin.Source says how they have to be")

    def test_claims_is_pure_and_quick(self, bench: Bench) -> None:
        """It does no I/O, and says the same of the same request, whichever instance is asked."""
        source, other = bench.instance(), bench.instance()
        for request in [self._known(), self._unknown(), *self._foreign()]:
            with telling("claims"), watching(does_anything) as done:
                claim = dispatch.claims(source, request)
            if done:
                broken(f"`claims` did {done[0]} for `{request.text}`", "decide by the request alone, without I/O")
            if {claim} != {dispatch.claims(each, request) for each in (source, other)}:
                broken(f"`claims` says now this, now that of `{request.text}`", "decide by request and settings alone")
            if lines_run(functools.partial(dispatch.claims, source, request)) > MOST_LINES:
                broken(f"`claims` runs over {MOST_LINES} lines", "do less: it is called for every requirement")

    def test_its_own_requests_are_claimed(self, bench: Bench) -> None:
        """What it knows, and what only it could know: a direct reference at Level.SCHEME."""
        source = bench.instance()
        for method, request in (("known_request", self._known()), ("unknown_request", self._unknown())):
            with telling("claims"):
                claim = dispatch.claims(source, request)
            if claim is None:
                broken(f"`{request.text}` of `{method}` is not claimed", f"let `claims` claim it, or mend `{method}`")
            if kind_of(request) != "name" and claim.level != Level.SCHEME:
                broken(f"`{request.text}` is claimed at {claim.level!r}", "claim direct references at Level.SCHEME")

    def test_foreign_requests_are_not_claimed(self, bench: Bench) -> None:
        """Names that it does not own at Level.FALLBACK at most, direct references of other kinds not at all."""
        source = bench.instance()
        for request in self._foreign():
            with telling("claims"):
                claim = dispatch.claims(source, request)
            if claim is None or (claim.level == Level.FALLBACK and kind_of(request) == "name"):
                continue
            broken(
                f"`claims` claims `{request.text}` at {claim.level!r}, which is not its own",
                "give None from `claims` for it (Level.FALLBACK, for bare names that it may know): look at"
                " `request.url` and `request.path` first, also where there is a name",
            )

    def test_the_address_is_stable_and_shows_no_secret(self, bench: Bench) -> None:
        """The cache finds a source again by its address."""
        with telling("address"), watching(does_anything) as done:
            addresses = {dispatch.address(bench.instance()) for _ in range(2)}
        if done:
            broken(f"`address` did {done[0]}", "work it out of the settings alone, without I/O")
        if len(addresses) > 1:
            broken(f"`address` is now this, now that: {sorted(addresses)}", "work it out of the settings alone")
        if secrets_in(*addresses, secrets=self.secrets):
            broken("`address` shows a secret", "give `str` of a `Url`, which shows none, or leave the secret out")

    def test_its_module_imports_nothing_heavy(self) -> None:
        """A warm run imports every source, and has no time for httpx, ssl, asyncio or rich."""
        module = type(self.source()).__module__
        code = TELL_IMPORTS.format(module=module, heavy=set(HEAVY))
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)  # noqa: S603  # our own code
        if done.returncode:
            broken(f"`import {module}` fails in a new process", f"mend it: {done.stderr.strip().splitlines()[-1]}")
        if found := done.stdout.split():
            broken(
                f"`import {module}` loads {', '.join(found)}",
                "import what needs it inside the function that uses it, or leave that to `ctx`",
            )

    # -- find and cache_key

    def test_find_is_stable(self, backend: str, bench: Bench) -> None:
        """The same Dists in the same order, whoever asks and whatever the cache has."""
        known = self._known()

        async def found(run: Run) -> Sequence[Dist]:
            return [*await run.database.find(known)]

        first, again, anew = (self._do(backend, bench, found, cache=cache) for cache in ("one", "one", "two"))
        self._check_number(known, first)
        for other in (again, anew):
            if first != other and sorted(map(repr, first)) == sorted(map(repr, other)):
                broken("`find` gives the same Dists in another order", "sort them, or keep the order of the listing")
            if first != other:
                broken(
                    f"`find` gives other Dists the second time: {first_difference(first, other)}",
                    "put nothing in a Dist that changes while upstream does not (times, random and signed parts)",
                )

    def test_equal_dists_have_equal_keys_and_others_have_others(self, backend: str, bench: Bench) -> None:
        """What is known of a Dist is found again, and not taken for that of another one."""
        known = self._known()

        async def keys(run: Run) -> Mapping[tuple[str, ...], list[Dist]]:
            dists = [*await run.database.find(known)]
            by_key: dict[tuple[str, ...], list[Dist]] = {}
            for dist in dists + _variants(dists, known):
                with watching(does_anything) as done:
                    by_key.setdefault(run.key(dist), []).append(dist)
                if done:
                    broken(f"`cache_key` did {done[0]}", "work it out of the Dist alone, without I/O")
                if run.key(evolve(dist)) != run.key(dist):
                    broken(f"`cache_key` of `{dist.filename}` is now this, now that", "work it out of the Dist alone")
            return by_key

        first, again = (self._do(backend, bench, keys, cache=cache) for cache in ("one", "two"))
        for shared in first.values():
            if any(dist != shared[0] for dist in shared):
                broken(
                    f"`cache_key` is the same for different Dists: {first_difference(shared, shared[1:])}",
                    "put into the key what tells them apart: the file name, and of a direct reference the address,"
                    " `subdirectory` and `editable`",
                )
        if first.keys() != again.keys():
            broken("`cache_key` is another one for another instance", "work it out of the Dist alone")

    def test_what_is_stored_can_be_written_as_json(self, backend: str, bench: Bench) -> None:
        """The locator of every Dist, and the validators of what is fetched."""
        known = self._known()

        async def check(run: Run) -> None:
            for dist in await run.database.find(known):
                run.key(dist)  # which looks at the locator
                if not all(isinstance(key, str) for key in dist.locator):
                    broken(f"`locator` of `{dist.filename}` has keys that are not text", "let `find` use text alone")
            with run.context() as ctx:
                fetched = await dispatch.fetch(run.instance, await _selected(run, known), ctx)
            if not comes_back(dict(fetched.validators)):
                broken(
                    f"`validators` come back otherwise from the cache: {dict(fetched.validators)!r}",
                    "let `fetch` use values that JSON keeps as they are: lists for tuples, text for keys",
                )

        self._do(backend, bench, check)

    # -- answers

    def test_it_answers(self, backend: str, bench: Bench) -> None:
        """Metadata of what it knows; of a wheel the same by a short cut, or prepared, as from the whole file."""
        known = self._known()

        async def check(run: Run) -> None:
            answer = await self._ask(run, known)
            if answer.dist.kind == "wheel" or self.builds:
                wheel = await run.database.wheel(known)
                if wheel.metadata.fields != answer.metadata.fields and "build" in run.calls:
                    broken(
                        f"`build` prepares other metadata than its wheel `{wheel.filename}` has",
                        "give a wheel for the goal `metadata` where what you have is not just what will be in it",
                    )
                if wheel.metadata.fields != answer.metadata.fields:
                    broken(
                        f"`metadata` tells other things than the file `{wheel.filename}`",
                        "give None from `metadata` where what you have is not just what is in the file",
                    )

        self._do(backend, bench, check)

    def test_what_it_does_not_have_is_an_error_that_says_so(self, backend: str, bench: Bench) -> None:
        """ProjectNotFound for a name, some FelloeError with a message for a direct reference."""
        unknown = self._unknown()

        async def check(run: Run) -> None:
            try:
                answer = await run.database.metadata(unknown)
            except ProjectNotFound as error:
                raised: FelloeError = error
            except PluginError as error:
                broken(
                    f"what it does not have breaks `{error.payload.get('hook')}`: {error}",
                    "raise ProjectNotFound from `find` for an unknown name, else a FelloeError that says what is wrong",
                )
            except FelloeError as error:
                raised = error
                if kind_of(unknown) == "name":
                    broken(
                        f"`find` raises {type(error).__name__} for an unknown name: {error}",
                        "raise ProjectNotFound, after which the next index may be asked",
                    )
            else:
                broken(f"`{unknown.text}` has an answer: {shown(answer)}", "raise ProjectNotFound from `find`")
            if not str(raised).strip():
                broken("the error for what it does not have is empty", "say in its message what was not found where")
            self._check_nothing_left(run)

        self._do(backend, bench, check)

    def test_a_second_run_fetches_and_builds_nothing(self, backend: str, bench: Bench) -> None:
        """What was answered is answered from the cache while upstream is the same."""
        known = self._known()

        async def ask(run: Run) -> Sequence[bool]:
            answer = await self._ask(run, known)
            if answer.dist.kind == "wheel" or self.builds:
                return [answer.cached, (await run.database.wheel(known)).cached]
            return [answer.cached]

        async def ask_again(run: Run) -> None:
            were_cached = await ask(run)
            if again := [hook for hook in ("fetch", "metadata", "build") if hook in run.calls]:
                broken(
                    f"a second run calls `{'` and `'.join(again)}` again, though nothing has changed",
                    f"give Fresh from `check_freshness` for what is the same as before; it said {_verdicts(run)}",
                )
            if not all(were_cached):
                broken(
                    f"a second run receives the same bytes again: {_verdicts(run)}",
                    "compare what upstream says (a hash, a commit, an ETag) in `check_freshness`, not the bytes",
                )

        self._do(backend, bench, ask)
        self._do(backend, bench, ask_again)

    def test_after_a_change_the_old_answer_is_never_given(self, backend: str, bench: Bench) -> None:
        """At once, or when `fresh_for` is over; until then it is the old one or the new one, and nothing between."""
        old, new = self._before_and_after(backend, bench)
        asks = functools.partial(self._ask, request=new.request)
        if self.fresh_for:
            between = self._do(backend, bench, asks)
            if differ(between, old.answer) and differ(between, new.answer):
                broken("after a change the answer is neither the old nor the new one", "let `find` give one state")
        late = self._do(backend, bench, asks, later=self.fresh_for + 1 if self.fresh_for else 0)
        if differ(late, new.answer):
            when = f", {self.fresh_for} s later" if self.fresh_for else ""
            broken(
                f"after a change of upstream the old answer is given{when}: {shown(late)}",
                "compare in `check_freshness` what upstream says now with the entry, and give Stale where it differs;"
                " where upstream allows old answers for a while, say so: `fresh_for`",
            )

    def test_refresh_is_obeyed(self, backend: str, bench: Bench) -> None:
        """With `--refresh`, what was checked before `ctx.newer_than` is checked again."""
        _, new = self._before_and_after(backend, bench)
        answer = self._do(backend, bench, functools.partial(self._ask, request=new.request), refresh=True)
        if differ(answer, new.answer):
            broken(
                f"with `--refresh` the old answer is given: {shown(answer)}",
                "trust nothing in `find` and `check_freshness` that is older than `ctx.newer_than`: neither memos nor"
                " validators; pages of `ctx.http` and `ctx.revalidate` look after themselves",
            )

    def test_twenty_callers_cause_one_fetch(self, backend: str, bench: Bench) -> None:
        """Who asks for the same at the same time shares the work, and gets the same."""
        known = self._known()

        async def check(run: Run) -> None:
            answers: list[Answer | FelloeError] = []

            async def ask() -> None:
                try:
                    answer = await self._ask(run, known)
                    if answer.dist.kind == "wheel":
                        await run.database.wheel(known)
                    answers.append(answer)
                except FelloeError as error:
                    answers.append(error)

            async with anyio.create_task_group() as group:
                for _ in range(CALLERS):
                    group.start_soon(ask)
            check_same(answers)
            if run.calls.count("fetch") > 1:
                broken(
                    f"{CALLERS} callers at once cause {run.calls.count('fetch')} calls of `fetch`",
                    "give every caller the same `cache_key`, and be Fresh for what was just fetched",
                )

        self._do(backend, bench, check)

    # -- offline, cancelled, in scratch, secret

    def test_offline_it_asks_no_server(self, backend: str, bench: Bench) -> None:
        """With an empty cache that is an OfflineError, for a source that asks servers; later the last answer stands."""
        known = self._known()

        async def ask(run: Run) -> Answer | OfflineError:
            with watching(connects) as opened:
                try:
                    answer: Answer | OfflineError = await self._ask(run, known)
                except OfflineError as error:
                    answer = error
            if opened:
                broken(f"offline, it calls {opened[0]}", "use `ctx.http`, `ctx.download` and `ctx.run` alone")
            return answer

        cold = self._do(backend, bench, ask, cache="cold", offline=True)
        if self.networked and isinstance(cold, Answer):
            broken("offline it answers with an empty cache", "ask through `ctx`, or say `networked = False`")
        if not self.networked and isinstance(cold, OfflineError):
            broken(f"it needs the network: {cold}", "say `networked = True`")

    def test_fetch_stays_in_scratch_and_its_content_is_true(self, backend: str, bench: Bench) -> None:
        """It writes in `ctx.scratch` alone, and its bytes have the hashes that were declared."""
        known = self._known()

        async def check(run: Run) -> None:
            selected = await _selected(run, known)
            listed = [dist for dist in await run.database.find(known) if dist != selected]
            for dist in [selected, *listed[: MOST_FETCHED - 1]]:
                with run.context() as ctx, self._nowhere_else(run, ctx.scratch):
                    fetched = await dispatch.fetch(run.instance, dist, ctx)
                    check_content(dist, fetched)

        self._do(backend, bench, check)

    def test_cancelled_in_the_middle_nothing_is_left(self, backend: str, bench: Bench) -> None:
        """Whenever it is cancelled: nothing in scratch, nothing elsewhere, and the next call works."""
        known = self._known()
        never, truth = Interruption(0), None

        async def bring(run: Run) -> str | None:
            """The content that is fetched."""
            dist = await _selected(run, known)
            with run.context() as ctx:
                if dist.kind == "wheel":
                    await dispatch.metadata(run.instance, dist, ctx)
                return content_of(dist, await dispatch.fetch(run.instance, dist, ctx))

        async def interrupt(run: Run, interruption: Interruption) -> None:
            with self._nowhere_else(run, None):
                await interruption.run(bring(run))
            if interruption.was_swallowed:
                broken(
                    "a cancellation is swallowed", "catch Exception in hooks, never BaseException, or raise it again"
                )
            if await bring(run) != truth:
                broken("after a cancellation the next call gives something else", "keep no state of a call that failed")

        async def count(run: Run) -> str | None:
            return await never.run(bring(run))

        truth = self._do(backend, bench, count, cache="whole")
        for at in _spread(never.waits, MOST_INTERRUPTIONS):
            self._do(backend, bench, functools.partial(interrupt, interruption=Interruption(at)), cache=f"cut-{at}")

    def test_no_secret_is_left_anywhere(
        self, backend: str, bench: Bench, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Not in what objects show, in errors, events, logs and output, nor in any file of the cache."""
        if not self.secrets:
            pytest.skip("it has no `secrets`; give those that `source()` has in it, where it takes any")
        shown: dict[str, str] = {"the source": repr(self.source())}
        for name, options in {"cold": {}, "refreshed": {"refresh": True}, "offline": {"offline": True}}.items():
            with caplog.at_level(logging.DEBUG):
                self._do(backend, bench, functools.partial(self._show, shown=shown, name=name), **options)
        shown["the log"] = caplog.text
        shown["the output"] = "".join(capfd.readouterr())
        for path in bench.folder.rglob("*"):
            shown[f"the file `{path.name}` of the cache"] = f"{path.name} {text_of(path)}"
        for where, text in shown.items():
            if secrets_in(text, secrets=self.secrets):
                broken(
                    f"a secret is in {where}",
                    "keep addresses as `Url`, which shows and stores none; put no token into a Dist, its locator, a"
                    " memo, an error or a log",
                )

    # -- how it is done

    def _do(self, backend: str, bench: Bench, test: Callable[[Run], Awaitable[Any]], **options: Any) -> Any:
        """What `test` gives of a run. What it raises is a failure that says what to change."""

        async def do() -> Any:
            async with bench.run(**options) as run:
                return await test(run)

        with telling("the source"):
            return anyio.run(do, backend=backend)

    async def _ask(self, run: Run, request: Request) -> Answer:
        try:
            return await run.database.metadata(request, effort="build" if self.builds else "static")
        except BuildNeededError as error:
            broken(f"`known_request` needs a build: {error}", "say `builds = True`, or take one that tells without")

    def _before_and_after(self, backend: str, bench: Bench) -> tuple[_Asked, _Asked]:
        """What is answered before and after `mutate`; the first is in the cache, the second is of one without it."""
        known = self._known()
        asks = functools.partial(self._ask, request=known)
        before = self._do(backend, bench, asks)
        self.mutate()
        after = self._do(backend, bench, asks, cache="empty")
        if not differ(before, after):
            broken(
                "after `mutate` the source gives the same answer with an empty cache",
                "let `mutate` change the metadata or the bytes of `known_request`; if it does, the source keeps what it"
                " knows in its module or class: keep it in the cache, by `ctx.memo`",
            )
        return _Asked(known, before), _Asked(known, after)

    async def _show(self, run: Run, shown: dict[str, str], name: str) -> None:
        """Adds what can be seen of a run, by where it is seen."""
        for request in (self._known(), self._unknown()):
            try:
                shown[f"the Dists ({name})"] = repr(await run.database.find(request))
                shown[f"the answer ({name})"] = repr(await self._ask(run, request))
            except FelloeError as error:
                shown[f"the error for `{request.name or request.text}` ({name})"] = whole(error)
        shown[f"the events ({name})"] = repr(run.events)

    @contextmanager
    def _nowhere_else(self, run: Run, scratch: Path | None) -> Iterator[None]:
        """Fails where something is left outside `scratch` (None: anywhere but in the cache, outside its scratch)."""
        with run.elsewhere(scratch) as left:
            yield
        if left:
            broken(
                f"`{left[0]}` is left outside of the scratch folder",
                "write in `ctx.scratch` alone, which is removed whatever happens; what has to last goes to `ctx.keep`",
            )

    def _check_nothing_left(self, run: Run) -> None:
        if left := run.leftovers():
            broken(
                f"`{left[0].name}` is left in scratch", "write below `ctx.scratch`, and keep no `ctx` after the hook"
            )

    def _check_number(self, request: Request, dists: Sequence[Dist]) -> None:
        if kind_of(request) != "name" and len(dists) != 1:
            broken(f"`find` gives {len(dists)} Dists for `{request.text}`", "give one for a direct reference")
        if self.lists_many and len(dists) < 2:
            broken(
                f"`find` gives {len(dists)} Dist for `{request.text}`",
                "give every file of the project; let `known_request` be one with several, or say `lists_many = False`",
            )

    def _known(self) -> Request:
        return parsed(self.known_request())

    def _unknown(self) -> Request:
        return parsed(self.unknown_request())

    def _foreign(self) -> Sequence[Request]:
        return [parsed(request) for request in self.foreign_requests()]

    def _name_of(self, source: object) -> str:
        name = getattr(source, "name", None) or self.name
        if not isinstance(name, str) or not name:
            broken("it is not known what the source is called", "give the test class `name`, as `source()` gives it")
        return name


class _Asked(NamedTuple):
    request: Request
    answer: Answer


async def _selected(run: Run, request: Request) -> Dist:
    dists = await run.database.find(request)
    return dists[0] if len(dists) == 1 else run.database.select(dists, request)


def _variants(dists: Sequence[Dist], request: Request) -> list[Dist]:
    """Others that the same reference could mean, and that must not be taken for it."""
    if kind_of(request) == "name":
        return []
    variants = [evolve(dist, subdirectory="felloe/contract") for dist in dists if dist.kind != "wheel"]
    return variants + [evolve(dist, editable=not dist.editable) for dist in dists if dist.kind == "tree"]


def _spread(count: int, most: int) -> Sequence[int]:
    """Numbers from 1 to `count`, evenly, with the first and the last."""
    return sorted({1 + round(step * (count - 1) / (most - 1)) for step in range(most)}) if count else []


def _verdicts(run: Run) -> str:
    """What was said of freshness."""
    return "; ".join(event.message for event in run.events if event.code in {"fresh", "stale"}) or "nothing"
