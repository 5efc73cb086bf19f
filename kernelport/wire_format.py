"""Serialized protobuf messages, walked without being parsed: a large one is copied by every step that parses it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

from kernelport.tensors import Array, from_array, is_plain, wire_dtype
from kernelport.v1 import inference_pb2

# Wire types.
_VARINT, _FIXED64, SIZED, _FIXED32 = 0, 1, 2, 5
# Data of so many bytes is left out of a request that is parsed: copying it costs more than walking around it, which
# takes a microsecond for each field, and so only where there are few.
LEFT_OUT_BYTES, FEW_FIELDS = 2**20, 256
_BYTES_TYPES = (FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_STRING)
# As many numbers of a repeated field cost about what another field does.
_NUMBERS_A_FIELD = 64
# The fields of an InferRequest and a Tensor by their numbers.
INPUTS, DATA = inference_pb2.InferRequest.INPUTS_FIELD_NUMBER, inference_pb2.Tensor.DATA_FIELD_NUMBER
OUTPUTS = inference_pb2.InferResponse.OUTPUTS_FIELD_NUMBER
# Data that is looked at before a model gets it.
_LOOKED_AT = (inference_pb2.STRING, inference_pb2.BOOL, inference_pb2.U8)
# From so many bytes on, an output is a part of its message, and not copied into it.
_BESIDE_BYTES = 16 * 2**10

Part = bytes | memoryview


class MalformedError(Exception):
    """The bytes are no message of known wire types."""


def has_outline(body: bytes) -> bool:
    """Whether a serialized InferRequest may have been parsed without large data: it is large, and has few fields."""
    if len(body) <= LEFT_OUT_BYTES:
        return False
    try:
        return fields_left(inference_pb2.InferRequest.DESCRIPTOR, body, 0, len(body), FEW_FIELDS) >= 0
    except MalformedError:
        return False


def outlined(body: bytes) -> inference_pb2.InferRequest:
    """A request without its large data, of which `has_outline` says that there is such a one: `data_of_inputs` has it.

    Raises:
        DecodeError: the bytes are no request.
    """
    request, view, start = inference_pb2.InferRequest(), memoryview(body), 0
    for field, _, begin, end in fields(inference_pb2.InferRequest.DESCRIPTOR, body, 0, len(body)):
        if field is not None and field.number == INPUTS and end - begin > LEFT_OUT_BYTES:
            request.inputs.append(_without_data(view, body, begin, end))
        else:
            request.MergeFromString(view[start:end])  # type: ignore[arg-type]  # any buffer will do
        start = end
    return request


def _without_data(view: memoryview, body: bytes, start: int, end: int) -> inference_pb2.Tensor:
    """A tensor; without its data when that is megabytes of numbers."""
    kept, data, began = [], view[:0], start
    for field, wire, _, stop in fields(inference_pb2.Tensor.DESCRIPTOR, body, start, end):
        if field is not None and field.number == DATA and wire == SIZED:
            data = view[began:stop]  # the last one stands
        else:
            kept.append(view[began:stop])
        began = stop
    outline = inference_pb2.Tensor.FromString(b"".join(kept))
    if len(data) < LEFT_OUT_BYTES or outline.dtype in _LOOKED_AT:
        outline.MergeFromString(data)  # type: ignore[arg-type]  # any buffer will do
    return outline


def data_of_inputs(body: bytes) -> list[memoryview]:
    """The data of each input of a serialized InferRequest that has an outline, without a copy."""
    view, found = memoryview(body), []
    for start, end in _values(inference_pb2.InferRequest.DESCRIPTOR, INPUTS, body, 0, len(body)):
        data = list(_values(inference_pb2.Tensor.DESCRIPTOR, DATA, body, start, end))
        begin, stop = data[-1] if data else (0, 0)  # the last one stands
        found.append(view[begin:stop])
    return found


def _values(kind: Any, number: int, body: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where each value of a field of bytes or messages begins and ends."""
    for field, wire, begin, stop in fields(kind, body, start, end):
        if field is not None and field.number == number and wire == SIZED:
            yield begin, stop


def fields_left(kind: Any, body: bytes, start: int, end: int, most: int) -> int:
    """How many more fields a message could have, at whatever depth, until they are too many; below 0: they are."""
    for field, wire, begin, stop in fields(kind, body, start, end):
        most -= 1
        if most < 0:
            break
        if field is None or wire != SIZED:
            continue
        if field.message_type is not None:
            most = fields_left(field.message_type, body, begin, stop, most)
        elif field.type not in _BYTES_TYPES:
            most -= (stop - begin) // _NUMBERS_A_FIELD
    return most


def fields(kind: Any, body: bytes, start: int, end: int) -> Iterator[tuple[FieldDescriptor | None, int, int, int]]:
    """The fields of a serialized message: what is known of each, its wire type, and where its value begins and ends."""
    known = kind.fields_by_number
    while start < end:
        tag, start = _varint(body, start, end)
        wire = tag & 7
        stop = start
        if wire == SIZED:
            size, start = _varint(body, start, end)
            stop = start + size
        elif wire == _VARINT:
            _, stop = _varint(body, start, end)
        elif wire in (_FIXED64, _FIXED32):
            stop = start + (8 if wire == _FIXED64 else 4)
        else:
            raise MalformedError
        if stop > end:
            raise MalformedError
        yield known.get(tag >> 3), wire, start, stop
        start = stop


def _varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    """The number that stands there, and where it ends."""
    value = shift = 0
    while at < end and shift < 64:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise MalformedError


class Output(NamedTuple):
    """One output of an answer, with its elements beside it where the tensor has none."""

    tensor: inference_pb2.Tensor
    data: Part


def outputs_of(answer: bytes) -> tuple[inference_pb2.InferResponse, list[Output]]:
    """A serialized InferResponse of ours without its outputs, and its outputs; the data of large ones is not copied."""
    if len(answer) <= LEFT_OUT_BYTES:
        response = inference_pb2.InferResponse.FromString(answer)
        return response, [Output(tensor, tensor.data) for tensor in response.outputs]
    view, rest, outputs, start = memoryview(answer), [], [], 0
    for field, _, begin, end in fields(inference_pb2.InferResponse.DESCRIPTOR, answer, 0, len(answer)):
        if field is not None and field.number == OUTPUTS:
            outputs.append(_output(view, answer, begin, end))
        else:
            rest.append(view[start:end])
        start = end
    return inference_pb2.InferResponse.FromString(b"".join(rest)), outputs


def _output(view: memoryview, answer: bytes, start: int, end: int) -> Output:
    head, data, began = [], view[:0], start
    for field, _, begin, stop in fields(inference_pb2.Tensor.DESCRIPTOR, answer, start, end):
        if field is not None and field.number == DATA:
            data = view[begin:stop]
        else:
            head.append(view[began:stop])
        began = stop
    return Output(inference_pb2.Tensor.FromString(b"".join(head)), data)


def before_data(field: int, tensor: inference_pb2.Tensor, size: int) -> bytes:
    """A tensor within a serialized message as far as its data, which is of `size` bytes and follows.

    Args:
        field: the number that tensors have in the message: INPUTS or OUTPUTS.
        tensor: without data.
    """
    head = tensor.SerializeToString()
    if size:
        head += _tag(DATA) + _as_varint(size)
    return _tag(field) + _as_varint(len(head) + size) + head


def response_parts(outputs: Mapping[str, Array], rest: inference_pb2.InferResponse) -> list[Part]:
    """A serialized InferResponse; the elements of large outputs are parts of it as they are, without a copy.

    Args:
        rest: all of it but its outputs.

    Raises:
        TypeError: as `from_array`.
    """
    parts: list[Part] = [rest.SerializeToString()]
    for name, array in outputs.items():
        parts += _output_parts(name, array)
    return parts


def _output_parts(name: str, array: Array) -> Sequence[Part]:
    if array.nbytes < _BESIDE_BYTES or not is_plain(array) or not array.flags.c_contiguous:
        return [inference_pb2.InferResponse(outputs=[from_array(name, array)]).SerializeToString()]
    tensor = inference_pb2.Tensor(name=name, dtype=wire_dtype(array), shape=array.shape)
    return [before_data(OUTPUTS, tensor, array.nbytes), array.reshape(-1).view(np.uint8).data]


def _tag(number: int) -> bytes:
    return bytes([number << 3 | SIZED])


def _as_varint(number: int) -> bytes:
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])
