"""Results of games, cricket and odds: numbers with a dash or a slash between them that are no range and no part."""

import re

from kernelport.text.numbers import Locale, cardinal
from kernelport.text.rules import Match, Rule, before, behind, rule, starts_sentence, word_before, word_behind

_PLAYED = re.compile(
    r"\b(?:w[io]ns?|winning|beat(?:s|en|ing)?|los[et]s?|losing|dr[ea]w[ns]?|drawing|le[ad]ds?|leading|trail(?:s|ed|ing)"
    r"|ahead|behind|defeat(?:s|ed)?|score(?:s|line|d)?|thrashed|hammered|finished|ended|half-time|full-time|aggregate|FT|HT"
    r"|final|result)\b[^.!?;]{0,40}\Z",
    re.IGNORECASE,
)
_PLAYED_BEHIND = re.compile(
    r" (?:(?:home|away|aggregate|cup|league|opening|comfortable) )?"
    r"(?:wins?|victory|victories|defeats?|loss(?:es)?|draws?"
    r"|lead|thrashing|scoreline|hammering|thriller|stalemate|aggregate|at (?:half-time|full-time|the break))\b"
)
_COUNTED = re.compile(r" (?:[a-z]+ )?[a-z]{2,}s\b")
_SIDE_BEFORE = re.compile(r"\b[A-Z][a-z]{2,} \Z")
_SIDE_BEHIND = re.compile(r" [A-Z][a-z]{2,}")


def _is_result(match: Match, first: int, second: int) -> bool:
    if _PLAYED_BEHIND.match(behind(match)):
        return True
    if _SIDE_BEFORE.search(before(match)) and _SIDE_BEHIND.match(behind(match)):
        return not starts_sentence(word_before(match)) and not starts_sentence(word_behind(match))
    return _PLAYED.search(before(match)) is not None and (first >= second or not _COUNTED.match(behind(match)))


def _result(match: Match, locale: Locale) -> str | None:
    """3-0, in British English; elsewhere it is "three to zero", as any other pair of numbers"""
    first, second = int(match[1]), int(match[2])
    if locale != "en-GB" or not _is_result(match, first, second):
        return None
    if first == second:
        return f"{_goals(first)} all" if first else "nil nil"
    return f"{_goals(first)} {_goals(second)}"


def _goals(number: int) -> str:
    return cardinal(number) if number else "nil"


_CRICKET = re.compile(
    r"\b(?:cricket|innings|wickets?|overs?|stumps|declared|batting|bowled|all out|run chase|chasing|in reply"
    r"|close(?: of play)?|lunch|tea|Test)\b"
)
_TEAM_BEFORE = re.compile(
    r"\b([A-Z][a-z]{3,}) (?:were|are|was|is|reached|slumped to|collapsed to|closed on|finished on) \Z"
)


def _innings(match: Match, locale: Locale) -> str | None:
    """England were 245-6: so many runs for so many wickets"""
    team = _TEAM_BEFORE.search(before(match))
    of_team = team is not None and not starts_sentence(team[1])
    if locale != "en-GB" or not (of_team or _CRICKET.search(before(match)) or _CRICKET.search(behind(match))):
        return None
    return f"{cardinal(int(match[1]), locale)} for {cardinal(int(match[2]))}"


_BETTING = re.compile(
    r"\b(?:odds|favourites?|favorites?|bets?|betting|backed|drift(?:s|ed)|shortened|bookmakers?|bookies?|outsiders?|each-way"
    r"|longshot|priced at|starting price|punters?)\b",
    re.IGNORECASE,
)


_OFFERED = re.compile(r"\b(?:at|an?) \Z", re.IGNORECASE)
_OFFERED_BEHIND = re.compile(r" (?:shots?|chances?|winners?|on)\b")


def _odds(match: Match, locale: Locale) -> str | None:
    """5/1 and 7/2, where somebody bets; so many to one wherever they are offered"""
    if not _BETTING.search(f"{before(match)} | {behind(match)}"):
        offered = _OFFERED.search(before(match)) or _OFFERED_BEHIND.match(behind(match))
        if match[2] != "1" or not offered:
            return None
    return f"{cardinal(int(match[1]), locale)} to {cardinal(int(match[2]), locale)}"


def _figures(match: Match, locale: Locale) -> str:
    """figures of 5-38, 3/41 from nine overs: so many wickets for so many runs"""
    return f"{cardinal(int(match[1]))} for {cardinal(int(match[2]), locale)}"


_TENNIS = re.compile(r"\b(?:serv(?:e[sd]?|ing)|sets?|break points?|match points?|game points?|deuce|tennis)\b")
_POINTS = {"0": "love", "15": "fifteen", "30": "thirty", "40": "forty"}


def _points(match: Match, locale: Locale) -> str | None:
    """30-40 in a game of tennis"""
    if not _TENNIS.search(f"{before(match)} | {behind(match)}"):
        return None
    return f"{_POINTS[match[1]]} {'all' if match[1] == match[2] else _POINTS[match[2]]}"


def _minutes(match: Match, locale: Locale) -> str:
    """Kane (23', 67' pen.): when a player scored"""
    words = re.sub(
        r"(\d{1,3})'(?: ?\+ ?(\d{1,2}))?",
        lambda each: f"{cardinal(int(each[1]))} {f'plus {cardinal(int(each[2]))} ' if each[2] else ''}minutes",
        match[0],
    )
    return re.sub(r"\bpen\b\.?", "penalty", words)


_MINUTE = r"\d{1,3}'(?: ?\+ ?\d{1,2})?(?: \(?(?:pen\.?|o\.?g\.?)\)?)?"
RULES: list[Rule] = [
    rule(r"(?<=figures of )(\d{1,2})[-–/](\d{1,3})(?![\w/-]|[.,]\d)", _figures),
    rule(
        r"(?<![\w.,/$£€-])(\d{1,2})[-–/](\d{1,3})(?= (?:from|off|in) (?:\d|1\d|[a-z]{3,8})(?:\.\d)? overs\b)", _figures
    ),
    rule(r"(?<![\w.,/$£€-])(0|15|30|40)[-–](0|15|30|40)(?![\w/%-]|[.,]\d)", _points),
    rule(rf"(?<=[a-z] \(){_MINUTE}(?:, {_MINUTE}){{0,5}}(?=\))", _minutes),
    rule(r"(?<![\w.,/$£€-])(\d{2,3})[-–/](\d)(?![\w/-]|[.,]\d)", _innings),
    rule(r"(?<![\w.,/$£€-])(\d{1,3})[-–](\d{1,3})(?![\w%/-]|[.,]\d)", _result),
    rule(r"(?<![\w.,/$£€-])(?!1/1)([1-9]\d{0,2})/(1|2|3|4|5|6|7|8|9|10|11|13|30)(?![\w/-]|[.,]\d)", _odds),
]
