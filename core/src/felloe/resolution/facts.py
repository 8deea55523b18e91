"""What a resolution knows so far: what sources list, and what the metadata of single distributions say. Pure.

Nothing here looks anything up. Who asks for a fact that is not known gets Unknown, which has the questions; the driver
puts in the answers, and then the same is asked again. An answer may be an error. That a project is not there, or that a
distribution is broken, only means that it cannot be taken; any other error is raised where the fact is needed, and
nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from functools import reduce
from operator import and_

from attrs import evolve, frozen
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_version
from packaging.version import Version

from felloe.config import Policy
from felloe.errors import ArchiveError, FelloeError, MetadataError, NoMatchError, ProjectNotFound, RequirementError
from felloe.metadata import check_identity
from felloe.request import matches_environment, parse_request
from felloe.select import ranked, select
from felloe.values import Dist, Interpreter, Metadata, Request

__all__ = ["Facts", "Option", "Question", "Unknown", "is_direct", "is_met"]

# A distribution that has one of these cannot be taken, and another is tried.
BROKEN = (ArchiveError, MetadataError, NoMatchError, RequirementError)


@frozen(kw_only=True)
class Question:
    """What is listed for `request`; or, with a `dist` of that list, what its metadata are."""

    request: Request
    dist: Dist | None = None


class Unknown(Exception):  # noqa: N818  # nothing is wrong: the driver answers and asks again
    """Facts that are needed, or soon will be, and are not known yet."""

    def __init__(self, questions: Iterable[Question]) -> None:
        super().__init__()
        self.questions = tuple(questions)


@frozen(kw_only=True)
class Option:
    """A distribution that could be taken, its version, and the request that it was listed for."""

    request: Request
    dist: Dist
    version: str


@frozen(kw_only=True)
class Details:
    """Of one distribution: its version, and all that it requires, whatever the marker, as its metadata have them."""

    version: str
    requires: Sequence[Request]


class Facts:
    """Facts for one interpreter and one policy.

    A Dist has mappings, so that it cannot be a key: it is known by its identity, and the list it is in keeps it alive.
    """

    def __init__(self, interpreter: Interpreter, policy: Policy) -> None:
        self._interpreter = interpreter
        self._policy = policy
        self._listings: dict[Hashable, Sequence[Dist] | FelloeError] = {}
        self._details: dict[int, Details | FelloeError] = {}
        # What was worked out: a resolver asks for the same again and again.
        self._orders: dict[Hashable, Sequence[Dist]] = {}
        self._options: dict[Hashable, Sequence[Option]] = {}
        self._requires: dict[Hashable, Sequence[Request]] = {}

    # -- what was answered

    def learn_listing(self, request: Request, answer: Sequence[Dist] | FelloeError) -> None:
        """What is listed for `request`, or why nothing is."""
        self._listings[_listing_key(request)] = answer

    def learn_metadata(self, request: Request, dist: Dist, answer: Metadata | FelloeError) -> None:
        """The metadata of `dist`, which is listed for `request`, or why there are none."""
        details = self._read(request, dist, answer) if isinstance(answer, Metadata) else answer
        self._details[id(dist)] = details
        if isinstance(details, BROKEN):
            self._options.clear()  # another may be the best of its version now

    def unlisted(self, requests: Iterable[Request]) -> list[Question]:
        """What has to be asked before `options` can look for `requests`."""
        missing = {key: request for request in requests if (key := _listing_key(request)) not in self._listings}
        return [Question(request=_listed_for(request)) for request in missing.values()]

    def undescribed(self, options: Iterable[Option]) -> list[Question]:
        """What has to be asked before `requires` can tell of `options`."""
        missing = {key: option for option in options if (key := id(option.dist)) not in self._details}
        return [Question(request=option.request, dist=option.dist) for option in missing.values()]

    # -- what is known

    def options(self, requests: Sequence[Request]) -> Sequence[Option]:
        """What fulfils all of `requests`, which have one name: the best of each version, the best version first.

        What a direct reference names wins over what is listed for the name; two that differ are fulfilled by nothing.
        Raises Unknown, and the error of what was looked up.
        """
        direct = {_place(request): request for request in requests if is_direct(request)}
        if len(direct) > 1:
            return ()
        listed = _listed_for(next(iter(direct.values()), requests[0]))
        key = (_listing_key(listed), *(request.text for request in requests))
        if key not in self._options:
            specifier = reduce(and_, (request.specifier for request in requests))
            self._options[key] = self._best_of_versions(listed, specifier)
        return self._options[key]

    def requires(self, option: Option, extras: frozenset[str]) -> Sequence[Request]:
        """What `option` requires in this environment with `extras`, and with those of its own that these ask for.

        What it requires of itself is left out where it meets that. Raises Unknown, and the error of what was looked up.
        """
        key = (id(option.dist), extras)
        if key not in self._requires:
            details = self._known(option.request, option.dist)
            self._requires[key] = [] if details is None else self._applying(details, option, extras)
        return self._requires[key]

    def known_options(self, requests: Sequence[Request]) -> Sequence[Option]:
        """As `options`; nothing where that would have to be looked up."""
        try:
            return self.options(requests)
        except Unknown:
            return ()

    def why_none(self, request: Request) -> FelloeError | None:
        """Why nothing fulfils `request` taken by itself; None where something does, or where nobody looked."""
        try:
            if self.options([request]):
                return None
        except Unknown:
            return None
        answer = self._listings[_listing_key(request)]
        if isinstance(answer, FelloeError):
            return answer
        for dist in self._ranked(answer, request):
            if isinstance(broken := self._details.get(id(dist)), BROKEN):
                return broken
        try:
            select([self._as_known(dist) for dist in answer], request, self._interpreter, self._policy)
        except NoMatchError as error:
            return error
        return None

    # -- the steps

    def _best_of_versions(self, listed: Request, specifier: SpecifierSet) -> Sequence[Option]:
        request = evolve(listed, specifier=specifier)
        best: dict[str, Option] = {}
        for dist in self._order(request):
            version = self._version(listed, dist)
            if version is not None and self._is_as_asked(dist, request, version):
                option = Option(request=listed, dist=dist, version=version)
                best.setdefault(canonicalize_version(version), option)
        return list(best.values())

    def _listed(self, request: Request) -> Sequence[Dist]:
        answer = self._listings.get(_listing_key(request))
        if answer is None:
            raise Unknown([Question(request=request)])
        if isinstance(answer, ProjectNotFound):
            return ()
        if isinstance(answer, FelloeError):
            raise answer
        return answer

    def _order(self, request: Request) -> Sequence[Dist]:
        key = (_listing_key(request), str(request.specifier))
        if key not in self._orders:
            self._orders[key] = self._ranked(self._listed(request), request)
        return self._orders[key]

    def _ranked(self, dists: Sequence[Dist], request: Request) -> Sequence[Dist]:
        return ranked(dists, request, self._interpreter, self._policy)

    def _version(self, listed: Request, dist: Dist) -> str | None:
        """None where `dist` is broken. What was named itself, not chosen by its version, is asked for it."""
        if _is_chosen(listed, dist):
            return None if isinstance(self._details.get(id(dist)), BROKEN) else dist.version
        details = self._known(listed, dist)
        return None if details is None else details.version

    def _is_as_asked(self, dist: Dist, request: Request, version: str) -> bool:
        """Whether the version that the metadata told is one that was asked for: ranking did not know it."""
        if _is_chosen(request, dist):
            return True
        return _is_allowed(request.specifier, version) and bool(self._ranked([self._as_known(dist)], request))

    def _as_known(self, dist: Dist) -> Dist:
        details = self._details.get(id(dist))
        return evolve(dist, version=details.version) if isinstance(details, Details) else dist

    def _known(self, listed: Request, dist: Dist) -> Details | None:
        """None where `dist` is broken."""
        details = self._details.get(id(dist))
        if details is None:
            raise Unknown([Question(request=listed, dist=dist)])
        if isinstance(details, BROKEN):
            return None
        if isinstance(details, FelloeError):
            raise details
        return details

    def _read(self, listed: Request, dist: Dist, metadata: Metadata) -> Details | FelloeError:
        """Every marker is tried, for one may have no meaning."""
        what = f"`{dist.filename}` of source `{dist.source}`"
        try:
            check_identity(metadata, name=listed.name, version=dist.version, what=what)
            self._check_python(listed, dist, metadata)
            requires = [parse_request(text, origin="dependency") for text in metadata.requires_dist]
            for request in requires:
                matches_environment(request, self._interpreter)
        except BROKEN as error:
            return error
        return Details(version=metadata.version, requires=requires)

    def _check_python(self, listed: Request, dist: Dist, metadata: Metadata) -> None:
        """Not every index says what Python a file needs. Raises NoMatchError, which does."""
        request = evolve(listed, text=f"{listed.name}=={metadata.version}", specifier=SpecifierSet())
        told = evolve(dist, version=metadata.version, requires_python=metadata.requires_python, yanked=False)
        select([told], request, self._interpreter, Policy())

    def _applying(self, details: Details, option: Option, extras: frozenset[str]) -> Sequence[Request]:
        name = option.request.name
        while True:
            applying = [request for request in details.requires if self._applies(request, extras)]
            more = extras.union(*(request.extras for request in applying if request.name == name))
            if more == extras:
                return [request for request in applying if request.name != name or not is_met(request, option)]
            extras = more

    def _applies(self, request: Request, extras: Collection[str]) -> bool:
        if matches_environment(request, self._interpreter):
            return True
        marker, markers = request.marker, self._interpreter.markers
        return marker is not None and any(marker.evaluate({**markers, "extra": extra}) for extra in extras)


def is_met(request: Request, option: Option) -> bool:
    """Whether `option`, which has the name that is asked for, is what `request` asks for."""
    place = _place(request)
    return (place is None or place == _place(option.request)) and _is_allowed(request.specifier, option.version)


def is_direct(request: Request) -> bool:
    """Whether it says where its distribution is."""
    return request.url is not None or request.path is not None


def _is_allowed(specifier: SpecifierSet, version: str) -> bool:
    """A pre-release too: whether one may be taken was decided when the options were listed.

    `===` compares the version as packaging writes it, not as the file name does: that is what `select` did.
    """
    return not specifier or specifier.contains(_normal(version), prereleases=True)


def _normal(version: str) -> str:
    """As packaging writes it; what is no version as it is."""
    try:
        return str(Version(version))
    except ValueError:
        return version


def _is_chosen(request: Request, dist: Dist) -> bool:
    """Whether it was chosen out of a list by the version that it has there."""
    return not is_direct(request) and dist.kind != "tree"


def _place(request: Request) -> Hashable:
    """Where a direct reference points to; None for a name alone."""
    if not is_direct(request):
        return None
    return (request.url and request.url.without_fragment(), request.path, request.subdirectory, request.hashes)


def _listing_key(request: Request) -> Hashable:
    return _place(request) if is_direct(request) else request.name


def _listed_for(request: Request) -> Request:
    """As a source is asked for it: a direct reference as it is; else the name alone, for all there is."""
    if is_direct(request):
        return request
    name = request.name or ""
    return Request(text=name, name=name, specifier=SpecifierSet(), origin=request.origin)
