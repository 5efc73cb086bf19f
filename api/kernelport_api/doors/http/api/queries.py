"""What calls say beside their bodies."""

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qs

from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport_api.doors.http.endpoint import HttpCall

Value = TypeVar("Value")
_MOST_FIELDS = 64
_YES = {"true": True, "1": True, "false": False, "0": False, "": False}


class Query:
    """The query of a call's address."""

    def __init__(self, call: HttpCall) -> None:
        try:
            text = call.scope["query_string"].decode()
            self._values: dict[str, list[str]] = parse_qs(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError as error:
            raise invalid("query", f"expected names and values in UTF-8: {error}") from error

    def text(self, name: str) -> str:
        """One value; empty when there is none."""
        return self._values.get(name, [""])[-1]

    def texts(self, name: str) -> list[str]:
        """All values of a name, which may come several times or with commas between them."""
        return [part for value in self._values.get(name, []) for part in value.split(",") if part]

    def number(self, name: str, most: int) -> int:
        """A number from 0 on; 0 when there is none."""
        text = self.text(name)
        if not text:
            return 0
        if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text) <= most):
            raise invalid(name, f"expected 0 to {most:,}, got {text[:64]!r}")
        return int(text)

    def flag(self, name: str) -> bool:
        """Whether it is set."""
        return flag(name, self.text(name))


def flag(name: str, text: str) -> bool:
    """Whether a text sets something; nothing does not.

    Raises:
        InvalidArgumentError: it is none of true, false, 1 and 0.
    """
    if text.lower() not in _YES:
        raise invalid(name, f"expected true or false, got {text[:64]!r}")
    return _YES[text.lower()]


def field(body: dict[str, Any], name: str, kind: type[Value], default: Value) -> Value:
    """A key of a JSON object; null stands for one that is not given.

    Raises:
        InvalidArgumentError: it is of another type.
    """
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise invalid(name, f"expected {_KINDS[kind]}, got {value!r:.64}")
    return value


def known(body: Any, *names: str) -> dict[str, Any]:
    """A JSON object with no keys but these.

    Raises:
        InvalidArgumentError: it is none, or has others.
    """
    if not isinstance(body, dict):
        raise invalid("body", "expected an object")
    for name in body:
        if name not in names:
            raise invalid(name[:64], f"expected one of {', '.join(names)}")
    return body


def checked(convert: Callable[[], Value], name: str) -> Value:
    """What `convert` gives.

    Raises:
        InvalidArgumentError: it raises ValueError or TypeError, as messages do that a value does not fit, or
            RecursionError, as JSON does that is nested too deep.
    """
    try:
        return convert()
    except (ValueError, TypeError, RecursionError) as error:
        raise invalid(name, str(error)) from error


def invalid(name: str, description: str) -> InvalidArgumentError:
    """The refusal of one value."""
    return InvalidArgumentError.of([FieldViolation(name, description)])


_KINDS: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}
