"""Large inputs and outputs are copied once, and are what they would be if messages were made and parsed as a whole."""

import ml_dtypes
import numpy as np
import pytest

from kernelport import tensors
from kernelport.tensors import Array
from kernelport.v1 import inference_pb2 as pb
from kernelport.wire_format import LEFT_OUT_BYTES, data_of_inputs, has_outline, outlined, outputs_of, response_parts

LARGE = LEFT_OUT_BYTES // 4 + 3
ARRAYS = {
    "float32": np.arange(LARGE, dtype=np.float32).reshape(1, -1),
    "bfloat16": np.arange(2 * LARGE).astype(ml_dtypes.bfloat16),
    "bool": np.arange(4 * LARGE) % 3 == 0,
    "uint8": np.arange(4 * LARGE, dtype=np.uint8),
    "every other": np.arange(2 * LARGE, dtype=np.int32)[::2],
    "by columns": np.asfortranarray(np.arange(LARGE * 2, dtype=np.float64).reshape(2, -1)),
    "big-endian": np.arange(LARGE, dtype=">f4"),
    "strings": np.array([b"x" * 1000] * 2000, object),
    "scalar": np.array(1.5),
    "empty": np.empty((0, LARGE), np.float32),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_an_answer_is_what_its_message_would_be(kind: str) -> None:
    outputs = {"small": np.ones(3, np.float32), kind: ARRAYS[kind], "last": np.array([7], np.int64)}
    expected = pb.InferResponse(outputs=tensors.from_arrays(outputs), warnings=["odd"], sequence=3)
    answer = b"".join(response_parts(outputs, pb.InferResponse(warnings=["odd"], sequence=3)))
    assert pb.InferResponse.FromString(answer) == expected
    rest, found = outputs_of(answer)
    assert (list(rest.warnings), rest.sequence) == (["odd"], 3)
    assert [(each.tensor.name, each.tensor.dtype, list(each.tensor.shape), bytes(each.data)) for each in found] == [
        (each.name, each.dtype, list(each.shape), each.data) for each in expected.outputs
    ]


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("name", ["x", "xy", "xyz", "wxyz"])  # so the data begins at other places
def test_inputs_are_what_they_were(kind: str, name: str) -> None:
    inputs: dict[str, Array] = {name: ARRAYS[kind], "other": ARRAYS["float32"]}
    body = pb.InferRequest(model="m", inputs=tensors.from_arrays(inputs)).SerializeToString()
    assert has_outline(body)
    found = tensors.to_arrays(outlined(body).inputs, data_of_inputs(body))
    for each, array in inputs.items():
        assert found[each].shape == array.shape
        assert not found[each].flags.writeable
        if array.dtype.hasobject:
            assert found[each].tolist() == array.tolist()
            continue
        assert found[each].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()
        assert found[each].ctypes.data % 16 == 0
