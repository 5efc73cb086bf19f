"""A worker is a plain Celery worker, and what the front door writes is a plain Celery message."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from celery import Celery
from redis import Redis

from kernelport import Client
from kernelport.broker.keys import PERMANENT
from kernelport.broker.queues import TASK_NAME, celery_config, celery_message, queue_name
from kernelport.config.settings import bundled_deployments
from kernelport.internal.v1.queue_pb2 import Batch, BatchItem
from kernelport.supervisor.stack import Stack
from tests.conftest import START_TIMEOUT_S, stack_settings
from tests.waiting import wait_for

# What differs from message to message, and so between ours and Celery's.
UNIQUE = {"id", "root_id", "correlation_id", "delivery_tag", "reply_to", "origin", "argsrepr"}


def test_our_message_is_the_one_that_celery_itself_would_publish(stack: Stack) -> None:
    batch = Batch(deployment="nobody-consumes-this", items=[BatchItem(id=b"1", request=b"r")])
    queue = queue_name(batch.deployment)
    app = Celery("publisher", set_as_current=False)
    app.config_from_object(celery_config(stack.settings))
    app.send_task(TASK_NAME, [batch.SerializeToString()], queue=queue, ignore_result=True)
    app.close()
    with Redis.from_url(stack.settings.redis_url) as redis:
        published = json.loads(_popped(redis, queue))
    written = json.loads(celery_message(batch))

    assert _comparable(written) == _comparable(published)
    assert _body(written) == _body(published)


def _popped(redis: Redis, queue: str) -> bytes:
    value: Any = redis.lpop(queue)
    assert isinstance(value, bytes)
    return value


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items() if key not in UNIQUE and key != "body"}
    return value


def _body(message: dict[str, Any]) -> Any:
    return msgpack.unpackb(base64.b64decode(message["body"]))


def test_the_celery_command_works_as_a_celery_user_expects(tmp_path: Path) -> None:
    command = "worker -Q kp.identity-onnx -P threads -c 1"
    with (
        Stack(stack_settings(bundled_deployments()), [], tmp_path) as stack,
        Client(stack.target, timeout_s=30) as client,
    ):
        stack.wait_ready(START_TIMEOUT_S)
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "kernelport_workers.app", *command.split()],
            env={**os.environ, **stack.settings.to_environment()},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: client.deployment("identity-onnx").live_workers == 1)
            x = np.ones((1, 1, 2, 2), np.float32)
            assert np.array_equal(client.infer("identity-onnx", {"x": x})["y"], x)
        finally:
            worker.terminate()
            assert worker.wait(30) == 0
        wait_for(lambda: client.deployment("identity-onnx").live_workers == 0, timeout_s=2)


@pytest.mark.parametrize(
    ("queues", "complaint"),
    [("kp.unheard-of", "queue 'kp.unheard-of' belongs to no deployment"), ("celery", "choose with -Q among kp.hel")],
)
def test_a_worker_without_a_deployment_says_so_and_ends(stack: Stack, queues: str, complaint: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "kernelport_workers.app", "worker", "-Q", queues, "-P", "threads"],
        env={**os.environ, **stack.settings.to_environment()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 1
    assert complaint in finished.stderr


def test_every_redis_key_expires_or_is_a_known_permanent_one(stack: Stack, client: Client) -> None:
    for _ in range(3):
        client.infer("identity-onnx", {"x": np.ones((1, 1, 2, 2), np.float32)})
    _end_jobs(client)
    with Redis.from_url(stack.settings.redis_url) as redis:
        keys: Any = redis.keys("*")
        assert b"kp:workers" in keys, "the test looks at the right Redis"
        lasting = {key.decode() for key in keys if redis.ttl(key) == -1}
    unknown = {key for key in lasting if not key.startswith(PERMANENT)}
    assert not unknown


def _end_jobs(client: Client) -> None:
    """Ends what other tests of this stack have left open: such jobs last until they are swept."""
    going_on = [job.id for job in client.jobs.list() if not job.finished_unix_us]
    for job in going_on:
        client.jobs.cancel(job)
    wait_for(lambda: all(client.jobs.get(job).finished_unix_us for job in going_on), what="every job is over")
