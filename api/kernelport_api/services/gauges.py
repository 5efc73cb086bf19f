"""Keeps the gauges true: what waits, how old it is, what is queued, who serves, which jobs there are."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys, tallies
from kernelport.broker.connections import outage
from kernelport.broker.queues import queue_keys
from kernelport.broker.scripts import lengths
from kernelport.jobs.census import Census
from kernelport.telemetry import metrics
from kernelport.telemetry.known import KnownGauge
from kernelport_api.queueing.dispatcher import Dispatcher
from kernelport_api.queueing.live_workers import WorkerView

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
# Jobs are counted by looking at each, which may be many: that takes no more than a hundredth of the time.
CENSUS_INTERVAL_S, CENSUS_PAUSES = 5.0, 100

_OWN = (metrics.WAITING, metrics.OLDEST_WAITING)
_IN_REDIS = (
    metrics.LIVE_WORKERS,
    metrics.QUEUE_DEPTH,
    metrics.KEPT_DEAD_LETTERS,
    metrics.REDELIVERIES,
    metrics.WORKER_DEATHS,
    metrics.JOBS,
    metrics.OLDEST_JOB,
)


async def keep_gauges(deployments: Collection[str], redis: Redis, workers: WorkerView, dispatcher: Dispatcher) -> None:
    """Sets the gauges until it is cancelled; then none is left at what it was."""
    names = frozenset(deployments)
    queue_of = {key: name for name in names for key in queue_keys(name)}
    letters_of = {keys.dead_letters(name): name for name in names}
    census_at = 0.0
    try:
        while True:
            now, pending = time.monotonic(), dispatcher.waiting()
            oldest = {name: now - min(each.submitted_at for each in requests) for name, requests in pending.items()}
            metrics.WAITING.show_by_name({name: len(requests) for name, requests in pending.items()}, names)
            metrics.OLDEST_WAITING.show_by_name(oldest, names)
            try:
                queued = await lengths(redis, "LLEN", list(queue_of))
                kept = await lengths(redis, "HLEN", list(letters_of))
                redeliveries = await tallies.read(redis, keys.REDELIVERIES)
                deaths = await tallies.read(redis, keys.WORKER_DEATHS)
                if now >= census_at:
                    began = time.monotonic()
                    _show_jobs(await Census.take(redis, names))
                    took_s = time.monotonic() - began
                    census_at = now + max(CENSUS_INTERVAL_S, CENSUS_PAUSES * took_s)
            except RedisError as error:
                outage.tell(error)
                _forget(_IN_REDIS)
                census_at = now
            else:
                depths: Counter[str] = Counter()
                for key, length in queued.items():
                    depths[queue_of[key]] += length
                metrics.LIVE_WORKERS.show_by_name(workers.counts(), names)
                metrics.QUEUE_DEPTH.show_by_name(depths, names)
                metrics.KEPT_DEAD_LETTERS.show_by_name({letters_of[key]: count for key, count in kept.items()}, names)
                metrics.REDELIVERIES.show_by_name(redeliveries, names)
                metrics.WORKER_DEATHS.show_by_name(deaths, names)
            await asyncio.sleep(INTERVAL_S)
    finally:
        _forget((*_OWN, *_IN_REDIS))


def _show_jobs(census: Census) -> None:
    metrics.JOBS.show(census.jobs)
    metrics.OLDEST_JOB.show(census.oldest_s)


def _forget(gauges: Collection[KnownGauge]) -> None:
    for gauge in gauges:
        gauge.forget()
