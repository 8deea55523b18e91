"""Tables for selection: what is listed, what is asked for, and which of it is taken or why none is."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.markers import default_environment
from packaging.specifiers import SpecifierSet
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from felloe.config import Policy
from felloe.errors import NoMatchError, RequirementError
from felloe.request import Expanded, parse_request
from felloe.select import ranked, select
from felloe.values import Dist, Interpreter

PLATFORMS = ["manylinux_2_34_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "linux_x86_64"]
TAGS = (*cpython_tags((3, 11), ["cp311"], PLATFORMS), *compatible_tags((3, 11), "cp311", PLATFORMS))
A, B, C = ("a" * 64, "b" * 64, "c" * 64)
NOON = "2024-01-31T12:00:00Z"
NOON_SECONDS = 1706702400.0


def interpreter(full_version: str = "3.11.7", **fields: Any) -> Interpreter:
    release = full_version.partition("rc")[0].removesuffix("+")
    markers = {**default_environment(), "python_version": "3.11", "python_full_version": full_version}
    tags = tuple(map(str, TAGS))
    return Interpreter(**{"path": Path("python"), "version": release, "tags": tags, "markers": markers, **fields})


def dist(filename: str, **fields: Any) -> Dist:
    """A file of the project foo; the version is that of its name."""
    is_wheel = filename.endswith(".whl")
    version = filename.removesuffix(".tar.gz").removesuffix(".zip").split("-")[1]
    kind = "wheel" if is_wheel else "sdist"
    return Dist(**{"source": "index", "kind": kind, "filename": filename, "name": "foo", "version": version, **fields})


def listed(*versions: str, **fields: Any) -> list[Dist]:
    """An sdist of each version."""
    return [dist(f"foo-{version}.tar.gz", **fields) for version in versions]


def tree(**fields: Any) -> Dist:
    return Dist(**{"source": "path", "kind": "tree", "filename": "foo", "name": "foo", **fields})


def taken(dists: list[Dist], text: str = "foo", policy: Policy | None = None, python: str = "3.11.7") -> str:
    return select(dists, parse_request(text, cwd=Path("/")), interpreter(python), policy or Policy()).filename


def refusal(dists: list[Dist], text: str = "foo", policy: Policy | None = None, python: str = "3.11.7") -> NoMatchError:
    with pytest.raises(NoMatchError) as caught:
        taken(dists, text, policy, python)
    return caught.value


# Versions


@pytest.mark.parametrize(
    ("versions", "text", "expected"),
    [
        (["1.0", "1.10", "1.9"], "foo", "1.10"),
        (["2!0.1", "1.10"], "foo", "2!0.1"),
        (["1.0", "1.0.post1"], "foo", "1.0.post1"),
        (["1.0", "1.0+local"], "foo", "1.0+local"),
        (["1.0", "1.0+local"], "foo==1.0", "1.0+local"),
        (["1.0", "1.1", "2.0"], "foo<2", "1.1"),
        (["1.0", "1.1", "2.0"], "foo~=1.0", "1.1"),
        (["1.0", "1.1", "2.0"], "foo!=2.0", "1.1"),
        (["1.0", "1.1", "2.0"], "foo==1.*", "1.1"),
        (["1.0", "1.1"], "foo==1.0.0", "1.0"),
        (["1.0.0", "1.1"], "foo==1", "1.0.0"),
        # the text of the version, not that of the file name
        (["1.0.0", "1.0"], "foo===1.0", "1.0"),
        (["1.0", "v1.0.0"], "foo===1.0.0", "v1.0.0"),
        (["1.0", "1.0.RC1"], "foo===1.0rc1", "1.0.RC1"),
        (["1.0", "1.0.RC1"], "foo===1.0RC1", "1.0.RC1"),
        (["1.0", "1.0-1"], "foo===1.0.post1", "1.0-1"),
        # what is no version is as if it were not listed, but for those who ask for that very text
        (["1.0", "9.9-SNAPSHOT", "latest", ""], "foo", "1.0"),
        (["1.0", "9.9-SNAPSHOT", "latest", ""], "foo>=1", "1.0"),
        (["1.0", "9.9-SNAPSHOT", "latest", ""], "foo===9.9-snapshot", "9.9-SNAPSHOT"),
        (["1.0", "9" * 5000, "9." * 200 + "9"], "foo", "1.0"),
        (["1.0", "9" * 5000, "9." * 200 + "9"], "foo>0,===1.0", "1.0"),
    ],
)
def test_the_highest_version_that_the_specifier_allows(versions: list[str], text: str, expected: str) -> None:
    dists = [dist(f"foo-{position}.tar.gz", version=version) for position, version in enumerate(versions)]
    assert taken(dists, text) == f"foo-{versions.index(expected)}.tar.gz"


@pytest.mark.parametrize(
    ("versions", "text", "prereleases", "expected"),
    [
        (["1.0", "2.0rc1"], "foo", None, "1.0"),
        (["1.0", "2.0.dev1"], "foo", None, "1.0"),
        (["1.0a1", "2.0rc1"], "foo", None, "2.0rc1"),
        (["1.0", "2.0rc1"], "foo>1.0", None, "2.0rc1"),
        (["1.0", "2.0rc1"], "foo>=1.0b1", None, "2.0rc1"),
        (["1.0", "2.0rc1"], "foo==2.0rc1", None, "2.0rc1"),
        (["1.0", "2.0rc1"], "foo!=2.0rc2", None, "1.0"),
        (["1.0", "2.0rc1"], "foo", True, "2.0rc1"),
        (["1.0", "2.0rc1"], "foo<2", True, "1.0"),
        (["1.0", "2.0rc1"], "foo>=1.0b1", False, "1.0"),
    ],
)
def test_prereleases(versions: list[str], text: str, prereleases: bool | None, expected: str) -> None:
    assert taken(listed(*versions), text, Policy(prereleases=prereleases)) == f"foo-{expected}.tar.gz"


@pytest.mark.parametrize("yanked", [False, True])
@pytest.mark.parametrize("upload_time", ["2030-01-01T00:00:00Z", None])
def test_a_file_that_is_as_if_not_listed_keeps_no_prerelease_out(upload_time: str | None, yanked: bool) -> None:
    dists = [*listed("1.0rc1", upload_time=NOON), *listed("1.0", upload_time=upload_time, yanked=yanked)]
    assert taken(dists, policy=Policy(exclude_newer=NOON_SECONDS + 1)) == "foo-1.0rc1.tar.gz"


@pytest.mark.parametrize(
    ("versions", "yanked", "text", "prereleases", "expected"),
    [
        (["1.0rc1"], ["1.0"], "foo", None, None),
        (["1.0rc1", "2.0rc1"], ["0.9", "1.0"], "foo>=0.9", None, None),
        (["1.0rc1"], ["1.0"], "foo", True, "1.0rc1"),
        (["1.0rc1"], ["1.0"], "foo>=1.0rc1", None, "1.0rc1"),
        (["1.0rc1"], ["1.0"], "foo==1.0rc1", None, "1.0rc1"),
        (["1.0rc1"], ["1.0"], "foo==1.0", None, "1.0"),
        # it does not count where it could not be meant
        (["1.0rc1"], ["1.0"], "foo<1.0", None, None),
        (["0.9rc1"], ["1.0"], "foo<1.0", None, "0.9rc1"),
        (["1.0rc1"], ["1.0rc2"], "foo", None, "1.0rc1"),
        (["0.9", "1.0rc1"], ["1.0"], "foo", None, "0.9"),
    ],
)
def test_that_a_version_is_yanked_moves_nobody_to_a_prerelease(
    versions: list[str], yanked: list[str], text: str, prereleases: bool | None, expected: str | None
) -> None:
    dists, policy = [*listed(*versions), *listed(*yanked, yanked=True)], Policy(prereleases=prereleases)
    if expected is None:
        refusal(dists, text, policy)
    else:
        assert taken(dists, text, policy) == f"foo-{expected}.tar.gz"


def test_a_file_that_does_not_fit_keeps_prereleases_out() -> None:
    error = refusal([*listed("1.0", requires_python=">=3.12"), *listed("2.0rc1")])
    assert str(error) == (
        "`foo` has no distribution for Python 3.11 on linux_x86_64: 1 needs Python >=3.12, 1 is a pre-release"
    )
    assert "name one in the requirement" in error.hint


VERSIONS = st.builds(
    "{}{}.{}{}".format,
    st.sampled_from(["", "", "1!"]),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from(["", "", ".0", "a1", "rc2", ".post1", ".dev3", "a1.dev2", "+local", "-1"]),
)
SPECIFIERS = st.lists(
    st.builds(
        "{}{}".format,
        st.sampled_from(["==", "!=", ">=", "<=", ">", "<", "~=", "==="]),
        VERSIONS.filter(lambda text: "+" not in text and "-" not in text),
    ),
    max_size=3,
).map(",".join)


@pytest.mark.oracle
@settings(max_examples=400, deadline=None)
@given(versions=st.lists(VERSIONS, max_size=8), specifier=SPECIFIERS, prereleases=st.sampled_from([None, True, False]))
def test_versions_as_packaging_filters_them(versions: list[str], specifier: str, prereleases: bool | None) -> None:
    allowed = list(SpecifierSet(specifier).filter(map(Version, versions), prereleases=prereleases))
    dists = [dist(f"foo-{position}.tar.gz", version=version) for position, version in enumerate(versions)]
    policy = Policy(prereleases=prereleases)
    if not allowed:
        assert refusal(dists, f"foo{specifier}", policy).code == "no-matching-distribution"
        return
    chosen = select(dists, parse_request(f"foo{specifier}"), interpreter(), policy)
    assert Version(chosen.version or "") == max(allowed)


# Kinds


@pytest.mark.parametrize(
    ("no_binary", "only_binary", "expected"),
    [
        ([], [], "wheel"),
        ([":all:"], [], "sdist"),
        (["foo"], [], "sdist"),
        (["bar"], [], "wheel"),
        ([], [":all:"], "wheel"),
        ([], ["foo"], "wheel"),
        # a name outranks :all:
        ([":all:"], ["foo"], "wheel"),
        (["foo"], [":all:"], "sdist"),
    ],
)
def test_wheel_or_sdist(no_binary: list[str], only_binary: list[str], expected: str) -> None:
    files = {"sdist": "foo-1.0.tar.gz", "wheel": "foo-1.0-py3-none-any.whl"}
    policy = Policy(no_binary=frozenset(no_binary), only_binary=frozenset(only_binary))
    assert taken([dist(file) for file in files.values()], policy=policy) == files[expected]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(), "foo-2.0.tar.gz"),
        (Policy(only_binary=frozenset({"foo"})), "foo-1.0-py3-none-any.whl"),
        (Policy(no_binary=frozenset({"foo"})), "foo-2.0.tar.gz"),
    ],
)
def test_the_version_counts_more_than_the_kind(policy: Policy, expected: str) -> None:
    assert taken([dist("foo-1.0-py3-none-any.whl"), *listed("2.0")], policy=policy) == expected


def test_wheels_and_sdists_of_one_version_that_is_written_in_two_ways() -> None:
    assert taken([dist("foo-1.0.0.tar.gz"), dist("foo-1.0-py3-none-any.whl")]) == "foo-1.0-py3-none-any.whl"


# Tags, in the order in which they are preferred
WHEELS = [
    "foo-1.0-cp311-cp311-manylinux_2_34_x86_64.whl",
    "foo-1.0-2-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "foo-1.0-1b-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "foo-1.0-1a-cp310.cp311-cp310.cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "foo-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
    "foo-1.0-cp311-cp311-manylinux2014_x86_64.whl",
    "foo-1.0-cp311-cp311-linux_x86_64.whl",
    "foo-1.0-cp39-abi3-linux_x86_64.whl",
    "foo-1.0-py3-none-linux_x86_64.whl",
    "foo-1.0-9-py3-none-any.whl",
    "foo-1.0-py2.py3-none-any.whl",
]


@pytest.mark.parametrize(("better", "worse"), list(itertools.pairwise(WHEELS)))
def test_wheels_by_tags_then_by_build_number(better: str, worse: str) -> None:
    assert taken([dist(better), dist(worse)]) == better
    assert taken([dist(worse), dist(better)]) == better


@pytest.mark.parametrize(
    "filename",
    [
        "foo-1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
        "foo-1.0-cp311-cp311-manylinux_2_17_aarch64.whl",
        "foo-1.0-cp311-cp311t-linux_x86_64.whl",
        "foo-1.0-cp312-abi3-linux_x86_64.whl",
        "foo-1.0-py2-none-any.whl",
        "foo-1.0-cp39-none-any.whl",
        "foo-1.0-py3--any.whl",
        "foo-1.0-py3-none-any.x-any.whl",
        "foo-1.0-x-py3-none-any.whl",
        f"foo-1.0-{'1' * 5000}-py3-none-any.whl",
        "foo-1.0-none-any.whl",
        "foo-1.0.whl",
    ],
)
def test_a_wheel_that_does_not_fit_is_passed_over(filename: str) -> None:
    assert taken([dist(filename), *listed("0.9")]) == "foo-0.9.tar.gz"


def test_tags_are_compared_without_regard_to_case() -> None:
    assert taken([dist("Foo-1.0-Py3-None-Any.whl")]) == "Foo-1.0-Py3-None-Any.whl"


def test_names_that_stand_for_billions_of_tags() -> None:
    pythons, abis, platforms = (".".join([f"x{number}" for number in range(2000)] + [tag]) for tag in ("py3", "x", "y"))
    names = [f"foo-1.{number}-{pythons}-none.{abis}-any.{platforms}.whl" for number in range(100)]
    assert taken([dist(name) for name in names]) == names[-1]


PARTS = {
    "python": ["cp311", "cp310", "cp39", "cp312", "py3", "py311", "py2", "pp311"],
    "abi": ["cp311", "abi3", "none", "cp310", "cp311d"],
    "platform": [*PLATFORMS, "any", "win_amd64", "macosx_11_0_arm64", "manylinux_2_35_x86_64"],
}
COMPRESSED = [st.sets(st.sampled_from(values), min_size=1, max_size=3).map(sorted) for values in PARTS.values()]
WHEEL_NAMES = st.builds(
    lambda build, *tags: "-".join(["foo", "1.0", *build, *map(".".join, tags)]) + ".whl",
    st.sampled_from([[], [], ["1"], ["2"], ["10"], ["2_a"]]),
    *COMPRESSED,
)


@pytest.mark.oracle
@settings(max_examples=400, deadline=None)
@given(names=st.lists(WHEEL_NAMES, min_size=1, max_size=12, unique=True))
def test_wheels_as_packaging_orders_tags(names: list[str]) -> None:
    def preference(name: str) -> tuple[int, Any]:
        _, _, build, tags = parse_wheel_filename(name)
        return max(-TAGS.index(tag) for tag in tags if tag in TAGS), build

    fitting = [name for name in names if parse_wheel_filename(name)[3] & set(TAGS)]
    if not fitting:
        assert refusal([dist(name) for name in names]).payload["counts"] == {"other-tags": len(names)}
        return
    chosen = taken([dist(name) for name in names])
    assert preference(chosen) == max(map(preference, fitting))


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_order_of_the_list_does_not_matter(order: tuple[int, ...]) -> None:
    names = ["foo-1.0.zip", "foo-1.0.tar.gz", "foo-1.0.0.zip", "foo-0.9-py3-none-any.whl"]
    assert taken([dist(names[position]) for position in order]) == "foo-1.0.tar.gz"


def test_all_that_would_do_in_order() -> None:
    names = ["foo-2.0-cp311-cp311-linux_x86_64.whl", "foo-2.0-py3-none-any.whl", "foo-2.0.tar.gz", "foo-1.0.tar.gz"]
    dists = [*map(dist, reversed(names)), dist("foo-3.0-py2-none-any.whl"), *listed("3.0rc1", "2.1", yanked=True)]
    found = ranked(dists, parse_request("foo"), interpreter(), Policy())
    assert [each.filename for each in found] == names
    assert ranked(dists, parse_request("foo>3"), interpreter(), Policy()) == []


def test_the_file_name_settles_what_nothing_else_does() -> None:
    names = ["foo-1.0-py3-none-any.whl", "foo-1.0-py2.py3-none-any.whl"]
    assert taken([dist(name) for name in names]) == taken([dist(name) for name in reversed(names)]) == names[0]


# requires-python


@pytest.mark.parametrize(
    ("requires", "python", "fits"),
    [
        (">=3.8", "3.11.7", True),
        (">=3.11.7", "3.11.7", True),
        (">=3.11.8", "3.11.7", False),
        ("<3.11", "3.11.7", False),
        ("==3.11.*", "3.11.7", True),
        ("!=3.11.*", "3.11.7", False),
        (">=3.8,<3.12", "3.11.7", True),
        (">=3.8", "3.14.0rc2", True),
        ("<3.14", "3.14.0rc2", False),
        (">=3.14.0rc1", "3.14.0rc2", True),
        (">=3.14", "3.14.0rc2", True),
        ("<3.14.0rc3", "3.14.0rc2", True),
        (">3.14", "3.14.0rc2", False),
        (">=3.11", "3.11.7+", True),
        # what is no specifier counts as not there
        ("", "3.11.7", True),
        ("3.12", "3.11.7", True),
        (">=3.12.*", "3.11.7", True),
        (">='3.12'", "3.11.7", True),
        ("~=3.12.po\u017ft1", "3.11.7", True),
        (">=" + "9" * 5000, "3.11.7", True),
        (">=4," * 1000, "3.11.7", True),
    ],
)
def test_requires_python(requires: str, python: str, fits: bool) -> None:
    dists = [*listed("1.0"), *listed("2.0", requires_python=requires)]
    assert taken(dists, python=python) == f"foo-{'2.0' if fits else '1.0'}.tar.gz"


def test_a_python_that_does_not_say_its_version_in_full() -> None:
    dists = [*listed("1.0"), *listed("2.0", requires_python="<3.11")]
    chosen = select(dists, parse_request("foo"), interpreter(markers={}), Policy())
    assert chosen.version == "1.0"


# Yanked (PEP 592)


@pytest.mark.parametrize(
    ("text", "constraints", "expected"),
    [
        ("foo", (), "1.0"),
        ("foo>=1.0", (), "1.0"),
        ("foo>1.0", (), None),
        ("foo==2.*", (), None),
        ("foo==2.0", (), "2.0"),
        ("foo===2.0", (), "2.0"),
        ("foo<=2.0,==2.0", (), "2.0"),
        ("foo", ("foo==2.0",), "2.0"),
        ("foo", ("foo>1.0",), None),
    ],
)
@pytest.mark.parametrize("yanked", [True, "it was broken"])
def test_yanked_files_are_for_those_who_pin(
    text: str, constraints: tuple[str, ...], expected: str | None, yanked: bool | str
) -> None:
    dists = [*listed("1.0"), *listed("2.0", yanked=yanked)]
    policy = Policy(constraints=constraints)
    if expected is None:
        assert refusal(dists, text, policy).payload["counts"] == {"yanked": 1}
    else:
        assert taken(dists, text, policy) == f"foo-{expected}.tar.gz"


@pytest.mark.parametrize(
    ("yanked", "others"),
    [
        ("foo-1.0-py3-none-any.whl", ["foo-1.0.tar.gz"]),
        ("foo-1.0+local.tar.gz", ["foo-1.0.tar.gz"]),
    ],
)
def test_a_yanked_file_is_the_last_that_will_do(yanked: str, others: list[str]) -> None:
    dists = [dist(yanked, yanked=True), *map(dist, others)]
    found = ranked(dists, parse_request("foo==1.0"), interpreter(), Policy())
    assert [each.filename for each in found] == [*others, yanked]


# exclude-newer (PEP 700)


@pytest.mark.parametrize(
    ("upload_time", "reason"),
    [
        ("2024-01-31T11:59:59.999999Z", None),
        ("2024-01-31T11:59:59Z", None),
        ("2024-01-31T12:59:59+01:00", None),
        ("0001-01-01T00:00:00+23:59", None),
        (NOON, "too-new"),
        ("2024-01-31T12:30:00+00:30", "too-new"),
        ("9999-12-31T23:59:59-23:59", "too-new"),
        (None, "undated"),
        ("", "undated"),
        ("yesterday", "undated"),
        ("2024-01-30", "undated"),
        ("2024-01-30T12:00:00", "undated"),
        ("1" * 5000, "undated"),
    ],
)
def test_exclude_newer(upload_time: str | None, reason: str | None) -> None:
    dists, policy = listed("1.0", upload_time=upload_time), Policy(exclude_newer=NOON_SECONDS)
    if reason is None:
        assert taken(dists, policy=policy) == "foo-1.0.tar.gz"
    else:
        assert refusal(dists, policy=policy).payload["counts"] == {reason: 1}
    assert taken(dists) == "foo-1.0.tar.gz"


# Hashes


@pytest.mark.parametrize(
    ("hashes", "reason"),
    [
        ({"sha256": A}, None),
        ({"sha256": B}, None),
        ({"sha256": C}, "other-hash"),
        # no hash of an allowed algorithm: the bytes will tell
        ({}, None),
        ({"md5": "c" * 32}, None),
        ({"sha512": "c" * 128}, None),
        # what is allowed by one algorithm is allowed
        ({"sha256": A, "sha384": "c" * 96}, None),
        ({"sha256": C, "sha384": "d" * 96}, None),
        ({"sha256": C, "sha384": "c" * 96}, "other-hash"),
    ],
)
def test_hashes(hashes: dict[str, str], reason: str | None) -> None:
    text = f"foo --hash=sha256:{A} --hash=sha256:{B} --hash=sha384:{'d' * 96}"
    if reason is None:
        assert taken(listed("1.0", hashes=hashes), text) == "foo-1.0.tar.gz"
    else:
        assert refusal(listed("1.0", hashes=hashes), text).payload["counts"] == {reason: 1}


@pytest.mark.parametrize(
    ("content", "reason"), [(None, None), (f"sha256:{A}", None), (f"sha256:{C}", "other-hash"), ("git:abc", None)]
)
def test_a_content_id_is_a_declared_hash(content: str | None, reason: str | None) -> None:
    dists, text = listed("1.0", content=content), f"foo --hash=sha256:{A}"
    if reason is None:
        assert taken(dists, text) == "foo-1.0.tar.gz"
    else:
        assert refusal(dists, text).payload["counts"] == {reason: 1}


def test_bytes_that_are_known_to_be_allowed_come_first() -> None:
    dists = [dist("foo-1.0-py3-none-any.whl"), dist("foo-1.0.tar.gz", hashes={"sha256": A})]
    assert taken(dists, f"foo --hash=sha256:{A}") == "foo-1.0.tar.gz"
    assert taken(dists) == "foo-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("files", "text", "expected"),
    [
        # whatever the version, and whether it is yanked
        ({"2.0": {}, "1.0": {"hashes": {"sha256": A}}}, "foo", ["1.0", "2.0"]),
        ({"2.0": {"hashes": {"md5": "c" * 32}}, "1.0": {"hashes": {"sha256": A}}}, "foo", ["1.0", "2.0"]),
        ({"2.0": {}, "1.0": {"content": f"sha256:{A}"}}, "foo", ["1.0", "2.0"]),
        (
            {"1.0+a": {}, "1.0": {"hashes": {"sha256": A}, "yanked": True}},
            "foo==1.0",
            ["1.0", "1.0+a"],
        ),
        # among those that have one, and among those of which the bytes have to tell, the highest
        (
            {"4.0": {}, "3.0": {}, "2.0": {"hashes": {"sha256": B}}, "1.0": {"hashes": {"sha256": A}}},
            "foo",
            ["2.0", "1.0", "4.0", "3.0"],
        ),
        ({"2.0": {}, "1.0": {}}, "foo", ["2.0", "1.0"]),
        # what it is not allowed for another reason stays out
        ({"2.0": {}, "1.0": {"hashes": {"sha256": A}}, "1.5": {"hashes": {"sha256": C}}}, "foo>1", ["2.0"]),
        ({"2.0": {}, "1.0": {"hashes": {"sha256": A}, "requires_python": "<3"}}, "foo", ["2.0"]),
        ({"1.0": {}, "2.0rc1": {"hashes": {"sha256": A}}}, "foo", ["1.0"]),
    ],
)
def test_what_has_an_allowed_hash_comes_before_all_versions(
    files: dict[str, dict[str, Any]], text: str, expected: list[str]
) -> None:
    dists = [one for version, fields in files.items() for one in listed(version, **fields)]
    request = parse_request(f"{text} --hash=sha256:{A} --hash=sha256:{B}")
    assert [each.version for each in ranked(dists, request, interpreter(), Policy())] == expected


def test_of_several_files_the_one_with_an_allowed_hash() -> None:
    dists = [
        dist("foo-1.0-py3-none-any.whl", hashes={"sha256": A}),
        dist("foo-1.0.tar.gz", hashes={"sha256": B}),
        dist("foo-1.1.tar.gz", hashes={"sha256": C}),
    ]
    assert taken(dists, f"foo>=1 --hash=sha256:{B}") == "foo-1.0.tar.gz"


# Constraints


@pytest.mark.parametrize(
    ("constraints", "expected"),
    [
        (["foo<2"], "1.1"),
        (["Foo<2", "bar<1"], "1.1"),
        (["foo<2", "foo!=1.1"], "1.0"),
        (["foo[extra]<2"], "1.1"),
        (["bar<2"], "2.0"),
        (["foo"], "2.0"),
        (["foo>=3rc1,<4"], "3.0rc1"),
        (['foo<2; python_version < "3.9"', 'foo!=2.0; python_version >= "3.11"'], "1.1"),
        (['foo @ https://example.com/foo.whl ; python_version < "3.9"'], "2.0"),
        (["bar @ https://example.com/bar.whl"], "2.0"),
    ],
)
def test_constraints(constraints: list[str], expected: str) -> None:
    policy = Policy(constraints=tuple(constraints))
    assert taken(listed("1.0", "1.1", "2.0", "3.0rc1"), policy=policy) == f"foo-{expected}.tar.gz"


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ("foo @ https://me:secret@example.com/foo.whl", "is a URL, and a constraint can only limit versions"),
        ("foo<<2", "`foo<<2` is not a requirement"),
        ("bar<<2", "`bar<<2` is not a requirement"),
        ('foo<2; os_name ~= "x"', "has no meaning"),
    ],
)
def test_constraints_that_are_none(constraint: str, message: str) -> None:
    with pytest.raises(RequirementError) as caught:
        taken(listed("1.0"), policy=Policy(constraints=(constraint,)))
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("foo==1.0+${PW}", "`foo` (constrained to `foo==1.0+${PW}`) does not match the only version that is there"),
        ("foo @ https://example.com/${PW}/foo.whl", "constraint `foo @ https://example.com/${PW}/foo.whl` is a URL"),
        ('foo; python_version ~= "${PW}"', 'the marker of `foo; python_version ~= "${PW}"` has no meaning'),
    ],
)
def test_a_constraint_is_shown_without_the_values_of_its_variables(written: str, message: str) -> None:
    filled = written.replace("${PW}", "s3cr3t")
    for constraint in (filled, Expanded(filled, written=written)):  # what is remembered of the one is not of the other
        with pytest.raises((NoMatchError, RequirementError)) as caught:
            taken(listed("1.0"), policy=Policy(constraints=(constraint,)))
    assert message in str(caught.value)
    assert "s3cr3t" not in f"{caught.value} {caught.value.hint} {caught.value.payload}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_constraints_that_hold_are_named() -> None:
    constraints = ("foo<2", "bar<1", "foo>1.0", "foo", 'foo<3; python_version < "3.9"', "foo<2")
    assert str(refusal(listed("1.0", "2.0"), policy=Policy(constraints=constraints))) == (
        "`foo` (constrained to `foo<2`, `foo>1.0`) matches none of the 2 versions that are there; "
        "the latest are `2.0`, `1.0`"
    )


# Direct references and trees

EVERYTHING = Policy(
    no_binary=frozenset({":all:"}), exclude_newer=NOON_SECONDS, prereleases=False, constraints=("bar<1",)
)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (tree(), "foo"),
        (tree(), "foo==1.0"),
        (tree(), "foo @ file:///foo"),
        (tree(), "./foo"),
        (tree(version="main"), "foo @ git+https://example.com/foo"),
        (tree(version="1.0.dev1"), "foo @ git+https://example.com/foo"),
        (dist("foo-1.0rc1-py3-none-any.whl"), "foo @ https://example.com/foo-1.0rc1-py3-none-any.whl"),
        (dist("foo-1.0rc1-py3-none-any.whl"), "https://example.com/foo-1.0rc1-py3-none-any.whl"),
        (dist("foo-master.zip"), "foo @ https://example.com/foo-master.zip"),
        (dist("foo-1.0.zip", version=None), "foo @ https://example.com/download?id=1"),
    ],
)
def test_what_is_named_itself_is_taken(found: Dist, text: str) -> None:
    assert taken([found], text, EVERYTHING) == found.filename


@pytest.mark.parametrize(
    ("found", "text", "reason"),
    [
        (
            dist("foo-1.0-cp39-cp39-win_amd64.whl"),
            "foo @ https://example.com/foo-1.0-cp39-cp39-win_amd64.whl",
            "other-tags",
        ),
        (dist("foo-1.0-x.whl", version=None), "foo @ https://example.com/foo-1.0-x.whl", "not-a-wheel"),
        (dist("foo-1.0.zip", requires_python="<3"), "foo @ https://example.com/foo-1.0.zip", "other-python"),
        (dist("foo-1.0.zip", hashes={"sha256": B}), f"foo @ https://example.com/foo-1.0.zip#sha256={A}", "other-hash"),
        (tree(), f"foo --hash=sha256:{A}", "no-hash"),
        (tree(version="1.0"), f"./foo --hash=sha256:{A}", "no-hash"),
    ],
)
def test_what_is_named_itself_has_to_fit(found: Dist, text: str, reason: str) -> None:
    assert refusal([found], text).payload["counts"] == {reason: 1}


def test_a_constraint_limits_direct_references() -> None:
    error = refusal(listed("2.0"), "foo @ https://example.com/foo-2.0.tar.gz", Policy(constraints=("foo<2",)))
    assert str(error) == (
        "`foo @ https://example.com/foo-2.0.tar.gz` (constrained to `foo<2`) does not match the only version that is "
        "there, `2.0`"
    )
    assert error.hint == "Change the requirement or the constraint."


# Why there is none

FOREIGN = ["foo-1.0-cp312-cp312-win_amd64.whl", "foo-1.0-cp312-cp312-linux_x86_64.whl", "foo-1.0-py2-none-any.whl"]
NONE = [
    (
        [
            *map(dist, FOREIGN),
            *listed("1.0", requires_python="<3.9"),
            dist("foo-1.1-py3-none-any.whl", yanked=True),
            dist("foo-1.1.tar.gz", yanked="broken"),
        ],
        "foo>=1.0",
        Policy(),
        (
            "`foo>=1.0` has no distribution for Python 3.11 on linux_x86_64: 3 wheels are for other platforms or "
            "Pythons, 1 needs Python <3.9, 2 are yanked"
        ),
        "pin it with `==`",
        {"other-tags": 3, "other-python": 1, "yanked": 2},
    ),
    (
        [dist(FOREIGN[0]), *listed("0.9")],
        "foo==1.0",
        Policy(),
        "`foo==1.0` has no distribution for Python 3.11 on linux_x86_64: 1 wheel is for another platform or Python",
        "No sdist is listed",
        {"other-tags": 1},
    ),
    (
        [dist(FOREIGN[0]), *listed("1.0")],
        "foo",
        Policy(only_binary=frozenset({":all:"})),
        (
            "`foo` has no distribution for Python 3.11 on linux_x86_64: 1 wheel is for another platform or Python, "
            "1 sdist is ruled out by `--only-binary`"
        ),
        "leave out `--only-binary`",
        {"other-tags": 1, "only-binary": 1},
    ),
    (
        [dist("foo-1.0-py3-none-any.whl"), dist("foo-1.1-py3-none-any.whl")],
        "foo",
        Policy(no_binary=frozenset({"foo"})),
        "`foo` has no distribution for Python 3.11 on linux_x86_64: 2 wheels are ruled out by `--no-binary`",
        "leave out `--no-binary`",
        {"no-binary": 2},
    ),
    (
        listed("1.0rc1", "1.0rc2"),
        "foo",
        Policy(prereleases=False),
        "`foo` has no distribution for Python 3.11 on linux_x86_64: 2 are pre-releases",
        "name one in the requirement",
        {"prerelease": 2},
    ),
    (
        [*listed("1.0", upload_time=NOON), *listed("1.1", "1.2")],
        "foo",
        Policy(exclude_newer=NOON_SECONDS),
        (
            "`foo` has no distribution for Python 3.11 on linux_x86_64: 2 have no upload times that `--exclude-newer` "
            "could read, 1 is newer than `--exclude-newer` allows"
        ),
        "later date",
        {"undated": 2, "too-new": 1},
    ),
    (
        [*listed("1.1", "1.0", requires_python=">=3.12"), *listed("2.0", requires_python=">=3.13")],
        "foo",
        Policy(),
        "`foo` has no distribution for Python 3.11 on linux_x86_64: 3 need Python >=3.12 or >=3.13",
        "`--python`",
        {"other-python": 3},
    ),
    (
        [one for minor in range(12, 17) for one in listed(f"1.{minor}", requires_python=f">=3.{minor}")],
        "foo",
        Policy(),
        (
            "`foo` has no distribution for Python 3.11 on linux_x86_64: 5 need Python >=3.12 or >=3.13 or >=3.14 "
            "or another"
        ),
        "`--python`",
        {"other-python": 5},
    ),
    (
        listed("1.0", requires_python="===\x1b[31m" + "4" * 200),
        "foo",
        Policy(),
        f"`foo` has no distribution for Python 3.11 on linux_x86_64: 1 needs Python ===\\x1b[31m{'4' * 92}...",
        "`--python`",
        {"other-python": 1},
    ),
    (
        listed("1.0", "2.0", "10.0", "9.0rc1", "1.0.0"),
        "foo==3.*",
        Policy(),
        "`foo==3.*` matches none of the 4 versions that are there; the latest are `10.0`, `9.0rc1`, `2.0`",
        "only the first that knows the project is asked",
        {},
    ),
    (
        listed("1.0", "2.0"),
        "foo>=2",
        Policy(constraints=("foo<2",)),
        (
            "`foo>=2` (constrained to `foo<2`) matches none of the 2 versions that are there; "
            "the latest are `2.0`, `1.0`"
        ),
        "the constraint",
        {},
    ),
    (
        listed("1.0"),
        "foo>1",
        Policy(),
        "`foo>1` does not match the only version that is there, `1.0`",
        "only the first that knows the project is asked",
        {},
    ),
    (
        [*listed("1.0rc1"), *listed("1.0", yanked=True)],
        "foo",
        Policy(),
        "`foo` has no distribution for Python 3.11 on linux_x86_64: 1 is yanked, 1 is a pre-release",
        "name one in the requirement",
        {"yanked": 1, "prerelease": 1},
    ),
    (
        listed("1.0", yanked=True, upload_time=NOON),
        "foo",
        Policy(exclude_newer=NOON_SECONDS),
        ("`foo` has no distribution for Python 3.11 on linux_x86_64: 1 is newer than `--exclude-newer` allows"),
        "later date",
        {"too-new": 1},
    ),
    (
        [dist("foo-1.0.tar.gz", version=text) for text in ("1.0-1", "1.0.RC1", "1.0rc1", "9.9-\x1b", "9.9-X", "1.0.0")],
        "foo===1.0-1",
        Policy(),
        "`foo===1.0-1` matches none of the 5 versions that are there; the latest are `1.0.post1`, `1.0.0`, `1.0rc1`",
        "only the first that knows the project is asked",
        {},
    ),
    (
        [dist("foo-1.0.tar.gz", version=text) for text in ("9.9-\x1b", "9.9-X")],
        "foo===9.9",
        Policy(),
        r"`foo===9.9` matches none of the 2 versions that are there; the latest are `9.9-\x1b`, `9.9-X`",
        "only the first that knows the project is asked",
        {},
    ),
    (
        [dist("foo-latest.tar.gz")],
        "foo",
        Policy(),
        "`foo` has no distribution: none of the 1 files has a version in its name",
        "only the first that knows the project is asked",
        {},
    ),
    (
        [],
        "foo",
        Policy(),
        "`foo` has no distribution: the project has no files",
        "only the first that knows the project is asked",
        {},
    ),
]


@pytest.mark.parametrize(("dists", "text", "policy", "message", "hint", "reasons"), NONE)
def test_why_there_is_none(
    dists: list[Dist], text: str, policy: Policy, message: str, hint: str, reasons: dict[str, int]
) -> None:
    error = refusal(dists, text, policy)
    assert str(error) == message
    assert hint in error.hint
    assert error.payload["counts"] == reasons


def test_the_payload_is_for_programs() -> None:
    error = refusal([dist(FOREIGN[0]), *listed("0.9", "0.8")], "foo==1.0")
    assert json.loads(json.dumps(error.payload)) == {
        "requirement": "foo==1.0",
        "python": "3.11.7",
        "platform": "linux_x86_64",
        "counts": {"other-tags": 1},
        "versions": ["1.0", "0.9", "0.8"],
    }


@pytest.mark.parametrize(
    ("tags", "platform"),
    [
        (["cp311-cp311-macosx_14_0_arm64", "cp311-cp311-macosx_11_0_universal2", "py3-none-any"], "macosx_14_0_arm64"),
        (["cp311-cp311-win_amd64", "py3-none-any"], "win_amd64"),
        (["cp311-cp311-musllinux_1_2_aarch64", "cp311-cp311-linux_aarch64"], "linux_aarch64"),
        (["py3-none-any"], "any"),
        ([], "any"),
    ],
)
def test_the_platform_is_named_plainly(tags: list[str], platform: str) -> None:
    with pytest.raises(NoMatchError, match=f"for Python 3.11 on {platform}: 1 wheel is") as caught:
        select([dist(FOREIGN[2])], parse_request("foo"), interpreter(tags=tuple(tags)), Policy())
    assert caught.value.payload["platform"] == platform
