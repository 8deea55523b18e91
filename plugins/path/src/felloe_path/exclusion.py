"""What lies in a project's folder and does not belong to it: the one list."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

__all__ = ["NOTHING", "PROJECT_FILES", "Exclusion", "pattern_of", "possible_products"]

VERSION_CONTROL = frozenset({".git", ".hg", ".svn", ".bzr", ".jj", "_darcs", "CVS"})
CACHES = frozenset(
    {"__pycache__", ".eggs", ".hypothesis", ".mypy_cache", ".nox", ".pytest_cache", ".ruff_cache", ".tox"}
)
EGG_INFO = ".egg-info"  # the end of what setuptools calls the folder that its builds leave beside the sources
PRODUCTS = ("build", "dist")  # where tools put what they build; the next build would be of something else for that
PACKAGE = "__init__.py"
# The files that say what a project is: a pattern for many files may mean them by accident.
PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
TOKENS = re.compile(r"\*\*/|/\*\*$|\*+|\?|\[[!^]?\]?[^\]/]*\]|.", re.DOTALL)
IN_A_SET = re.compile(r"[\\^\[\]&~|]")  # what means something else there in a regular expression


@frozen(kw_only=True)
class Exclusion:
    """`products` are the paths of the folders with what was built, from the top of the tree with `/`.

    What the project in the folder `prefix` ("" at the top, else with `/` at its end) leaves out is what `pattern`
    matches, from that folder on.
    """

    products: frozenset[str] = frozenset()
    prefix: str = ""
    pattern: re.Pattern[str] | None = None

    def covers(self, path: str, name: str) -> bool:
        """Whether what is called `name` and lies at `path` in the tree does not belong to it, whatever it holds."""
        is_left_behind = name in VERSION_CONTROL or name in CACHES or name.endswith(EGG_INFO)
        return is_left_behind or path in self.products or self.is_excluded(path)

    def is_excluded(self, path: str) -> bool:
        """Whether the project itself says so."""
        if self.pattern is None or not path.startswith(self.prefix):
            return False
        place = path.removeprefix(self.prefix)
        return place not in PROJECT_FILES and self.pattern.fullmatch(place) is not None


NOTHING = Exclusion()


def possible_products(folder: Path) -> frozenset[str]:
    """The names of the folders at the top of `folder` that builds may have made: a package of that name is source."""
    places = ((name, os.path.join(folder, name)) for name in PRODUCTS)  # noqa: PTH118  # for each question
    return frozenset(
        name
        for name, place in places
        if os.path.isdir(place) and not os.path.isfile(os.path.join(place, PACKAGE))  # noqa: PTH112, PTH113, PTH118
    )


def pattern_of(globs: Sequence[str]) -> re.Pattern[str] | None:
    """For the paths that one of `globs` means, as in .gitignore: one without `/` means a name in any folder.

    `*`, `?` and `[...]` stand for what has no `/` in it, `**` for any number of folders. None where there are no globs.
    Raises ValueError for what is no glob.
    """
    return re.compile("|".join(map(_expression, globs)), re.DOTALL) if globs else None


def _expression(glob: str) -> str:
    text = glob.strip("/")
    parts = text.split("/")
    if "\0" in text or glob.startswith("!") or {"", ".", ".."} & set(parts):
        raise ValueError(f"{glob!r} is no glob for what is in a folder")
    expression = "".join(map(_translated, TOKENS.findall(text)))
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"{glob!r} is no glob: {error}") from error
    return expression if "/" in glob.rstrip("/") else f"(?:.*/)?{expression}"


def _translated(part: str) -> str:
    match part:
        case "**/":
            return "(?:[^/]+/)*"
        case "/**":
            return "/.+"
        case "?":
            return "[^/]"
        case _ if part.startswith("*"):
            return "[^/]*"
        case _ if part.startswith("[") and part != "[":
            negation = "^" if part[1] in "!^" else ""
            characters = IN_A_SET.sub(r"\\\g<0>", part[1 + len(negation) : -1])
            return f"(?!/)[{negation}{characters}]"
    return re.escape(part)
