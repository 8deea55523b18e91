"""One build that was done, as a value, and as the documents of `builds-v0` and `metadata.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from felloe.record import Record, metadata_of
from felloe.values import BuildGoal, Fingerprint, Json, Metadata, Rung

LONGEST_NAME = 250  # bytes: more than a file system takes, with something behind it
is_build_id = re.compile("[0-9a-f]{32}").fullmatch
MOST_BUILDS = 64  # in one record, which the warm path reads

__all__ = ["Build", "builds_in", "is_same_job", "with_build", "with_document"]


@frozen(kw_only=True)
class Build:
    """What a build gave: metadata, and a wheel (its file name, sha256 and size in bytes) where it went that far.

    `source` is what was built, of which `build` is the id; `inputs` are what `Inputs.shown` gave. `backend` is its name
    (PEP 517), `backend_version` the version of the distribution that it came with ("" where that is not known).
    `requires` are pins of what it was built with (`name==version`), `hashes` the sha256 of each of these wheels by file
    name. `provenance` is what a source or builder says that built it elsewhere. `project` is its name (normalised),
    `built` an instant in UTC (RFC 3339), `seconds` how long it took, `log` the path of what was printed, below the
    cache folder ("" where nothing was).
    """

    build: str
    source: Mapping[str, Json] = field(factory=dict)
    fingerprint: Fingerprint
    project: str = ""
    goal: BuildGoal
    rung: Rung
    metadata: Metadata
    wheel: str | None = None
    sha256: str | None = None
    size: int | None = None
    inputs: Mapping[str, str] = field(factory=dict)
    backend: str = ""
    backend_version: str = ""
    requires: tuple[str, ...] = ()
    hashes: Mapping[str, str] = field(factory=dict)
    provenance: Mapping[str, Json] = field(factory=dict)
    built: str = ""
    seconds: float = 0.0
    log: str = ""

    @classmethod
    def from_json(cls, document: Mapping[str, Json], data: Mapping[str, Metadata]) -> Build:
        """`data` is that of the record which the document is in. Raises ValueError where it is not one of ours."""
        try:
            return _from_json(document, data)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"the record of a build cannot be read: {error!r}") from error

    def to_json(self) -> dict[str, Json]:
        """The document of `builds-v0`, which stands for itself."""
        document: dict[str, Json] = {
            "build": self.build,
            "source": dict(self.source),
            "project": self.project,
            "fingerprint": self.fingerprint.to_json(),
            "inputs": dict(self.inputs),
            "goal": self.goal,
        }
        if self.wheel is not None:
            document |= {"wheel": self.wheel, "sha256": self.sha256, "size": self.size}
        document |= {"seconds": self.seconds, "built": self.built, "log": self.log}
        document |= {"requires": list(self.requires), "hashes": dict(self.hashes)}
        document |= {"backend": self.backend, "backend-version": self.backend_version}
        if self.provenance:
            document["provenance"] = dict(self.provenance)
        return {**document, "rung": self.rung, "metadata": dict(self.metadata.fields)}


def builds_in(record: Record) -> list[Build]:
    """The builds of a record, newest first; those that another release wrote in its own way are left out."""
    found = []
    for document in reversed(record.builds):
        try:
            found.append(Build.from_json(document, record.data))
        except ValueError:
            continue
    return found


def with_build(record: Record, build: Build) -> Record:
    """The record with the build, in place of one of the same inputs and goal.

    Its metadata are in `data` under the wheel's name; where another environment has put others there (or there is no
    wheel), they are kept with the build.
    """
    if build.wheel is not None and build.wheel not in record.data:
        data = {**record.data, build.wheel: build.metadata}
        record = evolve(record, data=data, rungs={**record.rungs, build.wheel: build.rung})
    document = build.to_json()
    if build.wheel is not None and record.data[build.wheel] == build.metadata:
        del document["metadata"]
    return evolve(record, builds=with_document(record.builds, document))


def with_document(
    documents: Sequence[Mapping[str, Json]], document: Mapping[str, Json]
) -> tuple[Mapping[str, Json], ...]:
    """The documents with one more, in place of one of the same inputs and goal; the newest is the last.

    The oldest give way to it where there are more than 64.
    """
    return (*(each for each in documents if not is_same_job(each, document)), document)[-MOST_BUILDS:]


def is_same_job(one: Mapping[str, Json], other: Mapping[str, Json]) -> bool:
    """Whether two documents are of the same inputs and goal."""
    return all(one.get(key) == other.get(key) for key in ("build", "fingerprint", "goal"))


def _from_json(document: Mapping[str, Any], data: Mapping[str, Metadata]) -> Build:
    fingerprint, wheel = document["fingerprint"], document.get("wheel")
    return Build(
        build=_build_id(document["build"]),
        source=_table(document.get("source", {})),
        project=_text(document.get("project", "")),
        fingerprint=Fingerprint(**{key: _text(fingerprint[key]) for key in ("settings", "interpreter", "toolchain")}),
        goal=_one_of(document["goal"], "metadata", "wheel", "editable"),
        rung=_one_of(document["rung"], "prepare", "wheel"),
        metadata=metadata_of(document["metadata"]) if "metadata" in document else data[_text(wheel)],
        wheel=None if wheel is None else _wheel_name(wheel),
        sha256=None if wheel is None else _text(document["sha256"]),
        size=_size(document.get("size")),
        inputs=_texts(document.get("inputs", {})),
        backend=_text(document.get("backend", "")),
        backend_version=_text(document.get("backend-version", "")),
        requires=tuple(map(_text, document.get("requires", ()))),
        hashes=_texts(document.get("hashes", {})),
        provenance=_table(document.get("provenance", {})),
        built=_text(document.get("built", "")),
        seconds=float(document.get("seconds", 0.0)),
        log=_text(document.get("log", "")),
    )


def _build_id(value: object) -> str:
    """It becomes a part of a path."""
    text = _text(value)
    if not is_build_id(text):
        raise ValueError(f"{text!r} is no build id")
    return text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value


def _table(value: object) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not a table")
    return value


def _texts(value: Mapping[object, object]) -> dict[str, str]:
    return {_text(name): _text(text) for name, text in value.items()}


def _size(value: object) -> int | None:
    if value is not None and type(value) is not int:
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _one_of(value: object, *choices: str) -> Any:
    if value not in choices:
        raise ValueError(f"{value!r} is none of {', '.join(choices)}")
    return value


def _wheel_name(value: object) -> str:
    name = _text(value)
    if not name.endswith(".whl") or name.count("-") < 4 or set("/\0") & set(name) or len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"{name!r} is not the name of a wheel")
    return name
