"""Texts of requests that are names, of bounded length: they become keys and come back in messages."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.limits import MAX_NAME, MAX_REASON, MAX_REQUEST_ID, MAX_TOKEN

Asked = TypeVar("Asked", bound=Message)

# By the name of the field, in characters.
_LONGEST: Mapping[str, int] = {
    "deployment": MAX_NAME,
    "id": MAX_NAME,
    "item_id": MAX_NAME,
    "job_id": MAX_NAME,
    "name": MAX_NAME,
    "page_token": MAX_TOKEN,
    "reason": MAX_REASON,
    "request_id": MAX_REQUEST_ID,
}


def with_short_texts(message: Asked) -> Asked:
    """The message.

    Raises:
        InvalidArgumentError: a text in it is too long.
    """
    if violations := list(_long_texts(message)):
        raise InvalidArgumentError.of(violations)
    return message


def _long_texts(message: Message) -> Iterator[FieldViolation]:
    for name in _names(message.DESCRIPTOR):
        most, text = _LONGEST[name], getattr(message, name)
        if len(text) > most:
            yield FieldViolation(name, f"expected at most {most} characters, got {len(text)}")


@cache
def _names(kind: Descriptor) -> Sequence[str]:
    """The fields of a kind of message that are looked at: to list all would copy what is large in others."""
    return [
        field.name
        for field in kind.fields
        if field.name in _LONGEST and field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated
    ]
