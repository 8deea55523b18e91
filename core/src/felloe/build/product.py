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
from felloe.build.plan import BuildJob
from felloe.errors import BuildError, FelloeError
from felloe.installation.wheel import check_format
from felloe.metadata import MAX_BYTES, check_identity, parse_metadata
from felloe.values import Json, Metadata

__all__ = ["own_copy", "read_prepared", "read_wheel"]

FAULT = "this is a fault of the project or of its backend: choose another version, or tell its author"


def read_prepared(info: Path, job: BuildJob) -> Metadata:
    """METADATA of the `.dist-info` folder that a backend prepared, and named after them. Raises BuildError."""
    metadata = _checked(_read_metadata(info / "METADATA", job), job)
    name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
    _check_label(info.name, name, version, metadata, job)
    return metadata


def read_wheel(wheel: Path, job: BuildJob) -> Metadata:
    """METADATA of the wheel that a backend made, of a format that is known (PEP 427), and named after them.

    It has to fit the interpreter asked about. Raises BuildError.
    """
    from felloe.net.archive import read_wheel_metadata

    try:
        raw = read_wheel_metadata(wheel, wheel.name)
        check_format(wheel, wheel.name)
    except FelloeError as error:
        raise _bad(job, str(error)) from error
    metadata = _checked(raw, job)
    name, version, *_ = wheel.name.split("-")
    _check_label(wheel.name, name, version, metadata, job)
    if not fits(wheel.name, job.interpreter):
        raise BuildError(
            f"the build of {job.what} made `{wheel.name}`, which does not fit Python {job.interpreter.version}",
            hint="it was told of another platform or Python: look at the settings and variables given to it",
            code="wheel-does-not-fit",
        )
    return metadata


def own_copy(wheel: Path, folder: Path, job: BuildJob) -> Path:
    """The wheel, if it is one file that nothing else leads to; else a copy in `folder`. Raises BuildError."""
    try:
        status = wheel.lstat()
    except OSError as error:
        raise _bad(job, f"`{wheel.name}` cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise _bad(job, f"`{wheel.name}` is no regular file")
    if status.st_nlink == 1:
        return wheel
    copy = folder / "copy" / wheel.name
    copy.parent.mkdir()
    shutil.copyfile(wheel, copy)
    return copy


def _checked(raw: bytes, job: BuildJob) -> Metadata:
    try:
        metadata = parse_metadata(raw, what=f"what was built of {job.what}")
    except FelloeError as error:
        raise _bad(job, str(error)) from error
    try:
        check_identity(metadata, name=job.dist.name, version=job.dist.version, what=job.what)
    except FelloeError as error:
        # Under its own name it is good.
        raise _bad(job, str(error), hint=error.hint, asked=job.frame.name) from error
    return metadata


def _check_label(label: str, name: str, version: str, metadata: Metadata, job: BuildJob) -> None:
    """Names have to agree by PEP 503, versions by PEP 440, or as a file name has to escape them (PEP 427)."""
    if canonicalize_name(name) != canonicalize_name(metadata.name) or not _is_version(version, metadata.version):
        raise _bad(job, f"`{label}` holds the metadata of `{metadata.name} {metadata.version}`")


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


def _read_metadata(path: Path, job: BuildJob) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        raise _bad(job, f"METADATA cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            raise _bad(job, "METADATA is no regular file of reasonable size")
        return file.read()


def _bad(job: BuildJob, reason: str, *, hint: str = FAULT, **payload: Json) -> BuildError:
    return BuildError(
        f"the build of {job.what} made what cannot be used: {reason}",
        hint=hint,
        code="bad-backend-output",
        **payload,
    )
