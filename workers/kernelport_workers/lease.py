"""Keeps a worker's hold on the batch it runs, and ends the worker when its model hangs.

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

from kernelport import keys, metrics

log = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 5
LOOK_INTERVAL_S = 0.25
HUNG_EXIT_CODE = 70


class Lease:
    """The lease on the one batch that this worker runs.

    Args:
        lease_s: the visibility timeout in seconds.
    """

    def __init__(self, redis: Redis, lease_s: float) -> None:
        self._redis = redis
        self._interval_s = lease_s / RENEWALS_PER_LEASE
        self._tag: str | None = None
        self._renew_at = 0.0
        self._step_limit_s = 0.0
        self._step_ends_at = float("inf")
        threading.Thread(target=self._run, name="lease", daemon=True).start()

    @contextlib.contextmanager
    def hold(self, batch_id: str) -> Iterator[None]:
        """Renews the lease on a batch while the block runs."""
        self._renew_at = time.monotonic() + self._interval_s
        self._tag = batch_id
        try:
            yield
        finally:
            self._tag = None

    @contextlib.contextmanager
    def steps_of(self, limit_s: float) -> Iterator[None]:
        """Ends this process when a step of the model in the block takes longer than `limit_s` seconds."""
        self._step_limit_s = limit_s
        self.step()
        try:
            yield
        finally:
            self._step_ends_at = float("inf")

    def step(self) -> None:
        """The model has come to its next step."""
        self._step_ends_at = time.monotonic() + self._step_limit_s

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_INTERVAL_S)
            tag, now = self._tag, time.monotonic()
            if now >= self._step_ends_at:
                self._end_process(tag)
            if tag is not None and now >= self._renew_at:
                self._renew_at = now + self._interval_s
                self._renew(tag)

    def _renew(self, tag: str) -> None:
        try:
            # XX: a batch that is done stays done. GT: a clock that went back shortens nothing.
            self._redis.zadd(keys.UNACKED_INDEX, {tag: time.time()}, xx=True, gt=True)
            metrics.LEASE_RENEWALS.inc()
        except RedisError as error:
            log.warning("cannot renew the lease on batch %s: %s", tag, error)

    def _end_process(self, tag: str | None) -> None:
        log.critical("the model passed its step limit of %g s on batch %s; ending this worker", self._step_limit_s, tag)
        if tag is not None:
            with contextlib.suppress(RedisError):  # then the lease runs out by itself
                self._redis.zadd(keys.UNACKED_INDEX, {tag: 0}, xx=True)
        logging.shutdown()
        os._exit(HUNG_EXIT_CODE)
