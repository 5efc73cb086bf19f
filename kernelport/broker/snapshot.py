"""A copy of a running Redis: all that it held at one moment.

It is what a replica of it would begin with, so that it can be had wherever Redis runs, and Redis makes it in a process
of its own, beside its work. Copying key after key instead would mix moments: an item both done and waiting.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from redis.exceptions import ConnectionError, RedisError, ResponseError

from kernelport.broker.connections import CONNECT_TIMEOUT_S, parameters

# While Redis writes the copy it says every second that it lives.
_SILENCE_S = 60.0
_LONGEST_LINE = 4096
_CHUNK_BYTES = 2**20


def write_snapshot(url: str, file: Path) -> int:
    """Writes what Redis holds into a new file in the format of its `dump.rdb`, every database of it.

    Returns:
        The bytes of the file.

    Raises:
        RedisError: Redis cannot be reached, or does not give a copy: some that are rented do not.
        OSError: the file cannot be written.
    """
    found = parameters(url)
    kind = found.pop("connection_class")
    connection = kind(**found, socket_connect_timeout=CONNECT_TIMEOUT_S, socket_timeout=_SILENCE_S, protocol=2)
    try:
        connection.connect()
        connection.send_command("SYNC")
        with connection._sock.makefile("rb") as source, open(file, "xb", opener=_open_private) as target:
            size = _announced(source)
            _copy(source, target, size)
            os.fsync(target.fileno())
    finally:
        connection.disconnect()
    return size


def _announced(source: IO[bytes]) -> int:
    """The size of the copy, once Redis says it."""
    line = b"\n"
    while line == b"\n":
        line = _read(source.readline, _LONGEST_LINE)
    text = line.decode(errors="replace").strip()
    if text.startswith("-"):
        raise ResponseError(text[1:])
    if not text.startswith("$") or not text[1:].isdecimal():
        raise RedisError(f"expected the size of a copy, got {text[:80]!r}")
    return int(text[1:])


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    left = size
    while left:
        chunk = _read(source.read, min(left, _CHUNK_BYTES))
        target.write(chunk)
        left -= len(chunk)


def _read(read: Callable[[int], bytes], size: int) -> bytes:
    try:
        found = read(size)
    except OSError as error:
        raise ConnectionError(f"Redis stopped giving its copy: {error}") from error
    if not found:
        raise ConnectionError("Redis stopped giving its copy: the connection was closed")
    return found


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
