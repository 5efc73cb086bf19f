"""Takes a ticket, runs the slice of a job that it gives, and records what came of it."""

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from google.rpc import status_pb2
from redis import Redis
from redis.exceptions import RedisError

from kernelport import keys, logs, metrics
from kernelport.artifacts import Artifacts
from kernelport.deployments import Deployment
from kernelport.errors import CancelledError, DeadlineExceededError
from kernelport.internal.v1.job_store_pb2 import BatchResult, ItemResult
from kernelport.internal.v1.queue_pb2 import Completion
from kernelport.jobs import scripts
from kernelport.jobs.records import MICROSECONDS
from kernelport.settings import Settings
from kernelport_workers.backends.base import Backend
from kernelport_workers.jobs.outputs import Output, Publisher, suffix_of
from kernelport_workers.jobs.slices import NEVER_UNIX_US, Held, JobItem, Loader
from kernelport_workers.lease import Lease
from kernelport_workers.outages import until_done
from kernelport_workers.runner import Work, run_all

log = logging.getLogger(__name__)

CANCEL_CHECK_S = 0.25


class JobRunner:
    """What a worker does with tickets.

    Args:
        on_done: called after each slice.
    """

    def __init__(
        self,
        redis: Redis,
        settings: Settings,
        worker_id: str,
        deployments: Mapping[str, Deployment],
        backends: Mapping[str, Backend],
        artifacts: Artifacts,
        on_done: Callable[[], None],
    ) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._deployments = deployments
        self._backends = backends
        self._lease = Lease(redis, settings.lease_s)
        self._loader = Loader(redis)
        self._publisher = Publisher(artifacts, settings.storage_patience_s, self._lease.step)
        self._on_done = on_done

    def handle(self, deployment_name: str, ticket: str) -> str:
        """Runs the slice that is due, if any; says in a line what it did. Waits for Redis while it is away."""
        deployment = self._deployments[deployment_name]
        attempt = secrets.token_hex(8)
        with self._lease.hold(ticket):
            held = until_done(lambda: Held.take(self._redis, deployment_name, ticket, self._worker_id, attempt))
            if held is None:
                return "nothing to do"
            job_id = held.job
            with logs.about(lambda: {"deployment": deployment_name, "job": job_id}):
                result = self._result(deployment, ticket, held)
                in_time = until_done(lambda: self._complete(deployment_name, ticket, held, result))
        self._on_done()
        what = f"job {held.job} page {held.page} items {held.first}-{held.first + held.count - 1}"
        if not in_time:
            metrics.DUPLICATES_DROPPED.labels(deployment_name).inc()
            return f"{what}: too late, others have run it"
        return f"{what}: {len(result.batch.items)} done"

    def _result(self, deployment: Deployment, ticket: str, held: Held) -> "_Result":
        items = until_done(lambda: self._loader.items(held))
        batch = BatchResult(page=held.page, batch_size=len(items), attempts=len(held.died) + 1)
        if held.died:
            metrics.REDELIVERIES.labels(deployment.name).inc()
        if len(held.died) >= deployment.limits.max_attempts:
            reason = f"{len(held.died)} workers died over it: {', '.join(held.died)}"
            log.error("given up %s of job %s: %s", ", ".join(item.id for item in items), held.job, reason)
            batch.attempts = len(held.died)
            batch.items.extend(ItemResult(position=item.position, error=reason) for item in items)
            return _Result(batch, [])
        backend = self._backends[deployment.name]
        with self._lease.steps_of(deployment.timeouts.step_s):
            completions, stopped = self._run(backend, held, items)
            spec = self._loader.spec(held.job)
            batch.suffix = suffix_of(spec.output_format, _is_speech(backend))
            batch.backend_s = completions[0].backend_us / MICROSECONDS
            outputs = []
            for item, completion in zip(items, completions, strict=True):
                if not completion.error:
                    outputs.append(Output(item.id, item.position, completion.response))
                elif not stopped:
                    error = status_pb2.Status.FromString(completion.error).message
                    batch.items.append(ItemResult(position=item.position, error=error))
            # A worker that was paused for longer than its lease finds others at work on the same files.
            if until_done(lambda: held.is_ours(self._redis, deployment.name, ticket)):
                self._publish(held, batch, outputs)
        metrics.BATCH_SIZE.labels(deployment.name).observe(len(items))
        metrics.BACKEND_SECONDS.labels(deployment.name).observe(batch.backend_s)
        return _Result(batch, [item.cost for item in items])

    def _run(self, backend: Backend, held: Held, items: Sequence[JobItem]) -> tuple[list[Completion], bool]:
        """The completions of the items, and whether they were stopped on the way."""
        check = _Check(self._redis, held.job, self._lease.step)
        until_done(check.look)
        work = [Work(str(item.position).encode(), item.request, check.deadline_unix_us, check) for item in items]
        if check.failure is not None:
            for each in work:
                each.failure = check.failure
        return run_all(work, backend, time.monotonic()), check.failure is not None or check.has_expired

    def _publish(self, held: Held, batch: BatchResult, outputs: Sequence[Output]) -> None:
        """Adds what could be kept to the batch; what could not stops the job, whose items wait for it to be resumed."""
        for result in self._publisher.publish(held.job, batch.suffix, outputs, bool(held.died)):
            if isinstance(result, ItemResult):
                batch.items.append(result)
                continue
            log.error("job %s stops: %s", held.job, result)
            until_done(lambda result=result: scripts.run(self._redis, "stop", held.job, "failed", str(result)))  # type: ignore[misc]

    def _complete(self, deployment: str, ticket: str, held: Held, result: "_Result") -> bool:
        batch = result.batch
        batch.finished_unix_us = round(time.time() * MICROSECONDS)
        state = scripts.run(
            self._redis,
            "complete",
            deployment,
            ticket,
            held.attempt,
            result.states(held),
            batch.SerializeToString() if batch.items else b"",
            round(MICROSECONDS * sum(item.audio_s for item in batch.items)),
            round(MICROSECONDS * batch.backend_s),
            sum(item.file_bytes for item in batch.items),
            sum(result.costs),
            max(result.costs, default=0) * len(result.costs),
        )
        if state is None:
            return False
        failed = sum(bool(item.error) for item in batch.items)
        metrics.JOB_ITEMS.labels(deployment, "failed").inc(failed)
        metrics.JOB_ITEMS.labels(deployment, "succeeded").inc(len(batch.items) - failed)
        return True


class _Result:
    """What came of a slice: items that are in no result go on waiting."""

    def __init__(self, batch: BatchResult, costs: list[int]) -> None:
        self.batch = batch
        self.costs = costs

    def states(self, held: Held) -> bytes:
        """The new states of the slice's items, a byte each."""
        states = bytearray(ord("w" if state == ord("r") else ".") for state in held.states)
        for item in self.batch.items:
            states[item.position - held.first] = ord("f" if item.error else "s")
        return bytes(states)


class _Check:
    """Raises when a slice is of no use any more: its job is cancelled or over, or the deadline has passed."""

    def __init__(self, redis: Redis, job: str, step: Callable[[], None]) -> None:
        self._redis = redis
        self._key = keys.job(job)
        self._step = step
        self._looked_at = 0.0
        self.deadline_unix_us = NEVER_UNIX_US
        self.failure: CancelledError | None = None

    @property
    def has_expired(self) -> bool:
        """Whether the deadline has passed."""
        return time.time() * MICROSECONDS >= self.deadline_unix_us

    def __call__(self) -> None:
        self._step()
        if self.has_expired:
            raise DeadlineExceededError("the job's deadline has passed")
        if time.monotonic() - self._looked_at >= CANCEL_CHECK_S:
            try:
                self.look()
            except RedisError:
                self._looked_at = time.monotonic()  # nobody has said so
        if self.failure is not None:
            raise self.failure

    def look(self) -> None:
        """Asks Redis about the job."""
        self._looked_at = time.monotonic()
        ending, deadline = self._redis.hmget(self._key, "ending", "deadline")
        self.deadline_unix_us = int(deadline or 0) or NEVER_UNIX_US
        if ending:
            self.failure = CancelledError("the job has been stopped")


def _is_speech(backend: Backend) -> bool:
    return {"audio", "sample_rate"} <= {spec.name for spec in backend.signature.outputs}
