"""What lies in a project's folder and does not belong to it: the one list."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import frozen

__all__ = ["NOTHING", "Exclusion", "possible_products"]

VERSION_CONTROL = frozenset({".git", ".hg", ".svn", ".bzr", ".jj", "_darcs", "CVS"})
CACHES = frozenset(
    {"__pycache__", ".eggs", ".hypothesis", ".mypy_cache", ".nox", ".pytest_cache", ".ruff_cache", ".tox"}
)
EGG_INFO = ".egg-info"  # the end of what setuptools calls the folder that its builds leave beside the sources
PRODUCTS = ("build", "dist")  # where tools put what they build; the next build would be of something else for that
PACKAGE = "__init__.py"


@frozen(kw_only=True)
class Exclusion:
    """`products` are the paths of the folders with what was built, from the top of the tree with `/`."""

    products: frozenset[str] = frozenset()

    def covers(self, path: str, name: str) -> bool:
        """Whether what is called `name` and lies at `path` in the tree does not belong to it, whatever it holds."""
        is_left_behind = name in VERSION_CONTROL or name in CACHES or name.endswith(EGG_INFO)
        return is_left_behind or path in self.products


NOTHING = Exclusion()


def possible_products(folder: Path) -> frozenset[str]:
    """The names of the folders at the top of `folder` that builds may have made: a package of that name is source."""
    places = ((name, os.path.join(folder, name)) for name in PRODUCTS)  # noqa: PTH118  # for each question
    return frozenset(
        name
        for name, place in places
        if os.path.isdir(place) and not os.path.isfile(os.path.join(place, PACKAGE))  # noqa: PTH112, PTH113, PTH118
    )
