"""As much of a Hugging Face hub as fetching files needs: one repository on loopback, which can refuse and cut."""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import unquote, urlsplit

REPO = "someone/voices"
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
        seen: all requests.
    """

    files: dict[str, bytes]
    token: str | None = None
    cut: dict[str, int] = field(default_factory=dict)
    status: int | None = None
    error_code: str | None = None
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
        if hub.status:
            self._refuse(hub.status, hub.error_code)
        elif hub.token and authorization is None:
            self._refuse(401, "RepoNotFound")
        elif hub.token and authorization != f"Bearer {hub.token}":
            self._refuse(401, None, "Invalid credentials in Authorization header")
        elif path.startswith(f"/api/models/{REPO}/revision/"):
            self._describe(path.rpartition("/")[2])
        elif path.startswith(f"/{REPO}/resolve/{COMMIT}/"):
            self._send_file(path.removeprefix(f"/{REPO}/resolve/{COMMIT}/"), with_body)
        else:
            self._refuse(404, "RepoNotFound")

    def _refuse(self, status: int, code: str | None, message: str = "refused") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _describe(self, revision: str) -> None:
        if revision not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        siblings = [{"rfilename": name} for name in self.hub.files]
        body = json.dumps({"id": REPO, "sha": COMMIT, "siblings": siblings}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    def _send_file(self, name: str, with_body: bool) -> None:
        content = self.hub.files.get(name)
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
