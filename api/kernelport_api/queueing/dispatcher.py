"""Carries requests to the queue and their answers back, and looks after what is under way."""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncGenerator
from functools import partial

from google.rpc import status_pb2
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from kernelport.broker import scripts
from kernelport.broker.clock import clock
from kernelport.broker.connections import outage
from kernelport.broker.queues import celery_message, queue_keys, queue_name
from kernelport.broker.scripts import IdempotencyHold
from kernelport.config.deployments import Deployment
from kernelport.errors import (
    DeadlineExceededError,
    KernelPortError,
    UnavailableError,
    from_status,
)
from kernelport.internal.v1.queue_pb2 import Batch, BatchItem, Completion
from kernelport.names import DEFAULT_TENANT
from kernelport.stacking import Share
from kernelport.telemetry import logs, metrics, tracing
from kernelport.telemetry.metrics import labelled
from kernelport.v1 import inference_pb2 as pb
from kernelport_api import calls
from kernelport_api.queueing.batcher import Batcher, Flight, Pending
from kernelport_api.queueing.frames import Frames, Pauses
from kernelport_api.queueing.live_workers import WorkerView
from kernelport_api.queueing.multiplexer import Multiplexer, NotSentError
from kernelport_api.queueing.payloads import Payloads
from kernelport_api.queueing.redis_errors import RETRY_AFTER_S, unreachable
from kernelport_api.queueing.replies import ReplyReader
from kernelport_api.queueing.withdrawals import Withdrawals

log = logging.getLogger(__name__)

# Batches without an answer are looked for this often; one is published again when it was nowhere twice in a row.
LOOK_FOR_LOST_S = 3.0
# The hold on a request id outlives its request by this: a worker that finishes late still finds it.
HELD_PAST_DEADLINE_MS = 5000
# Appended to the last message of a stream; an older worker has answered in one, and does not say so.
_LAST = pb.InferResponse(last=True).SerializeToString()


class Dispatcher:
    """What a front door has under way."""

    def __init__(
        self,
        redis: Redis,
        publisher: Multiplexer,
        workers: WorkerView,
        replies: ReplyReader,
        payloads: Payloads,
    ) -> None:
        self._redis = redis
        self._publisher = publisher
        self._payloads = payloads
        self._replies = replies
        self._workers = workers
        # Of the deployments that anything has ever come for. One that was taken out of the file keeps its own: requests
        # that were accepted before have yet to be answered.
        self._batchers: dict[str, Batcher] = {}
        self._policies: dict[str, Deployment] = {}
        self._ids = itertools.count()
        self._withdrawals = Withdrawals(redis)
        self._pauses = Pauses(redis)

    async def run(
        self, deployment: Deployment, share: Share, body: bytes, timeout_s: float, hold: IdempotencyHold | None = None
    ) -> bytes:
        """Queues a serialized InferRequest; returns the serialized InferResponse, with its timings.

        Args:
            share: what the request asks of the run that it shares.
            hold: where the worker keeps the result; such a request runs on when its caller hangs up.

        Raises:
            KernelPortError: what the worker answered, or why there is no answer.
        """
        ends_at = time.monotonic() + timeout_s
        response = await self._run(deployment, share, body, timeout_s, hold, anywhere=False)
        while response is None:
            response = await self._run(
                deployment, share, body, max(0.0, ends_at - time.monotonic()), hold, anywhere=True
            )
        return response

    async def _run(
        self,
        deployment: Deployment,
        share: Share,
        body: bytes,
        timeout_s: float,
        hold: IdempotencyHold | None,
        anywhere: bool,
    ) -> bytes | None:
        """One run; None when the worker that took the request could not get at it.

        Args:
            anywhere: the request must be in reach of workers on other machines.
        """
        name = f"{self._replies.front_door}-{next(self._ids)}"
        request_id = name.encode()
        call = calls.current()
        item = BatchItem(
            id=request_id,
            deadline_unix_us=round((clock.now() + timeout_s) * 1e6),
            result_key=hold.key if hold else "",
            request_id=call.adopt(name),
            tenant=_told(call.principal.tenant),
        )
        if call.replays is not None:
            item.dead_letter = call.replays.id
            item.attempts.extend(call.replays.attempts)
        if tracing.is_on:
            item.traceparent = tracing.traceparent(deployment.name, name)
        await self._payloads.attach(item, deployment.name, body, timeout_s, anywhere)
        pending = Pending(item, share, len(body), self._replies.expect(request_id), hold)
        batcher = self._batcher(deployment)
        batcher.submit(pending)
        timer = asyncio.get_running_loop().call_later(timeout_s, _expire, pending, timeout_s)
        try:
            completion = await pending.answer
            call.model_us, call.queue_us = completion.backend_us, _queued_us(pending, completion)
            _bill(call, completion)
            if completion.error:
                raise from_status(status_pb2.Status.FromString(completion.error))
            if completion.out_of_reach:
                self._payloads.release(item)
                return None
            return await self._payloads.response(completion, _timings(deployment.name, pending, completion, call))
        except asyncio.CancelledError:
            if hold is None:
                self._withdrawals.add([item])
            raise
        finally:
            timer.cancel()
            self._replies.abandon(request_id)
            self._let_go(pending, batcher)

    async def stream(
        self, deployment: Deployment, share: Share, body: bytes, resume_from: int, first_s: float, whole_s: float
    ) -> AsyncGenerator[bytes]:
        """Queues a serialized InferRequest; gives the messages of its answer as they come.

        Args:
            share: what the request asks of the run that it shares.
            resume_from: the sequence of the first message that is wanted.
            first_s, whole_s: seconds to the first message, and for all of them.

        Raises:
            KernelPortError: what the worker answered, or why there is no more of the answer.
        """
        ends_at = time.monotonic() + whole_s
        for anywhere in (False, True):
            left_s = ends_at - time.monotonic()
            async with contextlib.aclosing(
                self._stream(deployment, share, body, resume_from, min(first_s, left_s), left_s, anywhere)
            ) as messages:
                async for message in messages:
                    yield message
                    anywhere = True
            if anywhere:
                return

    async def _stream(
        self,
        deployment: Deployment,
        share: Share,
        body: bytes,
        resume_from: int,
        first_s: float,
        whole_s: float,
        anywhere: bool,
    ) -> AsyncGenerator[bytes]:
        """One run; nothing comes of it when the worker that took the request could not get at it."""
        name = f"{self._replies.front_door}-{next(self._ids)}"
        request_id = name.encode()
        loop = asyncio.get_running_loop()
        began = loop.time()
        call = calls.current()
        item = BatchItem(
            id=request_id,
            deadline_unix_us=round((clock.now() + whole_s) * 1e6),
            stream=True,
            resume_from=resume_from,
            request_id=call.adopt(name),
            tenant=_told(call.principal.tenant),
        )
        if tracing.is_on:
            item.traceparent = tracing.traceparent(deployment.name, name)
        await self._payloads.attach(item, deployment.name, body, whole_s, anywhere)
        frames = Frames(resume_from, partial(self._pauses.set, request_id))
        pending = Pending(item, share, len(body), self._replies.expect_frames(request_id, frames))
        pending.answer.add_done_callback(lambda answer: _fail_with(frames, answer))
        batcher = self._batcher(deployment)
        batcher.submit(pending)
        is_over, limit_s = False, first_s
        try:
            while not is_over:
                try:
                    async with asyncio.timeout_at(began + limit_s):
                        completion = await frames.take()
                except TimeoutError:
                    raise DeadlineExceededError(f"no more of the answer within {limit_s:g} s") from None
                limit_s = whole_s
                is_over = not completion.more
                call.model_us += completion.backend_us
                _bill(call, completion)
                if completion.error:
                    raise from_status(status_pb2.Status.FromString(completion.error))
                if completion.out_of_reach:
                    self._payloads.release(item)
                    return
                tail = b""
                if is_over:
                    call.queue_us = _queued_us(pending, completion)
                    tail = _timings(deployment.name, pending, completion, call) + _LAST
                yield await self._payloads.response(completion, tail)
        finally:
            for completion in frames.close():
                self._payloads.drop(completion)
            if not pending.answer.done():
                self._withdrawals.add([item])
            self._replies.abandon(request_id)
            self._let_go(pending, batcher)

    def _let_go(self, pending: Pending, batcher: Batcher) -> None:
        if pending.flight is None:  # no worker has heard of it
            self._payloads.release(pending.item)
        batcher.release(pending)

    def _batcher(self, deployment: Deployment) -> Batcher:
        """What forms the batches of a deployment, by the policy that it has now."""
        name = deployment.name
        self._policies[name] = deployment
        if name not in self._batchers:
            self._batchers[name] = Batcher(
                name,
                self._publish,
                lambda: len(self._workers.workers(name)),
                lambda: self._workers.batching_of_calls(self._policies[name]),
                lambda: self._workers.capacity(name),
            )
        return self._batchers[name]

    def waiting(self) -> dict[str, list[Pending]]:
        """The requests that are without an answer here, by deployment; of those that have any."""
        return {name: waiting for name, batcher in self._batchers.items() if (waiting := list(batcher.waiting()))}

    async def keep_looking(self) -> None:
        """Looks for ever after batches that are without an answer.

        Redis gives a message out a moment before kombu notes the delivery. A worker that dies in between takes the
        message with it, and nobody but the front door that published it can tell.
        """
        suspects: set[Flight] = set()
        while True:
            await asyncio.sleep(LOOK_FOR_LOST_S)
            self._payloads.sweep()
            began_by = time.monotonic() - LOOK_FOR_LOST_S
            missing: set[Flight] = set()
            for name, batcher in list(self._batchers.items()):
                for flight in batcher.flights:
                    if 0 < flight.published_at <= began_by and await self._is_missing(name, flight):
                        missing.add(flight)
                        if flight in suspects:
                            with logs.about(partial(_ids, name, flight)):
                                await self._publish_again(name, flight)
            suspects = missing

    async def _is_missing(self, deployment: str, flight: Flight) -> bool:
        message, queues = self._message(deployment, flight), queue_keys(deployment)
        try:
            return await scripts.is_lost(self._redis, flight.batch_id, len(flight.requests), message, queues)
        except RedisError as error:
            outage.tell(error)
            return False

    async def _publish_again(self, deployment: str, flight: Flight) -> None:
        batch_id = flight.batch_id
        log.warning("batch %s of %s was lost on its way to a worker; publishing it again", batch_id, deployment)
        labelled(metrics.REPUBLISHED, deployment).inc()
        try:
            await self._push(deployment, flight)
        except RedisError as error:
            outage.tell(error)
        except KernelPortError as error:
            log.warning("cannot publish batch %s again: %s", batch_id, error)

    async def _publish(self, deployment: str, flight: Flight) -> None:
        try:
            await self._push(deployment, flight)
        except (NotSentError, ResponseError) as error:
            raise unreachable(error) from error
        except RedisError as error:
            # Redis may have taken it. Those with a request_id run on: repeated, they find what came of them.
            self._withdrawals.add([pending.item for pending in flight.requests if not pending.hold])
            raise unreachable(error, "the request may still run") from error

    def _message(self, deployment: str, flight: Flight) -> bytes:
        """The queue entry that carries a flight, the same each time."""
        batch = Batch(
            id=flight.batch_id,
            deployment=deployment,
            front_door=self._replies.front_door,
            shared_folder=self._payloads.folder_id,
            items=[pending.item for pending in flight.requests],
        )
        return celery_message(batch)

    async def _push(self, deployment: str, flight: Flight) -> None:
        """Queues a flight's message; with it, the holds on its request ids come to last as long as it may run.

        Raises:
            RedisError: it is not certain to be queued.
            UnavailableError: it is not, since a hold is lost.
        """
        message = self._message(deployment, flight)
        lasting = {
            pending.hold: pending.item.deadline_unix_us // 1000 + HELD_PAST_DEADLINE_MS
            for pending in flight.requests
            if pending.hold
        }
        # A batch that is published again may have requests that are long past their deadlines: they hold nothing.
        holds = {hold: ends_at_ms for hold, ends_at_ms in lasting.items() if ends_at_ms > clock.now() * 1000}
        if not holds:
            await self._publisher.call("LPUSH", queue_name(deployment), message)
        elif not await scripts.publish_held(self._redis, queue_name(deployment), message, holds):
            # Another call may run under the id by now.
            raise UnavailableError(
                "the front door was held up for so long that a request_id was free again: nothing has run",
                retry_after_s=RETRY_AFTER_S,
            )


def _fail_with(frames: Frames, answer: "asyncio.Future[Completion]") -> None:
    """An answer that failed here, and not at a worker, ends its stream."""
    if not answer.cancelled() and isinstance(error := answer.exception(), KernelPortError):
        frames.fail(error)


def _expire(pending: Pending, timeout_s: float) -> None:
    if not pending.answer.done():
        pending.answer.set_exception(DeadlineExceededError(f"no answer within {timeout_s:g} s"))


def _ids(deployment: str, flight: Flight) -> dict[str, object]:
    """What lines of the log about a batch carry."""
    requests = [pending.item.request_id or pending.item.id.decode() for pending in flight.requests]
    return {"deployment": deployment, "batch": flight.batch_id, "requests": requests}


def _queued_us(pending: Pending, completion: Completion) -> int:
    """Microseconds from its batch's publication until now, without what the worker took."""
    return max(0, round((time.monotonic() - pending.published_at) * 1e6) - completion.worker_us)


def _bill(call: calls.Call, completion: Completion) -> None:
    """Notes what a call has taken of a worker."""
    call.audio_us += completion.audio_us
    call.used_us += completion.used_us
    call.nano_dollars += completion.nano_dollars


def _timings(deployment: str, pending: Pending, completion: Completion, call: calls.Call) -> bytes:
    """The timing fields as serialized protobuf; appended to a serialized InferResponse they become part of it."""
    forming_us = round((pending.published_at - pending.submitted_at) * 1e6)
    call.batched_us = forming_us + completion.prepare_us
    if tracing.is_on:
        tracing.record_way(deployment, time.time_ns(), forming_us, call.queue_us + completion.worker_us, completion)
    timings = pb.InferResponse(queued_us=call.queue_us, batched_us=call.batched_us, backend_us=completion.backend_us)
    return timings.SerializeToString()


def _told(tenant: str) -> str:
    """A tenant as messages name it."""
    return "" if tenant == DEFAULT_TENANT else tenant
