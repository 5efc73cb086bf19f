"""Texts of requests that are names, of bounded length: they become keys and come back in messages."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

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
    for field, value in message.ListFields():
        most = _LONGEST.get(field.name)
        if most is not None and isinstance(value, str) and len(value) > most:
            yield FieldViolation(field.name, f"expected at most {most} characters, got {len(value)}")
