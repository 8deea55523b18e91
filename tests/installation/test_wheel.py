"""What an unpacked wheel brings, and where it goes."""

from __future__ import annotations

import os

import pytest

from felloe.errors import ArchiveError
from felloe.installation.wheel import LONGEST_PATH, read_wheel

WHEEL = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
INFO = "a-1.0.dist-info"
NAME = "a-1.0-py3-none-any.whl"


def write(folder, files):
    for path, text in files.items():
        if text is not None:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text if isinstance(text, bytes) else text.encode())


def read(folder, files=None, wheel=WHEEL):
    write(folder, {f"{INFO}/WHEEL": wheel, **(files or {})})
    return read_wheel(folder, NAME)


def placed(contents):
    return {each.source: f"{each.scheme} {each.path}" for each in contents.files}


def test_every_scheme(tmp_path):
    contents = read(
        tmp_path,
        {
            "a/__init__.py": "",
            "b.data": "a file",
            f"{INFO}/METADATA": "",
            f"{INFO}/RECORD": "",
            f"{INFO}/entry_points.txt": "[console_scripts]\ntool = a:main\n",
            "a-1.0.data/purelib/p.py": "",
            "a-1.0.data/platlib/q/r.so": "",
            "a-1.0.data/scripts/s": "",
            "A-1.data/headers/h/i.h": "",
            "a-1.0.data/data/share/d": "",
        },
    )

    assert placed(contents) == {
        "a/__init__.py": "purelib a/__init__.py",
        "b.data": "purelib b.data",
        f"{INFO}/METADATA": f"purelib {INFO}/METADATA",
        f"{INFO}/WHEEL": f"purelib {INFO}/WHEEL",
        f"{INFO}/entry_points.txt": f"purelib {INFO}/entry_points.txt",
        "a-1.0.data/purelib/p.py": "purelib p.py",
        "a-1.0.data/platlib/q/r.so": "platlib q/r.so",
        "a-1.0.data/scripts/s": "scripts s",
        "A-1.data/headers/h/i.h": "headers h/i.h",
        "a-1.0.data/data/share/d": "data share/d",
    }
    assert (contents.root, contents.info, contents.project) == ("purelib", INFO, "a")
    assert [program.name for program in contents.programs] == ["tool"]


@pytest.mark.parametrize(
    ("lines", "root"),
    [
        ("Root-Is-Purelib: true\n", "purelib"),
        ("Root-Is-Purelib:TRUE \r\n", "purelib"),
        ("root-is-purelib: True\n", "purelib"),
        ("Root-Is-Purelib: false\n", "platlib"),
        ("", "platlib"),
    ],
)
def test_the_scheme_of_the_root(tmp_path, lines, root):
    contents = read(tmp_path, {"a.py": ""}, f"Wheel-Version: 1.0\n{lines}")

    assert contents.root == root
    assert placed(contents)["a.py"] == f"{root} a.py"


def test_data_comes_after_the_root(tmp_path):
    contents = read(tmp_path, {"a-1.0.data/purelib/a.py": "", "a.py": "", "Z.py": ""})

    assert [each.source for each in contents.files][-1] == "a-1.0.data/purelib/a.py"


@pytest.mark.parametrize("version", ["1.0", "1.9", "1", "0.1", " 1.0 "])
def test_known_formats(tmp_path, version):
    assert read(tmp_path, wheel=f"Wheel-Version: {version}\n").info == INFO


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({f"{INFO}/WHEEL": None}, "has to hold one .dist-info directory, and holds none"),
        ({f"{INFO}/WHEEL": None, f"{INFO}/METADATA": ""}, f"has no file `{INFO}/WHEEL`"),
        ({f"{INFO}/WHEEL": ""}, "has no good Wheel-Version in its file WHEEL: ``"),
        ({f"{INFO}/WHEEL": "Wheel-Version: one\n"}, "has no good Wheel-Version in its file WHEEL: `one`"),
        ({f"{INFO}/WHEEL": "Wheel-Version: 1.0.x\n"}, "has no good Wheel-Version"),
        ({f"{INFO}/WHEEL": f"Wheel-Version: {'9' * 9999}.0\n"}, "has no good Wheel-Version"),
        ({f"{INFO}/WHEEL": "Wheel-Version: 2.0\n"}, "is of the wheel format 2.0, and only 1.0 is known"),
        ({f"{INFO}/WHEEL": b"Wheel-Version: 1.0\xff\n"}, f"holds a file that is not UTF-8: `{INFO}/WHEEL`"),
        ({"b-1.dist-info/WHEEL": ""}, "holds `a-1.0.dist-info`, `b-1.dist-info`"),
        ({"a-1.0.data/file": ""}, "holds a file that has no place to go to: `a-1.0.data/file`"),
        ({"a-1.0.data/bin/file": ""}, "holds a file that has no place to go to: `a-1.0.data/bin/file`"),
        ({f"{INFO}/entry_points.txt": "no section"}, "has entry points that cannot be parsed: "),
        ({f"{INFO}/entry_points.txt": "[console_scripts]\na = b"}, "cannot be parsed: `a = b`"),
        ({f"{INFO}/entry_points.txt": "[console_scripts]\n../a = b:c"}, "leads out of its folder: `../a`"),
        ({f"{INFO}/entry_points.txt": b"\xff"}, f"holds a file that is not UTF-8: `{INFO}/entry_points.txt`"),
        ({f"{INFO}/entry_points.txt": bytes(2**24 + 1)}, "holds more than 16777216 bytes"),
    ],
)
def test_what_is_no_wheel(tmp_path, files, message):
    with pytest.raises(ArchiveError) as caught:
        read_wheel_of(tmp_path, {f"{INFO}/WHEEL": WHEEL, **files})

    assert str(caught.value).startswith(f"`{NAME}` ")
    assert message in str(caught.value)
    assert str(caught.value).isprintable()
    assert caught.value.hint


def read_wheel_of(folder, files):
    write(folder, files)
    return read_wheel(folder, NAME)


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
@pytest.mark.parametrize("target", ["a.py", "folder", "nothing", "/etc"])
def test_a_symbolic_link_is_refused(tmp_path, target):
    write(tmp_path, {"a.py": "", "folder/b.py": ""})
    (tmp_path / "folder" / "link").symlink_to(target)

    with pytest.raises(ArchiveError, match="holds a symbolic link, which a wheel cannot: `folder/link`"):
        read(tmp_path)


def test_a_path_has_room_for_the_folders_that_it_gets_into(tmp_path):
    path = "/".join(["folder" * 20] * 8)
    longest = f"{path}/{'x' * (LONGEST_PATH - len(path) - 1)}"
    assert longest in placed(read(tmp_path / "good", {longest: ""}))

    with pytest.raises(ArchiveError, match=f"^`{NAME}` holds a path of more than {LONGEST_PATH} bytes: `folder") as bad:
        read(tmp_path / "bad", {f"{longest[:-1]}é": ""})
    assert len(str(bad.value)) < 400
