"""`felloe sources`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from felloe import dispatch
from felloe.cli.options import CACHE, OUTPUT, SOURCES, open_session, shared
from felloe.cli.output import print_json
from felloe.extensions import Extension
from felloe.hookspecs import API
from felloe.registry import Instance, Kind, Registry

__all__ = ["command"]


@click.command("sources")
@shared(SOURCES, CACHE, OUTPUT)
def command(as_json: bool, **options: Any) -> None:  # noqa: FBT001  # click's
    """The installed sources in the order in which they are asked, then the extensions, and why one is not there."""
    with open_session(options) as session:
        database = session.database.database
        registry = database.registry
        rows = [_instance(instance) for instance in registry.instances] + _not_there(registry)
        extensions = [_extension(each) for each in database.extensions.all()]
        failures = [*registry.failures, *database.extensions.failures]
    if as_json:
        print_json(sources=rows, extensions=extensions, failures=failures)
        return
    for row in rows:
        _print(row, f"kind {row['kind']}, ")
    if extensions:
        click.echo("\nextensions")
    for row in extensions:
        _print(row, "")
    for failure in registry.failures:  # those of extensions are told as events
        click.echo(f"warning: {failure}", err=True)


def _print(row: Mapping[str, Any], kind: str) -> None:
    click.echo(f"{row['name']}: {kind}{row['distribution']} {row['version']}, API {row['api']}")
    click.echo(f"  {row['state']}{': ' + row['reason'] if row['reason'] else ''}")
    if row.get("address"):
        click.echo(f"  address: {row['address']}")
    if row["hooks"]:
        click.echo(f"  hooks: {', '.join(row['hooks'])}")


def _extension(extension: Extension) -> dict[str, Any]:
    kind = extension.kind
    distribution, version = kind.distribution
    return {
        "name": kind.name,
        "distribution": distribution,
        "version": version,
        "api": getattr(kind.factory, "api", API),
        "hooks": sorted(extension.hooks),
        "state": kind.state,
        "reason": kind.reason,
    }


def _instance(instance: Instance) -> dict[str, Any]:
    hooks = sorted(instance.hooks)
    return {**_kind(instance.kind), "name": instance.name, "hooks": hooks, "address": dispatch.address(instance)}


def _not_there(registry: Registry) -> list[dict[str, Any]]:
    """The kinds of which there is no instance: not configured, disabled, or failed."""
    used = {instance.kind.name for instance in registry.instances}
    return [_kind(kind) | _why_none(kind) for kind in registry.kinds if kind.name not in used]


def _why_none(kind: Kind) -> dict[str, str]:
    """The kind itself is good where a source of it failed; that one is told of as a failure."""
    return {"state": "failed", "reason": "no source of it could be made"} if kind.state == "loaded" else {}


def _kind(kind: Kind) -> dict[str, Any]:
    distribution, version = kind.distribution
    return {
        "name": kind.name,
        "kind": kind.name,
        "distribution": distribution,
        "version": version,
        "api": getattr(kind.factory, "api", API),
        "hooks": [],
        "address": "",
        "state": kind.state,
        "reason": kind.reason,
    }
