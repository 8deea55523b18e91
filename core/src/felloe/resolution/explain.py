"""Why nothing fulfils all that is required, told to people. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from felloe.errors import NoMatchError
from felloe.request import parse_pep508, redacted
from felloe.resolution.facts import is_direct

if TYPE_CHECKING:
    from felloe.errors import FelloeError
    from felloe.resolution.facts import Facts
    from felloe.resolution.provider import Need
    from felloe.values import Request

__all__ = ["given_up", "nothing_fits"]

MOST_SHOWN = 8  # requirements of a conflict, and links of a chain


def nothing_fits(needs: Sequence[Need], facts: Facts, constraints: Sequence[str], what: str) -> NoMatchError:
    """`needs` are those that could not be brought together (none twice); `what` is what they are to build."""
    reasons = {need: facts.why_none(need.request) for need in needs}
    at_fault = [need for need in needs if not _is_bystander(need, reasons, facts)]
    reason = next((reasons[need] for need in at_fault), None)
    if reason is not None and all(reasons[need] is not None for need in at_fault):
        return _alone(at_fault[0], reason, what)
    shown = [_asked(need, " (which nothing fulfils)" if reasons[need] else _version(need, facts)) for need in at_fault]
    told = list(dict.fromkeys([*shown, *_constraints(at_fault, constraints)]))
    return NoMatchError(
        f"no set of versions fulfils all that is required to build {what}: {_listed(told)}",
        hint="Take another version of what is built, or narrow the choice with a build constraint.",
        code="resolution-impossible",
        requirements=[need.request.text for need in at_fault],
    )


def given_up(requests: Sequence[Request], needs: Sequence[Need], what: str) -> NoMatchError:
    """There may be a solution. `needs` are those of the last conflict on the way to it."""
    texts = [request.text for request in requests]
    conflict = _listed(list(dict.fromkeys(map(_asked, needs))))
    last = f"; the last conflict was between {conflict}" if needs else ""
    return NoMatchError(
        f"no set of versions was found in reasonable time for what is required to build {what}: "
        f"{_listed([f'`{text}`' for text in texts])}{last}",
        hint="Narrow the choice with build constraints.",
        code="resolution-too-deep",
        requirements=texts,
    )


def _is_bystander(need: Need, reasons: Mapping[Need, FelloeError | None], facts: Facts) -> bool:
    """Whether another need of its name is what nothing fulfils, and all the rest of them could be met together."""
    same = [each for each in reasons if each.name == need.name]
    rest = [each.request for each in same if reasons[each] is None]
    return reasons[need] is None and len(rest) < len(same) and bool(facts.known_options(rest))


def _alone(need: Need, reason: FelloeError, what: str) -> NoMatchError:
    chain = _chain(need)
    by = "".join(f"{link}, " for link in chain) + "to build" if chain else "required to build"
    return NoMatchError(
        f"`{need.request.text}`, {by} {what}: {reason}",
        hint=reason.hint,
        code="resolution-impossible",
        requirements=[need.request.text],
        reason=reason.code,
    )


def _asked(need: Need, note: str = "") -> str:
    return ", ".join([f"`{need.request.text}`{note}", *_chain(need)])


def _version(need: Need, facts: Facts) -> str:
    """The one version of a direct reference, which its text does not tell; "" where that is not known."""
    options = facts.known_options([need.request]) if is_direct(need.request) else ()
    return "".join(f" (version {option.version})" for option in options)


def _chain(need: Need) -> list[str]:
    links: list[str] = []
    while need.by is not None and len(links) < MOST_SHOWN:
        links.append(f"required by `{need.by.name} {need.by.option.version}`")
        need = need.by.need
    return links


def _constraints(needs: Sequence[Need], constraints: Sequence[str]) -> list[str]:
    names = {need.name for need in needs}
    return [
        f"`{redacted(text)}`, a constraint"
        for text in constraints
        if canonicalize_name(parse_pep508(text).name) in names
    ]


def _listed(texts: Sequence[str]) -> str:
    left_out = len(texts) - MOST_SHOWN
    return "; ".join([*texts[:MOST_SHOWN], *([f"and {left_out} more"] if left_out > 0 else [])])
