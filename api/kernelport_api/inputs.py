"""What is wrong with the inputs of a request or an item taken by themselves, whatever the model."""

import math
from collections.abc import Iterator, Sequence

from kernelport import tensors
from kernelport.errors import FieldViolation
from kernelport.limits import MAX_NAME, MAX_STRING_ELEMENTS, MAX_TENSORS
from kernelport.v1 import inference_pb2 as pb

# Looking at the elements of so many bytes of STRING keeps the event loop from its other callers.
SLOW_STRING_BYTES = 64 * 2**10
# A STRING element takes so many bytes or more.
_ELEMENT_BYTES = 4


def input_violations(inputs: Sequence[pb.Tensor], field: str = "inputs") -> Iterator[FieldViolation]:
    """What is wrong with tensors: at most one finding a tensor, or that there is too much of them."""
    if len(inputs) > MAX_TENSORS:
        yield FieldViolation(field, f"expected at most {MAX_TENSORS:,} tensors, got {len(inputs):,}")
        return
    long_names = [index for index, tensor in enumerate(inputs) if len(tensor.name) > MAX_NAME]
    if long_names:
        found = f"expected at most {MAX_NAME} characters, got {len(inputs[long_names[0]].name)}"
        yield FieldViolation(f"{field}[{long_names[0]}].name", found)
        return
    data_bytes = sum(len(tensor.data) for tensor in inputs if tensor.dtype == pb.STRING)
    if data_bytes > _ELEMENT_BYTES * MAX_STRING_ELEMENTS and _elements(inputs) > MAX_STRING_ELEMENTS:
        found = f"expected at most {MAX_STRING_ELEMENTS:,} STRING elements in all, got {_elements(inputs):,}"
        yield FieldViolation(field, found)
        return
    yield from tensors.violations(inputs, field)


def are_slow_to_check(inputs: Sequence[pb.Tensor]) -> bool:
    """Whether `input_violations` would keep the event loop from its other callers."""
    return len(inputs) <= MAX_TENSORS and any(
        tensor.dtype == pb.STRING and len(tensor.data) > SLOW_STRING_BYTES for tensor in inputs
    )


def _elements(inputs: Sequence[pb.Tensor]) -> int:
    """How many elements the shapes of the STRING tensors say."""
    shapes = (tensor.shape for tensor in inputs if tensor.dtype == pb.STRING)
    return sum(math.prod(shape) for shape in shapes if len(shape) <= tensors.MAX_RANK)
