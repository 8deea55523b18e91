"""Programs of a wheel: what entry_points.txt says, and scripts that run wherever they are copied."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felloe.errors import ArchiveError
from felloe.installation.scripts import EntryPoint, launcher, parse_entry_points, relocatable


@pytest.mark.parametrize(
    ("text", "programs"),
    [
        ("", []),
        ("[other]\na = b\n", []),
        ("[console_scripts]\na = m:f\n", ["a m f"]),
        ("[gui_scripts]\nb=m:f\n[console_scripts]\na=m:f\n", ["a m f", "b m f"]),
        ("[console_scripts]\r\nA.b-c_1 = m.n:f.g [x,y]\r\n", ["A.b-c_1 m.n f.g"]),
        ("# comment\n; comment\n\n[console_scripts]\n\n  a = m : f\n  b = m:g\n", ["a m f", "b m g"]),
        ("[console_scripts]\nab:c d = m:f\nA = m:g\na = m:h\n", ["A m g", "a m h", "ab:c d m f"]),
        ("[console_scripts]\na = m:f\na = m:g\n", ["a m g"]),
        ("[console_scripts]\na = m:f\n[console_scripts]\nb = m:g\n", ["a m f", "b m g"]),
        ("[DEFAULT]\nx = m:f\n[console_scripts]\na = m:%(x)s\n[p.q]\nz = %\n", None),
        ("[DEFAULT]\nx = m:f\n[console_scripts]\na = m:f\n[p.q]\nz = 50%\n", ["a m f"]),
        ("[console_scripts]\n\u00e4 = \u00fc.n:\u00f6\n", ["\u00e4 \u00fc.n \u00f6"]),
    ],
)
def test_entry_points(text, programs):
    if programs is None:
        with pytest.raises(ArchiveError):
            parse_entry_points(text)
    else:
        found = [f"{each.name} {each.module} {each.attribute}" for each in parse_entry_points(text)]
        assert found == programs


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a =",
        "= m:f",
        "a = m",
        "a = m:",
        "a = :f",
        "a = m:f()",
        "a = m:f; import os",
        "a = m..n:f",
        "a = m:f.",
        "a = 1:f",
        "a = m:f\n b",
        "a/b = m:f",
        "../a = m:f",
        "/a = m:f",
        ". = m:f",
        ".. = m:f",
        "a\0 = m:f",
        f"{'a' * 256} = m:f",
        "[console_scripts",
    ],
)
def test_entry_points_that_will_not_do(line):
    with pytest.raises(ArchiveError):
        parse_entry_points(f"[console_scripts]\n{line}\n")


@given(st.text())
def test_any_text_is_parsed_or_refused(text):
    message = ""
    try:
        parse_entry_points(f"[console_scripts]\n{text}")
    except ArchiveError as error:
        message = str(error)
    assert message.isprintable()


@pytest.fixture(params=["bin", "with space", "quote'\"$(false)`false`"])
def folder(request, tmp_path):
    """One that has a Python."""
    folder = tmp_path / request.param
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    return folder


def program(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def output(*argv, **options):
    completed = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, **options)
    return completed.returncode, completed.stdout, completed.stderr


@pytest.mark.parametrize("attribute", ["main", "Tool.main"])
def test_a_program_calls_its_object(folder, attribute):
    (folder / "mod.py").write_text(
        "import sys\ndef main():\n    print(sys.argv[1:])\n    return 3\nclass Tool:\n    main = staticmethod(main)\n"
    )
    path = program(folder / "tool", launcher(EntryPoint(name="tool", module="mod", attribute=attribute)))

    expected = (3, "['a b', '$HOME', \"'\"]\n", "")
    assert output(path, "a b", "$HOME", "'") == expected
    assert output("tool", "a b", "$HOME", "'", env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}) == expected


def test_a_program_knows_its_name_and_can_be_linked_to(folder, tmp_path):
    (folder / "mod.py").write_text("import sys\ndef main():\n    print(sys.argv[0], sys.executable)\n")
    path = program(folder / "tool", launcher(EntryPoint(name="tool", module="mod", attribute="main")))
    link = tmp_path / "link"
    link.symlink_to(path)

    assert output(path) == (0, f"{path} {folder}/python\n", "")
    assert output(link) == (0, f"{link} {folder}/python\n", "")


@pytest.mark.parametrize("first", [b"#!python", b"#!pythonw", b"#!python3 -u", b"#!python\r"])
def test_a_script_is_run_by_the_python_beside_it(folder, first):
    script = relocatable(first + b"\nimport sys\nprint(sys.argv, sys.executable)\n")
    path = program(folder / "script", script)

    assert output(path, "x") == (0, f"{[str(path), 'x']} {folder}/python\n", "")


def test_a_script_of_one_line():
    assert relocatable(b"#!python") == relocatable(b"#!python\n")
