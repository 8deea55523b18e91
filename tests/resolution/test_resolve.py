"""Tables for resolution: what there is, what is required, and what is taken or why nothing can be."""

from __future__ import annotations

import itertools

import anyio
import anyio.lowlevel
import pytest

from felloe.config import Policy
from felloe.errors import (
    ArchiveError,
    BuildError,
    FelloeError,
    HashMismatchError,
    MetadataError,
    NetworkError,
    NoMatchError,
    RequirementError,
)
from felloe.request import parse_request
from felloe.resolution import provider
from felloe.resolution import resolve as module
from felloe.resolution.facts import Facts, Option
from felloe.resolution.resolve import resolve
from felloe.values import Dist
from tests.resolution.world import INTERPRETER, WHAT, Projects, World, sdist, wheel

pytestmark = pytest.mark.anyio

URL = "https://files.example.com/b.tar.gz"
OTHER_URL = "https://files.example.com/other/b.tar.gz"


async def refusal(world: World, *requirements: str, policy: Policy | None = None) -> FelloeError:
    with pytest.raises(FelloeError) as caught:
        await world.resolved(*requirements, policy=policy)
    return caught.value


# Versions, markers, extras


@pytest.mark.parametrize(
    ("projects", "requirements", "expected"),
    [
        ({}, [], []),
        ({"a": {"1.0": [], "1.10": [], "1.9": []}}, ["a"], ["a 1.10"]),
        ({"a": {"1": [], "2": []}, "b": {"1": []}}, ["b", "a<2"], ["a 1", "b 1"]),
        ({"a": {"1": [], "2": [], "3": []}}, ["a<3", "a!=2"], ["a 1"]),
        ({"a": {"1": [], "2": []}}, ["A <2", "a"], ["a 1"]),
        ({"a": {"1": ["b<2"]}, "b": {"1": [], "2": []}}, ["a"], ["a 1", "b 1"]),
        ({"a": {"1": ["B_c"]}, "b-c": {"1": []}}, ["a"], ["a 1", "b-c 1"]),
        # `===` compares what PEP 440 makes of a version, not the text of the file name
        ({"a": {"1.0.RC1": ["b===1.0"], "1": []}, "b": {"1.0": [], "1": []}}, ["a===1.0rc1"], ["a 1.0.RC1", "b 1.0"]),
        # what is taken first gives way to what is found later
        ({"a": {"1": [], "2": []}, "b": {"1": ["a<2"]}}, ["a", "b"], ["a 1", "b 1"]),
        ({"a": {"1": [], "2": ["gone"]}, "b": {"1": ["a<2"]}, "gone": {"1": []}}, ["a", "b"], ["a 1", "b 1"]),
        # an older version, where what the newest requires is not to be had
        ({"a": {"1": [], "2": ["missing"]}}, ["a"], ["a 1"]),
        ({"a": {"1": ["b"], "2": ["b>=9"]}, "b": {"1": []}}, ["a"], ["a 1", "b 1"]),
        (
            {"a": {"1": ["c<2"], "2": ["c>=2"]}, "b": {"1": ["c<2"], "2": ["c<2"]}, "c": {"1": [], "2": []}},
            ["a", "b"],
            ["a 1", "b 2", "c 1"],
        ),
        # a circle, and itself
        ({"a": {"1": ["b"]}, "b": {"1": ["a>=1"]}}, ["a"], ["a 1", "b 1"]),
        ({"a": {"1": ["a"], "2": ["a<2"]}}, ["a"], ["a 1"]),
    ],
)
async def test_the_best_versions_that_go_together_are_taken(
    projects: Projects, requirements: list[str], expected: list[str]
) -> None:
    for order in itertools.permutations(requirements):
        assert await World(projects).resolved(*order) == expected


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ('b; python_version >= "3.11"', ["a 1", "b 1"]),
        ('b; python_version < "3.11"', ["a 1"]),
        ('b; sys_platform == "linux" and extra == "x"', ["a 1"]),
        ('b; extra != "x"', ["a 1", "b 1"]),
    ],
)
async def test_markers_decide_what_is_required(requirement: str, expected: list[str]) -> None:
    assert await World({"a": {"1": [requirement]}, "b": {"1": []}}).resolved("a") == expected
    assert await World({"a": {"1": []}, "b": {"1": []}}).resolved("a", requirement) == expected


WITH_EXTRAS = {
    "a": {
        "1": [
            'b; extra == "x"',
            'c; extra == "Y_y"',
            'a[x,y-y]; extra == "all"',
            'd; extra == "x" and python_version < "3"',
        ]
    },
    "b": {"1": ["c[z]"]},
    "c": {"1": ['d; extra == "z"'], "2": []},
    "d": {"1": []},
    "e": {"1": ["a[x]"], "2": ["a[x]", "b"]},
}


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        (["a"], ["a 1"]),
        (["a[y.y]"], ["a 1", "c 2"]),
        (["a[x]"], ["a 1", "b 1", "c 2"]),
        (["a[x]", "c<2"], ["a 1", "b 1", "c 1", "d 1"]),
        (["a[all]"], ["a 1", "b 1", "c 2"]),
        (["a", "e<2"], ["a 1", "b 1", "c 2", "e 1"]),
        (["a[unheard-of]"], ["a 1"]),
        (["a", "a[y-y]", "c==1"], ["a 1", "c 1"]),
    ],
)
async def test_extras_bring_their_requirements(requirements: list[str], expected: list[str]) -> None:
    for order in itertools.permutations(requirements):
        assert await World(WITH_EXTRAS).resolved(*order) == expected


@pytest.mark.parametrize(
    ("versions", "requirements", "policy", "expected"),
    [
        (["1.0", "2.0rc1"], ["a"], Policy(), ["a 1.0"]),
        (["1.0", "2.0rc1"], ["a>=2.0rc1"], Policy(), ["a 2.0rc1"]),
        (["2.0rc1"], ["a"], Policy(), ["a 2.0rc1"]),
        (["1.0rc1", "2.0"], ["a<2", "a"], Policy(), ["a 1.0rc1"]),
        (["1.0", "2.0rc1"], ["a"], Policy(prereleases=True), ["a 2.0rc1"]),
        (["1.0", "2.0"], ["a"], Policy(constraints=("A<2",)), ["a 1.0"]),
        (["1.0", "2.0"], ["a"], Policy(constraints=("b<2", 'a<2; python_version < "3"')), ["a 2.0"]),
    ],
)
async def test_what_may_be_selected_is_for_the_policy(
    versions: list[str], requirements: list[str], policy: Policy, expected: list[str]
) -> None:
    world = World({"a": {version: [] for version in versions}})
    assert await world.resolved(*requirements, policy=policy) == expected


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([sdist("a", "1"), wheel("a", "1")], "a-1-py3-none-any.whl"),
        ([sdist("a", "2"), wheel("a", "1")], "a-2.tar.gz"),
        ([sdist("a", "2", yanked=True), wheel("a", "1")], "a-1-py3-none-any.whl"),
        ([sdist("a", "2", requires_python=">=3.12"), wheel("a", "1")], "a-1-py3-none-any.whl"),
        ([sdist("a", "1.0"), wheel("a", "1")], "a-1-py3-none-any.whl"),
    ],
)
async def test_of_one_version_the_best_file_is_taken(listed: list[Dist], expected: str) -> None:
    world = World(listed={"a": listed})
    (dist,) = await resolve(["a"], lookup=world, interpreter=INTERPRETER, policy=Policy(), what=WHAT)
    assert dist.filename == expected


# Direct references

LOCATED = {URL: [sdist("b", "2", source="url")], OTHER_URL: [sdist("b", "3", source="url")], "/b": [sdist("b", "4")]}


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        ([f"b @ {URL}"], ["b 2"]),
        (["b @ file:///b"], ["b 4"]),
        (["b", f"b @ {URL}"], ["b 2"]),
        (["a", f"b @ {URL}"], ["a 1", "b 2"]),
        (["points"], ["b 2", "points 1"]),
        (["b", "points"], ["b 2", "points 1"]),
        ([f"b[x] @ {URL}", f"b @ {URL}"], ["a 1", "b 2"]),
    ],
)
async def test_a_direct_reference_wins_over_the_index(requirements: list[str], expected: list[str]) -> None:
    projects: Projects = {
        "a": {"1": ["b<3"]},
        "b": {"1": [], "2": ['a; extra == "x"'], "9": []},
        "points": {"1": [f"b @ {URL}"]},
    }
    for order in itertools.permutations(requirements):
        world = World(projects, listed=LOCATED)
        assert await world.resolved(*order) == expected


async def test_a_name_that_the_requirements_locate_is_not_looked_up() -> None:
    world = World({"a": {"1": ["b"]}}, listed=LOCATED)
    assert await world.resolved("a", "b>=1", f"b @ {URL}") == ["a 1", "b 2"]
    assert "b" not in world.asked


async def test_only_metadata_tell_the_version_of_what_a_source_names_itself() -> None:
    unnamed = Dist(source="url", kind="sdist", filename="b", name="b")
    told = {"b": {"name": "b", "version": "2.5"}}
    world = World(listed={URL: [unnamed]}, told=told)
    assert await world.resolved(f"b @ {URL}", "b>2") == ["b None"]
    tree = World(listed={"b": [Dist(source="trees", kind="tree", filename="b", name="b")]}, told=told)
    assert await tree.resolved("b>2") == ["b None"]
    assert (await refusal(world, f"b @ {URL}", "b>3")).code == "resolution-impossible"
    assert (await refusal(tree, "b>3")).code == "resolution-impossible"


# Distributions that cannot be taken


@pytest.mark.parametrize(
    "told",
    [
        MetadataError("broken"),
        ArchiveError("damaged"),
        {"name": "other"},
        {"version": "3"},
        {"requires-python": ">=3.12"},
        {"requires-dist": ["no requirement"]},
        {"requires-dist": ["b @ relative/path"]},
        {"requires-dist": ['b; python_version < "3" and os_name ~= "p"']},
    ],
)
async def test_another_is_tried_where_one_is_broken(told: dict[str, object] | FelloeError) -> None:
    files = [wheel("a", "2"), wheel("a", "1")]
    assert await World(listed={"a": files}, told={files[0].filename: told}).resolved("a") == ["a 1"]
    same = [wheel("a", "2"), sdist("a", "2"), wheel("a", "1")]
    assert await World(listed={"a": same}, told={same[0].filename: told}).resolved("a") == ["a 2"]
    error = await refusal(World(listed={"a": files[:1]}, told={files[0].filename: told}), "a")
    assert error.code == "resolution-impossible"
    assert str(error).startswith(f"`a`, required to build {WHAT}: ")


@pytest.mark.parametrize(
    "error", [NetworkError("no answer"), BuildError("no backend", code="build-cycle"), HashMismatchError("other bytes")]
)
async def test_other_errors_end_the_resolution_where_it_needs_what_they_are_about(error: FelloeError) -> None:
    projects: Projects = {"a": {"1": ["b"]}, "b": {"1": [], "2": []}}
    assert await refusal(World(projects, listed={"b": error}), "a") is error
    needed = World(projects, told={"b-2-py3-none-any.whl": error})
    assert await refusal(needed, "a") is error
    not_needed = World(projects, told={"b-2-py3-none-any.whl": error}, listed={"c": error})
    assert await not_needed.resolved("a", "b<2") == ["a 1", "b 1"]


async def test_an_error_about_what_turns_out_not_to_be_needed_is_no_error() -> None:
    projects: Projects = {"a": {"1": ["z<2"]}, "z": {"1": [], "2": []}}
    world = World(projects, told={"z-2-py3-none-any.whl": NetworkError("no answer")})
    assert await world.resolved("a", "z") == ["a 1", "z 1"]
    assert "z-2-py3-none-any.whl" in world.asked


# What cannot be had is told

ONLY = "the only version that is there, `1`"
NO_SET = f"no set of versions fulfils all that is required to build {WHAT}"


@pytest.mark.parametrize(
    ("projects", "requirements", "message"),
    [
        (
            {"a": {"1": []}},
            ["a>99"],
            f"`a>99`, required to build {WHAT}: `a>99` does not match {ONLY}",
        ),
        ({}, ["nowhere"], f"`nowhere`, required to build {WHAT}: source `index` has no project `nowhere`"),
        (
            {"a": {"1": ["b"]}, "b": {"3": ["c>2"]}, "c": {"1": []}},
            ["a"],
            f"`c>2`, required by `b 3`, required by `a 1`, to build {WHAT}: `c>2` does not match {ONLY}",
        ),
        (
            {"a": {"1": []}, "b": {"2": ["a>1"]}},
            ["a<=1", "b"],
            f"`a>1`, required by `b 2`, to build {WHAT}: `a>1` does not match {ONLY}",
        ),
        (
            {"a": {"1": [], "2": []}, "b": {"2": ["a>1"]}, "c": {"1": ["b"]}},
            ["a<=1", "c"],
            f"{NO_SET}: `a<=1`; `a>1`, required by `b 2`, required by `c 1`",
        ),
        (
            {"a": {"1": [], "2": []}},
            ["a<2", "a>1"],
            f"{NO_SET}: `a<2`; `a>1`",
        ),
        (
            {"a": {"1": [], "2": []}, "b": {"1": ["a<2"], "2": ["nowhere"]}},
            ["a>1", "b"],
            f"{NO_SET}: `nowhere` (which nothing fulfils), required by `b 2`; `a>1`; `a<2`, required by `b 1`",
        ),
    ],
)
async def test_what_is_in_conflict_is_told_with_who_asks_for_it(
    projects: Projects, requirements: list[str], message: str
) -> None:
    error = await refusal(World(projects), *requirements)
    assert (type(error), error.code, str(error)) == (NoMatchError, "resolution-impossible", message)
    assert error.hint
    assert str(await refusal(World(projects), *reversed(requirements))) == message


async def test_a_conflict_names_urls_without_secrets_and_the_version_there() -> None:
    world = World({"a": {"1": ["b>=3"]}}, listed=LOCATED)
    secret = URL.replace("files", "user:hunter2@files")
    error = await refusal(world, "a", f"b @ {secret}")
    assert "hunter2" not in repr((str(error), error.hint, error.payload))
    assert str(error).endswith(f"`b @ {URL}` (version 2); `b>=3`, required by `a 1`")
    error = await refusal(world, f"b @ {OTHER_URL}", f"b @ {URL}")
    assert str(error).endswith(f"`b @ {URL}` (version 2); `b @ {OTHER_URL}`")


async def test_a_conflict_names_the_constraints_of_its_projects() -> None:
    policy = Policy(constraints=("A<3", "z<3"))
    projects: Projects = {"a": {"1": [], "2": [], "3": []}}
    assert str(await refusal(World(projects), "a!=1", "a!=2", policy=policy)).endswith(
        "`a!=1`; `a!=2`; `A<3`, a constraint"
    )
    error = await refusal(World(projects), "a>2", policy=policy)
    assert "`a>2` (constrained to `A<3`) matches none of the 3 versions" in str(error)


async def test_a_long_conflict_is_cut() -> None:
    projects: Projects = {"a": {"1": [], "2": []}, **{f"b{number}": {"1": ["a>1"]} for number in range(20)}}
    error = await refusal(World(projects), "a<2", *(name for name in projects if name != "a"))
    assert len(str(error)) < 400


@pytest.mark.parametrize("text", ["no requirement", "a @ ./here", 'a; os_name ~= "p"', "", "-e ."])
async def test_what_cannot_be_read_is_told(text: str) -> None:
    error = await refusal(World({"a": {"1": []}}), "a", text)
    assert (type(error), error.code) == (BuildError, "bad-build-requirement")
    assert str(error).startswith(f"what is required to build {WHAT} cannot be read: ")
    assert isinstance(error.__cause__, RequirementError)


async def test_a_search_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "MOST_ADDED", 2_000)
    projects: Projects = {
        "a": {"1": ["d[x]", "b[x]"], "2": ["d==2", "c<=1"]},
        "b": {"1": ['c!=1 ; extra == "y"', "c[x]==2"], "2": ["a", 'c[x]==1 ; extra == "x"'], "3": ["b!=2", "d"]},
        "c": {"1": ['b==1 ; extra == "x"'], "2": ["b>=2", 'd[x]<=3 ; extra == "y"']},
        "d": {"1": ['d==3 ; extra == "y"', "d[x]==3"], "2": [], "3": ["a[x]", "c>=2"]},
    }
    error = await refusal(World(projects), "a[x]", "b[x]<3")
    assert (type(error), error.code) == (NoMatchError, "resolution-too-deep")
    assert str(error).endswith(f"required to build {WHAT}: `a[x]`; `b[x]<3`")


async def test_the_last_conflict_is_told_where_the_search_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "MOST_ADDED", 500)
    projects = {name: {str(version): ["z<9"] for version in range(9)} for name in "abc"}
    projects = {**projects, "d": {"1": ["z>8"]}, "z": {str(version): [] for version in range(1, 20)}}
    error = await refusal(World(projects), *"abcd")
    assert error.code == "resolution-too-deep"
    assert "; the last conflict was between " in str(error)
    assert "`z>8`, required by `d 1`" in str(error)


async def test_as_many_lookups_as_a_source_can_cause_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LOOKUPS", 20)

    class Endless(World):
        async def find(self, request):
            return [wheel(request.name, "1")]

        async def metadata(self, dist):
            metadata = await super().metadata(dist)
            return type(metadata)({**metadata.fields, "requires-dist": [f"{dist.name}a"]})

    assert (await refusal(Endless(), "a")).code == "resolution-too-deep"


@pytest.mark.parametrize("taken", [{}, {"a": "1"}, {"a": "2"}, {"a": "2", "b": "1"}])
async def test_what_the_resolver_took_is_looked_at_again(taken: dict[str, str]) -> None:
    requests = [parse_request("a>1", origin="build")]
    facts = Facts(INTERPRETER, Policy())
    world = World({"a": {"1": [], "2": ["b>1"]}, "b": {"1": []}})
    options = {}
    for name, version in taken.items():
        request = parse_request(name)
        dist = wheel(name, version)
        facts.learn_metadata(request, dist, await world.metadata(dist))
        options[name] = Option(request=request, dist=dist, version=version)
    assert module._needed(requests, options, facts) is None


# What is looked up


async def test_each_is_looked_up_once() -> None:
    world = World(WITH_EXTRAS)
    await world.resolved("a[all]", "e", "c<2")
    assert sorted(world.asked) == sorted(set(world.asked))


async def test_names_are_looked_up_together() -> None:
    """Nothing goes on before both are asked for."""

    class Slow(World):
        def __init__(self, *names: str) -> None:
            super().__init__({"root": {"1": ["c", "d"]}, **{name: {"1": []} for name in "abcd"}})
            self._waiting = {"a": "b", "b": "a", "c": "d", "d": "c"}
            self._begun = {name: anyio.Event() for name in "abcd"}

        async def find(self, request):
            if request.name in self._begun:
                self._begun[request.name].set()
                await self._begun[self._waiting[request.name]].wait()
            return await super().find(request)

    with anyio.fail_after(5):
        assert await Slow().resolved("a", "b", "root") == ["a 1", "b 1", "c 1", "d 1", "root 1"]


async def test_after_conflicts_more_and_more_wheels_are_looked_into_together() -> None:
    many = {str(version): ["b<2"] for version in range(200)}

    class Rounds(World):
        """Counts how often it was asked for metadata while nothing else was under way."""

        rounds = 0
        under_way = 0

        async def metadata(self, dist):
            self.rounds += self.under_way == 0
            self.under_way += 1
            await anyio.lowlevel.checkpoint()
            self.under_way -= 1
            return await super().metadata(dist)

    world = Rounds({"a": many, "b": {"2": []}})
    assert (await refusal(world, "a")).code == "resolution-impossible"
    assert len(world.asked) == 202
    assert world.rounds < 15
    one_by_one = Rounds({"a": many, "b": {"2": []}}, listed={"a": [sdist("a", version) for version in many]})
    await refusal(one_by_one, "a")
    assert one_by_one.rounds == 200


async def test_no_sdist_is_looked_into_that_is_not_needed() -> None:
    """It may have to be built for that; a wheel may be looked into in good time."""
    files = {name: [make(name, version) for version in "123"] for name, make in {"b": sdist, "c": wheel}.items()}
    world = World({"a": {"1": ["b<3", "c<3"]}}, listed=files)
    assert await world.resolved("a", "b", "c") == ["a 1", "b 2", "c 2"]
    assert "b-3.tar.gz" not in world.asked
    assert "b-1.tar.gz" not in world.asked
