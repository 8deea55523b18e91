"""Programs that a wheel brings: its entry points, and scripts that begin with `#!python`. Pure.

They find the interpreter beside themselves, so that the environment may be copied and moved.
"""

from __future__ import annotations

import os
import re

from attrs import frozen

from felloe.errors import ArchiveError
from felloe.net.member import safe_parts, shown

__all__ = ["PLACEHOLDER", "EntryPoint", "launcher", "parse_entry_points", "relocatable"]

GROUPS = ("console_scripts", "gui_scripts")
REFERENCE = re.compile(r"(?P<module>[\w.]+)\s*:\s*(?P<attribute>[\w.]+)\s*(\[.*\])?")
LONGEST_NAME = 255  # bytes
PLACEHOLDER = b"#!python"  # what an installer replaces, whatever follows in the line

# sh runs the second line, which leaves it; for Python the second and third are a string.
START = rb"""#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/python" "$0" "$@"
' '''
"""
LAUNCHER = """\
import sys
from {module} import {first}
if __name__ == "__main__":
    sys.exit({attribute}())
"""


@frozen(kw_only=True)
class EntryPoint:
    """A program: the file `name` calls the object `attribute` (dotted) of `module`."""

    name: str
    module: str
    attribute: str


def parse_entry_points(text: str) -> tuple[EntryPoint, ...]:
    """The programs in the text of entry_points.txt (entry points specification), sorted by name.

    Raises ArchiveError where it cannot be parsed, or the name of a program cannot be that of a file.
    """
    import configparser

    parser = configparser.ConfigParser(delimiters=("=",), strict=False, interpolation=None, default_section="")
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # names are case-sensitive
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ArchiveError(f"has entry points that cannot be parsed: {shown(str(error))}") from error
    written = {name: value for group in GROUPS if group in parser for name, value in parser[group].items()}
    return tuple(_entry_point(name, written[name]) for name in sorted(written))


def _entry_point(name: str, value: str) -> EntryPoint:
    if safe_parts(name) != (name,) or len(os.fsencode(name)) > LONGEST_NAME:
        raise ArchiveError(f"has an entry point whose name cannot be that of a file: `{shown(name)}`")
    match = REFERENCE.fullmatch(value)
    if match is None or not all(map(str.isidentifier, f"{match['module']}.{match['attribute']}".split("."))):
        raise ArchiveError(f"has an entry point that cannot be parsed: `{shown(f'{name} = {value}')}`")
    return EntryPoint(name=name, module=match["module"], attribute=match["attribute"])


def launcher(entry_point: EntryPoint) -> bytes:
    """The file of a program: it imports the module, calls the object and exits with what that gives."""
    module, attribute = entry_point.module, entry_point.attribute
    body = LAUNCHER.format(module=module, attribute=attribute, first=attribute.partition(".")[0])
    return START + body.encode()


def relocatable(script: bytes) -> bytes:
    """`script`, which begins with PLACEHOLDER, run by the interpreter beside it."""
    return START + script.partition(b"\n")[2]
