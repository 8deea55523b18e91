"""What resolvelib asks, answered out of the facts. Imports resolvelib, so it is imported where a resolution begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen
from resolvelib.providers import AbstractProvider

from felloe.resolution.facts import Question, Unknown, is_direct, is_met

if TYPE_CHECKING:
    from resolvelib.structs import RequirementInformation

    from felloe.resolution.facts import Facts, Option
    from felloe.values import Request

__all__ = ["Candidate", "Need", "Provider"]

EXACT = frozenset({"==", "==="})
BOUNDED = frozenset({"<", "<=", "~=", "=="})

Preference = tuple[bool, bool, bool, bool, bool, str]


@frozen(kw_only=True)
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

    Extras are a property of the candidate, not a project of their own: a need of more extras than a candidate has is
    not satisfied by it, and makes the resolver take a candidate that has them.
    """

    def __init__(self, facts: Facts, roots: Sequence[Need]) -> None:
        self._facts = facts
        self._located = {root.name for root in roots if is_direct(root.request)}
        self._next: list[Candidate] = []

    def identify(self, requirement_or_candidate: Need | Candidate) -> str:
        return requirement_or_candidate.name

    def narrow_requirement_selection(
        self,
        identifiers: Iterable[str],
        resolutions: Mapping[str, Candidate],  # noqa: ARG002  # resolvelib gives it by name
        candidates: Mapping[str, Iterator[Candidate]],
        information: Mapping[str, Iterator[RequirementInformation[Need, Candidate]]],  # noqa: ARG002  # the same
        backtrack_causes: Sequence[RequirementInformation[Need, Candidate]],
    ) -> Iterable[str]:
        """Those in the last conflict first: another one cannot solve it."""
        names = list(identifiers)
        self._next = [candidate for name in names for candidate in [next(iter(candidates[name]), None)] if candidate]
        causes = {cause.requirement.name for cause in backtrack_causes}
        causes |= {cause.parent.name for cause in backtrack_causes if cause.parent}
        return [name for name in names if name in causes] or names

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
        needs = list(requirements[identifier])
        excluded = {candidate.key for candidate in incompatibilities[identifier]}
        options = self._facts.options([need.request for need in needs])
        extras = frozenset[str]().union(*(need.request.extras for need in needs))
        candidates = [Candidate(option=option, extras=extras, need=needs[0]) for option in options]
        return [candidate for candidate in candidates if candidate.key not in excluded]

    def is_satisfied_by(self, requirement: Need, candidate: Candidate) -> bool:
        return requirement.request.extras <= candidate.extras and is_met(requirement.request, candidate.option)

    def get_dependencies(self, candidate: Candidate) -> Sequence[Need]:
        try:
            requires = self._facts.requires(candidate.option, candidate.extras)
        except Unknown as unknown:
            raise Unknown([*unknown.questions, *self._likely()]) from None
        needs = [Need(request=request, by=candidate) for request in requires]
        self.expect(needs)
        return needs

    def expect(self, needs: Sequence[Need]) -> None:
        """Raises Unknown where it is not known what is listed for each of `needs`: all of them will be looked at.

        A name is not looked up where the requirements themselves say where it is.
        """
        asked = [need.request for need in needs if is_direct(need.request) or need.name not in self._located]
        questions = self._facts.unanswered(map(self._facts.question, asked))
        if questions:
            raise Unknown(questions)

    def _likely(self) -> list[Question]:
        """What will be asked next, if there is no conflict. Only of wheels, since an sdist might be built for it."""
        wheels = [candidate.option for candidate in self._next if candidate.option.dist.kind == "wheel"]
        questions = [Question(request=option.request, dist=option.dist) for option in wheels]
        return self._facts.unanswered(questions)
