"""What becomes of a job when something dies: every item is done once, whoever did it."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from kernelport.broker import keys
from kernelport.v1 import job_pb2 as pb
from tests.data_plane.conftest import Plane, serving_plane
from tests.jobs.calls import JobCalls, journal_item, manifest
from tests.stack.models import HELD
from tests.waiting import wait_for

Start = Callable[..., Plane]
Connect = Callable[[Plane], JobCalls]
MODEL = "journal"


@pytest.fixture(scope="module")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A plane whose leases are soon over."""
    with serving_plane(
        tmp_path_factory.mktemp("plane"), settings={"lease_s": 1.5}, batching={"max_batch": 2}
    ) as started:
        yield started


def watched(jobs: JobCalls, job_id: str) -> Counter[str]:
    """How often the job's log tells of each item."""
    return Counter(item.id for event in jobs.watch(job_id, items=True) for item in event.items)


def test_a_killed_workers_items_are_run_by_others_and_counted_once(plane: Start, jobs_of: Connect) -> None:
    running = plane(settings={"lease_s": 60.0}, batching={"max_batch": 4})
    jobs = jobs_of(running)
    job = jobs.submit(MODEL, [journal_item(number, 0.2) for number in range(12)])
    wait_for(lambda: len(running.entries()) >= 6)
    os.kill(running.worker_pid(), signal.SIGKILL)
    over = jobs.wait(job.id)
    assert over.state == pb.JOB_STATE_SUCCEEDED
    assert watched(jobs, job.id) == Counter(str(number) for number in range(12))
    again = [item for item in jobs.items(job.id) if item.attempts == 2]
    assert 0 < len(again) <= 4, "only what the dead worker held"
    assert all(item.batch_size == 1 for item in again)


def test_items_that_a_dead_worker_had_together_came_back_as_one_batch(plane: Start, jobs_of: Connect) -> None:
    running = plane(batching={"max_batch": 4})
    jobs = jobs_of(running)
    jobs.wait(jobs.submit(MODEL, [journal_item(0)]).id)  # from now on the worker knows that it may take several
    job = jobs.submit(MODEL, [journal_item(number, HELD) for number in range(1, 5)])
    wait_for(lambda: running.entries() == [0, 1])
    assert running.batch_sizes() == [1, 4]
    os.kill(running.worker_pid(), signal.SIGKILL)
    running.release()
    assert jobs.wait(job.id).state == pb.JOB_STATE_SUCCEEDED
    assert running.redis.hget(keys.REDELIVERIES, MODEL) == b"1"


def test_an_item_that_kills_workers_fails_alone_and_can_be_resumed(plane: Start, jobs_of: Connect) -> None:
    running = plane(settings={"lease_s": 1.5}, batching={"max_batch": 3}, limits={"max_attempts": 2})
    jobs = jobs_of(running)
    job = jobs.submit(MODEL, [journal_item(number, -1.0 if number == 1 else 0.0) for number in range(3)])
    over = jobs.wait(job.id)
    assert over.state == pb.JOB_STATE_FAILED
    (failed,) = jobs.items(job.id, [pb.ITEM_STATE_FAILED])
    assert (failed.id, failed.attempts) == ("1", 3)
    assert "workers died over it alone" in failed.reason

    (running.journal.parent / "mercy").touch()
    jobs.resume(job.id)
    assert jobs.wait(job.id).state == pb.JOB_STATE_SUCCEEDED
    assert [row["state"] for row in manifest(over)] == ["succeeded"] * 3


def test_with_one_attempt_an_item_that_kills_takes_no_other_along(plane: Start, jobs_of: Connect) -> None:
    running = plane(settings={"lease_s": 1.5}, batching={"max_batch": 4}, limits={"max_attempts": 1})
    jobs = jobs_of(running)
    job = jobs.submit(MODEL, [journal_item(number, -1.0 if number == 1 else 0.0) for number in range(4)])
    over = jobs.wait(job.id)
    assert (over.progress.succeeded, over.progress.failed) == (3, 1)
    (failed,) = jobs.items(job.id, [pb.ITEM_STATE_FAILED])
    assert "workers died over it alone" in failed.reason


def test_a_job_outlives_the_front_door_and_redis(running: Plane, jobs_of: Connect) -> None:
    jobs = jobs_of(running)
    job = jobs.submit(MODEL, [journal_item(number, 0.1) for number in range(30)])
    seen: list[str] = []
    for event in jobs.watch(job.id, items=True):
        cursor = event.cursor
        seen += [item.id for item in event.items]
        if seen:
            break
    for name in ("front-door", "redis"):
        before = len(running.entries())
        pid = running.stack.children[name].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda before=before: len(running.entries()) > before + 2, what=f"work after {name} died")
    jobs = jobs_of(running)
    wait_for(lambda: _is_reachable(jobs, job.id))
    for event in jobs.watch(job.id, items=True, cursor=cursor):
        seen += [item.id for item in event.items]
    assert Counter(seen) == Counter(str(number) for number in range(30))
    assert jobs.get(job.id).state == pb.JOB_STATE_SUCCEEDED


def test_a_worker_that_comes_too_late_writes_nothing(running: Plane, jobs_of: Connect) -> None:
    jobs = jobs_of(running)
    first = running.worker_pid()
    job = jobs.submit(MODEL, [journal_item(number, 0.5) for number in range(2)])
    wait_for(lambda: running.entries())
    os.kill(first, signal.SIGSTOP)
    second = running.start_worker()
    try:
        over = jobs.wait(job.id)
        files = [Path(over.output_url) / row["file"] for row in manifest(over)]
        for file in files:
            file.unlink()  # written again, it would be there again
        second.terminate()
        second.wait(30)
        os.kill(first, signal.SIGCONT)
        # The first worker keeps what came of this job behind what it still has in hand.
        assert jobs.wait(jobs.submit(MODEL, [journal_item(2)]).id).state == pb.JOB_STATE_SUCCEEDED
        assert not [file for file in files if file.exists()]
        assert watched(jobs, job.id) == Counter(["0", "1"])
    finally:
        os.kill(first, signal.SIGCONT)
        second.terminate()
        second.wait(30)


def _is_reachable(jobs: JobCalls, job_id: str) -> bool:
    try:
        return bool(jobs.get(job_id).id)
    except grpc.RpcError:
        return False
