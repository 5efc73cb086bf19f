"""A text that comes bit by bit is cut where it would be cut as a whole, once nothing that comes can change that."""

from collections.abc import Iterable

import pytest

from kernelport.text import complete
from kernelport.text.pieces import CLAUSE_S, KEPT_S, LONGEST, PARAGRAPH_S, SENTENCE_S


def spoken(bits: Iterable[str]) -> list[str]:
    """What can be spoken after each bit, and at last what is left."""
    parts, rest = [], ""
    for bit in bits:
        rest += bit
        length, _ = complete(rest)
        parts.append(rest[:length])
        rest = rest[length:]
    return [*filter(None, parts), rest]


@pytest.mark.parametrize(
    "sentences",
    [
        ["The harbour was quiet. ", "The boats lay still. ", "A bell rang twice."],
        ["Mr. Smith paid $3.50 for it. ", "Dr. J. R. Brown paid 4.25 on Jan. 5th. ", "Nobody else did."],
        ['He said "Stop." ', '"Why?" she asked. ', "Nobody knew..."],
        ["It works in e.g. Rome and the U.S. too. ", "See https://example.com/a.b for more. ", "Fine."],
        ["**Bold words.** ", "Then *others*. ", "Done"],
        ["First paragraph\n\n", "second paragraph\n\n", "third"],
    ],
)
def test_words_become_sentences_wherever_they_are_split(sentences: list[str]) -> None:
    text = "".join(sentences)
    for size in (1, 3, 7, len(text)):
        parts = spoken(text[start : start + size] for start in range(0, len(text), size))
        assert "".join(parts) == text
        if size == 1:
            assert [part.strip() for part in parts] == [sentence.strip() for sentence in sentences]


def test_the_silence_is_that_of_what_the_part_ends_with_but_for_what_is_spoken_with_it() -> None:
    assert complete("The harbour was quiet. The b")[1] == SENTENCE_S - 2 * KEPT_S
    assert complete("The harbour was quiet.\n\nThe b")[1] == PARAGRAPH_S - 2 * KEPT_S
    asked = "The harbour was quiet. <break time='2s'/> "
    assert complete(f"{asked}The b") == (len(asked), 0)
    assert complete("The harbour was quiet") == (0, 0.0)
    clauses = "the boats lay still at the quay for a long while, " * 4
    length, pause_s = complete(clauses)
    assert (clauses[:length].rstrip()[-1], pause_s) == (",", CLAUSE_S - 2 * KEPT_S)


def test_a_pause_ahead_of_all_words_waits_for_them() -> None:
    assert spoken(["<break time='2s'/> ", "Now. ", "The b"]) == ["<break time='2s'/> Now. ", "The b"]


@pytest.mark.parametrize("word", ["x", "тишина ", "<b>", "ha "])
def test_a_text_without_an_end_is_spoken_all_the_same(word: str) -> None:
    parts = spoken([word] * (2 * LONGEST // len(word) + 2))
    assert max(map(len, parts)) <= LONGEST + len(word)
