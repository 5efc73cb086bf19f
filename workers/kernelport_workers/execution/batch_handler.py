"""Takes a delivered batch through its life: count the attempt, run it or not, answer."""

import contextlib
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys, large, scripts, tallies
from kernelport.broker.clock import clock
from kernelport.broker.connections import until_done
from kernelport.broker.dedicated import DedicatedClient
from kernelport.broker.queues import celery_message
from kernelport.broker.scripts import DeliveryState, ReadDeliveryState
from kernelport.broker.shared_folder import SharedFolder
from kernelport.config.deployments import Deployment
from kernelport.config.settings import Settings
from kernelport.errors import CancelledError, DeadlineExceededError, InternalError
from kernelport.internal.v1.queue_pb2 import Batch, BatchItem, Completion, Reply
from kernelport.names import DEFAULT_TENANT
from kernelport.telemetry import logs, metrics, tracing
from kernelport.v1.dead_letter_pb2 import Attempt, DeadLetter
from kernelport.v1.inference_pb2 import InferRequest
from kernelport.wire_format import data_of_inputs, has_outline, outlined
from kernelport_workers.backends.base import Backend
from kernelport_workers.execution.execution import (
    Answer,
    BatchOutcome,
    Epilogue,
    Execution,
    Overlap,
    Work,
    failed,
    nano_dollars,
    raise_if_expired,
)
from kernelport_workers.execution.lease import BatchLease, Leases
from kernelport_workers.execution.payloads import Payloads
from kernelport_workers.execution.stepper import Stepper, ids_of

log = logging.getLogger(__name__)

CANCEL_CHECK_S = 0.25
MICROSECONDS = 1_000_000
STAGED_FROM_BYTES = 2**18


class BatchHandler:
    """What a worker does with the batches that Celery hands it.

    Args:
        overlap: what the message before has left to do.
    """

    def __init__(
        self,
        redis: Redis,
        settings: Settings,
        worker_id: str,
        deployments: Mapping[str, Deployment],
        backends: Mapping[str, Backend],
        leases: Leases,
        overlap: Overlap,
        shared: SharedFolder | None = None,
    ) -> None:
        self._redis = redis
        self._settings = settings
        self._worker_id = worker_id
        self._deployments = deployments
        self._executions = {name: Execution(backend) for name, backend in backends.items()}
        self._overlap = overlap
        self._payloads = Payloads(redis, shared, worker_id, settings.claim_bytes)
        self._leases = leases
        # A batch can be delivered again until its lease has run out unrenewed and somebody has looked.
        self._done_ttl_s = 2 * settings.lease_s
        self.stepper = Stepper(
            redis,
            worker_id,
            deployments,
            backends,
            self._executions,
            self._payloads,
            self._answer,
            settings.price_per_hour,
        )

    @cached_property
    def _connection(self) -> DedicatedClient:
        """One connection for answers."""
        return DedicatedClient.of(self._redis)

    def handle(self, batch: Batch, read_state: ReadDeliveryState | None = None) -> Epilogue:
        """Runs a batch, unless another worker has done so; then what is left is to answer every request of it.

        Waits for Redis while it is away.

        Args:
            read_state: says what is known of it once this attempt has been counted; None when nobody counts it.
        """
        if self.stepper.takes(batch):
            with logs.about(lambda: _ids(batch)):
                self._take_in_hand(batch, read_state)
            return lambda: "in hand: its pieces take turns with others"
        with contextlib.ExitStack() as stack:
            lease = stack.enter_context(self._leases.lease(batch.id))
            with logs.about(lambda: _ids(batch)):
                outcome = self._outcome(batch, read_state, lease)
            still_held = stack.pop_all()

        def epilogue() -> None:
            with still_held, logs.about(lambda: _ids(batch)):
                if outcome is not None:
                    self._answer(batch, outcome)

        return epilogue

    def _take_in_hand(self, batch: Batch, read_state: ReadDeliveryState | None) -> None:
        """Leaves a request whose answer is made in pieces to the stepper, unless it must not run."""
        state = self._read_state(batch, read_state)
        if not state.attempts:
            metrics.DUPLICATES_DROPPED.labels(batch.deployment).inc()
            until_done(lambda: scripts.acknowledge(self._redis, batch.id))
            return
        (request,) = self._payloads.requests(batch)
        if not self._payloads.are_in_reach(batch):
            self._answer(batch, [Answer(Completion(id=batch.items[0].id, out_of_reach=True))])
            return
        progress = until_done(lambda: scripts.read_progress(self._redis, batch.id))
        if progress.deaths >= self._deployments[batch.deployment].limits.max_attempts:
            self._answer(batch, [self._bury(batch, request, batch.items[0].attempts, state.attempts[:-1])])
            return
        (cancelled,) = self._cancelled(batch) if state.some_cancelled else [False]
        with contextlib.ExitStack() as stack:
            lease = stack.enter_context(self._leases.lease(batch.id))
            work = self._work(batch, batch.items[0], request, cancelled, lease, clock.now_us())
            self.stepper.admit(batch, work, progress, lease, stack.pop_all())

    def _outcome(
        self, batch: Batch, read_state: ReadDeliveryState | None, lease: BatchLease
    ) -> BatchOutcome | list[Answer] | None:
        """What to answer; None when somebody else does."""
        started = time.monotonic()
        state = self._read_state(batch, read_state)
        if not state.attempts:
            metrics.DUPLICATES_DROPPED.labels(batch.deployment).inc()
            until_done(lambda: scripts.acknowledge(self._redis, batch.id))
            return None
        earlier = state.attempts[:-1]
        if earlier and len(batch.items) > 1:
            self._split(batch, earlier)
            return None
        shared = batch.items[0].attempts if len(batch.items) == 1 else []
        if any(item.request_claim or item.request_file for item in batch.items):
            self._overlap.begin()  # their bytes take a while to fetch
        requests = self._payloads.requests(batch)
        if not self._payloads.are_in_reach(batch):
            return [Answer(Completion(id=item.id, out_of_reach=True)) for item in batch.items]
        most = self._deployments[batch.deployment].limits.max_attempts
        if len(earlier) >= most:
            return [self._bury(batch, requests[0], shared, earlier)]
        if shared or most == 1:
            self._overlap.alone()
        cancelled = self._cancelled(batch) if state.some_cancelled else [False] * len(batch.items)
        return self._run(batch, requests, cancelled, started, lease)

    def _read_state(self, batch: Batch, read_state: ReadDeliveryState | None) -> DeliveryState:
        """What is known of a batch, this attempt counted."""
        state = read_state() if read_state else None
        if state is None:
            attempt = Attempt(worker=self._worker_id, unix_us=clock.now_us())
            state = until_done(lambda: scripts.count_attempt(self._redis, batch.id, attempt))
        if len(state.attempts) > 1:
            until_done(lambda: tallies.count(self._redis, keys.REDELIVERIES, [batch.deployment]))
            # This worker may have run it, and not answered yet: its lease can run out while Redis refuses.
            self._overlap.alone()
            same = state.attempts[-1]
            state = until_done(lambda: scripts.count_attempt(self._redis, batch.id, same))
        return state

    def _split(self, batch: Batch, attempts: Sequence[Attempt]) -> None:
        """The worker that ran these together died: each goes on by itself, so that one cannot take the rest along. The
        death is kept as history and held against none of them: nobody knows whose doing it was."""
        log.warning("batch %s is back after %d attempts: its requests go on singly", batch.id, len(attempts))
        messages = []
        for index, item in enumerate(batch.items):
            single_id = scripts.single_id(batch.id, index)
            single = Batch(deployment=batch.deployment, front_door=batch.front_door, id=single_id, items=[item])
            single.items[0].attempts.extend(attempts)
            messages.append(celery_message(single))
        until_done(lambda: scripts.split(self._redis, batch, messages, self._done_ttl_s))

    def _bury(self, batch: Batch, request: bytes | None, shared: Sequence[Attempt], alone: Sequence[Attempt]) -> Answer:
        (item,) = batch.items
        reason = f"workers died over it alone: {', '.join(attempt.worker for attempt in alone)}"
        letter = DeadLetter(
            id=item.dead_letter or batch.id,  # a request has one dead letter, however often it is replayed
            deployment=batch.deployment,
            reason=reason,
            attempts=[*shared, *alone],
            unix_us=clock.now_us(),
            request=request or b"",
            request_bytes=len(request or b""),
        )
        until_done(lambda: scripts.bury(self._redis, letter, item.tenant or DEFAULT_TENANT))
        metrics.DEAD_LETTERS.labels(batch.deployment).inc()
        log.error("dead letter %s of %s: %s", letter.id, letter.deployment, reason)
        return failed(item.id, InternalError(f"given up as dead letter {letter.id}: {reason}"))

    def _run(
        self,
        batch: Batch,
        requests: Sequence[bytes | None],
        cancelled: Sequence[bool],
        started: float,
        lease: BatchLease,
    ) -> BatchOutcome:
        now_us = clock.now_us()
        work = [self._work(batch, *each, lease, now_us) for each in zip(batch.items, requests, cancelled, strict=True)]
        with lease.steps_of(self._deployments[batch.deployment].timeouts.step_s):
            ran = self._executions[batch.deployment].run_all(work, started, self._overlap)
        metrics.BATCH_SIZE.labels(batch.deployment).observe(len(work))
        metrics.BACKEND_SECONDS.labels(batch.deployment).observe(ran.backend_us / MICROSECONDS)
        return ran

    def _work(
        self,
        batch: Batch,
        item: BatchItem,
        request: bytes | None,
        cancelled: bool,
        lease: BatchLease,
        now_us: int,
    ) -> Work:
        checked_at = time.monotonic()

        def check() -> None:
            nonlocal checked_at
            lease.step()
            raise_if_expired(item.deadline_unix_us, clock.now_us())
            if time.monotonic() - checked_at >= CANCEL_CHECK_S:
                checked_at = time.monotonic()
                if self._is_cancelled(item):
                    raise CancelledError("the caller hung up")

        work = Work(item.id, (), item.deadline_unix_us, check, tick=lease.step, tenant=item.tenant or DEFAULT_TENANT)
        if cancelled:
            work.failure = CancelledError("the caller hung up")
        elif item.deadline_unix_us <= now_us:
            metrics.EXPIRED_DROPPED.labels(batch.deployment).inc()
            work.failure = DeadlineExceededError("the deadline passed while the request waited")
        elif request is None:
            work.failure = InternalError("the request's data is gone from Redis")
        else:
            is_outlined = has_outline(request)
            parsed = outlined(request) if is_outlined else InferRequest.FromString(request)
            work.data = data_of_inputs(request) if is_outlined else ()
            work.inputs, work.outputs = parsed.inputs, parsed.outputs
        return work

    def _cancelled(self, batch: Batch) -> list[bool]:
        ids: list[Any] = [item.id for item in batch.items]
        scores: Any = until_done(lambda: self._redis.zmscore(keys.CANCELLED, ids))
        return [score is not None for score in scores]

    def _is_cancelled(self, item: BatchItem) -> bool:
        try:
            return self._redis.zscore(keys.CANCELLED, item.id) is not None
        except RedisError:
            return False  # nobody has said so

    def _answer(self, batch: Batch, outcome: BatchOutcome | list[Answer]) -> None:
        limits = [self._answer_limit(item) for item in batch.items]
        answers = outcome.answers(limits) if isinstance(outcome, BatchOutcome) else outcome
        completions = [completion for completion, _ in answers]
        if self._settings.price_per_hour:
            for completion in completions:
                completion.nano_dollars = nano_dollars(completion.used_us, self._settings.price_per_hour)
        if tracing.is_on and not self.stepper.takes(batch):  # which has spans of its own
            tracing.record_batch(batch, completions, time.time_ns(), self._worker_id)
        results = {
            item.result_key: b"".join(response)
            for item, (completion, response) in zip(batch.items, answers, strict=True)
            if item.result_key and not completion.out_of_reach  # it goes on elsewhere, under the same hold
        }
        results = {key: self._staged(response) for key, response in results.items()}
        reply = Reply(completions=self._payloads.put_away(batch, answers)).SerializeToString()
        first = until_done(
            lambda: scripts.complete(
                self._connection, batch, reply, results, self._done_ttl_s, self._settings.results_kept_s
            )
        )
        if not first:
            metrics.DUPLICATES_DROPPED.labels(batch.deployment).inc()
            return  # its requests may go on singly: they need their payloads
        self._payloads.release(batch)
        log.debug("answered %d requests", len(completions))

    def _staged(self, response: bytes) -> bytes:
        """What stands for a response that is to be kept: a large one is handed over by itself."""
        if len(response) < STAGED_FROM_BYTES:
            return response
        key = keys.response(secrets.token_hex(16))
        until_done(partial(large.write, self._connection, key, response, keys.STAGED_TTL_S))
        return scripts.response_at(key)

    def _answer_limit(self, item: BatchItem) -> int:
        """The bytes that an answer may have; one that is kept for its request id is a value of Redis."""
        limit = self._settings.max_answer_bytes
        return min(limit, keys.LARGEST_VALUE_BYTES) if item.result_key else limit


def _ids(batch: Batch) -> dict[str, object]:
    """What the lines of the log are about while a batch is at work."""
    return {**ids_of(batch.deployment, *batch.items), "batch": batch.id}
