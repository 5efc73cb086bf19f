"""What people pass for an input becomes the array that the deployment declares, and nothing is lost on the way."""

import re
import warnings
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from numpy.dtypes import StringDType

from kernelport.coercion import coerce, from_texts, to_tensors
from kernelport.errors import InvalidArgumentError
from kernelport.signature import Signature, tensor_spec
from kernelport.tensors import NUMPY_DTYPES, from_array, to_array
from kernelport.v1 import inference_pb2 as pb


def declared(dtype: pb.DType, *others: pb.DType) -> Signature:
    return Signature(inputs=[tensor_spec("x", dtype, ["N"], other_dtypes=others)])


def objects(*elements: Any) -> np.ndarray:
    array = np.empty(len(elements), object)
    array[:] = elements
    return array


TAKEN: list[tuple[pb.DType, Any, list[Any]]] = [
    (pb.F32, [1, 2, 3], [1, 2, 3]),
    (pb.I32, [1, 2, 3], [1, 2, 3]),
    (pb.U8, (1, 2, 3), [1, 2, 3]),
    (pb.F32, [0.1, 0.2], np.array([0.1, 0.2], np.float32).tolist()),
    (pb.F16, np.array([0.1, np.nan, np.inf]), np.array([0.1, np.nan, np.inf], np.float16).tolist()),
    (pb.BF16, [1.0, 3], [1, 3]),
    (pb.F32, np.array([1.5, -2], ml_dtypes.bfloat16), [1.5, -2]),
    (pb.F64, np.array([2**53], np.int64), [2**53]),
    (pb.I64, np.array([3], np.int32), [3]),
    (pb.I32, np.array([-(2**31), 2**31 - 1]), [-(2**31), 2**31 - 1]),
    (pb.I64, 2**63 - 1, [2**63 - 1]),
    (pb.U64, [2**64 - 1], [2**64 - 1]),
    # numpy makes all of these float64 when they stand in one list.
    (pb.U64, [2**63 + 1, 1, 2**64 - 1], [2**63 + 1, 1, 2**64 - 1]),
    (pb.I64, (2**53 + 1, 0.0, -(2**53) - 1), [2**53 + 1, 0, -(2**53) - 1]),
    (pb.U64, [np.uint64(2**63 + 1), np.int64(1), 2.0**60], [2**63 + 1, 1, 2**60]),
    (pb.F64, [2**60, 2**53, 0.5], [2**60, 2**53, 0.5]),
    (pb.I8, [1.0, -2.0], [1, -2]),
    (pb.F32, np.arange(3, dtype=">f4"), [0, 1, 2]),
    (pb.BOOL, [True, False], [True, False]),
    (pb.BOOL, [1, 0], [True, False]),
    (pb.I64, [], []),
    (pb.U8, "é", [0xC3, 0xA9]),
    (pb.U8, b"\x00\xff\x00", [0, 255, 0]),
    (pb.STRING, "é", ["é".encode()]),
    (pb.STRING, ["a", b"b\0", b"\xff\0\0", ""], [b"a", b"b\0", b"\xff\0\0", b""]),
    (pb.STRING, np.array(["a", "bc"]), [b"a", b"bc"]),
    (pb.STRING, np.array(["é", "bc"], StringDType()), ["é".encode(), b"bc"]),
    (pb.STRING, bytearray(b"a\0"), [b"a\0"]),
    (pb.STRING, memoryview(b"a\0"), [b"a\0"]),
    (pb.STRING, [bytearray(b"a\0"), memoryview(b"bc"), b"", "d"], [b"a\0", b"bc", b"", b"d"]),
    (pb.STRING, objects(bytearray(b"a"), memoryview(b"bc")), [b"a", b"bc"]),
    (pb.F32, torch.tensor([1.5, -2], dtype=torch.bfloat16), [1.5, -2]),
    (pb.F32, torch.tensor([1.5, -2], dtype=torch.float8_e4m3fn), [1.5, -2]),
    (pb.F32, torch.tensor([1j, 2j]).conj().imag, [-1, -2]),
    (pb.F32, [torch.tensor(1.5, dtype=torch.bfloat16), torch.ones((), requires_grad=True), 2], [1.5, 1, 2]),
    (pb.STRING, [], []),
]


def named(value: object) -> str:
    """The same in every process: a view is shown by its address."""
    return re.sub(" at 0x[0-9a-f]+", "", ascii(value))


@pytest.mark.parametrize(("dtype", "value", "expected"), TAKEN, ids=named)
def test_taken(dtype: pb.DType, value: Any, expected: list[Any]) -> None:
    (tensor,) = to_tensors(coerce({"x": value}, declared(dtype)))
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(to_array(tensor).tolist(), expected)


endless: list[Any] = []
endless.append(endless)
with warnings.catch_warnings():  # of what is not stable yet
    warnings.simplefilter("ignore")
    NESTED, JAGGED = (
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)
        for layout in (torch.strided, torch.jagged)
    )

REFUSED: list[tuple[pb.DType, Any, str]] = [
    (pb.I64, 1.9, r"expected integers from -9223372036854775808 to 9223372036854775807 as I64\[N\], got 1.9"),
    (pb.U8, [1, 300], r"expected integers from 0 to 255 as U8\[N\], got 300"),
    (pb.U8, -1, "got -1"),
    (pb.I64, np.array([0, np.nan]), "got nan"),
    (pb.I32, np.inf, "got inf"),
    (pb.I64, 2.0**63, "got 9.2"),
    (pb.U64, 2**64, "got 18446744073709551616"),
    (pb.F32, 2**24 + 1, r"expected integers that F32 holds exactly as F32\[N\], got 16777217"),
    (pb.F64, np.array([2**63 - 1]), "got 9223372036854775807"),
    (pb.F32, 1e39, "expected finite numbers"),
    (pb.F32, [1j], "complex|1j"),
    (pb.F32, np.array([1j]), r"got an array of complex128 \[1\]"),
    (pb.F32, True, "got True"),
    (pb.I32, np.array([True]), "bool"),
    (pb.F32, "1.5", 'got "1.5"'),
    (pb.F32, [1, None], "got"),
    (pb.F32, [[1, 2], [3]], r"expected rows of equal length as F32\[N\], row 0 has 2 and row 1 has 1"),
    (pb.F32, [[[1, 2], [3, 4]], [[5, 6], [7]]], r"row \[0, 0\] has 2 and row \[1, 1\] has 1"),
    (pb.F32, [np.ones(3), np.ones(2)], "row 0 has 3 and row 1 has 2"),
    (pb.F32, [torch.ones(3), [1, 2]], "row 0 has 3 and row 1 has 2"),
    (pb.F32, [[1, 2], 3], r"expected F32\[N\], got \[\[1, 2\], 3\]"),
    (pb.STRING, [["a", "b"], ["c"]], r"expected rows of equal length as STRING\[N\], row 0 has 2 and row 1 has 1"),
    (pb.STRING, memoryview(np.ones(2)), r"expected STRING\[N\]"),
    (pb.F32, NESTED, "got a nested tensor: pad it"),
    (pb.F32, JAGGED, "got a nested tensor: pad it"),
    (pb.F32, [JAGGED], "got a nested tensor: pad it"),
    (pb.F32, {"a": 1}, "got"),
    (pb.I64, np.array(["2020-01-01"], "datetime64[D]"), "datetime64"),
    (pb.BOOL, [0, 2], r"expected true, false, 1 or 0 as BOOL\[N\], got 2"),
    (pb.BOOL, 0.0, "got 0.0"),
    (pb.STRING, ["a", 1], r"got \['a', 1\]"),
    (pb.STRING, "\ud83d", "a lone surrogate at character 1"),
    (pb.U8, "Hello \ud83d", "a lone surrogate at character 7"),
    (pb.F32, np.ma.masked_array([1.0, 2.0], [False, True]), "masked array: fill its gaps"),
    (pb.F64, np.ma.masked_array([1.0, 2.0], [False, True]), "masked array: fill its gaps"),
    (pb.F32, endless, "expected F32"),
    (pb.F32, [1.0, np.ma.masked], "masked array: fill its gaps"),
    (pb.I64, ([np.ma.masked_array([1, 2], [False, True])],), "masked array: fill its gaps"),
    (pb.STRING, [np.ma.masked_array(["a", "b"], [False, True])], "masked array: fill its gaps"),
    (pb.I64, [2**63, -1], "got 9223372036854775808"),
    (pb.U64, [2**63 + 1, -1], "got -1"),
    (pb.I64, [2**53 + 1, 0.5], "got 0.5"),
    (pb.I64, [2**53 + 1, np.nan], "got nan"),
    (pb.F64, [2**63 + 1, 1], "expected integers that F64 holds exactly as .*, got 9223372036854775809"),
]


@pytest.mark.parametrize(("dtype", "value", "message"), REFUSED, ids=named)
def test_refused(dtype: pb.DType, value: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as refused:
        coerce({"x": value}, declared(dtype))
    assert refused.value.violations[0].field == 'inputs["x"]'


@pytest.mark.parametrize("dtype", [dtype for dtype in NUMPY_DTYPES if dtype != pb.STRING], ids=pb.DType.Name)
def test_an_array_of_a_declared_dtype_is_its_own(dtype: pb.DType) -> None:
    array = np.zeros(2, NUMPY_DTYPES[dtype])
    assert coerce({"x": array}, declared(dtype))["x"] is array
    assert coerce({"x": array}, declared(pb.F32, dtype))["x"] is array


def test_every_input_at_fault_is_named_and_none_is_one_that_is_not_given() -> None:
    signature = Signature(inputs=[tensor_spec(name, pb.I32, [1]) for name in ("a", "b", "c")])
    with pytest.raises(InvalidArgumentError) as refused:
        coerce({"a": 0.5, "b": 1, "c": "x"}, signature)
    assert [violation.field for violation in refused.value.violations] == ['inputs["a"]', 'inputs["c"]']
    assert coerce({"a": 1, "b": None}, signature).keys() == {"a"}


def test_what_the_signature_does_not_know_passes_and_is_named_if_it_cannot_travel() -> None:
    assert coerce({"y": [1, 2]}, declared(pb.F32)) == {"y": [1, 2]}
    for value, said in (
        ([1j], "complex128 cannot travel"),
        (object(), "must be str or bytes"),
        (np.ma.masked_array([1], [True]), "a masked array cannot travel"),
        ([[1, 2, 3], [4, 5]], "expected rows of equal length, row 0 has 3 and row 1 has 2"),
        (JAGGED, "got a nested tensor: pad it"),
    ):
        with pytest.raises(InvalidArgumentError, match=rf'inputs\["y"\]: .*{said}'):
            to_tensors({"y": value})


def test_zero_bytes_at_the_end_of_strings_stay_without_a_signature_too() -> None:
    assert to_array(from_array("x", [b"a\0", b"\0"])).tolist() == [b"a\0", b"\0"]


@pytest.mark.parametrize(
    ("dtype", "text", "expected"),
    [
        (pb.F32, "1.5", 1.5),
        (pb.I32, " [1, 2] ", [1, 2]),
        (pb.BOOL, "True", True),
        (pb.U8, "7", "7"),
        (pb.U8, "[1, 2, 3]", [1, 2, 3]),
        (pb.U8, "[sighs] Well.", "[sighs] Well."),
        (pb.STRING, '["a", "b"]', ["a", "b"]),
        (pb.STRING, "[a] b", "[a] b"),
    ],
)
def test_what_a_text_on_the_command_line_stands_for(dtype: pb.DType, text: str, expected: Any) -> None:
    assert from_texts({"x": text, "y": text}, declared(dtype)) == {"x": expected, "y": text}


def test_the_input_text_is_always_its_text_and_other_words_are_refused() -> None:
    signature = Signature(inputs=[tensor_spec("text", pb.U8, ["bytes"]), tensor_spec("speed", pb.F32, [1])])
    assert from_texts({"text": "[1, 2]"}, signature) == {"text": "[1, 2]"}
    with pytest.raises(InvalidArgumentError, match=r'inputs\["speed"\]: expected F32\[1\], got "fast"'):
        from_texts({"speed": "fast"}, signature)
