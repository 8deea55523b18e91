"""What a source may do through its context: folders of its own, small values, programs. The rest: on the line."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from felloe.assembly import Database
from felloe.config import Config
from felloe.context import ItemContext, Owner
from felloe.errors import OfflineError, SourceError

pytestmark = pytest.mark.anyio


def context(database: Database, name: str = "acme") -> ItemContext:
    return ItemContext(database.services, Owner(name, "acme", "https://example.com/"), newer_than=None)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(Config(cache_dir=tmp_path / "cache", replaced_kinds=frozenset({"pypi"})), sources=[])


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def test_a_program_gives_what_it_printed(database: Database) -> None:
    async with database as db:
        with context(db) as ctx:
            code = "import sys, os; print(os.getcwd()); print('no', file=sys.stderr); sys.exit(3)"
            done = await ctx.run(python(code), network=False)

            assert (done.returncode, done.stdout.decode().strip(), done.stderr) == (3, str(ctx.scratch), b"no\n")


async def test_a_program_has_no_standard_input_and_the_environment_it_is_given(database: Database) -> None:
    async with database as db:
        with context(db) as ctx:
            code = "import sys, os; print(sys.stdin.read(), sorted(k for k in os.environ if k.startswith('ACME')))"
            done = await ctx.run(python(code), network=False, env={"ACME_ONE": "1"})

    assert done.stdout.split() == [b"['ACME_ONE']"]


async def test_offline_no_program_that_needs_the_network_is_started(tmp_path: Path) -> None:
    config = Config(cache_dir=tmp_path / "cache", offline=True, replaced_kinds=frozenset({"pypi"}))
    async with Database(config, sources=[]) as db:
        with context(db) as ctx:
            with pytest.raises(OfflineError):
                await ctx.run(python("open('started', 'w')"), network=True, cwd=tmp_path)
            assert (await ctx.run(python("print(1)"), network=False)).stdout == b"1\n"

    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["felloe-no-such-program"], "no-program"),
        (python("import time; time.sleep(100)"), "timeout"),
        (python("import sys\nwhile True: sys.stdout.write('x' * 2**20)"), "too-large"),
    ],
)
async def test_a_program_that_will_not_do_is_an_error(database: Database, argv: list[str], code: str) -> None:
    async with database as db:
        with context(db) as ctx, pytest.raises(SourceError) as caught:
            await ctx.run(argv, network=False, timeout=100.0 if code == "too-large" else 0.5)

    assert caught.value.code == code


CHILDREN = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
print(child.pid, flush=True)
open("pid", "w").write(str(child.pid))
if sys.argv[1] == "stay": child.wait()
"""


async def test_cancelling_ends_the_program_and_its_children(database: Database, tmp_path: Path) -> None:
    async with database as db:
        with context(db) as ctx:
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: ctx.run([*python(CHILDREN), "stay"], network=False, cwd=tmp_path))
                await written(tmp_path / "pid")
                group.cancel_scope.cancel()

    await gone(int((tmp_path / "pid").read_text()))


async def test_a_child_that_holds_the_pipes_is_not_waited_for(database: Database, tmp_path: Path) -> None:
    started = time.monotonic()
    async with database as db:
        with context(db) as ctx:
            done = await ctx.run([*python(CHILDREN), "leave"], network=False, cwd=tmp_path)

    assert time.monotonic() - started < 50
    await gone(int(done.stdout))


async def written(path: Path) -> None:
    with anyio.fail_after(20):
        while not path.exists() or not path.read_text():  # noqa: ASYNC110  # another process writes it
            await anyio.sleep(0.01)


async def gone(pid: int) -> None:
    """Waits until the process has ended: killed ones are there until their parent has asked for them."""
    with anyio.fail_after(20):
        while True:
            try:
                os.kill(pid, 0)
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            except (ProcessLookupError, FileNotFoundError):
                return
            if state == "Z":
                return
            await anyio.sleep(0.01)


async def test_a_folder_of_its_own_stays_and_one_is_in_it_at_a_time(database: Database) -> None:
    inside: list[str] = []

    async def visit(name: str) -> None:
        with context(db) as ctx:
            async with ctx.keep("repository") as folder:
                inside.append(name)
                with (folder / "log").open("a") as log:
                    log.write(name)
                await anyio.sleep(0.02)
                assert inside == [name]
                inside.remove(name)

    async with database as db:
        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(visit, name)
        with context(db) as ctx:
            async with ctx.keep("repository") as folder:
                assert sorted((folder / "log").read_text()) == ["a", "b", "c"]


async def test_a_memo_lives_as_long_as_the_cache(tmp_path: Path) -> None:
    config = Config(cache_dir=tmp_path / "cache", replaced_kinds=frozenset({"pypi"}))
    async with Database(config, sources=[]) as db:
        with context(db) as ctx:
            assert ctx.memo("refs", "main").get() is None
            ctx.memo("refs", "main").set({"commit": "abc"})
    async with Database(config, sources=[]) as db:
        with context(db) as ctx:
            assert ctx.memo("refs", "main").get() == {"commit": "abc"}
            assert ctx.memo("refs", "other").get() is None


async def test_once_is_once_a_run_for_each_source(database: Database) -> None:
    calls: list[str] = []

    async def ask() -> int:
        calls.append("asked")
        await anyio.lowlevel.checkpoint()
        return len(calls)

    async with database as db:
        with context(db) as ctx, context(db, "other") as other:
            answers = [await ctx.once("key", ask), await ctx.once("key", ask), await other.once("key", ask)]

    assert answers == [1, 1, 2]
