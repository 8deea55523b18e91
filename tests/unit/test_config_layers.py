"""What uv and pip are configured with, in felloe's terms: their variables, their files, and where these are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from felloe.config import Config
from felloe.config_layers import Machine, find_layers, pip_files, uv_files
from felloe.errors import ConfigError


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.fixture
def layers(home, project, tmp_path):
    def layers(variables=None, options=None):
        machine = Machine(platform="linux", prefix=tmp_path / "venv", etc=tmp_path / "etc")
        environ = {"HOME": str(home), "XDG_CONFIG_DIRS": str(tmp_path / "etc"), **(variables or {})}
        return find_layers(options or {}, environ, project, machine)

    return layers


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def of(layers, tool):
    return [layer for layer in layers if layer.tool == tool]


def indexes(layers, tool):
    return [item.value for layer in of(layers, tool) for item in layer.indexes]


def links(layers, tool):
    return [item.value for layer in of(layers, tool) for item in layer.links]


def setting(layers, tool, name):
    return next((layer.settings[name].value for layer in of(layers, tool) if name in layer.settings), "nothing")


def origins(layers, tool):
    return [item.origin for layer in of(layers, tool) for item in layer.indexes + layer.links]


class TestUvVariables:
    def test_indexes(self, layers):
        found = layers({"UV_EXTRA_INDEX_URL": "https://c", "UV_INDEX": "acme=https://a https://b/?x=y"})
        assert indexes(found, "uv") == [
            {"name": "acme", "url": "https://a"},
            {"url": "https://b/?x=y"},
            {"url": "https://c"},
        ]
        assert origins(found, "uv") == ["UV_INDEX acme", "UV_INDEX", "UV_EXTRA_INDEX_URL"]

    @pytest.mark.parametrize(
        ("variables", "expected"),
        [
            ({"UV_DEFAULT_INDEX": "https://a", "UV_INDEX_URL": "https://b"}, {"url": "https://a"}),
            ({"UV_DEFAULT_INDEX": "acme=https://a"}, {"name": "acme", "url": "https://a"}),
            ({"UV_INDEX_URL": "https://b", "UV_DEFAULT_INDEX": ""}, {"url": "https://b"}),
            ({"UV_INDEX_URL": "acme=https://b"}, {"url": "acme=https://b"}),
        ],
    )
    def test_default(self, layers, variables, expected):
        assert setting(layers(variables), "uv", "index-url") == expected

    def test_find_links_are_separated_by_commas(self, layers):
        assert links(layers({"UV_FIND_LINKS": "/a b, https://c,"}), "uv") == ["/a b", "https://c"]


class TestUvFiles:
    def test_project_user_and_system_are_added(self, layers, write):
        write("project/pyproject.toml", '[[tool.uv.index]]\nname = "a"\nurl = "https://a"\n')
        write("home/.config/uv/uv.toml", 'extra-index-url = ["https://b"]\nfind-links = ["wheels"]\n')
        write("etc/uv/uv.toml", '[[index]]\nurl = "https://c"\n')
        found = layers({"UV_INDEX": "https://v"})
        assert [table["url"] for table in indexes(found, "uv")] == ["https://v", "https://a", "https://b", "https://c"]
        assert links(found, "uv") == ["wheels"]
        assert origins(found, "uv")[1] == "pyproject.toml [[tool.uv.index]] a"

    def test_a_relative_path_starts_from_the_file(self, layers, write):
        path = write("home/.config/uv/uv.toml", 'find-links = ["wheels"]\n')
        assert [item.base for layer in of(layers(), "uv") for item in layer.links] == [path.parent]

    def test_uv_toml_before_pyproject_and_the_nearest(self, layers, write):
        write("pyproject.toml", '[[tool.uv.index]]\nurl = "https://far"\n')
        write("project/pyproject.toml", '[[tool.uv.index]]\nurl = "https://beside"\n')
        write("project/uv.toml", '[[index]]\nurl = "https://near"\n')
        assert indexes(layers(), "uv") == [{"url": "https://near"}]

    def test_kinds_of_indexes(self, layers, write):
        write(
            "project/uv.toml",
            '[[index]]\nurl = "https://plain"\nignore-error-codes = [403]\nauthenticate = "always"\n'
            '[[index]]\nname = "pinned"\nurl = "https://explicit"\nexplicit = true\n'
            '[[index]]\nname = "flat"\nurl = "https://flat"\nformat = "flat"\n'
            '[[index]]\nname = "main"\nurl = "https://main"\ndefault = true\n',
        )
        found = layers()
        assert indexes(found, "uv") == [{"url": "https://plain", "missing": [403]}]
        assert links(found, "uv") == [{"name": "flat", "url": "https://flat"}]
        assert setting(found, "uv", "index-url") == {"name": "main", "url": "https://main"}

    def test_an_explicit_default_is_no_default(self, layers, write):
        write("project/uv.toml", '[[index]]\nurl = "https://x"\ndefault = true\nexplicit = true\n')
        assert setting(layers(), "uv", "index-url") is None

    def test_a_flat_default_is_a_page_of_links(self, layers, write):
        write("project/uv.toml", '[[index]]\nurl = "https://x"\ndefault = true\nformat = "flat"\n')
        found = layers()
        assert (indexes(found, "uv"), links(found, "uv")) == ([], [{"url": "https://x"}])
        assert setting(found, "uv", "index-url") is None

    def test_the_first_of_a_name_keeps_it(self, layers, write):
        write("project/uv.toml", '[[index]]\nname = "a"\nurl = "https://project"\n')
        write("home/.config/uv/uv.toml", '[[index]]\nname = "a"\nurl = "https://user"\ndefault = true\n')
        found = layers()
        assert indexes(found, "uv") == [{"name": "a", "url": "https://project"}]
        assert setting(found, "uv", "index-url") == "nothing"
        assert indexes(layers({"UV_INDEX": "a=https://v"}), "uv") == [{"name": "a", "url": "https://v"}]

    def test_other_settings(self, layers, write):
        write("project/uv.toml", 'no-index = true\nhttp-proxy = "http://p"\nresolution = "lowest"\n')
        found = layers()
        assert (setting(found, "uv", "no-index"), setting(found, "uv", "http-proxy")) == (True, "http://p")
        assert setting(found, "uv", "resolution") == "nothing"

    def test_config_file_alone(self, layers, write):
        write("project/uv.toml", '[[index]]\nurl = "https://project"\n')
        write("own.toml", '[[index]]\nurl = "https://own"\n')
        assert indexes(layers({"UV_CONFIG_FILE": "../own.toml"}), "uv") == [{"url": "https://own"}]

    def test_a_config_file_that_is_not_there(self, layers):
        with pytest.raises(ConfigError, match=r"`UV_CONFIG_FILE` names .*gone\.toml`, which is no file"):
            layers({"UV_CONFIG_FILE": "gone.toml"})

    @pytest.mark.parametrize(("value", "found"), [("1", []), ("true", []), ("0", [{"url": "https://p"}])])
    def test_no_config(self, layers, write, value, found):
        write("project/uv.toml", '[[index]]\nurl = "https://p"\n')
        assert indexes(layers({"UV_NO_CONFIG": value}), "uv") == found

    def test_a_broken_file_is_named(self, layers, write):
        path = write("home/.config/uv/uv.toml", "uv = [\n")
        with pytest.raises(ConfigError) as caught:
            layers()
        assert f"`{path}` is not valid TOML" in str(caught.value)

    def test_where_they_are(self):
        linux, macos, windows = (Machine(platform=platform) for platform in ("linux", "darwin", "win32"))
        system = (Path("/etc/xdg/uv/uv.toml"), Path("/etc/uv/uv.toml"))
        assert uv_files({}, linux) == (system,)
        assert uv_files({"HOME": "/h"}, linux) == ((Path("/h/.config/uv/uv.toml"),), system)
        xdg = {"XDG_CONFIG_HOME": "/c", "XDG_CONFIG_DIRS": os.pathsep.join(["/x", "/y"])}
        assert uv_files(xdg, macos) == (
            (Path("/c/uv/uv.toml"),),
            (Path("/x/uv/uv.toml"), Path("/y/uv/uv.toml"), Path("/etc/uv/uv.toml")),
        )
        assert uv_files({"APPDATA": "/r"}, windows) == ((Path("/r/uv/uv.toml"),),)

    def test_the_first_system_file_alone(self, layers, write, tmp_path):
        write("etc/uv/uv.toml", '[[index]]\nurl = "https://one"\n')
        write("etc2/uv/uv.toml", '[[index]]\nurl = "https://two"\n')
        folders = os.pathsep.join([str(tmp_path / "etc"), str(tmp_path / "etc2")])
        assert indexes(layers({"XDG_CONFIG_DIRS": folders}), "uv") == [{"url": "https://one"}]


class TestPipVariables:
    def test_all(self, layers, home):
        found = layers(
            {
                "PIP_INDEX_URL": "https://i",
                "PIP_EXTRA_INDEX_URL": "https://a\n https://b=c",
                "PIP_FIND_LINKS": "~/wheels rel",
                "PIP_NO_INDEX": "0",
                "PIP_CERT": "~/ca.pem",
                "PIP_PROXY": "http://p",
            }
        )
        assert setting(found, "pip", "index-url") == "https://i"
        assert indexes(found, "pip") == ["https://a", "https://b=c"]
        assert links(found, "pip") == [str(home / "wheels"), "rel"]
        assert setting(found, "pip", "no-index") == "0"
        assert setting(found, "pip", "cert") == str(home / "ca.pem")
        assert setting(found, "pip", "https-proxy") == "http://p"


class TestPipFiles:
    def test_values(self, layers, write):
        path = write(
            "home/.config/pip/pip.conf",
            "[global]\nindex_url = https://i\nextra-index-url =\n    https://a\n    https://b\n"
            "[freeze]\nindex-url = https://freeze\n[install]\n--find-links = /w\n",
        )
        found = layers()
        assert setting(found, "pip", "index-url") == "https://i"
        assert indexes(found, "pip") == ["https://a", "https://b"]
        assert links(found, "pip") == ["/w"]
        assert origins(found, "pip") == [f"{path} [global] extra-index-url"] * 2 + [f"{path} [install] find-links"]

    def test_a_byte_order_mark(self, layers, write):
        write("home/.config/pip/pip.conf", "\ufeff[global]\nindex-url = https://i\n")
        assert setting(layers(), "pip", "index-url") == "https://i"

    def test_a_later_file_outranks_an_earlier_one(self, layers, write):
        write("etc/pip/pip.conf", "[global]\nindex-url = https://global\nextra-index-url = https://kept\n")
        write("home/.pip/pip.conf", "[global]\nindex-url = https://legacy\n")
        assert setting(layers(), "pip", "index-url") == "https://legacy"
        write("home/.config/pip/pip.conf", "[global]\nindex-url = https://user\n")
        found = layers()
        assert setting(found, "pip", "index-url") == "https://user"
        assert indexes(found, "pip") == ["https://kept"]

    def test_a_section_outranks_files(self, layers, write):
        write("etc/pip/pip.conf", "[install]\nindex-url = https://install\n[download]\nindex-url = https://download\n")
        write("home/.pip/pip.conf", "[global]\nindex-url = https://user\n")
        assert setting(layers(), "pip", "index-url") == "https://install"

    def test_an_empty_value_takes_back(self, layers, write):
        write("etc/pip/pip.conf", "[global]\nextra-index-url = https://a\n")
        write("home/.pip/pip.conf", "[global]\nextra-index-url =\n")
        assert indexes(layers(), "pip") == []

    def test_variables_in_place_of_files(self, layers, write):
        write("home/.pip/pip.conf", "[global]\nextra-index-url = https://file\n")
        found = of(layers({"PIP_EXTRA_INDEX_URL": "https://variable"}), "pip")
        assert [item.value for item in found[0].indexes] == ["https://variable"]
        assert not any(layer.adds for layer in found)

    def test_config_file(self, layers, write):
        write("etc/pip/pip.conf", "[global]\nextra-index-url = https://global\n")
        write("home/.pip/pip.conf", "[global]\nindex-url = https://user\n")
        write("project/own.conf", "[global]\nfind-links = /own\n")
        found = layers({"PIP_CONFIG_FILE": "own.conf"})
        assert setting(found, "pip", "index-url") == "nothing"
        assert (indexes(found, "pip"), links(found, "pip")) == (["https://global"], ["/own"])
        gone = layers({"PIP_CONFIG_FILE": "gone.conf"})
        assert setting(gone, "pip", "index-url") == "https://user"

    def test_the_null_device_turns_files_off(self, layers, write):
        write("etc/pip/pip.conf", "[global]\nindex-url = https://global\n")
        found = layers({"PIP_CONFIG_FILE": os.devnull})
        assert setting(found, "pip", "index-url") == "nothing"

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("[global]\nindex-url hunter2\n", ", line 2, cannot"),
            ("index-url = https://me:hunter2@example.com\n", ", line 1, cannot"),
            ("[global]\ncert = a\ncert = hunter2\n", ", line 3, cannot"),
            ("[global]\n[global]\n", ", line 2, cannot"),
        ],
    )
    def test_a_broken_file_is_named_without_its_content(self, layers, write, text, place):
        path = write("home/.pip/pip.conf", text)
        with pytest.raises(ConfigError) as caught:
            layers()
        assert f"`{path}`{place}" in str(caught.value)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__suppress_context__

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs permissions that count")
    def test_an_unreadable_file_is_an_error(self, layers, write):
        write("home/.pip/pip.conf", "[global]\n").chmod(0)
        with pytest.raises(ConfigError, match="cannot be read"):
            layers()

    def test_where_they_are_on_linux(self):
        machine = Machine(platform="linux", prefix=Path("/venv"))
        environ = {"HOME": "/h", "XDG_CONFIG_DIRS": os.pathsep.join(["/x", "/y"])}
        assert pip_files(environ, Path("/w"), machine) == (
            Path("/x/pip/pip.conf"),
            Path("/y/pip/pip.conf"),
            Path("/etc/pip.conf"),
            Path("/h/.pip/pip.conf"),
            Path("/h/.config/pip/pip.conf"),
            Path("/venv/pip.conf"),
        )
        assert pip_files({}, Path("/w"), machine) == (
            Path("/etc/xdg/pip/pip.conf"),
            Path("/etc/pip.conf"),
            Path("/venv/pip.conf"),
        )

    def test_where_they_are_on_macos(self, tmp_path):
        machine = Machine(platform="darwin", prefix=Path("/venv"))
        system = Path("/Library/Application Support/pip/pip.conf")
        environ = {"HOME": str(tmp_path)}
        legacy, site = tmp_path / ".pip/pip.conf", Path("/venv/pip.conf")
        plain = pip_files(environ, Path("/w"), machine)
        assert plain == (system, legacy, tmp_path / ".config/pip/pip.conf", site)
        own = tmp_path / "Library/Application Support/pip"
        own.mkdir(parents=True)
        assert pip_files(environ, Path("/w"), machine) == (system, legacy, own / "pip.conf", site)

    def test_where_they_are_on_windows(self):
        machine = Machine(platform="win32", prefix=Path("/venv"))
        environ = {"USERPROFILE": "/u", "APPDATA": "/r", "PROGRAMDATA": "/d"}
        assert pip_files(environ, Path("/w"), machine) == (
            Path("/d/pip/pip.ini"),
            Path("/u/pip/pip.ini"),
            Path("/r/pip/pip.ini"),
            Path("/venv/pip.ini"),
        )


def test_no_secret_in_a_repr(layers):
    found = layers({"UV_INDEX": "https://me:hunter2@example.com", "PIP_INDEX_URL": "https://me:hunter2@example.com"})
    assert indexes(found, "uv")
    assert "hunter2" not in repr(found)


def test_a_home_of_somebody_else_is_passed_over(layers):
    assert indexes(layers({"HOME": "/nowhere\0at all"}), "pip") == []


def test_felloe_toml_may_be_written_as_a_pyproject(tmp_path: Path) -> None:
    (tmp_path / "felloe.toml").write_text(
        '[tool.felloe]\ntimeout = 7\n\n[[tool.felloe.index]]\nname = "acme"\nurl = "https://example.com/"\n'
    )

    config = Config.load(environ={}, cwd=tmp_path)

    assert config.timeout == 7
    assert [source.name for source in config.sources] == ["acme"]
