"""What failed builds print, as compilers, linkers, shells and build tools say it, and what there is to do about it."""

from __future__ import annotations

import pytest

from felloe.build.hints import cause_of, hint_for, lacks_room


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("src/spam.c:1:10: fatal error: Python.h: No such file or directory", "python3-dev"),
        ("spam.c:1:10: fatal error: 'Python.h' file not found", "python3-dev"),
        ("c/_cffi_backend.c:15:10: fatal error: ffi.h: No such file or directory", "`ffi.h`"),
        ("./psycopg/psycopg.h:36:10: fatal error: libpq-fe.h: No such file or directory", "`libpq-fe.h`"),
        ("lxml/etree.c:1: fatal error: 'libxml/xmlversion.h' file not found", "`libxml/xmlversion.h`"),
        ("a.cpp:2:10: fatal error: Eigen/Core: No such file or directory", "`Eigen/Core`"),
        ("/usr/bin/ld: cannot find -lssl: No such file or directory", "`ssl`"),
        ("/usr/bin/ld: cannot find -lmysqlclient", "`mysqlclient`"),
        ("ld.lld: error: unable to find library -lz", "`z`"),
        ("ld: library not found for -lomp", "`omp`"),
        ("ld: library 'crypto' not found", "`crypto`"),
        ("No package 'libffi' found", "`libffi`"),
        ("Package cairo was not found in the pkg-config search path.", "`cairo`"),
        ('../meson.build:4:0: ERROR: Dependency "openblas" not found, tried pkgconfig', "`openblas`"),
        ("  Could NOT find OpenSSL, try to set the path to OpenSSL root folder", "`OpenSSL`"),
        ("error: command 'gcc' failed: No such file or directory", "`gcc`"),
        ("error: command '/opt/cc/x86_64-linux-gnu-gcc' failed: No such file or directory", "x86_64-linux-gnu-gcc`"),
        ("unable to execute 'gcc': No such file or directory", "`gcc`"),
        ("unable to execute x86_64-linux-gnu-gcc: No such file or directory", "`x86_64-linux-gnu-gcc`"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'cmake'", "`cmake`"),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/usr/bin/gcc-12'", "`/usr/bin/gcc-12`"),
        ("error: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'", "`x86_64-linux-gnu-gcc`"),
        ("/bin/sh: 1: gfortran: not found", "`gfortran`"),
        ("./configure: 12: nasm: not found", "`nasm`"),
        ("bash: line 1: swig: command not found", "`swig`"),
        ("/bin/sh: ninja: command not found", "`ninja`"),
        ("make[1]: gcc: No such file or directory", "`gcc`"),
        ("make: g++: No such file or directory", "`g++`"),
        ("env: 'cargo': No such file or directory", "`cargo`"),
        ("../meson.build:9:0: ERROR: Program 'f2py' not found or not executable", "`f2py`"),
        ("Did not find pkg-config by name 'pkg-config'", "`pkg-config`"),
        ("pkg-config not found", "`pkg-config`"),
        ("Error: pg_config executable not found.", "`pg_config`"),
        ("OSError: mysql_config not found", "`mysql_config`"),
        ("Cargo, the Rust package manager, is not installed or is not on PATH.", "`Cargo`"),
        ("error: can't find Rust compiler", "`Rust`"),
        ("Could not find cmake executable!", "`cmake`"),
        ("RuntimeError: CMake must be installed to build the following extensions: spam", "`CMake`"),
        ('CMake was unable to find a build program corresponding to "Ninja".', "`Ninja`"),
        ("../meson.build:1:0: ERROR: Unknown compiler(s): [['cc'], ['gcc'], ['clang']]", "`cc`"),
        ("  No CMAKE_CXX_COMPILER could be found.", "`CXX`"),
        ("ModuleNotFoundError: No module named 'numpy'", "`numpy`"),
        ("ModuleNotFoundError: No module named 'Cython.Build'", "`Cython`"),
        ("ImportError: No module named numpy", "`numpy`"),
        ("ModuleNotFoundError: No module named 'distutils'", "Python 3.12"),
        ("ModuleNotFoundError: No module named 'pkg_resources'", "`setuptools<82`"),
        ("OSError: [Errno 28] No space left on device: '/tmp/x'", "the disk is full"),
    ],
)
def test_what_is_missing_is_named(line: str, named: str) -> None:
    hint = hint_for(["running build_ext", line, "error: Command failed with exit code 1"])

    assert named in hint
    assert "\n" not in hint


@pytest.mark.parametrize(
    "line",
    [
        "",
        "error: command '/usr/bin/gcc' failed with exit code 1",
        "spam.c:1:10: fatal error: too many errors emitted, stopping now",
        "FileNotFoundError: [Errno 2] No such file or directory: 'README.md'",
        "FileNotFoundError: [Errno 2] No such file or directory: 'requirements/go.txt'",
        "-- Could NOT find Doxygen (missing: DOXYGEN_EXECUTABLE)",
        "checking for gcc... gcc",
        "checking for calendar... not found",
        "LookupError: setuptools-scm was unable to detect version for .",
        "RuntimeError: section: [tool.go] not found",
        "ValueError: calendar not found",
    ],
)
def test_what_is_not_known_gives_none(line: str) -> None:
    assert hint_for([line]) == ""
    assert hint_for([]) == ""


def test_a_header_tells_more_than_a_module() -> None:
    header = "spam.c:1:10: fatal error: ffi.h: No such file or directory"
    module = "ModuleNotFoundError: No module named 'optional'"

    assert hint_for([header, module]) == hint_for([module, header]) == hint_for([header])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("OSError: [Errno 28] No space left on device", True),
        ("/tmp/cc.s: fatal error: error writing to /tmp/cc.s: No space left on device", True),
        ("error: could not write output: No space left on device (os error 28)", True),
        ("Error: ENOSPC: no space left on device, write", True),
        ("cp: error writing 'x': Disk quota exceeded", True),
        ("cp: x: Disc quota exceeded", True),
        ("there is no space left", False),
        ("OSError: [Errno 12] Cannot allocate memory", False),
        ("", False),
    ],
)
def test_what_says_that_there_was_no_room(line: str, expected: bool) -> None:
    header = "spam.c:1:10: fatal error: ffi.h: No such file or directory"

    assert lacks_room([header, line, header]) is expected
    assert ("disk is full" in hint_for([header, line, header])) is expected


def test_the_last_of_a_kind_counts() -> None:
    modules = [f"ModuleNotFoundError: No module named '{name}'" for name in ("first", "last")]

    assert "`last`" in hint_for(modules)


def test_a_module_that_is_not_required_is_said_to_be_so() -> None:
    hint = hint_for(["ModuleNotFoundError: No module named 'numpy'"])

    assert "build-system.requires" in hint
    assert "--no-build-isolation" in hint


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("OSError: [Errno 28] No space left on device", "accident"),
        ("urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>", "accident"),
        ("urllib.error.URLError: <urlopen error [Errno 111] Connection refused>", "accident"),
        ("fatal: unable to access 'https://example.com/x.git/': Could not resolve host: example.com", "accident"),
        ("urllib.error.HTTPError: HTTP Error 503: Service Unavailable", "accident"),
        ("warning: spurious network error (3 tries remaining): [7] Could not connect to server", "accident"),
        ("gcc: fatal error: Killed signal terminated program cc1", "accident"),
        ("MemoryError", "accident"),
        ("OSError: [Errno 12] Cannot allocate memory", "accident"),
        ("OSError: [Errno 24] Too many open files: 'x'", "accident"),
        ("error: could not compile `acme` (signal: 9, SIGKILL: kill)", "accident"),
        ("spam.c:1:10: fatal error: zlib.h: No such file or directory", "machine"),
        ("/usr/bin/ld: cannot find -lssl: No such file or directory", "machine"),
        ("error: command 'gcc' failed: No such file or directory", "machine"),
        ("  No CMAKE_CXX_COMPILER could be found.", "machine"),
        ("ModuleNotFoundError: No module named 'numpy'", None),
        ("ModuleNotFoundError: No module named 'pkg_resources'", None),
        ("RuntimeError: broken", None),
        ("urllib.error.HTTPError: HTTP Error 404: Not Found", None),
    ],
)
def test_whose_fault_it_is(line: str, cause: str | None) -> None:
    assert cause_of(["building", line, "subprocess failed"]) == cause
