"""Outputs are all there, or the missing are named."""

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from kernelport import Client
from kernelport.v1 import job_pb2 as pb
from tests.cli.running import called
from tests.everyday.conftest import UNSPEAKABLE, tensor_file, text_file


def hashes(folder: Path) -> dict[str, str]:
    """Of the outputs in a folder, by name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.suffix in (".npz", ".wav")
    }


def told(folder: Path) -> dict[str, str]:
    """The same as the manifest beside them has it."""
    rows = map(json.loads, (folder / "manifest.jsonl").read_text("utf-8").splitlines())
    return {row["file"]: row["sha256"] for row in rows if row["state"] == "succeeded"}


def submitted(*arguments: object, expect: int = 0) -> str:
    return called("jobs", "submit", *arguments, expect=expect).stdout.split()[0]


@pytest.mark.parametrize("size", [255, 256, 257, 1000])
def test_every_file_of_a_job_is_there_watched_or_fetched(size: int, tmp_path: Path) -> None:
    job = submitted(tensor_file(tmp_path / "items.jsonl", size), "--deployment", "identity-onnx", "-o", "watched")
    assert f"{size:,} of {size:,} items" in called("jobs", "fetch", job, "-o", "fetched").stdout
    for folder in (Path("watched"), Path("fetched")):
        assert len(hashes(folder)) == size
        assert hashes(folder) == told(folder)


def test_fetching_watching_and_resuming_in_any_order_end_the_same(tmp_path: Path) -> None:
    source = text_file(tmp_path / "lines.txt", "One.", UNSPEAKABLE, "Three.")
    job = submitted(source, "--watch", expect=1)
    for command in (["fetch"], ["watch"], ["resume", "--watch"], ["fetch"], ["watch"]):
        name, *options = command
        printed = called("jobs", name, job, *options, "-o", "out", expect=1)
        assert "000002: " in printed.stderr, "what is missing is named"
        assert "something to say" in printed.stderr, "and why"
        assert set(hashes(Path("out"))) == {"000001.wav", "000003.wav"}
        assert hashes(Path("out")) == told(Path("out"))


def test_the_files_of_some_items_are_fetched_alone(tmp_path: Path) -> None:
    job = submitted(text_file(tmp_path / "lines.txt", "One.", UNSPEAKABLE, "Three.", "Four."), "--watch", expect=1)
    assert called("jobs", "fetch", job, "000004", "000001", "-o", "some").stdout.split() == [
        "some/000001.wav",
        "some/000004.wav",
    ]
    assert set(hashes(Path("some"))) == {"000001.wav", "000004.wav"}
    assert called("jobs", "fetch", job, "000001", "-o", "own/name.wav").stdout.strip() == "own/name.wav"
    assert Path("own/name.wav").read_bytes() == Path("some/000001.wav").read_bytes()
    assert [path.name for path in Path("own").iterdir()] == ["name.wav"]
    refusal = called("jobs", "fetch", job, "000001", "-o", "own/name.mp3", expect=2).stderr
    assert "expected a name that ends in .wav, or a folder; got own/name.mp3" in refusal
    printed = called("jobs", "fetch", job, "000002", "000003", "no-such", "-o", "more", expect=1)
    assert printed.stdout.split() == ["more/000003.wav"]
    assert "000002: " in printed.stderr
    assert "something to say" in printed.stderr
    assert "no-such: the job has no such item" in printed.stderr


def test_the_file_of_an_item_replaces_no_other_unless_asked_to_and_goes_to_stdout(tmp_path: Path) -> None:
    job = submitted(tensor_file(tmp_path / "items.jsonl", 2), "--deployment", "identity-onnx", "-o", "all")
    one, two = (Path(f"all/t-{number}.npz").read_bytes() for number in range(2))
    for _ in range(2):
        assert called("jobs", "fetch", job, "t-0", "-o", "own.npz").stdout.strip() == "own.npz"
    refusal = called("jobs", "fetch", job, "t-1", "-o", "own.npz", expect=2).stderr
    assert "own.npz is there already: choose another name, or --overwrite" in refusal
    assert Path("own.npz").read_bytes() == one
    called("jobs", "fetch", job, "t-1", "-o", "own.npz", "--overwrite")
    assert Path("own.npz").read_bytes() == two
    command = [sys.executable, "-m", "kernelport.cli", "jobs", "fetch", job, "t-0", "-o", "-"]
    assert subprocess.run(command, stdout=subprocess.PIPE, timeout=100, check=True).stdout == one


def test_a_file_that_is_gone_is_named_and_the_others_come(tmp_path: Path, client: Client) -> None:
    job = submitted(tensor_file(tmp_path / "items.jsonl", 5), "--deployment", "identity-onnx", "--watch")
    (Path(client.jobs.get(job).output_url) / "t-2.npz").unlink()
    for command in ("fetch", "watch"):
        printed = called("jobs", command, job, "-o", command, expect=1)
        assert "t-2: not fetched: item_id: the file t-2.npz is gone" in printed.stderr
        assert "1 file is missing" in printed.stderr
        assert len(hashes(Path(command))) == 4


def test_finished_items_are_told_once_as_they_stand_and_a_watch_hears_the_second_outcome(client: Client) -> None:
    job = client.jobs.submit("hibari-en", ["One.", UNSPEAKABLE, UNSPEAKABLE])
    events = list(client.jobs.watch(job.id, items=True))
    client.jobs.replace_items(job.id, [("000002", {"text": "Two."})])
    client.jobs.resume(job.id)
    again = client.jobs.finished_items(job.id, cursor=events[-1].cursor)
    states = {item.id: item.state for item in again}
    assert states == {"000002": pb.ITEM_STATE_SUCCEEDED, "000003": pb.ITEM_STATE_FAILED}, "the second outcomes"
    fresh = list(client.jobs.finished_items(job.id))
    assert Counter(item.id for item in fresh) == Counter(["000001", "000002", "000003"])
    assert [item.text for item in sorted(fresh, key=lambda item: item.id)] == ["One.", "Two.", UNSPEAKABLE]
