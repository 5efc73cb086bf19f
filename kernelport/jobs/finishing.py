"""Finishes jobs of which nothing runs any more: looks for the files of what succeeded, writes the manifest and the
summary, makes the state final, and has the job take less room in Redis from then on.

Every worker does this from a thread of its own, and a front door does when no worker has: so it needs neither the
worker that ran the last item nor any other process in particular.
"""

import json
import logging
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextvars import Context
from itertools import islice
from pathlib import Path
from typing import IO, Any

from redis import Redis

from kernelport.broker import keys, large, stored
from kernelport.broker.clock import clock
from kernelport.counting import counted
from kernelport.internal.v1.job_store_pb2 import Page
from kernelport.jobs import scripts
from kernelport.jobs.artifacts import Artifacts, storage_errors
from kernelport.jobs.background import Background
from kernelport.jobs.inputs import Inputs
from kernelport.jobs.item_records import WAITING, Results, in_order, items_of, page_of, results_of
from kernelport.jobs.outputs import StackMark
from kernelport.jobs.records import MICROSECONDS, JobRecord, job_id_of
from kernelport.jobs.shapes import item_dict, job_dict
from kernelport.jobs.shrinking import Places, compressed
from kernelport.jobs.storage import SharedStorage
from kernelport.jobs.voices import SHA256_DIGITS
from kernelport.names import MANIFEST, SUMMARY
from kernelport.telemetry import logs
from kernelport.v1.job_pb2 import ITEM_STATE_SUCCEEDED, Item, JobSpec, NewItem

log: logging.Logger = logging.getLogger(__name__)

# For how long a job is one finisher's; renewed with every page.
LEASE_S = 30.0
# Tries at writing a manifest, the later ones twice as long after as the one before.
TRIES = 5
FIRST_BACKOFF_S = 2.0
# A job's keys outlive its retention by this, so that the sweeper finds them.
GRACE_S = 24 * 3600

_BUCKETS_AT_ONCE = 1000

_to_json = json.JSONEncoder(ensure_ascii=False).encode  # `json.dumps` makes an encoder for every row


class Finisher(Background):
    """Finishes jobs from `start` until `stop`; a kick says that nothing of a job is left to run.

    Args:
        patience_s: how long a job is left to others: writing a million lines would slow a front door's callers down.
    """

    def __init__(self, redis: Redis, artifacts: Artifacts, storage: SharedStorage, patience_s: float = 0.0) -> None:
        super().__init__("job-finisher")
        self._redis = redis
        self._artifacts = artifacts
        self._storage = storage
        self._patience_us = round(patience_s * MICROSECONDS)

    def _work(self) -> None:
        while not self._storage.refusal and self._finish_one():
            pass

    def _finish_one(self) -> bool:
        """Finishes the job that is due, if any."""
        found = scripts.run(self._redis, "finishing", round(LEASE_S * MICROSECONDS), self._patience_us)
        if found is None:
            return False
        try:
            # A context of its own, in which logs carry the job's ids.
            Context().run(self._finish, job_id_of(found, keys.FINISHING_JOBS))
        except stored.StoredError as error:
            stored.tell(error)
            self._redis.zrem(keys.FINISHING_JOBS, found)
        return True

    def _finish(self, job_id: str) -> None:
        job = self._job(job_id)
        if job is None:
            self._redis.zrem(keys.FINISHING_JOBS, job_id)
            return
        logs.note(job.ids)
        if job.is_final:
            self._shrink(job)
            return
        state, reason = _end_of(job)
        finished_us = clock.now_us()
        try:
            files = self._files(job)
            for _ in range(2):
                if state == "running" or self._write(job.ended(state, reason, finished_us), files):
                    break
                # Items whose files are missing wait again: the job comes to another end.
                job = self._job(job.id) or job
                state, reason = _end_of(job)
            else:
                return  # another finisher has it by now
        except storage_errors() as error:
            message = f"cannot write {self._artifacts.url(f'{job.id}/{MANIFEST}')}: {error}"
            log.warning("job %s: %s", job.id, message)
            tries = int(self._redis.hincrby(keys.job(job.id), "finish_tries", 1))
            if tries < TRIES and job.ending != "failed":
                self._renew(job, FIRST_BACKOFF_S * 2 ** (tries - 1))
                return
            state, reason = "failed", reason or message
        except stored.StoredError as error:
            stored.tell(error)
            state, reason = "failed", f"the job store cannot be read: {error}"
        retention_s, sealed = job.retention_s, int(job.is_sealed)
        scripts.run(self._redis, "finish", job.id, job.round, state, reason, retention_s, GRACE_S, sealed, finished_us)
        log.info("job %s %s%s", job.id, state, f": {reason}" if reason else "")

    def _shrink(self, job: JobRecord) -> None:
        """Has a job that is over take less room, unless it goes on meanwhile."""
        places = Places(job.items)
        for number in range(job.pages):
            value: Any = self._redis.hget(keys.job(job.id, "pages"), str(number))
            page = page_of(value, job.id, number)
            where = keys.job(job.id, "pages")
            places.add((stored.message(NewItem, item, where).id for item in page.items), number)
            if not scripts.run(self._redis, "shrink", job.id, job.edition, "pages", 0, number, compressed(page)):
                return
            self._renew(job, LEASE_S)
        buckets = enumerate(places)
        while some := list(islice(buckets, _BUCKETS_AT_ONCE)):
            count = len(places) if some[-1][0] + 1 == len(places) else 0
            values = (each for bucket in some for each in bucket)
            if not scripts.run(self._redis, "shrink", job.id, job.edition, "places", count, *values):
                return

    def _job(self, job_id: str) -> JobRecord | None:
        fields: Any = self._redis.hgetall(keys.job(job_id))
        return JobRecord(job_id, fields) if b"spec" in fields else None

    def _files(self, job: JobRecord) -> "_Files":
        """A job's files."""
        files = _Files()
        for sizes in self._artifacts.sizes(job.id) if job.succeeded else ():
            files.add(sizes)
            self._renew(job, LEASE_S)
        files.sort()
        return files

    def _write(self, job: JobRecord, files: "_Files") -> bool:
        """Writes manifest and summary; returns False when files are missing, whose items wait again then."""
        inputs = Inputs(self._voices(job.id))
        with tempfile.TemporaryDirectory(prefix="kernelport-") as scratch:
            manifest = Path(scratch) / MANIFEST
            with manifest.open("w", encoding="utf-8") as file:
                pages = range(job.pages)
                missing = sum(self._write_page(job, number, inputs, file, files) for number in pages)
            if missing:
                log.warning("job %s: %d files are missing", job.id, missing)
                return False
            self._artifacts.replace(f"{job.id}/{MANIFEST}", manifest)
            short = Path(scratch) / SUMMARY
            shared = inputs.described(self._spec(job.id).shared_inputs)
            told = _summary(job, shared, StackMark.next(self._redis))
            short.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", "utf-8")
            self._artifacts.replace(f"{job.id}/{SUMMARY}", short)
        self._artifacts.sweep(job.id)
        return True

    def _voices(self, job_id: str) -> dict[str, str]:
        pinned: Any = self._redis.hgetall(keys.job_voices(job_id))
        return {stored.name(name): stored.name(value[:SHA256_DIGITS]) for name, value in pinned.items()}

    def _spec(self, job_id: str) -> JobSpec:
        value = large.read(self._redis, keys.job(job_id, "spec"))
        return stored.message(JobSpec, value, keys.job(job_id, "spec"))

    def _write_page(self, job: JobRecord, number: int, inputs: Inputs, file: IO[str], files: "_Files") -> int:
        """Writes a page's part of the manifest; returns how many of its files are missing."""
        page, states, attempts, results = self._page(job.id, number)
        missing: list[Item] = []
        left = bytearray(states)
        items = items_of(job, page, states, attempts, results, inputs=True)
        for position, item in zip(in_order(page), items, strict=True):
            file.write(_to_json(item_dict(item, inputs)) + "\n")
            if item.state == ITEM_STATE_SUCCEEDED and not self._is_there(job, item, files):
                missing.append(item)
                left[position] = WAITING
        if missing:
            lost_us = round(MICROSECONDS * sum(item.audio_s for item in missing))
            lost_bytes = sum(item.file_bytes for item in missing)
            scripts.run(self._redis, "lacking", job.id, job.round, number, bytes(left), lost_bytes, lost_us)
        self._renew(job, LEASE_S)
        return len(missing)

    def _is_there(self, job: JobRecord, item: Item, files: "_Files") -> bool:
        """Whether an item's file is there, as long as it was made: one may be cut where a machine lost its power."""
        if (item.file, item.file_bytes) in files:
            return True
        if not self._artifacts.is_local:
            return False
        try:  # a directory on a network may be listed without what was written just now
            return self._artifacts.size(f"{job.id}/{item.file}") == item.file_bytes
        except FileNotFoundError:
            return False

    def _page(self, job_id: str, number: int) -> tuple[Page, bytes, bytes, Results]:
        """A page, its items' states and attempts, and what came of them."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for part in ("pages", "states", "attempts", "index"):
                pipeline.hget(keys.job(job_id, part), str(number))
            page, states, attempts, index = pipeline.execute()
        results = results_of(self._entries(job_id, index or b""), keys.job(job_id, "log"))
        return page_of(page, job_id, number), states or b"", attempts or b"", results

    def _entries(self, job_id: str, index: bytes) -> Iterator[bytes]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for number in index.split():
                pipeline.xrange(keys.job(job_id, "log"), number, number)
            for entries in pipeline.execute():
                yield from (fields.get(b"result", b"") for _, fields in entries)

    def _renew(self, job: JobRecord, seconds: float) -> None:
        scripts.run(self._redis, "renew", job.id, job.round, round(seconds * MICROSECONDS))


class _Files:
    """Some millions of files, of which it is asked whether one is among them: hashes of name and size, 8 bytes each."""

    def __init__(self) -> None:
        self._hashes = array("q")

    def add(self, sizes: Mapping[str, int]) -> None:
        self._hashes.extend(map(hash, sizes.items()))

    def sort(self) -> None:
        """To be called behind the last `add`."""
        self._hashes = array("q", sorted(self._hashes))

    def __contains__(self, file: tuple[str, int]) -> bool:
        place = bisect_left(self._hashes, hash(file))
        return place < len(self._hashes) and self._hashes[place] == hash(file)


def _end_of(job: JobRecord) -> tuple[str, str]:
    """The state a job is to end in, and why; `running` when it is to go on with items whose files are missing.

    Whatever was to end it came too late when all of its items are done.
    """
    items, succeeded, failed = job.items, job.succeeded, job.failed
    ending, reason = job.ending, job.reason
    if ending and (not job.is_sealed or succeeded + failed < items):
        return ending, reason
    if succeeded + failed < items:
        if job.was_remade:
            missing = counted(items - succeeded - failed, "item")
            return "failed", f"the files of {missing} are missing, though they were made again"
        return "running", ""
    if failed:
        return "failed", f"{failed} of {counted(items, 'item')} failed"
    return "succeeded", f"every item succeeded before the job could be stopped: {reason}" if ending else ""


def _summary(job: JobRecord, shared: dict[str, Any], mark: StackMark) -> dict[str, Any]:
    """The job as a whole, without its webhook.

    Args:
        job: as it is about to be.
        shared: the inputs of every item, as `Inputs` describes them.
        mark: of the stack, which its outputs are known by.
    """
    known = job.job()
    progress = known.progress
    told = job_dict(known)
    del told["spec"]["webhook"]
    told["spec"]["shared_inputs"] = shared
    # Seconds of work per second of audio, over all workers.
    told["real_time_factor"] = progress.backend_s / progress.audio_s if progress.audio_s else None
    # What padding batches to their longest item adds, as a share of the useful length.
    told["padding_waste"] = progress.padded_cost / progress.useful_cost - 1 if progress.useful_cost else 0.0
    return {**told, "stack": mark.stack, "ended": mark.ended}
