"""Reads what Redis holds. Others may write there, too: nothing is used before it is known to be of our making."""

import logging
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

log = logging.getLogger(__name__)

MAX_DIGITS = 20
# What has been told of, so that it is told once; more than these are told of again.
_MOST_TOLD = 1000
_told: set[str] = set()

Kind = TypeVar("Kind", bound=Message)


class StoredError(ValueError):
    """A value in Redis is not what it should be; the message says which, and what was expected."""


def message(kind: type[Kind], value: bytes | None, where: str, most_bytes: int) -> Kind:
    """A serialized message.

    Args:
        where: what is read, for people, such as a key.
        most_bytes: that such a message has.

    Raises:
        StoredError: there is none, or it is something else.
    """
    if value is None:
        raise StoredError(f"{where}: expected a {kind.DESCRIPTOR.name}, got nothing")
    if len(value) > most_bytes:
        found = f"{len(value)} bytes"
    else:
        try:
            return kind.FromString(value)
        except DecodeError:
            found = "other bytes"
    raise StoredError(f"{where}: expected a {kind.DESCRIPTOR.name} of at most {most_bytes} bytes, got {found}")


def number(value: bytes | None, where: str) -> int:
    """A whole number; 0 when there is none.

    Raises:
        StoredError: it is something else, or of more than 20 digits.
    """
    if not value:
        return 0
    digits = value.removeprefix(b"-")
    if len(digits) > MAX_DIGITS or not digits.isdigit():
        raise StoredError(f"{where}: expected a whole number, got {value[:MAX_DIGITS]!r}")
    return int(value)


def text(value: bytes | None, where: str, most_bytes: int) -> str:
    """A text in UTF-8; empty when there is none.

    Raises:
        StoredError: it is none, or longer.
    """
    try:
        if len(value or b"") <= most_bytes:
            return (value or b"").decode()
        found = f"{len(value or b'')} bytes"
    except UnicodeDecodeError:
        found = "other bytes"
    raise StoredError(f"{where}: expected a text of at most {most_bytes} bytes, got {found}")


def tell(error: StoredError) -> None:
    """Logs that something was skipped, once however often it is come upon."""
    reason = str(error)
    if reason in _told:
        return
    if len(_told) >= _MOST_TOLD:
        _told.clear()
    _told.add(reason)
    log.error("skipped what cannot be read in Redis: %s", reason)
