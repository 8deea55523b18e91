"""Metadata that a user's file says by name and version, whatever the source has: `[[tool.felloe.metadata]]`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import frozen

from felloe import config_readers as read
from felloe.config_layers import Given, items_of
from felloe.errors import ConfigError, RequirementError
from felloe.values import Dist, Metadata

__all__ = ["Override", "overridden", "read_overrides"]

KEYS = ("name", "version", "requires-dist", "requires-python", "provides-extra")
is_extra = re.compile(r"[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?", re.IGNORECASE | re.ASCII).fullmatch


@frozen(kw_only=True)
class Override:
    """The metadata of a project (normalised) in one version, or with None in every one.

    All of them: what is not said is not there.
    """

    name: str
    version: str | None = None
    requires_dist: tuple[str, ...] = ()
    requires_python: str | None = None
    provides_extra: tuple[str, ...] = ()


def overridden(given: Sequence[Override], dist: Dist) -> Metadata | None:
    """What one of the overrides says of `dist`; None where none does.

    Versions are compared as PEP 440 has it, and one for just this version outranks one for every version. Where the
    version of `dist` is not known, a single override of that name, with a version, says that too. Pure.
    """
    named = [each for each in given if each.name == dist.name]
    chosen = _chosen(named, dist.version) if named else None
    if chosen is None:
        return None
    return Metadata(
        {
            "name": chosen.name,
            "version": dist.version or chosen.version,
            "requires-dist": list(chosen.requires_dist),
            "requires-python": chosen.requires_python,
            "provides-extra": list(chosen.provides_extra),
        }
    )


def _chosen(named: Sequence[Override], version: str | None) -> Override | None:
    if version is None:
        return named[0] if len(named) == 1 and named[0].version is not None else None
    same = [each for each in named if each.version is not None and _same(each.version, version)]
    return next(iter((*same, *(each for each in named if each.version is None))), None)


def _same(one: str, other: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return one == other or Version(one) == Version(other)
    except InvalidVersion:
        return False


# Reading them


def read_overrides(given: Given) -> tuple[Override, ...]:
    """A list of tables with the keys of METADATA. Raises ConfigError, also for two that say the same version."""
    if not isinstance(given.value, list | tuple):
        read.refuse(given, "tables `[[metadata]]`", given.value)
    found: list[Override] = []
    for item in items_of(given):
        override = _override(item)
        if any(_are_of_one_version(each, override) for each in found):
            of = f"version {override.version}" if override.version else "every version"
            raise ConfigError(f"two tables `{item.origin}` are of {of} of `{override.name}`", hint="Keep one of them.")
        found.append(override)
    return tuple(found)


def _are_of_one_version(one: Override, other: Override) -> bool:
    if one.name != other.name:
        return False
    if one.version is None or other.version is None:
        return one.version == other.version
    return _same(one.version, other.version)


def _override(given: Given) -> Override:
    read.check_table(given, KEYS)
    table: Mapping[str, object] = given.value
    name = given.at("name")
    return Override(
        name=read.normalised(name, read.text(name)),
        version=_version(given.at("version")) if "version" in table else None,
        requires_dist=_requires_dist(given.at("requires-dist")) if "requires-dist" in table else (),
        requires_python=_requires_python(given.at("requires-python")) if "requires-python" in table else None,
        provides_extra=_provides_extra(given.at("provides-extra")) if "provides-extra" in table else (),
    )


def _version(given: Given) -> str:
    from packaging.version import InvalidVersion, Version

    written = read.text(given)
    try:
        Version(written)
    except InvalidVersion:
        read.refuse(given, "a version as PEP 440 has it", written)
    return written


def _requires_dist(given: Given) -> tuple[str, ...]:
    from felloe.request import parse_pep508

    written = read.texts(given)
    for each in written:
        try:
            parse_pep508(each)
        except RequirementError as error:
            raise ConfigError(f"`{given.origin}`: {error.message}", hint=error.hint) from error
    return written


def _requires_python(given: Given) -> str:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    written = read.text(given)
    try:
        SpecifierSet(written)
    except InvalidSpecifier:
        read.refuse(given, "a specifier like `>=3.9`", written)
    return written


def _provides_extra(given: Given) -> tuple[str, ...]:
    written = read.texts(given)
    for each in written:
        if not is_extra(each):
            read.refuse(given, "a list of names of extras", each)
    return written
