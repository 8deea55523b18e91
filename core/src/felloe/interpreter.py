"""The Python asked about: which one it is, and its tags (PEP 425) and marker values (PEP 508).

felloe answers for an interpreter that need not be the one it runs on, and that may have nothing installed. Such a one
is asked in a process of its own, with our `packaging` and nothing else of ours; the answer is worth remembering. An old
one on which our `packaging` does not run says how it was built, and its tags are worked out here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import attrs

from felloe.errors import InterpreterError
from felloe.stepping import check_cancelled
from felloe.values import Interpreter, Json

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping

__all__ = [
    "TIME_LIMIT",
    "Remembered",
    "describe",
    "from_json",
    "identity",
    "key_of",
    "lasting_markers",
    "locate",
    "query",
    "to_json",
]

TIME_LIMIT = 30.0  # seconds
LOOK_SECONDS = 0.1  # between looks at whether somebody still waits
MAX_ANSWER_BYTES = 1024 * 1024
OLDEST = (3, 6)  # the system's Python of Linux distributions that are still maintained

VOLATILE = frozenset({"platform_release", "platform_version"})
_IN_ENVIRONMENT = ("Scripts/python.exe", "python.exe") if os.name == "nt" else ("bin/python", "bin/python3")
_ENVIRONMENTS = ("VIRTUAL_ENV", "CONDA_PREFIX")  # variables; the first that is set names the active environment
_GIVE_ONE = "give the path of a Python {}.{} or newer, or of an environment, with `--python`".format(*OLDEST)

# Runs in the interpreter asked, so it has to be readable for an old one. The answer goes into a file, because wrappers
# print what they like. Our packaging is loaded by its path: nothing else that lies beside it becomes importable. The
# marker values are those of PEP 508; how the build is found out is that of packaging.tags.
_SCRIPT = """
import json, os, platform, struct, sys, sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
answer, folder = sys.argv[1:]

def full_version(info):
    kind = "" if info.releaselevel == "final" else info.releaselevel[0] + str(info.serial)
    return "%d.%d.%d%s" % (info.major, info.minor, info.micro, kind)

def machine():
    architecture = sysconfig.get_platform() if os.name == "nt" else platform.machine()
    has_glibc = "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", ())
    c_library = os.confstr("CS_GNU_LIBC_VERSION") if has_glibc else "no glibc"
    return "%s, %d bit, %s" % (architecture, 8 * struct.calcsize("P"), c_library)

def is_debug():
    flag = sysconfig.get_config_var("Py_DEBUG")
    return bool(flag) if flag is not None else hasattr(sys, "gettotalrefcount") or "_d.pyd" in EXTENSION_SUFFIXES

def tags():
    from importlib.util import module_from_spec, spec_from_file_location
    start = os.path.join(folder, "__init__.py")
    spec = spec_from_file_location("packaging", start, submodule_search_locations=[folder])
    sys.modules["packaging"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["packaging"])
    from packaging import tags
    return [str(tag) for tag in tags.sys_tags()]

facts = {
    "path": sys.executable or "",
    "version": "%d.%d.%d" % sys.version_info[:3],
    "markers": {
        "implementation_name": sys.implementation.name,
        "implementation_version": full_version(sys.implementation.version),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    },
    "build": {
        "implementation": sys.implementation.name,
        "machine": machine(),
        "debug": is_debug(),
        "pymalloc": sysconfig.get_config_var("WITH_PYMALLOC") in (None, 1),
        "threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    },
}
try:
    facts["tags"] = tags()
except Exception:  # packaging does not run on every Python
    pass
with open(answer, "w") as file:
    json.dump(facts, file)
"""


class Remembered(Protocol):
    """Where descriptions of interpreters are kept, by `key_of` their path."""

    def get(self, key: str) -> Json:
        """The document, None where there is none."""
        ...

    def set(self, key: str, document: Json) -> None: ...


def describe(python: Path | None, remembered: Remembered, environ: Mapping[str, str]) -> Interpreter:
    """The interpreter that `python` means (see `locate`), as remembered, else as it says itself.

    May start a process and wait for it. Raises InterpreterError.
    """
    with _naming(_variable(python, environ)):
        path = locate(python, environ)
        key = key_of(path)
        return _known(remembered.get(key), path) or _asked(path, key, remembered)


def _asked(path: Path, key: str, remembered: Remembered) -> Interpreter:
    interpreter = query(path)
    if interpreter.path == path:  # what only leads to an interpreter may lead to another one tomorrow
        remembered.set(key, to_json(interpreter))
    return interpreter


def _known(document: Json, path: Path) -> Interpreter | None:
    try:
        interpreter = from_json(document)
    except ValueError:
        return None
    return interpreter if interpreter.path == path else None


@contextmanager
def _naming(variable: str | None) -> Iterator[None]:
    """Has the hint of an error name the environment variable that led to the interpreter."""
    try:
        yield
    except InterpreterError as error:
        if variable is not None:
            error.hint += f", or correct `{variable}`, which led here"
        raise


def lasting_markers(interpreter: Interpreter) -> dict[str, str]:
    """Its marker values (PEP 508) without those that an update of the machine's kernel may change."""
    return {name: value for name, value in interpreter.markers.items() if name not in VOLATILE}


# Which one


def locate(python: Path | None, environ: Mapping[str, str]) -> Path:
    """The absolute path of the interpreter: `python`, else the active environment's, else the one that runs felloe.

    `python` is a program, the root of an environment, or a bare name to be found on PATH. Symbolic links are not
    resolved: they are what makes an environment. Raises InterpreterError where there is no such program.
    """
    if python is not None:
        return _program(_on_path(python, environ), "the Python")
    if variable := _variable(None, environ):
        return _program(Path(environ[variable]), f"the active environment (`{variable}`)")
    if not sys.executable:
        raise InterpreterError("the Python that runs felloe does not know its own path", hint=_GIVE_ONE)
    return Path(sys.executable)


def _variable(python: Path | None, environ: Mapping[str, str]) -> str | None:
    """The environment variable that names the interpreter; None where an option does, or nothing."""
    if python is None:
        return next((name for name in _ENVIRONMENTS if environ.get(name)), None)
    written = Path(environ.get("FELLOE_PYTHON", "")).parts  # `python` is that, perhaps below the current folder
    return "FELLOE_PYTHON" if written and python.parts[-len(written) :] == written else None


def _on_path(python: Path, environ: Mapping[str, str]) -> Path:
    if python.name != str(python):
        return python
    found = shutil.which(str(python), path=environ.get("PATH", os.defpath))
    return python if found is None else Path(found)


def _program(path: Path, what: str) -> Path:
    is_folder = stat.S_ISDIR(_mode(path))
    candidates = [path / name for name in _IN_ENVIRONMENT] if is_folder else [path]
    for candidate in candidates:
        if stat.S_ISREG(_mode(candidate)):
            return _executable(candidate.absolute())
    reason = "is a folder without a Python in it" if is_folder else "is not there, or is not a file"
    raise InterpreterError(f"{what} `{path}` {reason}", hint=_GIVE_ONE, path=str(path))


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # not there, no permission to look, or no possible name
        return 0


def _executable(path: Path) -> Path:
    if not os.access(path, os.X_OK):
        raise InterpreterError(f"the Python `{path}` may not be executed", hint=_GIVE_ONE, path=str(path))
    return path


# What it says of itself


def query(path: Path, *, time_limit: float = TIME_LIMIT) -> Interpreter:
    """What the interpreter at the absolute `path` says of itself, within `time_limit` seconds.

    Where `path` is a program that starts an interpreter elsewhere, the answer has the path of that one.
    Raises InterpreterError where it is not a Python, or one that is too old.
    """
    if _is_running(path):
        return _myself(path)
    _check_configuration(path)
    facts = _ask(path, _library(), time_limit)
    try:
        interpreter = from_json({**facts, "tags": _tags(path, facts)})
    except ValueError as error:
        raise _not_a_python(path, f"gave an answer that cannot be right: {error}") from error
    return interpreter if _is_elsewhere(interpreter.path, path) else attrs.evolve(interpreter, path=path)


def _check_configuration(path: Path) -> None:
    """Raises InterpreterError where the interpreter would wait for its own pyvenv.cfg (PEP 405), which is a FIFO."""
    for folder in path.parents[:2]:
        mode = _mode(folder / "pyvenv.cfg")
        if mode and not stat.S_ISREG(mode):
            message = f"`{folder / 'pyvenv.cfg'}`, which says how `{path}` starts, is not a regular file"
            raise InterpreterError(message, hint=_GIVE_ONE, path=str(path))


def _is_running(path: Path) -> bool:
    """Whether this process runs on it, in the same environment: the same program in the same folder."""
    own = Path(sys.executable or os.devnull)
    return path == own or (_same(path, own) and _same(path.parent, own.parent))


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _is_elsewhere(own: Path, path: Path) -> bool:
    """Whether the interpreter's own path is good and another one than the path that started it."""
    return own.is_absolute() and stat.S_ISREG(_mode(own)) and not _same(own, path)


def _myself(path: Path) -> Interpreter:
    from packaging.markers import default_environment
    from packaging.tags import sys_tags

    return Interpreter(
        path=path,
        version=".".join(map(str, sys.version_info[:3])),
        tags=tuple(str(tag) for tag in sys_tags()),
        markers={name: str(value) for name, value in default_environment().items()},
    )


def _library() -> Path:
    import packaging

    return Path(packaging.__file__).parent


def _ask(path: Path, library: Path, time_limit: float) -> dict[str, Json]:
    """What the script tells; with `tags` where the packaging in the folder `library` runs there."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="felloe-", ignore_cleanup_errors=True) as folder:
        answer = Path(folder, "answer.json")
        # -I and -S: nothing of its environment; -B: no byte code beside our packaging
        code = _run([str(path), "-I", "-S", "-B", "-c", _SCRIPT, str(answer), str(library)], time_limit)
        if code != 0:
            raise _not_a_python(path, f"ended with exit code {code} when it was asked")
        return _read(answer, path)


def _run(argv: list[str], time_limit: float) -> int:
    """The exit code. All output is dropped: nothing is held up by it, however long it is and whoever keeps it open."""
    import subprocess

    none = subprocess.DEVNULL
    try:
        process = subprocess.Popen(  # noqa: S603  # the user named this program
            argv, stdin=none, stdout=none, stderr=none, start_new_session=True
        )
    except (OSError, ValueError) as error:
        raise _not_a_python(Path(argv[0]), f"cannot be run: {error}") from error
    try:
        return _wait(process, time_limit)
    except subprocess.TimeoutExpired as error:
        raise _not_a_python(Path(argv[0]), f"did not answer within {time_limit:g} s") from error
    finally:
        if process.returncode is None:  # it took too long, Ctrl-C, or nobody waits any more
            _end(process)


def _wait(process: subprocess.Popen[bytes], time_limit: float) -> int:
    """The exit code. Raises TimeoutExpired; on a thread, what cancellation raises."""
    from subprocess import TimeoutExpired

    end = time.monotonic() + time_limit
    while (left := end - time.monotonic()) > LOOK_SECONDS:
        check_cancelled()
        with suppress(TimeoutExpired):
            return process.wait(LOOK_SECONDS)
    return process.wait(max(left, 0.0))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and, where there are groups, what it started."""
    import signal

    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _read(answer: Path, path: Path) -> dict[str, Json]:
    if not answer.is_file():
        raise _not_a_python(path, "ran, but did not answer")
    with answer.open("rb") as file:
        raw = file.read(MAX_ANSWER_BYTES + 1)
    try:
        facts = json.loads(raw) if len(raw) <= MAX_ANSWER_BYTES else None
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise _not_a_python(path, "gave an answer that cannot be read")
    return facts


def _not_a_python(path: Path, reason: str) -> InterpreterError:
    hint = f"run `{path} -I -c pass` to see what is wrong, or {_GIVE_ONE}"
    return InterpreterError(f"`{path}` {reason}", hint=hint, path=str(path))


# Its tags


@attrs.frozen(kw_only=True)
class _Build:
    """What the tags of an interpreter follow from, beside its version."""

    implementation: str
    machine: str
    debug: bool
    pymalloc: bool
    threaded: bool


def _tags(path: Path, facts: dict[str, Json]) -> Json:
    """Those that it told, else those that its build makes. Raises InterpreterError; ValueError for odd facts."""
    release = _release(facts.get("version"))
    if release < OLDEST:
        raise _refused(path, facts, "felloe can ask {}.{} and newer".format(*OLDEST))
    if "tags" in facts:
        return facts["tags"]
    try:
        build = _Build(**facts["build"])
    except (KeyError, TypeError) as error:
        raise ValueError("it tells neither its tags nor its build") from error
    if build.implementation != "cpython":
        raise _refused(path, facts, f"felloe can ask one this old if it is CPython, and this is {build.implementation}")
    if build.machine != _machine():
        why = f"felloe can ask one this old if it is for what felloe runs on ({_machine()}), and this is for "
        raise _refused(path, facts, why + build.machine)
    return _made_tags(release, build)


def _release(version: Json) -> tuple[int, int]:
    try:
        major, minor, _ = map(int, version.split("."))
    except (AttributeError, ValueError) as error:
        raise ValueError("its version is not X.Y.Z") from error
    return major, minor


def _refused(path: Path, facts: dict[str, Json], why: str) -> InterpreterError:
    return InterpreterError(f"`{path}` is Python {facts['version']}; {why}", hint=_GIVE_ONE, path=str(path))


def _machine() -> str:
    """All that platform tags depend on, in the words of the script."""
    import platform
    import struct
    import sysconfig

    architecture = sysconfig.get_platform() if os.name == "nt" else platform.machine()
    return f"{architecture}, {8 * struct.calcsize('P')} bit, {_glibc() or 'no glibc'}"


def _made_tags(release: tuple[int, int], build: _Build) -> list[str]:
    """As `packaging.tags.sys_tags` of a CPython on this machine, whichever version it is."""
    from packaging.tags import compatible_tags, cpython_tags, platform_tags

    platforms = list(platform_tags())
    abis = _abis(release, build)
    tags = [
        *cpython_tags(release, abis, platforms),
        *compatible_tags(release, "cp{}{}".format(*release), platforms),
    ]
    return [str(tag) for tag in tags]


def _abis(release: tuple[int, int], build: _Build) -> list[str]:
    """As `packaging.tags` has them: `m` is gone since 3.8, which since then loads what is not for debugging, too."""
    plain = "cp{}{}".format(*release) + ("t" if build.threaded else "")
    if release < (3, 8):
        return [plain + ("d" if build.debug else "") + ("m" if build.pymalloc else "")]
    return [f"{plain}d", plain] if build.debug else [plain]


# Remembering


def to_json(interpreter: Interpreter) -> dict[str, Json]:
    """The document that `from_json` reads."""
    return {
        "path": str(interpreter.path),
        "version": interpreter.version,
        "tags": list(interpreter.tags),
        "markers": dict(interpreter.markers),
    }


def from_json(document: Json) -> Interpreter:
    """Raises ValueError where the document is not one that `to_json` gives. `version` is the release alone: X.Y.Z."""
    if not isinstance(document, dict):
        raise ValueError("the description of an interpreter is not an object")
    path, version = document.get("path"), document.get("version")
    tags, markers = document.get("tags"), document.get("markers")
    if not isinstance(path, str) or not isinstance(version, str):
        raise ValueError("the path and the version of an interpreter are strings")
    if not isinstance(tags, list) or not tags or not _all_strings(tags):
        raise ValueError("the tags of an interpreter are a list of strings")
    if not isinstance(markers, dict) or not _all_strings(list(markers.values())):
        raise ValueError("the markers of an interpreter map strings to strings")
    return Interpreter(path=Path(path), version=version, tags=tuple(tags), markers=markers)


def _all_strings(values: list[Json]) -> bool:
    return all(isinstance(value, str) for value in values)


def key_of(path: Path) -> str:
    """16 hex digits that change when a description may: see `identity`."""
    canonical = json.dumps(identity(path)).encode()
    return hashlib.sha256(canonical).hexdigest()[:16]


def identity(path: Path) -> tuple[Json, ...]:
    """All that a description is a function of: the program and its environment, the system, and our packaging.

    Raises InterpreterError where the program is gone.
    """
    import packaging

    program = _stamp(path)
    if program is None:
        raise InterpreterError(f"the Python `{path}` is not there", hint=_GIVE_ONE, path=str(path))
    environment = _stamp(path.parent.parent / "pyvenv.cfg")
    return (str(path), str(path.resolve()), program, environment, _system(), packaging.__version__)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Modification time in nanoseconds and size in bytes; symbolic links are followed."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _system() -> list[str]:
    """Kernel and C library: tags and markers name their versions, and an upgrade leaves every Python as it was."""
    if sys.platform == "win32":
        return [str(part) for part in sys.getwindowsversion()[:3]]
    system = os.uname()
    return [system.sysname, system.release, system.version, system.machine, _glibc()]


def _glibc() -> str:
    """As `glibc 2.36`; "" where there is another C library."""
    names = getattr(os, "confstr_names", ())  # not on Windows
    return (os.confstr("CS_GNU_LIBC_VERSION") or "") if "CS_GNU_LIBC_VERSION" in names else ""
