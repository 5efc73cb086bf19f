"""English number words as the training pipeline wrote them: cardinals, ordinals and years."""

from __future__ import annotations

_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = (
    "thousand", "million", "billion", "trillion", "quadrillion", "quintillion", "sextillion", "septillion",
    "octillion", "nonillion", "decillion",
)  # fmt: skip
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}

MAX_DIGITS = 36
"""Longest integer that has a name here."""


def cardinal(number: int) -> str:
    """Spell 0 <= number < 10**36 without "and": "one million, two hundred thousand five".

    Raises:
        ValueError: The number is negative or has more than 36 digits.
    """
    if not 0 <= number < 10**MAX_DIGITS:
        raise ValueError(f"number: {number} has no name, expected 0 <= number < 10**{MAX_DIGITS}")
    if number < 1000:
        return _below_thousand(number)
    rest, last = divmod(number, 1000)
    groups = []
    for scale in _SCALES:
        rest, group = divmod(rest, 1000)
        if group:
            groups.append(f"{_below_thousand(group)} {scale}")
    words = ", ".join(reversed(groups))
    if not last:
        return words
    return f"{words}{' ' if last < 100 else ', '}{_below_thousand(last)}"


def ordinal(number: int) -> str:
    """Spell an ordinal: "twenty-first", "one hundredth"."""
    words = cardinal(number)
    head, last = words, ""
    for separator in ("-", " "):
        if separator in words and len(words.rpartition(separator)[2]) < len(last or words):
            head, _, last = words.rpartition(separator)
            head += separator
    if not last:
        head, last = "", words
    if last in _ORDINALS:
        return head + _ORDINALS[last]
    return head + (last[:-1] + "ieth" if last.endswith("y") else last + "th")


def year(number: int) -> str:
    """Read 1000 < number < 3000 as a year: "nineteen oh five", "twenty twenty-four", "two thousand nine"."""
    if number == 2000:
        return "two thousand"
    if 2000 < number < 2010:
        return f"two thousand {_UNITS[number - 2000]}"
    century, rest = divmod(number, 100)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {f'oh {_UNITS[rest]}' if rest < 10 else cardinal(rest)}"


def _below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    words = [f"{_UNITS[hundreds]} hundred"] if hundreds else []
    if rest >= 20:
        tens, unit = divmod(rest, 10)
        words.append(_TENS[tens] + (f"-{_UNITS[unit]}" if unit else ""))
    elif rest or not hundreds:
        words.append(_UNITS[rest])
    return " ".join(words)
