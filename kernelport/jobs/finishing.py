"""Finishes jobs whose items are all done: writes the manifest and the summary, and makes the state final.

Every worker does this from a thread of its own, and a front door does when no worker has: so it needs neither the
worker that ran the last item nor any other process in particular.
"""

import json
import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from redis import Redis
from redis.exceptions import RedisError

from kernelport import keys
from kernelport.artifacts import Artifacts, storage_errors
from kernelport.internal.v1.job_store_pb2 import Page
from kernelport.jobs import scripts
from kernelport.jobs.manifest import Inputs, row, summary
from kernelport.jobs.naming import MANIFEST, SUMMARY
from kernelport.jobs.records import MICROSECONDS, JobRecord, items_of, results_of
from kernelport.jobs.voices import SHA256_DIGITS
from kernelport.v1.job_pb2 import JobSpec

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
# For how long a job is one finisher's; renewed with every page.
LEASE_S = 60.0
# Tries at writing a manifest, the later ones twice as long after as the one before.
TRIES = 5
FIRST_BACKOFF_S = 2.0
# A job's keys outlive its retention by this, so that the sweeper finds them.
GRACE_S = 24 * 3600


class Finisher:
    """Finishes jobs from `start` until `stop`.

    Args:
        patience_s: how long a job is left to others: writing a million lines would slow a front door's callers down.
    """

    def __init__(self, redis: Redis, artifacts: Artifacts, patience_s: float = 0.0) -> None:
        self._redis = redis
        self._artifacts = artifacts
        self._patience_us = round(patience_s * MICROSECONDS)
        self._kicked = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="job-finisher", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def kick(self) -> None:
        """A slice is done: looks at once whether it was a job's last."""
        self._kicked.set()

    def stop(self) -> None:
        """Takes no further job; what is half finished another process finishes."""
        self._stopped = True
        self.kick()

    def _run(self) -> None:
        while not self._stopped:
            try:
                while self._finish_one():
                    pass
            except RedisError as error:
                log.warning("cannot finish a job now: %s", error)
            self._kicked.wait(INTERVAL_S)
            self._kicked.clear()

    def _finish_one(self) -> bool:
        """Finishes the job that is due, if any."""
        found = scripts.run(self._redis, "finishing", round(LEASE_S * MICROSECONDS), self._patience_us)
        if found is None:
            return False
        job_id = found.decode()
        fields: Any = self._redis.hgetall(keys.job(job_id))
        if not fields:
            self._redis.zrem(keys.FINISHING_JOBS, job_id)
            return True
        job = JobRecord(job_id, fields)
        state, reason = _end_of(job)
        try:
            self._write(job, state, reason)
        except storage_errors() as error:
            message = f"cannot write {self._artifacts.url(f'{job_id}/{MANIFEST}')}: {error}"
            log.warning("job %s: %s", job_id, message)
            tries = int(self._redis.hincrby(keys.job(job_id), "finish_tries", 1))
            if tries < TRIES and job.text("ending") != "failed":
                self._renew(job_id, FIRST_BACKOFF_S * 2 ** (tries - 1))
                return True
            state, reason = "failed", reason or message
        finished = round(time.time() * MICROSECONDS)
        scripts.run(self._redis, "finish", job_id, state, reason, finished, job.number("retention_s"), GRACE_S)
        log.info("job %s %s %s", job_id, state, reason)
        return True

    def _write(self, job: JobRecord, state: str, reason: str) -> None:
        inputs = Inputs(self._voices(job.id))
        with tempfile.TemporaryDirectory(prefix="kernelport-") as scratch:
            manifest = Path(scratch) / MANIFEST
            with manifest.open("w", encoding="utf-8") as file:
                self._write_rows(job, inputs, file)
            self._artifacts.replace(f"{job.id}/{MANIFEST}", manifest)
            short = Path(scratch) / SUMMARY
            shared = inputs.described(self._spec(job.id).shared_inputs)
            told = summary(job, state, reason, shared)
            short.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", "utf-8")
            self._artifacts.replace(f"{job.id}/{SUMMARY}", short)
        self._artifacts.sweep(job.id)

    def _voices(self, job_id: str) -> dict[str, str]:
        pinned: Any = self._redis.hgetall(keys.job_voices(job_id))
        return {name.decode(): value[:SHA256_DIGITS].decode() for name, value in pinned.items()}

    def _spec(self, job_id: str) -> JobSpec:
        value: Any = self._redis.get(keys.job(job_id, "spec"))
        return JobSpec.FromString(value or b"")

    def _write_rows(self, job: JobRecord, inputs: Inputs, file: IO[str]) -> None:
        for number in range(job.number("pages")):
            page, states, results = self._page(job.id, number)
            positions = sorted(range(len(page.items)), key=page.places.__getitem__)
            for position, item in zip(positions, items_of(job, page, states, results), strict=True):
                file.write(json.dumps(row(item, page.items[position], inputs), ensure_ascii=False) + "\n")
            self._renew(job.id, LEASE_S)

    def _page(self, job_id: str, number: int) -> tuple[Page, bytes, Any]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for part in ("pages", "states", "index"):
                pipeline.hget(keys.job(job_id, part), str(number))
            page, states, index = pipeline.execute()
        return Page.FromString(page), states, results_of(self._entries(job_id, index or b""))

    def _entries(self, job_id: str, index: bytes) -> Iterator[bytes]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for number in index.split():
                pipeline.xrange(keys.job(job_id, "log"), number, number)
            for entries in pipeline.execute():
                yield from (fields[b"result"] for _, fields in entries)

    def _renew(self, job_id: str, seconds: float) -> None:
        due = round((time.time() + seconds) * MICROSECONDS)
        self._redis.zadd(keys.FINISHING_JOBS, {job_id: due}, xx=True)


def _end_of(job: JobRecord) -> tuple[str, str]:
    """The state a job is to end in, and why."""
    ending, failed = job.text("ending"), job.number("failed")
    if ending:
        return ending, job.text("reason")
    if failed:
        return "failed", f"{failed} of {job.number('items')} items failed"
    return "succeeded", ""
