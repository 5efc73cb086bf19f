"""Bad rows are told with their line and field before anything is queued."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from kernelport.client.item_files import ItemFile, ItemFileError, Kind, Report
from kernelport.client.item_files.text_file import unsayable
from tests.item_files.speech import SPEECH


def check(tmp_path: Path, kind: Kind, data: bytes | str, **options: Any) -> Report:
    file = tmp_path / "items"
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return ItemFile(file, kind, "speaker", options.pop("signature", SPEECH), **options).check()


def request(custom_id: Any = "a", method: str = "POST", url: str = "/v1/audio/speech", **body: Any) -> str:
    body = {"model": "speaker", "input": "Hi.", **body}
    return json.dumps({"custom_id": custom_id, "method": method, "url": url, "body": body})


TEXT = [
    ("latin-1", b"Good.\ncaf\xe9\nGood.\n", 2, "", "got the byte 0xe9 at byte 4"),
    ("cut in a character", "Good.\né".encode()[:-1], 2, "", "UTF-8"),
    ("UTF-16 with half a surrogate pair", "Good.\na\ud83d\nGood.\n".encode("utf-16", "surrogatepass"), 2, "", "UTF-8"),
    ("UTF-16 cut in a character", "Good.\nMore.".encode("utf-16")[:-1], 2, "", "UTF-8"),
    ("a NUL byte", b"Good.\nGood.\na\0b\n", 3, "", "NUL byte at column 2"),
    ("a byte order mark inside", "Good.\n\ufeffMore.\n", 2, "", "byte order mark at column 1"),
    ("a lone carriage return", b"One.\rTwo.\nGood.\n", 1, "", "carriage return at column 5"),
    ("a huge line", b"Good.\n" + b"x" * (5 * 2**20) + b"\nGood.\n", 2, "", "at most 4 MiB"),
    ("a huge line at the end", b"Good.\nGood.\n\n" + b"x" * (9 * 2**20), 4, "", "at most 4 MiB"),
]

CSV = [
    ("latin-1", b"id,text\na,caf\xe9\nb,Good.\n", 2, "", "UTF-8"),
    ("a closing quote that is misplaced", 'id,text\na,"One" and\nb,Good.\n', 2, "", "doubled inside"),
    ("a quote that eats a line", 'id,text\na,"One\nb,"Two"\nc,Good.\n', 2, "", "until line 3"),
    ("too few values", "id,text,speed\na,Good.,1\nb\n", 3, "", "expected 3 values"),
    ("too many values", "id,text\na,Good.\nb,One, two\n", 3, "", "got 3"),
    ("a value in a column without a name", "id,text,\na,Good.,\nb,Hi.,x\n", 3, "", "expected 2 values"),
    ("the header twice", "id,text\na,Good.\nid,text\nb,Good.\n", 3, "", "the first line again"),
    ("an id twice", "id,text\na,Good.\nb,Good.\n\na,Good.\n", 5, "id", 'got "a" as in line 2'),
    ("an empty id", 'id,text\n"",Good.\nb,Good.\n', 2, "id", "names the item"),
    ("a long id", f"id,text\n{'a' * 257},Good.\nb,Good.\n", 2, "id", "at most 256 characters, got 257"),
    ("a line break in an id", 'id,text\n"a\nb",Good.\nc,Good.\n', 2, "id", "printable"),
    ("no text", "id,text\na,Good.\nb,\n", 3, "text", "empty"),
    ("a blank text", 'id,text\na,Good.\nb,"  "\n', 3, "text", "empty"),
    ("a word for a number", "text,speed\nGood.,1\nHi.,fast\n", 3, "speed", "expected F32[1] (0.5 to 2.0)"),
    ("a German decimal", 'text,speed\nGood.,1\nHi.,"1,5"\n', 3, "speed", "F32[1]"),
    ("NaN", "text,speed\nHi.,nan\nGood.,1\n", 2, "speed", "finite"),
    ("too large a number", "text,speed\nHi.,1e39\nGood.,1\n", 2, "speed", "finite"),
    ("a fraction for an integer", "text,seed\nHi.,1.5\nGood.,1\n", 2, "seed", "I64[1]"),
    ("too large an integer", f"text,seed\nHi.,{2**64}\nGood.,1\n", 2, "seed", "I64[1]"),
    ("a number out of range", "text,speed\nGood.,2\nHi.,2.1\n", 3, "speed", "expected 0.5 to 2.0, got 2.1"),
    ("a long text", f"text\nGood.\n{'ä' * 5001}\n", 3, "text", "expected at most 5,000 characters, got 5,001"),
    ("several numbers for one", 'text,speed\nHi.,"[1, 2]"\nGood.,1\n', 2, "speed", "expected 1 as in F32[1], got 2"),
    ("lists of unequal lengths", 'text,matrix\nHi.,"[[1, 2], [3]]"\nGood.,"[[1, 2]]"\n', 2, "matrix", "F32[rows, 2]"),
    ("half a truth", "text,loud\nHi.,perhaps\nGood.,true\n", 2, "loud", "BOOL[1]"),
    ("a file that may not be read", "text,voice\nHi.,@me.wav\nGood.,\n", 2, "voice", "only with --files"),
    ("CRLF and a bad number", "text,speed\r\nGood.,1\r\nHi.,x\r\n", 3, "speed", "F32[1]"),
    ("a value over several lines", 'text,speed\n"One\ntwo\nthree",x\nGood.,1\n', 2, "speed", "F32[1]"),
]

JSONL = [
    ("no JSON", '{"text": "Good."}\n{"text": "Hi."\n', 2, "", "column 15"),
    ("two objects", '{"text": "Good."}\n{"text": "a"} {"text": "b"}\n', 2, "", "Extra data at column 15"),
    ("an array", '{"text": "Good."}\n["Hi."]\n', 2, "", "expected a JSON object, got"),
    ("a key twice", '{"text": "Good."}\n{"text": "a", "text": "b"}\n', 2, "", '"text" is given twice'),
    ("NaN", '{"text": "Good."}\n{"text": "Hi.", "speed": NaN}\n', 2, "", "JSON has no NaN"),
    ("thousands of digits", '{"text": "Good."}\n{"text": "Hi.", "seed": ' + "9" * 5000 + "}\n", 2, "", "JSON object"),
    ("thousands of levels", '{"text": "Good."}\n' + "[" * 100_000 + "\n", 2, "", "JSON object"),
    ("a key twice, once as a capital", '{"text": "Good."}\n{"text": "a", "Text": "b"}\n', 2, "", "one key for each"),
    ("an unknown key", '{"text": "Good."}\n{"text": "Hi.", "sped": 1}\n', 2, '"sped"', 'did you mean "speed"?'),
    ("a text for a number", '{"text": "Good."}\n{"text": "Hi.", "speed": "1.1"}\n', 2, "speed", "F32[1]"),
    ("a truth for a number", '{"text": "Good."}\n{"text": "Hi.", "speed": true}\n', 2, "speed", "F32[1]"),
    ("an object for a number", '{"text": "Good."}\n{"text": "Hi.", "speed": {"is": 1}}\n', 2, "speed", "F32[1]"),
    ("a number for a text", '{"text": "Good."}\n{"text": 7}\n', 2, "text", "expected a text, got 7"),
    ("an object for a text", '{"text": "Good."}\n{"text": {"en": "Hi."}}\n', 2, "text", "expected a text"),
    ("nothing for a text", '{"text": "Good."}\n{"text": null}\n', 2, "text", "required"),
    ("no text", '{"text": "Good."}\n\n{"id": "b"}\n', 3, "text", "required"),
    ("half a surrogate pair", '{"text": "Good."}\n{"text": "\\ud83d"}\n', 2, "text", "surrogate at character 1"),
    ("an id that is a list", '{"text": "Good."}\n{"text": "Hi.", "id": ["a"]}\n', 2, "id", "names the item"),
    ("an id twice", '{"text": "Good.", "id": 1}\n{"text": "Hi.", "id": "1"}\n', 2, "id", "as in line 1"),
    ("a fraction for an integer", '{"text": "Good."}\n{"text": "Hi.", "seed": 1.5}\n', 2, "seed", "I64[1]"),
    (
        "an integer out of range",
        '{"text": "Good."}\n{"text": "Hi.", "seed": 18446744073709551615}\n',
        2,
        "seed",
        "from",
    ),
]

OPENAI = [
    ("no custom_id", request() + "\n" + request(None), 2, "custom_id", "required"),
    ("a custom_id twice", request() + "\n" + request(), 2, "custom_id", "as in line 1"),
    ("another method", request() + "\n" + request("b", method="GET"), 2, "method", '"POST"'),
    ("another url", request() + "\n" + request("b", url="/v1/embeddings"), 2, "url", '"/v1/audio/speech"'),
    ("another model", request() + "\n" + request("b", model="tts-1"), 2, "body.model", 'expected "speaker"'),
    ("no input", request() + "\n" + request("b", input=None), 2, "body.input", "required"),
    ("a list as input", request() + "\n" + request("b", input=["Hi."]), 2, "body.input", "expected a text"),
    ("a text as speed", request() + "\n" + request("b", speed="fast"), 2, "body.speed", "from 0.25 to 4"),
    (
        "a format nobody writes",
        request() + "\n" + request("b", response_format="avi"),
        2,
        "body.response_format",
        "mp3",
    ),
    ("a stream", request() + "\n" + request("b", stream_format="sse"), 2, "body.stream_format", "audio"),
    ("spans", request() + "\n" + request("b", include=["spans"]), 2, "body.include", "outputs of the job"),
    ("no body", request() + '\n{"custom_id": "b", "method": "POST", "url": "/v1/audio/speech"}', 2, "body", "object"),
    (
        "a key of its own",
        request() + "\n" + request("b")[:-1] + ', "more": 1}',
        2,
        '"more"',
        "expected one of custom_id",
    ),
    ("a voice that is a list", request() + "\n" + request("b", voice=["nova"]), 2, "body.voice", "a voice's name"),
]

CASES = [
    pytest.param(kind, *case[1:], id=f"{kind}: {case[0]}")
    for kind, cases in (("text", TEXT), ("csv", CSV), ("jsonl", JSONL), ("openai", OPENAI))
    for case in cases
]


@pytest.mark.parametrize(("kind", "data", "line", "field", "finding"), CASES)
def test_a_bad_row_is_told_with_its_line_and_field_and_the_others_stay(
    tmp_path: Path, kind: Kind, data: bytes | str, line: int, field: str, finding: str
) -> None:
    report = check(tmp_path, kind, data)
    (problem,) = report.problems
    assert (problem.line, problem.field) == (line, field)
    assert finding in problem.finding
    assert len(str(problem)) < 400
    assert (report.bad, report.fatal) == (1, False)
    assert report.items >= 1


@pytest.mark.parametrize(
    ("kind", "data", "line", "finding"),
    [
        ("text", "Hi.".encode("utf-32"), 1, "expected UTF-8 or UTF-16 text, got UTF-32"),
        ("csv", "text,Text\nHi.,Hi.\n", 1, "expected one column for text, got two"),
        ("csv", "id,speed\na,1\n", 1, "names the columns, with text"),
        ("csv", "a,Good morning.\n", 1, "expected one of id, text, speed"),
        ("csv", "id,text,sped\na,Hi.,1\n", 1, 'did you mean "speed"?'),
        ("csv", "id,text,text\na,Hi.,Hi.\n", 1, "once, got it twice"),
        ("csv", "id,,text\na,1,Hi.\n", 1, "expected a name in the first line"),
        ("csv", 'id,text\na,Good.\nb,"Never closed.\nc,Hi.\n', 3, "closing quote before the end"),
        ("csv", 'id,text\na,Good.\nb,"' + "More, and more.\n" * 20_000, 3, "is a quote missing?"),
        ("csv", b"id,te\xe9xt\na,Hi.\n", 1, "UTF-8"),
        ("jsonl", '[\n  {"text": "Hi."}\n]\n', 1, "one JSON object a line"),
    ],
)
def test_what_spoils_the_file_ends_the_reading(
    tmp_path: Path, kind: Kind, data: bytes | str, line: int, finding: str
) -> None:
    report = check(tmp_path, kind, data)
    assert report.fatal or report.items == 0
    assert report.problems[-1].line == line
    assert any(finding in problem.finding for problem in report.problems)


def test_every_finding_counts_but_only_the_first_are_kept(tmp_path: Path) -> None:
    report = check(tmp_path, "csv", "text,speed,seed\n" + "Hi.,fast,x\n" * 3000 + "Hi.,1,1\n")
    assert (report.items, report.bad, report.problem_count) == (1, 3000, 6000)
    assert [str(problem) for problem in report.problems[:2]] == [
        '2: speed: expected F32[1] (0.5 to 2.0), got "fast"',
        '2: seed: expected I64[1], got "x"',
    ]
    assert len(report.problems) == 50


def test_requests_of_one_file_ask_for_one_format_unless_the_job_chose_one(tmp_path: Path) -> None:
    data = "\n".join([request("a", response_format="opus"), request("b"), request("c", response_format="wav")])
    report = check(tmp_path, "openai", data)
    assert report.output_format == "ogg"
    assert [(each.line, each.field) for each in report.problems] == [(3, "body.response_format")]
    assert "line 1" in report.problems[0].finding
    assert check(tmp_path, "openai", data, own_format=True).items == 3


def test_text_alone_is_refused_where_more_is_needed(tmp_path: Path) -> None:
    needy = type(SPEECH)()
    needy.CopyFrom(SPEECH)
    needy.inputs[1].optional = False
    report = check(tmp_path, "text", "Hi.\n", signature=needy)
    assert report.fatal
    assert "CSV or JSONL with text, speed" in report.problems[0].finding
    assert check(tmp_path, "text", "Hi.\n", signature=needy, shared=["speed"]).items == 1


@pytest.mark.parametrize("name", ["../me.wav", "voices/../../me.wav", "{folder}/me.wav"])
def test_a_value_names_no_file_outside_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "me.wav").write_bytes(b"RIFF")
    folder = tmp_path / "voices"
    folder.mkdir()
    report = check(tmp_path, "csv", f"text,voice\nHi.,@{name.format(folder=tmp_path)}\n", files=folder)
    assert f"expected a file in {folder} or below" in report.problems[0].finding
    report = check(tmp_path, "csv", "text,voice\nHi.,@gone.wav\n", files=folder)
    assert "No such file" in report.problems[0].finding


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b"One.\n" * 1000)[:-9],
        gzip.compress(b"One.\n" * 1000)[:20] + b"\xff" * 20,
        b"\x1f\x8b",
        b"\x28\xb5\x2f\xfd",
    ],
    ids=["cut", "damaged", "empty", "zstd"],
)
def test_a_damaged_archive_is_told_by_its_name(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ItemFileError, match=f"{tmp_path / 'items'} cannot be read|needs an extra package"):
        check(tmp_path, "text", data)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("One.\nTwo.\n")
    file = ItemFile(path, "text", "speaker", SPEECH)
    file.check()
    path.write_text("One.\nTwo.\nThree.\n")
    with pytest.raises(ItemFileError, match="has changed"):
        list(file.items())


def test_what_no_voice_can_say() -> None:
    assert all(map(unsayable, ["?!", "😀", "★ ⬆️ …", "—"]))
    assert not any(map(unsayable, ["", " ", "%", "€", "5 ★", "日本", "½", "℃", "㎏", "❶", "✓", "Hi 😀"]))
