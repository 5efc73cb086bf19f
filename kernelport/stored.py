"""Records that come out of Redis. Others can write there, too: what cannot be read is skipped, and told."""

import logging
from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

log = logging.getLogger(__name__)

# So many keys are named in the log, once each.
_MOST_TOLD = 1000
_told: set[str] = set()

M = TypeVar("M", bound=Message)


def read(kind: type[M], value: bytes | None, key: str) -> M | None:
    """A serialized record; None when there is none, or it cannot be read.

    Args:
        key: where it was found, for the log.
    """
    if value is None:
        return None
    try:
        return kind.FromString(value)
    except DecodeError as error:
        tell(key, f"expected a {kind.DESCRIPTOR.name}: {error}")
        return None


def read_all(kind: type[M], values: Iterable[bytes | None], key: str) -> list[M]:
    """Those of some records that are there and can be read."""
    found = (read(kind, value, key) for value in values)
    return [record for record in found if record is not None]


def tell(key: str, what: str) -> None:
    """Says once in the log that what is kept under a key is skipped."""
    if key not in _told and len(_told) < _MOST_TOLD:
        _told.add(key)
        log.error("skipped what cannot be read under the Redis key %r: %s", key[:200], what)


def name(value: bytes) -> str:
    """A name as Redis gives it; one that is no UTF-8 becomes another, under which nothing is found."""
    return value.decode(errors="replace")
