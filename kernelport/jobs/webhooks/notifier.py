"""Sends the events that are due, from threads that every front door and every worker has.

The job store notes in one sorted set which jobs have something to tell, in the same step in which it changes them. A
process takes a job from it for a minute, sends what is due, and takes the job out when nothing is left. So an event
outlives the process that would have sent it, and is sent again rather than not at all. It keeps no later one waiting
for good: what the receiver refuses for good is given up, and a job's end goes before any other event that has not
arrived.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from dataclasses import asdict, fields
from typing import Any, cast

from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys, large, stored
from kernelport.broker.clock import clock
from kernelport.broker.connections import outage
from kernelport.jobs import scripts
from kernelport.jobs.records import JobRecord, job_id_of
from kernelport.jobs.webhooks.addresses import masked, parse_networks
from kernelport.jobs.webhooks.endpoints import Endpoints
from kernelport.jobs.webhooks.events import Pending, Told, body_of, due, next_progress_us, waits_for_progress
from kernelport.jobs.webhooks.posting import PostError, post
from kernelport.jobs.webhooks.signing import headers
from kernelport.telemetry import logs
from kernelport.v1 import job_pb2 as pb

log: logging.Logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
# For how long a job is one process's: longer than its events can take.
LEASE_S = 60.0
PARALLEL = 32
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 600.0
GIVE_UP_S = 24 * 3600.0
MICROSECONDS = 1_000_000
_HEADERS = {"Content-Type": "application/json", "User-Agent": "KernelPort"}


class Notifier:
    """Sends events from `start` until `stop`.

    Args:
        redis: the job store's.
        networks: that events may go to beside public addresses, such as `10.0.0.0/8`.
    """

    def __init__(self, redis: Redis, networks: str) -> None:
        self._redis = redis
        self._networks = parse_networks(networks)
        self._endpoints = Endpoints()
        self._stopped = threading.Event()
        self._free = threading.BoundedSemaphore(PARALLEL)
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="webhook")
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Takes no further job; what is being sent ends by itself, and what is left others send."""
        self._stopped.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Returns when nothing is being sent any more."""
        self._thread.join()
        self._pool.shutdown()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                while self._begin_one():
                    pass
            except RedisError as error:
                outage.tell(error)
            self._stopped.wait(INTERVAL_S)

    def _begin_one(self) -> bool:
        """Takes the job that is due, if any, and lets a thread tell of it."""
        self._free.acquire()
        begun = False
        try:
            found = None if self._stopped.is_set() else scripts.run(self._redis, "hook", round(LEASE_S * MICROSECONDS))
            if found is not None:
                # A context of its own, in which logs carry the job's ids.
                self._pool.submit(Context().run, self._tell, found)
                begun = True
        except RuntimeError:  # stopped in between: another process takes the job when its minute is over
            log.debug("stopped with a webhook in hand")
        finally:
            if not begun:
                self._free.release()
        return begun

    def _tell(self, member: bytes) -> None:
        try:
            try:
                self._tell_all(job_id_of(member, keys.JOB_HOOKS))
            except stored.StoredError as error:
                stored.tell(error)
                self._redis.zrem(keys.JOB_HOOKS, member)
        except RedisError as error:
            log.warning("job %r: its webhook waits: %s", member, error)
        except Exception:
            # The thread's pool would keep it to itself. The job comes up again when its minute is over.
            log.exception("job %r: its webhook failed", member)
        finally:
            self._free.release()

    def _tell_all(self, job_id: str) -> None:
        """Sends what is due of a job, one event after the other; at the first that does not arrive, a later try is
        noted.

        Raises:
            StoredError: what is kept of the job cannot be read.
        """
        while True:
            known: Any = self._redis.hgetall(keys.job(job_id))
            hook: Any = self._redis.hgetall(keys.job(job_id, "hook"))
            record = JobRecord(job_id, known)
            logs.note(record.ids)
            if b"has_webhook" not in known or record.is_deleting:
                self._redis.zrem(keys.JOB_HOOKS, job_id)
                return
            job, now_us = record.job(), clock.now_us()
            told, pending = Told.of(hook, keys.job(job_id, "hook")), Pending.of(hook, keys.job(job_id, "hook"))
            if pending is None:
                event = due(job, told, now_us)
                if event is None:
                    pause_us = max(1, next_progress_us(job, told) - now_us) if waits_for_progress(job, told) else 0
                    scripts.run(self._redis, "hooked", job_id, record.log_length, pause_us, job.finished_unix_us)
                    return
                pending = Pending.first(event, body_of(event, job, now_us), now_us)
                self._keep(job_id, asdict(pending))
            elif pending.is_overtaken(job):
                log.warning("webhook %s did not arrive and is dropped: a later one is due", pending.event)
                self._done_with(job_id, pending)
                continue
            pause_us = self._send(job, pending)
            if pause_us and not pending.is_overtaken(job):
                scripts.run(self._redis, "hooked", job_id, -1, pause_us, job.finished_unix_us)
                return

    def _send(self, job: pb.Job, pending: Pending) -> int:
        """Sends an event: 0 when that is done with, else in how many microseconds to try again."""
        # What the job shows of its URL suffices for this: the whole spec may hold a large voice beside the secret.
        endpoint = masked(job.spec.webhook.url)
        if wait_s := self._endpoints.enter(endpoint):
            return self._later(job.id, pending, wait_s, "others are sent to its endpoint, or it does not answer")
        failure: PostError | None = None
        try:
            spec = large.read(self._redis, keys.job(job.id, "spec"))
            self._post(stored.message(pb.JobSpec, spec, keys.job(job.id, "spec")).webhook, pending)
        except PostError as error:
            failure = error
        finally:
            self._endpoints.leave(endpoint, failure is not None and failure.is_silent)
        return self._done_with(job.id, pending) if failure is None else self._failed(job.id, pending, failure)

    def _post(self, webhook: pb.Webhook, pending: Pending) -> None:
        try:
            signed = headers(webhook.secret, pending.event, int(clock.now()), pending.body)
        except ValueError as error:
            raise PostError(f"its secret: {error}", is_final=True) from None
        post(webhook.url, pending.body, {**_HEADERS, **signed}, self._networks)

    def _failed(self, job_id: str, pending: Pending, error: PostError) -> int:
        if error.is_gone:
            log.warning("webhook %s is gone, job %s tells it no more: %s", pending.event, job_id, error)
            with self._redis.pipeline() as pipeline:
                pipeline.hdel(keys.job(job_id), "has_webhook", "telling")
                pipeline.zrem(keys.JOB_HOOKS, job_id)
                pipeline.execute()
            return self._done_with(job_id, pending)
        # Progress is told by the next event as well.
        if error.is_final or pending.kind == pb.WEBHOOK_EVENT_PROGRESS:
            log.warning("webhook %s did not arrive and is given up: %s", pending.event, error)
            return self._done_with(job_id, pending)
        tries = int(self._redis.hincrby(keys.job(job_id, "hook"), "tries", 1))
        pause_s = min(FIRST_BACKOFF_S * 2 ** min(tries - 1, 10), LONGEST_BACKOFF_S)
        log.warning("webhook %s did not arrive, next try in %g s: %s", pending.event, pause_s, error)
        return self._later(job_id, pending, pause_s, str(error))

    def _later(self, job_id: str, pending: Pending, pause_s: float, why: str) -> int:
        """In how many microseconds to try again; 0 when that would be too late."""
        if clock.now() + pause_s < pending.since / MICROSECONDS + GIVE_UP_S:
            return round(pause_s * MICROSECONDS)
        log.warning("webhook %s did not arrive in %g h and is given up: %s", pending.event, GIVE_UP_S / 3600, why)
        return self._done_with(job_id, pending)

    def _done_with(self, job_id: str, pending: Pending) -> int:
        """The event that is kept has arrived, or is given up: what comes next does not wait for it."""
        told = Told(1, pending.then_finished, pending.then_done, clock.now_us())
        self._keep(job_id, asdict(told), drop=[field.name for field in fields(Pending)])
        return 0

    def _keep(self, job_id: str, kept: Mapping[str, str | bytes | int], drop: Sequence[str] = ()) -> None:
        """Changes what is known of a job's webhook."""
        key: Any = keys.job(job_id, "hook")
        with self._redis.pipeline() as pipeline:
            if drop:
                pipeline.hdel(key, *drop)
            pipeline.hset(key, mapping=cast(Any, kept))
            pipeline.expire(key, keys.HOOK_TTL_S)
            pipeline.execute()
