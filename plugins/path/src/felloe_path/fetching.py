"""A copy of a project's folder for one build: of one state of it, never of two."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp

from attrs import frozen

from felloe.plugin import Context, Dist, Fetched, SourceChangedError
from felloe_path.copying import copy_tree, remove_tree
from felloe_path.project import Project, State, content_id, project_at, state_of, state_of_copy
from felloe_path.reading import aside, shown
from felloe_path.repository import hide_absent, lay_repository, repository_of, top_in

__all__ = ["fetch_tree"]

MOST_COPIES = 3


@frozen
class _Copy:
    """What was copied to `path` in the folder `into`, which is its own, and the state that it was found in."""

    into: Path
    path: Path
    state: State


async def fetch_tree(root: Path, folder: Path, dist: Dist, ctx: Context) -> Fetched:
    """A copy of `root` for the project in `folder`, in the state that was found before and is found after it.

    Files are hashed as they are copied, and a repository is looked at again: somebody may be at work there. Raises
    SourceChangedError where each of three copies was overtaken, and what `find` raises.
    """
    expected = (dist.content, dist.scm)
    for number in range(MOST_COPIES):
        project = await project_at(root, folder, ctx)
        if number:
            now = await state_of(project, ctx)
            expected = (content_id(project, now, editable=dist.editable), now.scm)
        copy = await _copy(project, ctx)
        content = content_id(project, copy.state, editable=dist.editable)
        if (content, copy.state.scm) == expected:
            return Fetched(
                path=copy.path,
                content=content,
                validators=copy.state.validators(),
                scm=copy.state.scm,
                editable_root=root if dist.editable else None,
            )
        await _remove(copy)
    raise SourceChangedError(
        f"`{shown(root)}` changed each time while it was copied, {MOST_COPIES} times",
        hint="wait until whatever writes there is done, or name in `exclude` of [tool.felloe] what no build needs",
        path=shown(root),
    )


async def _copy(project: Project, ctx: Context) -> _Copy:
    repository = await repository_of(project.folder, ctx)
    into = Path(mkdtemp(dir=ctx.scratch))
    path = into / _place(project.root, repository.top if repository else project.root)
    copied = await aside(lambda check: copy_tree(str(project.root), path, check, project.exclusion))
    if repository:
        top = top_in(path, project.root, repository)
        await aside(lambda check: lay_repository(repository, top, check))
        await hide_absent(project.root, repository, top, copied.listing, ctx)
    return _Copy(into, path, await state_of_copy(project, copied, ctx))


async def _remove(copy: _Copy) -> None:
    await aside(lambda _check: remove_tree(copy.into))


def _place(path: Path, top: Path) -> Path:
    """Where the copy of `path` has to lie for the folders above it, up to `top`, to be there as well."""
    outer = top if path.is_relative_to(top) else path
    return Path(outer.name or "folder") / path.relative_to(outer)
