"""The file names of wheels (PEP 427) and sdists (PEP 625) that direct references lead to, as far as a source looks."""

from __future__ import annotations

from packaging.utils import InvalidSdistFilename, canonicalize_name, is_normalized_name, parse_sdist_filename

from felloe.errors import RequirementError
from felloe.values import Request

__all__ = ["sdist_identity", "wheel_identity"]

Identity = tuple[str, str] | tuple[None, None]  # name (normalised) and version (as written), or neither
NOTHING = (None, None)


def wheel_identity(request: Request, filename: str) -> Identity:
    """Name (normalised) and version in the name of the wheel that a direct reference leads to.

    Both None where it is no name of a wheel: selecting says what that has to be. Raises RequirementError where the
    request asks for another project.
    """
    parts = filename.removesuffix(".whl").split("-")
    if len(parts) not in {5, 6} or "" in parts:  # perhaps with a build tag; three tags end it
        return NOTHING
    name = canonicalize_name(parts[0])
    if request.name not in {None, name}:
        raise RequirementError(
            f"`{request.text}` asks for `{request.name}`, and `{filename}` is a wheel of `{name}`",
            hint="correct the name, or what it is to be found at",
            code="names-disagree",
        )
    return name, parts[1]


def sdist_identity(request: Request, filename: str) -> Identity:
    """Name (normalised) and version in the name of the sdist that a direct reference leads to.

    Both None where the file name tells nothing of the project:

    - it is no name of an sdist (`master.zip`, `v1.0.tar.gz`), or ends in a tag (`demo-v1.0.tar.gz`);
    - the project is in a subdirectory: the name is of the whole;
    - the request names another project. Hosts of repositories name archives after anything (`release-1.0.tar.gz`), and
      what is in one tells whether it is what was asked for. Where nobody names the project, the file name is believed
      until then.
    """
    try:
        name, _ = parse_sdist_filename(filename)
    except InvalidSdistFilename:
        return NOTHING
    version = filename.removesuffix(".zip").removesuffix(".tar.gz").rpartition("-")[2]
    is_of_project = request.subdirectory is None and request.name in {None, name}
    is_written = is_normalized_name(name) and version[0].isdigit() and version[-1].isalnum()  # by a backend
    return (name, version) if is_of_project and is_written else NOTHING
