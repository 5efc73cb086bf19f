"""A text is read as people write it, by `say` and `jobs submit` alike."""

import itertools
from pathlib import Path

import pytest
import soundfile

from kernelport import Client
from kernelport.client.item_files import Line, Passage, Split, read_passages
from kernelport.client.item_files.text_file import is_wrapped
from kernelport.client.speaking import PAUSES_S
from tests.cli.running import called
from tests.everyday.conftest import FOREIGN, UNSPEAKABLE, text_file

WRAPPED = """The harbour was quiet that morning, and
nobody saw the boat that left without
its captain.

* * *

Mr. Smith said: "Why?" And then
he went home.
"""
LINES = "One.\nTwo, and more.\n\nThree!\n---\nFour\n...\nFive\n…\nSix"


def read(text: str, split: Split | None = None) -> list[tuple[str, str, str]]:
    found = read_passages([Line(number, line) for number, line in enumerate(text.split("\n"), 1)], split)
    assert all(isinstance(passage, Passage) for passage in found)
    return [(passage.id, passage.text, passage.behind) for passage in found if isinstance(passage, Passage)]


def test_by_itself_a_line_is_an_item_whose_id_is_its_number() -> None:
    assert read(LINES) == [
        ("000001", "One.", "paragraph"),
        ("000002", "Two, and more.", "line"),
        ("000004", "Three!", "paragraph"),
        ("000006", "Four", "scene"),
        ("000008", "Five", "scene"),
        ("000010", "Six", "scene"),
    ]


def test_a_wrapped_text_is_read_by_paragraphs_whose_ids_are_their_first_lines() -> None:
    first = "The harbour was quiet that morning, and nobody saw the boat that left without its captain."
    assert read(WRAPPED) == [
        ("000001", first, "paragraph"),
        ("000007", 'Mr. Smith said: "Why?" And then he went home.', "scene"),
    ]


def test_sentences_are_those_of_paragraphs_where_lines_go_on_in_the_next_one() -> None:
    assert [text for _, text, _ in read(WRAPPED, "sentence")][1:] == [
        'Mr. Smith said: "Why?"',
        "And then he went home.",
    ]
    assert [item_id for item_id, _, _ in read(WRAPPED, "sentence")] == ["000001-001", "000007-001", "000007-002"]
    assert len(read("No end\nNo end either", "sentence")) == 2


@pytest.mark.parametrize(
    "text",
    [
        "A line, and\nanother one, and\nno blank line",
        "A sentence.\nAnother one.\n\nA third one.\nA fourth.",
        "A heading\n\nA long line.\n\nAnother long line, and\none that is wrapped.",
    ],
    ids=["no blank lines", "lines end in full stops", "most blocks have one line"],
)
def test_a_text_that_is_not_wrapped_is_read_by_lines(text: str) -> None:
    assert len(read(text)) == sum(bool(line) for line in text.split("\n"))


def test_submit_says_what_an_item_is(tmp_path: Path, client: Client) -> None:
    source = text_file(tmp_path / "book.txt", WRAPPED)
    printed = called("jobs", "submit", source)
    assert "an item is a paragraph" in printed.stderr
    assert [item.id for item in client.jobs.items(printed.stdout.strip())] == ["000001", "000007"]
    printed = called("jobs", "submit", source, "--split", "sentence")
    assert [item.id for item in client.jobs.items(printed.stdout.strip())] == ["000001-001", "000007-001", "000007-002"]


def test_what_has_nothing_to_say_is_told_by_its_line_before_anything_is_queued(tmp_path: Path, client: Client) -> None:
    source = text_file(tmp_path / "lines.txt", "One.", "?!", "Three.", f"{FOREIGN} 日本", f"Four, {FOREIGN}")
    finding = "expected text with something to say, such as a word or a number"
    foreign = f"{finding}; left out what cannot be spoken: Тишина, 日本"
    before = [job.id for job in client.jobs.list()]
    printed = called("jobs", "submit", source, expect=2)
    assert f"{source}:2: text: {finding}\n{source}:4: text: {foreign}\n" in printed.stderr
    assert [job.id for job in client.jobs.list()] == before
    assert "3 items on hibari-en" in called("jobs", "submit", source, "--skip-bad").stderr
    printed = called("say", "-f", source, expect=2)
    assert f"{source}:2: {finding}\n{source}:4: {foreign}\n" in printed.stderr
    assert "3 of 3 spoken" in called("say", "-f", source, "--skip-bad").stdout


def test_an_input_that_no_line_can_be_spoken_with_ends_it_at_once(tmp_path: Path) -> None:
    source = text_file(tmp_path / "lines.txt", "One.", "Two.", "Three.")
    told = called("say", "-f", source, "--set", "speed=99", expect=2).stderr
    assert told.count("0.5 to 2.0") == 1, told


def test_without_what_a_voice_cannot_say_the_rest_is_one_file(tmp_path: Path) -> None:
    source = tmp_path / "lines.txt"
    source.write_bytes(f"Caf\xe9.\n{UNSPEAKABLE}\nThree.\n".encode("utf-16"))
    assert "2 of 3 spoken" in called("say", "-f", source, "-o", "whole.wav", expect=1).stdout
    assert not Path("whole.wav").exists()
    assert ": whole.wav" in called("say", "-f", source, "-o", "whole.wav", "--skip-bad", expect=1).stdout
    assert soundfile.info("whole.wav").duration > 1
    source.write_bytes("Caf\xe9.\n".encode("windows-1252"))
    called("say", "-f", source, "-o", "own.wav", "--encoding", "windows-1252")


def test_what_the_voice_is_known_to_refuse_is_told_by_its_line_before_anything_is_spoken(
    tmp_path: Path, client: Client
) -> None:
    source = text_file(tmp_path / "lines.txt", "One.", f"Pi is 3{'1' * 41}.", "Three.")
    before = [job.id for job in client.jobs.list()]
    finding = "expected numbers of at most 36 digits, got one of 42"
    assert f"{source}:2: text: {finding}" in called("jobs", "submit", source, expect=2).stderr
    assert f"{source}:2: {finding}" in called("say", "-f", source, expect=2).stderr
    assert not Path("speech.wav").exists()
    assert "2 of 2 spoken" in called("say", "-f", source, "--skip-bad").stdout
    good = text_file(tmp_path / "good.txt", "One.")
    printed = called("jobs", "submit", good, "--set", "locale=en-AU", expect=2)
    assert "expected en-US or en-GB, got 'en-AU'" in printed.stderr
    assert [job.id for job in client.jobs.list()] == before


@pytest.mark.parametrize("source", ["arguments", "file", "stdin"])
def test_one_file_is_the_whole_with_pauses_between_paragraphs(source: str, tmp_path: Path) -> None:
    parts = ["The first paragraph.", "The second one.", "* * *", "The third."]
    text = "\n\n".join(parts)
    given: list[object] = {"arguments": parts, "file": ["-f", text_file(tmp_path / "a.txt", text)], "stdin": []}[source]
    seed = ("--set", "seed=7")
    printed = called("say", *given, "-o", "chapter.wav", *seed, stdin=text if source == "stdin" else "")
    assert "3 of 3 spoken" in printed.stdout
    called("say", *parts, "-o", "parts/", *seed)
    info = [soundfile.info(f"parts/000{number}.wav") for number in (1, 2, 3)]
    pauses = round(24000 * (PAUSES_S["paragraph"] + PAUSES_S["scene"]))
    assert soundfile.info("chapter.wav").frames == sum(each.frames for each in info) + pauses


def test_a_folder_is_asked_for_by_its_name_or_by_split() -> None:
    called("say", "One. Two.", "--split", "sentence")
    assert {path.name for path in Path("speech").iterdir()} == {"0001.wav", "0002.wav"}
    called("say", "One.\nTwo.")
    assert Path("speech.wav").is_file()


def test_of_a_text_that_fails_no_half_is_written_and_it_does_not_count_as_spoken() -> None:
    printed = called("say", "One.", UNSPEAKABLE, "-o", "chapter.wav", expect=1)
    assert "argument 2: " in printed.stderr
    assert "something to say" in printed.stderr
    assert "2/2" not in printed.stderr
    assert "1 of 2 spoken" in printed.stdout
    assert not Path("chapter.wav").exists()


def test_a_text_is_called_as_it_was_given(tmp_path: Path) -> None:
    finding = "expected text with something to say"
    printed = called("say", "One.", "Two.\n?!", FOREIGN, expect=2)
    assert f"argument 2, line 2: {finding}" in printed.stderr
    assert f"argument 3: {finding}" in printed.stderr
    assert "2 bad texts; nothing was spoken" in printed.stderr
    assert f"line 2: {finding}" in called("say", "Two.\n?!", expect=2).stderr
    assert f"-:2: {finding}" in called("say", "-f", "-", stdin="Two.\n?!", expect=2).stderr


def test_options_behind_a_double_dash_are_read_out_and_told(tmp_path: Path) -> None:
    printed = called("say", "--", "-5 °C", "-o", "d.wav")
    assert "note: -o is read out, as it stands behind --; options go before it" in printed.stderr
    assert "-5 °C is read out" not in printed.stderr
    assert not Path("d.wav").exists()


def test_what_is_wrong_with_the_text_is_no_matter_of_usage() -> None:
    called("say", "One.")
    for refused in (called("say", "?!", expect=2), called("say", "One.", expect=2)):
        assert refused.stderr.splitlines()[-1].startswith("error: ")
        assert "Usage" not in refused.stderr


def test_a_dash_is_standard_input() -> None:
    assert "2 of 2 spoken" in called("say", "-", "-o", "lines.wav", stdin="One.\nTwo.").stdout
    assert "expected - alone" in called("say", "One.", "-", expect=2).stderr
    assert "expected TEXTS or --file, not both" in called("say", "-", "-f", "lines.wav", expect=2).stderr


def test_json_lines_that_nobody_calls_so_are_told(tmp_path: Path) -> None:
    source = text_file(tmp_path / "lines.txt", "", '{"text": "One."}', '{"text": "Two."}')
    requests = text_file(tmp_path / "requests.txt", '{"custom_id": "1", "body": {"input": "One."}}')
    hint = "note: it looks like JSON lines; a name that ends in .jsonl, or --input-format {}, says so\n"
    for stdin, file in (("", source), (source.read_text(), "-")):
        assert hint.format("jsonl") in called("jobs", "submit", file, "--dry-run", stdin=stdin).stderr
        told = called("say", "-f", file, stdin=stdin, expect=0).stderr
        Path("speech.wav").unlink()
        assert "looks like JSON lines and is read as plain text" in told
        assert "`kernelport jobs submit` reads them with --input-format jsonl" in told
    assert hint.format("openai") in called("jobs", "submit", requests, "--dry-run").stderr
    assert "JSON" not in called("jobs", "submit", text_file(tmp_path / "a.txt", "{braces}"), "--dry-run").stderr


def test_what_is_left_out_of_a_text_is_told(client: Client) -> None:
    said = called("say", "Pizza 🍕 for all.")
    assert "line 1: text: left out what cannot be spoken: 🍕" in said.stderr
    assert client.speak("hibari-en", "Pizza 🍕 for all.").warnings == ("text: left out what cannot be spoken: 🍕",)


def test_one_file_is_named_in_one_way() -> None:
    text_file(Path("chapter.txt"), "Good morning 🍕.", "?!")
    told = called("say", "-f", "chapter.txt", "--split", "line", "--skip-bad").stderr
    assert "chapter.txt:1: text: left out what cannot be spoken" in told
    assert "chapter.txt:2: " in told
    assert "line 1" not in told


def test_the_beginning_of_an_endless_text_shows_how_it_is_written() -> None:
    endless = (Line(number, "A line that goes on" if number % 3 else "") for number in itertools.count(1))
    assert is_wrapped(endless)
