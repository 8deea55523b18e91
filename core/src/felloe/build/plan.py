"""What to build, and with what: decided from a source tree and the settings, before anything runs.

PEP 517 and 518 say what pyproject.toml means; a project without `[build-system]` is built by setuptools.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from felloe.build.variables import WAITING
from felloe.errors import BuildError
from felloe.metadata import load_pyproject
from felloe.values import BuildGoal, BuildJob, Dist, Fingerprint, Frame, Interpreter, Json, Stack

__all__ = [
    "BuildOrder",
    "BuildSystem",
    "build_id",
    "build_source",
    "id_of_source",
    "process_environ",
    "project_folder",
    "read_build_system",
    "read_pyproject",
    "waiting_builds",
]

LEGACY_BACKEND = "setuptools.build_meta:__legacy__"
LEGACY_REQUIRES = ("setuptools>=40.8.0",)
# The variables by which programs find the home folder.
HOMES = ("HOME", "USERPROFILE") if os.name == "nt" else ("HOME",)


@frozen(kw_only=True)
class BuildSystem:
    """The `[build-system]` table (PEP 517, 518), with its defaults."""

    requires: tuple[str, ...] = LEGACY_REQUIRES
    backend: str = LEGACY_BACKEND
    backend_path: tuple[str, ...] = ()


@frozen(kw_only=True)
class BuildOrder:
    """One build to be done: of which bytes, for which interpreter, with which settings, as far as `goal`.

    `archive` is the sdist, or a tree in scratch that the build may change; `another` brings one more copy of such a
    tree, as it was. `editable_root` is the project's own folder, for a wheel that leads there (PEP 660). `source` says
    what `build` is the id of. `what` names it in errors. `inputs` and `fingerprint` say all that the build depends on.
    `env` are the variables that its backend gets, but for those of its place, and `left_out` the names of the user's
    that it does not get. Where `may_build` is false, a backend that cannot prepare metadata is not asked for a wheel.
    What failed before the instant `newer_than` (seconds since the epoch) is tried again. `project` is its name
    (normalised; "" where nobody knows), by which it is found when it is to be removed. The rest is as in
    `felloe.values.BuildJob`.
    """

    build: str
    source: Mapping[str, Json] = field(factory=dict)
    what: str
    dist: Dist
    archive: Path
    another: Callable[[], Awaitable[Path]] | None = None
    editable_root: Path | None = None
    interpreter: Interpreter
    config_settings: Mapping[str, Json]
    constraints: tuple[str, ...] = ()
    extra_requires: tuple[str, ...] = ()
    fingerprint: Fingerprint
    inputs: Mapping[str, str] = field(factory=dict)
    env: Mapping[str, str] = field(factory=dict, repr=False)
    left_out: tuple[str, ...] = ()
    goal: BuildGoal
    project: str = ""
    may_build: bool = True
    newer_than: float | None = None
    stack: Stack = ()

    @property
    def frame(self) -> Frame:
        return Frame(build=self.build, name=f"{self.dist.name or self.dist.filename} {self.dist.version or ''}".strip())

    def job(self, tree: Path, env: Mapping[str, str]) -> BuildJob:
        """As whoever builds it sees it: the project is in the folder `tree`."""
        return BuildJob(
            dist=self.dist,
            tree=tree,
            goal=self.goal,
            interpreter=self.interpreter,
            config_settings=self.config_settings,
            constraints=self.constraints,
            extra_requires=self.extra_requires,
            env=env,
            fingerprint=self.fingerprint,
            stack=self.stack,
        )


def build_id(dist: Dist, content: str, scm: str | None = None) -> str:
    """32 hex digits: what is built, wherever it came from.

    `content` is the content id of its bytes, `scm` what version control says besides.
    """
    return id_of_source(build_source(dist, content, scm))


def build_source(dist: Dist, content: str, scm: str | None = None) -> dict[str, Json]:
    """What is built: all that its build id is made of. What is not so is left out."""
    source = {"content": content, "subdirectory": dist.subdirectory, "editable": dist.editable, "scm": scm}
    return {name: value for name, value in source.items() if value}


def id_of_source(source: Mapping[str, Json]) -> str:
    """The build id of what `build_source` gave."""
    nothing = {"content": "", "subdirectory": None, "editable": False, "scm": None}
    return hashlib.sha256(json.dumps({**nothing, **source}, sort_keys=True).encode()).hexdigest()[:32]


def project_folder(top: Path, dist: Dist, what: str) -> Path:
    """Where the project of `dist` is below the folder `top`. Raises BuildError."""
    folder = top / dist.subdirectory if dist.subdirectory else top
    if not folder.is_dir() or not folder.resolve().is_relative_to(top.resolve()):
        raise BuildError(
            f"{what} has no folder `{dist.subdirectory}`", hint="correct its subdirectory", code="no-project"
        )
    return folder


def read_pyproject(folder: Path) -> bytes | None:
    """None where there is no such file, or where it is not in the folder itself."""
    path = folder / "pyproject.toml"
    return None if path.is_symlink() else _read(path)


def read_build_system(source: Path, what: str) -> BuildSystem:
    """How the project in the folder `source` is built.

    Raises BuildError where there is no project, or its pyproject.toml is not as PEP 518 wants it.
    """
    raw = _read(source / "pyproject.toml")
    if raw is None:
        if not any(_is_file(source / name) for name in ("setup.py", "setup.cfg")):
            raise BuildError(
                f"{what} holds no project: there is no pyproject.toml, setup.py or setup.cfg",
                hint="correct the path or subdirectory, or choose another version",
                code="no-project",
            )
        return BuildSystem()
    try:
        document = load_pyproject(raw)
    except ValueError as error:
        raise _bad_pyproject(what, str(error)) from error
    return _build_system(document, what)


def waiting_builds(environ: Mapping[str, str]) -> frozenset[str]:
    """The builds (by id) that wait for the backend in whose process we run; none where we run in no backend's."""
    return frozenset(filter(None, environ.get(WAITING, "").split(",")))


def process_environ(
    env: Mapping[str, str], *, scripts: Path | None, temporary: Path, home: Path, waiting: Iterable[str] = ()
) -> dict[str, str]:
    """The environment of a backend: `env` (see BuildOrder), `scripts` first on PATH, and folders of its own.

    Who builds elsewhere has no scripts of ours. `waiting` are the builds that wait for it, its own among them. A home
    folder stays that of somebody where `env` has it.
    """
    path = os.pathsep.join(map(str, filter(None, [scripts, env.get("PATH", os.defpath)])))
    ours = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    if waiting:
        ours[WAITING] = ",".join(sorted({*waiting, *waiting_builds(env)}))
    ours |= {"PATH": path, "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1", "PIP_NO_INPUT": "1"}
    return {**dict.fromkeys(HOMES, str(home)), **env, **ours}


def _build_system(document: Mapping[str, Any], what: str) -> BuildSystem:
    if "build-system" not in document:
        return BuildSystem()
    table = document["build-system"]
    if not isinstance(table, dict):
        raise _bad_pyproject(what, "`build-system` is not a table")
    if "requires" not in table:
        raise _bad_pyproject(what, "`build-system.requires` is missing, and PEP 518 wants it")
    backend = table.get("build-backend", LEGACY_BACKEND)
    if not isinstance(backend, str) or not backend.strip():
        raise _bad_pyproject(what, "`build-system.build-backend` is not a text")
    if "backend-path" in table and "build-backend" not in table:
        raise _bad_pyproject(what, "there is a `backend-path`, and no `build-backend` in it")
    return BuildSystem(
        requires=_texts(table, "requires", what), backend=backend, backend_path=_texts(table, "backend-path", what)
    )


def _texts(table: Mapping[str, Any], key: str, what: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _bad_pyproject(what, f"`build-system.{key}` is not a list of texts")
    return tuple(value)


def _bad_pyproject(what: str, reason: str) -> BuildError:
    return BuildError(
        f"the pyproject.toml of {what} cannot be used: {reason}",
        hint="choose another version, or tell its author",
        code="bad-pyproject",
    )


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if _is_file(path) else None


def _is_file(path: Path) -> bool:
    """A regular file, through links that stay in the tree: the unpacking saw to that."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
