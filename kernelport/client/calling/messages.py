"""Builds messages of what callers pass, and names the field that is not as it should be."""

import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from kernelport.coercion import show
from kernelport.errors import FieldViolation, InvalidArgumentError

M = TypeVar("M", bound=Message)
F = TypeVar("F", bound=Callable[..., Any])

_EXPECTED = {
    FieldDescriptor.CPPTYPE_STRING: "Unicode text",
    FieldDescriptor.CPPTYPE_BOOL: "True or False",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_INT32: "a whole number of 32 bits",
    FieldDescriptor.CPPTYPE_UINT32: "a whole number of 32 bits from 0",
    FieldDescriptor.CPPTYPE_INT64: "a whole number of 64 bits",
    FieldDescriptor.CPPTYPE_UINT64: "a whole number of 64 bits from 0",
}
# What protobuf raises over a value of another type, or out of range.
_REFUSED = (TypeError, ValueError, AttributeError)
# Fields that say what a call is about.
_NAMES = frozenset({"model", "deployment", "name", "job_id", "item_id", "id", "key"})


def message(kind: type[M], **fields: Any) -> M:
    """A message of fields; None is one that is not given, which a name cannot be.

    Raises:
        InvalidArgumentError: when a value is not what its field takes, naming the field.
    """
    for field in _NAMES & fields.keys():
        checked_name(field, fields[field])
    for field, value in fields.items():
        if isinstance(value, bytes) and kind.DESCRIPTOR.fields_by_name[field].type == FieldDescriptor.TYPE_STRING:
            raise InvalidArgumentError.of([FieldViolation(field, f"expected Unicode text, got {show(value)}")])
    try:
        return kind(**fields)
    except _REFUSED:
        for name, value in fields.items():
            _check(kind, name, value)
        raise


def checked_name(field: str, name: str) -> str:
    """A name.

    Raises:
        InvalidArgumentError: when it is no text.
    """
    if not isinstance(name, str):
        raise InvalidArgumentError.of([FieldViolation(field, f"expected a name, got {show(name)}")])
    return name


def checked_names(field: str, names: Iterable[str] | None) -> Sequence[str]:
    """Names; none for None.

    Raises:
        InvalidArgumentError: when they are no list of texts.
    """
    if names is None:
        return ()
    if isinstance(names, Iterable) and not isinstance(names, (str, bytes)):
        names = list(names)
        if all(isinstance(name, str) for name in names):
            return names
    raise InvalidArgumentError.of([FieldViolation(field, f"expected a list of names, got {show(names)}")])


def checked_function(field: str, function: F | None, of: str) -> F | None:
    """What is called when something happens, or None.

    Args:
        of: what it is called with.

    Raises:
        InvalidArgumentError: when it cannot be called.
    """
    if function is None or callable(function):
        return function
    raise InvalidArgumentError.of([FieldViolation(field, f"expected a function of {of}, got {show(function)}")])


def unix_us(field: str, time_of: datetime | None) -> int:
    """Microseconds of Unix time; 0 for None. A time without a zone is local time.

    Raises:
        InvalidArgumentError: when it is no time, or none after 1970.
    """
    if time_of is None:
        return 0
    if isinstance(time_of, datetime):
        with contextlib.suppress(ValueError, OverflowError):  # of local times at the ends of what a datetime holds
            if (found := round(time_of.timestamp() * 1e6)) > 0:  # 0 is no time
                return found
    raise InvalidArgumentError.of([FieldViolation(field, f"expected a datetime after 1970, got {show(time_of)}")])


def checked_weight(weight: float) -> float:
    """The weight of a tenant.

    Raises:
        InvalidArgumentError: when it is 0, which stands for none in a message.
    """
    if weight == 0:
        raise InvalidArgumentError.of([FieldViolation("weight", "expected a number above 0, got 0")])
    return weight


def deadline_fields(deadline: datetime | timedelta | None) -> dict[str, int]:
    """The fields of a message that say when a job expires: a time, or a duration that the server counts.

    Raises:
        InvalidArgumentError: when it is neither, or a duration of less than a second.
    """
    if deadline is None:
        return {}
    if isinstance(deadline, datetime):
        return {"deadline_unix_us": unix_us("deadline", deadline)}
    if not isinstance(deadline, timedelta) or deadline < timedelta(seconds=1):
        expected = "expected a datetime, or a timedelta of at least a second"
        raise InvalidArgumentError.of([FieldViolation("deadline", f"{expected}, got {show(deadline)}")])
    return {"deadline_in_s": round(deadline.total_seconds())}


def path(field: str, given: str | PathLike[str]) -> Path:
    """A path.

    Raises:
        InvalidArgumentError: when it is none: an empty one, too, or one that no file can have.
    """
    try:
        if isinstance(given, (str, PathLike)) and (name := os.fsencode(given)) and b"\0" not in name:
            return Path(given)
    except (TypeError, UnicodeEncodeError):
        pass  # as is said of all that is no path
    raise InvalidArgumentError.of([FieldViolation(field, f"expected a path as str or Path, got {show(given)}")])


@contextlib.asynccontextmanager
async def closing(values: AsyncIterable[Any]) -> AsyncGenerator[None]:
    """Closes what comes asynchronously at the end of a block, if it is a generator."""
    try:
        yield
    finally:
        if isinstance(values, AsyncGenerator):
            await values.aclose()


def _check(kind: type[Message], name: str, value: Any) -> None:
    try:
        kind(**{name: value})
    except _REFUSED:
        field = kind.DESCRIPTOR.fields_by_name[name]
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            expected = "a mapping of texts"
        elif field.message_type is not None:
            expected = f"a {field.message_type.name}"
        else:
            expected = "bytes" if field.type == FieldDescriptor.TYPE_BYTES else _EXPECTED[field.cpp_type]
        raise InvalidArgumentError.of([FieldViolation(name, f"expected {expected}, got {show(value)}")]) from None
