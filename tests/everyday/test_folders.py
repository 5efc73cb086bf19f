"""A folder belongs to a job: nothing is replaced without being asked for."""

import io
import os
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from kernelport import Client
from tests.cli.running import called
from tests.everyday.conftest import tensor_file, text_file

ITEMS = ("--deployment", "identity-onnx")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def job_in(folder: str, *options: str, count: int = 2) -> str:
    printed = called("jobs", "submit", tensor_file(Path("items.jsonl"), count), *ITEMS, "-o", folder, *options)
    return printed.stdout.split()[0]


def test_a_second_job_into_a_folder_is_refused_before_anything_runs(client: Client) -> None:
    first = job_in("book")
    before, jobs = contents(Path("book")), [job.id for job in client.jobs.list()]
    printed = called("jobs", "submit", "items.jsonl", *ITEMS, "-o", "book", expect=2)
    assert f"book holds the outputs of job {first}" in printed.stderr
    assert all(choice in printed.stderr for choice in ("another folder", "--overwrite", "--append"))
    refused = called("say", "Hi.", "-o", "book/", expect=2)
    assert f"book holds the outputs of job {first}" in refused.stderr
    assert contents(Path("book")) == before
    assert [job.id for job in client.jobs.list()] == jobs


def test_of_a_job_that_was_deleted_nothing_goes_on_in_its_folder() -> None:
    first = job_in("book")
    again = called("jobs", "submit", "items.jsonl", *ITEMS, "-o", "book", expect=2).stderr
    assert (
        f"error: --out: book holds the outputs of job {first}, which `kernelport jobs watch {first} -o book`" in again
    )
    called("jobs", "delete", first, "--outputs")
    again = called("jobs", "submit", "items.jsonl", *ITEMS, "-o", "book", expect=2).stderr
    assert f"error: --out: book holds the outputs of job {first}, which was deleted: choose another folder" in again
    assert "Usage" not in again


@pytest.mark.parametrize("out", ["all.wav", "all.csv", "all.NPZ", "-"])
def test_the_name_of_a_file_makes_no_folder(out: str, client: Client) -> None:
    job = job_in("book")
    before, jobs = contents(Path()), [job.id for job in client.jobs.list()]
    for command in (
        ["submit", "items.jsonl", *ITEMS],
        ["watch", job],
        ["resume", job],
        ["fetch", job],
        ["fetch", job, "t-0", "t-1"],
        ["fetch", job, "t-0", "--append"],
    ):
        refusal = called("jobs", *command, "-o", out, expect=2).stderr
        assert f"expected a folder, got {out}: write -o {'FOLDER' if out == '-' else 'all'}/" in refusal
    assert contents(Path()) == before
    assert [job.id for job in client.jobs.list()] == jobs


def test_a_slash_or_a_folder_that_is_there_stands_for_a_folder_of_any_name() -> None:
    job = job_in("book")
    for out in ("all.npz/", "all.npz"):
        called("jobs", "fetch", job, "-o", out)
        assert {path.name for path in Path("all.npz").glob("*.npz")} == {"t-0.npz", "t-1.npz"}


@pytest.mark.parametrize("command", ["fetch", "watch"])
def test_what_another_job_made_is_not_fetched_over_it(command: str) -> None:
    job_in("first")
    second = job_in("second")
    before = contents(Path("first"))
    assert "holds the outputs of job" in called("jobs", command, second, "-o", "first", expect=2).stderr
    assert contents(Path("first")) == before


def test_append_keeps_names_and_manifests_apart() -> None:
    first = job_in("book")
    before = contents(Path("book"))
    second = job_in("book", "--append")
    after = contents(Path("book"))
    assert before.items() <= after.items()
    assert {path.name for path in (Path("book") / second).iterdir()} == {path.name for path in before}
    assert first != second
    called("jobs", "fetch", second, "-o", "book", "--append")
    assert contents(Path("book")) == after, "the same job has the same folder"


def test_overwrite_replaces_and_the_folder_belongs_to_the_new_job() -> None:
    first = job_in("book")
    second = job_in("book", "--overwrite")
    assert second in (Path("book") / "summary.json").read_text("utf-8")
    assert f"book holds the outputs of job {second}" in called("jobs", "fetch", first, "-o", "book", expect=2).stderr


def test_the_same_submission_again_goes_on_in_its_folder(client: Client) -> None:
    options = ("--request-id", f"night-{Path.cwd()}")
    assert job_in("book", *options) == job_in("book", *options)


@pytest.mark.parametrize("options", [(), ("--stream",)], ids=["whole", "stream"])
def test_say_writes_to_what_is_no_file(options: tuple[str, ...]) -> None:
    assert "s of audio: /dev/null" in called("say", "One.", "-o", "/dev/null", *options).stdout
    assert Path("/dev/null").is_char_device()
    os.mkfifo("speech.wav")
    listener = subprocess.Popen(["cat", "speech.wav"], stdout=subprocess.PIPE)
    try:
        called("say", "One.", "-o", "speech.wav", *options)
        assert listener.communicate(timeout=10)[0].startswith(b"RIFF")
    finally:
        listener.kill()
    assert Path("speech.wav").is_fifo()


def test_say_writes_to_stdout_what_is_one_file_and_tells_the_rest_on_stderr() -> None:
    options = ("--split", "sentence", "-o", "-")
    command = [sys.executable, "-m", "kernelport.cli", "say", "One. Two.", *options, "--set", "seed=7"]
    printed = subprocess.run(command, capture_output=True, timeout=100, check=True)
    with wave.open(io.BytesIO(printed.stdout)) as speech:
        assert speech.getnframes() > speech.getframerate() // 2
    assert b"2 of 2 spoken" in printed.stderr
    assert not list(Path.cwd().iterdir())
    assert "--append: expected a folder" in called("say", "One.", "-o", "-", "--append", expect=2).stderr


def test_say_refuses_a_format_that_its_file_is_not_of() -> None:
    assert "--format wav" in called("say", "One.", "-o", "one.mp3", "--format", "wav", expect=2).stderr
    assert "--format mp3" in called("say", "One.", "--stream", "--format", "mp3", expect=2).stderr
    assert not list(Path.cwd().iterdir())


def test_say_replaces_no_file_unless_asked_to() -> None:
    text_file(Path("lines.txt"), "One.", "Two.")
    called("say", "-f", "lines.txt", "-o", "spoken/")
    first = contents(Path("spoken"))
    assert "--append or --overwrite" in called("say", "Three.", "-o", "spoken/", expect=2).stderr
    called("say", "Three.", "-o", "spoken/", "--append")
    assert first.items() <= contents(Path("spoken")).items()
    assert {path.name for path in Path("spoken").iterdir()} == {"0001.wav", "0002.wav", "0003.wav"}
    called("say", "One.", "-o", "one.wav")
    assert "one.wav is there already" in called("say", "Two.", "-o", "one.wav", expect=2).stderr
    called("say", "Two.", "-o", "one.wav", "--overwrite")
