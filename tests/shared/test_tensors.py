"""Tensors survive the wire, bit for bit."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from kernelport import tensors
from kernelport.v1 import inference_pb2 as pb

ARRAYS = [
    *(np.array([[0, 1, 100], [3, 4, 127]], dtype) for dtype in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")),
    *(np.array([[0.5, -1.25], [np.inf, 3]], dtype) for dtype in ("f2", "f4", "f8")),
    np.array([1.5, -2.0], ml_dtypes.bfloat16),
    np.array([True, False]),
    np.array([b"", b"\xff\x00", "grün".encode()], object),
    np.array(3.5, np.float32),
    np.zeros((2, 0, 3), np.int64),
    np.zeros((0,), object),
    np.array(b"scalar", object),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}-{array.shape}")
def test_an_array_comes_back_as_it_went(array: np.ndarray) -> None:
    tensor = tensors.from_array("t", array)
    assert not list(tensors.violations([tensor]))
    back = tensors.to_array(pb.Tensor.FromString(tensor.SerializeToString()))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tolist() == array.tolist()


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
def test_an_array_that_came_is_read_only(array: np.ndarray) -> None:
    assert not tensors.to_array(tensors.from_array("t", array)).flags.writeable


def test_every_dtype_of_the_contract_has_an_array() -> None:
    assert set(tensors.NUMPY_DTYPES) == set(pb.DType.values()) - {pb.DTYPE_UNSPECIFIED}


@pytest.mark.parametrize(
    "array",
    [np.arange(6, dtype=">f4").reshape(2, 3), np.arange(6, dtype="f4").reshape(3, 2).T, np.arange(12, dtype="f4")[::2]],
    ids=["big-endian", "transposed", "strided"],
)
def test_data_is_little_endian_and_row_major_whatever_the_array(array: np.ndarray) -> None:
    assert tensors.from_array("t", array).data == array.astype("<f4", order="C").tobytes()


@pytest.mark.parametrize(
    "array",
    [*ARRAYS, np.arange(6, dtype=">f4").reshape(2, 3), np.arange(6, dtype="f4").reshape(3, 2).T, np.array(["a", "bc"])],
    ids=lambda array: f"{array.dtype.str}-{array.shape}",
)
def test_what_has_not_travelled_is_as_if_it_had(array: np.ndarray) -> None:
    found, back = tensors.travelled("t", array), tensors.to_array(tensors.from_array("t", array))
    assert (found.dtype, found.shape, found.tolist()) == (back.dtype, back.shape, back.tolist())
    assert found.flags.c_contiguous


def test_string_elements_are_length_prefixed() -> None:
    tensor = tensors.from_array("t", np.array(["ab", ""], object))
    assert tensor.dtype == pb.STRING
    assert tensor.data == b"\x02\x00\x00\x00ab\x00\x00\x00\x00"


@pytest.mark.parametrize(
    "value",
    [
        np.array([1j]),
        np.array(["2020-01-01"], "datetime64[D]"),
        np.array([{}], object),
        np.ma.masked_array([1, 2], [False, True]),
        [[np.ma.masked, 2]],
    ],
)
def test_what_cannot_travel_is_refused_by_name(value: Any) -> None:
    with pytest.raises(TypeError, match="tensor 'bad'"):
        tensors.from_array("bad", value)


@pytest.mark.parametrize(
    "array", [*ARRAYS, np.array(["grün", "\0"]), np.array([b"ab", b""])], ids=lambda array: str(array.dtype)
)
def test_the_size_of_a_message_is_known_before_it_is_made(array: np.ndarray) -> None:
    arrays = {"a tensor": array, "übrig": array}
    made = pb.InferResponse(outputs=tensors.from_arrays(arrays), queued_us=2**60, batched_us=2**60, backend_us=2**60)
    assert made.ByteSize() <= tensors.wire_bytes(arrays) <= made.ByteSize() + 150


def test_the_size_of_a_message_that_nobody_could_make() -> None:
    array = np.broadcast_to(np.zeros(1, np.float64), (2**40,))
    assert 2**43 < tensors.wire_bytes({"x": array}) < 2**43 + 200


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.float64])
def test_numbers_are_shown_as_people_wrote_them_and_are_the_same_when_read(dtype: type) -> None:
    array = np.array([[1.2, -0.001], [3e8 if dtype != np.float16 else 3e4, np.inf]], dtype)
    shown = tensors.plain(array)
    assert shown[0] == [1.2, -0.001] or dtype == ml_dtypes.bfloat16, "which shows more digits than it takes"
    assert (np.array(shown).astype(dtype) == array).all()
