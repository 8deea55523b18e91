"""A build that failed, as a value and as a document of `builds-v0`: told again without running its backend.

What happens with a failure depends on its cause. A fault of the `project` is remembered for a day, as what it requires
may be mended meanwhile; one of the `machine` (a missing header or program, too little time), which somebody may mend,
for the run; an `accident` (killed, no room) is never told again. What failed for the name that was asked for is told
again for that name alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from felloe.build.plan import BuildOrder
from felloe.build.variables import naming_left_out
from felloe.errors import BuildError
from felloe.values import BuildGoal, Fingerprint, Json

__all__ = ["Cause", "Failure", "failure_of", "naming_log"]

Cause = Literal["project", "machine", "accident"]

MOST_LINES = 12  # of a backend's output, in an error
DAY = 86400.0  # seconds
RETRY = "--retry-failed builds it again"
UNITS = ((3600.0, "hour"), (60.0, "minute"))


@frozen(kw_only=True)
class Failure:
    """What a failed build told. `failed` is an instant in UTC (RFC 3339), `requires` are pins of what it had.

    `project` is its name (normalised; "" where nobody knows). `asked` is the name and version that was asked for, where
    it failed for these alone.
    """

    build: str
    fingerprint: Fingerprint
    goal: BuildGoal
    what: str
    project: str = ""
    cause: Cause
    code: str
    message: str
    hint: str = ""
    asked: str = ""
    hook: str = ""
    tail: Sequence[str] = ()
    requires: Sequence[str] = ()
    failed: str = ""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Failure:
        """Raises ValueError where it is not one of ours."""
        try:
            error = document["error"]
            fingerprint = Fingerprint(**{name: str(document["fingerprint"][name]) for name in FINGERPRINT})
            return cls(
                fingerprint=fingerprint,
                goal=_one_of(document["goal"], "metadata", "wheel", "editable"),
                cause=_one_of(error["cause"], "project", "machine", "accident"),
                tail=tuple(map(str, error["tail"])),
                requires=tuple(map(str, document["requires"])),
                **{name: str(document[name]) for name in TEXTS},
                **{name: str(error[name]) for name in TEXTS_OF_ERROR},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the record of a failed build cannot be read: {error!r}") from error

    def to_json(self) -> dict[str, Json]:
        error = {name: getattr(self, name) for name in TEXTS_OF_ERROR}
        return {
            "build": self.build,
            "what": self.what,
            "project": self.project,
            "fingerprint": self.fingerprint.to_json(),
            "goal": self.goal,
            "failed": self.failed,
            "error": {"cause": self.cause, **error, "tail": list(self.tail)},
            "requires": list(self.requires),
        }

    def is_of(self, order: BuildOrder, now: float) -> bool:
        """Whether the same job failed less than a day ago, and since its source is to be checked again from.

        `now` is in seconds since the epoch.
        """
        failed = _seconds(self.failed)
        same = (self.build, self.fingerprint, self.goal) == (order.build, order.fingerprint, order.goal)
        same = same and self.asked in {"", order.frame.name} and abs(now - failed) < DAY
        return same and (order.newer_than is None or failed >= order.newer_than)

    def error(self, order: BuildOrder, log: Path | None, now: float) -> BuildError:
        """The original error, as one of `order`, which may be of the same bytes from elsewhere; `now` tells its age."""
        age = _age(now - _seconds(self.failed))
        payload = {"hook": self.hook, "tail": list(self.tail), "cause": self.cause, "failed": self.failed}
        message = f"{self.message.replace(self.what, order.what)} (it failed {age}, and is not built again as it was)"
        hint = f"{self.hint}; {RETRY}" if self.hint else RETRY
        error = naming_log(BuildError(message, hint=hint, code=self.code, **payload), log)
        return naming_left_out(error, order.left_out)


TEXTS = ("build", "what", "project", "failed")
TEXTS_OF_ERROR = ("code", "message", "hint", "hook", "asked")
FINGERPRINT = ("settings", "interpreter", "toolchain")


def failure_of(error: BuildError, order: BuildOrder, *, requires: Sequence[str], failed: str) -> Failure:
    """The failure that an error of a backend tells."""
    payload = error.payload
    return Failure(
        build=order.build,
        fingerprint=order.fingerprint,
        goal=order.goal,
        cause=payload.get("cause", "project"),
        what=order.what,
        project=order.project,
        code=error.code,
        message=payload.get("reason", error.message),
        hint=error.hint,
        asked=payload.get("asked", ""),
        hook=payload.get("hook", ""),
        tail=tuple(payload.get("tail", ())),
        requires=tuple(requires),
        failed=failed,
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
