"""A large message is parsed as any other, or refused before it costs."""

import hashlib
import time

import pytest
from google.protobuf.message import Message

from kernelport.errors import InvalidArgumentError
from kernelport.limits import MAX_FIELDS, MAX_ITEMS
from kernelport.open_inference import inference_pb2 as oip
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1 import job_pb2
from kernelport.wire_format import LEFT_OUT_BYTES, data_of_inputs, has_outline
from kernelport_api.doors.parsing import SMALL_BYTES, parsed, parsed_request
from kernelport_api.queueing.idempotency import _digest
from kernelport_api.services.inputs import input_violations

TYPED = oip.ModelInferRequest.InferInputTensor(contents=oip.InferTensorContents(fp32_contents=[1.5] * 2**20))
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
        (
            oip.ModelInferRequest,
            oip.ModelInferRequest(inputs=[TYPED]).SerializeToString(),
            "got more; a large one travels as raw_input_contents",
        ),
        (job_pb2.GetJobRequest, job_pb2.GetJobRequest(job_id="j" * 2**20).SerializeToString(), "expected at most"),
    ],
    ids=[
        "tensors",
        "unknown",
        "groups",
        "dimensions",
        "cut off",
        "items",
        "an item's tensors",
        "typed contents",
        "an id",
    ],
)
async def test_a_large_message_of_many_parts_is_refused_at_once(kind: type[Message], body: bytes, words: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidArgumentError, match="request: ") as refused:
        await parsed(kind, body)
    assert words in refused.value.message
    assert time.process_time() - began < 0.5, "parsing the whole takes longer"


LARGE = LEFT_OUT_BYTES + 4


def numbers(name: str, size: int, said: int | None = None) -> pb.Tensor:
    return pb.Tensor(name=name, dtype=pb.F32, shape=[(size if said is None else said) // 4], data=bytes(size))


async def test_a_request_is_parsed_without_its_megabytes_of_numbers() -> None:
    request = pb.InferRequest(
        model="m", inputs=[numbers("x", LARGE), numbers("y", 16), tensor("u", LARGE), numbers("z", 2 * LARGE)]
    )
    body = request.SerializeToString()
    found = await parsed_request(body)
    assert [len(each.data) for each in found.inputs] == [0, 16, LARGE, 0]
    assert list(map(len, data_of_inputs(body))) == [LARGE, 16, LARGE, 2 * LARGE]
    assert not list(input_violations(found.inputs, len(body), data_sizes=list(map(len, data_of_inputs(body)))))
    for each in (*request.inputs, *found.inputs):
        each.ClearField("data")
    assert found == request, "names, dtypes and shapes are all there"


async def test_of_a_field_that_comes_twice_the_last_one_counts() -> None:
    twice = pb.Tensor(data=bytes(LARGE)).SerializeToString() + numbers("x", 2 * LARGE).SerializeToString()
    body = b"\x12" + _varint(len(twice)) + twice
    assert pb.InferRequest.FromString(body).inputs[0] == numbers("x", 2 * LARGE)
    assert list(map(len, data_of_inputs(body))) == [2 * LARGE]


def _varint(number: int) -> bytes:
    digits = []
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


async def test_data_of_another_size_than_the_shape_says_is_told_where_it_is_left_out() -> None:
    body = pb.InferRequest(
        model="m", inputs=[numbers("x", 16), numbers("y", LARGE, said=LARGE - 4)]
    ).SerializeToString()
    sizes = list(map(len, data_of_inputs(body)))
    (found,) = input_violations((await parsed_request(body)).inputs, len(body), data_sizes=sizes)
    assert (found.field, found.description) == (
        "inputs[1].data",
        f'tensor "y": expected {LARGE - 4:,} bytes for F32 [{LARGE // 4 - 1}], got {LARGE:,}',
    )


async def test_a_request_without_its_data_has_the_digest_of_the_whole_one() -> None:
    whole = pb.InferRequest(
        model="m", inputs=[numbers("y", LARGE), pb.Tensor(name="e"), tensor("a", 3)], request_id="r", outputs=["o", "p"]
    )
    body = whole.SerializeToString()
    in_order = sorted(whole.inputs, key=lambda each: each.name)
    nameless = pb.InferRequest(model="m", inputs=in_order, outputs=["o", "p"])
    expected = hashlib.sha256(nameless.SerializeToString(deterministic=True)).digest()
    assert _digest(await parsed_request(body), body) == expected
    assert _digest(whole, b"short") == expected, "as every small request is looked at"


async def test_what_a_request_has_beside_its_data_is_bounded_all_the_same() -> None:
    body = pb.InferRequest(model="m", inputs=[numbers("x", LARGE)]).SerializeToString()
    with pytest.raises(InvalidArgumentError, match="expected an InferRequest"):
        await parsed_request(body + b"\x12\xff\xff\xff\x07")
    with pytest.raises(InvalidArgumentError, match="fields"):
        await parsed_request(body + UNKNOWN_FIELD * 2**22)


@pytest.mark.parametrize(
    "more",
    [UNKNOWN_FIELD * 300, b"\x12\x02" + GROUP, b"\x12" + b"\xfe\x01" + UNKNOWN_FIELD * 127 + EMPTY_TENSOR * 200],
    ids=["many fields", "a group", "tensors with many fields"],
)
def test_a_large_request_of_many_fields_has_no_outline(more: bytes) -> None:
    body = pb.InferRequest(model="m", inputs=[numbers("x", LARGE)]).SerializeToString()
    assert has_outline(body)
    assert not has_outline(body + more), "walking it would take long"
    assert not has_outline(b"")


async def test_data_that_is_given_twice_is_the_last_or_left_out() -> None:
    small, large = pb.Tensor(data=b"1234").SerializeToString(), numbers("x", LARGE).SerializeToString()
    number = b"\x20\x01"  # of the number of the data, and no data
    for twice, expected in ((small + large, b""), (large + small, b"1234"), (large + small + number, b"1234")):
        body = b"\x12" + _varint(len(twice)) + twice
        assert (await parsed_request(body)).inputs[0].data == expected
