"""Acme's server on loopback, for the tests: listings and files behind a token that expires."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self


class AcmeServer:
    """At `url`, between `with` and its end. `requests` are the status and path of each so far.

    A token is good for so many `uses`, or until `expire`; whoever has the secret gets one at `/token`. `renewals` is
    how many were given out: `t0k3n-1` and so on.
    """

    def __init__(self, secret: str, uses: int = 1000) -> None:
        self.secret = secret
        self.uses = uses
        self.renewals = 0
        self._left = 0
        self.requests: list[tuple[int, str]] = []
        self._files: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"acme": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.02]).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, file: Path) -> None:
        """Lists a wheel, or an sdist (`.tar.gz`), whose name says what it is (PEP 427, PEP 625)."""
        self._files[file.name] = file.read_bytes()

    def expire(self) -> None:
        """From now on the token is refused."""
        self._left = 0

    def answer(self, path: str, authorization: str) -> tuple[int, bytes]:
        """Status and body."""
        with self._lock:
            if path == "/token":
                return self._token(authorization)
            if not self._left or authorization != f"Bearer t0k3n-{self.renewals}":
                return 401, b""
            self._left -= 1
        body = self._file(path) if path.startswith("/files/") else self._listing(path.removeprefix("/packages/"))
        return (404, b"") if body is None else (200, body)

    def _token(self, authorization: str) -> tuple[int, bytes]:
        if authorization != f"Secret {self.secret}":
            return 401, b""
        if not self._left:
            self.renewals += 1
            self._left = self.uses
        return 200, json.dumps({"token": f"t0k3n-{self.renewals}"}).encode()

    def _file(self, path: str) -> bytes | None:
        return self._files.get(path.removeprefix("/files/"))

    def _listing(self, project: str) -> bytes | None:
        ours = [name for name in self._files if name.split("-")[0].replace("_", "-") == project]
        return json.dumps({"files": [self._listed(name) for name in ours]}).encode() if ours else None

    def _listed(self, name: str) -> dict[str, Any]:
        return {
            "filename": name,
            "kind": "wheel" if name.endswith(".whl") else "sdist",
            "version": name.split("-")[1].removesuffix(".tar.gz"),
            "url": f"/files/{name}",
            "sha256": hashlib.sha256(self._files[name]).hexdigest(),
            "size": len(self._files[name]),
            "requires_python": ">=3.8",
            "upload_time": "2026-01-31T12:00:00Z",
        }


class Handler(BaseHTTPRequestHandler):
    """Hands over to `acme`. Pages have an ETag, as those of any good server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    acme: AcmeServer

    def do_GET(self) -> None:
        status, body = self.acme.answer(self.path, self.headers.get("Authorization", ""))
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        if status == 200 and self.headers.get("If-None-Match") == etag:
            status, body = 304, b""
        self.acme.requests.append((status, self.path))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""
