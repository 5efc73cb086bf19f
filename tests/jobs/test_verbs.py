"""What a job's verbs promise: it ends whole, is deleted whole, and says what works when a verb does not."""

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from redis import Redis

from kernelport.broker import keys
from kernelport.jobs import scripts
from kernelport.jobs.artifacts import Artifacts
from kernelport.jobs.states import markdown
from kernelport.jobs.storage import SharedStorage
from kernelport.jobs.sweeping import Sweeper
from kernelport.v1 import job_pb2 as pb
from tests.data_plane.conftest import Plane
from tests.jobs.calls import JobCalls, journal_item, manifest
from tests.jobs.test_submission import refused
from tests.stack.models import HELD
from tests.waiting import wait_for

Connect = Callable[[Plane], JobCalls]
MODEL = "journal"
DOCS = Path(__file__).parents[2] / "docs" / "jobs.md"


@pytest.fixture
def jobs(running: Plane, jobs_of: Connect) -> JobCalls:
    return jobs_of(running)


def outputs(job: pb.Job) -> set[str]:
    return {path.name for path in Path(job.output_url).glob("*.npz")}


def waiting(running: Plane) -> int:
    """How many clients of Redis wait for its disk."""
    return sum(client["cmd"] == "waitaof" for client in running.redis.client_list())


def cancelled(running: Plane, jobs: JobCalls, items: int = 6) -> pb.Job:
    """A job that was cancelled behind its first items."""
    job = jobs.submit(MODEL, [journal_item(number, HELD if number > 2 else 0.0) for number in range(items)])
    wait_for(lambda: jobs.get(job.id).progress.succeeded >= 2)
    jobs.cancel(job.id)
    over = jobs.wait(job.id)
    running.release()
    return over


def test_the_docs_show_the_table() -> None:
    assert markdown() in DOCS.read_text("utf-8")


def test_a_job_without_items_is_not_sealed(running: Plane, jobs: JobCalls) -> None:
    job = jobs.submit(MODEL, [], open=True)
    call = refused(lambda: jobs.add(job.id, seal=True))
    assert (call.code(), "no items" in call.details()) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    jobs.add(job.id, [journal_item(1)], seal=True)
    assert jobs.wait(job.id).state == pb.JOB_STATE_SUCCEEDED


def test_what_a_deadline_keeps_from_running_is_not_counted_as_tried(running: Plane, jobs: JobCalls) -> None:
    deadline_unix_us = round((time.time() + 1.5) * 1e6)
    job = jobs.submit(MODEL, [journal_item(n, 0.4) for n in range(12)], deadline_unix_us=deadline_unix_us)
    over = jobs.wait(job.id)
    assert over.state == pb.JOB_STATE_EXPIRED
    assert len(manifest(over)) == 12
    assert max(item.attempts for item in jobs.items(job.id)) <= 2


def test_what_is_missing_when_a_job_is_resumed_is_made_again(running: Plane, jobs: JobCalls) -> None:
    job = cancelled(running, jobs)
    lost = min(outputs(job))
    (Path(job.output_url) / lost).unlink()
    jobs.resume(job.id)
    over = jobs.wait(job.id)
    assert (over.state, over.progress.succeeded) == (pb.JOB_STATE_SUCCEEDED, 6)
    assert outputs(job) == {row["file"] for row in manifest(job)} == {f"{number}.npz" for number in range(6)}
    assert over.progress.output_bytes == sum((Path(job.output_url) / name).stat().st_size for name in outputs(job))
    item = next(item for item in jobs.items(job.id) if item.file == lost)
    assert item.attempts == 2


def test_what_was_cut_short_when_a_job_is_resumed_is_made_again(running: Plane, jobs: JobCalls) -> None:
    job = cancelled(running, jobs)
    cut = Path(job.output_url) / min(outputs(job))
    whole = cut.read_bytes()
    cut.write_bytes(whole[:10])
    jobs.resume(job.id)
    assert jobs.wait(job.id).state == pb.JOB_STATE_SUCCEEDED
    assert cut.read_bytes() == whole


def test_files_that_are_missing_though_they_were_made_again_fail_the_job(running: Plane, jobs: JobCalls) -> None:
    items = [journal_item(number, HELD if number == 3 else 0.0) for number in (1, 2, 3)]
    job = jobs.submit(MODEL, items)  # in batches of two
    wait_for(lambda: jobs.get(job.id).progress.succeeded == 2)
    (Path(job.output_url) / "1.npz").unlink()
    running.redis.hset(keys.job(job.id), "remade", 1)
    running.release()
    over = jobs.wait(job.id)
    assert over.state == pb.JOB_STATE_FAILED
    assert "the files of 1 item are missing" in over.reason
    assert {row["id"]: row["state"] for row in manifest(over)} == {"1": "not_run", "2": "succeeded", "3": "succeeded"}
    jobs.resume(job.id)
    assert jobs.wait(job.id).state == pb.JOB_STATE_SUCCEEDED
    assert outputs(job) == {"1.npz", "2.npz", "3.npz"}


def test_a_cancel_that_comes_too_late_changes_nothing(running: Plane, jobs: JobCalls) -> None:
    job = jobs.submit(MODEL, [journal_item(1)])
    jobs.wait(job.id)
    assert jobs.cancel(job.id).state == pb.JOB_STATE_SUCCEEDED


def test_a_job_whose_last_items_are_done_though_it_was_cancelled_has_succeeded(running: Plane, jobs: JobCalls) -> None:
    for number in range(20):  # the model may look between the two steps
        (running.journal.parent / "go").unlink(missing_ok=True)
        job = jobs.submit(MODEL, [journal_item(number, HELD)])
        wait_for(lambda number=number: number in running.entries())  # type: ignore[misc]
        with ThreadPoolExecutor(1) as pool:  # the answer waits for the disk
            pool.submit(jobs.cancel, job.id)
            wait_for(lambda job=job: jobs.get(job.id).state == pb.JOB_STATE_CANCELLING)  # type: ignore[misc]
            running.release()
        over = jobs.wait(job.id)
        if over.progress.succeeded:
            break
    assert over.state == pb.JOB_STATE_SUCCEEDED
    assert over.reason == "every item succeeded before the job could be stopped: cancelled by its owner"


def test_attempts_are_counted_over_resumes(running: Plane, jobs: JobCalls) -> None:
    job = jobs.submit(MODEL, [journal_item(1, HELD)])
    for _ in range(2):
        wait_for(lambda: jobs.get(job.id).progress.running == 1)
        jobs.cancel(job.id)
        jobs.wait(job.id)
        jobs.resume(job.id)
    running.release()
    jobs.wait(job.id)
    (item,) = jobs.items(job.id)
    assert (item.attempts, manifest(job)[0]["attempts"]) == (3, 3)


def test_a_job_that_is_being_deleted_shows_it_and_is_not_resumed(running: Plane, jobs: JobCalls) -> None:
    job = cancelled(running, jobs)
    folder = Path(job.output_url)
    artifacts, aside = folder.parent, folder.parent.with_name("aside")
    artifacts.rename(aside)
    artifacts.touch()  # nothing can be deleted there now
    try:
        jobs.delete(job.id)
        wait_for(lambda: "cannot delete" in jobs.get(job.id).reason)
        assert jobs.get(job.id).state == pb.JOB_STATE_DELETING
        for call in (
            lambda: jobs.resume(job.id),
            lambda: jobs.add(job.id, [journal_item(9)]),
            lambda: jobs.add(job.id, seal=True),
        ):
            error = refused(call)
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert "is being deleted" in error.details()
        assert refused(lambda: jobs.items(job.id)).code() is grpc.StatusCode.NOT_FOUND
        assert refused(lambda: jobs.output(job.id, "0")).code() is grpc.StatusCode.NOT_FOUND
        assert [event.job.state for event in jobs.watch(job.id)] == [pb.JOB_STATE_DELETING]
        jobs.delete(job.id)  # asked twice
    finally:
        artifacts.unlink()
        aside.rename(artifacts)
    wait_for(lambda: jobs.is_gone(job.id))
    assert not folder.exists()
    assert not list(running.redis.scan_iter(f"{keys.job(job.id)}*"))


def test_an_active_job_is_not_deleted_and_it_is_said_what_to_do(running: Plane, jobs: JobCalls) -> None:
    job = jobs.submit(MODEL, [journal_item(1, HELD)])
    error = refused(lambda: jobs.delete(job.id))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert f"kernelport jobs cancel {job.id}" in error.details()
    running.release()
    jobs.wait(job.id)


def test_a_large_deletion_goes_in_steps_and_survives_its_sweeper(running: Plane, tmp_path: Path) -> None:
    """A sweeper takes a thousand files at a time; what one leaves another goes on with."""
    artifacts, job_id = Artifacts(str(tmp_path)), "0190b8e0000-00000001"
    (tmp_path / job_id).mkdir()
    for number in range(2500):
        (tmp_path / job_id / f"{number}.npz").touch()
    with Redis.from_url(running.stack.settings.redis_url.removesuffix("/0") + "/1") as redis:
        redis.hset(keys.job(job_id), mapping={"state": "succeeded", "spec": b"", "expires": 0})
        assert scripts.run(redis, "delete", job_id, "delete", 1) == [b"ok"]
        assert artifacts.delete_some(job_id) == 1000  # by one that dies before it says so
        sweeper = Sweeper(redis, artifacts, SharedStorage(redis, artifacts))
        sweeper.start()
        wait_for(lambda: not redis.exists(keys.job(job_id)))
        sweeper.stop()
        assert redis.zcard(keys.DELETING_JOBS) == 0
    assert not (tmp_path / job_id).exists()


def test_no_file_goes_before_the_deletion_is_on_the_disk(running: Plane, jobs: JobCalls) -> None:
    job = jobs.wait(jobs.submit(MODEL, [journal_item(1)]).id)
    with ThreadPoolExecutor(1) as pool:
        running.redis.config_set("appendfsync", "no")
        try:
            deleted = pool.submit(jobs.delete, job.id)
            wait_for(lambda: jobs.get(job.id).state == pb.JOB_STATE_DELETING)
            wait_for(lambda: waiting(running) == 2, what="the caller's wait and the sweeper's")
            assert outputs(job) == {"1.npz"}
            assert not deleted.done()
        finally:
            running.redis.config_set("appendfsync", "always")
        deleted.result()
    wait_for(lambda: jobs.is_gone(job.id), 20, "the deletion")
    assert not Path(job.output_url).exists()


def test_a_job_that_cannot_be_deleted_is_passed_by(running: Plane, jobs: JobCalls) -> None:
    stuck = jobs.wait(jobs.submit(MODEL, [journal_item(1)], retention_s=1, delete_outputs=True).id)
    folder = Path(stuck.output_url)
    shutil.rmtree(folder)
    folder.touch()  # a file where a folder was: neither can be deleted as one
    behind = jobs.wait(jobs.submit(MODEL, [journal_item(2)], retention_s=1, delete_outputs=True).id)
    wait_for(lambda: jobs.is_gone(behind.id), 20, "the retention of the job behind it")
    wait_for(lambda: "cannot delete" in jobs.get(stuck.id).reason)
    folder.unlink()
    wait_for(lambda: jobs.is_gone(stuck.id), 20, "another try")


def test_a_broken_submission_is_sealed_as_it_is_and_resumed(running: Plane, jobs: JobCalls) -> None:
    job = jobs.submit(MODEL, [journal_item(1, HELD)], open=True, request_id="broke-off")
    wait_for(lambda: 1 in running.entries())
    error = refused(lambda: jobs.resume(job.id))
    assert "go on with its submission by the same request id" in error.details()
    jobs.cancel(job.id)
    jobs.wait(job.id)
    running.release()

    error = refused(lambda: jobs.resume(job.id))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert f"broke off after 1 item: seal it as it is (kernelport jobs seal {job.id})" in error.details()
    again = [journal_item(1, HELD), journal_item(2)]
    error = refused(lambda: jobs.submit(MODEL, again, request_id="broke-off"))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "or delete it and submit all of its items again" in error.details()

    assert jobs.add(job.id, seal=True).sealed
    jobs.resume(job.id)
    over = jobs.wait(job.id)
    assert (over.state, over.progress.succeeded) == (pb.JOB_STATE_SUCCEEDED, 1)


def test_a_broken_submission_whose_items_all_succeeded_succeeds_when_it_is_sealed(
    running: Plane, jobs: JobCalls
) -> None:
    job = jobs.submit(MODEL, [journal_item(1)], open=True)
    wait_for(lambda: jobs.get(job.id).progress.succeeded == 1)
    jobs.cancel(job.id)
    assert jobs.wait(job.id).state == pb.JOB_STATE_CANCELLED
    jobs.add(job.id, seal=True)
    wait_for(lambda: jobs.get(job.id).state == pb.JOB_STATE_SUCCEEDED)


def test_a_broken_submission_without_items_stays_cancelled_when_it_is_sealed(running: Plane, jobs: JobCalls) -> None:
    job = jobs.submit(MODEL, [], open=True)
    jobs.cancel(job.id)
    jobs.wait(job.id)
    sealed = jobs.add(job.id, seal=True)
    assert (sealed.state, sealed.sealed) == (pb.JOB_STATE_CANCELLED, True)
    wait_for(lambda: running.redis.zscore(keys.FINISHING_JOBS, job.id) is None)


def test_a_deleted_jobs_request_id_is_free_at_once(running: Plane, jobs: JobCalls) -> None:
    first = jobs.wait(jobs.submit(MODEL, [journal_item(1)], request_id="free").id)
    jobs.delete(first.id)
    second = jobs.submit(MODEL, [journal_item(2)], request_id="free")
    assert second.id != first.id
    assert jobs.wait(second.id).state == pb.JOB_STATE_SUCCEEDED


def test_what_came_of_items_is_read_once_for_all_who_look_at_them(running: Plane, jobs: JobCalls) -> None:
    job = jobs.wait(jobs.submit(MODEL, [journal_item(number) for number in range(5)]).id)
    items = jobs.items(job.id)
    read = running.redis.info("commandstats")["cmdstat_xrange"]["calls"]
    assert jobs.items(job.id) == items
    assert {item.state for item in items} == {pb.ITEM_STATE_SUCCEEDED}
    assert running.redis.info("commandstats")["cmdstat_xrange"]["calls"] == read
