"""Ends the leases of workers that are dead: what they had in hand is queued again at once, ahead of all that waits,
rather than when its lease has run out.

A worker that only seemed to be dead may go on: what it does then counts for nothing if another one has taken the same,
as after a lease that has run out.
"""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from redis import Redis

from kernelport.broker import keys, stored
from kernelport.broker.queues import (
    INFER_PRIORITY,
    JOB_PRIORITY,
    JOB_TASK_NAME,
    PRIORITY_STEPS,
    MessageError,
    check_message,
    deployment_of,
    queue_keys,
)
from kernelport.broker.scripts import script
from kernelport.v1.dead_letter_pb2 import Attempt

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Holder:
    """The worker that has a delivered message, and where Redis says so.

    Attributes:
        read: the command that reads it, its key and its argument.
        value: what that says.
    """

    worker: str
    read: tuple[str, str, str]
    value: bytes


def end_leases(redis: Redis, is_dead: Callable[[str], bool]) -> int:
    """Queues again what dead workers had in hand: batches, whose attempts count, and tickets, by which the next worker
    puts back what had been taken with them.

    Args:
        is_dead: says so of a worker's id.

    Returns:
        how many messages that were.

    Raises:
        RedisError: when Redis cannot be asked.
    """
    ended = 0
    for tag, holder in _unacked(redis):
        if is_dead(holder.worker) and _queue_again(redis, tag, holder):
            log.warning("worker %s is dead: %s is queued again", holder.worker, tag)
            ended += 1
    return ended


def hand_over(redis: Redis, batch_id: str, worker: str) -> bool:
    """Queues again a batch that a worker has in hand and will not finish; False when it is not the worker's."""
    value: Any = redis.lindex(keys.attempts(batch_id), -1)
    holder = None if value is None else _batch_holder(batch_id, value)
    return holder is not None and holder.worker == worker and _queue_again(redis, batch_id, holder)


def _unacked(redis: Redis) -> Iterator[tuple[str, _Holder]]:
    """The messages that workers have begun with, by delivery tag."""
    found: Any = redis.zrange(keys.UNACKED_INDEX, 0, -1)
    tags = list(map(stored.name, found))
    with redis.pipeline(transaction=False) as pipeline:
        for tag in tags:
            pipeline.lindex(keys.attempts(tag), -1)
        attempts = pipeline.execute() if tags else []
    for tag, attempt in zip(tags, attempts, strict=True):
        holder = _ticket_holder(redis, tag) if attempt is None else _batch_holder(tag, attempt)
        if holder is not None:
            yield tag, holder


def _batch_holder(batch_id: str, value: bytes) -> _Holder | None:
    key = keys.attempts(batch_id)
    attempt = stored.readable(Attempt, value, key, stored.MAX_RECORD_BYTES)
    return None if attempt is None else _Holder(attempt.worker, ("LINDEX", key, "-1"), value)


def _ticket_holder(redis: Redis, ticket: str) -> _Holder | None:
    """Who has taken a slice of a job by a ticket."""
    delivered = _delivered(redis, ticket)
    if delivered is None or delivered.message["headers"]["task"] != JOB_TASK_NAME:
        return None
    key = keys.taken_slices(delivered.deployment)
    value: Any = redis.hget(key, ticket)
    try:
        return None if value is None else _Holder(json.loads(value)["worker"], ("HGET", key, ticket), value)
    except (ValueError, KeyError, TypeError, RecursionError):  # the scripts of the job store drop it
        return None


def _queue_again(redis: Redis, tag: str, holder: _Holder) -> bool:
    delivered = _delivered(redis, tag)
    if delivered is None:
        return False
    priority = JOB_PRIORITY if delivered.message["headers"]["task"] == JOB_TASK_NAME else INFER_PRIORITY
    to = queue_keys(delivered.deployment)[PRIORITY_STEPS.index(priority)]
    command, key, argument = holder.read
    known = [keys.UNACKED, keys.UNACKED_INDEX, to, key]
    values: list[str | bytes] = [tag, delivered.record, json.dumps(delivered.message), command, argument, holder.value]
    return bool(script(redis, "queue_again")(keys=known, args=values))


@dataclass(frozen=True)
class _Delivered:
    """A delivered message.

    Attributes:
        record: as kombu keeps it.
        deployment: whose queue it came from.
    """

    record: bytes
    message: dict[str, Any]
    deployment: str


def _delivered(redis: Redis, tag: str) -> _Delivered | None:
    """The message under a delivery tag; None when there is none, or none of ours: kombu's transport drops it then."""
    record: Any = redis.hget(keys.UNACKED, tag)
    if record is None:
        return None
    try:
        message, _, queue = json.loads(record)
        check_message(message)
        deployment = deployment_of(queue)
    except (MessageError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return None if deployment is None else _Delivered(record, message, deployment)
