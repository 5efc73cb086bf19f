"""Forms batches: at once while workers are idle, larger ones while they are busy.

A deployment has a number of batches in flight that keeps its workers busy. Below that number a request leaves in the
same turn of the event loop; above it, requests gather until an answer makes room. A lone request never waits for a
timer, and load makes batches grow.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

from kernelport.deployments import Deployment
from kernelport.errors import KernelPortError
from kernelport.internal.v1.queue_pb2 import BatchItem, Completion

# One batch runs while the next is on its way, so that a worker never waits for the front door.
BATCHES_PER_WORKER = 2


@dataclass(eq=False)
class Pending:
    """A request between admission and answer.

    Attributes:
        group: requests of one group can share a batch.
        submitted_at, published_at: seconds of the monotonic clock.
    """

    item: BatchItem
    group: Hashable
    answer: "asyncio.Future[Completion]"
    submitted_at: float = field(default_factory=time.monotonic)
    published_at: float = 0.0
    batch: "Flight | None" = None


@dataclass(eq=False)
class Flight:
    """A published batch: how many of its requests are still without an answer."""

    unanswered: int


Publish = Callable[[str, list[BatchItem]], Awaitable[None]]


class BatchFormer:
    """Forms the batches of one deployment."""

    def __init__(self, deployment: Deployment, publish: Publish, live_workers: Callable[[], int]) -> None:
        """
        Args:
            publish: puts the items of one batch on the deployment's queue.
            live_workers: how many workers serve the deployment now.
        """
        self._deployment = deployment
        self._publish = publish
        self._live_workers = live_workers
        self._waiting: OrderedDict[Hashable, deque[Pending]] = OrderedDict()
        self._in_flight = 0
        self._pump_scheduled = False
        self._publishing: set[asyncio.Task[None]] = set()

    def submit(self, pending: Pending) -> None:
        """Takes a request in; its batch is formed in this turn of the event loop at the earliest."""
        self._waiting.setdefault(pending.group, deque()).append(pending)
        self._schedule_pump()

    def settle(self, pending: Pending) -> None:
        """Notes that a request is done with: answered, expired or given up by its caller."""
        if pending.batch is None:
            self._forget(pending)
            return
        pending.batch.unanswered -= 1
        if pending.batch.unanswered == 0:
            self._in_flight -= 1
            self._schedule_pump()

    def _forget(self, pending: Pending) -> None:
        queue = self._waiting.get(pending.group)
        if queue is not None and pending in queue:
            queue.remove(pending)
            if not queue:
                del self._waiting[pending.group]

    def _schedule_pump(self) -> None:
        if not self._pump_scheduled:
            self._pump_scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_scheduled = False
        while self._waiting and self._in_flight < BATCHES_PER_WORKER * max(1, self._live_workers()):
            batch = self._cut()
            self._in_flight += 1
            flight = Flight(len(batch))
            for pending in batch:
                pending.batch = flight
            task = asyncio.create_task(self._send(batch))
            self._publishing.add(task)
            task.add_done_callback(self._publishing.discard)

    def _cut(self) -> list[Pending]:
        """Takes the next batch off the group that has waited its turn longest."""
        limits = self._deployment.batching
        group, queue = next(iter(self._waiting.items()))
        batch = [queue.popleft()]
        size = len(batch[0].item.request)
        while queue and len(batch) < limits.max_batch and size + len(queue[0].item.request) <= limits.max_bytes:
            size += len(queue[0].item.request)
            batch.append(queue.popleft())
        del self._waiting[group]
        if queue:
            self._waiting[group] = queue  # its rest goes to the end of the line
        return batch

    async def _send(self, batch: list[Pending]) -> None:
        now = time.monotonic()
        for pending in batch:
            pending.published_at = now
        try:
            await self._publish(self._deployment.name, [pending.item for pending in batch])
        except KernelPortError as error:
            for pending in batch:
                if not pending.answer.done():
                    pending.answer.set_exception(error)
