"""One POST to a URL that somebody else chose.

The address that is connected to is the one that was looked at: a name that resolves to a public address for the check
and to a private one for the connection gets nowhere. Redirects are not followed, proxies not used, answers not read.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from kernelport.jobs.webhooks.addresses import Network, address_refusal, resolved, split

# For everything from connecting to the answer's status.
TIMEOUT_S = 10.0
# Of 400 to 499, those that ask for another try: timeout, conflict, too early, too many requests.
_PASSING_REFUSALS = {408, 409, 425, 429}


class PostError(Exception):
    """The POST was not accepted; the message says why, without the URL's user, path and query.

    Attributes:
        is_final: the same POST would be refused again.
        is_gone: whoever answered wants no further POST of any kind.
        is_silent: nobody answered in time.
    """

    def __init__(self, message: str, *, is_final: bool = False, is_gone: bool = False, is_silent: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final
        self.is_gone = is_gone
        self.is_silent = is_silent


def post(url: str, body: bytes, headers: Mapping[str, str], networks: Sequence[Network]) -> None:
    """Posts a body, and is content with any answer of 200 to 299.

    Args:
        url: http or https.
        networks: that are allowed beside public addresses.

    Raises:
        PostError: when it may not go there, or was not accepted within 10 s.
    """
    try:
        parts = split(url)
    except ValueError as error:
        raise PostError(str(error), is_final=True) from None
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    deadline = time.monotonic() + TIMEOUT_S
    try:
        with contextlib.closing(_connected(host, port, secure, networks, deadline)) as used, _ended_at(deadline, used):
            status = _status(used, host, path, body, headers)
    except TimeoutError:
        raise PostError(f"{host}: no answer within {TIMEOUT_S:g} s", is_silent=True) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise PostError(f"{host}: {error or type(error).__name__}") from None
    if not 200 <= status < 300:
        is_final = 400 <= status < 500 and status not in _PASSING_REFUSALS
        message = f"{host}: expected a status of 200 to 299, got {status}"
        raise PostError(message, is_final=is_final, is_gone=status == http.client.GONE)


def _connected(host: str, port: int, secure: bool, networks: Sequence[Network], deadline: float) -> socket.socket:
    """A connection to one of a host's addresses, its TLS handshake still to be made."""
    failure = OSError("the name has no address")
    for found in resolved(host, port):
        if refused := address_refusal(found.address, networks):
            raise PostError(f"{host}: {refused}")
        connected = socket.socket(found.family, socket.SOCK_STREAM)
        try:
            connected.settimeout(max(0.001, deadline - time.monotonic()))
            connected.connect(found.where)
            return _secured(connected, host) if secure else connected
        except OSError as error:
            connected.close()
            failure = error
    raise failure


def _secured(connected: socket.socket, host: str) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    return context.wrap_socket(connected, server_hostname=host, do_handshake_on_connect=False)


@contextlib.contextmanager
def _ended_at(deadline: float, connected: socket.socket) -> Iterator[None]:
    """Ends a connection that takes too long: the timeout of a socket is one of each read, and a server that sends a
    byte now and then would hold on for ever."""
    late = threading.Event()

    def end() -> None:
        late.set()
        with contextlib.suppress(OSError):  # it has just ended by itself
            socket.socket.shutdown(connected, socket.SHUT_RDWR)

    timer = threading.Timer(deadline - time.monotonic(), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException):
        if late.is_set():
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()


def _status(connected: socket.socket, host: str, path: str, body: bytes, headers: Mapping[str, str]) -> int:
    if isinstance(connected, ssl.SSLSocket):
        connected.do_handshake()
    connection = http.client.HTTPConnection(host, connected.getpeername()[1])
    connection.sock = connected
    connection.request("POST", path, body, {**headers, "Connection": "close"})
    with connection.getresponse() as response:
        return response.status
