"""A project's folder: what it says of its builds, what does not belong to it, and the state that all of it is in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from attrs import field, frozen

from felloe.plugin import Context, Json, asks_scm
from felloe_path.content import Remembered, Seen, changed_files, content_of, remembering
from felloe_path.declared import Declared, declared_by
from felloe_path.exclusion import Exclusion, pattern_of, possible_products
from felloe_path.reading import Check, aside
from felloe_path.surroundings import Surroundings, changed_parts, evidence, state_of_declared
from felloe_path.tree import listing_of

__all__ = ["Project", "State", "content_id", "difference", "project_at", "state_of", "state_of_copy"]


@frozen(kw_only=True)
class Project:
    """The project in `folder`, which is the folder `root` itself or one in it; both are real paths.

    `asks_scm` is whether its build may ask version control.
    """

    root: Path
    folder: Path
    declared: Declared
    exclusion: Exclusion
    asks_scm: bool


@frozen(kw_only=True)
class State:
    """All that a build of a project depends on, as it is at one time.

    `tree` is the digest of its files in hex, and `files` that of each one where there are few. `declared` is the state
    of what it declares besides, and `scm` what version control says, where it asks for that.
    """

    tree: str
    files: Mapping[str, str] = field(factory=dict)
    declared: str = ""
    scm: str | None = None

    @property
    def content(self) -> str:
        """A digest of files and declaration in hex."""
        return sha256(f"{self.tree}\0{self.declared}".encode()).hexdigest() if self.declared else self.tree

    def validators(self) -> dict[str, Json]:
        """What tells later which of it has changed."""
        declared: dict[str, Json] = {"tree": self.tree, "declared": self.declared} if self.declared else {}
        files: dict[str, Json] = {"files": dict(self.files)} if self.files else {}
        return {**files, **declared, **({"scm": self.scm} if self.scm else {})}


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
    return Project(root=root, folder=folder, declared=declared, exclusion=exclusion, asks_scm=asks_scm(folder))


async def state_of(project: Project, ctx: Context) -> State:
    """As it is now; files that did not change since the last time are not read. Raises SourceError."""
    git = await _description(project, ctx)

    def look(remembered: Remembered, check: Check) -> State:
        listing = listing_of(str(project.root), check, project.exclusion)
        content = content_of(listing, remembered, check)
        return _state(project, Seen(content, listing), git, remembered, check)

    return await remembering(project.root, ctx, look)


async def state_of_copy(project: Project, copied: Seen, ctx: Context) -> State:
    """That of the files in a copy, and of all else as it is now."""
    git = await _description(project, ctx)
    return await aside(lambda check: _state(project, copied, git, Remembered(None), check))


def content_id(project: Project, state: State, *, editable: bool) -> str:
    """An editable wheel leads to one folder, so an equal one has another content."""
    content = state.content
    if editable:
        content = sha256(os.fsencode(f"{project.root}\0{content}")).hexdigest()
    return f"tree:{content}"


def difference(before: Mapping[str, Json], now: State) -> tuple[str, str] | None:
    """Why `now` has another content: a code, and what has changed as `old -> new`.

    `before` are the validators of the state that was. None where they do not tell.
    """
    gone, come, files = *changed_parts(before.get("declared"), now.declared), before.get("files")
    if before.get("tree") == now.tree:
        return "declared-changed", evidence(gone, come)
    changed = changed_files(files if isinstance(files, dict) else {}, now.files)
    if changed is None or not any([*changed, gone, come]):  # no entry remembers empty folders
        return None
    return "content-changed", evidence([*changed[0], *gone], [*changed[1], *come])


async def _description(project: Project, ctx: Context) -> str | None:
    if not (project.asks_scm or project.declared.git):
        return None
    from felloe_path.repository import description_of

    return await description_of(project.folder, ctx)


def _state(project: Project, copied: Seen, git: str | None, remembered: Remembered, check: Check) -> State:
    around = Surroundings.of(project.root, project.folder, project.exclusion, copied.listing)
    return State(
        tree=copied.content.hexdigest(),
        files=copied.content.files,
        declared=state_of_declared(project.declared, around, git, remembered, check),
        scm=git if project.asks_scm else None,
    )


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
