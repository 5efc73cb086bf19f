"""Operators that work on each element by itself, and arithmetic on shapes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from kernelport_workers.row_proof.dimensions import Dimension, at_least, divide, floor_divide, opaque
from kernelport_workers.row_proof.nodes import MICROSOFT, ML, Node, rule
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
_PARAMETERS = {"alpha", "beta", "gamma", "approximate", "bias", "lambd", "detect_negative", "detect_positive", "fmod"}
_INTEGERS = {onnx.TensorProto.INT32, onnx.TensorProto.INT64}
_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE}


# Before opset 7, `axis` says where the second operand stands; `consumed_inputs` was a hint for allocators.
@rule(*_UNARY, *_BINARY, ignored={*_PARAMETERS, "direction", "consumed_inputs"})
def elementwise(node: Node) -> Value:
    count = 3 if node.operator == "Where" else node.count if node.operator in _BINARY else 1
    operands = [node.any(index) for index in range(count)]
    if node.attribute("broadcast", 0) and node.version < 7:
        raise Unknown("broadcasts by the rules of opset 6")
    computed = _compute(node.operator, operands)
    if computed is not None:
        return computed
    if any(operand.counts_rows for operand in operands) and any(operand.rows for operand in operands):
        raise Mixed("takes the number of rows for a number")
    return meet([node.tensor(index) for index in range(count)])


@rule("Cast", "CastLike", ignored={"saturate", "round_mode"})
def cast(node: Node) -> Value:
    value = node.any(0)
    if node.operator == "CastLike":
        node.any(1)
        return _without_content(node.tensor(0))
    to = node.attribute("to", 0)
    if not isinstance(to, int):
        return _without_content(node.tensor(0))  # a name, before opset 6
    if value.content is None:
        return value
    if value.content.dtype == object:
        if to not in _INTEGERS | _FLOATS:
            return _without_content(node.tensor(0))
        convert = _to_integer if to in _INTEGERS else _to_float
        return of_content(_each(convert, [value.content]))
    dtype = onnx.helper.tensor_dtype_to_np_dtype(to) if to != onnx.TensorProto.STRING else None
    if dtype is None or dtype.kind not in "iufb":
        return constant(value.dims)
    return of_content(value.content.astype(dtype))


@rule("BitCast", ignored={"to"})
def bit_cast(node: Node) -> Value:
    return _without_content(node.tensor(0))


@rule("Clip", ignored={"min", "max", "consumed_inputs"})
def clip(node: Node) -> Value:
    node.constants(1, 2)
    return _without_content(node.tensor(0))


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
    value = _without_content(node.tensor(0))
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
    return _without_content(node.tensor(0))


@rule("BiasGelu", "FastGelu", domain=MICROSOFT)
def with_bias(node: Node) -> Value:
    return meet([_without_content(value) for value in node.tensors()])


def _without_content(value: Value) -> Value:
    return value if value.content is None else constant(value.dims)


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
    arrays = np.broadcast_arrays(*contents)
    result = np.empty(arrays[0].shape, dtype=object)
    for index in np.ndindex(result.shape):
        result[index] = function(*(array[index] for array in arrays))
    return result


def _whole(*items: Any) -> bool:
    """Whether all are whole numbers or expressions of such."""
    return all(isinstance(i, int | np.integer) or (isinstance(i, Dimension) and not i.real) for i in items)


def _plain(item: Any) -> Any:
    return item.item() if isinstance(item, np.generic) else item


def _operation(name: str, exact: Callable[..., Any]) -> Callable[..., Any]:
    """`exact` on whole numbers and expressions where it gives something, else the operation by name."""

    def apply(*items: Any) -> Any:
        items = tuple(_plain(item) for item in items)
        result = exact(*items) if _whole(*items) else None
        if result is not None:
            return result
        real = any(isinstance(item, float) or (isinstance(item, Dimension) and item.real) for item in items)
        if real and len(items) == 2:
            factor = _scaled(name, *items)
            if factor is not None:
                return factor
        return opaque(name, *items, real=real)

    return apply


def _scaled(name: str, left: Any, right: Any) -> Any:
    """A size that was made a float and is multiplied or divided by a whole number is a size made a float."""
    if name == "Mul" and isinstance(left, float):
        left, right = right, left
    inside, by = _inside(left), _inside(right)
    if inside is None or by is None:
        return None
    exact = inside * by if name == "Mul" else divide(inside, by) if name == "Div" else None
    return None if exact is None else _to_float(exact)


def _inside(item: Any) -> Any:
    """The whole number or expression that a float was made of."""
    if isinstance(item, float):
        return int(item) if item.is_integer() else None
    symbol = item.symbol if isinstance(item, Dimension) else None
    return symbol.operands[0] if symbol is not None and symbol.operator == "float" else None


def _to_float(item: Any) -> Any:
    item = _plain(item)
    if isinstance(item, Dimension):
        return item if item.real else opaque("float", item, size=at_least(item, 0), real=True)
    return float(item)


def _to_integer(item: Any) -> Any:
    item = _plain(item)
    if not isinstance(item, Dimension):
        return int(item)
    if not item.real:
        return item
    inside = _inside(item)
    return opaque("int", item) if inside is None else inside


def _divided(left: Any, right: Any) -> Any:
    exact = divide(left, right)
    if exact is not None:
        return exact
    return floor_divide(left, right) if at_least(left, 0) and at_least(right, 1) else None


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
    condition, left, right = _plain(condition), _plain(left), _plain(right)
    if left == right:
        return left
    if isinstance(condition, bool):
        return left if condition else right
    return opaque("Where", condition, left, right)


_SYMBOLIC: dict[str, Callable[..., Any]] = {
    "Add": _operation("Add", lambda a, b: a + b),
    "Sub": _operation("Sub", lambda a, b: a - b),
    "Mul": _operation("Mul", lambda a, b: a * b),
    "Div": _operation("Div", _divided),
    "Mod": _operation("Mod", lambda a, b: 0 if divide(a, b) is not None else None),
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
    "Identity": _plain,
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
