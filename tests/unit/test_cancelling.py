"""What runs on a thread for an event loop ends between two steps, once nobody waits for it any more."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from felloe.hashing import digests_of_file
from felloe.installation.contents import Text
from felloe.installation.files import copy_tree, write_items
from felloe.installation.wheel import read_wheel
from felloe.interpreter import query
from felloe.net.archive import read_sdist_members, unpack
from felloe.stepping import check_cancelled
from felloe.testing import Project, make_sdist, make_wheel
from tests.fixtures.backends import is_running

pytestmark = pytest.mark.anyio

ACME = Project("acme", "1.0")


async def run_unwanted(work: Callable[[], object]) -> bool:
    """Whether `work`, on a thread, comes to its end although it is cancelled when it begins."""
    done = []

    def unwanted() -> None:
        anyio.from_thread.run_sync(scope.cancel)
        work()
        done.append(True)

    with anyio.CancelScope() as scope:
        await anyio.to_thread.run_sync(unwanted)
    return bool(done)


def sdist(folder: Path) -> Path:
    return make_sdist(folder / "made", ACME)


def wheel_folder(folder: Path) -> Path:
    made = make_wheel(folder / "made", ACME)
    (folder / "wheel").mkdir()
    return unpack(made, made.name, folder / "wheel")


def new(folder: Path) -> Path:
    made = folder / "new"
    made.mkdir()
    return made


WHEEL = "acme-1.0-py3-none-any.whl"
TEXT = Text(of="acme", content=b"", executable=False)
WORKS: dict[str, Callable[[Path], Callable[[], object]]] = {
    "unpack": lambda folder: partial(unpack, sdist(folder), "acme-1.0.tar.gz", new(folder)),
    "read members": lambda folder: partial(read_sdist_members, sdist(folder), "acme-1.0.tar.gz", ["PKG-INFO"]),
    "hash": lambda folder: partial(digests_of_file, sdist(folder)),
    "look into a wheel": lambda folder: partial(read_wheel, wheel_folder(folder), WHEEL),
    "install": lambda folder: partial(write_items, {"a": TEXT}, (), new(folder)),
    "copy": lambda folder: partial(copy_tree, wheel_folder(folder), new(folder)),
}


@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
async def test_work_that_nobody_wants(tmp_path: Path, work: Callable[[Path], Callable[[], object]]) -> None:
    assert await run_unwanted(work(tmp_path)) is False
    assert [path for path in (tmp_path / "new").rglob("*") if path.is_file()] == []


async def test_an_interpreter_that_does_not_answer_is_ended(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\necho $$ > "{tmp_path}/pid"\nexec sleep 600\n')
    program.chmod(0o755)

    with anyio.fail_after(20):
        assert await run_unwanted(lambda: query(program, time_limit=100.0)) is False

    said = (tmp_path / "pid").read_text() if (tmp_path / "pid").exists() else ""
    assert not said or not is_running(int(said))  # else it was ended before it could say who it is


def test_where_no_event_loop_waits_nothing_happens() -> None:
    check_cancelled()


async def test_what_is_wanted_goes_on(tmp_path: Path) -> None:
    path = sdist(tmp_path)
    assert "sha256" in await anyio.to_thread.run_sync(digests_of_file, path)
