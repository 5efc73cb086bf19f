"""A TCP proxy before a front door, whose connections a test can break."""

import contextlib
import socket
import threading
from collections.abc import Iterator


class Proxy:
    """Passes bytes both ways until it is told to break every connection, or to freeze.

    Attributes:
        target: host:port to connect to.
        broken: how many connections were broken.
    """

    def __init__(self, behind: str, own_port: int = 0) -> None:
        host, _, port = behind.rpartition(":")
        self._behind = host, int(port)
        self._server = socket.create_server(("127.0.0.1", own_port))
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._passing = threading.Event()
        self._passing.set()
        self.target = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.broken = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def break_all(self) -> None:
        """Ends every connection there is; new ones are taken."""
        with self._lock:
            ending, self._open = self._open, []
        for each in ending:
            self.broken += 1
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        """Passes nothing any more; the connections stay."""
        self._passing.clear()

    def close(self) -> None:
        self._passing.set()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.break_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            server = socket.create_connection(self._behind)
            with self._lock:
                self._open += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._passing.wait()
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for each in (source, sink):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()


@contextlib.contextmanager
def proxied(behind: str, own_port: int = 0) -> Iterator[Proxy]:
    proxy = Proxy(behind, own_port)
    try:
        yield proxy
    finally:
        proxy.close()
