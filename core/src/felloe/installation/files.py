"""An environment on disk: written file by file, or copied from one that is there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from felloe.installation.contents import File, Item, Link, Script, Text
from felloe.installation.scripts import PLACEHOLDER, relocatable
from felloe.stepping import check_cancelled

__all__ = ["copy_tree", "write_items"]

CHUNK = 1024 * 1024
MOST_AT_ONCE = 2**30
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def write_items(items: Mapping[str, Item], folders: Iterable[str], into: Path) -> None:
    """Writes all `items`, and `folders` that may be empty, below the empty folder `into`.

    No file is shared with the cache: what runs there may write to it. Raises OSError.
    """
    for folder in sorted({into.joinpath(path).parent for path in items} | {into / folder for folder in folders}):
        folder.mkdir(parents=True, exist_ok=True)
    for path, item in items.items():
        check_cancelled()
        _write(item, into / path)


def _write(item: Item, path: Path) -> None:
    match item:
        case File(source=source):
            _copy_file(str(source), str(path), source.stat().st_mode)
        case Script(source=source):
            _write_script(source, path)
        case Text(content=content, executable=executable):
            _write_new(path, content, executable=executable)
        case Link(target=target):
            path.symlink_to(target)


def _write_script(source: Path, path: Path) -> None:
    """Executable even where the archive does not say so."""
    with source.open("rb") as file:
        if file.read(len(PLACEHOLDER)) != PLACEHOLDER:
            _copy_file(str(source), str(path), 0o755)
        else:
            _write_new(path, relocatable(PLACEHOLDER + file.read()), executable=True)


def _write_new(path: Path, content: bytes, *, executable: bool) -> None:
    with os.fdopen(os.open(path, NEW_FILE, 0o755 if executable else 0o644), "wb") as file:
        file.write(content)


def copy_tree(source: Path, into: Path) -> None:
    """Copies what is below `source` into the empty folder `into`; no file is shared. Raises OSError."""
    pending = [(str(source), str(into))]
    while pending:
        folder, target_folder = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                check_cancelled()
                target = f"{target_folder}{os.sep}{entry.name}"
                if entry.is_symlink():
                    Path(target).symlink_to(Path(entry.path).readlink())
                elif entry.is_dir():
                    Path(target).mkdir()
                    pending.append((entry.path, target))
                elif entry.is_file():
                    _copy_file(entry.path, target, entry.stat().st_mode)


def _copy_file(source: str, target: str, mode: int) -> None:
    """By the file system where it can (it may share the blocks until one is written to), else byte by byte."""
    with _opened(source, os.O_RDONLY | os.O_NOFOLLOW) as reading, _opened(target, NEW_FILE, mode & 0o777) as writing:
        with suppress(OSError):
            _copy_range(reading, writing)
        while block := os.read(reading, CHUNK):  # nothing, if that got to the end
            _write_all(writing, block)


def _copy_range(reading: int, writing: int) -> None:
    if hasattr(os, "copy_file_range"):
        while os.copy_file_range(reading, writing, MOST_AT_ONCE):
            pass


def _write_all(descriptor: int, block: bytes) -> None:
    while block:
        block = block[os.write(descriptor, block) :]


@contextmanager
def _opened(path: str, flags: int, mode: int = 0) -> Iterator[int]:
    descriptor = os.open(path, flags, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
