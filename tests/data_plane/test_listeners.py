"""Listeners who take nothing or hang up in the middle, beside those who listen."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest
from redis import Redis

from kernelport import AsyncClient, Speech, tensors
from kernelport.broker import keys
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1 import inference_pb2_grpc
from tests.conftest import serving_stack, stack_settings
from tests.waiting import wait_for

pytestmark = [pytest.mark.alone, pytest.mark.thorough]

EACH = 20
SENTENCE = "The clocks were striking thirteen, and nobody on the stairs looked up at them. "
# Of seven sentences: the first, the second, and then two at a time.
PIECES = 5
MEASURED_S = 15.0
LATE_S = 0.02
# What allocators and buffers may take beyond what they had when everybody had begun.
MOST_GROWTH = 64 * 2**20


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    with serving_stack(stack_settings(bundled_deployments()), ["hibari-en"], tmp_path) as running:
        yield running


@dataclass
class Listener:
    """One who plays a text in real time."""

    underruns: int = 0
    heard: list[Speech] = field(default_factory=list)

    async def listen(self, pieces: AsyncIterator[Speech]) -> None:
        ends_at: float | None = None
        async for piece in pieces:
            now = time.monotonic()
            if ends_at is not None and now > ends_at + LATE_S:
                self.underruns += 1
            ends_at = max(now, ends_at or now) + piece.seconds
            self.heard.append(piece)
        await asyncio.sleep((ends_at or 0.0) - time.monotonic())


def stream(channel: grpc.aio.Channel, sentences: int) -> grpc.aio.UnaryStreamCall:
    inputs = tensors.from_arrays({"text": np.frombuffer((SENTENCE * sentences).encode(), np.uint8)})
    stub = inference_pb2_grpc.InferenceServiceStub(channel)
    return stub.InferStream(pb.InferRequest(model="hibari-en", inputs=inputs), timeout=200)


async def read_all(call: grpc.aio.UnaryStreamCall) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


def memory(own: Stack) -> int:
    """Bytes that the front door and the worker hold."""
    pids = [own.children[name].pid for name in ("front-door", "worker-hibari-en")]
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def in_hand(redis: Redis) -> int:
    return int(redis.zcard(keys.UNACKED_INDEX))  # type: ignore[arg-type]


async def crowd(own: Stack, redis: Redis) -> tuple[list[Listener], int]:
    """What good listeners have heard, and by how many bytes the processes have grown meanwhile."""
    good = [Listener() for _ in range(EACH)]
    async with (
        AsyncClient(own.target, timeout_s=200) as client,
        grpc.aio.insecure_channel(own.target) as channel,
        asyncio.TaskGroup() as group,
    ):
        silent = [stream(channel, 600) for _ in range(EACH)]
        leaving = [stream(channel, 600) for _ in range(EACH)]
        for call in [*silent, *leaving]:
            await call.read()
        tasks = [
            group.create_task(each.listen(client.stream("hibari-en", SENTENCE * 7, seed=n)))
            for n, each in enumerate(good)
        ]
        for call in leaving:
            await call.read()
            call.cancel()
        await asyncio.to_thread(wait_for, lambda: all(each.heard for each in good), 30)
        await asyncio.to_thread(wait_for, lambda: in_hand(redis) <= 2 * EACH, 10)
        before = memory(own)
        await asyncio.sleep(MEASURED_S)
        grown = memory(own) - before
        await asyncio.wait(tasks)
        # What lies in buffers is sent before anybody can be missed.
        await asyncio.to_thread(wait_for, lambda: not in_hand(redis), 120, "the end of those who take nothing")
        for call in silent:
            with pytest.raises(grpc.aio.AioRpcError) as told:
                await read_all(call)
            assert told.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    return good, grown


def test_who_takes_nothing_and_who_hangs_up_is_no_matter_to_those_who_listen(own: Stack) -> None:
    with Redis.from_url(own.settings.redis_url) as redis:
        good, grown = asyncio.run(crowd(own, redis))
        assert [each.underruns for each in good] == [0] * EACH
        assert {len(each.heard) for each in good} == {PIECES}
        assert grown < MOST_GROWTH
        wait_for(lambda: not in_hand(redis), 10)
        wait_for(lambda: not list(redis.scan_iter("kp:progress:*")), what="nothing being left of those who have gone")
