"""What resolvelib asks, answered out of the facts. Imports resolvelib, so it is imported where a resolution begins."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen
from packaging.specifiers import SpecifierSet
from resolvelib import AbstractProvider, BaseReporter

from felloe.resolution.facts import Unknown, is_direct, is_met
from felloe.values import Request

if TYPE_CHECKING:
    from resolvelib.structs import RequirementInformation

    from felloe.resolution.facts import Facts, Option

__all__ = ["Candidate", "Exhausted", "Need", "Provider", "Watch"]

EXACT = frozenset({"==", "==="})
BOUNDED = frozenset({"<", "<=", "~=", "=="})
MOST_AHEAD = 50  # versions of one project
MOST_ADDED = 200_000  # needs that are compared with the others: some ten seconds

Preference = tuple[bool, bool, bool, bool, bool, bool, str]


class Exhausted(Exception):  # noqa: N818  # nothing is wrong: there may be a solution
    """The search takes so long that no end is to be expected."""


@frozen(kw_only=True, eq=False)
class Need:
    """A requirement, and which candidate has it; None where it is one of those that are to be resolved."""

    request: Request
    by: Candidate | None = None

    @property
    def name(self) -> str:
        return self.request.name or ""


@frozen(kw_only=True, eq=False)
class Candidate:
    """An option, with all the extras that are asked of it. `need` is the first of the needs that led to it."""

    option: Option
    extras: frozenset[str]
    need: Need

    @property
    def name(self) -> str:
        return self.need.name

    @property
    def key(self) -> tuple[int, frozenset[str]]:
        return id(self.option.dist), self.extras


class Provider(AbstractProvider[Need, Candidate, str]):
    """One attempt: where a fact is missing, Unknown passes through resolvelib, and the attempt is over.

    Unknown asks for more than what is missing: for what comes next, if there is no conflict, and after conflicts for
    older versions. Only wheels are looked into beforehand, since an sdist might be built for it.

    Extras are a property of the candidate, not a project of their own: a need of more extras than a candidate has is
    not satisfied by it, and makes the resolver take a candidate that has them.
    """

    def __init__(self, facts: Facts, roots: Sequence[Need]) -> None:
        self._facts = facts
        self._located = {root.name for root in roots if is_direct(root.request)}
        self._next: list[Candidate] = []
        self._offered: dict[str, Sequence[Candidate]] = {}

    def identify(self, requirement_or_candidate: Need | Candidate) -> str:
        return requirement_or_candidate.name

    def narrow_requirement_selection(
        self,
        identifiers: Iterable[str],
        resolutions: Mapping[str, Candidate],
        candidates: Mapping[str, Iterator[Candidate]],
        information: Mapping[str, Iterator[RequirementInformation[Need, Candidate]]],  # noqa: ARG002  # the same
        backtrack_causes: Sequence[RequirementInformation[Need, Candidate]],
    ) -> Iterable[str]:
        """What has to be exchanged before anything else, as resolvelib forgot what it requires; then the last conflict.

        No other name can solve that.
        """
        names = list(identifiers)
        self._next = [candidate for name in names for candidate in [next(iter(candidates[name]), None)] if candidate]
        causes = {cause.requirement.name for cause in backtrack_causes}
        causes |= {cause.parent.name for cause in backtrack_causes if cause.parent}
        return [name for name in names if name in resolutions] or [name for name in names if name in causes] or names

    def get_preference(
        self,
        identifier: str,
        resolutions: Mapping[str, Candidate],  # noqa: ARG002  # resolvelib gives it by name
        candidates: Mapping[str, Iterator[Candidate]],  # noqa: ARG002  # the same
        information: Mapping[str, Iterator[RequirementInformation[Need, Candidate]]],
        backtrack_causes: Sequence[RequirementInformation[Need, Candidate]],  # noqa: ARG002  # the same
    ) -> Preference:
        """As pip has it, the least choice first; the name settles what nothing else does."""
        needs = [each.requirement for each in information[identifier]]
        specifiers = [each for need in needs for each in need.request.specifier]
        return (
            not needs,
            not any(is_direct(need.request) for need in needs),
            not any(each.operator in EXACT and not each.version.endswith(".*") for each in specifiers),
            not any(each.operator in BOUNDED for each in specifiers),
            not any(need.by is None for need in needs),
            not specifiers,
            identifier,
        )

    def find_matches(
        self,
        identifier: str,
        requirements: Mapping[str, Iterator[Need]],
        incompatibilities: Mapping[str, Iterator[Candidate]],
    ) -> Sequence[Candidate]:
        needs = list(requirements[identifier]) or [_left_over(identifier)]
        excluded = {candidate.key for candidate in incompatibilities[identifier]}
        options = self._facts.options([need.request for need in needs])
        extras = frozenset[str]().union(*(need.request.extras for need in needs))
        candidates = [Candidate(option=option, extras=extras, need=needs[0]) for option in options]
        self._offered[identifier] = [candidate for candidate in candidates if candidate.key not in excluded]
        return self._offered[identifier]

    def is_satisfied_by(self, requirement: Need, candidate: Candidate) -> bool:
        return requirement.request.extras <= candidate.extras and is_met(requirement.request, candidate.option)

    def get_dependencies(self, candidate: Candidate) -> Sequence[Need]:
        if self._facts.undescribed([candidate.option]):
            soon = [each.option for each in (*self._next, *self._after(candidate)) if each.option.dist.kind == "wheel"]
            raise Unknown(self._facts.undescribed([candidate.option, *soon]))
        requires = self._facts.requires(candidate.option, candidate.extras)
        needs = [Need(request=request, by=candidate) for request in requires]
        self.expect(needs)
        return needs

    def expect(self, needs: Sequence[Need]) -> None:
        """Raises Unknown where it is not known what is listed for each of `needs`: all of them will be looked at.

        A name is not looked up where the requirements themselves say where it is.
        """
        asked = [need.request for need in needs if is_direct(need.request) or need.name not in self._located]
        if questions := self._facts.unlisted(asked):
            raise Unknown(questions)

    def _after(self, candidate: Candidate) -> Sequence[Candidate]:
        """Of the candidates that come after it as many as were given up before it: they may share its fate."""
        offered = self._offered[candidate.name]
        given_up = next((position for position, each in enumerate(offered) if each is candidate), 0)
        return offered[given_up + 1 : given_up + 1 + min(given_up, MOST_AHEAD)]


class Watch(BaseReporter[Need, Candidate, str]):
    """Over all attempts: ends a search that does not end, and knows what could not be brought together last."""

    def __init__(self) -> None:
        self.conflict: Sequence[Need] = ()
        self._added = 0

    def adding_requirement(self, requirement: Need, parent: Candidate | None) -> None:  # noqa: ARG002
        """Raises Exhausted."""
        self._added += 1
        if self._added > MOST_ADDED:
            raise Exhausted

    def resolving_conflicts(self, causes: Collection[RequirementInformation[Need, Candidate]]) -> None:
        self.conflict = [cause.requirement for cause in causes]


def _left_over(name: str) -> Need:
    """Of a name that only those required that were given up; resolvelib takes something for it all the same."""
    return Need(request=Request(text=name, name=name, specifier=SpecifierSet()))
