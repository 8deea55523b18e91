"""How much an archive may hold, and the count of what it has held so far."""

from __future__ import annotations

from felloe.config import Limits
from felloe.errors import ArchiveError
from felloe.stepping import check_cancelled

__all__ = ["DEFAULT_LIMITS", "HINT", "Budget"]

DEFAULT_LIMITS = Limits()
HINT = "do not use the archive, if nobody tells why it is so large; with good reason, raise {} in the configuration"


class Budget:
    """What one archive of `packed` bytes may still unpack to.

    Spent before the bytes are made, so that nothing is made in excess.
    """

    def __init__(self, limits: Limits, packed: int) -> None:
        self._max_bytes = max(limits.max_unpacked_bytes, limits.max_unpacked_ratio * packed)
        self._max_entries = limits.max_archive_entries
        self._bytes = 0
        self._entries = 0

    def spend(self, count: int) -> None:
        """Raises ArchiveError where `count` more bytes are too many. Ends what nobody wants any more."""
        check_cancelled()
        self._bytes += count
        if self._bytes > self._max_bytes:
            hint = HINT.format("`max-unpacked-bytes`")
            raise ArchiveError(f"unpacks to more than {self._max_bytes} bytes", hint=hint, code="archive-too-large")

    def spend_entries(self, count: int) -> None:
        """Raises ArchiveError where `count` more members are too many."""
        self._entries += count
        if self._entries > self._max_entries:
            hint = HINT.format("`max-archive-entries`")
            raise ArchiveError(f"holds more than {self._max_entries} entries", hint=hint, code="archive-too-large")
