"""What a caller leaves in the middle is given up: calls on their way are cancelled, and nothing stays open."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from kernelport import Client, InvalidArgumentError, KernelPortError
from kernelport.v1 import inference_pb2 as pb
from tests.sdk.servers import Echo, serving

MAPS = ("map", "map_unordered")
X = {"x": np.ones((1, 1, 2, 2), np.float32)}


class Slow(Echo):
    """Answers the request that has an input "first", or refuses it, when three others have come, which it keeps.

    Attributes:
        cancelled: is released by each of these that is.
    """

    def __init__(self, *errors: KernelPortError) -> None:
        super().__init__(*errors)
        self.cancelled = threading.Semaphore(0)
        self._begun = threading.Barrier(4)

    def Infer(self, request: pb.InferRequest, context: Any) -> pb.InferResponse:
        self._begun.wait(10)
        if request.inputs[0].name != "first":
            over = threading.Event()
            context.add_callback(over.set)
            over.wait(10)
            self.cancelled.release()
        return super().Infer(request, context)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("errors", [[], [InvalidArgumentError("no")]], ids=["left", "failed"])
def test_requests_on_their_way_are_cancelled_when_a_map_ends(name: str, errors: list[KernelPortError]) -> None:
    slow = Slow(*errors)
    with serving(slow) as target:
        client = Client(target, timeout_s=30)
        with contextlib.suppress(InvalidArgumentError):
            for _ in getattr(client, name)("m", [{"first": X["x"]}, X, X, X], concurrency=4):
                break
        assert all(slow.cancelled.acquire(timeout=5) for _ in range(3))


def test_threads_that_call_for_the_first_time_share_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[grpc.Channel] = []
    insecure_channel = grpc.insecure_channel

    def slow_channel(*arguments: Any, **options: Any) -> grpc.Channel:
        time.sleep(0.01)
        opened.append(insecure_channel(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(grpc, "insecure_channel", slow_channel)
    with serving(Echo()) as target, Client(target) as client, ThreadPoolExecutor(8) as pool:
        begin = threading.Barrier(8)
        list(pool.map(lambda _: (begin.wait(), client.infer("m", X)), range(8)))
    assert len(opened) == 1
