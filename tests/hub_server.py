"""A server on this machine that speaks as much of the hub's protocol as a pull needs, and misbehaves when told to."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "a" * 40


@dataclass
class Hub:
    """What the server holds: `{"owner/name": {"file": bytes}}`, which repositories need a token, and what was asked.

    `cut` names files of which each answer ends after so many bytes; `swapped` files whose bytes are not those that
    the server announces; files in `small` are named by git's hash, as files outside of LFS are; `opaque` ones by
    something that is no hash.
    """

    repositories: dict[str, dict[str, bytes]]
    gated: set[str] = field(default_factory=set)
    cut: dict[str, int] = field(default_factory=dict)
    swapped: set[str] = field(default_factory=set)
    small: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    ranges: bool = True
    commit: str = COMMIT
    asked: list[tuple[str, str, str, str]] = field(default_factory=list)  # method, path, range, authorization
    url: str = ""

    def etag(self, name: str, data: bytes) -> str:
        """What the hub calls the file's content."""
        if name in self.opaque:
            return "v1-opaque"
        if name in self.small:
            return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return hashlib.sha256(data).hexdigest()


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Runs the server while the context lasts; `hub.url` is its address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            asked = self.headers.get("Range", ""), self.headers.get("Authorization", "")
            hub.asked.append((self.command, self.path, *asked))
            kind, _, rest = self.path.lstrip("/").partition("/")
            if kind == "cdn":
                self._bytes(*rest.rsplit("/", 1), body=body)
            else:
                owner_name, _, tail = self.path.lstrip("/").partition("/resolve/")
                self._resolve(owner_name, tail.partition("/")[2])

        def _resolve(self, repository: str, name: str) -> None:
            if repository not in hub.repositories:
                return self._refuse(401, "RepoNotFound")
            if repository in hub.gated and self.headers.get("Authorization") != "Bearer hf_good":
                return self._refuse(401, "GatedRepo")
            data = hub.repositories[repository].get(name)
            if data is None:
                return self._refuse(404, "EntryNotFound")
            self.send_response(302)
            self.send_header("Location", f"{hub.url.replace('127.0.0.1', 'localhost')}/cdn/{repository}/{name}")
            self.send_header("X-Repo-Commit", hub.commit)
            self.send_header("X-Linked-Etag", f'"{hub.etag(name, data)}"')
            self.send_header("X-Linked-Size", str(len(data)))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None

        def _bytes(self, repository: str, name: str, *, body: bool) -> None:
            data = hub.repositories[repository][name]
            if name in hub.swapped:
                data = b"?" * len(data)
            first = int(self.headers.get("Range", "bytes=0-")[6:].rstrip("-")) if hub.ranges else 0
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(data) - first))
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if body:
                self.wfile.write(data[first : first + hub.cut.get(name, len(data))])

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
