"""`kernelport jobs`, run as its user runs it."""

import hashlib
import importlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from kernelport import Client
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2 as pb
from tests.cli.running import called, kernelport
from tests.everyday.conftest import UNSPEAKABLE
from tests.waiting import wait_for


@pytest.fixture(autouse=True)
def target(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELPORT_TARGET", stack.target)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_text_file_becomes_audio_files_and_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "lines.txt"
    source.write_text("Good morning.\n\nIt is five o'clock.\nGood night.\n")
    options = ("--set", "speed=1.2", "--metadata", "book=1", "--request-id", f"r-{tmp_path}", "--deadline", "12h")
    printed = kernelport("jobs", "submit", source, "--watch", "--out", tmp_path / "out", *options)
    job_id, *lines, last = printed.stdout.splitlines()
    assert lines[-1].startswith("succeeded: 3/3 (100 %), 0 failed"), "lines, where stdout is no terminal"
    assert "compute 0:00:" in lines[-1]
    assert "real-time factor" not in lines[-1], "which nobody takes for the inverse of the speed there"
    assert last.startswith(f"{job_id} succeeded: 3 of 3 items")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".kernelport-job",
        *("000001.wav", "000003.wav", "000004.wav"),
        *("manifest.jsonl", "summary.json"),
    ]
    for row, text in zip(rows(tmp_path / "out"), ["Good morning.", "It is five o'clock.", "Good night."], strict=True):
        file = tmp_path / "out" / row["file"]
        assert (row["state"], row["text"], row["attempts"]) == ("succeeded", text, 1)
        assert hashlib.sha256(file.read_bytes()).hexdigest() == row["sha256"]
        assert soundfile.info(str(file)).frames / 24000 == pytest.approx(row["audio_s"])

    again = called("jobs", "submit", source, *options)
    assert again.stdout.strip() == job_id, "the same request names the same job"
    assert f"note: the request id names job {job_id} already: succeeded, with 3 items, deadline 20" in again.stderr
    assert again.stderr.endswith("3 items on hibari-en; succeeded\n")
    assert called("jobs", "watch", job_id).stdout.splitlines()[-1] == last.replace(
        str(tmp_path / "out"), output_of(job_id)
    )
    monkeypatch.setattr(importlib.import_module("kernelport.cli.jobs.outputs"), "_AT_A_TIME", 1)
    called("jobs", "fetch", job_id, "-o", tmp_path / "fetched")
    assert {path.name for path in (tmp_path / "fetched").iterdir()} == {
        path.name for path in (tmp_path / "out").iterdir()
    }
    for name in ("manifest.jsonl", "summary.json"):
        written = (Path(output_of(job_id)) / name).read_bytes()
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "fetched" / name).read_bytes() == written
    shown = called("jobs", "show", job_id).stdout
    assert f"{job_id}: succeeded" in shown
    assert "metadata   book=1" in shown
    assert re.search(r"audio +0:00:\d\d, compute 0:00:\d\d, real-time factor 0\.\d{3}$", shown, re.MULTILINE)
    assert "input      speed: F32[1], for every item" in shown
    assert job_id in called("jobs", "list", "--deployment", "hibari-en", "--state", "succeeded").stdout
    assert called("jobs", "delete", job_id, "--outputs").stdout == f"{job_id}: deleted\n"
    assert "there is no job" in called("jobs", "show", job_id, expect=2).stderr


def output_of(job_id: str) -> str:
    return str(json.loads(called("jobs", "show", job_id, "--json").stdout)["output_url"])


def test_bad_rows_are_told_and_nothing_is_queued_unless_they_are_left_out(tmp_path: Path, client: Client) -> None:
    source = tmp_path / "lines.csv"
    source.write_text("id,text,speed\na,Good morning.,1\nb,Good night.,fast\nc,,1\n")
    before = [job.id for job in client.jobs.list()]
    printed = kernelport("jobs", "submit", source, expect=2)
    assert f'{source}:3: speed: expected F32[1] (0.5 to 2.0, default 1), got "fast"' in printed.stderr
    assert f"{source}:4: text: expected a text, got an empty one" in printed.stderr
    assert "2 bad rows, 1 good one; nothing was queued; --skip-bad leaves them out" in printed.stderr
    assert [job.id for job in client.jobs.list()] == before

    printed = kernelport("jobs", "submit", source, "--skip-bad", "--format", "flac", "-o", tmp_path / "out")
    assert f"{source}:3: speed:" in printed.stderr
    assert "2 bad rows left out, 1 good one" in printed.stderr
    assert soundfile.info(str(tmp_path / "out" / "a.flac")).format == "FLAC"


def test_openai_requests_from_stdin_and_an_item_that_fails(tmp_path: Path) -> None:
    bodies = [{"input": "Good morning.", "voice": "nova", "response_format": "mp3"}, {"input": UNSPEAKABLE}]
    lines = [
        {"custom_id": f"r/{i}", "method": "POST", "url": "/v1/audio/speech", "body": {"model": "hibari-en", **body}}
        for i, body in enumerate(bodies)
    ]
    text = "\n".join(map(json.dumps, lines))
    out = tmp_path / "out"
    printed = kernelport("jobs", "submit", "-", "--input-format", "openai", "--out", out, stdin=text, expect=1)
    job_id = printed.stdout.splitlines()[0]
    assert "note: 1 request names voice, which hibari-en does not take: left out" in printed.stderr
    assert "r/1: " in printed.stderr
    assert "something to say" in printed.stderr
    assert f"kernelport jobs resume {job_id} --with" in printed.stderr
    assert [(row["id"], row["state"], row.get("file")) for row in rows(out)] == [
        ("r/0", "succeeded", "r%2F0.mp3"),
        ("r/1", "failed", None),
    ]
    assert soundfile.info(str(out / "r%2F0.mp3")).frames > 0
    failed = called("jobs", "items", job_id, "--state", "failed", "--json").stdout
    assert json.loads(failed)["id"] == "r/1"
    table = called("jobs", "items", job_id, COLUMNS="200").stdout
    assert "r/0" in table
    assert "something to say" in " ".join(table.split())
    assert called("jobs", "fetch", job_id, "-o", tmp_path / "fetched", expect=1).stdout.startswith("1 of 2 items")


def test_a_job_is_cancelled_and_resumed(tmp_path: Path) -> None:
    source = tmp_path / "lines.txt"
    source.write_text("This is a sentence that takes a moment to be spoken, as there are many of them.\n" * 40)
    job_id = called("jobs", "submit", source).stdout.strip()
    assert called("jobs", "cancel", job_id, "--reason", "for now").stdout.startswith(f"{job_id}: cancel")
    printed = called("jobs", "watch", job_id, expect=3)
    assert "for now" in printed.stderr
    assert (
        kernelport("jobs", "resume", job_id, "--watch")
        .stdout.splitlines()[-1]
        .startswith(f"{job_id} succeeded: 40 of 40 items")
    )
    assert "expected a job that failed" in called("jobs", "resume", job_id, expect=1).stderr


def test_a_broken_submission_is_sealed(client: Client) -> None:
    def broken() -> Iterator[dict[str, np.ndarray]]:
        yield from [{"x": np.ones((1, 1, 2, 2), np.float32)}] * 10_001
        raise RuntimeError("the power is out")

    with pytest.raises(RuntimeError):
        client.jobs.submit("identity-onnx", broken())
    job = next(iter(client.jobs.list()))
    client.jobs.wait(job.id)
    assert f"kernelport jobs seal {job.id}" in called("jobs", "resume", job.id, expect=1).stderr
    sealed = called("jobs", "seal", job.id)
    assert sealed.stdout.endswith(", 5,000 items\n")
    wait_for(lambda: client.jobs.get(job.id).state != pb.JOB_STATE_RUNNING)
    assert called("jobs", "delete", job.id, "--outputs", "--no-wait").stdout == ""


def test_ctrl_c_ends_the_watching_and_not_the_job(tmp_path: Path, client: Client) -> None:
    source = tmp_path / "lines.txt"
    # A submission waits for the disk for up to a second, and the job must not be over by then.
    source.write_text("This is a sentence that takes a moment to be spoken, as there are many of them.\n" * 150)
    # Tests that run in the background of a shell have Ctrl-C ignored, and children inherit that.
    run = (
        "import signal, kernelport.cli; signal.signal(signal.SIGINT, signal.default_int_handler); kernelport.cli.main()"
    )
    command = [sys.executable, "-c", run, "jobs", "submit", str(source), "--watch"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        job_id = watching.stdout.readline().strip()
        state = watching.stdout.readline()
        assert state.startswith(("pending", "running")), state or watching.stderr.read()
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130
        told = watching.stderr.read()
    assert f"{job_id} goes on; watch it again with: kernelport jobs watch {job_id}" in told
    assert "Traceback" not in told
    done = client.jobs.get(job_id).progress.succeeded
    wait_for(lambda: client.jobs.get(job_id).progress.succeeded > done)
    client.jobs.cancel(job_id)


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["submit", "gone.txt"], 2, "does not exist"),
        (["submit", "-", "--set", "sped=1"], 2, "no input sped; expected one of text, speed, locale, seed"),
        (["submit", "-", "--set", "speed=fast"], 2, 'inputs["speed"]'),
        (["submit", "-", "--voice", "pyproject.toml"], 2, "--voice: hibari-en has no input prompt_audio"),
        (["submit", "-", "--deployment", "no-such"], 2, 'no deployment is named "no-such"'),
        (["submit", "-", "--deployment", "identity-onnx"], 2, "takes more than text: expected CSV or JSONL with x"),
        (["submit", "-", "--deadline", "tomorrow"], 2, "expected a time such as"),
        (["submit", "-", "--deadline", "2001-01-01"], 2, "expected a time to come"),
        (["submit", "-", "--webhook", "ftp://example.com"], 2, "expected an http or https URL"),
        (["submit", "-", "--webhook", "http://192.168.0.1/hook"], 2, "192.168.0.1 is no public address"),
        (["submit", "-", "--webhook", "http://[fd00::1]/hook"], 2, "fd00::1 is no public address"),
        (["submit", "-", "--webhook", "http://[::1/hook"], 2, "expected an http or https URL"),
        (["submit", "-", "--webhook", "http://example.com:99999"], 2, "expected an http or https URL"),
        (["submit", "-", "--webhook-event", "failed"], 2, "expected --webhook, too"),
        (["cancel"], 2, "JOB"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_clear_line(arguments: list[str], code: int, complaint: str) -> None:
    assert complaint in called("jobs", *arguments, stdin="Good morning.\n", expect=code).stderr


@pytest.mark.parametrize(
    "command", ["show", "items", "fetch", "watch", "cancel", "seal", "resume", "delete", "export -o items.csv"]
)
def test_a_job_that_there_is_not_is_a_mistake_whatever_is_asked(command: str) -> None:
    name, *options = command.split()
    assert 'there is no job "no-such"' in called("jobs", name, "no-such", *options, expect=2).stderr


def test_an_empty_file_is_no_job() -> None:
    assert "has no items" in called("jobs", "submit", "-", stdin="\n \n", expect=2).stderr
