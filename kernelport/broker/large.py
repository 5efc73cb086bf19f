"""Values of megabytes in Redis, written and read in pieces: Redis copies a whole one at once, and serves nobody else
meanwhile."""

import contextlib
import io
from collections.abc import Generator, Sequence
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

# Redis takes or gives so many bytes within a millisecond or two.
PIECE_BYTES = 2**20
_READ_AT_ONCE = 8
_ATTEMPTS = 3

# Commands to Redis that happen together, of which the first one's answer is told; at last what has come of them.
_Steps = Generator[Sequence[tuple[Any, ...]], Any, Any]


def write(redis: Redis, key: str, value: bytes, ttl_s: int) -> None:
    """Sets the value of a key that nobody else writes, for `ttl_s` seconds.

    Raises:
        RedisError: it is not written, and nothing is there.
    """
    try:
        _run(redis, _writing(key, value, ttl_s))
    except BaseException:
        with contextlib.suppress(RedisError):  # what is there expires
            redis.unlink(key)
        raise


def read(redis: Redis, key: str) -> bytes | None:
    """The value of a key that nobody writes any more; None when there is none."""
    return read_all(redis, [key])[0]


def read_all(redis: Redis, keys: Sequence[str]) -> list[bytes | None]:
    """The same of some keys: small values come together."""
    found: list[bytes | None] = []
    for start in range(0, len(keys), _READ_AT_ONCE):
        some = keys[start : start + _READ_AT_ONCE]
        with redis.pipeline(transaction=False) as pipeline:
            for key in some:
                pipeline.getrange(key, 0, PIECE_BYTES - 1)
            found += [_run(redis, _reading(key, piece)) for key, piece in zip(some, pipeline.execute(), strict=True)]
    return found


async def write_async(redis: AsyncRedis, key: str, value: bytes, ttl_s: int) -> None:
    """As `write`."""
    try:
        await _run_async(redis, _writing(key, value, ttl_s))
    except BaseException:
        with contextlib.suppress(RedisError):  # what is there expires
            await redis.unlink(key)
        raise


async def read_async(redis: AsyncRedis, key: str, tail: bytes = b"") -> bytes | None:
    """As `read`, with `tail` behind the value."""
    first: Any = await redis.getrange(key, 0, PIECE_BYTES - 1)
    found: bytes | None = await _run_async(redis, _reading(key, first, tail))
    return found


def _writing(key: str, value: bytes, ttl_s: int) -> _Steps:
    for _ in range(_ATTEMPTS):
        yield [("SET", key, value[:PIECE_BYTES], "EX", ttl_s)]
        for start in range(PIECE_BYTES, len(value), PIECE_BYTES):
            piece = value[start : start + PIECE_BYTES]
            # Where the key has expired, this makes a new one: it has to expire, too.
            size = yield [("APPEND", key, piece), ("EXPIRE", key, ttl_s)]
            if size != start + len(piece):  # so it was; or a connection broke, and this was sent twice
                break
        else:
            return
    raise RedisError(f"{key}: its {len(value):,} bytes could not be written, piece by piece")


def _reading(key: str, piece: bytes, tail: bytes = b"") -> _Steps:
    """Reads on behind the first piece."""
    if len(piece) < PIECE_BYTES:
        return piece + tail if piece else None
    value = io.BytesIO()
    while value.write(piece) == PIECE_BYTES:
        piece = yield [("GETRANGE", key, value.tell(), value.tell() + PIECE_BYTES - 1)]
    if (yield [("STRLEN", key)]) != value.tell():  # it has expired meanwhile
        return None
    value.write(tail)
    return value.getvalue()


def _run(redis: Redis, steps: _Steps) -> Any:
    answer = None
    while True:
        try:
            commands = steps.send(answer)
        except StopIteration as end:
            return end.value
        if len(commands) == 1:
            answer = redis.execute_command(*commands[0])  # type: ignore[no-untyped-call]
            continue
        with redis.pipeline(transaction=True) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            answer = pipeline.execute()[0]


async def _run_async(redis: AsyncRedis, steps: _Steps) -> Any:
    answer = None
    while True:
        try:
            commands = steps.send(answer)
        except StopIteration as end:
            return end.value
        if len(commands) == 1:
            answer = await redis.execute_command(*commands[0])  # type: ignore[no-untyped-call]
            continue
        async with redis.pipeline(transaction=True) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            answer = (await pipeline.execute())[0]
