"""What a rule is, and what rules ask of the words around what they match."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kernelport.text.numbers import Locale

Match = re.Match[str]

_CONTEXT = 60
"""Characters around a match that may decide its reading; the bound keeps time linear."""


def names(text: str) -> tuple[str, ...]:
    """The words of a text: a list of many of them that stays readable."""
    return tuple(text.split())


# Words that begin a sentence far more often than they are part of a name.
_STARTERS = frozenset(
    names(
        "a after all also although an and another are as at because before both but by can did do each even every few"
        " for from had has have he her here his how however i if in is it its last later many maybe meanwhile more"
        " most my never no nobody not nothing now of on once one only our perhaps please she since so some someone"
        " soon such that the their them then there these they this those though three two under until was we were what"
        " when where which while who whose why will with would yes yet you your everyone everybody today tomorrow"
        " yesterday"
    )
)
_WORD_BEHIND = re.compile(r"[\"')\]]*\s+[\"'(\[]*([^\W\d_][\w'-]*)")
_WORD_BEFORE = re.compile(r"([\w'-]+)[\"'.]?[ ]?\Z")
_END = re.compile(r"[\"')\]]*\s*\Z")
_ARTICLE = re.compile(r"(?<!\w)(?:an?|the|this|that|another|each|his|her|its|our|their|my|your) \Z", re.IGNORECASE)
_NOUN_BEHIND = re.compile(r"[ -][A-Za-z]{2,}")
# Before one of these an amount belongs to it without an article, too.
_MEASURED = frozenset(
    names(
        "bulb bulbs lamp lamps charger chargers battery batteries adapter outlet socket motor engine screen monitor"
        " display drive drives disk stick sticks bottle bottles bag bags pool cable cables rope zone limit"
        " radius note notes bill bills stamp voucher discount fine"
        " spoonful spoonfuls dose doses tablet tablets capsule capsules syringe"
        " sprint race dash hurdles freestyle backstroke butterfly"
    )
)
# Of these there are so many, and no metres of them.
COUNTED = frozenset(
    names(
        "people men women children members seats passengers pages votes students points users customers subscribers"
        " views viewers downloads followers fans jobs voters visitors tourists homes households copies workers players"
    )
)
# What is called by a number and a letter: Exit 12B, Seat 10J.
_LETTERED = frozenset(
    names(
        "exit exits room rooms gate gates flat flats apt apartment apartments unit units seat seats suite door bus"
        " route platform bay block building row lot class grade year level pier terminal box locker table zone number"
        " no figure appendix chapter section rule article paragraph clause schedule ward floor stand stop berth track"
        " question exercise item annex part form type group lane house carriage coach cabin hall line model plot studio"
    )
)
_NO_NOUN = frozenset(
    names(
        "a an the and or but nor if as at by for from in into of off on onto out over than that to under until up"
        " upon via was were is are be been will would can could may might must should has have had while when where"
        " which who per each every this these those it its he she they we you more less worth later ago away apart"
        " long wide tall high deep old thick heavy above below below after before because so then there here only just"
        " too also not between with without within plus minus times instead again now total"
    )
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of writing.

    Attributes:
        pattern: what is written so. It takes linear time over any text and never matches nothing.
        say: the words for a match, or None where it is something else after all.
    """

    pattern: re.Pattern[str]
    say: Callable[[Match, Locale], str | None]


def rule(pattern: str, say: Callable[[Match, Locale], str | None] | str, flags: int = 0) -> Rule:
    """A rule; a text in place of a function is what is always said."""
    if isinstance(say, str):
        words = say
        return Rule(re.compile(pattern, flags), lambda match, locale: words)
    return Rule(re.compile(pattern, flags), say)


def either(names: Iterable[str]) -> str:
    """A pattern of any of these names, the longest first."""
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True)))


def before(match: Match) -> str:
    """What stands before a match, as far as it matters."""
    return match.string[max(0, match.start() - _CONTEXT) : match.start()]


def behind(match: Match) -> str:
    """What stands behind a match, as far as it matters."""
    return match.string[match.end() : match.end() + _CONTEXT]


def word_before(match: Match) -> str:
    """The word before a match, or none."""
    found = _WORD_BEFORE.search(before(match))
    return found[1] if found else ""


def word_behind(match: Match) -> str:
    """The word behind a match and a space, or none."""
    found = _WORD_BEHIND.match(behind(match))
    return found[1] if found else ""


def is_lettered(match: Match) -> bool:
    """Whether a number with a letter behind it stands where a place is named so, and the letter is no unit."""
    earlier = re.sub(r"\.", "", word_before(match)).lower()
    return earlier in _LETTERED


def ends_sentence(match: Match) -> bool:
    """Whether a match that ends in a full stop is the last of its sentence."""
    if _END.match(match.string[match.end() : match.end() + _CONTEXT]) and match.end() + _CONTEXT > len(match.string):
        return True
    following = word_behind(match)
    return following[:1].isupper() and following.lower() in _STARTERS and following != "I"


def starts_sentence(word: str) -> bool:
    """Whether a word with a capital is one of those that begin sentences, and so says nothing of names."""
    return word.lower() in _STARTERS


def stopped(words: str, match: Match) -> str:
    """The words for something that was written with a full stop, which stays where it ends the sentence."""
    return f"{words}." if match[0].endswith(".") and ends_sentence(match) else words


def is_modifier(match: Match) -> bool:
    """Whether an amount stands before a noun that it belongs to, as in `a $5 bill` and `a 5 km run`."""
    noun = _NOUN_BEHIND.match(behind(match))
    if noun is not None and noun[0][1:] in _MEASURED:
        return True
    if not _ARTICLE.search(before(match)):
        return False
    return noun is not None and noun[0][1:] not in _NO_NOUN and not noun[0].endswith("ed")
