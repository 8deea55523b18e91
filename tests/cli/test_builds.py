"""Builds from the command line: their options, their errors, and several processes at once."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from felloe.testing import IndexServer, Project, make_wheel
from tests.cli.test_imports import HEAVY, imported
from tests.fixtures.program import Program
from tests.fixtures.projects import HOOKS, buildable, hooks_called

pytest_plugins = ["tests.cli.test_imports"]


@pytest.fixture
def hooks(tmp_path: Path, felloe: Program) -> Path:
    """Where backends tell what was called."""
    felloe.environ[HOOKS] = str(tmp_path / "hooks")
    return tmp_path / "hooks"


def add(index: IndexServer, folder: Path, name: str = "delta", **options: Any) -> None:
    index.add(buildable(folder, name, **options))


def test_the_whole_way(felloe: Program, index: IndexServer, tmp_path: Path, hooks: Path) -> None:
    add(index, tmp_path, requires_dist="['attrs>=20']")

    (result,) = felloe("metadata", "delta", "--json").results
    assert (result["rung"], result["cached"], result["wheel"]) == ("prepare", False, None)
    assert result["metadata"]["requires-dist"] == ["attrs>=20"]

    (built,) = felloe("wheel", "delta", "-o", "out", "--json").results
    assert (built["rung"], Path(built["path"]).name) == ("wheel", "delta-1.0-py3-none-any.whl")
    assert [path.name for path in (felloe.cwd / "out").iterdir()] == ["delta-1.0-py3-none-any.whl"]
    assert hooks_called(hooks) == ["delta get_requires", "delta prepare", "delta get_requires", "delta wheel"]

    (again,) = felloe("metadata", "delta", "--json").results
    assert (again["rung"], again["cached"], again["wheel"]) == ("wheel", True, "delta-1.0-py3-none-any.whl")
    assert len(hooks_called(hooks)) == 4


def test_a_warm_run_after_a_build_imports_nothing_heavy(
    felloe: Program, telling: str, index: IndexServer, tmp_path: Path
) -> None:
    add(index, tmp_path)
    felloe("wheel", "delta", "-o", "out")

    result = felloe("metadata", "delta", "--json", PYTHONPATH=telling)

    assert result.results[0]["cached"]
    assert (
        imported(result.err) & (HEAVY | {"tarfile", "felloe.build.builder", "felloe.net.archive", "felloe.net.zip"})
        == set()
    )


SETTINGS = [
    (["-C", "speed=fast"], "{'speed': 'fast'}"),
    (
        ["--config-setting", "speed=fast", "-C", "speed=faster", "-C", "flag"],
        "{'speed': ['fast', 'faster'], 'flag': ''}",
    ),
    (["--config-settings-package", "Delta:speed=slow"], "{'speed': 'slow'}"),
    (["-C", "a=1", "--config-settings-package", "delta:b=x:y=2"], "{'a': '1', 'b': 'x:y=2'}"),
    (["--config-settings-package", "other:speed=slow"], "{}"),
]


@pytest.mark.parametrize(("options", "expected"), SETTINGS)
def test_settings_reach_the_backend(
    felloe: Program, index: IndexServer, tmp_path: Path, options: list[str], expected: str
) -> None:
    add(index, tmp_path, code=f"assert (config_settings or {{}}) == {expected}, config_settings")

    felloe("wheel", "delta", "-o", "out", *options)


def test_settings_in_a_file(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    felloe.write("felloe.toml", "[config-settings]", "a = ['1', '2']", "[config-settings-package.delta]", "b = '3'")
    add(index, tmp_path, code="assert config_settings == {'a': ['1', '2'], 'b': '3'}, config_settings")

    felloe("wheel", "delta", "-o", "out")


BAD_OPTIONS = [
    ["-C", "=x"],
    ["--config-settings-package", "delta"],
    ["--config-settings-package", "no such name:a=b"],
    ["--build-constraint", "missing.txt"],
]


@pytest.mark.parametrize("options", BAD_OPTIONS)
def test_options_that_cannot_be_read(felloe: Program, options: list[str]) -> None:
    result = felloe("metadata", "delta", *options, "--json", code=2)

    assert result.document["error"]["code"] == "invalid-configuration"
    assert result.document["error"]["hint"]


def test_build_constraints(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    for version in ("1.0", "2.0"):
        index.add(make_wheel(tmp_path, Project("needed", version), files={"needed.py": f"version = '{version}'\n"}))
    add(index, tmp_path, requires=["needed"], code="import needed; assert needed.version == '1.0'")
    felloe.write("build.txt", "needed<2")

    felloe("wheel", "delta", "-o", "out", "--build-constraint", "build.txt")
    felloe("wheel", "delta", "-o", "out", code=1)


def test_what_may_not_be_built(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    add(index, tmp_path)

    for options in (["--no-build"], ["--no-build-package", "Delta"]):
        assert felloe("metadata", "delta", *options, "--json", code=1).codes == ["build-not-allowed"]
    felloe("metadata", "delta", "--no-build-package", "other")


def test_a_build_that_takes_too_long(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    add(index, tmp_path, code="import time; time.sleep(3600)")

    result = felloe("wheel", "delta", "-o", "out", "--build-timeout", "0.5", "--json", code=1)

    assert result.codes == ["build-timeout"]


def test_a_failing_build_is_told_whole(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    add(index, tmp_path, code="print('line', 1); raise SystemExit('it is no use')")

    plain = felloe("wheel", "delta", "-o", "out", code=1)
    (error,) = [result["error"] for result in felloe("wheel", "delta", "-o", "out", "--json", code=1).results]

    assert "it is no use" in plain.err
    assert "line 1" in plain.err
    assert error["code"] == "build-failed"
    assert "line 1" in Path(error["log"]).read_text()
    assert not (felloe.cwd / "out").exists()


def test_a_backend_that_kills_its_parent(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    kill = "import signal; parent = os.getppid(); os.kill(parent, signal.SIGKILL)"
    add(index, tmp_path, code=f"{kill}\nwhile os.getppid() == parent: pass")
    add(index, tmp_path, "epsilon")

    result = felloe("wheel", "delta", "epsilon", "-o", "out", "--json", code=1)

    assert result.codes == ["build-failed", ""]


# Several processes


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


def test_processes_build_once(felloe: Program, index: IndexServer, tmp_path: Path, hooks: Path) -> None:
    add(index, tmp_path)

    processes = [felloe.start("wheel", "delta", "-o", f"out{number}") for number in range(4)]

    assert [finished(process)[0] for process in processes] == [0] * 4
    assert hooks_called(hooks).count("delta wheel") == 1
    felloe.assert_tidy()


def test_a_cycle_in_two_processes(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    add(index, tmp_path, "delta", requires=["epsilon"])
    add(index, tmp_path, "epsilon", requires=["delta"])

    processes = [felloe.start("wheel", name, "-o", "out", "--json") for name in ("delta", "epsilon")]

    for process in processes:
        code, out = finished(process)
        assert code == 1
        assert '"code": "build-cycle"' in out


def test_a_backend_that_asks_felloe_for_its_own_project_is_told_at_once(
    felloe: Program, index: IndexServer, tmp_path: Path
) -> None:
    """It holds the lock of its build, which the felloe that it calls would wait for."""
    said = tmp_path / "said"
    command = [*felloe.command, "wheel", "delta", "-o", str(tmp_path / "out"), "--json"]
    environ = {name: felloe.environ[name] for name in felloe.environ if name.startswith("FELLOE_")}
    code = f"import subprocess\nenv = {{**os.environ, **{environ!r}}}\nwith open({str(said)!r}, 'w') as file:\n"
    add(index, tmp_path, code=f"{code}    subprocess.run({command!r}, env=env, stdout=file, timeout=60)")

    felloe("wheel", "delta", "-o", "out")

    assert '"code": "build-cycle"' in said.read_text()


def test_after_kill_the_next_build_is_right(felloe: Program, index: IndexServer, tmp_path: Path, hooks: Path) -> None:
    wait = tmp_path / "wait"
    wait.touch()
    add(index, tmp_path, code=f"import time\nwhile os.path.exists({str(wait)!r}): time.sleep(0.01)")
    process = felloe.start("wheel", "delta", "-o", "out")
    while "delta wheel" not in hooks_called(hooks):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    wait.unlink()

    felloe("wheel", "delta", "-o", "out")
    assert hooks_called(hooks).count("delta wheel") == 2


def test_what_a_backend_did_not_get_is_told(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    add(index, tmp_path, code="raise SystemExit('it is no use')")
    felloe.environ["ACME_TOKEN"] = "pa55-w0rd"
    felloe.write("felloe.toml", "[build]", 'env = ["OTHER"]')

    plain = felloe("wheel", "delta", "-o", "out", code=1)
    (error,) = [result["error"] for result in felloe("wheel", "delta", "-o", "out", "--json", code=1).results]
    explained = felloe("explain", "delta", "--wheel", code=1).out

    assert "ACME_TOKEN" in error["left-out"]
    assert "it did not get" in plain.err
    assert "left out" in explained
    assert all("ACME_TOKEN" in said for said in (plain.err, explained))
    assert all("pa55-w0rd" not in said for said in (plain.err, explained, str(error)))
