"""What is read of a text: a table of writings and words, and what holds for any text."""

import re
import time
from pathlib import Path

import numpy as np
import pytest

from kernelport.text import (
    NO_LEXICON,
    Aligned,
    Lexicon,
    Locale,
    locale_named,
    passages_of,
    read,
    verbalised,
    verbalised_parts,
)
from kernelport.text.numbers import cardinal, ordinal

TABLES: dict[str, Locale] = {"readings.tsv": "en-US", "readings_british.tsv": "en-GB"}
MOST_S = 2.0


def rows(name: str) -> list[tuple[str, str]]:
    lines = (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()
    return [(text, said) for text, _, said in (line.partition("\t") for line in lines[1:]) if said]


def words(text: str) -> list[str]:
    return re.findall(r"[^-\s,.;:!?—\"()]+", text.casefold())


@pytest.mark.parametrize(("table", "locale"), TABLES.items())
def test_every_text_of_the_table_is_read_word_for_word(table: str, locale: Locale) -> None:
    wrong = {
        text: spoken
        for text, said in rows(table)
        if words(spoken := read(text, locale).spoken) not in [words(form) for form in said.split("|")]
    }
    assert not wrong


@pytest.mark.parametrize("seed", range(8))
def test_a_long_line_is_read_in_parts_as_it_is_as_a_whole(seed: int) -> None:
    lexicon = Lexicon.parse("it is = it was\nthe = thee") if seed % 2 else NO_LEXICON
    dice = np.random.default_rng(seed)
    texts = [text for text, _ in rows("readings.tsv")]
    marks = [" ", ", ", ". ", " and ", " the ", " — ", "; "]
    if seed < 4:  # no sentence ends: the parts are cut between words, which stand close to what rules change
        texts, marks = [text.strip(".!? ") for text in texts], [" ", " a ", " the "]
    line = "".join(f"{texts[dice.integers(len(texts))]}{marks[dice.integers(len(marks))]}" for _ in range(400))
    for passage in passages_of(line).passages:
        parts = list(verbalised_parts(passage.text, "en-US", lexicon))
        assert len(parts) > 5 or len(passage.text.text) < 8_000
        assert " ".join(part.text for part in parts) == verbalised(passage.text, "en-US", lexicon).text


@pytest.mark.parametrize("line", ["", "One.", "x" * 5_000, "1,234 " * 2_000, "see www.example.org/" + "a/" * 3_000])
def test_what_has_no_place_to_be_parted_is_read_as_a_whole(line: str) -> None:
    text = Aligned.of(line)
    assert " ".join(part.text for part in verbalised_parts(text, "en-US")) == verbalised(text, "en-US").text


def test_what_is_read_is_read_as_it_is() -> None:
    """The words of the table, read again, stay the same: nothing in them must be said otherwise."""
    changed = {
        said: again
        for _, said in rows("readings.tsv")
        if "|" not in said and words(again := read(said).spoken) != words(said)
    }
    assert not changed


@pytest.mark.parametrize(
    ("text", "paragraphs"),
    [
        ("The harbour was quiet that morning, and\nnobody saw the boat that left without\nits captain.", 1),
        ("It was the year when the old bridge fell into the river.\nMary saw it from her window, and told nobody.", 1),
        ("Roses are red,\nViolets are blue", 1),
        ("Tiger Tiger, burning bright\nIn the forests of the night", 2),
        ("Anna: Are you there?\nTom: Yes.", 2),
        ("One.\n\nTwo.", 2),
        ("- eggs\n- milk", 2),
        ("1. Boil water.\n2. Add salt.", 2),
        ("<p>One</p><p>Two</p>", 2),
    ],
)
def test_lines_that_were_cut_to_fit_a_width_are_one_paragraph(text: str, paragraphs: int) -> None:
    assert len(read(text).spoken.split("\n")) == paragraphs


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("a new normali-\nsation of it", "a new normalisation of it"),
        ("a well-\nknown man", "a well-known man"),
        ("a nor\u00admal word", "a normal word"),
        ("zero\u200bwidth", "zerowidth"),
        ("cafe\u0301", "café"),
        ("non\u2011breaking", "non-breaking"),
        ("it\u02bcs", "it's"),
        ("thin\u2009space\u00a0here", "thin space here"),
    ],
)
def test_words_that_were_cut_or_composed_are_whole(text: str, spoken: str) -> None:
    assert read(text).spoken == spoken


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Wait... what?", "Wait, what?"),
        ("The end... Really", "The end. Really"),
        ("e.g. this", "for example, this"),
        ("It opens at 7 p.m. Show at 8.", "It opens at seven PM. Show at eight."),
        ("The 7 p.m. Mass", "The seven PM Mass"),
        ("At 7 p.m. Paris time", "At seven PM Paris time"),
        ("At 5 p.m. Monday", "At five PM Monday"),
        ("Btw, I moved.", "by the way, I moved."),
        ("George V. Higgins wrote.", "George V Higgins wrote."),
        ("Ann, PhD, spoke.", "Ann, P H D, spoke."),
        ("$3.50, $1 and £2.01", "three dollars and fifty cents, one dollar and two pounds and one penny"),
    ],
)
def test_marks_stay_where_a_voice_pauses(text: str, spoken: str) -> None:
    """The tables of readings hold the words alone."""
    assert read(text).spoken == spoken


def test_what_cannot_be_said_is_named() -> None:
    reading = read("Привет, it is 日本 and 🍕 pizza 🍕, but café and α are said.")
    assert reading.unsayable == ["Привет", "日本", "🍕"]
    assert reading.warning == "left out what cannot be spoken: Привет, 日本, 🍕"
    assert reading.spoken == ", it is and pizza, but café and alpha are said."


def test_tags_that_mean_nothing_to_a_voice_are_named() -> None:
    reading = read('<p>A <Emphasis level="strong">very</Emphasis> <x-y/>old <em>house</em>.</p><emphasis>No</emphasis>')
    assert reading.spoken == "A very old house.\nNo"
    assert reading.warning == "left out what cannot be spoken: <emphasis>, <x-y>, <em>"
    assert read('It <break/> is <sub alias="water">H2O</sub>, a < b, <name>.').warning is None


def test_a_pause_that_is_asked_for_parts_the_passages() -> None:
    reading = read('<speak>One<break time="1.5s"/>two.</speak>')
    assert [(each.text.text, each.pause_s) for each in reading.passages] == [("One", 1.5), ("two.", None)]


def test_what_is_said_knows_its_place_in_the_text() -> None:
    text = "He paid <b>$40</b> for “it”."
    (passage,) = read(text).passages
    spoken, origins = passage.text.text, passage.text.origins
    start = spoken.index("forty dollars")
    assert text[origins[start] : origins[start + len("forty dollars")]].startswith("$40")
    assert origins[-1] == len(text)


@pytest.mark.parametrize(
    "unit",
    [
        "1/2",
        "½",
        "$1",
        "1 000 ",
        "a.",
        "A. ",
        "<a ",
        "**a",
        "[a](",
        "|a",
        "1:",
        "日",
        "&a",
        "IV ",
        "747 ",
        ",000",
        ",00",
        ".000",
        "'000",
        " 00",
        "r u ",
    ],
)
def test_time_is_linear_in_the_length_of_any_text(unit: str) -> None:
    began_s = time.process_time()
    read(unit * (5_000 // len(unit)))
    assert time.process_time() - began_s < MOST_S


def test_number_words_agree_with_inflect() -> None:
    engine = pytest.importorskip("inflect").engine()
    generator = np.random.default_rng(0)
    for exponent in generator.uniform(0, 35.9, 300):
        number = int(10**exponent)
        assert cardinal(number) == engine.number_to_words(number, andword="").replace(",", "")
        assert cardinal(number, "en-GB") == engine.number_to_words(number).replace(",", "")
        small = number % 1_000_000
        assert ordinal(small) == engine.ordinal(engine.number_to_words(small, andword="")).replace(",", "")


def test_a_locale_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="expected en-US or en-GB, got 'de-DE'"):
        locale_named("de-DE")
