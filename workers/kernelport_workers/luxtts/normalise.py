"""English text to plain words.

Two rule sets: :func:`upstream_english` follows the normaliser the model was trained with, defects included, so that
token ids can be compared; :func:`english` is the default and reads numbers, money, times and symbols correctly.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from kernelport_workers.luxtts import number_words as words
from kernelport_workers.luxtts.errors import TextError

Replacement = str | Callable[[re.Match[str]], str]

_UPSTREAM_ABBREVIATIONS = {
    "mrs": "misess", "mr": "mister", "dr": "doctor", "st": "saint", "co": "company", "jr": "junior", "maj": "major",
    "gen": "general", "drs": "doctors", "rev": "reverend", "lt": "lieutenant", "hon": "honorable", "sgt": "sergeant",
    "capt": "captain", "esq": "esquire", "ltd": "limited", "col": "colonel", "ft": "fort", "etc": "et cetera",
    "btw": "by the way",
}  # fmt: skip

_TITLES = {
    "mr": "mister", "mrs": "missus", "ms": "miz", "dr": "doctor", "drs": "doctors", "prof": "professor",
    "gen": "general", "maj": "major", "rev": "reverend", "lt": "lieutenant", "hon": "honorable", "sgt": "sergeant",
    "capt": "captain", "col": "colonel",
}  # fmt: skip
_OTHERS = {
    "jr": "junior", "sr": "senior", "esq": "esquire", "ltd": "limited", "co": "company", "inc": "incorporated",
    "etc": "et cetera", "vs": "versus", "approx": "approximately",
}  # fmt: skip
_WITHOUT_DOT = {"mr", "mrs", "ms", "dr", "drs", "prof", "sgt", "capt", "ltd", "vs", "etc", "esq"}

_CURRENCIES = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}
_PLURALS = {"penny": "pence"}
_SCALES = {"k": "thousand", "m": "million", "bn": "billion", "b": "billion", "tn": "trillion"}

_SYMBOLS = {
    "&": "and", "@": "at", "+": "plus", "=": "equals", "<": "less than", ">": "greater than",
    "≤": "less than or equal to", "≥": "greater than or equal to",
    "≠": "not equal to", "≈": "approximately", "±": "plus or minus", "×": "times",
    "÷": "divided by", "%": "percent", "°": "degrees", "€": "euro", "£": "pound", "$": "dollar", "§": "section",
    "→": "to", "√": "square root of", "∞": "infinity", "#": "number",
}  # fmt: skip

_UNSAID = ("So", "Co", "Cn")

_CONTEXT = 40
"""Characters around a match that may decide its reading; a bound keeps long texts linear."""

_SPOKEN_SCRIPTS = ("LATIN", "CJK", "MODIFIER", "FEMININE", "MASCULINE", "MICRO")


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


def clean(text: str) -> str:
    """Bring any text to one spelling: compatibility forms folded, quotes straight, spaces plain, emoji removed.

    Line breaks survive as newlines.

    Raises:
        TextError: The text has letters of a script that the model was not trained on; the message names it.
    """
    text = re.sub(r"(?<=\d)(?=[¼½¾⅐-⅞])", " and ", text)
    text = unicodedata.normalize("NFKC", text.replace("…", "...")).replace("\u2044", "/")
    text = re.sub(r"\r\n?|[\u2028\u2029\x0b\x0c]", "\n", text)
    kept = []
    for character in text:
        category = unicodedata.category(character)
        if character == "\n":
            kept.append(character)
        elif category[0] == "L":
            kept.append(_spoken_letter(character))
        elif category[0] == "Z" or category == "Cc":
            kept.append(" ")
        elif category not in ("So", "Sk", "Cf", "Cs", "Co", "Cn") or character in _SYMBOLS or character == "^":
            kept.append(character)
    straight = "".join(kept).translate(str.maketrans("‘’‚‛“”„«»‐‑", '\'\'\'\'"""""--'))
    return re.sub(r"[ \t]+", " ", straight)


def left_out(text: str) -> str:
    """The pictures and other symbols that :func:`clean` leaves out, each once."""
    if text.isascii():
        return ""
    characters = dict.fromkeys(unicodedata.normalize("NFKC", text))
    return "".join(each for each in characters if unicodedata.category(each) in _UNSAID and each not in _SYMBOLS)


def _spoken_letter(character: str) -> str:
    name = unicodedata.name(character, "UNKNOWN").split()
    if name[0] in _SPOKEN_SCRIPTS:
        return character
    if name[0] == "GREEK" and "LETTER" in name:
        return f" {name[name.index('LETTER') + 1].lower()} "
    raise TextError(f"{character!r} is {name[0].title()} script; this model speaks English and Chinese only")


def english(text: str) -> str:
    """Read everything that is not a word as words; ``text`` comes from :func:`clean`, without newlines."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text.strip()


def _abbreviation(match: re.Match[str]) -> str:
    short, dot, rest = match[1].lower(), match[2], _after(match)
    if not dot and (short not in _WITHOUT_DOT or match[1].isupper()):
        return match[0]
    ends = not rest.strip() or (short in _OTHERS and re.match(r"['\")]*\s+[A-Z]", rest) is not None)
    return (_TITLES.get(short) or _OTHERS[short]) + (dot if ends else "")


def _street_or_saint(match: re.Match[str]) -> str:
    before, rest = _before(match).split(), _after(match)
    before_name = re.match(r"\s+[A-Z]", rest) is not None
    after_name = bool(before) and (before[-1][0].isdigit() or (len(before) > 1 and before[-1].istitle()))
    if before_name and not after_name:
        return "Saint"
    return "street." if before_name or not rest.strip() else "street"


def _before(match: re.Match[str]) -> str:
    return match.string[max(0, match.start() - _CONTEXT) : match.start()]


def _after(match: re.Match[str]) -> str:
    return match.string[match.end() : match.end() + _CONTEXT]


def _decimal(whole: str, fraction: str | None) -> str:
    spoken = words.cardinal(int(whole.replace(",", "") or "0"))
    return spoken.replace(",", "") + (f" point {words.digits(fraction)}" if fraction else "")


def _money(match: re.Match[str]) -> str:
    unit, part = _CURRENCIES[match[1]]
    whole, fraction, scale = match[2], match[3], match[4]
    if len(whole.replace(",", "")) > words.MAX_DIGITS:
        return match[0]
    if scale or (fraction and len(fraction) > 2):
        suffix = f" {_SCALES.get(scale.lower(), scale.lower())}" if scale else ""
        return f" {_decimal(whole, fraction)}{suffix} {_plural(unit)} "
    amounts = ((int(whole.replace(",", "")), unit), (int((fraction or "0").ljust(2, "0")), part))
    named = [f"{_decimal(str(n), None)} {name if n == 1 else _plural(name)}" for n, name in amounts if n]
    return f" {' and '.join(named) or f'zero {_plural(unit)}'} "


def _plural(unit: str) -> str:
    return _PLURALS.get(unit, unit + "s")


def _time(match: re.Match[str]) -> str:
    hour, minute, second = match[1], match[2], match[3]
    followed = re.match(r"\s*(?:[ap]\.?\s?m\b|hours?\b)", _after(match), flags=re.IGNORECASE)
    spoken = words.cardinal(int(hour))
    if int(minute):
        spoken += f" oh {words.cardinal(int(minute))}" if minute[0] == "0" else f" {words.cardinal(int(minute))}"
    elif not followed and not second:
        spoken += " o'clock" if int(hour) <= 12 else " hundred"
    if second:
        spoken += f" and {words.cardinal(int(second))} seconds"
    return f" {spoken} "


def _fraction(match: re.Match[str]) -> str:
    above, below = int(match[1]), int(match[2])
    if not 0 < above < below:
        return f" {words.cardinal(above)} over {words.cardinal(below)} "
    name = {2: "half", 4: "quarter"}.get(below) or words.ordinal(below)
    plural = "halves" if below == 2 else name + "s"
    return f" {words.cardinal(above)} {name if above == 1 else plural} "


def _decade(match: re.Match[str]) -> str:
    tens = words.cardinal(int(match[2]))
    century = f"{words.cardinal(int(match[1]))} " if match[1] else ""
    if match[2] == "00":
        return " two thousands " if match[1] == "20" else f" {century}hundreds "
    return f" {century}{tens[:-1]}ies " if tens.endswith("y") else f" {century}{tens}s "


def _integer(match: re.Match[str]) -> str:
    text = match[0]
    if len(text) > 15 or (text[0] == "0" and len(text) > 1):
        return f" {words.digits(text)} "
    number = int(text)
    return f" {words.year(number) if 1000 < number < 3000 else words.cardinal(number).replace(',', '')} "


def _ellipsis(match: re.Match[str]) -> str:
    rest = _after(match)
    return ". " if not rest.strip() or re.match(r"\s*[\"'(]?[A-Z]", rest) else ", "


def _rule(pattern: str, replacement: Replacement) -> tuple[re.Pattern[str], Replacement]:
    return re.compile(pattern), replacement


def _either_case(names: dict[str, str]) -> str:
    return "|".join(sorted((f"[{n[0].upper()}{n[0]}]{n[1:]}|{n.upper()}" for n in names), key=len, reverse=True))


_RULES: tuple[tuple[re.Pattern[str], Replacement], ...] = (
    _rule(r"\b[eE]\.\s?g\.,?", "for example,"),
    _rule(r"\b[iI]\.\s?e\.,?", "that is,"),
    _rule(r"\bNo\.\s?(?=\d)", "number "),
    _rule(r"(?<=\d)\s?ft\b\.?", " feet"),
    _rule(r"\b[Ff]t\.\s(?=[A-Z])", "fort "),
    _rule(r"\bSt\.", _street_or_saint),
    _rule(r"\b[Bb]tw\b", "by the way"),
    _rule(rf"\b({_either_case(_TITLES | _OTHERS)})\b(?!-)(\.?)", _abbreviation),
    _rule(r"([$£€])\s?(\d[\d,]*)(?:\.(\d+))?(?:\s?(thousand|million|billion|trillion|[kKmMbB]n?|tn)\b)?", _money),
    _rule(r"\b([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?\b", _time),
    _rule(r"\b(\d{1,4})/(\d{1,2})/(\d{1,4})\b", r"\1, \2, \3"),
    _rule(r"\b(\d{1,4})/(\d{1,4})\b", _fraction),
    _rule(r"°\s?C\b", " degrees Celsius"),
    _rule(r"°\s?F\b", " degrees Fahrenheit"),
    _rule(r"\b(\d\d)(\d0)s\b", _decade),
    _rule(r"'()(\d0)s\b", _decade),
    _rule(r"\b(\d{1,15})(?:st|nd|rd|th)\b", lambda m: f" {words.ordinal(int(m[1])).replace(',', '')} "),
    _rule(r"(?<=\d)\s?[–—]\s?(?=\d)", " to "),
    _rule(r"(?<![\w.])[-−](?=[.\d])", " minus "),
    _rule(r"(?<![\d,])(\d{1,3}(?:,\d{3}){1,11})(?:\.(\d+))?(?![\d,]*\d)", lambda m: f" {_decimal(m[1], m[2])} "),
    _rule(r"(?<![\d.])(\d{1,15})\.(\d+)(?!\.?\d)", lambda m: f" {_decimal(m[1], m[2])} "),
    _rule(r"(?<![\w.])\.(\d+)", lambda m: f" point {words.digits(m[1])} "),
    _rule(r"(?<=\d)\.(?=\d)", " point "),
    _rule(r"\d+", _integer),
    _rule(r"#(?!\s*(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thir|fif|twen|eigh))", " "),
    _rule("[" + re.escape("".join(_SYMBOLS)) + "]", lambda m: f" {_SYMBOLS[m[0]]} "),
    _rule(r"[\[{]", "("),
    _rule(r"[\]}]", ")"),
    _rule(r"[\^*_|\\`~•·]+", " "),
    _rule(r"\s*\.(?:\s?\.)+\s*", _ellipsis),
    _rule(r"\s+", " "),
    _rule(r" (?=[,.;:!?)])", ""),
)
