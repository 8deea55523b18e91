"""How it ends when it is not left to finish: Ctrl-C, SIGTERM, and a reader of its output that has gone."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from felloe.testing import Behaviour, IndexServer
from tests.fixtures.program import Program

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs signals and pipes as POSIX has them")

SOON = 5.0  # seconds


@pytest.fixture
def reached(index: IndexServer) -> Iterator[threading.Event]:
    """Set when a request has come to the one file that is never sent."""
    event, never = threading.Event(), threading.Event()
    index.behave("/files/*", Behaviour(reached=event, hold=never))
    yield event
    never.set()


@pytest.mark.parametrize(
    ("number", "code", "told"),
    [
        pytest.param(signal.SIGINT, 130, ["interrupted"], id="Ctrl-C"),
        pytest.param(signal.SIGTERM, 143, [], id="SIGTERM"),
        pytest.param(signal.SIGHUP, 129, [], id="SIGHUP"),
    ],
)
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["metadata", "acme", "gamma"], id="metadata"),
        pytest.param(["wheel", "acme", "-o", "out"], id="wheel"),
    ],
)
def test_a_signal_while_a_request_hangs(
    felloe: Program,
    reached: threading.Event,
    arguments: list[str],
    number: signal.Signals,
    code: int,
    told: list[str],
) -> None:
    process = felloe.start(*arguments)
    assert reached.wait(30)
    started = time.monotonic()

    process.send_signal(number)
    out, err = process.communicate(timeout=30)

    assert time.monotonic() - started < SOON
    assert (process.returncode, out, err.split()) == (code, "", told)
    assert_no_child(process)
    felloe.assert_tidy()
    assert not (felloe.cwd / "out").exists() or [*(felloe.cwd / "out").iterdir()] == []


HANGING = """
import socket, sys, threading

def hang(*_, **__):
    sys.stderr.write("asked\\n")
    sys.stderr.flush()
    threading.Event().wait()

socket.getaddrinfo = hang
from felloe.cli import main
main()
"""


@pytest.mark.parametrize(("number", "code", "told"), [(signal.SIGINT, 130, ["interrupted"]), (signal.SIGTERM, 143, [])])
def test_a_signal_while_a_name_is_looked_up(
    felloe: Program, number: signal.Signals, code: int, told: list[str]
) -> None:
    """The system's resolver is on a thread that nobody can stop."""
    url = "http://index.example.com/simple/"
    process = felloe.start("metadata", "acme", script=HANGING, FELLOE_INDEX_URL=url)
    assert process.stderr is not None
    assert process.stderr.readline() == "asked\n"

    process.send_signal(number)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out, err.split()) == (code, "", told)
    assert_no_child(process)
    felloe.assert_tidy()


@pytest.mark.parametrize("arguments", [["metadata", "acme"], ["explain", "acme"]])
def test_a_signal_while_an_interpreter_does_not_answer(felloe: Program, arguments: list[str]) -> None:
    python = felloe.write(
        "python",
        "#!/bin/sh",
        f'echo $$ > "{felloe.cwd}/pid.new"',
        f'mv "{felloe.cwd}/pid.new" "{felloe.cwd}/pid"',
        "exec sleep 600",
    )
    python.chmod(0o755)
    process = felloe.start(*arguments, "--python", python)
    pid = felloe.cwd / "pid"
    while not pid.exists():
        assert process.poll() is None
        time.sleep(0.02)

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)

    assert (process.returncode, out, err.split()) == (130, "", ["interrupted"])
    assert_no_child(process)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize("arguments", [["metadata", "acme", "--json"], ["metadata", "acme"], ["cache", "dir"]])
def test_a_reader_that_has_gone(felloe: Program, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [*felloe.command, *arguments],
        cwd=felloe.cwd,
        env=felloe.environ,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)

    _, err = process.communicate(timeout=30)

    assert process.returncode == 1
    assert err == ""
    felloe.assert_tidy()


def test_a_reader_that_goes_in_the_middle(felloe: Program) -> None:
    more_than_a_pipe_holds = ["acme"] * 200
    with felloe.start("metadata", *more_than_a_pipe_holds, "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "{\n"
        process.stdout.close()
        err = process.stderr.read()

    assert (process.returncode, err) == (1, "")


@pytest.mark.parametrize("arguments", [["explain", "acme"], ["metadata", "acme", "--no-cache"]])
@pytest.mark.parametrize("next_run", [["explain", "gamma"], ["metadata", "gamma"]])
def test_a_later_run_removes_what_a_killed_one_has_left(
    felloe: Program, index: IndexServer, arguments: list[str], next_run: list[str]
) -> None:
    temporary, foreign = felloe.cwd / "tmp", felloe.cwd / "tmp/felloe-run-of-somebody"
    foreign.mkdir(parents=True)
    (foreign / "file").touch()
    reached, never = threading.Event(), threading.Event()
    index.behave("/simple/acme/", Behaviour(reached=reached, hold=never))
    process = felloe.start(*arguments, TMPDIR=str(temporary))
    assert reached.wait(30)
    process.kill()
    process.communicate()
    assert len([*temporary.iterdir()]) == 2

    felloe(*next_run, TMPDIR=str(temporary))

    assert [*temporary.iterdir()] == [foreign]
    never.set()


def assert_no_child(process: subprocess.Popen[str]) -> None:
    """`Program.start` gives a process group, which is gone when its last process is."""
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
