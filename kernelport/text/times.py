"""Times of day, durations and zones."""

import re

from kernelport.text.numbers import Locale, cardinal, code, two_digits
from kernelport.text.rules import Match, Rule, before, behind, ends_sentence, names, rule, word_before, word_behind

_HALF = r"(?: ?(?P<half>[AaPp])(?:\.? ?[Mm]\b(?P<dot>\.)?))"
_DASH = r" ?[-–—] ?"
_SCORED = frozenset(
    names(
        "won win wins lost lose beat led lead drew draw score scored ratio odds of aspect"
        " ended finished by defeated mix mixed dilute scale"
    )
)


def _clock(hour: int, minute: int | None, exact: bool) -> str:
    """The words for a time; `exact` ones have no "o'clock", as before "PM"."""
    if not minute:
        if exact:
            return cardinal(hour)
        return (
            "zero hundred" if not hour else f"{cardinal(hour)} o'clock" if hour <= 12 else f"{cardinal(hour)} hundred"
        )
    return f"{cardinal(hour)} {two_digits(minute)}"


def _half(letter: str) -> str:
    return f"{letter.upper()}M"


# What may belong to a time and begins with a capital.
_OF_TIMES = frozenset(
    names(
        "Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August"
        " September October November December Mon Tue Tues Wed Thu Thur Thurs Fri Sat Sun Jan Feb Mar Apr Jun Jul Aug"
        " Sep Sept Oct Nov Dec Eastern Central Mountain Pacific Greenwich Zulu Christmas New"
        " Easter Thanksgiving Halloween I"
    )
)
_NAMED = re.compile(r"(?<!\w)(?:an?|the|this|that|his|her|its|our|their|my|your|every|each) \Z", re.IGNORECASE)
_LOCAL_TIME = re.compile(r" [A-Z][\w ]{1,30} (?:time|Time)\b")


def _ends(match: Match) -> bool:
    """Whether the stop of `p.m.` ends a sentence, too: a word with a capital is not of the time, as a day or a zone."""
    if ends_sentence(match):
        return True
    following = word_behind(match)
    if (
        not (following[:1].isupper() and following[1:2].islower())
        or following in _OF_TIMES
        or _LOCAL_TIME.match(behind(match))
    ):
        return False
    return not _NAMED.search(before(match))


def _with_half(match: Match, locale: Locale) -> str | None:
    """10:30 a.m., 5pm, 9-11 am, 9:30am-5pm"""
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    if not 0 <= hour <= 24 or minute > 59:
        return None
    words = f"{_clock(hour, minute, True)} {_half(match['half'])}"
    if match["first"]:
        first = _clock(int(match["first"]), int(match["firstminute"] or 0), True)
        half = f" {_half(match['firsthalf'])}" if match["firsthalf"] else ""
        words = f"{first}{half} to {words}"
    return f"{words}." if match["dot"] and _ends(match) else words


def _span(match: Match, locale: Locale) -> str | None:
    """9:30-11:00"""
    first, last = (int(match[1]), int(match[2])), (int(match[3]), int(match[4]))
    if first[0] > 24 or last[0] > 24:
        return None
    exact = bool(first[1] or last[1])
    return f"{_clock(*first, exact)} to {_clock(*last, exact)}"


def _time(match: Match, locale: Locale) -> str | None:
    hour, minute, second = int(match[1]), int(match[2]), match[3]
    if hour > 24 or word_before(match).lower() in _SCORED:
        return None
    followed = re.match(r" (?:hours?|sharp|GMT|UTC|[ECMP][SD]T)\b", behind(match))
    words = _clock(hour, minute, bool(second) or (followed is not None and hour <= 12))
    if hour == 0 and minute:
        words = f"zero {two_digits(minute)}"
    if second:
        seconds = int(second)
        words += f" and {cardinal(seconds)} {'second' if seconds == 1 else 'seconds'}"
    return words


def _verses(match: Match, locale: Locale) -> str:
    """John 3:16-18, 9:30-11"""
    first, last = two_digits(int(match[2])) if match[2][0] == "0" else cardinal(int(match[2])), cardinal(int(match[3]))
    return f"{cardinal(int(match[1]))} {first} to {last}"


def _military(match: Match, locale: Locale) -> str:
    """0600 hours"""
    return f"{_four_digits(match)} hours"


def _four_digits(match: Match) -> str:
    return f"{code(match[1])} {code(match[2]) if match[2] != '00' else 'hundred'}"


# Before a number of four digits these say that it is a time.
_TIME_BEFORE = frozenset(names("at by from until till before after around about between and to through"))


def _timetable(match: Match, locale: Locale) -> str | None:
    """at 0815; with no zero before it, it may be a year or a quantity"""
    earlier = word_before(match).lower()
    if match[1][0] == "0":
        return _four_digits(match) if earlier in _TIME_BEFORE or before(match)[-1:] in ("-", "–") else None
    ends = re.match(r"[,;!?)]|\.?\s*\Z|\. [A-Z]| (?:on|from|and|for|sharp|today|tomorrow)\b", behind(match))
    return _four_digits(match) if earlier == "at" and ends else None


def _oclock(match: Match, locale: Locale) -> str:
    return f"{cardinal(int(match[1]))} o'clock"


def _shift(match: Match, locale: Locale) -> str | None:
    """UTC+2, GMT-5"""
    minutes = f" {two_digits(int(match[4]))}" if match[4] and int(match[4]) else ""
    sign = "plus" if match[2] == "+" else "minus"
    return f"{match[1]} {sign} {cardinal(int(match[3]))}{minutes}"


def _pointed(match: Match, locale: Locale) -> str | None:
    """14.30, in British English"""
    return _clock(int(match[1]), int(match[2]), True) if locale == "en-GB" else None


_OPEN = re.compile(
    r"\b(?:open(?:s|ing)?|hours|daily|weekdays?|weekends?|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?"
    r"|Mon|Tues?|Wed|Thu|Thurs|Fri|Sat|Sun|times?|lunch|dinner|served)\b[^.!?]{0,40}\Z"
)


def _pointed_span(match: Match, locale: Locale) -> str | None:
    """10.00–16.00, in British English"""
    return _span(match, locale) if locale == "en-GB" and _OPEN.search(before(match)) else None


_TAKEN = frozenset(names("in of under over at time"))


def _duration(match: Match, locale: Locale) -> str | None:
    """ran it in 27:45: no time of a day has so many hours"""
    if word_before(match).lower() not in _TAKEN:
        return None
    return f"{cardinal(int(match[1]))} {two_digits(int(match[2]))}"


def _french(match: Match, locale: Locale) -> str | None:
    return _clock(int(match[1]), int(match[2]), True) if int(match[1]) < 25 else None


RULES: list[Rule] = [
    # 8 a.m.-noon, noon-3pm
    rule(r"(?<=[\dmM.]) ?[-–—] ?(?=(?:noon|midnight|dusk|dawn|late|close|closing)\b)", " to "),
    rule(r"\b([Nn]oon|[Mm]idnight|[Dd]awn|[Dd]usk) ?[-–—] ?(?=\d)", lambda match, locale: f"{match[1]} to "),
    rule(r"(?<![\w.,:])(2[5-9]|[3-5]\d):([0-5]\d)(?![\w:])", _duration),
    rule(rf"(?<![\w.,:$£€])(\d{{1,2}})\.([0-5]\d){_DASH}(\d{{1,2}})\.([0-5]\d)(?![\w:]|\.\d)", _pointed_span),
    rule(
        r"(?:(?<=\bthe )|(?<=\bThe ))(\d|1\d|2[0-3])\.([0-5]\d)"
        r"(?= (?:at|from|to|train|bus|flight|ferry|race|service)\b)",
        _pointed,
    ),
    rule(
        rf"(?<![\w.,:$£€])(?:(?P<first>\d{{1,2}})(?:[:.](?P<firstminute>[0-5]\d))?(?: ?"
        rf"(?P<firsthalf>[AaPp])\.? ?[Mm]\b\.?)?(?:{_DASH}| to ))?"
        rf"(?P<hour>\d{{1,2}})(?:[:.](?P<minute>[0-5]\d))?{_HALF}",
        _with_half,
    ),
    rule(rf"(?<![\w.,:])(\d{{1,2}}):([0-5]\d){_DASH}(\d{{1,2}}):([0-5]\d)(?![\w:])", _span),
    rule(rf"(?<![\w.,:])(\d{{1,3}}):(\d{{1,3}}){_DASH}(\d{{1,3}})(?![\w:])", _verses),
    rule(r"(?:(?<![\w.,:])|(?<=\dT))(\d{1,2}):([0-5]\d)(?::([0-5]\d)(?:\.\d{1,9})?)?(?![:\d])(?:Z\b)?", _time),
    rule(
        r"(?<=\bat )(\d|1\d|2[0-3])\.([0-5]\d)(?=[,;!?)]|\.?\s*\Z|\. [A-Z]| (?:on|for|sharp|today|tomorrow)\b)",
        _pointed,
    ),
    rule(r"(?<![\w.,:])(\d{1,2}) ?o'clock\b", _oclock),
    rule(r"(?<![\w.,])(0\d)([0-5]\d) ?(?:hours|hrs)\b", _military),
    rule(r"(?<![\w.,:/$£€-])(0\d|2[0-3])([0-5]\d)(?![\w:/%]|[.,]\d)", _timetable),
    rule(r"\b(UTC|GMT)([+−-])(\d{1,2})(?::(\d\d))?(?!\d)", _shift),
    rule(r"(?<![\w.,:])(\d{1,2})h([0-5]\d)\b", _french),
]
