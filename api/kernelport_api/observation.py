"""Keeps the gauges true: what waits, how old it is, what is queued, who serves."""

import asyncio
import logging
import time
from collections.abc import Mapping

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport import metrics
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
                metrics.QUEUE_DEPTH.labels(name).set(await _depth(redis, name))
            except RedisError as error:
                log.warning("cannot read the depth of %s: %s", name, error)
        await asyncio.sleep(INTERVAL_S)


async def _depth(redis: Redis, deployment: str) -> int:
    async with redis.pipeline(transaction=False) as pipeline:
        for key in queue_keys(deployment):
            pipeline.llen(key)
        return sum(await pipeline.execute())
