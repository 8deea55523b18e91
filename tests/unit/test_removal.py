"""Folders are removed whatever is in them, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from felloe.cache.removal import remove_tree

DEEP = 3000


def fill(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").write_text("x")
    (folder / "a" / "file").write_text("y")
    (folder / "empty").mkdir()


def test_all_of_it_goes(tmp_path: Path) -> None:
    fill(tmp_path / "folder")

    remove_tree(tmp_path / "folder")

    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")


def test_of_any_depth(tmp_path: Path) -> None:
    make = f"import os\nfor _ in range({DEEP}): os.mkdir('d'); os.chdir('d')\nopen('file', 'w').close()"
    (tmp_path / "folder").mkdir()
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path / "folder", check=True)

    remove_tree(tmp_path / "folder")

    assert list(tmp_path.iterdir()) == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    fill(tmp_path / "precious")
    before = sorted(path.name for path in (tmp_path / "precious").rglob("*"))
    folder = tmp_path / "folder" / "inner"
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "precious")
    (folder.parent / "broken").symlink_to("nowhere")
    (tmp_path / "top").symlink_to(tmp_path / "precious")

    remove_tree(tmp_path / "folder")
    remove_tree(tmp_path / "top")

    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert sorted(path.name for path in (tmp_path / "precious").rglob("*")) == before


@pytest.mark.skipif(os.name == "nt", reason="no FIFOs there")
def test_what_is_no_file_and_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / "fifo")

    remove_tree(folder)

    assert list(tmp_path.iterdir()) == []


# Root may do anything; without its privileges the owner's permissions count.
WITHOUT_PRIVILEGES = """\
import ctypes, sys
from pathlib import Path
class Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
assert ctypes.CDLL(None).capset(ctypes.byref(Header(0x20080522, 0)), (ctypes.c_uint32 * 6)()) == 0
from felloe.cache.removal import remove_tree
remove_tree(Path(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="gives up privileges as Linux has it")
@pytest.mark.parametrize("mode", [0o000, 0o555, 0o300])
def test_whatever_its_permissions(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "folder"
    fill(folder)
    for path in (folder / "a" / "b", folder / "a", folder / "empty", folder):
        path.chmod(mode)

    subprocess.run([sys.executable, "-c", WITHOUT_PRIVILEGES, str(folder)], check=True)

    assert list(tmp_path.iterdir()) == []
