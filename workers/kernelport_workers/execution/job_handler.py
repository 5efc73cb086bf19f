"""Takes a ticket, runs the slice of a job that it gives, and records what came of it."""

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys, stored
from kernelport.broker.connections import until_done
from kernelport.broker.scripts import acknowledge
from kernelport.config.deployments import Deployment
from kernelport.config.settings import Settings
from kernelport.errors import CancelledError, DeadlineExceededError, InvalidArgumentError, KernelPortError
from kernelport.internal.v1.job_store_pb2 import BatchResult, ItemResult
from kernelport.jobs import scripts
from kernelport.jobs.artifacts import Artifacts
from kernelport.jobs.records import MICROSECONDS
from kernelport.jobs.storage import SharedStorage
from kernelport.signature import is_speech
from kernelport.telemetry import logs, metrics, tracing
from kernelport.v1.job_pb2 import OUTPUT_FORMAT_UNSPECIFIED, OutputFormat
from kernelport_workers.backends.base import Backend
from kernelport_workers.consumer.lease import Hold, Lease
from kernelport_workers.execution.execution import Beside, Finish, Ran, Runner, Work
from kernelport_workers.execution.job_outputs import Output, Publisher, suffix_of
from kernelport_workers.execution.job_traces import SliceTraces
from kernelport_workers.execution.pace import Pace
from kernelport_workers.execution.slices import Held, JobItem, Loader, shared_inputs

log = logging.getLogger(__name__)

CANCEL_CHECK_S = 0.25


class JobRunner:
    """What a worker does with tickets.

    Args:
        revisions: of the deployments.
        beside: what the message before has left to do.
        on_taken: called when a ticket has been used.
        on_over: called when nothing of a job is left to run: its manifest is due.
    """

    def __init__(
        self,
        redis: Redis,
        settings: Settings,
        worker_id: str,
        deployments: Mapping[str, Deployment],
        backends: Mapping[str, Backend],
        revisions: Mapping[str, str],
        artifacts: Artifacts,
        storage: SharedStorage,
        beside: Beside,
        on_taken: Callable[[], None],
        on_over: Callable[[], None],
    ) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._deployments = deployments
        self._backends = backends
        self._revisions = revisions
        self._runners = {name: Runner(backend) for name, backend in backends.items()}
        self._paces = {name: Pace() for name in backends}
        self._lease = Lease(redis, settings.lease_s)
        self._loader = Loader(redis)
        self._publisher = Publisher(artifacts, settings.storage_patience_s)
        self._storage = storage
        self._beside = beside
        self._traces = SliceTraces(redis, worker_id)
        self._on_taken = on_taken
        self._on_over = on_over

    @cached_property
    def _line(self) -> Redis:
        """One connection for what every slice says: asking the pool for one costs as much as a call."""
        client: Redis = self._redis.client()  # type: ignore[no-untyped-call]
        return client

    def handle(self, deployment_name: str, ticket: str) -> Finish:
        """Runs the slice that is due, if any; then what is left is to keep what came of it, and to say so in a line.

        Waits for Redis while it is away.
        """
        if self._storage.refusal:
            until_done(lambda: scripts.run(self._redis, "decline", deployment_name, ticket))
            return lambda: "not taken: its outputs would not be found"
        deployment = self._deployments[deployment_name]
        attempt, most = secrets.token_hex(8), deployment.limits.max_attempts
        pace = self._paces[deployment_name]
        with contextlib.ExitStack() as stack:
            hold = stack.enter_context(self._lease.hold(ticket))
            held = until_done(
                lambda: Held.take(self._line, deployment_name, ticket, self._worker_id, attempt, most, pace)
            )
            if held is None:
                until_done(lambda: acknowledge(self._redis, ticket))
                return lambda: "nothing to do"
            self._on_taken()
            job_id = held.job
            with logs.about(lambda: {"deployment": deployment_name, "job": job_id}):
                run = self._run(deployment, held, hold)
            still_held = stack.pop_all()

        def finish() -> str:
            with still_held, logs.about(lambda: {"deployment": deployment_name, "job": job_id}):
                return self._keep(deployment, ticket, held, hold, run)

        return finish

    def _run(self, deployment: Deployment, held: Held, hold: Hold) -> "_Run":
        try:
            items = until_done(lambda: self._loader.items(held))
            spec = until_done(lambda: self._loader.spec(held.job))
        except stored.StoredError as error:
            stored.tell(error)
            self._stop(held.job, f"the job store cannot be read: {error}")
            return _Run([], stopped=True)
        if held.died:
            metrics.REDELIVERIES.labels(deployment.name).inc()
        if held.died_alone >= deployment.limits.max_attempts:
            return _Run(items)
        if held.died or deployment.limits.max_attempts == 1:
            self._beside.alone()
        check = _Check(self._redis, held, hold.step)
        shared = shared_inputs(spec)
        work = [
            Work(str(item.position).encode(), item.request, held.deadline_unix_us, check, shared=shared)
            for item in items
        ]
        with hold.steps_of(deployment.timeouts.step_s):
            ran = self._runners[deployment.name].for_job(held.job).run_all(work, time.monotonic(), self._beside)
        metrics.BATCH_SIZE.labels(deployment.name).observe(len(items))
        metrics.BACKEND_SECONDS.labels(deployment.name).observe(ran.backend_us / MICROSECONDS)
        done = [item.cost for item, result in zip(items, ran.results, strict=True) if isinstance(result, Mapping)]
        if done:
            self._paces[deployment.name].note(held.job, sum(done), (ran.prepare_us + ran.backend_us) / MICROSECONDS)
        return _Run(items, ran, spec.output_format, stopped=check.failure is not None or check.has_expired)

    def _keep(self, deployment: Deployment, ticket: str, held: Held, hold: Hold, run: "_Run") -> str:
        keeping_s = time.monotonic()
        if run.ran is None and run.stopped:
            result = _Result(BatchResult(page=held.page), [])
        elif run.ran is None:
            result = self._given_up(held, run)
        else:
            result = self._result(deployment, ticket, held, hold, run, run.ran)
        what = f"job {held.job} page {held.page} items {held.first}-{held.first + held.count - 1}"
        state = until_done(lambda: self._complete(deployment.name, ticket, held, result))
        if state is None:
            metrics.DUPLICATES_DROPPED.labels(deployment.name).inc()
            return f"{what}: too late, others have run it"
        if state == b"finishing":
            self._on_over()
        if tracing.is_on:
            self._traces.record(deployment.name, held, run.ran, result.batch, keeping_s)
        return f"{what}: {len(result.batch.items)} done"

    def _given_up(self, held: Held, run: "_Run") -> "_Result":
        reason = f"workers died over it alone: {', '.join(held.died[-held.died_alone :])}"
        log.error("given up %s of job %s: %s", ", ".join(item.id for item in run.items), held.job, reason)
        batch = BatchResult(page=held.page, batch_size=len(run.items), attempts=len(held.died))
        batch.items.extend(ItemResult(position=item.position, error=reason) for item in run.items)
        return _Result(batch, [])

    def _result(self, deployment: Deployment, ticket: str, held: Held, hold: Hold, run: "_Run", ran: Ran) -> "_Result":
        backend = self._backends[deployment.name]
        batch = BatchResult(page=held.page, batch_size=len(run.items), attempts=len(held.died) + 1, portable_names=True)
        batch.suffix = suffix_of(run.output_format, is_speech(backend.signature))
        batch.backend_s = ran.backend_us / MICROSECONDS
        batch.revision, batch.device = self._revisions[deployment.name], backend.device
        batch.compute_path = backend.compute_path or backend.device
        outputs = []
        for item, came_of_it, warnings in zip(run.items, ran.results, ran.warnings, strict=True):
            if not isinstance(came_of_it, KernelPortError):
                outputs.append(Output(item.id, item.position, came_of_it, warnings))
            elif not run.stopped:
                lasting = isinstance(came_of_it, InvalidArgumentError)
                batch.items.append(ItemResult(position=item.position, error=came_of_it.message, lasting=lasting))

        def is_ours() -> bool:
            return until_done(lambda: held.is_ours(self._line, deployment.name, ticket))

        # A worker that was paused, and taken for dead, finds others at work on the same files.
        if is_ours():
            with hold.steps_of(deployment.timeouts.step_s):
                self._publish(held, batch, outputs, is_ours, hold.step)
        return _Result(batch, [item.cost for item in run.items])

    def _publish(
        self,
        held: Held,
        batch: BatchResult,
        outputs: Sequence[Output],
        is_ours: Callable[[], bool],
        step: Callable[[], None],
    ) -> None:
        """Adds what could be kept to the batch; what could not stops the job, whose items wait for it to be resumed."""
        for result in self._publisher.publish(held.job, batch.suffix, outputs, is_ours, step):
            if isinstance(result, ItemResult):
                batch.items.append(result)
                continue
            self._stop(held.job, str(result))

    def _stop(self, job: str, reason: str) -> None:
        log.error("job %s stops: %s", job, reason)
        until_done(lambda: scripts.run(self._redis, "stop", job, "failed", reason))

    def _complete(self, deployment: str, ticket: str, held: Held, result: "_Result") -> bytes | None:
        """The state that the job is in with this; None when it came too late."""
        batch = result.batch
        batch.finished_unix_us = round(time.time() * MICROSECONDS)
        state: bytes | None = scripts.run(
            self._line,
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
            return None
        failed = sum(bool(item.error) for item in batch.items)
        metrics.JOB_ITEMS.labels(deployment, "failed").inc(failed)
        metrics.JOB_ITEMS.labels(deployment, "succeeded").inc(len(batch.items) - failed)
        return state


@dataclass(frozen=True)
class _Run:
    """The items of a slice, and what the backend made of them: nothing when they are given up.

    Attributes:
        output_format: of the job's files.
        stopped: the job was stopped, or its deadline passed, on the way or before.
    """

    items: Sequence[JobItem]
    ran: Ran | None = None
    output_format: OutputFormat = OUTPUT_FORMAT_UNSPECIFIED
    stopped: bool = False


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

    def __init__(self, redis: Redis, held: Held, step: Callable[[], None]) -> None:
        self._redis = redis
        self._held = held
        self._step = step
        self._looked_at = time.monotonic()  # a slice is only given out of a job that goes on
        self.failure: CancelledError | None = None

    @property
    def has_expired(self) -> bool:
        """Whether the deadline has passed."""
        return time.time() * MICROSECONDS >= self._held.deadline_unix_us

    def __call__(self) -> None:
        self._step()
        if self.has_expired:
            raise DeadlineExceededError("the job's deadline has passed")
        if time.monotonic() - self._looked_at >= CANCEL_CHECK_S:
            self._looked_at = time.monotonic()
            with contextlib.suppress(RedisError):  # then nobody has said so
                if self._redis.hget(keys.job(self._held.job), "ending"):
                    self.failure = CancelledError("the job has been stopped")
        if self.failure is not None:
            raise self.failure
