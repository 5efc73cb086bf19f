"""What is wrong with the inputs of a request or an item taken by themselves, whatever the model."""

import math
from collections.abc import Iterable, Sequence

from kernelport import tensors
from kernelport.errors import FieldViolation
from kernelport.limits import MAX_NAME, MAX_STRING_ELEMENTS, MAX_TENSORS
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.aside import SMALL_BYTES

# A STRING element takes so many bytes or more.
_ELEMENT_BYTES = 4


def input_violations(inputs: Sequence[pb.Tensor], size: int, field: str = "inputs") -> Iterable[FieldViolation]:
    """What is wrong with tensors: at most one finding a tensor, or that there is too much of them.

    Args:
        size: bytes of the message that has them.
    """
    excess = _excess(inputs, size, field)
    return [excess] if excess else tensors.violations(inputs, field)


def are_slow_to_check(inputs: Sequence[pb.Tensor], size: int) -> bool:
    """Whether looking at their elements would keep the event loop from its other callers."""
    return size > SMALL_BYTES and _string_bytes(inputs[: MAX_TENSORS + 1]) > SMALL_BYTES


def _excess(inputs: Sequence[pb.Tensor], size: int, field: str) -> FieldViolation | None:
    if len(inputs) > MAX_TENSORS:
        return FieldViolation(field, f"expected at most {MAX_TENSORS:,} tensors, got {len(inputs):,}")
    if size <= SMALL_BYTES:
        return None
    for index, tensor in enumerate(inputs):
        if len(tensor.name) > MAX_NAME:
            found = f"expected at most {MAX_NAME} characters, got {len(tensor.name):,}"
            return FieldViolation(f"{field}[{index}].name", found)
    if _string_bytes(inputs) > _ELEMENT_BYTES * MAX_STRING_ELEMENTS:
        shapes = (tensor.shape for tensor in inputs if tensor.dtype == pb.STRING)
        elements = sum(math.prod(shape) for shape in shapes if len(shape) <= tensors.MAX_RANK)
        if elements > MAX_STRING_ELEMENTS:
            found = f"expected at most {MAX_STRING_ELEMENTS:,} STRING elements in all, got {elements:,}"
            return FieldViolation(field, found)
    return None


def _string_bytes(inputs: Sequence[pb.Tensor]) -> int:
    return sum(len(tensor.data) for tensor in inputs if tensor.dtype == pb.STRING)
