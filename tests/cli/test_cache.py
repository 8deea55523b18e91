"""`felloe cache`: where it is, how large, what is in it, and cleaning it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from felloe.testing import IndexServer, Project, make_wheel
from tests.fixtures.line import read_document
from tests.fixtures.program import Program
from tests.fixtures.projects import buildable

# Another process that has been given a path of the cache, and holds on to it until its stdin ends.
HOLDER = """
import sys
from felloe import BlockingDatabase
with BlockingDatabase() as database:
    print(database.wheel("acme").path, flush=True)
    sys.stdin.read()
"""


def test_where_it_is_does_not_make_it(felloe: Program) -> None:
    assert felloe("cache", "dir").out == f"{felloe.cache}\n"
    assert felloe("cache", "dir", "--cache-dir", "here", "--json").document["dir"] == str(felloe.cwd / "here")
    assert felloe("cache", "size").out == "0 B\n"
    assert felloe("cache", "list").out == ""
    assert felloe("cache", "clean").out == "0 B freed\n"
    assert not felloe.cache.exists()


def test_what_is_in_it(felloe: Program) -> None:
    felloe("wheel", "acme", "-o", "out")
    felloe("metadata", "gamma", "beta", code=1)

    lines = felloe("cache", "list").out.splitlines()
    entries = felloe("cache", "list", "--json").document["entries"]
    size = felloe("cache", "size", "--json").document["bytes"]

    assert [(each["name"], each["filename"], each["source"]) for each in entries if each["name"] != "beta"] == [
        ("acme", "acme-2.0-py3-none-any.whl", "index"),
        ("gamma", "gamma-1.0-py3-none-any.whl", "index"),
    ]
    assert [line.split()[:3] for line in lines] == [[each["name"], each["filename"], "index"] for each in entries]
    assert all(each["fetched"].endswith("Z") for each in entries)
    assert 4096 < size < 2**20
    assert felloe("cache", "size").out.endswith(" KiB\n")


def test_cleaning_one_project_leaves_the_others(felloe: Program, index: IndexServer) -> None:
    felloe("metadata", "acme", "gamma")
    index.clear()

    freed = felloe("cache", "clean", "ACME", "not-there", "--json").document["freed"]
    results = felloe("metadata", "gamma", "acme", "--json").results

    assert freed > 0
    assert [each["cached"] for each in results] == [True, False]
    assert index.paths == ["/simple/acme/", "/files/acme-2.0-py3-none-any.whl.metadata"]


def test_cleaning_one_project_removes_its_wheels_unpacked(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    for name in ("needed", "other"):
        index.add(make_wheel(tmp_path, Project(name, "1.0"), files={f"{name}.py": ""}))
    index.add(buildable(tmp_path, "delta", requires=["needed", "other"]))
    felloe("wheel", "delta", "-o", "out")

    felloe("cache", "clean", "Needed")
    unpacked = sorted(path.name for path in felloe.cache.glob("unpacked-v0/*/*/files/*.py"))
    builds = sorted(path.name for path in felloe.cache.glob("builds-v0/*/*/*/*"))
    felloe("cache", "clean", "delta")
    left = list(felloe.cache.glob("builds-v0/*"))
    index.add(buildable(tmp_path, "delta", "2.0", requires=["needed", "other"], code="import needed, other"))
    (built,) = felloe("wheel", "delta==2.0", "-o", "out", "--json").results

    assert unpacked == ["other.py"]
    assert builds == ["delta-1.0-py3-none-any.whl", "log.txt", "record.json"]
    assert left == []
    assert built["rung"] == "wheel"


def test_cleaning_one_project_removes_what_is_left_of_builds_that_failed(
    felloe: Program, index: IndexServer, tmp_path: Path
) -> None:
    """With whatever settings, and of a file whose request names no project."""
    for name in ("delta", "epsilon"):
        index.add(buildable(tmp_path, name, code="raise SystemExit('no use')"))
        felloe("wheel", name, "-o", "out", code=1)
        felloe("wheel", name, "-o", "out", "-C", "speed=fast", code=1)
    felloe("wheel", index.add(buildable(tmp_path, "zeta", code="raise SystemExit('no use')")), "-o", "out", code=1)

    def projects() -> list[str]:
        records = [read_document(path) for path in felloe.cache.glob("builds-v0/*/*/*/record.json")]
        assert all("error" in each and "wheel" not in each for each in records)
        return sorted(each["project"] for each in records)

    assert projects() == ["delta", "delta", "epsilon", "epsilon", "zeta"]

    felloe("cache", "clean", "Delta", "zeta")

    assert projects() == ["epsilon", "epsilon"]
    assert len(list(felloe.cache.glob("builds-v0/*"))) == 1
    assert len(list(felloe.cache.glob("builds-v0/*/*/wheel/log.txt"))) == 2


def test_cleaning_all_leaves_what_is_not_ours(felloe: Program) -> None:
    felloe("wheel", "acme", "-o", "out")
    (felloe.cache / "mine.txt").write_text("mine")
    left = felloe.cache / "scratch" / f"{'b' * 32}-{'c' * 16}"  # by a build of a felloe that was killed
    left.joinpath("source").mkdir(parents=True)

    human = felloe("cache", "clean")

    assert human.out.endswith(" KiB freed\n")
    assert [path.name for path in felloe.cache.rglob("*") if path.name.startswith("acme")] == []
    assert (felloe.cache / "mine.txt").read_text() == "mine"
    assert not left.exists()
    assert felloe("cache", "list").out == ""
    assert not felloe("metadata", "acme", "--json").results[0]["cached"]


def test_what_another_process_uses_is_not_cleaned(felloe: Program) -> None:
    felloe("wheel", "acme", "-o", "out")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        cwd=felloe.cwd,
        env=felloe.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        path = Path(holder.stdout.readline().strip())
        refused = [
            felloe.start("cache", "clean", *names).communicate(timeout=30)[1] for names in ([], ["acme"], ["gamma"])
        ]
        meanwhile = felloe.start("metadata", "acme", "--json")
        assert meanwhile.wait(30) == 0
        meanwhile.communicate()
        is_there = path.is_file()
        holder.communicate("")

    assert all(f"the cache is in use by process {holder.pid}" in err for err in refused)
    assert all("\n  hint: " in err and "Traceback" not in err for err in refused)
    assert is_there
    assert holder.returncode == 0
    felloe("cache", "clean")
    assert not path.exists()


def test_a_cache_that_cannot_be_one(felloe: Program) -> None:
    felloe.write("file", "mine")

    told = felloe("metadata", "acme", "gamma", "--cache-dir", "file", "--json")
    made = felloe("wheel", "acme", "-o", "wheels", "--cache-dir", "file", "--json", code=1)
    cleaned = felloe("cache", "clean", "--cache-dir", "file")

    assert told.codes == ["", ""]
    assert told.err.count("; what was found out is not kept\n") == 1
    assert made.codes == ["cache"]
    assert made.results[0]["error"]["hint"]
    assert cleaned.out == "0 B freed\n"
    assert (felloe.cwd / "file").read_text() == "mine\n"
