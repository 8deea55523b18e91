"""The variables of the environment that a backend gets, and which of them a build depends on. Pure.

One list decides both: what is passed and may change what is built is counted in the fingerprint, and what is not
counted is not passed. Passed without being counted are only the variables by which a process finds its programs, its
language, its time zone and its way to the network, those by which felloe knows its own processes, and the seed of
Python's hashes: test runners set another one each time, and where a build depends on it no result is the right one.

Git's `GIT_SSL_*` say whom to trust, as `SSL_CERT_*` do. `GIT_CONFIG_*` may say anything, also tokens: counted, each new
token would build everything again, and not counted, a build could change unseen. So they are passed where a user names
them, and not else.

A variable that a user has not set, and that makes builds repeatable or finds the toolchain of somebody's home folder
(which builds do not see), gets a value here. It is not counted: it is the same for everybody, or a path alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from felloe.errors import BuildError

__all__ = ["BUILD", "WAITING", "Role", "left_out", "naming_left_out", "of_role", "passed", "role_of", "told"]

Role = Literal["settings", "toolchain", "surroundings"]

BUILD = "FELLOE_BUILD"  # marks the processes of a build
WAITING = "FELLOE_WAITING_BUILDS"  # tells a felloe, which a backend may call, which builds wait for that

MARKS = frozenset({BUILD, WAITING})

MOST_LEFT_OUT = 100  # names that are given
MOST_TOLD = 12  # names in a line for people

# fmt: off
# What backends and the tools that make versions read: it may change any wheel, and metadata too.
SETTINGS = frozenset({"SOURCE_DATE_EPOCH"})
SETTINGS_PREFIXES = (
    "FLIT_", "HATCH_", "MATURIN_", "PBR_", "PDM_BUILD_", "POETRY_DYNAMIC_VERSIONING_", "SETUPTOOLS_",
    "VCS_VERSIONING_", "VERSIONINGIT_",
)
# What compilers and linkers, and the backends that call them, read.
TOOLCHAIN = frozenset(
    {
        "AR", "CC", "COMPILER_PATH", "CPATH", "CPLUS_INCLUDE_PATH", "CPP", "CXX", "C_INCLUDE_PATH", "DEVELOPER_DIR",
        "DISTUTILS_USE_SDK", "F77", "FC", "INCLUDE", "LD", "LDCXXSHARED", "LDSHARED", "LIB", "LIBPATH",
        "LIBRARY_PATH", "LIBS", "MACOSX_DEPLOYMENT_TARGET", "MAX_JOBS", "MSSDK", "RANLIB", "SDKROOT",
        "_PYTHON_HOST_PLATFORM",
    }
)
TOOLCHAIN_PREFIXES = (
    "CARGO_", "CMAKE_", "CUDA", "DYLD_", "LD_", "MESON", "PKG_CONFIG", "PYO3_", "RUST", "SKBUILD_",
)
TOOLCHAIN_SUFFIXES = ("FLAGS",)
# What changes no build that is right, and without which a process does not run, or is not understood.
SURROUNDINGS = frozenset(
    {
        "PATH", "LANG", "LANGUAGE", "TZ", "PYTHONHASHSEED",
        "ALL_PROXY", "FTP_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY",
        "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE",
        "COMSPEC", "NUMBER_OF_PROCESSORS", "OS", "PATHEXT", "PROCESSOR_ARCHITECTURE", "PROGRAMDATA", "PROGRAMFILES",
        "PROGRAMFILES(X86)", "PROGRAMW6432", "SYSTEMDRIVE", "SYSTEMROOT", "WINDIR",  # Windows
    }
)
SURROUNDINGS_PREFIXES = ("LC_", "SSL_CERT_", "GIT_SSL_")
IN_LOWER_CASE_TOO = frozenset({"all_proxy", "ftp_proxy", "https_proxy", "http_proxy", "no_proxy"})

# What makes builds repeatable. The instant is 1980-01-02, wherever one is no earlier than the first that a zip archive
# can have: no other is known on every way that the same bytes may come.
REPEATABLE = {"SOURCE_DATE_EPOCH": "315619200", "PYTHONHASHSEED": "0"}
# Where Rust is, below somebody's home folder.
IN_HOME = {"CARGO_HOME": ".cargo", "RUSTUP_HOME": ".rustup"}

# What every backend gets another value of.
REPLACED = frozenset(
    {"HOME", "PIP_NO_INPUT", "PYTHONDONTWRITEBYTECODE", "PYTHONNOUSERSITE", "TEMP", "TMP", "TMPDIR", "USERPROFILE"}
)
# What no build reads: it belongs to felloe, to a shell, to a terminal or to the session of somebody who is logged in.
OF_NO_BUILD = frozenset(
    {
        "COLORTERM", "COLUMNS", "DESKTOP_SESSION", "DISPLAY", "EDITOR", "FORCE_COLOR", "HOSTNAME", "IFS",
        "INVOCATION_ID", "JOURNAL_STREAM", "LINES", "LOGNAME", "LSCOLORS", "LS_COLORS", "MAIL", "MANPATH", "NO_COLOR",
        "OLDPWD", "PAGER", "PROMPT", "PROMPT_COMMAND", "PS1", "PS2", "PS4", "PWD", "SECURITYSESSIONID", "SHELL",
        "SHLVL", "STY", "USER", "USERNAME", "VISUAL", "VTE_VERSION", "WAYLAND_DISPLAY", "WINDOWID", "XAUTHORITY", "_",
    }
)
OF_NO_BUILD_PREFIXES = (
    "BASH_", "CLICOLOR", "DBUS_", "FELLOE_", "GNOME_", "GPG_", "GTK_", "HIST", "ITERM_", "KDE_", "KONSOLE_", "LESS",
    "QT_", "SESSION_", "SSH_", "SYSTEMD_", "TERM", "TMUX", "XDG_", "XPC_", "ZSH_", "__CF_",
)
# fmt: on


@lru_cache(maxsize=4096)  # a run asks for each variable and each project
def role_of(name: str, also: tuple[str, ...] = ()) -> Role | None:
    """What a variable is to a build, None for one that backends do not get.

    `also` are names, or beginnings of names with a `*`, which are settings because a user says so.
    """
    if name in MARKS:  # of one run, whatever a user names
        return "surroundings"
    if name in SETTINGS or name.startswith(SETTINGS_PREFIXES) or any(_is_meant(name, pattern) for pattern in also):
        return "settings"
    if name in TOOLCHAIN or name.startswith(TOOLCHAIN_PREFIXES) or name.endswith(TOOLCHAIN_SUFFIXES):
        return "toolchain"
    if name in SURROUNDINGS or name in IN_LOWER_CASE_TOO or name.startswith(SURROUNDINGS_PREFIXES):
        return "surroundings"
    return None


def of_role(role: Role, environ: Mapping[str, str], also: tuple[str, ...] = ()) -> dict[str, str]:
    """Those of the variables that are this to a build.

    Not one that has the value that it gets where nobody sets it: a felloe in a build has that.
    """
    return {
        name: value for name, value in environ.items() if role_of(name, also) == role and value != REPEATABLE.get(name)
    }


def passed(environ: Mapping[str, str], also: tuple[str, ...] = ()) -> dict[str, str]:
    """What a backend gets of the variables, and besides of what they leave open that a build should not."""
    given = {name: value for name, value in environ.items() if role_of(name, also) is not None}
    home = environ.get("HOME") or environ.get("USERPROFILE")
    found = {name: str(Path(home, folder)) for name, folder in IN_HOME.items()} if home else {}
    return {**found, **given, **{name: given.get(name) or value for name, value in REPEATABLE.items()}}


def left_out(environ: Mapping[str, str], also: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The names of those that a backend does not get and might read, sorted, 100 at most.

    Not among them is what every backend gets another value of, and what no build reads.
    """
    names = sorted(name for name in environ if role_of(name, also) is None and _might_be_read(name))
    return tuple(names[:MOST_LEFT_OUT])


def told(names: Iterable[str]) -> str:
    """Names as people read them: the first twelve, and how many more there are."""
    names = tuple(names)
    more = f" and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else ""
    return f"{', '.join(names[:MOST_TOLD])}{more}"


def naming_left_out(error: BuildError, names: Iterable[str]) -> BuildError:
    """The error of a hook that failed, with the variables that it did not get; any other error as it is."""
    if not error.payload.get("hook") or "left-out" in error.payload:
        return error
    names = tuple(names)
    message = error.message
    if names:
        message += f"\n  (it did not get {told(names)}: [tool.felloe.build] env passes what is named there)"
    return BuildError(message, hint=error.hint, code=error.code, **{**error.payload, "left-out": list(names)})


def _is_meant(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _might_be_read(name: str) -> bool:
    return name not in REPLACED and name not in OF_NO_BUILD and not name.startswith(OF_NO_BUILD_PREFIXES)
