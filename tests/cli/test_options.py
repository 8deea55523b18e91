"""What all commands share: requirements files, secrets in them, and what is told on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path

import pytest

from felloe.testing import Behaviour, IndexServer, Project, Reply, make_wheel
from tests.fixtures.program import Program
from tests.fixtures.projects import project_tree

PASSWORD = "s3cr3t-pa55word"

# Requirements files


def test_files_nest_and_their_requirements_stand_in_the_place_of_the_file(felloe: Program, index: IndexServer) -> None:
    felloe.write("requirements.txt", "# ours", "-r more/nested.txt", "gamma")
    felloe.write("more/nested.txt", "acme  # any", "-c constraints.txt", f"--index-url {index.index_url}")
    felloe.write("more/constraints.txt", "acme<2")

    results = felloe("metadata", "-r", "requirements.txt", "acme==1.0", "--json", FELLOE_INDEX_URL="").results

    assert [each["requirement"] for each in results] == ["acme", "gamma", "acme==1.0"]
    assert [each["version"] for each in results] == ["1.0", "1.0", "1.0"]


def test_options_of_a_file_add_to_those_of_the_command_line(
    felloe: Program, index: IndexServer, tmp_path: Path
) -> None:
    make_wheel(felloe.cwd / "links", Project("linked", "1.0"))
    felloe.write(
        "requirements.txt", "--index-url http://127.0.0.1:9/", "--find-links links", "--no-binary acme", "linked"
    )

    results = felloe("metadata", "acme", "-r", "requirements.txt", "--index-url", index.index_url, "--json").results

    assert [each["rung"] for each in results] == ["pkg-info", "range"]


def test_a_dash_is_standard_input(felloe: Program) -> None:
    results = felloe("metadata", "-r", "-", "--json", stdin="gamma\nacme==1.0\n").results

    assert [each["name"] for each in results] == ["gamma", "acme"]


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        pytest.param(["acme", "gamma ="], "bad.txt:2:", id="syntax"),
        pytest.param(["--no-such-option"], "bad.txt:1:1", id="option"),
        pytest.param(["-r bad.txt"], "bad.txt:1:1", id="cycle"),
        pytest.param(["acme --hash=md5:00"], "bad.txt:1:1", id="hash"),
        pytest.param(["", "-r not-there.txt"], "bad.txt:2:1", id="missing"),
    ],
)
@pytest.mark.parametrize("option", ["-r", "-c"])
def test_a_mistake_in_a_file_is_told_with_its_place(
    felloe: Program, index: IndexServer, option: str, lines: list[str], place: str
) -> None:
    felloe.write("bad.txt", *lines)

    result = felloe("metadata", "acme", option, "bad.txt", code=1)

    assert result.err.startswith(f"error: {place}")
    assert "\n  hint: " in result.err
    assert (result.out, index.requests) == ("", [])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--exclude-newer", "yesterday"),
        ("--no-binary", "!!"),
        ("--only-binary", "!!"),
        ("--index-url", "bad://example.com"),
        ("--extra-index-url", "corp=bad://example.com"),
        ("--find-links", "me:secret@example.com"),
        ("--refresh-package", "bad name!"),
        ("--no-build-package", "bad name!"),
        ("--requirement", "nothing.txt"),
        ("--constraint", "nothing.txt"),
        ("--build-constraint", "."),
        ("--config-setting", "=x"),
        ("--config-settings", "=x"),
        ("--config-settings-package", "x=1"),
    ],
)
def test_a_wrong_value_of_an_option_is_wrong_usage(felloe: Program, option: str, value: str) -> None:
    human = felloe("metadata", "acme", option, value, code=2)
    error = felloe("metadata", "acme", option, value, "--json", code=2).document["error"]

    assert set(error) == {"code", "message", "hint"}
    assert (error["code"], bool(error["hint"])) == ("invalid-configuration", True)
    assert f"`{option.removesuffix('s') if option == '--config-settings' else option}" in error["message"]
    assert human.err.startswith(f"error: {error['message']}\n  hint: ")
    assert human.out == ""


@pytest.mark.parametrize(
    ("lines", "environ"),
    [
        pytest.param(['exclude-newer = "yesterday"'], {}, id="file"),
        pytest.param([], {"FELLOE_INDEX_URL": "bad://example.com"}, id="variable"),
    ],
)
def test_a_wrong_value_elsewhere_is_an_error_of_that_place(
    felloe: Program, lines: list[str], environ: dict[str, str]
) -> None:
    felloe.write("felloe.toml", *lines)

    error = felloe("metadata", "acme", "--json", code=1, **environ).document["error"]

    assert error["code"] == "invalid-configuration"


def test_a_command_line_that_cannot_be_parsed_is_an_object_too(felloe: Program) -> None:
    for arguments in (["metadata", "--no-such"], ["metadata"], ["wheel", "acme"], ["--no-such"], ["cache", "no-such"]):
        result = felloe(*arguments, "--json", code=2)

        assert (result.document["error"]["code"], result.err) == ("wrong-usage", "")
        assert "--help" in result.document["error"]["hint"]


def test_a_fault_of_ours_is_an_object_that_says_how_to_report_it(felloe: Program, tmp_path: Path) -> None:
    broken = "import felloe.config as c\nc.find_layers = None\n"
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/sitecustomize.py").write_text(broken)
    given = {"PYTHONPATH": str(tmp_path / "broken")}

    result = felloe("metadata", "acme", "--json", code=1, **given)
    human = felloe("metadata", "acme", code=1, **given)

    error = result.document["error"]
    assert (error["code"], result.err) == ("internal-error", "")
    assert error["message"].startswith("TypeError: ")
    assert "FELLOE_STRICT=1" in error["hint"]
    assert human.err == f"error: {error['message']}\n  hint: {error['hint']}\n"
    strict = felloe.start("metadata", "acme", "--json", **given, FELLOE_STRICT="1")
    out, err = strict.communicate(timeout=30)
    assert json.loads(out)["error"] == error
    assert err.startswith("Traceback")


def test_a_password_of_a_variable_is_sent_and_is_nowhere_else(felloe: Program, index: IndexServer) -> None:
    index.behave("*", Behaviour(require_auth=("me", PASSWORD)))
    address = index.index_url.replace("://", "://me:${PASSWORD}@")
    felloe.write("requirements.txt", f"--index-url {address}", "acme", "delta")
    given = {"PASSWORD": PASSWORD, "FELLOE_INDEX_URL": ""}

    human = felloe("metadata", "-r", "requirements.txt", "-v", "--refresh", code=1, **given)
    data = felloe("metadata", "-r", "requirements.txt", "--json", "--progress", "json", code=1, **given)
    wrong = felloe("metadata", "-r", "requirements.txt", "--no-cache", code=1, **{**given, "PASSWORD": f"{PASSWORD}!"})

    assert data.codes == ["", "project-not-found"]
    assert {request.status for request in index.requests} >= {200, 404, 401}
    assert "401" in wrong.err
    felloe.assert_nowhere(PASSWORD, human, data, wrong)


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (["acme", "-c limits.txt"], "`acme` (constrained to `acme==1.0+${PASSWORD}`) matches none"),
        (["acme==1.0+${PASSWORD}"], "`acme==1.0+${PASSWORD}` matches none"),
        (['acme; python_version ~= "${PASSWORD}"'], 'the marker of `acme; python_version ~= "${PASSWORD}"`'),
    ],
)
def test_a_requirement_with_a_variable_is_shown_as_it_is_written(felloe: Program, lines: list[str], shown: str) -> None:
    value = "pa55w0rd"
    felloe.write("requirements.txt", *lines)
    felloe.write("limits.txt", "acme==1.0+${PASSWORD}")

    human = felloe("metadata", "-r", "requirements.txt", "-v", code=1, PASSWORD=value)
    data = felloe("metadata", "-r", "requirements.txt", "--json", "--progress", "json", code=1, PASSWORD=value)

    assert shown in human.err
    felloe.assert_nowhere(value, human, data)


def test_options_that_are_ignored_are_told_once(felloe: Program) -> None:
    felloe.write("requirements.txt", "--prefer-binary --trusted-host example.com", "--prefer-binary", "gamma")

    result = felloe("metadata", "-r", "requirements.txt")

    assert [line.partition(" is ignored")[0] for line in result.err.splitlines()] == [
        "felloe: warning: requirements.txt:1:1: `--prefer-binary`",
        "felloe: warning: requirements.txt:1:1: `--trusted-host`",
    ]


def test_a_password_in_a_requirement_that_cannot_be_read_is_not_shown(felloe: Program) -> None:
    for text in (f"https://me:{PASSWORD}@example.com/a.whl; what", f"acme @ https://me:{PASSWORD}@example.com/a b"):
        felloe.assert_nowhere(PASSWORD, felloe("metadata", text, code=1), felloe("metadata", text, "--json", code=1))


@pytest.mark.parametrize(
    ("options", "rung"),
    [
        ([], "pkg-info"),
        (["--only-binary", "acme"], "sidecar"),
        (["--only-binary", "acme", "--no-binary", "Acme"], "pkg-info"),
        (["--no-binary", "acme", "--only-binary", "acme"], "sidecar"),
        (["-r", "no.txt", "--only-binary=acme"], "sidecar"),
        (["--only-binary", "acme", "-r", "no.txt"], "sidecar"),
        (["-r", "only.txt"], "sidecar"),
        (["-r", "only.txt", "-r", "no.txt"], "pkg-info"),
        (["--no-binary", ":none:"], "sidecar"),
    ],
)
def test_what_is_said_last_of_wheels_and_sdists_counts(felloe: Program, options: list[str], rung: str) -> None:
    felloe.write("felloe.toml", 'no-binary = ["acme"]')
    felloe.write("no.txt", "--no-binary acme")
    felloe.write("only.txt", "--only-binary :all:")

    assert [each["rung"] for each in felloe("metadata", "acme", *options, "--json").results] == [rung]


# Requirements that are no names


def test_results_are_in_the_order_of_the_line_whatever_asks(felloe: Program) -> None:
    project_tree(felloe.cwd / "proj", "proj")
    felloe.write("two.txt", "acme==2.0", "-e ./proj")
    line = [
        "-e",
        "./proj",
        "gamma",
        "--editable=./proj",
        "-r",
        "two.txt",
        "acme",
        "-e./proj",
        "--json",
        "--",
        "acme==1.0",
    ]

    results = felloe("metadata", *line).results

    assert [each["requirement"] for each in results] == [
        *("-e ./proj", "gamma", "-e ./proj", "acme==2.0", "-e ./proj", "acme", "-e ./proj", "acme==1.0")
    ]


def test_paths_and_editable_ones(felloe: Program) -> None:
    project_tree(felloe.cwd / "folder", "acme")
    arguments = ["./folder", "./none", "-e", "./folder", "--editable=folder[extra]", "-e", "https://example.com/a.whl"]

    results = felloe("metadata", *arguments, "--json", code=1).results

    assert [(each["requirement"], each.get("name"), each.get("error", {}).get("code")) for each in results] == [
        ("./folder", "acme", None),
        ("./none", None, "path-not-found"),
        ("-e ./folder", "acme", None),
        ("-e folder[extra]", "acme", None),
        ("-e https://example.com/a.whl", None, "invalid-requirement"),
    ]


# What is told on stderr


def test_verbose_says_why_and_what_it_cost(felloe: Program, index: IndexServer) -> None:
    cold = felloe("metadata", "acme", "-v")
    warm = felloe("metadata", "acme", "-v")

    assert f"felloe: request: GET {index.index_url}acme/" in cold.err
    assert "felloe: 2 requests, " in cold.err
    assert "fresh" in warm.err
    assert warm.err.endswith("felloe: 0 requests, 0 files downloaded\n")
    assert warm.out == cold.out


@pytest.mark.parametrize("progress", ["auto", "plain", "json", "none"])
def test_progress_has_four_forms(felloe: Program, progress: str) -> None:
    result = felloe("metadata", "acme", "--no-binary", "acme", "--progress", progress)

    lines = result.err.splitlines()
    match progress:
        case "json":
            events = [json.loads(line) for line in lines]
            assert {"request", "download", "rung"} <= {event["code"] for event in events}
            assert all("message" in event for event in events)
        case "plain":
            assert [line.split(": ")[1] for line in lines] == ["download"]
        case _:
            assert lines == []


def test_builds_are_told_where_nothing_moves(felloe: Program) -> None:
    project_tree(felloe.cwd / "proj", "proj")

    result = felloe("wheel", "./proj", "-o", "out", "--progress", "plain")

    assert re.search("^felloe: build: .*: its backend builds a wheel$", result.err, re.MULTILINE)


@pytest.mark.parametrize(("options", "told"), [([], True), (["-q"], False), (["--progress", "none"], False)])
def test_that_something_waits_is_told_without_a_terminal(
    felloe: Program, index: IndexServer, tmp_path: Path, options: list[str], told: bool
) -> None:
    (tmp_path / "start").mkdir()
    (tmp_path / "start/sitecustomize.py").write_text("import felloe.net.client as c; c.LONG_PAUSE = -1")
    index.behave("/simple/acme/", Behaviour(statuses=[Reply(503, headers={"Retry-After": "0"})]))

    result = felloe("metadata", "acme", *options, PYTHONPATH=str(tmp_path / "start"))

    assert ("felloe: waiting: " in result.err) == told


def test_a_large_download_is_told_of_on_the_way(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, Project("omega", "1.0", padding=3 * 2**20))
    index.add(wheel)

    result = felloe("wheel", "omega", "-o", "out", "--progress", "json")

    events = [json.loads(line) for line in result.err.splitlines()]
    told = [(event["bytes"], event["total"]) for event in events if event["code"] == "receiving"]
    assert len(told) >= 2
    assert told == sorted(told)
    assert {total for _, total in told} == {wheel.stat().st_size}


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_what_moves_on_a_terminal_tells_of_a_build_and_a_download(
    felloe: Program, index: IndexServer, tmp_path: Path
) -> None:
    index.add(make_wheel(tmp_path, Project("omega", "1.0", padding=3 * 2**20)))
    project_tree(felloe.cwd / "proj", "proj")

    shown = on_a_terminal(felloe, "wheel", "./proj", "omega", 'acme; python_version < "3"', "-o", "out")

    assert "its backend builds a wheel" in shown
    assert "omega-1.0-py3-none-any.whl" in shown
    assert "felloe: warning: " in shown


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_nothing_moves_without_rich(felloe: Program, tmp_path: Path) -> None:
    (tmp_path / "start").mkdir()
    (tmp_path / "start/sitecustomize.py").write_text("import sys; sys.modules['rich'] = None")

    assert on_a_terminal(felloe, "metadata", "acme", PYTHONPATH=str(tmp_path / "start")) == ""


def on_a_terminal(felloe: Program, *arguments: str, **environ: str) -> str:
    """What it prints on stderr, being a terminal; it has to end well."""
    import pty
    import threading

    ours, theirs = pty.openpty()
    parts: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # Linux's way to say that the other end is closed
            while part := os.read(ours, 65536):
                parts.append(part)

    reader = threading.Thread(target=read)
    process = felloe.start(*arguments, stderr=theirs, TERM="xterm", COLUMNS="200", **environ)
    os.close(theirs)
    reader.start()
    process.communicate(timeout=60)
    reader.join()
    os.close(ours)
    assert process.returncode == 0, b"".join(parts)
    return b"".join(parts).decode()


def test_warnings_are_told_unless_quiet_and_errors_always(felloe: Program) -> None:
    unfit = 'acme; python_version < "3"'

    usual = felloe("metadata", unfit, "gamma", "--progress", "none")
    quiet = felloe("metadata", unfit, "gamma", "nothing-here", "-q", code=1)

    assert usual.err == f"felloe: warning: `{unfit}` is left out: its marker does not hold here\n"
    assert quiet.err.startswith("error: nothing-here: ")
    assert "left out" not in quiet.err


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_colour_is_for_terminals_that_want_it(felloe: Program, no_color: str) -> None:
    import pty

    ours, theirs = pty.openpty()
    try:
        environ = {"NO_COLOR": no_color} if no_color else {}
        process = felloe.start("metadata", "nothing-here", "--progress", "none", stderr=theirs, TERM="xterm", **environ)
        out, _ = process.communicate(timeout=30)
        err = os.read(ours, 65536).decode()
    finally:
        os.close(theirs)
        os.close(ours)

    assert (process.returncode, out) == (1, "")
    assert "error" in err
    assert ("\x1b[" in err) == (not no_color)


def test_without_a_cache_nothing_is_kept(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    felloe("metadata", "acme", "--no-cache", TMPDIR=str(felloe.home))
    elsewhere = felloe("metadata", "acme", "--cache-dir", "elsewhere", "--json")

    assert not felloe.cache.exists()
    assert [*felloe.home.iterdir()] == []
    assert not elsewhere.results[0]["cached"]
    assert (felloe.cwd / "elsewhere" / "wheel-metadata-v0").is_dir()


def test_help_and_version(felloe: Program) -> None:
    assert felloe("--version").out.startswith("felloe ")
    for arguments in (["--help"], ["metadata", "-h"], ["wheel", "-h"], ["cache", "-h"], ["cache", "clean", "-h"]):
        result = felloe(*arguments)
        assert result.out.startswith("Usage: ")
        assert result.err == ""
    assert not felloe.cache.exists()
