"""What lies where in an environment: the files of its wheels, their programs and byte code, and its Python. Pure."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from felloe.errors import BuildError
from felloe.installation.python import Python
from felloe.installation.scripts import launcher
from felloe.installation.wheel import Placed, WheelContents

__all__ = ["SCRIPTS", "File", "Item", "Link", "Script", "Text", "UnpackedWheel", "environment_contents"]

SCRIPTS = "bin"
OWN = "the environment"


@frozen(kw_only=True)
class Item:
    """One file of an environment. `of` says in words who brings it."""

    of: str


@frozen(kw_only=True)
class File(Item):
    """A file of the cache, as it is."""

    source: Path


@frozen(kw_only=True)
class Script(Item):
    """A file of the cache that is to be executed: PLACEHOLDER in its first line is to be replaced."""

    source: Path


@frozen(kw_only=True)
class Text(Item):
    content: bytes
    executable: bool = False


@frozen(kw_only=True)
class Link(Item):
    target: str


@frozen(kw_only=True)
class UnpackedWheel:
    """A wheel in the cache: `folder` has its files, `bytecode` maps the path of a module in it to its byte code."""

    filename: str
    folder: Path
    contents: WheelContents
    bytecode: Mapping[str, Path]


def environment_contents(python: Python, wheels: Sequence[UnpackedWheel]) -> Mapping[str, Item]:
    """All files of an environment by their paths in it, with slashes.

    Of two wheels that bring the same path, the later one counts; the environment's own files always do. Raises
    BuildError where one brings a file and another a folder of the same path.
    """
    items: dict[str, Item] = {}
    for wheel in wheels:
        items |= _of_wheel(wheel, python)
    bytecode = {wheel.folder / path: file for wheel in wheels for path, file in wheel.bytecode.items()}
    items |= _compiled(items, bytecode, python.cache_tag)
    items |= _own(python)
    _check(items)
    return items


def _of_wheel(wheel: UnpackedWheel, python: Python) -> Iterator[tuple[str, Item]]:
    of = f"`{wheel.filename}`"
    paths = []
    for path, item in (*_files(wheel, python, of), *_programs(wheel, of)):
        paths.append(path)
        yield path, item
    root = _folder(wheel.contents.root, wheel.contents, python)
    yield f"{root}/{wheel.contents.info}/RECORD", Text(of=of, content=_record(paths, wheel.contents.info, root))


def _files(wheel: UnpackedWheel, python: Python, of: str) -> Iterator[tuple[str, Item]]:
    for placed in wheel.contents.files:
        kind = Script if placed.scheme == "scripts" else File
        yield _target(placed, wheel.contents, python), kind(of=of, source=wheel.folder / placed.source)


def _programs(wheel: UnpackedWheel, of: str) -> Iterator[tuple[str, Item]]:
    for program in wheel.contents.programs:
        yield f"{SCRIPTS}/{program.name}", Text(of=of, content=launcher(program), executable=True)


def _target(placed: Placed, contents: WheelContents, python: Python) -> str:
    return posixpath.join(_folder(placed.scheme, contents, python), placed.path)


def _folder(scheme: str, contents: WheelContents, python: Python) -> str:
    """The headers' is the one of pip: in an environment, `include/pythonX.Y` is that of Python itself."""
    folders = {
        "purelib": python.purelib,
        "platlib": python.platlib,
        "scripts": SCRIPTS,
        "headers": f"include/site/{python.name}/{contents.project}",
        "data": "",
    }
    return folders[scheme]


def _record(paths: Iterable[str], info: str, root: str) -> bytes:
    """RECORD (recording installed projects): where the files are now. Hashes may be left out; nobody asks for them."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows([posixpath.relpath(path, root), "", ""] for path in sorted({*paths, f"{root}/{info}/RECORD"}))
    return text.getvalue().encode("utf-8", "surrogateescape")


def _compiled(items: Mapping[str, Item], bytecode: Mapping[Path, Path], tag: str) -> dict[str, Item]:
    """The byte code of all modules, in their places (PEP 3147)."""
    found: dict[str, Item] = {}
    for path, item in items.items():
        if isinstance(item, File) and item.source in bytecode:
            folder, name = posixpath.split(path)
            compiled = f"{folder}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc"
            found[compiled] = File(of=item.of, source=bytecode[item.source])
    return found


def _own(python: Python) -> dict[str, Item]:
    """pyvenv.cfg (PEP 405) and the Python, under the names that a venv has."""
    lines = [f"home = {python.path.parent}", "include-system-site-packages = false", f"version = {python.version}"]
    config = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    return {
        "pyvenv.cfg": Text(of=OWN, content=config),
        f"{SCRIPTS}/python": Link(of=OWN, target=str(python.path)),
        f"{SCRIPTS}/python3": Link(of=OWN, target="python"),
        f"{SCRIPTS}/{python.name}": Link(of=OWN, target="python"),
    }


def _check(items: Mapping[str, Item]) -> None:
    for path, item in sorted(items.items()):
        for parent in _parents(path):
            if parent in items:
                raise BuildError(
                    f"`{path}` of {item.of} lies below `{parent}`, which is a file of {items[parent].of}",
                    hint="they cannot be installed together: exclude one of them with a build constraint",
                    code="files-collide",
                )


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path
