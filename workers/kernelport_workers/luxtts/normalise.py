"""English text to plain words as the model's training pipeline did it, defects included, so that token ids can be
compared. Without ``upstream`` texts are read by :mod:`kernelport.text`."""

from __future__ import annotations

import re

from kernelport_workers.luxtts import number_words as words

_UPSTREAM_ABBREVIATIONS = {
    "mrs": "misess", "mr": "mister", "dr": "doctor", "st": "saint", "co": "company", "jr": "junior", "maj": "major",
    "gen": "general", "drs": "doctors", "rev": "reverend", "lt": "lieutenant", "hon": "honorable", "sgt": "sergeant",
    "capt": "captain", "esq": "esquire", "ltd": "limited", "col": "colonel", "ft": "fort", "etc": "et cetera",
    "btw": "by the way",
}  # fmt: skip


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
    text = re.sub(r"([0-9]+)(?:st|nd|rd|th)", lambda m: f" {words.ordinal(int(m[1]))} ", text)
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
        return f" one {singular} " if above == 1 else f" {words.cardinal(above)} {plural} "
    return f" {words.cardinal(above)} {words.ordinal(below)} "


def _upstream_integer(number: int) -> str:
    return words.year(number) if 1000 < number < 3000 else words.cardinal(number)
