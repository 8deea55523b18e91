"""Why an answer is what it is, and what it would cost: as a value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from attrs import frozen

from felloe.build.fingerprint import Difference
from felloe.build.record import Build
from felloe.errors import BuildError, FelloeError
from felloe.routing import Claimed
from felloe.values import Dist, Entry, Fingerprint, Json, Rung

__all__ = ["Action", "Explanation", "Others", "Subject", "Verdict"]

Action = Literal["hit", "revalidate", "download", "prepare", "build"]
Subject = Literal["metadata", "wheel"]


@frozen(kw_only=True)
class Verdict:
    """Of an entry: whether it is still true, and by what its source saw that it is not (`code`, `evidence`).

    A fresh one has these where the same bytes came under other validators; `none` where there is one that cannot be
    used.
    """

    state: Literal["none", "fresh", "stale"]
    code: str = ""
    evidence: str = ""

    def changes(self) -> Sequence[Difference]:
        """What the source compared, where its evidence has the form `old -> new`."""
        old, arrow, new = self.evidence.partition(" -> ")
        return [Difference(f"source.{self.code.removesuffix('-changed')}", old, new)] if arrow else []


@frozen(kw_only=True)
class Others:
    """How many distributions were listed and not chosen: those that would have done as well, and those that do not."""

    less_preferred: int
    not_fitting: int


@frozen(kw_only=True)
class Explanation:
    """How a requirement would be answered now, and why.

    `claims` are what sources said of it; `owner` is the source whose it is, for `reason`. `key` and `path` say where
    the cache keeps what it knows, which is `entry`. `rungs` may answer, in this order. `steps` are what would be done:
    `hit` (nothing: it is known), `revalidate` (its server is asked and says that it is still true), `download` (its
    bytes are brought), `prepare` and `build` (a backend runs); `may_follow` one that depends on the bytes. `seconds`
    is how long the backend took last time, `size` the bytes to be received; None where that is not known.

    `fingerprint` is what a build depends on, `left_out` the names of the variables that its backend would not get (None
    where no build comes into question), `build` the nearest one that was done. `differences` are the inputs that
    are others now than they were for what is known. `failure` is what an earlier build failed with, which would be told
    again. `error` is what the answer would be, where there is none.
    """

    requirement: str
    goal: Subject
    claims: tuple[Claimed, ...] = ()
    owner: str | None = None
    reason: str = ""
    dist: Dist | None = None
    others: Others | None = None
    key: tuple[str, ...] = ()
    path: Path | None = None
    entry: Entry | None = None
    verdict: Verdict | None = None
    fingerprint: Fingerprint | None = None
    left_out: tuple[str, ...] | None = None
    build: Build | None = None
    differences: tuple[Difference, ...] = ()
    rungs: tuple[Rung, ...] = ()
    steps: tuple[Action, ...] = ()
    may_follow: Action | None = None
    seconds: float | None = None
    size: int | None = None
    failure: BuildError | None = None
    error: FelloeError | None = None

    @property
    def action(self) -> Action | None:
        """The last of the steps that are certain; None where there is an error."""
        return self.steps[-1] if self.steps else None

    @property
    def rung(self) -> Rung | None:
        """The one that answers, where that is known."""
        return self.rungs[0] if len(self.rungs) == 1 else None

    def to_json(self) -> dict[str, Json]:
        """Kebab-case keys; what is not known is null. `error` is there only where there is one."""
        document: dict[str, Json] = {
            "requirement": self.requirement,
            "goal": self.goal,
            "claims": [_claim(claimed) for claimed in self.claims],
            "owner": self.owner,
            "reason": self.reason,
            "dist": self.dist and _dist(self.dist),
            "others": self.others
            and {"less-preferred": self.others.less_preferred, "not-fitting": self.others.not_fitting},
            "cache-key": list(self.key),
            "path": self.path and str(self.path),
            "entry": self.entry and _entry(self.entry),
            "verdict": self.verdict and _fields(self.verdict, "state", "code", "evidence"),
            "fingerprint": self.fingerprint and self.fingerprint.to_json(),
            "left-out": None if self.left_out is None else list(self.left_out),
            "build": self.build and _fields(self.build, "build", "goal", "wheel", "built", "seconds"),
            "differences": [each._asdict() for each in self.differences],
            "rung": self.rung,
            "rungs": list(self.rungs),
            "action": self.action,
            "steps": list(self.steps),
            "may-follow": self.may_follow,
            "seconds": self.seconds,
            "bytes": self.size,
            "failure": self.failure and _error(self.failure),
        }
        return {**document, "error": _error(self.error)} if self.error else document


def _claim(claimed: Claimed) -> dict[str, Json]:
    claim = claimed.claim
    return {"source": claimed.source.name, "level": claim.level.name.lower(), "reason": claim.reason}


def _dist(dist: Dist) -> dict[str, Json]:
    names = ("source", "kind", "filename", "name", "version", "content", "subdirectory", "editable", "scm", "size")
    return _fields(dist, *names)


def _entry(entry: Entry) -> dict[str, Json]:
    return _fields(entry, "content", "scm", "fetched", "checked", "verified")


def _error(error: FelloeError) -> dict[str, Json]:
    return _fields(error, "code", "message", "hint")


def _fields(value: object, *names: str) -> dict[str, Json]:
    return {name: getattr(value, name) for name in names}
