"""What jobs may still take of the memory of Redis, so that calls and heartbeats go on beside them."""

import asyncio
import time
from collections.abc import Collection

from redis.asyncio import Redis

from kernelport.broker import keys
from kernelport.broker.memory import BULK_SHARE, left
from kernelport.broker.scripts import lengths
from kernelport.errors import ResourceExhaustedError
from kernelport.jobs.backlog import Backlog
from kernelport_api.queueing.redis_errors import reached

# Redis is not asked more often than this; what is added meanwhile is counted here.
READ_INTERVAL_S = 0.25
# What Redis needs for a page, beside its bytes: as a share of them, and for each item (its id's digest and its states).
PAGE_SHARE, ITEM_BYTES = 1.1, 80
# What it will need for what comes of an item.
RESULT_BYTES = 100


class NoMemoryError(ResourceExhaustedError):
    """Redis has no room for what a job is to be given."""

    reason = "NO_MEMORY"


class JobMemory:
    """The memory that is left for jobs, where Redis has a limit. What active jobs will still write counts as taken.

    Args:
        deployments: whose jobs there are, as they are at the time.
    """

    def __init__(self, redis: Redis, deployments: Collection[str]) -> None:
        self._redis = redis
        self._deployments = deployments
        self._left = 0.0
        self._read_at = -READ_INTERVAL_S
        self._reading = asyncio.Lock()

    async def take(self, size: int, items: int = 0) -> None:
        """Counts in what is about to be added to a job.

        Args:
            size: bytes of a page, or of a spec.
            items: in the page.

        Raises:
            NoMemoryError: when it does not fit.
            UnavailableError: when Redis cannot be reached.
        """
        async with self._reading:
            if time.monotonic() - self._read_at >= READ_INTERVAL_S:
                self._left = await self._read()
                self._read_at = time.monotonic()
        needed = PAGE_SHARE * size + (ITEM_BYTES + RESULT_BYTES) * items
        if needed + size > self._left:  # Redis holds what it is sent beside what it makes of it
            there = max(0, round(self._left))
            raise NoMemoryError(f"the next {needed:,.0f} bytes of it do not fit: Redis has {there:,} left for jobs")
        self._left -= needed

    async def _read(self) -> float:
        there = left(await reached(self._redis.info("memory")), BULK_SHARE)
        if there <= 0 or there == float("inf"):
            return there
        names = {key(name): name for name in self._deployments for key in (keys.active_jobs, keys.job_tenants)}
        there_are = await reached(lengths(self._redis, "ZCARD", list(names)))
        for name in {names[key] for key in there_are}:
            backlog = await reached(Backlog.read_async(self._redis, name))
            there -= RESULT_BYTES * (backlog.items + backlog.running)
        return there
