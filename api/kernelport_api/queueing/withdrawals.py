"""Requests that nobody waits for any more: workers are told, and drop them."""

import asyncio
from collections.abc import Iterable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys
from kernelport.broker.clock import clock
from kernelport.broker.connections import outage
from kernelport.internal.v1.queue_pb2 import BatchItem

# While Redis is away, it is tried this often to tell of them.
TELL_AGAIN_S = 0.1
MICROSECONDS = 1_000_000


class Withdrawals:
    """Tells workers of them, as soon as Redis can be reached; of those whose deadlines pass before, nobody needs to."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # Whom workers are still to be told of, and their deadlines in microseconds of Unix time.
        self._untold: dict[bytes, int] = {}
        self._telling: asyncio.Task[None] | None = None

    def add(self, items: Iterable[BatchItem]) -> None:
        """Nobody waits for these any more."""
        self._untold.update((item.id, item.deadline_unix_us) for item in items)
        if self._untold and self._telling is None:
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while self._untold:
            now = clock.now()
            told = dict.fromkeys(self._untold, now)
            try:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    pipeline.zadd(keys.CANCELLED, told)
                    pipeline.zremrangebyscore(keys.CANCELLED, 0, now - keys.CANCELLED_TTL_S)
                    pipeline.expire(keys.CANCELLED, keys.CANCELLED_TTL_S)
                    await pipeline.execute()
            except RedisError as error:
                outage.tell(error)
                await asyncio.sleep(TELL_AGAIN_S)
                told = {each: now for each, ends_at_us in self._untold.items() if ends_at_us < now * MICROSECONDS}
            for each in told:
                self._untold.pop(each, None)
        self._telling = None
