"""A crowd is served or told, and one caller's large input costs the others nothing."""

import asyncio
import contextlib
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status

from kernelport import AlreadyExistsError, AsyncClient, Client, InvalidArgumentError
from kernelport.limits import MAX_STRING_ELEMENTS
from kernelport.supervisor.stack import Stack
from kernelport.v1 import dead_letter_pb2, deployment_pb2, inference_pb2, job_pb2, voice_pb2
from kernelport.v1 import inference_pb2 as pb
from tests.e2e.calls import INFER, refusal, start

CROWD = 3500  # gRPC itself cancels some from 1,000 on, and all from 3,000 on
IMAGE = {"x": np.ones((1, 1, 2, 2), np.float32)}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ACKNOWLEDGED = 1
FILES = (dead_letter_pb2, deployment_pb2, inference_pb2, job_pb2, voice_pb2, health_pb2)
METHODS = [
    method for file in FILES for service in file.DESCRIPTOR.services_by_name.values() for method in service.methods
]


def image_request() -> bytes:
    return pb.InferRequest(
        model="identity-onnx", inputs=[pb.Tensor(name="x", dtype=pb.F32, shape=[1, 1, 2, 2], data=bytes(16))]
    ).SerializeToString()


async def test_a_crowd_on_one_connection_is_answered_or_told_when_to_come_back(stack: Stack) -> None:
    async with grpc.aio.insecure_channel(stack.target) as channel:
        call = channel.unary_unary(INFER)

        async def outcome() -> str:
            try:
                return "answered" if await call(image_request(), timeout=60) else "empty"
            except grpc.aio.AioRpcError as error:
                status = rpc_status.from_call(error)  # type: ignore[arg-type]
                has_time = any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)
                return f"{error.code().name} {'with' if has_time else 'without'} a time"

        outcomes = Counter(await asyncio.gather(*(outcome() for _ in range(CROWD))))
    assert set(outcomes) <= {"answered", "RESOURCE_EXHAUSTED with a time"}
    assert outcomes["answered"] > CROWD / 2


async def test_a_crowd_with_one_request_id_runs_once_and_leaves_room_for_others(stack: Stack) -> None:
    async with AsyncClient(stack.target, timeout_s=30) as client:
        same = [client.infer("identity-onnx", IMAGE, request_id="crowd") for _ in range(300)]
        others = [client.infer("identity-onnx", IMAGE, request_id=f"crowd-{number}") for number in range(40)]
        results = await asyncio.gather(*same, *others)
    assert len({result.queued_us for result in results[:300]} - {0}) == 1, "it ran once; kept results have no timings"


def test_a_request_id_is_one_over_all_deployments(client: Client) -> None:
    client.infer("identity-onnx", IMAGE, request_id="one-id")
    with pytest.raises(AlreadyExistsError, match="request_id"):
        client.infer("helion-demo", {"x": np.ones((1, 4), np.float32)}, request_id="one-id")


def test_pings_are_answered_with_and_without_calls_unless_they_come_in_floods(stack: Stack) -> None:
    with connection(stack.target) as connected:
        for _ in range(4):
            connected.sendall(frame(PING, bytes(8)))
            assert wait_for_frame(connected, PING) == ACKNOWLEDGED
            time.sleep(1)
        connected.sendall(frame(PING, bytes(8)) * 10)
        wait_for_frame(connected, GOAWAY)


@pytest.mark.parametrize(
    "body",
    [
        b"\x12\x00" * 1_900_000,
        b"\x12\x00" * 30_000,
        pb.InferRequest(
            model="identity-onnx",
            inputs=[pb.Tensor(name="x", dtype=pb.STRING, shape=[130_000], data=bytes(520_000))],
        ).SerializeToString(),
        pb.InferRequest(
            model="identity-onnx", inputs=[pb.Tensor(name="x", dtype=pb.F32, shape=[1] * 400_000)]
        ).SerializeToString(),
    ],
    ids=["large request of empty tensors", "small request of empty tensors", "tiny strings", "a long shape"],
)
def test_what_takes_long_to_check_does_not_hold_up_others(channel: grpc.Channel, client: Client, body: bytes) -> None:
    client.infer("identity-onnx", IMAGE)
    costly = [start(channel, body) for _ in range(5)]
    longest = 0.0
    while not all(call.done() for call in costly):
        began = time.monotonic()
        client.infer("identity-onnx", IMAGE)
        longest = max(longest, time.monotonic() - began)
    assert {call.code() for call in costly} == {grpc.StatusCode.INVALID_ARGUMENT}
    assert longest < 0.5


def test_string_elements_are_counted_before_they_are_looked_at(client: Client) -> None:
    strings = np.full(MAX_STRING_ELEMENTS + 1, b"", object)
    with pytest.raises(InvalidArgumentError, match="at most 131,072 STRING elements in all, got 131,073"):
        client.infer("identity-onnx", {"x": strings})


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_what_does_not_parse_is_refused_on_every_method(channel: grpc.Channel, method: MethodDescriptor) -> None:
    bodies = iter([b"\xff" * 40])
    path = f"/{method.containing_service.full_name}/{method.name}"
    if method.client_streaming:
        call = channel.stream_unary(path).future(bodies, timeout=30)
    elif method.server_streaming:
        call = channel.unary_stream(path)(next(bodies), timeout=30)
    else:
        call = channel.unary_unary(path).future(next(bodies), timeout=30)
    got = refusal(call)
    assert (got.code, got.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert method.input_type.name in got.violations["request"]


@pytest.mark.parametrize(
    ("path", "request_message", "field"),
    [
        ("JobService/GetJob", job_pb2.GetJobRequest(job_id="j" * 257), "job_id"),
        ("JobService/CancelJob", job_pb2.CancelJobRequest(job_id="j", reason="r" * 1001), "reason"),
        ("JobService/ListJobs", job_pb2.ListJobsRequest(page_token="1" * 257), "page_token"),
        ("JobService/ListJobs", job_pb2.ListJobsRequest(page_token=f"{'1' * 200}:j"), "page_token"),
        ("JobService/ListJobs", job_pb2.ListJobsRequest(page_token="\N{SUPERSCRIPT TWO}:j"), "page_token"),
        ("VoiceService/GetVoice", voice_pb2.GetVoiceRequest(name="v" * 257), "name"),
        ("DeadLetterService/PurgeDeadLetter", dead_letter_pb2.PurgeDeadLetterRequest(id="i" * 257), "id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_texts_that_are_too_long_or_stand_for_nothing_are_named(
    channel: grpc.Channel, path: str, request_message: job_pb2.GetJobRequest, field: str
) -> None:
    call = channel.unary_unary(f"/kernelport.v1.{path}").future(request_message.SerializeToString(), timeout=30)
    got = refusal(call)
    assert got.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(got.violations) == [field]


@pytest.mark.parametrize(
    ("path", "request_message", "reason"),
    [
        ("JobService/GetJob", job_pb2.GetJobRequest(job_id="none"), "JOB_NOT_FOUND"),
        ("DeploymentService/GetDeployment", deployment_pb2.GetDeploymentRequest(name="none"), "DEPLOYMENT_NOT_FOUND"),
        (
            "DeadLetterService/GetDeadLetter",
            dead_letter_pb2.GetDeadLetterRequest(deployment="identity-onnx", id="none"),
            "DEAD_LETTER_NOT_FOUND",
        ),
        ("VoiceService/GetVoice", voice_pb2.GetVoiceRequest(name="none"), "VOICE_NOT_FOUND"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_there_is_told_by_its_own_reason(
    channel: grpc.Channel, path: str, request_message: job_pb2.GetJobRequest, reason: str
) -> None:
    call = channel.unary_unary(f"/kernelport.v1.{path}").future(request_message.SerializeToString(), timeout=30)
    got = refusal(call)
    assert (got.code, got.reason) == (grpc.StatusCode.NOT_FOUND, reason)


def test_a_method_that_is_not_there_is_unimplemented(channel: grpc.Channel) -> None:
    call = channel.unary_unary("/kernelport.v1.JobService/Nothing").future(b"", timeout=30)
    assert call.code() is grpc.StatusCode.UNIMPLEMENTED


@contextlib.contextmanager
def connection(target: str) -> Iterator[socket.socket]:
    """An HTTP/2 connection without a call on it."""
    host, port = target.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as connected:
        connected.sendall(PREFACE + frame(SETTINGS, b""))
        wait_for_frame(connected, SETTINGS)
        yield connected


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, 0]) + bytes(4) + payload


def wait_for_frame(connected: socket.socket, kind: int) -> int:
    """Reads up to the next frame of a kind; gives its flags."""
    while True:
        head = read(connected, 9)
        read(connected, int.from_bytes(head[:3], "big"))
        if head[3] == kind:
            return head[4]


def read(connected: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        received = connected.recv(size - len(data))
        assert received, "the connection stays open"
        data += received
    return data
