"""What a backend made, checked before it is believed."""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from felloe.build.fingerprint import fits
from felloe.build.plan import BuildOrder
from felloe.config import Limits
from felloe.errors import BuildError, FelloeError
from felloe.installation.wheel import check_format
from felloe.metadata import check_identity, parse_metadata
from felloe.values import Json, Metadata

__all__ = ["moved_wheel", "read_given", "read_prepared", "read_wheel"]

DEFAULT_LIMITS = Limits()
FAULT = "this is a fault of the project or of its backend: choose another version, or tell its author"


def read_prepared(info: Path, order: BuildOrder, limits: Limits = DEFAULT_LIMITS) -> Metadata:
    """METADATA of the `.dist-info` folder that a backend prepared, and named after them. Raises BuildError."""
    metadata = _checked(_read_metadata(info / "METADATA", order, limits.max_metadata_bytes), order, limits)
    stem = info.name.removesuffix(".dist-info")
    name, _, version = stem.rpartition("-")
    if canonicalize_name(stem) != canonicalize_name(metadata.name):  # as setuptools before 64 calls it
        _check_label(info.name, name, version, metadata, order)
    return metadata


def read_wheel(wheel: Path, order: BuildOrder, limits: Limits = DEFAULT_LIMITS) -> Metadata:
    """METADATA of the wheel that a backend made, of a format that is known (PEP 427), and named after them.

    It has to fit the interpreter asked about. Raises BuildError.
    """
    from felloe.net.archive import read_wheel_metadata

    try:
        raw = read_wheel_metadata(wheel, wheel.name, limits)
        check_format(wheel, wheel.name, limits)
    except FelloeError as error:
        raise _bad(order, str(error)) from error
    metadata = _checked(raw, order, limits)
    name, version, *_ = wheel.name.split("-")
    _check_label(wheel.name, name, version, metadata, order)
    if not fits(wheel.name, order.interpreter):
        raise BuildError(
            f"the build of {order.what} made `{wheel.name}`, which does not fit Python {order.interpreter.version}",
            hint="it was told of another platform or Python: look at the settings and variables given to it",
            code="wheel-does-not-fit",
        )
    return metadata


def read_given(raw: bytes, order: BuildOrder, limits: Limits = DEFAULT_LIMITS) -> Metadata:
    """METADATA that somebody else prepared. Raises BuildError."""
    return _checked(raw, order, limits)


def moved_wheel(wheel: Path, into: Path, order: BuildOrder) -> Path:
    """The wheel in the folder `into`: a file that nothing else leads to. Raises BuildError."""
    try:
        status = wheel.lstat()
    except OSError as error:
        raise _bad(order, f"`{wheel.name}` cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise _bad(order, f"`{wheel.name}` is no regular file")
    if status.st_nlink == 1:
        return wheel.rename(into / wheel.name)
    return Path(shutil.copyfile(wheel, into / wheel.name))


def _checked(raw: bytes, order: BuildOrder, limits: Limits) -> Metadata:
    try:
        metadata = parse_metadata(raw, what=f"what was built of {order.what}", max_bytes=limits.max_metadata_bytes)
    except FelloeError as error:
        raise _bad(order, str(error)) from error
    try:
        check_identity(metadata, name=order.dist.name, version=order.dist.version, what=order.what)
    except FelloeError as error:
        # Under its own name it is good.
        raise _bad(order, str(error), hint=error.hint, asked=order.frame.name) from error
    return metadata


def _check_label(label: str, name: str, version: str, metadata: Metadata, order: BuildOrder) -> None:
    """Names have to agree by PEP 503, versions by PEP 440, or as a file name has to escape them (PEP 427)."""
    if canonicalize_name(name) != canonicalize_name(metadata.name) or not _is_version(version, metadata.version):
        raise _bad(order, f"`{label}` holds the metadata of `{metadata.name} {metadata.version}`")


def _is_version(label: str, version: str) -> bool:
    if _escaped(label) == _escaped(version):
        return True
    try:
        found = Version(version)
        return _escaped(label) == _escaped(str(found)) or Version(label.replace("_", "-")) == found
    except InvalidVersion:
        return False


def _escaped(version: str) -> str:
    return re.sub(r"[^\w.]+", "_", version)


def _read_metadata(path: Path, order: BuildOrder, max_bytes: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        raise _bad(order, f"METADATA cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
            raise _bad(order, f"METADATA is no regular file of at most {max_bytes} bytes")
        return file.read()


def _bad(order: BuildOrder, reason: str, *, hint: str = FAULT, **payload: Json) -> BuildError:
    return BuildError(
        f"the build of {order.what} made what cannot be used: {reason}",
        hint=hint,
        code="bad-backend-output",
        **payload,
    )
