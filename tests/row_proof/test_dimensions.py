"""Sizes as expressions: equal where they are equal for every model, and divided only where that is exact."""

import math
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from kernelport_workers.row_proof.dimensions import (
    ROWS,
    Dimension,
    Size,
    at_least,
    broadcast,
    divide,
    fits,
    floor_divide,
    free,
    has_rows,
    opaque,
    product,
    sliced,
)

T, S = free("T"), free("S")


def test_equal_expressions_are_equal() -> None:
    assert (T + 1) * S == S * T + S
    assert T * 0 == 0
    assert T + 1 - T == 1
    assert opaque("//", T, 2) == floor_divide(free("T"), 2)
    assert opaque("//", T, 2) != opaque("//", S, 2)


def test_a_name_is_never_taken_for_an_expression() -> None:
    assert free("//('T', 2)") != floor_divide(T, 2)
    assert free("N") != ROWS


def test_a_quotient_is_exact_or_none() -> None:
    assert divide(ROWS * 12 * T, T * 4) == ROWS * 3
    assert divide(ROWS * (T + 1) * 64, (T + 1) * 64) == ROWS
    assert divide(ROWS * 3, 2) is None
    assert divide(ROWS * T, S) is None
    assert divide(T, 0) is None
    assert floor_divide(ROWS * 2 + 1, 2) == ROWS
    assert floor_divide(T + 1, 2) != floor_divide(T, 2)


def test_an_expression_knows_whether_the_number_of_rows_is_in_it() -> None:
    assert has_rows(product([2, T, ROWS]))
    assert has_rows(opaque("//", ROWS, 2))
    assert not has_rows(divide(ROWS * T, ROWS))


def test_a_size_is_known_to_be_large_enough_only_if_it_always_is() -> None:
    assert at_least(T + 1, 1)
    assert not at_least(T, 1)
    assert not at_least(T - 1, 0)


def test_sizes_that_meet() -> None:
    assert broadcast(1, T) == T
    assert broadcast(T, 5) == 5
    assert broadcast(3, 5) is None
    assert broadcast(T, S) == broadcast(S, T)
    assert broadcast(broadcast(T, S) or 0, T) == broadcast(T, S)


def test_the_length_of_a_slice() -> None:
    assert sliced(10, -3, 2**62, 1) == 3
    assert sliced(T, 0, 2**62, 1) == T
    assert sliced(T + 4, 2, 2**62, 1) == T + 2
    assert sliced(T, 2, 2**62, 1) != T - 2  # T may be 1
    assert broadcast(T, sliced(512, 0, T, 1)) == T  # as for a table of places that is cut to the length of an input


def test_long_expressions_stay_short() -> None:
    size = T
    for _ in range(200):
        size = size + opaque("//", size, 2)
    assert len(str(size)) < 10_000


def test_high_powers_stay_short() -> None:
    started = time.process_time()
    size: Size = T
    for _ in range(200):
        size = size * size * 3
    assert time.process_time() - started < 1
    assert len(str(size)) < 10_000
    assert not fits(size)


def test_a_size_has_room_only_if_it_always_has() -> None:
    assert fits(T * 128, 31)
    assert not fits(T * 129, 31)
    assert fits(ROWS * T * S * 16)  # axes of one run
    assert not fits(T * T * T)
    assert not fits(opaque("any", T))


# Expressions on numbers.

_AXES = {"N": ROWS, "T": T, "S": S}


def _value(size: Any, axes: dict[str, int]) -> int:
    """What an expression is on given axes."""
    if not isinstance(size, Dimension):
        return int(size)
    return sum(
        coefficient * math.prod(_symbol_value(symbol, axes) for symbol in monomial)
        for monomial, coefficient in size.terms
    )


def _symbol_value(symbol: Any, axes: dict[str, int]) -> int:
    if not symbol.operator:
        return axes[symbol.text.strip("'")]
    return _OPERATORS[symbol.operator](*(_value(operand, axes) for operand in symbol.operands))


def _length(size: int, start: int, end: int, step: int) -> int:
    return len(range(*slice(start, end, step).indices(size)))


_OPERATORS: dict[str, Callable[..., int]] = {
    "//": lambda size, divisor: size // divisor,
    "*": lambda left, right: left * right,
    "sum": lambda size: size,
    "min": min,
    "slice": _length,
    "broadcast": lambda *sizes: next((size for size in sizes if size != 1), 1),
}


@pytest.mark.parametrize("seed", range(300))
def test_an_expression_is_what_it_is_made_of(seed: int) -> None:
    rng = random.Random(seed)
    axes = {name: rng.choice([0, 1, 2, 3, rng.randrange(100)]) for name in _AXES}
    known: list[tuple[Size, int]] = [(size, axes[name]) for name, size in _AXES.items()]
    known += [(number, number) for number in (0, 1, 2, 3, rng.randrange(-9, 9))]
    for _ in range(30):
        (left, a), (right, b) = rng.choice(known), rng.choice(known)
        for made in _made(rng, left, a, right, b):
            size, value = made
            assert _value(size, axes) == value, f"{size} of {left} and {right} on {axes}"
            known.append(made)
            for least in (0, 1, 2):
                assert value >= least or not at_least(size, least), f"{size} on {axes}"


def _made(rng: random.Random, left: Size, a: int, right: Size, b: int) -> list[tuple[Size, int]]:
    """Expressions of two others, and what they are on numbers."""
    made = [(left + right, a + b), (left - right, a - b), (left * right, a * b)]
    exact = divide(left, right)
    if exact is not None and b:
        assert a % b == 0
        made.append((exact, a // b))
    if at_least(right, 1):
        made.append((floor_divide(left, right), a // b))
    if at_least(left, 0):
        start, end, step = rng.choice([0, 1, 2, -3]), rng.choice([2**62, -1, 0, 5]), rng.choice([1, 1, 2])
        made.append((sliced(left, start, end, step), _length(a, start, end, step)))
        made.append((sliced(left, 0, right, 1), _length(a, 0, b, 1)))
        met = broadcast(left, right) if at_least(right, 0) else None
        if a == b or 1 in (a, b):
            assert met is not None or not at_least(right, 0)
            if met is not None:
                made.append((met, b if a == 1 else a))
    return rng.sample(made, 1)


@pytest.mark.parametrize("seed", range(100))
def test_what_fits_has_room_on_the_longest_axes(seed: int) -> None:
    rng = random.Random(seed)
    longest = {"N": 2**8 - 1, "T": 2**16 - 1, "S": 2**24 - 1}
    size: Size = rng.choice(list(_AXES.values()))
    for _ in range(rng.randrange(8)):
        others: list[Size] = [*_AXES.values(), rng.randrange(1 << rng.randrange(1, 30))]
        other = rng.choice(others)
        size = rng.choice([size + other, size * other, size - other, floor_divide(size, 3)])
    for bits in (24, 31, 53, 63):
        assert not fits(size, bits) or abs(_value(size, longest)) <= 2**bits
