"""Keeps the gauges true: what waits, how old it is, what is queued, who serves, what Redis holds."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport import keys, metrics
from kernelport.connections import outage
from kernelport.deployments import Deployment
from kernelport.queues import queue_keys
from kernelport_api.dispatch import Dispatcher
from kernelport_api.workers import WorkerView

log = logging.getLogger(__name__)

INTERVAL_S = 1.0


async def keep_gauges(
    deployments: Mapping[str, Deployment], redis: Redis, workers: WorkerView, dispatcher: Dispatcher
) -> None:
    """Sets the gauges for ever."""
    while True:
        for name in deployments:
            waiting = dispatcher.waiting(name)
            oldest = min((pending.submitted_at for pending in waiting), default=time.monotonic())
            metrics.WAITING.labels(name).set(len(waiting))
            metrics.OLDEST_WAITING.labels(name).set(time.monotonic() - oldest)
            metrics.LIVE_WORKERS.labels(name).set(len(workers.workers(name)))
        try:
            await _look_into_redis(deployments, redis)
        except RedisError as error:
            outage.tell(error)
        await asyncio.sleep(INTERVAL_S)


async def _look_into_redis(deployments: Iterable[str], redis: Redis) -> None:
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.info("memory")
        for name in deployments:
            pipeline.hlen(keys.dead_letters(name))
            for key in queue_keys(name):
                pipeline.llen(key)
        memory, *counts = await pipeline.execute()
    metrics.REDIS_MEMORY.set(memory["used_memory"])
    metrics.REDIS_MEMORY_LIMIT.set(memory["maxmemory"])
    of_each = iter(counts)
    for name in deployments:
        metrics.KEPT_DEAD_LETTERS.labels(name).set(next(of_each))
        metrics.QUEUE_DEPTH.labels(name).set(sum(next(of_each) for _ in queue_keys(name)))
