"""Large answers on their way to callers: gRPC copies each one when it is given it, and keeps it until it is sent."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import grpc

from kernelport_api.turns import turn_if_large

# Smaller answers are not counted: it would cost more than they do.
COUNTED_BYTES = 2**20
# On one connection at a time; a larger answer goes alone.
MOST_BYTES = 64 * 2**20


@dataclass
class _Connection:
    bytes: int = 0
    waiting: deque[tuple[int, asyncio.Future[None]]] = field(default_factory=deque)


class Sending:
    """What is on its way on each connection. A client that does not read holds up nobody but itself."""

    def __init__(self) -> None:
        self._connections: dict[str, _Connection] = {}

    async def turn(self, context: grpc.aio.ServicerContext[Any, Any], size: int) -> None:
        """Waits until an answer of `size` bytes, COUNTED_BYTES or more, may be given to gRPC. It counts until its call
        has ended."""
        await turn_if_large(size)
        peer = context.peer()
        connection = self._connections.setdefault(peer, _Connection())
        if connection.waiting or not _fits(connection, size):
            turn = asyncio.get_running_loop().create_future()
            connection.waiting.append((size, turn))
            try:
                await turn
            except asyncio.CancelledError:  # the caller hung up, or its deadline passed
                if not turn.cancelled():
                    self._leave(peer, size)
                raise
        else:
            connection.bytes += size
        context.add_done_callback(lambda _: self._leave(peer, size))  # type: ignore[arg-type]

    def _leave(self, peer: str, size: int) -> None:
        connection = self._connections[peer]
        connection.bytes -= size
        while connection.waiting and _fits(connection, connection.waiting[0][0]):
            size, turn = connection.waiting.popleft()
            if not turn.cancelled():
                connection.bytes += size
                turn.set_result(None)
        if not connection.bytes and not connection.waiting:
            del self._connections[peer]


def _fits(connection: _Connection, size: int) -> bool:
    return not connection.bytes or connection.bytes + size <= MOST_BYTES
