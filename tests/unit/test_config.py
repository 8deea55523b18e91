"""Config.load: which place counts, what a value may be, and what an error says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

from felloe.build_rules import AllowedBuild, DeclaredInput
from felloe.config import Config, Limits, Policy, SourceSettings
from felloe.errors import ConfigError
from felloe.override import Override
from felloe.url import Url

DAY = 86400.0


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.fixture
def load(home, project, tmp_path):
    """Config.load in the project, with a home of its own, none of the machine's files, and the variables given."""
    (tmp_path / "etc/uv").mkdir(parents=True)
    (tmp_path / "etc/uv/uv.toml").touch()  # stands before the machine's own

    def load(variables=None, **options):
        places = {"HOME": str(home), "XDG_CONFIG_DIRS": str(tmp_path / "etc"), "PIP_CONFIG_FILE": os.devnull}
        quiet = places | {"FELLOE_CACHE_DIR": "cache"}
        return Config.load(environ=quiet | (variables or {}), cwd=project, **options)

    return load


def sources(config):
    return [(source.name, source.kind, dict(source.settings)) for source in config.sources]


def names(config):
    return [source.name for source in config.sources]


def as_index(url):
    return (url, "index", {"url": Url(url)})


class TestDefaults:
    def test_nothing_configured(self, load, project):
        assert load() == Config(cache_dir=project / "cache")

    def test_values(self):
        config = Config()
        assert (config.timeout, config.concurrent_downloads) == (30.0, 50)
        assert config.limits == Limits(max_page_bytes=134217728, max_metadata_bytes=16777216, max_retry_seconds=60.0)
        assert config.policy == Policy()

    def test_the_cache_is_the_user_s(self, monkeypatch, home, project):
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        cache = Config.load(environ={}, cwd=project).cache_dir
        assert cache is not None
        assert cache.is_relative_to(home)
        assert cache.name == "felloe"

    def test_the_process_s_own_environment_and_folder(self, monkeypatch, project):
        monkeypatch.setenv("FELLOE_CACHE_DIR", "here")
        monkeypatch.chdir(project)
        assert Config.load().cache_dir == project / "here"

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems keep the folder of a process")
    def test_a_folder_that_is_gone(self, monkeypatch, tmp_path):
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        with pytest.raises(ConfigError, match="the current folder is gone"):
            Config.load(environ={})

    def test_a_warm_start_needs_no_parser(self, project, home):
        program = (
            "import sys; from pathlib import Path; from felloe.config import Config;"
            f"Config.load(environ={{'HOME': {str(home)!r}, 'FELLOE_CACHE_DIR': 'c', 'PIP_CONFIG_FILE': {os.devnull!r},"
            f" 'XDG_CONFIG_DIRS': '/nowhere'}}, cwd=Path({str(project)!r}));"
            "print({'tomllib', 'configparser', 'platformdirs', 'netrc', 'packaging'} & set(sys.modules))"
        )
        (project / "pyproject.toml").write_text("[project]\nname = 'x'\n")
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ)
        assert run.stdout.strip() == "set()"


class TestPlainSettings:
    @pytest.mark.parametrize(
        ("variable", "value", "field", "expected"),
        [
            ("FELLOE_OFFLINE", "1", "offline", True),
            ("FELLOE_OFFLINE", "false", "offline", False),
            ("FELLOE_OFFLINE", " ", "offline", False),
            ("FELLOE_STRICT", "yes", "strict", True),
            ("FELLOE_DISABLE", "acme, git,", "disabled", frozenset({"acme", "git"})),
            ("FELLOE_PYTHON", "/usr/bin/python3", "python", Path("/usr/bin/python3")),
            ("FELLOE_CACHE_DIR", "/var/cache/felloe", "cache_dir", Path("/var/cache/felloe")),
            ("SSL_CERT_FILE", "/etc/ca.pem", "cert", Path("/etc/ca.pem")),
            ("PIP_CERT", "/etc/pip-ca.pem", "cert", Path("/etc/pip-ca.pem")),
        ],
    )
    def test_from_the_environment(self, load, variable, value, field, expected):
        assert getattr(load({variable: value}), field) == expected

    @pytest.mark.parametrize(
        ("option", "value", "expected"),
        [
            ("python", Path("/usr/bin/python3"), Path("/usr/bin/python3")),
            ("offline", True, True),
            ("refresh", True, True),
            ("refresh_packages", ["Django_Allauth"], frozenset({"django-allauth"})),
            ("cert", "/etc/ca.pem", Path("/etc/ca.pem")),
            ("timeout", 5, 5.0),
            ("concurrent_downloads", 1, 1),
            ("disabled", ["acme"], frozenset({"acme"})),
            ("strict", True, True),
            ("cache_dir", "/var/cache", Path("/var/cache")),
        ],
    )
    def test_from_an_option(self, load, option, value, expected):
        assert getattr(load(**{option: value}), option) == expected

    def test_from_a_file(self, load, project):
        (project / "felloe.toml").write_text(
            'cache-dir = "c"\ncert = "ca.pem"\noffline = true\ntimeout = 2.5\nmax-page-bytes = 10\n'
            "max-build-output-bytes = 5\n"
            'max-retry-seconds = 1\nexclude-newer = 2024-01-31\nno-binary = [":all:"]\nprereleases = false\n'
        )
        config = load({"FELLOE_CACHE_DIR": ""})
        assert (config.cache_dir, config.cert) == (project / "c", project / "ca.pem")
        assert (config.offline, config.timeout) == (True, 2.5)
        assert config.limits == Limits(max_page_bytes=10, max_build_output_bytes=5, max_retry_seconds=1.0)
        assert config.policy == Policy(exclude_newer=19754 * DAY, no_binary=frozenset({":all:"}), prereleases=False)

    def test_option_over_variable_over_file(self, load, project):
        (project / "felloe.toml").write_text("offline = true\ntimeout = 7\n")
        assert load().offline is True
        assert load({"FELLOE_OFFLINE": "0"}).offline is False
        assert load({"FELLOE_OFFLINE": "0"}, offline=True).offline is True
        assert load({"FELLOE_OFFLINE": "1"}, offline=False).offline is False

    def test_none_and_empty_are_not_given(self, load):
        assert load({"FELLOE_OFFLINE": "1"}, offline=None, no_binary=(), extra_index_url=[]).offline is True

    def test_no_cache_wins(self, load):
        assert load(no_cache=True, cache_dir="somewhere").cache_dir is None
        assert load(no_cache=False).cache_dir is not None

    def test_a_python_stays_a_link(self, load, project):
        assert load(python="env/../env/bin/python").python == project / "env/../env/bin/python"

    def test_an_unknown_option_is_a_programming_error(self, load):
        with pytest.raises(TypeError, match="unknown settings: indx_url"):
            load(indx_url="https://example.com")

    def test_a_checkout_cannot_run_a_program_or_hide_a_source(self, load, project):
        (project / "felloe.toml").write_text('python = "./evil"\ndisabled = ["acme"]\nstrict = true\nno-cache = true\n')
        assert evolve(load(), warnings=()) == Config(cache_dir=project / "cache")

    @pytest.mark.parametrize(
        ("line", "instead"),
        [
            ('python = "./evil"', "set FELLOE_PYTHON"),
            ('disabled = ["s3cr3t"]', "set FELLOE_DISABLE"),
            ("strict = false", "set FELLOE_STRICT"),
            ("no-cache = true", "give it as an option"),
            ("refresh = true", "give it as an option"),
            ('refresh-packages = ["s3cr3t"]', "give it as an option"),
            ('constraints = ["s3cr3t<2"]', "give it as an option"),
        ],
    )
    @pytest.mark.parametrize(
        ("name", "header", "place"),
        [("felloe.toml", "", "felloe.toml"), ("pyproject.toml", "[tool.felloe]\n", "pyproject.toml [tool.felloe]")],
    )
    def test_what_is_not_read_from_a_file_is_told(self, load, project, name, header, place, line, instead):
        (project / name).write_text(header + line)
        (warning,) = load().warnings
        assert warning.startswith(f"`{place} {line.partition(' ')[0]}` is not read from a file")
        assert warning.endswith(f": {instead} instead")
        assert "s3cr3t" not in repr(load())

    def test_nothing_is_told_of_what_counts(self, load, project):
        (project / "felloe.toml").write_text('offline = true\nexclude = ["*.tmp"]\n[[index]]\nurl = "/srv"\n')
        assert load({"FELLOE_PYTHON": "python3"}, constraints=["a<2"], refresh=True).warnings == ()


class TestProjectFile:
    def test_the_nearest_counts(self, load, project):
        (project.parent / "felloe.toml").write_text("timeout = 1")
        (project / "pyproject.toml").write_text("[tool.felloe]\noffline = true\n")
        config = load()
        assert (config.timeout, config.offline) == (30.0, True)

    def test_felloe_toml_before_pyproject(self, load, project):
        (project / "felloe.toml").write_text("timeout = 1")
        (project / "pyproject.toml").write_text("[tool.felloe]\ntimeout = 2\n")
        assert load().timeout == 1.0

    def test_a_pyproject_without_our_table_is_passed(self, load, project):
        (project.parent / "pyproject.toml").write_text("[tool.felloe]\ntimeout = 1\n")
        (project / "pyproject.toml").write_text("[tool.other]\nfelloe = 1\n")
        assert load().timeout == 1.0

    def test_what_later_versions_know_is_left_alone(self, load, project):
        (project / "pyproject.toml").write_text(
            '[tool.felloe]\nexclude = ["*.tmp"]\ncache-keys = []\n[tool.felloe.later]\nkey = "x"\n'
        )
        assert load() == Config(cache_dir=project / "cache")

    @pytest.mark.parametrize(
        ("name", "content"), [("felloe.toml", "timeout = 1\n"), ("pyproject.toml", "[tool.felloe]\ntimeout = 1\n")]
    )
    def test_a_byte_order_mark(self, load, project, name, content):
        (project / name).write_text(content, encoding="utf-8-sig")
        assert load().timeout == 1.0

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"timeout = 1\noffline = tru\n", r"`felloe.toml` is not valid TOML: .*line 2"),
            (b"\xff\xfet\0", r"felloe.toml`, line 1, is not UTF-8"),
            (b"\xef\xbb\xbfa = 1\nb = '\xff'\n", r"felloe.toml`, line 2, is not UTF-8"),
            (b"a = 1\n\nb = '\xff'\n", r"felloe.toml`, line 3, is not UTF-8"),
            (b"a = " + b"[" * 100_000, r"`felloe.toml` is not valid TOML"),
            (b"#" * (2**20 + 1), r"has more than 1048576 bytes"),
        ],
    )
    def test_a_broken_file_is_named_with_its_line(self, load, project, content, message):
        (project / "felloe.toml").write_bytes(content)
        with pytest.raises(ConfigError, match=message) as caught:
            load()
        assert caught.value.hint

    @pytest.mark.parametrize("text", ["tool = 'felloe'", "[tool]\nfelloe = 1"])
    def test_a_table_has_to_be_one(self, load, project, text):
        (project / "pyproject.toml").write_text(text)
        with pytest.raises(ConfigError, match=r"in `pyproject.toml` is not a table"):
            load()

    @pytest.mark.skipif(os.name == "nt", reason="needs FIFOs")
    def test_a_fifo_is_never_opened(self, load, project):
        os.mkfifo(project / "felloe.toml")
        assert load().timeout == 30.0

    def test_a_file_outside_the_folder_is_shown_whole(self, load, project):
        (project.parent / "felloe.toml").write_text("timeout = 'x'")
        with pytest.raises(ConfigError) as caught:
            load()
        assert f"`{project.parent / 'felloe.toml'} timeout`" in str(caught.value)


class TestWrongValues:
    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("offline = 'perhaps'", "true or false, not `'perhaps'`"),
            ("offline = 1", "true or false"),
            ("timeout = 0", "a number of seconds above 0"),
            ("timeout = inf", "a number of seconds above 0"),
            ("timeout = nan", "a number of seconds above 0"),
            ("timeout = true", "a number of seconds above 0"),
            ("concurrent-downloads = 0", "a whole number above 0"),
            ("concurrent-downloads = 1.5", "a whole number above 0"),
            ("max-page-bytes = '1 MB'", "a whole number above 0"),
            ("cache-dir = ''", "a path"),
            ("cache-dir = 3", "a path"),
            ("no-binary = 3", "a list of texts"),
            ("no-binary = [3]", "a list of texts"),
            ("exclude-newer = '31.1.2024'", "a date"),
            ("exclude-newer = ['2024-01-31']", "a text"),
            ("pins = 3", "a table of"),
            ("pins = {a = 1}", "a table of"),
            ("source = 3", "a table"),
            ("no-index = 'maybe'", "true or false"),
        ],
    )
    def test_file_and_key_are_named(self, load, project, line, expected):
        (project / "pyproject.toml").write_text(f"[tool.felloe]\n{line}\n")
        with pytest.raises(ConfigError) as caught:
            load({"FELLOE_CACHE_DIR": ""})
        assert expected in str(caught.value)
        assert f"`pyproject.toml [tool.felloe{'' if 'pins = {' not in line else '.pins'}]" in str(caught.value)

    @pytest.mark.parametrize(
        ("variables", "options", "place"),
        [
            ({"FELLOE_OFFLINE": "perhaps"}, {}, "`FELLOE_OFFLINE`"),
            ({"PIP_NO_INDEX": "perhaps"}, {}, "`PIP_NO_INDEX`"),
            ({}, {"timeout": -1}, "`--timeout`"),
            ({}, {"exclude_newer": "soon"}, "`--exclude-newer`"),
            ({}, {"no_binary": ["?"]}, "`--no-binary`"),
        ],
    )
    def test_variable_and_option_are_named(self, load, variables, options, place):
        with pytest.raises(ConfigError) as caught:
            load(variables, **options)
        assert place in str(caught.value)
        assert caught.value.hint

    def test_a_long_value_is_cut(self, load):
        with pytest.raises(ConfigError) as caught:
            load({"FELLOE_OFFLINE": "x" * 10_000})
        assert len(str(caught.value)) < 300


class TestPolicy:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            (["Django_Allauth"], {"django-allauth"}),
            (["a,B", "c"], {"a", "b", "c"}),
            ([":all:"], {":all:"}),
            (["a", ":none:", "b"], {"b"}),
            ([":all:,:none:"], set()),
            ([" "], set()),
        ],
    )
    def test_names(self, load, given, expected):
        assert load(no_binary=given).policy.no_binary == expected
        assert load(only_binary=given).policy.only_binary == expected

    @pytest.mark.parametrize("name", ["a", ":all:"])
    def test_a_name_in_both_leaves_nothing(self, load, name):
        with pytest.raises(ConfigError, match=f"`{name}` is in `--no-binary` and in `--only-binary`"):
            load(no_binary=[name], only_binary=[name])

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("1970-01-01", DAY),  # the whole of the day
            ("2024-01-31", 19754 * DAY),
            ("1970-01-02T00:00:00Z", DAY),
            ("1970-01-02T01:00:00+01:00", DAY),
            ("1970-01-01T00:00:00.5Z", 0.5),
        ],
    )
    def test_exclude_newer(self, load, text, seconds):
        assert load(exclude_newer=text).policy.exclude_newer == seconds

    @pytest.mark.parametrize(
        "text", ["2024-01-31T00:00:00", "2024-02-30", "9999-12-31", "20240131", "\u0662024-01-31", "7 days"]
    )
    def test_exclude_newer_refuses(self, load, text):
        with pytest.raises(ConfigError, match="--exclude-newer"):
            load(exclude_newer=text)

    def test_the_rest(self, load):
        policy = load(require_hashes=True, constraints=["a<2", "b"], prereleases=True).policy
        assert policy == Policy(require_hashes=True, constraints=("a<2", "b"), prereleases=True)


class TestIndexes:
    def test_an_index_url_takes_the_place_of_the_default(self, load):
        config = load(index_url="https://example.com/simple")
        assert sources(config) == [as_index("https://example.com/simple")]
        assert config.replaced_kinds == {"pypi"}
        assert config.sources[0].origin == "--index-url"

    def test_a_default_of_uv_that_is_for_pinned_names_only(self, load, project):
        (project / "uv.toml").write_text('[[index]]\nurl = "https://x"\ndefault = true\nexplicit = true\n')
        assert (load().sources, load().replaced_kinds) == ((), {"pypi"})

    def test_extra_indexes_and_links_are_asked_before(self, load, project):
        (project / "felloe.toml").write_text('[[index]]\nname = "acme"\nurl = "https://acme.example.com"\n')
        config = load(
            extra_index_url=["https://a.example.com", "b=https://b.example.com"],
            find_links=["wheels", "https://example.com/links.html"],
            index_url="https://main.example.com",
        )
        wheels = (project / "wheels").as_uri()
        assert sources(config) == [
            as_index("https://a.example.com"),
            ("b", "index", {"url": Url("https://b.example.com")}),
            (wheels, "index", {"find_links": Url(wheels)}),
            ("https://example.com/links.html", "index", {"find_links": Url("https://example.com/links.html")}),
            ("acme", "index", {"url": Url("https://acme.example.com")}),
            as_index("https://main.example.com"),
        ]

    def test_without_an_index_url_the_default_stays(self, load):
        assert load(extra_index_url=["https://a.example.com"]).replaced_kinds == frozenset()

    def test_an_index_table(self, load, project):
        (project / "pyproject.toml").write_text(
            '[[tool.felloe.index]]\nname = "acme"\nurl = "https://example.com/"\n'
            'projects = ["acme-*"]\nmissing = [403]\n'
            '[[tool.felloe.index]]\nurl = "wheels"\n'
        )
        acme, unnamed = load().sources
        assert acme == SourceSettings(
            name="acme",
            kind="index",
            settings={"url": Url("https://example.com/"), "projects": ["acme-*"], "missing": [403]},
            origin="pyproject.toml [[tool.felloe.index]] acme",
        )
        assert unnamed.name == (project / "wheels").as_uri()

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("https://example.com/simple/", "https://example.com/simple/"),
            ("HTTP://example.com", "HTTP://example.com"),
            ("file:///srv/simple", "file:///srv/simple"),
            ("/srv/my index", "file:///srv/my%20index"),
            ("/srv/job@2/wheels", "file:///srv/job%402/wheels"),
            ("/srv/a/../b", "file:///srv/b"),
        ],
    )
    def test_urls_and_paths(self, load, text, expected):
        assert load(index_url=text).sources[0].settings["url"] == Url(expected)

    def test_a_path_starts_from_where_it_is_written(self, load, project, home):
        (project.parent / "felloe.toml").write_text('find-links = "wheels"\nindex-url = "./simple"\n')
        assert names(load()) == [(project.parent / name).as_uri() for name in ("wheels", "simple")]

    @pytest.mark.parametrize(
        "text",
        [
            "user:hunter2@example.com/simple",
            "hunter2@example.com/simple",
            "https://user:hunter2/x@example.com/simple",
            "https://user:hunter2@example.com:port/",
            "https://user:hunter2@/simple",
            "ftp://user:hunter2@example.com/",
            "https://user:hunter2@example.com/a b",
        ],
    )
    def test_a_wrong_url_is_not_shown(self, load, text):
        with pytest.raises(ConfigError, match="`FELLOE_INDEX_URL` has to be a URL") as caught:
            load({"FELLOE_INDEX_URL": text})
        assert caught.value.__suppress_context__
        assert "hunter2" not in str(caught.value) + caught.value.hint

    @pytest.mark.parametrize(
        "line",
        [
            "url = 3",
            "url = ''",
            "name = 'x'",
            "url = 'a'\nname = 3",
            "url = 'a'\nprojects = 'a'",
            "url = 'a'\nmissing = ['403']",
            "url = 'a'\nmissing = [true]",
        ],
    )
    def test_a_wrong_table(self, load, project, line):
        (project / "felloe.toml").write_text(f"[[index]]\n{line}\n")
        with pytest.raises(ConfigError, match=r"`felloe.toml \[\[index\]\]"):
            load()

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("url = 3", "`felloe.toml [[index]] #2: url` has to be a URL"),
            ("projects = 3", "`felloe.toml [[index]] #2: projects` has to be a list of texts, not `3`"),
            ("missing = ['403']", "`felloe.toml [[index]] #2: missing` has to be a list of status codes, not"),
            ("name = 'x'\nurl = ''", "`felloe.toml [[index]] x: url` has to be a URL"),
            ("name = 3\nurl = 'b'", "`felloe.toml [[index]] #2: name` has to be a text, not `3`"),
            ("name = ''\nprojects = [3]", "`felloe.toml [[index]] #2: projects` has to be"),
            ("name = 'x'\nkind = 'git'\nurl = 'b'", "`felloe.toml [[index]] x: kind`: an index has no other kind"),
        ],
    )
    def test_which_key_of_which_table_is_wrong(self, load, project, line, told):
        (project / "felloe.toml").write_text(f"[[index]]\nurl = 'a'\n[[index]]\n{line}\n")
        with pytest.raises(ConfigError) as caught:
            load()
        assert str(caught.value).startswith(told)
        assert caught.value.hint

    @pytest.mark.parametrize(
        ("table", "place"),
        [
            ("[[index]]\nname = 'x'\nurl = 3\n", "`uv.toml [[index]] x: url`"),
            ("[[index]]\nname = 'x'\nurl = 'a'\nignore-error-codes = 3\n", "`uv.toml [[index]] x: ignore-error-codes`"),
            ("index-url = 'ftp://x'\n", "`uv.toml index-url`"),
            ("extra-index-url = ['ftp://x']\n", "`uv.toml extra-index-url`"),
        ],
    )
    def test_which_key_of_uv_is_wrong(self, load, project, table, place):
        (project / "uv.toml").write_text(table)
        with pytest.raises(ConfigError) as caught:
            load()
        assert str(caught.value).startswith(place)

    def test_the_same_index_twice_is_one(self, load):
        url = "https://example.com/simple"
        config = load({"FELLOE_EXTRA_INDEX_URL": f"{url} {url}"}, index_url=url)
        assert names(config) == [url]
        assert config.replaced_kinds == {"pypi"}

    def test_two_of_one_name(self, load, project):
        (project / "felloe.toml").write_text(
            '[[index]]\nname = "acme"\nurl = "https://a.example.com"\n[[source]]\nname = "acme"\nkind = "own"\n'
        )
        with pytest.raises(ConfigError) as caught:
            load()
        assert "`felloe.toml [[index]] acme`" in str(caught.value)
        assert "`felloe.toml [[source]] acme`" in str(caught.value)

    def test_two_of_one_name_in_one_place(self, load, project):
        table = '[[source]]\nname = "acme"\nkind = "own"\n'
        (project / "felloe.toml").write_text(table + table)
        with pytest.raises(ConfigError) as caught:
            load()
        assert str(caught.value) == "two sources are named `acme`: both in `felloe.toml [[source]] acme`"
        assert "`name`" in caught.value.hint

    def test_two_that_look_the_same(self, load):
        with pytest.raises(ConfigError, match=r"two sources are named `https://example\.com/`") as caught:
            load(extra_index_url=["https://one:hunter2@example.com/"], index_url="https://two:hunter3@example.com/")
        assert "hunter" not in str(caught.value)


class TestNoIndex:
    def test_removes_the_default_and_index_urls_but_not_links(self, load, project):
        (project / "felloe.toml").write_text(
            '[[index]]\nurl = "https://a.example.com"\n[[source]]\nname = "p"\nkind = "pypi"\n'
            '[[source]]\nname = "i"\nkind = "index"\nurl = "https://i.example.com"\n'
            '[[source]]\nname = "own"\nkind = "own"\n'
        )
        config = load(
            no_index=True,
            index_url="https://b.example.com",
            extra_index_url=["https://c.example.com"],
            find_links=["/srv/wheels"],
        )
        assert names(config) == ["file:///srv/wheels", "own"]
        assert config.replaced_kinds == {"pypi"}

    def test_speaks_for_its_own_place_and_those_that_follow(self, load):
        variables = {"PIP_NO_INDEX": "1", "PIP_INDEX_URL": "https://pip.example.com"}
        assert (names(load(variables)), load(variables).replaced_kinds) == ([], {"pypi"})
        ours = load(variables, extra_index_url=["https://ours.example.com"])
        assert (names(ours), ours.replaced_kinds) == (["https://ours.example.com"], {"pypi"})

    def test_an_earlier_no_counts(self, load):
        config = load({"PIP_NO_INDEX": "1", "PIP_INDEX_URL": "https://pip.example.com"}, no_index=False)
        assert names(config) == ["https://pip.example.com"]


class TestSources:
    def test_any_kind_with_its_settings(self, load, project):
        (project / "pyproject.toml").write_text(
            '[[tool.felloe.source]]\nname = "acme"\nkind = "acme-index"\nregion = "eu"\nurl = "s3://me:hunter2@bucket/"\n'
        )
        (source,) = load().sources
        assert source == SourceSettings(
            name="acme",
            kind="acme-index",
            settings={"region": "eu", "url": Url("s3://me:hunter2@bucket/")},
            origin="pyproject.toml [[tool.felloe.source]] acme",
        )

    def test_kind_index_is_read_like_an_index(self, load, project):
        (project / "felloe.toml").write_text('[[source]]\nname = "a"\nkind = "index"\nurl = "wheels"\n')
        assert load().sources[0].settings == {"url": Url((project / "wheels").as_uri())}

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("name = 'a'", "a` needs a `kind`, which is a text"),
            ("kind = 'a'", "#2` needs a `name`, which is a text"),
            ("name = ''\nkind = 'a'", "#2` needs a `name`"),
            ("name = 'a'\nkind = 3", "a` needs a `kind`"),
            ("name = 'a'\nkind = 'own'\nurl = 's3://me:hunter2@b:port'", "a: url` has to be a URL"),
            ("name = 'a'\nkind = 'index'\nurl = 3", "a: url` has to be a URL"),
        ],
    )
    def test_which_key_of_which_table_is_wrong(self, load, project, line, told):
        first = "[[tool.felloe.source]]\nname = 'first'\nkind = 'own'\n"
        (project / "pyproject.toml").write_text(f"{first}[[tool.felloe.source]]\n{line}\n")
        with pytest.raises(ConfigError) as caught:
            load()
        assert str(caught.value).startswith(f"`pyproject.toml [[tool.felloe.source]] {told}")
        assert caught.value.hint
        assert "hunter2" not in str(caught.value)

    def test_they_come_before_the_default_index(self, load, project):
        (project / "felloe.toml").write_text('[[source]]\nname = "own"\nkind = "own"\n')
        config = load(index_url="https://example.com", extra_index_url=["https://a.example.com"])
        assert names(config) == ["https://a.example.com", "own", "https://example.com"]


class TestPins:
    def test_in_the_order_of_the_file_and_normalised(self, load, project):
        (project / "pyproject.toml").write_text(
            '[tool.felloe.pins]\n"Zeta_*" = "z"\n"acme.core" = "acme"\n"zeta-*" = "z"\n'
        )
        assert list(load().pins.items()) == [("zeta-*", "z"), ("acme-core", "acme")]

    def test_one_pattern_for_two_sources(self, load, project):
        (project / "felloe.toml").write_text('[pins]\n"Acme_*" = "a"\n"acme-*" = "b"\n')
        with pytest.raises(ConfigError, match=r"`felloe.toml \[pins\]` pins `acme-\*` to two sources"):
            load()


BUILD = """\
allow = [{ name = "Acme", sha256 = "%s" }, { name = "other" }]
env = ["ACME_*", "OTHER"]
extra-requires = { Acme = ["numpy<2"], other = [] }
extra-env = { Acme = { ACME_SPEED = "fast", CFLAGS = "" } }
[%sinputs.Acme]
env = ["ACME_HOME"]
files = ["vendor/acme.cfg"]
[[%smetadata]]
name = "NumPy"
version = "1.26"
requires-dist = ["a>=1"]
"""


class TestBuildsAndOverrides:
    @pytest.mark.parametrize(
        ("name", "table"), [("felloe.toml", ""), ("felloe.toml", "tool.felloe."), ("pyproject.toml", "tool.felloe.")]
    )
    def test_from_a_file(self, load, project, name, table):
        (project / name).write_text(f"[{table}build]\n{BUILD % ('0' * 64, table, table)}")
        config = load()
        assert config.building == evolve(
            Config().building,
            allow=(AllowedBuild(name="acme", content=f"sha256:{'0' * 64}"), AllowedBuild(name="other")),
            env=("ACME_*", "OTHER"),
            extra_requires={"acme": ("numpy<2",), "other": ()},
            extra_env={"acme": {"ACME_SPEED": "fast", "CFLAGS": ""}},
            inputs={
                "acme": (
                    DeclaredInput(text="env:ACME_HOME"),
                    DeclaredInput(text="file:vendor/acme.cfg", path=project / "vendor/acme.cfg"),
                )
            },
        )
        assert config.overrides == (Override(name="numpy", version="1.26", requires_dist=("a>=1",)),)

    def test_files_start_from_where_they_are_named(self, load, project):
        (project.parent / "felloe.toml").write_text('[inputs]\nacme.files = "acme.cfg"\n')
        assert load().building.inputs["acme"][0].path == project.parent / "acme.cfg"

    def test_no_list_is_not_an_empty_list(self, load, project):
        assert load().building.allow is None
        (project / "felloe.toml").write_text("[build]\nallow = []\n")
        assert load().building.allow == ()

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("build = 3", "`felloe.toml build` has to be a table"),
            ("[build]\nallow = 'acme'", "`felloe.toml [build]: allow` has to be a list of tables"),
            ("[build]\nallow = [{name = 'a', sha256 = '0'}]", "`felloe.toml [build]: allow a: sha256` has to be"),
            ("[[build.allow]]\nname = 'a'\nhash = '0'", "`felloe.toml [build]: allow a: hash` is not known"),
            ("[build]\nalow = []", "`felloe.toml [build]: alow` is not known"),
            ("[build.inputs]\nacme = ['env:A']", "`felloe.toml [build]: inputs` is not known"),
            ("[build]\nenv = ['*']", "`felloe.toml [build]: env` has to be a list of names of variables"),
            ("[build]\nenv = ['A*B']", "`felloe.toml [build]: env` has to be a list of names of variables"),
            ("[build]\nenv = ['A=1']", "`felloe.toml [build]: env` has to be a list of names of variables"),
            ("[build]\nextra-requires = ['a']", "`felloe.toml [build]: extra-requires` has to be a table of lists"),
            ("[build]\nextra-requires.a = ['?']", "`felloe.toml [build]: extra-requires: a`: "),
            ("[build]\nextra-env = ['a']", "`felloe.toml [build]: extra-env` has to be a table of tables"),
            ("[build]\nextra-env.a = ['a']", "`felloe.toml [build]: extra-env: a` has to be a table of `VARIABLE"),
            ("[build]\nextra-env.a.B = 1", "`felloe.toml [build]: extra-env: a: B` has to be a variable with"),
            ("[build]\nextra-env.a.'B=' = ''", "`felloe.toml [build]: extra-env: a: B=` has to be a variable with"),
            ("inputs = []", "`felloe.toml inputs` has to be a table for each project"),
            ("[inputs]\nacme = ['env:A']", "`felloe.toml [inputs]: acme` has to be a table"),
            ("[inputs.acme]\nfile = ['a']", "`felloe.toml [inputs]: acme: file` is not known"),
            ("[inputs.acme]\nenv = ['A=b']", "`felloe.toml [inputs]: acme: env` has to be a list of names"),
            ("[metadata.numpy]\nversion = '1'", "`felloe.toml [metadata]` has to be tables"),
            ("[[metadata]]\nname = 'a'\nversion = 'x'", "`felloe.toml [[metadata]] a: version` has to be a version"),
        ],
    )
    def test_file_and_key_are_named(self, load, project, text, told):
        (project / "felloe.toml").write_text(text)
        with pytest.raises(ConfigError) as caught:
            load()
        assert str(caught.value).startswith(told)
        assert caught.value.hint


LEVELS = [  # in the order of precedence: what each place says, as (option, variables, file)
    ("option", {"index_url": "https://option.example.com"}, {}, None),
    ("variable", {}, {"FELLOE_INDEX_URL": "https://variable.example.com"}, None),
    ("file", {}, {}, ("project/felloe.toml", 'index-url = "https://file.example.com"')),
    ("uv-default", {}, {"UV_DEFAULT_INDEX": "https://uv-default.example.com"}, None),
    ("uv-index-url", {}, {"UV_INDEX_URL": "https://uv-index-url.example.com"}, None),
    ("pip-variable", {}, {"PIP_INDEX_URL": "https://pip-variable.example.com"}, None),
    ("uv-project", {}, {}, ("project/uv.toml", '[[index]]\nurl = "https://uv-project.example.com"\ndefault = true')),
    ("uv-user", {}, {}, ("home/.config/uv/uv.toml", 'index-url = "https://uv-user.example.com"')),
    ("uv-system", {}, {}, ("etc/uv/uv.toml", 'index-url = "https://uv-system.example.com"')),
    (
        "pip-file",
        {},
        {"PIP_CONFIG_FILE": "pip.conf"},
        ("project/pip.conf", "[global]\nindex-url = https://pip-file.example.com\nextra-index-url =\nfind-links ="),
    ),
]


class TestPrecedence:
    @pytest.mark.parametrize("first", range(len(LEVELS)), ids=[level[0] for level in LEVELS])
    def test_the_first_place_gives_the_default(self, load, tmp_path, first):
        options, variables = {}, {}
        for _, option, variable, file in LEVELS[first:]:
            options |= option
            variables |= variable
            if file is not None:
                (tmp_path / file[0]).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / file[0]).write_text(file[1])
        config = load(variables, **options)
        assert names(config) == [f"https://{LEVELS[first][0]}.example.com"]
        assert config.replaced_kinds == {"pypi"}

    @pytest.mark.parametrize(
        ("variables", "options", "expected"),
        [
            ({"UV_INDEX": "https://uv", "PIP_EXTRA_INDEX_URL": "https://pip"}, {}, ["https://uv"]),
            ({"PIP_EXTRA_INDEX_URL": "https://pip https://pip2"}, {}, ["https://pip", "https://pip2"]),
            ({"UV_INDEX": "https://uv", "FELLOE_EXTRA_INDEX_URL": "https://us"}, {}, ["https://us"]),
            ({"FELLOE_EXTRA_INDEX_URL": "https://us"}, {"extra_index_url": ["https://option"]}, ["https://option"]),
            # find-links are a set of their own: giving some does not hide a private index
            ({"UV_INDEX": "https://uv"}, {"find_links": ["/w"]}, ["file:///w", "https://uv"]),
            ({"UV_FIND_LINKS": "/a,/b c", "PIP_FIND_LINKS": "/p"}, {}, ["file:///a", "file:///b%20c"]),
            # a default of one tool and the extra indexes of another
            ({"UV_INDEX": "https://uv", "PIP_INDEX_URL": "https://pip"}, {}, ["https://uv", "https://pip"]),
        ],
    )
    def test_extra_indexes_come_from_one_tool(self, load, variables, options, expected):
        assert names(load(variables, **options)) == expected

    def test_our_file_adds_to_options(self, load, project):
        (project / "felloe.toml").write_text('extra-index-url = ["https://file"]\n[[index]]\nurl = "https://table"\n')
        assert names(load(extra_index_url=["https://option"])) == ["https://option", "https://file", "https://table"]

    def test_cert(self, load, home):
        file = home / "pip.conf"
        file.write_text("[global]\ncert = ~/ca.pem\n")
        variables = {"PIP_CONFIG_FILE": str(file)}
        assert load(variables).cert == home / "ca.pem"
        assert load(variables | {"PIP_CERT": "/pip.pem"}).cert == Path("/pip.pem")
        assert load(variables | {"PIP_CERT": "/pip.pem", "SSL_CERT_FILE": "/ssl.pem"}).cert == Path("/ssl.pem")
        assert load({"SSL_CERT_FILE": "/ssl.pem"}, cert="/option.pem").cert == Path("/option.pem")


class TestProxies:
    def test_of_pip(self, load):
        proxies = load({"PIP_PROXY": "proxy.example.com:3128"}).proxies
        assert proxies == dict.fromkeys(("http", "https"), Url("http://proxy.example.com:3128"))

    def test_of_uv(self, load, project):
        (project / "uv.toml").write_text('https-proxy = "http://me:hunter2@p.example.com"\nno-proxy = ["localhost"]\n')
        config = load()
        assert config.proxies == {"https": Url("http://me:hunter2@p.example.com")}
        assert config.no_proxy == ("localhost",)
        assert "hunter2" not in repr(config)

    @pytest.mark.parametrize(
        ("variables", "left"),
        [
            ({"HTTPS_PROXY": "http://e"}, {"http"}),
            ({"https_proxy": "http://e", "http_proxy": "http://e"}, set()),
            ({"ALL_PROXY": "http://e"}, set()),
        ],
    )
    def test_the_environment_s_own_outrank_them(self, load, variables, left):
        assert set(load({"PIP_PROXY": "http://p", **variables}).proxies) == left

    def test_no_proxy_of_the_environment(self, load, project):
        (project / "uv.toml").write_text('no-proxy = ["localhost"]')
        assert load({"NO_PROXY": "example.com"}).no_proxy == ()

    def test_a_wrong_one_is_not_shown(self, load):
        with pytest.raises(ConfigError, match="`PIP_PROXY` has to be a URL") as caught:
            load({"PIP_PROXY": "me:hunter2@host:port"})
        assert "hunter2" not in str(caught.value)


class TestSecrets:
    def test_nothing_secret_is_shown(self, load, project):
        (project / "felloe.toml").write_text(
            '[[source]]\nname = "own"\nkind = "own"\ntoken = "hunter1"\nurl = "https://me:hunter2@own.example.com"\n'
        )
        config = load(
            {
                "FELLOE_INDEX_URL": "https://me:hunter3@example.com/simple?key=hunter4",
                "FELLOE_INDEX_ACME_PASSWORD": "hunter5",
                "PIP_PROXY": "http://me:hunter6@proxy.example.com",
            },
            find_links=["https://me:hunter7@links.example.com"],
        )
        assert "hunter" not in repr(config)
        assert "hunter" not in "".join(names(config))

    def test_index_urls_are_what_credentials_are_for(self, load, project):
        (project / "felloe.toml").write_text(
            '[[source]]\nname = "own"\nkind = "own"\nurl = "https://me:pw@own.example.com"\n'
            '[[source]]\nname = "other"\nkind = "own"\nurl = "relative"\n'
        )
        config = load(find_links=["https://l.example.com"], index_url="acme=https://a:b@example.com")
        assert config.index_urls == (
            ("https://l.example.com", Url("https://l.example.com")),
            ("own", Url("https://me:pw@own.example.com")),
            ("acme", Url("https://a:b@example.com")),
        )

    def test_only_the_variables_for_credentials_are_kept(self, load, home):
        kept = {"FELLOE_INDEX_ACME_USERNAME": "u", "UV_INDEX_ACME_PASSWORD": "p", "NETRC": "/n"}
        config = load({**kept, "AWS_SECRET": "s", "FELLOE_INDEX_URL": "https://example.com"})
        assert config.environ == kept | {"HOME": str(home)}
