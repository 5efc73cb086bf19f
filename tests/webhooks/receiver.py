"""A real HTTP server on loopback that takes events, and answers as it is told to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """What came, and what is answered: statuses are used up from the front, the last one stays; events whose types are
    in `refused` get the status given there."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    refused: dict[str, int] = field(default_factory=dict)
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    hanging: threading.Event = field(default_factory=threading.Event)
    dripping: bool = False


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.hanging.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.received.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            receiver.hanging.wait(30)
            if receiver.dripping:
                self._drip()
                return
            status = receiver.refused.get(json.loads(body).get("type", ""))
            if status is None:
                status = receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0]
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"{receiver.url}/elsewhere")
            self.end_headers()

        def _drip(self) -> None:
            try:
                while True:
                    self.wfile.write(b"H")
                    self.wfile.flush()
                    threading.Event().wait(0.05)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.hanging.set()
        server.shutdown()
        thread.join()
        server.server_close()
