"""`felloe sources`."""

from __future__ import annotations

from typing import Any

import click

from felloe import dispatch
from felloe.cli.options import CACHE, OUTPUT, SOURCES, open_session, shared
from felloe.cli.output import print_json
from felloe.hookspecs import API
from felloe.registry import Instance, Kind, Registry

__all__ = ["command"]


@click.command("sources")
@shared(SOURCES, CACHE, OUTPUT)
def command(as_json: bool, **options: Any) -> None:  # noqa: FBT001  # click's
    """The installed sources in the order in which they are asked, and why one is not there."""
    with open_session(options) as session:
        registry = session.database.database.registry
        rows = [_instance(instance) for instance in registry.instances] + _not_there(registry)
    if as_json:
        print_json(sources=rows, failures=list(registry.failures))
        return
    for row in rows:
        click.echo(f"{row['name']}: kind {row['kind']}, {row['distribution']} {row['version']}, API {row['api']}")
        click.echo(f"  {row['state']}{': ' + row['reason'] if row['reason'] else ''}")
        if row["address"]:
            click.echo(f"  address: {row['address']}")
        if row["hooks"]:
            click.echo(f"  hooks: {', '.join(row['hooks'])}")
    for failure in registry.failures:
        click.echo(f"warning: {failure}", err=True)


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
