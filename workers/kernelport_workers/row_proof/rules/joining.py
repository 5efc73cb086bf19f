"""Operators that repeat tensors, put them one behind the other, or take them apart again.

Whole stretches of N rows may stand one behind the other on an axis: those are rows, too, with an outer size.
"""

from dataclasses import replace

import numpy as np

from kernelport_workers.row_proof.dimensions import ROWS, Size, divide, has_rows, numbers
from kernelport_workers.row_proof.indices import ANY, FROM_ROW_NUMBERS, Index
from kernelport_workers.row_proof.nodes import Node, rule, whole_axis
from kernelport_workers.row_proof.rules.shapes import named_size, real_sizes
from kernelport_workers.row_proof.typed import as_elements
from kernelport_workers.row_proof.values import Mixed, Rows, Unknown, Value, at_rows, constant, of_content

_MOST_PLACES = 8  # of an index that points along so many axes


@rule("Tile")
def tile(node: Node) -> Value:
    if node.version < 6:
        raise Unknown("tiles by the rules of opset 1")
    value = node.tensor(0)
    if node.any(1).content is None:
        node.constant(1)
        if value.rows is not None:
            raise Unknown("takes repeats that cannot be followed")
        return constant(None if value.dims is None else [named_size(node, axis) for axis in range(value.rank)])
    repeats = real_sizes(node, node.sizes(1))
    if len(repeats) != value.rank:
        raise Unknown(f"repeats {len(repeats)} axes of {value.rank}")
    dims = [size * times for size, times in zip(value.shape, repeats, strict=True)]
    counted = [axis for axis, times in enumerate(repeats) if has_rows(times)]
    if value.rows is not None:
        if counted:
            raise Mixed("repeats the rows as often as there are rows")
        rows = value.rows
        # Whole copies stand one behind the other, so that they are before the rows.
        return Value(tuple(dims), rows=Rows(rows.axis, rows.outer * repeats[rows.axis], rows.inner))
    if len(counted) > 1:
        raise Mixed("has the number of rows on two axes")
    # Each of N copies of a constant is a row.
    return at_rows(dims, counted[0]) if counted else constant(dims)


@rule("Concat")
def concat(node: Node) -> Value:
    values = [node.any(index) for index in range(node.count)]
    axis = node.attribute("axis", 1 if node.version < 4 else 0)
    if all(value.content is not None for value in values):
        contents = [value.content for value in values if value.content is not None]
        if any(content.dtype == object for content in contents):
            contents = list(map(as_elements, contents))
        return of_content(np.concatenate(contents, axis))
    values = [node.indices(index) for index in range(node.count)]
    result = joined(values, axis)
    return replace(result, index=_joined_indices(values, axis)) if result.rows else result


def _joined_indices(values: list[Value], axis: int) -> tuple[Index, ...]:
    """What is known, as indices, of the elements of tensors one behind the other."""
    if not any(value.numbers_rows for value in values):
        return ()
    if whole_axis(axis, values[0].rank) != values[0].rank - 1:
        return values[0].index if len({value.index for value in values}) == 1 else (FROM_ROW_NUMBERS,)
    places: list[Index] = []
    for value in values:
        width = value.shape[-1]
        if not isinstance(width, int) or len(places) + width > _MOST_PLACES:
            return (FROM_ROW_NUMBERS,)
        places += value.index if len(value.index) > 1 else (value.index or (ANY,)) * width
    return tuple(places)


def joined(values: list[Value], axis: int) -> Value:
    """Tensors one behind the other on an axis."""
    if not any(value.rows for value in values):
        known = [value for value in values if value.dims is not None]
        if len(known) < len(values):
            return constant()
    rank = values[0].rank
    axis = whole_axis(axis, rank)
    if any(value.rank != rank for value in values):
        raise Unknown("joins tensors of different ranks")
    rows = [value.rows for value in values if value.rows]
    dims = list(values[0].shape)
    dims[axis] = 0
    for value in values:
        dims[axis] = dims[axis] + value.shape[axis]
    if not rows:
        return constant(dims)
    place = rows[0].axis
    if any(one.axis != place for one in rows):
        raise Mixed("joins rows on one axis with rows on another")
    if any(value.rows is None for value in values):
        raise Mixed("joins rows with a constant that does not have their number")
    if place != axis:
        if any(one != rows[0] for one in rows):
            raise Unknown("joins rows in one order with rows in another")
        return Value((*dims[:place], rows[0].size, *dims[place + 1 :]), rows=rows[0])
    # Whole stretches of N rows, one behind the other, as for the two halves of a guided diffusion step.
    if any(one.inner != rows[0].inner for one in rows):
        raise Unknown("joins rows in one order with rows in another")
    outer: Size = 0
    for one in rows:
        outer = outer + one.outer
    return Value(tuple(dims), rows=Rows(axis, outer, rows[0].inner))


@rule("Split")
def split(node: Node) -> list[Value]:
    value = node.any(0)
    axis = whole_axis(node.attribute("axis", 0), value.rank)
    given = node.attribute("split")
    node.attribute("num_outputs")
    if node.has(1):
        parts = real_sizes(node, node.sizes(1))
    elif given is not None:
        parts = list(given)
    else:
        parts = _equal_parts(node, value.shape[axis], len(node.outputs))
    if len(parts) != len(node.outputs):
        raise Unknown(f"has {len(parts)} parts and {len(node.outputs)} outputs")
    known = numbers(parts)
    if value.content is not None and known is not None:
        ends = np.cumsum(known)[:-1]
        return [of_content(part) for part in np.split(value.content, ends, axis)]
    node.tensor(0)
    results = []
    for part in parts:
        dims = [*value.shape[:axis], part, *value.shape[axis + 1 :]]
        if value.rows is None or axis != value.rows.axis:
            results.append(value.with_rows(dims, value.rows.axis) if value.rows else constant(dims))
            continue
        outer = divide(part, ROWS * value.rows.inner)
        if outer is None or has_rows(outer):
            raise Mixed("splits the rows")
        results.append(Value(tuple(dims), rows=Rows(axis, outer, value.rows.inner)))
    return results


def _equal_parts(node: Node, size: Size, count: int) -> list[Size]:
    exact = divide(size, count)
    if exact is not None:
        return [exact] * count
    if has_rows(size):
        raise Mixed("splits the rows")
    if isinstance(size, int):
        part = -(-size // count)
        return [*[part] * (count - 1), size - part * (count - 1)]
    return [named_size(node, 0, output) for output in range(count)]
