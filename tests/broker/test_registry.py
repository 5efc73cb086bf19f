"""Who is in the registry."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from kernelport.broker import keys
from kernelport.broker.connections import connect_async
from kernelport.broker.registry import beat, live_workers
from kernelport.internal.v1.queue_pb2 import WorkerRecord
from kernelport.v1.deployment_pb2 import Worker
from tests.broker.servers import Server

WORKER, TTL_S = "late", 30.0
RECORD = WorkerRecord(worker=Worker(id=WORKER))


def run(server: Server, steps: Callable[[AsyncRedis], Awaitable[None]]) -> None:
    async def connected() -> None:
        async with connect_async(server.url, 3.0) as client:
            await steps(client)

    asyncio.run(connected())


def test_a_worker_that_comes_back_while_it_is_looked_for_stays_known(server: Server, redis: Redis) -> None:
    redis.sadd(keys.WORKERS, WORKER)

    async def steps(client: AsyncRedis) -> None:
        read: Any = client.mget

        async def read_too_early(names: list[str]) -> Any:
            values = await read(names)
            beat(redis, RECORD, TTL_S)
            return values

        client.mget = read_too_early  # type: ignore[method-assign]
        assert await live_workers(client) == []
        client.mget = read
        assert await live_workers(client) == [RECORD]

    run(server, steps)


def test_a_worker_whose_record_has_expired_is_dropped(server: Server, redis: Redis) -> None:
    beat(redis, RECORD, TTL_S)
    redis.delete(keys.worker(WORKER))

    async def steps(client: AsyncRedis) -> None:
        assert await live_workers(client) == []

    run(server, steps)
    assert redis.smembers(keys.WORKERS) == set()
