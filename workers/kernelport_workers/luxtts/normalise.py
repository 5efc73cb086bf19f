"""English text to plain words as the model's training pipeline did it, defects included, so that token ids can be
compared. Without ``upstream`` texts are read by :mod:`kernelport.text`."""

from __future__ import annotations

import re

from kernelport.text import numbers

_UPSTREAM_ABBREVIATIONS = {
    "mrs": "misess", "mr": "mister", "dr": "doctor", "st": "saint", "co": "company", "jr": "junior", "maj": "major",
    "gen": "general", "drs": "doctors", "rev": "reverend", "lt": "lieutenant", "hon": "honorable", "sgt": "sergeant",
    "capt": "captain", "esq": "esquire", "ltd": "limited", "col": "colonel", "ft": "fort", "etc": "et cetera",
    "btw": "by the way",
}  # fmt: skip
_BEHIND_SCALE = re.compile(rf"({'|'.join(filter(None, numbers.SCALES))}) ")


def cardinal(number: int) -> str:
    """Spell 0 <= number < 10**36 without "and": "one million, two hundred thousand five".

    Raises:
        ValueError: The number is negative or has more than 36 digits.
    """
    words = _BEHIND_SCALE.sub(r"\1, ", numbers.cardinal(number))
    return " ".join(words.rsplit(", ", 1)) if 0 < number % 1000 < 100 else words


def with_and(number: int) -> str:
    """Spell it as ordinals and fractions were: "one million, two hundred thousand and five", "one hundred and one".

    Raises:
        ValueError: The number is negative or has more than 36 digits.
    """
    return _BEHIND_SCALE.sub(r"\1, ", numbers.cardinal(number, "en-GB")).replace(", and ", " and ")


def ordinal(number: int) -> str:
    """Spell an ordinal: "twenty-first", "one hundred and first"."""
    return numbers.as_ordinal(with_and(number))


def upstream_english(text: str) -> str:
    """Normalise as the model's training pipeline did."""
    for short, full in _UPSTREAM_ABBREVIATIONS.items():
        text = re.sub(rf"\b{short}\b", full, text, flags=re.IGNORECASE)
    text = re.sub(r"[0-9][0-9,]+[0-9]", lambda m: m[0].replace(",", ""), text)
    text = re.sub(r"£([0-9,]*[0-9]+)", r"\1 pounds", text)
    text = re.sub(r"\$([0-9.,]*[0-9]+)", _upstream_dollars, text)
    text = re.sub(r"([0-9]+)/([0-9]+)", _upstream_fraction, text)
    text = re.sub(r"([0-9]+)\.([0-9]+)", r"\1 point \2", text)
    text = re.sub(r"(?<=[0-9])%", " percent ", text)
    text = re.sub(r"([0-9]+)(?:st|nd|rd|th)", lambda m: f" {ordinal(int(m[1]))} ", text)
    return re.sub(r"[0-9]+", lambda m: f" {_upstream_integer(int(m[0]))} ", text)


def _upstream_dollars(match: re.Match[str]) -> str:
    parts = match[1].split(".")
    if len(parts) > 2:
        return f" {match[1]} dollars "
    whole = int(parts[0]) if parts[0] else 0
    cents = int(parts[1]) if len(parts) > 1 and parts[1] else 0
    named = [
        f"{amount} {unit if amount == 1 else unit + 's'}"
        for amount, unit in ((whole, "dollar"), (cents, "cent"))
        if amount
    ]
    return f" {', '.join(named) or 'zero dollars'} "


def _upstream_fraction(match: re.Match[str]) -> str:
    above, below = int(match[1]), int(match[2])
    if below in (2, 4):
        singular, plural = {2: ("half", "halves"), 4: ("quarter", "quarters")}[below]
        return f" one {singular} " if above == 1 else f" {with_and(above)} {plural} "
    return f" {with_and(above)} {ordinal(below)} "


def _upstream_integer(number: int) -> str:
    return _year(number) if 1000 < number < 3000 else cardinal(number)


def _year(number: int) -> str:
    """Read 1000 < number < 3000 as a year: "nineteen oh five", "twenty twenty-four", "two thousand nine"."""
    century, rest = divmod(number, 100)
    if century == 20 and rest < 10:
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"
