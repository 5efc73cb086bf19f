"""Workers that are told to stop, and a Redis that goes away and comes back, while requests are under way."""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis as AsyncRedis

from kernelport import DeadlineExceededError, KernelPortError, UnavailableError, tensors
from kernelport.broker import keys, scripts
from kernelport.broker.queues import celery_message, queue_keys
from kernelport.config.deployments import load_deployments
from kernelport.internal.v1.queue_pb2 import Batch, BatchItem
from kernelport.v1.inference_pb2 import InferRequest
from kernelport_api.queueing.idempotency import HOLD_S
from kernelport_workers.backends.base import Backend, Outputs, Request
from kernelport_workers.consumer.consumer import MessageConsumer
from kernelport_workers.execution.batch_handler import BatchHandler
from kernelport_workers.execution.execution import Epilogue
from kernelport_workers.execution.lease import Leases
from tests.data_plane.conftest import Plane
from tests.stack.models import HELD, Journal
from tests.waiting import is_running, wait_for

Start = Callable[..., Plane]
TOLD_WITHIN_S = 5.0
PAUSE_S = 5.5
WORKER_STOP_S = 30.0


def test_a_worker_told_to_stop_hands_on_what_it_has_not_begun(running: Plane) -> None:
    first = running.worker_pid()
    with _second_worker(running), ThreadPoolExecutor(200) as pool:
        calls = [pool.submit(running.infer, number, 0.01) for number in range(200)]
        wait_for(lambda: len(running.entries()) > 20)
        os.kill(first, signal.SIGTERM)
        wait_for(lambda: not is_running(first), WORKER_STOP_S)
        assert [call.result() for call in calls] == list(range(200))
    assert Counter(running.entries()) == Counter(range(200)), "each ran once"
    wait_for(lambda: running.unanswered() == 0)


def test_an_answer_does_not_wait_for_the_model_s_next_run(plane: Start) -> None:
    running = plane(batching={"max_batch": 1})
    with ThreadPoolExecutor(3) as pool:
        pool.submit(running.infer, 1, 2.0)
        wait_for(lambda: running.entries() == [1])
        second = pool.submit(running.infer, 2)  # waits on the queue: its answer is what is left when it has run
        wait_for(lambda: running.waiting() == 2)
        third = pool.submit(running.infer, 3, HELD)
        assert second.result() == 2
        wait_for(lambda: running.entries() == [1, 2, 3])
        assert not third.done()
        running.release()
        assert third.result() == 3


def test_a_redis_that_restarts_under_load_loses_nothing(running: Plane) -> None:
    redis = running.stack.children["redis"]
    with ThreadPoolExecutor(40) as pool:
        accepted = [pool.submit(running.infer, number, 0.1) for number in range(30)]
        wait_for(lambda: len(running.entries()) > 5)
        killed = redis.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        told, took_s = _refusal(running, timeout_s=0.1)
        assert isinstance(told, UnavailableError)
        assert took_s < TOLD_WITHIN_S
        wait_for(lambda: redis.pid not in (None, killed))
        assert _answer_after_outage(running, 100) == 100
        assert [number for number, call in enumerate(accepted) if not _answered_or_told(call, number)] == []
    assert sum(1 for call in accepted if call.exception() is None) >= 25, "what was on the queue was answered"
    wait_for(lambda: running.unanswered() == 0)


def test_connections_that_redis_has_closed_are_not_used(running: Plane) -> None:
    with ThreadPoolExecutor(30) as pool:

        def call_all(first: int) -> list[int]:
            """A request id takes a connection of the front door's for each call."""
            numbers = range(first, first + 30)
            return [call.result() for call in [pool.submit(running.infer, n, request_id=f"id-{n}") for n in numbers]]

        assert call_all(0) == list(range(30))
        running.redis.client_kill_filter(_type="normal", skipme=True)
        assert _answer_after_outage(running, 99) == 99
        assert call_all(100) == list(range(100, 130))


def test_a_redis_that_stands_still_is_noticed_and_used_again(running: Plane) -> None:
    redis = running.stack.children["redis"].pid
    assert redis is not None
    with ThreadPoolExecutor() as pool:
        under_way = pool.submit(running.infer, 1, 1.0)
        wait_for(lambda: running.entries() == [1])
        os.kill(redis, signal.SIGSTOP)
        try:
            told, took_s = _refusal(running, timeout_s=30)
            assert isinstance(told, UnavailableError)
            assert took_s < TOLD_WITHIN_S
        finally:
            os.kill(redis, signal.SIGCONT)
        assert _answer_after_outage(running, 2) == 2
        assert under_way.result() == 1


def test_a_request_whose_caller_was_told_that_it_may_run_is_withdrawn_when_redis_is_back(plane: Start) -> None:
    running = plane(settings={"lease_s": 30.0})
    redis = running.stack.children["redis"].pid
    assert redis is not None
    with ThreadPoolExecutor() as pool:
        busy = pool.submit(running.infer, 1, HELD)
        wait_for(lambda: running.entries() == [1])
        os.kill(redis, signal.SIGSTOP)
        try:
            with pytest.raises(UnavailableError, match="the request may still run"):
                running.infer(2)
        finally:
            os.kill(redis, signal.SIGCONT)
        wait_for(lambda: running.cancelled() == 1)
        assert running.redis.llen("kp.journal") == 1, "Redis took it when it went on"
        running.release()
        assert busy.result() == 1
        assert running.infer(3) == 3
    assert running.entries() == [1, 3]


def test_a_front_door_that_stands_still_finds_its_answers_when_it_goes_on(running: Plane) -> None:
    front_door = running.stack.children["front-door"].pid
    assert front_door is not None
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(running.infer, 1, 1.0)]
        wait_for(lambda: running.entries() == [1])
        calls.append(pool.submit(running.infer, 2, 0.5))
        wait_for(lambda: running.redis.llen("kp.journal") == 1)
        running.client.deployments()  # by now it has seen that the queue took both
        os.kill(front_door, signal.SIGSTOP)
        try:
            time.sleep(PAUSE_S)  # nothing tells of it when every time limit of the front door has passed
        finally:
            os.kill(front_door, signal.SIGCONT)
        going_on_at = time.monotonic()
        assert [call.result() for call in calls] == [1, 2]
        assert time.monotonic() - going_on_at < TOLD_WITHIN_S
    assert sorted(running.entries()) == [1, 2], "each ran once"


def test_a_request_id_that_never_reached_the_queue_is_free_again(plane: Start) -> None:
    """Its front door died while the request gathered: the next call does not wait for its deadline."""
    running = plane(timeouts={"request_s": 120.0})
    front_door = running.stack.children["front-door"]
    with ThreadPoolExecutor() as pool:
        busy = [pool.submit(running.infer, number, 1.0) for number in range(3)]  # as many as may be on their way
        wait_for(lambda: running.entries() and running.redis.llen("kp.journal"))
        lost = pool.submit(running.infer, 3, request_id="once")
        wait_for(lambda: running.redis.exists("kp:result:once"))
        os.kill(front_door.pid or 0, signal.SIGKILL)
        for call in (*busy, lost):
            assert isinstance(call.exception(), UnavailableError)
        started = time.monotonic()
        assert _answer_after_outage(running, 3, request_id="once") == 3
        assert time.monotonic() - started < HOLD_S + TOLD_WITHIN_S
    assert running.entries().count(3) == 1


@pytest.mark.parametrize("meanwhile", ["free again", "another call's"])
def test_a_front_door_that_finds_a_request_id_gone_runs_nothing(running: Plane, meanwhile: str) -> None:
    """It stood still while the request gathered, for so long that its claim on the id ran out."""
    name = meanwhile.partition(" ")[0]
    key = keys.result(name)
    with ThreadPoolExecutor() as pool:
        busy = [pool.submit(running.infer, 0, HELD)]
        wait_for(lambda: running.entries())
        busy += [pool.submit(running.infer, number, HELD) for number in (1, 2)]
        wait_for(lambda: running.redis.llen("kp.journal"))  # no more may be on their way
        late = pool.submit(running.infer, 3, request_id=name)
        wait_for(lambda: running.redis.exists(key))
        if meanwhile == "free again":
            running.redis.delete(key)
        else:
            running.redis.hset(key, "call", "another")
        running.release()
        assert isinstance(late.exception(), UnavailableError)
        answered = [number for number, call in enumerate(busy) if call.exception() is None]
        assert sorted(running.entries()) == answered, "whoever waited in the same batch was told, and has not run"
        running.redis.delete(key)
        assert running.infer(3, request_id=name) == running.infer(3, request_id=name) == 3
    assert running.entries().count(3) == 1


async def test_a_batch_is_not_lost_while_one_of_its_requests_is_somewhere(plane: Start) -> None:
    running = plane(workers=False)
    single = celery_message(Batch(id=scripts.single_id("b", 1), deployment="journal"))
    async with AsyncRedis.from_url(running.stack.settings.redis_url) as redis:

        async def is_lost() -> bool:
            return await scripts.is_lost(redis, "b", 2, b"as published", queue_keys("journal"))

        assert await is_lost()
        running.redis.lpush("kp.journal", single)
        assert not await is_lost(), "a request waits by itself"
        running.redis.delete("kp.journal")
        running.redis.hset(keys.UNACKED, scripts.single_id("b", 1), single)
        assert not await is_lost(), "a worker has it"
        running.redis.delete(keys.UNACKED)
        running.redis.set(keys.done(scripts.single_id("b", 0)), "", ex=60)
        assert not await is_lost(), "one was answered a moment ago"
        running.redis.delete(keys.done(scripts.single_id("b", 0)))
        running.redis.lpush("kp.journal", b'{"id": "b", "redelivered": true}')
        assert not await is_lost(), "kombu put it back, in other words"
        running.redis.delete("kp.journal")
        assert await is_lost()


def test_a_worker_that_comes_too_late_leaves_the_requests_to_others(plane: Start) -> None:
    """While it stood still, another worker split its batch: the single requests still need their data."""
    running = plane(workers=False)
    settings, batch = running.stack.settings, _batch_of_one(running)

    class Overtaken(Journal):
        def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
            assert scripts.split(running.redis, batch, [b"the single request"], 60)
            return super().run(requests)

    deployments = load_deployments(settings.deployments_file)
    overtaken: dict[str, Backend] = {"journal": Overtaken()}
    leases, overlap = Leases(running.redis, settings.lease_s), MessageConsumer(running.redis, "late")
    BatchHandler(running.redis, settings, "late", deployments, overtaken, leases, overlap).handle(batch)()
    assert running.entries() == [1]
    assert running.redis.exists("kp:claim:1")
    assert not running.redis.exists("kp:replies:f")


def test_a_batch_that_comes_back_to_the_worker_that_has_run_it_is_answered_and_runs_no_more(plane: Start) -> None:
    """Its lease ran out between its run and its answer, while Redis refused."""
    running = plane(workers=False)
    settings, batch = running.stack.settings, _batch_of_one(running)

    class Left:
        """What the message before has left to do."""

        def __init__(self) -> None:
            self.finish: Epilogue = lambda: None

        def begin(self) -> None:
            """Not yet: Redis refuses."""

        def alone(self) -> None:
            self.finish()

    left, deployments = Left(), load_deployments(settings.deployments_file)
    leases = Leases(running.redis, settings.lease_s)
    delivery = BatchHandler(running.redis, settings, "late", deployments, {"journal": Journal()}, leases, left)
    left.finish = delivery.handle(batch)
    delivery.handle(batch)()
    assert running.entries() == [1]
    assert running.redis.llen("kp:replies:f") == 1


def _batch_of_one(running: Plane) -> Batch:
    """A batch `b` of the front door `f`, whose request lies beside the queue."""
    batch = Batch(id="b", deployment="journal", front_door="f", items=[BatchItem(id=b"1", request_claim="kp:claim:1")])
    batch.items[0].deadline_unix_us = round((time.time() + 60) * 1e6)
    inputs = {"number": np.array([1], np.int64), "seconds": np.array([0], np.float32)}
    request = InferRequest(model="journal", inputs=tensors.from_arrays(inputs)).SerializeToString()
    running.redis.set("kp:claim:1", request, ex=60)
    return batch


@contextmanager
def _second_worker(running: Plane) -> Iterator["subprocess.Popen[bytes]"]:
    worker = running.start_worker()
    try:
        wait_for(lambda: running.client.deployment("journal").live_workers == 2)
        yield worker
    finally:
        worker.terminate()
        worker.wait(WORKER_STOP_S)


def _refusal(running: Plane, timeout_s: float) -> tuple[KernelPortError, float]:
    """The first refusal of a call, and how many seconds that call took.

    A call that gathers behind others is not refused: it is given up soon, for the next to try its luck.
    """

    def refused() -> tuple[KernelPortError, float] | None:
        started = time.monotonic()
        try:
            running.infer(99, timeout_s=timeout_s)
        except DeadlineExceededError:
            return None
        except KernelPortError as error:
            return error, time.monotonic() - started
        return None

    return wait_for(refused)


def _answer_after_outage(running: Plane, number: int, **options: Any) -> int:
    """The answer to the first call that is not UNAVAILABLE."""

    def answer() -> int | None:
        try:
            return running.infer(number, **options)
        except UnavailableError:
            return None

    return wait_for(answer)


def _answered_or_told(call: "Future[int]", number: int) -> bool:
    """Whether a call was answered rightly, or told that the queue was out of reach."""
    error = call.exception(timeout=30)
    if error is None:
        return call.result() == number
    return isinstance(error, UnavailableError)
