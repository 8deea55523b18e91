"""Every example in README and docs is run, against an index on loopback."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import anyio
import click
import pluggy
import pytest

from felloe import BlockingDatabase, Config, Url
from felloe.cli.program import COMMANDS
from felloe.hookspecs import EXTENSIONS, ExtensionSpec, SourceSpec
from felloe.testing import IndexServer, Project, Repository, make_sdist, make_wheel
from tests.fixtures.line import own_sources
from tests.fixtures.projects import buildable, project_files, project_tree

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[object]:
    return [
        pytest.param(match[2], id=f"{page.relative_to(ROOT)}:{page.read_text()[: match.start()].count(chr(10)) + 1}")
        for page in PAGES
        for match in BLOCK.finditer(page.read_text())
        if match[1] == language
    ]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IndexServer]:
    with IndexServer() as server:
        for name, version in (("flask", "3.1"), ("attrs", "25.1"), ("boto3", "1.34.0")):
            server.add(make_wheel(tmp_path, Project(name, version, requires_dist=["click>=8"])), sidecar=True)
        server.add(buildable(tmp_path, "docopt", "0.6.2"))
        monkeypatch.setenv("FELLOE_INDEX_URL", server.index_url)
        monkeypatch.setenv("FELLOE_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("ACME_TOKEN", "secret")
        monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
        monkeypatch.chdir(tmp_path)
        yield server


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_run(code: str, index: IndexServer) -> None:
    names: dict[str, object] = {"__name__": "example"}

    exec(compile(code, "example", "exec"), names)

    main = names.get("main")
    if inspect.iscoroutinefunction(main) and "asyncio.run" not in code:
        anyio.run(main)
    elif callable(main) and not inspect.iscoroutinefunction(main):
        main()
    for source in [value for value in names.values() if inspect.isclass(value) and value.__module__ == "example"]:
        check_hooks(source)
    assert len(names) > 2


def check_hooks(source: type) -> None:
    """What the example marks as hooks are hooks: of sources, or of extensions."""
    manager = pluggy.PluginManager("felloe")
    manager.add_hookspecs(ExtensionSpec if {"accepts", "report", "credentials"} & vars(source).keys() else SourceSpec)
    manager.register(source)
    manager.check_pending()


def test_the_whole_source_answers(index: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = next(block.values[0] for block in blocks("python") if "class Catalogue" in block.values[0])
    example = tmp_path / "felloe_catalogue.py"
    example.write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    wheel = make_wheel(tmp_path, Project("acme-app", "2.0"))
    file = {
        "version": "2.0",
        "filename": wheel.name,
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "href": f"/wheels/{wheel.name}",
    }
    index.static("/catalogue.json", json.dumps({"acme-app": [file]}).encode(), {"content-type": "application/json"})
    index.static(f"/wheels/{wheel.name}", wheel.read_bytes(), {})
    (tmp_path / "felloe.toml").write_text(
        f'[[tool.felloe.source]]\nname = "shop"\nkind = "catalogue"\nurl = "{index.url}/catalogue.json"\n'
    )
    monkeypatch.delenv("FELLOE_INDEX_URL")
    entry_point = EntryPoint("catalogue", "felloe_catalogue:Catalogue", "felloe.sources")

    with BlockingDatabase(Config.load(), sources=[entry_point]) as db:
        answers = [db.metadata("acme-app"), db.metadata("acme-app")]

    assert [(answer.metadata.version, answer.cached) for answer in answers] == [("2.0", False), ("2.0", True)]


def extension(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """The example of that name as an installed extension, and felloe's own sources."""
    code = next(block.values[0] for block in blocks("python") if f"class {name}:" in block.values[0])
    (tmp_path / f"felloe_{name.lower()}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    return [*own_sources(), EntryPoint(name.lower(), f"felloe_{name.lower()}:{name}", EXTENSIONS)]


def test_the_example_of_report_logs_every_fetch(
    index: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "acme.downloads")
    with BlockingDatabase(Config.load(), sources=extension("Downloads", tmp_path, monkeypatch)) as db:
        db.wheel("attrs")

    logged = [record.getMessage() for record in caplog.records if record.name == "acme.downloads"]
    assert [line.split(": ")[0] for line in logged if line.startswith("GET ")] == [
        f"GET {index.url}{request.path}" for request in index.requests
    ]
    assert any(".whl: " in line and line.endswith(" bytes") for line in logged)


def test_the_example_of_credentials_is_asked(
    index: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = extension("Tokens", tmp_path, monkeypatch)
    tokens = importlib.import_module("felloe_tokens").Tokens
    monkeypatch.setattr(tokens, "file", tmp_path / "tokens.json")
    (tmp_path / "tokens.json").write_text('{"packages.example.com": "s3cret"}')

    with BlockingDatabase(Config.load(), sources=sources) as db:
        ask = db.database.extensions.credentials
        urls = ["https://packages.example.com/simple/", "http://packages.example.com/", "https://example.com/"]
        answers = [anyio.run(ask, Url(url)) for url in urls]

    assert answers == [("token", "s3cret"), None, None]


def test_the_example_of_builder_builds(index: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {**project_files("solo"), "acme-module": "", "solo.py": "answer = 42\n"}
    index.add(make_sdist(tmp_path, Project("solo", "1.0", dynamic=["Requires-Dist"]), files=files))
    (chosen,) = [block.values[0] for block in blocks("toml") if 'builder = "onemodule"' in block.values[0]]
    (tmp_path / "pyproject.toml").write_text(chosen)

    with BlockingDatabase(Config.load(), sources=extension("OneModule", tmp_path, monkeypatch)) as db:
        solo, other = db.wheel("solo"), db.metadata("docopt")

        assert zipfile.ZipFile(solo.path).read("solo.py") == b"answer = 42\n"
    assert other.rung == "prepare"


RUN_AS_THEY_ARE = ("felloe metadata flask 'boto3", "felloe metadata attrs 'flask", "felloe explain docopt")


@pytest.mark.parametrize(
    "lines", [block for block in blocks("console") if any(text in block.values[0] for text in RUN_AS_THEY_ARE)]
)
def test_console_examples_run(lines: str, index: IndexServer, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("attrs\n")
    (tmp_path / "constraints.txt").write_text("attrs<26\n")
    project_tree(tmp_path / "acme", "acme")
    repository = Repository(tmp_path / "acme.git")
    repository.commit(project_files("acme"))
    repository.tag("v1.0")
    lines = lines.replace("file:///srv/acme.git", repository.file_url)
    for line in lines.splitlines():
        command = shlex.split(line, comments=True)
        assert command[0] == "felloe"
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, SimpleNamespace(command=command, stderr=done.stderr)


SHOWN = re.compile(r"`felloe ([^\n]+ --json)`[^\n]*:\n\n```json\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("line", "shown"), [match.groups() for match in SHOWN.finditer((ROOT / "docs/cli.md").read_text())]
)
def test_json_is_what_the_page_shows(line: str, shown: str, index: IndexServer) -> None:
    command = [sys.executable, "-m", "felloe", *shlex.split(line)]

    printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout

    assert is_like(json.loads(shown), json.loads(printed)), printed


def is_like(shown: object, printed: object) -> bool:
    """The same keys, and the same values but for `...`, which stands for anything."""
    if isinstance(shown, dict) and isinstance(printed, dict):
        return list(shown) == list(printed) and all(is_like(shown[key], printed[key]) for key in shown)
    if isinstance(shown, list) and isinstance(printed, list):
        return len(shown) == len(printed) and all(map(is_like, shown, printed))
    if isinstance(shown, str) and isinstance(printed, str):
        return re.fullmatch(".*".join(map(re.escape, shown.split("..."))), printed, re.DOTALL) is not None
    return shown == printed


def test_every_option_is_on_a_page() -> None:
    pages = "".join((ROOT / "docs" / name).read_text() for name in ("cli.md", "configuration.md"))
    commands = [importlib.import_module(f"felloe.cli.{name}").command for name in COMMANDS]
    options = {name for command in commands for each in all_params(command) for name in each.opts if name[:2] == "--"}

    assert [name for name in sorted(options) if f"`{name}" not in pages] == []


def all_params(command: click.Command) -> list[click.Parameter]:
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return [*command.params, *(param for each in below for param in all_params(each))]


@pytest.mark.parametrize("text", blocks("toml"))
def test_toml_examples_are_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)

    config = Config.load(environ={"HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}, cwd=tmp_path)

    assert ("tool.felloe.index" in text) == any(source.name == "acme" for source in config.sources)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []
