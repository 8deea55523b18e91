"""What a build depends on besides the tree: the state of what the project declares."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote_from_bytes

from attrs import frozen

from felloe.plugin import Json, SourceError
from felloe_path.content import Remembered
from felloe_path.declared import Declared
from felloe_path.exclusion import Exclusion
from felloe_path.reading import GONE, Check, shown, telling
from felloe_path.tree import Item, Listing, stamp_of

__all__ = ["Surroundings", "changed_parts", "evidence", "state_of_declared"]

MOST_FILES = 10_000  # that one pattern stands for
NONE = "none"


@frozen
class Surroundings:
    """Of the project in `folder`, all that does not belong to its tree below `root`: it is elsewhere, or left out.

    `inside` are the paths of what belongs to the tree, `left_out` those of what lies in it and does not.
    """

    root: Path
    folder: Path
    exclusion: Exclusion
    inside: frozenset[str]
    left_out: frozenset[str]

    @classmethod
    def of(cls, root: Path, folder: Path, exclusion: Exclusion, listing: Listing) -> Surroundings:
        inside = frozenset([".", *(item.path for item in listing.items)])
        return cls(root, folder, exclusion, inside, listing.left_out)

    def have(self, name: str) -> bool:
        """Whether `name`, a path from the project's folder, is no part of the tree: its content does not count yet."""
        place = self.folder / name
        return not any(self._path(each) in self.inside for each in (os.path.normpath(place), os.path.realpath(place)))

    def hide(self, name: str, pattern: str) -> bool:
        """Whether `name` is left out of the tree, and `pattern` has but a wildcard for that: it means no caches."""
        parts = self._path(os.path.normpath(self.folder / name)).split("/")
        paths = ("/".join(parts[:end]) for end in range(1, len(parts) + 1))
        top = next((path for path in paths if path in self.left_out), None)
        if top is None or top.rpartition("/")[2] in pattern.split("/"):
            return False
        return top != "/".join(parts) or not self.exclusion.is_excluded(top)

    def _path(self, place: str) -> str:
        """In the tree, with `/`; one that is in no tree where it lies elsewhere."""
        return Path(os.path.relpath(place, self.root)).as_posix()


def state_of_declared(
    declared: Declared, around: Surroundings, git: str | None, remembered: Remembered, check: Check
) -> str:
    """One text for all of it, "" where there is nothing: `env:NAME=<digest> file:../PATH=<digest> ...`.

    A digest has 16 hex digits; `none` stands for what is not there. No value is in it, and nothing that belongs to the
    tree. `git` is what version control says, if that counts. Raises SourceError for what cannot be read.
    """
    parts = {
        **{f"env:{_plain(name)}": _of_variable(name) for name in declared.variables},
        **{f"file:{_plain(name)}": _of_files(name, around, remembered, check) for name in declared.files},
        **{f"dir:{_plain(name)}": _of_folder(name, around) for name in declared.folders},
        **({"git": (git or NONE).replace(" ", ",")} if declared.git else {}),
    }
    return " ".join(f"{name}={value}" for name, value in sorted(parts.items()) if value is not None)


def changed_parts(old: Json, new: str | None) -> tuple[list[str], list[str]]:
    """The parts of two states that are not the same, as they were and as they are. One may be none, or no text."""
    before, after = (old if isinstance(old, str) else "").split(), (new or "").split()
    return [each for each in before if each not in after], [each for each in after if each not in before]


def evidence(gone: Sequence[str], come: Sequence[str]) -> str:
    """What has changed, as `old -> new`."""
    return f"{' '.join(gone) or NONE} -> {' '.join(come) or NONE}"


def _of_variable(name: str) -> str:
    value = os.environ.get(name)
    return NONE if value is None else _digest(os.fsencode(value))


def _of_folder(name: str, around: Surroundings) -> str | None:
    if not around.have(name):
        return None
    return "there" if (around.folder / name).is_dir() else NONE


def _of_files(pattern: str, around: Surroundings, remembered: Remembered, check: Check) -> str | None:
    """None where the tree has them all."""
    import glob

    if not glob.has_magic(pattern):
        return _of_file(pattern, around.folder, remembered, check)[:16] if around.have(pattern) else None
    named = list(_named(pattern, around, check))
    found = [name for name in named if around.have(name)]
    if named and not found:
        return None
    held = (f"{name}\0{_of_file(name, around.folder, remembered, check)}\0" for name in sorted(found))
    return _digest(os.fsencode("".join(held))) if found else NONE


def _named(pattern: str, around: Surroundings, check: Check) -> Iterator[str]:
    import glob

    number = 0
    for name in glob.iglob(pattern, root_dir=around.folder, recursive=True, include_hidden=True):  # noqa: PTH207  # `..`
        check()
        if around.hide(name, pattern) or not (around.folder / name).is_file():
            continue
        yield name
        number += around.have(name)
        if number > MOST_FILES:
            what = f"`{shown(pattern)}` in the cache-keys of `{shown(around.folder)}`"
            raise SourceError(
                f"{what} stands for more than {MOST_FILES} files",
                hint="write a pattern that stands for fewer",
                code="too-large",
            )


def _of_file(name: str, folder: Path, remembered: Remembered, check: Check) -> str:
    """The sha256 of what it holds, `none` where there is none, `folder` for a folder."""
    path = folder / name
    with telling(str(path)):
        try:
            real = path.resolve(strict=True)
            if real.is_dir():
                return "folder"
            return remembered.sha256(Item(f"{folder}\0{name}", "file", str(real), stamp=stamp_of(real.stat())), check)
        except GONE:
            return NONE


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()[:16]


def _plain(name: str) -> str:
    """Without spaces, which stand between the parts, and without what does not print."""
    return quote_from_bytes(os.fsencode(name), safe="/.*?[]~+@,:!-_")
