"""How one front door takes the place of another on the same addresses, without a connection that is refused.

A taken port is an error. But a front door that is to be replaced lets others in beside it for a while (`open_up`), or
several share a port for good. The one that comes has all new connections once it serves (`steer`), until the one in
whose place it comes has answered what it has, and gone. All are of one user, as the kernel sees to.
"""

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Collection, Iterator

# Linux's, which Python has no names for: a program that says which of the sockets on an address gets a connection.
_SO_ATTACH_REUSEPORT_CBPF, _SO_DETACH_REUSEPORT_BPF = 51, 68
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
    """Has new connections to these ports, on which other processes listen, too, come to one of all: they are numbered
    from 0 in the order in which they came. Once the last has taken the place of one that has gone, nobody has its
    number, and the system shares them out again; `stop_steering` then, or all would come to whoever listens there next.
    """
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, to))
    program = struct.pack("HP", 1, ctypes.addressof(instruction))
    for each in _listeners(ports):
        with contextlib.suppress(OSError):  # no Linux: all get some until one goes
            each.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, program)


def stop_steering(ports: Collection[int]) -> None:
    """Has the system share out new connections to these ports from now on."""
    for each in _listeners(ports):
        with contextlib.suppress(OSError):  # nobody steers, or no Linux
            each.setsockopt(socket.SOL_SOCKET, _SO_DETACH_REUSEPORT_BPF, 0)


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
