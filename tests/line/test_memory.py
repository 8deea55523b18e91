"""Large pages of an index, many at a time, in the memory that is promised."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from felloe.testing import IndexServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MOST = 600 * 2**10  # KiB
MIB = 2**20
JSON_TYPE = {"Content-Type": "application/vnd.pypi.simple.v1+json"}
WHEEL = "%s-1.%d-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
USUAL = (
    '{"filename":"%s","url":"https://example.com/packages/%060x/%s","hashes":{"sha256":"%064x"},"size":%d,'
    '"requires-python":">=3.8","upload-time":"2026-01-31T12:00:00.000000Z","yanked":false,'
    '"core-metadata":{"sha256":"%064x"},"data-dist-info-metadata":{"sha256":"%064x"},"provenance":null}'
)

CHILD = """
import re, sys
from pathlib import Path

import anyio

from felloe import Config, Database
from felloe.errors import FelloeError

url, cache, *projects = sys.argv[1:]


async def count(database, project):
    try:
        print(project, len(await database.find(project)))
    except FelloeError as error:
        print(project, error.code)


async def main():
    config = Config.load(environ={"PIP_CONFIG_FILE": "/dev/null"}, cwd=Path(cache), cache_dir=cache, index_url=url)
    async with Database(config) as database, anyio.create_task_group() as group:
        for project in projects:
            group.start_soon(count, database, project)


anyio.run(main)
print("peak", re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def page(project: str, size: int) -> bytes:
    """As PyPI's are, of at least `size` bytes."""
    body = bytearray(b'{"meta":{"api-version":"1.1"},"name":"%s","files":[' % project.encode())
    number = 0
    while len(body) < size:
        name = WHEEL % (project, number)
        body += (USUAL % (name, number, name, number, number, number, number)).encode() + b","
        number += 1
    body[-1:] = b"]}"
    return bytes(body)


def hostile(project: str, size: int) -> bytes:
    """As many files as there may be in `size` bytes: decoded, each of them is a hundred times as large."""
    entry = b'{"filename":"%s-1.%%d.zip","url":"a","hashes":{}}' % project.encode()
    body = b",".join(entry % number for number in range(size // len(entry)))
    return b'{"meta":{},"name":"%s","files":[%s]}' % (project.encode(), body)


@pytest.fixture
def server() -> Iterator[IndexServer]:
    with IndexServer() as server:
        yield server


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: {f"acme{number}": page(f"acme{number}", 11 * MIB) for number in range(6)}, id="several"),
        pytest.param(lambda: {"acme": page("acme", 44 * MIB)}, id="a large one"),
        pytest.param(lambda: {"acme": hostile("acme", 44 * MIB)}, id="a hostile one"),
    ],
)
def test_the_peak_of_memory(server: IndexServer, tmp_path: Path, make: Callable[[], dict[str, bytes]]) -> None:
    pages = make()
    for project, body in pages.items():
        server.static(f"/simple/{project}/", body, headers=JSON_TYPE)
    command = [sys.executable, "-c", CHILD, server.index_url, str(tmp_path), *pages]

    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=110)

    told = dict(line.split() for line in done.stdout.splitlines())
    assert told.keys() == {*pages, "peak"}
    assert int(told["peak"]) < MOST, told
