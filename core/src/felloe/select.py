"""Which distribution answers a requirement: pure, from what a source lists to the one to take, or why there is none.

Versions come first (PEP 440), then files: yanked ones (PEP 592), wheel tags (PEP 425), `Requires-Python` (PEP 345). A
warm run selects among thousands of files, so that tags are read from the highest version down, until one answers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, reduce
from itertools import product
from operator import and_, itemgetter
from typing import TYPE_CHECKING, Any

from attrs import frozen
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from felloe.errors import NoMatchError
from felloe.request import matches_environment, parse_request

if TYPE_CHECKING:
    from felloe.config import Policy
    from felloe.values import Dist, DistKind, Interpreter, Request

__all__ = ["ranked", "select"]

ALL = ":all:"
MOST_NAMED = 5  # versions in an error
BUILD_TAG = re.compile(r"([0-9]{1,18})(.*)")


def select(dists: Sequence[Dist], request: Request, interpreter: Interpreter, policy: Policy) -> Dist:
    """The best of `dists` (all of one project, as its source lists them) for `request` in that environment.

    The highest version that has an acceptable file; of its files a wheel before an sdist, of the wheels the one whose
    tag the interpreter likes best, then the highest build tag. A direct reference is held against tags,
    `Requires-Python`, hashes and constraints alone. Raises NoMatchError saying why each file was left out;
    RequirementError where a constraint is not PEP 508.
    """
    rules = _rules(dists, request, interpreter, policy)
    for dist in _acceptable(dists, rules):
        return dist
    raise _no_match(dists, request, interpreter, rules)


def ranked(dists: Sequence[Dist], request: Request, interpreter: Interpreter, policy: Policy) -> list[Dist]:
    """All acceptable ones, the best first; none where `select` would raise NoMatchError."""
    return list(_acceptable(dists, _rules(dists, request, interpreter, policy)))


@frozen(kw_only=True)
class _Rules:
    """What every file is held against, worked out once for a request."""

    specifier: SpecifierSet
    constrained: str  # what constraints add to the request's own specifier
    prereleases: bool | None
    direct: bool
    pinned: bool
    refused_kind: DistKind | None
    exclude_newer: float | None
    hashes: frozenset[str]
    tags: _Tags
    python: str


def _rules(dists: Sequence[Dist], request: Request, interpreter: Interpreter, policy: Policy) -> _Rules:
    name = request.name or next((dist.name for dist in dists), None) or ""
    direct = request.url is not None or request.path is not None
    constraints = _constraints_of(name, interpreter, policy)
    specifier = reduce(and_, constraints, request.specifier)
    return _Rules(
        specifier=specifier,
        constrained=str(reduce(and_, constraints, SpecifierSet())),
        prereleases=True if direct else _prereleases(specifier, policy),
        direct=direct,
        pinned=_is_pinned(specifier),
        refused_kind=None if direct else _refused_kind(name, policy),
        exclude_newer=None if direct else policy.exclude_newer,
        hashes=request.hashes,
        tags=_known_tags(interpreter.tags),
        python=interpreter.markers.get("python_full_version", interpreter.version),
    )


# From the top: versions


def _acceptable(dists: Sequence[Dist], rules: _Rules) -> Iterator[Dist]:
    """The best first. Pre-releases wait until it is sure that there is no final release (PEP 440)."""
    held_back: list[list[Dist]] = []
    has_final = False
    for version, files in _matching(dists, rules):
        offered = [dist for dist in files if _withheld(dist, rules) is None]
        if version.is_prerelease and not rules.prereleases:
            held_back.append(offered)
            continue
        has_final = has_final or bool(offered)
        yield from _best_first(offered, rules)
    if not has_final and rules.prereleases is None:
        for offered in held_back:
            yield from _best_first(offered, rules)
    yield from _best_first(_without_version(dists, rules), rules)


def _matching(dists: Iterable[Dist], rules: _Rules) -> list[tuple[Version, list[Dist]]]:
    """The versions that the specifier allows, the highest first, with their files."""
    texts = {dist.version for dist in dists if dist.version is not None}
    versions = {text: version for text in texts if (version := _version(text)) is not None}
    # What `===` compares is the text.
    position = 0 if "===" in str(rules.specifier) else 1
    allowed = dict(rules.specifier.filter(versions.items(), prereleases=True, key=itemgetter(position)))
    files: dict[Version, list[Dist]] = defaultdict(list)
    for dist in dists:
        if dist.version in allowed:
            files[allowed[dist.version]].append(dist)
    return sorted(files.items(), key=itemgetter(0), reverse=True)


def _without_version(dists: Iterable[Dist], rules: _Rules) -> list[Dist]:
    """Folders, repositories, archives of which only the bytes tell: every version will do."""
    return [dist for dist in dists if dist.version is None and _withheld(dist, rules) is None]


@lru_cache(maxsize=16_384)
def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except ValueError:  # InvalidVersion, or a number too long for int()
        return None


def _is_pinned(specifier: SpecifierSet) -> bool:
    """PEP 592: to one version, by `==` without a wildcard or by `===`."""
    return any(
        clause.operator == "===" or (clause.operator == "==" and not clause.version.endswith(".*"))
        for clause in specifier
    )


# One file: a reason to leave it out, or None


@frozen
class _Reason:
    """Why files are left out. `{count}` is their number, `{python}` what they require."""

    code: str
    one: str
    many: str
    hint: str


YANKED = _Reason(
    "yanked", "1 is yanked", "{count} are yanked", "A yanked release is taken where it is pinned with `==`."
)
TOO_NEW = _Reason(
    "too-new",
    "1 is newer than `--exclude-newer` allows",
    "{count} are newer than `--exclude-newer` allows",
    "Give a later date with `--exclude-newer`.",
)
UNDATED = _Reason(
    "undated",
    "1 has no upload time to compare with `--exclude-newer`",
    "{count} have no upload time to compare with `--exclude-newer`",
    "The index gives no upload times (PEP 700): leave out `--exclude-newer`.",
)
OTHER_HASH = _Reason(
    "other-hash",
    "1 has another hash than allowed",
    "{count} have other hashes than allowed",
    "Compare the `--hash` options with what the index says before you change them.",
)
NO_HASH = _Reason(
    "no-hash",
    "1 is a folder or repository, which has no hash",
    "{count} are folders or repositories, which have no hash",
    "Leave out the hash, or name an archive.",
)
NO_BINARY = _Reason(
    "no-binary",
    "1 wheel is ruled out by `--no-binary`",
    "{count} wheels are ruled out by `--no-binary`",
    "Allow wheels for this name.",
)
ONLY_BINARY = _Reason(
    "only-binary",
    "1 source distribution is ruled out by `--only-binary`",
    "{count} source distributions are ruled out by `--only-binary`",
    "Allow source distributions for this name.",
)
OTHER_TAGS = _Reason(
    "other-tags",
    "1 wheel is for another platform or Python",
    "{count} wheels are for other platforms or Pythons",
    "Ask for another version, or name another interpreter with `--python`.",
)
OTHER_PYTHON = _Reason(
    "other-python",
    "1 needs Python {python}",
    "{count} need Python {python}",
    "Ask for another version, or name another interpreter with `--python`.",
)
PRERELEASE = _Reason(
    "prerelease",
    "1 is a pre-release",
    "{count} are pre-releases",
    "Name a pre-release in the requirement, such as `>=2.0a1`, to allow them.",
)
OTHER_VERSION = _Reason(
    "other-version", "1 is another version", "{count} are other versions", "Ask for one of the versions that there are."
)
NO_VERSION = _Reason(
    "no-version",
    "1 has a version that is none",
    "{count} have versions that are none",
    "Versions have to follow PEP 440.",
)
REASONS = (
    OTHER_TAGS,
    OTHER_PYTHON,
    YANKED,
    PRERELEASE,
    NO_BINARY,
    ONLY_BINARY,
    OTHER_HASH,
    NO_HASH,
    TOO_NEW,
    UNDATED,
    OTHER_VERSION,
    NO_VERSION,
)


def _withheld(dist: Dist, rules: _Rules) -> _Reason | None:
    """A file that is not on offer is as good as not there."""
    if rules.hashes and not _may_have_hash(dist, rules.hashes):
        return NO_HASH if dist.kind == "tree" else OTHER_HASH
    if dist.kind == rules.refused_kind:
        return NO_BINARY if dist.kind == "wheel" else ONLY_BINARY
    if dist.version is None or rules.direct:
        return None
    if dist.yanked is not False and not rules.pinned:
        return YANKED
    return None if rules.exclude_newer is None else _too_new(dist, rules.exclude_newer)


def _unfit(dist: Dist, rules: _Rules) -> _Reason | None:
    """A file that is on offer, but not for this environment."""
    if dist.kind == "wheel" and _tag_rank(dist.filename, rules.tags) is None:
        return OTHER_TAGS
    if dist.requires_python and not _accepts(dist.requires_python, rules.python):
        return OTHER_PYTHON
    return None


def _may_have_hash(dist: Dist, allowed: frozenset[str]) -> bool:
    """One declared hash that is allowed is enough; without any of these algorithms the bytes will have to tell."""
    if dist.kind == "tree":
        return False
    return _has_hash(dist, allowed) or not _declared(dist).keys() & {text.partition(":")[0] for text in allowed}


def _has_hash(dist: Dist, allowed: frozenset[str]) -> bool:
    return any(f"{algorithm}:{digest}" in allowed for algorithm, digest in _declared(dist).items())


def _declared(dist: Dist) -> Mapping[str, str]:
    algorithm, _, digest = (dist.content or "").partition(":")
    content = {algorithm: digest} if algorithm == "sha256" else {}
    return {**content, **{name.lower(): text.lower() for name, text in dist.hashes.items()}}


def _too_new(dist: Dist, exclude_newer: float) -> _Reason | None:
    uploaded = _instant(dist.upload_time or "")
    if uploaded is None:
        return UNDATED
    return TOO_NEW if uploaded >= exclude_newer else None


def _instant(text: str) -> float | None:
    """Seconds since the epoch of an ISO 8601 instant, which is UTC unless it says otherwise (PEP 700)."""
    from datetime import UTC, datetime

    try:
        instant = datetime.fromisoformat(text)
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=4096)
def _accepts(requires_python: str, python: str) -> bool:
    """Whether `Requires-Python` allows that Python. What cannot be read forbids nothing, as in pip and uv.

    A pre-release counts as itself and as its final release: projects write `>=3.15` and mean 3.15.0b1 too.
    """
    version = _version(f"{python}local" if python.endswith("+") else python)
    try:
        specifier = SpecifierSet(requires_python)
        return version is None or any(
            specifier.contains(each, prereleases=True) for each in (version, version.base_version)
        )
    except ValueError:
        return True


# The order of the files of one version


def _best_first(dists: Iterable[Dist], rules: _Rules) -> list[Dist]:
    fitting = [dist for dist in dists if _unfit(dist, rules) is None]
    return sorted(fitting, key=lambda dist: _preference(dist, rules), reverse=True)


def _preference(dist: Dist, rules: _Rules) -> tuple[Any, ...]:
    """Higher is better; equals stay in the order of the source."""
    has_hash, is_current = _has_hash(dist, rules.hashes), dist.yanked is False
    if dist.kind != "wheel":
        return (has_hash, is_current, False, 0, ())
    return (has_hash, is_current, True, -(_tag_rank(dist.filename, rules.tags) or 0), _build_tag(dist.filename))


@frozen
class _Tags:
    """An interpreter's tags by rank (0 is best), and the parts that they are made of."""

    ranks: Mapping[str, int]
    parts: tuple[frozenset[str], ...]


@lru_cache(maxsize=16)
def _known_tags(tags: tuple[str, ...]) -> _Tags:
    ranks = {tag: rank for rank, tag in reversed(list(enumerate(tags)))}
    return _Tags(ranks, tuple(map(frozenset, zip(*(tag.split("-") for tag in tags), strict=True))))


def _tag_rank(filename: str, tags: _Tags) -> int | None:
    """The best rank in the compressed tag set at the end of a wheel's name (PEP 425); None where none fits.

    Only parts that the interpreter knows are combined, which bounds what a hostile name can cost.
    """
    written = filename.lower().removesuffix(".whl").rsplit("-", 3)[1:]
    if len(written) != len(tags.parts):
        return None
    known = (part & set(text.split(".")) for part, text in zip(tags.parts, written, strict=True))
    ranks = (tags.ranks.get("-".join(triple)) for triple in product(*known))
    return min((rank for rank in ranks if rank is not None), default=None)


def _build_tag(filename: str) -> tuple[int, str] | tuple[()]:
    """PEP 427: a number, then text; a wheel without one comes last."""
    parts = filename.split("-")
    match = BUILD_TAG.fullmatch(parts[2]) if len(parts) == 6 else None
    return (int(match[1]), match[2]) if match else ()


# What the user asks of every name


def _constraints_of(name: str, interpreter: Interpreter, policy: Policy) -> list[SpecifierSet]:
    constraints = _by_name(policy.constraints).get(name, ())
    return [constraint.specifier for constraint in constraints if matches_environment(constraint, interpreter)]


@lru_cache(maxsize=16)
def _by_name(constraints: tuple[str, ...]) -> Mapping[str | None, Sequence[Request]]:
    found: dict[str | None, list[Request]] = defaultdict(list)
    for constraint in map(parse_request, constraints):
        found[constraint.name].append(constraint)
    return found


def _refused_kind(name: str, policy: Policy) -> DistKind | None:
    """A name outranks `:all:`; otherwise `--only-binary` counts first, as in pip."""
    for asked in (name, ALL):
        if asked in policy.only_binary:
            return "sdist"
        if asked in policy.no_binary:
            return "wheel"
    return None


def _prereleases(specifier: SpecifierSet, policy: Policy) -> bool | None:
    """None is "only if there is nothing else"."""
    return policy.prereleases if policy.prereleases is not None else (specifier.prereleases or None)


# Why there is none


def _no_match(dists: Sequence[Dist], request: Request, interpreter: Interpreter, rules: _Rules) -> NoMatchError:
    left_out = _left_out(dists, rules)
    versions = sorted({version for dist in dists if (version := _version(dist.version or ""))}, reverse=True)
    python = interpreter.markers.get("python_version", interpreter.version)
    platform = "_".join(interpreter.markers.get(key, "unknown") for key in ("sys_platform", "platform_machine"))
    wanted = f"`{request.text}`" + (f" (constrained to `{rules.constrained}`)" if rules.constrained else "")
    if not dists:
        problem = "has no distribution: its source lists no file"
    elif left_out.keys() == {OTHER_VERSION}:
        problem = f"matches no version: {_there_are(versions, rules.specifier)}"
    else:
        problem = f"has no distribution for Python {python} on {platform}: {_because(left_out)}"
    return NoMatchError(
        f"{wanted} {problem}",
        hint=_hint(left_out),
        requirement=request.text,
        counts={reason.code: len(files) for reason, files in left_out.items()},
        versions=[str(version) for version in _nearest(versions, rules.specifier)],
        python=python,
        platform=platform,
    )


def _left_out(dists: Sequence[Dist], rules: _Rules) -> Mapping[_Reason, Sequence[Dist]]:
    """The files by the reason that each was left out for, in the order of `REASONS`."""
    versions = {dist.version: version for version, files in _matching(dists, rules) for dist in files}
    prereleases = _takes_prereleases(dists, versions, rules)
    found: dict[_Reason, list[Dist]] = defaultdict(list)
    for dist in dists:
        if reason := _reason(dist, versions, rules, prereleases=prereleases):
            found[reason].append(dist)
    return {reason: found[reason] for reason in REASONS if reason in found}


def _takes_prereleases(dists: Sequence[Dist], versions: Mapping[str | None, Version], rules: _Rules) -> bool:
    if rules.prereleases is not None:
        return rules.prereleases
    finals = {text for text, version in versions.items() if not version.is_prerelease}
    return not any(dist.version in finals and _withheld(dist, rules) is None for dist in dists)


def _reason(dist: Dist, versions: Mapping[str | None, Version], rules: _Rules, *, prereleases: bool) -> _Reason | None:
    """`versions` has those that match the requirement."""
    if dist.version is None:
        return _withheld(dist, rules) or _unfit(dist, rules)
    version = versions.get(dist.version)
    if version is None:
        return NO_VERSION if _version(dist.version) is None else OTHER_VERSION
    held_back = version.is_prerelease and not prereleases
    return _withheld(dist, rules) or (PRERELEASE if held_back else _unfit(dist, rules))


def _because(left_out: Mapping[_Reason, Sequence[Dist]]) -> str:
    return ", ".join(_told(reason, files) for reason, files in _telling(left_out).items())


def _telling(left_out: Mapping[_Reason, Sequence[Dist]]) -> Mapping[_Reason, Sequence[Dist]]:
    """Files of other versions say nothing where there are any of the right one."""
    return {reason: files for reason, files in left_out.items() if reason is not OTHER_VERSION} or left_out


def _told(reason: _Reason, files: Sequence[Dist]) -> str:
    required = sorted({dist.requires_python for dist in files if dist.requires_python})
    python = " or ".join(f"{text:.40}" for text in required[:MOST_NAMED])
    return (reason.one if len(files) == 1 else reason.many).format(count=len(files), python=python)


def _hint(left_out: Mapping[_Reason, Sequence[Dist]]) -> str:
    """Of the reason that most files were left out for."""
    telling = _telling(left_out)
    if not telling:
        return "Look whether the source is the right one."
    return max(telling, key=lambda reason: len(telling[reason])).hint


def _there_are(versions: Sequence[Version], specifier: SpecifierSet) -> str:
    named = _nearest(versions, specifier)
    rest = f" and {len(versions) - len(named)} more" if len(versions) > len(named) else ""
    return f"there {'is' if len(versions) == 1 else 'are'} {', '.join(map(str, named))}{rest}"


def _nearest(versions: Sequence[Version], specifier: SpecifierSet) -> Sequence[Version]:
    """A few of `versions` (highest first): those around the pinned one, else the highest."""
    pins = [_version(clause.version) for clause in specifier if clause.operator in {"==", "==="}]
    above = sum(version > pins[0] for version in versions) if pins and pins[0] else 0
    start = max(0, min(above - MOST_NAMED // 2, len(versions) - MOST_NAMED))
    return versions[start : start + MOST_NAMED]
