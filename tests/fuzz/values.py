"""Odd values: texts, numbers, bytes, JSON, and messages of any kind."""

import math
import struct
from collections.abc import Mapping
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from kernelport.tensors import NUMPY_DTYPES
from kernelport.v1 import inference_pb2 as pb

# How deep messages in messages go.
_LEVELS = 4
_MOST_REPEATED = 4
_ODD_TEXTS = [
    *("", " ", "\0", "..", "../outside", "/etc/passwd", "a" * 300, "é" * 130, "語", "😀", "²", "٣", "\u202e", "\ufeff"),
    *("one\n2026-01-01 INFO forged", "%s%n", "{}", "${HOME}", "-1", "0", "1e400", "nan", "null", "[", '"', "@x"),
    *("kp:job", "x:spec", "x,y", "a;b", "a\tb", "\r\n", "@../x.npy", "data:,x", "http://[", "http://127.0.0.1:1/x"),
]
_ODD_NUMBERS = [0, 1, -1, 2, 63, 64, 127, 128, 255, 256, 999, 2**15, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1]

unicode_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
texts = st.sampled_from(_ODD_TEXTS) | unicode_texts
floats = st.floats() | st.sampled_from([0.0, -0.0, 1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan])
numbers = st.sampled_from([*_ODD_NUMBERS, -(2**31), -(2**63)]) | st.integers(-(2**63), 2**63 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.integers() | floats | texts | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)

_BOUNDS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_ENUM: (-(2**31), 2**31 - 1),
}


def mostly(sound: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The one, and now and then the other."""
    return st.integers(0, 7).flatmap(lambda which: sound if which else odd)


@st.composite
def garbled(draw: Any, sound: st.SearchStrategy[bytes]) -> bytes:
    """Bytes with some of them changed, cut off, added or said twice; now and then they are left as they are."""
    data = bytearray(draw(sound))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["change", "cut", "add", "twice"])):
            case "change" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at:]
            case "add":
                data[at:at] = draw(st.binary(max_size=8))
            case "twice":
                data[at:at] = data[at : at + draw(st.integers(0, 64))]
    return bytes(data)


@st.composite
def tensors(draw: Any, names: st.SearchStrategy[str] = texts) -> pb.Tensor:
    """Tensors, most of them of the length that they say."""
    dtype = draw(st.sampled_from([*pb.DType.values(), 99, -1]))
    shape = draw(st.lists(st.integers(0, 3) | st.sampled_from([1, 1, 2, 2**31, 2**62, -1]), max_size=5))
    elements = math.prod(size for size in shape if 0 <= size <= 3)
    if dtype == pb.STRING:
        strings = draw(st.lists(st.binary(max_size=4), min_size=elements, max_size=elements)) if elements < 100 else []
        data = b"".join(struct.pack("<I", len(each)) + each for each in strings)
    else:
        width = NUMPY_DTYPES[dtype].itemsize if dtype in NUMPY_DTYPES else 1
        data = draw(st.binary(min_size=elements * width, max_size=elements * width))
    tensor = pb.Tensor(name=draw(names), shape=shape, data=draw(garbled(st.just(data))))
    tensor.dtype = dtype
    return tensor


def messages(kind: type[Message], known: Mapping[str, st.SearchStrategy[Any]] | None = None) -> st.SearchStrategy[Any]:
    """Well-formed messages with odd content.

    Args:
        known: values of fields by name, for a start that leads somewhere; odd ones come beside them. Those of bytes are
            named with their message, as in `DeadLetter.request`, and messages by their kind; `tensor` are names of
            tensors.
    """
    return _messages(kind.DESCRIPTOR, known or {}, _LEVELS)


def serialized(kind: type[Message], known: Mapping[str, st.SearchStrategy[Any]] | None = None) -> Any:
    """Such messages as bytes, garbled ones and quite other bytes among them."""
    sound = messages(kind, known).map(lambda message: message.SerializeToString())
    return sound | garbled(sound) | st.binary(max_size=40)


@st.composite
def _messages(draw: Any, descriptor: Descriptor, known: Mapping[str, Any], levels: int) -> Message:
    if descriptor.full_name == pb.Tensor.DESCRIPTOR.full_name:
        return draw(tensors(known.get("tensor", texts)))  # type: ignore[no-any-return]
    message: Message = message_factory.GetMessageClass(descriptor)()
    is_sparse = draw(st.integers(0, 3)) > 0
    for field in descriptor.fields:
        if field.message_type is not None and levels == 0:
            continue
        is_known = field.name in known or (field.message_type is not None and field.message_type.name in known)
        if is_sparse and not is_known and draw(st.integers(0, 7)):
            continue
        values = _values(field, known, levels)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            for key, each in draw(
                st.dictionaries(texts, _values(value, known, levels), max_size=_MOST_REPEATED)
            ).items():
                if value.message_type is None:
                    getattr(message, field.name)[key] = each
                else:
                    getattr(message, field.name)[key].CopyFrom(each)
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(values, max_size=_MOST_REPEATED)))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(draw(values))
        else:
            setattr(message, field.name, draw(values))
    return message


def _values(field: Any, known: Mapping[str, Any], levels: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        odd_messages = _messages(field.message_type, known, levels - 1)
        kind = field.message_type.name
        return mostly(known[kind], odd_messages) if kind in known else odd_messages
    if field.type == FieldDescriptor.TYPE_BYTES:
        of_message = f"{field.containing_type.name}.{field.name}"
        return mostly(known[of_message], st.binary(max_size=40)) if of_message in known else st.binary(max_size=40)
    elif field.type == FieldDescriptor.TYPE_STRING:
        odd: st.SearchStrategy[Any] = texts
    elif field.type == FieldDescriptor.TYPE_BOOL:
        odd = st.booleans()
    elif field.type in _BOUNDS:
        least, most = _BOUNDS[field.type]
        odd = st.integers(least, most) | st.sampled_from([each for each in _ODD_NUMBERS if least <= each <= most])
        if field.enum_type is not None:
            odd |= st.sampled_from([value.number for value in field.enum_type.values])
    else:
        odd = floats
    return mostly(known[field.name], odd) if field.name in known else odd
