"""`felloe cache`."""

from __future__ import annotations

from typing import Any

import click
from attrs import asdict

from felloe.cache import contents
from felloe.cli.options import CACHE, OUTPUT, open_session, shared
from felloe.cli.output import print_json

__all__ = ["command"]

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@click.group("cache")
def command() -> None:
    """Where the cache is, how large, what is in it; checking and cleaning it."""


@command.command("dir")
@shared(CACHE, OUTPUT)
def _dir(as_json: bool, **options: Any) -> None:  # noqa: FBT001  # click's
    """The folder of the cache."""
    with open_session(options) as session:
        root = str(session.database.database.cache.root)
    if as_json:
        print_json(dir=root)
    else:
        click.echo(root)


@command.command("size")
@shared(CACHE, OUTPUT)
def _size(as_json: bool, **options: Any) -> None:  # noqa: FBT001  # click's
    """Bytes on disk."""
    with open_session(options) as session:
        size = contents.size(session.database.database.cache)
    if as_json:
        print_json(bytes=size)
    else:
        click.echo(_readable(size))


@command.command("list")
@shared(CACHE, OUTPUT)
def _list(as_json: bool, **options: Any) -> None:  # noqa: FBT001  # click's
    """The entries: project, file, kind of source, when it was fetched."""
    with open_session(options) as session:
        database = session.database.database
        items = list(contents.items(database.cache, database.records))
    rows = [
        {
            "name": item.name,
            "filename": item.filename,
            "source": item.kind,
            "content": item.record.entry.content,
            "fetched": item.record.entry.fetched,
        }
        for item in items
    ]
    if as_json:
        print_json(entries=rows)
    for row in () if as_json else rows:
        click.echo(f"{row['name']}  {row['filename']}  {row['source']}  {row['fetched']}")


@command.command("verify")
@shared(CACHE, OUTPUT)
def _verify(as_json: bool, **options: Any) -> None:  # noqa: FBT001  # click's
    """Check all of it: bytes, records, the wheels that were built. Changes nothing."""
    from felloe.verify import Verification

    faults = []
    with open_session(options) as session:
        database = session.database.database
        verification = Verification(database.cache, database.run, database.config.limits)
        for fault in verification.faults():
            faults.append(asdict(fault))
            if not as_json:
                click.echo(f"{fault.path}: {fault.message}; {fault.hint}")
    if as_json:
        print_json(checked=dict(verification.counts), faults=faults)
    else:
        checked = ", ".join(f"{count} {what}" for what, count in verification.counts.items())
        click.echo(f"{f'{len(faults)} faults' if faults else 'all is well'} in {checked}", err=bool(faults))
    if faults:
        raise click.exceptions.Exit(1)


@command.command("clean")
@click.argument("names", nargs=-1)
@shared(CACHE, OUTPUT)
def _clean(names: tuple[str, ...], as_json: bool, **options: Any) -> None:  # noqa: FBT001  # click's
    """Remove what is known of the projects NAMES, or everything."""
    with open_session(options) as session:
        database = session.database.database
        wanted = frozenset(map(contents.normalised, names)) or None
        found = list(contents.items(database.cache, database.records)) if wanted else []
        freed = contents.clean(database.cache, database.run, found, wanted)
    if as_json:
        print_json(freed=freed)
    else:
        click.echo(f"{_readable(freed)} freed")


def _readable(size: float) -> str:
    for unit in UNITS[:-1]:
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {UNITS[-1]}"
