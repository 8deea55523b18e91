"""`examples/felloe-acme`, the template for sources of others: short, true to what its README says, and discreet."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from felloe import Config, Database
from felloe.config import Limits, SourceSettings
from felloe.errors import ProjectNotFound
from felloe.hookspecs import GROUP
from felloe.testing import IndexServer, Project, make_sdist, make_wheel
from tests.fixtures.plugins import NO_FILES, SETTINGS, Plugin, Site, make_site

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples/felloe-acme"
PLUGIN = EXAMPLE / "src/felloe_acme/__init__.py"
README = (EXAMPLE / "README.md").read_text()
SECRET, TOKEN = "s3cr3t", "t0k3n"
COMMAND = "import sys; sys.argv = ['felloe', *{arguments!r}]; import felloe.cli; felloe.cli.main()"


# How long it is


def subclass() -> str:
    """The example of a subclass in the README of felloe."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if "(SimpleIndex)" in block)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        pytest.param(PLUGIN.read_text(), 60, id="acme"),
        pytest.param((EXAMPLE / "tests/test_acme.py").read_text(), 30, id="its tests"),
        pytest.param(subclass(), 15, id="a subclass"),
    ],
)
def test_it_is_short(text: str, limit: int) -> None:
    """As `wc -l` counts."""
    assert text.count("\n") <= limit
    assert max(map(len, text.splitlines())) <= 120


def test_it_knows_felloe_plugin_alone() -> None:
    assert set(re.findall(r"^(?:from|import) felloe.*$", PLUGIN.read_text(), re.MULTILINE)) == {
        "from felloe import plugin"
    }


# A copy with another name


def commands(name: str) -> str:
    """Those of the README below the comment of that name."""
    return re.search(rf"<!-- {name} -->\n```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[1]


class Author:
    """Somebody who follows the README, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith((*SETTINGS, "PYTEST_"))}
        self.environ = {**inherited, **NO_FILES, "FELLOE": str(folder.parent / "clone"), **self._without_network()}

    def run(self, script: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Raises AssertionError where one of the commands fails."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done

    def lend(self, environment: Path) -> None:
        """Lets an environment see what is installed here: what is there already, pip need not download."""
        (site,) = environment.glob("lib/python*/site-packages")
        here = [path for path in sys.path if path.endswith("site-packages")]
        (site / "lent.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in here))

    def _without_network(self) -> Mapping[str, str]:
        """pip gets by with what is here, where that is all: the backend of the build may not be."""
        quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_RETRIES": "0", "PIP_TIMEOUT": "5"}
        if find_spec("hatchling") is None:
            return quiet
        return {**quiet, "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "off"}


@pytest.mark.skipif(
    os.name == "nt" or shutil.which("bash") is None, reason="the README's commands are for a POSIX shell"
)
def test_a_renamed_copy_works(tmp_path: Path, acme_server: Any) -> None:
    """In an environment of its own, with the core as it is."""
    lend_clone(tmp_path / "clone")
    (tmp_path / "work").mkdir()
    author = Author(tmp_path / "work")
    author.run(commands("rename"))
    author.folder /= "felloe-initech"
    left = [path for path in author.folder.rglob("*") if "acme" in f"{path.name} {text_of(path)}".lower()]
    assert left == []

    author.run(commands("environment"))
    author.lend(author.folder / ".venv")
    try:
        author.run(commands("install"))
    except AssertionError as error:
        if find_spec("hatchling") is not None:
            raise
        pytest.skip(f"hatchling is not installed, and cannot be downloaded: {error}")
    passed = author.run(commands("tests"))
    assert re.search(r"^\d+ passed", passed.stdout.splitlines()[-1].strip("= ")), passed.stdout

    (author.folder / "felloe.toml").write_text(settings_in_readme(acme_server.url))
    use = commands("use").replace("acme", "initech").strip()
    for cached in (False, True):
        done = author.run(f"{use} --json", INITECH_SECRET=SECRET, FELLOE_CACHE_DIR=str(tmp_path / "cache"))
        (result,) = json.loads(done.stdout)["results"]
        assert (result["name"], result["version"], result["source"]) == ("initech-app", "1.0", "initech")
        assert result["cached"] is cached


def lend_clone(folder: Path) -> None:
    """The parts of a clone that the README uses, as they are committed: without what tests and tools leave."""
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    for part in ("core", "examples"):
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)


def text_of(path: Path) -> str:
    return path.read_text("latin-1") if path.is_file() else ""


def settings_in_readme(url: str) -> str:
    """The README's own, once it is renamed, with an address that is there."""
    (block,) = re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return re.sub(r'url = ".*"', f'url = "{url}"', block.replace("acme", "initech"))


# Its login


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, ModuleType]]:
    """The modules of the plugin and of the server for its tests, which are installed nowhere."""
    names = ("felloe_acme", "server")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    for folder in ("src", "tests"):
        monkeypatch.syspath_prepend(EXAMPLE / folder)
    yield importlib.import_module("felloe_acme"), importlib.import_module("server")
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def acme_server(example: tuple[ModuleType, ModuleType], tmp_path: Path) -> Iterator[Any]:
    with example[1].AcmeServer(SECRET) as server:
        for name in ("acme-app", "initech-app"):
            server.add(make_wheel(tmp_path, Project(name, "1.0")))
        yield server


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with make_site(tmp_path / "site") as site:
        kinds, modules = {"acme": "felloe_acme:Acme"}, {"felloe_acme": PLUGIN.read_text()}
        site.install(Plugin("felloe-acme", version="1.0", kinds=kinds, modules=modules))
        yield site


def database(server: Any, cache: Path, **settings: Any) -> Database:
    given = {"url": server.url, "secret": SECRET, "projects": ["acme-*"], **settings}
    source = SourceSettings(name="acme", kind="acme", settings=given, origin="a test")
    config = Config(cache_dir=cache, sources=(source,), limits=Limits(max_retry_seconds=0))
    return Database(config, sources=[EntryPoint("acme", "felloe_acme:Acme", GROUP)])


def felloe(site: Site, server: Any, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command, in a folder with the settings of a source `acme`."""
    lines = [
        "[[tool.felloe.source]]",
        'name = "acme"',
        'kind = "acme"',
        f'url = "{server.url}"',
        'projects = ["acme-*"]',
    ]
    (site.folder.parent / "felloe.toml").write_text("\n".join(lines))
    cache = str(site.folder.parent / "cache")
    return site.python(COMMAND.format(arguments=arguments), FELLOE_CACHE_DIR=cache, **environ)


@pytest.mark.anyio
async def test_twenty_callers_with_an_expired_token_cause_one_renewal(acme_server: Any, tmp_path: Path) -> None:
    for number in range(20):
        acme_server.add(make_wheel(tmp_path, Project(f"acme-{number}", "1.0")))
    async with database(acme_server, tmp_path / "cache") as db:
        assert (await db.metadata("acme-app")).metadata.version == "1.0"
        acme_server.expire()

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(db.wheel, f"acme-{number}")

    assert acme_server.renewals == 2
    refused = [path for status, path in acme_server.requests if status == 401]
    assert 1 <= len(refused) <= 20
    assert len(set(refused)) == len(refused)  # each request is repeated once
    assert [path for _, path in acme_server.requests].count("/token") == 2


@pytest.mark.anyio
async def test_a_second_run_asks_for_what_may_have_changed_alone(acme_server: Any, tmp_path: Path) -> None:
    for _ in range(2):
        acme_server.requests.clear()
        async with database(acme_server, tmp_path / "cache") as db:
            await db.wheel("acme-app")

    assert acme_server.requests == [(200, "/token"), (304, "/packages/acme-app")]


@pytest.mark.anyio
async def test_all_that_the_listing_tells_is_there(acme_server: Any, tmp_path: Path) -> None:
    acme_server.add(sdist := make_sdist(tmp_path, Project("acme-app", "1.1")))
    async with database(acme_server, tmp_path / "cache", projects=["Acme.*"]) as db:
        wheel, found = await db.find("acme-app")
        with pytest.raises(ProjectNotFound, match="`acme` does not know `acme-nowhere`"):
            await db.find("acme-nowhere")

    assert (wheel.kind, wheel.version, found.kind, found.version) == ("wheel", "1.0", "sdist", "1.1")
    assert (found.filename, found.size) == (sdist.name, sdist.stat().st_size)
    assert (found.requires_python, found.upload_time) == (">=3.8", "2026-01-31T12:00:00Z")


@pytest.mark.anyio
async def test_a_listing_may_lead_elsewhere_and_the_token_does_not_follow(
    acme_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with IndexServer() as elsewhere:
        url = elsewhere.add(make_wheel(tmp_path, Project("acme-app", "1.0")))
        listed = acme_server._listed
        monkeypatch.setattr(acme_server, "_listed", lambda name: {**listed(name), "url": url})
        async with database(acme_server, tmp_path / "cache") as db:
            await db.wheel("acme-app")

        assert [request.headers.get("authorization") for request in elsewhere.requests] == [None]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_refused_secret_is_told_with_the_plugin_and_the_setting(
    site: Site, acme_server: Any, *, as_json: bool
) -> None:
    options = ["--json"] if as_json else []
    done = felloe(site, acme_server, "metadata", "acme-app", "-v", *options, ACME_SECRET="wr0ng")

    assert done.returncode == 1
    told = done.stdout if as_json else done.stderr
    for part in ("source `acme` cannot log in", f"{acme_server.url}/token answered 401", "`secret`, or ACME_SECRET"):
        assert part in told
    assert "Traceback" not in done.stderr + done.stdout
    assert "wr0ng" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("lines", "environ", "key"),
    [
        ([], {}, "secret"),
        (["secret = 1"], {}, "secret"),
        (['project = ["acme-*"]'], {"ACME_SECRET": SECRET}, "project"),
        (['projects = "acme-*"'], {"ACME_SECRET": SECRET}, "projects"),
    ],
)
def test_wrong_settings_are_told_with_file_and_key(
    site: Site, acme_server: Any, lines: list[str], environ: Mapping[str, str], key: str
) -> None:
    table = ["[[tool.felloe.source]]", 'name = "acme"', 'kind = "acme"', f'url = "{acme_server.url}"', *lines]
    (site.folder.parent / "felloe.toml").write_text("\n".join(table))
    done = site.python(COMMAND.format(arguments=["sources"]), FELLOE_CACHE_DIR=str(site.folder / "cache"), **environ)

    assert f"felloe.toml [[tool.felloe.source]] acme: {key}: " in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


# As any program may do that looks for secrets: all loggers, reprs, errors with what they carry.
LOUD = """\
import logging, sys, traceback
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(name)s %(message)s %(args)s")
from felloe import BlockingDatabase, Config

class Telling:
    def report(self, event):
        print("event", repr(event), event.message, event.data)

config = Config.load()
with BlockingDatabase(config, reporter=Telling()) as database:
    print(repr(config), repr(database), repr(vars(database.database.services.memory)))
    for instance in database.database.registry.instances:
        print(repr(instance), instance.hooks)
    for name in ["acme-app", "acme-nowhere", "acme-app>2"]:
        try:
            print(repr(database.find(name)), repr(database.metadata(name)), repr(database.wheel(name)))
        except Exception as error:
            traceback.print_exception(error)
            while error:
                print(repr(error), vars(error))
                error = error.__cause__ or error.__context__
"""


@pytest.mark.parametrize("secret", [SECRET, "wr0ng"])
@pytest.mark.parametrize("as_setting", [False, True])
def test_neither_secret_nor_token_is_left_anywhere(
    site: Site, acme_server: Any, secret: str, *, as_setting: bool
) -> None:
    folder = site.folder.parent
    table = ["[[tool.felloe.source]]", 'name = "acme"', 'kind = "acme"', f'url = "{acme_server.url}"']
    lines = [*table, 'projects = ["acme-*"]', *([f'secret = "{secret}"'] if as_setting else [])]
    (folder / "felloe.toml").write_text("\n".join(lines))
    environ = {"FELLOE_CACHE_DIR": str(folder / "cache"), **({} if as_setting else {"ACME_SECRET": secret})}

    done = site.python(LOUD, **environ)

    assert done.returncode == 0, done.stderr
    assert "httpcore" in done.stderr  # the loggers did speak
    assert ("acme_app-1.0-py3-none-any.whl" in done.stdout) == (secret == SECRET)
    kept = {path: f"{path.name} {text_of(path)}" for path in (folder / "cache").rglob("*")}
    for where, text in {"stdout": done.stdout, "stderr": done.stderr, **kept}.items():
        for hidden in (secret, TOKEN):
            assert hidden not in text, where
