"""Who goes first, what stops, and what waits: jobs on one worker whose model keeps a journal."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from redis import Redis

from kernelport.broker import keys
from kernelport.broker.queues import job_queue_key, queue_name
from kernelport.jobs.backlog import Backlog
from kernelport.v1 import job_pb2 as pb
from tests.data_plane.conftest import Plane
from tests.jobs.calls import JobCalls, journal_item, manifest
from tests.stack.models import HELD
from tests.waiting import wait_for

Start = Callable[..., Plane]
Connect = Callable[[Plane], JobCalls]
MODEL = "journal"


def test_cancelling_starts_no_further_batch_and_resuming_runs_the_rest(running: Plane, jobs_of: Connect) -> None:
    jobs = jobs_of(running)
    job = jobs.submit(MODEL, [journal_item(number, HELD if number > 1 else 0.0) for number in range(10)])
    wait_for(lambda: len(running.entries()) == 3)
    asked_at = time.monotonic()
    assert jobs.cancel(job.id).state in (pb.JOB_STATE_CANCELLING, pb.JOB_STATE_CANCELLED)
    assert time.monotonic() - asked_at < 5
    running.release()
    over = jobs.wait(job.id)
    assert over.state == pb.JOB_STATE_CANCELLED
    assert len(running.entries()) <= 4, "at most the other item of the batch that ran"
    assert over.progress.cancelled == 10 - over.progress.succeeded > 0
    assert len(jobs.items(job.id, [pb.ITEM_STATE_CANCELLED])) == over.progress.cancelled
    assert [row["state"] for row in manifest(over)].count("cancelled") == over.progress.cancelled

    done = {item.id for item in jobs.items(job.id, [pb.ITEM_STATE_SUCCEEDED])}
    jobs.resume(job.id)
    assert jobs.wait(job.id).state == pb.JOB_STATE_SUCCEEDED
    assert [row["state"] for row in manifest(over)] == ["succeeded"] * 10
    assert all(running.entries().count(int(item)) == 1 for item in done), "what was done stays done"


def test_calls_go_before_jobs(running: Plane, jobs_of: Connect) -> None:
    job = jobs_of(running).submit(MODEL, [journal_item(number, HELD) for number in range(40)])
    wait_for(lambda: len(running.entries()) == 1)
    with ThreadPoolExecutor() as pool:
        call = pool.submit(running.infer, 1000)
        wait_for(lambda: running.redis.llen(queue_name(MODEL)) == 1)
        running.release()
        assert call.result() == 1000
    assert running.entries().index(1000) <= 4, "after the batch in hand, and at most one more on its way"
    assert jobs_of(running).wait(job.id).state == pb.JOB_STATE_SUCCEEDED


def test_a_worker_takes_no_more_of_a_slice_than_half_a_second(plane: Start, jobs_of: Connect) -> None:
    running = plane()
    jobs = jobs_of(running)
    slow = jobs.submit(MODEL, [journal_item(number, 0.2) for number in range(12)])
    assert jobs.wait(slow.id).state == pb.JOB_STATE_SUCCEEDED
    sizes = running.batch_sizes()
    assert sizes[0] == 1, "nothing has been measured yet"
    assert max(sizes) == 2
    assert sorted(running.entries()) == list(range(12)), "what was put back is run, and once"

    quick = jobs.submit(MODEL, [journal_item(number) for number in range(12, 108)])
    assert jobs.wait(quick.id).state == pb.JOB_STATE_SUCCEEDED
    assert max(running.batch_sizes()) == 32
    assert sum(1 / size for size in running.batch_sizes()[12:]) <= 6, "three slices, and those of the first second"


def test_jobs_share_by_priority(running: Plane, jobs_of: Connect) -> None:
    jobs = jobs_of(running)
    plug = jobs.submit(MODEL, [journal_item(9998, HELD)])  # what comes meanwhile starts together
    wait_for(lambda: 9998 in running.entries())
    normal = jobs.submit(MODEL, [journal_item(number, 0.01) for number in range(60)])
    double = jobs.submit(MODEL, [journal_item(1000 + number, 0.01) for number in range(60)], priority=200)
    running.release()
    for job in (plug, normal, double):
        jobs.wait(job.id)
    order = [number for number in running.entries() if number < 9000]
    last = max(index for index, number in enumerate(order) if number >= 1000)
    share = sum(number < 1000 for number in order[:last]) / 60
    assert share == pytest.approx(0.5, abs=0.1), "half as much came of the other when the first was through"


def test_the_queue_holds_no_more_than_workers_can_take_up(running: Plane, jobs_of: Connect) -> None:
    jobs = jobs_of(running)
    job = jobs.submit(MODEL, [journal_item(number, 0.05) for number in range(50)])
    depths = []
    while jobs.get(job.id).progress.succeeded < 20:
        depths.append(running.redis.llen(job_queue_key(MODEL)))
        backlog = Backlog.read(running.redis, MODEL)
        assert backlog.items + backlog.running <= 50
    assert max(depths) <= 1
    jobs.cancel(job.id)
    jobs.wait(job.id)


def test_a_ticket_that_vanished_on_its_way_to_the_worker_is_replaced(running: Plane, jobs_of: Connect) -> None:
    jobs = jobs_of(running)
    job = jobs.submit(MODEL, [journal_item(number, 0.7) for number in range(4)])
    queue = job_queue_key(MODEL)
    wait_for(lambda: running.redis.rpop(queue))
    assert jobs.wait(job.id).state == pb.JOB_STATE_SUCCEEDED
    assert sorted(running.entries()) == [0, 1, 2, 3]


def test_items_of_a_cancelled_job_are_cancelled_though_its_manifest_cannot_be_written(
    plane: Start, jobs_of: Connect
) -> None:
    running = plane(workers=False)
    jobs = jobs_of(running)
    job = jobs.submit(MODEL, [journal_item(number) for number in range(3)])
    jobs.cancel(job.id)
    jobs.wait(job.id)
    running.redis.hset(keys.job(job.id), mapping={"state": "failed", "ending": ""})  # as it ends then
    over = jobs.get(job.id)
    assert (over.progress.cancelled, over.progress.not_run) == (3, 0)
    assert len(jobs.items(job.id, [pb.ITEM_STATE_CANCELLED])) == 3
    jobs.resume(job.id)
    assert jobs.get(job.id).progress.waiting == 3


def test_a_job_expires_though_nobody_serves_it(plane: Start, jobs_of: Connect) -> None:
    running = plane(workers=False)
    jobs = jobs_of(running)
    deadline = round((time.time() + 1) * 1e6)
    job = jobs.submit(MODEL, [journal_item(number) for number in range(3)], deadline_unix_us=deadline)
    assert Backlog.read(running.redis, MODEL).items == 3
    wait_for(lambda: jobs.get(job.id).progress.not_run == 3)
    assert jobs.wait(job.id).state == pb.JOB_STATE_EXPIRED
    assert running.entries() == []
    assert Backlog.read(running.redis, MODEL).items == 0


def test_no_key_of_a_job_that_is_over_stays_for_ever(running: Plane, jobs_of: Connect) -> None:
    jobs = jobs_of(running)
    job = jobs.submit(MODEL, [journal_item(number) for number in range(3)], request_id="known")
    jobs.wait(job.id)
    with Redis.from_url(running.stack.settings.redis_url) as redis:
        keys = [key.decode() for key in redis.keys("kp:job:*") + redis.keys("kp:job-request:*")]
        assert len(keys) >= 6
        assert [key for key in keys if redis.ttl(key) == -1] == [], "those of -2 are gone by now"


def test_watching_never_goes_back(running: Plane, jobs_of: Connect) -> None:
    jobs = jobs_of(running)
    job = jobs.submit(MODEL, [journal_item(number, 0.05) for number in range(12)])
    events = list(jobs.watch(job.id))
    assert events[-1].job.state == pb.JOB_STATE_SUCCEEDED
    for before, after in pairwise(events):
        assert after.cursor > before.cursor
        assert after.job.progress.succeeded >= before.job.progress.succeeded
