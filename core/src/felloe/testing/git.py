"""Git repositories made in code, and a server on loopback that gives them out over http.

It needs the standard library, `felloe.errors` and the git program alone.
"""

from __future__ import annotations

import base64
import gzip
import os
import shutil
import socketserver
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, unquote

from felloe.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

__all__ = ["GitRequest", "GitServer", "Repository"]

PERSON = "felloe <felloe@example.com>"
FIRST = 1_767_225_600  # seconds since the epoch of the first commit: 2026-01-01; each is a minute after the one before
SHUTDOWN_POLL = 0.02  # seconds until the accepting thread sees that it has to end
PLAIN = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "LC_ALL": "C",
}


class Repository:
    """A bare repository in `folder`, made where there is none. Its default branch is `main`.

    Author and dates are fixed: what is made alike has the same commits.
    """

    def __init__(self, folder: Path, *, url: str = "") -> None:
        """`url` is where a server gives it out. Raises SourceError where git fails, as every method here."""
        self.folder = folder
        self.url = url
        self._clock = FIRST
        if not folder.exists():
            _git("init", "--quiet", "--bare", "--template=", "--object-format=sha1", "-b", "main", str(folder))

    @property
    def file_url(self) -> str:
        """Its `file://` address."""
        return self.folder.absolute().as_uri()

    def commit(
        self,
        files: Mapping[str, str | bytes | None] | None = None,
        *,
        branch: str = "main",
        links: Mapping[str, str] | None = None,
        submodules: Mapping[str, tuple[str, str]] | None = None,
    ) -> str:
        """Changes files on top of `branch`, which begins where there is none; the commit's 40 hex digits.

        `files` maps paths to contents, None where the file goes. `links` maps paths to where symbolic links lead.
        `submodules` maps paths to (URL as it stands in `.gitmodules`, commit).
        """
        changes = [_change(path, content) for path, content in (files or {}).items()]
        changes += [_inline("120000", path, target.encode()) for path, target in (links or {}).items()]
        if submodules:
            changes.append(_inline("100644", ".gitmodules", _gitmodules(submodules)))
            changes += [f"M 160000 {commit} {path}\n".encode() for path, (_, commit) in submodules.items()]
        reference = f"refs/heads/{branch}"
        parent = self._find(reference)
        head = [f"commit {reference}\n", f"committer {PERSON} {self._tick()} +0000\n", "data 8\na change\n"]
        start = [f"from {parent}\n"] if parent else []
        self._git("fast-import", "--quiet", "--force", stdin="".join([*head, *start]).encode() + b"".join(changes))
        return self.commit_of(reference)

    def branch(self, name: str, at: str = "main") -> None:
        """A branch at what `at` names; one that is there is moved."""
        self._git("update-ref", f"refs/heads/{name}", self.commit_of(at))

    def tag(self, name: str, at: str = "main", *, annotated: bool = True) -> None:
        """A tag of what `at` names; one that is there is moved."""
        kind = ["-a", "-m", name] if annotated else []
        self._git("tag", "--force", *kind, name, self.commit_of(at), seconds=self._tick())

    def commit_of(self, name: str) -> str:
        """The 40 hex digits of the commit that a branch, a tag or a commit is."""
        return self._git("rev-parse", "--verify", f"{name}^{{commit}}").strip()

    def drop(self, reference: str) -> None:
        """Takes away a ref by its full name: `refs/tags/v1`."""
        self._git("update-ref", "-d", reference)

    def delete(self) -> None:
        """Takes it off the disk."""
        shutil.rmtree(self.folder)

    def move(self, folder: Path) -> Repository:
        """The same repository in another folder; it is no longer here."""
        self.folder.rename(folder)
        return Repository(folder)

    def _find(self, reference: str) -> str:
        return self._git("for-each-ref", "--format=%(objectname)", reference).strip()

    def _tick(self) -> int:
        self._clock += 60
        return self._clock

    def _git(self, *arguments: str, stdin: bytes = b"", seconds: int = FIRST) -> str:
        return _git(f"--git-dir={self.folder}", *arguments, stdin=stdin, seconds=seconds)


def _change(path: str, content: str | bytes | None) -> bytes:
    if content is None:
        return f"D {path}\n".encode()
    return _inline("100644", path, content.encode() if isinstance(content, str) else content)


def _inline(mode: str, path: str, content: bytes) -> bytes:
    return f"M {mode} inline {path}\ndata {len(content)}\n".encode() + content + b"\n"


def _gitmodules(submodules: Mapping[str, tuple[str, str]]) -> bytes:
    sections = (f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n' for path, (url, _) in submodules.items())
    return "".join(sections).encode()


def _git(*arguments: str, stdin: bytes = b"", seconds: int = FIRST) -> str:
    name, _, address = PERSON.partition(" <")
    person = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", name), ("EMAIL", address.rstrip(">")), ("DATE", f"{seconds} +0000"))
    }
    done = subprocess.run(  # noqa: S603  # made for tests, from what they say
        ["git", *arguments],  # noqa: S607
        input=stdin,
        capture_output=True,
        env={**_own_environ(), **person},
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise SourceError(f"`git {arguments[0]}` failed: {said}", hint="what git says is above")
    return done.stdout.decode("utf-8", "surrogateescape")


def _own_environ() -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if not name.startswith("GIT_")}, **PLAIN}


@dataclass(frozen=True, kw_only=True)
class GitRequest:
    """A request and what came of it.

    `path` is percent-decoded, `headers` have their names in lower case. `command` says what git wanted: `list` (refs),
    `fetch` (objects), `` where it only asked what there is.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)
    command: str
    status: int


class GitServer:
    """Gives out repositories over http, between `with` and its end; every part of it may be called from any thread.

        with GitServer(tmp_path / "repositories") as server:
            acme = server.repository("acme")
            acme.commit({"pyproject.toml": "..."})
            ...  # fetch acme.url (http) or acme.file_url
            assert server.fetches == 1

    `require_auth` is (user, password) of basic authentication; other requests get 401. `fetch_by_commit=False` gives
    commits only by their refs, as servers of git's protocol 0 do. `reached` is set when a request for objects has come;
    between `pause` and `resume` (or the server's end) it is kept waiting.
    """

    def __init__(
        self, folder: Path, *, require_auth: tuple[str, str] | None = None, fetch_by_commit: bool = True
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.require_auth = require_auth
        self.fetch_by_commit = fetch_by_commit
        self.reached = threading.Event()
        self._may_go_on = threading.Event()
        self._may_go_on.set()
        self._lock = threading.Lock()
        self._log: list[GitRequest] = []
        self._listener = _Listener(self)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=[SHUTDOWN_POLL], name="GitServer")
        self.url = f"http://127.0.0.1:{self._listener.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown()
        self._thread.join()
        self.resume()
        self._listener.server_close()

    def repository(self, name: str) -> Repository:
        """The repository of that name, made where there is none: `<url>/<name>.git`. `name` may have folders."""
        folder = self.folder / f"{name}.git"
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Repository(folder, url=f"{self.url}/{quote(name)}.git")

    @property
    def requests(self) -> list[GitRequest]:
        """All that came since the last `clear`, as they were answered."""
        with self._lock:
            return list(self._log)

    @property
    def fetches(self) -> int:
        """How many requests wanted objects."""
        return sum(request.command == "fetch" for request in self.requests)

    @property
    def listings(self) -> int:
        """How many requests wanted to know the refs."""
        return sum(request.command == "list" for request in self.requests)

    def clear(self) -> None:
        """Forgets the requests."""
        with self._lock:
            self._log.clear()

    def pause(self) -> None:
        """Keeps requests for objects waiting from now on."""
        self._may_go_on.clear()

    def resume(self) -> None:
        """Answers them."""
        self._may_go_on.set()

    def record(self, request: GitRequest) -> None:
        """For the server's own threads."""
        with self._lock:
            self._log.append(request)

    def wait(self) -> None:
        """For the server's own threads: where objects are wanted."""
        self.reached.set()
        self._may_go_on.wait()


class _Listener(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close joins them

    def __init__(self, owner: GitServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks the name service for the name of 127.0.0.1

    def handle_error(self, request: Any, client_address: Any) -> None:  # as in the base class
        """A client that went away is no error of the server."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Listener

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        body = self._body()
        command = _command(path, query, body, self.headers)
        if command == "fetch":
            self.server.owner.wait()
        status, headers, answer = self._answer(unquote(path), query, body)
        given = {name.lower(): value for name, value in self.headers.items()}
        self.server.owner.record(
            GitRequest(
                method=self.command, path=unquote(path), query=query, headers=given, command=command, status=status
            )
        )
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815  # the base class calls it so

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            raw = b"".join(iter(self._chunk, b""))
        else:
            raw = self.rfile.read(int(self.headers.get("content-length", "0")))
        return gzip.decompress(raw) if self.headers.get("content-encoding") == "gzip" else raw

    def _chunk(self) -> bytes:
        chunk = self.rfile.read(int(self.rfile.readline().partition(b";")[0], 16))
        self.rfile.readline()
        return chunk

    def _answer(self, path: str, query: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        owner = self.server.owner
        if owner.require_auth and self.headers.get("authorization") != _basic(*owner.require_auth):
            return 401, {"WWW-Authenticate": 'Basic realm="git"'}, b""
        return _backend(self._variables(path, query, body), body)

    def _variables(self, path: str, query: str, body: bytes) -> Mapping[str, str]:
        """RFC 3875, git-http-backend(1). Without GIT_PROTOCOL the server speaks protocol 0."""
        owner = self.server.owner
        protocol = self.headers.get("git-protocol", "") if owner.fetch_by_commit else ""
        return {
            "GIT_PROJECT_ROOT": str(owner.folder.absolute()),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "127.0.0.1",
            **({"GIT_PROTOCOL": protocol} if protocol else {}),
        }

    def log_message(self, *_args: object) -> None:
        """Nothing on stderr: `GitServer.requests` is the log."""


def _backend(variables: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, str], bytes]:
    done = subprocess.run(
        ["git", "http-backend"],  # noqa: S607
        input=body,
        capture_output=True,
        env={**_own_environ(), **variables},
        check=False,
    )
    head, _, answer = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n") if ": " in line)
    status = int(headers.pop("Status", "200" if headers else "500").split()[0])
    return status, headers, answer


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _command(path: str, query: str, body: bytes, headers: Any) -> str:
    if path.endswith("/info/refs") and "git-upload-pack" in query:
        return "" if "version=2" in headers.get("git-protocol", "") else "list"
    if not path.endswith("/git-upload-pack"):
        return ""
    return "list" if b"command=ls-refs" in body else "fetch"
