"""The front doors of a stack: one, or several that share its addresses, among which the system shares out connections.

Clients meet any of several. So each has addresses of its own beside these, at which it is asked how it is and what it
has counted; all that they have counted is shown at the address for one. One that speaks TLS has an address of its own,
too: to whoever asks it on this machine, its certificate says nothing.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from wsgiref.simple_server import WSGIServer

import grpc
from grpc_health.v1 import health_pb2_grpc

from kernelport.client import Address
from kernelport.config.settings import Settings
from kernelport.errors import StackError
from kernelport.supervisor.added_metrics import AddedMetrics
from kernelport.supervisor.ports import free_port, reserve
from kernelport.telemetry import metrics


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
        self._target = target
        self.addresses: Mapping[str, str] = {
            name: f"127.0.0.1:{free_port()}" if count > 1 or have_tls else target for name in names
        }
        self.own_target: str = self.addresses["front-door"] if have_tls else target
        self._metrics = {name: f"127.0.0.1:{free_port()}" for name in names} if count > 1 else {}
        self._reserved: list[socket.socket] = []
        self._showing: WSGIServer | None = None

    def told(self, name: str, settings: Settings) -> Settings:
        """What one of them is told of the settings of all."""
        if self.addresses[name] == self._target:
            return settings
        metrics_listen = settings.metrics_listen and self._metrics.get(name, settings.metrics_listen)
        are_several = len(self.addresses) > 1
        return replace(
            settings, share_ports=are_several, own_listen=self.addresses[name], metrics_listen=metrics_listen
        )

    def reserve(self, settings: Settings) -> None:
        """Keeps others away from the addresses that several share, whichever of them runs at the time, and shows the
        metrics of all.

        Raises:
            StackError: when one is not free.
        """
        if len(self.addresses) == 1:
            return
        for address in filter(None, (settings.listen, settings.http_listen)):
            self._reserved.append(reserve(address))
        if listen := settings.metrics_listen:
            try:
                self._showing = metrics.serve(listen, registry=AddedMetrics(self._metrics.values()))
            except OSError as error:
                raise StackError(f"cannot show metrics at {listen}: {error}") from error

    def close(self) -> None:
        """Lets others have the addresses."""
        if self._showing is not None:
            self._showing.shutdown()
            self._showing.server_close()
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
