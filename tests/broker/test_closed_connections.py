"""A Redis that accepts a connection and closes it at once, as in protected mode, or while it goes down."""

import asyncio
import itertools

import pytest
import uvloop
from redis.exceptions import RedisError

from kernelport.broker.connections import connect_async

MOST_STEPS, TRIES = 20, 100


async def _turned_away() -> None:
    steps = itertools.cycle(range(MOST_STEPS))

    async def turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(next(steps)):  # the client's first steps are at any point
            await asyncio.sleep(0)
        writer.transport.abort()

    async with await asyncio.start_server(turn_away, "127.0.0.1", 0) as server:
        redis = connect_async(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", 1)
        for _ in range(TRIES):
            with pytest.raises(RedisError):
                await redis.ping()
        await redis.aclose()


def test_whoever_is_turned_away_is_told_by_an_error_of_redis() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_turned_away())
