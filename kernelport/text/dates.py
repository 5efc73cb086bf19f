"""Dates of both conventions, years, decades and eras."""

import re

from kernelport.text.numbers import Locale, cardinal, ordinal, plural, two_digits, year
from kernelport.text.rules import Match, Rule, before, either, names, rule, stopped, word_before, word_behind

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_MONTH_NAMES = {name[:3]: name for name in _MONTHS} | {name: name for name in _MONTHS} | {"Sept": "September"}
_MONTH_NAMES |= {name.upper(): full for name, full in _MONTH_NAMES.items()}
_DAYS = {
    "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Weds": "Wednesday", "Thu": "Thursday",
    "Thur": "Thursday", "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
_MONTH = rf"(?:{either(_MONTH_NAMES)})"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_DASH = r" ?[-–—] ?"
_SUFFIX = r"(?:st|nd|rd|th)"
_WEEKDAY = either(_DAYS)
_DATE_THERE = re.compile(rf"(?:\b{_MONTH}\.?|{_MONTH}\.? {_DAY}{_SUFFIX}?)(?:,? \d{{4}})?\Z")
_WEEKDAY_BEFORE = re.compile(rf"\b(?:{_WEEKDAY}|{either(_DAYS.values())})\.?,? \Z")

# Before a number of four digits these say that it is a year.
_YEAR_BEFORE = frozenset(names(
    "in since by from until till to of year years the circa c ca around during before after between and early"
    " late mid spring summer autumn fall winter class ad ce mr copyright through fy is was edition season"
))  # fmt: skip
_PLURAL_NOUN = re.compile(r"[a-z]{2,}(?:s|people|men|women|children)\Z")
_SINGULAR_S = frozenset(
    names("was is has does this his its as us yes thus plus less across always perhaps besides towards news")
)
_PEOPLE = frozenset(("people", "men", "women", "children", "feet", "sheep", "fish", "more", "or"))


def _date(day: int, month: int, year_words: str, locale: Locale) -> str:
    if locale == "en-GB":
        return f"the {ordinal(day)} of {_MONTHS[month - 1]}{f', {year_words}' if year_words else ''}"
    return f"{_MONTHS[month - 1]} {ordinal(day)}{f', {year_words}' if year_words else ''}"


def _written_year(text: str, locale: Locale) -> str:
    return year(int(text), locale) if len(text) == 4 else two_digits(int(text))


def _iso(match: Match, locale: Locale) -> str | None:
    if not 1 <= int(match[2]) <= 12 or not 1 <= int(match[3]) <= 31:
        return None
    return _date(int(match[3]), int(match[2]), year(int(match[1]), locale), locale)


def _numeric(match: Match, locale: Locale) -> str | None:
    first, second = int(match[1]), int(match[3])
    day, month = (first, second) if locale == "en-GB" or match[2] == "." else (second, first)
    if month > 12:
        day, month = month, day
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        return None
    digits = match[4]
    full = digits if len(digits) == 4 else ("19" if int(digits) > 69 else "20") + digits
    return _date(day, month, year(int(full), locale), locale)


# As the lower part of a fraction nobody has them, nor as the upper part of one that is less than one.
_DAYS_OF_NO_FRACTION = frozenset((13, 14, 15, 17, 18, 19, 21, 22, 23, 26, 27, 28, 29, 30, 31))
_DATE_BEFORE = frozenset(names("on by until till since from before after dated due and between"))

# Behind these words there is a part, unless other days are named before it: 1/2 and 3/4.
_OF_A_FRACTION = re.compile(
    r"(?<!on \d/\d )(?<!from \d/\d )(?<!between \d/\d )(?<!by \d/\d )(?<!for \d/\d )(?:\band"
    r"|\b(?:cuts?|reduc(?:es?|ed)|increased?|fell|rose|grew|dropped|shrank|multipl(?:y|ied)|divided?|up|down)"
    r"\b[^.!?;]{0,30} by) \Z"
)


_SPAN_BEFORE = re.compile(r"\b(?:[Ff]rom|[Bb]etween) \d{1,2}/\d{1,2} (?:to|until|and) \Z")


def _day_and_month(match: Match, locale: Locale) -> str | None:
    """`12/25` without a year is a date where something says so; else it is a fraction."""
    first, second = int(match[1]), int(match[2])
    asked_for = word_before(match).lower() in _DATE_BEFORE and match[0] != "9/11"
    if 0 < first < second and second in (2, 3, 4, 8) and _OF_A_FRACTION.search(before(match)):
        return None
    asked_for = asked_for or _SPAN_BEFORE.search(before(match)) is not None
    asked_for = asked_for or _WEEKDAY_BEFORE.search(before(match)) is not None
    day_by_itself = first if locale == "en-GB" else second
    if not asked_for and (day_by_itself not in _DAYS_OF_NO_FRACTION or min(first, second) > 12):
        return None
    day, month = (first, second) if locale == "en-GB" else (second, first)
    if month > 12:
        day, month = month, day
    return _date(day, month, "", locale) if 1 <= month <= 12 and 1 <= day <= 31 else None


def _month_day(match: Match, locale: Locale) -> str | None:
    month = _MONTH_NAMES[match["month"]]
    if match["month"] == "May" and word_before(match).lower() in ("you", "we", "they", "he", "she", "it"):
        return None
    days = [ordinal(int(each)) for each in (match["day"], match["last"]) if each]
    joint = " and " if match["joint"] and match["joint"].strip() in ("and", "&") else " to "
    words = joint.join(days)
    words = f"the {words} of {month}" if locale == "en-GB" else f"{month} {words}"
    return words + (f", {year(int(match['year']), locale)}" if match["year"] else "")


def _day_month(match: Match, locale: Locale) -> str:
    month = _MONTH_NAMES[match["month"]]
    days = [ordinal(int(each)) for each in (match["day"], match["last"]) if each]
    joint = " and " if match["joint"] and match["joint"].strip() in ("and", "&") else " to "
    year_words = f", {year(int(match['year']), locale)}" if match["year"] else ""
    if match["the"] or match["of"] or locale == "en-GB":
        return f"{match['the'] or 'the '}{joint.join(days)} of {month}{year_words}"
    return f"{month} {joint.join(days)}{year_words}"


def _month_year(match: Match, locale: Locale) -> str:
    return f"{_MONTH_NAMES[match[1]]} {year(int(match[2]), locale)}"


def _month_alone(match: Match, locale: Locale) -> str | None:
    return stopped(_MONTH_NAMES[match[1]], match)


def _weekday(match: Match, locale: Locale) -> str:
    return _DAYS[match[1]]


def _weekdays(match: Match, locale: Locale) -> str:
    """Mon–Fri, Sat. & Sun., Mon/Wed/Fri"""
    words = re.sub(rf"\b(?:{_WEEKDAY})\b\.?", lambda each: _DAYS[each[0].rstrip(".")], match[0])
    words = re.sub(r" ?[-–—] ?", " to ", words)
    return stopped(re.sub(r" ?/ ?", ", ", words).replace("&", "and"), match)


def _until(match: Match, locale: Locale) -> str | None:
    """24 Dec–2 Jan, Dec 24 – Jan 2"""
    return " to " if _DATE_THERE.search(before(match)) else None


def _two_years(match: Match, locale: Locale) -> str | None:
    first, second = int(match[1]), int(match[2])
    return f"{year(first, locale)} to {two_digits(second)}" if (first + 1) % 100 == second else None


def _months(match: Match, locale: Locale) -> str:
    return f"{_MONTH_NAMES[match[1]]} to {_MONTH_NAMES[match[2]]}"


_DECADE_BEFORE = frozenset(names("the his her their my our your its mid early late in of from and to through since"))


def _decade(match: Match, locale: Locale) -> str | None:
    century, tens = match[1], match[2]
    # 30s without a word that says otherwise are seconds.
    if not century and match[0][0] != "'" and word_before(match).lower() not in _DECADE_BEFORE:
        return None
    prefix = f"{cardinal(int(century))} " if century else ""
    if tens == "00":
        return "two thousands" if century == "20" else f"{prefix}hundreds"
    if tens == "10":
        return f"{prefix}tens"
    return prefix + plural(cardinal(int(tens)))


def _short_year(match: Match, locale: Locale) -> str:
    return two_digits(int(match[1]))


def _years(match: Match, locale: Locale) -> str | None:
    first, last = match[1], match[2]
    if len(last) == 4:
        return f"{year(int(first), locale)} to {year(int(last), locale)}" if 1000 < int(last) < 2200 else None
    if int(last) <= int(first[2:]):
        return None
    return f"{year(int(first), locale)} to {two_digits(int(last))}"


def _era(match: Match, locale: Locale) -> str:
    first = f"{_era_year(match[1], locale)} to " if match[1] else ""
    words = f"{first}{_era_year(match[2], locale)} {' '.join(match[3].replace('.', ''))}"
    return stopped(words, match)


def _era_year(digits: str, locale: Locale) -> str:
    return year(int(digits), locale) if int(digits) > 1000 else cardinal(int(digits), locale)


def _year(match: Match, locale: Locale) -> str | None:
    number, following = int(match[0]), word_behind(match)
    counted = following in _PEOPLE or (
        _PLURAL_NOUN.match(following) and following not in _SINGULAR_S and not following.endswith("ss")
    )
    if counted and word_before(match).lower() not in _YEAR_BEFORE:
        return None
    if number == 2000 and counted:
        return None
    if 1010 <= number < 1100:  # far more often a quantity than a year
        return None if counted or word_before(match).lower() not in ("in", "since", "year", "around") else year(number)
    return year(number, locale) if 1100 <= number < 2100 else None


def _fiscal(match: Match, locale: Locale) -> str:
    words = _written_year(match[2], locale)
    return f"{' '.join(match[1])} {words}"


RULES: list[Rule] = [
    rule(r"(?<![\w./-])(\d{4})[-–/.](\d{2})[-–/.](\d{2})(?:T(?=\d\d:)|(?=[^\w./-]|[.]?(?!\S)))", _iso),
    rule(r"(?<![\w./-])(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})(?![\w/-])(?!\.\w)", _numeric),
    rule(r"(?<![\w./$-])(\d{1,2})/(\d{1,2})(?![\w/-])(?!\.\d)", _day_and_month),
    rule(
        rf"(?<![\w.-])(?P<the>the )?(?P<day>{_DAY}){_SUFFIX}?(?:(?P<joint>{_DASH}| and | & | to )"
        rf"(?P<last>{_DAY}){_SUFFIX}?)?(?P<of> of)?"
        rf"[ -](?P<month>{_MONTH})\b\.?(?:,?[ -](?P<year>\d{{4}})\b(?![:/]))?",
        _day_month,
    ),
    rule(
        rf"(?<![\w-])(?P<month>{_MONTH})\b\.? (?:the )?(?P<day>{_DAY}){_SUFFIX}?(?![\w:%/])(?![.,]\d)(?:"
        rf"(?P<joint>{_DASH}| and | & )(?P<last>{_DAY}){_SUFFIX}?(?![\w:%/]))?"
        rf"(?:,? (?P<year>\d{{4}})\b(?![:/]))?",
        _month_day,
    ),
    rule(rf"(?<![\w-])({_MONTH})\b\.?,? (\d{{4}})\b", _month_year),
    rule(r"(?<![\w-])(Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)\.(?!\w)", _month_alone),
    rule(
        rf"(?<![\w-])(?:{_WEEKDAY})\b\.?"
        rf"(?:(?: ?[-–—&/] ?|,? (?:and|or|to|through|thru) |, )(?:{_WEEKDAY})\b\.?){{1,6}}",
        _weekdays,
    ),
    rule(rf"{_DASH}(?={_DAY}{_SUFFIX}?[ -]{_MONTH}\b|{_MONTH}\.? {_DAY}(?!\d))", _until),
    rule(rf"(?<![\w-])({_MONTH})\.?{_DASH}({_MONTH})\b\.?(?! \d{{1,2}}\b)", _months),
    rule(
        rf"(?<![\w-])({_WEEKDAY})\b\.?(?=,? (?:{_MONTH}\b|\d{{1,2}}[ :/-]|\d{{1,2}}"
        rf"(?:st|nd|rd|th|am|pm)|at |\d{{4}}-))",
        _weekday,
    ),
    rule(rf"(?:\A|(?<=[,;:.] ))({_WEEKDAY})\.?(?=:)", _weekday),
    rule(
        rf"(?<![\w-])({_WEEKDAY})\.? (?=(?:morning|afternoon|evening|night)s?\b)",
        lambda match, locale: _DAYS[match[1]] + " ",
    ),
    rule(
        r"(?:(?<=\b[Cc]losed )|(?<=\b[Oo]pen )|(?<=\bon )|(?<=\bevery )|(?<=\bnext )|(?<=\blast )|(?<=\bthis ))Sun\.",
        lambda match, locale: stopped("Sunday", match),
    ),
    rule(
        r"(?:(?<=\btill )|(?<=\buntil )|(?<=\bin )|(?<=\bsince )|(?<=\bearly )|(?<=\blate )|(?<=\bmid-))"
        r"(Jan|Feb|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)(?![\w.'-])",
        lambda match, locale: _MONTH_NAMES[match[1]],
    ),
    # 2025/26, a season or a year of taxes
    rule(r"(?<![\w.,/-])((?:19|20)\d\d)/(\d\d)(?![\w/]|[.,]\d)", _two_years),
    rule(r"(?<![\w-])(Sat)\.(?!\w)", lambda match, locale: stopped(_DAYS[match[1]], match)),
    rule(r"(?<![\w-])(Mon|Tues?|Weds?|Thurs?|Thu|Fri)\.(?!\w)", lambda match, locale: stopped(_DAYS[match[1]], match)),
    rule(r"(?<![\w.,])(1[1-9]|20)(\d0)'?s\b", _decade),
    rule(r"(?<![\w.,])'?()([2-9]0)'?s\b", _decade),
    rule(r"(?<![\w'])'(\d\d)(?![\w'\"])", _short_year),
    rule(rf"(?<![\w.,/-])(1[1-9]\d\d|20\d\d){_DASH}(\d{{4}}|\d\d)(?![\w/-])(?![.,]\d)", _years),
    rule(r"(?<![\w.,])(?:(\d{1,4})[-–])?(\d{1,4}) ?(BCE|BC|CE|AD|B\.C\.E\.|B\.C\.|A\.D\.)(?!\w)", _era),
    rule(r"\b(FY|CY) ?'?(\d{4}|\d\d)\b", _fiscal),
    rule(r"(?<![\w.,/'-])(?<![$£€] )[12]\d{3}(?![\w/%])(?!['-]\w)(?![.,]\d)", _year),
]
