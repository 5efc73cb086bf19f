"""Takes a ticket, runs the slice of a job that it gives, and records what came of it."""

import contextlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys, stored
from kernelport.broker.clock import clock
from kernelport.broker.connections import until_done
from kernelport.broker.dedicated import DedicatedClient
from kernelport.broker.scripts import acknowledge
from kernelport.config.deployments import Deployment
from kernelport.config.settings import Settings
from kernelport.errors import CancelledError, DeadlineExceededError, InvalidArgumentError, KernelPortError
from kernelport.internal.v1.job_store_pb2 import BatchResult, ItemResult
from kernelport.jobs import scripts
from kernelport.jobs.artifacts import Artifacts
from kernelport.jobs.inputs import characters_of_item
from kernelport.jobs.item_records import FAILED, RUNNING, SUCCEEDED, UNCHANGED, WAITING
from kernelport.jobs.records import MICROSECONDS
from kernelport.jobs.storage import SharedStorage
from kernelport.signature import is_speech
from kernelport.telemetry import logs, metrics, tracing
from kernelport.telemetry.metrics import labelled
from kernelport.v1.inference_pb2 import Tensor
from kernelport.v1.job_pb2 import OUTPUT_FORMAT_NPZ, OUTPUT_FORMAT_UNSPECIFIED, OutputFormat
from kernelport_workers.backends.base import Backend
from kernelport_workers.execution.execution import BatchOutcome, Epilogue, Execution, Overlap, Work, nano_dollars
from kernelport_workers.execution.job_outputs import Output, Publisher, suffix_of
from kernelport_workers.execution.job_traces import SliceTraces
from kernelport_workers.execution.lease import BatchLease, Leases
from kernelport_workers.execution.slices import JobItem, Loader, Pace, SliceLease, shared_inputs

log = logging.getLogger(__name__)

CANCEL_CHECK_S = 0.25


class JobHandler:
    """What a worker does with tickets.

    Args:
        revisions: of the deployments.
        overlap: what the message before has left to do.
        give_way: runs what callers want before the slice goes on; it is given what to call after each step.
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
        leases: Leases,
        overlap: Overlap,
        give_way: Callable[[Callable[[], None]], None],
        on_taken: Callable[[], None],
        on_over: Callable[[], None],
    ) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._deployments = deployments
        self._backends = backends
        self._revisions = revisions
        self._executions = {name: Execution(backend) for name, backend in backends.items()}
        self._paces = {name: Pace() for name in backends}
        self._leases = leases
        self._loader = Loader(redis)
        self._price_per_hour = settings.price_per_hour
        self._publisher = Publisher(artifacts, settings.storage_patience_s)
        self._storage = storage
        self._overlap = overlap
        self._give_way = give_way
        self._traces = SliceTraces(redis, worker_id)
        self._on_taken = on_taken
        self._on_over = on_over

    @cached_property
    def _connection(self) -> DedicatedClient:
        """One connection for what every slice says."""
        return DedicatedClient.of(self._redis)

    @cached_property
    def _keeping_connection(self) -> DedicatedClient:
        """The same for the thread that keeps what came of slices."""
        return DedicatedClient.of(self._redis)

    def handle(self, deployment_name: str, ticket: str) -> Epilogue:
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
            lease = stack.enter_context(self._leases.lease(ticket))
            piece = until_done(
                lambda: SliceLease.take(self._connection, deployment_name, ticket, self._worker_id, attempt, most, pace)
            )
            if piece is None:
                until_done(lambda: acknowledge(self._redis, ticket))
                return lambda: "nothing to do"
            self._on_taken()
            ids = {"deployment": deployment_name, "job": piece.job, "request_id": piece.request_id}
            with logs.about(lambda: ids):
                run = self._run(deployment, piece, lease)
            still_held = stack.pop_all()

        def epilogue() -> str:
            with still_held, logs.about(lambda: ids):
                return self._keep(deployment, ticket, piece, lease, run)

        return epilogue

    def _run(self, deployment: Deployment, piece: SliceLease, lease: BatchLease) -> "_Run":
        try:
            items = until_done(lambda: self._loader.items(piece))
            spec = until_done(lambda: self._loader.spec(piece.job))
        except stored.StoredError as error:
            stored.tell(error)
            self._stop(piece.job, f"the job store cannot be read: {error}")
            return _Run([], stopped=True)
        if piece.died_alone >= deployment.limits.max_attempts:
            return _Run(items)
        if piece.died or deployment.limits.max_attempts == 1:
            self._overlap.alone()
        check = _Check(self._redis, piece, lease.step, self._give_way)
        shared = shared_inputs(spec)
        work = [
            Work(
                str(item.position).encode(),
                item.inputs,
                piece.deadline_unix_us,
                check,
                shared=shared,
                outputs=spec.outputs,
                tick=lease.step,
            )
            for item in items
        ]
        with lease.steps_of(deployment.timeouts.step_s):
            outcome = (
                self._executions[deployment.name].for_job(piece.job).run_all(work, time.monotonic(), self._overlap)
            )
        metrics.BATCH_SIZE.labels(deployment.name).observe(len(items))
        metrics.BACKEND_SECONDS.labels(deployment.name).observe(outcome.backend_us / MICROSECONDS)
        done = [item.cost for item, result in zip(items, outcome.results, strict=True) if isinstance(result, Mapping)]
        if done:
            self._paces[deployment.name].note(
                piece.job, sum(done), (outcome.prepare_us + outcome.backend_us) / MICROSECONDS
            )
        output_format = spec.output_format or (OUTPUT_FORMAT_NPZ if spec.outputs else OUTPUT_FORMAT_UNSPECIFIED)
        stopped = check.failure is not None or check.has_expired
        return _Run(items, outcome, output_format, spec.shared_inputs, stopped=stopped)

    def _keep(self, deployment: Deployment, ticket: str, piece: SliceLease, lease: BatchLease, run: "_Run") -> str:
        keeping_s = time.monotonic()
        if run.outcome is None and run.stopped:
            result = _Result(BatchResult(page=piece.page), [], {})
        elif run.outcome is None:
            result = self._given_up(piece, run)
        else:
            result = self._result(deployment, ticket, piece, lease, run, run.outcome)
        what = f"job {piece.job} page {piece.page} items {piece.first}-{piece.first + piece.count - 1}"
        state = until_done(lambda: self._complete(deployment.name, ticket, piece, result))
        if state is None:
            metrics.DUPLICATES_DROPPED.labels(deployment.name).inc()
            return f"{what}: too late, others have run it"
        if state == b"finishing":
            self._on_over()
        if tracing.is_on:
            self._traces.record(deployment.name, piece, run.outcome, result.batch, keeping_s)
        return f"{what}: {len(result.batch.items)} done"

    def _given_up(self, piece: SliceLease, run: "_Run") -> "_Result":
        reason = f"workers died over it alone: {', '.join(piece.died[-piece.died_alone :])}"
        log.error("given up %s of job %s: %s", ", ".join(item.id for item in run.items), piece.job, reason)
        batch = BatchResult(page=piece.page, batch_size=len(run.items), attempts=len(piece.died))
        batch.items.extend(ItemResult(position=item.position, error=reason) for item in run.items)
        return _Result(batch, [], Counter(workers_died=len(run.items)))

    def _result(
        self,
        deployment: Deployment,
        ticket: str,
        piece: SliceLease,
        lease: BatchLease,
        run: "_Run",
        outcome: BatchOutcome,
    ) -> "_Result":
        backend = self._backends[deployment.name]
        batch = BatchResult(
            page=piece.page, batch_size=len(run.items), attempts=len(piece.died) + 1, portable_names=True
        )
        batch.suffix = suffix_of(run.output_format, is_speech(backend.signature))
        batch.backend_s = outcome.backend_us / MICROSECONDS
        batch.revision, batch.device = self._revisions[deployment.name], backend.device
        batch.compute_path = backend.compute_path or backend.device
        outputs, reasons = [], Counter[str]()
        for item, came_of_it, warnings in zip(run.items, outcome.results, outcome.warnings, strict=True):
            if not isinstance(came_of_it, KernelPortError):
                outputs.append(Output(item.id, item.position, came_of_it, warnings))
            elif not (run.stopped and isinstance(came_of_it, (CancelledError, DeadlineExceededError))):
                lasting = isinstance(came_of_it, InvalidArgumentError)
                reasons["inputs" if lasting else "model"] += 1
                batch.items.append(ItemResult(position=item.position, error=came_of_it.message, lasting=lasting))

        def is_ours() -> bool:
            return until_done(lambda: piece.is_ours(self._keeping_connection, deployment.name, ticket))

        # A worker that was paused, and taken for dead, finds others at work on the same files.
        if is_ours():
            with lease.steps_of(deployment.timeouts.step_s):
                self._publish(piece, batch, outputs, is_ours, lease.step)
        reasons["format"] = sum(bool(item.error) for item in batch.items) - reasons.total()
        succeeded = {item.position for item in batch.items if not item.error}
        done = [item for item in run.items if item.position in succeeded]
        characters = sum(characters_of_item(item.inputs, run.shared) for item in done)
        return _Result(batch, [item.cost for item in run.items], reasons, characters, sum(item.size for item in done))

    def _publish(
        self,
        piece: SliceLease,
        batch: BatchResult,
        outputs: Sequence[Output],
        is_ours: Callable[[], bool],
        step: Callable[[], None],
    ) -> None:
        """Adds what could be kept to the batch; what could not stops the job, whose items wait for it to be resumed."""
        for result in self._publisher.publish(piece.job, batch.suffix, outputs, is_ours, step):
            if isinstance(result, ItemResult):
                batch.items.append(result)
                continue
            self._stop(piece.job, str(result))

    def _stop(self, job: str, reason: str) -> None:
        log.error("job %s stops: %s", job, reason)
        until_done(lambda: scripts.run(self._redis, "stop", job, "failed", reason))

    def _complete(self, deployment: str, ticket: str, piece: SliceLease, result: "_Result") -> bytes | None:
        """The state that the job is in with this; None when it came too late."""
        batch = result.batch
        batch.finished_unix_us = clock.now_us()
        state: bytes | None = scripts.run(
            self._keeping_connection,
            "complete",
            deployment,
            ticket,
            piece.attempt,
            result.states(piece),
            batch.SerializeToString() if batch.items else b"",
            round(MICROSECONDS * sum(item.audio_s for item in batch.items)),
            round(MICROSECONDS * batch.backend_s),
            sum(item.file_bytes for item in batch.items),
            sum(result.costs),
            max(result.costs, default=0) * len(result.costs),
            nano_dollars(MICROSECONDS * batch.backend_s, self._price_per_hour),
            result.characters,
            result.size,
        )
        if state is None:
            return None
        failed = sum(bool(item.error) for item in batch.items)
        labelled(metrics.JOB_ITEMS, deployment, "succeeded", "").inc(len(batch.items) - failed)
        for reason, count in result.reasons.items():
            labelled(metrics.JOB_ITEMS, deployment, "failed", reason).inc(count)
        return state


@dataclass(frozen=True)
class _Run:
    """The items of a slice, and what the backend made of them: nothing when they are given up.

    Attributes:
        output_format: of the job's files.
        shared: inputs of every item that has none of the name.
        stopped: the job was stopped, or its deadline passed, on the way or before.
    """

    items: Sequence[JobItem]
    outcome: BatchOutcome | None = None
    output_format: OutputFormat = OUTPUT_FORMAT_UNSPECIFIED
    shared: Sequence[Tensor] = ()
    stopped: bool = False


class _Result:
    """What came of a slice: items that are in no result go on waiting.

    Attributes:
        reasons: how many items failed for which, as metrics class them.
        characters, size: of the items that succeeded; the size in bytes.
    """

    def __init__(
        self,
        batch: BatchResult,
        costs: list[int],
        reasons: Mapping[str, int],
        characters: int = 0,
        size: int = 0,
    ) -> None:
        self.batch = batch
        self.costs = costs
        self.reasons = reasons
        self.characters = characters
        self.size = size

    def states(self, piece: SliceLease) -> bytes:
        """The new states of the slice's items, a byte each."""
        states = bytearray(WAITING if state == RUNNING else UNCHANGED for state in piece.states)
        for item in self.batch.items:
            states[item.position - piece.first] = FAILED if item.error else SUCCEEDED
        return bytes(states)


class _Check:
    """Raises when a slice is of no use any more: its job is cancelled or over, or the deadline has passed."""

    def __init__(
        self,
        redis: Redis,
        piece: SliceLease,
        step: Callable[[], None],
        give_way: Callable[[Callable[[], None]], None],
    ) -> None:
        self._redis = redis
        self._piece = piece
        self._step = step
        self._give_way = give_way
        self._looked_at = time.monotonic()  # a slice is only given out of a job that goes on
        self.failure: CancelledError | None = None

    @property
    def has_expired(self) -> bool:
        """Whether the deadline has passed."""
        return clock.now_us() >= self._piece.deadline_unix_us

    def __call__(self) -> None:
        self._step()
        self._give_way(self._step)
        if self.has_expired:
            raise DeadlineExceededError("the job's deadline has passed")
        if time.monotonic() - self._looked_at >= CANCEL_CHECK_S:
            self._looked_at = time.monotonic()
            with contextlib.suppress(RedisError):  # then nobody has said so
                if self._redis.hget(keys.job(self._piece.job), "ending"):
                    self.failure = CancelledError("the job has been stopped")
        if self.failure is not None:
            raise self.failure
