"""sdists, wheels and projects' folders on this machine (kind `path`), in the order of the line."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from hashlib import sha256
from os import fsencode, stat_result
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote_from_bytes

from felloe.plugin import (
    CacheKey,
    Claim,
    Context,
    Dist,
    Entry,
    Fetched,
    Fresh,
    Level,
    Request,
    RequirementError,
    SourceError,
    Stale,
    hookimpl,
    key_part,
    refuse_unknown,
    sdist_identity,
    wheel_identity,
)
from felloe_path.content import remembering
from felloe_path.exclusion import PROJECT_FILES
from felloe_path.project import content_id, difference, project_at, state_of
from felloe_path.reading import aside, located, shown, special, telling, vanished
from felloe_path.surroundings import changed_parts, evidence
from felloe_path.tree import Item, stamp_of

__all__ = ["LocalPath"]


class LocalPath:
    """What a path names: a wheel, an sdist, or a project's folder, perhaps editable (`-e`).

    A file whose name ends in `.whl` is a wheel; any other is an sdist, whatever it is called. It has no settings: any
    raises ConfigError.
    """

    api = 1
    default = True

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        refuse_unknown(name, settings)
        self.name = name

    @hookimpl
    def claims(self, request: Request) -> Claim | None:
        if request.path is None:
            return None
        return Claim(level=Level.SCHEME, reason="it answers for paths on this machine")

    @hookimpl
    def address(self) -> str:
        return ""

    @hookimpl
    async def find(self, request: Request, ctx: Context) -> Sequence[Dist]:
        """What is there now, by its content. Files that did not change since the last time are not read.

        Raises RequirementError for a wheel of another project, and for a file that would have to be edited; SourceError
        where nothing is there that could be a project, or where it cannot be read.
        """
        given = cast(Path, request.path)
        path, status = located(given)
        if stat.S_ISDIR(status.st_mode):
            return [await self._tree(request, path, ctx)]
        if not stat.S_ISREG(status.st_mode):
            raise special(given, status.st_mode)
        return [await self._file(request, path, status, ctx)]

    @hookimpl
    def cache_key(self, dist: Dist) -> CacheKey:
        """One entry for a place. What its projects tell of themselves, and editable wheels, are kept apart."""
        project = [f"subdirectory={dist.subdirectory}"] if dist.subdirectory else []
        editable = ["editable"] if dist.editable else []
        return CacheKey(parts=(_digest(dist.locator["path"]), *editable, *map(key_part, [*project, dist.filename])))

    @hookimpl
    async def check_freshness(self, dist: Dist, entry: Entry, ctx: Context) -> Fresh | Stale:
        """`find` has looked: what it found decides. What it was is told as far as the entry remembers it.

        What version control says is compared with what was said before, whether or not the core counted it.
        """
        if dist.content != entry.content:
            told = await _difference(dist, entry, ctx) if dist.kind == "tree" and entry.validators else None
            code, what = told or ("content-changed", f"{entry.content} -> {dist.content}")
            return Stale(code=code, evidence=what)
        if dist.scm != (known := entry.validators.get("scm")):
            return Stale(code="scm-changed", evidence=evidence(*changed_parts(known, dist.scm)))
        return Fresh(validators=entry.validators)

    @hookimpl
    async def fetch(self, dist: Dist, ctx: Context) -> Fetched:
        """A copy of one state of it. Raises SourceChangedError for a folder that does not keep still so long."""
        path = Path(dist.locator["path"])
        if dist.kind == "tree":
            from felloe_path.fetching import fetch_tree

            return await fetch_tree(path, _inside(path, dist.subdirectory), dist, ctx)
        from tempfile import mkdtemp

        from felloe_path.copying import copy_file

        target = Path(mkdtemp(dir=ctx.scratch)) / key_part(dist.filename)
        try:
            await aside(lambda check: copy_file(str(path), target, check))
        except FileNotFoundError as error:
            raise vanished(path) from error
        return Fetched(path=target)

    async def _file(self, request: Request, path: Path, status: stat_result, ctx: Context) -> Dist:
        if request.editable:
            raise RequirementError(
                f"`{request.text}` is a file, which cannot be edited", hint="give a folder, or leave out `-e`"
            )
        filename = _printable(cast(Path, request.path).name)
        is_wheel = filename.endswith(".whl")
        name, version = (wheel_identity if is_wheel else sdist_identity)(request, filename)
        item = Item("", "file", str(path), stamp=stamp_of(status))
        try:
            digest = await remembering(path, ctx, lambda remembered, check: remembered.sha256(item, check))
        except FileNotFoundError as error:
            raise vanished(path) from error
        return Dist(
            source=self.name,
            kind="wheel" if is_wheel else "sdist",
            filename=filename,
            name=request.name or name,
            version=version,
            content=f"sha256:{digest}",
            hashes={"sha256": digest},
            size=status.st_size,
            subdirectory=None if is_wheel else request.subdirectory,
            locator={"path": str(path)},
        )

    async def _tree(self, request: Request, path: Path, ctx: Context) -> Dist:
        project = await project_at(path, _folder(path, request.subdirectory), ctx)
        state = await state_of(project, ctx)
        return Dist(
            source=self.name,
            kind="tree",
            filename=_printable(path.name) or "folder",
            name=request.name,
            content=content_id(project, state, editable=request.editable),
            subdirectory=request.subdirectory,
            scm=state.scm,
            editable=request.editable,
            locator={"path": str(path)},
        )


async def _difference(dist: Dist, entry: Entry, ctx: Context) -> tuple[str, str] | None:
    path = Path(dist.locator["path"])
    return difference(
        entry.validators, await state_of(await project_at(path, _inside(path, dist.subdirectory), ctx), ctx)
    )


def _folder(path: Path, subdirectory: str | None) -> Path:
    """The real path of the project in the folder `path`. Raises RequirementError, SourceError where there is none."""
    project = _inside(path, subdirectory)
    given = str(path / (subdirectory or ""))
    with telling(given):
        is_project = any((project / name).is_file() for name in PROJECT_FILES)
    if not is_project:
        raise SourceError(
            f"`{shown(given)}` is no project: it has no {', '.join(PROJECT_FILES[:-1])} or {PROJECT_FILES[-1]}",
            hint="give the folder that has one of them, or add a pyproject.toml",
            code="no-project",
        )
    return project


def _inside(path: Path, subdirectory: str | None) -> Path:
    """The real path of what is in the folder `path`. Raises RequirementError where links lead elsewhere."""
    given = path / (subdirectory or "")
    with telling(str(given)):
        folder = given.resolve()
    if not folder.is_relative_to(path):
        raise RequirementError(
            f"`{shown(given)}` leads out of `{shown(path)}`", hint="give the folder itself", code="no-project"
        )
    return folder


def _digest(path: str) -> str:
    return sha256(fsencode(path)).hexdigest()[:16]


def _printable(name: str) -> str:
    return name if name.isprintable() else quote_from_bytes(fsencode(name))
