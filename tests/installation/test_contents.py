"""What lies where in an environment; nothing of it is on disk."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from felloe.errors import BuildError
from felloe.installation.contents import File, Link, Script, Text, UnpackedWheel, environment_contents
from felloe.installation.python import Python
from felloe.installation.scripts import EntryPoint
from felloe.installation.wheel import Placed, WheelContents

PYTHON = Python(
    path=Path("/opt/python/bin/python3.12"),
    version="3.12.1",
    purelib="lib/python3.12/site-packages",
    platlib="lib64/python3.12/site-packages",
    cache_tag="cpython-312",
    magic="cb0d0d0a",
)
OWN = {"pyvenv.cfg", "bin/python", "bin/python3", "bin/python3.12"}


def wheel(name, *files, root="purelib", programs=(), compiled=()):
    """`files` are the root's, or `scheme:path`."""
    split = [file.split(":") if ":" in file else (root, file) for file in files]
    return UnpackedWheel(
        filename=f"{name}-1.whl",
        folder=Path("/cache", name),
        contents=WheelContents(
            root=root,
            info=f"{name}-1.dist-info",
            files=tuple(Placed(source=path, scheme=scheme, path=path) for scheme, path in split),
            programs=tuple(EntryPoint(name=each, module=name, attribute="main") for each in programs),
        ),
        bytecode={path: Path("/cache", f"{name}-pyc", f"{path}c") for path in compiled},
    )


def contents(*wheels):
    """Without the environment's own."""
    items = environment_contents(PYTHON, wheels)
    assert items.keys() >= OWN
    return {path: item for path, item in items.items() if path not in OWN}


def source(item):
    assert isinstance(item, File | Script)
    return str(item.source)


def test_an_environment_without_wheels():
    items = environment_contents(PYTHON, [])

    assert items == {
        "pyvenv.cfg": Text(
            of="the environment",
            content=b"home = /opt/python/bin\ninclude-system-site-packages = false\nversion = 3.12.1\n",
        ),
        "bin/python": Link(of="the environment", target="/opt/python/bin/python3.12"),
        "bin/python3": Link(of="the environment", target="python"),
        "bin/python3.12": Link(of="the environment", target="python"),
    }


def test_every_scheme():
    items = contents(wheel("a", "a.py", "platlib:b.so", "scripts:c", "headers:d.h", "data:share/e", programs=["tool"]))

    site = "lib/python3.12/site-packages"
    assert {path: type(item).__name__ for path, item in items.items()} == {
        f"{site}/a.py": "File",
        "lib64/python3.12/site-packages/b.so": "File",
        "bin/c": "Script",
        "include/site/python3.12/a/d.h": "File",
        "share/e": "File",
        "bin/tool": "Text",
        f"{site}/a-1.dist-info/RECORD": "Text",
    }
    assert source(items["bin/c"]) == "/cache/a/c"
    assert items["bin/tool"].executable


@pytest.mark.parametrize("root", ["purelib", "platlib"])
def test_record_says_where_the_files_are(root):
    items = contents(wheel("a", "a.py", "scripts:c", 'data:share/"e",f', root=root, programs=["tool"]))

    (record,) = [item.content for path, item in items.items() if path.endswith("/RECORD")]
    rows = list(csv.reader(record.decode().splitlines()))
    site = getattr(PYTHON, root)
    assert {(Path("/env") / site / row[0]).resolve() for row in rows} == {Path("/env") / path for path in items}
    assert {tuple(row[1:]) for row in rows} == {("", "")}


def test_the_later_of_two_files_counts():
    items = contents(wheel("a", "x.py", "data:bin/t", programs=["u"]), wheel("b", "x.py", "scripts:t", "scripts:u"))

    assert source(items["lib/python3.12/site-packages/x.py"]) == "/cache/b/x.py"
    assert source(items["bin/t"]) == "/cache/b/t"
    assert source(items["bin/u"]) == "/cache/b/u"


@pytest.mark.parametrize("path", ["data:pyvenv.cfg", "scripts:python", "data:bin/python3", "scripts:python3.12"])
def test_the_environments_own_files_stay_its_own(path):
    bare = environment_contents(PYTHON, [])
    items = environment_contents(PYTHON, [wheel("a", path, programs=["python"])])

    assert {each: items[each] for each in OWN} == bare


def test_byte_code_lies_beside_its_module():
    items = contents(
        wheel("a", "m.py", "p/__init__.py", "platlib:n.py", "scripts:s.py", "t.py", compiled=["m.py", "p/__init__.py"]),
        wheel("b", "q.py", compiled=["q.py"]),
    )

    assert {path: source(item) for path, item in items.items() if path.endswith(".pyc")} == {
        "lib/python3.12/site-packages/__pycache__/m.cpython-312.pyc": "/cache/a-pyc/m.pyc",
        "lib/python3.12/site-packages/p/__pycache__/__init__.cpython-312.pyc": "/cache/a-pyc/p/__init__.pyc",
        "lib/python3.12/site-packages/__pycache__/q.cpython-312.pyc": "/cache/b-pyc/q.pyc",
    }


@pytest.mark.parametrize("second", [["m.py"], []])
def test_byte_code_is_that_of_the_file_that_counts(second):
    """It is never compared with its source: that of the other file would be run in its place."""
    items = contents(wheel("a", "m.py", compiled=["m.py"]), wheel("b", "m.py", compiled=second))

    expected = ["/cache/b-pyc/m.pyc"] if second else []
    assert [source(item) for path, item in items.items() if path.endswith(".pyc")] == expected


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("data:x", "data:x/y", "`x/y` of `b-1.whl` lies below `x`, which is a file of `a-1.whl`"),
        ("data:x/y/z", "data:x", "`x/y/z` of `a-1.whl` lies below `x`, which is a file of `b-1.whl`"),
        ("data:s", "data:bin/python/x", "lies below `bin/python`, which is a file of the environment"),
        ("data:s", "data:lib", "which is a file of `b-1.whl`"),
        ("data:bin", "data:s", "of the environment lies below `bin`, which is a file of `a-1.whl`"),
    ],
)
def test_a_file_and_a_folder_of_one_path(first, second, message):
    with pytest.raises(BuildError) as caught:
        environment_contents(PYTHON, [wheel("a", first), wheel("b", second)])

    assert message in str(caught.value)
    assert caught.value.code == "files-collide"
    assert caught.value.hint
