"""Deletes what is left of jobs: those whose retention is over, and the files of those that are being deleted.

Every front door does this from a thread of its own. A job is one process's at a time; when that dies, another goes on
from the files that are left.
"""

import logging
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from kernelport.broker import durability, keys, stored
from kernelport.jobs import scripts
from kernelport.jobs.artifacts import Artifacts, storage_errors
from kernelport.jobs.background import Background
from kernelport.jobs.records import MICROSECONDS, JobRecord, job_id_of
from kernelport.jobs.storage import SharedStorage
from kernelport.telemetry import metrics

log: logging.Logger = logging.getLogger(__name__)

# For how long a job is one sweeper's: longer than deleting a thousand files should take.
LEASE_S = 20.0
# After which a deletion that storage refuses is tried again, the later tries twice as long after as the one before.
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 2.0, 600.0


class Sweeper(Background):
    """Sweeps from `start` until `stop`; a kick says that a deletion has begun."""

    def __init__(self, redis: Redis, artifacts: Artifacts, storage: SharedStorage) -> None:
        super().__init__("job-sweeper")
        self._redis = redis
        self._storage = storage
        self._artifacts = artifacts
        # Deletions that began before this are on the disk of Redis, in microseconds of its clock.
        self._kept_until = -1

    def _work(self) -> None:
        # What is half deleted when it is stopped another process goes on with.
        while not (self._stopped or self._storage.refusal) and any([self._expire(), self._sweep()]):
            pass

    def _expire(self) -> bool:
        """Begins to delete the job whose retention is over, if there is one."""
        member = scripts.run(self._redis, "expiring", round(LEASE_S * MICROSECONDS))
        if member is None:
            return False
        try:
            self._expire_job(job_id_of(member, keys.EXPIRING_JOBS))
        except (stored.StoredError, ResponseError) as error:  # the latter of keys that are of another kind
            stored.tell(stored.StoredError(f"{member!r} in {keys.EXPIRING_JOBS}: {error}"))
            self._redis.zrem(keys.EXPIRING_JOBS, member)
        return True

    def _expire_job(self, job_id: str) -> None:
        fields: Any = self._redis.hgetall(keys.job(job_id))
        try:
            outputs = bool(fields) and JobRecord(job_id, fields).spec.delete_outputs
        except stored.StoredError as error:  # it goes, too, and its outputs stay
            stored.tell(error)
            outputs = False
        answer, *stage = scripts.run(self._redis, "delete", job_id, "expire", int(outputs))
        if answer == b"ok":
            log.info("job %s: its retention is over", job_id)
        elif answer == b"refused" and stage != [b"gone"]:
            raise stored.StoredError(f"{keys.job(job_id)} state: expected the state of a job, got {stage[0][:80]!r}")

    def _sweep(self) -> bool:
        """Deletes some files of the job that is due, if any: those that are due behind it need not wait for all."""
        found = scripts.run(self._redis, "sweeping", round(LEASE_S * MICROSECONDS))
        if found is None:
            return False
        member, *times = found
        try:
            job_id = job_id_of(member, keys.DELETING_JOBS)
            since, now = (stored.number(value, keys.job(job_id)) for value in times)
        except stored.StoredError as error:
            stored.tell(error)
            self._redis.zrem(keys.DELETING_JOBS, member)
            return True
        if since > self._kept_until:
            # Else Redis, killed now, could have the job as it was before, and without files. What stands before this
            # mark in its append-only file is on the disk when the mark is.
            durability.write(self._redis, "SET", keys.ON_DISK, "", "EX", str(keys.ON_DISK_TTL_S))
            self._kept_until = now
        self._delete_some(job_id)
        return True

    def _delete_some(self, job_id: str) -> None:
        if self._redis.hget(keys.job(job_id), "state") != b"deleting":  # forgotten by Redis
            scripts.run(self._redis, "swept", job_id, 0, "", 0)
            return
        try:
            deleted = self._artifacts.delete_some(job_id)
        except storage_errors() as error:
            value: Any = self._redis.hget(keys.job(job_id), "delete_tries")
            tries = stored.number(value, keys.job(job_id))
            backoff_s = min(FIRST_BACKOFF_S * 2 ** min(tries, 10), LONGEST_BACKOFF_S)
            message = f"cannot delete {self._artifacts.url(job_id)}: {error}"
            scripts.run(self._redis, "swept", job_id, 0, message, round(backoff_s * MICROSECONDS))
            metrics.JOB_DELETE_FAILURES.inc()
            log.warning("job %s: %s; next try in %g s", job_id, message, backoff_s)
            return
        scripts.run(self._redis, "swept", job_id, deleted, "", 0)
        if not deleted:
            log.info("job %s is deleted", job_id)
