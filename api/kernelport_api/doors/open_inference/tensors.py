"""Tensors of the protocol as those of the contract, and back. Their raw elements are the same bytes on both sides."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelport.coercion import array_of
from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.signature import TensorSpec, tensor_spec
from kernelport.tensors import NUMPY_DTYPES, from_array, to_array
from kernelport.v1 import inference_pb2 as pb
from kernelport.wire_format import INPUTS, Output, before_data

# The protocol's names of element types.
DTYPES: Mapping[str, pb.DType] = {
    "BOOL": pb.BOOL,
    "UINT8": pb.U8,
    "UINT16": pb.U16,
    "UINT32": pb.U32,
    "UINT64": pb.U64,
    "INT8": pb.I8,
    "INT16": pb.I16,
    "INT32": pb.I32,
    "INT64": pb.I64,
    "FP16": pb.F16,
    "FP32": pb.F32,
    "FP64": pb.F64,
    "BF16": pb.BF16,
    "BYTES": pb.STRING,
}
DATATYPES: Mapping[int, str] = {dtype: name for name, dtype in DTYPES.items()}
_LENGTH_BYTES = 4


@dataclass(frozen=True)
class Input:
    """One input, with its elements as bytes."""

    name: str
    dtype: pb.DType
    shape: Sequence[int]
    data: bytes | memoryview


def dtype_of(datatype: str, field: str) -> pb.DType:
    """The element type of that name.

    Args:
        field: the path of the name, for the error.

    Raises:
        InvalidArgumentError: there is none.
    """
    if datatype not in DTYPES:
        raise invalid(field, f"expected one of {', '.join(DTYPES)}, got {datatype[:64]!r}")
    return DTYPES[datatype]


def is_text(spec: TensorSpec) -> bool:
    """Whether an input is the UTF-8 of one text: clients may give it as one element of BYTES."""
    return spec.dtype == pb.U8 and len(spec.shape) == 1 and spec.shape[0].size < 0


def as_declared(given: Input, spec: TensorSpec | None) -> Input:
    """An input as its deployment declares it: a text that comes as one element of BYTES becomes its UTF-8.

    Raises:
        InvalidArgumentError: the length ahead of the text is not its length.
    """
    if spec is None or given.dtype != pb.STRING or not is_text(spec) or math.prod(given.shape) != 1:
        return given
    told, text = int.from_bytes(given.data[:_LENGTH_BYTES], "little"), given.data[_LENGTH_BYTES:]
    if len(given.data) < _LENGTH_BYTES or told != len(text):
        expected = f"expected one element of BYTES: its length in {_LENGTH_BYTES} bytes, then as many bytes"
        raise invalid(f'inputs["{given.name}"]', f"{expected}; got {len(text):,} behind the length {told:,}")
    return Input(given.name, pb.U8, [len(text)], text)


def request_bytes(model: str, request_id: str, inputs: Iterable[Input], outputs: Iterable[str] = ()) -> bytes:
    """A serialized InferRequest, into which the elements are copied once."""
    rest = pb.InferRequest(model=model, request_id=request_id, outputs=outputs)
    parts: list[bytes | memoryview] = [rest.SerializeToString()]
    for each in inputs:
        head = before_data(INPUTS, pb.Tensor(name=each.name, dtype=each.dtype, shape=each.shape), len(each.data))
        parts += (head, each.data)
    return b"".join(parts)


def from_values(name: str, dtype: pb.DType, shape: Sequence[int], values: Any, field: str) -> Input:
    """An input of which there are numbers, truth values or texts, in nested lists or in one.

    Args:
        field: the path of the values, for the error.

    Raises:
        InvalidArgumentError: they do not become elements of the dtype without a loss, or are not as many as the shape
            says.
    """
    try:
        # Not by the name of the input: whoever says UINT8 gives bytes, those of a text, too.
        array = array_of(tensor_spec(field, dtype, None), values)
        return Input(name, dtype, shape, from_array(name, array.reshape(tuple(shape))).data)
    except (ValueError, TypeError, OverflowError) as error:
        raise invalid(field, str(error)) from error


def to_values(output: Output) -> list[Any]:
    """The elements of an output for JSON.

    Raises:
        InvalidArgumentError: JSON has no way to say them.
    """
    tensor = output.tensor
    array = to_array(tensor, output.data).ravel()
    otherwise = f'output "{tensor.name}": ask for it as binary data: '
    if tensor.dtype == pb.STRING:
        try:
            return [element.decode() for element in array.tolist()]
        except UnicodeDecodeError as error:
            raise invalid("outputs", f"{otherwise}it is no UTF-8") from error
    if array.dtype.kind in "fV":
        array = array.astype(np.float64)
        if not np.isfinite(array).all():
            raise invalid("outputs", f"{otherwise}it has numbers that are not finite")
    return list(array.tolist())


def packed(elements: Iterable[bytes]) -> bytes:
    """Byte strings as raw elements of BYTES."""
    return b"".join(part for each in elements for part in (len(each).to_bytes(_LENGTH_BYTES, "little"), each))


def numbers(dtype: pb.DType, values: Sequence[Any], field: str) -> bytes:
    """Numbers as raw elements.

    Raises:
        InvalidArgumentError: one is out of range.
    """
    try:
        return np.array(values, NUMPY_DTYPES[dtype].newbyteorder("<")).tobytes()
    except OverflowError as error:
        raise invalid(field, f"expected numbers that fit {DATATYPES[dtype]}: {error}") from error


def check_output(parameters: Collection[str], field: str) -> None:
    """Looks whether a wanted output is asked for in a form that is not given here: it would be taken for that.

    Args:
        parameters: the names of those of the output.
        field: its path, for the error.

    Raises:
        InvalidArgumentError: it is asked for so.
    """
    for name in ("classification", "shared_memory_region"):
        if name in parameters:
            raise invalid(f"{field}.parameters.{name}", "expected none: outputs are given as they are")


def invalid(field: str, description: str) -> InvalidArgumentError:
    """The refusal of one field."""
    return InvalidArgumentError.of([FieldViolation(field, description)])
