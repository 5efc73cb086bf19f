"""Operators that read a shape or give a tensor another one."""

import math

import numpy as np
from onnx import numpy_helper

from kernelport_workers.row_proof.dimensions import (
    ROWS,
    Size,
    at_least,
    axis_size,
    divide,
    has_rows,
    numbers,
    product,
)
from kernelport_workers.row_proof.nodes import Node, off_axis, rule, whole_axis
from kernelport_workers.row_proof.values import (
    MOST_ELEMENTS,
    Mixed,
    Rows,
    Unknown,
    Value,
    constant,
    filled,
    meet,
    of_content,
    scalar,
    vector,
)


@rule("Shape")
def shape(node: Node) -> Value:
    dims = node.any(0).dims
    start, end = node.attribute("start", 0), node.attribute("end")
    return constant() if dims is None else vector(dims[start:end])


@rule("Size")
def size(node: Node) -> Value:
    dims = node.any(0).dims
    return constant(()) if dims is None else scalar(product(dims))


@rule("ConstantOfShape", ignored={"value"})
def constant_of_shape(node: Node) -> Value:
    dims = node.any(0)
    if dims.content is None:
        return constant(_unknown_dims(node, node.constant(0)))
    known, given = numbers(dims.sizes), node.attribute("value")
    if known is not None and math.prod(known) <= MOST_ELEMENTS:
        element = np.zeros((), np.float32) if given is None else numpy_helper.to_array(given)
        if element.dtype.kind in "iufb":
            return of_content(np.full(known, element.item(), element.dtype))
    return filled(real_sizes(node, dims.sizes))


@rule("Reshape")
def reshape(node: Node) -> Value:
    value = node.any(0)
    if node.version < 5:
        target: list[Size] = list(node.attribute("shape", ()))
    elif node.any(1).content is None:
        node.constant(1)
        if value.rows is not None:
            raise Unknown("takes a shape that cannot be followed")
        node.tensor(0)
        return constant(_unknown_dims(node, node.any(1)))
    else:
        target = node.sizes(1)
    known, copy_zeros = numbers(target), not node.attribute("allowzero", 0)
    if value.content is not None and known is not None and 0 not in known:
        return of_content(value.content.reshape(known))
    return reshaped(node, node.indices(0), target, copy_zeros).holding(value)


def reshaped(node: Node, value: Value, target: list[Size], copy_zeros: bool) -> Value:
    """The tensor in another shape, in which at most one size may be -1."""
    if value.dims is None:
        return constant(target if all(at_least(size, 1) for size in target) else None)
    dims = value.shape
    sizes = list(target)
    if copy_zeros:
        for axis, size in enumerate(sizes):
            if size == 0:
                if axis >= len(dims):
                    raise Unknown("copies the size of an axis that is not there")
                sizes[axis] = dims[axis]
            elif not _is_kept(size, axis, dims):
                sizes[axis] = named_size(node, axis)
    rest = sizes.index(-1) if -1 in sizes else None
    sizes = [size if size == -1 else real for size, real in zip(sizes, real_sizes(node, sizes), strict=True)]
    if rest is not None:
        sizes[rest] = _rest(node, product(dims), product(size for axis, size in enumerate(sizes) if axis != rest))
    return constant(sizes) if value.rows is None else followed(value, value.rows, sizes)


def _is_kept(size: Size, axis: int, dims: tuple[Size, ...]) -> bool:
    """Whether a size of a new shape cannot turn out as 0, which would copy another, unless there are no elements."""
    if isinstance(size, int) or has_rows(size) or at_least(size, 1):
        return True
    return size in dims[axis : axis + 1] or divide(product(dims), size) is not None


def followed(value: Value, rows: Rows, sizes: list[Size]) -> Value:
    """The rows of a tensor in another shape of as many elements."""
    counted = [axis for axis, size in enumerate(sizes) if has_rows(size)]
    if not counted:
        stop = Mixed if all(isinstance(size, int) for size in sizes) else Unknown
        raise stop(f"gives the rows the shape {_text(sizes)}, in which their number does not stand")
    if len(counted) > 1:
        raise Mixed("has the number of rows on two axes")
    (axis,) = counted
    found = _placed(value, rows, sizes, axis)
    if found is None:
        raise Unknown(f"gives the rows the shape {_text(sizes)}, in which they cannot be followed")
    return Value(tuple(sizes), rows=Rows(axis, *found))


def _placed(value: Value, rows: Rows, sizes: list[Size], axis: int) -> tuple[Size, Size] | None:
    """Outer and inner size of the rows on an axis of another shape of as many elements.

    As both shapes have as many elements, what comes before the rows is as much in both if what comes after is, and the
    other way round: it is enough to compare one of them.
    """
    before = product(value.shape[: rows.axis]) * rows.outer
    outer = divide(before, product(sizes[:axis]))
    inner = None if outer is None else divide(sizes[axis], outer * ROWS)
    if outer is not None and inner is not None:
        return outer, inner
    after = rows.inner * product(value.shape[rows.axis + 1 :])
    inner = divide(after, product(sizes[axis + 1 :]))
    outer = None if inner is None else divide(sizes[axis], inner * ROWS)
    return None if outer is None or inner is None else (outer, inner)


def _rest(node: Node, total: Size, others: Size) -> Size:
    """The size for -1."""
    exact = divide(total, others)
    if exact is not None:
        return exact
    if has_rows(total) and not has_rows(others):
        raise Unknown(f"gives {total} elements a shape of {others} for each row, in which rows cannot be followed")
    without = [divide(size, ROWS) if has_rows(size) else size for size in (total, others)]
    if any(size is None or has_rows(size) for size in without):
        raise Unknown(f"gives {total} elements a shape that cannot be followed")
    return axis_size("//", *without)


def real_sizes(node: Node, sizes: list[Size]) -> list[Size]:
    """Sizes that cannot turn out as -1: what might do so gets a name of its own."""
    real = []
    for axis, size in enumerate(sizes):
        if at_least(size, 0):
            real.append(size)
        elif has_rows(size):
            raise Unknown(f"gives an axis of {size} elements, which cannot be followed")
        else:
            real.append(named_size(node, axis))
    return real


def named_size(node: Node, axis: int, output: int = 0) -> Size:
    """The size of an axis that only a run tells, the same for any rows."""
    return axis_size("size", f"{node.operator} {node.visit}.{output}", axis)


def _unknown_dims(node: Node, target: Value) -> list[Size] | None:
    """As many unknown sizes as a shape has elements."""
    if target.dims is None or not isinstance(target.dims[0], int):
        return None
    return [named_size(node, axis) for axis in range(target.dims[0])]


def _text(sizes: list[Size]) -> str:
    return f"[{', '.join(map(str, sizes))}]"


@rule("Flatten")
def flatten(node: Node) -> Value:
    value = node.tensor(0)
    axis = node.attribute("axis", 1)
    axis = axis + value.rank if axis < 0 else axis
    sizes = [product(value.shape[:axis]), product(value.shape[axis:])]
    return constant(sizes) if value.rows is None else followed(value, value.rows, sizes)


@rule("Unsqueeze")
def unsqueeze(node: Node) -> Value:
    value = node.any(0)
    axes = _axes(node)
    if axes is None:
        raise Unknown("adds no axes")
    if value.content is not None:
        return of_content(np.expand_dims(value.content, tuple(axes)))
    rank = value.rank + len(axes)
    new = {whole_axis(axis, rank) for axis in axes}
    old = [axis for axis in range(rank) if axis not in new]
    dims: list[Size] = [1] * rank
    for axis, size in zip(old, value.shape, strict=True):
        dims[axis] = size
    return (value.with_rows(dims, old[value.rows.axis]) if value.rows else constant(dims)).holding(value)


@rule("Squeeze")
def squeeze(node: Node) -> Value:
    value = node.any(0)
    axes = _axes(node)
    if value.content is not None:
        return of_content(np.squeeze(value.content, None if axes is None else tuple(axes)))
    if axes is None:
        if value.rows is not None:
            raise Mixed("drops the axis of the rows if there is one row")
        if not all(isinstance(size, int) for size in value.shape):
            return constant()
        axes = [axis for axis, size in enumerate(value.shape) if size == 1]
    gone = {whole_axis(axis, value.rank) for axis in axes}
    off_axis(value, gone, "drops the axis of")
    kept = [axis for axis in range(value.rank) if axis not in gone]
    dims = [value.shape[axis] for axis in kept]
    return (value.with_rows(dims, kept.index(value.rows.axis)) if value.rows else constant(dims)).holding(value)


def _axes(node: Node) -> list[int] | None:
    """The attribute `axes`, from opset 13 on an input."""
    if node.version < 13:
        axes = node.attribute("axes")
        return None if axes is None else list(axes)
    return node.integers(1) if node.has(1) else None


@rule("Transpose")
def transpose(node: Node) -> Value:
    value = node.tensor(0)
    order = list(node.attribute("perm") or reversed(range(value.rank)))
    if sorted(order) != list(range(value.rank)):
        raise Unknown("names axes that are not there")
    dims = [value.shape[axis] for axis in order]
    return value.with_rows(dims, order.index(value.rows.axis)) if value.rows else constant(dims)


@rule("Expand")
def expand(node: Node) -> Value:
    value, target = node.any(0), node.any(1)
    if target.content is None:
        node.constant(1)
        if value.rows is not None:
            raise Unknown("takes a shape that cannot be followed")
        node.tensor(0)
        return constant()
    sizes = node.sizes(1)
    known = numbers(sizes)
    if value.content is not None and known is not None:
        to = np.broadcast_shapes(value.content.shape, known)
        if math.prod(to) <= MOST_ELEMENTS:
            return of_content(np.broadcast_to(value.content, to))
    return meet([node.indices(0), filled(real_sizes(node, sizes))]).holding(value)
