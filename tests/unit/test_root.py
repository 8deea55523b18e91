"""The cache folder itself: the way to a place in it, and what is said where it cannot be written to."""

from __future__ import annotations

import errno
import os

import pytest

from felloe.cache import root as module
from felloe.cache.root import leads_outside, make_root, make_way, writing
from felloe.errors import CacheError
from tests.fixtures.cache import FOREIGN, FOREIGN_FOLDERS, everything


@pytest.fixture
def root(tmp_path):
    make_root(tmp_path / "cache")
    return tmp_path / "cache"


def test_the_way_is_made_of_folders(root):
    make_way(root, root / "a" / "b" / "file")
    (root / "a" / "b" / "file").write_text("kept")
    make_way(root, root / "a" / "b" / "file")

    assert (root / "a" / "b" / "file").read_text() == "kept"


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_nothing_but_a_file_stays_at_the_end(root, foreign):
    (root / "a").mkdir()
    foreign(root / "a" / "file", root.parent / "outside")

    make_way(root, root / "a" / "file")

    assert list((root / "a").iterdir()) == []


def test_what_is_beside_the_way_stays(root):
    (root / "a").mkdir()
    (root / "a" / "link").symlink_to(root.parent)
    (root / "b").mkdir()
    before = everything(root)

    make_way(root, root / "a" / "file")

    assert everything(root) == before


@pytest.mark.parametrize("foreign", [None, *FOREIGN_FOLDERS.values()], ids=["nothing", *FOREIGN_FOLDERS])
def test_somebody_else_is_faster(root, monkeypatch, foreign):
    """Between the look and the deed, another process makes the folder where there was nothing, or what is foreign."""
    place, look = root / "a", module._mode
    if foreign:
        foreign(place, root.parent / "outside")

    def look_and_be_late(path):
        seen = look(path)
        if path == place and not place.is_dir():
            place.unlink(missing_ok=True)
            place.mkdir()
        return seen

    monkeypatch.setattr(module, "_mode", look_and_be_late)

    make_way(root, place / "file")

    assert place.is_dir()
    assert not place.is_symlink()


@pytest.mark.parametrize("parts", [("a",), ("a", "b"), ("a", "b", "c", "file")])
def test_what_leads_outside(root, parts):
    path = root.joinpath(*parts)
    assert not leads_outside(root, path)

    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(root.parent)
    assert not leads_outside(root, path)  # whoever opens it sees that it is a link
    assert leads_outside(root, path / "below")
    assert leads_outside(root, path / "below" / "it")


def test_the_folder_itself_may_be_a_link(tmp_path, root):
    (tmp_path / "link").symlink_to(root)

    assert not leads_outside(tmp_path / "link", tmp_path / "link" / "a" / "file")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_what_cannot_be_written_says_why_and_what_to_do(tmp_path, number):
    with pytest.raises(CacheError) as caught, writing(tmp_path):
        raise OSError(number, os.strerror(number))

    error = caught.value
    assert str(error) == f"cannot write to the cache `{tmp_path}`: {os.strerror(number)}"
    assert error.payload == {"reason": number}
    assert error.hint == "free some space, mend its permissions, or name another folder with --cache-dir"


def test_other_errors_pass(tmp_path):
    with pytest.raises(ValueError, match="the original"), writing(tmp_path):
        raise ValueError("the original")
