"""What a project says in pyproject.toml of what its build depends on.

`exclude` of `[tool.felloe]` is what does not count; `cache-keys` of `[tool.felloe]`, or of `[tool.uv]`, is what counts
besides the tree, whose own files count anyway: files elsewhere, variables, version control.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from attrs import evolve, frozen

from felloe.plugin import ConfigError, SourceError
from felloe_path.content import Remembered
from felloe_path.exclusion import NOTHING, pattern_of
from felloe_path.reading import GONE, Check, shown, telling
from felloe_path.tree import Item, stamp_of

__all__ = ["Declared", "changes", "declared_by", "state_of_declared"]

TABLES = ("felloe", "uv")  # the first that has the key speaks alone
CACHE_KEYS, EXCLUDE, FELLOE = b"cache-keys", b"exclude", b"felloe"
LONGEST = 2**20  # bytes of pyproject.toml
MOST_FILES = 10_000  # that one pattern stands for
HINT = 'write "PATH", { file = "PATH" }, { dir = "PATH" }, { env = "NAME" } or { git = true }'
HINT_EXCLUDE = 'write patterns as in .gitignore, from the folder of the project: ["*.tmp", "/data", "docs/**/*.png"]'
PREFIXES = ("file:", "dir:", "env:")


@frozen
class Declared:
    """`files` are paths or patterns and `folders` paths, from the project's folder; `variables` are names.

    `git` is whether commits or tags count. `exclude` are globs for what does not (see `pattern_of`).
    """

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    git: bool = False
    exclude: tuple[str, ...] = ()


def declared_by(project: Path) -> Declared:
    """What the project in the folder `project` declares. Raises ConfigError, which names file and key, for a bad one.

    A pyproject.toml that cannot be read declares nothing: whoever reads the rest of it says what is wrong.
    """
    file = project / "pyproject.toml"
    tools = _document(file).get("tool")
    if not isinstance(tools, dict):
        return Declared()
    declared = Declared(exclude=tuple(_excluded_in(tools, file)))
    for name, key in _keys_in(tools, file):
        if not (taken := _with(declared, key)):
            raise ConfigError(f"`{name}` of `{shown(file)}` is no key of a cache: {key!r:.100}", hint=HINT)
        declared = taken
    return declared


def state_of_declared(declared: Declared, project: Path, root: Path, remembered: Remembered, check: Check) -> str:
    """One text for all of it but git, "" where there is nothing: `env:NAME=<digest> file:../PATH=<digest> ...`.

    A digest has 16 hex digits; `none` stands for what is not there. No value is in it. What lies in the tree below
    `root` is left out. Raises SourceError for what cannot be read.
    """
    files = [name for name in declared.files if not _is_within(name, project, root)]
    folders = [name for name in declared.folders if not _is_within(name, project, root)]
    parts = {
        **{f"env:{_plain(name)}": _of_variable(name) for name in declared.variables},
        **{f"file:{_plain(name)}": _of_files(name, project, root, remembered, check) for name in files},
        **{f"dir:{_plain(name)}": "there" if (project / name).is_dir() else "none" for name in folders},
    }
    return " ".join(f"{name}={value}" for name, value in sorted(parts.items()))


def changes(old: str | None, new: str | None) -> tuple[str, str]:
    """A code, and the parts of two states that are not the same, as old -> new."""
    before, after = (old or "").split(" "), (new or "").split(" ")
    gone, come = [each for each in before if each not in after], [each for each in after if each not in before]
    is_declared = all(each.startswith(PREFIXES) for each in filter(None, [*gone, *come]))
    evidence = f"{' '.join(gone) or 'none'} -> {' '.join(come) or 'none'}"
    return "declared-changed" if is_declared else "scm-changed", evidence


def _excluded_in(tools: Mapping[str, Any], file: Path) -> Iterator[str]:
    settings = tools.get(TABLES[0])
    globs = settings.get("exclude", []) if isinstance(settings, dict) else []
    if not isinstance(globs, list):
        raise ConfigError(f"`tool.felloe.exclude` of `{shown(file)}` is no list", hint=HINT_EXCLUDE)
    for number, glob in enumerate(globs):
        try:
            pattern_of([glob if isinstance(glob, str) else ""])
        except ValueError as error:
            what = f"`tool.felloe.exclude[{number}]` of `{shown(file)}`"
            raise ConfigError(f"{what} is no pattern for files: {glob!r:.100}", hint=HINT_EXCLUDE) from error
        yield glob


def _keys_in(tools: Mapping[str, Any], file: Path) -> Iterator[tuple[str, Any]]:
    """Each with the name that it has in an error."""
    for table in TABLES:
        settings = tools.get(table)
        if isinstance(settings, dict) and "cache-keys" in settings:
            keys = settings["cache-keys"]
            if not isinstance(keys, list):
                raise ConfigError(f"`tool.{table}.cache-keys` of `{shown(file)}` is no list", hint=HINT)
            yield from ((f"tool.{table}.cache-keys[{number}]", key) for number, key in enumerate(keys))
            return


def _document(file: Path) -> dict[str, Any]:
    """Read where one of the keys may be in it; empty where it cannot be read."""
    try:
        text = file.read_bytes() if file.is_file() and file.stat().st_size <= LONGEST else b""
        if CACHE_KEYS not in text and not (EXCLUDE in text and FELLOE in text):
            return {}
        import tomllib

        return tomllib.loads(text.decode())
    except (OSError, ValueError, RecursionError):
        return {}


def _with(declared: Declared, key: Any) -> Declared | None:
    """None for what is no key."""
    match key if isinstance(key, dict) else {"file": key}:
        case {"file": str(path), **rest} if _is_path(path) and not rest:
            return evolve(declared, files=(*declared.files, path))
        case {"dir": str(path), **rest} if _is_path(path) and not rest:
            return evolve(declared, folders=(*declared.folders, path))
        case {"env": str(name), **rest} if name and not set("=\0") & set(name) and not rest:
            return evolve(declared, variables=(*declared.variables, name))
        case {"git": bool(wanted), **rest} if not rest:
            return evolve(declared, git=declared.git or wanted)
        case {"git": dict(parts), **rest} if _is_git(parts) and not rest:
            return evolve(declared, git=declared.git or any(parts.values()))
    return None


def _is_path(text: str) -> bool:
    return bool(text) and "\0" not in text


def _is_git(parts: Mapping[Any, Any]) -> bool:
    return parts.keys() <= {"commit", "tags"} and all(isinstance(value, bool) for value in parts.values())


def _is_within(name: str, project: Path, root: Path) -> bool:
    """Whether the tree has it, so that its content counts already."""
    place = Path(os.path.normpath(project / name))
    return place.is_relative_to(root) and not any(NOTHING.covers("", name) for name in place.relative_to(root).parts)


def _of_variable(name: str) -> str:
    value = os.environ.get(name)
    return "none" if value is None else _digest(os.fsencode(value))


def _of_files(pattern: str, project: Path, root: Path, remembered: Remembered, check: Check) -> str:
    import glob

    if not glob.has_magic(pattern):
        return _of_file(pattern, project, remembered, check)[:16]
    found: list[str] = []
    for name in glob.iglob(pattern, root_dir=project, recursive=True, include_hidden=True):  # noqa: PTH207  # `..`
        check()
        if _is_within(name, project, root) or not (project / name).is_file():
            continue
        found.append(name)
        if len(found) > MOST_FILES:
            raise SourceError(
                f"`{shown(pattern)}` in the cache-keys of `{shown(project)}` stands for more than {MOST_FILES} files",
                hint="write a pattern that stands for fewer",
                code="too-large",
            )
    held = (f"{name}\0{_of_file(name, project, remembered, check)}\0" for name in sorted(found))
    return _digest(os.fsencode("".join(held))) if found else "none"


def _of_file(name: str, project: Path, remembered: Remembered, check: Check) -> str:
    """The sha256 of what it holds, `none` where there is none, `folder` for a folder."""
    path = project / name
    with telling(str(path)):
        try:
            real = path.resolve(strict=True)
            if real.is_dir():
                return "folder"
            return remembered.sha256(Item(f"{project}\0{name}", "file", str(real), stamp=stamp_of(real.stat())), check)
        except GONE:
            return "none"


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()[:16]


def _plain(name: str) -> str:
    """Without spaces, which stand between the parts, and without what does not print."""
    return quote_from_bytes(os.fsencode(name), safe="/.*?[]~+@,:!-_")
