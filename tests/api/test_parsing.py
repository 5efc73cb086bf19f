"""A large message is parsed as any other, or refused before it costs."""

import time

import pytest
from google.protobuf.message import Message

from kernelport.errors import InvalidArgumentError
from kernelport.limits import MAX_FIELDS, MAX_ITEMS
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1 import job_pb2
from kernelport_api.doors.parsing import SMALL_BYTES, parsed

EMPTY_TENSOR = b"\x12\x00"
UNKNOWN_FIELD = b"\x78\x01"
GROUP = b"\x7b\x7c"


def tensor(name: str, size: int) -> pb.Tensor:
    return pb.Tensor(name=name, dtype=pb.U8, shape=[size], data=bytes(size))


@pytest.mark.parametrize(
    "message",
    [
        pb.InferRequest(model="m", inputs=[tensor("x", 8 * SMALL_BYTES)], request_id="r"),
        pb.InferRequest(model="m", inputs=[tensor(f"x{number}", 100) for number in range(2000)]),
        job_pb2.SubmitJobRequest(
            request_id="r",
            spec=job_pb2.JobSpec(deployment="m", shared_inputs=[tensor("s", 2 * SMALL_BYTES)], metadata={"a": "b"}),
            items=[job_pb2.NewItem(id=str(number), inputs=[tensor("x", number % 300)]) for number in range(5000)],
        ),
        job_pb2.AddItemsRequest(job_id="j", items=[job_pb2.NewItem(id="1", inputs=[tensor("x", 2 * SMALL_BYTES)] * 3)]),
        job_pb2.ReplaceItemsRequest(job_id="j", items=[job_pb2.NewItem(inputs=[tensor("x", 2 * SMALL_BYTES)])]),
    ],
    ids=["a large tensor", "many tensors", "many items", "a large item", "a large item in another's place"],
)
async def test_a_large_message_is_what_it_would_be_at_once(message: Message) -> None:
    body = message.SerializeToString()
    assert len(body) > SMALL_BYTES
    assert await parsed(type(message), body) == message


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        (pb.InferRequest, EMPTY_TENSOR * 2**22, f"at most {MAX_FIELDS:,} fields"),
        (pb.InferRequest, UNKNOWN_FIELD * 2**22, f"at most {MAX_FIELDS:,} fields"),
        (pb.InferRequest, GROUP * 2**22, "expected an InferRequest"),
        (pb.InferRequest, pb.InferRequest(inputs=[pb.Tensor(shape=[1] * 2**23)]).SerializeToString(), "fields in one"),
        (pb.InferRequest, b"\x12\xff\xff\xff\x07" + bytes(2**17), "expected an InferRequest"),
        (job_pb2.SubmitJobRequest, b"\x1a\x00" * 2**22, f"at most {MAX_FIELDS + MAX_ITEMS:,} fields"),
        (
            job_pb2.AddItemsRequest,
            job_pb2.AddItemsRequest(items=[job_pb2.NewItem(inputs=[pb.Tensor()] * 2**20)]).SerializeToString(),
            f"at most {MAX_FIELDS:,} fields in one NewItem",
        ),
        (job_pb2.GetJobRequest, job_pb2.GetJobRequest(job_id="j" * 2**20).SerializeToString(), "expected at most"),
    ],
    ids=["tensors", "unknown", "groups", "dimensions", "cut off", "items", "an item's tensors", "an id"],
)
async def test_a_large_message_of_many_parts_is_refused_at_once(kind: type[Message], body: bytes, words: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidArgumentError, match="request: ") as refused:
        await parsed(kind, body)
    assert words in refused.value.message
    assert time.process_time() - began < 0.5, "parsing the whole takes longer"
