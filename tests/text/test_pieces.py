"""Where a text is cut into what is spoken at a time."""

from collections.abc import Iterator

import pytest

from kernelport.text import Passage, passages_of, pieces, spoken_passages, verbalised
from kernelport.text.pieces import CLAUSE_S, CUT_S, PARAGRAPH_S, SENTENCE_S

SENTENCE = "This sentence has sixty characters, as its reader may count."
LONG_CLAUSES = "The river ran on past the old stone mill, " * 8


def cut(text: str) -> list[tuple[str, float]]:
    return [(piece.text.text, piece.pause_s) for piece in pieces(spoken_passages(passages_of(text), "en-US"))]


def test_the_first_piece_is_the_first_sentence() -> None:
    assert cut("Yes. It is so.")[0] == ("Yes.", SENTENCE_S)


@pytest.mark.parametrize(("place", "least", "most"), [(0, 40, 120), (1, 80, 240), (2, 80, 240)])
def test_a_sentence_that_is_too_long_ends_at_its_last_clause_mark(place: int, least: int, most: int) -> None:
    text, pause_s = cut(("", "Well. ", "Well. Now then. ")[place] + LONG_CLAUSES + "and away.")[place]
    assert text.endswith("mill,")
    assert most - 45 < len(text) <= most
    assert len(text) >= least
    assert pause_s == CLAUSE_S


def test_without_a_clause_mark_it_ends_between_two_words() -> None:
    (first, first_pause_s), (second, _), *_ = cut("word " * 100)
    assert (len(first), len(second)) == (119, 239)
    assert first_pause_s == CUT_S


def test_from_the_third_piece_on_two_short_sentences_are_one() -> None:
    long = SENTENCE.replace("sixty", "sixty, or seventy, or about eighty, or even ninety")
    found = [text for text, _ in cut(" ".join([SENTENCE] * 4 + [long] * 2))]
    assert found == [SENTENCE, SENTENCE, f"{SENTENCE} {SENTENCE}", long, long]


def test_a_piece_ends_with_its_paragraph() -> None:
    assert cut("One.\n\nTwo") == [("One.", PARAGRAPH_S), ("Two", 0)]


def test_a_pause_that_is_asked_for_takes_the_place_of_others() -> None:
    assert cut('<break time="1s"/>One<break time="2s"/> two.<break time="3s"/>') == [("", 1), ("One", 2), ("two.", 3)]


def test_what_nobody_can_say_is_in_no_piece() -> None:
    assert cut("One. ... Two.\n\n***\n\n?!") == [("One.", SENTENCE_S), ("Two.", 0)]
    assert cut("?!") == []


@pytest.mark.parametrize("text", ["J. R. Tolkien wrote it.", "He paid 3.5 per cent.", "Dr. Smith is here."])
def test_a_mark_within_a_sentence_does_not_end_it(text: str) -> None:
    assert len(cut(text)) == 1


@pytest.mark.parametrize("sentence", [SENTENCE, "word", "On 3 May 2026 it cost $5, and Dr. Smith paid.", "well, then"])
def test_a_long_paragraph_is_cut_where_it_would_be_as_a_whole(sentence: str) -> None:
    text = f"{sentence} " * (6_000 // len(sentence))
    (passage,) = passages_of(text).passages
    whole = Passage(verbalised(passage.text, "en-US"), None, ends_paragraph=True)
    assert cut(text) == [(piece.text.text, piece.pause_s) for piece in pieces([whole])]
    found = list(pieces(spoken_passages(passages_of(text), "en-US")))
    assert [piece.text for piece in found] == [piece.text for piece in pieces([whole])], "and came from the same places"


def test_the_first_piece_of_a_paragraph_does_not_wait_for_all_of_it() -> None:
    read = 0

    def passages() -> Iterator[Passage]:
        nonlocal read
        for passage in spoken_passages(passages_of("word " * 20_000), "en-US"):
            read += len(passage.text.text)
            yield passage

    next(pieces(passages()))
    assert read < 5_000


def test_no_word_is_lost_or_doubled() -> None:
    text = f"{LONG_CLAUSES}. {SENTENCE} {'word ' * 90}. {'x' * 500}. {SENTENCE}\n\n{SENTENCE} Why? “Because.” So be it…"
    spoken = "".join(passage.text.text for passage in spoken_passages(passages_of(text), "en-US"))
    assert "".join(piece for piece, _ in cut(text)).replace(" ", "") == spoken.replace(" ", "")
    assert max(len(piece) for piece, _ in cut(text)) <= 240
