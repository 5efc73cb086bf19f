"""Text: exact ids in upstream mode, correct reading by default, and chunks of long text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from kernelport_workers.luxtts.checkpoint import read_tokens
from kernelport_workers.luxtts.chunking import (
    CLAUSE_PAUSE,
    MAX_CHUNK_TOKENS,
    PARAGRAPH_PAUSE,
    SENTENCE_PAUSE,
    chunk_text,
    join,
)
from kernelport_workers.luxtts.errors import TextError
from kernelport_workers.luxtts.normalise import cardinal, ordinal, upstream_english
from kernelport_workers.luxtts.tokenizer import Tokenizer, map_punctuation, segments
from tests.luxtts.conftest import GOLDEN, spell
from tests.needs import PIPER_PHONEMIZE

CASES: list[dict[str, Any]] = json.loads((GOLDEN / "tokenizer.json").read_text(encoding="utf-8"))
TABLE = read_tokens(GOLDEN / "tokens.txt")
SPELLER = Tokenizer(TABLE, spell)


def spoken(text: str) -> str:
    return " ".join(piece.text.strip() for piece in SPELLER.pieces(text))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["text"][:24])
def test_upstream_segments_and_normalised_english(case: dict[str, Any]) -> None:
    mapped = map_punctuation(case["text"])
    assert mapped == case["after_punctuation_map"]
    assert [list(segment) for segment in segments(mapped)] == case["segments"]
    english = [upstream_english(text) for text, language in segments(mapped) if language == "en"]
    assert english == case["english_normalised"]


def _marks(case: dict[str, Any]) -> Sequence[pytest.MarkDecorator]:
    return [PIPER_PHONEMIZE] if any(language == "en" for _, language in case["segments"]) else []


@pytest.mark.parametrize("case", [pytest.param(each, id=each["text"][:24], marks=_marks(each)) for each in CASES])
def test_upstream_token_ids(case: dict[str, Any]) -> None:
    languages = {language for _, language in case["segments"]}
    if languages & {"zh", "pinyin"}:
        for package in ("jieba", "pypinyin", "cn2an"):
            pytest.importorskip(package)
    assert Tokenizer(TABLE).encode(case["text"], upstream=True) == case["ids"]


def test_upstream_mode_also_drops_line_breaks_and_angle_brackets() -> None:
    assert SPELLER.encode("there\nworld", upstream=True) == SPELLER.encode("thereworld", upstream=True)
    assert ("<b c>", "pinyin") in segments("a <b c> d")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("there\nworld", "there world"),
        ("Mr. Smith paid $1.50 at 5:05 pm", "Mister Smith paid one dollar and fifty cents at five oh five PM"),
        ("[laugh] hello 😀", "(laugh) hello"),
        ("我有3本书 and 3 books", "我有3本书 and three books"),
        ("say <ha3> now", "say <ha3> now"),
    ],
)
def test_default_reading(text: str, expected: str) -> None:
    assert spoken(text) == expected


@pytest.mark.parametrize(("text", "word"), [("Привет мир", "Привет"), ("hello שלום", "שלום"), ("日本です", "です")])
def test_a_transcript_in_a_script_that_the_model_does_not_know_is_refused(text: str, word: str) -> None:
    with pytest.raises(TextError, match=word):
        SPELLER.encode(text)


def test_words_of_other_scripts_are_left_out_of_what_is_said() -> None:
    assert spoken("hello שלום you") == "hello you"


@pytest.mark.parametrize("text", ["", "   ", "...", "?!", "😀", "\n\n", "— —"])
def test_text_with_nothing_to_say_is_refused(text: str) -> None:
    with pytest.raises(TextError, match="nothing to say"):
        SPELLER.encode(text)


def test_number_words_agree_with_inflect() -> None:
    engine = pytest.importorskip("inflect").engine()
    generator = np.random.default_rng(0)
    for exponent in generator.uniform(0, 35.9, 300):
        number = int(10**exponent)
        assert cardinal(number) == engine.number_to_words(number, andword="")
        small = number % 1_000_000
        assert ordinal(small) == engine.ordinal(engine.number_to_words(small, andword=""))


@pytest.mark.parametrize("text", ["word " * 400, "One two three four five. " * 60, "a, b, c; d, " * 80, "x" * 3_000])
def test_long_text_becomes_chunks_within_the_limit_that_lose_nothing(text: str) -> None:
    chunks = chunk_text(SPELLER, text)
    assert len(chunks) > 3
    assert all(0 < len(chunk.tokens) <= MAX_CHUNK_TOKENS for chunk in chunks)
    space = TABLE[" "]
    whole = [token for token in SPELLER.encode(text) if token != space]
    assert [token for chunk in chunks for token in chunk.tokens if token != space] == whole


def test_chunks_end_where_a_speaker_would_pause() -> None:
    sentence = "This sentence has about fifty letters in total now. "
    chunks = chunk_text(SPELLER, sentence * 4 + "\n" + sentence)
    assert {chunk.pause for chunk in chunks[:-2]} == {SENTENCE_PAUSE}
    assert chunks[-2].pause == PARAGRAPH_PAUSE
    clauses = chunk_text(SPELLER, "a clause of some forty letters in all it is, " * 5)
    assert {chunk.pause for chunk in clauses[:-1]} == {CLAUSE_PAUSE}


def test_initials_and_abbreviations_do_not_end_a_sentence() -> None:
    assert len(chunk_text(SPELLER, "Mr. J. Smith of the U.S. Army met Dr. King.")) == 1


def test_a_pause_that_is_asked_for_follows_its_chunk() -> None:
    words = "some more words to fill it, " * 3
    chunks = chunk_text(SPELLER, f'<speak>{words}<break time="1500ms"/>{words}</speak>')
    assert 1.5 in {chunk.pause for chunk in chunks}


def test_joined_chunks_have_the_pause_and_keep_their_ends() -> None:
    tone = np.full(4_800, 0.5, dtype=np.float32)
    joined = join([tone, tone], [0.1, 0.0])
    silence = np.flatnonzero(joined == 0.0)
    assert 0.1 * 48_000 <= len(silence) < 0.11 * 48_000
    assert joined[0] == joined[-1] == 0.5
    assert float(np.abs(np.diff(joined)).max()) < 0.01
    assert len(join([tone], [0.45])) == len(tone)


def test_silence_at_either_side_of_a_seam_counts_towards_the_pause() -> None:
    tone, silence = np.full(4_800, 0.5, np.float32), np.zeros(7_200, np.float32)
    for left, right in (
        (np.concatenate([tone, silence]), tone),
        (tone, np.concatenate([silence, tone])),
        (np.concatenate([tone, silence]), np.concatenate([silence, tone])),
    ):
        assert len(join([left, right], [0.15, 0.0])) < len(left) + len(right)


def test_no_text_breaks_the_default_rules() -> None:
    """Random text is either read, within the limit per chunk, or refused as text; nothing else is ever raised."""
    alphabet = [
        *"abXY 0123456789.,:;/-$£€%°'\"()<>[]&@+=…—\n\t!?_*^~|\\",
        "Mr. ",
        "St. ",
        "th",
        "1,000",
        "½",
        "№",
        "😀",
        "é",
    ]
    generator = np.random.default_rng(0)
    spoken_count = 0
    for length in generator.integers(1, 30, 2_000):
        text = "".join(generator.choice(alphabet, length))
        try:
            chunks = chunk_text(SPELLER, text)
        except TextError:
            continue
        spoken_count += 1
        assert all(len(chunk.tokens) <= MAX_CHUNK_TOKENS for chunk in chunks)
        assert not any(character.isdigit() for piece in SPELLER.pieces(text) for character in piece.text)
    assert spoken_count > 1_500
