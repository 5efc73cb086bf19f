"""The rules applied: what is written so that it must be read, and not only pronounced, becomes words."""

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from kernelport.text import (
    abbreviations,
    addresses,
    chat,
    codes,
    counts,
    dates,
    inches,
    money,
    romans,
    scores,
    scripture,
    symbols,
    times,
    units,
)
from kernelport.text.aligned import Aligned
from kernelport.text.lexicon import NO_LEXICON, Lexicon
from kernelport.text.numbers import Locale

# Of matches that begin at one place the earlier rule's is tried first.
_RULES = [
    *addresses.RULES,
    *chat.RULES,
    *money.RULES,
    *scripture.RULES,
    *scores.RULES,
    *codes.SORT_CODES,
    *times.RULES,
    *dates.RULES[:2],
    *codes.RULES,
    *dates.RULES[2:],
    *inches.RULES,
    *units.RULES,
    *abbreviations.RULES,
    *romans.RULES,
    *counts.RULES,
    *symbols.RULES,
]
# What of them may match words alone: most text is made of sentences without a number or a sign, and is read many times
# as fast without the rest.
_RULES_OF_WORDS = [*chat.RULES, *dates.RULES, *abbreviations.RULES, *romans.RULES, *symbols.RULES]
_WORDS = re.compile(r"[A-Za-z ,;:!?'\"()—-]*[.]?")
_OPENING, _CLOSING = " (\"'—–-", " )\"'—–-,.;:!?"
_SPACES = re.compile(r"\s{2,}|[^\S ]")
_BEFORE_MARKS = re.compile(r" +(?=[,.;:!?)])")
_DOUBLED = re.compile(r"([,;:])[ ,;:]*(?=[,.;:!?])|(?<=\()[ ,]+|\.(?=,)")

# A long line is put into words in parts of so many characters.
_PART = 1000
# What a rule looks at around what it changes: more than any of them does, but for what is all one number or address.
_AROUND = 200
# Where a part may end: behind a sentence, or else between two words.
_BETWEEN_SENTENCES = re.compile(r"(?<=[a-z]{2}[.!?]) (?=[A-Z])")
_BETWEEN_WORDS = re.compile(r"(?<=[^\W_]) (?=[^\W_])")

Change = tuple[int, int, str]
"""What a rule makes of a text: `start`, `end` and the words for what stands there."""


def verbalised(text: Aligned, locale: Locale, lexicon: Lexicon = NO_LEXICON) -> Aligned:
    """A line in words, letters and punctuation. Time is linear in its length: every rule looks at it once.

    Args:
        lexicon: goes before every rule.
    """
    return _tidied(text.rewritten(_changes(text.text, locale, lexicon)))


def verbalised_parts(text: Aligned, locale: Locale, lexicon: Lexicon = NO_LEXICON) -> Iterator[Aligned]:
    """The same in parts of about a thousand characters, each put into words as it is asked for.

    Between two parts there is a space that no rule has anything to do with. So the words are those of the whole line.
    """
    start, size = 0, _PART
    while start + size + _AROUND < len(text.text):
        behind = max(0, start - _AROUND)
        window = text[behind : start + size + _AROUND]
        limit = start - behind + size
        changes = _changes(window.text, locale, lexicon, start - behind)
        found = list(takewhile(lambda change: change[0] <= limit, changes))  # noqa: B023 - it is used up here
        end = _part_end(window.text, start - behind, limit, found)
        if end is None:
            size *= 2
            continue
        within = [change for change in found if change[1] <= end]
        yield _tidied(_rewritten(window, start - behind, end, within))
        start, size = behind + end + 1, _PART
    behind = max(0, start - _AROUND)
    rest = text[behind:]
    changes = _changes(rest.text, locale, lexicon, start - behind)
    yield _tidied(_rewritten(rest, start - behind, len(rest.text), changes))


def _rewritten(text: Aligned, start: int, end: int, changes: Iterable[Change]) -> Aligned:
    """A stretch of a text, with changes that are all within it."""
    return text[start:end].rewritten((at - start, to - start, words) for at, to, words in changes)


def _part_end(text: str, start: int, limit: int, changes: Sequence[Change]) -> int | None:
    """The last place up to a limit where a part may end, if there is one: no change touches it."""
    touched = bytearray(len(text) + 1)
    for at, to, _ in changes:
        touched[max(0, at - 1) : to + 1] = b"\1" * (min(len(touched), to + 1) - max(0, at - 1))
    for pattern in (_BETWEEN_SENTENCES, _BETWEEN_WORDS):
        places = [match.start() for match in pattern.finditer(text, start + 1, limit)]
        free = [place for place in places if not touched[place]]
        if free:
            return free[-1]
    return None


def _tidied(spoken: Aligned) -> Aligned:
    """Words with one space between them, and without marks that stand for nothing any more."""
    return spoken.sub(_SPACES, " ").sub(_BEFORE_MARKS, "").sub(_DOUBLED, "").stripped()


def _changes(text: str, locale: Locale, lexicon: Lexicon, position: int = 0) -> Iterator[Change]:
    """What the rules make of a text from a position on, in order."""
    rules = _RULES_OF_WORDS if _WORDS.fullmatch(text) else _RULES
    if lexicon:
        rules = [lexicon.rule, *rules]
    upcoming = [
        (match.start(), order, match)
        for order, rule in enumerate(rules)
        if (match := rule.pattern.search(text, position))
    ]
    heapq.heapify(upcoming)
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
