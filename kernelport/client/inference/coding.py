"""Requests and results as serialized messages.

protobuf copies the data of a large tensor three times each way, and holds the interpreter's lock meanwhile, so that an
event loop stands still even when another thread does it. Here it is copied once, in pieces or without the lock.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from kernelport.client.calling.messages import message
from kernelport.client.results import InferResult
from kernelport.coercion import check_message, coerce, each, to_tensors
from kernelport.errors import InternalError
from kernelport.signature import Signature
from kernelport.tensors import Array, is_plain, to_array, wire_dtype
from kernelport.v1 import inference_pb2 as pb

# What is coded in less than a millisecond: on the event loop, and by protobuf.
INLINE_BYTES = 2**20
# What gRPC copies in less than some milliseconds, on the event loop.
LARGE_BYTES = 4 * 2**20
_PIECE_BYTES = 2**20
# How a field of the wire format goes on.
_VARINT, _64_BITS, _LENGTH, _32_BITS = 0, 1, 2, 5
_WIDTHS = {_64_BITS: 8, _32_BITS: 4}
# A list's element takes as long as this many bytes of an array.
_ELEMENT_BYTES = 64
_MAX_LEVELS = 64


Metadata = Sequence[tuple[str, str]]


class SerializedInferenceStub:
    """The stub of InferenceService for messages that are serialized already, and answers that stay so.

    Args:
        channel: one of `grpc` or of `grpc.aio`.
    """

    def __init__(self, channel: Any) -> None:
        # grpc.aio keeps the request and the answer of a call that is over until Python looks for cycles: it gets lists
        # that are empty by then.
        self._infer = channel.unary_unary(
            "/kernelport.v1.InferenceService/Infer",
            request_serializer=list.pop,
            response_deserializer=_in_list,
            _registered_method=True,  # as in the generated stubs: the channel looks it up once
        )

        self._stream = channel.unary_stream(
            "/kernelport.v1.InferenceService/InferStream", request_serializer=None, _registered_method=True
        )
        self._chunked = channel.stream_stream(
            "/kernelport.v1.InferenceService/InferChunked",
            request_serializer=_chunk,
            response_deserializer=_chunk_data,
            _registered_method=True,
        )

    def InferStream(self, request: bytes, timeout: float | None, metadata: Metadata = ()) -> Any:
        """A call; its answers are messages."""
        return self._stream(request, timeout=timeout, metadata=metadata)

    def InferChunked(self, request: bytes, timeout: float | None, metadata: Metadata = ()) -> Any:
        """A call that takes its message in chunks; its answers are those of the answer's."""
        view = memoryview(request)
        chunks = (view[begin : begin + _PIECE_BYTES] for begin in range(0, len(view), _PIECE_BYTES))
        return self._chunked(chunks, timeout=timeout, metadata=metadata)

    def Infer(self, request: bytes, timeout: float | None, metadata: Metadata = ()) -> Any:
        """A call; its answer is a list, of which the message is to be taken."""
        return self._infer([request], timeout=timeout, metadata=metadata)


def size(inputs: Mapping[str, Any]) -> int:
    """About how many bytes of arrays take as long to code as these inputs do."""
    return sum(_size(value, _MAX_LEVELS) for value in inputs.values())


def encode(
    model: str, inputs: Mapping[str, Any], signature: Signature | None, request_id: str, outputs: Sequence[str] = ()
) -> bytes:
    """The InferRequest of a request.

    Args:
        inputs: what becomes what the signature declares; without one, arrays.
        outputs: the names of those that are wanted; empty for the usual ones.

    Raises:
        InvalidArgumentError: when an input cannot travel, or a name is no text; it names the field.
        ResourceExhaustedError: when it is more than a message can have.
    """
    arrays = inputs if signature is None else coerce(inputs, signature)
    large = {name: value for name, value in arrays.items() if _is_large(value)}
    if not large:
        return _serialized(model, arrays, request_id, outputs)
    check_message(arrays)
    request = io.BytesIO()
    small = {name: arrays[name] for name in arrays if name not in large}
    request.write(_serialized(model, small, request_id, outputs))
    for name, tensor in each(large, _without_data).items():
        described = tensor.SerializeToString()
        start = _key(pb.Tensor.DATA_FIELD_NUMBER) + _varint(large[name].nbytes)
        length = _varint(len(described) + len(start) + large[name].nbytes)
        request.write(_key(pb.InferRequest.INPUTS_FIELD_NUMBER) + length + described + start)
        data = np.ascontiguousarray(large[name]).reshape(-1).view(np.uint8).data
        for begin in range(0, len(data), _PIECE_BYTES):  # between two pieces, other threads come to run
            request.write(data[begin : begin + _PIECE_BYTES])
    return request.getvalue()


def decode(response: bytes) -> InferResult:
    """The result that an InferResponse carries.

    Raises:
        InternalError: when it is none.
    """
    try:
        if not response:
            raise ValueError("it is empty")
        if len(response) <= INLINE_BYTES:
            return InferResult.of(pb.InferResponse.FromString(response))
        outputs, rest = {}, bytearray()
        for number, field, value in _fields(memoryview(response)):
            if number == pb.InferResponse.OUTPUTS_FIELD_NUMBER:
                name, array = _output(value)
                outputs[name] = array
            else:
                rest += field
        return replace(InferResult.of(pb.InferResponse.FromString(bytes(rest))), outputs=outputs)
    except (DecodeError, ValueError, LookupError) as error:
        raise InternalError(f"expected an InferResponse from the front door: {error}") from error


def decode_message(message: bytes) -> tuple[InferResult, bool]:
    """The result that a message of a stream carries, and whether it is the last.

    Raises:
        InternalError: when it is none.
    """
    try:
        response = pb.InferResponse.FromString(message)
        return InferResult.of(response), response.last
    except (DecodeError, ValueError, LookupError) as error:
        raise InternalError(f"expected an InferResponse from the front door: {error}") from error


def resume_from(sequence: int) -> bytes:
    """Appended to a serialized InferRequest it says which message of the stream is wanted first."""
    return pb.InferRequest(resume_from=sequence).SerializeToString()


def _serialized(model: str, inputs: Mapping[str, Any], request_id: str, outputs: Sequence[str]) -> bytes:
    request = message(pb.InferRequest, model=model, inputs=to_tensors(inputs), request_id=request_id, outputs=outputs)
    return request.SerializeToString()


def _chunk(data: memoryview) -> bytes:
    return b"".join((_key(pb.InferChunk.DATA_FIELD_NUMBER), _varint(len(data)), data))


def _chunk_data(chunk: bytes) -> bytes:
    return pb.InferChunk.FromString(chunk).data


def _in_list(response: bytes) -> list[bytes]:
    return [response]


def _size(value: Any, levels: int) -> int:
    if isinstance(value, (list, tuple)):
        return len(value) * max(_ELEMENT_BYTES, _size(value[0], levels - 1)) if value and levels else 0
    if isinstance(value, (str, bytes)):
        return len(value)
    try:
        nbytes = getattr(value, "nbytes", 0)  # of an array, or a tensor of another library
    except RuntimeError:  # of torch, for one that is not dense
        return 0
    return nbytes if isinstance(nbytes, int) else 0


def _is_large(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.nbytes > INLINE_BYTES and is_plain(value)


def _without_data(name: str, array: Array) -> pb.Tensor:
    return pb.Tensor(name=name, dtype=wire_dtype(array), shape=array.shape)


def _output(tensor: memoryview) -> tuple[str, Array]:
    """The name and the array of a serialized Tensor. The array has memory of its own: aligned, and no more of it."""
    described, data = bytearray(), memoryview(b"")
    for number, field, value in _fields(tensor):
        if number == pb.Tensor.DATA_FIELD_NUMBER:
            data = value
        else:
            described += field
    without_data = pb.Tensor.FromString(bytes(described))
    array = to_array(without_data, data).copy()
    array.setflags(write=False)
    return without_data.name, array


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """The fields of a serialized message: of each its number, all of it, and its value, if that has a length."""
    position = 0
    while position < len(message):
        begin = position
        key, position = _read_varint(message, position)
        value = message[:0]
        if key & 7 == _VARINT:
            _, position = _read_varint(message, position)
        elif key & 7 == _LENGTH:
            length, position = _read_varint(message, position)
            value = message[position : position + length]
            position += length
        else:
            position += _WIDTHS[key & 7]
        if position > len(message):
            raise ValueError(f"field {key >> 3} is cut off")
        yield key >> 3, message[begin:position], value


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """A number, and where it ends."""
    number = 0
    for shift in range(0, 64, 7):
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise ValueError("a number is longer than 64 bits")


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _key(number: int) -> bytes:
    """What a field with a length begins with."""
    return _varint(number << 3 | _LENGTH)
