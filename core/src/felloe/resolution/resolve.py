"""From requirements to pinned distributions: the resolver runs over what is known, what it lacks is looked up, again.

resolvelib is synchronous and sources are not. So an attempt stops where a fact is missing, all that is known to be
missing is looked up at once, and the next attempt starts anew: it comes by the same way to the same place and further.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from felloe.errors import BuildError, FelloeError, RequirementError
from felloe.request import matches_environment, parse_request
from felloe.resolution.explain import given_up, nothing_fits
from felloe.resolution.facts import Facts, Unknown, is_direct, is_met
from felloe.stepping import work
from felloe.values import Dist, Interpreter, Metadata, Request

if TYPE_CHECKING:
    from felloe.config import Policy
    from felloe.resolution.facts import Option, Question
    from felloe.resolution.provider import Watch

__all__ = ["Lookup", "resolve"]

T = TypeVar("T")

MOST_LOOKUPS = 1_000  # rounds, each of all that is known to be missing
MOST_STEPS = 200_000  # of one attempt: a distribution taken, or given up; as pip has it


class Lookup(Protocol):
    """Where facts come from."""

    async def find(self, request: Request) -> Sequence[Dist]:
        """All that the source lists for a name, or the one distribution that a direct reference means.

        The request has no specifier and no extras where it is a name. Raises ProjectNotFound, and any FelloeError.
        """
        ...

    async def metadata(self, dist: Dist) -> Metadata:
        """Metadata that prove what the distribution requires. Raises FelloeError."""
        ...


async def resolve(
    requirements: Sequence[str], *, lookup: Lookup, interpreter: Interpreter, policy: Policy, what: str
) -> tuple[Dist, ...]:
    """The distributions that fulfil `requirements` (PEP 508) and each other's, sorted by name.

    The environment is empty, and every version the best that is allowed: what comes out depends on the facts, not on
    the order of the requirements. `policy` says what may be selected; its constraints hold for all. `what` names the
    thing that is built with them, as `demo-1.0.tar.gz` in backticks. The search is resolvelib's: as with pip, it may
    miss a solution where projects that require each other in a circle refuse each other's versions.

    Raises BuildError (`bad-build-requirement`), NoMatchError (`resolution-impossible`, `resolution-too-deep`), and what
    `lookup` raises where that is more than that a project is not there or a distribution is broken.
    """
    from resolvelib import ResolutionImpossible

    from felloe.resolution.provider import Exhausted, Watch

    requests = _requests(requirements, interpreter, what)
    facts, watch = Facts(interpreter, policy), Watch()
    for _ in range(MOST_LOOKUPS):
        try:
            return _attempt(requests, facts, watch)
        except Unknown as unknown:
            await _look_up(unknown.questions, facts, lookup)
        except ResolutionImpossible as impossible:
            needs = [cause.requirement for cause in impossible.causes]
            raise nothing_fits(needs, facts, policy.constraints, what) from impossible
        except Exhausted:
            break
    raise given_up(requests, watch.conflict, what)


def _requests(requirements: Sequence[str], interpreter: Interpreter, what: str) -> list[Request]:
    """Those that hold in this environment, each once, direct references first: they win over names."""
    try:
        requests = [parse_request(text, origin="build") for text in dict.fromkeys(requirements)]
        applying = [request for request in requests if matches_environment(request, interpreter)]
    except RequirementError as error:
        raise BuildError(
            f"what is required to build {what} cannot be read: {error}",
            hint="Take another version, or tell its author.",
            code="bad-build-requirement",
        ) from error
    return sorted(applying, key=lambda request: (not is_direct(request), request.name, request.text))


def _attempt(requests: Sequence[Request], facts: Facts, watch: Watch) -> tuple[Dist, ...]:
    """Raises Unknown where a fact is missing, ResolutionImpossible where there is no solution, and Exhausted."""
    from resolvelib import ResolutionTooDeep
    from resolvelib.resolvers import Resolution

    from felloe.resolution.provider import Exhausted, Need, Provider

    roots = [Need(request=request) for request in requests]
    provider = Provider(facts, roots)
    provider.expect(roots)
    try:
        # Not its Resolver, which never ends where what is left over goes round in a circle.
        taken = Resolution(provider, watch).resolve(roots, max_rounds=MOST_STEPS).mapping
    except ResolutionTooDeep:
        raise Exhausted from None
    needed = _needed(requests, {name: candidate.option for name, candidate in taken.items()}, facts)
    if needed is None:
        raise Exhausted
    return needed


def _needed(requests: Sequence[Request], options: Mapping[str, Option], facts: Facts) -> tuple[Dist, ...] | None:
    """What can be reached from `requests`; None where one of these, or of theirs, is not met.

    resolvelib may leave in what a version required that was given up. It also forgets what a distribution requires that
    it is about to exchange, and where it keeps that after all, in a circle of requirements, nobody looks again.
    """
    extras: dict[str, frozenset[str]] = {}
    agenda = list(requests)
    while agenda:
        request = agenda.pop()
        name = request.name or ""
        if name not in options or not is_met(request, options[name]):
            return None
        if name not in extras or not request.extras <= extras[name]:
            extras[name] = extras.get(name, frozenset()) | request.extras
            agenda.extend(facts.requires(options[name], extras[name]))
    return tuple(options[name].dist for name in sorted(extras))


async def _look_up(questions: Sequence[Question], facts: Facts, lookup: Lookup) -> None:
    await work()
    import anyio

    async with anyio.create_task_group() as group:
        for question in questions:
            group.start_soon(_answer, question, facts, lookup)


async def _answer(question: Question, facts: Facts, lookup: Lookup) -> None:
    """An error is an answer, and it may turn out that nobody needs it."""
    request, dist = question.request, question.dist
    if dist is None:
        facts.learn_listing(request, await _outcome(lookup.find(request)))
    else:
        facts.learn_metadata(request, dist, await _outcome(lookup.metadata(dist)))


async def _outcome(answer: Awaitable[T]) -> T | FelloeError:
    try:
        return await answer
    except FelloeError as error:
        return error
