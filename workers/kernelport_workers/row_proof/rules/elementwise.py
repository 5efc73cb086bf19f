"""Operators that work on each element by itself, and arithmetic on shapes."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from kernelport_workers.row_proof.dimensions import Size, at_least, divide, floor_divide, has_rows, opaque
from kernelport_workers.row_proof.indices import ANY, FROM_ROW_NUMBERS, Index
from kernelport_workers.row_proof.nodes import MICROSOFT, ML, Node, rule
from kernelport_workers.row_proof.typed import (
    FLOATS,
    as_elements,
    common_type,
    has_room,
    in_type,
    type_of,
    value_of,
)
from kernelport_workers.row_proof.values import Content, Mixed, Unknown, Value, constant, meet, of_content

# fmt: off
_UNARY = [
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Ceil", "Celu", "Cos", "Cosh", "Elu", "Erf",
    "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg",
    "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign",
    "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
]
_BINARY = [
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual",
    "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "StringConcat", "Sub", "Sum",
    "Where", "Xor",
]
# fmt: on
_PARAMETERS = {"alpha", "beta", "gamma", "approximate", "bias", "lambd", "detect_negative", "detect_positive"}
_TYPES: dict[int, str] = {
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.FLOAT: "float",
    onnx.TensorProto.DOUBLE: "double",
}


# Before opset 7, `axis` says where the second operand stands; `consumed_inputs` was a hint for allocators.
@rule(*_UNARY, *_BINARY, ignored={*_PARAMETERS, "direction", "consumed_inputs"})
def elementwise(node: Node) -> Value:
    count = 3 if node.operator == "Where" else node.count if node.operator in _BINARY else 1
    operands = [node.any(index) for index in range(count)]
    if node.attribute("broadcast", 0) and node.version < 7:
        raise Unknown("broadcasts by the rules of opset 6")
    # The other remainder of negative numbers is not computed.
    operator = "fmod" if node.attribute("fmod", 0) else node.operator
    computed = _compute(operator, operands)
    if computed is not None:
        return computed
    if any(operand.counts_rows for operand in operands) and any(operand.rows for operand in operands):
        raise Mixed("takes the number of rows for a number")
    result = meet([node.indices(index) for index in range(count)])
    if operator == "Identity":
        return result.holding(operands[0])
    index = _index(operator, operands)
    return result if index == ANY else replace(result, index=(index,))


@rule("Cast", "CastLike", ignored={"saturate", "round_mode"})
def cast(node: Node) -> Value:
    value = node.any(0)
    if node.operator == "CastLike":
        node.any(1)
        return node.tensor(0).like()
    to = node.attribute("to", 0)
    if not isinstance(to, int):
        return node.tensor(0).like()  # a name, before opset 6
    if value.content is None:
        return replace(value, index=tuple(index.as_kind(_TYPES.get(to)) for index in value.index))
    if value.content.dtype == object:
        if to not in _TYPES:
            return node.tensor(0).like()
        return of_content(_each(lambda element: _converted(element, _TYPES[to]), [value.content]))
    dtype = onnx.helper.tensor_dtype_to_np_dtype(to) if to != onnx.TensorProto.STRING else None
    if dtype is None or dtype.kind not in "iufb":
        return constant(value.dims)
    # What has no room is up to the machine.
    if value.content.dtype.kind == "f" and dtype.kind in "iu" and not (np.abs(value.content) < 2**31).all():
        return constant(value.dims)
    with np.errstate(all="ignore"):
        return of_content(value.content.astype(dtype))


@rule("BitCast", ignored={"to"})
def bit_cast(node: Node) -> Value:
    return node.tensor(0).like()


@rule("Clip", ignored={"min", "max", "consumed_inputs"})
def clip(node: Node) -> Value:
    node.constants(1, 2)
    return node.tensor(0).like()


@rule("Dropout", ignored={"ratio", "seed", "consumed_inputs"})
def dropout(node: Node) -> list[Value]:
    node.constants(1)
    if node.version < 7 and not node.attribute("is_test", 0):
        raise Mixed("draws random numbers")
    if node.has(2):
        training = node.constant(2).content
        if training is None:
            raise Unknown("may draw random numbers")
        if training.any():
            raise Mixed("draws random numbers")
    value = node.tensor(0).like()
    return [value, value]


@rule("RegexFullMatch", ignored={"pattern"})
@rule("Binarizer", domain=ML, ignored={"threshold"})
@rule("CategoryMapper", domain=ML, ignored={"cats_int64s", "cats_strings", "default_int64", "default_string"})
@rule(
    "LabelEncoder",
    domain=ML,
    ignored={
        *(f"{part}_{kind}" for part in ("keys", "values") for kind in ("floats", "int64s", "strings", "tensor")),
        *("default_float", "default_int64", "default_string", "default_tensor", "classes_strings"),
    },
)
@rule("QuickGelu", "Gelu", domain=MICROSOFT, ignored={"alpha"})
def each_element(node: Node) -> Value:
    return node.tensor(0).like()


@rule("BiasGelu", "FastGelu", domain=MICROSOFT)
def with_bias(node: Node) -> Value:
    return meet([value.like() for value in node.tensors()])


# Arithmetic on indices.


def _index(operator: str, operands: Sequence[Value]) -> Index:
    """What is known of a result's elements as indices."""
    if operator != "Mod" and not any(operand.index for operand in operands):
        return ANY
    indices = [_index_of(operand) for operand in operands]
    if operator == "Add":
        return indices[0].plus(indices[1])
    if operator == "Mul":
        for operand, index in zip(operands, reversed(indices), strict=True):
            factor = _number(operand)
            if factor is not None:
                return index.times(factor[0])
    divisor = _number(operands[1]) if operator == "Mod" and indices[0].stride == 0 else None
    if divisor is not None:
        return Index(0, *divisor)  # a remainder has its divisor's sign
    return FROM_ROW_NUMBERS if any(index.stride != 0 for index in indices) else ANY


def _index_of(operand: Value) -> Index:
    number = _number(operand)
    if number is not None:
        size, kind = number
        return Index(0, size + 1, kind)
    if len(operand.index) == 1:
        return operand.index[0]
    return FROM_ROW_NUMBERS if operand.numbers_rows else ANY


def _number(operand: Value) -> tuple[Size, str] | None:
    """The one number of 0 or more that a tensor holds, and its type."""
    content = operand.content
    if content is None or content.size != 1 or content.dtype not in (object, np.int64, np.int32):
        return None
    (element,) = as_elements(content).flat
    number, kind = value_of(element), type_of(element)
    if isinstance(number, bool) or kind in FLOATS or has_rows(number) or not at_least(number, 0):
        return None
    return number, kind


# Arithmetic on known elements. What cannot be computed has a name of its own, equal for equal expressions.


def _compute(operator: str, operands: Sequence[Value]) -> Value | None:
    """The elements of a result, where those of all operands are known."""
    contents = [operand.content for operand in operands if operand.content is not None]
    if len(contents) < len(operands):
        return None
    try:
        if any(content.dtype == object for content in contents):
            function = _SYMBOLIC.get(operator)
            return function and of_content(_each(function, contents))
        numbers = _NUMERIC.get(operator)
        with np.errstate(all="ignore"):
            return numbers and of_content(np.asarray(numbers(*contents)))
    except (ArithmeticError, TypeError, ValueError):
        return None


def _each(function: Callable[..., Any], contents: Sequence[Content]) -> Content:
    arrays = np.broadcast_arrays(*map(as_elements, contents))
    result = np.empty(arrays[0].shape, dtype=object)
    for index in np.ndindex(result.shape):
        result[index] = function(*(array[index] for array in arrays))
    return result


def folded(operator: str, content: Content) -> Content:
    """One element of all those of a list, by an operator of two."""
    if content.dtype == object:
        total = np.empty((), dtype=object)
        total[()] = functools.reduce(_SYMBOLIC[operator], content.flat)
        return total
    return np.asarray(functools.reduce(_NUMERIC[operator], content))


def _operation(name: str, exact: Callable[..., Any], of_floats: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """`exact` on whole numbers and expressions that have room, if it gives such a one, else the operation by name.

    Args:
        of_floats: what floating-point numbers need instead.
    """

    def apply(*elements: Any) -> Any:
        kind = common_type(elements)
        compute = of_floats if of_floats and kind in FLOATS else exact
        values = [value_of(element) for element in elements]
        result = compute(*values) if all(has_room(value, kind) for value in values) else None
        if isinstance(result, bool) or (result is not None and has_room(result, kind)):
            return result if isinstance(result, bool) else in_type(result, kind)
        if name in _COMPARING:
            return opaque(name, *elements)
        return in_type(opaque(name, *elements, real=kind in FLOATS), kind)

    return apply


def _converted(element: Any, kind: str) -> Any:
    """An element in another type: its value where that is exact, else its rounding or cutting by name."""
    element = int(element) if isinstance(element, bool) else element
    value, before = value_of(element), type_of(element)
    if before == kind:
        return element
    if (before, kind) == ("int32", "int64") or has_room(value, kind):
        return in_type(value, kind)
    return in_type(opaque("Cast", element, kind, real=kind in FLOATS), kind)


def _divided(left: Any, right: Any) -> Any:
    exact = divide(left, right)
    if exact is not None:
        return exact
    return floor_divide(left, right) if at_least(left, 0) and at_least(right, 1) else None


def _divided_floats(left: Any, right: Any) -> Any:
    # 0 / 0 is no error, as it is for integers.
    return divide(left, right) if isinstance(right, int) or at_least(right, 1) else None


def _equal(left: Any, right: Any) -> bool | None:
    if left == right:
        return True
    distance = left - right
    return False if at_least(distance, 1) or at_least(-distance, 1) else None


def _less(left: Any, right: Any) -> bool | None:
    if at_least(right - left, 1):
        return True
    return False if at_least(left - right, 0) else None


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _where(condition: Any, left: Any, right: Any) -> Any:
    if left == right:
        return left
    if isinstance(condition, bool):
        return left if condition else right
    kind = common_type((left, right))
    return in_type(opaque("Where", condition, left, right, real=kind in FLOATS), kind)


_COMPARING = {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Not", "And", "Or"}
_SYMBOLIC: dict[str, Callable[..., Any]] = {
    "Add": _operation("Add", lambda a, b: a + b),
    "Sub": _operation("Sub", lambda a, b: a - b),
    "Mul": _operation("Mul", lambda a, b: a * b),
    "Div": _operation("Div", _divided, of_floats=_divided_floats),
    "Mod": _operation("Mod", lambda a, b: 0 if _divided_floats(a, b) is not None else None),
    "Neg": _operation("Neg", lambda a: -a),
    "Abs": _operation("Abs", lambda a: a if at_least(a, 0) else None),
    "Floor": _operation("Floor", lambda a: a),
    "Ceil": _operation("Ceil", lambda a: a),
    "Round": _operation("Round", lambda a: a),
    "Sqrt": _operation("Sqrt", lambda a: None),
    "Min": _operation("Min", lambda *items: items[0] if len(set(items)) == 1 else None),
    "Max": _operation("Max", lambda *items: items[0] if len(set(items)) == 1 else None),
    "Equal": _operation("Equal", _equal),
    "Less": _operation("Less", _less),
    "LessOrEqual": _operation("LessOrEqual", lambda a, b: _not(_less(b, a))),
    "Greater": _operation("Greater", lambda a, b: _less(b, a)),
    "GreaterOrEqual": _operation("GreaterOrEqual", lambda a, b: _not(_less(a, b))),
    "Not": _operation("Not", lambda a: None),
    "And": _operation("And", lambda a, b: None),
    "Or": _operation("Or", lambda a, b: None),
    "Where": _where,
    "Identity": lambda element: element,
}


def _numeric_division(left: Content, right: Content) -> Content:
    if left.dtype.kind == "f":
        return np.divide(left, right)
    quotient = np.abs(left) // np.abs(right)
    return np.where((left < 0) ^ (right < 0), -quotient, quotient).astype(left.dtype)


def _numeric_remainder(left: Content, right: Content) -> Content:
    if (left < 0).any() or (right <= 0).any():
        raise ValueError("the sign of a remainder is told by an attribute")
    return np.mod(left, right)


_NUMERIC: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _numeric_division,
    "Mod": _numeric_remainder,
    "Neg": np.negative,
    "Abs": np.abs,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Min": lambda *items: np.minimum.reduce(np.broadcast_arrays(*items)),
    "Max": lambda *items: np.maximum.reduce(np.broadcast_arrays(*items)),
    "Equal": np.equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Not": np.logical_not,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Where": np.where,
    "Identity": np.asarray,
}
