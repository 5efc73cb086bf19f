"""The front doors of a stack: one, or several that share its addresses, among which the system shares out connections.

Clients meet any of several. So each has an address of its own beside these, at which it is asked how it is. So has one
that speaks TLS: to whoever asks it on this machine, its certificate says nothing.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import grpc
from grpc_health.v1 import health_pb2_grpc

from kernelport.client import Address
from kernelport.config.settings import Settings
from kernelport.supervisor.ports import free_port, port_after, reserve


class FrontDoors:
    """What is known of them before they run.

    Args:
        target: host:port at which clients find them.
        count: how many there are.
        have_tls: whether they speak TLS there.

    Attributes:
        addresses: where each answers alone, by name: `front-door`, `front-door-2` and so on.
        own_target: where what runs on this machine finds one of them, without TLS.
    """

    def __init__(self, target: str, count: int, have_tls: bool) -> None:
        names = ["front-door", *(f"front-door-{number}" for number in range(2, count + 1))]
        self.addresses: Mapping[str, str] = {
            name: f"127.0.0.1:{free_port()}" if count > 1 or have_tls else target for name in names
        }
        self.own_target: str = self.addresses["front-door"] if have_tls else target
        self._target = target
        self._are_several = count > 1
        self._reserved: list[socket.socket] = []

    def told(self, name: str, settings: Settings) -> Settings:
        """What one of them is told of the settings of all."""
        told = replace(settings, metrics_listen=self._metrics_listen(name, settings))
        if self.addresses[name] == self._target:
            return told
        return replace(told, share_ports=self._are_several, own_listen=self.addresses[name])

    def listens(self, name: str, settings: Settings) -> set[str]:
        """All addresses at which one of them listens."""
        metrics_listen = self._metrics_listen(name, settings)
        return {settings.listen, settings.http_listen, self.addresses[name], metrics_listen} - {""}

    def _metrics_listen(self, name: str, settings: Settings) -> str:
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
                address: health_pb2_grpc.HealthStub(channels.enter_context(Address(address).open(grpc)))
                for address in {self.own_target, *self.addresses.values()}
            }
            yield lambda name: stubs[self.addresses.get(name, self.own_target)]
