"""How one front door takes the place of another on the same addresses, without a connection that is refused.

A taken port is an error. But a front door that is to be replaced lets others in beside it for a while (`open_up`). The
one that comes leaves new connections to it while it starts, then has them all (`steer`), and lets nobody in; the other
one answers what it has, and goes. Both are of one user, as the kernel sees to.
"""

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Collection, Iterator

# Of two that listen on an address, in the order in which they came.
OLD, NEW = 0, 1
# Linux's, which Python has no name for: a program that says which of the sockets on an address gets a connection.
_SO_ATTACH_REUSEPORT_CBPF = 51
_RETURN = 0x06
# An address of this machine that hardly anybody listens on.
_OTHER_LOOPBACK = "127.123.45.67"


def open_up(ports: Collection[int], *, is_open: bool) -> None:
    """Lets another process of this user listen on these ports beside this one, or no longer."""
    for each in _listeners(ports):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(is_open))
    if not is_open:
        for port in ports:
            _forget_sharing(port)


def steer(ports: Collection[int], to: int) -> None:
    """Has new connections to these ports, on which another process listens, too, come to one of both: OLD or NEW. Once
    the other one has gone, this one has them all."""
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, to))
    program = struct.pack("HP", 1, ctypes.addressof(instruction))
    for each in _listeners(ports):
        with contextlib.suppress(OSError):  # no Linux: both get some until the other one goes
            each.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, program)


def _forget_sharing(port: int) -> None:
    """Has the kernel look at the sockets on a port again. Once one of them was shared, it lets others of this user in
    without a look, until it has bound one that is not shared: at an address of its own, which there is none of beside a
    front door that listens on all."""
    with contextlib.suppress(OSError), socket.socket() as other:
        other.bind((_OTHER_LOOPBACK, port))


def _listeners(ports: Collection[int]) -> Iterator[socket.socket]:
    """The sockets that this process listens with, those of gRPC included, which shows them to nobody."""
    for name in os.listdir("/dev/fd"):
        try:
            found = socket.socket(fileno=os.dup(int(name)))
        except OSError:  # no socket, or closed by now
            continue
        with found:
            is_tcp = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
            if is_tcp and found.getsockname()[1] in ports and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                yield found
