"""`felloe explain`: what it prints, its exit codes, and that it leaves no trace."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from felloe.testing import IndexServer
from tests.cli.test_imports import HEAVY, imported
from tests.fixtures.program import Program
from tests.fixtures.projects import HOOKS, buildable, hooks_called

pytest_plugins = ["tests.cli.test_imports"]

KEYS = {
    "requirement", "goal", "claims", "owner", "reason", "dist", "others", "cache-key", "path", "entry", "verdict",
    "fingerprint", "left-out", "build", "differences", "rung", "rungs", "action", "steps", "may-follow", "seconds",
    "bytes", "failure",
}  # fmt: skip


@pytest.fixture
def hooks(tmp_path: Path, felloe: Program, index: IndexServer) -> Path:
    """Where backends tell what was called. `delta` 1.0 has to be built."""
    index.add(buildable(tmp_path, "delta"))
    felloe.environ[HOOKS] = str(tmp_path / "hooks")
    return tmp_path / "hooks"


def test_all_of_it_as_json(felloe: Program, hooks: Path) -> None:
    (first,) = felloe("explain", "delta", "--json").results
    assert first.keys() == KEYS
    assert (first["action"], first["may-follow"], first["verdict"]["state"]) == ("download", "prepare", "none")
    assert {claim["source"]: claim["level"] for claim in first["claims"]} == {first["owner"]: "fallback"}
    assert not felloe.cache.exists()

    felloe("wheel", "delta", "-o", "out")
    (again,) = felloe("explain", "delta", "--wheel", "-C", "speed=fast", "--json").results
    assert (again["goal"], again["action"], again["rung"]) == ("wheel", "build", "wheel")
    assert again["differences"] == [{"input": "settings.speed", "old": None, "new": "fast"}]
    assert (again["verdict"]["state"], again["entry"]["verified"]) == ("fresh", True)
    assert again["seconds"] == again["build"]["seconds"] > 0
    assert again["others"] == {"less-preferred": 0, "not-fitting": 0}
    assert hooks_called(hooks) == ["delta get_requires", "delta wheel"]


def test_a_marker_leaves_no_trace_either(felloe: Program, hooks: Path) -> None:
    holds, does_not = "delta; python_version > '3'", "delta; python_version < '3'"
    result = felloe("explain", holds, does_not, "--json")
    assert [each.get("skipped", "") for each in result.results] == ["", "its marker does not hold here"]
    assert not felloe.cache.exists()


@pytest.mark.parametrize("command", ["explain", "metadata"])
def test_a_terminal_obeys_no_requirement(felloe: Program, hooks: Path, command: str) -> None:
    run = felloe(command, "./a\x1b[31mb", "-v", code=1)
    assert "\x1b" not in run.out + run.err
    assert "./a\\x1b[31mb" in run.out + run.err


def test_the_documentation_has_every_key() -> None:
    page = (Path(__file__).parents[2] / "docs/explain.md").read_text()
    assert json.loads(page.partition("```json\n")[2].partition("```")[0]).keys() == KEYS


def test_a_line_for_each_reason(felloe: Program, hooks: Path) -> None:
    felloe("wheel", "delta", "-o", "out")
    felloe.environ["AAA_TOKEN"] = "pa55-w0rd"

    out = felloe("explain", "delta", "acme", "--wheel", "-C", "speed=fast").out

    delta, acme = out.split("\n\n")
    lines = [re.sub("sha256:[0-9a-f]{64}", "sha256:...", line) for line in delta.splitlines()]
    assert [line.split()[0] for line in lines] == [
        *("delta", "owner", "claims", "chosen", "key", "path", "entry", "fetched", "verdict", "changed"),
        *("fingerprint", "left", "build", "rung", "action"),
    ]
    assert lines[1].startswith("  owner       ")
    assert lines[3] == "  chosen      delta-1.0.tar.gz, sdist, sha256:..."
    assert lines[4] == "  key         delta-1.0.tar.gz"
    assert lines[6] == "  entry       sha256:..., hashed by felloe"
    assert lines[8:10] == ["  verdict     fresh", "  changed     settings.speed: none -> fast"]
    assert lines[11].startswith("  left out    AAA_TOKEN, ")
    assert "pa55-w0rd" not in out
    assert re.fullmatch(r"  action      build \(\d.* s last time\)", lines[-1])
    assert "  others      2 would do and come after it, 1 will not do\n" in acme
    assert re.search(r"  action      download \(\d+ bytes\)\n$", acme)


def test_an_answer_that_would_be_an_error_is_explained(felloe: Program, hooks: Path) -> None:
    result = felloe("explain", "delta", "acme>9", "gamma", "--wheel", "--no-build", "--json", code=1)
    assert result.codes == ["build-not-allowed", "no-matching-distribution", ""]
    assert [each["action"] for each in result.results] == [None, None, "download"]

    felloe("metadata", "delta")
    refused = felloe("explain", "delta", "--wheel", "--no-build", "--json", code=1)
    assert refused.codes == ["build-not-allowed"]
    assert refused.results[0]["action"] is None
    assert (
        "  error       `delta-1.0.tar.gz` of source" in felloe("explain", "delta", "--wheel", "--no-build", code=1).out
    )
    assert felloe("explain", "delta", "--require-hashes", "--json", code=1).codes == ["hash-required"]


def test_what_cannot_be_read(felloe: Program, hooks: Path) -> None:
    result = felloe("explain", "delta ==", "delta", "--json", code=1)
    assert result.codes == ["invalid-requirement", ""]
    assert "error: delta ==: " in felloe("explain", "delta ==", code=1).err
    felloe("explain", code=2)


def test_a_warm_explanation_imports_nothing_heavy(felloe: Program, hooks: Path, telling: str) -> None:
    felloe("metadata", "delta")

    result = felloe("explain", "delta", "--json", PYTHONPATH=telling)
    assert result.results[0]["action"] == "hit"
    assert imported(result.err) & (HEAVY | {"felloe.build.builder"}) == set()
    warm = imported(felloe("metadata", "delta", PYTHONPATH=telling).err)
    assert warm & {"felloe.explain", "felloe.explaining", "felloe.build.nearest", "felloe.cache.view"} == set()


def test_verbose_says_why(felloe: Program, hooks: Path) -> None:
    felloe("metadata", "delta")

    err = felloe("metadata", "delta", "-C", "speed=fast", "-v").err
    assert re.search("^felloe: owner: `delta` is asked of ", err, re.MULTILINE)
    assert re.search("^felloe: fresh: `delta-1.0.tar.gz`", err, re.MULTILINE)
    assert "but not as it is asked for now: settings.speed: none -> fast\n" in err
