"""The steps of a batch's life that must happen whole or not at all: Lua scripts, each behind a typed function.

A batch is *taken* by a worker, which counts the attempt; then *completed*, or *split* into single requests after its
worker died. Whichever comes first counts; what comes after it is dropped.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Self

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from kernelport.broker import durability, keys, large, stored
from kernelport.broker.clock import clock
from kernelport.broker.lua_files import LuaFiles
from kernelport.broker.queues import BATCH_MARK, queue_name
from kernelport.internal.v1.queue_pb2 import Batch
from kernelport.names import DEFAULT_TENANT, owned
from kernelport.v1.dead_letter_pb2 import Attempt, DeadLetter

_UNACKED = [keys.UNACKED, keys.UNACKED_INDEX]
_FILES = LuaFiles("kernelport.broker")
# Redis does nothing else meanwhile: half a millisecond.
_LENGTHS_AT_ONCE = 1000
# Before the key of a response, which stands for it; no serialized message begins so.
_AT = b"\0"


@dataclass(frozen=True)
class DeliveryState:
    """A batch in a worker's hands.

    Attributes:
        attempts: who took it, oldest first, this worker last; nobody when it is done.
        some_cancelled: whether there are cancelled requests, here or elsewhere.
    """

    attempts: list[Attempt]
    some_cancelled: bool

    @classmethod
    def of(cls, found: Any) -> Self:
        """What the scripts count."""
        attempts, cancelled = found
        return cls(stored.messages(Attempt, attempts, keys.attempts("*")), cancelled > 0)


# Waits until a delivery is recorded; None for a message that is no batch's.
ReadDeliveryState = Callable[[], DeliveryState | None]


def take_next(redis: Redis, queue_keys: Sequence[str], attempt: Attempt) -> tuple[bytes, DeliveryState | None] | None:
    """The next message of some queues, noted as delivered; None when they are empty.

    Args:
        queue_keys: the lists of the queues, the most urgent first.
        attempt: is counted when the message is a batch, which then needs no `count_attempt`.
    """
    found = script(redis, "take_next")(keys=[*_UNACKED, *queue_keys], args=_delivery(attempt))
    if found is None:
        return None
    entry, *counted = found
    return entry, DeliveryState.of(counted[0]) if counted else None


def record_unacked(redis: Redis, queue_key: str, entry: bytes, attempt: Attempt) -> tuple[DeliveryState | None, bool]:
    """Notes a message that was popped off a queue's list as delivered; counts the attempt when it is a batch.

    Returns:
        what was counted, and whether there are more messages on the list.
    """
    return read_unacked(script(redis, "record_unacked")(keys=[*_UNACKED, queue_key], args=[*_delivery(attempt), entry]))


def unacked_command(redis: Redis, queue_key: str, entry: bytes, attempt: Attempt) -> list[Any]:
    """The command that does the same, if Redis knows the script by now."""
    sha = script(redis, "record_unacked").sha
    return ["EVALSHA", sha, 3, *_UNACKED, queue_key, *_delivery(attempt), entry]


def read_unacked(found: Any) -> tuple[DeliveryState | None, bool]:
    """What Redis answers to that command, as `record_unacked` gives it."""
    more, *counted = found
    return (DeliveryState.of(counted[0]) if counted else None), more > 0


def _delivery(attempt: Attempt) -> list[str | bytes | float]:
    return [clock.now(), BATCH_MARK, attempt.SerializeToString(), keys.ATTEMPTS_TTL_S]


def unacked_tag(entry: bytes) -> bytes:
    """The tag under which a queue entry was noted as delivered, whatever else it is; empty when it was not noted."""
    found = re.search(rb'"delivery_tag": ?"([^"]+)"', entry)
    return found[1] if found else b""


def acknowledge(redis: Redis, tag: str | bytes) -> None:
    """A delivered message is done."""
    script(redis, "acknowledge")(keys=_UNACKED, args=[tag])


def count_attempt(redis: Redis, batch_id: str, attempt: Attempt) -> DeliveryState:
    """Counts an attempt at a batch."""
    return DeliveryState.of(
        script(redis, "count_attempt")(args=[batch_id, attempt.SerializeToString(), keys.ATTEMPTS_TTL_S])
    )


def response_at(key: str) -> bytes:
    """What `complete` takes in place of a response that is at a key of its own, and expires unless it is kept."""
    return _AT + key.encode()


def complete(
    redis: Redis, batch: Batch, reply: bytes, results: Mapping[str, bytes], done_ttl_s: float, result_ttl_s: float
) -> bool:
    """Hands a batch's reply to the front door that asked; False when another worker was first. Acknowledges the batch.

    Args:
        results: responses to keep, by the key of their request id; an empty one frees the id. Instead of a large one,
            `response_at`.
        done_ttl_s: seconds in which the batch could be delivered again.
        result_ttl_s: seconds for which results are kept.
    """
    args: list[bytes | int | str] = [_whole(done_ttl_s), keys.REPLIES_TTL_S, _whole(result_ttl_s)]
    return _finish(redis, batch, keys.replies(batch.front_door), results, [*args, *results.values(), reply])


@dataclass(frozen=True)
class Progress:
    """How far a request that is answered in pieces has come.

    Attributes:
        next_index: of the first piece that has not been sent.
        deaths: how often the piece that most workers died over was begun and not finished.
    """

    next_index: int
    deaths: int


def read_progress(redis: Redis, batch_id: str) -> Progress:
    """What workers that had a request before have made of it."""
    found: Any = redis.hgetall(keys.progress(batch_id))
    begun = [stored.number(value, keys.progress(batch_id)) for field, value in found.items() if field != b"next"]
    return Progress(stored.number(found.get(b"next", b"0"), keys.progress(batch_id)), max(begun, default=0))


def begin_pieces(redis: Redis, pieces: Mapping[str, int]) -> None:
    """Notes which piece of each batch is about to be made: should the worker die, it may have been that one's doing."""
    with redis.pipeline(transaction=False) as pipeline:
        for batch_id, index in pieces.items():
            pipeline.hincrby(keys.progress(batch_id), str(index), 1)
            pipeline.expire(keys.progress(batch_id), keys.ATTEMPTS_TTL_S)
        pipeline.execute()


def end_piece(redis: Redis, batch_id: str, index: int) -> None:
    """A piece has been made, and is kept until the others are."""
    redis.hdel(keys.progress(batch_id), str(index))


def send_piece(redis: Redis, batch: Batch, index: int, reply: bytes) -> bool:
    """Hands a piece to the front door that asked, and notes that it has it; False when the batch is done."""
    return bool(
        script(redis, "send_piece")(
            keys=[keys.done(batch.id), keys.progress(batch.id), keys.replies(batch.front_door)],
            args=[index, reply, keys.ATTEMPTS_TTL_S, keys.REPLIES_TTL_S],
        )
    )


def forget_progress(redis: Redis, batch_id: str) -> None:
    """A batch is done: how far it had come is of no use any more."""
    redis.delete(keys.progress(batch_id))


def split(redis: Redis, batch: Batch, messages: Sequence[bytes], done_ttl_s: float) -> bool:
    """Queues Celery messages in a batch's place; False when the batch was done before. Acknowledges the batch."""
    return _finish(redis, batch, queue_name(batch.deployment), (), [_whole(done_ttl_s), 0, 0, *messages])


def _finish(
    redis: Redis, batch: Batch, receiver: str, results: Iterable[str], args: Sequence[bytes | int | str]
) -> bool:
    of_batch = [keys.done(batch.id), keys.attempts(batch.id), receiver, keys.kept(batch.deployment)]
    return bool(script(redis, "finish")(keys=[*_UNACKED, *of_batch, *results], args=[batch.id, *args]))


def bury(redis: Redis, letter: DeadLetter, tenant: str = DEFAULT_TENANT) -> None:
    """Keeps a dead letter, on the disk of Redis where that can be had; the same one again replaces itself."""
    durability.write(
        redis, "HSET", keys.dead_letters(letter.deployment), owned(tenant, letter.id), letter.SerializeToString()
    )


@dataclass(frozen=True)
class IdempotencyHold:
    """A call's hold on a request id: the key of its result, and the id of the call."""

    key: str
    call: bytes


async def hold_request_id(
    redis: AsyncRedis, hold: IdempotencyHold, digest: bytes, ttl_s: float
) -> tuple[bytes, bytes | None] | None:
    """Holds a request id for `ttl_s` seconds; None when it was free.

    Returns:
        else the digest of the request that holds it, and its response once there is one.
    """
    found = await script(redis, "hold_request_id")(keys=[hold.key], args=[digest, hold.call, round(ttl_s * 1000)])
    if found is None:
        return None
    held_by, response, kept = found
    if kept and kept.startswith(keys.RESPONSE.encode()):
        response = await large.read_async(redis, kept.decode(errors="replace"))
    return held_by, response


async def publish_held(redis: AsyncRedis, queue_key: str, message: bytes, holds: Mapping[IdempotencyHold, int]) -> bool:
    """Queues a message, and makes the holds of its requests last; False, and neither, when one of them is lost.

    Args:
        holds: until when each lasts, in milliseconds of Unix time.
    """
    hashes = [hold.key for hold in holds]
    args = [value for hold, ends_at_ms in holds.items() for value in (hold.call, ends_at_ms)]
    return bool(await script(redis, "publish_held")(keys=[queue_key, *hashes], args=[message, *args]))


async def is_lost(redis: AsyncRedis, batch_id: str, requests: int, message: bytes, queue_keys: Sequence[str]) -> bool:
    """Whether a published batch is nowhere: its worker died after Redis gave the message out, and before it was noted.

    Args:
        requests: how many it has.
        message: the queue entry as published.
        queue_keys: the lists of its queue, one a priority.
    """
    ids = [batch_id, *(single_id(batch_id, index) for index in range(requests))]
    known = [key for each in ids for key in (keys.done(each), keys.attempts(each))]
    lost = await script(redis, "is_lost")(
        keys=[keys.UNACKED, *queue_keys, *known], args=[len(queue_keys), message, *ids]
    )
    return bool(lost)


async def lengths(redis: AsyncRedis, command: Literal["LLEN", "HLEN", "ZCARD"], names: Sequence[str]) -> dict[str, int]:
    """How long each of these keys is, of those that are not empty: where few are, many cost little to look at."""
    found: dict[str, int] = {}
    for first in range(0, len(names), _LENGTHS_AT_ONCE):
        some = names[first : first + _LENGTHS_AT_ONCE]
        places_and_lengths = iter(await script(redis, "lengths")(keys=some, args=[command]))
        found |= {some[place - 1]: length for place, length in zip(places_and_lengths, places_and_lengths, strict=True)}
    return found


def single_id(batch_id: str, index: int) -> str:
    """The id of the batch that carries one request of a batch that was split."""
    return f"{batch_id}.{index}"


@cache
def script(redis: Redis | AsyncRedis, name: str) -> Any:
    """A script of the folder `lua`, called with `keys` and `args`; with an asyncio client that gives an awaitable."""
    return redis.register_script(_FILES.source(name))


def _whole(seconds: float) -> int:
    return max(1, round(seconds))
