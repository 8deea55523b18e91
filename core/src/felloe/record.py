"""What the cache knows of one distribution: the document `metadata.json` as a value, and back.

The document is shared by old and new releases: keys that are unknown here are kept when it is written again, and come
after those that are known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar, cast, get_args

import attrs
from attrs import field, frozen

from felloe.metadata import FIELDS, MULTIPLE_USE
from felloe.url import Url
from felloe.values import Entry, Json, Metadata, Rung

__all__ = ["Record", "based_on", "metadata_of", "refreshed", "with_static", "with_wheel"]

T = TypeVar("T")

_RUNGS = frozenset(get_args(Rung))
_SINGLE_USE = frozenset(FIELDS) - MULTIPLE_USE
_TOP = frozenset({"source", "static", "static-rung", "data", "rungs", "builds"})
_STATIC = ("static", "static-rung")
_SOURCE = frozenset({"kind", "locator", "content", "verified", "digests", "scm", "validators", "fetched", "checked"})
_CHECK = "check"  # the store's own: it is true of the bytes that were read, not of those to be written


@frozen(kw_only=True)
class Record:
    """One entry of the cache. `kind` is that of the source.

    `static` is what the sdist proves and `static_rung` where it says so; `data` maps wheel file name to METADATA and
    `rungs` says how they were had. `builds` are the documents of builds, oldest first. `source_extra` and `extra` are
    what another release wrote; `unread` is what it had by a rung unknown here of `static`, `data` and `rungs`, as it is
    in the document: it stays there until something that is known takes its place.
    """

    kind: str
    entry: Entry
    static: Metadata | None = None
    static_rung: Rung | None = None
    data: Mapping[str, Metadata] = field(factory=dict)
    rungs: Mapping[str, Rung] = field(factory=dict)
    builds: tuple[Mapping[str, Json], ...] = ()
    source_extra: Mapping[str, Json] = field(factory=dict)
    extra: Mapping[str, Json] = field(factory=dict)
    unread: Mapping[str, Json] = field(factory=dict)

    def rung_of(self, filename: str) -> Rung:
        """How the metadata of a wheel in `data` were had; where nothing is said, from a wheel."""
        return self.rungs.get(filename, "wheel")

    @classmethod
    def from_json(cls, document: Json) -> Record:
        """Raises ValueError where the document is not what a release of felloe writes."""
        document = _expect("the document", document, dict)
        source = _table(document, "source")
        unread = _unread(document)
        read = {part: _without(_table(document, part), unread.get(part, ())) for part in ("data", "rungs")}
        static = _without(_only(document, _STATIC), unread)
        return cls(
            kind=_expect("kind", source.get("kind"), str),
            entry=_entry(source),
            static=_static(static.get("static")),
            static_rung=None if static.get("static-rung") is None else _rung(static["static-rung"]),
            data={filename: metadata_of(fields) for filename, fields in read["data"].items()},
            rungs={filename: _rung(rung) for filename, rung in read["rungs"].items()},
            builds=tuple(_expect("a build", build, dict) for build in _array(document, "builds")),
            source_extra=_without(source, _SOURCE),
            extra=_without(document, _TOP | {_CHECK}),
            unread=unread,
        )

    def to_json(self) -> dict[str, Json]:
        """The document, in the order in which people read it; a Url is written redacted."""
        document: dict[str, Json] = {"source": self._source(), **self._static()}
        data = {filename: dict(metadata.fields) for filename, metadata in self.data.items()}
        document["data"] = {**self.unread.get("data", {}), **data}
        if rungs := {**self.unread.get("rungs", {}), **self.rungs}:
            document["rungs"] = rungs
        document["builds"] = [dict(build) for build in self.builds]
        return {**document, **self.extra}

    def _static(self) -> dict[str, Json]:
        if self.static is None and self.static_rung is None:
            return {part: self.unread[part] for part in _STATIC if part in self.unread}
        static = {"static": None if self.static is None else dict(self.static.fields), "static-rung": self.static_rung}
        return {part: value for part, value in static.items() if value is not None}

    def _source(self) -> dict[str, Json]:
        entry = self.entry
        source: dict[str, Json] = {
            "kind": self.kind,
            "locator": _plain(entry.locator),
            "content": entry.content,
            "verified": entry.verified,
            "digests": dict(entry.digests),
        }
        if entry.scm is not None:
            source["scm"] = entry.scm
        source["validators"] = _plain(entry.validators)
        source["fetched"] = entry.fetched
        source["checked"] = entry.checked
        return {**source, **self.source_extra}


def with_static(record: Record, metadata: Metadata, rung: Rung) -> Record:
    """The record with what the sdist proves, in place of what it was known to prove."""
    return attrs.evolve(record, static=metadata, static_rung=rung)


def with_wheel(record: Record, filename: str, metadata: Metadata, rung: Rung) -> Record:
    """The record with a wheel's metadata; those that are there stay, they are written once in the life of an entry."""
    if filename in record.data:
        return record
    return attrs.evolve(record, data={**record.data, filename: metadata}, rungs={**record.rungs, filename: rung})


def based_on(old: Record | None, kind: str, entry: Entry) -> Record:
    """The record to go on with: the old one where it is known to be about the same content, else an empty one.

    What was hashed of that content stays hashed.
    """
    if old is None or old.entry.content is None or old.entry.content != entry.content:
        return Record(kind=kind, entry=entry)
    digests = {**old.entry.digests, **entry.digests}
    verified = old.entry.verified or entry.verified
    return attrs.evolve(old, kind=kind, entry=attrs.evolve(entry, digests=digests, verified=verified))


def refreshed(old: Record | None, checked: Record, entry: Entry) -> Record:
    """The record after a check that found it true: `old` is what the cache has by now, `checked` what was checked."""
    current = old if old is not None and old.entry.content == checked.entry.content else checked
    return attrs.evolve(current, entry=entry)


def _entry(source: Mapping[str, Json]) -> Entry:
    return Entry(
        content=_text_or_none(source, "content"),
        digests={name: _expect("a digest", digest, str) for name, digest in _table(source, "digests").items()},
        verified=_get(source, "verified", False),  # noqa: FBT003  # a default, not a flag
        scm=_text_or_none(source, "scm"),
        validators=_table(source, "validators"),
        locator=_table(source, "locator"),
        fetched=_get(source, "fetched", ""),
        checked=_get(source, "checked", ""),
    )


def _static(fields: Json) -> Metadata | None:
    if fields is None:
        return None
    return _checked(fields, required=("name",))


def metadata_of(fields: Json) -> Metadata:
    """METADATA as the documents have it. Raises ValueError."""
    return _checked(fields, required=("name", "version"))


def _checked(fields: Json, *, required: tuple[str, ...]) -> Metadata:
    fields = _expect("metadata", fields, dict)
    for name in required:
        _expect(name, fields.get(name), str)
    for name, value in fields.items():
        if not _fits(name, value):
            raise ValueError(f"the field {name!r} of metadata cannot be {value!r}")
    return Metadata(fields)


def _fits(name: str, value: Json) -> bool:
    """Whether the value is of the type of a known field; None is what an sdist proves not to be there."""
    if name in MULTIPLE_USE:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return name not in _SINGLE_USE or isinstance(value, str) or (value is None and name == "requires-python")


def _unread(document: Mapping[str, Json]) -> dict[str, Json]:
    """The parts that have a rung which only another release knows."""
    static = _only(document, _STATIC) if _is_foreign(document.get("static-rung")) else {}
    rungs = {filename: rung for filename, rung in _table(document, "rungs").items() if _is_foreign(rung)}
    data = _only(_table(document, "data"), rungs)
    return {**static, **({"data": data, "rungs": rungs} if rungs else {})}


def _is_foreign(rung: Json) -> bool:
    return isinstance(rung, str) and rung not in _RUNGS


def _rung(value: Json) -> Rung:
    if _expect("a rung", value, str) not in _RUNGS:
        raise ValueError(f"{value!r} is not a rung")
    return cast(Rung, value)


def _get(document: Mapping[str, Json], key: str, default: T) -> T:
    """The value of `key`, of the type that `default` has."""
    return _expect(key, document.get(key, default), type(default))


def _table(document: Mapping[str, Json], key: str) -> dict[str, Json]:
    return _expect(key, document.get(key, {}), dict)


def _array(document: Mapping[str, Json], key: str) -> list[Json]:
    return _expect(key, document.get(key, []), list)


def _text_or_none(document: Mapping[str, Json], key: str) -> str | None:
    value = document.get(key)
    return None if value is None else _expect(key, value, str)


def _expect(what: str, value: Json, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"{what} is of type {type(value).__name__}, not {kind.__name__}")
    return value


def _only(document: Mapping[str, Json], wanted: Collection[str]) -> dict[str, Json]:
    return {key: value for key, value in document.items() if key in wanted}


def _without(document: Mapping[str, Json], known: Collection[str]) -> dict[str, Json]:
    return {key: value for key, value in document.items() if key not in known}


def _plain(value: Json) -> Json:
    """What json can write: a Url as its redacted text, at any depth."""
    if isinstance(value, Url):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
