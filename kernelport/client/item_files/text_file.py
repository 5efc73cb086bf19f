"""Plain text, as people write it: a line, a paragraph or a sentence is an item."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple

from kernelport.client.item_files.lines import MAX_LINE_BYTES, Line
from kernelport.client.item_files.rows import Problem, Row

Split = Literal["line", "paragraph", "sentence"]
SPLITS: tuple[Split, ...] = ("line", "paragraph", "sentence")

# A file may have millions of lines, and the first of them show how it is written.
_LOOKED_AT = 100_000
_SCENE_BREAK = re.compile(r"(?:[*\-_~#=+•·—–.]\s*){3,}|(?:…\s*)+|[#⁂]")
_ENDS_SENTENCE = re.compile(r"[.!?…:;]['\"’”»)\]*_]*$")
_SENTENCE_END = re.compile(r"(?<=[.!?…])['\"’”»)\]]*\s+(?=['\"‘“«(\[]*[^\W_a-z])")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Capt|Col|Gen|Lt|Rev|Hon|No|Vol|vs|etc|[A-Z]))\.$")


class Passage(NamedTuple):
    """A piece of a text that is spoken at a time.

    Attributes:
        line: where it begins, from 1.
        number: which of the sentences that begin with this line it is, from 1; 0 when it is no sentence.
        text: in one line.
        behind: what lies between it and the one before.
    """

    line: int
    number: int
    text: str
    behind: Literal["sentence", "line", "paragraph", "scene"]

    @property
    def id(self) -> str:
        """The number of its line, and of its sentence."""
        return f"{self.line:06}-{self.number:03}" if self.number else f"{self.line:06}"


def passages(lines: Iterable[Line | Problem], split: Split, *, wrapped: bool) -> Iterator[Passage | Problem]:
    """The passages of a text, or what is wrong with one. Blank lines and scene breaks (`* * *`, `---`, `...`) are none.

    Args:
        split: what a passage is.
        wrapped: whether lines go on in the next one, as `is_wrapped` finds it: then sentences do, too.
    """
    behind: Literal["line", "paragraph", "scene"] = "paragraph"
    for block in _blocks(lines, joined=split == "paragraph" or (split == "sentence" and wrapped)):
        if block is None:
            behind = "paragraph" if behind == "line" else behind
        elif isinstance(block, Problem):
            yield block
        elif _SCENE_BREAK.fullmatch(block.text):
            behind = "scene"
        else:
            sentences = _sentences(block.text) if split == "sentence" else [block.text]
            for number, text in enumerate(sentences, 1):
                is_sentence = split == "sentence"
                yield Passage(block.number, number * is_sentence, text, behind if number == 1 else "sentence")
            behind = "line"


def is_wrapped(lines: Iterable[Line | Problem]) -> bool:
    """Whether a text's paragraphs go over several lines, as far as its first 100,000 show: there are blank lines, most
    blocks between them have several lines, and most of these, the last ones aside, end in mid-sentence."""
    blocks = several = inner = open_ended = size = 0
    before = ""
    for line in islice(lines, _LOOKED_AT):
        text = "" if isinstance(line, Problem) else line.text.strip()
        if text and not _SCENE_BREAK.fullmatch(text):
            if size:
                inner += 1
                open_ended += not _ENDS_SENTENCE.search(before)
            blocks += size == 0
            several += size == 1
            size += 1
        else:
            size = 0
        before = text
    return blocks > 1 and 2 * several > blocks and 2 * open_ended > inner


def read_passages(lines: Sequence[Line | Problem], split: Split | None) -> list[Passage | Problem]:
    """The passages of a text at hand, and what is wrong with some of them.

    Args:
        split: what a passage is; None for what the text looks like.
    """
    wrapped = is_wrapped(lines)
    found: list[Passage | Problem] = []
    for passage in passages(lines, split or chosen_split(wrapped), wrapped=wrapped):
        finding = unsayable(passage.text) if isinstance(passage, Passage) else None
        found.append(Problem(passage.line, "", finding) if finding else passage)
    return found


def chosen_split(wrapped: bool) -> Split:
    """What a passage is when nobody says so."""
    return "paragraph" if wrapped else "line"


def chosen(lines: Iterable[Line | Problem]) -> str:
    """What a text is read by when nobody says so, in words."""
    what = "paragraph, as lines end in mid-sentence" if is_wrapped(lines) else "line"
    return f"an item is a {what}, unless split says otherwise"


def unsayable(value: object) -> str | None:
    """What is wrong with a text in which no voice has anything to say: letters and digits of no script, and no symbol
    that has a name. None where that is not known, or it is blank or no text."""
    if not isinstance(value, str) or not value.strip() or any(map(str.isalnum, value)):
        return None
    from kernelport.text import nothing_to_say  # which takes a while to import

    return nothing_to_say(value)


def text_rows(found: Iterable[Passage | Problem]) -> Iterator[Row | Problem]:
    """A row for every passage, whose id is made of its line's number."""
    for passage in found:
        if isinstance(passage, Problem):
            yield passage
        else:
            yield Row(passage.line, passage.id if passage.number else None, {"text": passage.text}, parsed=False)


def _blocks(lines: Iterable[Line | Problem], *, joined: bool) -> Iterator[Line | Problem | None]:
    """Lines without the blanks around them, or lines that belong together as one; None where blank lines are."""
    parts: list[str] = []
    first = size = 0
    for line in lines:
        text = "" if isinstance(line, Problem) else line.text.strip()
        alone = not joined or not text or _SCENE_BREAK.fullmatch(text)
        size += len(text)
        if parts and (alone or size > MAX_LINE_BYTES):
            yield Line(first, " ".join(parts))
            parts, size = [], len(text)
        if isinstance(line, Problem):
            yield line
        elif not text:
            yield None
        elif alone:
            yield Line(line.number, text)
        else:
            first = first if parts else line.number
            parts.append(text)
    if parts:
        yield Line(first, " ".join(parts))


def _sentences(text: str) -> list[str]:
    """The sentences of a text: each ends in a mark behind which a capital, a digit or a quote follows."""
    found, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        if not _ABBREVIATION.search(text, start, match.start()):
            found.append(text[start : match.end()].strip())
            start = match.end()
    return [*found, text[start:].strip()] if text[start:].strip() else found
