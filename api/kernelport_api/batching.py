"""Forms batches: at once while workers are idle, larger ones while they are busy.

A request leaves in the same turn of the event loop while a worker is idle. While all are busy, requests gather until an
answer makes room, or until they are as many as the last batch that left: then they go on ahead, so that a worker finds
its next batch waiting. A lone request never waits for a timer, and load makes batches grow.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Iterator
from dataclasses import dataclass, field

from kernelport.deployments import Deployment
from kernelport.errors import KernelPortError
from kernelport.internal.v1.queue_pb2 import BatchItem, Completion

# One batch runs while the next is on its way.
BATCHES_PER_WORKER = 2
# A batch costs Celery and Redis as much as several requests do. So each is followed by a pause that grows with the
# number of callers and lets the next batch become worth its cost: nothing for a lone caller, the longest for a crowd.
PAUSE_PER_CALLER_S = 0.000_5
LONGEST_PAUSE_S = 0.008


@dataclass(eq=False)
class Pending:
    """A request between admission and answer.

    Attributes:
        group: requests of one group can share a batch.
        size: bytes of the request.
        submitted_at, published_at: seconds of the monotonic clock.
        flight: the batch it left in; None while it waits here.
    """

    item: BatchItem
    group: Hashable
    size: int
    answer: "asyncio.Future[Completion]"
    submitted_at: float = field(default_factory=time.monotonic)
    published_at: float = 0.0
    flight: "Flight | None" = None


@dataclass(eq=False)
class Flight:
    """A batch that was cut.

    Attributes:
        unanswered: how many of its requests are still without an answer.
        message: the queue entry as published, and its batch's id; empty until then.
        suspected: it was nowhere when last looked for.
    """

    requests: list[Pending]
    unanswered: int
    batch_id: str = ""
    message: bytes = b""
    checked_at: float = 0.0
    suspected: bool = False


Publish = Callable[[str, Flight], Awaitable[None]]


class BatchFormer:
    """Forms the batches of one deployment."""

    def __init__(self, deployment: Deployment, publish: Publish, live_workers: Callable[[], int]) -> None:
        """
        Args:
            publish: puts a flight on the deployment's queue.
            live_workers: how many workers serve the deployment now.
        """
        self._deployment = deployment
        self._publish = publish
        self._live_workers = live_workers
        self._waiting: OrderedDict[Hashable, deque[Pending]] = OrderedDict()
        self._flights: dict[Flight, None] = {}
        self._pump_scheduled = False
        self._unanswered = 0
        self._last_sent_at = 0.0
        self._publishing: set[asyncio.Task[None]] = set()

    @property
    def flights(self) -> list[Flight]:
        """The batches in flight, oldest first."""
        return list(self._flights)

    def submit(self, pending: Pending) -> None:
        """Takes a request in; its batch is formed in this turn of the event loop at the earliest."""
        self._waiting.setdefault(pending.group, deque()).append(pending)
        self._unanswered += 1
        self._schedule_pump()

    def settle(self, pending: Pending) -> None:
        """Notes that a request is done with: answered, expired or given up by its caller."""
        self._unanswered -= 1
        if pending.flight is None:
            self._forget(pending)
            return
        pending.flight.unanswered -= 1
        if pending.flight.unanswered == 0:
            del self._flights[pending.flight]
            self._schedule_pump()

    def _forget(self, pending: Pending) -> None:
        queue = self._waiting[pending.group]
        queue.remove(pending)
        if not queue:
            del self._waiting[pending.group]

    def _schedule_pump(self) -> None:
        if not self._pump_scheduled:
            self._pump_scheduled = True
            asyncio.get_running_loop().call_later(self._pause_s(), self._pump)

    def _pause_s(self) -> float:
        pause_s = min(LONGEST_PAUSE_S, PAUSE_PER_CALLER_S * (self._unanswered - 1)) / max(1, self._live_workers())
        return max(0.0, self._last_sent_at + pause_s - time.monotonic())

    def _pump(self) -> None:
        self._pump_scheduled = False
        workers = max(1, self._live_workers())
        while self._waiting and self._may_send(workers):
            flight = self._cut(idle_workers=max(1, workers - len(self._flights)))
            self._flights[flight] = None
            self._last_sent_at = time.monotonic()
            task = asyncio.create_task(self._send(flight))
            self._publishing.add(task)
            task.add_done_callback(self._publishing.discard)

    def _may_send(self, workers: int) -> bool:
        if len(self._flights) < workers:
            return True
        if len(self._flights) >= BATCHES_PER_WORKER * workers:
            return False
        last, next_group = next(reversed(self._flights)), next(iter(self._waiting.values()))
        return len(next_group) >= min(len(last.requests), self._deployment.batching.max_batch)

    def _cut(self, idle_workers: int) -> Flight:
        """Takes the next batch off the group that has waited its turn longest; idle workers share what waits."""
        limits = self._deployment.batching
        group, queue = next(iter(self._waiting.items()))
        most = min(limits.max_batch, -(-len(queue) // idle_workers))
        requests = [queue.popleft()]
        size = requests[0].size
        while queue and len(requests) < most and size + queue[0].size <= limits.max_bytes:
            size += queue[0].size
            requests.append(queue.popleft())
        del self._waiting[group]
        if queue:
            self._waiting[group] = queue  # its rest goes to the end of the line
        flight = Flight(requests, len(requests))
        for pending in requests:
            pending.flight = flight
        return flight

    async def _send(self, flight: Flight) -> None:
        now = time.monotonic()
        flight.checked_at = now
        for pending in flight.requests:
            pending.published_at = now
        try:
            await self._publish(self._deployment.name, flight)
        except KernelPortError as error:
            for pending in flight.requests:
                if not pending.answer.done():
                    pending.answer.set_exception(error)

    def waiting(self) -> Iterator[Pending]:
        """The requests without an answer: those in flight, then those that gather."""
        for flight in self._flights:
            yield from (pending for pending in flight.requests if not pending.answer.done())
        for queue in self._waiting.values():
            yield from queue
