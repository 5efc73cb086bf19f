"""Finds workers that have died without a word, and ends their leases.

One that is killed is found by its connection, which its kernel has closed. One whose machine has vanished, or that
stands still, is found by its heartbeat, which is overdue.
"""

import math
import time

from redis import Redis

from kernelport.broker import keys, tallies
from kernelport.broker.leases import end_leases
from kernelport.broker.registry import BEATS_PER_TTL, closed, forget, read_workers
from kernelport.internal.v1.queue_pb2 import WorkerRecord
from kernelport.jobs.background import Background

INTERVAL_S, LOOKS_PER_TTL = 0.5, 4
# A live worker whose connection has been closed has another, and has told of it, after this many heartbeats.
BEATS_TO_RECONNECT = 1.5


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
        reconnect_s = BEATS_TO_RECONNECT * heartbeat_ttl_s / BEATS_PER_TTL
        self._looks_to_be_sure = 1 + math.ceil(reconnect_s / self.interval_s)
        # In how many looks, one after the other, a worker's connection was not there.
        self._missed: dict[tuple[str, int], int] = {}

    def _work(self) -> None:
        # Heartbeats are writes. A Redis that takes none has heard of nobody: then this raises.
        missed, self._missed = self._missed, {}
        self._redis.set(keys.PROBE, "", ex=keys.PROBE_TTL_S)
        records = read_workers(self._redis)
        now = time.monotonic()
        if now - self._looked_at > self._heartbeat_ttl_s / 2:
            # Redis may have been away, or refused, and has heard of nobody meanwhile.
            self._sure_at = now + self._heartbeat_ttl_s
            missed = {}
        self._looked_at = now
        killed = self._killed(records, missed)
        live = {record.worker.id for record in records} - killed
        is_sure = now >= self._sure_at
        if killed or is_sure:
            end_leases(self._redis, lambda worker: worker in killed or (is_sure and worker not in live))

    def _killed(self, records: list[WorkerRecord], missed: dict[tuple[str, int], int]) -> set[str]:
        """Those whose connections have not been there for long enough; they are taken out of the registry."""
        killed: set[str] = set()
        for record in closed(self._redis, records):
            known = (record.worker.id, record.redis_client)
            self._missed[known] = missed.get(known, 0) + 1
            if self._missed[known] >= self._looks_to_be_sure:
                killed.add(record.worker.id)
                names = [served.name for served in record.deployments]
                if forget(self._redis, record.worker.id, names):
                    tallies.count(self._redis, keys.WORKER_DEATHS, names)
        return killed
