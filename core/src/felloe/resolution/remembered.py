"""What sets of build requirements resolved to, for as long as the page of an index counts: `resolutions-v0`.

Distributions are remembered by what tells them apart on the pages of their indexes, where they are looked up again: a
file that is gone or has other bytes is not taken from here, and no address with a secret is written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import frozen

from felloe.cache.layout import Layout
from felloe.cache.store import Store
from felloe.config import Policy
from felloe.values import Dist, Interpreter, Json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Pin", "Resolutions", "resolution_key"]

LIFETIME = 600.0  # seconds: as long as a page without headers
VOLATILE = frozenset({"platform_release", "platform_version"})


@frozen(kw_only=True)
class Pin:
    """One distribution of a resolution; `content` and `hashes` are those that its source declared."""

    name: str
    source: str
    filename: str
    content: str | None
    hashes: Mapping[str, str]

    def is_of(self, dist: Dist) -> bool:
        mine = (self.source, self.filename, self.content, dict(self.hashes))
        return mine == (dist.source, dist.filename, dist.content, dict(dist.hashes))

    @classmethod
    def from_json(cls, document: Mapping[str, Json]) -> Pin:
        """Raises ValueError (and what a lookup raises) where the document is none of ours."""
        content, hashes = document["content"], document["hashes"].items()
        return cls(
            name=_text(document["name"]),
            source=_text(document["source"]),
            filename=_text(document["filename"]),
            content=None if content is None else _text(content),
            hashes={_text(algorithm): _text(digest) for algorithm, digest in hashes},
        )

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "source": self.source,
            "filename": self.filename,
            "content": self.content,
            "hashes": dict(self.hashes),
        }


class Resolutions:
    """Resolutions by key. `began` is when this run began; `refresh` says that nothing older counts."""

    def __init__(
        self, layout: Layout, store: Store, clock: Callable[[], float], *, offline: bool, refresh: bool
    ) -> None:
        self._layout = layout
        self._store = store
        self._clock = clock
        self._offline = offline
        self._oldest = clock() if refresh else 0.0

    def recall(self, key: str) -> list[Pin] | None:
        """None where there is none that counts. Offline one of any age does."""
        document = self._store.read_document(self._layout.resolution(key))
        try:
            return None if document is None else self._pins(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._store.damaged(self._layout.resolution(key), f"it cannot be read: {error!r}")
            return None

    def remember(self, key: str, dists: Sequence[Dist]) -> None:
        """Where one has no name to look it up by, nothing is remembered. Raises CacheError."""
        pins = [_pin(dist, dist.name).to_json() for dist in dists if dist.name]
        if len(pins) < len(dists):
            return
        resolved = datetime.fromtimestamp(self._clock(), UTC).isoformat().replace("+00:00", "Z")
        self._store.write_document(self._layout.resolution(key), {"resolved": resolved, "distributions": pins})

    def _pins(self, document: Mapping[str, Json]) -> list[Pin] | None:
        resolved = datetime.fromisoformat(document["resolved"]).timestamp()
        is_recent = max(self._oldest, self._clock() - LIFETIME) <= resolved <= self._clock()
        if not (is_recent or (self._offline and not self._oldest)):
            return None
        pins = document["distributions"]
        if not isinstance(pins, list):
            raise ValueError("the distributions are not a list")
        return [Pin.from_json(pin) for pin in pins]


def _pin(dist: Dist, name: str) -> Pin:
    return Pin(name=name, source=dist.source, filename=dist.filename, content=dist.content, hashes=dist.hashes)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value


def resolution_key(
    requirements: Sequence[str], policy: Policy, interpreter: Interpreter, sources: Sequence[tuple[str, str]]
) -> str:
    """Hex over all that a resolution depends on but the pages. `sources` are names and addresses, in their order."""
    inputs = {
        "requirements": sorted(requirements),
        "constraints": sorted(policy.constraints),
        "no-binary": sorted(policy.no_binary),
        "only-binary": sorted(policy.only_binary),
        "exclude-newer": policy.exclude_newer,
        "markers": {name: value for name, value in interpreter.markers.items() if name not in VOLATILE},
        "tags": list(interpreter.tags),
        "sources": [list(source) for source in sources],
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
