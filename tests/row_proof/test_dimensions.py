"""Sizes as expressions: equal where they are equal for every model, and divided only where that is exact."""

from kernelport_workers.row_proof.dimensions import (
    ROWS,
    at_least,
    broadcast,
    divide,
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
