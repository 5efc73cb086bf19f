"""Texts that keep a phonemiser busy: what is done to them, and that their time grows no faster than they do."""

import time
from collections.abc import Callable

import pytest

from kernelport.text import NO_LEXICON, pieces, read
from kernelport_workers.luxtts.tokenizer import Tokenizer, segments
from kernelport_workers.pipelines.hibari import HibariPipeline
from kernelport_workers.speech.long_words import MAX_WORD, cut_words
from tests.needs import PIPER_PHONEMIZE

Phonemise = Callable[[str], object]

# At 2,000 characters each took minutes, or ended the process.
UNITS = ["1st", "5km", "1/2/", "aB", "a@", "a-", "a1", "/", "&", "a'", "'s", '"', "[", "[a](", "🙂", "a.", "é."]
LONGEST_S = 5.0


@pytest.fixture(scope="module")
def hibari() -> Phonemise:
    from hibari import Hibari

    voice = HibariPipeline(Hibari(threads=1))
    return lambda text: [
        voice._phonemes(piece.text.text, NO_LEXICON) for piece in pieces(read(f"word {text}").passages)
    ]


@pytest.fixture(scope="module")
def espeak() -> Phonemise:
    tokenizer = Tokenizer({character: index for index, character in enumerate(map(chr, range(32, 1000)))})
    return lambda text: [tokenizer.encode(f"word {text}"), tokenizer.encode(f"word {text}", upstream=True)]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("voice", ["hibari", pytest.param("espeak", marks=PIPER_PHONEMIZE)])
def test_no_text_takes_a_voice_longer_than_its_length(voice: str, unit: str, request: pytest.FixtureRequest) -> None:
    phonemise: Phonemise = request.getfixturevalue(voice)
    began_s = time.process_time()
    phonemise(unit * (2000 // len(unit)))
    assert time.process_time() - began_s < LONGEST_S


def test_what_people_write_stays_as_it_is() -> None:
    text = "Dr. Lindgren-Ashworth's e.g. antidisestablishmentarianism costs $1,234,567.89 at https://example.org/a/b."
    assert cut_words(text) == text


def test_an_overlong_word_is_cut_behind_its_signs() -> None:
    address = "https://example.org/" + "chapter/" * 20
    parts = cut_words(address).split()
    assert "".join(parts) == address
    assert max(map(len, parts)) <= MAX_WORD
    assert all(part.endswith("/") for part in parts)
    assert [len(part) for part in cut_words("a" * 100).split()] == [36, 36, 28]


def test_a_tag_without_an_end_takes_no_longer_than_other_text() -> None:
    began_s = time.process_time()
    assert "".join(text for text, _ in segments("<" * 100_000)) == "<" * 100_000
    assert time.process_time() - began_s < LONGEST_S
