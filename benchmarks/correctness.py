"""Whether felloe, uv and pip answer what a clean build would, and build nothing that they have built before.

    python benchmarks/correctness.py [--json] [WORD ...]

`correctness_matrix.py` has the situations; WORDs choose those whose names contain one. Each tool has for each of them a
new folder, with a cache, a home and two indexes on loopback of its own. It is run once a question, with a new folder
for what it gives:

    felloe wheel --cache-dir CACHE --python PYTHON --index-url URL -o RESULT -r requirements.txt
    uv pip install --no-deps --cache-dir CACHE --python PYTHON --default-index URL --target RESULT -r requirements.txt
    pip --python PYTHON wheel --no-deps --cache-dir CACHE --index-url URL -w RESULT -r requirements.txt

with `-C` and `--build-constraint` where the question has them. `uv pip install` is what uses uv's cache of built
wheels; `uv build` has none, and of a folder named on the command line it builds a new wheel each time. `pip wheel -e`
builds a plain wheel, so there it is `pip install --prefix RESULT`. Servers say that they want to be asked each time
(`Cache-Control: no-cache`), so nobody needs to be told to refresh.

In the table, a row is for a tool `right`, `built again` (all answers are right, a backend ran needlessly), `fails`,
`hangs` (for a minute), `stale` (an answer is what a clean build gave before), or `wrong` (any other); the worst of its
questions counts. Not to
have an old answer any more is no error: `built again` costs time alone. The tools are as they come, without settings;
some of what is stale is documented to be so: by default uv looks at no source file of a folder (its `cache-keys`).

Exits 1 where felloe is not right in every row. Needs `felloe`, `build`, `uv`, `pip` and git; other Pythons (3.11 to
3.13) take part where they are on PATH, or pyenv has them. Takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import version
from pathlib import Path

from attrs import asdict, field, frozen
from correctness_matrix import HOOKS, ROWS, Ask, Files, answer_in, clean_build, judged, places

VERDICTS = ("right", "built again", "fails", "hangs", "stale", "wrong")  # the worst comes last
INHERITED = ("PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "LD_LIBRARY_PATH")
PYTHONS = ("python3.11", "python3.12", "python3.13")
AT_ONCE = 2
TIME_LIMIT = 60.0  # seconds

Command = Callable[[Ask, Path, Path], list[str]]  # of a question, the folder of the cache, and that of the result


def felloe(ask: Ask, kept: Path, result: Path) -> list[str]:
    fixed = ["--cache-dir", str(kept), "--python", str(ask.python), "--index-url", ask.index.index_url]
    return [sys.executable, "-m", "felloe", "wheel", *fixed, "-o", str(result), *options(ask)]


def uv(ask: Ask, kept: Path, result: Path) -> list[str]:
    fixed = ["--cache-dir", str(kept), "--python", str(ask.python), "--default-index", ask.index.index_url]
    install = [sys.executable, "-m", "uv", "pip", "install", "--no-deps", *fixed]
    return [*install, "--link-mode", "copy", "--target", str(result), *options(ask)]


def pip(ask: Ask, kept: Path, result: Path) -> list[str]:
    fixed = ["--no-deps", "--cache-dir", str(kept), "--index-url", ask.index.index_url, "--disable-pip-version-check"]
    way = ["install", "--prefix"] if ask.editable else ["wheel", "-w"]
    return [sys.executable, "-m", "pip", "--python", str(ask.python), *way, str(result), *fixed, *options(ask)]


TOOLS: dict[str, Command] = {"felloe": felloe, "uv": uv, "pip": pip}


def options(ask: Ask) -> list[str]:
    """Those that all of them have, with names of files in the folder in which they run."""
    settings = [text for key, value in ask.settings.items() for text in ("-C", f"{key}={value}")]
    constraints = ["--build-constraint", "constraints.txt"] if ask.constraints else []
    return [*settings, *constraints, "-r", "requirements.txt"]


@frozen(kw_only=True)
class Row:
    """A situation: for each tool the worst verdict, and what is worth telling of each question."""

    situation: str
    verdicts: dict[str, str] = field(factory=dict)
    details: list[str] = field(factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description="Compares what felloe, uv and pip make of their caches.")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only situations whose names contain one")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    given = parser.parse_args()
    names = [name for name in ROWS if not given.words or any(word in name for word in given.words)]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        rows = list(threads.map(compare, names))
    print(json.dumps({"schema": 1, "rows": [asdict(row) for row in rows]}, indent=2) if given.json else table(rows))
    return int(any(row.verdicts["felloe"] != "right" for row in rows))


def compare(situation: str) -> Row:
    row = Row(situation=situation)
    for tool in TOOLS:
        found = list(verdicts(situation, tool))
        row.verdicts[tool] = max((verdict for verdict, _ in found), key=VERDICTS.index)
        for number, (verdict, detail) in enumerate(found, start=1):
            if verdict != "right":
                row.details.append(f"{tool}, question {number}: {verdict}; {detail}")
    return row


def verdicts(situation: str, tool: str) -> Iterator[tuple[str, str]]:
    """Of each question in turn, and what lies behind it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        python, *others = pythons()
        with places(folder, python, others) as scene:
            truths: list[Files | None] = []
            for number, ask in enumerate(ROWS[situation](scene)):
                ended, hooks = run(TOOLS[tool], ask, folder, folder / f"result-{number}")
                truths.append(clean_build(ask, environ(folder)))
                said, message = ended[0].answer, ended[0].message
                if any(each.answer != said for each in ended):
                    said = None
                verdict = "hangs" if any(each.hangs for each in ended) else judged(ask, said, truths, hooks)
                yield verdict, detail(said, truths[-1], hooks, message)


@frozen
class Ended:
    """What a process of the tool gave: an answer, and the last line that it printed."""

    answer: Files | None
    message: str
    hangs: bool = False


def run(command: Command, ask: Ask, folder: Path, result: Path) -> tuple[list[Ended], list[str]]:
    """What came of each process, and the hooks that were called."""
    work, hooks = folder / "work", folder / "hooks"
    work.mkdir(exist_ok=True)
    (work / "requirements.txt").write_text(f"{ask.text}\n")
    (work / "constraints.txt").write_text("".join(f"{line}\n" for line in ask.constraints))
    (work / "felloe.toml").write_text(f"build.env = {json.dumps(list(ask.passed))}\n")
    hooks.write_text("")

    def process(number: int) -> Ended:
        into = result / str(number)
        return ended(command(ask, folder / "cache", into), work, {**environ(folder), **ask.environ}, into)

    with ThreadPoolExecutor(ask.at_once) as threads:
        return list(threads.map(process, range(ask.at_once))), hooks.read_text().splitlines()


def ended(command: list[str], work: Path, variables: dict[str, str], result: Path) -> Ended:
    """What came of it, in a session of its own, which ends with it."""
    process = subprocess.Popen(
        command,
        cwd=work,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            printed, _ = process.communicate(timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return Ended(None, f"no answer after {TIME_LIMIT:g} s", hangs=True)
    answer = answer_in(result) if process.returncode == 0 else None
    return Ended(answer, (printed.strip().splitlines() or [""])[-1])


def environ(folder: Path) -> dict[str, str]:
    """Without settings of this machine."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**kept, "HOME": str(folder), "PIP_CONFIG_FILE": os.devnull, HOOKS: str(folder / "hooks")}


def detail(said: Files | None, truth: Files | None, hooks: Sequence[str], message: str) -> str:
    called = f"called: {', '.join(hooks) or 'nothing'}"
    if said is None:
        return f"{called}; {message}"
    if truth is None:
        return f"{called}; it has to be refused"
    differ = sorted(path for path in said.keys() | truth.keys() if said.get(path) != truth.get(path))
    return f"{called}; differ: {', '.join(differ) or 'no files'}"


@cache
def pythons() -> Sequence[Path]:
    """This one, and others that run."""
    found = [Path(sys.executable)]
    own = f"python3.{sys.version_info.minor}"
    for name in PYTHONS:
        path = next((path for path in candidates(name) if runs(path)), None)
        if path is not None and name != own:
            found.append(path)
    return found


def candidates(name: str) -> Iterator[Path]:
    on_path = shutil.which(name)
    if on_path is not None:
        yield Path(on_path)
    if "PYENV_ROOT" in os.environ:
        yield from Path(os.environ["PYENV_ROOT"], "versions").glob(f"{name.removeprefix('python')}*/bin/{name}")


def runs(path: Path) -> bool:
    """One that is on PATH need not: it may be a shim for what is not installed."""
    return subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0


def table(rows: Sequence[Row]) -> str:
    heads = ("situation", *(f"{tool} {version(tool)}" for tool in TOOLS))
    cells = [heads, *((row.situation, *row.verdicts.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    sums = [f"{tool}: right in {sum(row.verdicts[tool] == 'right' for row in rows)} of {len(rows)}" for tool in TOOLS]
    told = ["\n    ".join([row.situation, *row.details]) for row in rows if row.details]
    return "\n".join([*lines, "", *sums, *(["", *told] if told else [])])


if __name__ == "__main__":
    sys.exit(main())
