"""Operators that mix rows whenever they get any, and those that draw random numbers."""

import numpy as np

from kernelport_workers.row_proof.dimensions import ROWS, Size, at_least, axis_size, divide, has_rows
from kernelport_workers.row_proof.indices import Index
from kernelport_workers.row_proof.nodes import Node, off_axis, rule, whole_axis
from kernelport_workers.row_proof.rules.shapes import named_size
from kernelport_workers.row_proof.typed import FLOATS, type_of
from kernelport_workers.row_proof.values import (
    MOST_ELEMENTS,
    Content,
    Mixed,
    Rows,
    Unknown,
    Value,
    constant,
    vector,
)

_DRAWING = ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"]


@rule(*_DRAWING)
def random(node: Node) -> Value:
    raise Mixed("draws random numbers")


@rule("NonZero", "NonMaxSuppression", "EyeLike", ignored={"center_point_box", "dtype", "k"})
def mixing(node: Node) -> Value:
    inputs = [node.tensor(index) for index in range(node.count) if node.has(index)]
    if any(value.rows for value in inputs):
        raise Mixed("looks at all rows at once")
    if node.operator == "EyeLike":
        return constant(inputs[0].dims)
    if node.operator == "NonMaxSuppression":
        return constant([named_size(node, 0), 3])
    return constant([max(inputs[0].rank, 1), named_size(node, 1)])


@rule("Unique", ignored={"sorted"})
def unique(node: Node) -> list[Value]:
    value = node.tensor(0)
    if value.rows is not None:
        raise Mixed("looks at all rows at once")
    axis = node.attribute("axis")
    dims = [named_size(node, 0)] if axis is None else list(value.shape)
    if axis is not None:
        dims[axis] = named_size(node, 0)
    return [constant(dims), *(constant([named_size(node, 0, output)]) for output in range(1, len(node.outputs)))]


@rule("Compress")
def compress(node: Node) -> Value:
    value, condition = node.tensor(0), node.tensor(1)
    if condition.rows is not None:
        raise Mixed("leaves out some of the rows")
    axis = node.attribute("axis")
    if axis is None:
        if value.rows is not None:
            raise Mixed("picks some of the rows")
        return constant([named_size(node, 0)])
    axis = whole_axis(axis, value.rank)
    off_axis(value, [axis], "picks some of")
    dims = [*value.shape[:axis], named_size(node, axis), *value.shape[axis + 1 :]]
    return value.with_rows(dims, value.rows.axis) if value.rows else constant(dims)


@rule("Range")
def count_up(node: Node) -> Value:
    contents = [node.any(index).content for index in range(node.count)]
    known: list[Size | None] = []
    for index, content in enumerate(contents):
        if content is None:
            node.constant(index)
            known.append(None)
        elif content.dtype.kind in "iu" or (content.dtype == object and type_of(content.item()) not in FLOATS):
            (size,) = node.sizes(index)
            known.append(size)
        else:
            node.constant(index)
            known.append(None)
    start, limit, step = known
    if any(has_rows(size) for size in known if size is not None):
        return _row_numbers(start, limit, step, contents[1])
    if start is None or limit is None or step is None:
        return constant([named_size(node, 0)])
    if isinstance(start, int) and isinstance(limit, int) and isinstance(step, int) and step:
        numbers = range(start, limit, step)
        of_int64 = all(content is not None and content.dtype == np.int64 for content in contents)
        return vector(list(numbers)) if of_int64 and len(numbers) <= MOST_ELEMENTS else constant([len(numbers)])
    distance = limit - start
    if step == 1 and at_least(distance, 0):
        return constant([distance])
    return constant([axis_size("range", start, limit, step)])


def _row_numbers(start: Size | None, limit: Size | None, step: Size | None, of_limit: Content | None) -> Value:
    """The numbers from 0 to a multiple of the number of rows."""
    if start != 0 or limit is None or not isinstance(step, int) or step < 1 or of_limit is None:
        raise Mixed("counts by the number of rows")
    inner = divide(limit, ROWS * step)
    if inner is None or has_rows(inner):
        raise Mixed("counts by the number of rows")
    numbers = Index(inner * step, (inner - 1) * step + 1, type_of(of_limit.item()))
    return Value((ROWS * inner,), rows=Rows(0, inner=inner), index=(numbers,))


@rule("StringSplit", ignored={"delimiter", "maxsplit"})
def string_split(node: Node) -> Value:
    if node.tensor(0).rows is not None:
        raise Mixed("gives as many parts as the longest of all rows has")
    return constant()


@rule("StringNormalizer", ignored={"case_change_action", "is_case_sensitive", "locale", "stopwords"})
def string_normalizer(node: Node) -> Value:
    if node.tensor(0).rows is not None:
        raise Unknown("leaves out words")
    return constant()
