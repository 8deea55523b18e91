"""The variables of the environment on which a build depends. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

__all__ = ["Role", "of_role", "role_of"]

Role = Literal["settings", "toolchain"]

# fmt: off
# What backends and the tools that make versions read: it may change any wheel, and metadata too.
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
# fmt: on


def role_of(name: str) -> Role | None:
    """What a variable is to a build, None for one on which none depends."""
    if name.startswith(SETTINGS_PREFIXES):
        return "settings"
    if name in TOOLCHAIN or name.startswith(TOOLCHAIN_PREFIXES) or name.endswith(TOOLCHAIN_SUFFIXES):
        return "toolchain"
    return None


def of_role(role: Role, environ: Mapping[str, str]) -> dict[str, str]:
    """Those of the variables that are this to a build."""
    return {name: value for name, value in environ.items() if role_of(name) == role}
