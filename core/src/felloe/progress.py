"""What felloe tells while it works: events, and who listens."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import field, frozen

__all__ = ["Event", "Reporter", "SilentReporter"]


@frozen(kw_only=True)
class Event:
    """One thing that happened. `code` is kebab-case and stable, `message` is a sentence without secrets.

    Codes: `request` (sent: url, status), `page-fresh`, `page-revalidated`, `page-offline`, `receiving` (a large file,
    after each MiB: url, bytes so far, total or None), `download` (all of it: url, bytes), `owner`, `fresh`, `stale`
    (code, evidence), `miss`, `rung`, `build`, `waiting` (for a lock or a server, and why), `warning`; and of
    repositories `git-list`, `git-fetch`.
    """

    code: str
    message: str
    data: dict[str, Any] = field(factory=dict)


class Reporter(Protocol):
    """Who listens. Called on the thread of the caller, at once; must not block and must not raise."""

    def report(self, event: Event) -> None: ...


class SilentReporter:
    """Listens to nothing."""

    def report(self, event: Event) -> None:
        """Nothing is done with `event`."""
