"""Elements of other types than int64: sizes may be rounded in them, or have no room.

An element of a content is an int64 number, a bool, or an expression of such; one of another type is a symbol of that
type, made of its value.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelport_workers.row_proof.dimensions import Dimension, Size, coefficients, fits, opaque

FLOATS = {"float", "double"}
NUMPY_TYPES = {"int32": np.int32, "float": np.float32, "double": np.float64}
_BITS = {"int64": 63, "int32": 31, "float": 24, "double": 53}  # that are exact


def in_type(value: Any, kind: str) -> Any:
    """An element of a type that has room for the value."""
    if kind == "int64":
        return value
    if isinstance(value, float) and value.is_integer() and value != 0:
        value = int(value)
    return opaque(kind, value, real=kind in FLOATS)


def type_of(element: Any) -> str:
    symbol = element.symbol if isinstance(element, Dimension) else None
    return symbol.operator if symbol is not None and symbol.operator in NUMPY_TYPES else "int64"


def value_of(element: Any) -> Any:
    return element if type_of(element) == "int64" else element.symbol.operands[0]


def has_room(value: Any, kind: str) -> bool:
    """Whether a value is known to be a whole number that is exact in a type."""
    if isinstance(value, float) or (isinstance(value, Dimension) and value.real):
        return False
    bits = _BITS[kind]
    if kind in FLOATS and value != 0:
        # A power of 2 is for free.
        bits += (math.gcd(*coefficients(value)) & -math.gcd(*coefficients(value))).bit_length() - 1
    return fits(value, bits)


def common_type(elements: tuple[Any, ...]) -> str:
    """The type of operands, of which numbers may not tell theirs."""
    return next((kind for kind in map(type_of, elements) if kind != "int64"), "int64")


def as_elements(content: NDArray[Any]) -> NDArray[Any]:
    """The elements of an array, each with its type.

    Raises:
        TypeError: they are of a type that is not followed.
    """
    if content.dtype == object:
        return content
    kinds = {np.dtype(numpy_type): kind for kind, numpy_type in NUMPY_TYPES.items()}
    kinds |= {np.dtype(np.int64): "int64", np.dtype(np.bool_): "int64"}
    if content.dtype not in kinds:
        raise TypeError(f"sizes of the type {content.dtype} are not followed")
    elements = np.empty(content.shape, dtype=object)
    for index in np.ndindex(content.shape):
        elements[index] = in_type(content[index].item(), kinds[content.dtype])
    return elements


def as_numbers(elements: NDArray[Any]) -> NDArray[Any]:
    """Elements that are all numbers of one type as an array of that type; others as they are."""
    kinds = {(type_of(element), type(value_of(element)) is bool) for element in elements.flat}
    if len(kinds) != 1 or any(isinstance(value_of(element), Dimension) for element in elements.flat):
        return elements
    ((kind, is_bool),) = kinds
    values = [value_of(element) for element in elements.flat]
    dtype = np.bool_ if is_bool else NUMPY_TYPES.get(kind, np.int64)
    return np.array(values, dtype=dtype).reshape(elements.shape)


def whole(size: Any) -> Size:
    """An element as a size.

    Raises:
        TypeError: it is no whole number.
    """
    size = value_of(size) if type_of(size) == "int32" else size
    if isinstance(size, float) or (isinstance(size, Dimension) and size.real):
        raise TypeError("it is no whole number")
    return size if isinstance(size, Dimension) else int(size)
