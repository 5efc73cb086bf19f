"""The address of a front door, and a channel to it."""

import os
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import grpc

from kernelport.client.calling.messages import path as path_of
from kernelport.config.settings import PREFIX, is_loopback
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
_HOST_PORT = re.compile(r"(?P<host>\[[0-9a-fA-F:.%]+\]|[^\s:/@\[\]\ud800-\udfff]+):(?P<port>[0-9]{1,5})")
_MOST_PORTS = 65535
_VARIABLES = {"tls_ca": "TLS_CA", "tls_cert": "TLS_CLIENT_CERT", "tls_key": "TLS_CLIENT_KEY"}
TLS_SCHEME = "grpcs://"
CLOSED = "the client is closed: make another"


class NotCopied:
    """What has connections of this process: it cannot be pickled, or copied."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a client cannot be pickled or copied, as its connections belong to this process: "
            "pass its address, and make a client of it where it is needed"
        )


class Address:
    """Where a front door is, and how to get in: what shows who calls, and whether connections speak TLS, which they do
    where the target begins with `grpcs://`, or an authority is named.

    Args:
        target: host:port, or grpcs://host:port.
        tls_ca: the path of a PEM file with the authorities whose certificates are trusted. By default
            KERNELPORT_TLS_CA, or the public ones.
        tls_cert: that of this client's own certificate, where the front door asks for one. By default
            KERNELPORT_TLS_CLIENT_CERT.
        tls_key: that of its key; KERNELPORT_TLS_CLIENT_KEY.
        api_key: the key to show; by default KERNELPORT_API_KEY, or none.

    Raises:
        InvalidArgumentError: when `target` is no address, which gRPC would try for ever, or go to port 443; or one of a
            certificate and its key is missing.

    Attributes:
        target: as gRPC takes it.
        metadata: of every call.
    """

    def __init__(
        self,
        target: str,
        tls_ca: str | PathLike[str] = "",
        tls_cert: str | PathLike[str] = "",
        tls_key: str | PathLike[str] = "",
        api_key: str = "",
    ) -> None:
        self.target: str = _checked(target)
        self._has_tls = bool(tls_ca) or target.startswith(TLS_SCHEME)
        self._ca = _file("tls_ca", tls_ca)
        self._cert = _file("tls_cert", tls_cert)
        self._key = _file("tls_key", tls_key)
        key = api_key or _variable("API_KEY")
        if not (isinstance(key, str) and key.isascii() and key.isprintable() and " " not in key):
            raise _violation("api_key", "expected printable ASCII without spaces")
        self.metadata: tuple[tuple[str, str], ...] = (("authorization", f"Bearer {key}"),) if key else ()
        if bool(self._cert) != bool(self._key):
            missing = "tls_key" if self._cert else "tls_cert"
            raise _violation(missing, f"expected the path of a PEM file, beside {self._cert or self._key}")

    def open(self, kind: Any) -> Any:
        """A channel of `grpc` or of `grpc.aio`: messages of any size, and no proxy to what is on this machine.

        Raises:
            InvalidArgumentError: when a file of TLS cannot be read.
        """
        is_here = is_loopback(self.target.rpartition(":")[0])
        options = [*_OPTIONS, ("grpc.enable_http_proxy", 0 if is_here else 1)]
        if not self._has_tls:
            return kind.insecure_channel(self.target, options=options)
        credentials = grpc.ssl_channel_credentials(
            _read("tls_ca", self._ca), _read("tls_key", self._key), _read("tls_cert", self._cert)
        )
        return kind.secure_channel(self.target, credentials, options=options)


def _checked(target: str) -> str:
    if not isinstance(target, str):
        raise _not_a_target(repr(target))
    address = target.removeprefix(TLS_SCHEME)
    if address.startswith(_RESOLVED):
        return address
    found = _HOST_PORT.fullmatch(address.removeprefix("dns:///"))
    if found is None:
        raise _not_a_target(f'"{target}"{" with a scheme" if "://" in address else ""}')
    if not 0 < int(found["port"]) <= _MOST_PORTS:
        raise _not_a_target(f'"{target}"')
    return address


def _variable(name: str) -> str:
    return os.environ.get(PREFIX + name, "")


def _file(field: str, given: str | PathLike[str]) -> Path | None:
    """The path of a file of TLS; where none is given, that of its variable, if it has one."""
    found = given or _variable(_VARIABLES[field])
    return path_of(field, found) if found else None


def _read(field: str, path: Path | None) -> bytes | None:
    try:
        found = path.read_bytes() if path else None
    except OSError as error:
        raise _violation(field, f"cannot read {path}: {error.strerror}") from error
    if found is not None and b"-----BEGIN " not in found:
        raise _violation(field, f"expected PEM in {path}")
    return found


def _not_a_target(got: str) -> InvalidArgumentError:
    return _violation("target", f"expected host:port, as 127.0.0.1:50051, or grpcs://host:port, got {got}")


def _violation(field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError.of([FieldViolation(field, description)])
