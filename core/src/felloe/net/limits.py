"""How much an archive may hold, and the count of what it has held so far."""

from __future__ import annotations

from attrs import frozen

from felloe.errors import ArchiveError
from felloe.stepping import check_cancelled

__all__ = ["Budget", "Limits"]


@frozen(kw_only=True)
class Limits:
    """Sizes in bytes. An archive may unpack to `max_bytes_floor`, or to `ratio` times its packed size if that is more.

    `max_member` is for members that are read into memory.
    """

    max_bytes_floor: int = 512 * 1024 * 1024
    ratio: int = 20
    max_entries: int = 100_000
    max_member: int = 16 * 1024 * 1024

    def max_bytes(self, packed: int) -> int:
        """What an archive of `packed` bytes may unpack to."""
        return max(self.max_bytes_floor, self.ratio * packed)


class Budget:
    """What one archive may still unpack to. Spent before the bytes are made, so that nothing is made in excess."""

    def __init__(self, limits: Limits, packed: int) -> None:
        self._max_bytes = limits.max_bytes(packed)
        self._max_entries = limits.max_entries
        self._bytes = 0
        self._entries = 0

    def spend(self, count: int) -> None:
        """Raises ArchiveError where `count` more bytes are too many. Ends what nobody wants any more."""
        check_cancelled()
        self._bytes += count
        if self._bytes > self._max_bytes:
            raise ArchiveError(f"unpacks to more than {self._max_bytes} bytes", code="archive-too-large")

    def spend_entries(self, count: int) -> None:
        """Raises ArchiveError where `count` more members are too many."""
        self._entries += count
        if self._entries > self._max_entries:
            raise ArchiveError(f"holds more than {self._max_entries} entries", code="archive-too-large")
