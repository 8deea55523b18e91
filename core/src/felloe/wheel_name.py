"""The file name of a wheel (PEP 427), as far as a source looks at it."""

from __future__ import annotations

from packaging.utils import canonicalize_name

from felloe.errors import RequirementError
from felloe.values import Request

__all__ = ["wheel_identity"]


def wheel_identity(request: Request, filename: str) -> tuple[str, str] | tuple[None, None]:
    """Name (normalised) and version in the name of the wheel that a direct reference leads to.

    Both None where it is no name of a wheel: selecting says what that has to be. Raises RequirementError where the
    request asks for another project.
    """
    parts = filename.removesuffix(".whl").split("-")
    if len(parts) not in {5, 6} or "" in parts:  # perhaps with a build tag; three tags end it
        return None, None
    name = canonicalize_name(parts[0])
    if request.name not in {None, name}:
        raise RequirementError(
            f"`{request.text}` asks for `{request.name}`, and `{filename}` is a wheel of `{name}`",
            hint="correct the name, or what it is to be found at",
            code="names-disagree",
        )
    return name, parts[1]
