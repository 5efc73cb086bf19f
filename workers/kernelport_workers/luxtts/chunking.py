"""Cut long text into chunks for separate passes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kernelport.text import NO_LEXICON, Aligned, Lexicon, Locale, Reading
from kernelport.text.aligned import joined
from kernelport.text.pieces import CLAUSE_S, CUT_S, PARAGRAPH_S, SENTENCE_S
from kernelport_workers.luxtts.tokenizer import Piece, Tokenizer

MAX_CHUNK_TOKENS = 100
"""Tokens of one pass; longer passes cost quadratically more and tend to pause mid-phrase."""

FIRST_CHUNK_TOKENS = 20
"""Where there are several passes, the first one ends with the sentence or clause that brings it to so many tokens: it
is heard the sooner. Every pass computes its reference anew, so a shorter one would cost as much."""

_SENTENCES = re.compile(r"(?<!\b[A-Z])(?<=[.!?])[\"')]*\s+|(?<=[.!?])(?=[\u4e00-\u9fa5])")
_CLAUSES = re.compile(r"(?<=[,;:—–)])\s*")


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is spoken in one pass.

    Attributes:
        tokens: Of its words.
        pause: Seconds of silence that follow its audio.
        text: Its words, aligned with the caller's text.
        ends_paragraph: Whether a paragraph ends with it.
    """

    tokens: tuple[int, ...]
    pause: float
    text: Aligned
    ends_paragraph: bool = False


def chunks(
    tokenizer: Tokenizer,
    reading: Reading,
    limit: int = MAX_CHUNK_TOKENS,
    locale: Locale = "en-US",
    lexicon: Lexicon = NO_LEXICON,
) -> Iterator[Chunk]:
    """Tokenise a text in chunks of at most ``limit`` tokens, each cut and phonemised as it is asked for.

    A chunk ends at the strongest break in its second half, the first one as ``FIRST_CHUNK_TOKENS`` says. It always ends
    where a pause was asked for; only such a pause follows the last.

    Raises:
        TextError: Before the first chunk: there is nothing to say.
    """
    pending: list[Chunk] = []
    is_first, is_closed, asked_s = True, False, 0.0
    for piece in tokenizer.pieces(reading, locale, lexicon):
        for unit in _units(tokenizer, piece, limit):
            while pending and (is_closed or len(_tokens(tokenizer, [*pending, unit])) > limit):
                if is_closed:
                    cut = len(pending)
                else:
                    cut = _first_break(pending) if is_first else _strongest_break(pending, limit)
                yield _merge(tokenizer, pending[:cut])
                pending, is_first, is_closed = pending[cut:], False, False
            pending.append(unit)
        if pending:
            ends_long = piece.ends_paragraph and len(_tokens(tokenizer, pending)) > limit // 2
            is_closed = is_closed or ends_long or piece.pause_s is not None
        asked_s = piece.pause_s or 0.0
    if pending:
        yield replace(_merge(tokenizer, pending), pause=asked_s)


def _first_break(units: Sequence[Chunk]) -> int:
    """Number of units to take for the first chunk."""
    lengths = itertools.accumulate(len(unit.tokens) for unit in units)
    enough = (count for count, length in enumerate(lengths, start=1) if length >= FIRST_CHUNK_TOKENS)
    return next(enough, len(units))


def _strongest_break(units: Sequence[Chunk], limit: int) -> int:
    """Number of units to take: up to the longest pause past half of the limit, the last one of equals."""
    lengths = itertools.accumulate(len(unit.tokens) for unit in units)
    _, best = max(
        (unit.pause if length > limit // 2 else -1.0, count)
        for count, (unit, length) in enumerate(zip(units, lengths, strict=True), start=1)
    )
    return best


def _merge(tokenizer: Tokenizer, units: Sequence[Chunk]) -> Chunk:
    """Join units."""
    words = [units[0].text]
    for before, unit in itertools.pairwise(units):
        end = before.text.origins[-1:]
        words += (Aligned("\n" if before.ends_paragraph else " ", end + end), unit.text)
    text = joined(words) if len(words) > 1 else words[0]
    return Chunk(_tokens(tokenizer, units), units[-1].pause, text, units[-1].ends_paragraph)


def _tokens(tokenizer: Tokenizer, units: Sequence[Chunk]) -> tuple[int, ...]:
    """Join units; a space separates words, but not sentences, which is how the model was trained."""
    tokens = list(units[0].tokens)
    for before, unit in itertools.pairwise(units):
        if before.pause != SENTENCE_S and tokenizer.space not in (before.tokens[-1], unit.tokens[0]):
            tokens.append(tokenizer.space)
        tokens += unit.tokens
    return tuple(tokens)


def _units(tokenizer: Tokenizer, piece: Piece, limit: int) -> Iterator[Chunk]:
    """Cut a piece into runs of at most ``limit`` tokens, each with the pause that its end allows."""
    parts = [(part, SENTENCE_S) for part in piece.text.split(_SENTENCES) if part.text.strip()]
    if parts and not re.search(r"[.!?][\"')]*\s*$", parts[-1][0].text):
        parts[-1] = (parts[-1][0], CUT_S)
    if parts and piece.pause_s is not None:
        parts[-1] = (parts[-1][0], piece.pause_s)
    elif parts and piece.ends_paragraph:
        parts[-1] = (parts[-1][0], PARAGRAPH_S)
    last: Chunk | None = None
    for text, pause in parts:
        for unit in _fitting(tokenizer, replace(piece, text=text), pause, limit):
            if last is not None:
                yield last
            last = unit
    if last is not None:
        yield replace(last, ends_paragraph=piece.ends_paragraph)


def _fitting(tokenizer: Tokenizer, piece: Piece, pause: float, limit: int) -> Iterator[Chunk]:
    """Cut one sentence at clauses, then words, then characters until each part fits."""
    tokens = tokenizer.encode_piece(piece)
    if len(tokens) <= limit or len(piece.text.text) < 2:
        if tokens:
            yield Chunk(tuple(tokens), pause, piece.text.stripped())
        return
    parts, inner = [part for part in piece.text.split(_CLAUSES) if part.text.strip()], CLAUSE_S
    if len(parts) < 2:
        parts, inner = _halves(piece.text), CUT_S
    for part in parts[:-1]:
        yield from _fitting(tokenizer, replace(piece, text=part), inner, limit)
    yield from _fitting(tokenizer, replace(piece, text=parts[-1]), pause, limit)


def _halves(piece: Aligned) -> list[Aligned]:
    """Cut at the space nearest the middle, or in the middle of a word or a Chinese run."""
    text = piece.text
    middle = len(text) // 2
    spaces = [match.start() for match in re.finditer(r"(?<=\S)\s+(?=\S)", text)]
    cut = min(spaces, key=lambda at: abs(at - middle), default=middle)
    behind = len(text) - len(text[cut:].lstrip())
    return [piece[:cut], piece[behind:]]
