"""Whatever a caller sends, it gets the right status, and a message that names the field at fault."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest

from kernelport.tensors import NUMPY_DTYPES, dtype_name
from kernelport.v1 import inference_pb2 as pb
from tests.e2e.calls import Refusal, refusal, response, start

INVALID = grpc.StatusCode.INVALID_ARGUMENT
LARGEST = 2**63 - 1
# gRPC's own limit for the trailers that an error travels in.
TRAILER_BYTES = 8 * 2**10


@dataclass(frozen=True)
class Case:
    """A request and what is wrong with it.

    Attributes:
        violations: for each field at fault, words that its description must have.
        says: words that the message must have beside those.
    """

    name: str
    request: bytes
    violations: dict[str, str] = field(default_factory=dict)
    says: str = ""
    code: grpc.StatusCode = INVALID
    reason: str = "INVALID_REQUEST"

    def check(self, got: Refusal) -> None:
        assert got.code is self.code
        assert got.reason == self.reason
        assert got.violations.keys() == self.violations.keys()
        assert self.says in got.message
        for path, words in self.violations.items():
            assert words in got.violations[path]
            assert f"{path}: {got.violations[path]}" in got.message


def tensor(
    name: str = "x",
    dtype: int = pb.F32,
    shape: Sequence[int] = (1, 1, 2, 2),
    data: bytes = bytes(16),
) -> pb.Tensor:
    """What identity-onnx takes, but for what the caller makes wrong."""
    return pb.Tensor(name=name, dtype=dtype, shape=shape, data=data)


def request(*inputs: pb.Tensor, model: str = "identity-onnx") -> bytes:
    return pb.InferRequest(model=model, inputs=inputs).SerializeToString()


def array(name: str, dtype: int, values: Any) -> pb.Tensor:
    """A sound tensor."""
    values = np.asarray(values, NUMPY_DTYPES[dtype])
    return tensor(name, dtype, values.shape, values.tobytes())


def speech(*inputs: pb.Tensor, text: bytes = b"Hello.") -> bytes:
    return request(array("text", pb.U8, list(text)), *inputs, model="hibari-en")


def strings(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def wrong_lengths() -> Iterable[Case]:
    """Every dtype of a fixed size with a byte too few, a byte too many, an element too many, and no data at all."""
    for dtype, numpy_dtype in NUMPY_DTYPES.items():
        if dtype == pb.STRING:
            continue
        size = numpy_dtype.itemsize
        for what, length in (("short", 4 * size - 1), ("long", 4 * size + 1), ("extra", 5 * size), ("absent", 0)):
            yield Case(
                f"{dtype_name(dtype)}-data-{what}",
                request(tensor(dtype=dtype, data=bytes(length))),
                {"inputs[0].data": f"expected {4 * size} bytes for {dtype_name(dtype)} [1, 1, 2, 2], got {length}"},
            )


SOUND = request(tensor())
CASES = [
    # No InferRequest at all.
    Case("no-protobuf", b"\xff" * 40, {"request": "expected an InferRequest"}),
    Case("text-for-protobuf", b"{'model': 'identity-onnx'}", {"request": "expected an InferRequest"}),
    Case("truncated", SOUND[:-1], {"request": "expected an InferRequest"}),
    Case("truncated-in-model", SOUND[:5], {"request": "expected an InferRequest"}),
    Case("name-not-utf8", SOUND.replace(b"\x0a\x01x", b"\x0a\x01\xff"), {"request": "expected an InferRequest"}),
    Case("model-of-wrong-type", b"\x08\x01", {"model": "expected the name of a deployment"}),
    # The model.
    Case("empty-message", b"", {"model": "expected the name of a deployment"}),
    Case("empty-model", request(tensor(), model=""), {"model": "expected the name of a deployment"}),
    Case(
        "unknown-model",
        request(tensor(), model="identity"),
        says='model: no deployment is named "identity"; there are: helion-demo, hibari-en, identity-onnx',
        code=grpc.StatusCode.NOT_FOUND,
        reason="DEPLOYMENT_NOT_FOUND",
    ),
    Case(
        "model-in-another-case",
        request(tensor(), model="Identity-ONNX"),
        says='model: no deployment is named "Identity-ONNX"',
        code=grpc.StatusCode.NOT_FOUND,
        reason="DEPLOYMENT_NOT_FOUND",
    ),
    Case(
        "very-long-model",
        request(model="é" * 50_000),
        says='model: no deployment is named "éé',
        code=grpc.StatusCode.NOT_FOUND,
        reason="DEPLOYMENT_NOT_FOUND",
    ),
    # Names.
    Case("no-inputs", request(), {"inputs": 'input "x" is missing; expected F32[N, C, H, W]'}),
    Case("empty-name", request(tensor(name="")), {"inputs[0].name": "expected a tensor name"}),
    Case("name-given-twice", request(tensor(), tensor()), {"inputs[1].name": '"x" is given twice'}),
    Case(
        "unknown-input",
        request(tensor(), tensor("z")),
        {"inputs[1].name": 'the model has no input "z"; expected no further inputs'},
    ),
    Case(
        "another-name",
        request(tensor("X")),
        {"inputs[0].name": 'the model has no input "X"; expected "x"', "inputs": 'input "x" is missing'},
    ),
    Case("name-of-an-output", request(tensor(), tensor("y")), {"inputs[1].name": 'the model has no input "y"'}),
    Case(
        "two-faults",
        request(tensor("a", data=b""), tensor("b", dtype=99)),
        {"inputs[0].data": "expected 16 bytes", "inputs[1].dtype": "unknown dtype 99"},
    ),
    # Dtypes.
    Case("dtype-unspecified", request(tensor(dtype=0)), {"inputs[0].dtype": "unknown dtype DTYPE_UNSPECIFIED"}),
    Case("dtype-unknown", request(tensor(dtype=15)), {"inputs[0].dtype": "unknown dtype 15; expected one of F32, F16"}),
    Case("dtype-far-out", request(tensor(dtype=2**31 - 1)), {"inputs[0].dtype": "unknown dtype 2147483647"}),
    Case("dtype-negative", request(tensor(dtype=-1)), {"inputs[0].dtype": "unknown dtype -1"}),
    Case(
        "dtype-not-the-models",
        request(tensor(dtype=pb.I32)),
        {"inputs[0].dtype": "expected F32[N, C, H, W], got I32"},
    ),
    # Shapes.
    Case("negative-size", request(tensor(shape=[1, -1, 2, 2])), {"inputs[0].shape[1]": "at least 0, got -1"}),
    Case("smallest-size", request(tensor(shape=[-(2**63)])), {"inputs[0].shape[0]": f"at least 0, got {-(2**63)}"}),
    Case("two-negatives", request(tensor(shape=[-2, -2, 2, 2])), {"inputs[0].shape[0]": "at least 0, got -2"}),
    Case("rank-too-low", request(tensor(shape=[2, 2])), {"inputs[0].shape": "expected rank 4 as in F32[N, C, H, W]"}),
    Case("rank-too-high", request(tensor(shape=[1, 1, 1, 2, 2])), {"inputs[0].shape": "got rank 5"}),
    Case("scalar-for-tensor", request(tensor(shape=[], data=bytes(4))), {"inputs[0].shape": "got rank 0"}),
    Case("overflowing-shape", request(tensor(shape=[2**62, 4, 1, 1])), {"inputs[0].shape": "below 2^63 bytes"}),
    Case("wrapping-to-zero", request(tensor(shape=[2**32, 2**32], data=b"")), {"inputs[0].shape": "below 2^63 bytes"}),
    Case("largest-sizes", request(tensor(shape=[LARGEST] * 4)), {"inputs[0].shape": "below 2^63 bytes"}),
    Case(
        "overflowing-without-elements",
        request(tensor(shape=[0, 2**62, 2**62, 1], data=b"")),
        {"inputs[0].shape": "below 2^63 bytes"},
    ),
    Case("huge-promise", request(tensor(shape=[2**40, 1, 1, 1])), {"inputs[0].data": f"expected {2**42:,} bytes"}),
    Case("too-many-dimensions", request(tensor(shape=[1] * 65)), {"inputs[0].shape": "at most 64 dimensions, got 65"}),
    Case("endless-dimensions", request(tensor(shape=[LARGEST] * 50_000)), {"inputs[0].shape": "at most 64 dimensions"}),
    Case(
        "wrong-fixed-size",
        speech(array("speed", pb.F32, [1, 1])),
        {"inputs[1].shape[0]": "expected 1 as in F32[1], got 2"},
    ),
    Case(
        "helion-rank",
        request(tensor(shape=[4]), model="helion-demo"),
        {"inputs[0].shape": "expected rank 2 as in F32|F16[rows, columns], got rank 1"},
    ),
    Case(
        "helion-dtype",
        request(tensor(dtype=pb.F64, shape=[1, 2]), model="helion-demo"),
        {"inputs[0].dtype": "expected F32|F16[rows, columns], got F64"},
    ),
    # Data.
    *wrong_lengths(),
    Case("bool-of-two", request(tensor(dtype=pb.BOOL, data=b"\0\1\2\1")), {"inputs[0].data": "BOOL byte to be 0 or 1"}),
    Case("bool-of-255", request(tensor(dtype=pb.BOOL, data=b"\xff\1\1\1")), {"inputs[0].data": "BOOL byte"}),
    Case(
        "string-length-cut-off",
        request(tensor(dtype=pb.STRING, data=strings(b"a", b"b", b"c") + b"\1\0\0")),
        {"inputs[0].data": "the length of STRING element 3 is cut off at byte 15"},
    ),
    Case(
        "string-cut-off",
        request(tensor(dtype=pb.STRING, data=strings(b"a", b"b", b"c", b"four")[:-1])),
        {"inputs[0].data": "STRING element 3 ends at byte 23, past the end of the data at 22"},
    ),
    Case(
        "string-of-4-gibibytes",
        request(tensor(dtype=pb.STRING, data=b"\xff\xff\xff\xff")),
        {"inputs[0].data": "STRING element 0 ends at byte 4294967299"},
    ),
    Case(
        "strings-too-few",
        request(tensor(dtype=pb.STRING, data=strings(b"a", b"b", b"c"))),
        {"inputs[0].data": "expected 4 STRING elements as the shape says, got 3"},
    ),
    Case(
        "strings-too-many",
        request(tensor(dtype=pb.STRING, data=strings(b"", b"", b"", b"", b""))),
        {"inputs[0].data": "expected 4 STRING elements as the shape says, got 5"},
    ),
    Case("string-data-absent", request(tensor(dtype=pb.STRING, data=b"")), {"inputs[0].data": "expected 4 STRING"}),
    # Values that only the model can refuse.
    Case("text-missing", request(array("seed", pb.I64, [1]), model="hibari-en"), {"inputs": 'input "text" is missing'}),
    Case("text-empty", speech(text=b""), {'inputs["text"]': "something to say"}),
    Case("text-of-blanks", speech(text=b" \n\t "), {'inputs["text"]': "something to say"}),
    Case("text-not-utf8", speech(text=b"caf\xe9"), {'inputs["text"]': "expected UTF-8"}),
    Case("text-too-long", speech(text=b"a " * 50_001), {'inputs["text"]': "at most 100,000 characters, got 100,002"}),
    Case(
        "text-as-string",
        request(tensor("text", pb.STRING, [1], strings(b"Hello.")), model="hibari-en"),
        {"inputs[0].dtype": "expected U8[bytes], got STRING"},
    ),
    *(
        Case(f"speed-{speed}", speech(array("speed", pb.F32, [speed])), {'inputs["speed"]': "expected 0.5 to 2.0"})
        for speed in (np.nan, np.inf, -np.inf, 0.0, -1.0, 100.0, 0.49)
    ),
    Case("speed-as-scalar", speech(array("speed", pb.F32, 1.0)), {"inputs[1].shape": "expected rank 1 as in F32[1]"}),
    Case("seed-negative", speech(array("seed", pb.I64, [-1])), {'inputs["seed"]': "expected at least 0, got -1"}),
    Case("seed-as-i32", speech(array("seed", pb.I32, [1])), {"inputs[1].dtype": "expected I64[1], got I32"}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused_with_the_field_named(case: Case, channel: grpc.Channel) -> None:
    case.check(refusal(start(channel, case.request)))


def test_there_are_enough_cases_and_each_has_its_own_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 40


def test_more_findings_than_an_error_can_carry(channel: grpc.Channel) -> None:
    got = refusal(start(channel, request(*(tensor(f"x{index}", dtype=99) for index in range(2000)))))
    assert (got.code, got.reason) == (INVALID, "INVALID_REQUEST")
    assert got.message.startswith('inputs[0].dtype: tensor "x0": unknown dtype 99')
    assert list(got.violations)[:2] == ["inputs[0].dtype", "inputs[1].dtype"]


@pytest.mark.parametrize("letter", ["x", "é", "語", "😀", "\0"], ids=ascii)
def test_a_name_longer_than_an_error_can_carry(letter: str, channel: grpc.Channel) -> None:
    got = refusal(start(channel, request(tensor(letter * TRAILER_BYTES, dtype=99))))
    assert (got.code, got.reason) == (INVALID, "INVALID_REQUEST")
    assert got.message.startswith(f'inputs[0].dtype: tensor "{letter * 100}')
    assert got.violations["inputs[0].dtype"].startswith(f'tensor "{letter * 100}')


def test_a_request_over_the_size_limit(channel: grpc.Channel) -> None:
    elements = 65 * 2**20 // 4
    body = request(tensor(shape=[1, 1, 1, elements], data=bytes(4 * elements)))
    got = refusal(start(channel, body))
    assert got.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    # gRPC itself refuses it before there is a request: it names sizes, not fields, and there are no details.
    assert f"larger than max ({len(body)} vs. {64 * 2**20})" in got.message


def test_malformed_requests_leave_the_others_alone(channel: grpc.Channel) -> None:
    good: dict[str, list[grpc.Future]] = {"y": [], "audio": []}
    bad = []
    for case in CASES:
        bad.append((case, start(channel, case.request)))
        good["y"].append(start(channel, SOUND))
    good["y"] += [start(channel, request(array("x", pb.F32, [[1, 2]]), model="helion-demo"))]
    good["audio"] += [start(channel, speech())]
    for case, call in bad:
        case.check(refusal(call))
    for first_output, calls in good.items():
        assert all(response(call).outputs[0].name == first_output for call in calls)
