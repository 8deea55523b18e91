"""A disk without room: what felloe cannot write is told of the cache; where a backend cannot, that has its own code."""

from __future__ import annotations

import errno
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from felloe import Database
from felloe.build.backend import MOST_LOG, running_backend
from felloe.errors import BuildError, CacheError, FelloeError
from felloe.testing import IndexServer, make_sdist
from felloe.testing import Project as Release
from tests.fixtures.backends import Project, is_running
from tests.fixtures.line import config_of, own_sources
from tests.fixtures.projects import project_files

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]

SMALL = 10_000  # bytes: a limit on the size of files stands for the disk
PRINT = f"print('x' * {SMALL - 1000}); print('y' * 5000)\n"
NO_ROOM = f"OSError({errno.ENOSPC}, {os.strerror(errno.ENOSPC)!r}, '/tmp/x.o')"


def requires(code: str) -> str:
    """A backend whose one hook is this."""
    return "def get_requires_for_build_wheel(settings):\n" + "".join(f"    {line}\n" for line in code.splitlines())


async def failing(project: Project, **changes: object) -> FelloeError:
    with pytest.raises(FelloeError) as caught:
        async with running_backend(project.process(**changes)) as backend:
            await backend.requires_for_build({})
    assert not any(map(is_running, project.pids))
    assert caught.value.hint
    return caught.value


@contextmanager
def small_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# What the backend cannot write

SAYS = {
    "it": f"raise {NO_ROOM}",
    "its quota": f"raise OSError({errno.EDQUOT}, {os.strerror(errno.EDQUOT)!r})",
    "a compiler": """
print('x.c:9: fatal error: error writing to /tmp/cc.s: No space left on device')
print('compilation terminated.')
print('lines\\n' * 200)
raise RuntimeError('exit status 1')
""",
    "another program": "print('Error: ENOSPC: no space left on device, write')\nsys.exit(1)",
    "its end": "print('ld: final link failed: No space left on device', flush=True)\nos._exit(1)",
    "nothing else": f"os.closerange(1, 3)\nsys.stdout = sys.stderr = None\nraise {NO_ROOM}",
}


@pytest.mark.parametrize("code", SAYS.values(), ids=SAYS)
async def test_a_backend_without_room(tmp_path: Path, code: str) -> None:
    error = await failing(Project(tmp_path, requires(code.strip())))

    assert isinstance(error, BuildError)
    assert error.code == "no-room"
    assert "disk is full" in error.hint
    assert "cannot be built: " in str(error)


async def test_a_backend_without_room_when_it_is_imported(tmp_path: Path) -> None:
    error = await failing(Project(tmp_path, f"raise {NO_ROOM}"))

    assert (error.code, "disk is full" in error.hint) == ("no-room", True)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("return 1", "bad-backend-output"),
        ("time.sleep(100)", "build-timeout"),
        ("raise OSError(5, 'Input/output error')", "build-failed"),
    ],
)
async def test_what_is_no_matter_of_room(tmp_path: Path, code: str, expected: str) -> None:
    said = "" if expected == "build-failed" else "print('No space left on device')\n"
    error = await failing(Project(tmp_path, requires(said + code)), timeout=0.5 if "sleep" in code else 60.0)

    assert error.code == expected


async def test_what_is_said_in_passing_does_no_harm(tmp_path: Path) -> None:
    async with running_backend(
        Project(tmp_path, requires("print('No space left on device')\nreturn []")).process()
    ) as backend:
        assert await backend.requires_for_build({}) == ()


# What felloe cannot write

ENDS = {
    "good": "return []",
    "failed": "raise ValueError",
    "died": "os._exit(1)",
    "none to tell": f"raise {NO_ROOM}",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_a_log_without_room(tmp_path: Path, end: str) -> None:
    project = Project(tmp_path, requires(f"pid(os.getpid())\n{PRINT}{end}"))

    with small_files():
        error = await failing(project)

    assert isinstance(error, CacheError)
    assert str(error) == f"cannot write to the cache `{tmp_path}`: File too large"
    assert error.payload["reason"] == errno.EFBIG
    assert project.log.stat().st_size == SMALL


async def test_the_end_of_a_log_without_room(tmp_path: Path) -> None:
    """What is left out is told last, when all else is done."""
    project = Project(tmp_path, requires(f"print('x' * {SMALL})\nreturn []"))
    project.log.write_bytes(bytes(MOST_LOG))

    with small_files():
        assert isinstance(await failing(project), CacheError)


async def test_a_log_that_cannot_be_made(tmp_path: Path) -> None:
    error = await failing(Project(tmp_path, requires("return []")), log=tmp_path / "none" / "log")

    assert isinstance(error, CacheError)
    assert str(error) == f"cannot write to the cache `{tmp_path / 'none'}`: No such file or directory"


async def test_who_gives_up_is_not_told_of_the_log(tmp_path: Path) -> None:
    project = Project(tmp_path, requires(f"{PRINT}pid(os.getpid())\ntime.sleep(100)"))

    with small_files():
        async with anyio.create_task_group() as group:
            group.start_soon(failing_to_end, project)
            with anyio.fail_after(10):
                while not project.pids:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()

    assert not any(map(is_running, project.pids))


async def failing_to_end(project: Project) -> None:
    async with running_backend(project.process()) as backend:
        await backend.requires_for_build({})


async def test_an_sdist_without_room_to_be_unpacked(tmp_path: Path) -> None:
    files = {**project_files("acme"), "large.txt": "x" * 10 * SMALL}
    with IndexServer() as index:
        index.add(make_sdist(tmp_path, Release("acme", "1.0", dynamic=["Requires-Dist"]), files=files))
        async with Database(config_of(tmp_path / "cache", index), sources=own_sources()) as database:
            with small_files(), pytest.raises(CacheError, match=r"cannot write to the cache .*: File too large"):
                await database.wheel("acme")
