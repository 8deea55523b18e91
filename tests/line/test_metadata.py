"""METADATA by every rung there is as yet, what is remembered of them, and when that is no longer true."""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from felloe import Answer, Database, parse_request
from felloe.errors import (
    ArchiveError,
    BuildNeededError,
    FelloeError,
    HashMismatchError,
    MetadataError,
    NoMatchError,
    RequirementError,
)
from felloe.testing import Behaviour, IndexServer, Project, make_sdist, make_wheel
from felloe.values import Rung
from tests.fixtures.line import Told, change_document, config_of, files_below, own_sources, read_document

pytestmark = pytest.mark.anyio

NOON = 1_769_860_800.0  # 2026-01-31T12:00:00Z
RECORDS = ("built-wheel-metadata-v0", "wheel-metadata-v0")
PAGE = "/simple/acme/"
WHEEL = "acme-1.0-py3-none-any.whl"
SDIST = "acme-1.0.tar.gz"
PLAIN = Project("acme", "1.0")
STATIC = """\
[project]
name = "acme"
version = "1.0"
requires-python = ">=3.9"
dependencies = ["zlib-ng>=0.5"]
optional-dependencies.fast = ["numpy"]
"""


# The scene


class Scene:
    """An index, and another that is asked after it, and a cache; `ask` is a run of its own each time."""

    def __init__(self, folder: Path, one: IndexServer, two: IndexServer) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.one = one
        self.two = two
        self.now = NOON
        self.told = Told()

    @asynccontextmanager
    async def database(self, **options: Any) -> AsyncIterator[Database]:
        self.told = Told()
        config = config_of(self.cache, self.one, self.two, **options)
        async with Database(config, reporter=self.told, sources=own_sources(), clock=lambda: self.now) as database:
            yield database

    async def ask(
        self, text: str = "acme", *, effort: Any = "build", hashes: Sequence[str] = (), **options: Any
    ) -> Answer:
        async with self.database(**options) as database:
            return await database.metadata(parse_request(text, hashes=hashes), effort=effort)

    async def asked(self, text: str = "acme", **options: Any) -> list[str]:
        """What the first index hears of a question."""
        self.one.clear()
        await self.ask(text, **options)
        return self.one.paths

    def add_wheel(self, project: Project = PLAIN, **listing: Any) -> Path:
        wheel = make_wheel(self.folder, project)
        self.one.add(wheel, **listing)
        return wheel

    def add_sdist(self, project: Project = PLAIN, pyproject: str | None = None, **listing: Any) -> Path:
        sdist = make_sdist(self.folder, project, pyproject=pyproject)
        self.one.add(sdist, **listing)
        return sdist

    def records(self) -> list[str]:
        return files_below(self.cache, *RECORDS)

    @property
    def record(self) -> Path:
        (path,) = self.records()
        return self.cache / path


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with IndexServer() as one, IndexServer() as two:
        yield Scene(tmp_path, one, two)


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def metadata_text(name: str, version: str, *, metadata_version: str = "2.2") -> str:
    return f"Metadata-Version: {metadata_version}\nName: {name}\nVersion: {version}\n"


# The rungs


DEPENDS = Project("acme", "1.0", requires_dist=["zlib-ng>=0.5"], requires_python=">=3.9", extras=["fast"])
LARGE = evolve(DEPENDS, padding=200_000)
FILE = f"/files/{WHEEL}"

WHEELS = [
    pytest.param({"sidecar": True}, Behaviour(), "sidecar", [f"{FILE}.metadata"], id="sidecar"),
    pytest.param({}, Behaviour(), "range", [FILE], id="range"),
    pytest.param({"size": False}, Behaviour(), "range", [FILE, FILE], id="range, size not told"),
    pytest.param({}, Behaviour(ranges="ignore"), "wheel", [FILE], id="ranges are ignored"),
    *[
        pytest.param({}, Behaviour(ranges=status), "wheel", [FILE, FILE], id=f"ranges get {status}")
        for status in (400, 405, 416, 501)
    ],
    pytest.param(
        {"sidecar": True, "hashes": False},
        Behaviour(cache_control="max-age=60"),
        "range",
        [FILE],
        id="sidecar, no hashes",
    ),
]


@pytest.mark.parametrize(("listing", "behaviour", "rung", "requests"), WHEELS)
async def test_a_wheel(
    scene: Scene, listing: dict[str, Any], behaviour: Behaviour, rung: Rung, requests: list[str]
) -> None:
    wheel = scene.add_wheel(LARGE, **listing)
    scene.one.behave("/files/*", behaviour)

    answer = await scene.ask()

    assert (answer.rung, answer.cached, answer.wheel) == (rung, False, WHEEL)
    assert answer.metadata.requires_dist == ("zlib-ng>=0.5",)
    assert answer.metadata.requires_python == ">=3.9"
    assert answer.metadata.provides_extra == ("fast",)
    assert scene.one.paths == [PAGE, *requests]
    received = sum(request.sent for request in scene.one.requests if request.path == FILE and request.status == 206)
    assert received < wheel.stat().st_size / 2
    assert bool(files_below(scene.cache, "archives-v0")) == (rung == "wheel")
    assert scene.two.paths == []

    again = await scene.ask()

    assert evolve(again, cached=False) == answer
    assert again.cached
    assert scene.one.paths == [PAGE, *requests]


async def test_a_sidecar_that_is_announced_and_is_not_there(scene: Scene) -> None:
    scene.add_wheel(LARGE, sidecar=True)
    scene.one.behave(f"{FILE}.metadata", Behaviour(statuses=[404]))

    assert (await scene.ask()).rung == "range"
    assert scene.one.paths == [PAGE, f"{FILE}.metadata", FILE]


async def test_a_host_without_ranges_is_remembered_for_the_run(scene: Scene) -> None:
    for name in ("acme", "other"):
        scene.one.add(make_wheel(scene.folder, Project(name, "1.0")))
    scene.one.behave("/files/*", Behaviour(ranges=416))

    async with scene.database() as database:
        rungs = [(await database.metadata(name)).rung for name in ("acme", "other")]

    assert rungs == ["wheel", "wheel"]
    assert [request.status for request in scene.one.requests if request.path.startswith("/files")] == [416, 200, 200]


async def test_a_sdist_by_its_pkg_info(scene: Scene) -> None:
    scene.add_sdist(DEPENDS)

    answer = await scene.ask()

    assert (answer.rung, answer.cached, answer.wheel) == ("pkg-info", False, None)
    assert answer.metadata.requires_dist == ("zlib-ng>=0.5",)
    assert answer.metadata.fields["metadata-version"] == "2.2"
    assert files_below(scene.cache, "unpacked-v0") == []


@pytest.mark.parametrize("metadata_version", ["1.2", "2.1", "2.2"])
async def test_a_sdist_by_its_pyproject(scene: Scene, metadata_version: str) -> None:
    """PKG-INFO of an old form proves nothing; of a new one, not what is dynamic."""
    dynamic = ["Requires-Dist", "Requires-Python", "Provides-Extra"] if metadata_version == "2.2" else []
    scene.add_sdist(Project("acme", "1.0", metadata_version=metadata_version, dynamic=dynamic), STATIC)

    answer = await scene.ask()

    assert answer.rung == "pyproject"
    assert answer.metadata.requires_dist == ("zlib-ng>=0.5", 'numpy; extra == "fast"')
    assert answer.metadata.requires_python == ">=3.9"
    assert answer.metadata.provides_extra == ("fast",)


@pytest.mark.parametrize("version", ["1.0", "1.0.post1"])
async def test_a_dynamic_version_is_that_of_the_file_name(scene: Scene, version: str) -> None:
    pyproject = STATIC.replace('version = "1.0"', 'dynamic = ["version"]')
    scene.add_sdist(Project("acme", version, metadata_version="2.1"), pyproject)

    answer = await scene.ask()

    assert (answer.rung, answer.metadata.version, answer.dist.version) == ("pyproject", version, version)


NOT_STATIC = [
    *[
        pytest.param(Project("acme", "1.0", dynamic=[name]), None, id=name)
        for name in ("Requires-Dist", "requires-dist", "REQUIRES-DIST", "Requires-Python", "provides-extra")
    ],
    pytest.param(Project("acme", "1.0", metadata_version="2.1"), None, id="old PKG-INFO"),
    pytest.param(Project("acme", "1.0", metadata="nothing"), None, id="broken PKG-INFO"),
    pytest.param(
        Project("acme", "1.0", dynamic=["requires-dist"]),
        STATIC.replace("dependencies = [", "dynamic = ['Dependencies']\n#", 1),
        id="dynamic in both",
    ),
    pytest.param(Project("acme", "1.0", metadata_version="2.1"), "[project", id="broken pyproject"),
]


@pytest.mark.parametrize(("project", "pyproject"), NOT_STATIC)
async def test_what_is_dynamic_has_to_be_built(scene: Scene, project: Project, pyproject: str | None) -> None:
    scene.add_sdist(project, pyproject)

    for _ in range(2):
        with pytest.raises(BuildNeededError, match="needs a build") as raised:
            await scene.ask(effort="static")
        assert raised.value.code == "effort-exceeded"
        assert raised.value.hint

    assert scene.one.paths == [PAGE, f"/files/{SDIST}"]


async def test_a_sdist_without_static_files(scene: Scene) -> None:
    scene.one.add(make_sdist(scene.folder, DEPENDS, files={"PKG-INFO": None, "pyproject.toml": None, "setup.py": ""}))

    with pytest.raises(BuildNeededError):
        await scene.ask(effort="static")


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz", ".zip"])
async def test_every_format_of_an_sdist(scene: Scene, suffix: Any) -> None:
    scene.one.add(make_sdist(scene.folder, DEPENDS, format=suffix))

    answer = await scene.ask()

    assert (answer.rung, answer.dist.filename) == ("pkg-info", f"acme-1.0{suffix}")


async def test_the_answer_tells_what_it_is_about(scene: Scene) -> None:
    wheel = scene.add_wheel(Project("Acme", "1.0"), sidecar=True)

    dist = (await scene.ask("ACME>=1")).dist

    assert (dist.source, dist.kind, dist.filename) == ("one", "wheel", WHEEL)
    assert (dist.name, dist.version, dist.content) == ("acme", "1.0", f"sha256:{sha256(wheel)}")


async def test_the_content_that_no_page_tells_is_told_by_the_bytes(scene: Scene) -> None:
    sdist = scene.add_sdist(hashes=False)

    async with scene.database() as database:
        (dist,) = await database.find("acme")
        answers = [await database.metadata(dist), await database.metadata("acme")]

    assert dist.content is None
    assert [answer.dist.content for answer in answers] == [f"sha256:{sha256(sdist)}"] * 2


async def test_a_dist_that_find_gave_is_answered_like_its_request(scene: Scene) -> None:
    scene.add_wheel(sidecar=True)

    async with scene.database() as database:
        (dist,) = await database.find("acme")
        by_dist = await database.metadata(dist)
        by_request = await database.metadata("acme")

    assert by_dist == evolve(by_request, cached=False)
    assert by_request.cached


# Names that disagree


def disagreeing(scene: Scene, name: str, version: str, form: str) -> str:
    """Lists one file whose metadata are those of another project; the code of the error about it."""
    metadata = metadata_text(name, version)
    if form == "sdist":
        scene.add_sdist(Project("acme", "1.0", metadata=metadata))
    elif form == "pyproject":
        text = STATIC.replace('"acme"', f'"{name}"').replace('"1.0"', f'"{version}"')
        scene.add_sdist(Project("acme", "1.0", metadata_version="2.1"), text)
    else:
        scene.add_wheel(Project("acme", "1.0", metadata=metadata, padding=100_000), sidecar=form == "sidecar")
        scene.one.behave("/files/*", Behaviour(ranges="ignore" if form == "wheel" else "honour"))
    return "names-disagree"


@pytest.mark.parametrize("form", ["sidecar", "range", "wheel", "sdist", "pyproject"])
@pytest.mark.parametrize(("name", "version"), [("other", "1.0"), ("acme", "2.0"), ("acme", "1.0.dev1")])
async def test_metadata_of_another_name_or_version(scene: Scene, form: str, name: str, version: str) -> None:
    code = disagreeing(scene, name, version, form)

    for _ in range(2):
        with pytest.raises(MetadataError, match=r"acme-1\.0.* but its metadata are for") as raised:
            await scene.ask()
        assert raised.value.code == code
        assert (name if name != "acme" else version) in str(raised.value)

    assert scene.records() == []
    assert files_below(scene.cache, "scratch") == []


@pytest.mark.parametrize("name", ["Acme", "ACME"])
@pytest.mark.parametrize("version", ["1.0", "1.0.0", "1"])
async def test_names_and_versions_that_are_only_written_differently(scene: Scene, name: str, version: str) -> None:
    scene.add_wheel(Project("acme", "1.0", metadata=metadata_text(name, version)), sidecar=True)

    answers = [await scene.ask(), await scene.ask()]

    assert [(answer.metadata.name, answer.metadata.version) for answer in answers] == [(name, version)] * 2


@pytest.mark.parametrize("ranges", ["honour", "ignore"])
async def test_a_dist_info_of_another_name(scene: Scene, ranges: Any) -> None:
    other = make_wheel(scene.folder, Project("other", "1.0"))
    scene.one.add(other.rename(other.with_name(WHEEL)))
    scene.one.behave("/files/*", Behaviour(ranges=ranges))

    with pytest.raises(ArchiveError, match="dist-info"):
        await scene.ask()

    assert scene.records() == []


async def test_files_of_another_project_on_the_page_are_not_looked_at(scene: Scene) -> None:
    (wheel,) = [make_wheel(scene.folder, Project("other", "1.0"))]
    url = scene.one.add(wheel)
    page = {
        "meta": {"api-version": "1.0"},
        "name": "acme",
        "files": [{"filename": wheel.name, "url": url, "hashes": {}}],
    }
    scene.one.page("acme", json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")

    with pytest.raises(NoMatchError):
        await scene.ask()

    assert scene.one.paths == [PAGE]


@pytest.mark.parametrize(("key", "value"), [("name", "other"), ("version", "2.0")])
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
async def test_a_warm_entry_that_disagrees_is_an_error(scene: Scene, kind: str, key: str, value: str) -> None:
    if kind == "wheel":
        scene.add_wheel(sidecar=True)
    else:
        scene.add_sdist()
    await scene.ask()

    def lie(document: dict[str, Any]) -> None:
        (document["data"][WHEEL] if kind == "wheel" else document["static"])[key] = value

    change_document(scene.record, lie)

    for effort in ("cached", "build"):
        with pytest.raises(MetadataError) as raised:
            await scene.ask(effort=effort)
        assert raised.value.code == "names-disagree"


async def test_the_same_bytes_under_another_name_are_still_another_name(scene: Scene) -> None:
    """Shared bytes are checked for each file that shares them."""
    sdist = scene.add_sdist()
    await scene.ask()
    copy = shutil.copy(sdist, scene.folder / "acme-2.0.tar.gz")
    scene.one.add(copy)
    scene.now += 1

    with pytest.raises(MetadataError) as raised:
        await scene.ask("acme==2.0", refresh=True)

    assert raised.value.code == "names-disagree"
    assert scene.one.paths.count("/files/acme-2.0.tar.gz") == 0


# What is remembered


@pytest.mark.parametrize("kind", ["sidecar", "wheel", "sdist"])
async def test_a_warm_answer_needs_no_archive_and_no_request(scene: Scene, kind: str) -> None:
    if kind == "sdist":
        scene.add_sdist(DEPENDS)
    else:
        scene.add_wheel(DEPENDS, sidecar=kind == "sidecar")
        scene.one.behave("/files/*.whl", Behaviour(ranges="ignore"))
    cold = await scene.ask()
    shutil.rmtree(scene.cache / "archives-v0", ignore_errors=True)
    scene.one.clear()

    warm = await scene.ask()
    offline = await scene.ask(offline=True)
    cached = await scene.ask(effort="cached")

    assert warm == offline == cached == evolve(cold, cached=True)
    assert scene.one.paths == []


@pytest.mark.parametrize("kind", ["sidecar", "wheel", "sdist"])
async def test_a_listed_hash_that_agrees_is_fresh_for_ever(scene: Scene, kind: str) -> None:
    if kind == "sdist":
        scene.add_sdist()
    else:
        scene.add_wheel(sidecar=kind == "sidecar")
        scene.one.behave("/files/*.whl", Behaviour(ranges="ignore"))
    await scene.ask()

    scene.now += 365 * 24 * 3600
    assert await scene.asked() == [PAGE]
    assert "fresh" in scene.told.codes()
    scene.now += 1
    refreshed = await scene.asked(refresh=True)
    assert FILE not in refreshed
    if kind != "sidecar":  # metadata that did not come out of hashed bytes may be asked for again
        assert refreshed == [PAGE]


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
async def test_another_hash_on_the_page_replaces_all_that_was_known(scene: Scene, kind: str) -> None:
    def publish(dependency: str) -> Path:
        project = Project("acme", "1.0", requires_dist=[dependency])
        return scene.add_wheel(project, sidecar=True) if kind == "wheel" else scene.add_sdist(project)

    old = publish("old")
    old_hash = sha256(old)
    await scene.ask()
    stray = {"metadata-version": "2.1", "name": "acme", "version": "1.0", "requires-dist": ["old"]}
    change_document(scene.record, lambda document: document["data"].update({"acme-1.0-cp311-cp311-any.whl": stray}))
    change_document(scene.record, lambda document: document.update(builds=[{"build": "old"}], later="old"))

    new_hash = sha256(publish("new"))
    before = await scene.ask()
    scene.now += 1
    answer = await scene.ask(refresh=True)

    assert before.metadata.requires_dist == ("old",)  # the page is fresh
    assert (answer.metadata.requires_dist, answer.cached) == (("new",), False)
    assert scene.told.codes().count("stale") == 1
    assert f"hash-changed: sha256 {old_hash} -> {new_hash}" in scene.told.messages("stale")[0]
    text = scene.record.read_text()
    assert new_hash in text
    assert "old" not in text
    assert old_hash not in text
    assert await scene.ask() == evolve(answer, cached=True)


async def test_without_a_hash_the_server_of_the_file_is_asked(scene: Scene) -> None:
    scene.one.behave("/files/*", Behaviour(etag="auto", cache_control="max-age=60"))
    scene.add_sdist(Project("acme", "1.0", requires_dist=["old"]), hashes=False)
    file = f"/files/{SDIST}"

    assert await scene.asked() == [PAGE, file]
    assert await scene.asked() == []
    scene.now += 61
    assert await scene.asked() == [file]
    assert scene.one.requests[-1].status == 304
    assert await scene.asked() == []

    scene.add_sdist(Project("acme", "1.0", requires_dist=["new"]), hashes=False)
    scene.now += 61
    answer = await scene.ask()

    assert (answer.metadata.requires_dist, answer.cached) == (("new",), False)
    assert "etag-changed" in scene.told.messages("stale")[0]
    assert "old" not in scene.record.read_text()


async def test_what_cannot_be_checked_is_asked_for_again(scene: Scene) -> None:
    """The bytes of an entry that is not known to be true are those of another time."""
    scene.add_sdist(Project("acme", "1.0", requires_dist=["old"]), hashes=False)
    await scene.ask()
    change_document(scene.record, lambda document: document["source"].update(validators={}))
    scene.add_sdist(Project("acme", "1.0", requires_dist=["new"]), hashes=False)

    answer = await scene.ask()

    assert (answer.metadata.requires_dist, answer.cached) == (("new",), False)
    assert "no-validators" in scene.told.messages("stale")[0]


async def test_a_file_is_asked_for_once_in_a_run(scene: Scene) -> None:
    """Also where the server says nothing by which it could be asked whether it is still the same."""
    scene.add_sdist(hashes=False)
    file = f"/files/{SDIST}"
    for expected in ([PAGE, file], [file]):
        scene.now += 1
        scene.one.clear()
        async with scene.database() as database:
            scene.now += 1
            answers = [await database.metadata("acme") for _ in range(3)]
        assert scene.one.paths == expected
        assert [answer.cached for answer in answers] == [False, True, True]


@pytest.mark.parametrize("checked", ["2999-01-01T00:00:00Z", "", "never", "0001-01-01T00:00:00"])
async def test_an_instant_that_cannot_be_is_not_believed(scene: Scene, checked: str) -> None:
    scene.add_sdist(hashes=False)
    await scene.ask()
    change_document(scene.record, lambda document: document["source"].update(checked=checked))

    assert await scene.asked() == [f"/files/{SDIST}"]


@pytest.mark.parametrize("verb", ["metadata", "wheel"])
async def test_a_body_that_came_to_find_out_was_received_once(scene: Scene, verb: str) -> None:
    """A server without validators sends the whole file; that it is the same is no reason to ask for it again."""
    scene.add_wheel(hashes=False)
    scene.one.behave("/files/*", Behaviour(ranges="ignore"))
    async with scene.database() as database:
        first = await database.wheel("acme")
        assert not first.cached
    shutil.rmtree(scene.cache / "archives-v0")
    scene.now += 1
    scene.one.clear()

    async with scene.database() as database:
        again = await getattr(database, verb)("acme")

    assert not again.cached
    assert scene.one.paths == [FILE]
    assert "stale" not in scene.told.codes()


async def test_one_content_from_two_indexes_is_fetched_once(scene: Scene) -> None:
    sdist = scene.add_sdist(DEPENDS)
    scene.two.add(sdist)

    async with scene.database(pins={"acme": "one"}) as database:
        first = await database.metadata("acme")
    async with scene.database(pins={"acme": "two"}) as database:
        second = await database.metadata("acme")

    assert (first.dist.source, second.dist.source) == ("one", "two")
    assert (second.cached, second.metadata, second.rung) == (True, first.metadata, first.rung)
    assert (scene.one.paths, scene.two.paths) == ([PAGE, f"/files/{SDIST}"], [PAGE])
    assert len(scene.records()) == 2


async def test_a_damaged_archive_is_fetched_again(scene: Scene) -> None:
    sdist = scene.add_sdist(DEPENDS)
    first = await scene.ask()
    (archive,) = files_below(scene.cache, "archives-v0")
    (scene.cache / archive).write_bytes(sdist.read_bytes()[:-1])
    scene.record.unlink()
    scene.one.clear()

    answer = await scene.ask()

    assert answer == first
    assert scene.one.paths == [f"/files/{SDIST}"]
    assert (scene.cache / archive).read_bytes() == sdist.read_bytes()


# Effort


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
async def test_no_more_effort_than_the_cache(scene: Scene, kind: str) -> None:
    if kind == "wheel":
        scene.add_wheel(sidecar=True)
    else:
        scene.add_sdist()

    with pytest.raises(BuildNeededError, match="not in the cache"):
        await scene.ask(effort="cached")
    assert scene.one.paths == [PAGE]

    static = await scene.ask(effort="static")
    assert not static.cached
    assert await scene.ask(effort="cached") == evolve(static, cached=True)


@pytest.mark.parametrize("item", [b"acme", None, 1])
async def test_what_is_no_requirement_is_a_mistake_of_the_caller(scene: Scene, item: Any) -> None:
    async with scene.database() as database:
        with pytest.raises(TypeError, match=f"not {type(item).__name__}"):
            await database.metadata(item)


async def test_an_effort_that_there_is_not(scene: Scene) -> None:
    with pytest.raises(ValueError, match="no effort"):
        await scene.ask(effort="nonsense")


# Hash rules


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
async def test_under_hash_rules_only_whole_bytes_will_do(scene: Scene, algorithm: str) -> None:
    wheel = scene.add_wheel(LARGE, sidecar=True)
    allowed = [f"{algorithm}:{hashlib.new(algorithm, wheel.read_bytes()).hexdigest()}"]

    answer = await scene.ask(hashes=allowed)

    assert (answer.rung, answer.cached) == ("wheel", False)
    assert scene.one.paths == [PAGE, FILE]
    assert scene.one.requests[-1].status == 200
    warm = await scene.ask(hashes=allowed)
    assert (warm.rung, warm.cached) == ("wheel", True)
    assert scene.one.paths == [PAGE, FILE]


async def test_metadata_of_no_hashed_bytes_are_not_used_under_hash_rules(scene: Scene) -> None:
    wheel = scene.add_wheel(sidecar=True)
    assert (await scene.ask()).rung == "sidecar"
    assert read_document(scene.record)["source"]["verified"] is False

    assert await scene.asked(hashes=[f"sha256:{sha256(wheel)}"]) == [FILE]

    source = read_document(scene.record)["source"]
    assert (source["verified"], source["digests"]) == (True, {"sha256": sha256(wheel)})
    assert (await scene.ask()).rung == "wheel"


async def test_verified_bytes_are_used_under_hash_rules(scene: Scene) -> None:
    sdist = scene.add_sdist()
    await scene.ask()
    scene.one.clear()

    warm = await scene.ask(hashes=[f"sha256:{sha256(sdist)}"])
    other = await scene.ask(hashes=[f"sha512:{hashlib.sha512(sdist.read_bytes()).hexdigest()}"])

    assert (warm.cached, other.cached) == (True, True)
    assert scene.one.paths == []


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
async def test_bytes_that_are_not_allowed_are_not_kept(scene: Scene, kind: str, algorithm: str, listed: bool) -> None:
    if kind == "wheel":
        scene.add_wheel(sidecar=True, hashes=listed)
    else:
        scene.add_sdist(hashes=listed)
    wrong = f"{algorithm}:{hashlib.new(algorithm, b'other').hexdigest()}"

    with pytest.raises(FelloeError) as raised:
        await scene.ask(hashes=[wrong])

    is_known_to_be_wrong = listed and algorithm == "sha256"
    assert type(raised.value) is (NoMatchError if is_known_to_be_wrong else HashMismatchError)
    assert scene.one.paths[1:] == ([] if is_known_to_be_wrong else [FILE if kind == "wheel" else f"/files/{SDIST}"])
    assert files_below(scene.cache, *RECORDS, "archives-v0", "scratch") == []


async def test_cached_bytes_that_are_not_allowed_are_not_used(scene: Scene) -> None:
    scene.add_sdist(hashes=False)
    scene.one.behave("/files/*", Behaviour(cache_control="max-age=60"))
    await scene.ask()

    with pytest.raises(HashMismatchError):
        await scene.ask(hashes=[f"sha256:{'0' * 64}"])

    assert (await scene.ask()).cached


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
async def test_bytes_that_are_not_those_of_the_page_are_not_kept(scene: Scene, kind: str) -> None:
    listing: dict[str, Any] = {"hashes": {"sha256": "0" * 64}}
    if kind == "wheel":
        scene.add_wheel(**listing)
        scene.one.behave("/files/*", Behaviour(ranges="ignore"))
    else:
        scene.add_sdist(**listing)

    with pytest.raises(HashMismatchError, match="0" * 64):
        await scene.ask()

    assert files_below(scene.cache, *RECORDS, "archives-v0", "scratch") == []


async def test_hashes_are_required_of_all_or_of_none(scene: Scene) -> None:
    sdist = scene.add_sdist()
    policy = evolve(config_of(scene.cache).policy, require_hashes=True)

    with pytest.raises(RequirementError) as raised:
        await scene.ask(policy=policy)

    assert raised.value.code == "hash-required"
    assert scene.one.paths == []
    assert (await scene.ask(policy=policy, hashes=[f"sha256:{sha256(sdist)}"])).rung == "pkg-info"


# The file `metadata.json`


DOCUMENT = """\
  "source": {{
    "kind": "index",
    "locator": {{
      "url": "{url}",
      "metadata": null
    }},
    "content": "sha256:{sha256}",
    "verified": true,
    "digests": {{
      "sha256": "{sha256}"
    }},
    "validators": {{
      {validators}
    }},
    "fetched": "2026-01-31T12:00:00Z",
    "checked": "2026-01-31T12:00:00Z"
  }},
  "static": {{
    "metadata-version": "2.2",
    "name": "acme",
    "version": "1.0",
    "requires-dist": [
      "zlib-ng>=0.5"
    ],
    "requires-python": ">=3.9",
    "provides-extra": [
      "fast"
    ]
  }},
  "static-rung": "pkg-info",
  "data": {{}},
  "builds": []
}}
"""


async def test_the_document_of_a_sdist(scene: Scene) -> None:
    sdist = scene.add_sdist(DEPENDS)

    await scene.ask()

    address = hashlib.sha256(scene.one.index_url.encode()).hexdigest()[:16]
    path = scene.cache / "built-wheel-metadata-v0/index" / address / SDIST / "metadata.json"
    assert scene.record == path
    first, _, rest = path.read_text().partition("\n")
    assert first == f'{{"check": "{zlib.crc32(rest.encode()):08x}",'
    validators = json.dumps(read_document(path)["source"]["validators"], indent=2)
    inner = validators.removeprefix("{\n  ").removesuffix("\n}").replace("\n", "\n    ")
    url = f"{scene.one.url}/files/{SDIST}"
    assert rest == DOCUMENT.format(url=url, sha256=sha256(sdist), validators=inner)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
async def test_the_document_is_the_same_after_an_identical_run(scene: Scene, kind: str) -> None:
    if kind == "wheel":
        scene.add_wheel(sidecar=True)
    else:
        scene.add_sdist()

    async def run() -> tuple[bytes, int, int]:
        await scene.ask()
        status = scene.record.stat()
        return scene.record.read_bytes(), status.st_mtime_ns, status.st_ino

    first = await run()
    scene.now += 60
    assert await run() == first

    shutil.rmtree(scene.cache / "locks")
    scene.one.clear()
    scene.now -= 60
    scene.record.unlink()
    (again, _, _) = await run()
    assert json.loads(again).keys() == json.loads(first[0]).keys()


async def test_a_flipped_bit_anywhere_is_a_miss_and_heals(scene: Scene) -> None:
    scene.add_sdist(DEPENDS)
    cold = await scene.ask()
    path, good, healed = scene.record, scene.record.read_bytes(), b""
    scene.one.clear()

    async with scene.database() as database:
        (dist,) = await database.find("acme")
        for place in range(len(good)):
            flipped = bytearray(good)
            flipped[place] ^= 1 << (place % 8)
            path.write_bytes(flipped)
            scene.told.events.clear()
            answer = await database.metadata(dist)
            assert answer == evolve(cold, cached=True), place
            (warning,) = set(scene.told.messages("warning"))
            assert str(path.relative_to(scene.cache)) in warning
            healed = healed or path.read_bytes()
            assert path.read_bytes() == healed, place

    assert await scene.ask() == evolve(cold, cached=True)
    assert scene.told.messages("warning") == []
    assert scene.one.paths == []


@pytest.mark.parametrize("damage", [b"", b"{", b"\0" * 100, b'{"check": "00000000",\n'], ids=repr)
async def test_a_cut_or_foreign_document_is_a_miss_and_heals(scene: Scene, damage: bytes) -> None:
    scene.add_sdist(DEPENDS)
    cold = await scene.ask()
    scene.record.write_bytes(damage)

    assert await scene.ask() == evolve(cold, cached=True)
    assert scene.told.messages("warning")
    assert await scene.ask() == evolve(cold, cached=True)
    assert scene.told.messages("warning") == []


async def test_what_a_later_release_wrote_is_kept(scene: Scene) -> None:
    wheel = scene.add_wheel(sidecar=True)
    await scene.ask()

    def add(document: dict[str, Any]) -> None:
        document["later"] = {"a": [1, None]}
        document["source"]["later"] = "x"
        document["builds"] = [{"build": "b", "later": 1.5}]
        document["data"][WHEEL]["later-field"] = ["y"]

    change_document(scene.record, add)

    answer = await scene.ask(hashes=[f"sha256:{sha256(wheel)}"])

    assert answer.rung == "wheel"
    document = read_document(scene.record)
    assert document["source"]["verified"] is True
    assert (document["later"], document["source"]["later"]) == ({"a": [1, None]}, "x")
    assert document["builds"] == [{"build": "b", "later": 1.5}]
    assert list(document) == ["check", "source", "data", "rungs", "builds", "later"]
