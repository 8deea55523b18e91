"""A project's folder: where it is, what it says of its builds, and what does not belong to it."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from felloe.plugin import Context
from felloe_path.declared import Declared, declared_by
from felloe_path.exclusion import Exclusion, pattern_of, possible_products

__all__ = ["Project", "project_at"]


@frozen(kw_only=True)
class Project:
    """The project in `folder`, which is the folder `root` itself or one in it; both are real paths."""

    root: Path
    folder: Path
    declared: Declared
    exclusion: Exclusion


async def project_at(root: Path, folder: Path, ctx: Context) -> Project:
    """As it is now. Raises ConfigError for what it declares wrongly."""
    products: set[str] = set()
    for top in dict.fromkeys([root, folder]):
        products |= {(top / name).relative_to(root).as_posix() for name in await _products(top, ctx)}
    declared, prefix = declared_by(folder), folder.relative_to(root).as_posix()
    exclusion = Exclusion(
        products=frozenset(products),
        prefix="" if folder == root else f"{prefix}/",
        pattern=pattern_of(declared.exclude),
    )
    return Project(root=root, folder=folder, declared=declared, exclusion=exclusion)


async def _products(top: Path, ctx: Context) -> frozenset[str]:
    """Folders called `build` and `dist` at the top of `top` that do not count.

    What is built must be what a clean checkout gives: so one that is a package does count, for it is a module of the
    project, and so does one in which git tracks a file. What is left was made by a build, as far as we can tell; it
    would make the next build another one.
    """
    possible = possible_products(top)
    if not possible:
        return possible
    from felloe_path.repository import tracked_in

    return possible - await tracked_in(top, possible, ctx)
