"""Listens in on Redis: how often each request was answered on the way to its front door.

A caller cannot tell, for gRPC gives it one answer whatever happens behind it.
"""

import codecs
import contextlib
import re
import socket
import threading
from collections import Counter

from google.protobuf.message import DecodeError

from kernelport.internal.v1.queue_pb2 import Reply

RETRY_S = 0.05
_CONNECT_TIMEOUT_S = 5.0
_PUSH = re.compile(rb'"LPUSH" "kp:replies:[^"]*" (.*)')
_ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"')


class ReplyMonitor:
    """Counts completions by request from `start` until `stop`. What passes while it reconnects escapes it."""

    def __init__(self, port: int) -> None:
        self.answers: Counter[bytes] = Counter()
        self._port = port
        self._stopped = threading.Event()
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._listen, name="reply-monitor", daemon=True)

    def start(self) -> None:
        """Listens from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Listens no more."""
        self._stopped.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):  # Redis has gone already
                self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    @property
    def twice(self) -> list[str]:
        """The requests that were answered more than once."""
        return [request.decode() for request, count in self.answers.items() if count > 1]

    def _listen(self) -> None:
        while not self._stopped.wait(RETRY_S):
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=_CONNECT_TIMEOUT_S) as connection:
                    self._socket = connection
                    connection.settimeout(None)
                    connection.sendall(b"MONITOR\r\n")
                    with connection.makefile("rb") as lines:
                        for line in lines:
                            self.take(line)
            except OSError:
                continue  # Redis is away

    def take(self, line: bytes) -> None:
        """Counts what one line of MONITOR says."""
        push = _PUSH.search(line)
        if push is None:
            return
        for argument in _ARGUMENT.findall(push[1]):
            try:
                reply = Reply.FromString(codecs.escape_decode(argument)[0])
            except DecodeError:
                continue  # a line that was cut short when Redis went away
            self.answers.update(completion.id for completion in reply.completions)
