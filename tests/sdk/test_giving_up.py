"""What a caller leaves in the middle is given up: calls on their way are cancelled, and nothing stays open."""

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from kernelport import (
    AsyncClient,
    Client,
    FailedPreconditionError,
    InvalidArgumentError,
    KernelPortError,
    UnavailableError,
)
from kernelport.supervisor.stack import Stack
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
        over = threading.Event()
        context.add_callback(over.set)
        self._begun.wait(10)
        if request.inputs[0].name != "first":
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


@pytest.mark.parametrize("name", MAPS)
async def test_a_generator_of_inputs_is_closed_with_the_map(name: str) -> None:
    closed = asyncio.Event()

    async def inputs() -> AsyncIterator[dict[str, np.ndarray]]:
        try:
            while True:
                yield X
        finally:
            closed.set()

    coming = inputs()
    with serving(Echo()) as target:
        async with AsyncClient(target) as client:
            async with contextlib.aclosing(getattr(client, name)("m", coming, concurrency=2)) as answers:
                await anext(answers)
            assert closed.is_set()


async def test_a_client_that_is_closed_connects_no_more() -> None:
    connections = 0

    def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    gc.disable()
    try:
        async with AsyncClient(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", max_retries=0) as client:
            with pytest.raises(UnavailableError) as raised:
                await client.infer("m", X)
        before = connections
        await asyncio.sleep(3)  # gRPC would try about four times
        assert connections <= before + 1  # which was on its way
        assert "cannot connect" in raised.value.message  # an error that the caller keeps does not keep the connection
    finally:
        gc.enable()
        server.close()


def test_a_later_loop_is_told_nothing_of_calls_that_were_cancelled() -> None:
    told: list[Any] = []

    async def leave(target: str) -> None:
        async with AsyncClient(target) as client:
            async for _ in client.map("m", [X] * 64):
                break

    async def call(target: str) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with AsyncClient(target) as client:
            await client.infer("m", X)

    with serving(Echo()) as target:
        for _ in range(5):
            asyncio.run(leave(target))
            asyncio.run(call(target))
    assert told == []


@pytest.mark.filterwarnings("error")
def test_a_client_of_a_loop_that_stands_still_can_be_closed_elsewhere() -> None:
    with serving(Echo()) as target:
        client, loop = AsyncClient(target), asyncio.new_event_loop()
        loop.run_until_complete(client.infer("m", X))
        asyncio.run(client.close())
        loop.close()
        gc.collect()


async def test_closing_ends_a_submission_at_its_next_item(stack: Stack) -> None:
    def items(close: Callable[[], Any]) -> Iterator[dict[str, np.ndarray]]:
        yield X
        close()
        yield X
        raise AssertionError("the submission went on")

    client, async_client = Client(stack.target), AsyncClient(stack.target)
    with pytest.raises(FailedPreconditionError, match="the client is closed"):
        client.jobs.submit("identity-onnx", items(client.close))

    async def coming() -> AsyncIterator[dict[str, np.ndarray]]:
        yield X
        await async_client.close()
        yield X
        raise AssertionError("the submission went on")

    with pytest.raises(FailedPreconditionError, match="the client is closed"):
        await async_client.jobs.submit("identity-onnx", coming())
