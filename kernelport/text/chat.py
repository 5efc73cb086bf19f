"""Chat language: letters and digits that stand for the words they sound like, and initials of phrases."""

import re

from kernelport.text.numbers import Locale
from kernelport.text.rules import Match, Rule, either, names, rule, word_before, word_behind

_WORDS = {
    "2nite": "tonight", "2night": "tonight", "2day": "today", "2moro": "tomorrow", "2morrow": "tomorrow",
    "2mrw": "tomorrow", "tmrw": "tomorrow", "2gether": "together", "4ever": "forever", "b4": "before", "gr8": "great",
    "l8": "late", "l8r": "later", "m8": "mate", "w8": "wait", "h8": "hate", "sk8": "skate", "str8": "straight",
    "any1": "anyone", "some1": "someone", "every1": "everyone", "idk": "I don't know", "imo": "in my opinion",
    "imho": "in my humble opinion", "tbh": "to be honest", "brb": "be right back", "ttyl": "talk to you later",
    "afaik": "as far as I know", "lmk": "let me know",
}  # fmt: skip
# In small letters alone: in capitals they are names of something.
_SMALL = {
    "gtg": "got to go", "g2g": "got to go", "ikr": "I know, right", "smh": "shaking my head",
    "ngl": "not gonna lie", "wdym": "what do you mean", "hbu": "how about you", "wyd": "what are you doing",
    "hmu": "hit me up", "omw": "on my way", "ofc": "of course", "idc": "I don't care", "tysm": "thank you so much",
    "ppl": "people", "abt": "about", "rly": "really", "sry": "sorry", "irl": "in real life", "jk": "just kidding",
    "omg": "oh my god",
}  # fmt: skip
_PERSONS = names("u you we they")
# What stands beside a `u` or an `r` that is a word, and not the name of something.
_BEFORE_YOU = frozenset(
    names(
        "r are c see if do did does can could will would should have when what where who why how as love luv miss need"
        " want tell told give gave thank thanks thx for 4 to 2 with w from about call text ask let and but so hope did"
        " were was know think then than like help between"
    )
)
_BEHIND_YOU = frozenset(
    names(
        "r are ok okay up there guys all know want can could will would should have had did do going coming gonna wanna"
        " gotta think need like love see get got said say tell mean free home ready sure too later 2 l8r around still"
        " in on at for tonight 2nite today tomorrow doing were go come"
    )
)
_BEHIND_YOU_ARE = frozenset(names("the a an so not welcome right wrong going gonna too very sure late here"))
_BEFORE_ARE = frozenset((*_PERSONS, *names("who what how where when why there here these those which things")))


def _word(match: Match, locale: Locale) -> str:
    return _WORDS[match[0].lower()]


def _you(match: Match, locale: Locale) -> str | None:
    is_word = word_before(match).lower() in _BEFORE_YOU or word_behind(match).lower() in _BEHIND_YOU
    return "you" if is_word else None


def _your(match: Match, locale: Locale) -> str:
    return "you're" if word_behind(match) in _BEHIND_YOU_ARE else "your"


def _are(match: Match, locale: Locale) -> str | None:
    is_word = word_before(match).lower() in _BEFORE_ARE or word_behind(match).lower() in _PERSONS
    return "are" if is_word else None


_ALONE, _ENDS = r"(?<![\w'.@/#=+*-])", r"(?![\w'/=+*-])(?!\.\w)(?! [=+*-])"
RULES: list[Rule] = [
    rule(rf"{_ALONE}(?:{either(_WORDS)}){_ENDS}", _word, re.IGNORECASE),
    rule(rf"{_ALONE}(?:{either(_SMALL)}){_ENDS}", lambda match, locale: _SMALL[match[0]]),
    # By itself; elsewhere it is a program.
    rule(r"(?:\A|(?<=[.!?,] )|(?<=oh ))nvm(?=[,.!?]|\s*\Z| (?:[Ii]|it|its|it's|the|that|u|you)\b)", "never mind"),
    rule(rf"{_ALONE}c(?= u\b)", "see"),
    rule(rf"{_ALONE}u{_ENDS}", _you),
    rule(rf"{_ALONE}ur{_ENDS}", _your),
    rule(rf"{_ALONE}r{_ENDS}", _are),
    rule(r"(?<=[a-z\d] )4(?= (?:me|u|you|us)\b)", "for"),
    rule(r"(?<=[a-z] )2(?= u\b)", "to"),
]
