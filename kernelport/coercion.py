"""Turns plain Python values into the arrays that a deployment declares."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.signature import Signature, TensorSpec, describe
from kernelport.tensors import NUMPY_DTYPES, Array
from kernelport.v1 import inference_pb2 as pb


def coerce(inputs: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    """Arrays of the declared dtype for numbers, text and lists; arrays stay as they are.

    Text for a U8 input becomes its UTF-8 bytes. A single value for an input of rank 1 becomes shape (1,). Names that
    the signature does not know pass through: the front door names what it expected.

    Raises:
        InvalidArgumentError: when a value has no such array, naming the input.
    """
    declared = {spec.name: spec for spec in signature.inputs}
    return {name: _coerce(value, declared[name]) if name in declared else value for name, value in inputs.items()}


def utf8(text: str) -> Array:
    """A text as the U8 tensor of its UTF-8 bytes, shape (N,)."""
    return np.frombuffer(text.encode(), np.uint8)


def _coerce(value: Any, spec: TensorSpec) -> Any:
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, str) and spec.dtype == pb.U8:
        return utf8(value)
    if isinstance(value, bytes) and spec.dtype == pb.U8:
        return np.frombuffer(value, np.uint8)
    try:
        array = np.asarray(value, dtype=NUMPY_DTYPES[spec.dtype])
    except (ValueError, TypeError, OverflowError) as error:
        violation = FieldViolation(f'inputs["{spec.name}"]', f"expected {describe(spec)}, got {value!r}")
        raise InvalidArgumentError.of([violation]) from error
    return array.reshape(1) if array.ndim == 0 and spec.ranked and len(spec.shape) == 1 else array
