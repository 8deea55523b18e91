"""A package index on loopback: pages (PEP 503, PEP 691), files, and every way to behave well or badly.

Apart from `felloe.errors` it needs the standard library alone. What to answer is decided by pure functions; the
handler at the end sends it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
import socket
import socketserver
import sys
import threading
import zipfile
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, Unpack
from urllib.parse import quote, unquote

from felloe.errors import ArchiveError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

__all__ = ["Behaviour", "Form", "IndexServer", "Listing", "LoggedRequest", "Reply"]

Form = Literal["json", "html"]

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
OFFERED: Mapping[Form, Sequence[str]] = {
    "json": [JSON_TYPE],
    "html": ["application/vnd.pypi.simple.v1+html", "text/html"],
}
OF_THE_BODY = {"content-type", "content-encoding", "accept-ranges"}  # header fields that a 304 does not repeat
OCTETS = {"Content-Type": "application/octet-stream"}
PIECE = 65536  # bytes written at a time
SHUTDOWN_POLL = 0.02  # seconds until the accepting thread sees that it has to end


@dataclass(frozen=True)
class Reply:
    """What a server sends: `Reply(429, headers={"Retry-After": "1"})`."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    body: bytes = field(default=b"", kw_only=True)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How the server treats a path; see `IndexServer.behave`. What is not given is as on a plain, healthy server.

    What is sent along:
    `etag` as sent, with its quotes, or "auto": made from the bytes. With an `etag` or `last_modified` (an HTTP date),
    conditional requests are answered by 304 where it is still the same (RFC 9110, 13).
    `headers` replace those of the same name that the server would send.
    `content_encoding` compresses for clients that accept it.

    What comes instead of the answer, in this order:
    `require_auth` is (user, password), or a bearer token; other requests get 401.
    `statuses` are given one after another, to each path of its own, before the first proper answer.
    `head_allowed=False` answers HEAD with 405. `redirect` answers 302 to that address.
    `ranges` is "honour", "ignore" (the whole, 200), or the status that any range request gets.

    How it is sent:
    `reached` is set when a request has come. `hold` keeps it waiting until the test sets it (so does the server's
    end). `drip` sends a byte each so many seconds. `truncate_at` closes the connection after so many bytes of the
    body, whose announced length is the full one.
    """

    etag: str | None = None
    last_modified: str | None = None
    cache_control: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_encoding: Literal["gzip"] | None = None
    require_auth: tuple[str, str] | str | None = None
    statuses: Sequence[int | Reply] = ()
    head_allowed: bool = True
    redirect: str | None = None
    ranges: Literal["honour", "ignore"] | int = "honour"
    reached: threading.Event | None = None
    hold: threading.Event | None = None
    drip: float | None = None
    truncate_at: int | None = None


class Listing(TypedDict, total=False):
    """What a page says of a file.

    `yanked` is True or the reason (PEP 592). `hashes` is a mapping of algorithm to hex, or whether to give the
    sha256. `sidecar=True` lists and serves a wheel's METADATA (PEP 658, PEP 714); False says that there is none; None,
    as by default, says nothing. `size` (whether to give it) and `upload_time` are PEP 700, on JSON pages alone. `url`
    is listed in place of the file's own address, as it is.
    """

    yanked: bool | str
    hashes: bool | Mapping[str, str]
    requires_python: str | None
    upload_time: str | None
    sidecar: bool | None
    size: bool
    url: str | None


@dataclass(frozen=True, kw_only=True)
class _Asked:
    method: str
    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class LoggedRequest(_Asked):
    """A request and what came of it.

    `path` is percent-decoded, `query` is as sent; `headers` have their names in lower case; `sent` counts bytes of
    the body.
    """

    status: int
    sent: int


class IndexServer:
    """An index at `index_url`, between `with` and its end; every part of it may be called from any thread.

        with IndexServer() as index:
            index.add(make_wheel(tmp_path, Project("acme", "1.0")), yanked="broken", sidecar=True)
            index.behave("/files/*", Behaviour(etag="auto", cache_control="max-age=60"))
            ...
            assert index.paths == ["/simple/acme/", "/files/acme-1.0-py3-none-any.whl.metadata"]

    A project's page is `/simple/<normalised name>/`, in the form that the client prefers out of `forms`; a file is
    `/files/<file name>`. With an `ssl_context`, the server speaks TLS.
    """

    def __init__(self, *, forms: Sequence[Form] = ("json", "html"), ssl_context: ssl.SSLContext | None = None) -> None:
        self._forms = forms
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._statics: dict[str, Reply] = {}
        self._rules = [_Rule("*", Behaviour())]
        self._log: list[LoggedRequest] = []
        self._listener = _Listener(self._answer, self._record, ssl_context)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=[SHUTDOWN_POLL], name="IndexServer")
        self.url = f"{'https' if ssl_context else 'http'}://127.0.0.1:{self._listener.server_address[1]}"
        self.index_url = f"{self.url}/simple/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown()
        self._thread.join()
        with self._lock:
            held = [rule.behaviour.hold for rule in self._rules]
        for hold in filter(None, held):
            hold.set()
        self._listener.end()

    def add(self, artifact: Path, **listing: Unpack[Listing]) -> str:
        """Serve and list the file, as its bytes are now; its address. A file of the same name is replaced.

        The project is read from the file's name. Raises ArchiveError where a sidecar is wanted of what is no wheel.
        """
        metadata = _wheel_metadata(artifact) if listing.get("sidecar") else None
        url = f"{self.url}/files/{quote(artifact.name)}"
        file = _File(name=artifact.name, url=url, body=artifact.read_bytes(), metadata=metadata, listing=listing)
        with self._lock:
            self._files[artifact.name] = file
        return url

    def page(self, project: str, body: bytes, content_type: str) -> None:
        """Serve these bytes as the page of `project`, whatever the client accepts."""
        self.static(f"/simple/{_normalise(project)}/", body, {"Content-Type": content_type})

    def static(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Serve these bytes at `path` (percent-decoded), in place of whatever is there."""
        with self._lock:
            self._statics[path] = Reply(200, headers=OCTETS if headers is None else headers, body=body)

    def behave(self, pattern: str, behaviour: Behaviour) -> None:
        """From now on, treat a path so: `pattern` is a path (percent-decoded), or a glob whose `*` takes in `/`.

        Of several patterns that fit, the one given last holds, and it alone.
        """
        with self._lock:
            self._rules.append(_Rule(pattern, behaviour))

    @property
    def requests(self) -> list[LoggedRequest]:
        """What was asked so far, in the order of completion. Whoever has read a whole reply finds it here."""
        with self._lock:
            return list(self._log)

    @property
    def paths(self) -> list[str]:
        """The paths of `requests`."""
        return [request.path for request in self.requests]

    def clear(self) -> None:
        """Forget the `requests` so far."""
        with self._lock:
            self._log.clear()

    def _record(self, request: LoggedRequest) -> None:
        with self._lock:
            self._log.append(request)

    def _answer(self, asked: _Asked) -> tuple[Reply, Behaviour]:
        """Waits while the request is held."""
        with self._lock:
            rule = next(rule for rule in reversed(self._rules) if rule.fits(asked.path))
        behaviour = rule.behaviour
        if behaviour.reached:
            behaviour.reached.set()
        if behaviour.hold:
            behaviour.hold.wait()
        with self._lock:
            early = _refuse(asked, behaviour) or rule.next_status(asked.path)
            return early or _respond(asked, self._resource(asked), behaviour), behaviour

    def _resource(self, asked: _Asked) -> Reply | None:
        """What is at the path, whole, or None."""
        if asked.path in self._statics:
            return self._statics[asked.path]
        match asked.path.split("/")[1:]:
            case ["simple", project, ""]:
                return self._page(project, asked)
            case ["files", name]:
                return self._file(name)
            case _:
                return None

    def _page(self, project: str, asked: _Asked) -> Reply | None:
        files = [file for file in self._files.values() if file.project == project]
        if not files:
            return None
        content_type = _negotiate(asked.headers.get("accept", "*/*"), self._forms)
        body = _json_page(project, files) if content_type == JSON_TYPE else _html_page(project, files)
        return Reply(200, headers={"Content-Type": content_type, "Vary": "Accept"}, body=body)

    def _file(self, name: str) -> Reply | None:
        file, wheel = self._files.get(name), self._files.get(name.removesuffix(".metadata"))
        body = file.body if file else wheel.metadata if wheel else None
        return None if body is None else Reply(200, headers=OCTETS, body=body)


class _Rule:
    """A behaviour, where it holds, and how many of its statuses each path has had; used under the server's lock."""

    def __init__(self, pattern: str, behaviour: Behaviour) -> None:
        self.pattern = pattern
        self.behaviour = behaviour
        self._given: Counter[str] = Counter()

    def fits(self, path: str) -> bool:
        return path == self.pattern or fnmatchcase(path, self.pattern)

    def next_status(self, path: str) -> Reply | None:
        """The next of the scripted statuses, None after the last."""
        if self._given[path] == len(self.behaviour.statuses):
            return None
        status = self.behaviour.statuses[self._given[path]]
        self._given[path] += 1
        return Reply(status) if isinstance(status, int) else status


# Files and their pages


@dataclass(frozen=True, kw_only=True)
class _File:
    name: str
    url: str
    body: bytes
    metadata: bytes | None
    listing: Listing

    @property
    def project(self) -> str:
        return _normalise(self._name_and_version[0])

    @property
    def version(self) -> str:
        return self._name_and_version[1]

    @property
    def _name_and_version(self) -> tuple[str, str]:
        """PEP 427, PEP 625; a name of neither form is a project without a version."""
        if self.name.endswith(".whl"):
            name, version, *_ = [*self.name.split("-"), ""]
        else:
            stem = re.sub(r"(\.tar\.\w+|\.\w+)$", "", self.name)
            name, _, version = stem.rpartition("-") if "-" in stem else (stem, "", "")
        return name, version

    @property
    def hashes(self) -> Mapping[str, str]:
        wanted = self.listing.get("hashes", True)
        if isinstance(wanted, bool):
            return {"sha256": _sha256(self.body)} if wanted else {}
        return wanted

    @property
    def core_metadata(self) -> Mapping[str, str] | bool | None:
        """The value of PEP 714's key: the hash, whether there is any, or None to leave it out."""
        if self.metadata is None:
            return self.listing.get("sidecar")
        return {"sha256": _sha256(self.metadata)} if self.hashes else True

    @property
    def _core_metadata_attribute(self) -> str | None:
        match self.core_metadata:
            case None:
                return None
            case bool(known):
                return str(known).lower()
            case digests:
                return "".join(f"{algorithm}={digest}" for algorithm, digest in digests.items())

    def as_json(self) -> dict[str, Any]:
        """The file as PEP 691 and PEP 700 have it."""
        optional = {
            "requires-python": self.listing.get("requires_python"),
            "upload-time": self.listing.get("upload_time"),
            "size": len(self.body) if self.listing.get("size", True) else None,
            "core-metadata": self.core_metadata,
            "dist-info-metadata": self.core_metadata,  # the key's name before PEP 714
        }
        return {
            "filename": self.name,
            "url": self.listing.get("url") or self.url,
            "hashes": self.hashes,
            "yanked": self.listing.get("yanked", False),
            **{key: value for key, value in optional.items() if value is not None},
        }

    def as_html(self) -> str:
        """The file as PEP 503 has it: a link, with at most one hash."""
        fragment = "".join(f"#{algorithm}={digest}" for algorithm, digest in list(self.hashes.items())[:1])
        yanked = self.listing.get("yanked", False)
        attributes = {
            "href": (self.listing.get("url") or self.url) + fragment,
            "data-requires-python": self.listing.get("requires_python"),
            "data-yanked": "" if yanked is True else yanked or None,
            "data-core-metadata": self._core_metadata_attribute,
            "data-dist-info-metadata": self._core_metadata_attribute,
        }
        pairs = [f'{key}="{html.escape(value)}"' for key, value in attributes.items() if value is not None]
        return f"<a {' '.join(pairs)}>{html.escape(self.name)}</a><br>"


def _json_page(project: str, files: Sequence[_File]) -> bytes:
    """PEP 691; version 1.1 (PEP 700) only where every file has its size, as that version demands."""
    listed = [file.as_json() for file in files]
    version = "1.1" if all("size" in file for file in listed) else "1.0"
    versions = sorted({file.version for file in files})
    page = {"meta": {"api-version": version}, "name": project, "versions": versions, "files": listed}
    return json.dumps(page, indent=1).encode()


def _html_page(project: str, files: Sequence[_File]) -> bytes:
    links = "\n".join(file.as_html() for file in files)
    head = '<meta name="pypi:repository-version" content="1.1"><title>' + html.escape(project) + "</title>"
    return f"<!DOCTYPE html>\n<html><head>{head}</head><body>\n{links}\n</body></html>\n".encode()


def _negotiate(accept: str, forms: Sequence[Form]) -> str:
    """The type that the client named with the greatest weight; HTML, where there is, if it named none (PEP 691)."""
    weights = _weights(accept)
    offered = [content_type for form in forms for content_type in OFFERED[form]]
    named = [content_type for content_type in offered if weights.get(content_type, 0) > 0]
    if named:
        return max(named, key=weights.__getitem__)
    return "text/html" if "html" in forms else JSON_TYPE


def _wheel_metadata(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
            return archive.read(member)
    except (zipfile.BadZipFile, StopIteration) as error:
        hint = "A sidecar is the METADATA of a wheel; leave out `sidecar=True` for anything else."
        raise ArchiveError(f"`{wheel.name}` is not a wheel with METADATA", hint=hint) from error


def _normalise(project: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", project).lower()


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


# What to answer: pure


def _refuse(asked: _Asked, behaviour: Behaviour) -> Reply | None:
    """401 where the request does not say who asks (RFC 9110, 11)."""
    match behaviour.require_auth:
        case None:
            return None
        case str(token):
            scheme, credentials = "Bearer", token
        case user, password:
            scheme, credentials = "Basic", base64.b64encode(f"{user}:{password}".encode()).decode()
    if asked.headers.get("authorization") == f"{scheme} {credentials}":
        return None
    return Reply(401, headers={"WWW-Authenticate": f'{scheme} realm="index"'})


def _respond(asked: _Asked, resource: Reply | None, behaviour: Behaviour) -> Reply:
    if asked.method == "HEAD" and not behaviour.head_allowed:
        return Reply(405, headers={"Allow": "GET"})
    common = _common_headers(behaviour)
    if behaviour.redirect is not None:
        return Reply(302, headers=_over({"Location": behaviour.redirect}, common))
    if resource is None:
        return Reply(404, headers=common)
    whole = _represent(asked, resource, behaviour)
    if _is_not_modified(asked.headers, whole.headers):
        kept = {name: value for name, value in whole.headers.items() if name.lower() not in OF_THE_BODY}
        return Reply(304, headers=kept)
    if asked.method == "GET" and "range" in asked.headers:
        return _part_of(whole, asked.headers, behaviour.ranges)
    return whole


def _common_headers(behaviour: Behaviour) -> Mapping[str, str]:
    cache = {} if behaviour.cache_control is None else {"Cache-Control": behaviour.cache_control}
    return _over(cache, behaviour.headers)


def _represent(asked: _Asked, resource: Reply, behaviour: Behaviour) -> Reply:
    """The resource with its validators, compressed where the client accepts that (RFC 9110, 8)."""
    encoded = _encode(asked, resource) if behaviour.content_encoding == "gzip" else resource
    etag = f'"{_sha256(encoded.body)[:16]}"' if behaviour.etag == "auto" else behaviour.etag
    own = {
        "ETag": etag,
        "Last-Modified": behaviour.last_modified,
        "Accept-Ranges": "bytes" if behaviour.ranges == "honour" else None,
    }
    headers = _over(encoded.headers, {name: value for name, value in own.items() if value is not None})
    return replace(encoded, headers=_over(headers, _common_headers(behaviour)))


def _encode(asked: _Asked, resource: Reply) -> Reply:
    vary = ", ".join(filter(None, [resource.headers.get("Vary"), "Accept-Encoding"]))
    headers = {**resource.headers, "Vary": vary}
    if _weights(asked.headers.get("accept-encoding", "")).get("gzip", 0) <= 0:
        return replace(resource, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return replace(resource, headers=headers, body=gzip.compress(resource.body, mtime=0))


def _is_not_modified(asked: Mapping[str, str], sent: Mapping[str, str]) -> bool:
    """RFC 9110, 13.2.2: If-None-Match decides where there is one, else If-Modified-Since."""
    if "if-none-match" in asked:
        known = {tag.strip().removeprefix("W/") for tag in asked["if-none-match"].split(",")}
        return "ETag" in sent and ("*" in known or sent["ETag"].removeprefix("W/") in known)
    if "if-modified-since" in asked and "Last-Modified" in sent:
        with suppress(ValueError, TypeError):  # a date that is none, or one without a zone: no condition
            known_at = parsedate_to_datetime(asked["if-modified-since"])
            return parsedate_to_datetime(sent["Last-Modified"]) <= known_at
    return False


def _part_of(whole: Reply, asked: Mapping[str, str], ranges: str | int) -> Reply:
    """206, 416, or the whole where the range need not be honoured (RFC 9110, 14.2)."""
    if isinstance(ranges, int):
        return Reply(ranges)
    size = len(whole.body)
    wanted = _byte_range(asked["range"], size)
    if ranges == "ignore" or wanted is None or not _is_same(asked.get("if-range"), whole.headers):
        return whole
    if not wanted:
        return Reply(416, headers={"Content-Range": f"bytes */{size}"})
    part = {"Content-Range": f"bytes {wanted[0]}-{wanted[-1]}/{size}"}
    return replace(whole, status=206, headers=_over(whole.headers, part), body=whole.body[wanted.start : wanted.stop])


def _is_same(if_range: str | None, sent: Mapping[str, str]) -> bool:
    """Whether If-Range lets the range be honoured (RFC 9110, 13.1.5): only a strong validator does."""
    if if_range is None:
        return True
    return not if_range.startswith("W/") and if_range in {sent.get("ETag"), sent.get("Last-Modified")}


def _byte_range(header: str, size: int) -> range | None:
    """The offsets that are asked for, none if all are beyond the end; None for several ranges, or what is no range."""
    match = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", header.strip())
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        return range(max(size - int(last), 0), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)


def _weights(header: str) -> dict[str, float]:
    """What an Accept or Accept-Encoding header names, in lower case, with its weight (RFC 9110, 12.4.2)."""
    weights = {}
    for item in header.split(","):
        name, _, parameters = item.partition(";")
        weight = re.search(r"\bq\s*=\s*([01](?:\.[0-9]*)?)", parameters)
        weights[name.strip().lower()] = float(weight[1]) if weight else 1.0
    return weights


def _over(below: Mapping[str, str], above: Mapping[str, str]) -> dict[str, str]:
    """Both, where a header of `above` replaces that of `below`, however its name is written."""
    replaced = {name.lower() for name in above}
    return {name: value for name, value in below.items() if name.lower() not in replaced} | dict(above)


# How it is sent: I/O


class _Listener(ThreadingHTTPServer):
    """One thread a connection. `end` closes every socket and joins every thread."""

    daemon_threads = False  # so that server_close joins them
    request_queue_size = 128

    def __init__(
        self,
        answer: Callable[[_Asked], tuple[Reply, Behaviour]],
        record: Callable[[LoggedRequest], None],
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self.answer = answer
        self.record = record
        self.closing = threading.Event()
        self._ssl_context = ssl_context
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks the name service for the name of 127.0.0.1

    def finish_request(self, request: Any, client_address: Any) -> None:  # as in the base class
        with self._connection(request) as connection:
            super().finish_request(connection, client_address)

    @contextmanager
    def _connection(self, request: socket.socket) -> Iterator[socket.socket]:
        """The connection as its handler uses it. The handshake is made here, where it holds up nobody else."""
        connection = request
        if self._ssl_context:
            connection = self._ssl_context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._connections.add(connection)
        try:
            if self.closing.is_set():
                _disconnect(connection)
            if self._ssl_context:
                connection.do_handshake()  # type: ignore[attr-defined]  # an SSLSocket, whose module is not imported here
            yield connection
        finally:
            with self._lock:
                self._connections.discard(connection)
            self.shutdown_request(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:  # as in the base class
        """A client that went away, or did not like our certificate, is no error of the server."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def end(self) -> None:
        self.closing.set()
        with self._lock:
            for connection in self._connections:
                _disconnect(connection)
        self.server_close()


def _disconnect(connection: socket.socket) -> None:
    """Wakes the thread that reads from or writes to it."""
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # an SSLSocket's own would pull its state from under it


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): ", ".join(self.headers.get_all(name, [])) for name in self.headers}
        asked = _Asked(method=self.command, path=unquote(path), query=query, headers=headers)
        reply, behaviour = self.server.answer(asked)
        self._send(asked, reply, behaviour)

    do_HEAD = do_GET  # noqa: N815  # the base class calls it so

    def _send(self, asked: _Asked, reply: Reply, behaviour: Behaviour) -> None:
        whole = b"" if asked.method == "HEAD" or reply.status == 304 else reply.body
        body = whole[: behaviour.truncate_at]
        if len(body) < len(whole):
            self.close_connection = True
        step = PIECE if behaviour.drip is None else 1
        pieces = [body[start : start + step] for start in range(0, len(body), step)]
        request = LoggedRequest(**asdict(asked), status=reply.status, sent=0)
        self._write(self._head(reply), pieces, behaviour.drip or 0, request)

    def _head(self, reply: Reply) -> bytes:
        own = {"Date": self.date_time_string()}
        if reply.status != 304:
            own["Content-Length"] = str(len(reply.body))
        if self.close_connection:
            own["Connection"] = "close"
        lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, '')}"]
        lines += [f"{name}: {value}" for name, value in _over(own, reply.headers).items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _write(self, head: bytes, body: Sequence[bytes], pause: float, request: LoggedRequest) -> None:
        """Logs the request before the last piece leaves: whoever has read the whole reply finds it in the log."""
        *pieces, last = [head, *body]
        written = 0
        try:
            for piece in pieces:
                self.wfile.write(piece)
                written += len(piece)
                if self.server.closing.wait(pause) and pause:
                    raise ConnectionAbortedError("the server ends")
            written += len(last)
        finally:
            self.server.record(replace(request, sent=max(written - len(head), 0)))
        self.wfile.write(last)

    def log_message(self, *_args: object) -> None:
        """Nothing on stderr: `IndexServer.requests` is the log."""
