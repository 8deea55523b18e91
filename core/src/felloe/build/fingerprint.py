"""What a build depended on besides its source, in three digests, and when one build serves a later request. Pure.

`settings` changes what any build gives. `interpreter` is the Python it ran on. `toolchain` is what compilers read, on
which only a wheel with compiled code depends.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import frozen

from felloe.errors import FelloeError
from felloe.interpreter import lasting_markers
from felloe.request import parse_pep508

if TYPE_CHECKING:
    from felloe.build.record import Build
    from felloe.values import Interpreter, Json

__all__ = ["Fingerprint", "fingerprint_of", "fits", "serves"]

# Names of variables, and of those that begin so, which compilers and the backends that call them read.
# fmt: off
TOOLCHAIN = frozenset(
    {
        "AR", "ARCHFLAGS", "ARFLAGS", "CC", "CFLAGS", "CPATH", "CPLUS_INCLUDE_PATH", "CPP", "CPPFLAGS", "CXX",
        "CXXFLAGS", "C_INCLUDE_PATH", "DISTUTILS_USE_SDK", "F77", "FC", "FFLAGS", "LD", "LDCXXSHARED", "LDFLAGS",
        "LDSHARED", "LIBRARY_PATH", "LIBS", "MACOSX_DEPLOYMENT_TARGET", "PKG_CONFIG_LIBDIR", "PKG_CONFIG_PATH",
        "RUSTFLAGS", "_PYTHON_HOST_PLATFORM",
    }
)
# fmt: on
TOOLCHAIN_PREFIXES = ("CARGO_BUILD_", "CMAKE_", "MESON", "SKBUILD_")


@frozen(kw_only=True)
class Fingerprint:
    """Three digests, each of 16 hex digits."""

    settings: str
    interpreter: str
    toolchain: str

    def to_json(self) -> dict[str, Json]:
        return {"settings": self.settings, "interpreter": self.interpreter, "toolchain": self.toolchain}


def fingerprint_of(
    *,
    settings: Mapping[str, Json],
    constraints: tuple[str, ...],
    interpreter: Interpreter,
    environ: Mapping[str, str],
) -> Fingerprint:
    """Of a build with these config settings, build constraints and interpreter, under these variables."""
    return Fingerprint(
        settings=_digest({"settings": dict(settings), "constraints": sorted(map(_normal, constraints))}),
        interpreter=_digest(
            {"markers": lasting_markers(interpreter), "tag": interpreter.tags[0] if interpreter.tags else ""}
        ),
        toolchain=_digest({name: value for name, value in environ.items() if _is_toolchain(name)}),
    )


def serves(build: Build, wanted: Fingerprint, interpreter: Interpreter, *, needs_wheel: bool, is_static: bool) -> bool:
    """Whether a build that was done answers now.

    Its settings have to be the same. A pure wheel of a source that proves its dependencies itself (`is_static`) is the
    same wherever it is built; any other is for the interpreter that it was built on, and for its toolchain too where
    it has compiled code in it.
    """
    if needs_wheel and build.wheel is None:
        return False
    if build.fingerprint.settings != wanted.settings or (build.wheel and not fits(build.wheel, interpreter)):
        return False
    is_pure = build.wheel is not None and build.wheel.endswith("-none-any.whl")
    if is_pure and is_static:
        return True
    is_same_toolchain = is_pure or build.wheel is None or build.fingerprint.toolchain == wanted.toolchain
    return build.fingerprint.interpreter == wanted.interpreter and is_same_toolchain


def fits(wheel: str, interpreter: Interpreter) -> bool:
    """Whether one of the tags (PEP 425) in the name of a wheel is one of the interpreter's."""
    pythons, abis, platforms = (part.split(".") for part in wheel.removesuffix(".whl").rsplit("-", 3)[1:])
    supported = frozenset(interpreter.tags)
    return any(f"{p}-{a}-{s}" in supported for p in pythons for a in abis for s in platforms)


def _normal(constraint: str) -> str:
    """However it is written. What cannot be read is refused where it is used."""
    try:
        return str(parse_pep508(constraint))
    except FelloeError:
        return constraint


def _is_toolchain(name: str) -> bool:
    return name in TOOLCHAIN or name.startswith(TOOLCHAIN_PREFIXES)


def _digest(inputs: Mapping[str, Json]) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:16]
