"""Serialized messages made into objects, with bounds on what that costs.

What parsing costs is told by how many fields a message has, at whatever depth: megabytes of one tensor's data are
copied at once, while megabytes of empty tensors keep the interpreter busy for a second. So a large message is walked
before it is parsed: many fields are refused, and what is left of them is parsed in pieces, aside from the event loop.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from kernelport import limits
from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.open_inference import inference_pb2 as open_inference_pb2
from kernelport.v1 import inference_pb2, job_pb2, voice_pb2
from kernelport.wire_format import (
    FEW_FIELDS,
    LEFT_OUT_BYTES,
    MalformedError,
    fields,
    fields_left,
    outlined,
)
from kernelport_api.aside import SMALL_BYTES, aside
from kernelport_api.turns import turn_if_large

Parsed = TypeVar("Parsed", bound=Message)

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
# What has a cheaper way for tensors of many elements.
_WITH_RAW_CONTENTS = (open_inference_pb2.ModelInferRequest,)


async def parsed(kind: type[Parsed], body: bytes) -> Parsed:
    """The message of some bytes.

    Raises:
        InvalidArgumentError: when they are none, or have too many fields.
    """
    return await _bounded(kind, body, _parsed)


async def parsed_request(body: bytes) -> inference_pb2.InferRequest:
    """The request of some bytes, without megabytes of numbers that nobody but its model looks at: the data of such a
    tensor is empty, and `wire_format.data_of_inputs` has it.

    Raises:
        InvalidArgumentError: as `parsed`.
    """
    return await _bounded(inference_pb2.InferRequest, body, _outlined if len(body) > LEFT_OUT_BYTES else _parsed)


async def _bounded(kind: type[Parsed], body: bytes, parse: Callable[[type[Parsed], bytes], Parsed]) -> Parsed:
    if len(body) <= SMALL_BYTES:
        return _parsed(kind, body)
    if kind not in _LARGE_KINDS:
        raise _refusal(f"expected at most {SMALL_BYTES:,} bytes, got {len(body):,}")
    try:
        if fields_left(kind.DESCRIPTOR, body, 0, len(body), FEW_FIELDS) >= 0:
            await turn_if_large(len(body))
            return parse(kind, body)
        return await aside(_parsed_in_pieces, kind, body)
    except MalformedError:  # not parsed for better words: that might take long
        raise _refusal(f"expected {_a(kind)}: it is cut off, or garbled") from None


def _parsed(kind: type[Parsed], body: bytes) -> Parsed:
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise _refusal(f"expected {_a(kind)}: {error}") from error


def _outlined(kind: type[inference_pb2.InferRequest], body: bytes) -> inference_pb2.InferRequest:
    try:
        return outlined(body)
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
    for count, (field, _, begin, end) in enumerate(fields(kind.DESCRIPTOR, body, 0, len(body)), 1):
        if count > _LARGE_KINDS[kind]:
            raise _refusal(f"expected at most {_LARGE_KINDS[kind]:,} fields, got more")
        inner = field.message_type if field is not None and end - begin > SMALL_BYTES else None
        if inner is not None and fields_left(inner, body, begin, end, limits.MAX_FIELDS) < 0:
            otherwise = "; a large one travels as raw_input_contents" if kind in _WITH_RAW_CONTENTS else ""
            raise _refusal(f"expected at most {limits.MAX_FIELDS:,} fields in one {inner.name}, got more{otherwise}")
        if end - start > SMALL_BYTES or count % _FIELDS_A_PIECE == 0:
            yield view[start:end]
            start = end
    yield view[start:]


def _a(kind: type[Message]) -> str:
    name = kind.DESCRIPTOR.name
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"


def _refusal(found: str) -> InvalidArgumentError:
    return InvalidArgumentError.of([FieldViolation("request", found)])
