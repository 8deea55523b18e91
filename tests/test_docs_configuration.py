"""The page on configuration lists every setting, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from felloe import Config, config
from felloe.build import variables
from felloe.cli.options import BUILDING, CACHE, SELECTION, SOURCES
from felloe.config_layers import LISTS, NOT_IN_FILES, VARIABLES

PAGE = Path(__file__).parent.parent / "docs/configuration.md"
ROW = re.compile(r"^\| (\S+) \| (\S+) \| ([^|]+) \| [^|]+ \|$", re.MULTILINE)
TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_OURS = {"build", "no-proxy"}  # a table, whose keys are listed; of uv
NO_SETTINGS = {"editable", "requirement"}  # options that say what is asked for


def column(number: int) -> list[str]:
    """What stands in backticks in a column of the table of settings."""
    table = PAGE.read_text().partition("## Settings")[2].partition("```")[0]
    cells = [row[number].strip() for row in ROW.findall(table)[1:]]
    return [cell.strip("`") for cell in cells if cell != "-"]


def test_every_key_of_a_file() -> None:
    one_by_one = re.findall(r'read\.first\(\w+, "([a-z-]+)"\)', Path(config.__file__).read_text())
    tables = (
        config.GENERAL,
        config.FORMATS,
        config.POLICY,
        config.BUILDING,
        config.LIMITS,
        one_by_one,
        LISTS,
        ["no-index", "cert"],
    )
    known = {key for table in tables for key in table} - NOT_IN_FILES - NOT_OURS

    assert sorted(column(0)) == sorted(known | {f"build.{key}" for key in config.BUILD_TABLE})


def test_every_variable() -> None:
    assert sorted(column(1)) == sorted(VARIABLES.values())


def test_every_option() -> None:
    @click.command()
    def command() -> None: ...

    for option in (*CACHE, *SOURCES, *SELECTION, *BUILDING):
        option(command)
    given = [param for param in command.params if isinstance(param, click.Option) and param.name not in NO_SETTINGS]
    shown = [_shown(option) for option in given]

    assert sorted(column(2)) == sorted(shown)


def _shown(option: click.Option) -> str:
    name = next(each for each in option.opts if each.startswith("--"))
    return f"{name}{'' if option.is_flag else f' {option.metavar}'}{' ...' if option.multiple else ''}"


@pytest.mark.parametrize("name", ["pyproject.toml", "felloe.toml"])
def test_the_examples_say_what_the_page_says(tmp_path: Path, name: str) -> None:
    general, sources, allowed, seen, declared, metadata = (
        _loaded(tmp_path / str(number), name, text) for number, text in enumerate(TOML.findall(PAGE.read_text()))
    )

    assert (general.timeout, general.building.no_build) == (10.0, {"legacy-app"})
    assert (general.building.config_settings_package, general.building.build_constraints) == (
        {"acme-app": {"speed": "fast"}},
        ("setuptools<80",),
    )
    assert [source.name for source in sources.sources] == ["acme", (tmp_path / "1/wheels-index").as_uri()]
    assert [(each.name, (each.content or "").partition(":")[0]) for each in allowed.building.allow or ()] == [
        ("acme-app", ""),
        ("docopt", "sha256"),
        ("acme-tool", "git"),
    ]
    assert (seen.building.env, seen.building.extra_requires, seen.building.extra_env) == (
        ("ACME_HOME", "ACME_LICENSE_*"),
        {"acme-app": ("setuptools<80", "numpy")},
        {"acme-app": {"ACME_SPEED": "fast"}},
    )
    assert [each.text for each in declared.building.inputs["acme-app"]] == ["env:ACME_HOME", "file:vendor/acme.cfg"]
    assert [(each.name, each.version, len(each.requires_dist)) for each in metadata.overrides] == [
        ("acme-app", "1.0", 2)
    ]


def _loaded(folder: Path, name: str, text: str) -> Config:
    folder.mkdir()
    own = text.replace("tool.felloe.", "").replace("[tool.felloe]\n", "")
    (folder / name).write_text(text if name == "pyproject.toml" else own)
    found = Config.load(environ={"HOME": str(folder), "PIP_CONFIG_FILE": "/dev/null"}, cwd=folder)
    assert found.warnings == ()
    return found


def test_every_variable_that_backends_get() -> None:
    """The page has a table of them, in which a `*` stands for any end, or begin, of a name."""
    table = PAGE.read_text().partition("## What builds see of the environment")[2].partition("## ")[0]
    settings, toolchain, *_ = (line for line in table.splitlines() if line.startswith("| `"))
    prefixes = {variables.SETTINGS_PREFIXES: settings, variables.TOOLCHAIN_PREFIXES: toolchain}
    named = {variables.SETTINGS: settings, variables.TOOLCHAIN: toolchain}

    for names, row in named.items():
        assert {name for name in names if f"`{name}`" not in row and not name.endswith("FLAGS")} == set()
    for begins, row in prefixes.items():
        assert {begin for begin in begins if f"`{begin}*`" not in row} == set()
