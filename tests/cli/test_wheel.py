"""`felloe wheel`: a wheel in the folder, whole, or an error and nothing."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from felloe.testing import Behaviour, IndexServer, Project, make_wheel
from tests.fixtures.program import Program
from tests.fixtures.projects import project_tree

ACME = "acme-2.0-py3-none-any.whl"
GAMMA = "gamma-1.0-py3-none-any.whl"


def test_wheels_are_put_into_the_folder(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    made = (tmp_path / "made" / ACME).read_bytes()

    human = felloe("wheel", "acme", "gamma", "-o", "out/of/here")
    asked = len(index.requests)
    data = felloe("wheel", "gamma", "acme", "--output", "out/of/here", "--json").results

    out = felloe.cwd / "out" / "of" / "here"
    assert human.out == f"{Path('out/of/here') / ACME}\n{Path('out/of/here') / GAMMA}\n"
    assert (out / ACME).read_bytes() == made
    assert sorted(path.name for path in out.iterdir()) == [ACME, GAMMA]
    assert len(index.requests) == asked
    assert [each["requirement"] for each in data] == ["gamma", "acme"]
    sha256 = hashlib.sha256(made).hexdigest()
    metadata = data[1].pop("metadata")
    assert (metadata["name"], metadata["version"]) == ("acme", "2.0")
    assert data[1] == {
        "requirement": "acme",
        "name": "acme",
        "version": "2.0",
        "source": index.index_url,
        "content": f"sha256:{sha256}",
        "rung": "wheel",
        "cached": True,
        "wheel": ACME,
        "path": str(out / ACME),
        "sha256": sha256,
    }


def test_a_file_of_the_name_is_replaced_whole_and_others_are_left(felloe: Program, tmp_path: Path) -> None:
    felloe.write(f"out/{ACME}", "older")
    felloe.write("out/other.txt", "mine")

    felloe("wheel", "acme", "-o", "out")

    assert (felloe.cwd / "out" / ACME).read_bytes() == (tmp_path / "made" / ACME).read_bytes()
    assert sorted(path.name for path in (felloe.cwd / "out").iterdir()) == [ACME, "other.txt"]


def test_a_failed_item_puts_nothing_and_the_others_are_there(
    felloe: Program, index: IndexServer, tmp_path: Path
) -> None:
    index.add(make_wheel(tmp_path, Project("omega", "1.0", padding=50_000)), hashes={"sha256": "3" * 64})
    index.add(make_wheel(tmp_path, Project("gone", "1.0")))
    index.behave("/files/gone-*", Behaviour(statuses=[404]))

    asked = ["omega", "gamma", "gone", "beta", "no such"]
    result = felloe("wheel", *asked, "-o", "out", "--no-build", "--json", code=1)

    assert result.codes == ["hash-mismatch", "", "http-404", "build-not-allowed", "invalid-requirement"]
    assert [path.name for path in (felloe.cwd / "out").iterdir()] == [GAMMA]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs folders that may not be written to")
def test_a_folder_that_may_not_be_written_to(felloe: Program) -> None:
    folder = felloe.cwd / "locked"
    folder.mkdir(mode=0o500)

    result = felloe("wheel", "acme", "-o", folder, "--json", code=1)

    assert result.codes == ["output"]


def test_a_folder_that_cannot_be_one(felloe: Program) -> None:
    felloe.write("file", "mine")
    (felloe.cwd / "out" / ACME).mkdir(parents=True)

    at_a_file = felloe("wheel", "acme", "gamma", "-o", "file", "--json", code=1)
    at_a_folder = felloe("wheel", "acme", "-o", "out", code=1)

    assert at_a_file.codes == ["output", "output"]
    assert (felloe.cwd / "file").read_text() == "mine\n"
    assert "cannot be written" in at_a_folder.err
    assert "\n  hint: " in at_a_folder.err
    assert [*(felloe.cwd / "out").iterdir()] == [felloe.cwd / "out" / ACME]


def test_two_wheels_of_one_name_do_not_take_each_others_place(felloe: Program) -> None:
    for number in "12":
        project_tree(felloe.cwd / number, "acme", requires_dist=f"['needed=={number}']")

    first, second = felloe("wheel", "./1", "./2", "./1", "-o", "out", "--json", code=1).results[:2]

    assert second["error"]["code"] == "output"
    assert hashlib.sha256((felloe.cwd / first["path"]).read_bytes()).hexdigest() == first["sha256"]
