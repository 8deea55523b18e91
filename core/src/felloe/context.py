"""What the core does for a source while it answers one item: the `ctx` of every hook."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from attrs import frozen

from felloe.cache.archives import digests_of
from felloe.cache.kept import holding
from felloe.cache.layout import Layout, key_part
from felloe.cache.root import writing
from felloe.cache.run import Run
from felloe.cache.store import Store
from felloe.command import Bounds, run_command
from felloe.config import Limits
from felloe.errors import CacheError, OfflineError
from felloe.flights import Memory
from felloe.hashing import check_digests
from felloe.net.download import Downloads
from felloe.net.login import Sender
from felloe.net.pages import Asked, Pages
from felloe.progress import Event
from felloe.stepping import must_not_step, work
from felloe.url import Url
from felloe.values import (
    Completed,
    Entry,
    Fetched,
    Fresh,
    Headers,
    Json,
    Login,
    Page,
    RawMetadata,
    Stale,
)

__all__ = ["ItemContext", "Owner", "Services"]

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@frozen(kw_only=True)
class Services:
    """What all items of a Database share. What was checked since the instant `began` counts as checked now."""

    layout: Layout
    run: Run
    store: Store
    pages: Pages
    downloads: Downloads
    memory: Memory
    limits: Limits
    offline: bool
    report: Callable[[Event], None]
    clock: Callable[[], float]
    began: float


@frozen
class Owner:
    """Whose context it is: the source's name and kind, and its address in the cache."""

    name: str
    kind: str
    address: str


class ItemContext:
    """Implements `felloe.values.Context` for one source and one item."""

    def __init__(self, services: Services, owner: Owner, newer_than: float | None) -> None:
        self._services = services
        self._owner = owner
        self._scratch: Path | None = None
        self._whole: dict[Url, Fetched] = {}
        self.newer_than = newer_than
        self.offline = services.offline
        self._sender = Sender(services.memory, owner.name, self)
        self.http = ItemHttp(services, newer_than, self._sender)

    @property
    def scratch(self) -> Path:
        if self._scratch is None:
            self._scratch = self._services.run.folder()
        return self._scratch

    def report(self, event: Event) -> None:
        self._services.report(event)

    def memo(self, *key: str) -> ItemMemo:
        path = self._services.layout.memo(self._owner.kind, self._owner.address, key)
        return ItemMemo(self._services.store, path)

    def keep(self, *key: str) -> AbstractAsyncContextManager[Path]:
        services = self._services
        folder = services.layout.kept(self._owner.kind, self._owner.address, key)
        return holding(services.layout, services.run, folder, services.report)

    async def run(
        self,
        argv: Sequence[str],
        *,
        network: bool,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 600.0,  # noqa: ASYNC109  # the program's, in seconds
    ) -> Completed:
        await work()
        if network and self.offline:
            raise OfflineError(f"`{argv[0]}` needs the network, which is off", hint="run without --offline once")
        return await run_command(argv, cwd=cwd or self.scratch, env=env, bounds=Bounds(seconds=timeout))

    async def once(self, key: str, fn: Callable[[], Awaitable[Any]]) -> Any:
        return await self._services.memory.once((self._owner.name, key), fn)

    async def download(
        self,
        url: Url,
        name: str,
        hashes: Mapping[str, str] | None = None,
        *,
        headers: Headers | None = None,
    ) -> Fetched:
        if whole := self._whole.pop(url, None):
            return await _checked(url, whole, hashes or {})
        target = lambda: self._target(url, name)  # noqa: E731  # made only when there is a body to write
        ask = lambda own: self._services.downloads.fetch(url, target, hashes or {}, own)  # noqa: E731
        with _telling_of_no_room(self._services.layout.root):
            return await self._sender.send(headers, url, ask)

    async def revalidate(self, url: Url, name: str, entry: Entry, *, headers: Headers | None = None) -> Fresh | Stale:
        downloads = self._services.downloads
        if self._was_checked_in_this_run(entry):
            return Fresh(validators=entry.validators)
        if isinstance(headers, Login) and not downloads.has_to_ask(url, entry, self.newer_than):
            headers = None
        target = lambda: self._target(url, name)  # noqa: E731  # made only when there is a body to write
        ask = lambda own: downloads.revalidate(url, target, entry, self.newer_than, own)  # noqa: E731
        with _telling_of_no_room(self._services.layout.root):
            return await self._sender.send(headers, url, ask)

    async def wheel_metadata(
        self, url: Url, name: str, size: int | None = None, *, headers: Headers | None = None
    ) -> RawMetadata | None:
        target = lambda: self._target(url, name)  # noqa: E731  # made only when there is a body to write
        ask = lambda own: self._services.downloads.wheel_metadata(url, name, size, target, own)  # noqa: E731
        with _telling_of_no_room(self._services.layout.root):
            found = await self._sender.send(headers, url, ask)
        if isinstance(found, Fetched):
            self._whole[url] = found  # what `download` is asked for next
            return None
        return found

    def close(self) -> None:
        """Removes the scratch folder."""
        if self._scratch is not None:
            self._services.run.remove(self._scratch)
            self._scratch = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _was_checked_in_this_run(self, entry: Entry) -> bool:
        """By this process or by another one, which is no less true."""
        try:
            checked = datetime.fromisoformat(entry.checked).timestamp()
        except (ValueError, OverflowError):
            return False
        return self._services.began < checked <= self._services.clock()

    def _target(self, url: Url, name: str) -> Path:
        """A file of its own for each address, so that two downloads of one hook do not meet."""
        folder = self.scratch / url.digest()
        folder.mkdir(exist_ok=True)
        return folder / key_part(name)


async def _checked(url: Url, whole: Fetched, hashes: Mapping[str, str]) -> Fetched:
    """The file that came before anybody said which hashes it has to have. Raises HashMismatchError."""
    digests = await digests_of(whole.path, hashes) if hashes else {}
    check_digests(str(url), digests, hashes)
    return whole


@contextmanager
def _telling_of_no_room(root: Path) -> Iterator[None]:
    """A full disk becomes a CacheError; it is no fault of the source."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        with writing(root):
            raise


class ItemHttp:
    """Implements `felloe.values.Http`."""

    def __init__(self, services: Services, newer_than: float | None, sender: Sender) -> None:
        self._services = services
        self._newer_than = newer_than
        self._sender = sender

    async def get(
        self, url: Url, *, accept: str = "*/*", lifetime: float = 0.0, headers: Headers | None = None
    ) -> Page:
        pages = self._services.pages

        def asked(own: Mapping[str, str]) -> Asked:
            sent = {**own, "accept": accept, "accept-encoding": "gzip, deflate"}
            return Asked(url=url, headers=sent, lifetime=lifetime, newer_than=self._newer_than)

        if isinstance(headers, Login) and (page := pages.fresh(asked({}))):
            return page
        return await self._sender.send(headers, url, lambda own: pages.get(asked(own), offline=self._services.offline))

    async def read(
        self,
        url: Url,
        *,
        max_bytes: int | None = None,
        hashes: Mapping[str, str] | None = None,
        headers: Headers | None = None,
    ) -> bytes | None:
        most = self._services.limits.max_metadata_bytes if max_bytes is None else max_bytes
        return await self._sender.send(headers, url, lambda own: self._services.pages.read(url, most, hashes, own))


class ItemMemo:
    """Implements `felloe.values.Memo`: a value that is lost is worked out again."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._path = path

    def get(self) -> Json:
        return (self._store.read_document(self._path) or {}).get("value")

    def set(self, value: Json) -> None:
        must_not_step()
        with suppress(CacheError):  # where it cannot be written it is lost, as at any time
            self._store.write_document(self._path, {"value": value})
