"""Wheels unpacked in the cache: once for all, and byte-compiled once for each form of byte code."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from felloe.cache.folders import Folders
from felloe.cache.layout import Layout
from felloe.command import run_command
from felloe.config import Limits
from felloe.errors import SourceError
from felloe.installation.contents import UnpackedWheel
from felloe.installation.python import Python
from felloe.installation.wheel import DEFAULT_LIMITS, read_wheel
from felloe.values import Wheel

__all__ = ["unpack_wheel"]

FILES = "files"  # beside the byte code, whose folders are named after its form

# Runs in the Python compiled for. The byte code of `a/b.py` is `a/b.pyc`. It is never compared with its source: nobody
# changes that. What cannot be compiled (a template, code for another Python) is left to whoever imports it.
COMPILE = """
import os, sys
from py_compile import PycInvalidationMode, compile
source, into = sys.argv[1:]
for folder, _, names in os.walk(source):
    for name in names:
        if name.endswith(".py"):
            path = os.path.join(folder, name)
            inner = os.path.relpath(path, source)
            target = os.path.join(into, inner + "c")
            compile(path, target, inner, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
"""


async def unpack_wheel(
    wheel: Wheel, python: Python, layout: Layout, folders: Folders, limits: Limits = DEFAULT_LIMITS
) -> UnpackedWheel:
    """`wheel` in the cache, with byte code for `python`. What is there already is not made again.

    Raises ArchiveError where it is no wheel; OSError, CacheError.
    """
    from anyio.to_thread import run_sync

    place = layout.unpacked(wheel.sha256)
    folder = await folders.made(place / FILES, partial(_unpack, wheel, limits))
    contents = await run_sync(read_wheel, folder, wheel.filename, limits)
    compiled = await folders.made(place / f"{python.cache_tag}-{python.magic}", partial(_compile, folder, python))
    bytecode = await run_sync(_bytecode, compiled)
    return UnpackedWheel(filename=wheel.filename, folder=folder, contents=contents, bytecode=bytecode)


async def _unpack(wheel: Wheel, limits: Limits, into: Path) -> Path:
    from anyio.to_thread import run_sync

    from felloe.net.archive import unpack

    await run_sync(unpack, wheel.path, wheel.filename, into, limits)
    return into


async def _compile(folder: Path, python: Python, into: Path) -> Path:
    """Byte code saves time and nothing else: whatever of it cannot be had is left out."""
    command = [str(python.path), "-I", "-S", "-B", "-W", "ignore", "-c", COMPILE, str(folder), str(into)]
    with suppress(SourceError):
        await run_command(command, cwd=into, env=None)
    return into


def _bytecode(compiled: Path) -> Mapping[str, Path]:
    """By the path of the module in the wheel."""
    found = compiled.rglob("*.pyc")
    return {path.relative_to(compiled).with_suffix(".py").as_posix(): path for path in found}
