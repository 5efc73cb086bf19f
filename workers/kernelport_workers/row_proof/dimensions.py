"""Sizes of axes, as expressions of the dimensions that a model leaves free."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Union

Size = Union[int, "Dimension"]
"""A number, or an expression that is none."""

_LONGEST_TEXT = 120
_MOST_TERMS = 32
_HIGHEST_DEGREE = 16
_AXIS_BITS = 24  # what one axis is taken to have room in
_AXES_BITS = 48  # and all axes together
_INTEGER_BITS = 63  # of what the runtime computes with


@dataclass(frozen=True, order=True, slots=True)
class Symbol:
    """A quantity that is not known before a run. Equal texts are equal quantities.

    Attributes:
        text: what it is; the model's own names are quoted, so that no name is taken for an expression.
        rows: whether the number of rows is in it.
        bits: the room that it needs if it is known to be a whole number of 0 or more, else None.
        real: whether it is a floating-point number.
        operator: what it was computed with, empty for a dimension of an input.
        operands: what it was computed from.
    """

    text: str
    rows: bool = field(default=False, compare=False)
    bits: int | None = field(default=None, compare=False)
    real: bool = field(default=False, compare=False)
    operator: str = field(default="", compare=False)
    operands: tuple[Any, ...] = field(default=(), compare=False)


_Monomial = tuple[Symbol, ...]  # sorted, a power as a repetition


class Dimension:
    """A polynomial of symbols with integer coefficients that is no plain number. Immutable."""

    __slots__ = ("_hash", "rows", "terms")

    def __init__(self, terms: Mapping[_Monomial, int]) -> None:
        self.terms = tuple(sorted(terms.items()))
        self.rows = any(symbol.rows for monomial in terms for symbol in monomial)
        self._hash = hash(self.terms)

    @property
    def symbol(self) -> Symbol | None:
        """The symbol that this is, if it is one alone."""
        (monomial, coefficient), *more = self.terms
        return monomial[0] if not more and coefficient == 1 and len(monomial) == 1 else None

    @property
    def degree(self) -> int:
        return max(len(monomial) for monomial, _ in self.terms)

    @property
    def real(self) -> bool:
        return any(symbol.real for monomial, _ in self.terms for symbol in monomial)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dimension) and self._hash == other._hash and self.terms == other.terms

    def __str__(self) -> str:
        return " + ".join("*".join([str(c)] * (c != 1 or not m) + [s.text for s in m]) for m, c in self.terms)

    __repr__ = __str__

    def __add__(self, other: Size) -> Size:
        total = Counter(dict(self.terms))
        for monomial, coefficient in _terms(other):
            total[monomial] += coefficient
        return _size(total)

    __radd__ = __add__

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size) -> Size:
        return self + other * -1

    def __rsub__(self, other: int) -> Size:
        return self * -1 + other

    def __mul__(self, other: Size) -> Size:
        if isinstance(other, Dimension) and self.degree + other.degree > _HIGHEST_DEGREE:
            return opaque("*", *sorted((self, other), key=str))
        total: Counter[_Monomial] = Counter()
        for left, a in self.terms:
            for right, b in _terms(other):
                total[tuple(sorted(left + right))] += a * b
        return _size(total)

    __rmul__ = __mul__


def _terms(size: Size) -> tuple[tuple[_Monomial, int], ...]:
    return size.terms if isinstance(size, Dimension) else (((), size),)


def _size(terms: Mapping[_Monomial, int]) -> Size:
    terms = {monomial: coefficient for monomial, coefficient in terms.items() if coefficient}
    if not terms.keys() - {()}:
        return terms.get((), 0)
    dimension = Dimension(terms)
    if len(terms) > _MOST_TERMS or any(abs(coefficient) >> _INTEGER_BITS for coefficient in terms.values()):
        return opaque("sum", dimension)
    return dimension


def coefficients(size: Size) -> list[int]:
    return [coefficient for _, coefficient in _terms(size)]


def fits(size: Size, bits: int = _INTEGER_BITS) -> bool:
    """Whether a whole number is known to have room in so many bits, its sign aside.

    One axis is taken to have fewer than 2**24 elements, and axes of different sizes together fewer than 2**48.
    """
    most = 0
    for monomial, coefficient in _terms(size):
        bits_needed = _bits(monomial)
        if bits_needed is None:
            return False
        most += abs(coefficient) << bits_needed
    return most <= 1 << bits if isinstance(size, Dimension) else most < 1 << bits


def _bits(monomial: _Monomial) -> int | None:
    """The bits that a product needs."""
    once, again = 0, 0
    for symbol, power in Counter(monomial).items():
        if symbol.bits is None:
            return None
        if symbol.bits <= _AXIS_BITS:
            once += symbol.bits
            again += symbol.bits * (power - 1)
        else:
            again += symbol.bits * power
    return min(once, _AXES_BITS) + again


ROWS = Dimension({(Symbol("N", rows=True, bits=_AXIS_BITS),): 1})
"""The number of rows of a run."""


def free(name: str) -> Dimension:
    """A dimension that the model names, or that is known by where it stands."""
    return Dimension({(Symbol(repr(name), bits=_AXIS_BITS),): 1})


def opaque(operator: str, *operands: Any, bits: int | None = None, real: bool = False) -> Dimension:
    """A quantity of which no more is known than how it comes about: the operands are all that decides it.

    Args:
        bits: the room that it needs if it is known to be a whole number of 0 or more, else None.
        real: whether it is a floating-point number.
    """
    text = f"{operator}({', '.join(map(str, operands))})"
    if len(text) > _LONGEST_TEXT:
        text = f"{operator}#{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"
    rows = any(has_rows(operand) for operand in operands)
    return Dimension({(Symbol(text, rows, bits, real, operator, operands),): 1})


def axis_size(operator: str, *operands: Any) -> Dimension:
    """The size of an axis of which no more is known than how it comes about."""
    return opaque(operator, *operands, bits=_AXIS_BITS)


def has_rows(size: Any) -> bool:
    """Whether the number of rows is in an expression."""
    return isinstance(size, Dimension) and size.rows


def numbers(sizes: Iterable[Size]) -> list[int] | None:
    """The sizes where all of them are numbers, else None."""
    sizes = list(sizes)
    known = [size for size in sizes if isinstance(size, int)]
    return known if len(known) == len(sizes) else None


def product(sizes: Iterable[Size]) -> Size:
    result: Size = 1
    for size in sizes:
        result = result * size
    return result


def at_least(size: Size, least: int) -> bool:
    """Whether a size is known never to be less than a number of 0 or more, as the runtime computes it."""
    if isinstance(size, int):
        return size >= least
    if not fits(size):
        return False
    constant = 0
    for monomial, coefficient in size.terms:
        if coefficient < 0:
            return False
        if not monomial:
            constant = coefficient
    return constant >= least


def divide(size: Size, divisor: Size) -> Size | None:
    """The quotient where it is exact whatever the symbols are, else None."""
    if size == divisor and divisor != 0:
        return 1
    if isinstance(divisor, int):
        if divisor == 0 or any(coefficient % divisor for _, coefficient in _terms(size)):
            return None
        return _size({monomial: coefficient // divisor for monomial, coefficient in _terms(size)})
    lead, lead_coefficient = max(divisor.terms, key=lambda term: _order(term[0]))
    quotient: Size = 0
    rest = size
    while rest != 0:
        monomial, coefficient = max(_terms(rest), key=lambda term: _order(term[0]))
        left = Counter(monomial)
        left.subtract(lead)
        if coefficient % lead_coefficient or min(left.values(), default=0) < 0:
            return None
        term = _size({tuple(sorted(left.elements())): coefficient // lead_coefficient})
        quotient = quotient + term
        rest = rest - term * divisor
    return quotient


def _order(monomial: _Monomial) -> tuple[int, _Monomial]:
    return len(monomial), monomial


def floor_divide(size: Size, divisor: Size) -> Size:
    """The quotient rounded down, of a size and a divisor of 1 or more."""
    if isinstance(size, int) and isinstance(divisor, int) and divisor:
        return size // divisor
    # What the divisor does not go into may be a number, if it goes into all else: (2*N + 1) // 2 is N, but
    # (N + 1) // 2 is no N // 2.
    rest = dict(_terms(size)).get((), 0) % divisor if isinstance(divisor, int) and divisor else 0
    exact = divide(size - rest, divisor)
    if exact is not None:
        return exact
    rooms = (_AXIS_BITS, _AXES_BITS, _INTEGER_BITS) if at_least(size, 0) else ()
    return opaque("//", size, divisor, bits=next((bits for bits in rooms if fits(size, bits)), None))


def broadcast(left: Size, right: Size) -> Size | None:
    """The size of an axis where two operands meet; None where they never can."""
    if left == right or right == 1:
        return left
    if left == 1:
        return right
    if isinstance(left, int) or isinstance(right, int):
        # A free dimension that meets a number is 1 or that number.
        number, other = (left, right) if isinstance(left, int) else (right, left)
        return number if isinstance(other, Dimension) else None
    for one, other in ((left, right), (right, left)):
        # Cut to at most a constant that is no 1: it is 1 only where the other is.
        if _cut_of(other, one):
            return one
    parts = {part for size in (left, right) for part in _broadcast_parts(size)}
    return axis_size("broadcast", *sorted(parts, key=str))


def _cut_of(size: Dimension, whole: Dimension) -> bool:
    symbol = size.symbol
    if symbol is None or symbol.operator != "min" or whole not in symbol.operands:
        return False
    return all(operand == whole or (isinstance(operand, int) and operand > 1) for operand in symbol.operands)


def _broadcast_parts(size: Dimension) -> tuple[Dimension, ...]:
    symbol = size.symbol
    return symbol.operands if symbol is not None and symbol.operator == "broadcast" else (size,)


def sliced(size: Size, start: Size, end: Size, step: Size) -> Size:
    """The number of elements of `[start:end:step]` on an axis of `size` elements."""
    if isinstance(start, int) and isinstance(end, int) and isinstance(step, int) and step:
        if isinstance(size, int):
            return len(range(*slice(start, end, step).indices(size)))
        if start == 0 and end >= _UNBOUNDED and step == 1:
            return size
        if start >= 0 and end >= _UNBOUNDED and step == 1 and at_least(size, start):
            return size - start
        if start == 0 and end < 0 and step == 1 and at_least(size, -end):
            return size + end
    if start == 0 and step == 1 and at_least(end, 0):
        return size if size == end else axis_size("min", *sorted((size, end), key=str))
    return axis_size("slice", size, start, end, step)


_UNBOUNDED = 2**31 - 1  # what exporters write for "to the end"
