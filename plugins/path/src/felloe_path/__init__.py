"""sdists, wheels and projects' folders on this machine (kind `path`), in the order of the line."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from os import fsencode, stat_result
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote_from_bytes

from attrs import evolve

from felloe.plugin import (
    CacheKey,
    Claim,
    Context,
    Dist,
    Entry,
    Fetched,
    Fresh,
    Json,
    Level,
    Request,
    RequirementError,
    SourceError,
    Stale,
    asks_scm,
    hookimpl,
    is_stepping,
    key_part,
    refuse_unknown,
    wheel_identity,
)
from felloe_path.content import Remembered, changed_files, content_of
from felloe_path.declared import changes, state_of_declared
from felloe_path.exclusion import PROJECT_FILES
from felloe_path.project import Project, project_at
from felloe_path.reading import Check, located, shown, special, telling, vanished
from felloe_path.tree import Item, listing_of, stamp_of

__all__ = ["LocalPath"]

T = TypeVar("T")


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
        return Claim(Level.SCHEME, "it answers for paths on this machine")

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
        """`find` has looked: what it found decides. Which files it was is told where the entry remembers them."""
        if dist.content != entry.content:
            files = entry.validators.get("files") if dist.kind == "tree" else None
            named = await _changed(files, dist, ctx) if isinstance(files, dict) else None
            old, new = named or (entry.content, dist.content)
            return Stale(code="content-changed", evidence=f"{old} -> {new}")
        if dist.scm != entry.scm:
            code, evidence = changes(entry.scm, dist.scm)
            return Stale(code=code, evidence=evidence)
        return Fresh(validators=entry.validators)

    @hookimpl
    async def fetch(self, dist: Dist, ctx: Context) -> Fetched:
        """A copy, which may have changed since `find`: what it says of itself is true of the copy."""
        from tempfile import mkdtemp

        path, into = Path(dist.locator["path"]), Path(mkdtemp(dir=ctx.scratch))
        if dist.kind == "tree":
            return await _fetched_tree(path, into, dist, ctx)
        from felloe_path.copying import copy_file

        target = into / key_part(dist.filename)
        try:
            await _aside(lambda check: copy_file(str(path), target, check))
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
        name, version = wheel_identity(request, filename) if is_wheel else (None, None)
        item = Item("", "file", str(path), stamp=stamp_of(status))
        try:
            digest = await _remembering(path, ctx, lambda remembered, check: remembered.sha256(item, check))
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
        folder = _folder(request, path)
        root, project = str(path), await project_at(path, folder, ctx)
        scm = await _scm_of(project, ctx)

        def look(remembered: Remembered, check: Check) -> tuple[str, str]:
            content = content_of(listing_of(root, check, project.exclusion), remembered, check).hexdigest()
            return content, state_of_declared(project.declared, folder, path, remembered, check)

        content, state = await _remembering(path, ctx, look)
        found = Dist(
            source=self.name,
            kind="tree",
            filename=_printable(path.name) or "folder",
            name=request.name,
            subdirectory=request.subdirectory,
            scm=_joined(scm, state),
            editable=request.editable,
            locator={"path": root},
        )
        return evolve(found, content=_content_id(found, content))


async def _changed(files: Mapping[str, Json], dist: Dist, ctx: Context) -> tuple[str, str] | None:
    path = Path(dist.locator["path"])
    project = await project_at(path, _real(path, dist), ctx)

    def look(remembered: Remembered, check: Check) -> tuple[str, str] | None:
        listing = listing_of(str(path), check, project.exclusion)
        return changed_files(files, content_of(listing, remembered, check).files)

    return await _remembering(path, ctx, look)


def _folder(request: Request, path: Path) -> Path:
    """The real path of the project in the folder `path`. Raises RequirementError, SourceError where there is none."""
    given = path / (request.subdirectory or "")
    with telling(str(given)):
        project = given.resolve()
        is_project = any((project / name).is_file() for name in PROJECT_FILES)
    if not project.is_relative_to(path):
        raise RequirementError(
            f"`{shown(given)}` leads out of `{shown(path)}`", hint="give the folder itself", code="no-project"
        )
    if not is_project:
        raise SourceError(
            f"`{shown(given)}` is no project: it has no {', '.join(PROJECT_FILES[:-1])} or {PROJECT_FILES[-1]}",
            hint="give the folder that has one of them, or add a pyproject.toml",
            code="no-project",
        )
    return project


async def _fetched_tree(path: Path, into: Path, dist: Dist, ctx: Context) -> Fetched:
    from felloe_path.copying import copy_tree
    from felloe_path.repository import hide_absent, lay_repository, repository_of, state_of, top_in

    folder = _real(path, dist)
    project = await project_at(path, folder, ctx)
    state = await _aside(lambda check: state_of_declared(project.declared, folder, path, Remembered(None), check))
    repository = await repository_of(folder, ctx) if _uses_scm(project) else None
    copy = into / _place(path, repository.top if repository else path)
    copied = await _aside(lambda check: copy_tree(str(path), copy, check, project.exclusion))
    scm = None
    if repository:
        top = top_in(copy, path, repository)
        await _aside(lambda check: lay_repository(repository, top, check))
        await hide_absent(path, repository, top, copied.listing, ctx)
        scm = await state_of(top, ctx)
    return Fetched(
        path=copy,
        content=_content_id(dist, copied.content.hexdigest()),
        validators={"files": dict(copied.content.files)} if copied.content.files else {},
        scm=_joined(scm, state),
        editable_root=path if dist.editable else None,
    )


def _real(path: Path, dist: Dist) -> Path:
    """Of the project in the folder `path`, where no link is on the way."""
    return (path / (dist.subdirectory or "")).resolve()


def _place(path: Path, top: Path) -> Path:
    """Where the copy of `path` has to lie for the folders above it, up to `top`, to be there as well."""
    outer = top if path.is_relative_to(top) else path
    return Path(outer.name or "folder") / path.relative_to(outer)


def _uses_scm(project: Project) -> bool:
    return project.declared.git or asks_scm(project.folder)


async def _scm_of(project: Project, ctx: Context) -> str | None:
    if not _uses_scm(project):
        return None
    from felloe_path.repository import state_of

    return await state_of(project.folder, ctx)


def _joined(scm: str | None, declared: str) -> str | None:
    """What decides besides the content: the state of version control, and what is declared."""
    return " ".join(filter(None, [scm, declared])) or None


async def _remembering(path: Path, ctx: Context, look: Callable[[Remembered, Check], T]) -> T:
    """What `look` gives, with the memory of what was read below `path` before."""
    memo = ctx.memo(_digest(str(path)))
    remembered = Remembered(memo.get())
    found = await _aside(lambda check: look(remembered, check))
    if (news := remembered.news()) is not None:
        memo.set(news)
    return found


async def _aside(work: Callable[[Check], T]) -> T:
    """Off the event loop, until nobody waits any more. While stepping there is none: what reads a file stops that."""
    if is_stepping():
        return work(lambda: None)
    from anyio.from_thread import check_cancelled
    from anyio.to_thread import run_sync

    return await run_sync(work, check_cancelled)


def _content_id(dist: Dist, content: str) -> str:
    """An editable wheel leads to one folder, so an equal one has another content."""
    if dist.editable:
        content = sha256(fsencode(f"{dist.locator['path']}\0{content}")).hexdigest()
    return f"tree:{content}"


def _digest(path: str) -> str:
    return sha256(fsencode(path)).hexdigest()[:16]


def _printable(name: str) -> str:
    return name if name.isprintable() else quote_from_bytes(fsencode(name))
