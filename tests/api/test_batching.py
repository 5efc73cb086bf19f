"""How batches are formed, on a former whose queue is a list."""

import asyncio
import gc
import weakref
from collections.abc import Hashable
from types import SimpleNamespace

import pytest

from kernelport.config.deployments import Batching
from kernelport.errors import UnavailableError
from kernelport.internal.v1.queue_pb2 import BatchItem
from kernelport.stacking import Share
from kernelport_api.queueing.batcher import IDLE_QUEUES_KEPT, Batcher, Flight, Pending
from kernelport_api.queueing.live_workers import BATCHES_PER_WORKER


class Bench:
    """A former with its queue, and requests numbered as they come."""

    def __init__(self, workers: int = 1, **batching: int) -> None:
        self.limits = Batching(**batching)
        self.sent: list[list[bytes]] = []
        self.batcher = Batcher(
            "d", self._publish, lambda: workers, lambda: self.limits, lambda: BATCHES_PER_WORKER * workers
        )
        self._count = 0

    async def _publish(self, deployment: str, flight: Flight) -> None:
        self.sent.append([pending.item.id for pending in flight.requests])

    async def pumped(self) -> None:
        """Waits until the former has sent what need not wait for a timer."""
        for _ in range(3):
            await asyncio.sleep(0)

    async def settled(self) -> None:
        """Waits until the former has sent what it is going to send by itself."""
        await asyncio.sleep(0)
        while self.batcher._send_due_is_soon or self.batcher._alarm or self.batcher._publishing:  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def answered_crowd(self, size: int) -> None:
        """So many requests of the same moment come and get their answers."""
        expected_concurrency = [self.submit() for _ in range(size)]
        await self.pumped()
        for pending in expected_concurrency:
            self.batcher.release(pending)

    def submit(self, group: Hashable = None, size: int = 1, share: Share | None = None) -> Pending:
        self._count += 1
        item = BatchItem(id=str(self._count).encode(), request=b"x")
        pending = Pending(item, share or Share(group), size, asyncio.get_running_loop().create_future())
        self.batcher.submit(pending)
        return pending


@pytest.fixture
def clock_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause is over but by its timer, however slow the machine is."""
    monkeypatch.setattr("kernelport_api.queueing.batcher.time", SimpleNamespace(monotonic=lambda: 1000.0))


async def test_a_lone_request_leaves_at_once() -> None:
    bench = Bench()
    bench.submit()
    await bench.settled()
    assert bench.sent == [[b"1"]]


async def test_a_lone_caller_never_waits_for_a_timer() -> None:
    bench = Bench()
    for number in range(1, 4):
        pending = bench.submit()
        await bench.pumped()
        assert len(bench.sent) == number
        bench.batcher.release(pending)


async def test_a_crowd_gathers_again_until_most_of_it_is_back(clock_stands_still: None) -> None:
    bench = Bench()
    await bench.answered_crowd(10)
    for _ in range(7):
        bench.submit()
    await bench.pumped()
    assert [len(batch) for batch in bench.sent] == [10]
    bench.submit()
    await bench.pumped()
    assert [len(batch) for batch in bench.sent] == [10, 8]


async def test_a_crowd_that_is_not_back_is_not_waited_for_long(clock_stands_still: None) -> None:
    bench = Bench()
    await bench.answered_crowd(10)
    for _ in range(3):
        bench.submit()
    await bench.pumped()
    assert len(bench.sent) == 1
    await bench.settled()
    assert [len(batch) for batch in bench.sent] == [10, 3]


async def test_a_lone_caller_after_a_crowd_does_not_wait(clock_stands_still: None) -> None:
    bench = Bench()
    await bench.answered_crowd(10)
    for number in range(2, 5):
        pending = bench.submit()
        await bench.pumped()
        assert len(bench.sent) == number
        bench.batcher.release(pending)


async def test_a_full_batch_does_not_wait(clock_stands_still: None) -> None:
    bench = Bench(max_batch=4)
    expected_concurrency = [bench.submit() for _ in range(100)]
    await bench.pumped()
    for count, pending in enumerate(expected_concurrency[:80], 1):
        bench.batcher.release(pending)
        await bench.pumped()
        assert len(bench.sent) == BATCHES_PER_WORKER + count // 4


async def test_requests_that_cannot_share_a_batch_do_not_wait_for_each_other(clock_stands_still: None) -> None:
    bench = Bench()
    expected_concurrency = [bench.submit(group=number) for number in range(100)]
    await bench.pumped()
    for count, pending in enumerate(expected_concurrency, 1):
        bench.batcher.release(pending)
        await bench.pumped()
        assert len(bench.sent) == min(BATCHES_PER_WORKER + count, 100)


async def test_groups_of_long_ago_are_forgotten() -> None:
    bench = Bench()
    for number in range(2 * IDLE_QUEUES_KEPT):
        pending = bench.submit(group=number)
        await bench.pumped()
        bench.batcher.release(pending)
    assert len(bench.batcher._idle_queues) == IDLE_QUEUES_KEPT
    assert not bench.batcher._queues


async def test_an_answered_request_leaves_nothing_to_the_garbage_collector() -> None:
    bench = Bench()
    gc.disable()
    try:
        pending = bench.submit()
        await bench.settled()
        bench.batcher.release(pending)
        await bench.settled()
        gone = weakref.ref(pending)
        del pending
        assert gone() is None
    finally:
        gc.enable()


async def test_requests_of_the_same_moment_share_a_batch() -> None:
    bench = Bench()
    for _ in range(5):
        bench.submit()
    await bench.settled()
    assert bench.sent == [[b"1", b"2", b"3", b"4", b"5"]]


async def test_requests_gather_while_workers_are_busy_and_leave_when_one_answers() -> None:
    bench = Bench()
    busy = []
    for _ in range(BATCHES_PER_WORKER):
        busy.append(bench.submit())
        await bench.settled()
    for _ in range(4):
        bench.submit()
        await bench.settled()
    assert len(bench.sent) == BATCHES_PER_WORKER
    bench.batcher.release(busy[0])
    await bench.settled()
    assert bench.sent[-1] == [b"3", b"4", b"5", b"6"]


async def test_the_batch_that_goes_on_ahead_is_as_large_as_the_one_before_it() -> None:
    bench = Bench()
    for _ in range(3):
        bench.submit()
    await bench.settled()
    for _ in range(2):
        bench.submit()
        await bench.settled()
    assert bench.sent == [[b"1", b"2", b"3"]], "two gather behind three"
    bench.submit()
    await bench.settled()
    assert bench.sent == [[b"1", b"2", b"3"], [b"4", b"5", b"6"]]


async def test_idle_workers_share_what_waits() -> None:
    bench = Bench(workers=3)
    for _ in range(7):
        bench.submit()
    await bench.settled()
    assert [len(batch) for batch in bench.sent] == [3, 2, 2]


async def test_idle_workers_share_what_is_back_of_a_crowd(clock_stands_still: None) -> None:
    bench = Bench(workers=4)
    await bench.answered_crowd(40)
    for _ in range(8):
        bench.submit()
    await bench.pumped()
    assert [len(batch) for batch in bench.sent] == [10] * 4 + [2] * 4


async def test_more_workers_take_more_batches() -> None:
    bench = Bench(workers=3)
    for _ in range(20):
        bench.submit()
        await bench.settled()
    assert len(bench.sent) == 3 * BATCHES_PER_WORKER


async def test_a_batch_keeps_to_max_batch_and_max_bytes() -> None:
    bench = Bench(max_batch=3, max_bytes=10)
    requests = [bench.submit(size=size) for size in (4, 4, 4, 1, 1, 1, 1, 50)]
    await bench.settled()
    for pending in requests:  # each answer lets the next batch go
        bench.batcher.release(pending)
        await bench.settled()
    assert bench.sent == [[b"1", b"2"], [b"3", b"4", b"5"], [b"6", b"7"], [b"8"]]


async def test_only_compatible_requests_share_a_batch_and_groups_take_turns() -> None:
    bench = Bench(max_batch=2)
    requests = [bench.submit(group) for group in "aabba"]
    await bench.settled()
    for pending in requests:
        bench.batcher.release(pending)
        await bench.settled()
    assert bench.sent == [[b"1", b"2"], [b"3", b"4"], [b"5"]]


async def test_a_request_given_up_while_waiting_is_never_sent() -> None:
    bench = Bench(workers=1, max_batch=1)
    requests = [bench.submit() for _ in range(BATCHES_PER_WORKER + 2)]
    await bench.settled()
    bench.batcher.release(requests[-2])
    bench.batcher.release(requests[0])
    await bench.settled()
    assert bench.sent[-1] == [requests[-1].item.id]


async def test_requests_given_up_before_their_batch_is_out_still_make_room() -> None:
    bench = Bench()
    for _ in range(3 * BATCHES_PER_WORKER):
        bench.batcher.release(bench.submit())
        await bench.settled()
    bench.submit()
    await bench.settled()
    assert bench.sent


async def test_a_failed_publication_fails_its_requests() -> None:
    bench = Bench()

    async def refuse(deployment: str, flight: Flight) -> None:
        raise UnavailableError("no queue")

    bench.batcher = Batcher("d", refuse, lambda: 1, Batching, lambda: 2)
    pending = bench.submit()
    with pytest.raises(UnavailableError, match="no queue"):
        await pending.answer
