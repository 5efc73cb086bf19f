"""Reads what Redis holds. Others may write there, too: nothing is used before it is known to be of our making."""

import logging
from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from kernelport.broker import keys
from kernelport.counting import counted

log: logging.Logger = logging.getLogger(__name__)

# Of a message that may hold inputs or outputs; of one that only tells of something.
MAX_DATA_BYTES, MAX_RECORD_BYTES = keys.LARGEST_VALUE_BYTES, 4 * 2**20
# What a whole number of 64 bits has room for.
MAX_DIGITS = 18
# What has been told of, so that it is told once; more than these are told of again.
_MOST_TOLD = 1000
_told: set[str] = set()

Kind = TypeVar("Kind", bound=Message)


class StoredError(ValueError):
    """A value in Redis is not what it should be; the message, a line, says which, and what was expected."""

    def __init__(self, message: str) -> None:
        super().__init__("".join(each if each.isprintable() else ascii(each)[1:-1] for each in message[:1000]))


def message(kind: type[Kind], value: bytes | None, where: str, most_bytes: int = MAX_DATA_BYTES) -> Kind:
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
        found = counted(len(value), "byte")
    else:
        try:
            return kind.FromString(value)
        except DecodeError:
            found = "other bytes"
    raise StoredError(f"{where}: expected a {kind.DESCRIPTOR.name} of at most {most_bytes} bytes, got {found}")


def messages(
    kind: type[Kind], values: Iterable[bytes | None], where: str, most_bytes: int = MAX_DATA_BYTES
) -> list[Kind]:
    """Those of some values that are serialized messages; of others than None, which stands for nothing, it is told."""
    found: list[Kind] = []
    for value in values:
        if value is not None:
            try:
                found.append(message(kind, value, where, most_bytes))
            except StoredError as error:
                tell(error)
    return found


def readable(kind: type[Kind], value: bytes | None, where: str, most_bytes: int = MAX_DATA_BYTES) -> Kind | None:
    """A serialized message; None when there is none, or something else, of which it is told."""
    return next(iter(messages(kind, [value], where, most_bytes)), None)


def number(value: bytes | None, where: str) -> int:
    """A whole number; 0 when there is none.

    Raises:
        StoredError: it is something else, or of more than 18 digits.
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
        found = counted(len(value or b""), "byte")
    except UnicodeDecodeError:
        found = "other bytes"
    raise StoredError(f"{where}: expected a text of at most {most_bytes} bytes, got {found}")


def name(value: bytes) -> str:
    """A name as Redis gives it; one that is no UTF-8 becomes another, under which nothing is found."""
    return value.decode(errors="replace")


def tell(error: StoredError) -> None:
    """Logs that something was skipped, once however often it is come upon."""
    reason = str(error)
    if reason in _told:
        return
    if len(_told) >= _MOST_TOLD:
        _told.clear()
    _told.add(reason)
    log.error("skipped what cannot be read in Redis: %s", reason)
