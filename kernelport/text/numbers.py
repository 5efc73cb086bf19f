"""Number words: cardinals, ordinals, years, digits, and amounts as people write them."""

import re
from dataclasses import dataclass
from typing import Literal

Locale = Literal["en-US", "en-GB"]

_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SCALES = (
    "", "thousand", "million", "billion", "trillion", "quadrillion", "quintillion", "sextillion", "septillion",
    "octillion", "nonillion", "decillion",
)  # fmt: skip
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip

MAX_DIGITS = 36
"""Digits of the longest integer that has a name."""
_LONGEST_CARDINAL = 15

# The groups are counted, so that a row of them that is no number takes linear time. No group may be possessive: Python
# before 3.11.5 loses what such a group has only begun to match.
AMOUNT = (
    r"(?:\d{1,3}(?:,\d{3}){1,11}(?:\.\d++)?(?!,?\d)"
    r"|\d{1,2}(?:,\d{2}){1,5},\d{3}(?:\.\d++)?(?!,?\d)"
    r"|\d{1,3}(?:\.\d{3}){1,11},\d{1,2}(?!\d)"
    r"|[1-9]\d{0,2}(?:'\d{3}){1,11}(?!['\d])"
    r"|[1-9]\d{0,2}(?: \d{3}){1,11}(?:[.,]\d++)?(?! ?\d)"
    r"|\d++(?:\.\d++|,\d{1,2}(?![,\d]))?"
    r"|\.\d++)"
)
"""A number with its thousands apart or not: 1,250.50, 1,50,000, 1.250,50, 1'250, 1 250, 27,5 and .5."""
EXPONENT = r"[eE](?P<exponent>[+-]?\d{1,3})\b"
"""What stands behind the first part of a number such as 2.5e-3."""
NOT_INSIDE = r"(?<![\w.,'])"
"""What stands before a number that begins here."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A number in digits: those before the decimal point, and those behind it or none."""

    whole: str
    fraction: str = ""

    @property
    def is_one(self) -> bool:
        return self.whole == "1" and not self.fraction

    def spoken(self, locale: Locale) -> str:
        """The number in words; one of very many digits, or with a zero before others, is read digit by digit."""
        if len(self.whole) > _LONGEST_CARDINAL or (self.whole.startswith("0") and len(self.whole) > 1):
            words = digits(self.whole)
        else:
            words = cardinal(int(self.whole), locale) if self.whole else ""
        return f"{words} point {digits(self.fraction)}".strip() if self.fraction else words


def amount(text: str) -> Amount:
    """What `AMOUNT` has matched."""
    point = max(text.rfind("."), text.rfind(","))
    behind = text[point + 1 :]
    if point < 0 or (text[point] == "," and len(behind) == 3):
        return Amount(re.sub(r"\D", "", text))
    return Amount(re.sub(r"\D", "", text[:point]), behind)


def cardinal(number: int, locale: Locale = "en-US") -> str:
    """The words for 0 <= number < 10**36: "one million two hundred thousand five", with "and" before tens and units
    in British English.

    Raises:
        ValueError: the number is out of range.
    """
    if not 0 <= number < 10**MAX_DIGITS:
        raise ValueError(f"number: expected 0 <= number < 10**{MAX_DIGITS}, got {number}")
    joint = " and " if locale == "en-GB" else " "
    groups: list[str] = []
    rest, scale = number, 0
    while rest:
        rest, group = divmod(rest, 1000)
        if group:
            words = _below_thousand(group, joint)
            if not scale and rest and group < 100 and locale == "en-GB":
                words = f"and {words}"
            groups.append(f"{words} {SCALES[scale]}".rstrip())
        scale += 1
    return " ".join(reversed(groups)) or "zero"


def scientific(text: str, exponent: str, locale: Locale) -> str:
    """The words for a number such as 2.5e-3: what `AMOUNT` has matched, and a whole number of up to three digits."""
    sign = "minus " if exponent.startswith("-") else ""
    return f"{amount(text).spoken(locale)} times ten to the power of {sign}{cardinal(abs(int(exponent)), locale)}"


def ordinal(number: int, locale: Locale = "en-US") -> str:
    """The words for a place in a row: "twenty-first", "one thousandth"."""
    return as_ordinal(cardinal(number, locale))


def as_ordinal(words: str) -> str:
    """The words of a number, made those of a place in a row."""
    cut = max(words.rfind(" "), words.rfind("-")) + 1
    last = words[cut:]
    if last in _ORDINALS:
        return words[:cut] + _ORDINALS[last]
    return words[:cut] + (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")


def year(number: int, locale: Locale = "en-US") -> str:
    """The words for a year: "nineteen oh five", "two thousand nine", "twenty twenty-four", "forty-four"."""
    century, rest = divmod(number, 100)
    if number < 1000 or number > 9999 or (century % 10 == 0 and rest < 10):
        return cardinal(number, locale)
    if not rest:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {two_digits(rest)}"


def two_digits(number: int) -> str:
    """The words for the last two digits of a year or the minutes of a time: "oh five", "fifteen"."""
    return f"oh {_UNITS[number]}" if number < 10 else cardinal(number)


def digits(text: str) -> str:
    """Digits one by one; what is no digit is left out."""
    return " ".join(_UNITS[int(each)] for each in text if each.isdecimal())


def code(text: str) -> str:
    """Digits as in the name of a thing: "three twenty" for 320, "seven" for 7, "oh five" for 05."""
    if len(text) > 4 or text == "0" * len(text):
        return digits(text)
    if text[0] == "0":
        return digits(text).replace("zero", "oh")
    number = int(text)
    if number < 100 or number % 1000 == 0:
        return cardinal(number)
    hundreds, rest = divmod(number, 100)
    return f"{cardinal(hundreds)} {two_digits(rest) if rest else 'hundred'}"


def fraction(above: int, below: int, locale: Locale = "en-US") -> str:
    """The words for a part: "one half", "three quarters"; `above` and `below` are at least 1."""
    name = {2: "half", 4: "quarter"}.get(below) or ordinal(below, locale)
    if above == 1:
        return f"one {name}"
    return f"{cardinal(above, locale)} {'halves' if below == 2 else plural(name)}"


def part_of_one(above: int, below: int, locale: Locale = "en-US") -> str:
    """The words for a part behind a whole number: "a half", "three quarters", "one eighth"."""
    words = fraction(above, below, locale)
    return f"a{words[3:]}" if above == 1 and below in (2, 3, 4) else words


def plural(word: str) -> str:
    """More than one of a thing: "feet" is known where it is used, the rest goes by its last letters."""
    if word.endswith("y") and word[-2] not in "aeou":
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "ch", "sh")) else f"{word}s"


def _below_thousand(number: int, joint: str) -> str:
    hundreds, rest = divmod(number, 100)
    words = [f"{_UNITS[hundreds]} hundred"] if hundreds else []
    if rest >= 20:
        tens, unit = divmod(rest, 10)
        words.append(_TENS[tens] + (f"-{_UNITS[unit]}" if unit else ""))
    elif rest or not hundreds:
        words.append(_UNITS[rest])
    return joint.join(words)
