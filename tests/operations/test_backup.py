"""A backup of a running stack, restored elsewhere; and an append-only file that is damaged."""

import json
import re
import shutil
import stat
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import yaml
from redis import Redis

from kernelport.config.settings import Settings
from kernelport.jobs.artifacts import ID_FILE, Artifacts
from kernelport.jobs.copies import put_back, read_list, write_list
from kernelport.supervisor.redis_server import find_redis_server
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2 as pb
from kernelport.v1 import job_pb2_grpc
from tests.cli.running import called
from tests.conftest import serving_stack, stack_settings
from tests.jobs.calls import JobCalls, journal_item, manifest
from tests.stack.models import HELD, pipeline
from tests.waiting import wait_for

DONE, LEFT = 6, 5
ITEMS = DONE + LEFT


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the model notes each item that it runs."""
    file = tmp_path / "journal"
    monkeypatch.setenv("KERNELPORT_TEST_JOURNAL", str(file))
    return file


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "deployments.yaml"
    entry = pipeline("Journal", batching={"max_batch": 1})
    file.write_text(yaml.safe_dump({"deployments": {"journal": entry}}))
    return file


def settings(table: Path) -> Settings:
    """Neither a worker that stops nor who comes after it waits long for the item that is held."""
    return replace(stack_settings(table), stop_s=1.0, lease_s=3.0, heartbeat_ttl_s=4.0)


@pytest.fixture
def stack(table: Path, journal: Path, tmp_path: Path) -> Iterator[Stack]:
    with serving_stack(settings(table), ["journal"], tmp_path / "first") as running:
        yield running


def half_done(stack: Stack) -> pb.Job:
    """A job of which some items are done, one runs until it is let go, and the rest wait for it."""
    seconds = [0.0] * DONE + [HELD] + [0.0] * (LEFT - 1)
    with grpc.insecure_channel(stack.target) as channel:
        jobs = JobCalls(job_pb2_grpc.JobServiceStub(channel))
        job = jobs.submit("journal", [journal_item(*each) for each in enumerate(seconds)])
        wait_for(lambda: jobs.get(job.id).progress.succeeded == DONE)
        return job


def finished(table: Path, folder: Path, job_id: str) -> pb.Job:
    """The job once a new stack on a state folder has gone on with it."""
    with (
        serving_stack(settings(table), ["journal"], folder) as stack,
        grpc.insecure_channel(stack.target) as channel,
    ):
        return JobCalls(job_pb2_grpc.JobServiceStub(channel)).wait(job_id)


def run(journal: Path) -> Counter[int]:
    """How often each item was run."""
    return Counter(int(line.split()[0]) for line in journal.read_text().splitlines())


def state_dir(stack: Stack) -> Path:
    return Path(stack.settings.artifacts).parent


def check_whole(job: pb.Job) -> None:
    """Each item of a job is done, once, and its output is where the manifest says."""
    assert job.state == pb.JOB_STATE_SUCCEEDED
    rows = manifest(job)
    assert sorted(int(row["id"]) for row in rows) == list(range(ITEMS))
    for row in rows:
        assert (Path(job.output_url) / row["file"]).stat().st_size == row["file_bytes"]


def test_a_half_done_job_goes_on_where_it_is_restored_and_no_item_runs_twice(
    stack: Stack, table: Path, journal: Path, tmp_path: Path
) -> None:
    job = half_done(stack)
    with Redis.from_url(stack.settings.redis_url) as redis:
        redis.set("somebody-else", "secret")
        redis.execute_command("SELECT", 3)
        redis.set("in-another-database", "secret")
    told = called("backup", tmp_path / "backup", "--state-dir", state_dir(stack)).stdout
    assert f"{DONE + 1} outputs" in told, "those of the job, and the storage's own"
    stack.stop()
    shutil.rmtree(state_dir(stack))
    second = tmp_path / "second"
    told = called("restore", tmp_path / "backup", "--state-dir", second).stdout
    assert f"{DONE + 1} of {DONE + 1} outputs" in told
    before = run(journal)
    (journal.parent / "go").touch()
    over = finished(table, second, job.id)
    assert over.output_url == str(second / "artifacts" / job.id)
    check_whole(over)
    ran = run(journal) - before
    assert ran == Counter(range(DONE, ITEMS)), "those that were not done, once"
    for file in (second / "redis" / "appendonlydir").iterdir():
        assert b"somebody-else" not in file.read_bytes()
        assert b"in-another-database" not in file.read_bytes()


def test_a_backup_is_for_its_owner_s_eyes_and_restored_into_an_empty_place(stack: Stack, tmp_path: Path) -> None:
    half_done(stack)
    folder = tmp_path / "backup"
    called("backup", folder, "--state-dir", state_dir(stack), "--without-outputs")
    assert not (folder / "outputs").exists()
    listed = [json.loads(line) for line in (folder / "outputs.jsonl").read_text().splitlines()]
    assert len(listed) == DONE + 1
    assert listed[0]["path"] == ID_FILE
    shutil.copytree(stack.settings.artifacts, tmp_path / "mounted" / "artifacts")
    apart = ("--redis-url", stack.settings.redis_url, "--state-dir", tmp_path / "mounted")
    assert f"{DONE + 1} outputs" in called("backup", tmp_path / "apart", *apart).stdout
    for file in (folder, folder / "redis.rdb"):
        assert not stat.S_IMODE(file.stat().st_mode) & 0o077
    assert "is not empty" in called("backup", folder, "--state-dir", state_dir(stack), expect=2).stderr
    assert "another stack runs" in called("restore", folder, "--state-dir", state_dir(stack), expect=1).stderr
    told = called("restore", folder, "--state-dir", tmp_path / "elsewhere")
    assert f"0 of {DONE + 1} outputs" in told.stdout
    assert "neither there nor in the backup" in told.stderr
    assert "is there already" in called("restore", folder, "--state-dir", tmp_path / "elsewhere", expect=2).stderr
    where = ("--redis-dir", tmp_path / "data", "--artifacts", stack.settings.artifacts)
    assert f"{DONE + 1} of {DONE + 1} outputs" in called("restore", folder, *where).stdout
    (folder / "redis.rdb").write_bytes(b"REDIS0011 and no more")
    told = called("restore", folder, "--state-dir", tmp_path / "third", expect=1)
    assert "cannot read the backup" in told.stderr
    assert not list((tmp_path / "third" / "redis").iterdir()), "nothing is left behind"
    (folder / "backup.json").unlink()
    assert "no whole backup" in called("restore", folder, "--state-dir", tmp_path / "fourth", expect=2).stderr


def test_without_a_stack_and_without_its_redis_nothing_is_copied(tmp_path: Path) -> None:
    away = "redis://127.0.0.1:1/0"
    told = called("backup", tmp_path / "a", "--redis-url", away, expect=1).stderr
    assert "cannot copy the Redis at 127.0.0.1:1" in told
    assert "no stack runs" in called("backup", tmp_path / "b", "--state-dir", tmp_path / "none", expect=2).stderr


def test_an_append_only_file_damaged_in_the_middle_is_cut_and_the_job_goes_on(
    stack: Stack, table: Path, journal: Path, tmp_path: Path
) -> None:
    job = half_done(stack)
    stack.stop()
    folder = state_dir(stack) / "redis" / "appendonlydir"
    (log,) = folder.glob("*.incr.aof")
    content = log.read_bytes()
    # Behind the job's submission, between its items.
    named = [found.start() for found in re.finditer(job.id.encode(), content)]
    at = named[len(named) * 3 // 4]
    log.write_bytes(content[:at] + bytes(64) + content[at + 64 :])
    tool = tmp_path / "redis-check-aof"
    tool.symlink_to(find_redis_server())
    shown = (folder / "appendonly.aof.manifest",)
    found = subprocess.run([tool, *shown], capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 1
    assert "--fix" in found.stdout
    subprocess.run([tool, "--fix", *shown], input="y\n", capture_output=True, text=True, check=True, timeout=60)
    (journal.parent / "go").touch()
    check_whole(finished(table, state_dir(stack), job.id))


def test_outputs_in_object_storage_are_copied_and_put_into_a_directory(tmp_path: Path) -> None:
    bucket, directory = Artifacts("memory://outputs"), Artifacts(str(tmp_path / "outputs"))
    bucket.create("job/a.npz", b"first")
    bucket.create("job/b.npz", b"second")
    listed = list(write_list(bucket, tmp_path / "list", tmp_path / "copies"))
    assert listed == [("job/a.npz", 5), ("job/b.npz", 6)]
    directory.create("job/b.npz", b"as it")
    for each in read_list(tmp_path / "list"):
        assert put_back(directory, each, tmp_path / "copies")
    assert [directory.read(each.path) for each in listed] == [b"first", b"second"]
