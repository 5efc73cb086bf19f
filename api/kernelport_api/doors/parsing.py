"""Serialized messages made into objects, with bounds on what that costs.

What parsing costs is told by how many fields a message has, at whatever depth: megabytes of one tensor's data are
copied at once, while megabytes of empty tensors keep the interpreter busy for a second. So a large message is walked
before it is parsed: many fields are refused, and what is left of them is parsed in pieces, aside from the event loop.
"""

from collections.abc import Iterator
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from kernelport import limits
from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.open_inference import inference_pb2 as open_inference_pb2
from kernelport.v1 import inference_pb2, job_pb2, voice_pb2
from kernelport_api.aside import SMALL_BYTES, aside
from kernelport_api.turns import turn_if_large

Parsed = TypeVar("Parsed", bound=Message)

# A large message of no more fields than this is parsed at once.
_FEW_FIELDS = 256
# As many numbers of a repeated field cost about what another field does.
_NUMBERS_A_FIELD = 64
# Other callers may go on after so many fields.
_FIELDS_A_PIECE = 2048
# What may be larger than SMALL_BYTES, and how many fields each may have on its first level.
_LARGE_KINDS: dict[type[Message], int] = {
    inference_pb2.InferRequest: limits.MAX_FIELDS,
    inference_pb2.InferChunk: limits.MAX_FIELDS,
    open_inference_pb2.ModelInferRequest: limits.MAX_FIELDS,
    job_pb2.SubmitJobRequest: limits.MAX_FIELDS + limits.MAX_ITEMS,
    job_pb2.AddItemsRequest: limits.MAX_FIELDS + limits.MAX_ITEMS,
    job_pb2.ReplaceItemsRequest: limits.MAX_FIELDS + limits.MAX_ITEMS,
    voice_pb2.AddVoiceRequest: limits.MAX_FIELDS,
}
_BYTES_TYPES = (FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_STRING)
# Wire types of protobuf.
_VARINT, _FIXED64, _SIZED, _FIXED32 = 0, 1, 2, 5


async def parsed(kind: type[Parsed], body: bytes) -> Parsed:
    """The message of some bytes.

    Raises:
        InvalidArgumentError: when they are none, or have too many fields.
    """
    if len(body) <= SMALL_BYTES:
        return _parsed(kind, body)
    if kind not in _LARGE_KINDS:
        raise _refusal(f"expected at most {SMALL_BYTES:,} bytes, got {len(body):,}")
    try:
        if _fields_left(kind.DESCRIPTOR, body, 0, len(body), _FEW_FIELDS) >= 0:
            await turn_if_large(len(body))
            return _parsed(kind, body)
        return await aside(_parsed_in_pieces, kind, body)
    except _MalformedError:  # not parsed for better words: that might take long
        raise _refusal(f"expected {_a(kind)}: it is cut off, or garbled") from None


class _MalformedError(Exception):
    """The bytes are no message of known wire types."""


def _parsed(kind: type[Parsed], body: bytes) -> Parsed:
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise _refusal(f"expected {_a(kind)}: {error}") from error


def _parsed_in_pieces(kind: type[Parsed], body: bytes) -> Parsed:
    """The same, letting go of the interpreter now and then: a message's serialized fields are a message, too."""
    message = kind()
    for piece in _pieces(kind, body):
        try:
            message.MergeFromString(piece)  # type: ignore[arg-type]  # any buffer will do
        except DecodeError as error:
            raise _refusal(f"expected {_a(kind)}: {error}") from error
    return message


def _pieces(kind: type[Message], body: bytes) -> Iterator[memoryview]:
    """Slices of whole fields of the first level.

    Raises:
        InvalidArgumentError: at fields that are too many.
    """
    view = memoryview(body)
    start = 0
    for count, (field, _, begin, end) in enumerate(_fields(kind.DESCRIPTOR, body, 0, len(body)), 1):
        if count > _LARGE_KINDS[kind]:
            raise _refusal(f"expected at most {_LARGE_KINDS[kind]:,} fields, got more")
        inner = field.message_type if field is not None and end - begin > SMALL_BYTES else None
        if inner is not None and _fields_left(inner, body, begin, end, limits.MAX_FIELDS) < 0:
            raise _refusal(f"expected at most {limits.MAX_FIELDS:,} fields in one {inner.name}, got more")
        if end - start > SMALL_BYTES or count % _FIELDS_A_PIECE == 0:
            yield view[start:end]
            start = end
    yield view[start:]


def _fields_left(kind: Any, body: bytes, start: int, end: int, most: int) -> int:
    """How many more fields a message could have, at whatever depth, until they are too many; below 0: they are."""
    for field, wire, begin, stop in _fields(kind, body, start, end):
        most -= 1
        if most < 0:
            break
        if field is None or wire != _SIZED:
            continue
        if field.message_type is not None:
            most = _fields_left(field.message_type, body, begin, stop, most)
        elif field.type not in _BYTES_TYPES:
            most -= (stop - begin) // _NUMBERS_A_FIELD
    return most


def _fields(kind: Any, body: bytes, start: int, end: int) -> Iterator[tuple[FieldDescriptor | None, int, int, int]]:
    """The fields of a serialized message: what is known of each, its wire type, and where its value begins and ends."""
    known = kind.fields_by_number
    while start < end:
        tag, start = _varint(body, start, end)
        wire = tag & 7
        stop = start
        if wire == _SIZED:
            size, start = _varint(body, start, end)
            stop = start + size
        elif wire == _VARINT:
            _, stop = _varint(body, start, end)
        elif wire in (_FIXED64, _FIXED32):
            stop = start + (8 if wire == _FIXED64 else 4)
        else:
            raise _MalformedError
        if stop > end:
            raise _MalformedError
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
    raise _MalformedError


def _a(kind: type[Message]) -> str:
    name = kind.DESCRIPTOR.name
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"


def _refusal(found: str) -> InvalidArgumentError:
    return InvalidArgumentError.of([FieldViolation("request", found)])
