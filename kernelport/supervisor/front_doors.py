"""The front doors of a stack: one, or several that share its addresses, among which the system shares out connections.

Clients meet any of several. So each has an address of its own beside these, at which it is asked how it is.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace

import grpc
from grpc_health.v1 import health_pb2_grpc

from kernelport.client import channel_options
from kernelport.config.settings import Settings
from kernelport.supervisor.ports import free_port, port_after, reserve


class FrontDoors:
    """What is known of them before they run.

    Args:
        target: host:port at which clients find them.
        count: how many there are.

    Attributes:
        addresses: where each answers alone, by name: `front-door`, `front-door-2` and so on.
    """

    def __init__(self, target: str, count: int) -> None:
        names = ["front-door", *(f"front-door-{number}" for number in range(2, count + 1))]
        self._target = target
        self._are_several = count > 1
        self.addresses: dict[str, str] = {name: self.new_address() for name in names}
        self._reserved: list[socket.socket] = []

    def new_address(self) -> str:
        """Where one more would answer alone."""
        return f"127.0.0.1:{free_port()}" if self._are_several else self._target

    def told(self, name: str, address: str, settings: Settings) -> Settings:
        """What one of them is told of the settings of all.

        Args:
            address: where it answers alone.
        """
        told = replace(settings, metrics_listen=self.metrics_listen(name, settings))
        return replace(told, share_ports=True, own_listen=address) if self._are_several else told

    def metrics_listen(self, name: str, settings: Settings) -> str:
        """Where one of them shows its metrics; empty for nowhere."""
        return port_after(settings.metrics_listen, list(self.addresses).index(name))

    def reserve(self, settings: Settings) -> None:
        """Keeps others away from the addresses that several share, whichever of them runs at the time.

        Raises:
            StackError: when one is not free.
        """
        if self._are_several:
            for address in filter(None, (settings.listen, settings.http_listen)):
                self._reserved.append(reserve(address))

    def close(self) -> None:
        """Lets others have the addresses."""
        for each in self._reserved:
            each.close()

    @contextlib.contextmanager
    def health(self) -> Iterator[Callable[[str], health_pb2_grpc.HealthStub]]:
        """Whom to ask, by the name of a process: a front door about itself, any of them about a worker."""
        with contextlib.ExitStack() as channels:
            stubs = {
                address: health_pb2_grpc.HealthStub(
                    channels.enter_context(grpc.insecure_channel(address, channel_options(address)))
                )
                for address in {self._target, *self.addresses.values()}
            }
            yield lambda name: stubs[self.addresses.get(name, self._target)]
