"""The Python that an environment is made of: none that is in an environment itself, and how it lays one out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from attrs import frozen

from felloe.command import Bounds, run_command
from felloe.errors import InterpreterError, SourceError
from felloe.values import Interpreter, Json

__all__ = ["Python", "ask", "base_of"]

BOUNDS = Bounds(seconds=30.0, bytes=65536)
MOST_LEVELS = 10  # of environments made from environments
HINT = "give another Python with `--python`"

# Runs in the Python asked about, so it has to be readable for an old one.
SCRIPT = """
import importlib.util, json, os, sys, sysconfig
scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
root = sysconfig.get_path("data", scheme)
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "purelib": os.path.relpath(sysconfig.get_path("purelib", scheme), root),
    "platlib": os.path.relpath(sysconfig.get_path("platlib", scheme), root),
    "cache_tag": str(sys.implementation.cache_tag),
    "magic": importlib.util.MAGIC_NUMBER.hex(),
}))
"""


@frozen(kw_only=True)
class Python:
    """A Python at `path`. `purelib` and `platlib` are below the root of an environment, with slashes.

    `cache_tag` is in the names of files with byte code (PEP 3147), `magic` (hex) in their first bytes.
    """

    path: Path
    version: str
    purelib: str
    platlib: str
    cache_tag: str
    magic: str

    @property
    def name(self) -> str:
        """`pythonX.Y`."""
        return _name(self.version)


def base_of(interpreter: Interpreter) -> Path:
    """The program that runs `interpreter`, outside of all virtual environments (PEP 405), with links resolved.

    So does CPython itself to find its library. Raises InterpreterError where there is none.
    """
    path = interpreter.path.resolve()
    for _ in range(MOST_LEVELS):
        home = _home(path)
        if home is None:
            return path
        candidates = (home / name for name in (_name(interpreter.version), path.name, "python3"))
        found = next(filter(Path.is_file, candidates), None)
        if found is None:
            raise InterpreterError(f"`{path}` is in an environment whose Python is gone: `{home}`", hint=HINT)
        path = found.resolve()
    raise InterpreterError(f"`{interpreter.path}` is in an environment of an environment without end", hint=HINT)


def _home(python: Path) -> Path | None:
    """The folder that pyvenv.cfg names, where `python` has one; without that it is in no environment."""
    for folder in python.parents[:2]:
        home = next(_homes(folder / "pyvenv.cfg"), None)
        if home is not None:
            return home
    return None


def _homes(path: Path) -> Iterator[Path]:
    """Raises InterpreterError where the file is none, for which CPython waits as well."""
    try:
        if path.exists() and not path.is_file():
            raise InterpreterError(f"`{path}` is not a regular file", hint=HINT)
        text = path.read_text("utf-8", "surrogateescape")
    except OSError:  # for CPython, too, it is not there then
        return
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key.strip().lower() == "home" and value.strip():
            yield Path(value.strip())


def _name(version: str) -> str:
    return "python" + ".".join(version.split(".")[:2])


async def ask(path: Path, cwd: Path) -> Python:
    """What the Python at `path` says of itself; it runs in the folder `cwd`. Raises InterpreterError."""
    try:
        completed = await run_command([str(path), "-I", "-S", "-B", "-c", SCRIPT], cwd=cwd, env=None, bounds=BOUNDS)
    except SourceError as error:
        raise InterpreterError(f"no environment can be made of `{path}`: {error}", hint=HINT) from error
    try:
        return _python(path, json.loads(completed.stdout))
    except (ValueError, LookupError, TypeError) as error:
        raise InterpreterError(f"no environment can be made of `{path}`: it does not answer", hint=HINT) from error


def _python(path: Path, answer: dict[str, Json]) -> Python:
    """Raises ValueError, LookupError or TypeError where it is no answer to SCRIPT."""
    return Python(
        path=path,
        version=str(answer["version"]),
        purelib=_inside(answer["purelib"]),
        platlib=_inside(answer["platlib"]),
        cache_tag=str(answer["cache_tag"]),
        magic=str(answer["magic"]),
    )


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise ValueError(f"{path!r} is not below the root of an environment")
    return path
