"""Words that are read in a way of one's own."""

import time

import pytest

from kernelport.text import Lexicon, LexiconError, merged, read

LEXICON = Lexicon.parse(
    """
    # Names and terms
    Nguyen = win
    sql = sequel
    GIF = /dʒɪf/
    C++ = see plus plus
    New York = the Big Apple
    5G = five gee
    polish = pollish
    Polish = poe-lish
    """
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Nguyen's SQL is in C++.", "win's sequel is in see plus plus."),
        ("He left New  York, and nguyen stayed.", "He left the Big Apple, and nguyen stayed."),
        ("5G costs $5.", "five gee costs five dollars."),
        ("Polish the POLISH table and polish it.", "poe-lish the pollish table and pollish it."),
        ("MySQL, C++11 and NoSQLs are other words.", read("MySQL, C++11 and NoSQLs are other words.").spoken),
    ],
)
def test_whole_words_are_read_as_the_lexicon_says(text: str, said: str) -> None:
    assert read(text, lexicon=LEXICON).spoken == said


def test_a_word_with_phonemes_stays_for_its_voice_to_find() -> None:
    spoken = read("A GIF of 5 MB.", lexicon=LEXICON).spoken
    assert list(LEXICON.parts(spoken)) == [("A ", None), ("GIF", "dʒɪf"), (" of five megabytes.", None)]


def test_the_nearer_lexicon_goes_first() -> None:
    both = merged(Lexicon.parse("GIF = jif"), LEXICON)
    assert read("GIF SQL", lexicon=both).spoken == "jif sequel"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("abc", 'line 1, "abc": expected `word = words to say`'),
        ("\nabc =", 'line 2, "abc =": expected words to say'),
        ("= x", "expected a word of 1 to 60 characters"),
        ("x" * 61 + " = y", "expected a word of 1 to 60 characters"),
        ("? = y", "with a letter or a digit"),
        ("a = 5", 'line 1, "a = 5": expected words to say, in letters'),
        ("a = /(x)/", "expected no brackets"),
        ("a = /x", "expected `/phonemes/`"),
        ("a = " + "b" * 201, "expected at most 200 characters to say, got 201"),
        ("Привет = hello", "expected letters that are read here, got 'Привет'"),
        ("a = b\na = c", 'line 2, "a": expected each word once'),
        ("\n".join(f"w{n} = b" for n in range(1001)), "line 1001: expected at most 1,000 entries"),
        ("#" * 64_001, "expected at most 64,000 characters, got 64,001"),
    ],
)
def test_what_is_no_lexicon_is_refused_by_the_entry(text: str, told: str) -> None:
    with pytest.raises(LexiconError, match=told.replace("?", r"\?")):
        Lexicon.parse(text)


def test_phonemes_are_those_of_the_voice() -> None:
    LEXICON.check("dʒɪf")
    with pytest.raises(LexiconError, match='"GIF": expected phonemes that the voice has, got "ʒ"'):
        LEXICON.check("dɪf")


def test_a_full_lexicon_takes_linear_time() -> None:
    full = Lexicon.parse("\n".join(f"word{'abcdefghij'[n % 10]}{n} = b" for n in range(1000)))
    began_s = time.process_time()
    read("worda10 wordb word " * 5000, lexicon=full)
    assert time.process_time() - began_s < 5
