"""What made a build fail, and what to do about it, where its output says so in words that are known. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

__all__ = ["cause_of", "hint_for", "lacks_room"]

# Programs that builds start. Python says of these as of any file that it is not there.
_PROGRAMS = (
    "ar|bazel|bison|c\\+\\+|cargo|cc|clang|clang\\+\\+|cmake|cython|f77|f95|flex|g\\+\\+|gcc|gfortran|git|go|java|javac|"
    "ld|llvm-config|m4|make|meson|mpicc|mysql_config|nasm|ninja|node|npm|nvcc|patchelf|pg_config|pkg-config|pkgconf|"
    "protoc|rustc|swig|xslt-config|yasm"
)

# What is looked for, in this order: what is said of one thing that is missing comes before what may be said in passing.
_NO_ROOM = r"(?P<it>(?i:no space left on device|dis[ck] quota exceeded))"  # ENOSPC, EDQUOT
_NO_NETWORK = (
    r"(?P<it>(?i:temporary failure in name resolution|name or service not known|could not resolve host))",
    r"(?P<it>(?i:nodename nor servname provided|getaddrinfo failed|failed to resolve|no address associated with))",
    r"(?P<it>(?i:connection (?:refused|reset by peer|timed out|aborted)|network is unreachable|no route to host))",
    r"(?P<it>(?i:remote end closed connection|max retries exceeded|(?:read|operation) timed out))",
    r"(?P<it>(?i:spurious network error))",
    r"(?P<it>(?i:HTTP(?: Error|/[\d.]+)? (?:429|5\d\d))\b)",
)
_NO_MEMORY = (
    r"(?P<it>\bMemoryError\b|std::bad_alloc|(?i:cannot allocate memory|virtual memory exhausted|out of memory))",
    r"(?P<it>(?i:killed signal terminated program|too many open files)|\bKilled\b(?: *\(?signal 9\)?)?$)",
    r"(?P<it>\(signal: 9, SIGKILL)",
)
_PYTHON_HEADER = r"fatal error: '?(?P<it>Python\.h)\b"
_HEADERS = (
    r"fatal error: '?(?P<it>[\w.+/-]+\.(?:h|hh|hpp|hxx))'?(?:: No such file| file not found)",
    r"fatal error: (?P<it>[\w+/-]+): No such file",  # of C++: <Eigen/Core>
)
_LIBRARIES = (
    r"(?:cannot find|unable to find library|library not found for) -l(?P<it>[\w.+-]+)",
    r"ld: library '(?P<it>[\w.+-]+)' not found",
    r"No package '(?P<it>[^']+)' found",
    r"Package (?P<it>\S+) was not found in the pkg-config search path",
    r"ERROR: Dependency \"(?P<it>[^\"]+)\" not found",
    r"(?<!-- )Could NOT find (?P<it>(?!Python)\w+)",  # after dashes, CMake can do without it
)
_PROGRAM = (
    rf"No such file or directory: '(?P<it>(?:[^']*/)?(?:\w+-)*(?:{_PROGRAMS})(?:-[\d.]+)?)'",
    r"unable to execute '?(?P<it>[^\s']+?)'?: No such file",
    r"command '(?P<it>[^']+)' failed: No such file",
    r"\bmake(?:\[\d+\])?: (?P<it>[\w.+-]+): No such file",
    r"\benv: .?(?P<it>[\w.+-]+?).?: No such file",
    r"(?P<it>[\w.+-]+): command not found",
    r": \d+: (?P<it>[\w.+-]+): not found$",
    r"Program '(?P<it>[^' ]+)' not found",
    rf"(?i:(?:could not find|did not find|can't find|cannot find|unable to find):? '?(?P<it>{_PROGRAMS})\b)",
    rf"(?i:(?<![\w./-])(?P<it>{_PROGRAMS})'?(?: executable| compiler)? (?:was |is )?not (?:found|installed))",
    r"(?P<it>[Cc]argo|rustc), the (?:Rust package manager|rust compiler), is not installed",
    r"can't find (?P<it>Rust) compiler",
    r"(?P<it>CMake) must be installed",
    r"unable to find a build program corresponding to \"(?P<it>[^\"]+)\"",
)
_COMPILERS = (
    r"ERROR: Unknown compiler\(s\): \[\['(?P<it>[^']+)'",
    r"No CMAKE_(?P<it>C|CXX|Fortran|CUDA)_COMPILER could be found",
)
_MODULE = r"(?:ModuleNotFoundError|ImportError): No module named '?(?P<it>[\w.]+)'?"


def hint_for(output: Sequence[str]) -> str:
    """One sentence on what to do, from the last lines that a build printed; "" where none of them is known."""
    for patterns, sentence in _KNOWN:
        for found in _found(patterns, output):
            return sentence.format(found)
    module = next(_found((_MODULE,), output), "")
    return _module(module) if module else ""


def cause_of(output: Sequence[str]) -> Literal["machine", "accident"] | None:
    """Whether the last lines that a build printed tell of a thing that the machine lacks, or of an accident.

    An accident may not happen again: a full disk, memory that ran out, a network that could not be reached. None where
    they tell of neither: it is for the project to mend. That a module is missing is its fault too, as what is in its
    environment is what it asked for.
    """
    if any(_found((_NO_ROOM, *_NO_MEMORY, *_NO_NETWORK), output)):
        return "accident"
    return "machine" if any(_found((_PYTHON_HEADER, *_HEADERS, *_LIBRARIES, *_PROGRAM, *_COMPILERS), output)) else None


def lacks_room(output: Sequence[str]) -> bool:
    """Whether the last lines that a build printed say that a disk was full."""
    return any(_found((_NO_ROOM,), output))


def _found(patterns: Sequence[str], output: Sequence[str]) -> Iterator[str]:
    """What is missing, of the last line that says so first."""
    for line in reversed(output):
        for pattern in patterns:
            if match := re.search(pattern, line):
                yield match["it"]


def _module(name: str) -> str:
    top = name.partition(".")[0]
    return _MODULES.get(top) or (
        f"it needs the module `{top}` to build and does not say so: tell its author to add what brings it to "
        "`build-system.requires`, or install it beside the interpreter and build with --no-build-isolation"
    )


_KNOWN = (
    ((_NO_ROOM,), "the disk is full, or a quota: free some space, or name a folder elsewhere with --cache-dir"),
    (_NO_MEMORY, "memory, or another resource, ran out: build fewer at a time with --concurrent-builds, and try again"),
    (_NO_NETWORK, "it wanted to reach the network while it was built (`{}`): try again when it can be reached"),
    ((_PYTHON_HEADER,), "install the headers of this Python (`python3-dev` on Debian, `python3-devel` on Fedora)"),
    (_HEADERS, "the C header `{}` is missing: install the development package (`-dev`, `-devel`) of its library"),
    (_LIBRARIES, "the library `{}` is missing: install it, with its development package (`-dev`, `-devel`)"),
    (_PROGRAM, "the program `{}` is missing: install it, or put it on PATH"),
    (_COMPILERS, "a compiler (`{}`) is missing: install it, or put it on PATH"),
)

# Modules that were taken out of what everybody has.
_MODULES = {
    "distutils": "it needs `distutils`, which Python 3.12 has not: build with an older Python, or a newer version",
    "imp": "it needs `imp`, which Python 3.12 has not: build with an older Python, or a newer version",
    "pkg_resources": "it needs `pkg_resources`, which setuptools 82 has not: constrain builds to `setuptools<82`",
}
