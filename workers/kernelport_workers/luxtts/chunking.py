"""Cut long text into chunks for separate passes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from kernelport.text import NO_LEXICON, Aligned, Lexicon, Locale, Reading
from kernelport.text.aligned import joined
from kernelport.text.pieces import CLAUSE_S, CUT_S, PARAGRAPH_S, SENTENCE_S
from kernelport_workers.luxtts.tokenizer import Piece, Tokenizer

MAX_CHUNK_TOKENS = 100
"""Tokens of one pass; longer passes cost quadratically more and tend to pause mid-phrase."""

MIN_CHUNK_TOKENS = 20
"""No chunk is shorter, unless all that is said between two pauses that were asked for is. Every pass computes its
reference anew, so that a short one costs nearly as much; and the first, which is heard the sooner, has no more."""

_SENTENCES = re.compile(r"(?<!\b[A-Z])(?<=[.!?])[\"')]*\s+|(?<=[.!?])(?=[\u4e00-\u9fa5])")
_CLAUSES = re.compile(r"(?<=[,;:—–)])\s*")
_ENDS_SENTENCE = re.compile(r"[.!?][\"')]*\s*$")


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is spoken in one pass.

    Attributes:
        tokens: Of its words.
        pause: Seconds of silence that follow its audio.
        text: Its words, aligned with the caller's text.
        ends_paragraph: Whether a paragraph ends with it.
        lead: Seconds of silence before its audio: those that were asked for ahead of all words.
    """

    tokens: tuple[int, ...]
    pause: float
    text: Aligned
    ends_paragraph: bool = False
    lead: float = 0.0


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence, or what of one fits a chunk.

    Attributes:
        piece: Its words.
        tokens: Of these, at least one.
        pause: Seconds of silence behind it where a chunk ends with it.
    """

    piece: Piece
    tokens: tuple[int, ...]
    pause: float


def chunks(
    tokenizer: Tokenizer,
    reading: Reading,
    limit: int = MAX_CHUNK_TOKENS,
    locale: Locale = "en-US",
    lexicon: Lexicon = NO_LEXICON,
) -> Iterator[Chunk]:
    """Tokenise a text in chunks of at most ``limit`` tokens, each cut and phonemised as it is asked for.

    A chunk ends at the strongest break in its second half, the first one as soon as it has ``MIN_CHUNK_TOKENS``; none
    has fewer where the words before or behind it can be shared with it. It always ends where a pause was asked for;
    only such a pause follows the last.

    Raises:
        TextError: Before the first chunk: there is nothing to say.
    """
    lead = 0.0
    is_first = True
    found = tokenizer.pieces(reading, locale, lexicon)
    for piece in found:
        if not piece.text.text:
            lead = piece.pause_s or 0.0
            continue
        for chunk in _chunks_of(tokenizer, _stretch(piece, found), limit, is_first=is_first):
            yield replace(chunk, lead=lead)
            lead, is_first = 0.0, False


def _stretch(first: Piece, following: Iterator[Piece]) -> Iterator[Piece]:
    """Pieces up to the next pause that was asked for."""
    for piece in itertools.chain([first], following):
        yield piece
        if piece.pause_s is not None:
            return


def _chunks_of(tokenizer: Tokenizer, pieces: Iterable[Piece], limit: int, *, is_first: bool) -> Iterator[Chunk]:
    """The chunks of a stretch. One waits until what follows it is long enough: the last may need some of its words."""
    ready: list[_Unit] = []
    pending: list[_Unit] = []
    asked_s: float | None = None
    for piece in pieces:
        asked_s = piece.pause_s
        units, put_back = _units(tokenizer, piece, limit), list[_Unit]()
        while (unit := put_back.pop() if put_back else next(units, None)) is not None:
            if pending and _length(tokenizer, [*pending, unit]) > limit:
                parts = _parts(tokenizer, unit) if _length(tokenizer, pending) < MIN_CHUNK_TOKENS else []
                if len(parts) > 1:
                    put_back += reversed(parts)
                    continue
                if ready:
                    yield _merge(tokenizer, ready)
                cut = _first_break(pending) if is_first else _strongest_break(pending, limit)
                ready, pending, is_first = pending[:cut], pending[cut:], False
                put_back.append(unit)
                continue
            pending.append(unit)
            if ready and _length(tokenizer, pending) >= MIN_CHUNK_TOKENS:
                yield _merge(tokenizer, ready)
                ready = []
        if piece.ends_paragraph and _length(tokenizer, pending) > limit // 2:
            ready, pending, is_first = pending, [], False
    if ready and pending:
        ready, pending = _shared(tokenizer, ready + pending, limit)
    if ready and pending:
        yield _merge(tokenizer, ready)
    if ready or pending:
        yield replace(_merge(tokenizer, pending or ready), pause=asked_s or 0.0)


def _first_break(units: Sequence[_Unit]) -> int:
    """Number of units to take for the first chunk."""
    lengths = itertools.accumulate(len(unit.tokens) for unit in units)
    enough = (count for count, length in enumerate(lengths, start=1) if length >= MIN_CHUNK_TOKENS)
    return next(enough, len(units))


def _strongest_break(units: Sequence[_Unit], limit: int) -> int:
    """Number of units to take: up to the longest pause past half of the limit, the last one of equals."""
    lengths = itertools.accumulate(len(unit.tokens) for unit in units)
    _, best = max(
        (unit.pause if length > limit // 2 else -1.0, count)
        for count, (unit, length) in enumerate(zip(units, lengths, strict=True), start=1)
    )
    return best


def _shared(tokenizer: Tokenizer, units: list[_Unit], limit: int) -> tuple[list[_Unit], list[_Unit]]:
    """Units in one chunk where they fit, or else in two, neither of them short: cut at the longest pause, nearest the
    middle of equals. Their sentences are cut where that takes it."""
    whole = _length(tokenizer, units)
    if whole <= limit:
        return units, []
    least = max(MIN_CHUNK_TOKENS, whole - limit)
    while True:
        lengths = list(itertools.accumulate(len(unit.tokens) for unit in units))
        breaks = [
            (unit.pause, -abs(whole - 2 * length), count)
            for count, (unit, length) in enumerate(zip(units, lengths, strict=True), start=1)
            if least <= length <= whole - least
        ]
        if breaks:
            cut = max(breaks)[-1]
            return units[:cut], units[cut:]
        longest = max(range(len(units)), key=lambda index: len(units[index].tokens))
        parts = _parts(tokenizer, units[longest])
        if len(parts) < 2:
            return units[:-1], units[-1:]
        units = [*units[:longest], *parts, *units[longest + 1 :]]


def _merge(tokenizer: Tokenizer, units: Sequence[_Unit]) -> Chunk:
    """Join units."""
    words = [units[0].piece.text]
    for before, unit in itertools.pairwise(units):
        end = before.piece.text.origins[-1:]
        words += (Aligned("\n" if before.piece.ends_paragraph else " ", end + end), unit.piece.text)
    text = joined(words) if len(words) > 1 else words[0]
    return Chunk(_tokens(tokenizer, units), units[-1].pause, text, units[-1].piece.ends_paragraph)


def _length(tokenizer: Tokenizer, units: Sequence[_Unit]) -> int:
    """How many tokens units have together."""
    return len(_tokens(tokenizer, units)) if units else 0


def _tokens(tokenizer: Tokenizer, units: Sequence[_Unit]) -> tuple[int, ...]:
    """Join units as the text does, with a space between words but not between sentences, which is how the model was
    trained. A paragraph that ends without a mark gets a full stop."""
    tokens = list(units[0].tokens)
    for before, unit in itertools.pairwise(units):
        end, is_apart = before.tokens[-1], before.piece.text.origins[-1] < unit.piece.text.origins[0]
        if before.piece.ends_paragraph and end not in tokenizer.marks:
            tokens.append(tokenizer.full_stop)
        elif is_apart and end not in tokenizer.sentence_ends and tokenizer.space not in (end, unit.tokens[0]):
            tokens.append(tokenizer.space)
        tokens += unit.tokens
    return tuple(tokens)


def _units(tokenizer: Tokenizer, piece: Piece, limit: int) -> Iterator[_Unit]:
    """Cut a piece into runs of at most ``limit`` tokens, each with the pause that its end allows."""
    parts = [(part, SENTENCE_S) for part in piece.text.split(_SENTENCES) if part.text.strip()]
    if parts and not _ENDS_SENTENCE.search(parts[-1][0].text):
        parts[-1] = (parts[-1][0], CUT_S)
    if parts and piece.ends_paragraph:
        parts[-1] = (parts[-1][0], PARAGRAPH_S)
    last: _Unit | None = None
    for text, pause in parts:
        for unit in _fitting(tokenizer, _Unit(_inner(piece, text), (), pause), limit):
            if last is not None:
                yield last
            last = unit
    if last is not None:
        yield replace(last, piece=replace(last.piece, ends_paragraph=piece.ends_paragraph))


def _fitting(tokenizer: Tokenizer, unit: _Unit, limit: int) -> Iterator[_Unit]:
    """Cut one sentence until each part fits."""
    unit = replace(unit, tokens=tuple(tokenizer.encode_piece(unit.piece)))
    if len(unit.tokens) > limit and len(parts := _parts(tokenizer, unit)) > 1:
        for part in parts:
            yield from _fitting(tokenizer, part, limit)
    elif unit.tokens:
        yield unit


def _parts(tokenizer: Tokenizer, unit: _Unit) -> list[_Unit]:
    """Cut a unit at clauses, or else in the middle of its words, or else of its characters."""
    piece = unit.piece
    parts, inner_s = [part for part in piece.text.split(_CLAUSES) if part.text.strip()], CLAUSE_S
    if len(parts) < 2:
        parts, inner_s = _halves(piece.text), CUT_S
    pieces = [_inner(piece, part) for part in parts[:-1]] + [replace(piece, text=parts[-1].stripped())]
    pauses = [inner_s] * (len(parts) - 1) + [unit.pause]
    found = [
        _Unit(each, tuple(tokenizer.encode_piece(each)), pause) for each, pause in zip(pieces, pauses, strict=True)
    ]
    return [each for each in found if each.tokens]


def _inner(piece: Piece, text: Aligned) -> Piece:
    """What of a piece is not its end."""
    return replace(piece, text=text.stripped(), ends_paragraph=False, pause_s=None)


def _halves(piece: Aligned) -> list[Aligned]:
    """Cut at the space nearest the middle, or in the middle of a word or a Chinese run."""
    text = piece.text
    middle = len(text) // 2
    spaces = [match.start() for match in re.finditer(r"(?<=\S)\s+(?=\S)", text)]
    cut = min(spaces, key=lambda at: abs(at - middle), default=middle)
    behind = len(text) - len(text[cut:].lstrip())
    return [piece[:cut], piece[behind:]]
