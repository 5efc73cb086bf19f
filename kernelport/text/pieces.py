"""Where a spoken text is cut: each piece is spoken by itself, and heard as soon as it is made.

The cuts follow from the text alone, so that whoever cuts it, and whenever, cuts at the same places.
"""

import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from kernelport.text.aligned import Aligned, joined
from kernelport.text.reading import Passage, Reading, passages_of, spoken_passages

CLAUSE_S, SENTENCE_S, PARAGRAPH_S, CUT_S = 0.12, 0.25, 0.45, 0.04
"""Seconds of silence behind a piece, by what it ends with; a forced cut is one between two words."""
KEPT_S = 0.02
"""Seconds that a piece keeps of the silence at each of its ends; a pause between two pieces counts what both keep."""

# Characters of the first piece, of the second, and of those that follow: from where a clause may end it, and at most.
_BOUNDS = ((40, 120), (80, 240), (80, 240))
# Two sentences are one piece below this.
_PAIR = 160
# More than what may move the end of a piece.
_AHEAD = 300
_CLOSING = "\"')\\]"
_SENTENCE_END = re.compile(rf"[.!?…][.!?…{_CLOSING}]*(?= +[\"'(\[]*[^\Wa-z_])")
_INITIAL = re.compile(r"(?:^|[\s.(\"'])[A-HJ-Z]\.$")
_CLAUSE_END = re.compile(rf"(?:[,;:][{_CLOSING}]*|[—–]| -)(?= )|[—–](?=\w)")
# Of text that comes bit by bit, in characters: no piece ends within the first unless one of these marks ends it; a last
# piece of more than the second is spoken though it may go on.
SHORT, LONGEST = 120, 1000
# Reading takes up to five milliseconds for every hundred characters, and front doors wait for it.
_MOST_READ = 400
_MAY_END = re.compile(r"[.!?…。！？\n<]")  # the last begins a tag, which may be a pause


@dataclass(frozen=True, slots=True)
class Piece:
    """What is spoken at a time.

    Attributes:
        text: without white space around it; empty for silence alone.
        pause_s: seconds of silence behind it.
        is_asked: whether a `<break>` asks for this pause.
        ends_paragraph: whether a paragraph ends with it.
    """

    text: Aligned
    pause_s: float
    is_asked: bool = False
    ends_paragraph: bool = False


def pieces(passages: Iterable[Passage]) -> Iterator[Piece]:
    """The pieces of a text, cut as they are asked for. What has neither letter nor digit is in none.

    The first piece ends with the first sentence within 120 characters, or else at the last clause mark from 40 on, or
    else at the last space; the second likewise within 240 and from 80 on. Each of the others is a sentence, or two that
    have less than 160 characters together; one of more than 240 is cut as the second piece is. No piece goes over the
    end of a paragraph, or over a pause that was asked for. Behind the last piece there is only such a pause.
    """
    last: Piece | None = None
    count = 0
    asked_s = 0.0
    rest: Aligned | None = None
    for passage in passages:
        text, position = _behind(rest, passage.text), 0
        while len(text.text) - position > (_AHEAD if passage.goes_on else 0):
            end, pause_s = _cut(text.text, position, *_BOUNDS[min(count, 2)], pairs=count >= 2)
            part = text[position:end].stripped()
            position = end
            if not any(map(str.isalnum, part.text)):
                continue
            if last is not None:
                yield last
            elif asked_s:
                yield Piece(part[:0], asked_s)
            last, asked_s = Piece(part, pause_s), 0.0
            count += 1
        rest = text[position:] if passage.goes_on else None
        if passage.goes_on:
            continue
        if passage.pause_s is not None:
            asked_s += passage.pause_s
        if last is not None:
            is_asked = passage.pause_s is not None or asked_s > 0
            ends_paragraph = last.ends_paragraph or passage.ends_paragraph
            silence_s = asked_s if is_asked else PARAGRAPH_S
            last = replace(last, pause_s=silence_s, is_asked=is_asked, ends_paragraph=ends_paragraph)
    if last is not None:
        yield replace(last, pause_s=asked_s)


def complete(text: str) -> tuple[int, float]:
    """How much can be spoken by now of a text that comes bit by bit, such as the words of a language model.

    A piece is complete once the next one has begun: before that, nobody knows whether "3." ends a sentence.

    Args:
        text: all that has come and is not spoken yet.

    Returns:
        The number of its characters, 0 when the first piece may go on yet; and the seconds of silence to put behind
        what they become when they are spoken by themselves: at that end a piece keeps some, and a `<break>` is spoken.
    """
    if len(text) <= SHORT and not _MAY_END.search(text):
        return 0, 0.0  # reading costs a millisecond for every hundred characters
    start = max(0, len(text) - LONGEST)
    before: Piece | None = None
    last: Piece | None = None
    for piece in pieces(spoken_passages(passages_of(text[start:], chinese=True), "en-US")):
        before, last = (last if last and last.text.text else None), piece  # by itself, silence cannot be spoken
    if before is None or last is None:
        return (len(text) if start else 0), 0.0
    return start + last.text.origins[0], 0.0 if before.is_asked else before.pause_s - 2 * KEPT_S


def nothing_to_say(text: str, chinese: bool = False) -> str | None:
    """What is wrong with a text in which there is nothing to say; None where there is something, or the text is longer
    than 400 characters.

    Args:
        chinese: whether the voice says Chinese characters.
    """
    if len(text) > _MOST_READ:
        return None
    reading = passages_of(text, chinese)
    return None if any(pieces(spoken_passages(reading, "en-US"))) else unsaid(reading)


def unsaid(reading: Reading) -> str:
    """What is wrong with a text, of whose reading no piece is left."""
    left_out = f"; {reading.warning}" if reading.warning else ""
    return f"expected text with something to say, such as a word or a number{left_out}"


def _behind(rest: Aligned | None, text: Aligned) -> Aligned:
    """A text behind what is left of the one that it goes on from."""
    if rest is None:
        return text
    space = Aligned(" ", array("q", [rest.origins[-1]] * 2))
    return joined([rest, space, text])


def _cut(text: str, start: int, least: int, most: int, *, pairs: bool) -> tuple[int, float]:
    """Where the piece that begins at `start` ends, and the pause behind it; that of a passage's end is not known."""
    while text[start : start + 1] == " ":
        start += 1
    limit = min(start + most, len(text))
    ends = _sentence_ends(text, start, limit)
    first = next(ends, None)
    if first is not None:
        second = next(ends, None) if pairs else None
        return (second if second is not None and second - start < _PAIR else first), SENTENCE_S
    clauses = [match.end() for match in _CLAUSE_END.finditer(text, start + least - 1, min(limit + 1, len(text)))]
    within = [end for end in clauses if start + least <= end <= limit]
    if within:
        return within[-1], CLAUSE_S
    space = text.rfind(" ", start, limit + 1)
    return (space if space > start else limit), CUT_S


def _sentence_ends(text: str, start: int, limit: int) -> Iterator[int]:
    """Where sentences end, up to a limit; the end of a text ends one."""
    for match in _SENTENCE_END.finditer(text, start, min(limit + 8, len(text))):
        if match.end() > limit:
            return
        if not _INITIAL.search(text, start, match.start() + 1):
            yield match.end()
    if limit == len(text):
        yield limit
