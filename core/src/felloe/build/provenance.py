"""Which of the wheels in a build's environment its backend came with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from felloe.build.plan import BuildSystem
from felloe.config import Limits
from felloe.errors import ArchiveError

if TYPE_CHECKING:
    from felloe.values import Wheel

__all__ = ["version_of_backend"]

DEFAULT_LIMITS = Limits()
SCHEMES = frozenset({"purelib", "platlib"})


def version_of_backend(system: BuildSystem, wheels: Sequence[Wheel], limits: Limits = DEFAULT_LIMITS) -> str:
    """Of the one wheel that has the backend's module in it; "" where that is none, or not to be told.

    A backend of the project's own (`backend-path`) has no version.
    """
    if system.backend_path:
        return ""
    module = system.backend.partition(":")[0].strip().replace(".", "/")
    found = [wheel for wheel in wheels if _has_module(wheel.path, module, limits)]
    return found[0].metadata.version if len(found) == 1 else ""


def _has_module(wheel: Path, module: str, limits: Limits) -> bool:
    try:
        return any(path.startswith((f"{module}.", f"{module}/__init__.")) for path in _modules(wheel, limits))
    except (ArchiveError, OSError):  # it is installed, so it was good; what is gone by now tells nothing
        return False


def _modules(wheel: Path, limits: Limits) -> Iterator[str]:
    """The paths of the files of a wheel as they are installed beside each other."""
    from felloe.net.limits import Budget
    from felloe.net.zip import ZipReader

    with wheel.open("rb") as file:
        entries = ZipReader(file, Budget(limits, os.fstat(file.fileno()).st_size)).entries
    for entry in entries:
        parts = entry.parts
        if len(parts) > 2 and parts[0].endswith(".data") and parts[1] in SCHEMES:
            parts = parts[2:]
        yield "/".join(parts)
