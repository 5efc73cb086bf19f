"""One POST to a URL that somebody else chose.

The address that is connected to is the one that was looked at: a name that resolves to a public address for the check
and to a private one for the connection gets nowhere. Redirects are not followed, proxies not used, answers not read.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# For everything from connecting to the answer's status.
TIMEOUT_S = 10.0
_REFUSAL = "{} is no public address; KERNELPORT_WEBHOOK_NETWORKS allows others"
# Of 400 to 499, those that ask for another try: timeout, conflict, too early, too many requests.
_PASSING_REFUSALS = {408, 409, 425, 429}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PostError(Exception):
    """The POST was not accepted; the message says why, without the URL's path and query.

    Attributes:
        is_final: the same POST would be refused again.
    """

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks such as `10.0.0.0/8,fd00::/8`.

    Raises:
        ValueError: when one is none.
    """
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def is_allowed(address: Address, networks: Sequence[Network]) -> bool:
    """Whether events may go to an address: it is public, or in one of the networks."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_allowed(inner, networks)
    if any(address in network for network in networks):
        return True
    return address.is_global and not address.is_multicast


def refusal(url: str, networks: Sequence[Network]) -> str | None:
    """Why events cannot go to a URL, as far as it shows without asking for the address of its name; None when nothing
    is against it."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("no such URL")
    except ValueError:
        return f'expected an http or https URL, got "{url}"'
    try:
        address = ipaddress.ip_address("127.0.0.1" if parts.hostname == "localhost" else parts.hostname)
    except ValueError:
        return None
    return None if is_allowed(address, networks) else _REFUSAL.format(address)


def post(url: str, body: bytes, headers: Mapping[str, str], networks: Sequence[Network]) -> None:
    """Posts a body, and is content with any answer of 200 to 299.

    Args:
        url: http or https.
        networks: that are allowed beside public addresses.

    Raises:
        PostError: when it may not go there, or was not accepted within 10 s.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        port = parts.port or (443 if secure else 80)
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        connection.sock = _connect(host, port, secure, networks)
        status = _status(connection, path, body, headers)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise PostError(f"{host}: {error or type(error).__name__}") from None
    if not 200 <= status < 300:
        is_final = 400 <= status < 500 and status not in _PASSING_REFUSALS
        raise PostError(f"{host}: expected a status of 200 to 299, got {status}", is_final=is_final)


def _connect(host: str, port: int, secure: bool, networks: Sequence[Network]) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for family, kind, protocol, _, address in found:
        if not is_allowed(ipaddress.ip_address(str(address[0]).partition("%")[0]), networks):
            raise PostError(f"{host}: {_REFUSAL.format(address[0])}")
        connected = socket.socket(family, kind, protocol)
        connected.settimeout(TIMEOUT_S)
        try:
            connected.connect(address)
            return ssl.create_default_context().wrap_socket(connected, server_hostname=host) if secure else connected
        except OSError as error:
            connected.close()
            failure = error
    raise failure if found else OSError("the name has no address")


def _status(connection: http.client.HTTPConnection, path: str, body: bytes, headers: Mapping[str, str]) -> int:
    # A timeout of the socket is one of each read: a server that sends a byte now and then would hold on for ever.
    connected: socket.socket = connection.sock
    late = threading.Event()

    def end() -> None:
        late.set()
        with contextlib.suppress(OSError):  # it has just ended by itself
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(TIMEOUT_S, end)
    timer.daemon = True
    timer.start()
    try:
        connection.request("POST", path, body, {**headers, "Connection": "close"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        if late.is_set() or isinstance(error, TimeoutError):
            raise TimeoutError(f"no answer within {TIMEOUT_S:g} s") from None
        raise
    finally:
        timer.cancel()
        connection.close()
        connected.close()
