"""What failed can be mended, and run again inside the same job."""

import csv
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernelport import Client, FailedPreconditionError, InvalidArgumentError, NotFoundError
from kernelport.client.jobs import Jobs
from kernelport.v1 import job_pb2 as pb
from tests.cli.running import called
from tests.everyday.conftest import UNSPEAKABLE, text_file


def failed_job(tmp_path: Path) -> str:
    rows = [{"id": "good", "text": "One."}, {"id": "bad", "text": UNSPEAKABLE, "speed": 1.5}]
    source = text_file(tmp_path / "items.jsonl", *map(json.dumps, rows))
    printed = called("jobs", "submit", source, "--watch", expect=1)
    job = printed.stdout.split()[0]
    assert f"kernelport jobs export {job} --state failed" in printed.stderr
    assert f"run the rest with: kernelport jobs resume {job}" not in printed.stderr, "that cannot mend it"
    return job


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_what_failed_is_exported_mended_and_run_with_its_new_inputs(ending: str, tmp_path: Path) -> None:
    job, file = failed_job(tmp_path), Path(f"failed.{ending}")
    assert called("jobs", "export", job, "--state", "failed", "-o", file).stdout == f"1 item: {file}\n"
    text = file.read_text("utf-8")
    row = next(csv.DictReader(text.splitlines())) if ending == "csv" else json.loads(text)
    assert (row["id"], row["text"], float(row["speed"])) == ("bad", UNSPEAKABLE, 1.5)
    assert "something to say" in row["reason"]

    file.write_text(text.replace(UNSPEAKABLE, "Nine."), "utf-8")
    printed = called("jobs", "resume", job, "--with", file, "-o", "out")
    assert f"{job} succeeded: 2 of 2 items" in printed.stdout
    rows = [json.loads(line) for line in Path("out/manifest.jsonl").read_text("utf-8").splitlines()]
    assert [(row["id"], row["text"]) for row in rows] == [("good", "One."), ("bad", "Nine.")]
    assert rows[1]["inputs"] == {"speed": 1.5}
    assert {"good.wav", "bad.wav"} <= {path.name for path in Path("out").iterdir()}


@pytest.mark.parametrize("options", [("--json",), ("-o", "out")])
def test_a_job_that_is_resumed_while_its_end_is_told_is_followed_further(
    options: tuple[str, ...], tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, watch, cursors = failed_job(tmp_path), Jobs.watch, []

    def resumed_at_the_end(jobs: Jobs, job_id: str, **rest: Any) -> Iterator[pb.WatchJobResponse]:
        yield from watch(jobs, job_id, **rest)
        if not cursors:
            client.jobs.replace_items(job, [("bad", "Nine.")])
            client.jobs.resume(job)
        cursors.append(rest["cursor"])

    monkeypatch.setattr(Jobs, "watch", resumed_at_the_end)
    printed = called("jobs", "watch", job, *options)
    assert "succeeded" in printed.stdout
    assert "no manifest" not in printed.stderr
    assert cursors[0] == 0 < cursors[1], "what was told is not told again"
    if "-o" in options:
        assert {"good.wav", "bad.wav", "manifest.jsonl"} <= {path.name for path in Path("out").iterdir()}


def test_what_mends_may_be_encoded_as_excel_does_and_have_bad_rows(tmp_path: Path) -> None:
    job = failed_job(tmp_path)
    file = tmp_path / "mended.csv"
    file.write_bytes("id,text\nbad,Caf\xe9.\ngood,?!\n".encode("windows-1252"))
    options = ("--with", file, "--encoding", "windows-1252", "--skip-bad", "--watch")
    assert f"{job} succeeded: 2 of 2 items" in called("jobs", "resume", job, *options).stdout


def test_nothing_to_export_leaves_no_file_in_the_way_of_the_next(tmp_path: Path, client: Client) -> None:
    job = failed_job(tmp_path)
    for file in ("none.csv", "none.jsonl"):
        told = called("jobs", "export", job, "--state", "running", "-o", file)
        assert (told.stdout, told.stderr) == ("", "nothing to export; no file was written\n")
        assert called("jobs", "export", job, "--state", "failed", "-o", file).stdout == f"1 item: {file}\n"
    resumed = called("jobs", "resume", job, "--with", "none.csv")
    assert "1 item takes its inputs from none.csv" in resumed.stderr, "be they new or not"
    client.jobs.wait(job)


def test_items_show_the_text_beside_the_reason(tmp_path: Path) -> None:
    table = called("jobs", "items", failed_job(tmp_path), "--state", "failed").stdout
    assert UNSPEAKABLE in " ".join(table.split())
    assert "something to say" in " ".join(table.split())


def test_inputs_that_no_cell_shows_travel_in_files(client: Client) -> None:
    rng = np.random.default_rng(7)
    items = [
        ("large", {"x": rng.random((1, 1, 20, 20), np.float32)}),
        ("small", {"x": np.ones((1, 1, 1, 2), np.float32)}),
    ]
    job = client.jobs.wait(client.jobs.submit("identity-onnx", items).id)
    printed = called("jobs", "export", job.id, "-o", "all.csv")
    assert "--files all.csv.files" in printed.stderr
    again = called("jobs", "submit", "all.csv", "--ignore", "reason", "--files", "all.csv.files", "--deployment",
                   "identity-onnx", "--watch").stdout.split()[0]  # fmt: skip
    for (_, inputs), item in zip(items, client.jobs.items(again, inputs=True), strict=True):
        assert item.inputs[0].data == inputs["x"].tobytes()


def test_only_what_can_be_replaced_is(tmp_path: Path, client: Client) -> None:
    job = failed_job(tmp_path)
    for items, error in (
        ([("good", "Done already.")], FailedPreconditionError),
        ([("nobody", "Hi.")], NotFoundError),
        ([("bad", {"text": "Hi.", "speed": 9.0})], InvalidArgumentError),
    ):
        with pytest.raises(error):
            client.jobs.replace_items(job, items)
    assert next(client.jobs.items(job, ["ITEM_STATE_FAILED"])).text == UNSPEAKABLE


@pytest.mark.parametrize(
    ("rows", "finding"),
    [
        (("text", "Hi."), "2: id: required"),
        (
            ("id,text", "bad,Hi.", "nobody,Hi."),
            '3: id: expected an item of the job that has not succeeded, got "nobody"',
        ),
        (("id,text", "good,Hi."), '2: id: expected an item of the job that has not succeeded, got "good"'),
    ],
)
def test_a_row_that_mends_nothing_is_a_mistake_in_the_file(
    rows: tuple[str, ...], finding: str, tmp_path: Path, client: Client
) -> None:
    job, file = failed_job(tmp_path), text_file(tmp_path / "mended.csv", *rows)
    assert f"{file}:{finding}" in called("jobs", "resume", job, "--with", file, expect=2).stderr
    assert next(client.jobs.items(job, ["failed"])).text == UNSPEAKABLE, "no row is taken in"


def test_what_would_fail_again_is_not_run_until_it_is_mended(tmp_path: Path, client: Client) -> None:
    job = failed_job(tmp_path)
    told = called("jobs", "resume", job, "-o", tmp_path / "out", expect=1).stderr
    assert "bad: " in told
    assert "something to say" in told
    assert "with the same inputs 1 item would fail again; nothing runs" in told
    assert f"kernelport jobs export {job} --state failed -o failed.csv" in told
    assert f"kernelport jobs resume {job} --with failed.csv" in told
    assert next(client.jobs.items(job, ["failed"])).attempts == 1
    called("jobs", "export", job, "--state", "failed", "-o", "failed.csv")
    again = called("jobs", "resume", job, "--with", "failed.csv", "--watch", expect=1)
    assert "1 item to run" in again.stdout, "with a file it is, be it mended or not"


def test_a_resumed_job_shows_its_new_deadline(tmp_path: Path, client: Client) -> None:
    job, file = failed_job(tmp_path), text_file(tmp_path / "mended.csv", "id,text", "bad,Nine.")
    called("jobs", "resume", job, "--with", file, "--deadline", "2040-01-31T18:00")
    assert "deadline   2040-01-31 18:00:00" in called("jobs", "show", job).stdout
    assert client.jobs.get(job).spec.deadline_unix_us == datetime(2040, 1, 31, 18).timestamp() * 1e6
    client.jobs.wait(job)
