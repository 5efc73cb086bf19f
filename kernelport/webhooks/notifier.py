"""Sends the events that are due, from threads that every front door and every worker has.

The job store notes in one sorted set which jobs have something to tell, in the same step in which it changes them. A
process takes a job from it for a minute, sends what is due, and takes the job out when nothing is left. So an event
outlives the process that would have sent it, and is sent again rather than not at all. It keeps no later one waiting
for good: what the receiver refuses for good is given up, and a job's end goes before any other event that has not
arrived.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from redis import Redis
from redis.exceptions import RedisError

from kernelport import keys
from kernelport.connections import outage
from kernelport.jobs import scripts
from kernelport.jobs.records import JobRecord
from kernelport.v1 import job_pb2 as pb
from kernelport.webhooks.events import Event, Told, body_of, due, is_overtaken, next_progress_us, wants_progress
from kernelport.webhooks.posting import PostError, parse_networks, post
from kernelport.webhooks.signing import headers

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
# For how long a job is one process's: longer than its events can take.
LEASE_S = 60.0
PARALLEL = 4
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 600.0
GIVE_UP_S = 24 * 3600.0
MICROSECONDS = 1_000_000
_HEADERS = {"Content-Type": "application/json", "User-Agent": "KernelPort"}
# The fields of an event that has not arrived yet.
_PENDING = ("event", "kind", "body", "tries", "since", "then_finished", "then_done")


class Notifier:
    """Sends events from `start` until `stop`.

    Args:
        redis: the job store's.
        networks: that events may go to beside public addresses, such as `10.0.0.0/8`.
    """

    def __init__(self, redis: Redis, networks: str) -> None:
        self._redis = redis
        self._networks = parse_networks(networks)
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
                self._pool.submit(self._tell, found.decode())
                begun = True
        except RuntimeError:  # stopped in between: another process takes the job when its minute is over
            log.debug("stopped with a webhook in hand")
        finally:
            if not begun:
                self._free.release()
        return begun

    def _tell(self, job_id: str) -> None:
        try:
            self._tell_all(job_id)
        except RedisError as error:
            log.warning("job %s: its webhook waits: %s", job_id, error)
        except Exception:
            # The thread's pool would keep it to itself. The job comes up again when its minute is over.
            log.exception("job %s: its webhook failed", job_id)
        finally:
            self._free.release()

    def _tell_all(self, job_id: str) -> None:
        """Sends what is due of a job, one event after the other; at the first that does not arrive, a later try is
        noted."""
        while True:
            fields: Any = self._redis.hgetall(keys.job(job_id))
            hook: Any = self._redis.hgetall(keys.job(job_id, "hook"))
            record = JobRecord(job_id, fields)
            if not fields or record.is_deleting:
                self._redis.zrem(keys.JOB_HOOKS, job_id)
                return
            job, now_us = record.job(), round(time.time() * MICROSECONDS)
            told = Told.of(hook)
            if b"event" in hook:
                if _is_overtaken(job, hook):
                    log.warning("webhook %s did not arrive and is dropped: a later one is due", hook[b"event"].decode())
                    self._done_with(job_id, hook, now_us)
                    continue
            else:
                event = due(job, told, now_us)
                if event is None:
                    again = next_progress_us(job, told) if wants_progress(job) and _has_news(job, told) else 0
                    scripts.run(self._redis, "hooked", job_id, record.log_length, again, job.finished_unix_us)
                    return
                hook = self._note(job_id, event, body_of(event, job, now_us), now_us)
            again = self._send(job_id, hook)
            if again and not _is_overtaken(job, hook):
                scripts.run(self._redis, "hooked", job_id, -1, again, job.finished_unix_us)
                return

    def _note(self, job_id: str, event: Event, body: bytes, now_us: int) -> dict[bytes, bytes]:
        """Keeps an event until it has arrived, as it is now: the job may go on meanwhile."""
        told = event.told
        pending: dict[str, str | bytes | int] = {"event": event.id, "kind": int(event.kind), "body": body}
        pending |= {"tries": 0, "since": now_us, "then_finished": told.finished, "then_done": told.done}
        self._keep(job_id, pending)
        return {
            name.encode(): value if isinstance(value, bytes) else str(value).encode() for name, value in pending.items()
        }

    def _send(self, job_id: str, hook: dict[bytes, bytes]) -> int:
        """Sends the event that is kept: 0 when that is done with, else when to try again, in microseconds of Unix
        time."""
        # The whole spec, which may hold a large voice beside the secret: read only when there is something to send.
        spec: Any = self._redis.get(keys.job(job_id, "spec"))
        if spec is None:  # deleted just now
            return 0
        webhook = pb.JobSpec.FromString(spec).webhook
        event_id, kind, body = hook[b"event"].decode(), int(hook[b"kind"]), hook[b"body"]
        now = time.time()
        signed = headers(webhook.secret, event_id, int(now), body)
        try:
            post(webhook.url, body, {**_HEADERS, **signed}, self._networks)
        except PostError as error:
            tries = int(self._redis.hincrby(keys.job(job_id, "hook"), "tries", 1))
            pause_s = min(FIRST_BACKOFF_S * 2 ** (tries - 1), LONGEST_BACKOFF_S)
            is_late = now + pause_s >= int(hook[b"since"]) / MICROSECONDS + GIVE_UP_S
            # Progress is told by the next event as well.
            if not (error.is_final or is_late or kind == pb.WEBHOOK_EVENT_PROGRESS):
                log.warning("webhook %s did not arrive, next try in %g s: %s", event_id, pause_s, error)
                return int((now + pause_s) * MICROSECONDS)
            log.warning("webhook %s did not arrive and is given up: %s", event_id, error)
        self._done_with(job_id, hook, round(now * MICROSECONDS))
        return 0

    def _done_with(self, job_id: str, hook: Mapping[bytes, bytes], now_us: int) -> None:
        """The event that is kept has arrived, or is given up: what comes next does not wait for it."""
        told = {"started": 1, "finished": int(hook[b"then_finished"]), "done": int(hook[b"then_done"])}
        self._keep(job_id, {**told, "at": now_us}, drop=_PENDING)

    def _keep(self, job_id: str, fields: Mapping[str, str | bytes | int], drop: Sequence[str] = ()) -> None:
        """Changes what is known of a job's webhook."""
        key: Any = keys.job(job_id, "hook")
        with self._redis.pipeline() as pipeline:
            if drop:
                pipeline.hdel(key, *drop)
            pipeline.hset(key, mapping=cast(Any, fields))
            pipeline.expire(key, keys.HOOK_TTL_S)
            pipeline.execute()


def _is_overtaken(job: pb.Job, hook: Mapping[bytes, bytes]) -> bool:
    """Whether the event that is kept need not arrive any more."""
    return is_overtaken(job, hook[b"event"].decode(), int(hook[b"kind"]), int(hook[b"then_done"]))


def _has_news(job: pb.Job, told: Told) -> bool:
    return bool(job.progress.succeeded + job.progress.failed != told.done)
