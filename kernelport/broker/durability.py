"""Whether what Redis has taken is on its disk: `WAITAOF`, of Redis 7.2 and later with an append-only file.

Redis answers a write before the write is on the disk, and while a sync is under way it keeps what follows in its own
memory: on a slow disk, a Redis that is killed can lose seconds of what it has answered.
"""

from redis import Redis
from redis.exceptions import ResponseError, TimeoutError

WAIT_S = 10.0
# The writes of its own connection, on the disk of this Redis and of no replica.
WAIT = ("WAITAOF", 1, 0, round(WAIT_S * 1000))


def why_not(redis: Redis) -> str | None:
    """Why Redis cannot tell when a write is on its disk; None when it can.

    Raises:
        RedisError: when Redis cannot be asked.
    """
    try:
        redis.execute_command("WAITAOF", 1, 0, 1)  # type: ignore[no-untyped-call]
    except ResponseError as error:
        return f"Redis refuses WAITAOF ({error}); it takes Redis 7.2 or later with `appendonly yes`"
    try:
        is_synced = redis.config_get("appendfsync").get("appendfsync") != "no"
    except ResponseError:
        return None  # a Redis that is not ours to configure
    return None if is_synced else "Redis leaves it to the system when to write to the disk (`appendfsync no`)"


def write(redis: Redis, *command: str | bytes) -> None:
    """Runs a write; returns once it is on the disk of Redis, or Redis cannot tell.

    Raises:
        RedisError: when Redis cannot be reached, refuses, or has not written to its disk for `WAIT_S` seconds. It may
            have the write all the same.
    """
    with redis.pipeline(transaction=False) as pipeline:
        pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
        pipeline.execute_command(*WAIT)  # type: ignore[no-untyped-call]
        written, waited = pipeline.execute(raise_on_error=False)
    if isinstance(written, Exception):
        raise written
    if isinstance(waited, ResponseError):
        return  # front doors say at their start that it cannot be had
    if not waited[0] and why_not(redis) is None:
        raise TimeoutError(f"Redis has not written to its disk for {WAIT_S:g} s")
