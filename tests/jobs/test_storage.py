"""Where outputs go when the place is full, refuses or stalls; and object storage."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from botocore.exceptions import ClientError
from s3fs.errors import translate_boto_error

from kernelport.config.settings import bundled_deployments
from kernelport.enums import ItemState
from kernelport.internal.v1.job_store_pb2 import BatchResult, ItemResult, Page
from kernelport.jobs.artifacts import Artifacts
from kernelport.jobs.item_records import item_of
from kernelport.jobs.records import JobRecord
from kernelport.names import MANIFEST, file_name
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2 as pb
from kernelport.v1 import job_pb2_grpc
from kernelport.v1.job_pb2 import NewItem
from tests.conftest import START_TIMEOUT_S, discard, stack_settings
from tests.jobs.calls import JobCalls, manifest, tiny
from tests.waiting import wait_for

MODEL = "identity-onnx"
LARGE, SMALL = 40_000, 4  # numbers in an item, of 4 bytes
LIMIT_BYTES = 100_000
KEY_ID, SECRET = "ACCESSKEYID", "secretaccesskey"


@pytest.fixture
def stack_on(tmp_path: Path) -> Iterator[Callable[..., tuple[Stack, JobCalls]]]:
    """Starts a stack that keeps its outputs at a place."""
    running: list[tuple[Stack, grpc.Channel]] = []

    def start(artifacts: str) -> tuple[Stack, JobCalls]:
        settings = replace(stack_settings(bundled_deployments()), artifacts=artifacts, storage_patience_s=1.0)
        stack = Stack(settings, [MODEL], tmp_path / "state")
        stack.start()
        channel = grpc.insecure_channel(stack.target)
        running.append((stack, channel))
        stack.wait_ready(START_TIMEOUT_S)
        return stack, JobCalls(job_pb2_grpc.JobServiceStub(channel))

    yield start
    for stack, channel in running:
        channel.close()
        discard(stack.children.values())
        stack.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
def test_a_full_disk_stops_the_job_which_can_be_resumed(
    tmp_path: Path, stack_on: Callable[..., tuple[Stack, JobCalls]]
) -> None:
    """The kernel refuses to let the worker's files grow past a limit, as it does on a disk without space."""
    stack, jobs = stack_on(str(tmp_path / "outputs"))
    pid = stack.children[f"worker-{MODEL}"].pid
    assert pid is not None
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, unlimited[1]))
    job = jobs.submit(MODEL, [*(tiny(f"s{number}") for number in range(5)), tiny("large", 1.0, LARGE)])
    over = jobs.wait(job.id)
    assert over.state == pb.JOB_STATE_FAILED
    assert "cannot write" in over.reason
    assert "File too large" in over.reason
    assert {row["id"] for row in manifest(over) if row["state"] == "not_run"} == {"large"}
    assert not (Path(over.output_url) / "large.npz").exists(), "nothing half written under its final name"
    assert not list(Path(over.output_url).glob(".*")), "nothing half written at all"

    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    jobs.resume(job.id)
    assert jobs.wait(job.id).state == pb.JOB_STATE_SUCCEEDED
    assert {row["state"] for row in manifest(over)} == {"succeeded"}
    assert (Path(over.output_url) / "large.npz").stat().st_size > LIMIT_BYTES


class Bucket:
    """An S3 server on loopback that keeps its objects as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "s3" / "bucket"
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self._config = folder / "rclone.conf"

    def start(self, key_id: str = KEY_ID) -> None:
        """Takes requests that are signed with this key."""
        rclone = Path(sys.executable).with_name("rclone")
        command = [rclone, "serve", "s3", "--addr", f"127.0.0.1:{self.port}", "--auth-key", f"{key_id},{SECRET}"]
        self.process = subprocess.Popen(
            [*command, str(self.folder.parent)],
            env={**os.environ, "RCLONE_CONFIG": str(self._config)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An S3 server with a bucket, and an environment that leads there."""
    server = Bucket(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server.start()
    yield server
    server.stop()


def test_outputs_land_in_s3_and_a_bucket_that_stalls_or_refuses_stops_the_job(
    bucket: Bucket, stack_on: Callable[..., tuple[Stack, JobCalls]]
) -> None:
    _, jobs = stack_on("s3://bucket/jobs")
    job = jobs.submit(MODEL, [tiny(f"item/{number}", number) for number in range(40)])
    assert jobs.wait(job.id).state == pb.JOB_STATE_SUCCEEDED
    assert job.output_url == f"s3://bucket/jobs/{job.id}"
    folder = bucket.folder / "jobs" / job.id
    for item in jobs.items(job.id):
        data = jobs.output(job.id, item.id)
        assert hashlib.sha256(data).digest() == item.sha256
        assert (folder / item.file).read_bytes() == data
    answers = list(jobs.stub.GetManifest(pb.GetManifestRequest(job_id=job.id)))
    assert answers[0].summary == (folder / "summary.json").read_bytes()
    assert b"".join(answer.chunk for answer in answers) == (folder / "manifest.jsonl").read_bytes()
    assert len((folder / MANIFEST).read_text().splitlines()) == 40

    bucket.process.send_signal(signal.SIGSTOP)
    stalled = jobs.submit(MODEL, [tiny(f"{number}") for number in range(3)])
    over = jobs.wait(stalled.id)
    assert over.state == pb.JOB_STATE_FAILED
    assert "cannot write s3://bucket/jobs" in over.reason
    assert over.progress.not_run == 3
    assert {ItemState.of(item) for item in jobs.items(stalled.id)} == {ItemState.NOT_RUN}
    bucket.process.send_signal(signal.SIGCONT)

    jobs.resume(stalled.id)
    assert jobs.wait(stalled.id).state == pb.JOB_STATE_SUCCEEDED
    jobs.delete(job.id)
    wait_for(lambda: jobs.is_gone(job.id), 20, "the deletion")
    assert not list(folder.glob("*"))

    bucket.stop()
    bucket.start("SOMEBODYELSE")
    refused = jobs.wait(jobs.submit(MODEL, [tiny("a")]).id)
    assert refused.state == pb.JOB_STATE_FAILED
    assert "cannot write s3://bucket/jobs" in refused.reason


@pytest.mark.parametrize("scheme", ["", "memory:/"], ids=["a folder", "object storage"])
def test_only_who_holds_an_item_replaces_a_file_of_other_bytes(scheme: str, tmp_path: Path) -> None:
    artifacts = Artifacts(f"{scheme}{tmp_path}")
    artifacts.publish("job/a.wav", b"first", pytest.fail)
    artifacts.publish("job/a.wav", b"first", pytest.fail)
    artifacts.publish("job/a.wav", b"late", lambda: False)
    assert artifacts.read("job/a.wav") == b"first"
    artifacts.publish("job/a.wav", b"second", lambda: True)
    assert artifacts.read("job/a.wav") == b"second"
    assert list(artifacts.names("job")) == [["a.wav"]]


@pytest.mark.parametrize("told", [{"Condition": "If-None-Match"}, {}], ids=["AWS", "MinIO"])
def test_s3_is_asked_to_overwrite_nothing_and_its_refusal_is_heard(
    told: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server of the other tests overwrites whatever it is asked."""
    artifacts = Artifacts("s3://bucket")
    written: list[bytes] = []
    code = "PreconditionFailed"

    async def call_s3(method: str, *more: Any, **arguments: Any) -> dict[str, Any]:
        if method == "put_object" and arguments["IfNoneMatch"] == "*":
            if written:
                raise translate_boto_error(ClientError({"Error": {"Code": code, **told}}, method))
            written.append(arguments["Body"])
        return {"ETag": "", "ContentLength": 5, "LastModified": None}

    monkeypatch.setattr(artifacts._fs, "_call_s3", call_s3)
    assert artifacts.create("job/a.wav", b"first")
    assert not artifacts.create("job/a.wav", b"late")
    assert written == [b"first"]
    code = "InvalidArgument"
    with pytest.raises(OSError, match="InvalidArgument"):
        artifacts.create("job/a.wav", b"late")


def test_an_s3_object_that_a_dead_worker_left_is_replaced(bucket: Bucket) -> None:
    artifacts = Artifacts("s3://bucket")
    wait_for(lambda: _is_up(artifacts))
    for data in (b"first", b"second"):
        artifacts.publish("job/a.wav", data, lambda: True)
        assert (bucket.folder / "job" / "a.wav").read_bytes() == data


def test_what_takes_space_in_a_directory_or_bucket_is_told_by_folder(bucket: Bucket, tmp_path: Path) -> None:
    for artifacts in (Artifacts("s3://bucket"), Artifacts(str(tmp_path / "here"))):
        wait_for(lambda artifacts=artifacts: _is_up(artifacts))  # type: ignore[misc]
        assert set(artifacts.folders()) == {"up"}
        for name in ("a.wav", "b.wav"):
            artifacts.create(f"job/{name}", b"12345")
        assert set(artifacts.folders()) == {"job", "up"}
        assert artifacts.usage("job") == (2, 10)
        assert artifacts.usage("nobody") == (0, 0)


def _is_up(artifacts: Artifacts) -> bool:
    try:
        artifacts.create(f"up/{time.time_ns()}", b"")
    except OSError:
        return False
    return True


def test_different_ids_have_different_file_names() -> None:
    ids = ["a", "a/b", "a%2Fb", "..", ".", "~", "%7E", "a b", "ä", "x" * 160, "x" * 161, "x" * 162, f"{'x' * 160}~"]
    capitals = ["A", "Ä", "A/b", "a/B", "X" * 160, "X" * 161, "aB", "Ab", "AB", "ab", "Ab~1", "ab~1", "%2f", "%2F"]
    names = {file_name(item_id, "wav").casefold() for item_id in (*ids, *capitals)}
    assert len(names) == len(ids) + len(capitals)
    for name in names:
        assert "/" not in name
        assert not name.startswith(".")
        assert len(name) < 210


@pytest.mark.parametrize("item_id", ["con", "CON", "nul", "nul.txt", "Aux", "com1", "LPT9.tar.gz", "prn."])
def test_no_file_has_the_name_of_a_device(item_id: str) -> None:
    assert file_name(item_id, "wav").split(".")[0].lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}


def test_common_ids_are_the_names_of_their_files() -> None:
    assert [file_name(item_id, "wav") for item_id in ("line-1", "000001", "console", "com", "nully.txt")] == [
        "line-1.wav",
        "000001.wav",
        "console.wav",
        "com.wav",
        "nully.txt.wav",
    ]
    assert file_name("LJ001-0001", "flac") == "LJ001-0001~3.flac"


def test_files_of_the_version_before_are_found_under_their_names() -> None:
    page = Page(items=[NewItem(id="Nul").SerializeToString()], places=[0])
    written = (BatchResult(suffix="wav"), ItemResult(file_bytes=1))
    job = JobRecord("job", {b"state": b"succeeded"})
    assert item_of(job, page, 0, ord("s"), b"", written).file == "Nul.wav"
    written[0].portable_names = True
    assert item_of(job, page, 0, ord("s"), b"", written).file == "%4Eul~1.wav"
