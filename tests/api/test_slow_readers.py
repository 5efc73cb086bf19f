"""A caller who takes nothing of a stream, or sends nothing of one, is let go of, and so is what was made for it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

import grpc
import pytest

from kernelport.v1 import inference_pb2 as pb
from kernelport_api.calls import AccessLog
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.grpc import inference
from kernelport_api.services.inference import Inference
from tests.access.doors import LETS_ALL_IN

pytestmark = pytest.mark.alone

SHORT_S = 3.0
FIXED_WINDOWS = [("grpc.http2.bdp_probe", 0)]  # a window that grows to many MiB takes long to be read half empty
METHOD = "/kernelport.v1.InferenceService/InferStream"
CHUNKED = "/kernelport.v1.InferenceService/InferChunked"


class Endless:
    """Has as much of an answer as anybody takes."""

    def __init__(self) -> None:
        self.given = 0
        self.is_over = asyncio.Event()

    async def stream(self, *_request: Any) -> AsyncGenerator[bytes]:
        try:
            while True:
                self.given += 1
                yield pb.InferResponse(warnings=["x" * 2**20]).SerializeToString()
        finally:
            self.is_over.set()


@contextlib.asynccontextmanager
async def serving(answer: Endless) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a door."""
    server = grpc.aio.server(options=FIXED_WINDOWS)
    door = inference.InferenceDoor(cast(Inference, answer), Calls(), AccessLog("front-door"), LETS_ALL_IN, 2**20)
    server.add_generic_rpc_handlers([door.handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", FIXED_WINDOWS) as channel:
            yield channel
    finally:
        await server.stop(0)


async def test_a_caller_who_takes_nothing_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "CALLER_S", SHORT_S)
    answer = Endless()
    async with serving(answer) as channel:
        call = channel.unary_stream(METHOD)(pb.InferRequest(model="voice").SerializeToString())
        for _ in range(12):  # who reads is not let go of, however slowly
            await call.read()
            await asyncio.sleep(SHORT_S / 10)
        assert not answer.is_over.is_set()
        await asyncio.wait_for(answer.is_over.wait(), 10)
        given = answer.given
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await _read_all(call)
        assert told.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert told.value.details() == f"nothing of the answer was taken for {SHORT_S:g} s"
        assert answer.given == given


async def test_a_caller_who_sends_nothing_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "CALLER_S", SHORT_S)
    async with serving(Endless()) as channel:
        call = channel.stream_stream(CHUNKED)()
        for _ in range(12):  # who sends is waited for, however slowly
            await call.write(pb.InferChunk(data=b"x").SerializeToString())
            await asyncio.sleep(SHORT_S / 10)
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await _read_all(call)
        assert told.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert told.value.details() == f"nothing of the request was sent for {SHORT_S:g} s"


async def _read_all(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass
