"""What a piece of random input is given to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis.strategies import SearchStrategy


class FindingError(AssertionError):
    """What must not happen has happened; the message says what."""


@dataclass(frozen=True)
class Target:
    """One reader of input.

    Attributes:
        examples: what it is given.
        check: gives it one; raises whatever the reader should not have raised, or FindingError.
        most: examples a round, after which another target has its turn.
        shrinks: whether a finding is made smaller: only where the same input always has the same effect.
    """

    name: str
    examples: SearchStrategy[Any]
    check: Callable[[Any], None]
    most: int = 200
    shrinks: bool = True


def expect(truth: bool, finding: str) -> None:
    """Raises FindingError unless something is as it should be."""
    if not truth:
        raise FindingError(finding)
