"""Records what version 0.1.0 leaves in Redis: a worker's registration, a batch in the queue, and a job half done.

With a checkout of version 0.1.0 (commit 4959b23) in OLD:

    HERE=$PWD/tests/upgrade; cd $OLD
    PYTHONPATH=$OLD:$OLD/api:$OLD/workers:$OLD/ops python $HERE/record.py $HERE/version_0_1_0.json

It runs on the code of that checkout alone. Values are JSON strings of the characters U+0000 to U+00FF, one a byte.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import yaml
from redis import Redis

from kernelport import tensors
from kernelport.broker.queues import celery_message
from kernelport.internal.v1.queue_pb2 import Batch, BatchItem
from kernelport.supervisor.stack import Stack
from kernelport.v1 import inference_pb2, job_pb2, job_pb2_grpc
from tests.conftest import discard, stack_settings
from tests.waiting import wait_for

FAR_FUTURE_UNIX_US = 4_000_000_000_000_000
# Ten numbers each, about the number of the request: its first one is far from the last one of the request before.
SERIES = [[float(10 * n)] * 10 for n in range(4)]
HELD = float("inf")


def write_deployments(folder: Path) -> Path:
    """`jump` says of each number whether it is over 2 from the one before; `journal` is a pipeline of the tests."""
    text = """<ir_version: 8, opset_import: ["" : 17]> jump (float[N] x) => (bool[N] flag) {
        zero = Constant <value = int64[1] {0}> ()
        one = Constant <value = int64[1] {1}> ()
        minus = Constant <value = int64[1] {-1}> ()
        first = Slice (x, zero, one, zero)
        but_last = Slice (x, zero, minus, zero)
        before = Concat <axis = 0> (first, but_last)
        step = Sub (x, before)
        size = Abs (step)
        two = Constant <value = float {2.0}> ()
        flag = Greater (size, two)
    }"""
    onnx.save(onnx.parser.parse_model(text), folder / "jump.onnx")
    manifest = {"id": "jump", "source": {"kind": "local", "path": "."}, "format": "onnx", "backend": "onnx"}
    (folder / "jump.yaml").write_text(yaml.safe_dump({**manifest, "files": {"model": "jump.onnx"}}))
    entries = {
        "jump": {"backend": "onnx", "image": "test", "manifest": "jump.yaml"},
        "journal": {
            "backend": "onnx",
            "image": "test",
            "pipeline": "tests.stack.models:Journal",
            "batching": {"max_batch": 2},
        },
    }
    file = folder / "deployments.yaml"
    file.write_text(yaml.safe_dump({"deployments": entries}))
    return file


def batch_of_jumps() -> bytes:
    """The entry of the queue that carries the series, as a front door writes it."""
    items = [
        BatchItem(
            id=f"recorded-{number}".encode(),
            request=inference_pb2.InferRequest(
                model="jump", inputs=tensors.from_arrays({"x": np.array(series, np.float32)})
            ).SerializeToString(),
            deadline_unix_us=FAR_FUTURE_UNIX_US,
        )
        for number, series in enumerate(SERIES)
    ]
    return celery_message(Batch(id="recorded-b", deployment="jump", front_door="recorded", items=items))


def half_a_job(stack: Stack, journal: Path) -> str:
    """Submits a job of eight items, and kills its worker at the sixth."""
    items = [
        job_pb2.NewItem(
            id=str(number),
            inputs=tensors.from_arrays(
                {
                    "number": np.array([number], np.int64),
                    "seconds": np.array([HELD if number == 5 else 0.0], np.float32),
                }
            ),
        )
        for number in range(8)
    ]
    with grpc.insecure_channel(stack.target) as channel:
        spec = job_pb2.JobSpec(deployment="journal")
        job = job_pb2_grpc.JobServiceStub(channel).SubmitJob(job_pb2.SubmitJobRequest(spec=spec, items=items)).job
    wait_for(lambda: journal.exists() and len(journal.read_text().splitlines()) == 6)
    discard([stack.children["worker-journal"]])
    return str(job.id)


def dump(redis: Redis) -> dict[str, Any]:
    """Every key by its name: its type and value."""
    read = {
        "string": redis.get,
        "hash": redis.hgetall,
        "list": lambda key: redis.lrange(key, 0, -1),
        "set": redis.smembers,
        "zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
        "stream": redis.xrange,
    }
    found: dict[str, Any] = {}
    for key in sorted(redis.scan_iter()):
        kind = redis.type(key).decode()
        found[key.decode("latin-1")] = {"type": kind, "value": _plain(read[kind](key))}
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {_plain(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(each) for each in value]
    return value


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["KERNELPORT_TEST_JOURNAL"] = str(folder / "journal")
        settings = stack_settings(write_deployments(folder))
        with (
            Stack(settings, ["jump", "journal"], folder / "state") as stack,
            Redis.from_url(stack.settings.redis_url) as redis,
        ):
            stack.wait_ready(90)
            (worker_key,) = redis.scan_iter("kp:worker:jump-*")
            worker = redis.get(worker_key)
            job = half_a_job(stack, folder / "journal")
            kept = dump(redis)
            outputs = folder / "state" / "artifacts" / job
            files = {path.name: _plain(path.read_bytes()) for path in sorted(outputs.iterdir())}
            discard(stack.children.values())
    living = ("kp:worker", "kp:front-door", "kp:replies", "_kombu")
    recorded = {
        "worker": _plain(worker),
        "batch": _plain(batch_of_jumps()),
        "job": job,
        "files": files,
        "redis": {key: value for key, value in kept.items() if not key.startswith(living)},
    }
    Path(sys.argv[1]).write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
