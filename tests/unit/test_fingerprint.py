"""What a build depended on, and when it serves a later request."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from felloe.build.fingerprint import (
    Difference,
    Fingerprint,
    Inputs,
    differences,
    fingerprint_of,
    fits,
    preference,
    serves,
)
from felloe.build.record import Build
from felloe.values import Interpreter, Metadata

INTERPRETER = Interpreter(
    path=Path("/usr/bin/python3.11"),
    version="3.11.7",
    tags=("cp311-cp311-linux_x86_64", "cp311-abi3-linux_x86_64", "cp311-none-any", "py3-none-any"),
    markers={
        "implementation_name": "cpython",
        "platform_machine": "x86_64",
        "platform_release": "6.1",
        "platform_version": "#1",
        "python_full_version": "3.11.7",
        "sys_platform": "linux",
    },
)
INPUTS: dict[str, Any] = {
    "settings": {"speed": "fast", "flags": ["a", "b"]},
    "constraints": ("setuptools<70", "wheel"),
    "interpreter": INTERPRETER,
    "environ": {"CC": "gcc", "HOME": "/home/me"},
}


def markers(**changes: str) -> dict[str, Any]:
    return {"interpreter": evolve(INTERPRETER, markers={**INTERPRETER.markers, **changes})}


def tags(*tags: str) -> dict[str, Any]:
    return {"interpreter": evolve(INTERPRETER, tags=tags)}


def on(*platforms: str, abi: str = "cp311", **changes: str) -> dict[str, Any]:
    tags = (*(f"cp311-{abi}-{platform}" for platform in platforms), "py3-none-any")
    return {"interpreter": evolve(INTERPRETER, tags=tags, **changes)}


GLIBC = ("linux_x86_64", "manylinux_2_36_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
OLD_GLIBC = ("linux_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
MUSL = ("linux_x86_64", "musllinux_1_2_x86_64", "musllinux_1_1_x86_64")


def environ(**changes: str) -> dict[str, Any]:
    return {"environ": {**INPUTS["environ"], **changes}}


def fingerprint(**changes: Any) -> dict[str, str]:
    return fingerprint_of(Inputs(**{**INPUTS, **changes})).to_json()


# fmt: off
READ_BY_BACKENDS = [
    "FLIT_X", "HATCH_BUILD_HOOKS_ENABLE", "HATCH_METADATA_X", "MATURIN_PEP517_ARGS", "PBR_VERSION",
    "PDM_BUILD_SCM_VERSION", "SETUPTOOLS_SCM_PRETEND_VERSION", "SETUPTOOLS_USE_DISTUTILS", "SOURCE_DATE_EPOCH",
    "VERSIONINGIT_X",
]
READ_BY_COMPILERS = [
    "AR", "ARCHFLAGS", "ARFLAGS", "CARGO_BUILD_TARGET", "CARGO_HOME", "CARGO_NET_OFFLINE", "CMAKE_ARGS", "CPATH",
    "CPLUS_INCLUDE_PATH", "CPPFLAGS", "CUDACXX", "CUDA_HOME", "CXX", "CXXFLAGS", "DYLD_LIBRARY_PATH", "FC", "FFLAGS",
    "LD", "LDCXXSHARED", "LDFLAGS", "LD_LIBRARY_PATH", "LIBRARY_PATH", "LIBS", "MACOSX_DEPLOYMENT_TARGET",
    "MAKEFLAGS", "MAX_JOBS", "MESONPY_EDITABLE_VERBOSE", "MESON_ARGS", "NVCC_PREPEND_FLAGS", "PKG_CONFIG",
    "PKG_CONFIG_LIBDIR", "PKG_CONFIG_PATH", "RUSTC", "RUSTFLAGS", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN",
    "SKBUILD_CONFIGURE_OPTIONS", "_PYTHON_HOST_PLATFORM",
]
# fmt: on

CHANGES = [
    ({"settings": {}}, "settings"),
    ({"settings": {**INPUTS["settings"], "speed": "slow"}}, "settings"),
    ({"settings": {**INPUTS["settings"], "more": ""}}, "settings"),
    ({"settings": {**INPUTS["settings"], "flags": ["b", "a"]}}, "settings"),
    ({"settings": {**INPUTS["settings"], "flags": "a"}}, "settings"),
    ({"settings": {**INPUTS["settings"], "flags": "\ud800"}}, "settings"),
    ({"constraints": ()}, "settings"),
    ({"constraints": ("setuptools<71", "wheel")}, "settings"),
    *(({"declared": {"env:A": value}}, "settings") for value in (None, "", "1", "\udcff")),
    ({"declared": {"file:A": "absent"}}, "settings"),
    ({"extra_requires": ("wheel",)}, "settings"),
    ({"extra_requires": ("wheel>1",)}, "settings"),
    ({"extra_env": {"CC": "clang"}, "environ": {"CC": "gcc"}}, "settings toolchain"),
    ({"extra_env": {"ACME": "clang"}}, "settings"),
    ({"also": ("HOME",)}, "settings"),
    ({"also": ("CC",)}, "settings toolchain"),
    (markers(implementation_name="pypy"), "interpreter"),
    (markers(sys_platform="darwin"), "interpreter"),
    (markers(platform_machine="aarch64"), "interpreter"),
    (on("linux_x86_64", version="3.12.1"), "interpreter"),
    *((on("linux_x86_64", abi=abi), "interpreter") for abi in ("cp311d", "cp311t", "pypy311_pp73")),
    *((on(*platforms), "interpreter") for platforms in (GLIBC, OLD_GLIBC, MUSL)),
    *((on(platform), "interpreter") for platform in ("macosx_14_0_arm64", "macosx_11_0_arm64")),
    (tags(), "interpreter"),
    (environ(CC="clang"), "toolchain"),
    (environ(CFLAGS="-O3"), "toolchain"),
    (environ(CFLAGS="\udcff"), "toolchain"),
    *((environ(**{name: "any"}), "settings") for name in READ_BY_BACKENDS),
    *((environ(**{name: "any"}), "toolchain") for name in READ_BY_COMPILERS),
    ({"environ": {}}, "toolchain"),
]


@pytest.mark.parametrize(("change", "digest"), CHANGES)
def test_each_input_changes_its_own_digest_and_what_a_user_names_is_a_setting(
    change: dict[str, Any], digest: str
) -> None:
    before, after = fingerprint(), fingerprint(**change)

    assert [name for name in before if before[name] != after[name]] == digest.split()


def test_no_two_changes_are_alike() -> None:
    found = [tuple(fingerprint(**change).values()) for change, _ in CHANGES]

    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"settings": dict(reversed(INPUTS["settings"].items()))},
        {"constraints": ("wheel", "setuptools<70")},
        {"environ": {"HOME": "/home/you", "LANG": "C", "CC": "gcc"}},
        {"also": ("ACME_*",)},
        {"extra_requires": (), "extra_env": {}, "declared": {}},
        {"environ": {**INPUTS["environ"], "LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "7", "PATH": "/bin"}},
        markers(platform_release="6.2", platform_version="#2"),
        markers(python_full_version="3.11.8"),
        {"interpreter": evolve(INTERPRETER, version="3.11.8")},
        tags(INTERPRETER.tags[0]),
        on("linux_x86_64", "macosx_x_arm64", "manylinux_x86_64", "musllinux_1_x86_64"),
        {"interpreter": evolve(INTERPRETER, path=Path("/elsewhere/python"))},
    ],
)
def test_what_changes_nothing(change: dict[str, Any]) -> None:
    assert fingerprint(**change) == fingerprint()


@pytest.mark.parametrize(
    ("platforms", "libc", "macos"),
    [
        (GLIBC, "manylinux_2_36", None),
        (tuple(reversed(GLIBC)), "manylinux_2_36", None),
        (("manylinux_2_5_x86_64", "manylinux_2_17_x86_64"), "manylinux_2_17", None),
        (MUSL, "musllinux_1_2", None),
        (("linux_armv7l",), None, None),
        (("macosx_14_0_arm64", "macosx_13_0_arm64", "macosx_10_9_universal2"), None, "macosx_14_0"),
        (("win_amd64",), None, None),
    ],
)
def test_of_its_system_the_newest_release_that_it_has_tags_for_counts(
    platforms: tuple[str, ...], libc: str | None, macos: str | None
) -> None:
    found = shown(**on(*platforms))

    assert (found.get("interpreter.libc"), found.get("interpreter.macos")) == (libc, macos)


def test_digests_are_hex() -> None:
    assert list(fingerprint()) == ["settings", "interpreter", "toolchain"]
    assert all(re.fullmatch("[0-9a-f]{16}", digest) for digest in fingerprint().values())


# What is told of them


def shown(**changes: Any) -> dict[str, str]:
    return Inputs(**{**INPUTS, **changes}).shown()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"settings": {"speed": "slow", "flags": ["a", "b"]}}, [("settings.speed", "fast", "slow")]),
        ({"settings": {"speed": "fast"}}, [("settings.flags", '["a", "b"]', None)]),
        ({"constraints": ("wheel",)}, [("build-constraints", "setuptools<70, wheel", "wheel")]),
        ({"constraints": ()}, [("build-constraints", "setuptools<70, wheel", None)]),
        (markers(implementation_name="pypy"), [("interpreter.implementation", "cpython", "pypy")]),
        (markers(sys_platform="darwin"), [("interpreter.platform", "linux", "darwin")]),
        (markers(platform_machine=""), [("interpreter.machine", "x86_64", None)]),
        (on("linux_x86_64", version="3.12.1"), [("interpreter.version", "3.11", "3.12")]),
        (tags("x-y-z"), [("interpreter.abi", "cp311", "y")]),
        (on(*MUSL), [("interpreter.libc", None, "musllinux_1_2")]),
        (environ(CC="clang", CFLAGS="-O3"), [("toolchain.CC", "gcc", "clang"), ("toolchain.CFLAGS", None, "-O3")]),
        (environ(CFLAGS="\udcff"), [("toolchain.CFLAGS", None, "\\udcff")]),
        (environ(PBR_VERSION="9.9"), [("backend.PBR_VERSION", None, "9.9")]),
        ({"also": ("HOME",)}, [("backend.HOME", None, "/home/me")]),
        ({"extra_requires": ("wheel",)}, [("extra-requires", None, "wheel")]),
        ({"extra_env": {"CC": "clang"}}, [("extra-env.CC", None, "clang"), ("toolchain.CC", "gcc", None)]),
        ({"declared": {"env:ACME": "1"}}, [("declared.env:ACME", None, "1")]),
        ({"declared": {"env:ACME": None, "file:a": "absent"}}, [("declared.file:a", None, "absent")]),
    ],
)
def test_what_changed_is_told(change: dict[str, Any], told: list[tuple[str, str | None, str | None]]) -> None:
    found = differences(shown(), shown(**change))

    assert found == tuple(Difference(*each) for each in told)
    assert bool(found) == (fingerprint() != fingerprint(**change))
    assert all(str(each) == f"{each.input}: {each.old or 'none'} -> {each.new or 'none'}" for each in found)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"token": "pa55-w0rd"}},
        {"settings": {"define": ["API_KEY=pa55-w0rd"]}},
        environ(CMAKE_ARGS="-DPASSWORD=pa55-w0rd"),
        environ(CARGO_BUILD_REGISTRY="https://me:pa55-w0rd@example.com/"),
        {"declared": {"env:SECRET": "pa55-w0rd"}},
        {"declared": {"env:SIGNING_KEY": "pa55-w0rd", "env:DB_PASS": "pa55-w0rd"}},
        {"declared": {"env:GITHUB_PAT": "pa55-w0rd", "env:ACME_PWD": "pa55-w0rd"}},
        {"settings": {"signingKey": "pa55-w0rd", "x": "ghp_pa55-w0rd", "y": "glpat-pa55-w0rd"}},
    ],
)
def test_what_may_be_a_secret_is_not_told_but_that_it_changed_is(change: dict[str, Any]) -> None:
    assert "pa55-w0rd" not in str(shown(**change))
    assert len(differences(shown(), shown(**change))) >= 1


# Which wheel is the best


def test_wheels_are_preferred_by_tag_then_by_build_tag() -> None:
    best_first = [
        "demo-1.0-10b-cp311-cp311-linux_x86_64.whl",
        "demo-1.0-9-cp311-cp311-linux_x86_64.whl",
        "demo-1.0-cp311-cp311-linux_x86_64.whl",
        "demo-1.0-cp311-abi3-linux_x86_64.whl",
        "demo-1.0-py2.py3-none-any.whl",
        "demo-1.0-cp312-cp312-linux_x86_64.whl",
        None,
    ]
    assert sorted([*best_first[3:], *best_first[:3]], key=lambda wheel: preference(wheel, INTERPRETER)) == best_first


# Whether a build serves

WANTED = Fingerprint(settings="s", interpreter="i", toolchain="t")
PURE = "demo-1.0-py3-none-any.whl"
OLD_PURE = "demo-1.0-py2.py3-none-any.whl"
OWN = "demo-1.0-cp311-none-any.whl"
COMPILED = "demo-1.0-cp311-cp311-linux_x86_64.whl"
STABLE = "demo-1.0-cp37-abi3-linux_x86_64.whl"  # of which the interpreter has no tag
OTHER = "demo-1.0-cp312-cp312-linux_x86_64.whl"
PROGRAM = "demo-1.0-py3-none-linux_x86_64.whl"
SUPPORTED = evolve(INTERPRETER, tags=(*INTERPRETER.tags, "py3-none-linux_x86_64"))


def build(wheel: str | None, **changes: str) -> Build:
    return Build(
        build="b",
        fingerprint=evolve(WANTED, **changes),
        goal="wheel" if wheel else "prepare",
        rung="wheel" if wheel else "prepare",
        metadata=Metadata({"metadata-version": "2.1", "name": "demo", "version": "1.0"}),
        wheel=wheel,
        sha256="aa" if wheel else None,
    )


DIFFERS = ("nothing", "settings", "interpreter", "toolchain")
# Whether it serves where nothing differs, settings, the interpreter, the toolchain; and then for a static sdist.
SERVES = {
    PURE: ("yes no no yes", "yes no yes yes"),
    OLD_PURE: ("yes no no yes", "yes no yes yes"),
    OWN: ("yes no no yes", "yes no yes yes"),
    COMPILED: ("yes no no no", "yes no no no"),
    PROGRAM: ("yes no no no", "yes no no no"),
    STABLE: ("no no no no", "no no no no"),
    OTHER: ("no no no no", "no no no no"),
    None: ("yes no no yes", "yes no no yes"),  # metadata alone
}
TABLE = [
    pytest.param(wheel, is_static, differs, answer == "yes", id=f"{wheel}-{'static-' * is_static}{differs}")
    for wheel, rows in SERVES.items()
    for is_static, row in zip((False, True), rows, strict=True)
    for differs, answer in zip(DIFFERS, row.split(), strict=True)
]


@pytest.mark.parametrize("needs_wheel", [False, True])
@pytest.mark.parametrize(("wheel", "is_static", "differs", "expected"), TABLE)
def test_serves(wheel: str | None, is_static: bool, differs: str, expected: bool, needs_wheel: bool) -> None:
    done = build(wheel, **({} if differs == "nothing" else {differs: "other"}))

    found = serves(done, WANTED, SUPPORTED, needs_wheel=needs_wheel, is_static=is_static)
    assert found == (expected and not (needs_wheel and wheel is None))


def test_compiled_code_does_not_serve_another_c_library() -> None:
    """`linux_x86_64` fits all of them."""
    interpreters = [on(*platforms)["interpreter"] for platforms in (GLIBC, OLD_GLIBC, MUSL)]
    for number, built_on in enumerate(interpreters):
        done = evolve(build(COMPILED), fingerprint=fingerprint_of(Inputs(**{**INPUTS, "interpreter": built_on})))
        found = [
            serves(
                done,
                fingerprint_of(Inputs(**{**INPUTS, "interpreter": asked})),
                asked,
                needs_wheel=True,
                is_static=True,
            )
            for asked in interpreters
        ]
        assert fits(COMPILED, built_on)
        assert found == [number == other for other in range(len(interpreters))]


# Tags


@pytest.mark.parametrize(
    ("wheel", "expected"),
    [
        (PURE, True),
        (OLD_PURE, True),
        (OWN, True),
        (COMPILED, True),
        ("demo-1.0-1-py3-none-any.whl", True),
        ("demo-1.0-cp310.cp311-abi3-manylinux_2_17_x86_64.linux_x86_64.whl", True),
        ("a_b_c-1.0+local.1-py3-none-any.whl", True),
        ("demo-1.0-py2-none-any.whl", False),
        ("demo-1.0-cp311-cp312-linux_x86_64.whl", False),
        ("demo-1.0-cp311-cp311-linux_aarch64.whl", False),
        ("py3-none-any-1-2-3.whl", False),
        (OTHER, False),
        (STABLE, False),
    ],
)
def test_fits(wheel: str, expected: bool) -> None:
    assert fits(wheel, INTERPRETER) is expected


def test_nothing_fits_an_interpreter_without_tags() -> None:
    assert not fits(PURE, evolve(INTERPRETER, tags=()))
