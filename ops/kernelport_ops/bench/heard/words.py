"""Which words were heard otherwise than they were written."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kernelport.text import read

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
# What sounds alike: the recognizer writes American English.
_SPELLINGS = {"neighbour": "neighbor", "harbour": "harbor", "grey": "gray"}


@dataclass(frozen=True)
class Difference:
    """Words that were heard otherwise; either may be none."""

    written: tuple[str, ...]
    heard: tuple[str, ...]

    @property
    def errors(self) -> int:
        """How many words were replaced, missed, or heard where there were none."""
        return max(len(self.written), len(self.heard))


def words(text: str) -> list[str]:
    """The words of a text as they are said, in small letters: a recognizer writes numbers in digits."""
    return [_SPELLINGS.get(word, word) for word in _WORD.findall(read(text).spoken.casefold())]


def differences(written: Sequence[str], heard: Sequence[str]) -> list[Difference]:
    """The differences that make for the fewest errors, in order; those beside each other are one."""
    return [difference for _, difference in aligned(written, heard)]


def aligned(written: Sequence[str], heard: Sequence[str]) -> list[tuple[int, Difference]]:
    """The same, each with the place of its first word among those that were written."""
    costs = [[column + row for column in range(len(heard) + 1)] for row in range(len(written) + 1)]
    for row, word in enumerate(written, 1):
        for column, other in enumerate(heard, 1):
            replaced = costs[row - 1][column - 1] + (word != other)
            costs[row][column] = min(replaced, costs[row - 1][column] + 1, costs[row][column - 1] + 1)
    row, column = len(written), len(heard)
    found: list[tuple[int, Difference]] = []
    missed: list[str] = []
    added: list[str] = []
    while row or column:
        cost = costs[row][column]
        if row and column and written[row - 1] == heard[column - 1] and cost == costs[row - 1][column - 1]:
            row, column = row - 1, column - 1
            if missed or added:
                found.append((row + 1, Difference(tuple(reversed(missed)), tuple(reversed(added)))))
                missed, added = [], []
            continue
        if row and column and cost == costs[row - 1][column - 1] + 1:
            missed.append(written[row := row - 1])
            added.append(heard[column := column - 1])
        elif row and cost == costs[row - 1][column] + 1:
            missed.append(written[row := row - 1])
        else:
            added.append(heard[column := column - 1])
    if missed or added:
        found.append((0, Difference(tuple(reversed(missed)), tuple(reversed(added)))))
    return found[::-1]
