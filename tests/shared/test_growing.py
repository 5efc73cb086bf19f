"""Arrays that are joined as they come."""

import numpy as np
import pytest

from kernelport.growing import GrowingArray


def test_it_is_its_arrays_one_behind_the_other() -> None:
    growing = GrowingArray()
    for rows in (2, 0, 3):
        growing.append(np.full((rows, 4), rows, np.int32))
    assert growing.nbytes == 5 * 4 * 4
    assert growing.array().tolist() == [[2] * 4] * 2 + [[3] * 4] * 3


def test_arrays_without_elements_are_one_without_elements() -> None:
    growing = GrowingArray()
    growing.append(np.empty(0, np.float32))
    assert (growing.array().shape, growing.array().dtype) == ((0,), np.float32)


def test_what_is_not_alike_is_refused() -> None:
    growing = GrowingArray()
    growing.append(np.zeros((1, 2), np.float32))
    for other in (np.zeros((1, 3), np.float32), np.zeros((1, 2))):
        with pytest.raises(ValueError, match=r"expected float32 \[2\]"):
            growing.append(other)
    with pytest.raises(ValueError, match="at least one"):
        GrowingArray().array()
