"""Celery on Redis as KernelPort uses it: names, settings, and the message that carries a batch.

The front door writes Celery messages (protocol 2, in kombu's Redis envelope) with its own asyncio Redis client, because
`apply_async` blocks for about half a millisecond and an event loop cannot afford that. To the worker the message is one
that Celery published; a test compares the two field by field.
"""

import base64
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from kernelport import keys
from kernelport.internal.v1.queue_pb2 import Batch
from kernelport.settings import Settings

TASK_NAME = "kernelport.infer"
JOB_TASK_NAME = "kernelport.job"
# What the entries of batches have in them, and those of other tasks have not.
BATCH_MARK = f'"task": "{TASK_NAME}"'
QUEUE_PREFIX = "kp."
# 0 is the most urgent on Redis.
PRIORITY_STEPS = [0, 3, 6, 9]
INFER_PRIORITY, JOB_PRIORITY = 0, 6
_PRIORITY_SEPARATOR = "\x06\x16"
# How often in a lease live workers look for batches whose lease has run out.
RESTORES_PER_LEASE = 6
_ORIGIN = f"{os.getpid()}@{socket.gethostname()}"


def queue_name(deployment: str) -> str:
    """The Celery queue of a deployment."""
    return QUEUE_PREFIX + deployment


def deployment_of(queue: str) -> str | None:
    """The deployment a queue belongs to; None for a queue that is not ours."""
    return queue.removeprefix(QUEUE_PREFIX) if queue.startswith(QUEUE_PREFIX) else None


def celery_config(settings: Settings) -> dict[str, Any]:
    """The Celery configuration of a worker."""
    return {
        "broker_url": settings.redis_url,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            # Our own keys: kombu's unacked set is shared by every app on a Redis database, whatever its queues.
            "unacked_key": keys.UNACKED,
            "unacked_index_key": keys.UNACKED_INDEX,
            "unacked_mutex_key": keys.UNACKED_MUTEX,
            # A worker that dies while it restores others' batches must not keep the rest from doing so.
            "unacked_mutex_expire": max(1, round(settings.lease_s / 3)),
            "visibility_timeout": settings.lease_s,
            "unacked_restore_interval": settings.lease_s / RESTORES_PER_LEASE,
            "unacked_restore_throttle": 1,
            "queue_order_strategy": "priority",
            "priority_steps": PRIORITY_STEPS,
            "socket_keepalive": True,
            "socket_connect_timeout": 5,
        },
        "accept_content": ["msgpack", "json"],
        "task_serializer": "msgpack",
        # Answers travel on reply lists; a result backend would store every one a second time.
        "task_ignore_result": True,
        # A batch is acknowledged once its answers are out, so that a dead worker's batch is delivered again.
        "task_acks_late": True,
        # One batch at a time: what waits stays in Redis, where any idle worker can take it.
        "worker_prefetch_multiplier": 1,
        "worker_disable_rate_limits": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
    }


def queue_keys(deployment: str) -> list[str]:
    """The Redis lists of a deployment's queue, one a priority, most urgent first."""
    name = queue_name(deployment)
    return [f"{name}{_PRIORITY_SEPARATOR}{step}" if step else name for step in PRIORITY_STEPS]


def job_queue_key(deployment: str) -> str:
    """The Redis list of a deployment's queue that bulk jobs use: whatever `Infer` has queued goes first."""
    return queue_keys(deployment)[PRIORITY_STEPS.index(JOB_PRIORITY)]


def celery_message(batch: Batch) -> bytes:
    """The entry of the deployment's Redis list that delivers `batch` to its worker's task.

    The batch's id is both task id and delivery tag, so whoever knows the batch knows its lease.
    """
    arguments = f"({batch.deployment!r}, {len(batch.items)} requests)"
    return _message(TASK_NAME, batch.deployment, batch.id, [batch.SerializeToString()], arguments, INFER_PRIORITY)


def job_message(deployment: str, ticket: str) -> bytes:
    """The entry of `job_queue_key` that lets a worker take the next slice of a job. The ticket is its id, as above."""
    return _message(JOB_TASK_NAME, deployment, ticket, [deployment, ticket], f"({deployment!r},)", JOB_PRIORITY)


def _message(task: str, deployment: str, task_id: str, body: list[Any], arguments: str, priority: int) -> bytes:
    packed = msgpack.packb([body, {}, _NO_CALLBACKS])
    message = {
        "body": base64.b64encode(packed).decode(),
        "content-encoding": "binary",
        "content-type": "application/x-msgpack",
        "headers": {
            **_HEADERS,
            "task": task,
            "id": task_id,
            "root_id": task_id,
            "argsrepr": arguments,
        },
        "properties": {
            "correlation_id": task_id,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue_name(deployment)},
            "priority": priority,
            "body_encoding": "base64",
            "delivery_tag": task_id,
        },
    }
    return json.dumps(message).encode()


class MessageError(Exception):
    """A queue entry that is no Celery message as KernelPort understands it.

    Attributes:
        tag: its delivery tag; empty when it has none.
    """

    def __init__(self, message: str, tag: str = "") -> None:
        super().__init__(message)
        self.tag = tag


@dataclass(frozen=True)
class QueuedTask:
    """A Celery message.

    Attributes:
        name: of the task.
        tag: its delivery tag.
        arguments: as people should read them.
        args: what the task is called with.
    """

    name: str
    tag: str
    arguments: str
    args: Sequence[Any]


def read_message(entry: bytes) -> QueuedTask:
    """The Celery message that is an entry of a queue's Redis list.

    Raises:
        MessageError: when it is none, or serialized in another way than ours.
    """
    tag = ""
    try:
        message = json.loads(entry)
        headers, properties = message["headers"], message["properties"]
        tag = properties["delivery_tag"]
        if message["content-type"] != "application/x-msgpack" or properties["body_encoding"] != "base64":
            raise MessageError(f"expected msgpack in base64, got {message['content-type']}", tag)
        args, _, _ = msgpack.unpackb(base64.b64decode(message["body"]))
        return QueuedTask(headers["task"], tag, headers.get("argsrepr") or "", args)
    except (ValueError, KeyError, TypeError) as error:
        raise MessageError(f"{type(error).__name__}: {error}", tag) from error


_NO_CALLBACKS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_HEADERS: dict[str, Any] = {
    "lang": "py",
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "timelimit": [None, None],
    "parent_id": None,
    "kwargsrepr": "{}",
    "origin": _ORIGIN,
    "ignore_result": True,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
}
