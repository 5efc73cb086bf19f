"""What this front door sees of its deployments: now, and minute by minute of the last hour.

Its memory is bounded: an hour has 60 minutes, and only those of deployments in the file are kept.
"""

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys, stored
from kernelport.broker.clock import clock
from kernelport.broker.connections import outage
from kernelport.broker.queues import queue_keys
from kernelport.broker.scripts import lengths
from kernelport.broker.tenants import tenants_async
from kernelport.jobs.records import BRIEF, JobRecord
from kernelport_api.queueing.dispatcher import Dispatcher

MINUTES = 60
INTERVAL_S = 5.0
# Whoever asks gets figures that are no older.
_FRESH_S = 0.9
# Percentiles of now are those of so many minutes.
_RECENT_MINUTES = 5
# Times are counted in steps of a tenth, from a tenth of a millisecond on.
_LEAST_S, _STEP = 1e-4, math.log(1.1)
# Of each tenant's newest jobs, and of its active ones of each deployment, so many are looked at.
_MOST_JOBS = 100


@dataclass
class Minute:
    """One minute of a deployment.

    Attributes:
        unix_s: when it began.
        requests: answered in it, whatever came of them; `failed` those that were not answered well.
        items: of jobs that were done in it, `audio_s` and `backend_s` the seconds of audio and of compute of these.
        waiting, queued, oldest_s: the most requests without an answer here, batches in the queue, and seconds that the
            oldest had waited.
        times: how often a request took how long, in steps.
    """

    unix_s: int
    requests: int = 0
    failed: int = 0
    items: int = 0
    audio_s: float = 0.0
    backend_s: float = 0.0
    waiting: int = 0
    queued: int = 0
    oldest_s: float = 0.0
    times: Counter[int] = field(default_factory=Counter)

    def shown(self) -> dict[str, Any]:
        """For JSON; percentiles are None without requests."""
        return {
            "unix_s": self.unix_s,
            "requests": self.requests,
            "failed": self.failed,
            "items": self.items,
            "audio_s": self.audio_s,
            "backend_s": self.backend_s,
            "waiting": self.waiting,
            "queued": self.queued,
            "oldest_s": self.oldest_s,
            "p50_s": percentile(self.times, 0.5),
            "p95_s": percentile(self.times, 0.95),
        }


@dataclass
class _Now:
    waiting: int = 0
    oldest_s: float = 0.0
    queued: int = 0
    dead_letters: int = 0


@dataclass(frozen=True)
class _Done:
    """How far a job has come."""

    deployment: str
    items: int = 0
    audio_s: float = 0.0
    backend_s: float = 0.0


class Figures:
    """Counts and looks."""

    def __init__(self, deployments: Collection[str], redis: Redis, dispatcher: Dispatcher) -> None:
        self._deployments = deployments
        self._redis = redis
        self._dispatcher = dispatcher
        self._minutes: dict[str, deque[Minute]] = {}
        self._newest: dict[str, Minute] = {}
        self._now: dict[str, _Now] = {}
        self._jobs: dict[str, _Done] = {}
        self._began_us = clock.now() * 1e6
        self._looked_at = -math.inf
        self._lock = asyncio.Lock()

    def observe(self, deployment: str, seconds: float, failed: bool) -> None:
        """A request has been answered."""
        minute = self._minute(deployment)
        minute.requests += 1
        minute.failed += failed
        minute.times[int(math.log(seconds / _LEAST_S) / _STEP) if seconds > _LEAST_S else 0] += 1

    async def keep(self) -> None:
        """Looks for ever."""
        while True:
            try:
                await self.refresh()
            except RedisError as error:
                outage.tell(error)
            await asyncio.sleep(INTERVAL_S)

    async def refresh(self) -> None:
        """Looks at what waits, unless that was done just now.

        Raises:
            RedisError: when Redis cannot be asked.
        """
        async with self._lock:
            if time.monotonic() - self._looked_at < _FRESH_S:
                return
            self._now = await self._what_waits()
            for name, now in self._now.items():
                if now.waiting or now.queued or name in self._minutes:
                    minute = self._minute(name)
                    minute.waiting, minute.queued = max(minute.waiting, now.waiting), max(minute.queued, now.queued)
                    minute.oldest_s = max(minute.oldest_s, now.oldest_s)
            await self._look_at_jobs()
            for name in self._minutes.keys() - set(self._deployments):
                del self._minutes[name], self._newest[name]
            self._looked_at = time.monotonic()

    def shown(self, deployment: str) -> dict[str, Any]:
        """A deployment now, for JSON: what waits here and in the queue, percentiles of the last minutes, the seconds of
        compute that a second of audio took in the last hour, and in `minute` what is known of the current one."""
        now, minutes = self._now.get(deployment, _Now()), self._last_hour(deployment)
        recent: Counter[int] = Counter()
        for minute in minutes:
            if minute.unix_s > time.time() - 60 * _RECENT_MINUTES:
                recent.update(minute.times)
        audio_s = sum(minute.audio_s for minute in minutes)
        return {
            "name": deployment,
            "waiting": now.waiting,
            "oldest_s": now.oldest_s,
            "queued": now.queued,
            "dead_letters": now.dead_letters,
            "p50_s": percentile(recent, 0.5),
            "p95_s": percentile(recent, 0.95),
            "real_time_factor": sum(minute.backend_s for minute in minutes) / audio_s if audio_s else None,
            "minute": minutes[-1].shown() if minutes else None,
        }

    def minutes(self, deployment: str) -> list[dict[str, Any]]:
        """The minutes of the last hour in which there was anything, for JSON, oldest first."""
        return [minute.shown() for minute in self._last_hour(deployment)]

    def _last_hour(self, deployment: str) -> list[Minute]:
        begin = time.time() - 60 * MINUTES
        return [minute for minute in self._minutes.get(deployment, ()) if minute.unix_s > begin]

    def _minute(self, deployment: str) -> Minute:
        newest, now = self._newest.get(deployment), time.time()
        if newest is None or not newest.unix_s <= now < newest.unix_s + 60:
            newest = self._newest[deployment] = Minute(int(now) // 60 * 60)
            self._minutes.setdefault(deployment, deque(maxlen=MINUTES)).append(newest)
        return newest

    async def _what_waits(self) -> dict[str, _Now]:
        names = list(self._deployments)
        found = {name: _Now() for name in names}
        queue_of = {key: name for name in names for key in queue_keys(name)}
        letters_of = {keys.dead_letters(name): name for name in names}
        for key, length in (await lengths(self._redis, "LLEN", list(queue_of))).items():
            found[queue_of[key]].queued += length
        for key, length in (await lengths(self._redis, "HLEN", list(letters_of))).items():
            found[letters_of[key]].dead_letters = length
        now = time.monotonic()
        for name, pending in self._dispatcher.waiting().items():
            if name in found:
                found[name].waiting = len(pending)
                found[name].oldest_s = now - min(each.submitted_at for each in pending)
        return found

    async def _look_at_jobs(self) -> None:
        """Counts what jobs have done since the last look."""
        tenants = await tenants_async(self._redis)
        async with self._redis.pipeline(transaction=False) as pipeline:
            for tenant in tenants:
                pipeline.zrevrange(keys.owned(keys.JOBS, tenant), 0, _MOST_JOBS - 1)
                for name in list(self._deployments):
                    pipeline.zrange(keys.owned(keys.active_jobs(name), tenant), 0, _MOST_JOBS - 1)
            there = [stored.name(job) for jobs in await pipeline.execute() for job in jobs]
        jobs = list(dict.fromkeys([*there, *self._jobs]))  # one that has ended since may have done something, too
        async with self._redis.pipeline(transaction=False) as pipeline:
            for job in jobs:
                pipeline.hmget(keys.job(job), BRIEF)
            found = await pipeline.execute() if jobs else []
        known, self._jobs = self._jobs, {}
        for job, values in zip(jobs, found, strict=True):
            if values[0] is None:
                continue
            record = JobRecord.brief(job, values)
            try:
                done = _Done(record.deployment, record.succeeded + record.failed, record.audio_s, record.backend_s)
                before = known.get(job, _Done(done.deployment) if record.created_unix_us >= self._began_us else done)
            except stored.StoredError as error:
                stored.tell(error)
                continue
            self._count(before, done)
            if job in there:
                self._jobs[job] = done

    def _count(self, before: _Done, done: _Done) -> None:
        if done != before and done.deployment in self._deployments:
            minute = self._minute(done.deployment)
            minute.items += max(0, done.items - before.items)
            minute.audio_s += max(0.0, done.audio_s - before.audio_s)
            minute.backend_s += max(0.0, done.backend_s - before.backend_s)


def percentile(times: Counter[int], share: float) -> float | None:
    """The time in seconds that a share of all took at most, to a twentieth; None of nothing.

    Args:
        times: how often something took how long, in steps.
        share: from 0 to 1.
    """
    left = share * times.total()
    for step in sorted(times):
        left -= times[step]
        if left <= 0:
            return float(_LEAST_S * math.exp((step + 0.5) * _STEP))
    return None
