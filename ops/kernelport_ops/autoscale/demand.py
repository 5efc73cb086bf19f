"""Reads from Redis what is asked of a deployment, and measures how fast it comes and goes."""

import logging
from dataclasses import dataclass, field
from typing import Any

from redis import Redis

from kernelport.broker import keys, stored
from kernelport.internal.v1.queue_pb2 import FrontDoorRecord
from kernelport.jobs.backlog import Backlog
from kernelport_ops.autoscale.policy import Demand
from kernelport_ops.autoscale.rates import Rate

log = logging.getLogger(__name__)

# Before anything was measured, a worker is taken to come up in this time, in seconds.
FIRST_BOOT_S = 180.0
# A new measurement counts for this much beside what was known.
_NEW_SHARE = 0.2


@dataclass
class _Counters:
    """What the front doors have counted, those that are gone included."""

    accepted: dict[str, int] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)


class DemandReader:
    """The demand for deployments, as of the last `read`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._counters: dict[str, _Counters] = {}
        self._arrivals: dict[str, Rate] = {}
        self._last: dict[str, tuple[float, int, int]] = {}

    def read(self, deployment: str, workers: int, capacity: int, now: float) -> Demand:
        """What is asked of a deployment whose `workers` are ready, and can have `capacity` requests in hand together:
        one each, or as many as they answer in turn."""
        outstanding, accepted, answered = self._front_doors(deployment)
        backlog = Backlog.read(self._redis, deployment)
        arrivals = self._arrivals.setdefault(deployment, Rate())
        arrivals.note(now, accepted)
        self._measure(deployment, workers, capacity, outstanding, backlog.items + backlog.running, answered, now)
        stored: Any = self._redis.hget(keys.autoscale_rates(deployment), "service_rate")
        in_hand = min(outstanding, capacity)  # the rest of a batch counts as waiting
        return Demand(
            waiting=outstanding - in_hand,
            in_flight=in_hand + backlog.running,
            job_items=backlog.items,
            arrival_rate=arrivals.per_second(),
            service_rate=float(stored) if stored else None,
        )

    def boot_s(self, deployment: str) -> float:
        """How long a worker usually takes from launch to its first work, in seconds."""
        known: Any = self._redis.hget(keys.autoscale_rates(deployment), "boot_s")
        return float(known) if known else FIRST_BOOT_S

    def note_boot(self, deployment: str, seconds: float) -> None:
        """A worker has come up."""
        self._note(deployment, "boot_s", seconds)

    def _front_doors(self, deployment: str) -> tuple[int, int, int]:
        """Requests without an answer, and all that were ever taken in and answered."""
        names: Any = self._redis.smembers(keys.FRONT_DOORS)
        values: Any = self._redis.mget([keys.front_door(stored.name(name)) for name in names]) if names else []
        counters = self._counters.setdefault(deployment, _Counters())
        outstanding = 0
        for record in stored.messages(FrontDoorRecord, values, keys.front_door("*"), stored.MAX_RECORD_BYTES):
            for load in record.loads:
                if load.deployment == deployment:
                    outstanding += load.requests
                    counters.accepted[record.name] = load.accepted
                    counters.answered[record.name] = load.answered
        return outstanding, sum(counters.accepted.values()), sum(counters.answered.values())

    def _measure(
        self, deployment: str, workers: int, capacity: int, outstanding: int, items: int, answered: int, now: float
    ) -> None:
        """Learns what a worker answers, from the times in which all had as much in hand as they take."""
        last = self._last.get(deployment)
        self._last[deployment] = (now, answered - items, outstanding + items)
        if last is None or not workers:
            return
        then, done, left = last
        busy = min(left, outstanding + items) > capacity
        served = answered - items - done
        if busy and served > 0 and now > then:
            self._note(deployment, "service_rate", served / (now - then) / workers)

    def _note(self, deployment: str, name: str, value: float) -> None:
        key = keys.autoscale_rates(deployment)
        stored: Any = self._redis.hget(key, name)
        known = float(stored) if stored else value
        with self._redis.pipeline() as pipeline:
            pipeline.hset(key, name, str(known + _NEW_SHARE * (value - known)))
            pipeline.expire(key, keys.RATES_TTL_S)
            pipeline.execute()
