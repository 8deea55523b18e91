"""Which of the distributions that a source has found answers a request in an environment. Pure.

Versions and specifiers are PEP 440, tags PEP 425, names of wheels PEP 427, yanked files PEP 592, upload times PEP 700.
An index may list thousands of files, nearly all of which the version rules out: tags are read from the top down, until
one version answers. Why the others were not taken is worked out only where none is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, reduce
from math import inf
from operator import and_
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from felloe.errors import NoMatchError, RequirementError
from felloe.request import matches_environment, parse_pep508, redacted
from felloe.values import Dist, DistKind, Interpreter, Metadata, Request

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from felloe.config import Policy

__all__ = ["check_constraints", "ranked", "select"]

ALL = ":all:"
LATEST = 3  # versions, or needs of a Python, that a message lists
MAX_LENGTH = 256  # characters of a version and of a requires-python: parsing takes time, and is remembered
MAX_SHOWN = 100  # characters of a requires-python in a message
NO_VERSION = Version("0")  # of what `===` allows though it is no version, and beside which it allows nothing else
match_build_tag = re.compile(r"([0-9]{1,100})([^0-9].*)?").fullmatch

BuildTag = tuple[()] | tuple[int, str]
Preference = tuple[bool, float, BuildTag, str]


def select(dists: Sequence[Dist], request: Request, interpreter: Interpreter, policy: Policy) -> Dist:
    """The one of `dists` that answers `request`: highest version first, wheels before sdists, then by tags.

    The order of `dists` does not matter. Where hashes are given, as with pip, what is declared to have one comes before
    any version of which the bytes have yet to tell. A yanked one is taken only where the version is pinned and nothing
    else will do. Pre-releases are taken where request, constraint or policy says so, or where no final version that the
    specifier allows is listed: one that is yanked, or does not fit the environment, keeps them out all the same.

    What a direct reference names, and a tree, need not have a version, and only hashes, constraints, requires-python
    and tags are compared. Raises NoMatchError, whose payload counts the reasons (`counts`: code to number) and has the
    latest versions (`versions`), and RequirementError for a bad constraint.
    """
    terms = _terms(request, interpreter, policy)
    chosen = next(_acceptable(dists, terms), None)
    if chosen is None:
        raise _no_match(dists, terms)
    return chosen


def ranked(dists: Sequence[Dist], request: Request, interpreter: Interpreter, policy: Policy) -> list[Dist]:
    """All that would do, in the order of `select`; empty where that raises NoMatchError."""
    return list(_acceptable(dists, _terms(request, interpreter, policy)))


def check_constraints(
    metadata: Metadata, request: Request, interpreter: Interpreter, policy: Policy, what: str
) -> None:
    """Compares what was named, or got its version, after it was selected. Raises NoMatchError, RequirementError."""
    named = evolve(request, name=canonicalize_name(metadata.name))
    for text, allowed in _applying(named, interpreter, policy).items():
        if not allowed.contains(metadata.version, prereleases=True):
            raise NoMatchError(
                f"{what} is {metadata.name} {metadata.version}, which the constraint `{text}` does not allow",
                hint="change the constraint or the requirement",
            )


def _acceptable(dists: Sequence[Dist], terms: _Terms) -> Iterator[Dist]:
    for candidates in _by_version(dists, terms):
        fitting = [dist for dist in candidates if _misfit(dist, terms) is None]
        yield from sorted(fitting, key=lambda dist: _preference(dist, terms), reverse=True)


# What is asked for


@frozen(kw_only=True)
class _Terms:
    """Request, environment and policy, in the form in which distributions are compared with them.

    `specifier` has the constraints in it, and `constraints` are those that limit versions, as they are shown. `hashes`
    maps an allowed algorithm to its digests. `refused` says which kinds are not taken, and why.
    """

    request: Request
    interpreter: Interpreter
    constraints: Sequence[str]
    specifier: SpecifierSet
    prereleases: bool | None
    exclude_newer: float | None
    is_direct: bool
    is_pinned: bool
    hashes: Mapping[str, set[str]]
    refused: Mapping[DistKind, _Reason]
    python: Version
    tags: _Tags


def _terms(request: Request, interpreter: Interpreter, policy: Policy) -> _Terms:
    is_direct = request.url is not None or request.path is not None
    constraints = _applying(request, interpreter, policy)
    specifier = reduce(and_, constraints.values(), request.specifier)
    return _Terms(
        request=request,
        interpreter=interpreter,
        constraints=[text for text, limit in constraints.items() if limit],
        specifier=specifier,
        prereleases=True if is_direct else policy.prereleases,
        exclude_newer=policy.exclude_newer,
        is_direct=is_direct,
        is_pinned=_is_pin(specifier),
        hashes=_by_algorithm(request.hashes),
        refused={} if is_direct else _refused(request.name or "", policy),
        python=_full_version(interpreter),
        tags=_tags(interpreter.tags),
    )


def _applying(request: Request, interpreter: Interpreter, policy: Policy) -> Mapping[str, SpecifierSet]:
    """The constraints that hold for `request`: how each is shown, and what it allows."""
    limits: dict[str, SpecifierSet] = {}
    for position, requirement in _constraints(policy.constraints).get(request.name or "", ()):
        text = redacted(policy.constraints[position])
        constraint = Request(text=text, specifier=requirement.specifier, marker=requirement.marker)
        if not matches_environment(constraint, interpreter):
            continue
        if requirement.url is not None:
            raise RequirementError(
                f"the constraint `{text}` is a URL, and a constraint can only limit versions",
                hint=f"Require `{requirement.name} @ URL` itself, and leave out the constraint.",
            )
        limits[text] = limits.get(text, SpecifierSet()) & requirement.specifier
    return limits


@lru_cache(maxsize=8)
def _constraints(texts: tuple[str, ...]) -> Mapping[str, Sequence[tuple[int, Requirement]]]:
    """By normalised name, each with its position in `texts`."""
    by_name: dict[str, list[tuple[int, Requirement]]] = {}
    for position, requirement in enumerate(map(parse_pep508, texts)):
        by_name.setdefault(canonicalize_name(requirement.name), []).append((position, requirement))
    return by_name


def _is_pin(specifier: SpecifierSet) -> bool:
    """PEP 592: what is meant is this version and no other."""
    return any(each.operator == "===" or (each.operator == "==" and each.version[-2:] != ".*") for each in specifier)


def _is_literal(specifier: SpecifierSet) -> bool:
    return any(each.operator == "===" for each in specifier)


def _by_algorithm(hashes: Iterable[str]) -> Mapping[str, set[str]]:
    allowed: dict[str, set[str]] = {}
    for algorithm, _, digest in (text.partition(":") for text in hashes):
        allowed.setdefault(algorithm, set()).add(digest)
    return allowed


def _refused(name: str, policy: Policy) -> Mapping[DistKind, _Reason]:
    """A name outranks `:all:`."""
    for key in (name, ALL):
        if key in policy.no_binary:
            return {"wheel": NO_BINARY}
        if key in policy.only_binary:
            return {"sdist": ONLY_BINARY}
    return {}


def _full_version(interpreter: Interpreter) -> Version:
    full = interpreter.markers.get("python_full_version", "")
    return _parsed(full.removesuffix("+")) or Version(interpreter.version)  # "+": built from a changed checkout


# Versions


def _by_version(dists: Sequence[Dist], terms: _Terms) -> Iterator[Sequence[Dist]]:
    """What the specifier allows, all of one version at a time, the highest first; then what needs no version.

    What is known to have an allowed hash comes before all versions of what may turn out to have none. Of a pinned
    version (1.0, and 1.0+local as well), what is yanked comes last.
    """
    listed = [dist for dist in dists if _absence(dist, terms) is None]
    versions = _versions(listed)
    allowed = _matching(listed, versions, terms, prereleases=terms.prereleases)
    groups: dict[tuple[bool, bool, Version], list[Dist]] = {}
    for dist in listed:
        if dist.version in allowed and not _is_withdrawn(dist, terms):
            has_hash = bool(terms.hashes) and _has_allowed_hash(dist, terms.hashes)
            groups.setdefault((has_hash, not dist.yanked, versions.get(dist.version, NO_VERSION)), []).append(dist)
    for key in sorted(groups, reverse=True):
        yield groups[key]
    yield [dist for dist in listed if _needs_no_version(dist, terms)]


def _versions(dists: Iterable[Dist]) -> dict[str, Version]:
    """Of each text that is a version, what it means. 1.0 and 1.0.0 are one version, and two texts."""
    return {text: version for text in _texts(dists) if (version := _parsed(text)) is not None}


def _texts(dists: Iterable[Dist]) -> Collection[str]:
    return dict.fromkeys(dist.version for dist in dists if dist.version and len(dist.version) <= MAX_LENGTH)


@lru_cache(maxsize=16_384)
def _parsed(text: str) -> Version | None:
    try:
        return Version(text) if len(text) <= MAX_LENGTH else None
    except ValueError:
        return None


def _matching(
    dists: Iterable[Dist], versions: Mapping[str, Version], terms: _Terms, *, prereleases: bool | None
) -> set[str]:
    """The texts that the specifier allows. Those that are no versions are compared by `===` alone, as they are."""
    texts = _texts(dists) if _is_literal(terms.specifier) else versions
    return set(terms.specifier.filter(texts, prereleases=prereleases, key=lambda text: versions.get(text, text)))


def _needs_no_version(dist: Dist, terms: _Terms) -> bool:
    return _is_exact(dist, terms) and (dist.version is None or _parsed(dist.version) is None)


def _is_exact(dist: Dist, terms: _Terms) -> bool:
    """Whether it was named itself, not chosen out of what an index lists."""
    return terms.is_direct or dist.kind == "tree"


# One distribution: each answer is a reason not to take it


def _absence(dist: Dist, terms: _Terms) -> _Reason | None:
    """Why it is as if it were not listed: no pre-release is kept out because of it."""
    if terms.exclude_newer is None or _is_exact(dist, terms):
        return None
    uploaded = _instant(dist.upload_time or "")
    if uploaded is None:
        return UNDATED
    return NEWER if uploaded >= terms.exclude_newer else None


def _is_withdrawn(dist: Dist, terms: _Terms) -> bool:
    """PEP 592. It is listed all the same: that a version is yanked moves nobody to a pre-release."""
    return bool(dist.yanked) and not terms.is_pinned and not _is_exact(dist, terms)


def _instant(text: str) -> float | None:
    """Seconds since the epoch; None where it is not an instant (without an offset it could be any of a day)."""
    from datetime import datetime  # few ask for it

    try:
        instant = datetime.fromisoformat(text)
        return None if instant.tzinfo is None else instant.timestamp()
    except (ValueError, OverflowError):
        return None


def _misfit(dist: Dist, terms: _Terms) -> _Reason | None:
    """Why it does not fit request, environment or policy, its version apart."""
    if terms.hashes and (reason := _other_bytes(dist, terms.hashes)):
        return reason
    if dist.requires_python and not _allows(dist.requires_python, terms.python):
        return PYTHON
    if dist.kind == "wheel" and (reason := _unfit_name(dist.filename, terms.tags)):
        return reason
    return terms.refused.get(dist.kind)


def _other_bytes(dist: Dist, allowed: Mapping[str, set[str]]) -> _Reason | None:
    """None also where no hash of an allowed algorithm is declared: then the bytes have to tell."""
    if dist.kind == "tree":
        return TREE
    is_declared = any(algorithm in allowed for algorithm, _ in _declared_hashes(dist))
    return HASH if is_declared and not _has_allowed_hash(dist, allowed) else None


def _has_allowed_hash(dist: Dist, allowed: Mapping[str, set[str]]) -> bool:
    return any(digest in allowed.get(algorithm, ()) for algorithm, digest in _declared_hashes(dist))


def _declared_hashes(dist: Dist) -> Iterator[tuple[str, str]]:
    """Algorithm and hex; a content id has the form of one."""
    algorithm, _, digest = (dist.content or "").partition(":")
    yield algorithm, digest
    yield from dist.hashes.items()


@lru_cache(maxsize=1024)
def _allows(requires_python: str, python: Version) -> bool:
    """What is no specifier counts as not there, and `>=3.15` means 3.15.0rc1 too, as for pip and uv."""
    if len(requires_python) > MAX_LENGTH or not requires_python.isascii():
        return True
    try:
        specifier = SpecifierSet(requires_python)
        return any(specifier.contains(each, prereleases=True) for each in (python, python.base_version))
    except ValueError:
        return True


def _unfit_name(filename: str, tags: _Tags) -> _Reason | None:
    name = _parse_wheel_name(filename)
    if name is None:
        return NAME
    return TAGS if tags.rank(name.tags) == inf else None


# Wheels


@frozen(kw_only=True)
class _WheelName:
    build: BuildTag
    tags: tuple[str, str, str]


def _parse_wheel_name(filename: str) -> _WheelName | None:
    """PEP 427: name, version, perhaps a build tag, and the compressed tags of Pythons, ABIs and platforms."""
    match filename.removesuffix(".whl").lower().split("-"):
        case [_, _, python, abi, platform]:
            return _WheelName(build=(), tags=(python, abi, platform))
        case [_, _, build, python, abi, platform] if parts := match_build_tag(build):
            return _WheelName(build=(int(parts[1]), parts[2] or ""), tags=(python, abi, platform))
    return None


@frozen(kw_only=True)
class _Tags:
    """The tags of an interpreter, best first, and what stands in each of their three places."""

    order: tuple[tuple[str, ...], ...]
    pythons: frozenset[str]
    abis: frozenset[str]
    platforms: frozenset[str]

    def rank(self, tags: tuple[str, str, str]) -> float:
        """Where the best of a wheel's compressed tags stands in the order; infinity where none does.

        Most wheels are for another Python or platform, which one place tells. The tags are never multiplied out: a
        hostile name could make billions of them.
        """
        pythons, abis, platforms = (frozenset(tag.split(".")) for tag in tags)
        if pythons.isdisjoint(self.pythons) or abis.isdisjoint(self.abis) or platforms.isdisjoint(self.platforms):
            return inf
        ranks = (
            rank
            for rank, (python, abi, platform) in enumerate(self.order)
            if python in pythons and abi in abis and platform in platforms
        )
        return next(ranks, inf)


@lru_cache(maxsize=8)
def _tags(tags: tuple[str, ...]) -> _Tags:
    order = tuple(tuple(tag.split("-")) for tag in tags)
    pythons, abis, platforms = (frozenset(tag[place] for tag in order) for place in range(3))
    return _Tags(order=order, pythons=pythons, abis=abis, platforms=platforms)


def _preference(dist: Dist, terms: _Terms) -> Preference:
    """Of two that fit and have one version, the greater is taken. The file name settles what nothing else does."""
    name = _parse_wheel_name(dist.filename) if dist.kind == "wheel" else None
    if name is None:
        return (False, dist.filename.endswith(".tar.gz"), (), dist.filename)
    return (True, -terms.tags.rank(name.tags), name.build, dist.filename)


# Why there is none


@frozen
class _Reason:
    """`one` and `many` follow the count of those that are not taken for it; `hint` is what would help."""

    code: str
    one: str
    many: str
    hint: str


TAGS = _Reason(
    "other-tags",
    "wheel is for another platform or Python",
    "wheels are for other platforms or Pythons",
    "No sdist is listed that could be built instead: ask for another version, or about another Python (`--python`).",
)
PYTHON = _Reason(
    "other-python",
    "needs Python {python}",
    "need Python {python}",
    "Ask for another version, or about another Python (`--python`).",
)
NAME = _Reason(
    "not-a-wheel",
    "wheel has a name that is not one of a wheel",
    "wheels have names that are not those of wheels",
    "The name has to be `name-version-python-abi-platform.whl`, perhaps with a build number before `python`.",
)
HASH = _Reason(
    "other-hash",
    "has another hash than is allowed",
    "have other hashes than are allowed",
    "Compare the hashes that you allow with those of the version that you want.",
)
TREE = _Reason(
    "no-hash",
    "is a tree, which has no hash to compare",
    "are trees, which have no hashes to compare",
    "Leave out the hashes, or require an archive.",
)
NO_BINARY = _Reason(
    "no-binary",
    "wheel is ruled out by `--no-binary`",
    "wheels are ruled out by `--no-binary`",
    "There is a wheel: leave out `--no-binary` to take it.",
)
ONLY_BINARY = _Reason(
    "only-binary",
    "sdist is ruled out by `--only-binary`",
    "sdists are ruled out by `--only-binary`",
    "There is an sdist: leave out `--only-binary` to have it built.",
)
UNDATED = _Reason(
    "undated",
    "has no upload time that `--exclude-newer` could read",
    "have no upload times that `--exclude-newer` could read",
    "Leave out `--exclude-newer`: this index does not say when files were uploaded.",
)
NEWER = _Reason(
    "too-new",
    "is newer than `--exclude-newer` allows",
    "are newer than `--exclude-newer` allows",
    "Give a later date to `--exclude-newer`, or ask for an older version.",
)
YANKED = _Reason("yanked", "is yanked", "are yanked", "To take a yanked version, pin it with `==`.")
PRERELEASE = _Reason(
    "prerelease",
    "is a pre-release",
    "are pre-releases",
    "To take a pre-release, name one in the requirement, as in `>=2.0rc1`, or set `prereleases = true`.",
)
# As a message lists them; the hint is that of the last that counts.
REASONS = (NAME, TAGS, PYTHON, HASH, TREE, NO_BINARY, ONLY_BINARY, UNDATED, NEWER, YANKED, PRERELEASE)

ASK_ELSEWHERE = "Look at the version, and at the order of indexes: only the first that knows the project is asked."
LOOSEN = "Change the requirement or the constraint."


def _no_match(dists: Sequence[Dist], terms: _Terms) -> NoMatchError:
    matching = _matching(dists, _versions(dists), terms, prereleases=True)
    wanted = [dist for dist in dists if dist.version in matching or _needs_no_version(dist, terms)]
    if not wanted:
        return _no_version(dists, terms)
    reasons = [_reason(dist, terms) for dist in wanted]
    counts = Counter(reasons)
    given = [reason for reason in REASONS if reason in counts]
    needs = _needs(dist for dist, reason in zip(wanted, reasons, strict=True) if reason is PYTHON)
    told = ", ".join(_told(reason, counts[reason]).format(python=needs) for reason in given)
    return NoMatchError(
        f"{_subject(terms)} has no distribution for {_environment(terms.interpreter)}: {told}",
        hint=given[-1].hint,
        **_payload(terms, {reason.code: counts[reason] for reason in given}, _compared(dists, terms)),
    )


def _reason(dist: Dist, terms: _Terms) -> _Reason:
    """Why it is not taken, though the specifier allows it: what a setting could change is told only of what fits."""
    if reason := _misfit(dist, terms) or _absence(dist, terms):
        return reason
    return YANKED if _is_withdrawn(dist, terms) else PRERELEASE


def _told(reason: _Reason, count: int) -> str:
    return f"{count} {reason.one if count == 1 else reason.many}"


def _needs(dists: Iterable[Dist]) -> str:
    texts = list(dict.fromkeys(_shown(dist.requires_python or "") for dist in dists))
    return " or ".join([*texts[:LATEST], *(["another"] if len(texts) > LATEST else [])])


def _shown(text: str) -> str:
    return ascii(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...")[1:-1]


def _no_version(dists: Sequence[Dist], terms: _Terms) -> NoMatchError:
    compared = _compared(dists, terms)
    return NoMatchError(
        f"{_subject(terms)} {_without_match(dists, compared)}",
        hint=LOOSEN if terms.constraints else ASK_ELSEWHERE,
        **_payload(terms, {}, compared),
    )


def _without_match(dists: Sequence[Dist], compared: Sequence[str]) -> str:
    there, latest = len(compared), ", ".join(f"`{text}`" for text in compared[:LATEST])
    if there > 1:
        return f"matches none of the {there} versions that are there; the latest are {latest}"
    if there == 1:
        return f"does not match the only version that is there, {latest}"
    if dists:
        return f"has no distribution: none of the {len(dists)} files has a version in its name"
    return "has no distribution: the project has no files"


def _compared(dists: Sequence[Dist], terms: _Terms) -> Sequence[str]:
    """What the specifier was compared with, the highest version first: to `===`, 1.0 and 1.0.0 are two."""
    versions, is_literal = _versions(dists), _is_literal(terms.specifier)
    distinct = {str(version) if is_literal else version: version for version in versions.values()}
    others = sorted(text for text in _texts(dists) if is_literal and text not in versions)
    return [*map(str, sorted(distinct.values(), reverse=True)), *map(_shown, others)]


def _subject(terms: _Terms) -> str:
    constraints = ", ".join(f"`{text}`" for text in terms.constraints)
    return f"`{terms.request.text}`" + (f" (constrained to {constraints})" if constraints else "")


def _environment(interpreter: Interpreter) -> str:
    return f"Python {'.'.join(interpreter.version.split('.')[:2])} on {_platform(interpreter)}"


def _platform(interpreter: Interpreter) -> str:
    """The plain one, rather than one of the many that it is compatible with."""
    platforms = [*(tag.rpartition("-")[2] for tag in interpreter.tags), "any"]
    return next((platform for platform in platforms if platform.startswith("linux_")), platforms[0])


def _payload(terms: _Terms, counts: Mapping[str, int], compared: Sequence[str]) -> dict[str, Any]:
    return {
        "requirement": terms.request.text,
        "python": terms.interpreter.version,
        "platform": _platform(terms.interpreter),
        "counts": dict(counts),
        "versions": list(compared[:LATEST]),
    }
