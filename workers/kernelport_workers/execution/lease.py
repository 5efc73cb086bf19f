"""Keeps a worker's hold on the batches in its hands, and ends the worker when its model hangs.

kombu notes the time of delivery in a sorted set and delivers a batch again when that time is older than the visibility
timeout. It never renews it: this does, from a thread of its own, for as long as the process lives. So the timeout can
be short, which brings a dead worker's batch back soon, and a batch may still run for an hour.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator

from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys
from kernelport.broker.clock import clock
from kernelport.broker.connections import outage
from kernelport.telemetry import metrics

log = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 5
LOOK_INTERVAL_S = 0.25
HUNG_EXIT_CODE = 70


class BatchLease:
    """The lease on one batch.

    Args:
        tag: the batch's delivery tag.
        lease_s: the visibility timeout in seconds.

    Attributes:
        renew_at: when it is to be renewed next, in seconds of the monotonic clock.
        step_limit_s: what a step may take.
    """

    def __init__(self, tag: str, lease_s: float) -> None:
        self.tag = tag
        self.renew_at = time.monotonic() + lease_s / RENEWALS_PER_LEASE
        self.step_limit_s = 0.0
        self._step_ends_at = float("inf")

    @property
    def is_hung(self) -> bool:
        """Whether a step takes longer than its limit."""
        return time.monotonic() >= self._step_ends_at

    @contextlib.contextmanager
    def steps_of(self, limit_s: float) -> Iterator[None]:
        """Ends this process when a step of the model in the block takes longer than `limit_s` seconds."""
        self.step_limit_s = limit_s
        self.step()
        try:
            yield
        finally:
            self._step_ends_at = float("inf")

    def step(self) -> None:
        """The model has come to its next step."""
        self._step_ends_at = time.monotonic() + self.step_limit_s


class Leases:
    """The leases on the batches that this worker has in its hands.

    Args:
        lease_s: the visibility timeout in seconds.
    """

    def __init__(self, redis: Redis, lease_s: float) -> None:
        self._redis = redis
        self._lease_s = lease_s
        self._leases: set[BatchLease] = set()
        threading.Thread(target=self._run, name="lease", daemon=True).start()

    @contextlib.contextmanager
    def lease(self, tag: str) -> Iterator[BatchLease]:
        """Renews the lease on a batch while the block runs."""
        lease = BatchLease(tag, self._lease_s)
        self._leases.add(lease)
        try:
            yield lease
        finally:
            self._leases.discard(lease)

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_INTERVAL_S)
            for lease in self._leases.copy():
                if lease.is_hung:
                    self._end_process(lease)
                if time.monotonic() >= lease.renew_at:
                    self._renew(lease)

    def _renew(self, lease: BatchLease) -> None:
        lease.renew_at = time.monotonic() + self._lease_s / RENEWALS_PER_LEASE
        try:
            # XX: a batch that is done stays done. GT: a clock that went back shortens nothing.
            self._redis.zadd(keys.UNACKED_INDEX, {lease.tag: clock.now()}, xx=True, gt=True)
        except RedisError as error:
            outage.tell(error)
            return
        metrics.LEASE_RENEWALS.inc()

    def _end_process(self, lease: BatchLease) -> None:
        limit_s, tag = lease.step_limit_s, lease.tag
        log.critical("the model passed its step limit of %g s on batch %s; ending this worker", limit_s, tag)
        with contextlib.suppress(RedisError):  # then the lease runs out by itself
            self._redis.zadd(keys.UNACKED_INDEX, {tag: 0}, xx=True)
        logging.shutdown()
        os._exit(HUNG_EXIT_CODE)
