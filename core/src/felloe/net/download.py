"""Files of any size: downloaded and hashed on the way, revalidated, or read in part."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

from attrs import evolve

from felloe import freshness
from felloe.errors import NetworkError, OfflineError, SourceError
from felloe.flights import Flights, Memory
from felloe.hashing import CHUNK, Hashing, check_digests
from felloe.net import files
from felloe.net.limits import DEFAULT_LIMITS
from felloe.net.pages import as_key, response_of
from felloe.progress import Event
from felloe.stepping import check_cancelled, work
from felloe.url import Url
from felloe.values import Entry, Fetched, Fresh, RawMetadata, Stale

if TYPE_CHECKING:
    from felloe.config import Limits
    from felloe.net.client import Client, Response

__all__ = ["Downloads"]

Target = Callable[[], Path]  # makes the folder for a file that will be written, and gives its path
Save = Callable[["Response", Mapping[str, Any]], Awaitable[Fetched]]  # writes a body, whose validators are given

Headers = Mapping[str, str]  # names in lower case

NONE: Headers = MappingProxyType({})
WHOLE: Headers = MappingProxyType({"accept-encoding": "identity"})
UNCHANGED = frozenset({200, 304})
# How servers say that they cannot give a part of a file.
NO_RANGES = frozenset({200, 400, 405, 416, 501})
TELL_EACH = 2**20  # bytes
MAX_DIGITS = 19  # of a length
CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")


class Downloads:
    """What is done with one file of a server. Whoever cannot give parts of files is remembered for the run."""

    def __init__(
        self,
        client: Callable[[], Awaitable[Client]],
        report: Callable[[Event], None],
        clock: Callable[[], float],
        max_bytes: int,
        folder: Callable[[], Path],
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """`folder` makes one for a body that several may want; it lasts as long as the run does."""
        self._client = client
        self._limits = limits
        self._report = report
        self._clock = clock
        self._max_bytes = max_bytes
        self._folder = folder
        self._flights = Flights()
        self._answers = Memory()
        self._without_ranges: set[tuple[str, str, int | None]] = set()

    async def fetch(self, url: Url, target: Target, hashes: Mapping[str, str], headers: Headers = NONE) -> Fetched:
        """The file at `url`, written where `target` says; `headers` are the source's own, here and below.

        Raises HashMismatchError, NetworkError, OfflineError, SourceError (too large).
        """
        if url.scheme == "file":
            return await self._copy(url, target, hashes)
        return await self._get(url, target, hashes, headers)

    def has_to_ask(self, url: Url, entry: Entry, newer_than: float | None) -> bool:
        """Whether `revalidate` sends a request."""
        try:
            stored = freshness.Response.from_json(entry.validators)
        except ValueError:
            return False
        return isinstance(self._decide(url, stored, newer_than, {}), freshness.Conditional)

    async def revalidate(
        self, url: Url, target: Target, entry: Entry, newer_than: float | None, headers: Headers = NONE
    ) -> Fresh | Stale:
        """No request while the entry is fresh; else one, conditional, whose body goes where `target` says.

        The answer is that of the run: who asks the same later, or at the same time, gets it, and a body of their own.
        """
        if url.scheme == "file":
            return await self._revalidate_file(url, target, entry)
        try:
            stored = freshness.Response.from_json(entry.validators)
        except ValueError:
            return Stale(code="no-validators", evidence="nothing is known of the last response")
        match self._decide(url, stored, newer_than, headers):
            case freshness.Usable():
                return Fresh(validators=entry.validators)
            case freshness.Conditional(headers=conditions):
                try:
                    return await self._ask_again(url, target, stored, headers, conditions)
                except OfflineError:
                    # As of the last time, like the page that lists it.
                    self._report(Event(code="page-offline", message=f"{url}: no request, offline: as of the last time"))
                    return Fresh(validators=entry.validators)

    async def wheel_metadata(
        self, url: Url, filename: str, size: int | None, target: Target, headers: Headers = NONE
    ) -> RawMetadata | Fetched | None:
        """METADATA of a wheel by reading parts of it; None where the server gives none.

        The wheel itself, written where `target` says, where the server sends that in place of the first part. Of those
        who ask at the same time one sends requests; the others get the same METADATA, or None.
        """
        if url.scheme == "file":
            return await _local_wheel_metadata(url, filename, self._limits)
        if url.origin in self._without_ranges:
            return None
        save = partial(self._save, url, target, {})
        parts = _Parts(await self._client(), url, headers, self._clock, save, self._limits)
        raw: RawMetadata | None = await self._flights.share(
            (url, filename, size, as_key(headers)), lambda: self._read_metadata(parts, url, filename, size)
        )
        return raw or parts.whole

    async def _read_metadata(self, parts: _Parts, url: Url, filename: str, size: int | None) -> RawMetadata | None:
        try:
            return await parts.metadata(filename, size)
        except _RangesRefusedError:
            self._without_ranges.add(url.origin)
            return None
        except _OtherSizeError:
            return None

    def _decide(
        self, url: Url, stored: freshness.Response, newer_than: float | None, headers: Headers
    ) -> freshness.Usable | freshness.Conditional:
        if stored.url not in {None, str(url)}:
            newer_than = math.inf  # what is fresh is where the URL led to: whether it still does, its server knows
        return freshness.decide(stored, request_headers=headers, now=self._clock(), newer_than=newer_than)

    async def _ask_again(
        self, url: Url, target: Target, stored: freshness.Response, headers: Headers, conditions: Headers
    ) -> Fresh | Stale:
        answer: Fetched = await self._answers.once(
            (url, as_key(headers), as_key(conditions)),
            lambda: self._get(url, lambda: self._folder() / "body", {}, headers, conditions),
        )
        new = freshness.Response.from_json(answer.validators)
        if new.status == 304 and stored.url in {None, new.url} and freshness.confirmed(stored, new):
            return Fresh(validators=freshness.updated(stored, new).to_json())
        if new.status == 304:
            return Stale(code="not-confirmed", evidence="the server's 304 names other validators")
        code, evidence = freshness.difference(stored, new)
        return Stale(code=code, evidence=evidence, fetched=await self._own(answer, target()))

    async def _own(self, shared: Fetched, path: Path) -> Fetched:
        from anyio.to_thread import run_sync

        await run_sync(_link, shared.path, path)
        return evolve(shared, path=path)

    async def _get(
        self, url: Url, target: Target, hashes: Mapping[str, str], headers: Headers, conditions: Headers = NONE
    ) -> Fetched:
        client = await self._client()
        from felloe.net.client import Exchange

        sent = self._clock()

        async def read(response: Response) -> Fetched:
            validators = response_of(response, url, headers, sent, self._clock()).to_json()
            if response.status == 304:
                return Fetched(path=Path(), validators=validators)
            return await self._save(url, target, hashes, response, validators)

        request = Exchange(url=url, headers={**headers, **WHOLE, **conditions}, answers=UNCHANGED)
        return await client.exchange(request, read)

    async def _save(
        self, url: Url, target: Target, hashes: Mapping[str, str], response: Response, validators: Mapping[str, Any]
    ) -> Fetched:
        path = target()
        with path.open("wb") as file:
            copy = _HashedFile(str(url), file, hashes, self._max_bytes)
            await response.pour(self._told(copy, url, response))
        self._report(_event(url, copy.size))
        return Fetched(path=path, content=copy.content(), validators=validators)

    def _told(self, copy: _HashedFile, url: Url, response: Response) -> Callable[[bytes], None]:
        """What writes a block, and tells of each MiB."""
        length = response.headers.get("content-length", "")
        total = int(length) if length.isascii() and length.isdecimal() and len(length) < MAX_DIGITS else None

        def write(block: bytes) -> None:
            told = copy.size // TELL_EACH
            copy.write(block)
            if copy.size // TELL_EACH > told:
                self._report(_receiving(url, copy.size, total))

        return write

    async def _copy(self, url: Url, target: Target, hashes: Mapping[str, str]) -> Fetched:
        await work()
        from anyio.to_thread import run_sync

        return await run_sync(_copy, url, target(), hashes, self._max_bytes)

    async def _revalidate_file(self, url: Url, target: Target, entry: Entry) -> Fresh | Stale:
        before = dict(entry.validators)
        now = files.stat_of(files.regular_file(url))
        if before == now:
            return Fresh(validators=now)
        changed = next((key for key in now if before.get(key) != now[key]), "stat")
        evidence = f"{changed} {before.get(changed)} -> {now[changed]}"
        return Stale(code="file-changed", evidence=evidence, fetched=await self._copy(url, target, {}))


class _RangesRefusedError(Exception):
    """The server gives whole files only."""


class _OtherSizeError(Exception):
    """The file is not of the size that its index says: where it ends has to be seen."""


class _Parts:
    """Ranges of one remote file, that must not change between them.

    `whole` is the file, where the server sent that when it was asked for the first part.
    """

    def __init__(
        self, client: Client, url: Url, headers: Headers, clock: Callable[[], float], save: Save, limits: Limits
    ) -> None:
        self.whole: Fetched | None = None
        self._client = client
        self._url = url
        self._headers = headers
        self._clock = clock
        self._save = save
        self._limits = limits
        self._etag: str | None = None
        self._listed_size: int | None = None
        self._size: int | None = None
        self._validators: Mapping[str, Any] = {}

    async def metadata(self, filename: str, size: int | None) -> RawMetadata:
        from felloe.net.wheel_range import read_metadata

        self._listed_size = size
        if size is None:
            # Not a suffix range: some servers answer that with an error, others with the whole file.
            await self.read(0, 0)
        raw = await read_metadata(self.read, size or self._size or 0, filename, self._limits)
        return RawMetadata(bytes=raw, rung="range", validators=self._validators)

    async def read(self, first: int, last: int) -> bytes:
        """The bytes from `first` to `last`, both included."""
        from felloe.net.client import Exchange

        sent = self._clock()

        async def read(response: Response) -> bytes:
            validators = response_of(response, self._url, self._headers, sent, self._clock()).to_json()
            if response.status == 200 and self._size is None:
                self.whole = await self._save(response, validators)
            if response.status != 206:
                raise _RangesRefusedError
            self._check_same_file(response, first, last)
            self._validators = self._validators or validators
            return await response.body(last - first + 1)

        headers = {**self._headers, **WHOLE, "range": f"bytes={first}-{last}"}
        request = Exchange(url=self._url, headers=headers, answers=NO_RANGES | {206})
        data: bytes = await self._client.exchange(request, read)
        if len(data) != last - first + 1:
            raise NetworkError(
                f"{self._url}: the server sent {len(data)} of {last - first + 1} bytes",
                hint="try again",
                transient=True,
            )
        return data

    def _check_same_file(self, response: Response, first: int, last: int) -> None:
        match = CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
        is_encoded = response.headers.get("content-encoding", "identity").lower() != "identity"
        if match is None or is_encoded or (int(match[1]), int(match[2])) != (first, last):
            raise _RangesRefusedError
        size, etag = int(match[3]), response.headers.get("etag")
        if self._listed_size not in {None, size}:
            raise _OtherSizeError
        if self._size not in {None, size} or (self._etag is not None and self._etag != etag):
            raise NetworkError(f"{self._url} changed while it was read", hint="try again", code="changed")
        self._size, self._etag = size, etag


class _HashedFile:
    """A file being written, of bounded size, hashed on the way. Raises SourceError where it grows too large."""

    def __init__(self, what: str, file: BinaryIO, hashes: Mapping[str, str], max_bytes: int) -> None:
        self.size = 0
        self._what = what
        self._file = file
        self._hashing = Hashing(hashes)
        self._expected = hashes
        self._max_bytes = max_bytes

    def write(self, block: bytes) -> None:
        self.size += len(block)
        if self.size > self._max_bytes:
            raise SourceError(
                f"{self._what} is larger than {self._max_bytes} bytes",
                hint="look whether it is the file that you mean",
                code="too-large",
            )
        self._file.write(block)
        self._hashing.update(block)

    def content(self) -> str:
        """The content id. Raises HashMismatchError where a digest is not the expected one."""
        digests = self._hashing.digests()
        check_digests(self._what, digests, self._expected)
        return f"sha256:{digests['sha256']}"


def _copy(url: Url, target: Path, hashes: Mapping[str, str], max_bytes: int) -> Fetched:
    path = files.regular_file(url)
    before = files.stat_of(path)
    with path.open("rb") as source, target.open("wb") as file:
        copy = _HashedFile(str(url), file, hashes, max_bytes)
        while block := source.read(CHUNK):
            check_cancelled()
            copy.write(block)
    return Fetched(path=target, content=copy.content(), validators=before)


def _link(source: Path, target: Path) -> None:
    """The file at another place as well: whoever gets it moves it away."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # the file system has no links
        shutil.copyfile(source, target)


async def _local_wheel_metadata(url: Url, filename: str, limits: Limits) -> RawMetadata:
    await work()
    from anyio.to_thread import run_sync

    from felloe.net.archive import read_wheel_metadata

    path = files.regular_file(url)
    validators = files.stat_of(path)
    raw = await run_sync(read_wheel_metadata, path, filename, limits)
    return RawMetadata(bytes=raw, rung="range", validators=validators)


def _receiving(url: Url, size: int, total: int | None) -> Event:
    of = f" of {total}" if total is not None else ""
    data = {"url": str(url), "bytes": size, "total": total}
    return Event(code="receiving", message=f"{url}: {size}{of} bytes so far", data=data)


def _event(url: Url, size: int) -> Event:
    return Event(code="download", message=f"{url}: {size} bytes", data={"url": str(url), "bytes": size})
