"""The address of a front door, and the options of a channel to it."""

import re
from collections.abc import Sequence

from kernelport.config.settings import is_loopback
from kernelport.errors import FieldViolation, InvalidArgumentError

# Speech at 48 kHz passes gRPC's default of 4 MiB after 21 seconds.
_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A front door that is back is found within 2 seconds; gRPC itself would wait for up to two minutes, and for 20
    # seconds for a host that does not answer at all.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1500),
    ("grpc.max_reconnect_backoff_ms", 1500),
    # A front door that is frozen, or gone without a word, ends the calls on their way after 20 seconds; one that
    # only stands still for a few goes on with them.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)
# What gRPC resolves by itself: sockets of this machine, and lists of addresses.
_RESOLVED = ("unix:", "unix-abstract:", "ipv4:", "ipv6:", "xds:")
_HOST_PORT = re.compile(r"(?P<host>\[[0-9a-fA-F:.%]+\]|[^\s:/@\[\]]+):(?P<port>[0-9]{1,5})")
_MOST_PORTS = 65535
CLOSED = "the client is closed: make another"


def check_target(target: str) -> str:
    """The address of a front door, as it was given.

    Raises:
        InvalidArgumentError: when it is none; gRPC would try for ever, or port 443.
    """
    if not isinstance(target, str):
        raise _not_a_target(repr(target))
    if target.startswith(_RESOLVED):
        return target
    found = _HOST_PORT.fullmatch(target.removeprefix("dns:///"))
    if found is None:
        raise _not_a_target(f'"{target}"{" with a scheme" if "://" in target else ""}')
    if not 0 < int(found["port"]) <= _MOST_PORTS:
        raise _not_a_target(f'"{target}"')
    return target


def channel_options(target: str) -> list[tuple[str, int]]:
    """gRPC's options for a channel to a front door: messages of any size, and no proxy to what is on this machine."""
    return [*_OPTIONS, ("grpc.enable_http_proxy", 0 if is_loopback(target.rpartition(":")[0]) else 1)]


def _not_a_target(got: str) -> InvalidArgumentError:
    return InvalidArgumentError.of([FieldViolation("target", f"expected host:port, as 127.0.0.1:50051, got {got}")])
