"""What changes at an index between two runs is seen: hashes that come later, files that move, users that differ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from felloe import BlockingDatabase, Config
from felloe.config import Limits, Policy, SourceSettings
from felloe.errors import RequirementError
from felloe.testing import Behaviour, IndexServer, Project, make_wheel
from felloe.url import Url
from felloe.values import Answer

FOR_A_LONG_TIME = Behaviour(cache_control="max-age=100000")


@pytest.fixture
def index() -> Iterator[IndexServer]:
    with IndexServer() as server:
        server.behave("/simple/*", Behaviour(cache_control="no-cache"))
        server.behave("/files/*", FOR_A_LONG_TIME)
        yield server


def answer(cache: Path, url: str, **config: object) -> Answer:
    """The answer of a run of its own."""
    source = SourceSettings(name="n", kind="index", settings={"url": Url(url)})
    settings = Config(
        cache_dir=cache,
        sources=(source,),
        replaced_kinds=frozenset({"pypi"}),
        limits=Limits(max_retry_seconds=0),
        **config,  # type: ignore[arg-type]
    )
    with BlockingDatabase(settings) as db:
        return db.metadata("acme")


def acme(folder: Path, requires: str) -> Path:
    folder.mkdir()
    return make_wheel(folder, Project("acme", "1.0", requires_dist=[requires]))


def test_a_hash_that_the_page_declares_later_is_compared(index: IndexServer, tmp_path: Path) -> None:
    index.add(acme(tmp_path / "one", "one"), hashes=False)
    before = answer(tmp_path / "cache", index.index_url)
    index.add(acme(tmp_path / "two", "two"))

    after = answer(tmp_path / "cache", index.index_url)

    assert (before.metadata.requires_dist, after.metadata.requires_dist) == (("one",), ("two",))


def test_a_file_that_moved_is_another_one(index: IndexServer, tmp_path: Path) -> None:
    wheel = acme(tmp_path / "one", "one")
    index.add(wheel, hashes=False)
    before = answer(tmp_path / "cache", index.index_url)
    moved = acme(tmp_path / "two", "two")
    index.static(f"/elsewhere/{moved.name}", moved.read_bytes(), {})
    index.page("acme", f'<a href="/elsewhere/{moved.name}">{moved.name}</a>'.encode(), "text/html")

    after = answer(tmp_path / "cache", index.index_url)

    assert (before.metadata.requires_dist, after.metadata.requires_dist) == (("one",), ("two",))


def test_a_page_that_one_user_saw_is_not_shown_to_another(index: IndexServer, tmp_path: Path) -> None:
    index.add(acme(tmp_path / "one", "one"))
    index.behave("/simple/*", Behaviour(cache_control="max-age=600"))
    scheme, _, rest = index.index_url.partition("://")

    for user in ("alice:a", "bob:b", "alice:a"):
        answer(tmp_path / "cache", f"{scheme}://{user}@{rest}")

    assert index.paths.count("/simple/acme/") == 2


def test_required_hashes_hold_for_a_dist_too(index: IndexServer, tmp_path: Path) -> None:
    index.add(acme(tmp_path / "one", "one"), hashes=False)
    config = Config(
        cache_dir=tmp_path / "cache",
        sources=(SourceSettings(name="n", kind="index", settings={"url": Url(index.index_url)}),),
        replaced_kinds=frozenset({"pypi"}),
        policy=Policy(require_hashes=True),
    )
    with BlockingDatabase(config) as db:
        dists = db.find("acme")
        with pytest.raises(RequirementError) as caught:
            db.metadata(dists[0])

    assert caught.value.code == "hash-required"
