"""Which variables a backend gets, which of them its build depends on, and which are told to be left out."""

from __future__ import annotations

import pytest

from felloe.build.variables import left_out, naming_left_out, of_role, passed, role_of, told
from felloe.errors import BuildError
from tests.unit.test_fingerprint import READ_BY_BACKENDS, READ_BY_COMPILERS

SECRET = "https://user:pa55-w0rd@example.com/simple/"
ALWAYS = {"SOURCE_DATE_EPOCH": "315619200", "PYTHONHASHSEED": "0"}
# fmt: off
SURROUNDINGS = [
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy",
    "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO",
    "SYSTEMROOT", "PATHEXT", "PYTHONHASHSEED", "FELLOE_BUILD", "FELLOE_WAITING_BUILDS",
]
NOT_FOR_BACKENDS = [
    # of indexes, with passwords
    "FELLOE_INDEX_URL", "FELLOE_INDEX_ACME_PASSWORD", "UV_INDEX_URL", "UV_INDEX_ACME_PASSWORD", "PIP_INDEX_URL",
    # what leads to another environment, or changes how Python works
    "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONSAFEPATH", "VIRTUAL_ENV", "CONDA_PREFIX",
    "__PYVENV_LAUNCHER__",
    # what leads git to another repository, or says what nobody can tell
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_COUNT", "GIT_CONFIG_VALUE_0",
    # what is nobody's business
    "ACME_TOKEN", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK", "HOME", "USERPROFILE", "TMPDIR", "TERM", "XDG_CACHE_HOME",
    "FLAG", "CCX", "ld", "path", "", "*",
]
# fmt: on


@pytest.mark.parametrize(
    ("names", "role"),
    [
        (READ_BY_BACKENDS, "settings"),
        (READ_BY_COMPILERS, "toolchain"),
        (SURROUNDINGS, "surroundings"),
        (NOT_FOR_BACKENDS, None),
    ],
)
def test_what_a_variable_is_to_a_build(names: list[str], role: str | None) -> None:
    assert {name: role_of(name) for name in names} == dict.fromkeys(names, role)


@pytest.mark.parametrize(
    ("name", "also", "is_meant"),
    [
        ("ACME_HOME", ("ACME_HOME",), True),
        ("ACME_HOME", ("OTHER", "ACME_*"), True),
        ("ACME_", ("ACME_*",), True),
        ("ACME", ("ACME_*",), False),
        ("ACME_HOME", ("ACME",), False),
        ("acme_home", ("ACME_*",), False),
        ("ACME_HOME", ("*",), True),
        ("HOME", ("HOME",), True),
    ],
)
def test_what_a_user_names_is_a_setting(name: str, also: tuple[str, ...], is_meant: bool) -> None:
    assert role_of(name, also) == ("settings" if is_meant else None)
    assert (name in passed({name: "x"}, also)) is is_meant
    assert left_out({name: "x"}, also) == (() if is_meant else (name,))


def test_what_differs_in_each_run_is_none() -> None:
    assert role_of("FELLOE_BUILD", ("FELLOE_*",)) == "surroundings"


def test_what_counts_already_is_a_setting_where_a_user_names_it() -> None:
    assert role_of("CFLAGS", ("CFLAGS",)) == "settings"


def test_backends_get_what_counts_and_what_is_around_it_and_nothing_else() -> None:
    wanted = dict.fromkeys([*READ_BY_BACKENDS, *READ_BY_COMPILERS, *SURROUNDINGS], "any")

    assert passed({**wanted, **dict.fromkeys(NOT_FOR_BACKENDS, SECRET)}) == wanted


@pytest.mark.parametrize(
    ("environ", "more"),
    [
        ({}, {}),
        ({"HOME": ""}, {}),
        ({"HOME": "/home/me"}, {"CARGO_HOME": "/home/me/.cargo", "RUSTUP_HOME": "/home/me/.rustup"}),
        ({"HOME": "/home/me", "CARGO_HOME": "/c"}, {"CARGO_HOME": "/c", "RUSTUP_HOME": "/home/me/.rustup"}),
        ({"USERPROFILE": "/me"}, {"CARGO_HOME": "/me/.cargo", "RUSTUP_HOME": "/me/.rustup"}),
        ({"SOURCE_DATE_EPOCH": "1", "PYTHONHASHSEED": "7"}, {"SOURCE_DATE_EPOCH": "1", "PYTHONHASHSEED": "7"}),
        ({"SOURCE_DATE_EPOCH": "", "PYTHONHASHSEED": ""}, {}),
    ],
)
def test_what_backends_get_besides(environ: dict[str, str], more: dict[str, str]) -> None:
    assert passed(environ) == {**ALWAYS, **more}


# What is told of them


def test_what_is_left_out_is_told_but_not_what_no_build_reads() -> None:
    noise = [
        "_",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "SHELL",
        "USER",
        "TERM",
        "TERM_PROGRAM",
        "COLORTERM",
        "LS_COLORS",
        "DISPLAY",
    ]
    noise += ["HOME", "TMPDIR", "FELLOE_INDEX_URL", "SSH_AUTH_SOCK", "XDG_SESSION_ID", "DBUS_SESSION_BUS_ADDRESS"]
    environ = dict.fromkeys([*noise, "PATH", "CC", "PYTHONPATH", "ACME_TOKEN", "PIP_INDEX_URL"], SECRET)

    assert left_out(environ) == ("ACME_TOKEN", "PIP_INDEX_URL", "PYTHONPATH")
    assert left_out({}) == ()


def test_what_is_left_out_is_bounded() -> None:
    names = [f"N{number:04}" for number in range(1000)]

    found = left_out(dict.fromkeys(reversed(names), ""))

    assert found == tuple(names[:100])
    assert told(found).endswith("N0011 and 88 more")
    assert told(found[:12]) == ", ".join(names[:12])


def test_a_failure_names_them() -> None:
    error = BuildError("it failed", hint="look", code="build-failed", hook="build_wheel", tail=["x"])

    found = naming_left_out(error, ("A", "B"))

    assert found.message.splitlines()[0] == "it failed"
    assert "it did not get A, B" in found.message.splitlines()[1]
    assert (found.hint, found.code) == ("look", "build-failed")
    assert found.payload == {"hook": "build_wheel", "tail": ["x"], "left-out": ["A", "B"]}
    assert naming_left_out(found, ("C",)) is found


def test_a_failure_without_them() -> None:
    error = BuildError("it failed", hook="build_wheel")

    assert naming_left_out(error, ()).message == "it failed"
    assert naming_left_out(error, ()).payload["left-out"] == []
    for other in (BuildError("no project"), BuildError("not started", hook="")):
        assert naming_left_out(other, ("A",)) is other


@pytest.mark.parametrize(("value", "counts"), [("315619200", False), ("315619201", True), ("", True)])
def test_the_value_that_every_backend_gets_does_not_count(value: str, counts: bool) -> None:
    # A felloe that a backend runs finds what was built outside.
    assert bool(of_role("settings", {"SOURCE_DATE_EPOCH": value})) is counts
