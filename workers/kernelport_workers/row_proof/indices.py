"""What is known of whole numbers that pick or place elements: the number of their row may be in them."""

from dataclasses import dataclass, replace

from kernelport_workers.row_proof.dimensions import ROWS, Size
from kernelport_workers.row_proof.typed import has_room


@dataclass(frozen=True, slots=True)
class Index:
    """Numbers of which those of row r are `stride` * r + d, where row r alone decides d, and 0 <= d < `bound`.

    Attributes:
        stride: 0 if the number of the row is not in them.
        bound: None: no more is known than whether the number of the row is in them.
        kind: their type, "int64" or "int32".
    """

    stride: Size = 0
    bound: Size | None = None
    kind: str = "int64"

    def as_kind(self, kind: str | None) -> "Index":
        """The same numbers in another type; None: one in which they cannot be followed."""
        if kind not in ("int64", "int32") or self.bound is None or not has_room(self.stride * ROWS + self.bound, kind):
            return ANY if self.stride == 0 else FROM_ROW_NUMBERS
        return replace(self, kind=kind)

    def plus(self, other: "Index") -> "Index":
        stride = self.stride + other.stride
        if self.bound is None or other.bound is None:
            return ANY if self.stride == other.stride == 0 else FROM_ROW_NUMBERS
        return Index(stride, self.bound + other.bound - 1).as_kind(self.kind)

    def times(self, factor: Size) -> "Index":
        """The product with a number of 0 or more that is the same for all rows."""
        if self.bound is None:
            return self
        return Index(self.stride * factor, (self.bound - 1) * factor + 1).as_kind(self.kind)


ANY = Index()
FROM_ROW_NUMBERS = Index(stride=1)
"""Made of the numbers of the rows in a way that cannot be followed."""
