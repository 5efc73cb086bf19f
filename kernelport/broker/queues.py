"""Celery on Redis as KernelPort uses it: names, settings, and the message that carries a batch.

The front door writes Celery messages (protocol 2, in kombu's Redis envelope) with its own asyncio Redis client, because
`apply_async` blocks for about half a millisecond and an event loop cannot afford that. To the worker the message is one
that Celery published; a test compares the two field by field.
"""

import base64
import functools
import json
import os
import re
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
from google.protobuf.message import DecodeError

from kernelport.broker import connections, keys
from kernelport.config.settings import Settings
from kernelport.counting import counted
from kernelport.internal.v1.queue_pb2 import Batch

TASK_NAME = "kernelport.infer"
JOB_TASK_NAME = "kernelport.job"
# What the entries of batches have in them, and those of other tasks have not.
BATCH_MARK = f'"task": "{TASK_NAME}"'
# No worker consumes it; Celery's own default is any other team's queue, too.
DEFAULT_QUEUE = "kernelport"
QUEUE_PREFIX = "kp."
# Larger requests than KERNELPORT_CLAIM_BYTES travel beside the queue, so batches are far smaller.
LARGEST_ENTRY_BYTES = 128 * 2**20
# 0 is the most urgent on Redis.
PRIORITY_STEPS = [0, 3, 6, 9]
INFER_PRIORITY, JOB_PRIORITY = 0, 6
_PRIORITY_SEPARATOR = "\x06\x16"
# How often in a lease live workers look for batches whose lease has run out.
RESTORES_PER_LEASE = 6
_ORIGIN = f"{os.getpid()}@{socket.gethostname()}"
# Ids of batches, tickets and front doors: they become parts of keys and of file names.
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_MSGPACK = "application/x-msgpack"


def queue_name(deployment: str) -> str:
    """The Celery queue of a deployment."""
    return QUEUE_PREFIX + deployment


def deployment_of(queue: str) -> str | None:
    """The deployment a queue belongs to; None for a queue that is not ours."""
    return queue.removeprefix(QUEUE_PREFIX) if queue.startswith(QUEUE_PREFIX) else None


def celery_config(settings: Settings) -> dict[str, Any]:
    """The Celery configuration of a worker."""
    broker = connections.broker(settings.redis_url)
    return {
        **broker,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # Such as READONLY while a replica takes over.
        "broker_channel_error_retry": True,
        "broker_transport_options": {
            **broker["broker_transport_options"],
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
        },
        # Our own names: what is said under Celery's reaches every app on the Redis, and ours is not for them to read.
        "control_exchange": "kernelport",
        "event_exchange": "kernelport.events",
        "event_queue_prefix": "kernelport.events",
        "task_default_queue": DEFAULT_QUEUE,
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


# What differs between messages of one queue. None of these is in a deployment's name.
_BODY_MARK, _ID_MARK, _ARGUMENTS_MARK = "<body>", "<id>", "<arguments>"


def celery_message(batch: Batch) -> bytes:
    """The entry of the deployment's Redis list that delivers `batch` to its worker's task.

    The batch's id is both task id and delivery tag, so whoever knows the batch knows its lease.
    """
    arguments = f"({batch.deployment!r}, {counted(len(batch.items), 'request')})"
    return _message(TASK_NAME, batch.deployment, batch.id, [batch.SerializeToString()], arguments, INFER_PRIORITY)


def job_message(deployment: str, ticket: str) -> bytes:
    """The entry of `job_queue_key` that lets a worker take the next slice of a job. The ticket is its id, as above."""
    return _message(JOB_TASK_NAME, deployment, ticket, [deployment, ticket], f"({deployment!r},)", JOB_PRIORITY)


def _message(task: str, deployment: str, task_id: str, body: list[Any], arguments: str, priority: int) -> bytes:
    packed = msgpack.packb([body, {}, _NO_CALLBACKS])
    differs = {
        _BODY_MARK: base64.b64encode(packed).decode(),
        _ID_MARK: json.dumps(task_id)[1:-1],
        _ARGUMENTS_MARK: json.dumps(arguments)[1:-1],
    }
    return "".join([differs.get(part, part) for part in _envelope(task, deployment, priority)]).encode()


@functools.lru_cache(1024)
def _envelope(task: str, deployment: str, priority: int) -> list[str]:
    """The JSON of a message in parts: what differs between messages of a queue is named in its place. To write all of
    it anew for each takes three times as long."""
    message = {
        "body": _BODY_MARK,
        "content-encoding": "binary",
        "content-type": _MSGPACK,
        "headers": {
            **_HEADERS,
            "task": task,
            "id": _ID_MARK,
            "root_id": _ID_MARK,
            "argsrepr": _ARGUMENTS_MARK,
        },
        "properties": {
            "correlation_id": _ID_MARK,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue_name(deployment)},
            "priority": priority,
            "body_encoding": "base64",
            "delivery_tag": _ID_MARK,
        },
    }
    return re.split(f"({_BODY_MARK}|{_ID_MARK}|{_ARGUMENTS_MARK})", json.dumps(message))


class MessageError(Exception):
    """A queue entry that is no message of ours; says what was expected."""


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


def check_entry(entry: bytes) -> dict[str, Any]:
    """The envelope of a queue entry; its body stays as it is.

    Raises:
        MessageError: when the entry is no message of ours: too large, no JSON, of another task or in another
            serialization, or with an id that cannot be one.
    """
    if len(entry) > LARGEST_ENTRY_BYTES:
        raise MessageError(f"expected at most {LARGEST_ENTRY_BYTES:,} bytes, got {len(entry):,}")
    try:
        message = json.loads(entry)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"{type(error).__name__}: {error}"[:200]) from error
    check_message(message)
    return message  # type: ignore[no-any-return]


def check_message(message: Any) -> None:
    """Raises MessageError when the envelope of a message is none of ours."""
    try:
        tag = message["properties"]["delivery_tag"]
        serialization = message["content-type"], message["properties"]["body_encoding"]
        way = message["properties"]["delivery_info"]
        route, task = (way["exchange"], way["routing_key"]), message["headers"]["task"]
    except (KeyError, TypeError) as error:
        raise MessageError(f"{type(error).__name__}: {error}"[:200]) from error
    if not _is_id(tag):
        raise MessageError(f"properties.delivery_tag: expected an id, got {tag!r:.200}")
    if task not in (TASK_NAME, JOB_TASK_NAME):
        raise MessageError(f"headers.task: expected {TASK_NAME} or {JOB_TASK_NAME}, got {task!r:.200}")
    if serialization != (_MSGPACK, "base64"):
        raise MessageError(f"expected msgpack in base64, got {serialization!r:.200}")
    if route[0] != "" or not isinstance(route[1], str):
        raise MessageError(f"properties.delivery_info: expected a queue, got {route!r:.200}")


def read_message(entry: bytes) -> QueuedTask:
    """The Celery message that is an entry of a queue's Redis list.

    Raises:
        MessageError: when it is none, or not one of ours.
    """
    message = check_entry(entry)
    headers, tag = message["headers"], message["properties"]["delivery_tag"]
    try:
        args, _, _ = msgpack.unpackb(base64.b64decode(message["body"]))
    except (ValueError, KeyError, TypeError) as error:
        raise MessageError(f"body: {type(error).__name__}: {error}"[:200]) from error
    check_arguments(headers["task"], args)
    return QueuedTask(headers["task"], tag, str(headers.get("argsrepr") or "")[:200], args)


def check_arguments(task: str, args: Any) -> None:
    """Raises MessageError unless `args` is what one of our tasks is called with."""
    expected = [bytes] if task == TASK_NAME else [str, str]
    if not isinstance(args, (list, tuple)) or [type(each) for each in args] != expected:
        raise MessageError(f"body: expected {' and '.join(each.__name__ for each in expected)} as arguments")
    if task == JOB_TASK_NAME and not _is_id(args[1]):
        raise MessageError(f"body: expected a ticket, got {args[1]!r:.200}")


def read_batch(body: bytes, deployments: Collection[str]) -> Batch:
    """A serialized batch for one of `deployments`.

    Raises:
        MessageError: when it is none, or names what no front door would.
    """
    try:
        batch = Batch.FromString(body)
    except DecodeError as error:
        raise MessageError(f"body: expected a Batch: {error}") from error
    check_deployment(batch.deployment, deployments)
    if not (batch.items and _is_id(batch.id) and _is_id(batch.front_door)):
        raise MessageError("body: expected the ids of a batch and a front door, and items")
    for item in batch.items:
        if item.request_claim and not item.request_claim.startswith(keys.CLAIM):
            raise MessageError(f"items.request_claim: expected a key of a claim, got {item.request_claim!r:.200}")
        if item.result_key and not item.result_key.startswith(keys.RESULT):
            raise MessageError(f"items.result_key: expected a key of a result, got {item.result_key!r:.200}")
    return batch


def check_deployment(name: str, deployments: Collection[str]) -> None:
    """Raises MessageError unless a message's deployment is one that is served here."""
    if name not in deployments:
        raise MessageError(f"body: expected one of the deployments {', '.join(deployments)}, got {name!r:.200}")


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


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
