"""A Hub in one file: the requests that `huggingface_hub` 2.4 makes to list and download, served from memory over real HTTP.

Spoken for dataset repos, and alike for models: `GET /api/datasets/<repo>/revision/<rev>`; `GET /api/datasets/<repo>/tree/<rev>`
(paged by `Link`); `HEAD` and `GET /datasets/<repo>/resolve/<rev>/<path>` with ETag, X-Repo-Commit, X-Linked-*, `Range`, and a
redirect to a "CDN" (another host name) for LFS files; errors by `X-Error-Code`; 307 for renamed repos. A `Fault` makes any of
these misbehave.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

ROUTE = re.compile(
    r"/(?P<api>api/)?((datasets|models)/)?(?P<repo>[^/]+/[^/]+)/(?P<what>revision|tree|resolve)/(?P<revision>[^/]+)(/(?P<path>.+))?"
)


@dataclass
class Repo:
    """One dataset repo at one commit. Files are `path -> bytes`; the other fields let the listing and the bodies lie."""

    files: dict[str, bytes]
    revision: str
    lfs: set[str] = field(default_factory=set)
    gated: bool = False
    listed_sizes: dict[str, int | None] = field(default_factory=dict)
    listed_only: tuple[str, ...] = ()
    served: dict[str, bytes] = field(default_factory=dict)

    def entries(self) -> Iterator[dict]:
        for path, data in {**self.files, **dict.fromkeys(self.listed_only, b"")}.items():
            size = self.listed_sizes.get(path, len(data))
            entry = {"type": "file", "path": path, "size": size, "oid": hashlib.sha1(data).hexdigest()}
            if path in self.lfs:
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": size, "pointerSize": 130}
            yield entry


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose `METHOD path` contains `match`.

    An answer with `status` and `headers`; or a body cut after `keep` bytes; or no answer at all (`hang`).
    """

    match: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    keep: int | None = None
    hang: bool = False
    times: int = 1_000_000


@dataclass
class Hub:
    """State of the server; `requests` holds (method, path, headers) of everything that was asked.

    `naps`: seconds that the client wanted to sleep, where a test keeps it from doing so.
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    naps: list[float] = field(default_factory=list)
    page_size: int = 1000
    port: int = 0
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def cdn(self) -> str:
        return f"http://localhost:{self.port}"

    def asked(self, part: str) -> list[str]:
        """`METHOD path` of every request so far that contains `part`."""
        return [line for line in (f"{method} {path}" for method, path, _ in self.requests) if part in line]

    def fault_for(self, line: str) -> Fault | None:
        with self.lock:
            fault = next((fault for fault in self.faults if fault.times > 0 and fault.match in line), None)
            if fault:
                fault.times -= 1
            return fault


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes; together they would wait 40 ms for an acknowledgement
    hub: Hub

    def do_GET(self):
        self.hub.requests.append((self.command, self.path, dict(self.headers)))
        fault = self.hub.fault_for(f"{self.command} {self.path}")
        if fault and fault.hang:
            self.hub.closing.wait()
            self.close_connection = True
        elif fault and fault.status:
            self.answer(fault.status, b"", fault.headers)
        else:
            self.route(fault.keep if fault else None)

    do_HEAD = do_GET

    def route(self, keep: int | None):
        url = urlsplit(self.path)
        if url.path.startswith("/cdn/"):
            return self.send_file(next(data for repo in self.hub.repos.values() for data in stored(repo, url.path[5:])), {}, keep)
        found = ROUTE.fullmatch(url.path)
        if not found:
            return self.answer(404)
        if new := self.hub.renamed.get(found["repo"]):
            return self.answer(307, b"", {"Location": self.path.replace(found["repo"], new)})
        repo = self.hub.repos.get(found["repo"])
        if repo is None:
            return self.answer(401, b"", {"X-Error-Code": "RepoNotFound"})
        if unquote(found["revision"]) != repo.revision:
            return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if found["what"] == "revision":
            return self.answer(200, json.dumps({"id": found["repo"], "sha": repo.revision}).encode())
        if found["what"] == "tree":
            return self.send_tree(repo, url)
        return self.resolve(repo, unquote(found["path"]), keep)

    def send_tree(self, repo: Repo, url):
        start = int(re.findall(r"cursor=(\d+)", url.query)[0]) if "cursor=" in url.query else 0
        entries, stop = list(repo.entries()), start + self.hub.page_size
        link = {"Link": f'<{self.hub.url}{url.path}?recursive=true&cursor={stop}>; rel="next"'} if stop < len(entries) else {}
        self.answer(200, json.dumps(entries[start:stop]).encode(), link)

    def resolve(self, repo: Repo, path: str, keep: int | None):
        if repo.gated and "Authorization" not in self.headers:
            return self.answer(401, b"", {"X-Error-Code": "GatedRepo"})
        if path not in repo.files:
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.revision})
        data = repo.files[path]
        if path in repo.lfs:
            oid = hashlib.sha256(data).hexdigest()
            linked = {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(data)), "Location": f"{self.hub.cdn}/cdn/{oid}"}
            return self.answer(302, b"", {"X-Repo-Commit": repo.revision, **linked})
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": repo.revision}
        return self.send_file(repo.served.get(path, data), headers, keep)

    def send_file(self, data: bytes, headers: dict[str, str], keep: int | None):
        first = int(re.findall(r"bytes=(\d+)-", self.headers.get("Range", ""))[0]) if "Range" in self.headers else 0
        if first:
            headers = {**headers, "Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
        self.answer(206 if first else 200, data[first:], headers, keep)

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, keep: int | None = None):
        """A HEAD gets the headers only: one byte of body would be read as the start of the next answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:keep])
            self.close_connection = keep is not None

    def log_message(self, *args):
        pass


def stored(repo: Repo, oid: str) -> Iterator[bytes]:
    """What the CDN holds for an LFS file's sha256."""
    for path, data in repo.files.items():
        if path in repo.lfs and hashlib.sha256(data).hexdigest() == oid:
            yield repo.served.get(path, data)


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A Hub on a free port of this machine until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": hub}))
    hub.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()
