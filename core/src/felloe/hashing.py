"""Hashing bytes as they pass, and comparing with what was promised."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from felloe.errors import HashMismatchError
from felloe.stepping import check_cancelled

__all__ = ["Hashing", "check_digests", "digests_of_file"]

CHUNK = 1024 * 1024
# The algorithms with a digest of fixed length that every Python has; an index may name others, which prove nothing.
KNOWN = frozenset(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake"))


class Hashing:
    """sha256 and the other `algorithms` (unknown ones are left out) over bytes given in pieces."""

    def __init__(self, algorithms: Iterable[str] = ()) -> None:
        self._hashers = {name: hashlib.new(name) for name in sorted({"sha256", *algorithms} & KNOWN)}

    def update(self, data: bytes) -> None:
        for hasher in self._hashers.values():
            hasher.update(data)

    def digests(self) -> Mapping[str, str]:
        """Algorithm to hex."""
        return {name: hasher.hexdigest() for name, hasher in self._hashers.items()}


def digests_of_file(file: Path, algorithms: Iterable[str] = ()) -> Mapping[str, str]:
    """Algorithm to hex: sha256 and the others asked for. Raises OSError."""
    hashing = Hashing(algorithms)
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            check_cancelled()
            hashing.update(chunk)
    return hashing.digests()


def check_digests(what: str, digests: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Raises HashMismatchError where a digest is not the expected one; `what` names the file, redacted."""
    for algorithm in sorted(expected.keys() & digests.keys()):
        if digests[algorithm] != expected[algorithm]:
            raise HashMismatchError(
                f"{what} has the {algorithm} `{digests[algorithm]}`, not `{expected[algorithm]}`",
                hint="the file is damaged or was replaced: do not use it before you know which",
                file=what,
                expected=expected[algorithm],
                actual=digests[algorithm],
            )
