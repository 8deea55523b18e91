"""The values, just now, of what a user says that builds of a project depend on."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from felloe.build_rules import DeclaredInput
from felloe.errors import ConfigError

__all__ = ["MOST_BYTES", "declared_values"]

MOST_BYTES = 64 * 2**20
CHUNK = 2**20


def declared_values(inputs: Iterable[DeclaredInput], environ: Mapping[str, str]) -> dict[str, str | None]:
    """Each by its text: a variable's value (None where it is not set), `sha256:HEX` of a file, or `absent`.

    Raises ConfigError for what is no file of at most 64 MiB that can be read; a FIFO or a device is not opened.
    """
    return {
        each.text: _of_file(each.text, each.path) if each.path else environ.get(each.variable or "") for each in inputs
    }


def _of_file(text: str, path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _refused(text, path, "is no regular file")
        return f"sha256:{_sha256(text, path)}"
    except (FileNotFoundError, NotADirectoryError):
        return "absent"
    except OSError as error:
        raise _refused(text, path, f"cannot be read: {error.strerror}") from error


def _sha256(text: str, path: Path) -> str:
    """Hex. What is in the place of the file by now is not waited for either."""
    hasher, size = hashlib.sha256(), 0
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:  # noqa: PTH123  # a descriptor
        while chunk := file.read(CHUNK):
            size += len(chunk)
            if size > MOST_BYTES:
                raise _refused(text, path, f"has more than {MOST_BYTES} bytes")
            hasher.update(chunk)
    return hasher.hexdigest()


def _refused(text: str, path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"`{text}`, on which builds are declared to depend, {why}: `{path}`",
        hint="Correct it in the table [tool.felloe.inputs.NAME] of the project.",
    )
