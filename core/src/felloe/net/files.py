"""`file:` URLs: indexes and links on the local file system, through the same doors as HTTP."""

from __future__ import annotations

import html
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from felloe.errors import NetworkError
from felloe.url import Url
from felloe.values import Page

__all__ = ["path_of", "read_page", "regular_file", "stat_of"]

PATH = "correct the path where it is given or configured, or its permissions"
LARGE = "look whether the path is right; if it is, raise `max-page-bytes`, or `max-metadata-bytes` for METADATA"
INDEX_FORMS = (("index.html", "text/html"), ("index.json", "application/vnd.pypi.simple.v1+json"))


def path_of(url: Url) -> Path:
    """The path that a `file:` URL means (RFC 8089). Raises NetworkError where it names another host."""
    if url.host not in {"", "localhost"}:
        raise NetworkError(f"{url} names a file on another host", hint="a file: URL has three slashes")
    path = os.fsdecode(unquote_to_bytes(url.path.encode("utf-8", "surrogatepass")))
    if "\0" in path or not path.startswith("/"):
        raise NetworkError(f"{url} is not an absolute path", hint="a file: URL has three slashes")
    return Path(path.lstrip("/") if os.name == "nt" else path)


def read_page(url: Url, max_bytes: int) -> Page:
    """The page at a `file:` URL: the file, a folder's index file, or a folder's listing as HTML; 404 for none.

    Raises NetworkError where it is something else, too large, or may not be read.
    """
    path = path_of(url)
    try:
        if not path.is_dir():
            return _page(url, path, _content_type(path), max_bytes)
        for name, content_type in INDEX_FORMS:
            if (path / name).is_file():
                return _page(url.as_directory(), path / name, content_type, max_bytes)
        return _listing(url.as_directory(), path, max_bytes)
    except (FileNotFoundError, NotADirectoryError):
        return Page(url=url, status=404, headers={}, body=b"")
    except OSError as error:
        raise NetworkError(f"{url} cannot be read: {error.strerror or error}", hint=PATH) from error


def regular_file(url: Url) -> Path:
    """The path of a file that may be opened without waiting for it. Raises NetworkError."""
    path = path_of(url)
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return path
    except OSError as error:
        raise NetworkError(
            f"{url} cannot be read: {error.strerror or error}", code="no-such-file", hint=PATH
        ) from error
    raise NetworkError(f"{url} is not a regular file", hint=PATH, code="no-such-file")


def stat_of(path: Path) -> Mapping[str, Any]:
    """What tells a changed file from an unchanged one without reading it; never the modification time alone."""
    status = path.stat()
    return {
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
        "size": status.st_size,
        "inode": status.st_ino,
    }


def _page(url: Url, path: Path, content_type: str, max_bytes: int) -> Page:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
        raise NetworkError(f"{url} is not a file of at most {max_bytes} bytes", hint=LARGE)
    return Page(url=url, status=200, headers={"content-type": content_type}, body=path.read_bytes())


def _content_type(path: Path) -> str:
    return "application/vnd.pypi.simple.v1+json" if path.suffix == ".json" else "text/html"


def _listing(url: Url, folder: Path, max_bytes: int) -> Page:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if _is_file(entry))
    links = (f'<a href="{quote(os.fsencode(name))}">{html.escape(name)}</a>' for name in names)
    body = "\n".join(("<!DOCTYPE html><html><body>", *links, "</body></html>")).encode("utf-8", "surrogateescape")
    if len(body) > max_bytes:
        raise NetworkError(f"{url} has a listing of more than {max_bytes} bytes", hint=LARGE)
    return Page(url=url, status=200, headers={"content-type": "text/html"}, body=body)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself, or to where nothing may be read: the others are still good
        return False
