"""Jobs leave a reserve of Redis's memory to calls, and what is over takes less of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from kernelport import Client, ResourceExhaustedError
from kernelport.broker import keys
from kernelport.config.deployments import Limits
from kernelport.config.settings import bundled_deployments
from kernelport.errors import from_call
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2 as pb
from kernelport.v1 import job_pb2_grpc
from kernelport.v1.deployment_pb2 import FrontDoor
from kernelport_api.queueing.admission import Admission
from kernelport_api.services.jobs.memory import READ_INTERVAL_S
from tests.broker.servers import serving_redis
from tests.conftest import serving_stack, stack_settings
from tests.data_plane.conftest import Plane, plane
from tests.jobs.calls import JobCalls, journal_item, manifest, tiny
from tests.stack.models import HELD
from tests.waiting import wait_for

__all__ = ["plane"]

MODEL = "identity-onnx"
X = {"x": np.ones((1, 1, 2, 2), np.float32)}
MANY, WIDTH = 2_000, 1_200  # items of a job that does not fit, and numbers in each, of 4 bytes
ROOM_BYTES = 8 * 2**20


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = stack_settings(bundled_deployments())
    with serving_stack(settings, [MODEL], tmp_path_factory.mktemp("memory")) as running:
        yield running


@contextmanager
def room_for(redis: Redis, size: int) -> Iterator[None]:
    """A limit of Redis that leaves jobs so many bytes."""
    redis.config_set("maxmemory", round((redis.info("memory")["used_memory"] + size) / 0.9))  # type: ignore[index]
    time.sleep(READ_INTERVAL_S)  # for so long the front door goes by what it has seen
    try:
        yield
    finally:
        redis.config_set("maxmemory", 0)
        time.sleep(READ_INTERVAL_S)


def refused(call: Callable[[], object]) -> ResourceExhaustedError:
    """The refusal of a call."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = from_call(caught.value)
    assert isinstance(error, ResourceExhaustedError)
    return error


def items(count: int) -> list[pb.NewItem]:
    return [tiny(f"item-{number}", 1.0, WIDTH) for number in range(count)]


def has_room_for_calls(redis: Redis) -> bool:
    memory: Any = redis.info("memory")
    return bool(memory["used_memory"] < 0.95 * memory["maxmemory"])


def leaves_nothing(redis: Redis, stack: Stack, job_id: str) -> bool:
    is_there = redis.exists(keys.job(job_id)) or redis.zscore(keys.JOBS, job_id)
    return not (is_there or list(redis.scan_iter(f"*{job_id}*")) or (Path(stack.settings.artifacts) / job_id).exists())


def test_a_job_that_does_not_fit_leaves_nothing_behind_and_calls_go_on(stack: Stack, redis: Redis) -> None:
    with Client(stack.target, timeout_s=60) as client, room_for(redis, ROOM_BYTES):
        with pytest.raises(
            ResourceExhaustedError, match=r'job "\S+": .* left for jobs; nothing of it is kept'
        ) as error:
            client.jobs.submit(MODEL, items(MANY))
        assert error.value.reason == "NO_MEMORY"
        job_id = error.value.message.split('"')[1]
        for _ in range(20):
            client.infer(MODEL, X)
        wait_for(lambda: leaves_nothing(redis, stack, job_id))
        assert client.jobs.submit(MODEL, items(1)).id, "what fits is taken"


def test_items_of_one_message_are_refused_at_once(stack: Stack, redis: Redis, jobs: JobCalls) -> None:
    with room_for(redis, ROOM_BYTES):
        error = refused(lambda: jobs.submit(MODEL, items(MANY), request_id="all at once"))
    assert "nothing of it is kept" in error.message
    wait_for(lambda: leaves_nothing(redis, stack, error.message.split('"')[1]))
    assert jobs.wait(jobs.submit(MODEL, items(1), request_id="all at once").id).state == pb.JOB_STATE_SUCCEEDED


def test_under_a_request_id_a_job_says_what_became_of_it_and_goes_on(
    stack: Stack, redis: Redis, jobs: JobCalls
) -> None:
    with Client(stack.target, timeout_s=60) as client:
        with room_for(redis, ROOM_BYTES):
            with pytest.raises(ResourceExhaustedError, match="go on by the same request id") as error:
                client.jobs.submit(MODEL, items(MANY), request_id="in portions")
            wait_for(lambda: has_room_for_calls(redis))  # what was refused may still be on its way out of Redis
            assert error.value.request_id == "in portions"
            job = jobs.get(error.value.message.split('"')[1])
            assert (job.state, job.sealed, job.reason) == (pb.JOB_STATE_RUNNING, False, error.value.message)
            assert 0 < job.progress.items < MANY
        again = client.jobs.submit(MODEL, items(MANY), request_id="in portions")
        assert (again.id, again.reason) == (job.id, "")
        assert len(manifest(client.jobs.wait(again.id))) == MANY


def test_what_runs_of_a_refused_job_ends_before_its_files_go(
    plane: Callable[..., Plane],
) -> None:
    running = plane(batching={"max_batch": 1})
    with grpc.insecure_channel(running.stack.target) as channel:
        jobs = JobCalls(job_pb2_grpc.JobServiceStub(channel))
        job = jobs.submit("journal", [journal_item(0), journal_item(1, HELD)], open=True)
        wait_for(lambda: jobs.get(job.id).progress.succeeded == 1 and jobs.get(job.id).progress.running == 1)
        with room_for(running.redis, 0):
            refused(lambda: jobs.add(job.id, [journal_item(number) for number in range(2, 1000)]))
        running.release()
        wait_for(lambda: leaves_nothing(running.redis, running.stack, job.id))


async def test_bulk_of_calls_stops_before_calls_do(tmp_path: Path) -> None:
    with serving_redis(tmp_path) as serving, Redis.from_url(serving.url) as redis:
        redis.set("filling", bytes(2**26))
        async with AsyncRedis.from_url(serving.url) as asked:
            admission = Admission(asked, lambda: FrontDoor(name="front-door"), 2**30)

            async def fill(share: float) -> None:
                redis.config_set("maxmemory", round(redis.info("memory")["used_memory"] / share))  # type: ignore[index]
                await admission._share()

            await fill(0.8)
            admission.check_payload("x")
            admission.check_kept("x")
            await fill(0.93)
            for check in (admission.check_payload, admission.check_kept):
                with pytest.raises(ResourceExhaustedError, match="Redis is near its memory limit"):
                    check("x")
            admission.enter("x", Limits(), 100)
            await fill(0.98)
            with pytest.raises(ResourceExhaustedError, match="Redis is near its memory limit"):
                admission.enter("x", Limits(), 100)


def bytes_of(redis: Redis, job_id: str) -> int:
    """What Redis needs for a job."""
    return sum(redis.memory_usage(key, samples=0) or 0 for key in redis.scan_iter(f"{keys.job(job_id)}*"))


def is_shrunk(redis: Redis, job_id: str) -> bool:
    return int(redis.hget(keys.job(job_id), "buckets") or 0) > 0  # type: ignore[arg-type]


def test_a_job_that_is_over_takes_less_room_and_tells_the_same(stack: Stack, redis: Redis, jobs: JobCalls) -> None:
    sent = [tiny(f"a-name-{number}", number) for number in range(2500)]
    job = jobs.submit(MODEL, sent)
    before = bytes_of(redis, job.id)
    over = jobs.wait(job.id)
    wait_for(lambda: is_shrunk(redis, job.id))
    assert bytes_of(redis, job.id) < 0.75 * before, "what came of the items included"
    answer = jobs.stub.ListItems(pb.ListItemsRequest(job_id=job.id, page_size=2500, inputs=True))
    assert [(item.id, list(item.inputs)) for item in answer.items] == [(item.id, list(item.inputs)) for item in sent]
    for number in (0, 2047, 2048, 2499):
        path = Path(over.output_url) / answer.items[number].file
        assert jobs.output(job.id, f"a-name-{number}") == path.read_bytes()
    with pytest.raises(grpc.RpcError, match="has no item"):
        jobs.output(job.id, "no-name")


def test_a_cancelled_job_takes_less_room_at_once_and_can_go_on(plane: Callable[..., Plane]) -> None:
    running = plane(workers=False, on_no_worker="wait")
    with grpc.insecure_channel(running.stack.target) as channel:
        jobs = JobCalls(job_pb2_grpc.JobServiceStub(channel))
        job = jobs.submit("journal", [journal_item(number) for number in range(800)])
        before = bytes_of(running.redis, job.id)
        jobs.cancel(job.id)
        wait_for(lambda: is_shrunk(running.redis, job.id), timeout_s=30)
        assert bytes_of(running.redis, job.id) < before / 3
        jobs.replace(job.id, [journal_item(7, 0.001)])
        jobs.resume(job.id)
        worker = running.start_worker()
        try:
            over = jobs.wait(job.id)
        finally:
            worker.terminate()
            worker.wait(30)
        assert over.state == pb.JOB_STATE_SUCCEEDED
        assert len(manifest(over)) == len(set(running.entries())) == 800
