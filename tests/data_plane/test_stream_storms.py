"""Two hundred streams on one worker, and what they need is killed under them."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from redis import Redis

from kernelport import Client, tensors
from kernelport.broker import keys
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.worker_command import worker_command
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1 import inference_pb2_grpc
from tests.conftest import serving_stack, stack_settings
from tests.stack.models import pipeline, write_deployments
from tests.waiting import wait_for

pytestmark = [pytest.mark.alone, pytest.mark.thorough]

STREAMS, PIECES = 200, 12
AGAIN_S = 0.1
LIMIT_S = 100.0


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    file = write_deployments(tmp_path, counting=pipeline("CountingTogether", timeouts={"request_s": LIMIT_S}))
    settings = replace(stack_settings(file), lease_s=3.0, heartbeat_ttl_s=4.0)
    with serving_stack(settings, ["counting"], tmp_path / "state") as stack:
        yield stack


class Listener:
    """One who hears numbers, and goes on behind the last that was heard when told that there are no more for now."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.told: list[str] = []

    async def listen(self, target: str) -> None:
        inputs = tensors.from_arrays({"count": np.array([PIECES]), "fatal": np.array([-1])})
        async with grpc.aio.insecure_channel(target) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            while True:
                request = pb.InferRequest(model="counting", inputs=inputs, resume_from=len(self.heard))
                try:
                    async for answer in stub.InferStream(request, timeout=LIMIT_S):
                        if answer.outputs:
                            self.heard += tensors.to_arrays(answer.outputs)["numbers"].tolist()
                        if answer.last:
                            return
                    self.told.append("the stream ended before its last message")
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    self.told.append(error.details() or "")
                await asyncio.sleep(AGAIN_S)


async def _storm(stack: Stack, victim: str) -> list[Listener]:
    listeners = [Listener() for _ in range(STREAMS)]
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        for each in listeners:
            group.create_task(each.listen(stack.target))
        await asyncio.to_thread(wait_for, lambda: sum(bool(each.heard) for each in listeners) > STREAMS // 4)
        pid = stack.children[victim].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    return listeners


async def _stops(stack: Stack, stopped: list[int]) -> list[Listener]:
    """Streams under which workers are told to stop, each once the one before has."""
    listeners = [Listener() for _ in range(STREAMS)]
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        for each in listeners:
            group.create_task(each.listen(stack.target))
        await asyncio.to_thread(wait_for, lambda: sum(bool(each.heard) for each in listeners) > STREAMS // 4)
        for pid in stopped:
            os.kill(pid, signal.SIGTERM)
            await asyncio.to_thread(wait_for, lambda pid=pid: not _lives(pid), 60)
    return listeners


def _lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_that_stop_one_after_the_other_cut_no_stream(own: Stack) -> None:
    environment = {**os.environ, **own.settings.to_environment()}
    further = [
        subprocess.Popen(
            worker_command(["counting"]), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    try:
        with Client(own.target, timeout_s=30) as client:
            wait_for(lambda: client.deployment("counting").live_workers == 3, 60)
        first = own.children["worker-counting"].pid
        assert first is not None
        listeners = asyncio.run(_stops(own, [first, further[0].pid]))
    finally:
        for worker in further:
            worker.kill()
            worker.wait(30)
    assert all(each.heard == list(range(PIECES)) for each in listeners)
    assert not [told for each in listeners for told in each.told], "nobody notices"


@pytest.mark.parametrize("victim", ["front-door", "redis", "worker-counting"])
def test_every_stream_is_whole_and_nobody_hears_anything_twice(own: Stack, victim: str) -> None:
    listeners = asyncio.run(_storm(own, victim))
    assert all(each.heard == list(range(PIECES)) for each in listeners)
    if victim == "front-door":
        assert any(each.told for each in listeners), "those whose front door has died are told so"
    with Redis.from_url(own.settings.redis_url) as redis:
        # What was made for the dead front door is given up.
        wait_for(lambda: not redis.zcard(keys.UNACKED_INDEX), 40)
        wait_for(lambda: not list(redis.scan_iter("kp:progress:*")), what="nothing being left of streams that are over")
