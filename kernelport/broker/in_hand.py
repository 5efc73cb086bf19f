"""What each worker has in hand now, as Redis knows it: batches of calls, and slices of jobs."""

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from kernelport.broker import keys, stored
from kernelport.v1.dead_letter_pb2 import Attempt

# Of the messages that workers have begun with, so many are looked at.
_MOST_MESSAGES = 2000


@dataclass
class InHand:
    """What one worker has in hand.

    Attributes:
        batches: of calls.
        items: of jobs, by their ids.
    """

    batches: int = 0
    items: Counter[str] = field(default_factory=Counter)


async def in_hand(redis: Redis, deployments: Collection[str]) -> dict[str, InHand]:
    """What workers have in hand, by their ids; only of those that have anything.

    Args:
        deployments: whose jobs are looked at.

    Raises:
        RedisError: when Redis cannot be asked.
    """
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.zrange(keys.UNACKED_INDEX, 0, _MOST_MESSAGES - 1)
        for name in deployments:
            pipeline.hvals(keys.taken_slices(name))
        tags, *slices = await pipeline.execute()
    async with redis.pipeline(transaction=False) as pipeline:
        for tag in tags:
            pipeline.lindex(keys.attempts(stored.name(tag)), -1)
        attempts = await pipeline.execute() if tags else []
    found: dict[str, InHand] = {}
    # A ticket of a job has no attempts: who has it stands with its slice.
    for attempt in stored.messages(Attempt, attempts, keys.attempts("*"), stored.MAX_RECORD_BYTES):
        found.setdefault(attempt.worker, InHand()).batches += 1
    for value in (value for values in slices for value in values):
        try:
            worker, job, count = _slice(value)
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):  # the scripts of the job store drop it
            continue
        found.setdefault(worker, InHand()).items[job] += count
    return found


def _slice(value: bytes) -> tuple[str, str, int]:
    """Who has taken a slice, its job, and how many items it has."""
    taken: dict[str, Any] = json.loads(value)
    return str(taken["worker"]), str(taken["job"]), int(taken["slice"][2])
