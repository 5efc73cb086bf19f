"""Cut long text into chunks for separate passes, and join the chunks' audio."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernelport.text import Locale
from kernelport_workers.luxtts.config import OUTPUT_SAMPLE_RATE
from kernelport_workers.luxtts.tokenizer import Piece, Tokenizer

MAX_CHUNK_TOKENS = 100
"""Tokens of one pass; longer passes cost quadratically more and tend to pause mid-phrase."""

PARAGRAPH_PAUSE, SENTENCE_PAUSE, CLAUSE_PAUSE, NO_PAUSE = 0.45, 0.22, 0.10, 0.0
"""Least silence in seconds after a chunk, by what ended it."""

_CROSS_FADE = 0.02
_SILENCE = 10 ** (-45 / 20)
_SENTENCES = re.compile(r"(?<!\b[A-Z])(?<=[.!?])[\"')]*\s+|(?<=[.!?])(?=[\u4e00-\u9fa5])")
_CLAUSES = re.compile(r"(?<=[,;:—–)])\s*")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens of one pass and the least silence in seconds that follows its audio."""

    tokens: tuple[int, ...]
    pause: float


def chunk_text(tokenizer: Tokenizer, text: str, limit: int = MAX_CHUNK_TOKENS, locale: Locale = "en-US") -> list[Chunk]:
    """Tokenise a text in chunks of at most ``limit`` tokens, cut at the strongest break in each chunk's second half.

    Raises:
        TextError: There is nothing to say.
    """
    chunks: list[Chunk] = []
    pending: list[Chunk] = []
    for piece in tokenizer.pieces(text, locale):
        for unit in _units(tokenizer, piece, limit):
            while pending and len(_merge(tokenizer, [*pending, unit]).tokens) > limit:
                cut = _strongest_break(pending, limit)
                chunks.append(_merge(tokenizer, pending[:cut]))
                pending = pending[cut:]
            pending.append(unit)
            if unit.pause == PARAGRAPH_PAUSE and len(_merge(tokenizer, pending).tokens) > limit // 2:
                chunks.append(_merge(tokenizer, pending))
                pending = []
    return [*chunks, _merge(tokenizer, pending)] if pending else chunks


def _strongest_break(units: Sequence[Chunk], limit: int) -> int:
    """Number of units to take: up to the longest pause past half of the limit, the last one of equals."""
    lengths = itertools.accumulate(len(unit.tokens) for unit in units)
    _, best = max(
        (unit.pause if length > limit // 2 else -1.0, count)
        for count, (unit, length) in enumerate(zip(units, lengths, strict=True), start=1)
    )
    return best


def _merge(tokenizer: Tokenizer, units: Sequence[Chunk]) -> Chunk:
    """Join units; a space separates words, but not sentences, which is how the model was trained."""
    tokens = list(units[0].tokens)
    for before, unit in itertools.pairwise(units):
        if before.pause != SENTENCE_PAUSE and tokenizer.space not in (before.tokens[-1], unit.tokens[0]):
            tokens.append(tokenizer.space)
        tokens += unit.tokens
    return Chunk(tuple(tokens), units[-1].pause)


def _units(tokenizer: Tokenizer, piece: Piece, limit: int) -> Iterator[Chunk]:
    """Cut a piece into runs of at most ``limit`` tokens, each with the pause that its end allows."""
    parts = [(part, SENTENCE_PAUSE) for part in _SENTENCES.split(piece.text) if part.strip()]
    if parts and not re.search(r"[.!?][\"')]*\s*$", parts[-1][0]):
        parts[-1] = (parts[-1][0], NO_PAUSE)
    if parts and piece.pause_s is not None:
        parts[-1] = (parts[-1][0], piece.pause_s)
    elif parts and piece.ends_paragraph:
        parts[-1] = (parts[-1][0], PARAGRAPH_PAUSE)
    for text, pause in parts:
        yield from _fitting(tokenizer, Piece(text, piece.language), pause, limit)


def _fitting(tokenizer: Tokenizer, piece: Piece, pause: float, limit: int) -> Iterator[Chunk]:
    """Cut one sentence at clauses, then words, then characters until each part fits."""
    tokens = tokenizer.encode_piece(piece)
    if len(tokens) <= limit or len(piece.text) < 2:
        if tokens:
            yield Chunk(tuple(tokens), pause)
        return
    parts, inner = [part for part in _CLAUSES.split(piece.text) if part.strip()], CLAUSE_PAUSE
    if len(parts) < 2:
        parts, inner = _halves(piece.text), NO_PAUSE
    for part in parts[:-1]:
        yield from _fitting(tokenizer, Piece(part, piece.language), inner, limit)
    yield from _fitting(tokenizer, Piece(parts[-1], piece.language), pause, limit)


def _halves(text: str) -> list[str]:
    """Cut at the space nearest the middle, or in the middle of a word or a Chinese run."""
    middle = len(text) // 2
    spaces = [match.start() for match in re.finditer(r"(?<=\S)\s+(?=\S)", text)]
    cut = min(spaces, key=lambda at: abs(at - middle), default=middle)
    return [text[:cut], text[cut:].lstrip()]


def join(parts: Sequence[NDArray[np.float32]], pauses: Sequence[float]) -> NDArray[np.float32]:
    """Join chunk audio at 48 kHz.

    Between two chunks there are at least ``pauses[i]`` seconds of near-silence, counting what the chunks already
    have; the seam is a cross-fade of 20 ms.

    Args:
        parts: Mono audio of each chunk in order.
        pauses: Seconds after each chunk; the last one is not used.
    """
    fade = int(_CROSS_FADE * OUTPUT_SAMPLE_RATE)
    finished: list[NDArray[np.float32]] = []
    current = parts[0]
    for part, pause in zip(parts[1:], pauses, strict=False):
        missing = int(pause * OUTPUT_SAMPLE_RATE) - _quiet_run(current[::-1]) - _quiet_run(part)
        if missing > 0:
            current = _cross_fade(current, np.zeros(missing + 2 * fade, dtype=np.float32), fade)
        seamed = _cross_fade(current, part, fade)
        finished.append(seamed[: len(current)])
        current = seamed[len(current) :]
    return np.concatenate([*finished, current])


def _quiet_run(samples: NDArray[np.float32]) -> int:
    loud = np.flatnonzero(np.abs(samples) > _SILENCE * max(float(np.abs(samples).max(initial=0.0)), 1e-6))
    return int(loud[0]) if loud.size else len(samples)


def _cross_fade(left: NDArray[np.float32], right: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    width = min(width, len(left), len(right))
    if not width:
        return np.concatenate([left, right])
    ramp = np.linspace(0.0, 1.0, width, dtype=np.float32)
    seam = left[-width:] * (1.0 - ramp) + right[:width] * ramp
    return np.concatenate([left[:-width], seam, right[width:]])
