"""Tables as pandas, Excel, Piper and speech corpora write them."""

import json
from pathlib import Path

import pytest

from kernelport.client.item_files import ItemFile, Report, detect
from kernelport.counting import counted
from kernelport.tensors import to_arrays
from tests.item_files.speech import SPEECH

TABLES = [
    ("pandas", "t.csv", ",text\n0,Hello.\n1,Hi.\n", {"0": "Hello.", "1": "Hi."}, 'id <- column 1, text <- "text"'),
    (
        "pandas, with an id",
        "t.csv",
        ",id,text\n0,a,Hello.\n0,b,Hi.\n",
        {"a": "Hello.", "b": "Hi."},
        'id <- "id", text <- "text"; left out: column 1',
    ),
    ("pandas, read twice", "t.csv", "Unnamed: 0,text\n7,Hello.\n", {"7": "Hello."}, 'id <- column 1, text <- "text"'),
    ("Excel", "t.csv", "\ufeffsep=;\r\nid;text\r\na;Hello.\r\n", {"a": "Hello."}, 'id <- "id", text <- "text"'),
    ("Excel, tabs", "t.csv", "sep=\t\r\nID\tText\r\na\tHi, hi.\r\n", {"a": "Hi, hi."}, 'id <- "ID", text <- "Text"'),
    (
        "LJSpeech",
        "metadata.csv",
        'LJ001-0001|Printing, in 1, the only, sense|Printing, in one, the only, sense\nLJ001-0002|"In" 2|"In" two',
        {"LJ001-0001": "Printing, in one, the only, sense", "LJ001-0002": '"In" two'},
        "id <- column 1, text <- column 3; left out: column 2",
    ),
    (
        "VITS",
        "train.txt",
        "DUMMY1/LJ050-0234.wav|It has used, it has.\nDUMMY1/LJ050-0235.wav|It has.\n",
        {"LJ050-0234": "It has used, it has.", "LJ050-0235": "It has."},
        "id <- column 1, text <- column 2",
    ),
    (
        "coqui",
        "metadata.csv",
        'audio_file|text|speaker_name\nwavs/a.wav|"Hi," he said|me\nwavs/b.wav|"Say ""x"""|me\n',
        {"a": '"Hi," he said', "b": 'Say "x"'},
        'id <- "audio_file", text <- "text"; left out: "speaker_name"',
    ),
    ("named, with bars", "t.txt", "id|text\na|Hello.\n", {"a": "Hello."}, 'id <- "id", text <- "text"'),
    (
        "Piper",
        "t.jsonl",
        '{"text": "Hello.", "speaker_id": 3, "output_file": "/tmp/one.wav"}\n{"text": "Hi.", "output_file": "two"}\n',
        {"one": "Hello.", "two": "Hi."},
        'id <- "output_file", text <- "text"; left out: "speaker_id"',
    ),
    ("DOS", "t.txt", "Hello.\r\nHi | hi.\r\n\x1a", {"000001": "Hello.", "000002": "Hi | hi."}, "text <- line"),
]


def _read(path: Path, encoding: str | None = None) -> tuple[Report, dict[str, str]]:
    file = ItemFile(path, detect(path, encoding), "speaker", SPEECH, encoding=encoding)
    report = file.check()
    return report, {item.id: to_arrays(item.inputs)["text"].tobytes().decode() for item in file.items()}


@pytest.mark.parametrize(
    ("name", "content", "items", "understood"), [row[1:] for row in TABLES], ids=[t[0] for t in TABLES]
)
def test_a_table_is_read_as_its_tool_means_it(
    tmp_path: Path, name: str, content: str, items: dict[str, str], understood: str
) -> None:
    (tmp_path / name).write_text(content, newline="")
    report, found = _read(tmp_path / name)
    assert not report.problems
    assert found == items
    assert report.understood().startswith(f"{counted(len(items), 'item')}: ")
    assert report.understood().endswith(understood)


def test_another_encoding_is_read_when_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("id,text\na,Café – “yes”\n".encode("windows-1252") + b"b,\x81\n")
    report, _ = _read(path)
    assert [problem.line for problem in report.problems] == [2, 3]
    assert "--encoding" in report.notes[0]
    report, items = _read(path, "windows-1252")
    assert list(map(str, report.problems)) == ["3: expected windows-1252 text, got a byte that it does not have"]
    assert items == {"a": "Café – “yes”"}


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        ("a|Hello.|x|y\n", "1: a: expected one of id"),
        ("id|text\na|Hello.\nb|Hello.|more\n", "3: expected 2 values"),
        ("a|Hello.\nb|Hello.\na|Hi.\n", 'column 1: expected ids that differ, got "a" as in line 1'),
        (",,text\n0,1,Hello.\n", "1: column 2: expected a name"),
        ("output_file,audio_file,text\na,b,Hello.\n", "1: audio_file: expected one column for output file"),
        ("sep=;\nid;sentence\na;Hello.\n", "2: sentence: expected one of"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_line(tmp_path: Path, content: str, finding: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    report, _ = _read(tmp_path / "t.csv")
    assert finding in str(report.problems[0])


def test_a_speaker_that_the_deployment_takes_is_not_left_out(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({"text": "Hello.", "voice": "ada", "output_file": "a.flac"}))
    report, items = _read(tmp_path / "t.jsonl")
    assert list(items) == ["a"]
    assert report.understood() == '1 item: id <- "output_file", text <- "text", voice <- "voice"'
