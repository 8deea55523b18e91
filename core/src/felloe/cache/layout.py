"""Where things lie in the cache. Pure: paths from names, no I/O.

A bucket's name ends in its version: an incompatible format is a new bucket, so old and new releases share one cache.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import quote

from attrs import frozen

from felloe.values import CacheKey

__all__ = ["BUILDS", "ENTRIES", "LOG", "PAGES", "RECORD", "WHEEL_METADATA", "Layout", "digest", "key_part"]

ENTRIES = "built-wheel-metadata-v0"
WHEEL_METADATA = "wheel-metadata-v0"
ARCHIVES = "archives-v0"
PAGES = "http-v0"
MEMOS = "memo-v0"
KEPT = "keep-v0"
INTERPRETERS = "interpreters-v0"
BUILDS = "builds-v0"
RESOLUTIONS = "resolutions-v0"
UNPACKED = "unpacked-v0"
ENVIRONMENTS = "environments-v0"

RECORD, LOG = "record.json", "log.txt"  # in the folder of a build, beside its wheel

SAFE = "-_.+!@=~, "
LONGEST_PART = 150
SUFFIX = re.compile(r"(?:\.tar)?\.[A-Za-z0-9]{1,8}\Z")
# File names that Windows keeps for devices, with any suffix.
DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))})


def digest(text: str) -> str:
    """16 hex digits of the sha256 over `text`: the short form used for addresses in paths."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def key_part(text: str) -> str:
    """`text` as one part of a cache key: unchanged where it is a good file name everywhere, else quoted.

    Different texts give different parts. Quoted is what is reserved on some system or not portable; what is too long
    keeps its start and its suffix (`.whl`, `.tar.gz`), with a digest between them; the empty text is `%`.
    """
    quoted = quote(text, safe=SAFE, errors="surrogatepass") or "%"
    if quoted[0] in ". " or quoted.partition(".")[0].rstrip(" ").lower() in DEVICES:
        quoted = f"%{ord(quoted[0]):02X}{quoted[1:]}"
    if quoted[-1] in ". ":
        quoted = f"{quoted[:-1]}%{ord(quoted[-1]):02X}"
    if len(quoted) > LONGEST_PART:
        suffix = SUFFIX.search(text)
        end = f"%..{digest(text)}{suffix[0] if suffix else ''}"
        quoted = quoted[: LONGEST_PART - len(end)].rstrip(". ") + end
    return quoted


@frozen
class Layout:
    """The paths below one cache folder."""

    root: Path

    def entry(self, kind: str, address: str, key: CacheKey) -> Path:
        """`metadata.json` of a source distribution."""
        return self._below(ENTRIES, kind, address).joinpath(*key.parts, "metadata.json")

    def wheel_metadata(self, kind: str, address: str, key: CacheKey) -> Path:
        """METADATA of a remote wheel."""
        return self._below(WHEEL_METADATA, kind, address).joinpath(*key.parts[:-1], key.parts[-1] + ".json")

    def archive(self, sha256: str, filename: str) -> Path:
        """An sdist or wheel as fetched. A `sha256` that is none leads nowhere else."""
        folder = key_part(sha256)
        return self.root / ARCHIVES / folder[:2] / folder / key_part(filename)

    def page(self, key: str) -> Path:
        """A page of an HTTP server; `key` is hex."""
        return self.root / PAGES / key[:2] / key

    def memo(self, kind: str, address: str, key: tuple[str, ...]) -> Path:
        *folders, last = map(key_part, key)
        return self._below(MEMOS, kind, address).joinpath(*folders, last + ".json")

    def kept(self, kind: str, address: str, key: tuple[str, ...]) -> Path:
        return self._below(KEPT, kind, address).joinpath(*map(key_part, key))

    def interpreter(self, key: str) -> Path:
        return self.root / INTERPRETERS / f"{key}.json"

    def builds(self, build: str) -> Path:
        """The folder of the builds of one source; `build` is its build id, which is hex."""
        return self.root / BUILDS / build

    def build(self, build: str, fingerprint: str, goal: str) -> Path:
        """The folder of one build; `fingerprint` is the key of its fingerprint, which is hex."""
        return self.builds(build) / fingerprint / goal

    def workplace(self, build: str, fingerprint: str) -> Path:
        """Where a build takes place, so that what it writes of its paths is the same each time."""
        return self.scratch / f"{build}-{fingerprint}"

    def build_lock(self, build: str, fingerprint: str) -> Path:
        """Of the builds in `workplace`."""
        return self.lock(f"build-{build}-{fingerprint}")

    def resolution(self, key: str) -> Path:
        """What a set of build requirements resolved to; `key` is hex."""
        return self.root / RESOLUTIONS / key[:2] / f"{key}.json"

    def unpacked(self, sha256: str) -> Path:
        """A folder with the files of a wheel."""
        return self.root / UNPACKED / sha256[:2] / sha256

    def environment(self, key: str) -> Path:
        """A folder with installed build requirements; `key` is hex."""
        return self.root / ENVIRONMENTS / key[:2] / key

    def lock(self, name: str) -> Path:
        """A lock file; `name` says what it guards and is a good file name."""
        return self.root / "locks" / f"{name}.lock"

    @property
    def users(self) -> Path:
        """One lock file for each process at work."""
        return self.root / "locks" / "users"

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    def _below(self, bucket: str, kind: str, address: str) -> Path:
        folder = self.root / bucket / key_part(kind)
        return folder / digest(address) if address else folder
