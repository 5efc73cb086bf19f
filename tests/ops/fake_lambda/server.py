"""The cloud's API on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.ops.fake_lambda.cloud import FakeCloud, Refusal, Unanswered

BASE = "/api/v1"


@contextmanager
def serve(cloud: FakeCloud) -> Iterator[str]:
    """Serves a cloud while the block runs; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._do("GET")

        def do_POST(self) -> None:
            self._do("POST")

        def do_DELETE(self) -> None:
            self._do("DELETE")

        def log_message(self, *arguments: Any) -> None:
            pass

        def _do(self, method: str) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            key = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            try:
                status, answer = 200, {"data": cloud.call(method, self.path.removeprefix(BASE), body, key)}
            except Refusal as refusal:
                status, answer = refusal.status, {"error": {"code": refusal.code, "message": refusal.message}}
            except Unanswered:
                self.close_connection = True
                return  # the connection ends without an answer
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{BASE}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        cloud.close()
