"""The one shape of the contract's messages for programs: in `--json`, and over HTTP.

Names and units are those of the contract: times are microseconds of Unix time, durations seconds. Values of enums are
small words, and hashes hex digits.
"""

import csv
import io
from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message

from kernelport.enums import word
from kernelport.tensors import dtype_name
from kernelport.v1 import access_pb2, dead_letter_pb2, inference_pb2

_DTYPES = frozenset(inference_pb2.DType.keys())


def plain(message: Message) -> dict[str, Any]:
    """A message with all of its fields as JSON has it. Of tensors there are dtype and shape, by name."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.name == "Tensor":
            found[field.name] = {t.name: {"dtype": dtype_name(t.dtype), "shape": list(t.shape)} for t in value}
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            found[field.name] = dict(value)
        elif field.message_type is not None and field.is_repeated:
            found[field.name] = [plain(each) for each in value]
        elif field.message_type is not None:
            found[field.name] = plain(value) if message.HasField(field.name) else None
        elif field.enum_type is not None:
            names = field.enum_type.values_by_number
            words = [_word(names[each].name) for each in (value if field.is_repeated else [value])]
            found[field.name] = words if field.is_repeated else words[0]
        elif field.has_presence and not message.HasField(field.name):
            found[field.name] = None
        else:
            found[field.name] = list(value) if field.is_repeated else value
    return found


def letter_dict(letter: dead_letter_pb2.DeadLetter) -> dict[str, Any]:
    """A dead letter; in place of its request, where it comes with one, what the inputs are."""
    shown = plain(letter)
    serialized = shown.pop("request")
    if serialized:
        shown["inputs"] = plain(inference_pb2.InferRequest.FromString(serialized))["inputs"]
    return shown


def usage_csv(usage: Iterable[access_pb2.Usage]) -> str:
    """What tenants have used as a table, with a line for the names of its columns."""
    text = io.StringIO()
    names = [field.name for field in access_pb2.Usage.DESCRIPTOR.fields]
    table = csv.DictWriter(text, names, lineterminator="\n")
    table.writeheader()
    table.writerows(map(plain, usage))
    return text.getvalue()


def _word(name: str) -> str:
    """A value of an enum; dtypes stay as the contract names them."""
    return name if name in _DTYPES else word(name)
