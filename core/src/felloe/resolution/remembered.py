"""What sets of build requirements resolved to, for as long as their sources list the same: `resolutions-v0`.

A resolution depends on which files its sources list for the names that it looked at, and on their metadata. So the
lists are compared, by a digest; where a file has neither content id nor hash its metadata may change, and nothing is
remembered. Distributions are looked up again by their names: no address is written, which may have a secret.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from felloe.cache.layout import Layout
from felloe.cache.store import Store
from felloe.config import Policy
from felloe.interpreter import lasting_markers
from felloe.values import Dist, Interpreter, Json

__all__ = ["Remembered", "Resolutions", "listing_digest", "resolution_key"]


@frozen(kw_only=True)
class Remembered:
    """`listings` maps each name that was looked at to the digest of its list; `chosen` are names and their files."""

    listings: Mapping[str, str]
    chosen: tuple[tuple[str, str], ...]


class Resolutions:
    """Resolutions by key (see `resolution_key`)."""

    def __init__(self, layout: Layout, store: Store) -> None:
        self._layout = layout
        self._store = store

    def recall(self, key: str) -> Remembered | None:
        """What is true if all its listings are as they were. None where there is none, or none that can be read."""
        path = self._layout.resolution(key)
        document = self._store.read_document(path)
        try:
            return None if document is None else _from_json(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._store.damaged(path, f"it cannot be read: {error!r}")
            return None

    def remember(self, key: str, listings: Mapping[str, Sequence[Dist]], chosen: Iterable[Dist]) -> None:
        """Nothing, where what is listed may change without being told apart. Raises CacheError."""
        files = [[dist.name, dist.filename] for dist in chosen]
        if not all(name in listings for name, _ in files) or not all(map(_is_told_apart, listings.values())):
            return
        digests = {name: listing_digest(dists) for name, dists in sorted(listings.items())}
        self._store.write_document(self._layout.resolution(key), {"listings": digests, "distributions": files})


def listing_digest(dists: Iterable[Dist]) -> str:
    """Hex over all that a source says of its files but where they are; their order does not count."""
    rows = [
        [
            dist.source,
            dist.filename,
            dist.content,
            dict(dist.hashes),
            dist.requires_python,
            dist.yanked,
            dist.upload_time,
        ]
        for dist in dists
    ]
    lines = sorted(json.dumps(row, sort_keys=True) for row in rows)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def _is_told_apart(dists: Iterable[Dist]) -> bool:
    return all(dist.content or dist.hashes for dist in dists)


def _from_json(document: Mapping[str, Json]) -> Remembered:
    listings, chosen = document["listings"], document["distributions"]
    if not isinstance(listings, dict) or not isinstance(chosen, list):
        raise ValueError("it is not of this form")
    return Remembered(
        listings={name: _text(digest) for name, digest in listings.items()},
        chosen=tuple((_text(name), _text(filename)) for name, filename in chosen),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value


def resolution_key(
    requirements: Sequence[str],
    policy: Policy,
    interpreter: Interpreter,
    sources: Sequence[tuple[str, str]],
    settings: Mapping[str, Json],
) -> str:
    """Hex over what a resolution depends on besides what is listed.

    `sources` are names and addresses, in the order of asking. `settings` are config settings and variables, with
    which metadata may have to be built.
    """
    inputs = {
        "requirements": sorted(requirements),
        "constraints": sorted(policy.constraints),
        "no-binary": sorted(policy.no_binary),
        "only-binary": sorted(policy.only_binary),
        "exclude-newer": policy.exclude_newer,
        "markers": lasting_markers(interpreter),
        "tags": list(interpreter.tags),
        "sources": [list(source) for source in sources],
        "settings": dict(settings),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
