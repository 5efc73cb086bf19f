"""What comes out of jobs: files, the manifest, listings and streams."""

import hashlib
import io
import json
from pathlib import Path

import grpc
import numpy as np
import pytest
import soundfile

from kernelport import tensors
from kernelport.v1 import job_pb2 as pb
from tests.everyday.conftest import UNSPEAKABLE
from tests.jobs.calls import JobCalls, manifest, spoken, tiny
from tests.waiting import wait_for


def test_every_line_becomes_a_file_named_by_its_id(jobs: JobCalls) -> None:
    lines = {"1": "One.", "part 2/ä": "Two, and a bit more.", ".hidden": "Three.", "n" * 256: "Four."}
    job = jobs.wait(jobs.submit("hibari-en", [spoken(*line) for line in lines.items()]).id)
    assert job.state == pb.JOB_STATE_SUCCEEDED
    rows = manifest(job)
    assert [(row["id"], row["text"]) for row in rows] == list(lines.items())
    for row in rows:
        data = (Path(job.output_url) / row["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        info = soundfile.info(io.BytesIO(data))
        assert (info.samplerate, info.format, info.subtype) == (24000, "WAV", "PCM_16")
        assert row["audio_s"] == pytest.approx(info.duration, abs=1e-5)
        assert data == jobs.output(job.id, row["id"])
    assert [row["file"] for row in rows[:3]] == ["1.wav", "part%202%2F%C3%A4.wav", "%2Ehidden.wav"]
    summary = json.loads((Path(job.output_url) / "summary.json").read_text())
    progress = summary["progress"]
    assert (summary["state"], progress["succeeded"], progress["failed"]) == ("succeeded", 4, 0)
    assert progress["audio_s"] == pytest.approx(sum(row["audio_s"] for row in rows), abs=1e-3)
    left_over = {path.name for path in Path(job.output_url).iterdir()}
    assert left_over == {"manifest.jsonl", "summary.json", *(row["file"] for row in rows)}


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [(pb.OUTPUT_FORMAT_FLAC, "FLAC"), (pb.OUTPUT_FORMAT_OGG, "OGG"), (pb.OUTPUT_FORMAT_MP3, "MP3")],
)
def test_speech_comes_in_the_format_asked_for(jobs: JobCalls, wanted: pb.OutputFormat, kind: str) -> None:
    job = jobs.wait(jobs.submit("hibari-en", [spoken("a", "Hello.")], output_format=wanted).id)
    (item,) = jobs.items(job.id)
    assert item.file == f"a.{kind.lower()}"
    assert soundfile.info(io.BytesIO(jobs.output(job.id, "a"))).format == kind


def test_other_tensors_become_npz(jobs: JobCalls) -> None:
    job = jobs.wait(jobs.submit("identity-onnx", [tiny(str(n), n) for n in range(40)]).id)
    with np.load(io.BytesIO(jobs.output(job.id, "7"))) as arrays:
        assert arrays["y"].tolist() == np.full((1, 1, 1, 4), 7.0).tolist()
    row = manifest(job)[7]
    assert row["compute_path"].startswith("cpu, onnxruntime ")
    assert "text" not in row
    assert len(row["input_sha256"]) == 64
    sha256 = hashlib.sha256(np.full(4, 7.0, np.float32).tobytes()).hexdigest()
    assert row["inputs"] == {"x": {"dtype": "F32", "shape": [1, 1, 1, 4], "sha256": sha256}}


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "NPZ"])
def test_the_same_job_twice_gives_the_same_bytes(jobs: JobCalls, kind: str) -> None:
    wanted = pb.OutputFormat.Value(f"OUTPUT_FORMAT_{kind}")
    items = [spoken("a", "Hello."), spoken("b", "Good morning.")]
    first, second = (jobs.wait(jobs.submit("hibari-en", items, output_format=wanted).id) for _ in range(2))
    assert [row["sha256"] for row in manifest(first)] == [row["sha256"] for row in manifest(second)]
    assert all(row["audio_s"] > 0 for row in manifest(first))
    assert first.progress.audio_s > 0


def test_the_manifest_says_what_each_file_was_made_from_and_by(jobs: JobCalls) -> None:
    shared = tensors.from_arrays({"speed": np.array([1.5], np.float32)})
    items = [spoken("a", "Hello."), spoken("b", "Good morning.", speed=np.array([0.75], np.float32))]
    job = jobs.wait(jobs.submit("hibari-en", items, shared_inputs=shared, output_format=pb.OUTPUT_FORMAT_FLAC).id)
    first, second = manifest(job)
    assert (first["text"], "inputs" in first) == ("Hello.", False)
    assert second["inputs"] == {"speed": 0.75}
    assert (first["file"], first["device"]) == ("a.flac", "cpu")
    assert first["compute_path"] == "cpu"
    assert len(first["revision"]) == 16
    assert first["revision"] == second["revision"]
    assert json.loads((Path(job.output_url) / "summary.json").read_text())["spec"]["shared_inputs"] == {"speed": 1.5}


def test_a_file_that_a_dead_worker_made_of_other_inputs_is_replaced(jobs: JobCalls) -> None:
    job = jobs.submit("identity-onnx", [], open=True)
    file = Path(job.output_url) / "a.npz"
    file.parent.mkdir()
    file.write_bytes(b"of the inputs before")
    jobs.add(job.id, [tiny("a", 2.0)], seal=True)
    (row,) = manifest(jobs.wait(job.id))
    assert hashlib.sha256(file.read_bytes()).hexdigest() == row["sha256"]
    with np.load(file) as arrays:
        assert arrays["y"].ravel().tolist() == [2.0] * 4


def test_what_the_model_warned_of_is_told(jobs: JobCalls) -> None:
    job = jobs.wait(jobs.submit("hibari-en", [spoken("a", "Hello."), spoken("b", "Hello 日本.")]).id)
    told = [[], ["text: left out what cannot be spoken: 日本"]]
    assert [row.get("warnings", []) for row in manifest(job)] == told
    assert [list(item.warnings) for item in jobs.items(job.id)] == told


def test_an_item_that_fails_is_told_and_the_others_are_not_harmed(jobs: JobCalls) -> None:
    items = [spoken("good", "Hello."), spoken("bad", UNSPEAKABLE), spoken("fine", "World.")]
    job = jobs.wait(jobs.submit("hibari-en", items).id)
    assert job.state == pb.JOB_STATE_FAILED
    assert job.reason == "1 of 3 items failed"
    (failed,) = jobs.items(job.id, [pb.ITEM_STATE_FAILED])
    assert failed.id == "bad"
    assert "something to say" in failed.reason
    assert "something to say" in manifest(job)[1]["reason"]
    with pytest.raises(grpc.RpcError) as error:
        jobs.output(job.id, "bad")
    assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_a_watcher_that_comes_back_with_its_cursor_sees_every_item_once(jobs: JobCalls) -> None:
    job = jobs.submit("identity-onnx", [tiny(str(number)) for number in range(500)])
    seen: list[str] = []
    cursor, streams = 0, 0
    while True:
        streams += 1
        last = None
        for event in jobs.watch(job.id, items=True, cursor=cursor):
            last = event
            assert event.cursor >= cursor
            cursor = event.cursor
            seen += [item.id for item in event.items]
            if event.items and streams < 3:
                break
        else:
            break
    assert last is not None
    assert last.job.state == pb.JOB_STATE_SUCCEEDED
    assert sorted(seen, key=int) == [str(number) for number in range(500)]


def test_jobs_are_listed_newest_first_page_by_page(jobs: JobCalls) -> None:
    made = [jobs.submit("identity-onnx", [tiny("a")], metadata={"number": str(n)}).id for n in range(5)]
    for job_id in made:
        jobs.wait(job_id)
    found: list[str] = []
    token = ""
    while len(found) < 5:
        request = pb.ListJobsRequest(
            deployment="identity-onnx", states=[pb.JOB_STATE_SUCCEEDED], page_size=2, page_token=token
        )
        page = jobs.stub.ListJobs(request)
        assert len(page.jobs) <= 2
        found += [job.id for job in page.jobs]
        token = page.next_page_token
    assert found[:5] == made[::-1]


def test_a_job_is_deleted_with_its_outputs(jobs: JobCalls) -> None:
    job = jobs.wait(jobs.submit("identity-onnx", [tiny("a")]).id)
    jobs.delete(job.id)
    wait_for(lambda: jobs.is_gone(job.id), 20, "the deletion")
    assert not Path(job.output_url).exists()
    with pytest.raises(grpc.RpcError) as error:
        jobs.get(job.id)
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
    assert job.id not in {each.id for each in jobs.stub.ListJobs(pb.ListJobsRequest()).jobs}


def test_a_job_whose_retention_is_over_is_forgotten_with_its_outputs(jobs: JobCalls) -> None:
    job = jobs.wait(jobs.submit("identity-onnx", [tiny("a")], retention_s=1, delete_outputs=True).id)
    kept = jobs.wait(jobs.submit("identity-onnx", [tiny("a")], delete_outputs=True).id)
    wait_for(lambda: not Path(job.output_url).exists(), 20, "the sweeper")
    assert Path(kept.output_url).exists()
