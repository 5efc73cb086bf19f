"""What the readers of the different formats have in common: rows, and what is wrong with them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding.

    Attributes:
        line: where the row begins, from 1.
        field: the column or key at fault; empty when it is the whole line.
        finding: what is wrong and what was expected.
        fatal: the rest of the file cannot be read, or would not mean what it says: no row is good then.
    """

    line: int
    field: str
    finding: str
    fatal: bool = False

    def __str__(self) -> str:
        return f"{self.line}: {self.field}: {self.finding}" if self.field else f"{self.line}: {self.finding}"


@dataclass(frozen=True, slots=True)
class Row:
    """An item as the file has it.

    Attributes:
        line: where it begins, from 1.
        id: the caller's own; None to make one of the line's number.
        values: inputs by name: texts that have to be parsed, or what JSON made of them.
        parsed: whether JSON did.
        shown: how the file calls a value, where that is not its name.
        left_out: what else the file has there.
    """

    line: int
    id: Any
    values: Mapping[str, Any]
    parsed: bool
    shown: Mapping[str, str] = field(default_factory=dict)
    left_out: Collection[str] = ()
