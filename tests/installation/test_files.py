"""Environments on disk: written from files of the cache, and copied so that nothing is shared."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from felloe.installation.contents import File, Link, Script, Text
from felloe.installation.files import copy_tree, write_items
from tests.fixtures.cache import everything

OF = "a wheel"


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "file").write_text("text")
    (folder / "sub" / "program").write_bytes(os.urandom(3 * 2**20 + 7))
    (folder / "sub" / "program").chmod(0o755)
    (folder / "nothing").touch()
    (folder / "link").symlink_to("sub")
    (folder / "sub" / "dangling").symlink_to("/no/such/file")
    return folder


@pytest.fixture
def into(tmp_path):
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def open_files():
    """How many, where the system tells."""
    return len(list(Path("/proc/self/fd").glob("*")))


def across_devices(*_, **__):
    raise OSError(errno.EXDEV, "Invalid cross-device link")


@pytest.mark.parametrize("can", ["range", "nothing of the kind", "no range"])
def test_a_copy_is_the_same(source, into, monkeypatch, can):
    if can == "no range":
        monkeypatch.setattr(os, "copy_file_range", across_devices, raising=False)
    elif can == "nothing of the kind":
        monkeypatch.delattr(os, "copy_file_range", raising=False)

    copy_tree(source, into)

    assert everything(into) == everything(source)
    assert [mode(into / path) for path in ("file", "sub/program")] == [0o644, 0o755]


def test_a_copy_that_stops_half_way_is_gone_on_with(source, into, monkeypatch):
    """A kernel may say that it copied less than it was asked to, or nothing more."""
    real, calls = os.copy_file_range, []

    def short(reading, writing, count):
        calls.append(count)
        return real(reading, writing, 1000) if len(calls) % 2 else 0

    monkeypatch.setattr(os, "copy_file_range", short)

    copy_tree(source, into)

    assert everything(into) == everything(source)


def test_a_copy_shares_no_file(source, into):
    copy_tree(source, into)
    before = everything(source)

    for path in into.rglob("*"):
        assert path.is_symlink() or path.is_dir() or path.stat().st_nlink == 1
    (into / "file").write_text("other")
    (into / "sub" / "program").write_bytes(b"")

    assert everything(source) == before


@pytest.mark.timeout(20)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_what_nobody_made_is_not_waited_for(source, into):
    os.mkfifo(source / "fifo")

    copy_tree(source, into)

    assert not (into / "fifo").exists()


def test_an_error_leaves_no_descriptor_open(source, into):
    (into / "sub").write_text("in the way")
    before = open_files()

    with pytest.raises(FileExistsError):
        copy_tree(source, into)
    assert open_files() == before


def test_items_are_written(source, into):
    (source / "script").write_text("#!python\nprint()\n")
    (source / "foreign").write_text("#!/usr/bin/perl\n")

    write_items(
        {
            "bin/s": Script(of=OF, source=source / "script"),
            "bin/f": Script(of=OF, source=source / "foreign"),
            "bin/t": Text(of=OF, content=b"launcher", executable=True),
            "bin/l": Link(of=OF, target="t"),
            "lib/a/program": File(of=OF, source=source / "sub" / "program"),
            "lib/file": File(of=OF, source=source / "file"),
            "config": Text(of=OF, content=b"text"),
        },
        ["lib/a", "lib/b/c"],
        into,
    )

    found = everything(into)
    assert found.keys() == {
        *("bin", "bin/f", "bin/l", "bin/s", "bin/t", "config"),
        *("lib", "lib/a", "lib/a/program", "lib/b", "lib/b/c", "lib/file"),
    }
    assert found["bin/s"].startswith(b"#!/bin/sh\n")
    assert found["bin/s"].endswith(b"print()\n")
    assert (found["bin/f"], found["bin/l"], found["bin/t"]) == (b"#!/usr/bin/perl\n", "t", b"launcher")
    assert found["lib/a/program"] == everything(source)["sub/program"]
    modes = {path: mode(into / path) for path in ("bin/s", "bin/f", "bin/t", "lib/a/program", "lib/file", "config")}
    assert modes == {
        **dict.fromkeys(("bin/s", "bin/f", "bin/t", "lib/a/program"), 0o755),
        **dict.fromkeys(("lib/file", "config"), 0o644),
    }


def test_no_file_is_shared_with_the_cache(source, into):
    write_items({"one": File(of=OF, source=source / "file")}, [], into)

    assert not (into / "one").samefile(source / "file")
    assert (into / "one").read_text() == "text"


@pytest.mark.skipif(os.name == "nt", reason="has no umask")
def test_umask_is_respected(source, into):
    before = os.umask(0o077)
    try:
        copy_tree(source, into)
    finally:
        os.umask(before)

    assert [mode(into / path) for path in ("sub", "file", "sub/program")] == [0o700, 0o600, 0o700]
