"""Numbers that name somebody's telephone, account or card, and codes: digit by digit."""

import re

from kernelport.text.numbers import Locale, digits
from kernelport.text.rules import Match, Rule, before, behind, names, rule, word_before

_DIALLED = frozenset(names("call dial phone tel telephone fax ring text sms mobile cell number ext"))


def _grouped(match: Match, locale: Locale) -> str:
    """A telephone number: digits, with a pause between its groups."""
    plus = "plus " if match[0].startswith("+") else ""
    groups = [group for group in re.split(r"\D+", match[0]) if group]
    return plus + ", ".join(_hundreds(group) if group in ("800", "900") else digits(group) for group in groups)


def _hundreds(group: str) -> str:
    return f"{digits(group[0])} hundred"


def _emergency(match: Match, locale: Locale) -> str | None:
    return digits(match[0]) if word_before(match).lower() in _DIALLED else None


_CODED = (
    r"no|number|account|id|code|ref|reference|invoice|case|ticket|serial|tracking|confirmation|pin|tel|phone|call|dial"
    r"|text|fax|mobile|passcode|otp|password"
)
_CODE_BEFORE = re.compile(
    rf"(?:#|\b(?:{_CODED})(?:\.?:|\.)? "
    rf"|\b(?:code|pin|passcode|otp|password|id|(?:{_CODED}|order) (?:number|no\.?)) is:? )\Z",
    re.IGNORECASE,
)
_CODE_BEHIND = re.compile(r" is your (?:[\w-]+ ){0,4}(?:code|pin|passcode|password|otp)\b", re.IGNORECASE)
# A code of four digits must be called one: there are years, and quantities, of as many.
_SHORT_CODE_BEFORE = re.compile(
    r"\b(?:(?<!error )(?<!status )(?<!exit )(?<!return )"
    r"(?:code|pin|passcode|otp|cvv|cvc)(?: number)?(?: is)?:?|ext(?:ension|\.)?) \Z",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:19|20)\d\d")


def _is_code(match: Match) -> bool:
    return _CODE_BEFORE.search(before(match)) is not None or _CODE_BEHIND.match(behind(match)) is not None


def _long_code(match: Match, locale: Locale) -> str | None:
    """#482135, serial no. 1234567, 482135 is your code"""
    return digits(match[0]) if _is_code(match) and not match[0].endswith("000") else None


def _short_code(match: Match, locale: Locale) -> str | None:
    """PIN: 4821, extension 204"""
    if _YEAR.fullmatch(match[0]) and before(match).lower().endswith("code "):
        return None  # Summer of Code 2010
    is_code = _SHORT_CODE_BEFORE.search(before(match)) or (len(match[0]) > 3 and _CODE_BEHIND.match(behind(match)))
    return digits(match[0]) if is_code else None


def _parted_code(match: Match, locale: Locale) -> str | None:
    """Your code is 739-204."""
    return _grouped(match, locale) if _is_code(match) else None


SORT_CODES: list[Rule] = [
    # Before dates: 20-10-67
    rule(r"(?<=[Ss]ort code )\d\d-\d\d-\d\d\b|(?<=[Ss]ort code: )\d\d-\d\d-\d\d\b", _grouped),
]

RULES: list[Rule] = [
    rule(r"(?<=ending in )\d{4}(?![\w,.-]\w)(?!\w)", lambda match, locale: digits(match[0])),
    # +1 (555) 123-4567, +44 20 7946 0958
    rule(
        r"(?<![\w+])\+(?=(?:[ .()-]{0,2}\d){7})\d{1,3}(?:[ .-]?(?:\(\d{1,5}\)|\d{1,5})){2,6}(?!\w)(?![.,-]\d)", _grouped
    ),
    rule(r"(?<![\w.,-])(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])(?![.,]\d)", _grouped),
    rule(r"(?<![\w.,-])\d{3}-\d{4}(?![\w-])", _grouped),
    rule(r"(?<![\w.,-])(?:\(0\d{2,5}\)|0\d{2,5})(?:[ -]\d{2,8}){1,4}(?![\w-])", _grouped),
    # Cards, and numbers of people and accounts.
    rule(r"(?<![\w.,-])\d{4}(?:[ -]\d{4}){2,4}(?![\w-])", _grouped),
    rule(r"(?<![\w.,-])\d{3}-\d{2}-\d{4}(?![\w-])", _grouped),
    # Also sort codes, and how a team lines up.
    rule(r"(?<![\w.,-])(?:\d{1,7}-){2,6}\d{1,7}(?![\w-])", _grouped),
    rule(r"(?<![\w.,-])\d{3}(?![\w,.-]\w)(?!\w)", _emergency),
    rule(r"(?<![\w.,/-])\d{3}[ -]\d{3}(?![\w/-]|[.,]\d)", _parted_code),
    rule(r"(?<![\w.,/-])\d{5,20}(?![\w/-]|[.,]\d)", _long_code),
    rule(r"(?<![\w.,/-])\d{3,4}(?![\w/-]|[.,]\d)", _short_code),
]
