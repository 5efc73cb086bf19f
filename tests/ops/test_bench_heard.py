"""What counts as heard otherwise, and as lost or doubled where pieces meet."""

from kernelport_ops.bench.heard.joins import Streams
from kernelport_ops.bench.heard.words import Difference, aligned, words

TEXT = "The boat came late. The harbour was quiet. Nobody spoke."


def test_differences_are_the_fewest_and_know_their_place() -> None:
    written = words("There were 20 boats in the harbour.")
    assert aligned(written, words("There were twenty boats in the harbor.")) == []
    assert aligned(written, words("Their were 20 boats in the the harbor")) == [
        (0, Difference(("there",), ("their",))),
        (5, Difference((), ("the",))),
    ]


def test_a_word_that_is_lost_or_doubled_at_a_join_alone_is_told() -> None:
    found = Streams()
    found.note(TEXT, [4, 8], heard="The boat came. The harbor was quiet. Nobody spoke.", heard_whole=TEXT)
    found.note(f"{TEXT} Yes.", [4, 8], heard=f"{TEXT} Yet.", heard_whole=f"{TEXT} Yes.")
    heard_alike = TEXT.replace("late", "lake")
    found.note(f"{TEXT} No.", [4, 8], heard=f"{heard_alike} No.", heard_whole=f"{heard_alike} No.")
    assert (found.texts, found.joins, found.errors, found.whole_errors) == (3, 6, 3, 1)
    assert found.at_joins == {TEXT: [Difference(("late",), ())]}
