"""uvicorn in an event loop that others use, too, with the bounds that it does not have by itself."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

# A caller has so long to send the headers of a request, and an idle connection is kept so long.
HEADERS_S, IDLE_S = 20.0, 75.0
MOST_HEADER_BYTES = 64 * 2**10
# A caller that takes nothing of its answer for so long is cut off.
STALLED_S = 60.0
# Of a body that nobody reads, since its call has been answered, so much is thrown away before the caller is cut off.
MOST_DISCARDED_BYTES = 256 * 2**20
# Of a message on a WebSocket.
MOST_MESSAGE_BYTES = 256 * 2**10
# Where the scope of a call has a future that is done when its caller hangs up.
HUNG_UP = "kernelport.hung_up"
# What is left of connections when calls are over; a new one has so long of it to send its first request.
CLOSING_S, FIRST_REQUEST_S = 1, 0.5
_BACKLOG = 2048
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

logging.getLogger("uvicorn").setLevel(logging.WARNING)


def listener(address: str, *, shared: bool = False) -> socket.socket:
    """A socket that listens on host:port.

    Args:
        shared: whether other processes of this user may listen there, too, if they let each other.

    Raises:
        OSError: the address is taken, or none of this machine.
    """
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    where = host.strip("[]"), int(port)
    return socket.create_server(where, family=family, backlog=_BACKLOG, reuse_port=shared)


class HttpServer:
    """Serves an ASGI application on a socket.

    Args:
        tls: how connections speak TLS; None where they do not.

    Attributes:
        address: host:port of the socket.
    """

    def __init__(self, app: ASGIApp, listens: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws=_WebSocket,
            ws_max_size=MOST_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # nothing here asks who calls
            server_header=False,
            timeout_keep_alive=round(IDLE_S),
            timeout_graceful_shutdown=CLOSING_S,
            backlog=_BACKLOG,
        )
        config.load()
        config.ssl = tls  # uvicorn would make one of files that stay as they are
        self._listens = listens
        self._server = _Server(config)
        self._is_over = asyncio.Event()
        host, port = listens.getsockname()[:2]
        self.address: str = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def run(self) -> None:
        """Serves until `stop`."""
        try:
            await self._server.serve([self._listens])
        finally:
            self._is_over.set()

    async def stop(self) -> None:
        """Takes no more connections, and closes those that there are."""
        self._server.should_exit = True
        await self._is_over.wait()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The front door has handlers of its own."""
        yield


class _Impatient(asyncio.Protocol):
    """A connection whose caller is cut off when it takes nothing for a while."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _stalled: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._may_write()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._may_write()

    def _may_write(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


class _WebSocket(_Impatient, WSProtocol):
    """One connection that has become a WebSocket."""


class _Protocol(_Impatient, HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        # Without an answer: uvicorn tells the last of requests sent one behind the other that their caller has gone.
        self._cycles: list[RequestResponseCycle] = []
        self._header_bytes = 0
        self._discarded_bytes = 0
        self._awaits_headers: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._hung_up = self.loop.create_future()
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for cycle in self._cycles:
            cycle.disconnected = True
        self._hung_up.set_result(None)
        self._have_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._awaits_headers is not None:
            self._header_bytes += len(data)
            if self._header_bytes > MOST_HEADER_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def shutdown(self) -> None:
        """The server stops. Who has just connected is about to ask something, and is told so instead of cut off."""
        if self.cycle is None:
            self.loop.call_later(FIRST_REQUEST_S, super().shutdown)
        else:
            super().shutdown()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[HUNG_UP] = self._hung_up  # type: ignore[literal-required]
        if self._awaits_headers is None:
            self._await_headers()

    def on_headers_complete(self) -> None:
        self._have_headers()
        super().on_headers_complete()
        self._cycles = [cycle for cycle in self._cycles if not cycle.response_complete]
        self._cycles.append(self.cycle)

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
            self._discarded_bytes += len(body)
            if self._discarded_bytes > MOST_DISCARDED_BYTES:
                self.transport.close()
        super().on_body(body)

    def _await_headers(self) -> None:
        self._header_bytes = 0
        self._awaits_headers = self.loop.call_later(HEADERS_S, self.timeout_keep_alive_handler)

    def _have_headers(self) -> None:
        if self._awaits_headers is not None:
            self._awaits_headers.cancel()
            self._awaits_headers = None
