"""What a warm run does not import: each of these costs more than all that it has to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from felloe.testing import Behaviour, IndexServer
from felloe.testing.index import Form
from tests.cli.conftest import fill
from tests.fixtures.program import Program

HEAVY = {
    "asyncio",
    "concurrent.futures",
    "email.parser",
    "httpcore",
    "httpx",
    "installer",
    "multiprocessing",
    "packaging.metadata",
    "resolvelib",
    "rich",
    "ssl",
    "stamina",
    "trio",
    "truststore",
}
# Python imports it at start, where it finds it; it tells on stderr at exit what was imported since.
TELL_IMPORTS = """\
import atexit, sys
atexit.register(lambda: print("imported:", *sys.modules, file=sys.stderr))
"""


@pytest.fixture
def telling(tmp_path: Path) -> str:
    """With this as PYTHONPATH, the program tells its imports."""
    folder = tmp_path / "start"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(TELL_IMPORTS)
    return str(folder)


def imported(err: str) -> set[str]:
    (line,) = [line for line in err.splitlines() if line.startswith("imported: ")]
    return set(line.split()[1:])


@pytest.mark.parametrize("form", ["json", "html"])
def test_a_warm_run_imports_nothing_heavy(felloe: Program, telling: str, tmp_path: Path, form: Form) -> None:
    felloe.write("requirements.txt", "gamma", 'acme>=1; python_version > "3"')
    with IndexServer(forms=[form]) as index:
        fill(index, tmp_path / "made")
        index.behave("/simple/*", Behaviour(etag="auto", cache_control="max-age=600"))
        options = ["--index-url", index.index_url, "--json"]
        asked = ["acme", "-r", "requirements.txt", "acme==2.0", "--no-binary", "gamma"]
        felloe("metadata", "acme", *asked, *options, code=1)
        felloe("metadata", "acme", "gamma", *options)
        index.clear()
        warm = felloe("metadata", "acme", "gamma", 'acme==1; python_version < "3"', *options, PYTHONPATH=telling)
        requests = index.requests

    assert [each.get("cached") for each in warm.results] == [True, True, None]  # the last one is skipped
    assert requests == []
    assert imported(warm.err) & HEAVY == set()
    assert "felloe.database" in imported(warm.err)
    assert imported(warm.err) & {"felloe.net.keyring", "keyring"} == set()


def test_a_warm_sdist_imports_nothing_heavy(felloe: Program, telling: str) -> None:
    asked = ["metadata", "acme", "--no-binary", "acme", "--json"]
    felloe(*asked)

    warm = felloe(*asked, PYTHONPATH=telling)

    assert [(each["cached"], each["rung"]) for each in warm.results] == [(True, "pkg-info")]
    assert imported(warm.err) & (HEAVY | {"tarfile"}) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["no-such-command"]])
def test_help_imports_little(felloe: Program, telling: str, arguments: list[str]) -> None:
    names = imported(felloe(*arguments, code=2 if arguments == ["no-such-command"] else 0, PYTHONPATH=telling).err)

    ours = {name for name in names if name.partition(".")[0] == "felloe"}
    assert ours == {"felloe", "felloe.__main__", "felloe.cli", "felloe.cli.ending", "felloe.cli.program"} & ours
    assert names & (HEAVY | {"attrs", "attr", "pluggy", "packaging", "felloe_pypi"}) == set()


def test_the_cache_is_looked_at_without_what_a_request_needs(felloe: Program, telling: str) -> None:
    felloe("metadata", "acme")

    for command in ("dir", "size", "list"):
        assert imported(felloe("cache", command, PYTHONPATH=telling).err) & HEAVY == set()


def test_without_the_extra_it_says_what_to_install(felloe: Program, tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['click'] = None"  # as where it is not installed
    start = tmp_path / "without"
    start.mkdir()
    (start / "sitecustomize.py").write_text(hidden)

    result = felloe("metadata", "acme", code=1, PYTHONPATH=str(start))

    assert result.err == (
        "error: the command line of felloe needs `click`, which is not installed\n"
        "  hint: install `felloe`, or `felloe-core[cli]`\n"
    )
