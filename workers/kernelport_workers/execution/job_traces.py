"""The part of jobs' traces that workers know."""

import functools
import time
from typing import Any

from redis import Redis

from kernelport.broker import keys
from kernelport.broker.connections import until_done
from kernelport.internal.v1.job_store_pb2 import BatchResult
from kernelport.telemetry import tracing
from kernelport_workers.execution.execution import BatchOutcome
from kernelport_workers.execution.slices import SliceLease


class SliceTraces:
    """Tells the traces of jobs what became of their slices."""

    def __init__(self, redis: Redis, worker_id: str) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._parent = functools.lru_cache(64)(self._read_parent)  # each slice of a job asks

    def record(
        self, deployment: str, piece: SliceLease, outcome: BatchOutcome | None, batch: BatchResult, keeping_s: float
    ) -> None:
        """A slice has been kept just now.

        Args:
            outcome: None when it was given up without a run.
            keeping_s: when keeping it began, in seconds of the monotonic clock.
        """
        parent = until_done(lambda: self._parent(piece.job))
        if not parent:
            return
        ended, now = time.time_ns(), time.monotonic()

        def at(monotonic_s: float) -> int:
            return ended - round((now - monotonic_s) * 1e9)

        run = None
        if outcome is not None:
            began_s = outcome.started + outcome.prepare_us / 1e6
            run = at(began_s), at(began_s + outcome.backend_us / 1e6)
        times = tracing.SliceTimes(at(outcome.started if outcome else keeping_s), run, at(keeping_s), ended)
        attributes = {
            "kernelport.job": piece.job,
            "kernelport.job_page": piece.page,
            "kernelport.batch_requests": batch.batch_size,
            "kernelport.attempt": len(piece.died) + 1,
            "kernelport.worker": self._worker_id,
        }
        tracing.record_slice(parent, deployment, times, attributes, any(item.error for item in batch.items))

    def _read_parent(self, job: str) -> str:
        found: Any = self._redis.hget(keys.job(job), "traceparent")
        return found.decode() if found else ""
