"""Which URLs events may go to, and how they are shown to people.

What a URL names is somebody else's choice, and front doors and workers stand in the operator's network: only public
addresses are reached, and those that the operator allows.
"""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_REFUSAL = "{} is no public address; KERNELPORT_WEBHOOK_NETWORKS allows others"
_MASK = "***"
# An IPv4 address stands in the last 32 bits.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# All that is routed between networks; everything else is local, reserved, or a translator's own.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
# Special purposes, Teredo, 6to4 and documentation, whatever addresses they hold.
_SPECIAL = tuple(map(ipaddress.ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
# The middle of an ISATAP address, one bit aside; its IPv4 address stands behind it.
_ISATAP, _ISATAP_BITS = 0x5EFE, 0xFDFFFFFF


class Resolved(NamedTuple):
    """One address of a host: what a socket is made with, and what it connects to."""

    address: Address
    family: socket.AddressFamily
    where: Any


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks such as `10.0.0.0/8,fd00::/8`.

    Raises:
        ValueError: when one is none.
    """
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def is_allowed(address: Address, networks: Sequence[Network]) -> bool:
    """Whether events may go to an address: it is public, or in one of the networks."""
    if isinstance(address, ipaddress.IPv6Address):
        translated = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address.ipv4_mapped
        if translated is not None:
            return is_allowed(translated, networks)
    if any(address in network for network in networks):
        return True
    return address.is_global and not address.is_multicast and not _is_special(address)


def _is_special(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return False
    is_isatap = int(address) >> 32 & _ISATAP_BITS == _ISATAP
    return address not in _GLOBAL_UNICAST or is_isatap or any(address in network for network in _SPECIAL)


def refusal(url: str, networks: Sequence[Network]) -> str | None:
    """Why events cannot go to a URL, as far as it shows without asking for the address of its name; None when nothing
    is against it."""
    try:
        host = split(url).hostname or ""
    except ValueError as error:
        return str(error)
    is_local = f".{host.rstrip('.')}".endswith(".localhost")
    try:
        # As the resolver reads numbers when an event is sent: decimal, octal and hexadecimal, one to four of them.
        addresses = resolved("127.0.0.1" if is_local else host, 0, socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return None
    return next((refused for found in addresses if (refused := address_refusal(found.address, networks))), None)


def address_refusal(address: Address, networks: Sequence[Network]) -> str | None:
    """Why events cannot go to an address; None when they can."""
    return None if is_allowed(address, networks) else _REFUSAL.format(address)


def resolved(host: str, port: int, flags: int = 0) -> list[Resolved]:
    """The addresses of a host.

    Raises:
        OSError: it has none.
        ValueError: it is no name.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [
        Resolved(ipaddress.ip_address(str(where[0]).partition("%")[0]), family, where)
        for family, _, _, _, where in found
    ]


def split(url: str) -> SplitResult:
    """The parts of an http or https URL that names a host.

    Raises:
        ValueError: when it is none; the message shows none of its secrets.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:  # may quote the URL
        pass
    raise ValueError(f"expected an http or https URL with a host, got {masked(url) if url else 'none'}")


def masked(url: str) -> str:
    """A URL as it may be shown: scheme, host and port; user, path and query, which may hold secrets, as `***`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return _MASK
    user, _, host = parts.netloc.rpartition("@")
    if not host:
        return _MASK
    rest = f"/{_MASK}" if parts.path.strip("/") or parts.query or parts.fragment else parts.path
    return f"{parts.scheme}://{f'{_MASK}@' if user else ''}{host}{rest}"
