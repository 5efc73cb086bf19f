"""What the formats mean."""

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernelport.client.item_files import ItemFile, ItemFileError, Kind, detect, model_of
from kernelport.signature import Signature, tensor_spec
from kernelport.tensors import to_arrays
from kernelport.v1 import inference_pb2 as pb
from tests.item_files.speech import SPEECH


def read(path: Path, kind: Kind, signature: Signature = SPEECH, **options: Any) -> dict[str, dict[str, Any]]:
    """The inputs of every item by id, texts as text."""
    file = ItemFile(path, kind, "speaker", signature, **options)
    report = file.check()
    assert not report.problems
    items = {item.id: to_arrays(item.inputs) for item in file.items()}
    assert len(items) == report.items
    return {
        item_id: {name: a.tobytes().decode() if a.dtype == np.uint8 else a.tolist() for name, a in inputs.items()}
        for item_id, inputs in items.items()
    }


def test_text_is_a_line_an_item_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes("\ufeffOne.\r\n\r\n  Zwei – ü.  \n\n\n”Three”, 3\n".encode())
    assert read(path, "text") == {
        "000001": {"text": "One."},
        "000003": {"text": "Zwei – ü."},
        "000006": {"text": "”Three”, 3"},
    }
    path.write_bytes(b"")
    assert read(path, "text") == {}


TABLE = "ID,Text,SPEED,,\r\n\r\na,Zwei – ü.,1.5,,\r\n,,,,\r\nb,Two.,,,\r\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, "zstd"])
def test_a_table_as_spreadsheets_write_it(tmp_path: Path, encoding: str, compress: Callable[[bytes], bytes]) -> None:
    if compress == "zstd":
        compress = pytest.importorskip("backports.zstd", reason="the extra `zstd` is not installed").compress
    path = tmp_path / "table"
    path.write_bytes(compress((TABLE if encoding != "utf-16-be" else f"\ufeff{TABLE}").encode(encoding)))
    assert read(path, "csv") == {"a": {"text": "Zwei – ü.", "speed": [1.5]}, "b": {"text": "Two."}}


def test_inputs_that_differ_only_in_case_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("x,X\n1,2\n")
    signature = Signature(inputs=[tensor_spec(name, pb.I64, [1]) for name in ("x", "X")])
    assert read(path, "csv", signature) == {"000002": {"x": [1], "X": [2]}}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_has_an_id_and_inputs_of_every_kind(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "lines.csv"
    rows = [
        ["\ufeffid", "text", "speed", "seed", "loud", "matrix", "tags"],
        ["a", '"One, ""two""; three\tfour\nand five."', "1.5", "7", "true", '"[[1, 2], [3, 4]]"', '"[""x"", ""y""]"'],
        ["", "", "", "", "", "", ""][:1],
        ["b", "@handle", "", "", "", "", ""],
    ]
    path.write_bytes("\r\n".join(delimiter.join(row) for row in rows).encode())
    assert read(path, "csv") == {
        "a": {
            "text": 'One, "two"; three\tfour\nand five.',
            "speed": [1.5],
            "seed": [7],
            "loud": [True],
            "matrix": [[1, 2], [3, 4]],
            "tags": [b"x", b"y"],
        },
        "b": {"text": "@handle"},
    }


def test_csv_columns_may_have_other_names_and_others_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "lines.csv"
    path.write_text("key,sentence,note\na,Hi.,x\n")
    columns = {"id": "key", "text": "sentence"}
    assert read(path, "csv", columns=columns, ignored=["note"]) == {"a": {"text": "Hi."}}
    assert ItemFile(path, "csv", "speaker", SPEECH, columns=columns).check().fatal


def test_jsonl_is_an_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    entries = [{"id": 7, "text": "Hi.", "speed": 2, "tags": ["x"]}, {"text": "Ho.", "seed": None, "matrix": [[1, 2.5]]}]
    path.write_text("\n\n".join(map(json.dumps, entries)))
    assert read(path, "jsonl") == {
        "7": {"text": "Hi.", "speed": [2], "tags": [b"x"]},
        "000003": {"text": "Ho.", "matrix": [[1, 2.5]]},
    }


def test_inputs_but_text_may_name_files_in_the_folder_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "me.wav").write_bytes(b"RIFF")
    np.save(tmp_path / "m.npy", np.eye(2, dtype=np.float32))
    path = tmp_path / "lines.jsonl"
    path.write_text(json.dumps({"text": "@me.wav", "voice": "@voices/me.wav", "matrix": "@m.npy"}))
    expected = {"text": "@me.wav", "voice": "RIFF", "matrix": [[1, 0], [0, 1]]}
    assert read(path, "jsonl", files=tmp_path) == {"000001": expected}


def test_requests_of_the_openai_batch_api(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    body = {"model": "speaker", "input": "Hi.", "voice": "nova", "speed": 1.25, "response_format": "mp3"}
    lines = [{"custom_id": "request-1", "method": "POST", "url": "/v1/audio/speech", "body": body}]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert detect(path) == "openai"
    assert model_of(path) == "speaker"
    assert read(path, "openai") == {"request-1": {"text": "Hi.", "voice": "nova", "speed": [1.25]}}
    report = ItemFile(path, "openai", "speaker", Signature(inputs=SPEECH.inputs[:2])).check()
    assert report.output_format == "mp3"
    assert report.notes == ["1 request names voice, which speaker does not take: left out"]


def test_requests_as_real_clients_send_them(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    body = {"model": "speaker", "input": "Hi.", "voice": {"id": "nova"}, "speed": None, "user": "u", "stream": False}
    path.write_text(json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/audio/speech", "body": body}))
    assert read(path, "openai") == {"a": {"text": "Hi.", "voice": "nova"}}
    told = ItemFile(path, "openai", "speaker", SPEECH).check().notes
    assert sorted(told) == [
        f"1 request names {key}, which speaker does not take: left out" for key in ("stream", "user")
    ]


def test_the_kind_of_a_file_is_in_its_name(tmp_path: Path) -> None:
    for name, kind in (("a.txt", "text"), ("a", "text"), ("a.CSV", "csv"), ("a.tsv", "csv"), ("a.ndjson", "jsonl")):
        (tmp_path / name).write_text('{"text": "Hi."}\n')
        assert detect(tmp_path / name) == kind
    for name, kind in (("a.csv.gz", "csv"), ("a.JSONL.GZ", "jsonl"), ("a.txt.gz", "text"), ("a.gz", "text")):
        (tmp_path / name).write_bytes(gzip.compress(b'{"text": "Hi."}\n'))
        assert detect(tmp_path / name) == kind
    with pytest.raises(ItemFileError, match="No such file"):
        detect(tmp_path / "gone.jsonl")


def test_unicode_text_from_a_spreadsheet_is_a_table_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "Book1.txt"
    path.write_bytes('ID\t"Text"\r\na\t"One, ""two""."\r\n'.encode("utf-16"))
    assert detect(path) == "csv"
    assert read(path, detect(path)) == {"a": {"text": 'One, "two".'}}
    path.write_bytes("Text about id.\tMore text.\n".encode("utf-16"))
    assert detect(path) == "text"


def test_a_model_that_nobody_has_loaded_takes_text(tmp_path: Path) -> None:
    path = tmp_path / "lines.csv"
    path.write_text("id,text\na,Hi.\n")
    assert read(path, "csv", Signature()) == {"a": {"text": "Hi."}}
    path.write_text("id,text,speed\na,Hi.,1\n")
    report = ItemFile(path, "csv", "speaker", Signature()).check()
    assert "no worker has told yet" in report.problems[0].finding


def test_tensors_need_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": "a", "x": [[1, 2]]}\n{"id": "b"}\n')
    report = ItemFile(path, "jsonl", "identity", Signature(inputs=[tensor_spec("x", pb.F32, [1, 2])])).check()
    assert report.items == 1
    assert [str(problem) for problem in report.problems] == ["2: x: required"]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(b"A line of text, as long as lines of text are.\n" * 20_000)
    file = ItemFile(path, "text", "speaker", SPEECH)
    tracemalloc.start()
    assert file.check().items == sum(1 for _ in file.items()) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 2**20
