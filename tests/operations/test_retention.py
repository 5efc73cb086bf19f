"""How long what is over is kept: jobs, their outputs, dead letters, results of request ids."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from redis import Redis

from kernelport.broker import keys
from kernelport.broker.dead_letters import OldDeadLetters
from kernelport.config.settings import Settings, bundled_deployments
from kernelport.jobs.artifacts import Artifacts
from kernelport.jobs.leftovers import Leftovers
from kernelport.jobs.storage import SharedStorage
from kernelport.supervisor.stack import Stack
from kernelport.telemetry import metrics
from kernelport.v1 import job_pb2_grpc
from kernelport.v1.dead_letter_pb2 import DeadLetter
from tests.cli.running import called
from tests.conftest import serving_stack, stack_settings
from tests.jobs.calls import JobCalls, tiny
from tests.waiting import wait_for

MODEL = "identity-onnx"
OTHERS = "0190b8e0000-00000001"
PASSED_S = 1e-3


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = stack_settings(bundled_deployments())
    with serving_stack(settings, [MODEL], tmp_path_factory.mktemp("retention")) as running:
        yield running


def sweep(stack: Stack, redis: Redis, **times: float) -> None:
    """What a front door with these settings does in a minute."""
    artifacts = Artifacts(stack.settings.artifacts)
    Leftovers(redis, [MODEL], artifacts, SharedStorage(redis, artifacts), None, Settings(**times)).run_once()


def gone_job(jobs: JobCalls) -> Path:
    """The outputs of a job that was deleted without them."""
    job = jobs.wait(jobs.submit(MODEL, [tiny("a"), tiny("b")]).id)
    jobs.delete(job.id, outputs=False)
    return Path(job.output_url)


def as_of_another_stack(folder: Path, job_id: str) -> Path:
    """A copy of outputs whose summary names another stack."""
    copy = folder.parent / job_id
    shutil.copytree(folder, copy)
    summary = json.loads((copy / "summary.json").read_text())
    (copy / "summary.json").write_text(json.dumps({**summary, "stack": "another"}))
    return copy


def test_one_time_for_the_whole_stack_and_one_for_outputs(tmp_path: Path) -> None:
    settings = replace(stack_settings(bundled_deployments()), retention=1.0, keep_outputs=3.0)
    with (
        serving_stack(settings, [MODEL], tmp_path / "state") as stack,
        grpc.insecure_channel(stack.target) as channel,
        Redis.from_url(stack.settings.redis_url) as redis,
    ):
        jobs = JobCalls(job_pb2_grpc.JobServiceStub(channel))
        letter = DeadLetter(id="old", deployment=MODEL, unix_us=round(time.time() * 1e6))
        redis.hset(keys.dead_letters(MODEL), "old", letter.SerializeToString())
        job = jobs.wait(jobs.submit(MODEL, [tiny("a")], request_id="once").id)
        folder = Path(job.output_url)
        others = as_of_another_stack(folder, OTHERS)
        wait_for(lambda: jobs.is_gone(job.id))
        assert folder.exists(), "outputs are kept longer"
        assert not redis.exists(keys.job_request("once"))
        wait_for(lambda: not folder.exists())
        assert others.exists()
        wait_for(lambda: not redis.hlen(keys.dead_letters(MODEL)))


def test_outputs_stay_for_ever_where_no_time_is_set(stack: Stack, redis: Redis, jobs: JobCalls) -> None:
    folder = gone_job(jobs)
    sweep(stack, redis)
    assert folder.exists()


def test_outputs_go_once_their_time_is_over_and_those_of_jobs_that_are_there_stay(
    stack: Stack, redis: Redis, jobs: JobCalls
) -> None:
    there = jobs.wait(jobs.submit(MODEL, [tiny("a")]).id)
    folder = gone_job(jobs)
    unnamed = folder.parent / OTHERS.replace("1", "2")
    shutil.copytree(folder, unnamed)
    (unnamed / "summary.json").unlink()
    sweep(stack, redis, keep_outputs=3600.0)
    assert folder.exists()
    sweep(stack, redis, keep_outputs=PASSED_S)
    assert not folder.exists()
    assert unnamed.exists()
    assert Path(there.output_url).exists()


def test_with_an_empty_redis_nothing_is_swept(stack: Stack, redis: Redis, jobs: JobCalls) -> None:
    folders = [gone_job(jobs), Path(jobs.wait(jobs.submit(MODEL, [tiny("a")]).id).output_url)]
    with Redis.from_url(stack.settings.redis_url.removesuffix("/0") + "/1") as empty:
        for _ in range(2):
            sweep(stack, empty, keep_outputs=PASSED_S)
    assert all(folder.exists() for folder in folders)


def test_with_a_redis_that_was_set_back_nothing_is_swept(stack: Stack, redis: Redis, jobs: JobCalls) -> None:
    jobs.wait(jobs.submit(MODEL, [tiny("a")]).id)
    backup: dict[bytes, Any] = {key: redis.dump(key) for key in redis.scan_iter("kp:job*")}
    folders = [gone_job(jobs), Path(jobs.wait(jobs.submit(MODEL, [tiny("a")]).id).output_url)]
    redis.delete(*redis.scan_iter("kp:job*"))
    for key, value in backup.items():
        if value is not None:  # what lives for a second may have gone meanwhile
            redis.restore(key, 0, value, replace=True)  # the stack lives, and may have written one anew
    for _ in range(2):
        sweep(stack, redis, keep_outputs=PASSED_S)
    assert all(folder.exists() for folder in folders)
    mine = gone_job(jobs)
    sweep(stack, redis, keep_outputs=PASSED_S)
    assert not mine.exists(), "what is made since goes in its time"


def test_dead_letters_go_where_a_time_is_set(redis: Redis) -> None:
    now = round(time.time() * 1e6)
    for name, age_s in (("old", 7200), ("new", 60)):
        letter = DeadLetter(id=name, deployment=MODEL, unix_us=now - age_s * 1_000_000)
        redis.hset(keys.dead_letters(MODEL), name, letter.SerializeToString())
    OldDeadLetters(redis, Settings().retention).sweep([MODEL])
    assert redis.hlen(keys.dead_letters(MODEL)) == 2
    OldDeadLetters(redis, 3600.0).sweep([MODEL])
    assert redis.hkeys(keys.dead_letters(MODEL)) == [b"new"]
    redis.delete(keys.dead_letters(MODEL))


def test_the_space_is_told(stack: Stack, redis: Redis, jobs: JobCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs.wait(jobs.submit(MODEL, [tiny("a")]).id)
    gone_job(jobs)
    sweep(stack, redis)
    for kind in ("jobs", "no_job"):
        assert (metrics.OUTPUT_BYTES.value(kind) or 0) > 100
    assert (metrics.STORAGE_FREE.value() or 0) > 0
    monkeypatch.setenv("KERNELPORT_TARGET", stack.target)
    monkeypatch.setenv("KERNELPORT_REDIS_URL", stack.settings.redis_url)
    monkeypatch.setenv("KERNELPORT_ARTIFACTS", stack.settings.artifacts)
    monkeypatch.setenv("COLUMNS", "200")
    told = called("doctor").stdout
    for part in (r" of jobs", " free", "no limit"):
        assert part in told
