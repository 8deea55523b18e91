"""What a project says in pyproject.toml of what its build depends on.

`exclude` of `[tool.felloe]` is what does not count; `cache-keys` of `[tool.felloe]`, or of `[tool.uv]`, is what counts
besides the tree, whose own files count anyway: files elsewhere, variables, version control.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from felloe.plugin import ConfigError
from felloe_path.exclusion import pattern_of
from felloe_path.reading import shown

__all__ = ["Declared", "declared_by"]

TABLES = ("felloe", "uv")  # the first that has the key speaks alone
CACHE_KEYS, EXCLUDE, FELLOE = b"cache-keys", b"exclude", b"felloe"
LONGEST = 2**20  # bytes of pyproject.toml
HINT = 'write "PATH", { file = "PATH" }, { dir = "PATH" }, { env = "NAME" } or { git = true }'
HINT_EXCLUDE = 'write patterns as in .gitignore, from the folder of the project: ["*.tmp", "/data", "docs/**/*.png"]'


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
