"""Whose a request is: pins and claims in, sources in the order of asking out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import pytest

from felloe.errors import AmbiguousSourceError, ConfigError, FelloeError, PluginError, RequirementError, SourceError
from felloe.registry import Instance, Kind, Registry
from felloe.request import parse_request
from felloe.routing import Claimed, Route, pinned_to, route
from felloe.values import Claim, Level, Origin
from tests.fixtures.plugins import Plugin, make_site

FALLBACK, SCHEME, NAMESPACE = Level.FALLBACK, Level.SCHEME, Level.NAMESPACE
NAME = "acme-core>=1"
URL = "acme-core @ https://acme.example/acme_core-1.0.tar.gz"
FILE = "acme-core @ file:///srv/acme_core-1.0.tar.gz"
BROKEN = ("source `corp` of felloe-corp 1.0 cannot be loaded: no licence",)
PIN = {"acme-*": "b"}

Ask = Any  # the fixture below, as a function


@pytest.fixture(scope="module")
def instances(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Instance]]:
    """Sources a, b and c, each of a kind and a distribution of its own, in this order."""
    with make_site(tmp_path_factory.mktemp("plugins") / "site") as site:
        for name in "abc":
            site.install(Plugin(f"felloe-{name}", kinds={f"kind-{name}": "nothing:Source"}))
        points = sorted(site.entry_points())
        kinds = [Kind(name=point.name, entry_point=point, state="loaded") for point in points]
        yield [Instance(name=name, kind=kind, hooks={}) for name, kind in zip("abc", kinds, strict=True)]


@pytest.fixture
def ask(instances: Sequence[Instance]) -> Ask:
    def ask(
        text: str,
        claims: Mapping[str, Level],
        *,
        pins: Mapping[str, str] | None = None,
        failures: Sequence[str] = (),
        origin: Origin = "user",
    ) -> Route:
        registry = Registry(instances=tuple(instances), kinds=(), failures=tuple(failures))
        claimed = [
            Claimed(registry.instance(name), Claim(level=level, reason=f"{name} said so"))
            for name, level in claims.items()
        ]
        return route(parse_request(text, origin=origin), claimed, registry, pins or {})

    return ask


def names(found: Route) -> str:
    return "".join(source.name for source in found.sources)


ROUTES = [
    pytest.param(NAME, {"a": FALLBACK}, {}, "a", id="one index"),
    pytest.param(NAME, {"a": FALLBACK, "b": FALLBACK, "c": FALLBACK}, {}, "abc", id="indexes, in their order"),
    pytest.param(NAME, {"c": FALLBACK, "a": FALLBACK}, {}, "ca", id="indexes, in another order"),
    pytest.param(NAME, {"a": FALLBACK, "b": NAMESPACE, "c": FALLBACK}, {}, "b", id="a namespace"),
    pytest.param(NAME, {"a": SCHEME, "b": NAMESPACE}, {}, "b", id="a namespace, above a scheme"),
    pytest.param(NAME, {"a": FALLBACK, "b": SCHEME}, {}, "b", id="a scheme, above the indexes"),
    pytest.param(NAME, {"a": FALLBACK, "b": FALLBACK}, {"pins": PIN}, "b", id="a pin"),
    pytest.param(NAME, {"a": NAMESPACE, "b": FALLBACK}, {"pins": PIN}, "b", id="a pin, above a namespace"),
    pytest.param(NAME, {"a": NAMESPACE, "c": NAMESPACE}, {"pins": PIN}, "b", id="a pin settles what is ambiguous"),
    pytest.param(NAME, {"a": FALLBACK}, {"pins": PIN}, "b", id="a pin to who claims nothing"),
    pytest.param(NAME, {}, {"pins": PIN}, "b", id="a pin where nobody claims anything"),
    pytest.param("other", {"a": FALLBACK, "b": FALLBACK}, {"pins": PIN}, "ab", id="a pin of another name"),
    pytest.param("Acme_Core", {"a": FALLBACK}, {"pins": PIN}, "b", id="a pin of a name as it is normalised"),
    pytest.param(NAME, {"a": FALLBACK}, {"pins": PIN, "origin": "dependency"}, "b", id="a pin, for a dependency"),
    pytest.param(NAME, {"a": FALLBACK}, {"pins": PIN, "origin": "build"}, "b", id="a pin, for a build requirement"),
    pytest.param(NAME, {"a": FALLBACK, "b": NAMESPACE}, {"failures": BROKEN}, "b", id="a namespace, one is broken"),
    pytest.param(NAME, {"a": FALLBACK}, {"failures": BROKEN, "pins": PIN}, "b", id="a pin, one is broken"),
    pytest.param(URL, {"a": SCHEME}, {}, "a", id="a URL"),
    pytest.param(FILE, {"a": SCHEME}, {}, "a", id="a file"),
    pytest.param("./acme-core", {"a": SCHEME}, {}, "a", id="a path"),
    pytest.param(URL, {"a": SCHEME}, {"failures": BROKEN}, "a", id="a URL while one is broken"),
    pytest.param(URL, {"a": SCHEME}, {"origin": "dependency"}, "a", id="a URL of a dependency"),
    pytest.param(URL, {"a": SCHEME}, {"pins": PIN}, "a", id="the user goes round a pin by a URL"),
    pytest.param(FILE, {"a": SCHEME}, {"pins": PIN}, "a", id="the user goes round a pin by a file"),
    pytest.param("https://acme.example/x.zip", {"a": SCHEME}, {"pins": {"*": "b"}}, "a", id="a URL without a name"),
]


@pytest.mark.parametrize(("text", "claims", "more", "expected"), ROUTES)
def test_who_is_asked(ask: Ask, text: str, claims: Mapping[str, Level], more: dict[str, Any], expected: str) -> None:
    assert names(ask(text, claims, **more)) == expected


TIES = {"a": NAMESPACE, "c": NAMESPACE}
FALLBACKS = {"a": FALLBACK, "b": FALLBACK}
REFUSALS = [
    pytest.param(NAME, TIES, {}, AmbiguousSourceError, "ambiguous-source", id="two namespaces"),
    pytest.param(NAME, {"a": SCHEME, "c": SCHEME}, {}, AmbiguousSourceError, "ambiguous-source", id="two schemes"),
    pytest.param(URL, {"a": SCHEME, "c": SCHEME}, {}, AmbiguousSourceError, "ambiguous-source", id="two for one URL"),
    pytest.param(NAME, {**TIES, "b": FALLBACK}, {}, AmbiguousSourceError, "ambiguous-source", id="and an index"),
    pytest.param(NAME, FALLBACKS, {"failures": BROKEN}, PluginError, "source-not-loaded", id="one is broken"),
    pytest.param(NAME, {"a": FALLBACK}, {"failures": BROKEN}, PluginError, "source-not-loaded", id="broken, one index"),
    pytest.param(
        NAME, FALLBACKS, {"pins": {"acme-*": "z"}}, ConfigError, "invalid-configuration", id="a pin to no source"
    ),
    pytest.param(NAME, {}, {}, SourceError, "no-source", id="nobody"),
    pytest.param(NAME, {}, {"failures": BROKEN}, SourceError, "no-source", id="nobody, and one is broken"),
    pytest.param(URL, {}, {}, SourceError, "no-source", id="nobody for a URL"),
    pytest.param("./acme", {}, {}, SourceError, "no-source", id="nobody for a path"),
    *(
        pytest.param(
            text,
            {"a": level},
            {"pins": PIN, "origin": origin},
            RequirementError,
            "pinned",
            id=f"a {origin} goes round a pin by {what}",
        )
        for text, what, level in ((URL, "a URL", SCHEME), (FILE, "a file", SCHEME), (URL, "a claim", NAMESPACE))
        for origin in ("dependency", "build")
    ),
]


@pytest.mark.parametrize(("text", "claims", "more", "error", "code"), REFUSALS)
def test_who_is_refused(
    ask: Ask, text: str, claims: Mapping[str, Level], more: dict[str, Any], error: type[FelloeError], code: str
) -> None:
    with pytest.raises(error) as raised:
        ask(text, claims, **more)

    assert type(raised.value) is error
    assert raised.value.code == code
    assert raised.value.hint


@pytest.mark.parametrize("levels", [*product([None, *Level], repeat=3)])
def test_two_are_asked_at_fallback_alone(ask: Ask, levels: Sequence[Level | None]) -> None:
    claims = {name: level for name, level in zip("abc", levels, strict=True) if level is not None}
    highest = max(claims.values(), default=None)
    best = "".join(name for name, level in claims.items() if level == highest)

    if highest is not None and (highest == FALLBACK or len(best) == 1):
        assert names(ask(NAME, claims)) == best
    else:
        with pytest.raises(SourceError):
            ask(NAME, claims)


# What is told


def test_the_reason_of_a_route(ask: Ask) -> None:
    assert ask(NAME, {"a": FALLBACK, "b": NAMESPACE}).reason == "b said so"
    assert ask(NAME, {"a": FALLBACK}, pins=PIN).reason == "pinned to `b`"
    assert ask(NAME, FALLBACKS).reason == "the first of these that knows the project answers"


def test_an_ambiguity_names_who_claims_and_what_settles_it(ask: Ask) -> None:
    with pytest.raises(AmbiguousSourceError) as raised:
        ask(NAME, TIES)

    assert str(raised.value) == (
        "`acme-core>=1` is claimed by `a` (of felloe-a: a said so) and `c` (of felloe-c: c said so)"
    )
    assert raised.value.hint == 'say which one, under [tool.felloe.pins] in pyproject.toml: "acme-core" = "a"'
    assert raised.value.payload == {"sources": ["a", "c"]}


@pytest.mark.parametrize("text", [URL, "https://acme.example/x.zip", "./acme"])
def test_an_ambiguity_that_no_pin_settles(ask: Ask, text: str) -> None:
    with pytest.raises(AmbiguousSourceError) as raised:
        ask(text, {"a": SCHEME, "c": SCHEME})

    hint = "uninstall one of them, or do without all sources of kind `kind-a`: FELLOE_DISABLE=kind-a"
    assert raised.value.hint == hint


def test_a_broken_source_is_named(ask: Ask) -> None:
    with pytest.raises(PluginError) as raised:
        ask(NAME, FALLBACKS, failures=(*BROKEN, "another"))

    told = f"`acme-core>=1` is not asked of any index while a source is broken: {BROKEN[0]}; another"
    assert str(raised.value) == told


@pytest.mark.parametrize(
    ("text", "failures", "message", "hint"),
    [
        (NAME, (), "`acme-core>=1` (a name)", "no index is configured"),
        (NAME, BROKEN, "`acme-core>=1` (a name)", "source `corp`"),
        (
            "https://acme.example/x.zip",
            (),
            "`https://acme.example/x.zip` (a URL of scheme `https`)",
            "install the plugin",
        ),
        ("./acme", (), "`./acme` (a path)", "install the plugin"),
        ("./acme", BROKEN, "`./acme` (a path)", "source `corp`"),
    ],
)
def test_that_nobody_answers_says_what_is_missing(
    ask: Ask, text: str, failures: Sequence[str], message: str, hint: str
) -> None:
    with pytest.raises(SourceError) as raised:
        ask(text, {}, failures=failures)

    assert str(raised.value) == f"no source answers for {message}"
    assert raised.value.hint.startswith(hint)


def test_going_round_a_pin_names_the_pin(ask: Ask) -> None:
    with pytest.raises(RequirementError) as raised:
        ask(URL, {"a": SCHEME}, pins=PIN, origin="dependency")

    assert str(raised.value) == f"`{URL}` names another place for `acme-core`, which is pinned to `b`"


# Pins

PINS = {"acme": "exact", "acme-*": "prefix", "*-internal": "suffix", "te?t": "letter", "[xy]z": "set"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("acme", "exact"),
        ("acme-core", "prefix"),
        ("acme-internal", "prefix"),  # the first that fits, in the order of the file
        ("tool-internal", "suffix"),
        ("test", "letter"),
        ("xz", "set"),
        ("acmeology", None),
        ("my-acme", None),
        ("Acme-Core", None),  # names come normalised
        ("tet", None),
        ("", None),
        (None, None),
    ],
)
def test_what_a_name_is_pinned_to(name: str | None, expected: str | None) -> None:
    assert pinned_to(name, PINS) == expected
