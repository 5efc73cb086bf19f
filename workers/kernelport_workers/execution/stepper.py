"""Answers many requests at a time, piece by piece: between two steps of the model others come in, or are dropped."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys, registry, scripts
from kernelport.broker.clock import clock
from kernelport.broker.connections import until_done
from kernelport.broker.leases import hand_over
from kernelport.broker.scripts import Progress
from kernelport.config.deployments import Deployment
from kernelport.errors import CancelledError, InternalError, KernelPortError, in_words
from kernelport.internal.v1.queue_pb2 import Batch, BatchItem, Completion, Reply
from kernelport.telemetry import logs, metrics, tracing
from kernelport.v1 import inference_pb2 as pb
from kernelport.wire_format import Part, response_parts
from kernelport_workers.backends.base import Outputs
from kernelport_workers.backends.stepped import Frame, SteppedBackend, WholeAnswer
from kernelport_workers.execution.execution import (
    Answer,
    BatchOutcome,
    Execution,
    Work,
    audio_us,
    cannot_travel,
    failed,
    nano_dollars,
    raise_if_expired,
)
from kernelport_workers.execution.lease import BatchLease
from kernelport_workers.execution.payloads import Payloads
from kernelport_workers.execution.results import ResultCheck, wanted
from kernelport_workers.execution.turns import InHand, Turn, chosen

log = logging.getLogger(__name__)

# Of pieces that wait for their last, and files that are being written: nothing more is taken meanwhile.
MOST_KEPT_BYTES = 512 * 2**20
# How often it is asked which callers have hung up, and which listeners are far behind.
REFRESH_S = 0.1
# A front door that has not been heard of for so long has died: nobody takes the pieces of its streams.
FRONT_DOOR_S = 10.0

GiveAnswer = Callable[[Batch, BatchOutcome | list[Answer]], None]


class Stepper:
    """The requests of stepped deployments that a worker has in hand.

    Args:
        backends: those of the worker; the stepped ones are of concern.
    """

    def __init__(
        self,
        redis: Redis,
        worker_id: str,
        deployments: Mapping[str, Deployment],
        backends: Mapping[str, object],
        executions: Mapping[str, Execution],
        payloads: Payloads,
        answer: GiveAnswer,
        price_per_hour: float,
    ) -> None:
        self._redis = redis
        self._price_per_hour = price_per_hour
        self._worker_id = worker_id
        self._deployments = deployments
        self._backends = {name: each for name, each in backends.items() if isinstance(each, SteppedBackend)}
        self._checks = {name: ResultCheck(each) for name, each in self._backends.items()}
        self._most = {name: each.pieces_a_step for name, each in self._backends.items()}
        self._executions = executions
        self._payloads = payloads
        self._answer = answer
        self._in_hand: list[InHand] = []
        self._refreshed_at = 0.0
        # When front doors of streams in hand were heard of last.
        self._heard_of: dict[str, float] = {}

    @property
    def has_work(self) -> bool:
        """Whether there are requests in hand."""
        return bool(self._in_hand)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for a piece: a caller, or a listener who is not far enough ahead."""
        now = time.monotonic()
        return any(each.can_go_on and each.turn(now)[0] < Turn.AHEAD for each in self._in_hand)

    def takes(self, batch: Batch) -> bool:
        """Whether a batch is one to be answered in pieces: those of older front doors may have several requests."""
        return batch.deployment in self._backends and len(batch.items) == 1

    def deployments_with_room(self) -> set[str]:
        """The stepped deployments of which another request can be taken in hand."""
        if sum(each.kept_bytes for each in self._in_hand) > MOST_KEPT_BYTES:
            return set()
        counts = Counter(each.batch.deployment for each in self._in_hand)
        return {name for name, backend in self._backends.items() if counts[name] < backend.steps.capacity}

    @property
    def deployments(self) -> set[str]:
        """The stepped deployments."""
        return set(self._backends)

    def admit(self, batch: Batch, work: Work, progress: Progress, lease: BatchLease, cleanup: ExitStack) -> None:
        """Takes a request in hand; one that cannot be answered is told so.

        Args:
            progress: what other workers have made of it.
            cleanup: is closed when it has been answered.
        """
        started = time.monotonic()
        item = batch.items[0]
        if span := tracing.take_in_hand(batch, self._worker_id) if tracing.is_on else None:
            cleanup.callback(span.end)
        first = max(item.resume_from, progress.next_index) if item.stream else 0
        try:
            request = self._executions[batch.deployment].prepared(work, clock.now_us())
            utterance = self._backends[batch.deployment].opened(request, first)
        except KernelPortError as error:
            if span:
                tracing.fail(span)
            self._end(batch, cleanup, [failed(batch.items[0].id, error)])
            return
        if utterance.is_done:  # all of it has been sent
            self._end(batch, cleanup, [Answer(Completion(id=item.id, sequence=first), _message(first, {}, last=True))])
            return
        backend = self._backends[batch.deployment]
        whole, is_suspect = WholeAnswer(backend.joined), progress.deaths > 0
        in_hand = InHand(
            batch, work, utterance, lease, cleanup, backend.steps, started, is_suspect, first, whole, span=span
        )
        self._in_hand.append(in_hand)

    def step(self) -> bool:
        """Makes a piece, or as many as the model makes at a time; False when nobody can take one."""
        self._drop()
        step = chosen(self._in_hand, time.monotonic(), self._most)
        if not step:
            return False
        name = step[0].batch.deployment
        begun = {each.batch.id: each.utterance.next_index for each in step}
        until_done(lambda: scripts.begin_pieces(self._redis, begun))
        began = time.monotonic()
        with ExitStack() as limits, logs.about(lambda: ids_of(name, *(each.item for each in step))):
            for each in step:
                limits.enter_context(each.lease.steps_of(self._deployments[name].timeouts.step_s))
            frames = self._backends[name].stepped([each.utterance for each in step])
        took_s = time.monotonic() - began
        self._backends[name].steps.note(took_s, sum(each.seconds for each in frames if isinstance(each, Frame)))
        metrics.BATCH_SIZE.labels(name).observe(len(step))
        metrics.BACKEND_SECONDS.labels(name).observe(took_s)
        for each, frame in zip(step, self._checked(name, frames), strict=True):
            each.backend_s += took_s
            each.used_s += took_s / len(step)
            each.stepped_at = time.monotonic()
            if each.span:
                tracing.record_piece(each.span, name, begun[each.batch.id], took_s)
            self._take(each, frame)
        return True

    def hand_over(self) -> bool:
        """Gives every request back to the queue, to go on where it is, if there is another worker for it; False when
        there is none for some of them."""
        try:
            live = registry.count_live(self._redis)
            for each in list(self._in_hand):
                if live[each.batch.deployment] and hand_over(self._redis, each.batch.id, self._worker_id):
                    self._let_go(each)
        except RedisError as error:
            log.warning("cannot hand requests over yet: %s", error)
        return not self._in_hand

    def _checked(self, name: str, frames: Sequence[Frame | KernelPortError]) -> list[Frame | KernelPortError]:
        given = [each if isinstance(each, KernelPortError) else each.outputs for each in frames]
        results = self._checks[name].checked(given, len(frames))
        checked: list[Frame | KernelPortError] = []
        for frame, result in zip(frames, results, strict=True):
            if isinstance(result, KernelPortError):
                checked.append(result)
            elif isinstance(frame, Frame):
                checked.append(replace(frame, outputs=result))
        return checked

    def _take(self, each: InHand, frame: Frame | KernelPortError) -> None:
        if isinstance(frame, KernelPortError):
            self._fail(each, frame)
        elif each.item.stream and (frame.index >= each.first or frame.is_last):
            self._send(each, frame)
        elif each.item.stream:
            until_done(lambda: scripts.end_piece(self._redis, each.batch.id, frame.index))
        else:
            try:
                each.answer.add(frame)
            # Of another shape than the pieces before, or without one of their outputs; no memory for it.
            except Exception as error:
                self._fail(each, InternalError(f"the model's pieces do not go together: {in_words(error)}"))
                return
            if frame.is_last:
                self._answer_whole(each)
            else:
                until_done(lambda: scripts.end_piece(self._redis, each.batch.id, frame.index))

    def _answer_whole(self, each: InHand) -> None:
        name, warnings = each.batch.deployment, each.utterance.request.warnings
        self._executions[name].note_pace([each.utterance.request], each.backend_s)
        whole = wanted(each.answer.outputs(), each.work.outputs)
        backend_us = round(each.backend_s * 1e6)
        prepare_us = max(0, round((time.monotonic() - each.started) * 1e6) - backend_us)
        used_us = round(each.used_s * 1e6)
        outcome = BatchOutcome([each.item.id], [whole], [warnings], prepare_us, backend_us, each.started, used_us)
        self._let_go(each, outcome)

    def _send(self, each: InHand, frame: Frame) -> None:
        warnings = each.utterance.request.warnings if frame.index == 0 else ()
        outputs = wanted(frame.outputs, each.work.outputs)
        try:
            response = _message(frame.index, outputs, warnings, last=frame.is_last)
        except Exception as error:
            self._fail(each, cannot_travel(error))
            return
        completion = Completion(id=each.item.id, sequence=frame.index, more=not frame.is_last)
        completion.backend_us, completion.used_us = round(each.backend_s * 1e6), round(each.used_s * 1e6)
        completion.audio_us = audio_us(frame.outputs)
        each.backend_s = each.used_s = 0.0
        if each.listens_since is None or each.sent_s < time.monotonic() - each.listens_since:
            # It begins to play, or to play again after it has run dry.
            each.listens_since, each.sent_s = time.monotonic(), 0.0
        each.sent_s += frame.seconds
        if frame.is_last:
            completion.worker_us = round((time.monotonic() - each.started) * 1e6)
            self._let_go(each, [Answer(completion, response)])
            return
        completion.nano_dollars = nano_dollars(completion.used_us, self._price_per_hour)
        sent = self._payloads.put_away(each.batch, [Answer(completion, response)])
        reply = Reply(completions=sent).SerializeToString()
        if not until_done(lambda: scripts.send_piece(self._redis, each.batch, frame.index, reply)):
            self._let_go(each)

    def _fail(self, each: InHand, error: KernelPortError) -> None:
        if each.span:
            tracing.fail(each.span)
        self._let_go(each, [failed(each.item.id, error)])

    def _let_go(self, each: InHand, answer: BatchOutcome | list[Answer] | None = None) -> None:
        """The request is in hand no longer.

        Args:
            answer: the rest of its answer; None where it is not this worker's to give.
        """
        self._in_hand.remove(each)
        if answer is None:
            each.cleanup.close()
        else:
            self._end(each.batch, each.cleanup, answer)

    def _end(self, batch: Batch, cleanup: ExitStack, answer: BatchOutcome | list[Answer]) -> None:
        with cleanup, logs.about(lambda: ids_of(batch.deployment, *batch.items)):
            self._answer(batch, answer)
            until_done(lambda: scripts.forget_progress(self._redis, batch.id))

    def _drop(self) -> None:
        """Drops what nobody waits for any more, and notes which listeners are far behind."""
        self._refresh()
        for each in list(self._in_hand):
            try:
                raise_if_expired(each.item.deadline_unix_us, clock.now_us())
            except KernelPortError as error:
                self._fail(each, error)

    def _refresh(self) -> None:
        if not self._in_hand or time.monotonic() - self._refreshed_at < REFRESH_S:
            return
        self._refreshed_at = time.monotonic()
        in_hand = list(self._in_hand)
        ids = [each.item.id for each in in_hand]
        front_doors = list({each.batch.front_door for each in in_hand if each.item.stream})
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.zmscore(keys.CANCELLED, ids)  # type: ignore[arg-type]
                pipeline.zmscore(keys.PAUSED, ids)  # type: ignore[arg-type]
                for name in front_doors:
                    pipeline.exists(keys.front_door(name))
                cancelled, paused, *alive = pipeline.execute()
        except RedisError:
            return  # nobody has said so
        now = self._refreshed_at
        self._heard_of = {
            name: now if is_alive else self._heard_of.get(name, now)
            for name, is_alive in zip(front_doors, alive, strict=True)
        }
        for each, is_cancelled, is_paused in zip(in_hand, cancelled, paused, strict=True):
            each.is_paused = is_paused is not None
            if is_cancelled is not None:
                self._fail(each, CancelledError("the caller hung up"))
            elif now - self._heard_of.get(each.batch.front_door, now) > FRONT_DOOR_S:
                self._fail(each, CancelledError("the front door has died"))


def ids_of(deployment: str, *items: BatchItem) -> dict[str, object]:
    """What the lines of the log about requests carry."""
    return {"deployment": deployment, "requests": [item.request_id or item.id.decode() for item in items]}


def _message(sequence: int, outputs: Outputs, warnings: Sequence[str] = (), *, last: bool) -> list[Part]:
    """One message of a stream; the last may be one without outputs."""
    return response_parts(outputs, pb.InferResponse(warnings=warnings, sequence=sequence, last=last))
