"""`felloe metadata`: what it prints, and what its options make of it."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from felloe.testing import IndexServer, Project, make_sdist, make_wheel
from tests.fixtures.program import Program

FIELDS = {
    "metadata-version": "2.1",
    "name": "acme",
    "version": "2.0",
    "requires-python": ">=3.8",
    "requires-dist": ["zlib-ng>=0.5", 'tomli; extra == "fast"'],
    "provides-extra": ["fast"],
}
HUMAN = """\
Metadata-Version: 2.1
Name: acme
Version: 2.0
Requires-Dist: zlib-ng>=0.5
Requires-Dist: tomli; extra == "fast"
Requires-Python: >=3.8
Provides-Extra: fast
"""
STATIC = """\
[build-system]
requires = ["flit_core"]
[project]
name = "delta"
version = "1.0"
dependencies = ["attrs"]
"""
PAGE = "/simple/acme/"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# What it prints


def test_the_human_form_is_that_of_metadata_itself(felloe: Program) -> None:
    result = felloe("metadata", "acme", "gamma")

    acme, gamma = result.out.split("\n\n")
    assert acme + "\n" == HUMAN
    assert gamma.splitlines()[1:] == ["Name: gamma", "Version: 1.0"]
    assert result.err == ""


def test_json_has_the_schema_and_a_second_run_is_cached_and_asks_nobody(
    felloe: Program, index: IndexServer, tmp_path: Path
) -> None:
    first = felloe("metadata", "acme", "--json")
    asked = index.paths
    second = felloe("metadata", "acme", "--json", "-v")

    expected = {
        "requirement": "acme",
        "name": "acme",
        "version": "2.0",
        "source": index.index_url,
        "content": f"sha256:{sha256(tmp_path / 'made' / 'acme-2.0-py3-none-any.whl')}",
        "rung": "sidecar",
        "cached": False,
        "wheel": "acme-2.0-py3-none-any.whl",
        "metadata": FIELDS,
    }
    assert first.document == {"schema": 1, "results": [expected]}
    assert list(first.results[0]) == list(expected)
    assert asked == [PAGE, "/files/acme-2.0-py3-none-any.whl.metadata"]
    assert second.document == {"schema": 1, "results": [{**expected, "cached": True}]}
    assert index.paths == asked
    assert "felloe: 0 requests, 0 files downloaded\n" in second.err


def test_results_come_in_the_order_asked_and_a_failed_item_among_them(felloe: Program) -> None:
    asked = ["gamma", "acme==9", "acme", "gamma", "no such", "nothing-here", "acme[fast]==1.0"]

    results = felloe("metadata", *asked, "--json", code=1).results

    assert [result["requirement"] for result in results] == asked
    assert [result.get("version", result.get("error", {}).get("code")) for result in results] == [
        "1.0",
        "no-matching-distribution",
        "2.0",
        "1.0",
        "invalid-requirement",
        "project-not-found",
        "1.0",
    ]
    assert all(set(each) == {"requirement", "error"} for each in results if "error" in each)
    assert all(set(each["error"]) == {"code", "message", "hint"} for each in results if "error" in each)
    assert all(each["error"]["hint"] for each in results if "error" in each)


def test_a_person_gets_the_good_ones_on_stdout_and_the_others_on_stderr(felloe: Program) -> None:
    result = felloe("metadata", "nothing-here", "acme", code=1)

    assert result.out == HUMAN
    assert result.err.startswith("error: nothing-here: ")
    assert "\n  hint: " in result.err
    assert "nothing-here" not in result.out


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["metadata"], id="nothing asked"),
        pytest.param(["metadata", "acme", "--no-such-option"], id="option"),
        pytest.param(["metadata", "acme", "--timeout", "0"], id="value"),
        pytest.param(["metadata", "acme", "--hash=sha256:00"], id="a hash that belongs to no requirement"),
        pytest.param(["wheel", "acme"], id="no folder"),
        pytest.param(["no-such-command"], id="command"),
    ],
)
def test_wrong_usage_is_exit_code_2(felloe: Program, index: IndexServer, arguments: list[str]) -> None:
    result = felloe(*arguments, code=2)

    assert "Usage: " in result.err
    assert "Error: " in result.err
    assert result.out == ""
    assert index.requests == []


def test_a_requirement_whose_marker_does_not_hold_is_skipped(felloe: Program, index: IndexServer) -> None:
    unfit = 'acme; python_version < "3"'
    result = felloe("metadata", unfit, 'gamma; python_version >= "3"', "--json")
    human = felloe("metadata", unfit)

    assert result.results[0] == {"requirement": unfit, "skipped": "its marker does not hold here"}
    assert result.results[1]["name"] == "gamma"
    assert "marker does not hold" in result.err
    assert human.out == ""
    assert PAGE not in index.paths


def test_a_marker_without_meaning_is_an_error_of_its_item(felloe: Program) -> None:
    result = felloe("metadata", 'acme; platform_machine ~= "x"', "gamma", "acme; extra", "--json", code=1)

    assert result.codes == ["invalid-requirement", "", "invalid-requirement"]


# Which distribution


@pytest.mark.parametrize(
    ("options", "version", "rung"),
    [
        pytest.param(["--pre"], "3.0rc1", "sidecar", id="pre"),
        pytest.param(["--exclude-newer", "2023-12-31"], "1.0", "sidecar", id="exclude-newer"),
        pytest.param(["--no-binary", "acme"], "2.0", "pkg-info", id="no-binary"),
        pytest.param(["--no-binary", ":all:"], "2.0", "pkg-info", id="no-binary-all"),
        pytest.param(["--only-binary", ":all:"], "2.0", "sidecar", id="only-binary"),
    ],
)
def test_options_select_the_distribution(felloe: Program, options: list[str], version: str, rung: str) -> None:
    (result,) = felloe("metadata", "acme", *options, "--json").results

    assert (result["version"], result["rung"]) == (version, rung)
    assert result["metadata"]["requires-dist"] == FIELDS["requires-dist"]
    assert (result["wheel"] is None) == (rung == "pkg-info")


def test_an_sdist_answers_by_its_static_rungs_or_says_that_a_build_is_not_allowed(
    felloe: Program, index: IndexServer, tmp_path: Path
) -> None:
    old = Project("delta", "1.0", metadata_version="2.1")
    index.add(make_sdist(tmp_path, old, pyproject=STATIC, files={"PKG-INFO": None}))

    results = felloe("metadata", "delta", "beta", "--no-build", "--json", code=1).results
    only_binary = felloe("metadata", "beta", "--only-binary", "beta", "--json", code=1)

    assert results[0]["rung"] == "pyproject"
    assert results[0]["metadata"]["requires-dist"] == ["attrs"]
    assert results[1]["error"]["code"] == "build-not-allowed"
    assert only_binary.codes == ["no-matching-distribution"]


def test_constraints_narrow_and_bring_their_options(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    felloe.write("constraints.txt", "acme<2  # not yet", f"--index-url {index.index_url}", "other==5")

    (result,) = felloe("metadata", "acme", "-c", "constraints.txt", "--json", FELLOE_INDEX_URL="").results

    assert (result["requirement"], result["version"]) == ("acme", "1.0")


# Hashes


def test_the_right_hash_is_obeyed_and_the_wrong_one_keeps_nothing(
    felloe: Program, index: IndexServer, tmp_path: Path
) -> None:
    wheel = tmp_path / "made" / "acme-1.0-py3-none-any.whl"
    wrong = felloe("metadata", f"acme==1.0 --hash=sha256:{'0' * 64}", "--json", code=1)
    kept = [path for path in felloe.cache.rglob("*") if path.suffix == ".whl" or path.name.startswith("acme")]
    right = felloe("metadata", f"acme==1.0 --hash=sha256:{sha256(wheel)}", "--require-hashes", "--json")

    assert wrong.codes in (["hash-mismatch"], ["no-matching-distribution"])
    assert kept == []
    assert right.results[0]["rung"] == "wheel"
    assert "/files/acme-1.0-py3-none-any.whl" in index.paths


def test_a_hash_is_compared_with_the_bytes_where_the_page_says_none(
    felloe: Program, index: IndexServer, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path, Project("omega", "1.0"))
    index.add(wheel, hashes=False)
    felloe.write("good.txt", f"omega==1.0 --hash=sha256:{sha256(wheel)}")
    felloe.write("bad.txt", "omega==1.0 \\", f"    --hash=sha256:{'1' * 64}")

    wrong = felloe("metadata", "-r", "bad.txt", "--json", code=1)
    kept = [*felloe.cache.rglob("omega*")]
    right = felloe("metadata", "-r", "good.txt", "--json")

    assert wrong.codes == ["hash-mismatch"]
    assert kept == []
    assert right.results[0]["content"] == f"sha256:{sha256(wheel)}"


def test_a_listed_hash_that_is_not_that_of_the_bytes(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    index.add(make_sdist(tmp_path, Project("omega", "1.0")), hashes={"sha256": "2" * 64})

    assert felloe("metadata", "omega", "--json", code=1).codes == ["hash-mismatch"]
    assert [*felloe.cache.rglob("omega*")] == []


def test_require_hashes_asks_for_one_of_each(felloe: Program, index: IndexServer) -> None:
    hashed = f"acme --hash=sha256:{'0' * 64}"
    result = felloe("metadata", hashed, "gamma", "--require-hashes", "--json", code=1)

    assert result.document["error"]["code"] == "hash-required"
    assert "`gamma`" in result.document["error"]["message"]
    assert "`acme" not in result.document["error"]["message"]
    assert index.requests == []


# Effort, freshness, offline


def test_effort_and_offline_cold_and_warm(felloe: Program, index: IndexServer) -> None:
    cold = felloe("metadata", "acme", "--effort", "cached", "--json", code=1)
    offline_cold = felloe("metadata", "gamma", "--offline", "--json", code=1)
    felloe("metadata", "acme")
    index.clear()
    warm = felloe("metadata", "acme", "--effort", "cached", "--json")
    offline = felloe("metadata", "acme", "--offline", "--refresh", "--json", "-v")

    assert cold.codes == ["effort-exceeded"]
    assert offline_cold.codes == ["offline"]
    assert "the network is off" in offline_cold.results[0]["error"]["message"]
    assert [warm.results[0]["cached"], offline.results[0]["cached"]] == [True, True]
    assert "0 requests" in offline.err
    assert index.requests == []


def test_refresh_asks_again_all_or_one_project(felloe: Program, index: IndexServer) -> None:
    felloe("metadata", "acme", "gamma")
    index.clear()
    felloe("metadata", "acme", "gamma", "--refresh-package", "Gamma")
    of_one = index.paths
    felloe("metadata", "acme", "gamma", "--refresh")

    assert of_one == ["/simple/gamma/"]
    assert sorted(index.paths[1:]) == ["/simple/acme/", "/simple/gamma/"]


# Indexes


def test_indexes_are_asked_in_the_order_of_the_options(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    make_wheel(tmp_path / "links", Project("linked", "1.0"))
    with IndexServer() as other:
        other.add(make_wheel(tmp_path, Project("acme", "0.1")))
        indexes = ["--index-url", index.index_url, "--extra-index-url", other.index_url]
        links = ["--find-links", str(tmp_path / "links")]
        asked = ["acme", "gamma", "linked"]
        results = felloe("metadata", *asked, *indexes, *links, "--json", FELLOE_INDEX_URL="").results
        other_paths = other.paths

    assert [each["version"] for each in results] == ["0.1", "1.0", "1.0"]
    assert results[2]["source"].startswith("file:///")
    assert "/simple/gamma/" in other_paths
    assert PAGE not in index.paths


def test_no_index_leaves_the_links_alone(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    make_wheel(felloe.cwd / "links", Project("acme", "0.5"))

    links = felloe("metadata", "acme", "gamma", "--no-index", "-f", "links", "--json", code=1)
    nothing = felloe("metadata", "acme", "--no-index", "--json", code=1)

    assert links.results[0]["version"] == "0.5"
    assert links.codes[1] == "project-not-found"
    assert nothing.codes == ["no-source"]
    assert nothing.results[0]["error"]["hint"]
    assert index.requests == []


# Where the environment asked about is another one


def test_another_interpreter_is_asked_once(felloe: Program, other_python: Path) -> None:
    marker = f'acme; python_version == "{sys.version_info[0]}.{sys.version_info[1]}"'
    first = felloe("metadata", marker, "gamma", "--python", other_python, "--json")
    second = felloe("metadata", marker, "gamma", "--json", FELLOE_PYTHON=str(other_python))

    assert [each.get("name") for each in first.results] == [None, "gamma"]
    assert first.results == [second.results[0], {**second.results[1], "cached": False}]
    files = [path for path in (felloe.cache / "interpreters-v0").rglob("*") if path.is_file()]
    assert str(other_python) in [json.loads(path.read_text())["path"] for path in files]


def test_python_is_a_path_a_name_on_path_or_an_environment(felloe: Program, environment: Path) -> None:
    path = felloe.environ["PATH"]
    absolute = felloe("metadata", "gamma", "--python", environment)
    relative = felloe("metadata", "gamma", "--python", f"./{environment.name}/bin/python")
    named = felloe("metadata", "gamma", "--python", "python", PATH=f"{environment / 'bin'}:{path}")

    assert absolute.out == relative.out == named.out
    assert "Name: gamma" in named.out


def test_what_is_no_python_is_an_error_with_a_hint(felloe: Program) -> None:
    (felloe.cwd / "empty").mkdir()
    program = felloe.write("program", "#!/bin/sh", "exit 3")
    program.chmod(0o755)
    felloe.write("text", "not a program")

    for path in ("./no/python", "empty", "./program", "text", "no-such-python"):
        result = felloe("metadata", "gamma", "--python", path, "--json", code=1)
        assert result.codes == ["invalid-interpreter"], path
        assert "--python" in result.results[0]["error"]["hint"]


@pytest.fixture
def environment(felloe: Program) -> Path:
    """A virtual environment of the Python that runs this."""
    import venv

    folder = felloe.cwd / "environment"
    venv.EnvBuilder(symlinks=True).create(folder)
    return folder


@pytest.fixture(scope="session")
def other_python() -> Path:
    """A Python of another version that felloe can ask."""
    import shutil
    import subprocess

    here = sys.version_info[1]
    installed = Path(sys.base_prefix).parent
    for minor in (minor for minor in range(9, 20) if minor != here):
        beside = [str(path) for path in sorted(installed.glob(f"*3.{minor}.*/bin/python3.{minor}"))]
        for path in filter(None, [shutil.which(f"python3.{minor}"), *beside]):
            program = "import sys; print(sys.executable)"
            done = subprocess.run([path, "-I", "-c", program], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return Path(done.stdout.strip())
    pytest.skip("no Python of another version is installed")
