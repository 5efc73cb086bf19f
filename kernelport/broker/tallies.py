"""What is counted in Redis, by deployment: whoever sees it may die, and its metrics with it. Front doors show it."""

from collections.abc import Iterable
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from kernelport.broker import keys, stored


def count(redis: Redis, key: str, deployments: Iterable[str]) -> None:
    """Counts one more of each of these deployments."""
    with redis.pipeline(transaction=False) as pipeline:
        for name in deployments:
            pipeline.hincrby(key, name, 1)
        pipeline.expire(key, keys.TALLIES_TTL_S)
        pipeline.execute()


async def read(redis: AsyncRedis, key: str) -> dict[str, int]:
    """What has been counted so far, by deployment."""
    reply: Any = redis.hgetall(key)  # annotated as sync-or-async
    found: dict[bytes, bytes] = await reply
    counts: dict[str, int] = {}
    for name, value in found.items():
        try:
            counts[stored.name(name)] = stored.number(value, key)
        except stored.StoredError as error:
            stored.tell(error)
    return counts
