"""Which source a request belongs to. Pure: claims and pins in, sources in the order of asking out.

The rules keep private names private: a pinned or claimed name is asked of its owner alone, and never of two indexes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from attrs import frozen

from felloe.errors import AmbiguousSourceError, PluginError, RequirementError, SourceError
from felloe.registry import Instance, Registry
from felloe.values import Claim, Level, Request

__all__ = ["Claimed", "Route", "pinned_to", "route"]


@frozen
class Claimed:
    """What one source said of a request."""

    source: Instance
    claim: Claim


@frozen
class Route:
    """Who is asked, in this order; `reason` says why. Only a source that does not know the project hands on."""

    sources: tuple[Instance, ...]
    reason: str


def route(request: Request, claims: Sequence[Claimed], registry: Registry, pins: Mapping[str, str]) -> Route:
    """The sources to ask for `request`, given what all sources said of it, in the configured order.

    Raises AmbiguousSourceError, RequirementError (a dependency goes round a pin), SourceError (nobody claims it),
    PluginError (a source that might own the name could not be loaded), ConfigError (a pin to no source).
    """
    pin = pinned_to(request.name, pins)
    if request.url is not None or request.path is not None:
        _refuse_going_round(request, pin)
        claims = [claimed for claimed in claims if claimed.claim.level == Level.SCHEME]
    elif pin is not None:
        return Route((registry.instance(pin),), f"pinned to `{pin}`")
    if not claims:
        raise _nobody(request, registry)
    highest = max(claimed.claim.level for claimed in claims)
    best = [claimed for claimed in claims if claimed.claim.level == highest]
    if highest > Level.FALLBACK:
        return _only(request, best)
    if registry.failures:
        raise _not_all_loaded(request, registry)
    return Route(tuple(claimed.source for claimed in best), "the first of these that knows the project answers")


def pinned_to(name: str | None, pins: Mapping[str, str]) -> str | None:
    """The source that `name` (normalised) is pinned to: the first pattern that fits, in the order of the file."""
    return next((source for pattern, source in pins.items() if name and fnmatchcase(name, pattern)), None)


def _only(request: Request, best: Sequence[Claimed]) -> Route:
    if len(best) == 1:
        return Route((best[0].source,), best[0].claim.reason)
    sources = [claimed.source for claimed in best]
    who = " and ".join(
        f"`{each.name}` (of {each.kind.distribution[0]}: {c.claim.reason})"
        for each, c in zip(sources, best, strict=True)
    )
    raise AmbiguousSourceError(
        f"`{request.text}` is claimed by {who}",
        hint=_how_to_settle(request, sources[0]),
        sources=[source.name for source in sources],
    )


def _how_to_settle(request: Request, source: Instance) -> str:
    """A pin is for names: of two sources for one kind of direct reference, one has to go."""
    if request.url is not None or request.path is not None:
        kind = source.kind.name
        return f"uninstall one of them, or do without all sources of kind `{kind}`: FELLOE_DISABLE={kind}"
    return f'say which one, under [tool.felloe.pins] in pyproject.toml: "{request.name}" = "{source.name}"'


def _refuse_going_round(request: Request, pin: str | None) -> None:
    if pin is not None and request.origin != "user":
        raise RequirementError(
            f"`{request.text}` names another place for `{request.name}`, which is pinned to `{pin}`",
            hint="only you may do that, not a dependency: require it yourself, or remove the pin",
            code="pinned",
        )


def _nobody(request: Request, registry: Registry) -> SourceError:
    what, hint = "a name", "no index is configured: leave out --no-index and FELLOE_DISABLE, or install felloe-pypi"
    if request.url is not None or request.path is not None:
        what = f"a URL of scheme `{request.url.scheme}`" if request.url else "a path"
        hint = "install the plugin for it; `felloe sources` lists what is installed"
    if registry.failures:
        hint = registry.failures[0]
    return SourceError(f"no source answers for `{request.text}` ({what})", hint=hint, code="no-source")


def _not_all_loaded(request: Request, registry: Registry) -> PluginError:
    return PluginError(
        f"`{request.text}` is not asked of any index while a source is broken: {'; '.join(registry.failures)}",
        hint="a name that may be private must not reach a public index",
        code="source-not-loaded",
    )
