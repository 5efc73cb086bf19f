"""Serialized protobuf messages, walked without being parsed: a large one is copied by every step that parses it."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from kernelport.v1 import inference_pb2

# Wire types.
_VARINT, _FIXED64, SIZED, _FIXED32 = 0, 1, 2, 5
# Data of so many bytes is left out of a request that is parsed: copying it costs more than walking around it, which
# takes a microsecond for each field, and so only where there are few.
LEFT_OUT_BYTES, FEW_FIELDS = 2**20, 256
# The fields of an InferRequest and a Tensor by their numbers.
INPUTS, DATA = inference_pb2.InferRequest.INPUTS_FIELD_NUMBER, inference_pb2.Tensor.DATA_FIELD_NUMBER


class MalformedError(Exception):
    """The bytes are no message of known wire types."""


def data_sizes(body: bytes) -> list[int]:
    """How many bytes of data each input of a serialized InferRequest has; none where it is no such message."""
    sizes = []
    try:
        for start, end in _values(inference_pb2.InferRequest.DESCRIPTOR, INPUTS, body, 0, len(body)):
            data = list(_values(inference_pb2.Tensor.DESCRIPTOR, DATA, body, start, end))
            sizes.append(data[-1][1] - data[-1][0] if data else 0)  # the last one stands
    except MalformedError:
        return []
    return sizes


def _values(kind: Any, number: int, body: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where each value of a field of bytes or messages begins and ends."""
    for field, wire, begin, stop in fields(kind, body, start, end):
        if field is not None and field.number == number and wire == SIZED:
            yield begin, stop


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
