"""Arrays that come one after another, joined without a second copy of them."""

import numpy as np

from kernelport.tensors import Array


class GrowingArray:
    """Arrays behind each other along their first axis, alike but for its length. Together they take at most an eighth
    more than their size."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._first: Array | None = None

    def append(self, array: Array) -> None:
        """Adds an array [N, ...], which is copied.

        Raises:
            ValueError: it has another dtype, or another shape behind the first axis, than those before it.
        """
        if self._first is None:
            self._first = array[:0].copy()
        if (array.dtype, array.shape[1:]) != (self._first.dtype, self._first.shape[1:]):
            raise ValueError(
                f"expected {self._first.dtype} {list(self._first.shape[1:])}, got {array.dtype} {list(array.shape[1:])}"
            )
        self._bytes += array.tobytes()

    @property
    def nbytes(self) -> int:
        """The size of what it has."""
        return len(self._bytes)

    def array(self) -> Array:
        """All of them in one, which shares the memory: nothing can be added any more.

        Raises:
            ValueError: there are none.
        """
        if self._first is None:
            raise ValueError("expected at least one array")
        items = len(self._bytes) // max(1, self._first.dtype.itemsize)
        return np.ndarray((items,), self._first.dtype, self._bytes).reshape(-1, *self._first.shape[1:])
