"""Redis may hold what nobody of ours wrote: it is skipped and told, and everything else goes on."""

import secrets
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from redis import Redis

from kernelport.broker import keys
from kernelport.broker.queues import job_message, job_queue_key
from kernelport.internal.v1.job_store_pb2 import BatchResult, ItemResult
from kernelport.internal.v1.queue_pb2 import FrontDoorRecord, Load
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2 as pb
from tests.data_plane.conftest import Plane
from tests.jobs.calls import JobCalls, journal_item, tiny
from tests.stack.models import HELD
from tests.waiting import wait_for

MODEL = "identity-onnx"
GARBAGE = b"\xff\n\xfe"
SHORTENED_MS = 2000  # what is left of a heartbeat, until the next one
SETS_OF_JOBS = (keys.FINISHING_JOBS, keys.EXPIRING_JOBS, keys.DELETING_JOBS, keys.JOB_HOOKS)


def test_records_of_others_end_no_process_and_touch_no_file(stack: Stack, jobs: JobCalls, redis: Redis) -> None:
    outside = Path(stack.settings.artifacts_url).parent / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"ours")
    pids = {name: child.pid for name, child in stack.children.items()}

    def holds_forged(key: str) -> bool:
        return any(score is not None for score in redis.zmscore(key, ["../outside", GARBAGE]))

    forged = [keys.worker("forged"), keys.front_door("forged"), keys.job("../outside")]
    try:
        redis.set(keys.worker("forged"), GARBAGE)
        redis.set(keys.front_door("forged"), GARBAGE)
        redis.sadd(keys.WORKERS, "forged", GARBAGE)
        redis.sadd(keys.FRONT_DOORS, "forged", GARBAGE)
        redis.hset(keys.job("../outside"), mapping={"state": "deleting", "spec": GARBAGE})
        for key in SETS_OF_JOBS:
            redis.zadd(key, {"../outside": 1, GARBAGE: 1})
        redis.zadd(keys.active_jobs(MODEL), {"../outside": 0, GARBAGE: 0})
        redis.zadd(keys.JOBS, {"../outside": 1, GARBAGE: 1})
        wait_for(lambda: not any(map(holds_forged, SETS_OF_JOBS)), what="all of them are dropped")
        wait_for(lambda: not holds_forged(keys.active_jobs(MODEL)))
        assert jobs.wait(jobs.submit(MODEL, [tiny("a")]).id).state == pb.JOB_STATE_SUCCEEDED
        listed = jobs.stub.ListJobs(pb.ListJobsRequest(page_size=1000)).jobs
        assert "../outside" not in {job.id for job in listed}
        assert {name: child.pid for name, child in stack.children.items()} == pids
        assert (outside / "precious").read_bytes() == b"ours"
    finally:
        redis.delete(*forged)
        redis.srem(keys.WORKERS, "forged", GARBAGE)
        redis.srem(keys.FRONT_DOORS, "forged", GARBAGE)
        redis.zrem(keys.active_jobs(MODEL), "../outside", GARBAGE)
        redis.zrem(keys.JOBS, "../outside", GARBAGE)


@pytest.mark.parametrize(
    "taken",
    [
        GARBAGE,
        b"[]",
        b'{"job": "x"}',
        b'{"job": "x", "worker": "w", "attempt": "a", "slice": [0, 0, 1e18, 1]}',
        b'{"job": "x", "worker": "w", "attempt": "a", "slice": {}}',
    ],
)
def test_a_slice_that_nobody_took_is_dropped_and_jobs_go_on(taken: bytes, jobs: JobCalls, redis: Redis) -> None:
    redis.hset(keys.taken_slices(MODEL), "forged", taken)
    redis.lpush(job_queue_key(MODEL), job_message(MODEL, "forged"))
    wait_for(lambda: not redis.hexists(keys.taken_slices(MODEL), "forged"))
    assert jobs.wait(jobs.submit(MODEL, [tiny("a")]).id).state == pb.JOB_STATE_SUCCEEDED


def test_counts_that_no_field_holds_end_no_front_door(stack: Stack, jobs: JobCalls, redis: Redis) -> None:
    pid, name = stack.children["front-door"].pid, next(iter(redis.smembers(keys.FRONT_DOORS))).decode()
    full = Load(deployment="other", requests=2**64 - 1, bytes=2**64 - 1)
    redis.set(keys.front_door("forged"), FrontDoorRecord(name="forged", loads=[full, full]).SerializeToString())
    try:
        redis.sadd(keys.FRONT_DOORS, "forged")
        for _ in range(2):  # its next heartbeat but one: it has read the record by then
            redis.pexpire(keys.front_door(name), SHORTENED_MS)
            wait_for(lambda: redis.pttl(keys.front_door(name)) > SHORTENED_MS)
        assert jobs.stub.ListJobs(pb.ListJobsRequest(page_size=1))
        assert stack.children["front-door"].pid == pid
    finally:
        redis.delete(keys.front_door("forged"))
        redis.srem(keys.FRONT_DOORS, "forged")


def test_a_job_that_cannot_be_read_is_told_and_the_others_are_listed(jobs: JobCalls, redis: Redis) -> None:
    kept, broken = (jobs.wait(jobs.submit(MODEL, [tiny("a")]).id).id for _ in range(2))
    for field, value in (("state", b"x"), ("spec", GARBAGE), ("items", b"-1"), ("reason", GARBAGE)):
        before = redis.hget(keys.job(broken), field)
        redis.hset(keys.job(broken), field, value)
        listed = {job.id for job in jobs.stub.ListJobs(pb.ListJobsRequest(page_size=1000)).jobs}
        assert kept in listed
        assert broken not in listed
        with pytest.raises(grpc.RpcError) as caught:
            jobs.get(broken)
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "what Redis holds cannot be read" in caught.value.details()
        redis.hset(keys.job(broken), field, before)  # type: ignore[arg-type]
    assert jobs.get(broken).state == pb.JOB_STATE_SUCCEEDED


def test_a_verb_on_a_job_whose_state_is_none_is_told(jobs: JobCalls, redis: Redis) -> None:
    job_id = jobs.wait(jobs.submit(MODEL, [tiny("a")]).id).id
    redis.hset(keys.job(job_id), "state", GARBAGE)
    for verb in (jobs.resume, jobs.cancel, jobs.delete):
        with pytest.raises(grpc.RpcError) as caught:
            verb(job_id)
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "what Redis holds cannot be read" in caught.value.details()
    redis.hset(keys.job(job_id), "state", "succeeded")


def test_no_id_of_a_job_names_another_key(jobs: JobCalls) -> None:
    job = jobs.wait(jobs.submit(MODEL, [tiny("a")]).id)
    for job_id in (f"{job.id}:spec", f"{job.id}\n", "../outside", ""):
        assert jobs.is_gone(job_id)


def test_a_forged_result_leads_to_no_file_elsewhere(stack: Stack, jobs: JobCalls, redis: Redis) -> None:
    job = jobs.wait(jobs.submit(MODEL, [tiny("a")]).id)
    name = f"secret-{secrets.token_hex(4)}"
    (Path(stack.settings.artifacts_url) / name).write_bytes(b"secret")
    result = BatchResult(suffix=f"/../../{name}", items=[ItemResult(position=0, file_bytes=6)])
    entry = redis.xadd(keys.job(job.id, "log"), {"result": result.SerializeToString()})
    redis.hset(keys.job(job.id, "index"), "0", entry + b" ")
    with pytest.raises(grpc.RpcError) as caught:
        jobs.output(job.id, "a")
    assert "the ending of a file's name" in caught.value.details()


def test_a_page_that_cannot_be_read_stops_its_job_alone(
    shared_plane: Plane, jobs_of: Callable[[Plane], JobCalls]
) -> None:
    jobs = jobs_of(shared_plane)
    broken = jobs.submit("journal", [journal_item(1, seconds=1.0)], open=True)
    jobs.add(broken.id, [journal_item(2)])
    shared_plane.redis.hset(keys.job(broken.id, "pages"), "1", GARBAGE)
    jobs.add(broken.id, seal=True)
    over = jobs.wait(broken.id)
    assert over.state == pb.JOB_STATE_FAILED
    assert over.reason.startswith("the job store cannot be read: ")
    assert jobs.wait(jobs.submit("journal", [journal_item(3)]).id).state == pb.JOB_STATE_SUCCEEDED


@pytest.mark.parametrize("spec", [GARBAGE, None])
def test_a_job_whose_spec_cannot_be_read_stops_with_the_reason(
    spec: bytes | None, running: Plane, jobs_of: Callable[[Plane], JobCalls]
) -> None:
    jobs = jobs_of(running)
    held = jobs.submit("journal", [journal_item(1, HELD)])
    wait_for(running.entries)
    broken = jobs.submit("journal", [journal_item(2)])
    where = keys.job(broken.id, "spec")
    running.redis.delete(where) if spec is None else running.redis.set(where, spec)
    running.release()
    over = jobs.wait(broken.id)
    assert over.state == pb.JOB_STATE_FAILED
    assert over.reason.startswith(f"the job store cannot be read: {where}")
    assert (over.progress.failed, over.progress.not_run) == (0, 1), "no worker has died over it"
    assert jobs.wait(held.id).state == pb.JOB_STATE_SUCCEEDED
