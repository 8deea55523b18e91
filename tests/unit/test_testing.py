"""`felloe.testing`, asked over real sockets, and the nginx fixture that it is compared with."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from email.parser import Parser
from importlib.util import find_spec
from typing import TYPE_CHECKING, get_args
from urllib.parse import urlsplit

import pytest
import trustme
from attrs import evolve, frozen

from felloe.errors import ArchiveError
from felloe.testing import Behaviour, IndexServer, Project, Reply, make_sdist, make_wheel
from felloe.testing.artifacts import SdistFormat
from tests.fixtures.nginx import start_nginx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ACME = Project("acme", "1.0")
WHEEL = "acme-1.0-py3-none-any.whl"
LATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLY = "Sat, 05 Nov 1994 08:49:37 GMT"
JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"


@frozen(kw_only=True)
class Got:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@contextmanager
def connected(url: str, context: ssl.SSLContext | None = None) -> Iterator[http.client.HTTPConnection]:
    host = urlsplit(url).netloc
    connection = (
        http.client.HTTPSConnection(host, timeout=30, context=context)
        if context
        else http.client.HTTPConnection(host, timeout=30)
    )
    with closing(connection):
        yield connection


def ask(connection: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str) -> Got:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=named)
    response = connection.getresponse()
    return Got(status=response.status, headers=response.headers, body=response.read())


def get(server: IndexServer, path: str, method: str = "GET", **headers: str) -> Got:
    with connected(server.url) as connection:
        return ask(connection, path, method, **headers)


@pytest.fixture
def index() -> Iterator[IndexServer]:
    with IndexServer() as server:
        yield server


@pytest.fixture
def letters(index: IndexServer) -> IndexServer:
    """Ten bytes at /letters."""
    index.static("/letters", b"abcdefghij")
    return index


# Wheels and sdists


@pytest.mark.parametrize(
    ("name", "version", "stem"),
    [
        ("acme", "1.0", "acme-1.0"),
        ("Acme.Web-_Kit", "1.0", "acme_web_kit-1.0"),
        ("acme", "1.0.RC1", "acme-1.0rc1"),
        ("acme", "1.0.0", "acme-1.0.0"),
        ("acme", "1.0+local.1", "acme-1.0+local.1"),
        ("acme", "1.0-1", "acme-1.0.post1"),
        ("acme", "not-pep440", "acme-not_pep440"),
    ],
)
def test_file_names(tmp_path: Path, name: str, version: str, stem: str) -> None:
    project = Project(name, version)
    wheel, sdist = make_wheel(tmp_path, project), make_sdist(tmp_path, project)
    assert (wheel.name, sdist.name) == (f"{stem}-py3-none-any.whl", f"{stem}.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        assert f"Name: {name}\nVersion: {version}\n" in archive.read(f"{stem}.dist-info/METADATA").decode()


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"acme/__init__.py": "x = 1\n", "acme/data, with a comma.bin": b"\0\1"},
        {"acme-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n"},
        {"acme-1.0.dist-info/entry_points.txt": "[acme]\n"},
    ],
    ids=["none", "package", "own METADATA", "entry points"],
)
def test_record_has_every_file_with_its_hash(tmp_path: Path, files: dict[str, str]) -> None:
    wheel = make_wheel(tmp_path, evolve(ACME, padding=1000), files=files)
    with zipfile.ZipFile(wheel) as archive:
        rows = list(csv.reader(archive.read("acme-1.0.dist-info/RECORD").decode().splitlines()))
        assert sorted(path for path, _, _ in rows) == sorted(archive.namelist())
        assert set(files) < set(archive.namelist())
        for path, digest, size in rows[:-1]:
            content = archive.read(path)
            expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            assert (digest, size) == (f"sha256={expected}", str(len(content)))
    assert rows[-1] == ["acme-1.0.dist-info/RECORD", "", ""]


def test_files_take_the_place_of_what_would_be_made_or_leave_it_out(tmp_path: Path) -> None:
    info = f"{ACME.stem}.dist-info"
    wheel = make_wheel(tmp_path, ACME, files={f"{info}/WHEEL": None, f"{info}/RECORD": "mine", f"{info}/METADATA": "x"})
    with zipfile.ZipFile(wheel) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            f"{info}/METADATA": b"x",
            f"{info}/RECORD": b"mine",
        }


@pytest.mark.parametrize(
    ("tags", "build", "filename", "lines"),
    [
        ("py3-none-any", None, WHEEL, ["Root-Is-Purelib: true", "Tag: py3-none-any"]),
        (
            "py2.py3-none-any",
            "2",
            "acme-1.0-2-py2.py3-none-any.whl",
            ["Root-Is-Purelib: true", "Tag: py2-none-any", "Tag: py3-none-any", "Build: 2"],
        ),
        (
            "cp311-cp311-linux_x86_64",
            None,
            "acme-1.0-cp311-cp311-linux_x86_64.whl",
            ["Root-Is-Purelib: false", "Tag: cp311-cp311-linux_x86_64"],
        ),
    ],
)
def test_wheel_says_its_tags(tmp_path: Path, tags: str, build: str | None, filename: str, lines: list[str]) -> None:
    wheel = make_wheel(tmp_path, ACME, tags=tags, build=build)
    assert wheel.name == filename
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("acme-1.0.dist-info/WHEEL").decode().splitlines()[2:] == lines


PARTICULAR = Project(
    "acme",
    "1.0",
    requires_dist=["a>=1", 'b; extra == "x"'],
    requires_python=">=3.8",
    extras=["x"],
    dynamic=["Requires-Dist"],
)


def members(archive: Path) -> dict[str, bytes]:
    if archive.suffix in {".zip", ".whl"}:
        with zipfile.ZipFile(archive) as opened:
            return {name: opened.read(name) for name in opened.namelist()}
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_one_description_is_written_as_each_artifact_has_it(tmp_path: Path) -> None:
    metadata = Parser().parsestr(members(make_wheel(tmp_path, PARTICULAR))["acme-1.0.dist-info/METADATA"].decode())
    pkg_info = Parser().parsestr(members(make_sdist(tmp_path, PARTICULAR))["acme-1.0/PKG-INFO"].decode())
    assert (metadata["Metadata-Version"], metadata.get_all("Dynamic")) == ("2.1", None)
    assert (pkg_info["Metadata-Version"], pkg_info.get_all("Dynamic")) == ("2.2", ["Requires-Dist"])
    for written in (metadata, pkg_info):
        assert written.get_all("Requires-Dist") == ["a>=1", 'b; extra == "x"']
        assert (written["Requires-Python"], written["Provides-Extra"]) == (">=3.8", "x")


def test_metadata_can_be_any_text(tmp_path: Path) -> None:
    project = evolve(PARTICULAR, metadata="Name: other\n\n\u00e9")
    assert members(make_wheel(tmp_path, project))["acme-1.0.dist-info/METADATA"] == b"Name: other\n\n\xc3\xa9"
    assert members(make_sdist(tmp_path, project))["acme-1.0/PKG-INFO"] == b"Name: other\n\n\xc3\xa9"


@pytest.mark.parametrize("suffix", get_args(SdistFormat))
def test_sdist_in_every_format(tmp_path: Path, suffix: SdistFormat) -> None:
    sdist = make_sdist(tmp_path, ACME, pyproject="# mine", files={"src/acme.py": b"x = 1"}, format=suffix)
    assert sdist == tmp_path / f"acme-1.0{suffix}"
    assert members(sdist) == {
        "acme-1.0/PKG-INFO": b"Metadata-Version: 2.2\nName: acme\nVersion: 1.0\n",
        "acme-1.0/pyproject.toml": b"# mine",
        "acme-1.0/src/acme.py": b"x = 1",
    }


def test_sdist_without_pkg_info(tmp_path: Path) -> None:
    sdist = make_sdist(tmp_path, ACME, files={"PKG-INFO": None})
    assert members(sdist) == {"acme-1.0/pyproject.toml": b"[build-system]\nrequires = []\n"}


@pytest.mark.parametrize("suffix", get_args(SdistFormat))
def test_same_arguments_give_the_same_bytes(tmp_path: Path, suffix: SdistFormat) -> None:
    first = make_sdist(tmp_path / "a", PARTICULAR, files={"x": b"1"}, format=suffix).read_bytes()
    assert make_sdist(tmp_path / "b", PARTICULAR, files={"x": b"1"}, format=suffix).read_bytes() == first
    assert make_wheel(tmp_path / "a", ACME).read_bytes() == make_wheel(tmp_path / "b", ACME).read_bytes()


def test_no_time_is_written_into_archives(tmp_path: Path) -> None:
    assert make_sdist(tmp_path, ACME).read_bytes()[4:8] == bytes(4)  # the time in a gzip header, RFC 1952
    with tarfile.open(make_sdist(tmp_path, ACME)) as tar:
        assert {member.mtime for member in tar} == {0}
    with zipfile.ZipFile(make_wheel(tmp_path, ACME)) as wheel:
        assert {member.date_time for member in wheel.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_padding_does_not_compress(tmp_path: Path) -> None:
    project = evolve(ACME, padding=100_000)
    for artifact in (make_wheel(tmp_path, project), make_sdist(tmp_path, project)):
        assert 100_000 < artifact.stat().st_size < 102_000


# Pages


@pytest.mark.parametrize(
    ("forms", "accept", "content_type"),
    [
        (["json", "html"], None, "text/html"),
        (["json", "html"], "*/*", "text/html"),
        (["json", "html"], JSON, JSON),
        (["json", "html"], f"{JSON}, {HTML}; q=0.2, text/html; q=0.01", JSON),
        (["json", "html"], f"{JSON}; q=0.1, {HTML};q=0.5", HTML),
        (["json", "html"], f"{JSON};q=0, text/html;q=0.1", "text/html"),
        (["html"], JSON, "text/html"),
        (["html"], f"{JSON}, text/html; q=0.01", "text/html"),
        (["json"], "text/html", JSON),
    ],
)
def test_form_of_a_page(tmp_path: Path, forms: list[str], accept: str | None, content_type: str) -> None:
    with IndexServer(forms=forms) as index:
        index.add(make_wheel(tmp_path, ACME))
        got = get(index, "/simple/acme/", **({"accept": accept} if accept else {}))
    assert (got.status, got.headers["content-type"], got.headers["vary"]) == (200, content_type, "Accept")
    assert got.body.startswith(b"{" if content_type == JSON else b"<!DOCTYPE html>")


def test_json_page(index: IndexServer, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, ACME)
    url = index.add(wheel)
    index.add(make_sdist(tmp_path, Project("acme", "0.9"), format=".zip"), yanked="broken", requires_python=">=3.8")
    page = json.loads(get(index, "/simple/acme/", accept=JSON).body)
    assert (page["meta"], page["name"], page["versions"]) == ({"api-version": "1.1"}, "acme", ["0.9", "1.0"])
    assert page["files"][0] == {
        "filename": WHEEL,
        "url": url,
        "hashes": {"sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()},
        "yanked": False,
        "size": wheel.stat().st_size,
    }
    assert (page["files"][1]["yanked"], page["files"][1]["requires-python"]) == ("broken", ">=3.8")
    assert get(index, urlsplit(url).path).body == wheel.read_bytes()


@pytest.mark.parametrize(
    ("listing", "key", "value"),
    [
        ({"size": False}, "size", None),
        ({"hashes": False}, "hashes", {}),
        ({"hashes": {"md5": "00"}}, "hashes", {"md5": "00"}),
        ({"yanked": True}, "yanked", True),
        ({"upload_time": "2026-01-31T12:00:00Z"}, "upload-time", "2026-01-31T12:00:00Z"),
        ({"url": "../../elsewhere"}, "url", "../../elsewhere"),
        ({"sidecar": False}, "core-metadata", False),
        ({"sidecar": None}, "core-metadata", None),
        ({"sidecar": True, "hashes": False}, "core-metadata", True),
    ],
)
def test_listing(index: IndexServer, tmp_path: Path, listing: dict, key: str, value: object) -> None:
    index.add(make_wheel(tmp_path, ACME), **listing)
    page = json.loads(get(index, "/simple/acme/", accept=JSON).body)
    assert page["files"][0].get(key) == value
    assert page["meta"]["api-version"] == ("1.0" if key == "size" else "1.1")


@pytest.mark.oracle
@pytest.mark.parametrize("accept", [JSON, "text/html"])
def test_another_client_reads_the_pages(index: IndexServer, tmp_path: Path, accept: str) -> None:
    pypi_simple = pytest.importorskip("pypi_simple")
    index.add(make_wheel(tmp_path, Project("Ac.me", "1.0")), sidecar=True, yanked='"no" & <why>', requires_python="<4")
    got = get(index, "/simple/ac-me/", accept=accept)
    page = (
        pypi_simple.ProjectPage.from_json_data(json.loads(got.body))
        if accept == JSON
        else pypi_simple.ProjectPage.from_html("ac-me", got.body, base_url=index.index_url)
    )
    [package] = page.packages
    assert (package.project, package.version, package.requires_python) == ("ac_me", "1.0", "<4")
    assert (package.is_yanked, package.yanked_reason, package.has_metadata) == (True, '"no" & <why>', True)
    metadata = get(index, urlsplit(package.metadata_url).path).body
    assert package.metadata_digests == {"sha256": hashlib.sha256(metadata).hexdigest()}
    assert package.digests == {"sha256": hashlib.sha256((tmp_path / package.filename).read_bytes()).hexdigest()}


@pytest.mark.parametrize(("sidecar", "status"), [(True, 200), (False, 404), (None, 404)])
def test_sidecar_is_served_where_it_is_listed(
    index: IndexServer, tmp_path: Path, sidecar: bool | None, status: int
) -> None:
    index.add(make_wheel(tmp_path, ACME), sidecar=sidecar)
    assert get(index, f"/files/{WHEEL}.metadata").status == status


def test_sidecar_of_an_sdist_is_refused(index: IndexServer, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"`acme-1\.0\.zip` is not a wheel") as raised:
        index.add(make_sdist(tmp_path, ACME, format=".zip"), sidecar=True)
    assert raised.value.hint


def test_a_file_name_that_has_to_be_quoted(index: IndexServer, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, Project("acme", "1.0+local.1"))
    url = index.add(wheel)
    assert "%2B" in url
    assert get(index, urlsplit(url).path).body == wheel.read_bytes()
    assert index.paths == [f"/files/{wheel.name}"]


@pytest.mark.parametrize("path", ["/", "/simple/", "/simple/other/", "/simple/acme", "/simple/Acme/", "/files/x.whl"])
def test_nothing_there(index: IndexServer, tmp_path: Path, path: str) -> None:
    index.add(make_wheel(tmp_path, ACME))
    assert get(index, path).status == 404


def test_a_file_added_again_takes_the_place_of_the_first(index: IndexServer, tmp_path: Path) -> None:
    index.add(make_wheel(tmp_path, ACME))
    other = make_wheel(tmp_path, ACME, files={"acme.py": "x = 1"})
    index.add(other)
    [file] = json.loads(get(index, "/simple/acme/", accept=JSON).body)["files"]
    assert file["hashes"]["sha256"] == hashlib.sha256(other.read_bytes()).hexdigest()
    assert get(index, f"/files/{WHEEL}").body == other.read_bytes()


def test_any_bytes_in_place_of_a_page_or_a_file(index: IndexServer, tmp_path: Path) -> None:
    index.add(make_wheel(tmp_path, ACME))
    index.page("Acme", b"\xff not a page", "text/plain")
    index.static(f"/files/{WHEEL}", b"other bytes", {"X-Mine": "1"})
    page, file = get(index, "/simple/acme/", accept=JSON), get(index, f"/files/{WHEEL}")
    assert (page.body, page.headers["content-type"]) == (b"\xff not a page", "text/plain")
    assert (file.body, file.headers["x-mine"]) == (b"other bytes", "1")


# Connections and the log


def test_connection_is_kept_alive(letters: IndexServer) -> None:
    with connected(letters.url) as connection:
        ask(connection, "/letters")
        first = connection.sock
        ask(connection, "/missing")
        ask(connection, "/letters", "HEAD")
        assert connection.sock is first is not None
    assert [request.status for request in letters.requests] == [200, 404, 200]


def test_what_is_logged(letters: IndexServer) -> None:
    get(letters, "/letters?a=1%202", range="bytes=2-3", X_Mine="Yes")
    [request] = letters.requests
    assert (request.method, request.path, request.query) == ("GET", "/letters", "a=1%202")
    assert (request.status, request.sent) == (206, 2)
    assert (request.headers["range"], request.headers["x-mine"]) == ("bytes=2-3", "Yes")
    letters.clear()
    assert letters.requests == []


def test_whoever_has_read_a_reply_finds_it_in_the_log(letters: IndexServer) -> None:
    letters.static("/large", bytes(1_000_000))
    with connected(letters.url) as connection:
        for count in range(1, 201):
            ask(connection, "/letters" if count % 2 else "/large")
            assert len(letters.paths) == count
    assert {request.sent for request in letters.requests} == {10, 1_000_000}


def test_many_at_once(letters: IndexServer) -> None:
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda _: get(letters, "/letters").body, range(64)))
    assert got == [b"abcdefghij"] * 64
    assert letters.paths == ["/letters"] * 64


def test_the_end_closes_sockets_and_ends_threads() -> None:
    before = set(threading.enumerate())
    with IndexServer() as index, connected(index.url) as connection:
        ask(connection, "/")
        idle = connection.sock
        assert len(set(threading.enumerate()) - before) == 2  # one accepts, one has the idle connection
        index.__exit__(None, None, None)
        assert set(threading.enumerate()) <= before  # others may end meanwhile
        assert idle.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", urlsplit(index.url).port), timeout=30)


def test_tls() -> None:
    authority = trustme.CA()
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(ours)
    authority.configure_trust(theirs)
    with IndexServer(ssl_context=ours) as index:
        port = urlsplit(index.url).port
        with socket.create_connection(("127.0.0.1", port), timeout=30):  # never shakes hands, and holds up nobody
            with connected(index.url, theirs) as connection:
                assert index.url.startswith("https:")
                assert [ask(connection, "/").status for _ in range(2)] == [404, 404]
            with connected(index.url, ssl.create_default_context()) as connection, pytest.raises(ssl.SSLError):
                connection.request("GET", "/")
        assert index.paths == ["/", "/"]


# Behaviour


def test_validators_and_other_headers(letters: IndexServer) -> None:
    letters.behave(
        "/letters",
        Behaviour(
            etag='W/"1"', last_modified=LATE, cache_control="max-age=60", headers={"date": EARLY, "Content-Type": "a/b"}
        ),
    )
    got = get(letters, "/letters").headers
    assert (got["etag"], got["last-modified"], got["cache-control"]) == ('W/"1"', LATE, "max-age=60")
    assert (got.get_all("date"), got.get_all("content-type")) == ([EARLY], ["a/b"])


def test_etag_made_from_the_bytes(letters: IndexServer) -> None:
    letters.behave("/letters", Behaviour(etag="auto"))
    etag = get(letters, "/letters").headers["etag"]
    assert get(letters, "/letters", if_none_match=etag).status == 304
    letters.static("/letters", b"other")
    assert get(letters, "/letters", if_none_match=etag).body == b"other"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_none_match": '"1"'}, 304),
        ({"if_none_match": 'W/"1"'}, 304),
        ({"if_none_match": '"0", "1"'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"0"'}, 200),
        ({"if_none_match": '"0"', "if_modified_since": LATE}, 200),
        ({"if_modified_since": LATE}, 304),
        ({"if_modified_since": EARLY}, 200),
        ({"if_modified_since": "yesterday"}, 200),
    ],
)
def test_conditional_request(letters: IndexServer, headers: dict[str, str], status: int) -> None:
    letters.behave("/letters", Behaviour(etag='"1"', last_modified=LATE, cache_control="max-age=60"))
    got = get(letters, "/letters", **headers)
    assert got.status == status
    assert got.body == (b"" if status == 304 else b"abcdefghij")
    assert (got.headers["etag"], got.headers["cache-control"]) == ('"1"', "max-age=60")
    assert letters.requests[0].sent == len(got.body)


def test_no_condition_without_validators(letters: IndexServer) -> None:
    for tags in ('"1"', "*", '"1",', ""):
        assert get(letters, "/letters", if_none_match=tags).status == 200
    assert get(letters, "/letters", if_modified_since=LATE).status == 200


RANGES = {
    "bytes=0-3": (206, b"abcd", "bytes 0-3/10"),
    "bytes=4-": (206, b"efghij", "bytes 4-9/10"),
    "bytes=-3": (206, b"hij", "bytes 7-9/10"),
    "bytes=-99": (206, b"abcdefghij", "bytes 0-9/10"),
    "bytes=8-99": (206, b"ij", "bytes 8-9/10"),
    "bytes=10-": (416, None, "bytes */10"),
}


@pytest.mark.parametrize("wanted", RANGES)
def test_range(letters: IndexServer, wanted: str) -> None:
    status, body, content_range = RANGES[wanted]
    got = get(letters, "/letters", range=wanted)
    assert (got.status, got.body, got.headers["content-range"]) == (status, body or b"", content_range)


@pytest.mark.parametrize("wanted", ["bytes=-", "bytes=3-2", "lines=0-1", "bytes=0-0,2-2", f"bytes=0-{'9' * 5000}"])
def test_range_that_is_none(letters: IndexServer, wanted: str) -> None:
    got = get(letters, "/letters", range=wanted)
    assert (got.status, got.body) == (200, b"abcdefghij")


@pytest.mark.parametrize(
    ("behaviour", "if_range", "status"),
    [
        (Behaviour(etag='"1"'), '"1"', 206),
        (Behaviour(etag='"1"'), '"2"', 200),
        (Behaviour(etag='W/"1"'), 'W/"1"', 200),
        (Behaviour(last_modified=LATE), LATE, 206),
        (Behaviour(), '"1"', 200),
    ],
)
def test_if_range(letters: IndexServer, behaviour: Behaviour, if_range: str, status: int) -> None:
    letters.behave("/letters", behaviour)
    assert get(letters, "/letters", range="bytes=0-0", if_range=if_range).status == status


@pytest.mark.parametrize(("ranges", "status"), [("ignore", 200), (400, 400), (405, 405), (416, 416), (501, 501)])
def test_ranges_not_honoured(letters: IndexServer, ranges: str | int, status: int) -> None:
    letters.behave("/letters", Behaviour(ranges=ranges))
    got = get(letters, "/letters", range="bytes=0-0")
    assert (got.status, got.headers["accept-ranges"]) == (status, None)
    assert got.body == (b"abcdefghij" if status == 200 else b"")
    assert get(letters, "/letters").body == b"abcdefghij"


def test_head(letters: IndexServer) -> None:
    got = get(letters, "/letters", "HEAD", range="bytes=0-0")
    assert (got.status, got.headers["content-length"], got.body) == (200, "10", b"")
    letters.behave("/letters", Behaviour(head_allowed=False))
    assert [get(letters, "/letters", method).status for method in ("HEAD", "GET")] == [405, 200]
    assert [request.sent for request in letters.requests] == [0, 0, 10]


@pytest.mark.parametrize(
    ("auth", "scheme", "credentials"),
    [
        (("user", "p:w"), "Basic", base64.b64encode(b"user:p:w").decode()),
        ("token", "Bearer", "token"),
    ],
)
def test_auth(letters: IndexServer, auth: tuple[str, str] | str, scheme: str, credentials: str) -> None:
    letters.behave("*", Behaviour(require_auth=auth, statuses=[503]))
    refused = get(letters, "/letters")
    assert (refused.status, refused.headers["www-authenticate"]) == (401, f'{scheme} realm="index"')
    assert get(letters, "/letters", authorization=f"{scheme} wrong").status == 401
    right = f"{scheme} {credentials}"
    assert [get(letters, "/letters", authorization=right).status for _ in range(2)] == [503, 200]


def test_statuses_come_first_on_each_path(letters: IndexServer) -> None:
    busy = Reply(429, headers={"Retry-After": "7"}, body=b"busy")
    letters.behave("/*", Behaviour(statuses=[busy, 599]))
    got = [get(letters, "/letters") for _ in range(4)]
    assert [one.status for one in got] == [429, 599, 200, 200]
    assert (got[0].headers["retry-after"], got[0].body) == ("7", b"busy")
    assert get(letters, "/missing").status == 429


def test_the_pattern_given_last_holds(letters: IndexServer) -> None:
    letters.behave("/letters", Behaviour(cache_control="no-store"))
    letters.behave("/l*", Behaviour(etag='"1"'))
    letters.behave("/m*", Behaviour(cache_control="max-age=1"))
    got = get(letters, "/letters").headers
    assert (got["etag"], got["cache-control"]) == ('"1"', None)
    assert get(letters, "/missing").headers["cache-control"] == "max-age=1"


def test_redirect(letters: IndexServer) -> None:
    letters.behave("/old", Behaviour(redirect="/letters", cache_control="max-age=1"))
    got = get(letters, "/old")
    assert (got.status, got.headers["location"], got.headers["cache-control"]) == (302, "/letters", "max-age=1")


@pytest.mark.parametrize(
    ("accept", "encoding"), [("gzip, deflate", "gzip"), ("gzip;q=0", None), ("identity", None), (None, None)]
)
def test_compression(letters: IndexServer, accept: str | None, encoding: str | None) -> None:
    letters.behave("/letters", Behaviour(content_encoding="gzip", etag="auto"))
    got = get(letters, "/letters", **({"accept_encoding": accept} if accept else {}))
    assert (got.headers["content-encoding"], got.headers["vary"]) == (encoding, "Accept-Encoding")
    assert (gzip.decompress(got.body) if encoding else got.body) == b"abcdefghij"


def test_truncation(letters: IndexServer) -> None:
    letters.behave("/letters", Behaviour(truncate_at=4))
    with pytest.raises(http.client.IncompleteRead) as raised:
        get(letters, "/letters")
    assert (raised.value.partial, raised.value.expected) == (b"abcd", 6)
    assert [(request.status, request.sent) for request in letters.requests] == [(200, 4)]
    assert get(letters, "/letters", range="bytes=4-7").body == b"efgh"


def test_a_held_request_waits_until_it_is_released(letters: IndexServer) -> None:
    reached, hold = threading.Event(), threading.Event()
    letters.behave("/letters", Behaviour(reached=reached, hold=hold))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(get, letters, "/letters")
        assert reached.wait(30)
        assert get(letters, "/missing").status == 404
        assert letters.paths == ["/missing"]
        assert not waiting.done()
        hold.set()
        assert waiting.result(30).body == b"abcdefghij"
    assert letters.paths == ["/missing", "/letters"]


def test_the_end_releases_held_requests() -> None:
    reached = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with IndexServer() as index:
            index.behave("*", Behaviour(reached=reached, hold=threading.Event()))
            waiting = pool.submit(get, index, "/")
            assert reached.wait(30)
        assert waiting.exception(30) is not None or waiting.result().status == 404
    assert index.paths == ["/"]


def test_a_drip_gives_every_byte(letters: IndexServer) -> None:
    letters.behave("/letters", Behaviour(drip=0.001))
    assert get(letters, "/letters").body == b"abcdefghij"
    assert letters.requests[0].sent == 10


def test_a_drip_ends_with_the_server() -> None:
    with IndexServer() as index, connected(index.url) as connection:
        index.static("/letters", b"abcdefghij")
        index.behave("/letters", Behaviour(drip=3600))
        connection.request("GET", "/letters")
        response = connection.getresponse()
        index.__exit__(None, None, None)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()


def test_a_client_that_goes_away_is_logged_with_what_it_was_sent() -> None:
    with IndexServer() as index:
        index.static("/large", bytes(50_000_000))
        with connected(index.url) as connection:
            connection.request("GET", "/large")
            connection.getresponse().close()
    [request] = index.requests
    assert 0 <= request.sent < 50_000_000


# Whole


@pytest.mark.skipif(find_spec("pip") is None, reason="pip is not installed")
@pytest.mark.parametrize("form", ["json", "html"])
def test_pip_installs_from_it(tmp_path: Path, form: str) -> None:
    wheel = make_wheel(
        tmp_path, Project("acme", "1.0", requires_dist=["zebra"]), build="3", files={"acme.py": b"x = 1\n"}
    )
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-cache-dir", "install"]
    with IndexServer(forms=[form]) as index:
        index.add(wheel, sidecar=True)
        index.add(make_wheel(tmp_path, Project("zebra", "2")))
        command = [*pip, "--index-url", index.index_url, "--target", str(tmp_path / "target"), "acme"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "target" / "acme.py").read_bytes() == b"x = 1\n"
    assert f"/files/{wheel.name}.metadata" in index.paths


def test_pytest_is_not_needed() -> None:
    program = "import sys, felloe.testing; sys.exit('pytest' in sys.modules or 'httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# nginx


@pytest.mark.nginx
def test_nginx_serves_pages_and_logs_every_request(tmp_path: Path) -> None:
    with start_nginx(tmp_path / "nginx", "server_tokens off;", "location /held/ { expires 1h; }") as nginx:
        for path, content in {"simple/a/index.json": "{}", "simple/b/index.html": "<p>", "held/x": "1"}.items():
            (nginx.root / path).parent.mkdir(parents=True)
            (nginx.root / path).write_text(content)
        with connected(nginx.url) as connection:
            page = ask(connection, "/simple/a/", accept=JSON)
            assert page.headers["content-type"] == JSON
            assert ask(connection, "/simple/b/").headers["content-type"] == "text/html"
            assert ask(connection, "/held/x", range="bytes=0-0").headers["cache-control"] == "max-age=3600"
            assert ask(connection, "/simple/a/", if_none_match=page.headers["etag"]).status == 304
        logged = nginx.entries()
        assert nginx.entries() == logged  # the markers are not shown
    assert [(entry.uri, entry.status) for entry in logged] == [
        ("/simple/a/", 200),
        ("/simple/b/", 200),
        ("/held/x", 206),
        ("/simple/a/", 304),
    ]
    assert (logged[0].accept, logged[0].sent) == (JSON, 2)
    assert (logged[2].range, logged[3].if_none_match) == ("bytes=0-0", page.headers["etag"])


@pytest.mark.nginx
@pytest.mark.oracle
def test_ranges_and_conditions_are_answered_as_nginx_does(letters: IndexServer, tmp_path: Path) -> None:
    with start_nginx(tmp_path / "nginx", config_server_extra="if_modified_since before;") as nginx:
        (nginx.root / "files" / "letters").write_bytes(b"abcdefghij")
        os.utime(nginx.root / "files" / "letters", (784111777, 784111777))  # LATE
        with connected(nginx.url) as theirs, connected(letters.url) as ours:
            etag = ask(theirs, "/files/letters").headers["etag"]
            letters.behave("/letters", Behaviour(etag=etag, last_modified=LATE))
            asked = [{"range": wanted} for wanted in RANGES]
            asked += [{"if_none_match": tag} for tag in (etag, f'"0", {etag}', "*", '"0"')]
            asked += [{"if_modified_since": since} for since in (EARLY, LATE, "yesterday")]
            asked += [{"if_range": validator, "range": "bytes=0-0"} for validator in (etag, '"0"', LATE, EARLY)]
            for headers in asked:
                expected, got = ask(theirs, "/files/letters", **headers), ask(ours, "/letters", **headers)
                assert (got.status, got.headers["content-range"]) == (
                    expected.status,
                    expected.headers["content-range"],
                )
                assert got.body == expected.body or got.status == 416


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_without_nginx_a_test_is_skipped_but_fails_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="nginx is not installed"), start_nginx(tmp_path):
        pass
