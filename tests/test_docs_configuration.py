"""The page on configuration lists every setting, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from felloe import Config, config
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
    text = "\n".join(TOML.findall(PAGE.read_text()))
    (tmp_path / name).write_text(text if name == "pyproject.toml" else text.replace("tool.felloe.", ""))
    if name == "felloe.toml":
        (tmp_path / name).write_text((tmp_path / name).read_text().replace("[tool.felloe]\n", ""))

    found = Config.load(environ={"HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}, cwd=tmp_path)

    building = found.building
    assert (found.timeout, found.warnings, building.no_build) == (10.0, (), {"legacy-app"})
    assert (building.config_settings_package, building.build_constraints) == (
        {"acme-app": {"speed": "fast"}},
        ("setuptools<80",),
    )
    assert [(each.name, (each.content or "").partition(":")[0]) for each in building.allow or ()] == [
        ("acme-app", ""),
        ("docopt", "sha256"),
        ("acme-tool", "git"),
    ]
    assert [each.text for each in building.inputs["acme-app"]] == ["env:ACME_HOME", "file:vendor/acme.cfg"]
    assert [(each.name, each.version, len(each.requires_dist)) for each in found.overrides] == [("acme-app", "1.0", 2)]
    assert [source.name for source in found.sources] == ["acme", (tmp_path / "wheels-index").as_uri()]
