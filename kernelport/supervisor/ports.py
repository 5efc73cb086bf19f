"""TCP ports of this machine."""

import contextlib
import os
import random
import socket
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path

from kernelport.config.values import MAX_PORT
from kernelport.errors import StackError

LOOK_INTERVAL_S = 0.02
_OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Below, there are services that people know by their ports.
_LOWEST_PORT = 10_000
_TRIES = 50
# Nobody may listen yet on what was given last: so many ports are not given again, by other processes neither, as
# datagram sockets have their numbers.
_GIVEN = 64
_given: deque[int] = deque()


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now, and that was given to nobody who may be about to.

    It is none that the system gives to outgoing connections, where there are others: such a connection would keep out
    whoever comes back to the port after a crash.
    """
    ports = range(_LOWEST_PORT, _first_outgoing_port())
    for port in random.sample(ports, min(_TRIES, len(ports))):
        with contextlib.suppress(OSError):
            _give(port)
            return port
    return _bound_port(0)


def _first_outgoing_port() -> int:
    try:
        return int(_OUTGOING_PORTS.read_text().split()[0])
    except (OSError, ValueError, IndexError):  # it is not told here
        return _LOWEST_PORT


def _give(port: int) -> None:
    """Raises OSError for a port that is taken or given already."""
    _bound_port(port)
    mark = socket.socket(type=socket.SOCK_DGRAM)
    try:
        mark.bind(("127.0.0.1", port))
    except OSError:
        mark.close()
        raise
    _given.append(mark.detach())
    if len(_given) > _GIVEN:
        os.close(_given.popleft())


def _bound_port(port: int) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        found: int = probe.getsockname()[1]
        return found


def with_port(listen: str) -> str:
    """An address, with a port that is free now where it has none or 0; empty for none."""
    host, _, port = listen.rpartition(":")
    return f"{host}:{port if port not in ('', '0') else free_port()}" if listen else ""


def port_after(listen: str, distance: int) -> str:
    """The address `distance` ports on, or before; a free port where the first is one; empty for none."""
    if not listen:
        return ""
    host, _, port = listen.rpartition(":")
    if int(port) + distance > MAX_PORT:
        raise StackError(f"metrics at {listen}: expected a port with {distance} more above it, one for each worker")
    return f"{host}:{int(port) + distance if int(port) else 0}"


def check_free(addresses: Mapping[str, str]) -> None:
    """Looks whether addresses are free: a client cannot tell our front door from somebody else's.

    Args:
        addresses: host:port by the option that names it.

    Raises:
        StackError: when one is not.
    """
    for option, address in addresses.items():
        host, _, port = address.rpartition(":")
        try:
            socket.create_server((host.strip("[]"), int(port)), family=_family(host)).close()
        except (OSError, ValueError) as error:
            raise StackError(f"cannot listen on {address}: {error}; {option} names another address") from error


def reserve(address: str) -> socket.socket:
    """Keeps a free address for processes of this user that share it (SO_REUSEPORT): nobody else can listen there, even
    while none of them does.

    Returns:
        What keeps it until it is closed.

    Raises:
        StackError: when it is not free.
    """
    host, _, port = address.rpartition(":")
    reserved = socket.socket(_family(host))
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        place = host.strip("[]"), int(port)
        try:
            reserved.bind(place)
        except OSError:
            # For a minute there are connections of a front door that has stopped, which did not share the address. The
            # option that passes over them is taken back: with it, another user's socket could be bound beside this one.
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved.bind(place)
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError as error:
        reserved.close()
        raise StackError(f"cannot listen on {address}: {error}") from error
    return reserved


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def wait_until_shared(addresses: Iterable[str], timeout_s: float) -> None:
    """Waits until whoever listens on these addresses lets another process of this user do so, too.

    Raises:
        StackError: it does not.
    """
    deadline = time.monotonic() + timeout_s
    for address in addresses:
        while not _is_shared(address):
            if time.monotonic() > deadline:
                raise StackError(f"the front door does not let another one in at {address}")
            time.sleep(LOOK_INTERVAL_S)


def _is_shared(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket(_family(host)) as probe:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # the former for the connections that there are
            probe.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError:
            return False
    return True
