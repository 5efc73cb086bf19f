"""One node as its rule sees it, and the table of rules."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import onnx
from onnx import numpy_helper

from kernelport_workers.row_proof.dimensions import Size, has_rows, numbers
from kernelport_workers.row_proof.values import (
    MOST_ELEMENTS,
    Content,
    Mixed,
    Unknown,
    Value,
    Verdict,
    constant,
    of_content,
    stopped,
)

MICROSOFT = "com.microsoft"
ML = "ai.onnx.ml"

NEWEST_OPSETS = {"": 28, ML: 5, MICROSOFT: 1}
"""The newest operator sets that the rules were written for: a later one may mean something else by the same name."""

RunBody = Callable[[onnx.GraphProto, Sequence[Value]], list[Value]]
"""Follows the rows through a body, given its inputs; gives its outputs."""


class Rule(Protocol):
    """What an operator makes of its inputs: one value, or one for each output.

    Raises:
        Mixed: it mixes rows.
        Unknown: it cannot be told.
    """

    def __call__(self, node: "Node", /) -> Value | Sequence[Value]: ...


class Node:
    """A node with what is known of its inputs.

    A rule asks for every input and attribute that it handles: one that is given and not asked for is unknown.
    """

    def __init__(
        self,
        proto: onnx.NodeProto,
        inputs: Sequence[Value | None],
        version: int,
        visit: int,
        run_body: RunBody,
        ignored: set[str],
    ) -> None:
        self.operator: str = proto.op_type
        self.label = label(proto)
        self.version = version
        # Another for each pass of a loop's body, and for nodes of one name in two branches.
        self.visit = visit
        self.outputs: Sequence[str] = proto.output
        self.run_body = run_body
        self._inputs = inputs
        self._attributes: dict[str, onnx.AttributeProto] = {item.name: item for item in proto.attribute}
        self._unread_inputs = {index for index, value in enumerate(inputs) if value is not None}
        self._unread_attributes = self._attributes.keys() - ignored

    def attribute(self, name: str, default: Any = None) -> Any:
        self._unread_attributes.discard(name)
        item = self._attributes.get(name)
        if item is None:
            return default
        if item.ref_attr_name:
            raise Unknown(f"takes its attribute {name} from a function")
        return onnx.helper.get_attribute_value(item)

    def text(self, name: str, default: str) -> str:
        value = self.attribute(name)
        return default if value is None else value.decode()

    @property
    def count(self) -> int:
        """How many inputs are given, with those left out before the last."""
        return len(self._inputs)

    def has(self, index: int) -> bool:
        return index < len(self._inputs) and self._inputs[index] is not None

    def any(self, index: int) -> Value:
        """An input, whatever it is."""
        self._unread_inputs.discard(index)
        value = self._inputs[index] if index < len(self._inputs) else None
        if value is None:
            raise Unknown(f"has no input {index}")
        return value

    def indices(self, index: int) -> Value:
        """An input that may have the numbers of the rows in it; how many there are is no index."""
        value = self.any(index)
        if value.counts_rows:
            raise Unknown("takes the number of rows for a number")
        return value

    def tensor(self, index: int) -> Value:
        """An input that is taken as data, whatever its elements are; the number of a row, or of all, is no data."""
        value = self.indices(index)
        if value.numbers_rows:
            raise Mixed("takes the number of a row for data")
        return value

    def tensors(self, start: int = 0) -> list[Value]:
        """The inputs from `start` on; none of them may be left out."""
        return [self.tensor(index) for index in range(start, len(self._inputs))]

    def constant(self, index: int) -> Value:
        """An input that must not have rows."""
        value = self.tensor(index)
        if value.rows is not None:
            raise Mixed(f"takes its input {index} from the rows")
        return value

    def constants(self, *indices: int) -> None:
        """Inputs that may be left out, and must not have rows."""
        for index in indices:
            if self.has(index):
                self.constant(index)

    def sizes(self, index: int) -> list[Size]:
        """A shape, or another short list of sizes, N among them perhaps."""
        value = self.any(index)
        if value.rows is not None:
            raise Mixed(f"takes its input {index} from the rows")
        return value.sizes

    def integers(self, index: int) -> list[int]:
        """A short list of known numbers."""
        sizes = self.sizes(index)
        known = numbers(sizes)
        if known is not None:
            return known
        if any(map(has_rows, sizes)):
            raise Mixed("takes the number of rows for a number")
        raise Unknown(f"takes an input {index} that is not known before a run")

    def check_all_read(self) -> None:
        if self._unread_attributes:
            raise Unknown(f"has an attribute that is not followed: {min(self._unread_attributes)}")
        if self._unread_inputs:
            raise Unknown(f"has an input that is not followed: {min(self._unread_inputs)}")


def label(node: onnx.NodeProto) -> str:
    """How people find it: its operator, and its name or, if it has none, its first output's."""
    return f"{node.op_type} '{node.name or next(iter(node.output), '')}'"


TABLE: dict[tuple[str, str], tuple[Rule, set[str]]] = {}
"""The rule of each operator, and the attributes that change nothing for it, by domain and name."""


def rule(*operators: str, domain: str = "", ignored: Iterable[str] = ()) -> Callable[[Rule], Rule]:
    """Enters a rule into the table.

    Args:
        ignored: attributes that cannot change whether rows stay apart.
    """

    def enter(function: Rule) -> Rule:
        for operator in operators:
            if (domain, operator) in TABLE:
                raise ValueError(f"{domain} {operator} has two rules")
            TABLE[domain, operator] = function, set(ignored)
        return function

    return enter


def whole_axis(axis: int, rank: int) -> int:
    """An axis counted from the front.

    Raises:
        Unknown: there is no such axis.
    """
    if not -rank <= axis < rank:
        raise Unknown(f"names the axis {axis} of {rank}")
    return axis % rank


def off_axis(value: Value, axes: Iterable[int], verb: str) -> None:
    """Refuses an operator that works along the axis of the rows."""
    if value.rows is not None and value.rows.axis in axes:
        raise Mixed(f"{verb} the rows")


def tensor_value(tensor: onnx.TensorProto, folder: str | None) -> Value:
    """A constant of the model; its elements are read if they are few."""
    dims = list(tensor.dims)
    if math.prod(dims) > MOST_ELEMENTS:
        return constant(dims)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        if folder is None:
            return constant(dims)
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        try:
            onnx.external_data_helper.load_external_data_for_tensor(copy, folder)
        except (OSError, ValueError, onnx.checker.ValidationError):
            return constant(dims)  # the runtime is to say what is wrong with it
        tensor = copy
    content: Content = numpy_helper.to_array(tensor)
    return of_content(content) if content.dtype.kind in "iufb" else constant(dims)


def constant_node(node: onnx.NodeProto) -> Value:
    """What a Constant gives."""
    (item,) = node.attribute
    given = onnx.helper.get_attribute_value(item)
    if item.name == "value":
        return tensor_value(given, None)
    if item.name == "sparse_value":
        return constant(list(given.dims))
    if item.name in ("value_int", "value_ints"):
        return of_content(np.asarray(given, dtype=np.int64))
    if item.name in ("value_float", "value_floats"):
        return of_content(np.asarray(given, dtype=np.float32))
    if item.name in ("value_string", "value_strings"):
        return constant([len(given)] if item.name == "value_strings" else [])
    return stopped(Verdict.UNKNOWN, f"{label(node)} has an attribute that is not followed: {item.name}")
