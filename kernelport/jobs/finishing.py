"""Finishes jobs of which nothing runs any more: looks for the files of what succeeded, writes the manifest and the
summary, and makes the state final.

Every worker does this from a thread of its own, and a front door does when no worker has: so it needs neither the
worker that ran the last item nor any other process in particular.
"""

import json
import logging
import secrets
import tempfile
import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from redis import Redis
from redis.exceptions import RedisError

from kernelport import keys
from kernelport.artifacts import Artifacts, storage_errors
from kernelport.internal.v1.job_store_pb2 import Page
from kernelport.jobs import scripts
from kernelport.jobs.manifest import row, summary
from kernelport.jobs.naming import MANIFEST, SUMMARY, file_name
from kernelport.jobs.pages import id_digest
from kernelport.jobs.records import MICROSECONDS, JobRecord, Results, in_order, items_of, results_of
from kernelport.v1.job_pb2 import NewItem

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
        token = secrets.token_hex(8)
        found = scripts.run(self._redis, "finishing", round(LEASE_S * MICROSECONDS), self._patience_us, token)
        if found is None:
            return False
        job = self._job(found.decode())
        if job is None:
            self._redis.zrem(keys.FINISHING_JOBS, found)
            return True
        state, reason = _end_of(job)
        try:
            if job.number("succeeded"):
                self._look_for_files(job, token)
                job = self._job(job.id) or job
                state, reason = _end_of(job)
            if state != "running":
                self._write(job.ended(state, reason), state, reason)
        except storage_errors() as error:
            message = f"cannot write {self._artifacts.url(f'{job.id}/{MANIFEST}')}: {error}"
            log.warning("job %s: %s", job.id, message)
            tries = int(self._redis.hincrby(keys.job(job.id), "finish_tries", 1))
            if tries < TRIES and job.text("ending") != "failed":
                self._renew(job.id, FIRST_BACKOFF_S * 2 ** (tries - 1))
                return True
            state, reason = "failed", reason or message
        finished, retention_s = round(time.time() * MICROSECONDS), job.number("retention_s")
        sealed = int(job.is_sealed)
        scripts.run(self._redis, "finish", job.id, token, state, reason, finished, retention_s, GRACE_S, sealed)
        log.info("job %s %s %s", job.id, state, reason)
        return True

    def _job(self, job_id: str) -> JobRecord | None:
        fields: Any = self._redis.hgetall(keys.job(job_id))
        return JobRecord(job_id, fields) if b"spec" in fields else None

    def _look_for_files(self, job: JobRecord, token: str) -> None:
        """Makes items wait again that succeeded and whose files are missing."""
        files = _Names()
        for names in self._artifacts.names(job.id):
            files.add(names)
            self._renew(job.id, LEASE_S)
        files.sort()
        for number in range(job.number("pages")):
            page, states, _, results = self._page(job.id, number)
            changed, lost_bytes, lost_audio_s = bytearray(states), 0, 0.0
            for position, (batch, result) in results.items():
                if states[position] != ord("s"):
                    continue
                name = file_name(NewItem.FromString(page.items[position]).id, batch.suffix)
                # A directory on a network may be listed without what was written just now.
                if name in files or (self._artifacts.is_local and self._artifacts.exists(f"{job.id}/{name}")):
                    continue
                changed[position] = ord("w")
                lost_bytes += result.file_bytes
                lost_audio_s += result.audio_s
            if changed != states:
                lost_us = round(lost_audio_s * MICROSECONDS)
                scripts.run(self._redis, "lacking", job.id, token, number, bytes(changed), lost_bytes, lost_us)
                log.warning("job %s: files of page %d are missing", job.id, number)
            self._renew(job.id, LEASE_S)

    def _write(self, job: JobRecord, state: str, reason: str) -> None:
        with tempfile.TemporaryDirectory(prefix="kernelport-") as scratch:
            manifest = Path(scratch) / MANIFEST
            with manifest.open("w", encoding="utf-8") as file:
                self._write_rows(job, file)
            self._artifacts.replace(f"{job.id}/{MANIFEST}", manifest)
            short = Path(scratch) / SUMMARY
            short.write_text(json.dumps(summary(job, state, reason), indent=2, ensure_ascii=False) + "\n", "utf-8")
            self._artifacts.replace(f"{job.id}/{SUMMARY}", short)
        self._artifacts.sweep(job.id)

    def _write_rows(self, job: JobRecord, file: IO[str]) -> None:
        for number in range(job.number("pages")):
            page, states, attempts, results = self._page(job.id, number)
            for position, item in zip(in_order(page), items_of(job, page, states, attempts, results), strict=True):
                file.write(json.dumps(row(item, page.items[position]), ensure_ascii=False) + "\n")
            self._renew(job.id, LEASE_S)

    def _page(self, job_id: str, number: int) -> tuple[Page, bytes, bytes, Results]:
        """A page, its items' states and attempts, and what came of them."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for part in ("pages", "states", "attempts", "index"):
                pipeline.hget(keys.job(job_id, part), str(number))
            page, states, attempts, index = pipeline.execute()
        return Page.FromString(page), states, attempts or b"", results_of(self._entries(job_id, index or b""))

    def _entries(self, job_id: str, index: bytes) -> Iterator[bytes]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for number in index.split():
                pipeline.xrange(keys.job(job_id, "log"), number, number)
            for entries in pipeline.execute():
                yield from (fields[b"result"] for _, fields in entries)

    def _renew(self, job_id: str, seconds: float) -> None:
        due = round((time.time() + seconds) * MICROSECONDS)
        self._redis.zadd(keys.FINISHING_JOBS, {job_id: due}, xx=True)


class _Names:
    """Some millions of names, of which it is asked whether one is among them: by their digests, 8 bytes each."""

    def __init__(self) -> None:
        self._digests = array("Q")

    def add(self, names: list[str]) -> None:
        self._digests.extend(map(_number, names))

    def sort(self) -> None:
        """To be called behind the last `add`."""
        self._digests = array("Q", sorted(self._digests))

    def __contains__(self, name: str) -> bool:
        digest = _number(name)
        place = bisect_left(self._digests, digest)
        return place < len(self._digests) and self._digests[place] == digest


def _number(name: str) -> int:
    return int.from_bytes(id_digest(name))


def _end_of(job: JobRecord) -> tuple[str, str]:
    """The state a job is to end in, and why; `running` when it is to go on with items whose files are missing.

    Whatever was to end it came too late when all of its items are done.
    """
    items, succeeded, failed = (job.number(field) for field in ("items", "succeeded", "failed"))
    ending, reason = job.text("ending"), job.text("reason")
    if ending and (not job.is_sealed or succeeded + failed < items):
        return ending, reason
    if succeeded + failed < items:
        if job.number("remade"):
            return "failed", f"the files of {items - succeeded - failed} items are missing, though they were made again"
        return "running", ""
    if failed:
        return "failed", f"{failed} of {items} items failed"
    return "succeeded", f"every item succeeded before the job could be stopped: {reason}" if ending else ""
