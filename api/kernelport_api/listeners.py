"""How several sockets listen on one address, and one front door takes the place of another there, without a connection
that is refused.

All sockets of a front door let others in beside them, and one on which nobody listens, the guard of the address, does
not: so a taken port is an error. A front door that is to be replaced has its guards let others in for a while, or
several share a port for good. The one that comes has all new connections once it serves (`steer`), until the one in
whose place it comes has answered what it has, and gone. All are of one user, as the kernel sees to.
"""

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator

from kernelport.config.settings import Settings

# Linux's, which Python has no name for: a program that says which of the sockets on an address gets a connection.
_SO_ATTACH_REUSEPORT_CBPF = 51
_RETURN = 0x06
# An address of this machine that hardly anybody listens on.
_OTHER_LOOPBACK = "127.123.45.67"


class Guard:
    """Keeps an address to this process and to whomever it lets in.

    Args:
        address: host:port; the port 0 stands for a free one.
        beside: whether others listen there already, and let it in.

    Attributes:
        address: as given, with its port.
        port: of the address.

    Raises:
        OSError: the address is taken, or none of this machine.
    """

    def __init__(self, address: str, *, beside: bool) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(beside))
            # For the connections that a front door has left; whoever comes must not be let in by it.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((host.strip("[]"), int(port)))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except BaseException:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self.address: str = f"{host}:{self.port}"
        self.let_in(True)

    def let_in(self, others: bool) -> None:
        """Lets further sockets of this user listen there, of this process and others; or no longer. Does nothing once
        it is closed."""
        if self._socket.fileno() < 0:
            return
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(others))
        if not others:
            self._forget_sharing()

    def close(self) -> None:
        """Guards the address no longer."""
        self._socket.close()

    def _forget_sharing(self) -> None:
        """Has the kernel look at the sockets on the port again. Once one of them was shared, it lets others of this
        user in without a look, until it has bound one that is not shared: at an address of its own, which there is none
        of beside a front door that listens on all."""
        with contextlib.suppress(OSError), socket.socket() as other:
            other.bind((_OTHER_LOOPBACK, self.port))


class ListenError(Exception):
    """The address cannot be listened on."""


class Addresses:
    """Those of a front door, each with its guard; None where it has none of a kind.

    Args:
        beside: how many front doors listen on the first two already, and whether one does on its own ones: it is to
            take the place of one.

    Attributes:
        grpc, http: that others may share for good.
        own, metrics: that others have only while one takes the place of another.

    Raises:
        ListenError: when one is taken, or none of this machine.
    """

    def __init__(self, settings: Settings, beside: int) -> None:
        is_shared, self._beside = settings.share_ports or beside > 0, beside
        listen, http, own, figures = settings.listen, settings.http_listen, settings.own_listen, settings.metrics_listen
        taken = "cannot listen on {address}: {error}"
        taken_http = (
            "cannot listen on {address} for HTTP: {error}; "
            "KERNELPORT_HTTP_LISTEN or --http-listen names another address, or with an empty value none"
        )
        self.grpc = _guard(listen, is_shared, taken)
        self.http = _guard(http, is_shared, taken_http) if http else None
        self.own = _guard(own, beside > 0, taken) if own else None
        self.metrics = _guard(figures, beside > 0, "cannot show metrics at {address}: {error}") if figures else None
        self._all = [each for each in (self.grpc, self.http, self.own, self.metrics) if each]
        self._open = (self.grpc, self.http) if settings.share_ports else ()

    def let_in(self, others: bool) -> None:
        """Lets another front door listen there, too; or no longer."""
        for each in self._all:
            if each not in self._open:
                each.let_in(others)

    def close(self) -> None:
        """Lets whoever comes next listen there as soon as nobody of this process does."""
        for each in self._all:
            each.close()

    def take_over(self, grpc_sockets: int) -> None:
        """Has new connections come here, and not to the front door in whose place this one comes, nor to others.

        Args:
            grpc_sockets: with which each front door listens for gRPC.
        """
        for guard, first in (
            (self.grpc, self._beside * grpc_sockets),
            (self.http, self._beside),
            (self.own, 1),
            (self.metrics, 1),
        ):
            if guard:
                steer(guard.port, first)


def _guard(address: str, beside: bool, problem: str) -> Guard:
    """Raises ListenError with `problem`, of an `address` and an `error`."""
    try:
        return Guard(address, beside=beside)
    except OSError as error:
        raise ListenError(problem.format(address=address, error=error)) from error


def steer(port: int, to: int) -> None:
    """Has new connections to a port, on which other processes listen, too, come to one socket of all: they are numbered
    from 0 in the order in which they came. Once the last has taken the place of one that has gone, nobody has its
    number, and the system shares them out again."""
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, to))
    program = struct.pack("HP", 1, ctypes.addressof(instruction))
    for each in _listeners(port):
        with contextlib.suppress(OSError):  # no Linux: all get some until one goes
            each.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, program)


def _listeners(port: int) -> Iterator[socket.socket]:
    """The sockets that this process listens with, those of gRPC included, which shows them to nobody."""
    for name in os.listdir("/dev/fd"):
        try:
            found = socket.socket(fileno=os.dup(int(name)))
        except OSError:  # no socket, or closed by now
            continue
        with found:
            is_tcp = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
            if is_tcp and found.getsockname()[1] == port and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                yield found
