"""Turns what people pass for an input into the array that a deployment declares.

One rule for clients, the command line and files of items: a value is converted when nothing is lost but digits of
fractions, which are rounded to the dtype's precision. Whole numbers become any dtype that holds them exactly; 0 and 1
become BOOL; text becomes STRING, or the bytes of its UTF-8 for U8, and where U8 is a text numbers do not. All else is
refused.
"""

import json
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kernelport.errors import FieldViolation, InvalidArgumentError, ResourceExhaustedError
from kernelport.limits import about, is_text
from kernelport.signature import Signature, TensorSpec, describe
from kernelport.tensors import (
    MAX_MESSAGE_BYTES,
    MAX_RANK,
    NUMPY_DTYPES,
    Array,
    as_numpy_reads,
    dtype_name,
    from_array,
    is_bytes,
    is_masked,
    uneven_rows,
    wire_bytes,
    wire_dtype,
)
from kernelport.v1 import inference_pb2 as pb

_LONGEST_VALUE = 60
_WIRE_DTYPES = frozenset(NUMPY_DTYPES.values())
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
# numpy's kinds of dtypes, and which may stand for which. bfloat16 is of kind V to numpy.
_KINDS = {"b": "truth", "i": "whole", "u": "whole", "f": "number"}
_TAKEN = {"truth": ("truth", "whole"), "whole": ("whole", "number"), "number": ("whole", "number")}
# Below this, float64 holds every whole number.
_FIRST_ROUNDED = 2.0**53


class ValueProblem(ValueError):
    """A value that is not what its input takes; the message says what was expected."""


def are_arrays(inputs: Mapping[str, Any]) -> bool:
    """Whether all inputs are arrays of dtypes in the contract: they travel as they are.

    Raises:
        InvalidArgumentError: when it is no mapping.
    """
    if not isinstance(inputs, Mapping):
        violation = FieldViolation("inputs", f"expected a mapping of arrays by name, got {show(inputs)}")
        raise InvalidArgumentError.of([violation])
    return all(type(value) is np.ndarray and value.dtype in _WIRE_DTYPES for value in inputs.values())


def coerce(inputs: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    """Arrays of the declared dtypes; None stands for an input that is not given.

    Names that the signature does not know pass through: the front door names what it expected. While nobody has loaded
    the model a text can only be UTF-8.

    Raises:
        InvalidArgumentError: when values have no such arrays, naming the inputs.
    """
    declared = {spec.name: spec for spec in signature.inputs}
    given = {name: value for name, value in inputs.items() if value is not None}

    def coerced(name: str, value: Any) -> Any:
        if name in declared:
            return array_of(declared[name], value)
        return utf8(value) if isinstance(value, str) and not declared else value

    return each(given, coerced)


def from_texts(texts: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    """What texts on a command line stand for, by the declared input; values that are no text stay as they are.

    Raises:
        InvalidArgumentError: when a text does not stand for a value, naming the input.
    """
    declared = {spec.name: spec for spec in signature.inputs}
    return each(
        texts,
        lambda name, text: from_text(declared[name], text) if isinstance(text, str) and name in declared else text,
    )


def to_tensors(inputs: Mapping[str, Any]) -> list[pb.Tensor]:
    """Wire tensors of inputs.

    Raises:
        InvalidArgumentError: when one cannot travel, naming it.
        ResourceExhaustedError: when they are more than a message can have.
    """
    check_message(inputs)
    return list(each(inputs, from_array).values())


def check_message(inputs: Mapping[str, Any]) -> None:
    """Looks whether inputs may go in a message, by their names and the size of the arrays.

    Raises:
        InvalidArgumentError: when a name is no text.
        ResourceExhaustedError: when they are more than a message can have.
    """
    if unnamed := [name for name in inputs if not isinstance(name, str)]:
        raise InvalidArgumentError.of([FieldViolation("inputs", f"expected texts as names, got {show(unnamed[0])}")])
    size = wire_bytes({name: value for name, value in inputs.items() if isinstance(value, np.ndarray)})
    if size > MAX_MESSAGE_BYTES:
        raise ResourceExhaustedError(f"inputs: expected at most {MAX_MESSAGE_BYTES:,} bytes in a message, got {size:,}")


def each(inputs: Mapping[str, Any], convert: Callable[[str, Any], Any]) -> dict[str, Any]:
    """What each input becomes, by name.

    Raises:
        InvalidArgumentError: when `convert` raises TypeError or ValueError, naming the inputs.
    """
    converted: dict[str, Any] = {}
    violations: list[FieldViolation] = []
    for name, value in inputs.items():
        try:
            converted[name] = convert(name, value)
        except (TypeError, ValueError) as error:
            violations.append(FieldViolation(f'inputs["{name}"]', str(error)))
    if violations:
        raise InvalidArgumentError.of(violations)
    return converted


def from_text(spec: TensorSpec, text: str) -> Any:
    """What a text stands for: a number, a truth value, or a list of them as JSON. For U8 and STRING a list, too, but
    any other text stands for itself, and where the input is a text every one does.

    Raises:
        ValueProblem: when it stands for nothing of the kind.
    """
    stripped = text.strip()
    if spec.dtype in (pb.U8, pb.STRING):
        if is_text(spec) or not stripped.startswith("["):
            return text
        try:
            return json.loads(stripped)
        except (ValueError, RecursionError):
            return text
    if spec.dtype == pb.BOOL and stripped.lower() in _BOOLEANS:
        return _BOOLEANS[stripped.lower()]
    try:
        return float(stripped) if stripped.lower() in ("nan", "inf", "-inf") else json.loads(stripped)
    except (ValueError, RecursionError):
        raise unexpected(spec, text) from None


def array_of(spec: TensorSpec, value: Any) -> Array:
    """The array of a declared dtype that stands for a value; an array of such a dtype is its own. A single value for an
    input of rank 1 gets shape (1,).

    Raises:
        ValueProblem: when there is none.
    """
    if is_masked(value):
        raise ValueProblem(f"expected {describe(spec)}, got a masked array: fill its gaps, as with `array.filled(0)`")
    value = as_numpy_reads(value)
    if is_text(spec) and not _holds_text(value):
        raise ValueProblem(f"expected a text, got {show(value)}")
    if isinstance(value, np.ndarray) and _is_declared(spec, value):
        array = value
    elif isinstance(value, str) and spec.dtype == pb.U8:
        array = utf8(value)
    elif isinstance(value, (bytes, bytearray)) and spec.dtype == pb.U8:
        array = np.frombuffer(bytes(value), np.uint8)
    else:
        array = _strings(spec, value) if spec.dtype == pb.STRING else _numbers(spec, value)
    return array.reshape(1) if array.ndim == 0 and spec.ranked and len(spec.shape) == 1 else array


def utf8(text: str) -> Array:
    """A text as the U8 tensor of its UTF-8 bytes, shape (N,).

    Raises:
        ValueProblem: when it holds half of a surrogate pair.
    """
    try:
        return np.frombuffer(text.encode(), np.uint8)
    except UnicodeEncodeError as error:
        raise ValueProblem(f"expected Unicode text, got a lone surrogate at character {error.start + 1}") from None


def unexpected(spec: TensorSpec, value: Any) -> ValueProblem:
    """What to say of a value that is not of the kind that an input takes."""
    known = about(spec)
    return ValueProblem(f"expected {describe(spec)}{f' ({known})' if known else ''}, got {show(value)}")


def show(value: Any) -> str:
    """A value as a message shows it: quoted, on one line, not too long."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {list(value.shape)}"
    text = f'"{value}"' if isinstance(value, str) else reprlib.repr(value)
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[: _LONGEST_VALUE + 1])
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _is_declared(spec: TensorSpec, array: Array) -> bool:
    """Whether an array is of a dtype that an input takes; of STRING it is when it holds objects."""
    return array.dtype.kind not in "SUT" and wire_dtype(array) in (spec.dtype, *spec.other_dtypes)


def _holds_text(value: Any) -> bool:
    """Whether a value is a text or its bytes. A number is no letter, however alike the two are on the wire."""
    if isinstance(value, memoryview):
        value = np.asarray(value)
    is_array = isinstance(value, np.ndarray) and value.ndim > 0 and value.dtype == NUMPY_DTYPES[pb.U8]
    return is_array or isinstance(value, (str, bytes, bytearray))


def _no_array(spec: TensorSpec, value: Any) -> ValueProblem:
    """What to say of lists that numpy makes no array of."""
    if uneven := uneven_rows(value):
        return ValueProblem(f"expected rows of equal length as {describe(spec)}, {uneven}")
    return unexpected(spec, value)


def _with_bytes(value: Any, levels: int = MAX_RANK) -> Any:
    """A value with every string of bytes in it, in lists of lists, too, as `bytes`: of others numpy makes numbers."""
    if levels and isinstance(value, (list, tuple)):
        return [_with_bytes(part, levels - 1) for part in value]
    return bytes(value) if is_bytes(value) else value


def _strings(spec: TensorSpec, value: Any) -> Array:
    try:
        # As objects: numpy's own strings end before their trailing zero bytes.
        given = np.asarray(_with_bytes(value), dtype=object)
    except ValueError:
        raise _no_array(spec, value) from None
    encoded = np.empty(given.size, dtype=object)
    for index, element in enumerate(given.ravel().tolist()):
        if not isinstance(element, (str, bytes)):
            raise _no_array(spec, value)
        encoded[index] = utf8(element).tobytes() if isinstance(element, str) else element
    return encoded.reshape(given.shape)


def _numbers(spec: TensorSpec, value: Any) -> Array:
    dtype = NUMPY_DTYPES[spec.dtype]
    try:
        given = np.asarray(value)
    # Lists of unequal lengths or of unlike things; tensors of other libraries that are on a GPU.
    except (ValueError, TypeError, OverflowError, RuntimeError):
        raise _no_array(spec, value) from None
    if not given.size:
        return given.astype(dtype)
    if _kind(given.dtype) not in _TAKEN[_kind(dtype)]:
        raise unexpected(spec, value)
    rounded = given.dtype == np.float64 and not isinstance(value, np.ndarray) and (abs(given) >= _FIRST_ROUNDED).any()
    return _apart(spec, np.asarray(value, dtype=object), given) if rounded else _converted(spec, given)


def _apart(spec: TensorSpec, elements: Array, given: Array) -> Array:
    """The array of numbers in a list, the whole ones by themselves: numpy makes float64 of whole numbers beside
    fractions, and of those below 0 beside those from 2^63 on.

    Args:
        elements: the numbers as they are in the list.
        given: the same as float64.
    """
    dtype = NUMPY_DTYPES[spec.dtype]
    whole = np.reshape([isinstance(element, (int, np.integer)) for element in elements.ravel()], elements.shape)
    if not whole.any() or (_kind(dtype) == "number" and not whole.all()):
        return _converted(spec, given)
    array = np.empty(given.shape, dtype)
    for those, exact in ((~whole, np.float64), (whole & (given < 0), np.int64), (whole & (given >= 0), np.uint64)):
        array[those] = _converted(spec, elements[those].astype(exact))
    return array


def _converted(spec: TensorSpec, given: Array) -> Array:
    """The array of the declared dtype.

    Raises:
        ValueProblem: when more than digits of fractions would be lost.
    """
    with np.errstate(all="ignore"):
        array = given.astype(NUMPY_DTYPES[spec.dtype])
        lost = _lost(given, array)
    if lost.any():
        first = show(given[lost].ravel()[0].item())
        raise ValueProblem(f"expected {_expected(spec, given)} as {describe(spec)}, got {first}")
    return array


def _lost(given: Array, array: Array) -> Array:
    """Which elements are not what was given, rounding of fractions aside."""
    kind, given_kind = _kind(array.dtype), _kind(given.dtype)
    if given_kind == "number":
        given = given.astype(np.float64)
    if kind == "truth":
        return np.asarray((given != 0) & (given != 1))
    if kind == "whole":
        limits = np.iinfo(array.dtype)
        outside = (given < limits.min) | (given >= limits.max + 1)
        return np.asarray(outside | (given != np.floor(given)) if given_kind == "number" else outside)
    if given_kind == "number":
        return np.asarray(np.isinf(array) & ~np.isinf(given))
    return np.asarray(array.astype(np.longdouble) != given.astype(np.longdouble))


def _expected(spec: TensorSpec, given: Array) -> str:
    """What values of the right kind must be."""
    dtype = NUMPY_DTYPES[spec.dtype]
    match _kind(dtype), _kind(given.dtype):
        case "truth", _:
            return "true, false, 1 or 0"
        case "whole", _:
            limits = np.iinfo(dtype)
            return f"integers from {limits.min} to {limits.max}"
        case _, "whole":
            return f"integers that {dtype_name(spec.dtype)} holds exactly"
        case _:
            return "finite numbers"


def _kind(dtype: np.dtype[Any]) -> str:
    return "number" if dtype == NUMPY_DTYPES[pb.BF16] else _KINDS.get(dtype.kind, "")
