"""The documentation as a site: it builds without a warning, and what its pages show is what felloe says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from attrs import evolve, frozen

from felloe.testing import Behaviour, IndexServer, Project, make_wheel
from tests.fixtures.plugins import Plugin, Site, make_site

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"^```(?:\{code-block\} )?(\w+)\n(?::caption: (\S+)\n\n)?(.*?)^```$", re.MULTILINE | re.DOTALL)
LOGIN = ("reader", "s3cr3t")
RUN = "import sys; sys.argv = {arguments!r}; import felloe.cli; felloe.cli.main()"


# The site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built; any attempt to use the network fails."""
    if missing := [name for name in ("sphinx", "furo", "myst_parser") if find_spec(name) is None]:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{' and '.join(missing)} not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "-q",
        "-b",
        "html",
        "-d",
        folder / "doctrees",
        DOCS,
        folder / "html",
    ]
    environ = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


def test_every_page_is_there(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}

    assert pages <= {path.relative_to(site) for path in site.rglob("*.html")}


@pytest.mark.parametrize("door", ["felloe", "felloe.plugin", "felloe.testing"])
def test_the_reference_has_every_public_name(site: Path, door: str) -> None:
    anchors = set(re.findall(r' id="([\w.]+)"', (site / "api.html").read_text()))

    assert [name for name in import_module(door).__all__ if not {f"felloe.{name}", f"{door}.{name}"} & anchors] == []


# What the pages say that felloe says


@frozen
class Block:
    """A block of a page: its language, the name of the file that it is, if any, and its text."""

    language: str
    file: str | None
    text: str


@frozen
class Scene:
    """What a page shows, and the settings with which it does."""

    settings: str
    shown: str


def blocks(page: str) -> list[Block]:
    return [Block(*match.groups()) for match in BLOCK.finditer((DOCS / page).read_text())]


def files(page: str) -> dict[str, str]:
    return {block.file: block.text for block in blocks(page) if block.file is not None}


def scenes(page: str) -> Iterator[object]:
    """What is shown goes with the settings before it."""
    settings = ""
    for number, block in enumerate(blocks(page)):
        if block.language == "toml" and block.file is None:
            settings = block.text
        elif block.language == "text":
            yield pytest.param(Scene(settings, block.text), id=f"{page} {number}")


def broken() -> Plugin:
    return Plugin("felloe-corp", kinds={"corp": "felloe_corp:Corp"}, modules={"felloe_corp": "import corp_sdk"})


def tutorial() -> Plugin:
    """What the tutorial makes, as it is installed."""
    made = files("private-index.md")
    project = tomllib.loads(made["pyproject.toml"])["project"]
    kinds = project["entry-points"]["felloe.sources"]
    modules = {"felloe_acme": made["felloe_acme.py"]}
    return Plugin(project["name"], version=project["version"], kinds=kinds, modules=modules)


class World:
    """Where the pages happen: their hosts are on loopback, their plugins are installed where settings name them."""

    def __init__(self, folder: Path, plugins: Site, **servers: IndexServer) -> None:
        self.folder = folder
        self.plugins = plugins
        self.servers = servers

    def here(self, text: str) -> str:
        for name, server in self.servers.items():
            text = text.replace(f"https://{name}.example.com", server.url)
        return text

    def there(self, text: str) -> str:
        for name, server in self.servers.items():
            text = text.replace(server.url, f"https://{name}.example.com")
        return text

    def configure(self, settings: str) -> None:
        (self.folder / "pyproject.toml").write_text(self.here(settings))
        for plugin in (broken(), tutorial()):
            if any(f'kind = "{kind}"' in settings for kind in plugin.kinds):
                modules = {name: self.here(code) for name, code in plugin.modules.items()}
                self.plugins.install(evolve(plugin, modules=modules))

    def felloe(self, *arguments: str) -> list[str]:
        """The lines that it prints, warnings and errors last."""
        environ = {
            "ACME_TOKEN": LOGIN[1],
            "FELLOE_CACHE_DIR": str(self.folder / "cache"),
            "FELLOE_INDEX_ACME_PASSWORD": LOGIN[1],
            "FELLOE_INDEX_ACME_USERNAME": LOGIN[0],
            "FELLOE_INDEX_URL": self.servers["public"].index_url,
        }
        done = self.plugins.python(RUN.format(arguments=["felloe", *arguments]), **environ)
        return self.there(done.stdout + done.stderr).splitlines()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """`packages` needs a login. It and `mirror` know `acme-app`, and `public` knows every name of the pages."""
    wheels = [make_wheel(tmp_path / "made", Project(name, "1.0")) for name in ("acme-app", "acme-legacy", "flask")]
    with (
        IndexServer() as packages,
        IndexServer() as mirror,
        IndexServer() as public,
        make_site(tmp_path / "site") as plugins,
    ):
        packages.behave("*", Behaviour(require_auth=LOGIN))
        packages.behave("/simple/acme-locked/", Behaviour(statuses=[403]))
        link = f'<!DOCTYPE html><a href="{packages.add(wheels[0])}">{wheels[0].name}</a>'
        packages.static("/web/simple/acme-app/", link.encode(), {"Content-Type": "text/html"})
        mirror.add(wheels[0])
        mirror.add(wheels[1])
        for wheel in wheels:
            public.add(wheel)
        yield World(tmp_path, plugins, packages=packages, mirror=mirror, public=public)


@pytest.mark.parametrize("scene", [*scenes("routing.md"), *scenes("private-index.md")])
def test_felloe_says_what_the_page_shows(world: World, scene: Scene) -> None:
    """Every line, in this order; `...` stands for anything."""
    world.configure(scene.settings)
    for command in scene.shown.split("$ felloe ")[1:]:
        arguments, *expected = command.strip().splitlines()

        printed = iter(world.felloe(*arguments.split()))

        for line in expected:
            pattern = ".*".join(map(re.escape, line.split("...")))
            assert any(re.fullmatch(pattern, each) for each in printed), SimpleNamespace(line=line, of=arguments)


def test_who_is_asked_in_the_first_example_of_routing(world: World) -> None:
    world.configure(blocks("routing.md")[0].text)

    world.felloe("metadata", "acme-app", "acme-legacy", "flask")

    pages = {
        name: sorted(path.split("/")[2] for path in server.paths if path.startswith("/simple/"))
        for name, server in world.servers.items()
    }  # in any order: they are asked at once
    assert pages == {"packages": ["acme-app"], "mirror": ["acme-legacy", "flask"], "public": ["flask"]}


def test_the_tests_of_the_tutorial_pass(tmp_path: Path) -> None:
    for name, text in files("private-index.md").items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not trio"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
