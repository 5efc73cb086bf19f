"""Version 0.1.0 beside this one: its workers and front doors on the same Redis, and the job that it began.

`record.py` tells how its part was recorded.
"""

import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from redis import Redis

from kernelport import Client, tensors
from kernelport.broker import keys
from kernelport.internal.v1.queue_pb2 import Batch, Completion, Reply, WorkerRecord
from kernelport.supervisor.stack import Stack
from kernelport.v1 import inference_pb2, job_pb2
from tests.conftest import START_TIMEOUT_S, serving_stack, stack_settings
from tests.e2e.conftest import shared_worker
from tests.jobs.calls import JobCalls, manifest
from tests.upgrade.record import SERIES, write_deployments
from tests.waiting import wait_for

RECORDED = json.loads((Path(__file__).parent / "version_0_1_0.json").read_text())
WORKER = WorkerRecord.FromString(RECORDED["worker"].encode("latin-1"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A front door of this version, and no worker; Redis has what version 0.1.0 left in it."""
    folder = tmp_path_factory.mktemp("upgrade")
    (folder / "go").touch()
    with (
        pytest.MonkeyPatch.context() as environment,
        serving_stack(stack_settings(write_deployments(folder)), [], folder / "state") as running,
        Redis.from_url(running.settings.redis_url) as connected,
    ):
        environment.setenv("KERNELPORT_TEST_JOURNAL", str(folder / "journal"))
        restore(connected)
        yield running


def restore(redis: Redis) -> None:
    """Writes what was recorded of Redis."""
    write: dict[str, Callable[[bytes, Any], Any]] = {
        "string": redis.set,
        "hash": lambda key, value: redis.hset(key, mapping=value),
        "list": lambda key, value: redis.rpush(key, *value),
        "set": lambda key, value: redis.sadd(key, *value),
        "zset": lambda key, value: redis.zadd(key, dict(value)),
        "stream": lambda key, value: [redis.xadd(key, fields, entry) for entry, fields in value],
    }
    for key, entry in RECORDED["redis"].items():
        write[entry["type"]](_bytes(key), _bytes(entry["value"]))


def _bytes(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("latin-1")
    if isinstance(value, dict):
        return {_bytes(name): _bytes(each) for name, each in value.items()}
    return [_bytes(each) for each in value] if isinstance(value, list) else value


def answered(redis: Redis, requests: int) -> list[int]:
    """Answers requests in the place of a worker; the size of each batch that came."""
    sizes: list[int] = []
    while sum(sizes) < requests:
        message = wait_for(lambda: redis.rpop("kp.jump"))
        ((body,), _, _) = msgpack.unpackb(base64.b64decode(json.loads(message)["body"]))
        batch = Batch.FromString(body)
        flags = inference_pb2.InferResponse(outputs=tensors.from_arrays({"flag": np.zeros(10, bool)}))
        completions = [Completion(id=item.id, response=flags.SerializeToString()) for item in batch.items]
        redis.lpush(keys.replies(batch.front_door), Reply(completions=completions).SerializeToString())
        sizes.append(len(batch.items))
    return sizes


def test_a_worker_of_0_1_0_is_accepted_and_gets_requests_and_items_one_by_one(
    stack: Stack, redis: Redis, jobs: JobCalls
) -> None:
    redis.set(keys.worker(WORKER.worker.id), WORKER.SerializeToString(), px=60_000)
    redis.sadd(keys.WORKERS, WORKER.worker.id)
    try:
        with Client(stack.target, timeout_s=30) as client, ThreadPoolExecutor(16) as pool:
            (shown,) = wait_for(lambda: client.deployment("jump").workers)
            assert (shown.id, shown.revision) == (WORKER.worker.id, "")
            calls = [pool.submit(client.infer, "jump", {"x": np.zeros(10, np.float32)}) for _ in range(64)]
            assert answered(redis, 64) == [1] * 64
            assert all(not call.result()["flag"].any() for call in calls)

        items = [
            job_pb2.NewItem(id=str(n), inputs=tensors.from_arrays({"x": np.zeros(10, np.float32)})) for n in range(8)
        ]
        job = jobs.submit("jump", items)
        slices = [json.loads(each) for each in redis.lrange(keys.job(job.id, "ready"), 0, -1)]
        assert [(first, count) for _, first, count, _ in slices] == [(n, 1) for n in range(8)]
        jobs.cancel(job.id)
    finally:
        redis.delete(keys.worker(WORKER.worker.id))
        redis.delete(*redis.keys("kp.jump*"))


def test_a_batch_of_a_front_door_of_0_1_0_is_answered_and_its_requests_see_nothing_of_each_other(
    stack: Stack, redis: Redis, tmp_path: Path
) -> None:
    with shared_worker(stack, ["jump"], tmp_path):
        redis.lpush("kp.jump", RECORDED["batch"].encode("latin-1"))
        value = wait_for(lambda: redis.rpop(keys.replies("recorded")))
    answers = {completion.id.decode(): completion for completion in Reply.FromString(value).completions}
    assert answers.keys() == {f"recorded-{number}" for number in range(len(SERIES))}
    for completion in answers.values():
        (flag,) = inference_pb2.InferResponse.FromString(completion.response).outputs
        assert not tensors.to_array(flag).any(), (
            "stacked, the first number of a series would be far from the one before"
        )


def test_a_job_that_0_1_0_began_is_ended(stack: Stack, redis: Redis, jobs: JobCalls, tmp_path: Path) -> None:
    job_id = RECORDED["job"]
    outputs = Path(stack.settings.artifacts) / job_id
    outputs.mkdir(parents=True)
    for name, content in RECORDED["files"].items():
        (outputs / name).write_bytes(content.encode("latin-1"))
    redis.hset(keys.job(job_id), "output_url", str(outputs))
    assert jobs.get(job_id).progress.succeeded == 4
    with shared_worker(stack, ["journal"], tmp_path):
        job = jobs.wait(job_id, START_TIMEOUT_S)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED
    items = jobs.items(job_id)
    assert [item.id for item in items] == [str(number) for number in range(8)]
    assert {item.state for item in items} == {job_pb2.ITEM_STATE_SUCCEEDED}
    assert [bool(item.revision) for item in items] == [False] * 4 + [True] * 4
    run = (Path(stack.settings.deployments_file).parent / "journal").read_text().split("\n")[:-1]
    assert sorted(line.split()[0] for line in run) == ["4", "5", "6", "7"], "what 0.1.0 had done is not done again"
    assert [row["id"] for row in manifest(job)] == [item.id for item in items]
