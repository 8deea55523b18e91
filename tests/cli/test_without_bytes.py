"""Metadata that are known need no bytes: every archive, wheel and environment may be gone from the cache."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from felloe.testing import Behaviour, GitServer, IndexServer
from tests.cli.test_imports import imported
from tests.fixtures.program import Program
from tests.fixtures.projects import HOOKS, buildable, hooks_called, project_files, project_tree

pytest_plugins = ["tests.cli.test_imports"]

PARSERS = {"email.parser", "packaging.metadata", "tarfile", "felloe.net.archive"}
ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz")
# An audit hook cannot be taken away again, and sees what is opened by whatever way.
TELL_OPENED = """
def told(event, arguments):
    if event == "open" and str(arguments[0]).endswith({archives!r}):
        print("opened:", arguments[0], file=sys.stderr)
sys.addaudithook(told)
"""


@pytest.fixture
def upstream(felloe: Program, index: IndexServer, tmp_path: Path) -> Iterator[list[str]]:
    """A requirement for each way that metadata can be had, and each way that a project can be found."""
    index.behave("*", Behaviour(etag="auto", cache_control="max-age=600"))
    index.add(buildable(tmp_path, "delta"))
    index.static("/master.zip", buildable(tmp_path, "epsilon").read_bytes())
    felloe.environ[HOOKS] = str(tmp_path / "hooks")
    with GitServer(tmp_path / "served") as git:
        repository = git.repository("zeta")
        commit = repository.commit(project_files("zeta"))
        yield [
            "acme",  # a sidecar
            "acme==1.0",  # the same of another version
            "delta",  # prepared by its backend
            f"{index.url}/master.zip",
            f"git+{repository.url}@{commit}",
            str(project_tree(tmp_path / "eta", "eta")),
            str(buildable(tmp_path, "theta")),
        ]


@pytest.mark.parametrize("command", [["metadata"], ["wheel", "-o", "out"]])
def test_metadata_answer_when_every_archive_is_gone(
    felloe: Program, upstream: list[str], telling: str, tmp_path: Path, command: list[str]
) -> None:
    start = Path(telling) / "sitecustomize.py"
    start.write_text(start.read_text() + TELL_OPENED.format(archives=ARCHIVES))
    cold = felloe("metadata", *upstream, "--json").results
    felloe(*command, *upstream)
    felloe("metadata", *upstream)
    ran = len(hooks_called(tmp_path / "hooks"))
    for bucket in ("archives-v0", "unpacked-v0", "environments-v0"):
        shutil.rmtree(felloe.cache / bucket, ignore_errors=True)

    warm = felloe("metadata", *upstream, "--json", "--offline", PYTHONPATH=telling)

    assert [each["metadata"]["name"] for each in warm.results] == [each["metadata"]["name"] for each in cold]
    assert all(each["cached"] for each in warm.results)
    assert len(hooks_called(tmp_path / "hooks")) == ran
    opened = {line for line in warm.err.splitlines() if line.startswith(f"opened: {tmp_path}")}
    assert opened <= {f"opened: {tmp_path / 'theta-1.0.tar.gz'}"}  # the user's own file, to compare it
    assert imported(warm.err) & PARSERS == set()
