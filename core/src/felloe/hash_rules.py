"""Which bytes will do: the hashes that a request allows, and those that its source declares. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from felloe.errors import HashMismatchError, RequirementError
from felloe.hashing import check_digests
from felloe.values import Dist, Entry, Request, Rung

__all__ = [
    "FROM_BYTES",
    "algorithms",
    "check_bytes",
    "declared_hashes",
    "is_as_declared",
    "is_hashed",
    "refuse_without_hash",
]

# Rungs whose metadata came out of bytes that we hashed.
FROM_BYTES = frozenset({"pkg-info", "pyproject", "prepare", "wheel"})


def declared_hashes(dist: Dist) -> frozenset[str]:
    """`algorithm:hex` of each."""
    return frozenset(f"{name}:{digest}" for name, digest in dist.hashes.items())


def refuse_without_hash(request: Request) -> None:
    """Raises RequirementError where hashes are required and the request has none."""
    if not request.hashes:
        raise RequirementError(
            f"`{request.text}` has no hash, and hashes are required of all",
            hint="add --hash=sha256:... to it, or leave out --require-hashes",
            code="hash-required",
        )


def algorithms(request: Request, dist: Dist) -> set[str]:
    """What has to be hashed with, besides sha256, to compare with all that was declared or allowed."""
    return {*dist.hashes, *(allowed.partition(":")[0] for allowed in request.hashes)}


def check_bytes(request: Request, dist: Dist, digests: Mapping[str, str], what: str) -> None:
    """Raises HashMismatchError where the bytes are not those declared, or not among those allowed."""
    check_digests(what, digests, dist.hashes)
    if request.hashes and not _are_allowed(request, digests):
        raise HashMismatchError(
            f"{what} has the sha256 `{digests['sha256']}`, which `{request.text}` does not allow",
            hint="if these are the right bytes, allow their hash",
            actual=digests["sha256"],
        )


def is_as_declared(dist: Dist, digests: Mapping[str, str]) -> bool:
    """Whether none of the digests is another one than declared."""
    return all(digests.get(algorithm, digest) == digest for algorithm, digest in dist.hashes.items())


def is_hashed(request: Request, entry: Entry, rung: Rung) -> bool:
    """Whether metadata of this rung came out of bytes that we hashed and that the request allows."""
    return entry.verified and rung in FROM_BYTES and _are_allowed(request, entry.digests)


def _are_allowed(request: Request, digests: Mapping[str, str]) -> bool:
    return any(f"{algorithm}:{digest}" in request.hashes for algorithm, digest in digests.items())
