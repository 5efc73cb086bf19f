"""Texts as people have them, from a character to a chapter: where they pause, how they are cut, what that costs."""

from __future__ import annotations

import re
import textwrap
import time
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from kernelport.text import passages_of
from kernelport.text.pieces import CLAUSE_S, CUT_S, PARAGRAPH_S, SENTENCE_S
from kernelport_workers.luxtts.checkpoint import read_tokens
from kernelport_workers.luxtts.chunking import MAX_CHUNK_TOKENS, MIN_CHUNK_TOKENS, Chunk, chunks
from kernelport_workers.luxtts.tokenizer import Tokenizer, espeak_phonemes
from tests.luxtts.conftest import GOLDEN, spell
from tests.needs import PIPER_PHONEMIZE

TABLE = read_tokens(GOLDEN / "tokens.txt")
WORDS = re.findall(
    r"\w+",
    "the ferry left at dawn and nobody on the quay had slept because a storm was coming up from the south with rain "
    "while every lamp along that narrow street burned on until morning",
)
PAUSES = {CLAUSE_S, SENTENCE_S, PARAGRAPH_S, CUT_S}
KINDS = ("prose", "wrapped", "list", "dialogue", "numbers")


def sentence(generator: np.random.Generator, kind: str) -> str:
    words = list(generator.choice(WORDS, generator.integers(1, 24)))
    for place in range(len(words) - 1):
        if generator.random() < 0.1:
            words[place] += str(generator.choice([",", ";", ":", " —"]))
    if kind == "numbers":
        words += [
            f"{generator.integers(1, 10**7):,}",
            "of",
            f"{generator.integers(1, 29)}%",
            f"${generator.random():.2f}",
        ]
    return " ".join(words).capitalize() + str(generator.choice([".", ".", ".", "?", "!", "..."]))


def text_of(kind: str, length: int, seed: int) -> str:
    generator = np.random.default_rng(seed)
    paragraphs: list[str] = []
    while sum(map(len, paragraphs)) + 2 * len(paragraphs) < length:
        sentences = [sentence(generator, kind) for _ in range(generator.integers(1, 7))]
        match kind:
            case "wrapped":
                paragraphs.append(textwrap.fill(" ".join(sentences), 72))
            case "list":
                paragraphs.append("\n".join(f"- {each.rstrip('.')}" for each in sentences))
            case "dialogue":
                paragraphs += [
                    f'"{each}" she said.' if index % 2 else f'"{each}"' for index, each in enumerate(sentences)
                ]
            case _:
                paragraphs.append(" ".join(sentences))
    text = "\n\n".join(paragraphs)[:length]
    return text if any(map(str.isalnum, text)) else "A" * length


def texts() -> Iterator[str]:
    """Fifty, ten of each kind, from 1 to 20,000 characters."""
    lengths = np.geomspace(1, 20_000, 50).round().astype(int)
    return (text_of(KINDS[index % 5], int(length), index) for index, length in enumerate(lengths))


def chunked(text: str, tokenizer: Tokenizer) -> list[Chunk]:
    return list(chunks(tokenizer, passages_of(text, chinese=True)))


def check(found: list[Chunk], whole: str) -> None:
    assert found[-1].pause == 0
    assert {chunk.pause for chunk in found[:-1]} <= PAUSES
    assert all(len(chunk.tokens) <= MAX_CHUNK_TOKENS for chunk in found)
    assert len(found) == 1 or min(len(chunk.tokens) for chunk in found) >= MIN_CHUNK_TOKENS
    assert [chunk.text.origins[0] for chunk in found] == sorted(chunk.text.origins[0] for chunk in found)
    assert "".join(re.findall(r"[a-z]", "".join(chunk.text.text for chunk in found))) == whole


def letters_of(text: str) -> str:
    return "".join(re.findall(r"[a-z]", text))


def test_no_text_has_crumbs_or_other_pauses_than_those_that_are_told() -> None:
    tokenizer = Tokenizer(TABLE, spell)
    counts = []
    for text in texts():
        found = chunked(text, tokenizer)
        check(
            found, letters_of("".join(piece.text.text for piece in tokenizer.pieces(passages_of(text, chinese=True))))
        )
        counts.append(len(found))
    assert counts[0] == 1
    assert max(counts) > 150


@PIPER_PHONEMIZE
def test_the_same_holds_for_phonemes_of_espeak() -> None:
    tokenizer = Tokenizer(TABLE, espeak_phonemes)
    for kind in KINDS:
        text = text_of(kind, 1500, 7)
        check(
            chunked(text, tokenizer),
            letters_of("".join(piece.text.text for piece in tokenizer.pieces(passages_of(text, chinese=True)))),
        )


def test_a_short_end_or_beginning_shares_the_words_of_its_neighbour() -> None:
    tokenizer = Tokenizer(TABLE, spell)
    long = "This is one sentence of some words, which goes on without any end that one could see from here,"
    for text in (f"{long} alas. Yes.", f"Yes. {long} alas.", f"{long} and more. Yes. {long} alas. No."):
        lengths = [len(chunk.tokens) for chunk in chunked(text, tokenizer)]
        assert len(lengths) > 1
        assert min(lengths) >= MIN_CHUNK_TOKENS


def test_words_between_two_pauses_that_were_asked_for_may_be_few() -> None:
    tokenizer = Tokenizer(TABLE, spell)
    found = chunked('One.<break time="1s"/>Two.<break time="1s"/>...<break time="500ms"/>Three.', tokenizer)
    assert [(chunk.text.text, chunk.pause) for chunk in found] == [("One.", 1.0), ("Two.", 1.5), ("Three.", 0)]


def test_a_pause_before_all_words_is_kept() -> None:
    tokenizer = Tokenizer(TABLE, spell)
    first, second = chunked('<break time="700ms"/>Yes.<break time="1s"/>No.', tokenizer)
    assert (first.lead, first.pause, second.lead) == (0.7, 1.0, 0)


def test_a_hard_wrapped_text_is_cut_as_if_it_were_not() -> None:
    tokenizer = Tokenizer(TABLE, spell)
    prose = " ".join(sentence(np.random.default_rng(seed), "prose") for seed in range(12))
    wrapped = [(chunk.tokens, chunk.pause) for chunk in chunked(textwrap.fill(prose, 70), tokenizer)]
    assert wrapped == [(chunk.tokens, chunk.pause) for chunk in chunked(prose, tokenizer)]


def test_lines_of_a_list_are_sentences_where_they_share_a_pass() -> None:
    tokenizer = Tokenizer(TABLE, spell)
    (listed,), (told,) = (chunked(text, tokenizer) for text in ("- apples\n- pears\n- bread", "Apples. Pears. Bread"))
    assert listed.tokens == told.tokens


@pytest.mark.parametrize("kind", KINDS)
def test_time_and_memory_grow_with_the_text_and_not_faster(kind: str) -> None:
    tokenizer = Tokenizer(TABLE, spell)

    def cost(length: int) -> tuple[float, float]:
        text = text_of(kind, length, 3)
        began = time.process_time()
        for _ in range(20_000 // length):
            chunked(text, tokenizer)
        took = time.process_time() - began
        tracemalloc.start()
        chunked(text, tokenizer)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return took, peak / length

    cost(2_000)
    (short_s, short_bytes), (long_s, long_bytes) = cost(2_000), cost(20_000)
    assert long_s < 1.6 * short_s
    assert long_bytes < 1.6 * short_bytes
