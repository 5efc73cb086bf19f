"""Text: exact ids in upstream mode, correct reading by default, and chunks of long text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from kernelport.text import Lexicon, passages_of
from kernelport.text.pieces import CLAUSE_S, PARAGRAPH_S, SENTENCE_S
from kernelport_workers.luxtts.checkpoint import read_tokens
from kernelport_workers.luxtts.chunking import MAX_CHUNK_TOKENS, MIN_CHUNK_TOKENS, Chunk, chunks
from kernelport_workers.luxtts.errors import TextError
from kernelport_workers.luxtts.normalise import cardinal, ordinal, upstream_english, with_and
from kernelport_workers.luxtts.tokenizer import Tokenizer, map_punctuation, segments
from tests.luxtts.conftest import GOLDEN, spell
from tests.needs import PIPER_PHONEMIZE

CASES: list[dict[str, Any]] = json.loads((GOLDEN / "tokenizer.json").read_text(encoding="utf-8"))
TABLE = read_tokens(GOLDEN / "tokens.txt")
SPELLER = Tokenizer(TABLE, spell)


def read(text: str) -> list[str]:
    return [piece.text.text.strip() for piece in SPELLER.pieces(passages_of(text, chinese=True))]


def spoken(text: str) -> str:
    return " ".join(read(text))


def chunked(text: str) -> list[Chunk]:
    return list(chunks(SPELLER, passages_of(text, chinese=True)))


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
        small = number % 10**9
        assert with_and(small) == engine.number_to_words(small)
        assert ordinal(small) == engine.number_to_words(f"{small}th") == engine.ordinal(engine.number_to_words(small))


@pytest.mark.parametrize("text", ["word " * 400, "One two three four five. " * 60, "a, b, c; d, " * 80, "x" * 3_000])
def test_long_text_becomes_chunks_within_the_limit_that_lose_nothing(text: str) -> None:
    found = chunked(text)
    assert len(found) > 3
    assert all(0 < len(chunk.tokens) <= MAX_CHUNK_TOKENS for chunk in found)
    space = TABLE[" "]
    whole = [token for token in SPELLER.encode(text) if token != space]
    assert [token for chunk in found for token in chunk.tokens if token != space] == whole


def test_chunks_end_where_a_speaker_would_pause() -> None:
    sentence = "This sentence has about fifty letters in total now. "
    found = chunked(sentence * 4 + "\n" + sentence)
    assert {chunk.pause for chunk in found[:-2]} == {SENTENCE_S}
    assert [chunk.pause for chunk in found[-2:]] == [PARAGRAPH_S, 0]
    clauses = chunked("a clause of some forty letters in all it is, " * 5)
    assert {chunk.pause for chunk in clauses[:-1]} == {CLAUSE_S}


def test_the_first_chunk_is_short_where_there_are_several() -> None:
    first, *_ = chunked("Well. Now it begins, as you see. " + "It goes on for a while. " * 10)
    assert first.tokens == tuple(SPELLER.encode("Well.") + SPELLER.encode("Now it begins, as you see."))
    assert MIN_CHUNK_TOKENS <= len(first.tokens) < MAX_CHUNK_TOKENS // 2
    assert len(chunked("Well. Now it begins, as you see. It ends.")) == 1


def test_initials_and_abbreviations_do_not_end_a_sentence() -> None:
    assert len(chunked("Mr. J. Smith of the U.S. Army met Dr. King.")) == 1


def test_a_pause_that_is_asked_for_follows_its_chunk() -> None:
    assert [chunk.pause for chunk in chunked('One<break time="250ms"/>two.<break time="2s"/>Three.')] == [0.25, 2, 0]
    assert [chunk.pause for chunk in chunked('One.<break time="1500ms"/>')] == [1.5]


def test_a_long_text_is_phonemised_as_it_is_asked_for() -> None:
    heard: list[str] = []

    def phonemize(text: str) -> str:
        heard.append(text)
        return spell(text)

    coming = chunks(Tokenizer(TABLE, phonemize), passages_of("word " * 20_000, chinese=True))
    next(coming)
    assert sum(map(len, heard)) < 5_000


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
            found = chunked(text)
        except TextError:
            continue
        spoken_count += 1
        assert all(len(chunk.tokens) <= MAX_CHUNK_TOKENS for chunk in found)
        assert not any(character.isdigit() for piece in read(text) for character in piece)
    assert spoken_count > 1_500


def test_phonemes_of_a_lexicon_are_said_in_place_of_its_words() -> None:
    def tokens(text: str, lexicon: str = "") -> list[tuple[int, ...]]:
        reading = passages_of(text, chinese=True)
        return [chunk.tokens for chunk in chunks(SPELLER, reading, lexicon=Lexicon.parse(lexicon))]

    assert tokens("one GIF here", "GIF = /jif/") == tokens("one jif here")
    assert tokens("GIF", "GIF = /jif/") == tokens("jif")
