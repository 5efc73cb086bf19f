"""The servers of one gRPC door.

gRPC's server for asyncio hands over one call in two turns of the event loop, and calls of one server in the order in
which they came: whoever calls behind thousands waits for all of them. So there are several on the same address, among
which the system shares out connections, and a crowd keeps those waiting that have come to its own.
"""

import asyncio
from collections.abc import Callable

import grpc

SERVERS = 8


class Servers:
    """As one server.

    Args:
        make: gives one that does not listen yet.
    """

    def __init__(self, make: Callable[[], grpc.aio.Server]) -> None:
        self._all = [make() for _ in range(SERVERS)]

    def listen(self, address: str, credentials: Callable[[], grpc.ServerCredentials] | None) -> None:
        """Has all listen on host:port.

        Args:
            credentials: gives those of each for TLS; None without it.

        Raises:
            RuntimeError: the address is taken, or none of this machine.
        """
        for each in self._all:
            _listen(each, address, credentials() if credentials else None)

    def listen_singly(self, address: str) -> None:
        """Has one listen on host:port, without TLS, for what few call.

        Raises:
            RuntimeError: as for `listen`.
        """
        _listen(self._all[0], address, None)

    async def start(self) -> None:
        """Takes calls from now on."""
        await asyncio.gather(*(each.start() for each in self._all))

    async def stop(self, grace_s: float) -> None:
        """Takes no more calls; those in flight have so many seconds. Returns when there are none."""
        await asyncio.gather(*(each.stop(grace_s) for each in self._all))


def _listen(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> None:
    if credentials:
        server.add_secure_port(address, credentials)
    else:
        server.add_insecure_port(address)
