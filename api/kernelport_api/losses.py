"""Finds workers that have died without a word, and ends their leases."""

import math
import time

from redis import Redis

from kernelport import keys
from kernelport.jobs.background import Background
from kernelport.leases import end_leases
from kernelport.registry import workers_now

INTERVAL_S, LOOKS_PER_TTL = 0.5, 4


class Losses(Background):
    """Looks from `start` until `stop`.

    Args:
        heartbeat_ttl_s: seconds after its last heartbeat at which a worker counts as dead.
    """

    def __init__(self, redis: Redis, heartbeat_ttl_s: float) -> None:
        super().__init__("losses")
        self.interval_s = min(INTERVAL_S, heartbeat_ttl_s / LOOKS_PER_TTL)
        self._redis = redis
        self._heartbeat_ttl_s = heartbeat_ttl_s
        self._looked_at = -math.inf
        self._sure_at = math.inf

    def _work(self) -> None:
        # Heartbeats are writes. A Redis that takes none has heard of nobody: then this raises.
        self._redis.set(keys.PROBE, "", ex=keys.PROBE_TTL_S)
        live = {record.worker.id for record in workers_now(self._redis)}
        now = time.monotonic()
        if now - self._looked_at > self._heartbeat_ttl_s / 2:
            # Redis may have been away, or refused, and has heard of nobody meanwhile.
            self._sure_at = now + self._heartbeat_ttl_s
        self._looked_at = now
        if now >= self._sure_at:
            end_leases(self._redis, lambda worker: worker not in live)
