"""Keeps the deployment's queue supplied with tickets, from a thread of its own in every worker.

Any worker alone suffices, and so does a front door: what they do is decided by a script in Redis.
"""

import time
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from redis import Redis

from kernelport.broker import keys
from kernelport.broker.dedicated import DedicatedClient
from kernelport.broker.queues import job_queue_key
from kernelport.broker.registry import count_live
from kernelport.jobs import scripts
from kernelport.jobs.background import Background

# How many workers live is counted so often.
LIVE_INTERVAL_S = 1.0
# A ticket on its way from the queue to a worker is nowhere for a moment: only one that is so twice is lost.
LOST_INTERVAL_S = 3.0


class Feeder(Background):
    """Feeds from `start` until `stop`; a kick says that a ticket has been used."""

    def __init__(self, redis: Redis, deployments: Sequence[str]) -> None:
        super().__init__("job-feeder")
        self._redis = redis
        self._deployments = deployments
        self._live: Counter[str] = Counter()
        self._looked_at = 0.0
        self._searched_at = 0.0
        self._suspects: dict[str, list[bytes]] = {}

    @cached_property
    def _connection(self) -> DedicatedClient:
        """One connection for its thread."""
        return DedicatedClient.of(self._redis)

    def _work(self) -> None:
        now = time.monotonic()
        if now - self._looked_at >= LIVE_INTERVAL_S:
            self._live, self._looked_at = count_live(self._connection), now
            for deployment in self._deployments:
                self._expire(deployment)
        for deployment in self._deployments:
            scripts.run(self._connection, "tick", *scripts.tick_arguments(deployment, max(1, self._live[deployment])))
        if now - self._searched_at >= LOST_INTERVAL_S:
            self._searched_at = now
            for deployment in self._deployments:
                self._search(deployment)

    def _expire(self, deployment: str) -> None:
        looked_at = 0
        while looked_at := scripts.run(self._connection, "expire", deployment, looked_at):
            pass

    def _search(self, deployment: str) -> None:
        queue, suspects = job_queue_key(deployment), self._suspects.get(deployment, [])
        self._suspects[deployment] = scripts.run(self._connection, "lost", deployment, queue, keys.UNACKED, *suspects)
