"""What moves on a terminal: a line on what is done now, and a bar for each large download."""

from __future__ import annotations

from posixpath import basename

from rich.console import Console as Terminal
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn
from rich.spinner import Spinner
from rich.text import Text

from felloe.progress import Event

__all__ = ["Moving"]


class Moving:
    """Starts at once, on stderr; `close` clears it away."""

    def __init__(self) -> None:
        self._now = Spinner("dots")
        self._bars = Progress(TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
        self._tasks: dict[str, TaskID] = {}
        self._live = Live(Group(self._now, self._bars), console=Terminal(stderr=True), transient=True)
        self._live.start()

    def show(self, event: Event, message: str) -> None:
        """`message` is that of the event, fit for a terminal."""
        url = str(event.data.get("url", ""))
        if event.code == "receiving":
            self._advance(url, event.data["bytes"], event.data["total"])
            return
        if event.code == "download" and (done := self._tasks.pop(url, None)) is not None:
            self._bars.remove_task(done)
        self._now.update(text=Text(message, no_wrap=True, overflow="ellipsis"))

    def line(self, text: str) -> None:
        """One that stays, above what moves."""
        self._live.console.print(Text(text), soft_wrap=True)

    def close(self) -> None:
        self._live.stop()

    def _advance(self, url: str, received: int, total: int | None) -> None:
        if url not in self._tasks:
            self._tasks[url] = self._bars.add_task(basename(url.partition("#")[0]), total=total)
        self._bars.update(self._tasks[url], completed=received)
