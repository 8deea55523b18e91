"""Programs that a source runs: bounded in time and output, ended with all their children when nobody waits any more."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from felloe.errors import SourceError
from felloe.stepping import work
from felloe.values import Completed

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream, Process

__all__ = ["Bounds", "run_command"]

DRAIN_SECONDS = 1.0


@frozen(kw_only=True)
class Bounds:
    """At most `seconds`, and `bytes` of each of stdout and stderr."""

    seconds: float = 600.0
    bytes: int = 64 * 2**20


DEFAULT_BOUNDS = Bounds()


async def run_command(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None, bounds: Bounds = DEFAULT_BOUNDS
) -> Completed:
    """Runs `argv` in a session of its own, without standard input, and gives what it printed.

    `env` is its whole environment (default: ours). Raises SourceError where it cannot be started, prints or takes too
    much; then, and on cancellation, its process group is killed.
    """
    await work()
    from subprocess import DEVNULL

    import anyio

    name = Path(argv[0]).name
    try:
        process = await anyio.open_process(
            list(argv), stdin=DEVNULL, cwd=cwd, env=None if env is None else dict(env), start_new_session=True
        )
    except OSError as error:
        hint = f"install `{name}`, or put it on PATH"
        raise SourceError(f"`{name}` cannot be run: {error.strerror or error}", hint=hint, code="no-program") from error
    try:
        with anyio.fail_after(bounds.seconds):
            return await _finish(process, name, bounds)
    except TimeoutError:
        raise SourceError(
            f"`{name}` took longer than {bounds.seconds:g} s",
            hint="try again, or run it by hand to see what keeps it",
            code="timeout",
        ) from None
    finally:
        _end(process)
        with anyio.CancelScope(shield=True):
            await process.aclose()


async def _finish(process: Process, name: str, bounds: Bounds) -> Completed:
    import anyio

    printed = {"stdout": bytearray(), "stderr": bytearray()}
    try:
        async with anyio.create_task_group() as group:
            for key, stream in (("stdout", process.stdout), ("stderr", process.stderr)):
                group.start_soon(_collect, stream, printed[key], name, bounds.bytes)
            returncode = await process.wait()
            # What the program printed is in the pipes by now. Whoever holds them still, a daemon, is not waited for.
            group.cancel_scope.deadline = anyio.current_time() + DRAIN_SECONDS
    except* SourceError as errors:
        raise errors.exceptions[0] from None
    return Completed(returncode=returncode, stdout=bytes(printed["stdout"]), stderr=bytes(printed["stderr"]))


async def _collect(stream: ByteReceiveStream | None, into: bytearray, name: str, most: int) -> None:
    if stream is None:
        return
    async for chunk in stream:
        into += chunk
        if len(into) > most:
            raise SourceError(
                f"`{name}` printed more than {most} bytes",
                hint="run it by hand to see what it prints",
                code="too-large",
            )


def _end(process: Process) -> None:
    """Kills what is left of the group: the program, and children that outlive it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
