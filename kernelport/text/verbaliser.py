"""The rules applied: what is written so that it must be read, and not only pronounced, becomes words."""

import heapq
import re
from collections.abc import Iterator

from kernelport.text import abbreviations, addresses, counts, dates, money, romans, symbols, times, units
from kernelport.text.aligned import Aligned
from kernelport.text.lexicon import NO_LEXICON, Lexicon
from kernelport.text.numbers import Locale

# Of matches that begin at one place the earlier rule's is tried first.
_RULES = [
    *addresses.RULES,
    *money.RULES,
    *times.RULES,
    *dates.RULES[:2],
    *counts.PHONES,
    *dates.RULES[2:],
    *units.RULES,
    *abbreviations.RULES,
    *romans.RULES,
    *counts.RULES,
    *symbols.RULES,
]
# What of them may match words alone: most text is made of sentences without a number or a sign, and is read many times
# as fast without the rest.
_RULES_OF_WORDS = [*dates.RULES, *abbreviations.RULES, *romans.RULES, *symbols.RULES]
_WORDS = re.compile(r"[A-Za-z ,;:!?'\"()—-]*[.]?")
_OPENING, _CLOSING = " (\"'—–-", " )\"'—–-,.;:!?"
_SPACES = re.compile(r"\s{2,}|[^\S ]")
_BEFORE_MARKS = re.compile(r" +(?=[,.;:!?)])")
_DOUBLED = re.compile(r"([,;:])[ ,;:]*(?=[,.;:!?])|(?<=\()[ ,]+|\.(?=,)")


def verbalised(text: Aligned, locale: Locale, lexicon: Lexicon = NO_LEXICON) -> Aligned:
    """A line in words, letters and punctuation. Time is linear in its length: every rule looks at it once.

    Args:
        lexicon: goes before every rule.
    """
    spoken = text.rewritten(_changes(text.text, locale, lexicon))
    return spoken.sub(_SPACES, " ").sub(_BEFORE_MARKS, "").sub(_DOUBLED, "").stripped()


def _changes(text: str, locale: Locale, lexicon: Lexicon) -> Iterator[tuple[int, int, str]]:
    """What the rules make of a text: `start`, `end` and the words for what stands there."""
    rules = _RULES_OF_WORDS if _WORDS.fullmatch(text) else _RULES
    if lexicon:
        rules = [lexicon.rule, *rules]
    upcoming = [
        (match.start(), order, match) for order, rule in enumerate(rules) if (match := rule.pattern.search(text))
    ]
    heapq.heapify(upcoming)
    position = 0
    while upcoming:
        start, order, match = upcoming[0]
        rule = rules[order]
        following = position
        if start >= position:
            words = rule.say(match, locale)
            if words is None:
                following = start + 1
            else:
                yield start, match.end(), _spaced(words, text, start, match.end())
                following = position = match.end()
        found = rule.pattern.search(text, following)
        if found:
            heapq.heapreplace(upcoming, (found.start(), order, found))
        else:
            heapq.heappop(upcoming)


def _spaced(words: str, text: str, start: int, end: int) -> str:
    """The words, apart from what they would run into."""
    if words and words[0].isalnum() and text[start - 1 : start] not in _OPENING:
        words = f" {words}"
    return f"{words} " if words and words[-1].isalnum() and text[end : end + 1] not in _CLOSING else words
