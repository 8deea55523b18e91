"""The entry of one Dist: its bytes, brought and hashed and read once, and the record of what they told."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import evolve

from felloe import dispatch, hash_rules
from felloe.build.plan import project_folder, read_pyproject
from felloe.cache.archives import Archives, digests_of
from felloe.cache.records import Records
from felloe.config import Limits
from felloe.errors import REPORT, ContractError
from felloe.metadata import check_identity, parse_metadata, static_metadata
from felloe.place import Brought, Checked, Place
from felloe.record import Record, based_on, refreshed, with_static, with_wheel
from felloe.scm import asks_scm
from felloe.values import Dist, Entry, Fetched, Fresh, Json, Metadata, RawMetadata, Rung, Stale

__all__ = ["Entries", "counted_scm"]

Found = tuple[Metadata, Rung] | None
is_tree_content = re.compile("(git|tree):[0-9a-f]+").fullmatch  # the content ids that only a source can tell
STATIC_MEMBERS = ("PKG-INFO", "pyproject.toml")


class Entries:
    """Entries in the cache. `now` gives the instant as records have it (RFC 3339)."""

    def __init__(self, records: Records, archives: Archives, now: Callable[[], str], limits: Limits) -> None:
        self._records = records
        self._archives = archives
        self._now = now
        self._limits = limits

    async def refresh(self, at: Place, record: Record, verdict: Fresh) -> Record:
        """The record after a check that found it true."""
        if dict(verdict.validators) == dict(record.entry.validators):
            return record
        entry = evolve(record.entry, validators=verdict.validators, checked=self._now())
        return await self._records.change(at.path, lambda old: refreshed(old, record, entry))

    async def remember(self, at: Place, raw: RawMetadata) -> Record:
        """The record with METADATA that the source had by a short cut. Raises MetadataError."""
        metadata = self._parsed(at, raw.bytes)
        entry = self._entry(at, at.dist.hashes, raw.validators, verified=False)
        return await self._records.change(
            at.path,
            lambda old: with_wheel(based_on(old, at.source.kind.name, entry), at.dist.filename, metadata, raw.rung),
        )

    async def bring(self, at: Place, checked: Checked) -> Brought:
        """The bytes: from the cache where it has what is wanted, else fetched, hashed, and read once.

        Raises HashMismatchError, ArchiveError, MetadataError, CacheError, and what the source raises.
        """
        fetched = checked.fetched
        if fetched is None and (brought := await self._from_cache(at, checked.record)):
            return brought
        async with self._records.fetching(at.archive or at.path):
            # Somebody may have fetched it while we waited for the lock.
            latest = self._records.read(at.path)
            is_news = (
                latest is not None
                and latest != checked.found
                and hash_rules.is_as_declared(at.dist, latest.entry.digests)
            )
            if fetched is None and is_news and (brought := await self._from_cache(at, latest)):
                return brought
            if fetched is None and at.archive:
                known = await self._known_by_others(at, at.archive)
                if isinstance(known, Brought):
                    return known
                fetched = known
            fetched = fetched or await dispatch.fetch(at.source, at.dist, at.ctx)
            path, entry = self._tree(at, fetched) if at.dist.kind == "tree" else await self._put(at, fetched)
            record = await self._read(at, path, entry)
            if at.archive:
                await self._records.change(at.archive, lambda old: based_on(old, at.source.kind.name, entry))
            return Brought(record, path, received=True, editable_root=fetched.editable_root)

    async def _known_by_others(self, at: Place, archive: Path) -> Brought | Fetched | None:
        """The bytes that were fetched for another project in the same archive, where these are still true.

        Else those that had to be downloaded to find out.
        """
        known = self._records.read(archive)
        if known is None:
            return None
        verdict = await dispatch.check_freshness(at.source, evolve(at.dist, subdirectory=None), known.entry, at.ctx)
        if isinstance(verdict, Stale):
            return verdict.fetched
        path = await self._archives.verified((known.entry.content or "").removeprefix("sha256:"), at.dist.filename)
        if path is None:
            return None
        digests = await digests_of(path, hash_rules.algorithms(at.request, at.dist))
        if not hash_rules.is_as_declared(at.dist, digests):
            return None
        hash_rules.check_bytes(at.request, at.dist, digests, at.what)
        entry = evolve(known.entry, digests=digests, validators=verdict.validators, checked=self._now())
        return Brought(await self._read(at, path, entry), path, received=False)

    async def _from_cache(self, at: Place, record: Record | None) -> Brought | None:
        content = (record.entry.content if record else None) or at.dist.content or ""
        algorithm, _, sha256 = content.partition(":")
        path = await self._archives.verified(sha256, at.dist.filename) if algorithm == "sha256" else None
        if path is None:
            return None
        digests = await digests_of(path, hash_rules.algorithms(at.request, at.dist))
        if not hash_rules.is_as_declared(at.dist, digests):
            return None  # they were right once: the source declares others now
        hash_rules.check_bytes(at.request, at.dist, digests, at.what)
        if record is None or not _has_read(record) or not record.entry.digests.items() >= digests.items():
            validators = record.entry.validators if record else {}
            record = await self._read(at, path, self._entry(at, digests, validators, verified=True))
        return Brought(record, path, received=False)

    async def _put(self, at: Place, fetched: Fetched) -> tuple[Path, Entry]:
        if fetched.path.is_symlink() or not fetched.path.is_file():
            raise ContractError(f"source `{at.source.name}` fetched something that is not a regular file", hint=REPORT)
        digests = await digests_of(fetched.path, hash_rules.algorithms(at.request, at.dist))
        hash_rules.check_bytes(at.request, at.dist, digests, at.what)
        if fetched.content not in {None, f"sha256:{digests['sha256']}"}:
            raise ContractError(
                f"source `{at.source.name}` fetched other bytes than it says: `{fetched.content}`", hint=REPORT
            )
        path = self._archives.put(fetched.path, digests["sha256"], fetched.filename or at.dist.filename)
        return path, self._entry(at, digests, fetched.validators, verified=True)

    def _tree(self, at: Place, fetched: Fetched) -> tuple[Path, Entry]:
        """It stays in scratch: a build may change it, and its source brings another copy at any time."""
        if fetched.path.is_symlink() or not fetched.path.is_dir():
            raise ContractError(f"source `{at.source.name}` fetched a tree that is not a folder", hint=REPORT)
        if not is_tree_content(fetched.content or ""):
            raise ContractError(
                f"source `{at.source.name}` fetched a tree and does not say its content id", hint=REPORT
            )
        entry = self._entry(at, {}, fetched.validators, verified=False)
        return fetched.path, evolve(entry, content=fetched.content, scm=counted_scm(at.dist, fetched))

    async def _read(self, at: Place, path: Path, entry: Entry) -> Record:
        """What the bytes tell of themselves, put into the record of their entry."""
        if at.dist.kind == "wheel":
            found: Found = self._parsed(at, await _read_wheel(path, at.dist.filename, self._limits)), "wheel"
        elif at.dist.kind == "tree":
            found = self._proven(at, await _read_tree(path, at.dist, at.what))
        else:
            found = self._proven(at, await _read_sdist(path, at.dist, self._limits))
        return await self._records.change(
            at.path, lambda old: _with_found(at, based_on(old, at.source.kind.name, entry), found)
        )

    def _proven(self, at: Place, members: Mapping[str, bytes]) -> Found:
        limit = self._limits.max_metadata_bytes
        found = static_metadata(members, filename_version=at.dist.version, max_bytes=limit)
        if found is not None:
            check_identity(found[0], name=at.dist.name, version=at.dist.version, what=at.what)
        return found

    def _parsed(self, at: Place, raw: bytes) -> Metadata:
        metadata = parse_metadata(raw, what=at.what, max_bytes=self._limits.max_metadata_bytes)
        check_identity(metadata, name=at.dist.name, version=at.dist.version, what=at.what)
        return metadata

    def _entry(self, at: Place, digests: Mapping[str, str], validators: Mapping[str, Json], *, verified: bool) -> Entry:
        now = self._now()
        return Entry(
            content=f"sha256:{digests['sha256']}" if "sha256" in digests else None,
            digests=digests,
            verified=verified,
            validators=validators,
            locator=at.dist.locator,
            fetched=now,
            checked=now,
        )


def counted_scm(dist: Dist, fetched: Fetched) -> str | None:
    """What version control says of a tree that was fetched, where the project's build may ask for that; else None.

    A source may always tell it: a tag that nobody reads must not build anything again.
    """
    if fetched.scm is None or not asks_scm(fetched.path / (dist.subdirectory or "")):
        return None
    return fetched.scm


async def _read_wheel(path: Path, filename: str, limits: Limits) -> bytes:
    from anyio.to_thread import run_sync

    from felloe.net.archive import read_wheel_metadata

    return await run_sync(read_wheel_metadata, path, filename, limits)


async def _read_sdist(path: Path, dist: Dist, limits: Limits) -> Mapping[str, bytes]:
    """Those of the project itself, which need not be at the top."""
    from anyio.to_thread import run_sync

    from felloe.net.archive import read_sdist_members

    folder = f"{dist.subdirectory}/" if dist.subdirectory else ""
    wanted = {folder + name: name for name in STATIC_MEMBERS}
    members = await run_sync(read_sdist_members, path, dist.filename, tuple(wanted), limits)
    return {wanted[place]: content for place, content in members.items()}


async def _read_tree(path: Path, dist: Dist, what: str) -> Mapping[str, bytes]:
    """Its pyproject.toml alone: a PKG-INFO that lies in a tree is of some build before, not of what the tree is now.

    Nothing of an editable one, whose wheel may require more than the project does (PEP 660).
    """
    from anyio.to_thread import run_sync

    folder = project_folder(path, dist, what)
    raw = None if dist.editable else await run_sync(read_pyproject, folder)
    return {} if raw is None else {"pyproject.toml": raw}


def _has_read(record: Record) -> bool:
    """False also where they proved nothing: their entry may be there only for another project in the same archive."""
    return record.entry.verified and (record.static is not None or bool(record.data or record.builds))


def _with_found(at: Place, record: Record, found: Found) -> Record:
    """The record with what its bytes told, which outranks what was told of them before."""
    if found is None:
        return record
    if at.dist.kind != "wheel":
        return with_static(record, *found)
    filename = at.dist.filename
    if record.rung_of(filename) not in hash_rules.FROM_BYTES:
        record = evolve(record, data={name: data for name, data in record.data.items() if name != filename})
    return with_wheel(record, filename, *found)
