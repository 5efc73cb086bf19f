"""Forms batches: at once while workers are idle, larger ones while they are busy.

A request leaves in the same turn of the event loop while a worker is idle. While all are busy, requests wait until an
answer makes room, or until they are as many as the last batch that left: then they go on ahead, so that a worker finds
its next batch waiting. A lone request never waits for a timer, and load makes batches grow.
"""

import asyncio
import contextvars
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterator
from dataclasses import dataclass, field

from kernelport.broker.scripts import IdempotencyHold
from kernelport.config.deployments import Batching
from kernelport.errors import KernelPortError
from kernelport.internal.v1.queue_pb2 import BatchItem, Completion
from kernelport.stacking import RunSize, Share
from kernelport_api.queueing.batch_queue import BatchQueue

# Queues whose callers all have their answers, and may be back with the next request: they are remembered.
IDLE_QUEUES_KEPT = 256


@dataclass(eq=False)
class Pending:
    """A request between admission and answer.

    Attributes:
        share: what it asks of the run that it shares; requests of one share group can share a batch.
        size: bytes of the request.
        hold: on the request's id, if it has one.
        submitted_at, published_at: seconds of the monotonic clock.
        flight: the batch it left in; None while it waits here.
    """

    item: BatchItem
    share: Share
    size: int
    answer: "asyncio.Future[Completion]"
    hold: IdempotencyHold | None = None
    submitted_at: float = field(default_factory=time.monotonic)
    published_at: float = 0.0
    flight: "Flight | None" = None


@dataclass(eq=False)
class Flight:
    """A batch that was cut.

    Attributes:
        unanswered: how many of its requests are still without an answer.
    """

    requests: list[Pending]
    unanswered: int

    @property
    def batch_id(self) -> str:
        """The id of its batch."""
        return self.requests[0].item.id.decode() + "b"

    @property
    def published_at(self) -> float:
        """Seconds of the monotonic clock; 0 until then."""
        return self.requests[0].published_at


Publish = Callable[[str, Flight], Awaitable[None]]


class Batcher:
    """Forms the batches of one deployment."""

    def __init__(
        self,
        deployment: str,
        publish: Publish,
        live_workers: Callable[[], int],
        limits: Callable[[], Batching],
        capacity: Callable[[], int],
    ) -> None:
        """
        Args:
            publish: puts a flight on the deployment's queue.
            live_workers: how many workers serve the deployment now.
            limits: what may share a batch now.
            capacity: how many batches may be in flight now.
        """
        self._deployment = deployment
        self._publish = publish
        self._live_workers = live_workers
        self._limits = limits
        self._capacity = capacity
        self._queues: dict[Hashable, BatchQueue[Pending]] = {}
        self._idle_queues: OrderedDict[Hashable, BatchQueue[Pending]] = OrderedDict()
        self._waiting: OrderedDict[Hashable, BatchQueue[Pending]] = OrderedDict()
        self._flights: dict[Flight, None] = {}
        self._send_due_is_soon = False
        # A batch is not the doing of the one request that happened to complete it: logs must not say so.
        self._context = contextvars.Context()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf
        self._publishing: set[asyncio.Task[None]] = set()

    @property
    def flights(self) -> list[Flight]:
        """The batches in flight, oldest first."""
        return list(self._flights)

    def submit(self, pending: Pending) -> None:
        """Takes a request in; its batch is formed in this turn of the event loop at the earliest."""
        queue = self._queues.get(pending.share.group)
        if queue is None:
            key = pending.share.group
            queue = self._queues[key] = self._idle_queues.pop(key, BatchQueue(key))
        queue.add(pending)
        if queue.key not in self._waiting:
            self._waiting[queue.key] = queue
            self._send_due_soon()
        elif self._alarm is None or len(queue.waiting) >= queue.worth_sending_from:
            self._send_due_soon()  # else the alarm is early enough: a request more only makes its queue's delay longer

    def release(self, pending: Pending) -> None:
        """Notes that a request is done with: answered, expired or given up by its caller."""
        queue = self._queues[pending.share.group]
        queue.unanswered -= 1
        flight, pending.flight = pending.flight, None  # no cycle is left for the garbage collector to find
        if flight is None:
            queue.waiting.remove(pending)
            if not queue.waiting:
                del self._waiting[queue.key]
        else:
            flight.unanswered -= 1
            if flight.unanswered == 0:
                del self._flights[flight]
                self._send_due_soon()
        if not queue.unanswered:
            self._idle_queues[queue.key] = self._queues.pop(queue.key)
            if len(self._idle_queues) > IDLE_QUEUES_KEPT:
                self._idle_queues.popitem(last=False)

    def _send_due_soon(self) -> None:
        if not self._send_due_is_soon:
            self._send_due_is_soon = True
            asyncio.get_running_loop().call_soon(self._send_due, context=self._context)

    def _send_due(self, now: float | None = None) -> None:
        self._send_due_is_soon = False
        now = time.monotonic() if now is None else now
        workers, limits, capacity = max(1, self._live_workers()), self._limits(), self._capacity()
        sent: set[BatchQueue[Pending]] = set()
        while len(self._flights) < capacity and (queue := self._next(workers, limits.max_batch, now, sent)):
            flight = self._form(queue, limits, idle_workers=max(1, workers - len(self._flights)))
            self._flights[flight] = None
            sent.add(queue)
            task = asyncio.create_task(self._send(flight))
            self._publishing.add(task)
            task.add_done_callback(self._publishing.discard)
        for queue in sent:
            queue.note_sent(now)

    def _next(
        self, workers: int, most: int, now: float, begun: Collection[BatchQueue[Pending]]
    ) -> BatchQueue[Pending] | None:
        """The queue that fills the next batch, the first whose delay is over; None while none may leave.

        Args:
            most: requests of a batch.
            begun: queues of which a batch leaves this very moment: what one worker leaves is for the other idle ones.
        """
        due_at = math.inf
        for queue in self._waiting.values():
            queue_due_at = queue.due_at(workers)
            if queue in begun or now >= queue_due_at or queue.is_worth_sending(most, workers):
                return queue if self._has_room(len(queue.waiting), workers, most) else None
            due_at = min(due_at, queue_due_at)
        if due_at < self._alarm_at:
            self._set_alarm(due_at, now)
        return None

    def _has_room(self, requests: int, workers: int, most: int) -> bool:
        """Whether a worker is idle, or so many requests may go on ahead of one that will be."""
        if len(self._flights) < workers:
            return True
        last = next(reversed(self._flights))
        return requests >= min(len(last.requests), most)

    def _set_alarm(self, due_at: float, now: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_later(due_at - now, self._on_alarm)
        self._alarm_at = due_at

    def _on_alarm(self) -> None:
        due_at, self._alarm, self._alarm_at = self._alarm_at, None, math.inf
        self._send_due(max(due_at, time.monotonic()))  # a timer can be early by what it rounds off

    def _form(self, queue: BatchQueue[Pending], limits: Batching, idle_workers: int) -> Flight:
        """Takes the next batch off a queue; idle workers share what waits."""
        waiting = queue.waiting
        most = min(limits.max_batch, -(-len(waiting) // idle_workers))
        run = RunSize(limits)
        requests: list[Pending] = []
        while waiting and len(requests) < most and run.admits(waiting[0].share, waiting[0].size):
            requests.append(waiting.popleft())
        del self._waiting[queue.key]
        if waiting:
            self._waiting[queue.key] = queue  # its rest goes behind the others
        flight = Flight(requests, len(requests))
        for pending in requests:
            pending.flight = flight
        return flight

    async def _send(self, flight: Flight) -> None:
        now = time.monotonic()
        for pending in flight.requests:
            pending.published_at = now
        try:
            await self._publish(self._deployment, flight)
        except KernelPortError as error:
            for pending in flight.requests:
                if not pending.answer.done():
                    pending.answer.set_exception(error)

    def waiting(self) -> Iterator[Pending]:
        """The requests without an answer: those in flight, then those that wait."""
        for flight in self._flights:
            yield from (pending for pending in flight.requests if not pending.answer.done())
        for queue in self._waiting.values():
            yield from queue.waiting
