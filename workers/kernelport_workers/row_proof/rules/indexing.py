"""Operators that pick, place or cut elements by their indices: never those of another row."""

import itertools
from collections.abc import Sequence

import numpy as np

from kernelport_workers.row_proof.dimensions import ROWS, Size, at_least, divide, has_rows, numbers, product, sliced
from kernelport_workers.row_proof.nodes import ML, Node, off_axis, rule, whole_axis
from kernelport_workers.row_proof.rules.shapes import named_size, real_sizes
from kernelport_workers.row_proof.values import (
    Mixed,
    Rows,
    Unknown,
    Value,
    constant,
    of_content,
)

_END = 2**31 - 1


@rule("Gather")
def gather(node: Node) -> Value:
    value, indices = node.any(0), node.indices(1)
    axis = node.attribute("axis", 0)
    if value.content is not None and indices.content is not None:
        return of_content(np.asarray(np.take(value.content, indices.content.astype(np.int64), axis)))
    value = node.tensor(0)
    if value.dims is None or indices.dims is None:
        if value.rows or indices.rows:
            raise Unknown("takes a tensor of unknown rank")
        return constant()
    axis = whole_axis(axis, value.rank)
    dims = [*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :]]
    if indices.rows is not None and _points_at_own_rows(indices, value, [axis]):
        return indices.with_rows(dims, axis + indices.rows.axis)
    off_axis(value, [axis], "picks some of")
    if value.rows is not None and indices.rows is not None:
        raise Mixed("picks from all rows for each row")
    if indices.rows is not None:
        return indices.with_rows(dims, axis + indices.rows.axis)
    if value.rows is not None:
        return value.with_rows(dims, value.rows.axis + (indices.rank - 1 if value.rows.axis > axis else 0))
    return constant(dims)


@rule("GatherElements")
def gather_elements(node: Node) -> Value:
    value, indices = node.tensor(0), node.tensor(1)
    axis = whole_axis(node.attribute("axis", 0), value.rank)
    if value.rows is None and indices.rows is not None and indices.rows.axis == axis:
        return indices.like()
    off_axis(value, [axis], "picks some of")
    _same_rows(value, indices)
    return indices.like()


@rule("GatherND")
def gather_nd(node: Node) -> Value:
    value, indices = node.tensor(0), node.indices(1)
    batch = node.attribute("batch_dims", 0)
    depth = indices.shape[-1]
    if not isinstance(depth, int):
        raise Unknown("takes indices of unknown depth")
    dims = [*indices.shape[:-1], *value.shape[batch + depth :]]
    off_axis(indices, [indices.rank - 1], "takes an index from")
    if indices.rows is not None and _points_at_own_rows(indices, value, range(batch, batch + depth)):
        return indices.with_rows(dims, indices.rows.axis)
    if value.rows is not None and value.rows.axis < batch:
        _same_rows(value, indices)
        return value.with_rows(dims, value.rows.axis)
    if indices.rows is not None and (value.rows is not None or indices.rows.axis < batch):
        raise Mixed("picks from all rows for each row")
    off_axis(value, range(batch, batch + depth), "picks some of")
    if value.rows is not None:
        return value.with_rows(dims, value.rows.axis - batch - depth + indices.rank - 1)
    return indices.with_rows(dims, indices.rows.axis) if indices.rows else constant(dims)


@rule("Scatter", "ScatterElements", ignored={"reduction"})
def scatter_elements(node: Node) -> Value:
    value, indices, updates = node.tensor(0), node.tensor(1), node.tensor(2)
    axis = whole_axis(node.attribute("axis", 0), value.rank)
    off_axis(value, [axis], "places elements along")
    _same_rows(value, indices)
    _same_rows(value, updates)
    return value.like()


@rule("ScatterND", ignored={"reduction"})
def scatter_nd(node: Node) -> Value:
    value, indices, updates = node.tensor(0), node.indices(1), node.tensor(2)
    if not any(one.rows for one in (value, indices, updates)):
        return constant(value.dims)
    depth = indices.shape[-1]
    if not isinstance(depth, int):
        raise Unknown("takes indices of unknown depth")
    off_axis(indices, [indices.rank - 1], "takes an index from")
    if indices.rows is not None and _points_at_own_rows(indices, value, range(depth)):
        _same_rows(indices, updates)
        return value.like()
    node.constant(1)
    off_axis(value, range(depth), "places elements along")
    if value.rows is None or updates.rows is None:
        raise Unknown("does not find the same rows in all its inputs")
    expected = Rows(value.rows.axis - depth + indices.rank - 1, value.rows.outer, value.rows.inner)
    if updates.rows != expected:
        raise Unknown("does not find the same rows in all its inputs")
    return value.like()


@rule("TensorScatter", ignored={"mode"})
def tensor_scatter(node: Node) -> Value:
    value, updates = node.tensor(0), node.tensor(1)
    axis = whole_axis(node.attribute("axis", -2), value.rank)
    off_axis(value, [axis], "places elements along")
    _same_rows(value, updates)
    if node.has(2):
        places = node.tensor(2)
        if places.rows is None or value.rows is None or value.rows.axis != 0:
            raise Unknown("does not find the same rows in all its inputs")
        _same_rows(value, places)
    return value.like()


def _points_at_own_rows(indices: Value, value: Value, axes: Sequence[int]) -> bool:
    """Whether indices, which point along some axes of a tensor, point from each row at what comes from the same one, by
    the row's number.

    Raises:
        Mixed, Unknown: the numbers of the rows are in them, and it cannot be told that they do.
    """
    if not indices.numbers_rows:
        return False
    if value.rows is None or value.rows.axis not in axes:
        raise Mixed("takes the number of a row for an index")
    alike = len(indices.index) == 1 or len(axes) == 1
    pairs = itertools.product(axes, indices.index) if alike else zip(axes, indices.index, strict=True)
    for axis, index in pairs:
        if not (value.rows.are_picked_by(index) if axis == value.rows.axis else index.stride == 0):
            raise Unknown("picks from rows by their numbers in a way that cannot be followed")
    return True


def _same_rows(value: Value, other: Value) -> None:
    """Refuses a tensor that has not its rows in the same place."""
    if value.rows is not None and other.rows is not None and value.rows.axis != other.rows.axis:
        raise Mixed("meets rows on one axis with rows on another")
    if value.rows != other.rows:
        raise Unknown("does not find the same rows in all its inputs")


@rule("ArrayFeatureExtractor", domain=ML)
def features_of_array(node: Node) -> Value:
    value, indices = node.tensor(0), node.tensor(1)
    off_axis(value, [value.rank - 1], "picks some of")
    if value.rows is not None and value.rank != 2:
        raise Unknown("takes a tensor that has not 2 axes")
    dims = [*(value.shape[:-1] if value.rank > 1 else [1]), product(indices.shape)]
    if indices.rows is None:
        return value.with_rows(dims, value.rows.axis) if value.rows else constant(dims)
    if value.rows is not None:
        raise Mixed("picks from all rows for each row")
    # The indices are taken one after the other, whatever their shape.
    before, after = indices.shape[: indices.rows.axis], indices.shape[indices.rows.axis + 1 :]
    rows = Rows(len(dims) - 1, product(before) * indices.rows.outer, indices.rows.inner * product(after))
    return Value(tuple(dims), rows=rows)


@rule("OneHot")
def one_hot(node: Node) -> Value:
    value = node.tensor(0)
    node.constant(2)
    axis = whole_axis(node.attribute("axis", -1), value.rank + 1)
    depth = named_size(node, axis) if node.constant(1).content is None else real_sizes(node, node.sizes(1))[0]
    dims = [*value.shape[:axis], depth, *value.shape[axis:]]
    if value.rows is None:
        return constant(dims)
    return value.with_rows(dims, value.rows.axis + (axis <= value.rows.axis))


@rule("Pad", ignored={"mode", "value"})
def pad(node: Node) -> Value:
    value = node.tensor(0)
    node.constants(2)
    axes = [whole_axis(axis, value.rank) for axis in node.integers(3)] if node.has(3) else list(range(value.rank))
    if node.version < 11:
        pads: list[Size] = list(node.attribute("pads") or node.attribute("paddings") or ())
    elif node.any(1).content is None:
        node.constant(1)
        if value.rows is not None and value.rows.axis in axes:
            raise Unknown("takes pads that cannot be followed")
        dims = [named_size(node, axis) if axis in axes else size for axis, size in enumerate(value.shape)]
        return value.with_rows(dims, value.rows.axis) if value.rows else constant(dims)
    else:
        pads = node.sizes(1)
    if len(pads) != 2 * len(axes):
        raise Unknown(f"pads {len(pads) // 2} axes of {len(axes)}")
    dims = list(value.shape)
    for place, axis in enumerate(axes):
        before, after = pads[place], pads[place + len(axes)]
        if value.rows is not None and axis == value.rows.axis and (before != 0 or after != 0):
            raise Mixed("pads the axis of the rows")
        size = dims[axis] + before + after
        if has_rows(before) or has_rows(after):
            raise Mixed("pads by the number of rows")
        dims[axis] = size if at_least(size, 0) or size == dims[axis] else named_size(node, axis)
    return value.with_rows(dims, value.rows.axis) if value.rows else constant(dims)


@rule("Slice")
def cut(node: Node) -> Value:
    value = node.any(0)
    if node.version < 10:
        starts: list[Size] | None = list(node.attribute("starts", ()))
        ends: list[Size] | None = list(node.attribute("ends", ()))
        given = node.attribute("axes")
        steps: list[Size] | None = [1] * len(starts or ())
    else:
        starts, ends = _bounds(node, 1), _bounds(node, 2)
        given = node.integers(3) if node.has(3) else None
        steps = _bounds(node, 4) if node.has(4) else None
        if not node.has(4):
            steps = None if starts is None else [1] * len(starts)
    if value.dims is None:
        node.tensor(0)
        return constant()
    if given is None:
        count = next((len(one) for one in (starts, ends, steps) if one is not None), value.rank)
        given = list(range(count))
    axes = [whole_axis(axis, value.rank) for axis in given]
    limits = [None if one is None else numbers(one) for one in (starts, ends, steps)]
    if value.content is not None and None not in limits:
        index = [slice(None)] * value.rank
        for axis, *bounds in zip(axes, *(one or () for one in limits), strict=True):
            index[axis] = slice(*bounds)
        return of_content(value.content[tuple(index)])
    node.tensor(0)
    dims = list(value.shape)
    for place, axis in enumerate(axes):
        at: list[Size | None] = [None if one is None else one[place] for one in (starts, ends, steps)]
        if value.rows is not None and axis == value.rows.axis:
            rows = _rows_of_slice(value.rows, at)
            if rows.outer != value.rows.outer:
                if len(axes) > 1:
                    raise Unknown("cuts the rows and other axes at once")
                return Value((*dims[:axis], rows.size, *dims[axis + 1 :]), rows=rows)
            continue
        if any(has_rows(bound) for bound in at):
            raise Mixed("cuts by the number of rows")
        start, end, step = at
        if start is None or end is None or step is None:
            dims[axis] = named_size(node, axis)
        else:
            dims[axis] = sliced(dims[axis], start, end, step)
    return value.with_rows(dims, value.rows.axis) if value.rows else constant(dims)


def _bounds(node: Node, index: int) -> list[Size] | None:
    """Starts, ends or steps; None if only a run tells them."""
    if node.any(index).content is None:
        node.constant(index)
        return None
    return node.sizes(index)


def _rows_of_slice(rows: Rows, bounds: list[Size | None]) -> Rows:
    """The whole axis, or whole stretches of N rows.

    Raises:
        Mixed: some of the rows.
        Unknown: it cannot be told.
    """
    start, end, step = bounds
    if start is None or end is None or step is None:
        raise Unknown("cuts the axis of the rows at places that cannot be followed")
    if step != 1:
        raise Mixed("picks some of the rows")
    if (isinstance(end, int) and end >= _END) or end == rows.size:
        if start == 0:
            return rows
        end = rows.size
    stretch = ROWS * rows.inner
    first, last = divide(start, stretch) if start != 0 else 0, divide(end, stretch)
    if first is None or last is None or not (isinstance(first, int) and isinstance(last, int)):
        raise Mixed("picks some of the rows")
    if not isinstance(rows.outer, int) or not 0 <= first < last <= rows.outer:
        raise Unknown("cuts the axis of the rows at places that cannot be followed")
    return Rows(rows.axis, last - first, rows.inner)
