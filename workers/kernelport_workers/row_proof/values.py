"""What is known of a tensor while a graph is followed: its shape, its small contents, where its rows are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelport_workers.row_proof.dimensions import (
    ROWS,
    Size,
    at_least,
    axis_size,
    broadcast,
    divide,
    has_rows,
)
from kernelport_workers.row_proof.indices import FROM_ROW_NUMBERS, Index
from kernelport_workers.row_proof.typed import as_numbers, whole

Content = NDArray[Any]
"""A tensor's elements: numbers, or, with the dtype `object`, sizes (see `typed`)."""

MOST_ELEMENTS = 64  # of a content: shapes, axes and pads are short


class Verdict(Enum):
    """Whether row r of each output depends on row r of the inputs and on nothing else of them."""

    PROVEN = "proven"
    UNKNOWN = "unknown"
    REFUTED = "refuted"


class Stopped(Exception):
    """A rule's finding, worded to follow the operator's name."""

    verdict = Verdict.UNKNOWN


class Unknown(Stopped):
    """The rule cannot follow the rows."""


class Mixed(Stopped):
    """The operator mixes rows."""

    verdict = Verdict.REFUTED


@dataclass(frozen=True, slots=True)
class Rows:
    """An axis with `outer` x N x `inner` elements in row-major order: those of (·, r, ·) come from row r alone."""

    axis: int
    outer: Size = 1
    inner: Size = 1

    @property
    def size(self) -> Size:
        return self.outer * ROWS * self.inner

    def are_picked_by(self, index: Index) -> bool:
        """Whether each row's numbers are places on this axis that come from the same row."""
        if self.outer != 1 or index.stride != self.inner or index.bound is None:
            return False
        return at_least(self.inner - index.bound, 0)


@dataclass(frozen=True, slots=True)
class Stop:
    """Where the rows could not be followed further, and why."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """What is known of a tensor.

    Attributes:
        dims: its shape, None if its rank is not known. Only the axis of the rows has N in its size.
        content: its elements, where they are few and known. They may have N in them, as those of a shape.
        rows: where its rows are; None: it is the same whatever the rows are, but for a content with N in it.
        index: what is known of its elements as indices: of all, or of those at each place of the last axis. Empty:
            nothing, but that the numbers of the rows are not in them.
        stop: set when nothing else is known.
    """

    dims: tuple[Size, ...] | None = None
    content: Content | None = None
    rows: Rows | None = None
    index: tuple[Index, ...] = ()
    stop: Stop | None = None

    @property
    def shape(self) -> tuple[Size, ...]:
        """Its dims.

        Raises:
            Unknown: they are not known.
        """
        if self.dims is None:
            raise Unknown("takes a tensor of unknown rank")
        return self.dims

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def counts_rows(self) -> bool:
        """Whether the number of rows is in its elements."""
        content = self.content
        return content is not None and content.dtype == object and any(has_rows(item) for item in content.flat)

    @property
    def numbers_rows(self) -> bool:
        """Whether the numbers of the rows are in its elements."""
        return any(index.stride != 0 for index in self.index)

    @property
    def sizes(self) -> list[Size]:
        """Its elements as sizes.

        Raises:
            Unknown: they are not known, or no whole numbers.
        """
        if self.content is None or self.content.dtype.kind not in "iuO":
            raise Unknown("takes a shape or an index that cannot be followed")
        try:
            return [whole(item) for item in self.content.ravel().tolist()]
        except TypeError as error:
            raise Unknown("takes a shape or an index that is no whole number") from error

    def same_as(self, other: "Value") -> bool:
        if (self.dims, self.rows, self.index, self.stop) != (other.dims, other.rows, other.index, other.stop):
            return False
        if self.content is None or other.content is None:
            return self.content is other.content
        return self.content.dtype == other.content.dtype and np.array_equal(self.content, other.content)

    def like(self) -> "Value":
        """A tensor of the same shape with rows in the same place, whatever its elements are."""
        return Value(self.dims, rows=self.rows)

    def holding(self, value: "Value") -> "Value":
        """A tensor like this one with the elements of another in the same order, or some of them several times."""
        index = value.index
        if not index:
            return self
        if len(index) > 1 and (self.dims is None or self.dims[-1:] != value.shape[-1:]):
            index = (FROM_ROW_NUMBERS,) if value.numbers_rows else ()
        return replace(self, index=index)

    def with_rows(self, dims: Iterable[Size], axis: int) -> "Value":
        """A tensor of the shape `dims`, but for the size of `axis`, on which this one's rows stand.

        A constant stays one.
        """
        if self.rows is None:
            return constant(dims)
        sizes = list(dims)
        sizes[axis] = self.rows.size
        return _checked(tuple(sizes), replace(self.rows, axis=axis))


def stopped(verdict: Verdict, reason: str) -> Value:
    return Value(stop=Stop(verdict, reason))


def constant(dims: Iterable[Size] | None = None, content: Content | None = None) -> Value:
    """A tensor that is the same whatever the rows are, except for a content with N in it."""
    if dims is None:
        return Value(None, content)
    dims = tuple(dims)
    if any(map(has_rows, dims)):
        raise Mixed("gives a tensor that is as long as there are rows, and whose elements know their places")
    return Value(dims, content)


def of_content(content: Content) -> Value:
    """A tensor of known elements; if they are many, they are known no longer.

    Raises:
        Unknown: they are many, and the number of rows is in them.
    """
    if content.size > MOST_ELEMENTS:
        if Value(content.shape, content).counts_rows:
            raise Unknown("takes the number of rows for many numbers")
        return constant(content.shape)
    if content.dtype == object and content.size:
        content = as_numbers(content)
    return constant(content.shape, content)


def vector(sizes: Sequence[Size]) -> Value:
    """A one-dimensional tensor of sizes."""
    content = np.empty(len(sizes), dtype=object)
    content[:] = sizes
    return of_content(content)


def scalar(size: Size) -> Value:
    content = np.empty((), dtype=object)
    content[()] = size
    return of_content(content)


def filled(dims: Sequence[Size]) -> Value:
    """A tensor whose elements are all alike, of any shape: if N is in the shape, all rows are alike."""
    counted = [axis for axis, size in enumerate(dims) if has_rows(size)]
    if not counted:
        return constant(dims)
    if len(counted) > 1:
        raise Mixed("has the number of rows on two axes")
    return at_rows(dims, counted[0])


def at_rows(dims: Sequence[Size], axis: int, outer: Size = 1) -> Value:
    """A tensor of the shape `dims` with rows on `axis`, whose size has N in it."""
    inner = divide(dims[axis], outer * ROWS)
    if inner is None or has_rows(inner):
        raise Unknown(f"gives an axis of {dims[axis]} elements, which is no multiple of the number of rows")
    return _checked(tuple(dims), Rows(axis, outer, inner))


def _checked(dims: tuple[Size, ...], rows: Rows) -> Value:
    if any(has_rows(size) for axis, size in enumerate(dims) if axis != rows.axis):
        raise Mixed("has the number of rows on two axes")
    return Value(dims, rows=rows)


def meet(values: Sequence[Value]) -> Value:
    """What operands give that are broadcast to each other, element by element.

    Raises:
        Mixed: rows meet other rows, or a constant with more than one element where they stand.
        Unknown: it cannot be told.
    """
    if any(value.dims is None for value in values):
        if any(value.rows for value in values):
            raise Unknown("meets a tensor of unknown rank")
        return Value()
    rank = max((value.rank for value in values), default=0)
    rows = _common_rows(values, rank)
    dims: list[Size] = [1] * rank
    for value in values:
        for axis, size in enumerate(value.shape, start=rank - value.rank):
            if rows is not None and axis == rows.axis:
                if value.rows is None and size != 1:
                    stop = Mixed if isinstance(size, int) else Unknown
                    raise stop(f"meets {size} elements where the rows stand")
                dims[axis] = rows.size
                continue
            met = broadcast(dims[axis], size)
            if met is None:
                raise Unknown(f"meets {dims[axis]} with {size} elements")
            dims[axis] = met
    return Value(tuple(dims), rows=rows)


def _common_rows(values: Sequence[Value], rank: int) -> Rows | None:
    rows = None
    for value in values:
        if value.rows is None:
            continue
        placed = replace(value.rows, axis=value.rows.axis + rank - value.rank)
        if rows is not None and rows.axis != placed.axis:
            raise Mixed("meets rows on one axis with rows on another")
        if rows is not None and rows != placed:
            raise Unknown("meets rows with rows in another order")
        rows = placed
    return rows


def join(one: Value, other: Value, what: str, place: str) -> Value:
    """What is known of a tensor that is one of two.

    Args:
        what: the tensor, for people.
        place: what sizes that differ are named after; another for each tensor.
    """
    stops = [value.stop for value in (one, other) if value.stop]
    if stops:
        return Value(stop=worst(stops))
    if one.same_as(other):
        return one
    if one.counts_rows or other.counts_rows:
        return stopped(Verdict.REFUTED, f"{what} depends on the number of rows")
    if one.numbers_rows or other.numbers_rows:
        return stopped(Verdict.UNKNOWN, f"{what} has the numbers of the rows in one way or in another")
    if one.rows != other.rows or (one.rows and one.rank != other.rank):
        return stopped(Verdict.UNKNOWN, f"{what} has its rows in one place or in another")
    if one.dims is None or other.dims is None or one.rank != other.rank:
        return Value()
    pairs = enumerate(zip(one.dims, other.dims, strict=True))
    return Value(tuple(a if a == b else axis_size("size", place, axis) for axis, (a, b) in pairs), rows=one.rows)


def worst(stops: Sequence[Stop]) -> Stop:
    """The most telling one: the first that refutes, else the first."""
    return next((stop for stop in stops if stop.verdict is Verdict.REFUTED), stops[0])
