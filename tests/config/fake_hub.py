"""As much of a Hugging Face hub as fetching files needs: one repository on loopback, which can refuse, cut and lie."""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

REPO = "someone/voices"
# Above this size files are in Git LFS.
LFS_BYTES = 1000
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Seen:
    """A request that came in."""

    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class FakeHub:
    """A hub that serves `files` of REPO at revision `main`.

    Attributes:
        token: what callers must bear; None when anyone may read.
        cut: by file name, after how many bytes its first download breaks off.
        status: answers everything with this HTTP status, and `error_code` as the hub's own name of it.
        busy: statuses that the next requests are answered with, each with its header Retry-After, if any.
        answer: the body of what describes the repository, in place of a description.
        described: entries in place of those in the description.
        handed_out: contents in place of those that are listed, as a mirror has them that knows no Git LFS.
        seen: all requests.
    """

    files: dict[str, bytes]
    token: str | None = None
    cut: dict[str, int] = field(default_factory=dict)
    status: int | None = None
    error_code: str | None = None
    busy: list[tuple[int, str | None]] = field(default_factory=list)
    answer: bytes | None = None
    described: dict[str, Any] = field(default_factory=dict)
    handed_out: dict[str, bytes] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def downloads(self, name: str) -> list[Seen]:
        """The requests for the content of a file."""
        return [request for request in self.seen if request.method == "GET" and request.path.endswith(f"/{name}")]


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def do_HEAD(self) -> None:
        self._serve(with_body=False)

    def do_GET(self) -> None:
        self._serve(with_body=True)

    def log_message(self, *_: object) -> None:
        """Keeps the test's output free of requests."""

    def _serve(self, with_body: bool) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        authorization = self.headers.get("Authorization")
        hub.seen.append(Seen(self.command, path, self.headers.get("Range"), authorization))
        if hub.busy:
            status, retry_after = hub.busy.pop(0)
            self._refuse(status, None, retry_after=retry_after)
        elif hub.status:
            self._refuse(hub.status, hub.error_code)
        elif hub.token and authorization is None:
            self._refuse(401, "RepoNotFound")
        elif hub.token and authorization != f"Bearer {hub.token}":
            self._refuse(401, None, "Invalid credentials in Authorization header")
        elif path.startswith(f"/api/models/{REPO}/revision/"):
            self._describe(path.rpartition("/")[2], with_sizes="blobs=" in self.path)
        elif path.startswith(f"/{REPO}/resolve/{COMMIT}/"):
            self._send_file(path.removeprefix(f"/{REPO}/resolve/{COMMIT}/"), with_body)
        else:
            self._refuse(404, "RepoNotFound")

    def _refuse(self, status: int, code: str | None, message: str = "refused", retry_after: str | None = None) -> None:
        self.send_response(status)
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _describe(self, revision: str, with_sizes: bool) -> None:
        if revision not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        siblings = [_listed(name, content, with_sizes) for name, content in self.hub.files.items()]
        described = {"id": REPO, "sha": COMMIT, "siblings": siblings, **self.hub.described}
        body = json.dumps(described).encode() if self.hub.answer is None else self.hub.answer
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    def _send_file(self, name: str, with_body: bool) -> None:
        content = self.hub.handed_out.get(name, self.hub.files.get(name))
        if content is None:
            return self._refuse(404, "EntryNotFound")
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if with_body:
            end = self.hub.cut.pop(name, len(content))
            self.wfile.write(content[start:end])
        return None


def _listed(name: str, content: bytes, with_sizes: bool) -> dict[str, Any]:
    """A file as the hub lists it: the large ones are in Git LFS, and have their hash."""
    if not with_sizes:
        return {"rfilename": name}
    listed: dict[str, Any] = {"rfilename": name, "size": len(content)}
    if len(content) > LFS_BYTES:
        listed["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return listed


def lfs_pointer(content: bytes) -> bytes:
    """What Git has in place of a large file."""
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()
