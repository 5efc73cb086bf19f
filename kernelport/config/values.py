"""What the text of a setting stands for.

Each function raises ValueError, which says what was expected, when the text is none of that kind.
"""

import ipaddress
import math
import re
from collections.abc import Callable

from kernelport.tensors import MAX_MESSAGE_BYTES

MAX_PORT = 65535
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB)?", re.IGNORECASE)
_ADDRESS = re.compile(r"(\[[^\s\[\]]*\]|[^\s\[\]]*):(?P<port>[0-9]{1,5})")
_ORIGIN = re.compile(r"https?://[^/\s,]+")
_PAGE_URL = re.compile(r"https?://[^\s]+")
_LOG_FORMATS = ("text", "json")
_LEAST_LOG_BYTES = 64 * 2**10
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_UNITS = {"b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS_OF = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# What counts as for ever: longer times overflow somewhere on their way.
_MOST_DOLLARS = 1_000_000
_MOST_S = 10 * 365 * 24 * 3600


def parse_size(text: str) -> int:
    """Bytes of a size such as `512`, `64MiB`, `1 GiB`."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected a size such as 1048576 or 64MiB, got {text!r}")
    return int(match[1]) * _UNITS[(match[2] or "B").lower()]


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `90s`, `30m`, `12h` or `7d`, up to ten years."""
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _SECONDS_OF[match[2]] if match else math.inf
    if seconds > _MOST_S:
        raise ValueError(f"expected a duration such as 90s, 30m, 12h or 7d, up to ten years, got {text!r}")
    return seconds


def parse_address(text: str) -> str:
    """A `host:port` to listen on, as it is; the port 0 stands for a free one."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > MAX_PORT:
        raise ValueError(f"expected host:port with a port of at most {MAX_PORT}, got {text!r}")
    return text


def parse_origins(text: str) -> str:
    """Comma-separated origins, as they are."""
    for origin in parts_of(text):
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"expected origins such as https://app.example.com, comma-separated; got {origin!r}")
    return text


def parse_page_url(text: str) -> str:
    """The URL of a page, as it is."""
    if not _PAGE_URL.fullmatch(text):
        raise ValueError(f"expected a URL such as http://127.0.0.1:3000, got {text!r}")
    return text


def parts_of(text: str) -> list[str]:
    """The parts of a comma-separated text that are not empty."""
    return [part.strip() for part in text.split(",") if part.strip()]


def parse_redis_url(text: str) -> str:
    """A Redis URL, as it is."""
    from kernelport.broker import connections

    try:
        connections.parameters(text)
    except ValueError:  # neither the URL nor what is said of it is told: they may hold a password
        expected = "expected a URL such as redis://127.0.0.1:6379/0, rediss://... or unix:///path"
        raise ValueError(f"{expected}, user and password percent-encoded, and no options but db and ssl_*") from None
    return text


def parse_networks(text: str) -> str:
    """Comma-separated networks, as they are."""
    for part in text.split(","):
        ipaddress.ip_network(part.strip())
    return text


def parse_log_format(text: str) -> str:
    """One of the formats of logs."""
    if text not in _LOG_FORMATS:
        raise ValueError(f"expected one of {', '.join(_LOG_FORMATS)}, got {text!r}")
    return text


def parse_log_level(text: str) -> str:
    """A level, in capitals."""
    if text.upper() not in _LOG_LEVELS:
        raise ValueError(f"expected one of {', '.join(_LOG_LEVELS)}, got {text!r}")
    return text.upper()


def parse_message_size(text: str) -> int:
    """Bytes of a message that gRPC can carry."""
    size = parse_size(text)
    if size > MAX_MESSAGE_BYTES:
        raise ValueError(f"expected at most {MAX_MESSAGE_BYTES} bytes, which is all that gRPC carries, got {text!r}")
    if size == 0:
        raise ValueError(f"expected at least 1 byte, got {text!r}")
    return size


def parse_dollars(text: str) -> float:
    """Dollars, at least 0."""
    try:
        dollars = float(text)
    except ValueError:
        dollars = math.nan
    if not 0 <= dollars <= _MOST_DOLLARS:
        raise ValueError(f"expected dollars from 0 to {_MOST_DOLLARS:,}, got {text!r}")
    return dollars


def seconds_from(least: float) -> Callable[[str], float]:
    """Makes a function of what seconds a text stands for: so many at least."""

    def parse(text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not least <= seconds <= _MOST_S:
            raise ValueError(f"expected seconds from {least:g} to {_MOST_S:,}, got {text!r}")
        return seconds

    return parse


def parse_share(text: str) -> float:
    """A share from 0 to 1."""
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise ValueError(f"expected a share from 0 to 1, got {text!r}")
    return share


def parse_log_size(text: str) -> int:
    """Bytes of a log file."""
    size = parse_size(text)
    if size < _LEAST_LOG_BYTES:
        raise ValueError(f"expected at least {_LEAST_LOG_BYTES} bytes, got {text!r}")
    return size


def parse_time_kept(text: str) -> float:
    """A duration, or seconds; `inf` for ever."""
    if text == str(math.inf):
        return math.inf
    seconds = parse_duration(f"{text}s" if text.replace(".", "", 1).isdecimal() else text)
    if seconds < 1:
        raise ValueError(f"expected at least 1s, got {text!r}")
    return seconds


def parse_switch(text: str) -> bool:
    """Whether something is on: 1 or 0, true or false, on or off."""
    known = {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}
    if text.lower() not in known:
        raise ValueError(f"expected 1 or 0, got {text!r}")
    return known[text.lower()]
