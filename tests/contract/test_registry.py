"""What is installed and configured becomes sources; a plugin that is broken is told of, and takes no other with it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from felloe.config import Config, SourceSettings
from felloe.errors import ConfigError, FelloeError, PluginError
from felloe.hookspecs import REQUIRED
from felloe.registry import Registry, load_registry
from tests.fixtures.plugins import NO_FILES, SOURCE, Plugin, Site, changed, make_site

NO_SOURCE = "source `acme` of felloe-acme 1.0 cannot be loaded: "
NOT_KEPT = "source `acme` of felloe-acme 1.0 does not keep the contract: "
NOT_MADE = "source `acme` of felloe-acme 1.0 cannot be made: "
BAD_SETTINGS = "default: the settings of source `acme` of felloe-acme 1.0 will not do: "
REMEDY = "mend or uninstall it, or do without all sources of kind `acme`: FELLOE_DISABLE=acme"
CORRECTION = "correct them, or do without all sources of kind `acme`: FELLOE_DISABLE=acme"

# Parts of the good source that are often changed.
FIND = "find(self, request, ctx)"
ADDRESS = "    @hookimpl\n    def address(self):\n"
WRAPPER = "    @hookimpl(wrapper=True)\n    def address(self):\n        yield\n"
HEAD = "class Source:\n    api = 1\n    default = True\n"
FACTORY = """

def Source(name, settings):
    return Made(name, settings)


Source.api = 1
Source.default = True
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with make_site(tmp_path / "site") as site:
        yield site


def made_by(statement: str) -> str:
    """The good source with this in its constructor."""
    return changed("        self.settings = settings\n", f"        {statement}\n")


def acme(code: str, value: str = "acme:Source", **options: Any) -> Plugin:
    return Plugin("felloe-acme", kinds={"acme": value}, modules={"acme": code}, **options)


def other(*kinds: str) -> Plugin:
    """A good plugin beside it."""
    return Plugin("felloe-other", kinds=dict.fromkeys(kinds or ("other",), "other:Source"), modules={"other": SOURCE})


def configured(*names: str, kind: str = "acme", settings: Mapping[str, Any] | None = None, **options: Any) -> Config:
    sources = [SourceSettings(name=name, kind=kind, settings=settings or {}, origin="pyproject.toml") for name in names]
    return Config(sources=tuple(sources), **options)


def names(registry: Registry) -> list[str]:
    return [instance.name for instance in registry.instances]


def states(registry: Registry) -> dict[str, str]:
    return {kind.name: kind.state for kind in registry.kinds}


def load(site: Site, config: Config | None = None) -> Registry:
    return load_registry(config or Config(), site.entry_points())


# What is good


def test_a_good_plugin_has_its_hooks(site: Site) -> None:
    site.install(acme(SOURCE))

    registry = load(site)

    assert registry.failures == ()
    assert states(registry) == {"acme": "loaded"}
    assert registry.kinds[0].distribution == ("felloe-acme", "1.0")
    assert set(registry.instance("acme").hooks) == set(REQUIRED)


GOOD = [
    pytest.param(SOURCE, id="as it is"),
    pytest.param(changed(FIND, "find(self)"), id="fewer parameters"),
    pytest.param(changed(FIND, "find(this, request, ctx)").replace("{self.name}", "{this.name}"), id="not self"),
    pytest.param(changed("(self, dist, entry, ctx)", "(self, ctx, entry, dist)"), id="another order"),
    pytest.param(changed(ADDRESS, "    @hookimpl(specname='address')\n    def where(self):\n"), id="another name"),
    pytest.param(changed(ADDRESS, "    @staticmethod\n    @hookimpl\n    def address():\n"), id="static"),
    pytest.param(changed(ADDRESS, "    @classmethod\n    @hookimpl\n    def address(cls):\n"), id="of the class"),
    pytest.param(changed(HEAD, "class Base:\n") + "\n\n" + HEAD.replace("Source", "Source(Base)"), id="inherited"),
    pytest.param(SOURCE + "\n    @hookimpl(optionalhook=True)\n    async def later(self, job): ...\n", id="optional"),
    pytest.param(SOURCE + "\n    @property\n    def token(self):\n        return self.name\n", id="a property"),
    pytest.param(SOURCE + "\n    def __eq__(self, other):\n        return True\n", id="no hash"),
    pytest.param(changed(HEAD, "class Made:\n") + FACTORY, id="a factory"),
]


@pytest.mark.parametrize("code", GOOD)
def test_what_a_plugin_is_free_to_do(site: Site, code: str) -> None:
    site.install(acme(code))

    registry = load(site)

    assert registry.failures == ()
    assert set(registry.instance("acme").hooks) >= set(REQUIRED)
    assert "later" not in registry.instance("acme").hooks


def test_the_installed_plugins_are_found(site: Site) -> None:
    site.install(acme(SOURCE))

    assert "acme" in names(load_registry(Config()))


# What is broken, and what is told of it

CANNOT_BE_LOADED = [
    pytest.param("import no_such_module", ModuleNotFoundError, "ModuleNotFoundError: No module named", id="import"),
    pytest.param("class Source(", SyntaxError, "SyntaxError: '(' was never closed", id="syntax"),
    pytest.param("raise RuntimeError('no licence')", RuntimeError, "RuntimeError: no licence", id="raises"),
    pytest.param("raise RuntimeError", RuntimeError, "RuntimeError (", id="raises without a word"),
    pytest.param("raise SystemExit(3)", SystemExit, "SystemExit: 3", id="exits"),
    pytest.param("", AttributeError, "AttributeError: module 'acme' has no attribute 'Source'", id="no such attribute"),
    pytest.param("Source = 3", PluginError, "its entry point is not a class", id="not a class"),
    pytest.param(
        changed("api = 1", "api = 2"), PluginError, "version 2 of the plugin API, this felloe has 1", id="a later API"
    ),
    pytest.param(changed("    api = 1\n", ""), PluginError, "version None of the plugin API", id="no API"),
]
DOES_NOT_KEEP_THE_CONTRACT = [
    pytest.param(changed("def fetch", "def fetsh"), "there is no hook `fetsh`", id="misspelt"),
    pytest.param(
        changed("@hookimpl\n    async def fetch", "async def fetch"), "it lacks the hook `fetch`", id="unmarked"
    ),
    pytest.param(changed(FIND, "find(self, *, request, ctx)"), "`find` has the parameter `request`", id="keyword-only"),
    pytest.param(changed(FIND, "find(self, request, ctx=0)"), "`find` has the parameter `ctx=0`", id="default"),
    pytest.param(changed(FIND, "find(self, *given)"), "`find` has the parameter `*given`", id="star"),
    pytest.param(changed(FIND, "find(self, **given)"), "`find` has the parameter `**given`", id="two stars"),
    pytest.param(changed(FIND, "find(self, request, colour)"), "'colour'", id="unknown parameter"),
    pytest.param(changed("async def find", "def find"), "`find` has to be `async def`", id="not async"),
    pytest.param(changed("def claims", "async def claims"), "`claims` has to be a plain function", id="async"),
    pytest.param(changed("raise ProjectNotFound", "yield"), "`find` has to be `async def`", id="async generator"),
    pytest.param(changed(ADDRESS, WRAPPER), "`address` is a wrapper", id="wrapper"),
]
ONLY_AS_AN_INSTANCE = [
    pytest.param(
        SOURCE + "\n    def __dir__(self):\n        raise OSError('no keyring')\n", "OSError: no", id="unreadable"
    ),
    pytest.param(made_by("self.fetch = 3"), "it lacks the hook `fetch`", id="hidden"),
    pytest.param(
        changed("def fetch", "def fetsh").replace(HEAD, "class Made:\n") + FACTORY,
        "there is no hook `fetsh`",
        id="made by a function",
    ),
]
CANNOT_BE_MADE = [
    pytest.param(made_by("raise RuntimeError('no keyring')"), RuntimeError, "RuntimeError: no keyring", id="raises"),
    pytest.param(made_by("raise SystemExit('no licence')"), SystemExit, "SystemExit: no licence", id="exits"),
]
REFUSES_ITS_SETTINGS = [
    pytest.param(
        made_by("from felloe.plugin import ConfigError; raise ConfigError('no `url`', hint='add one')"),
        ConfigError,
        "no `url` (add one)",
        id="ConfigError",
    ),
    pytest.param(
        made_by("from felloe.plugin import Url; Url('nothing')"),
        FelloeError,
        "`nothing` is not a URL (it has to be",
        id="another of ours",
    ),
    pytest.param(made_by("int('many')"), ValueError, "ValueError: invalid literal for int()", id="ValueError"),
    pytest.param(made_by("settings['token']"), KeyError, "KeyError: 'token'", id="KeyError"),
    pytest.param(made_by("len(3)"), TypeError, "TypeError: object of type 'int' has no len()", id="TypeError"),
    pytest.param(changed("(self, name, settings)", "(self, name)"), TypeError, "takes 2 positional", id="signature"),
]


@pytest.mark.parametrize(("code", "original", "reason"), CANNOT_BE_LOADED)
def test_a_plugin_that_cannot_be_loaded(site: Site, code: str, original: type[BaseException], reason: str) -> None:
    site.install(acme(code))
    site.install(other())

    registry = load(site)

    assert names(registry) == ["other"]
    assert states(registry) == {"acme": "failed", "other": "loaded"}
    assert_told(registry, NO_SOURCE, reason)
    with pytest.raises(original) as raised:
        load(site, Config(strict=True))
    assert type(raised.value) is original


@pytest.mark.parametrize(("code", "reason"), [*DOES_NOT_KEEP_THE_CONTRACT, *ONLY_AS_AN_INSTANCE])
def test_a_source_that_does_not_keep_the_contract(site: Site, code: str, reason: str) -> None:
    site.install(acme(code))
    site.install(other())

    registry = load(site)

    assert names(registry) == ["other"]
    assert_told(registry, NOT_KEPT, reason)
    with pytest.raises(PluginError) as raised:
        load(site, Config(strict=True))
    assert reason in str(raised.value)
    assert raised.value.hint == REMEDY


@pytest.mark.parametrize(("code", "reason"), DOES_NOT_KEEP_THE_CONTRACT)
def test_a_class_that_does_not_keep_the_contract_though_no_source_of_it_is_wanted(
    site: Site, code: str, reason: str
) -> None:
    """Some names may be its own, and which cannot be known."""
    site.install(acme(code.replace("    default = True\n", "")))
    site.install(other())

    registry = load(site)

    assert names(registry) == ["other"]
    assert states(registry) == {"acme": "failed", "other": "loaded"}
    assert reason in registry.kinds[0].reason
    assert registry.failures == load(site, configured("acme")).failures
    assert_told(registry, NOT_KEPT, reason)
    assert load(site, Config(disabled=frozenset({"acme"}))).failures == ()
    with pytest.raises(PluginError) as raised:
        load(site, Config(strict=True))
    assert reason in str(raised.value)
    assert raised.value.hint == REMEDY


@pytest.mark.parametrize(("code", "reason"), ONLY_AS_AN_INSTANCE)
def test_what_only_an_instance_shows_is_not_seen_before(site: Site, code: str, reason: str) -> None:
    site.install(acme(code.replace("default = True", "default = False")))

    assert states(load(site)) == {"acme": "not configured"}
    assert_told(load(site, configured("acme")), NOT_KEPT, reason)


@pytest.mark.parametrize("code", GOOD)
def test_a_good_class_of_which_no_source_is_wanted(site: Site, code: str) -> None:
    """Nothing of it is called to find out."""
    never = "        raise RuntimeError\n"
    code = code.replace("        self.settings = settings\n", never).replace("        return self.name\n", never)
    site.install(acme(code))

    registry = load(site, Config(replaced_kinds=frozenset({"acme"}), strict=True))

    assert registry.failures == ()
    assert states(registry) == {"acme": "not configured"}


@pytest.mark.parametrize(("code", "original", "reason"), CANNOT_BE_MADE)
def test_a_source_that_cannot_be_made(site: Site, code: str, original: type[BaseException], reason: str) -> None:
    site.install(acme(code))
    site.install(other())

    registry = load(site)

    assert names(registry) == ["other"]
    assert_told(registry, NOT_MADE, reason)
    with pytest.raises(PluginError, match=reason) as raised:
        load(site, Config(strict=True))
    assert isinstance(raised.value.__cause__, original)


@pytest.mark.parametrize(("code", "original", "reason"), REFUSES_ITS_SETTINGS)
def test_settings_that_will_not_do(site: Site, code: str, original: type[BaseException], reason: str) -> None:
    site.install(acme(code))
    site.install(other())

    registry = load(site)

    assert names(registry) == ["other"]
    assert_told(registry, BAD_SETTINGS, reason, CORRECTION)
    with pytest.raises(ConfigError) as raised:
        load(site, Config(strict=True))
    assert reason in str(raised.value)
    assert isinstance(raised.value.__cause__, original)


def assert_told(registry: Registry, beginning: str, reason: str, remedy: str = REMEDY) -> None:
    """One failure, which says who, of which distribution, why, and how to do without."""
    (failure,) = registry.failures
    assert failure.startswith(beginning), failure
    assert reason in failure, failure
    assert failure.endswith(f" ({remedy})"), failure


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("raise OSError('https://me:hunter2@acme.example/?key=hunter2 is down')", id="imported"),
        pytest.param(made_by("raise OSError(f'https://me:{settings[\"token\"]}@acme.example/ is down')"), id="made"),
        pytest.param(made_by("int('https://me:hunter2@acme.example/')"), id="refused"),
        pytest.param(
            changed("def fetch", "def fetsh") + "\n    def __repr__(self):\n        return str(self.settings)\n",
            id="misspelt, with settings in its repr",
        ),
    ],
)
def test_no_secret_is_told(site: Site, code: str) -> None:
    site.install(acme(code))

    registry = load(site, configured("acme", settings={"token": "hunter2"}))

    assert registry.failures
    assert not any("hunter2" in text for text in (*registry.failures, repr(registry)))


def test_all_that_is_broken_is_told(site: Site) -> None:
    kinds = {"a": "broken:A", "b": "broken:B", "c": "broken:C"}
    site.install(Plugin("felloe-broken", kinds=kinds, modules={"broken": "raise RuntimeError"}))
    site.install(other())

    registry = load(site)

    assert names(registry) == ["other"]
    assert [failure.split("`")[1] for failure in registry.failures] == ["a", "b", "c"]


# Two distributions with one kind


@pytest.fixture
def twice(site: Site) -> Site:
    """Kind `acme` of two distributions, each a good one, and another."""
    site.install(acme(SOURCE))
    site.install(Plugin("acme-fork", version="2.0", kinds={"acme": "fork:Source"}, modules={"fork": SOURCE}))
    site.install(other())
    return site


def test_of_two_distributions_with_one_kind_neither_is_loaded(twice: Site) -> None:
    registry = load(twice)

    assert names(registry) == ["other"]
    assert [kind.state for kind in registry.kinds] == ["failed", "failed", "loaded"]
    one, two = registry.failures
    assert one.startswith("source `acme` of acme-fork 2.0 cannot be loaded: 2 distributions bring the kind `acme`")
    assert two.startswith("source `acme` of felloe-acme 1.0 cannot be loaded: 2 distributions bring the kind `acme`")


def test_of_two_distributions_with_one_kind_strict_tells_both(twice: Site) -> None:
    with pytest.raises(PluginError) as raised:
        load(twice, Config(strict=True))

    assert "acme-fork 2.0" in str(raised.value)
    assert "felloe-acme 1.0" in str(raised.value)


# Disabled


@pytest.mark.parametrize(
    "config", [Config(disabled=frozenset({"acme"})), configured("corp", disabled=frozenset({"acme"}))]
)
@pytest.mark.parametrize("code", ["raise RuntimeError", changed("api = 1", "api = 2"), SOURCE])
def test_what_is_disabled_is_neither_there_nor_missed(site: Site, code: str, config: Config) -> None:
    site.install(acme(code))
    site.install(other())

    registry = load(site, config)

    assert names(registry) == ["other"]
    assert registry.failures == ()
    assert states(registry) == {"acme": "disabled", "other": "loaded"}


def test_what_is_disabled_is_not_even_imported(site: Site, tmp_path: Path) -> None:
    site.install(acme(f"open({str(tmp_path / 'imported')!r}, 'w')"))

    load(site, Config(disabled=frozenset({"acme"}), strict=True))

    assert not (tmp_path / "imported").exists()


def test_both_of_two_distributions_can_be_disabled(twice: Site) -> None:
    registry = load(twice, Config(disabled=frozenset({"acme"}), strict=True))

    assert names(registry) == ["other"]
    assert registry.failures == ()


def test_a_kind_that_is_disabled_need_not_be_installed(site: Site) -> None:
    assert load(site, configured("corp", disabled=frozenset({"acme"}))).failures == ()


# Instances


def test_two_instances_of_one_kind(site: Site) -> None:
    site.install(acme(SOURCE))

    registry = load(site, configured("north", "south"))

    assert names(registry) == ["north", "south"]
    assert {instance.kind.name for instance in registry.instances} == {"acme"}
    sources: list[Any] = [registry.instance(name).hooks["find"].plugin for name in ("north", "south")]
    assert [source.name for source in sources] == ["north", "south"]


def test_one_instance_with_bad_settings_does_not_take_the_other_with_it(site: Site) -> None:
    site.install(acme(made_by("settings['url']")))
    good = SourceSettings(name="good", kind="acme", settings={"url": "x"})
    bad = SourceSettings(name="bad", kind="acme", settings={}, origin="[[tool.felloe.source]]")

    registry = load(site, Config(sources=(bad, good)))

    assert names(registry) == ["good"]
    (failure,) = registry.failures
    assert failure.startswith("[[tool.felloe.source]]: the settings of source `bad` of felloe-acme 1.0 will not do")


NAMED = "pyproject.toml [[tool.felloe.source]] corp: "
OF_CORP = "the settings of source `corp` of felloe-acme 1.0 will not do: "


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        pytest.param(
            "from felloe.plugin import ConfigError; raise ConfigError('`hue` is no colour', key='hue')",
            f"{NAMED}hue: {OF_CORP}`hue` is no colour (",
            id="the key that it names",
        ),
        pytest.param(
            "from felloe.plugin import ConfigError; raise ConfigError('there is no setting `hue`')",
            f"{NAMED}{OF_CORP}there is no setting `hue` (",
            id="an unknown key",
        ),
        pytest.param("settings['url']", f"{NAMED}{OF_CORP}KeyError: 'url' (", id="a key that is missing"),
        pytest.param("int(settings['hue'])", f"{NAMED}{OF_CORP}ValueError: invalid literal", id="ValueError"),
        pytest.param("len(settings['size'])", f"{NAMED}{OF_CORP}TypeError: object of type", id="TypeError"),
    ],
)
def test_where_the_settings_stand_that_will_not_do(site: Site, tmp_path: Path, statement: str, told: str) -> None:
    site.install(acme(made_by(statement)))
    table = '[[tool.felloe.source]]\nname = "corp"\nkind = "acme"\nhue = "loud"\nsize = 3\n'
    (tmp_path / "pyproject.toml").write_text(table)
    config = Config.load(environ={"FELLOE_CACHE_DIR": "c", **NO_FILES}, cwd=tmp_path)

    registry = load(site, config)

    assert len(registry.failures) == 1
    assert told in registry.failures[0]


def test_where_a_kind_stands_that_nobody_brings(site: Site, tmp_path: Path) -> None:
    (tmp_path / "felloe.toml").write_text('[[source]]\nname = "corp"\nkind = "acme"\n')

    registry = load(site, Config.load(environ={"FELLOE_CACHE_DIR": "c", **NO_FILES}, cwd=tmp_path))

    told = "felloe.toml [[source]] corp: kind: no installed plugin brings sources of kind `acme` (install it"
    assert registry.failures[0].startswith(told)


def test_a_source_may_take_its_settings_apart(site: Site) -> None:
    site.install(acme(made_by("self.token = settings.pop('token')")))
    config = configured("acme", settings={"token": "hunter2"})

    assert [names(load(site, config)) for _ in range(2)] == [["acme"], ["acme"]]
    assert config.sources[0].settings == {"token": "hunter2"}


def test_a_configured_kind_that_is_not_installed(site: Site) -> None:
    site.install(other())

    registry = load(site, configured("corp"))

    assert names(registry) == ["other"]
    (failure,) = registry.failures
    assert failure.startswith("pyproject.toml: kind: no installed plugin brings sources of kind `acme` (install it")
    with pytest.raises(ConfigError):
        load(site, configured("corp", strict=True))


def test_a_configured_kind_that_cannot_be_loaded_is_told_by_both_names(site: Site) -> None:
    site.install(acme("raise RuntimeError"))

    kind, instance = load(site, configured("corp")).failures

    assert kind.startswith(NO_SOURCE)
    assert instance == "source `corp` is not there (its kind `acme` cannot be loaded)"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(Config(), ["acme", "other"], id="nothing configured"),
        pytest.param(configured("corp"), ["corp", "other"], id="configured otherwise"),
        pytest.param(Config(replaced_kinds=frozenset({"acme"})), ["other"], id="replaced"),
        pytest.param(Config(replaced_kinds=frozenset({"acme", "other"})), [], id="all replaced"),
    ],
)
def test_an_instance_is_there_by_default(site: Site, config: Config, expected: list[str]) -> None:
    site.install(acme(SOURCE))
    site.install(other())

    assert names(load(site, config)) == expected


@pytest.mark.parametrize("default", ["    default = False\n", ""])
def test_a_kind_that_is_no_default_is_there_when_it_is_configured(site: Site, default: str) -> None:
    site.install(acme(changed("    default = True\n", default)))

    assert names(load(site)) == []
    assert states(load(site)) == {"acme": "not configured"}
    assert names(load(site, configured("corp"))) == ["corp"]
    assert states(load(site, configured("corp"))) == {"acme": "loaded"}


@pytest.mark.parametrize("code", [SOURCE, made_by("raise RuntimeError")])
def test_a_default_does_not_take_the_name_of_another_source(site: Site, code: str) -> None:
    """Else a pin to the private index `other` could mean the public default of that name."""
    site.install(acme(code))
    site.install(other())

    registry = load(site, configured("other"))

    assert [instance.kind.name for instance in registry.instances] == (["acme"] if code == SOURCE else [])
    told = "pyproject.toml: name: two sources are named `other`, one of them of kind `other` (give each"
    assert registry.failures[-1].startswith(told)


def test_a_name_that_no_source_has(site: Site) -> None:
    site.install(acme("raise RuntimeError"))
    site.install(other())

    with pytest.raises(ConfigError) as raised:
        load(site).instance("acme")

    assert str(raised.value) == "there is no source `acme`"
    assert raised.value.hint.startswith(f"sources that are there: `other`; {NO_SOURCE}RuntimeError")


# Order


def test_the_order_is_that_of_the_configuration_then_of_the_kinds(site: Site) -> None:
    site.install(acme(SOURCE))
    site.install(other("zeta", "beta", "alpha"))

    registry = load(site, configured("second", "first"))

    assert names(registry) == ["second", "first", "alpha", "beta", "zeta"]


def test_the_default_index_is_asked_after_all_others(site: Site) -> None:
    """Whatever their names are: who installs an index of any names wants it asked before the public one."""
    site.install(other("acme", "zeta", "pypi"))

    assert names(load(site, configured("own"))) == ["own", "zeta", "pypi"]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_does_not_depend_on_the_disk(twice: Site, seed: int) -> None:
    twice.install(Plugin("felloe-broken", kinds={"q": "nothing:Q", "p": "nothing:P"}))
    found = twice.entry_points()
    expected = load_registry(Config(), found)

    random.Random(seed).shuffle(found)
    registry = load_registry(Config(), found)

    assert names(registry) == names(expected)
    assert registry.failures == expected.failures
    assert [(kind.name, kind.distribution) for kind in registry.kinds] == [
        (kind.name, kind.distribution) for kind in expected.kinds
    ]


# The environment

TELL = """
from felloe.config import Config
from felloe.registry import load_registry
registry = load_registry(Config.load())
print("pypi" in [instance.name for instance in registry.instances], len(registry.failures))
"""


def test_variables_of_the_environment(site: Site) -> None:
    site.install(acme("raise RuntimeError('no licence')"))
    site.install(Plugin("felloe-other", kinds={"other": "nothing:Source"}))

    both = site.python(TELL)
    neither = site.python(TELL, FELLOE_DISABLE="acme, other")
    strict = site.python(TELL, FELLOE_STRICT="1")

    assert both.stdout == "True 2\n", both.stderr
    assert neither.stdout == "True 0\n", neither.stderr
    assert strict.returncode == 1
    assert strict.stderr.rstrip().endswith("RuntimeError: no licence")
    assert "acme.py" in strict.stderr
