"""What is wrong with the inputs of a request or an item taken by themselves, whatever the model."""

import math
from collections.abc import Hashable, Iterable, Sequence

from kernelport import tensors
from kernelport.errors import FieldViolation
from kernelport.limits import MAX_NAME, MAX_STRING_ELEMENTS, MAX_TENSORS
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.aside import SMALL_BYTES

# A STRING element takes so many bytes or more.
_ELEMENT_BYTES = 4
_LOOKED_AT = (pb.STRING, pb.BOOL)
_FORMS_KEPT, _TENSORS_OF_FORM = 1024, 16


def input_violations(
    inputs: Sequence[pb.Tensor], size: int, field: str = "inputs", data_sizes: Sequence[int] = ()
) -> Iterable[FieldViolation]:
    """What is wrong with tensors: at most one finding a tensor, or that there is too much of them.

    Args:
        size: bytes of the message that has them.
        data_sizes: as `tensors.violations` takes them.
    """
    excess = _excess(inputs, size, field)
    return [excess] if excess else tensors.violations(inputs, field, data_sizes)


class SoundForms:
    """The names, dtypes, shapes and sizes of small inputs that were found sound: callers ask with the same again and
    again. Those whose elements have to be looked at are looked at each time."""

    def __init__(self) -> None:
        self._seen: set[Hashable] = set()

    def violations(self, inputs: Sequence[pb.Tensor], size: int) -> Iterable[FieldViolation]:
        """As `input_violations` says."""
        if size > SMALL_BYTES or len(inputs) > _TENSORS_OF_FORM:
            return input_violations(inputs, size)
        form = tuple([(tensor.name, tensor.dtype, tuple(tensor.shape), len(tensor.data)) for tensor in inputs])
        if form in self._seen:
            return ()
        found = list(input_violations(inputs, size))
        if not found and all(len(each.name) <= MAX_NAME and each.dtype not in _LOOKED_AT for each in inputs):
            if len(self._seen) >= _FORMS_KEPT:
                self._seen.clear()
            self._seen.add(form)
        return found


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
