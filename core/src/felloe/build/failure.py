"""A build that failed, as a value and as a document of `builds-v0`: told again without running its backend.

What happens with a failure depends on its cause. A fault of the `project` is remembered; one of the `machine` (a
missing header or program, too little time), which somebody may mend, for the run; an `accident` (killed, no room) is
forgotten; what failed for the name that was asked for is told again for that name alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

from felloe.build.fingerprint import Fingerprint
from felloe.build.plan import BuildJob, Goal
from felloe.build.variables import naming_left_out
from felloe.errors import BuildError
from felloe.values import Json

__all__ = ["Cause", "Failure", "failure_of", "naming_log"]

Cause = Literal["project", "machine", "accident"]

MOST_LINES = 12  # of a backend's output, in an error
RETRY = "--retry-failed builds it again"
UNITS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"))


@frozen(kw_only=True)
class Failure:
    """What a failed build told. `failed` is an instant in UTC (RFC 3339); `log` tells its log from others of this id.

    `asked` is the name and version that was asked for, where it failed for these alone. `requirements` maps the file
    name of each wheel in its environment to its sha256; `besides` are the requirements that its backend had asked for.
    """

    build: str
    fingerprint: Fingerprint
    goal: Goal
    cause: Cause
    what: str
    code: str
    message: str
    hint: str = ""
    asked: str = ""
    hook: str = ""
    tail: Sequence[str] = ()
    requirements: Mapping[str, str] = field(factory=dict)
    besides: tuple[str, ...] = ()
    failed: str = ""
    log: str = ""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Failure:
        """Raises ValueError where it is not one of ours."""
        try:
            fingerprint = Fingerprint(**{name: str(document["fingerprint"][name]) for name in FINGERPRINT})
            texts = {name: str(document[name]) for name in TEXTS}
            return cls(
                fingerprint=fingerprint,
                goal=_one_of(document["goal"], "prepare", "wheel"),
                cause=_one_of(document["cause"], "project"),
                tail=tuple(map(str, document["tail"])),
                requirements={str(name): str(sha256) for name, sha256 in document["requirements"].items()},
                besides=tuple(map(str, document["besides"])),
                **texts,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the record of a failed build cannot be read: {error!r}") from error

    def to_json(self) -> dict[str, Json]:
        return {
            "build": self.build,
            "fingerprint": self.fingerprint.to_json(),
            "goal": self.goal,
            "cause": self.cause,
            "what": self.what,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "asked": self.asked,
            "hook": self.hook,
            "tail": list(self.tail),
            "requirements": dict(self.requirements),
            "besides": list(self.besides),
            "failed": self.failed,
            "log": self.log,
        }

    def is_of(self, job: BuildJob) -> bool:
        """Whether the same job failed, and since its source is to be checked again from (`--refresh`)."""
        same = (self.build, self.fingerprint, self.goal) == (job.build, job.fingerprint, job.goal)
        same = same and self.asked in {"", job.frame.name}
        return same and (job.newer_than is None or _seconds(self.failed) >= job.newer_than)

    def error(self, job: BuildJob, log: Path | None, now: float) -> BuildError:
        """The original error, as one of `job`, which may be of the same bytes found elsewhere; `now` tells its age."""
        age = _age(now - _seconds(self.failed))
        payload = {"hook": self.hook, "tail": list(self.tail), "cause": self.cause, "failed": self.failed}
        message = f"{self.message.replace(self.what, job.what)} (it failed {age}, and is not built again as it was)"
        hint = f"{self.hint}; {RETRY}" if self.hint else RETRY
        error = naming_log(BuildError(message, hint=hint, code=self.code, **payload), log)
        return naming_left_out(error, job.left_out)


TEXTS = ("build", "what", "code", "message", "hint", "asked", "hook", "failed", "log")
FINGERPRINT = ("settings", "interpreter", "toolchain")


def failure_of(error: BuildError, job: BuildJob, **known: Any) -> Failure:
    """The failure that an error of a backend tells, with what else is `known` of it."""
    payload = error.payload
    return Failure(
        build=job.build,
        fingerprint=job.fingerprint,
        goal=job.goal,
        cause=payload.get("cause", "project"),
        what=job.what,
        code=error.code,
        message=payload.get("reason", error.message),
        hint=error.hint,
        asked=payload.get("asked", ""),
        hook=payload.get("hook", ""),
        tail=tuple(payload.get("tail", ())),
        **known,
    )


def naming_log(error: BuildError, log: Path | None) -> BuildError:
    """The error with the end of what was printed, and where all of it is. Where nothing was printed there is no log."""
    if log is None:
        return error
    tail = "".join(f"\n  {line}" for line in error.payload.get("tail", ())[-MOST_LINES:])
    payload = {**error.payload, "log": str(log), "reason": error.message}
    message = f"{error.message}{tail}\n  (all of its output is in `{log}`)"
    return BuildError(message, hint=error.hint, code=error.code, **payload)


def _one_of(value: object, *choices: str) -> Any:
    if value not in choices:
        raise ValueError(f"{value!r} is none of {', '.join(choices)}")
    return value


def _seconds(instant: str) -> float:
    """Since the epoch; long ago where it cannot be read."""
    try:
        return datetime.fromisoformat(instant).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _age(seconds: float) -> str:
    for size, unit in UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
