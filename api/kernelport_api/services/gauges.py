"""Keeps the gauges true: what waits, how old it is, what is queued, who serves, what Redis holds."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys
from kernelport.broker.connections import outage
from kernelport.broker.queues import queue_keys
from kernelport.broker.scripts import lengths
from kernelport.telemetry import metrics
from kernelport.telemetry.metrics import SparseGauge
from kernelport_api.queueing.dispatcher import Dispatcher
from kernelport_api.queueing.live_workers import WorkerView

log = logging.getLogger(__name__)

INTERVAL_S = 1.0


async def keep_gauges(deployments: Collection[str], redis: Redis, workers: WorkerView, dispatcher: Dispatcher) -> None:
    """Sets the gauges until it is cancelled; then none is left at what it was."""
    waiting, oldest = (SparseGauge(gauge, deployments) for gauge in (metrics.WAITING, metrics.OLDEST_WAITING))
    live_workers = SparseGauge(metrics.LIVE_WORKERS, deployments)
    queue_depth, dead_letters = (
        SparseGauge(gauge, deployments) for gauge in (metrics.QUEUE_DEPTH, metrics.KEPT_DEAD_LETTERS)
    )
    queue_of = {key: name for name in deployments for key in queue_keys(name)}
    letters_of = {keys.dead_letters(name): name for name in deployments}
    try:
        while True:
            now, pending = time.monotonic(), dispatcher.waiting()
            waiting.show({name: len(requests) for name, requests in pending.items()})
            oldest.show({name: now - min(each.submitted_at for each in requests) for name, requests in pending.items()})
            live_workers.show(workers.counts())
            try:
                memory = await redis.info("memory")
                queued = await lengths(redis, "LLEN", list(queue_of))
                kept = await lengths(redis, "HLEN", list(letters_of))
            except RedisError as error:
                outage.tell(error)
            else:
                metrics.REDIS_MEMORY.set(memory["used_memory"])
                metrics.REDIS_MEMORY_LIMIT.set(memory["maxmemory"])
                depths: Counter[str] = Counter()
                for key, length in queued.items():
                    depths[queue_of[key]] += length
                queue_depth.show(depths)
                dead_letters.show({letters_of[key]: length for key, length in kept.items()})
            await asyncio.sleep(INTERVAL_S)
    finally:
        for gauge in (waiting, oldest, live_workers, queue_depth, dead_letters):
            gauge.show({})
