"""Requests and answers in chunks: what is in them is what `Infer` takes and gives."""

from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from kernelport import AsyncClient, NotFoundError, ResourceExhaustedError
from kernelport.client.inference.coding import LARGE_BYTES
from kernelport.errors import InvalidArgumentError, from_call
from kernelport.supervisor.stack import Stack
from kernelport.tensors import from_array, to_array
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1 import inference_pb2_grpc

LARGE = np.arange(4 * 2**20, dtype=np.float32).reshape(1, 1, 2048, 2048)


def chunks_of(data: bytes, size: int) -> Iterator[pb.InferChunk]:
    yield from (pb.InferChunk(data=data[begin : begin + size]) for begin in range(0, len(data), size))


@pytest.fixture
def stub(stack: Stack) -> Iterator[inference_pb2_grpc.InferenceServiceStub]:
    with grpc.insecure_channel(stack.target) as channel:
        yield inference_pb2_grpc.InferenceServiceStub(channel)


@pytest.mark.parametrize("size", [7, 1000, 2**20])
def test_chunks_of_any_size_are_one_request(stub: inference_pb2_grpc.InferenceServiceStub, size: int) -> None:
    array = LARGE[:, :, :50, :50] if size < 1000 else LARGE
    request = pb.InferRequest(model="identity-onnx", inputs=[from_array("x", array)])
    answer = list(stub.InferChunked(chunks_of(request.SerializeToString(), size), timeout=60))
    assert all(len(chunk.data) <= 2**20 for chunk in answer)
    (output,) = pb.InferResponse.FromString(b"".join(chunk.data for chunk in answer)).outputs
    np.testing.assert_array_equal(to_array(output), array)


def test_what_is_wrong_is_told_as_by_infer(stub: inference_pb2_grpc.InferenceServiceStub) -> None:
    for data, expected in (
        (b"", InvalidArgumentError),
        (b"\xff" * 10, InvalidArgumentError),
        (pb.InferRequest(model="nobody").SerializeToString(), NotFoundError),
    ):
        with pytest.raises(grpc.RpcError) as told:
            list(stub.InferChunked(chunks_of(data, 1000), timeout=30))
        assert isinstance(from_call(told.value), expected)


async def test_an_async_client_sends_what_is_large_in_chunks(stack: Stack) -> None:
    async with AsyncClient(stack.target, timeout_s=60) as client:
        for array in (LARGE, LARGE[:, :, :2, :2], LARGE.transpose(0, 1, 3, 2)):
            result = await client.infer("identity-onnx", {"x": array})
            np.testing.assert_array_equal(result["y"], array)
        assert LARGE.nbytes > LARGE_BYTES


async def test_chunks_that_are_too_many_are_refused_with_the_settings_name(stack: Stack) -> None:
    most = stack.settings.max_message_bytes
    async with AsyncClient(stack.target, timeout_s=60) as client:
        with pytest.raises(ResourceExhaustedError, match="KERNELPORT_MAX_MESSAGE_BYTES"):
            await client.infer("identity-onnx", {"x": np.zeros((1, 1, 1, most // 4 + 1), np.float32)})
        assert (await client.infer("identity-onnx", {"x": LARGE[:, :, :2, :2]}))["y"].size == 4
