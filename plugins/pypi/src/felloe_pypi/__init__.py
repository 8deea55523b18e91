"""Indexes: PyPI (kind `pypi`) and any other in its form (kind `index`), in the order of the line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

from felloe.plugin import (
    CacheKey,
    Claim,
    ConfigError,
    Context,
    Dist,
    Entry,
    Event,
    Fetched,
    Fresh,
    Level,
    NetworkError,
    Page,
    ProjectNotFound,
    RawMetadata,
    Request,
    SourceError,
    Stale,
    Url,
    hookimpl,
    key_part,
    refuse_unknown,
)
from felloe_pypi.page import ACCEPT, File, dist_of, links_of, normalised, parse_page

__all__ = ["PyPI", "SimpleIndex"]

# PyPI tells clients to keep a page for ten minutes; this counts where a server (or a proxy before it) says nothing.
PAGE_LIFETIME = 600.0
SETTINGS = ("url", "find_links", "projects", "missing")
NOT_THERE = frozenset({404, 410})
# Object stores say so of what is not there to those who may not list it. Who may not read the wheel either learns it
# from the wheel.
REFUSED = frozenset({401, 403})


class SimpleIndex:
    """An index by the simple repository API (PEP 503, 691), or a page or folder of links (`find_links`).

    Settings: `url` of the index or `find_links`; `projects`, patterns of names that are its own and asked nowhere else;
    `missing`, statuses besides 404 and 410 with which it says that it does not know a project. Any other raises
    ConfigError: `projects` keeps names private, and must not be misspelt unnoticed.

    A company's own index subclasses it and gives these settings itself. One that has settings of its own takes them out
    before it hands on the others.
    """

    api = 1
    default = False
    assumes_sidecars = False
    """Whether METADATA is tried beside a wheel although the page says nothing of it."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        refuse_unknown(name, settings, SETTINGS)
        self.name = name
        self.links = _url(settings.get("find_links"), "find_links")
        self.url = _url(settings.get("url"), "url")
        self.projects = [normalised(pattern) for pattern in _list_of(settings, "projects", str)]
        self.missing = NOT_THERE | set(_list_of(settings, "missing", int))
        self._without_sidecars: set[tuple[str, str, int | None]] = set()
        if self.url is not None and self.links is not None:
            raise ConfigError(f"index `{name}` has a `url` and `find_links`", hint="make two sources of them")
        if self.url is None and self.links is None and not self.default:
            raise ConfigError(f"index `{name}` has no `url`", hint='add url = "https://..." to its settings')

    @hookimpl
    def claims(self, request: Request) -> Claim | None:
        if request.name is None or request.url is not None or request.path is not None:
            return None
        for pattern in self.projects:
            if fnmatchcase(request.name, pattern):
                return Claim(level=Level.NAMESPACE, reason=f"its projects are {pattern}")
        return None if self.projects else Claim(level=Level.FALLBACK, reason="it may know any name")

    @hookimpl
    def address(self) -> str:
        """One for all ways to write it, as far as they send the same requests: an index's ends in `/`.

        With a digest of the whole where the query, which may be a token, is not shown.
        """
        url = self.links or cast(Url, self.url).as_directory()
        return f"{url}#{url.digest()}" if "?" in str(url) else str(url)

    @hookimpl
    async def find(self, request: Request, ctx: Context) -> Sequence[Dist]:
        project = cast(str, request.name)
        files = await self._linked_files(project, ctx) if self.links else await self._project_files(project, ctx)
        return [dist for file in files if (dist := dist_of(file, project, self.name)) is not None]

    @hookimpl
    def cache_key(self, dist: Dist) -> CacheKey:
        return CacheKey(parts=(key_part(dist.filename),))

    @hookimpl
    async def check_freshness(self, dist: Dist, entry: Entry, ctx: Context) -> Fresh | Stale:
        """The hashes on the page decide; only where it has none the server of the file is asked."""
        url: Url = dist.locator["url"]
        if dist.hashes:
            return _compared(dist, entry)
        if entry.locator.get("url-digest") != url.digest():
            return Stale(code="url-changed", evidence=f"{entry.locator.get('url')} -> {url}")
        return await ctx.revalidate(url, dist.filename, entry)

    @hookimpl
    async def fetch(self, dist: Dist, ctx: Context) -> Fetched:
        return await ctx.download(dist.locator["url"], dist.filename, dist.hashes)

    @hookimpl
    async def metadata(self, dist: Dist, ctx: Context) -> RawMetadata | None:
        """By sidecar (PEP 658); else, and where no hash says which file it is about, by reading parts of the wheel."""
        if dist.hashes and (raw := await self._sidecar(dist, ctx)) is not None:
            return RawMetadata(bytes=raw, rung="sidecar")
        return await ctx.wheel_metadata(dist.locator["url"], dist.filename, dist.size)

    # -- for subclasses and the hooks above

    def index_url(self, ctx: Context) -> Url:  # noqa: ARG002  # for those that have to find out
        """The address of the index, without the project."""
        return cast(Url, self.url)

    async def _project_files(self, project: str, ctx: Context) -> Sequence[File]:
        index = self.index_url(ctx).as_directory()
        page = await self._page(index.with_suffix(f"{project}/"), index, project, ctx)  # which keeps the query
        return parse_page(page, project)

    async def _linked_files(self, project: str, ctx: Context) -> Sequence[File]:
        links = cast(Url, self.links)
        files = links_of(await self._page(links, links, project, ctx))
        if not any(dist_of(file, project, self.name) for file in files):
            raise self._unknown(project)
        return files

    async def _page(self, url: Url, place: Url, project: str, ctx: Context) -> Page:
        """The page at `url`, of the index or the links at `place`.

        Raises ProjectNotFound where the index says that it does not know the project.
        """
        try:
            page = await ctx.http.get(url, accept=ACCEPT, lifetime=PAGE_LIFETIME)
        except NetworkError as error:
            if error.payload.get("status") in self.missing:
                raise self._unknown(project) from error
            raise
        if page.status in NOT_THERE:
            await self._check_there(place, ctx)
            raise self._unknown(project)
        return page

    async def _check_there(self, place: Url, ctx: Context) -> None:
        """A folder that is not there says nothing of a project: an index's next one must not be asked for it.

        A folder of links for any name is told of and passed over, as by pip, whose configuration it may come from.
        """
        if place.scheme != "file" or (await ctx.http.get(place)).status not in NOT_THERE:
            return
        message = f"`{place}` of source `{self.name}` is not there"
        if self.links and not self.projects:
            ctx.report(Event(code="warning", message=message))
            return
        hint = "correct the path where it is configured, or leave it out"
        raise SourceError(message, hint=hint, code="no-such-folder")

    def _unknown(self, project: str) -> ProjectNotFound:
        return ProjectNotFound(
            f"`{self.name}` does not know `{project}`",
            hint="look whether the name is right, and whether the index that has it is configured",
            project=project,
            source=self.name,
        )

    async def _sidecar(self, dist: Dist, ctx: Context) -> bytes | None:
        advertised = dist.locator["metadata"]
        url: Url = dist.locator["url"]
        assumed = advertised is None and self.assumes_sidecars and url.origin not in self._without_sidecars
        if not (advertised or assumed):
            return None
        hashes = advertised if isinstance(advertised, Mapping) else None
        raw = await _read(url.with_suffix(".metadata"), hashes, ctx)
        if raw is None and assumed:
            self._without_sidecars.add(url.origin)
        return raw


class PyPI(SimpleIndex):
    """PyPI itself, at its published address. There without being configured, unless another default index is.

    Settings: `projects` and `missing`. An address raises ConfigError: in the cache this source has none, and what an
    index elsewhere says would be taken for PyPI's.
    """

    default = True
    assumes_sidecars = True  # it has them for every wheel, but not every mirror or proxy hands on that it does

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        for key in ("url", "find_links"):
            if key in settings:
                raise ConfigError(
                    f"source `{name}` of kind `pypi` is PyPI itself, and has no `{key}`",
                    hint='write kind = "index" for any other index',
                    key=key,
                )
        super().__init__(name, settings)

    @hookimpl
    def address(self) -> str:
        return ""

    def index_url(self, ctx: Context) -> Url:
        """The published one is remembered: to import it costs more than all that a warm run does."""
        memo = ctx.memo("address")
        known = memo.get()
        if isinstance(known, str):
            return Url(known)
        address = _published_address()
        memo.set(address)
        return Url(address)


def _published_address() -> str:
    from urllib.parse import urljoin

    from distlib.index import DEFAULT_INDEX

    address: str = urljoin(DEFAULT_INDEX, "simple/")
    return address


async def _read(sidecar: Url, hashes: Mapping[str, str] | None, ctx: Context) -> bytes | None:
    try:
        return await ctx.http.read(sidecar, hashes=hashes)
    except NetworkError as error:
        if error.payload.get("status") in REFUSED:
            return None
        raise


def _compared(dist: Dist, entry: Entry) -> Fresh | Stale:
    """Every hash that the page declares and the entry knows has to agree, and there has to be one."""
    common = sorted(dist.hashes.keys() & entry.digests.keys())
    for algorithm in common:
        if entry.digests[algorithm] != dist.hashes[algorithm]:
            evidence = f"{algorithm} {entry.digests[algorithm]} -> {dist.hashes[algorithm]}"
            return Stale(code="hash-changed", evidence=evidence)
    if not common:
        return Stale(code="hash-unknown", evidence=f"{min(dist.hashes)} none -> {dist.hashes[min(dist.hashes)]}")
    return Fresh(validators=entry.validators)


def _url(value: Any, key: str) -> Url | None:
    if value is None or isinstance(value, Url):
        return value
    if not isinstance(value, str):
        raise ConfigError(f"`{key}` has to be a URL, not {value!r}", hint=f'write {key} = "https://..."')
    return Url(value)


def _list_of(settings: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    values = settings.get(key, [])
    if not isinstance(values, list | tuple) or not all(type(value) is kind for value in values):
        raise ConfigError(
            f"`{key}` has to be a list of {kind.__name__}, not {values!r}",
            hint="write it in brackets, with commas between",
        )
    return list(values)
