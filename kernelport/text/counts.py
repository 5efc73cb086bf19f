"""Numbers that are no price, measure or date: ranges, scores, fractions, powers, places, versions,
and digits within names."""

import re

from kernelport.text.numbers import (
    AMOUNT,
    EXPONENT,
    NOT_INSIDE,
    Locale,
    amount,
    cardinal,
    code,
    digits,
    fraction,
    ordinal,
    part_of_one,
    plural,
    scientific,
)
from kernelport.text.rules import (
    COUNTED,
    Match,
    Rule,
    before,
    behind,
    either,
    is_lettered,
    names,
    rule,
    word_before,
    word_behind,
)

_DASH = r" ?[-–—] ?"
_PLURAL = re.compile(r" [a-z]{3,}s\b")
_UNITS_BEHIND = {
    "kg": "kilograms", "g": "grams", "km": "kilometers", "m": "meters", "s": "seconds", "J": "joules", "W": "watts",
    "Hz": "hertz", "Pa": "pascals", "V": "volts", "eV": "electronvolts", "K": "kelvin", "C": "coulombs", "N": "newtons",
    "T": "tesla", "mol": "moles",
}  # fmt: skip
_NAMED_BY_DIGITS = frozenset(names("no number account order id code ref reference invoice case ticket serial"))
_POWERS = {"2": "squared", "3": "cubed"}
_LONGEST_ORDINAL = 15


def _model(match: Match, locale: Locale) -> str | None:
    """RTX 4090, but the FBI's 4200 agents and ISO 9001"""
    counted = _PLURAL.match(behind(match)) or word_behind(match) in COUNTED
    return None if counted or int(match[0]) % 1000 < 10 else code(match[0])


def _dotted(match: Match, locale: Locale) -> str:
    """192.168.0.1, 1.2.3"""
    numbers = match[1].split(".")
    if len(numbers) == 4 and all(int(each) < 256 for each in numbers):
        return " dot ".join(digits(each) if len(each) == 3 else cardinal(int(each)) for each in numbers)
    return " point ".join(code(each) if len(each) < 3 else digits(each) for each in numbers)


def _version(match: Match, locale: Locale) -> str:
    return f"version {' point '.join(code(each) for each in match[1].split('.'))}"


def _score(match: Match, locale: Locale) -> str:
    return f"{amount(match[1]).spoken(locale)} to {cardinal(int(match[2]))}"


def _range(match: Match, locale: Locale) -> str | None:
    low, high = amount(match["low"]), amount(match["high"])
    is_code = word_before(match).lower() in _NAMED_BY_DIGITS or before(match).endswith("#")
    if is_code and not low.fraction + high.fraction:
        return f"{code(low.whole)} {code(high.whole)}"
    spaced = match["dash"] == " - "
    if spaced and re.match(r" ?=", behind(match)):
        return f"{low.spoken(locale)} minus {high.spoken(locale)}"
    if "-" in match["dash"] and not spaced and re.search(r"[A-Za-z]\Z", before(match)):
        return None
    return f"{low.spoken(locale)} to {high.spoken(locale)}"


def _mixed(match: Match, locale: Locale) -> str | None:
    above, below = int(match[2]), int(match[3])
    if not 0 < above < below:
        return None
    return f"{amount(match[1]).spoken(locale)} and {part_of_one(above, below, locale)}"


def _fraction(match: Match, locale: Locale) -> str:
    above, below = int(match[1]), int(match[2])
    if " / " in match[0]:
        return f"{cardinal(above, locale)} divided by {cardinal(below, locale)}"
    if match[0].replace(" ", "") == "24/7":
        return "twenty-four seven"
    if match[0] == "9/11":
        return "nine eleven"
    if below in (5, 10, 100) and 0 <= above <= below and _is_rating(match):
        return f"{cardinal(above, locale)} out of {cardinal(below, locale)}"
    if above <= below and word_before(match).lower() in _PARTS:
        return f"{cardinal(above, locale)} of {cardinal(below, locale)}"
    if above == below:
        return f"{cardinal(above)} {cardinal(below)}"
    if 0 < above < below <= 100 or (below in (2, 4) and 0 < above < 20):
        return fraction(above, below, locale)
    return f"{cardinal(above, locale)} over {cardinal(below, locale)}"


# One of so many, in their order.
_PARTS = frozenset(names("page part step slide episode question photo track file lesson day week lap stage"))
_RATING = re.compile(
    r"\b(?:scored?|rat(?:ed|ing|es?)|gave|gives?|got|grade|review|solid|pain|easily|strong|stars)\b[^.!?]{0,30}\Z",
    re.IGNORECASE,
)


def _is_rating(match: Match) -> bool:
    """Whether so many of ten, and not tenths: 8/10."""
    whole = match[1] == match[2] and match[1] != "50"
    return whole or behind(match).startswith(" stars") or _RATING.search(before(match)) is not None


def _rating(match: Match, locale: Locale) -> str:
    """4.5/5"""
    return f"{amount(match[1]).spoken(locale)} out of {cardinal(int(match[2]))}"


def _airliner(match: Match, locale: Locale) -> str | None:
    if word_behind(match) in COUNTED:
        return None
    return " ".join(code(each) for each in match[0].split("-"))


def _calibre(match: Match, locale: Locale) -> str:
    """a .38 special"""
    return code(match[1])


def _ordinal(match: Match, locale: Locale) -> str | None:
    number = re.sub(r"\D", "", match[1])
    return ordinal(int(number), locale) if len(number) <= _LONGEST_ORDINAL else f"{digits(number)} th"


def _power(match: Match, locale: Locale) -> str:
    base = amount(match["number"]).spoken(locale) if match["number"] else match["name"]
    if match["unknown"]:
        base = f"{base} {match['unknown']}"
    exponent = match["exponent"].strip("{}()")
    unit = f" {_UNITS_BEHIND[match['unit']]}" if match["unit"] else ""
    return f"{base} {_exponent(exponent, locale)}{unit}"


def _exponent(exponent: str, locale: Locale) -> str:
    if exponent in _POWERS:
        return _POWERS[exponent]
    if exponent.isdigit() and len(exponent) <= 3:
        return f"to the {ordinal(int(exponent), locale)}"
    sign = "minus " if exponent[0] in "-−" else ""
    rest = exponent.lstrip("-−+")
    return f"to the power of {sign}{cardinal(int(rest), locale) if rest.isdigit() and len(rest) < 10 else rest}"


def _scientific(match: Match, locale: Locale) -> str:
    unit = f" {_UNITS_BEHIND[match['unit']]}" if match["unit"] else ""
    return scientific(match[1], match["exponent"], locale) + unit


# What shows that a name stands there and no number.
_MADE_BY = re.compile(r"\b(?:made by|bought from|(?:works?|worked|working|jobs?) (?:at|for)|[A-Z][a-z]{2,} and) \Z")
_OF_A_COMPANY = re.compile(
    r" (?:and (?:\d+[A-Z]{2}|[A-Z][a-z]+)"
    r"|(?:adhesive|company|film|filter|mask|respirator|share|sticker|stock|tape)(?:e?s)?)\b"
)


_SCALES = {
    "k": "thousand", "m": "million", "M": "million", "mn": "million", "B": "billion", "bn": "billion", "tn": "trillion",
    "trn": "trillion",
}  # fmt: skip


def _thousands(match: Match, locale: Locale) -> str | None:
    """10k, 1.5M, 7bn, 10m people"""
    number, letter = amount(match[1]), match[2].strip()
    if letter.isupper() and not number.fraction and is_lettered(match):
        return f"{code(number.whole)} {letter}"
    if letter == "m" and word_behind(match) not in COUNTED:
        return None
    if match[0] == "3M" and (_MADE_BY.search(before(match)) or _OF_A_COMPANY.match(behind(match))):
        return "three M"  # the company
    if letter == "K" or (letter in "MB" and not number.fraction and not re.match(r" [a-z]", behind(match))):
        return f"{number.spoken(locale) if number.fraction else code(number.whole)} {letter}"
    return f"{number.spoken(locale)} {_SCALES[letter]}"


def _number(match: Match, locale: Locale) -> str:
    number = amount(match["number"])
    sign = {"-": "minus ", "−": "minus ", "+": "plus ", "±": "plus or minus "}.get(match["sign"] or "", "")
    return sign + number.spoken(locale)


def _list(match: Match, locale: Locale) -> str:
    return ", ".join(cardinal(int(each)) for each in match[0].split(","))


def _name_with_digits(match: Match, locale: Locale) -> str | None:
    """A4, COVID-19, H2O, B2B, MP3; several of one name: MP3s, F-16s, U21s"""
    if match[0].islower() and "-" in match[0]:
        return None
    several = re.search(r"\ds\Z", match[0]) is not None and not match[0][0].isdigit()
    name = match[0].removesuffix("s") if several else match[0]
    words = [code(part) if part.isdigit() else part for part in re.findall(r"\d+|[^\W\d_]+", name)]
    if several:
        words = [_AGES.get(words[0], words[0]), *words[1:-1], plural(words[-1])]
    return " ".join(words)


# Teams and people up to or from an age.
_AGES = {"U": "under", "O": "over"}

RULES: list[Rule] = [
    # V6 and V8, which are engines
    rule(r"\bV(4|6|8|10|12)(?![\w.])", lambda match, locale: f"V {cardinal(int(match[1]))}"),
    rule(r"\b[vV](?:er(?:sion|\.)? ?|\. ?)?(\d{1,4}(?:\.\d{1,4}){0,4})(?![\w])", _version),
    rule(r"(?<![\w.,])(\d{1,5}(?:\.\d{1,5}){2,6})(?!\w|\.\d)", _dotted),
    rule(rf"{NOT_INSIDE}(?<!:)({AMOUNT}) ?: ?(\d{{1,3}})(?![\w:])(?! ?: ?\d)", _score),
    rule(r"(?<![\w.,/-])1/2[ -](?=(?:price|hour|term|time|day|marathon|board|pint|dozen|mile)s?\b)", "half "),
    rule(rf"{NOT_INSIDE}({AMOUNT})[ -](\d{{1,2}})/(\d{{1,3}})(?![\w/])", _mixed),
    rule(r"(?<![\w.,/])(\d{1,2}\.\d{1,2})/(5|10)(?![\w/])(?!\.\d)", _rating),
    rule(r"(?:(?<=\b[Aa] )|(?<=\b[Tt]he )|(?<=Boeing ))7[0-8]7(?:-(\d00))?(?![\w.,-]\w)(?!\w)", _airliner),
    rule(
        r"(?<![\w.,])\.(\d{2,3})(?=[ -](?:cal(?:ib(?:er|re)|\.)?|rifle|pistol|revolver|handgun|gun|special|magnum"
        r"|bullet|round|Special|Magnum|ACP)s?\b)",
        _calibre,
    ),
    rule(r"(?<![\w.,/])(\d{1,4}) ?/ ?(\d{1,4})(?:rds?|ths?)?(?![\w/])(?!\.\d)", _fraction),
    rule(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+|\d{1,40})(?:st|nd|rd|th|ST|ND|RD|TH)\b", _ordinal),
    rule(rf"{NOT_INSIDE}({AMOUNT}){EXPONENT}(?: (?P<unit>{either(_UNITS_BEHIND)})(?![\w/]))?", _scientific),
    rule(
        rf"(?:{NOT_INSIDE}(?P<number>{AMOUNT})(?P<unknown>[a-z]{{1,3}})?|(?P<name>(?<![A-Za-z\d_^])[A-Za-z]{{1,3}}|\)))\^"
        r"(?P<exponent>[-−+]?\d{1,9}|[A-Za-z]\b|\{[-−+\w]{1,9}\}|\([-−+\w]{1,9}\))"
        rf"(?: (?P<unit>{either(_UNITS_BEHIND)})(?![\w/]))?",
        _power,
    ),
    rule(rf"{NOT_INSIDE}({AMOUNT})([kKMBm]| ?(?:mn|bn|tn|trn))(?![\w'-])", _thousands),
    rule(rf"{NOT_INSIDE}(?P<low>{AMOUNT})(?P<dash>{_DASH})(?P<high>{AMOUNT})(?![\w])(?!-\d)(?!\.\d)", _range),
    rule(r"(?:(?<=\b[A-Z]{2} )|(?<=\b[A-Z]{3} ))[1-9]\d{3}(?![\w/%-]|[.,]\d)", _model),
    rule(r"(?<![\w.,])\d{1,2}(?:,\d{1,2}){1,20}(?![\w,]|\.\d)", _list),
    # A number of a name, whatever stands around it.
    rule(
        r"(?<![\w])(?=[\w-]{0,30}\d)(?:[A-Za-z]{1,20}-?\d{1,6}|\d{1,6}-?(?![a-z]{2,4}\b)[A-Za-z]{1,20})(?:-?[A-Za-z]{1,20}|-?\d{1,6}){0,8}(?![\w])",
        _name_with_digits,
    ),
    rule(rf"(?:(?<![\w)])(?P<sign>[-−+±](?=[\d.])))?(?P<number>{AMOUNT})", _number),
]
