"""`file:` URLs: what they mean, and that nothing but files and folders is opened."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest

from felloe.errors import NetworkError
from felloe.net.files import path_of, read_page, regular_file, stat_of
from felloe.url import Url

MANY = 2**20
JSON = "application/vnd.pypi.simple.v1+json"
as_nobody = pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="needs root, to become somebody else")


class Links(HTMLParser):
    """Addresses and texts of the links on a page."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page.body.decode("utf-8", "surrogateescape"))

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.found.append([dict(attrs)["href"], ""])

    def handle_data(self, data):
        if self.found:
            self.found[-1][1] += data


def url_of(path: Path, end: str = "") -> Url:
    return Url(f"file://{quote(os.fsencode(path))}{end}")


def summary(page):
    return page.status, page.headers.get("content-type"), page.body


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///srv/a.whl", "/srv/a.whl"),
        ("file://localhost/srv/a.whl", "/srv/a.whl"),
        ("file://LOCALHOST/srv/a.whl", "/srv/a.whl"),
        ("file:/srv/a.whl", "/srv/a.whl"),
        ("file:///srv/a%20b%2Bc.whl", "/srv/a b+c.whl"),
        ("file:///srv/a+b", "/srv/a+b"),
        ("file:///srv/%C3%A9", "/srv/\u00e9"),
        ("file:///srv/\u00e9", "/srv/\u00e9"),
        ("file:///srv/%FF", "/srv/\udcff"),
        ("file:///srv/%23%3F", "/srv/#?"),
        ("file:///srv/a?b=c#d", "/srv/a"),
        ("file:///srv/%zz", "/srv/%zz"),
        ("file:///srv/../etc", "/srv/../etc"),
        ("file:///", "/"),
    ],
)
def test_path(url, path):
    assert path_of(Url(url)) == Path(path)


@pytest.mark.parametrize(
    "url",
    [
        "file://example.com/srv/a.whl",
        "file://127.0.0.1/srv",
        "file://user:secret@example.com/srv",
        "file:///srv/a%00b",
        "file:srv/a.whl",
        "file:.",
        "file://localhost",
    ],
)
def test_what_is_no_path_of_this_machine(url):
    for ask in (path_of, regular_file, lambda url: read_page(url, MANY)):
        with pytest.raises(NetworkError) as caught:
            ask(Url(url))
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("a.html", "text/html"), ("page", "text/html"), ("a.json", JSON), ("a b#?%.html", "text/html")],
)
def test_file(tmp_path, name, content_type):
    (tmp_path / name).write_bytes(b"body")

    page = read_page(url_of(tmp_path / name), MANY)

    assert summary(page) == (200, content_type, b"body")
    assert page.url == url_of(tmp_path / name)


@pytest.mark.parametrize("end", ["", "/"])
@pytest.mark.parametrize(
    ("names", "content_type"),
    [(["index.html"], "text/html"), (["index.json"], JSON), (["index.html", "index.json", "a.whl"], "text/html")],
)
def test_the_index_file_of_a_folder(tmp_path, names, content_type, end):
    for name in names:
        (tmp_path / name).write_text(name)

    page = read_page(url_of(tmp_path, end), MANY)

    assert summary(page) == (200, content_type, names[0].encode())
    assert page.url == url_of(tmp_path, "/")
    assert path_of(page.url.join("a.whl")) == tmp_path / "a.whl"


NAMES = [
    "a-1.0-py3-none-any.whl",
    "a-1.0.tar.gz",
    "\u00e9.whl",
    os.fsdecode(b"\xff.whl"),
    "a b.whl",
    'a"b.whl',
    "<b>&amp;.whl",
    "a#b?c%25.whl",
    "c:d.whl",
]


def test_the_listing_of_a_folder(tmp_path):
    for name in NAMES:
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "fifo")

    page = read_page(url_of(tmp_path), MANY)
    found = Links(page).found

    assert summary(page)[:2] == (200, "text/html")
    assert [text.strip() for _, text in found] == sorted(NAMES)
    assert [path_of(page.url.join(href)) for href, _ in found] == [tmp_path / name for name in sorted(NAMES)]


def test_the_listing_of_an_empty_folder(tmp_path):
    page = read_page(url_of(tmp_path), MANY)

    assert page.status == 200
    assert Links(page).found == []


@pytest.mark.parametrize("path", ["nothing", "nothing/at/all", "file/below", "dangling", "no\ud800thing"])
def test_what_is_not_there(tmp_path, path):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nothing")
    url = url_of(tmp_path, f"/{path}")

    assert read_page(url, MANY).status == 404
    with pytest.raises(NetworkError, match="cannot be read") as caught:
        regular_file(url)
    assert caught.value.code == "no-such-file"


def make_fifo(path):
    os.mkfifo(path)


def make_link_to_fifo(path):
    os.mkfifo(path.with_name("target"))
    path.symlink_to("target")


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def make_link_to_device(path):
    path.symlink_to("/dev/zero")


def make_loop(path):
    path.symlink_to(path)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("make", [make_fifo, make_link_to_fifo, make_socket, make_link_to_device, make_loop])
@pytest.mark.parametrize("name", ["a.whl", "index.html"])
def test_what_is_neither_file_nor_folder_is_not_opened(tmp_path, monkeypatch, make, name):
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    make(Path(name))
    url = url_of(tmp_path / name)

    with pytest.raises(NetworkError):
        read_page(url, MANY)
    with pytest.raises(NetworkError):
        regular_file(url)
    assert Links(read_page(url_of(tmp_path), MANY)).found == []


def test_regular_file(tmp_path):
    (tmp_path / "a.whl").touch()
    (tmp_path / "link").symlink_to("a.whl")

    assert regular_file(url_of(tmp_path / "a.whl")) == tmp_path / "a.whl"
    assert regular_file(url_of(tmp_path / "link")) == tmp_path / "link"
    with pytest.raises(NetworkError, match="is not a regular file"):
        regular_file(url_of(tmp_path))


@pytest.mark.parametrize("name", ["a.html", "index.html"])
def test_a_page_has_a_size(tmp_path, name):
    (tmp_path / name).write_bytes(b"x" * 100)

    for url in [url_of(tmp_path / name)] + [url_of(tmp_path)] * (name == "index.html"):
        assert read_page(url, 100).body == b"x" * 100
        with pytest.raises(NetworkError, match="at most 99 bytes"):
            read_page(url, 99)


def test_a_listing_has_a_size(tmp_path):
    for number in range(10):
        (tmp_path / f"{number}.whl").touch()

    with pytest.raises(NetworkError, match="100 bytes"):
        read_page(url_of(tmp_path), 100)


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000])
def test_a_path_that_is_too_long(tmp_path, name):
    with pytest.raises(NetworkError, match="cannot be read"):
        read_page(url_of(tmp_path, f"/{name}"), MANY)


@as_nobody
@pytest.mark.parametrize("closed", ["folder", "file"])
def test_what_may_not_be_read(tmp_path, closed):
    code = """if True:
        import os, sys
        from felloe.errors import NetworkError
        from felloe.net.files import read_page, regular_file
        from felloe.url import Url
        os.setuid(65534)
        for ask in (lambda url: read_page(url, 2**20), regular_file):
            try:
                ask(Url(sys.argv[1]))
            except NetworkError as error:
                print(error)
    """
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").touch()
    (tmp_path / "folder" / ("file" if closed == "file" else ".")).chmod(0)
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)

    url = url_of(tmp_path / "folder/file")
    done = subprocess.run([sys.executable, "-c", code, url.reveal()], capture_output=True, text=True, check=True)

    assert "Permission denied" in done.stdout
    assert "Traceback" not in done.stderr


def test_stat_tells_a_changed_file(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"one")
    before = stat_of(file)
    os.utime(file, ns=(before["mtime_ns"], before["mtime_ns"]))
    touched = stat_of(file)
    file.write_bytes(b"three")

    assert stat_of(file)["size"] == 5
    assert touched["mtime_ns"] == before["mtime_ns"]
    assert touched["ctime_ns"] >= before["ctime_ns"]
    assert set(before) == {"mtime_ns", "ctime_ns", "size", "inode"}
