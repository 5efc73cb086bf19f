"""Which workers are alive: written by their heartbeats, read by front doors.

A record expires by itself in Redis, so no clocks are compared and a machine that vanished needs nobody to notice.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from kernelport import keys, stored
from kernelport.internal.v1.queue_pb2 import WorkerRecord
from kernelport.signature import Signature

ASKED, DRAINED = b"asked", b"done"


def beat(redis: Redis, record: WorkerRecord, ttl_s: float) -> bool:
    """Keeps a worker alive for another `ttl_s` seconds; True when it has been asked to finish and go."""
    with redis.pipeline(transaction=False) as pipeline:
        pipeline.set(keys.worker(record.worker.id), record.SerializeToString(), px=round(ttl_s * 1000))
        pipeline.sadd(keys.WORKERS, record.worker.id)
        pipeline.expire(keys.WORKERS, keys.INDEX_TTL_S)
        for served in record.deployments:
            pipeline.set(keys.signature(served.name), served.signature.SerializeToString(), ex=keys.SIGNATURE_TTL_S)
        pipeline.exists(keys.drain(record.worker.id))
        return bool(pipeline.execute()[-1])


def forget(redis: Redis, worker_id: str) -> bool:
    """Takes a worker that stops, or is known to be dead, out at once; False when it was not in."""
    with redis.pipeline(transaction=False) as pipeline:
        pipeline.delete(keys.worker(worker_id))
        pipeline.srem(keys.WORKERS, worker_id)
        return bool(pipeline.execute()[0])


def ask_to_drain(redis: Redis, worker_id: str) -> None:
    """Asks a worker to take no more work, finish what it has, and end."""
    redis.set(keys.drain(worker_id), ASKED, ex=keys.DRAIN_TTL_S, nx=True)


def note_drained(redis: Redis, worker_id: str) -> None:
    """A worker that was asked to has finished."""
    redis.set(keys.drain(worker_id), DRAINED, ex=keys.DRAIN_TTL_S, xx=True)


def is_drained(redis: Redis, worker_id: str) -> bool:
    """Whether a worker that was asked to has finished."""
    value: Any = redis.get(keys.drain(worker_id))
    return bool(value == DRAINED)


def workers_now(redis: Redis) -> list[WorkerRecord]:
    """The records of all live workers."""
    ids: Any = redis.smembers(keys.WORKERS)
    values: Any = redis.mget([keys.worker(stored.name(each)) for each in ids]) if ids else []
    return _records(values)


def count_live(redis: Redis) -> Counter[str]:
    """How many live workers serve each deployment."""
    return Counter(served.name for record in workers_now(redis) for served in record.deployments)


async def live_workers(redis: AsyncRedis) -> list[WorkerRecord]:
    """The records of all live workers."""
    ids: list[bytes] = list(await _awaited(redis.smembers(keys.WORKERS)))
    if not ids:
        return []
    values: list[bytes | None] = await _awaited(redis.mget([keys.worker(stored.name(each)) for each in ids]))
    dead = [worker_id for worker_id, value in zip(ids, values, strict=True) if value is None]
    if dead:
        await _awaited(redis.srem(keys.WORKERS, *dead))
    return _records(values)


async def last_signature(redis: AsyncRedis, deployment: str) -> Signature | None:
    """What the deployment's model takes and gives, as the last worker that loaded it found; None when none has."""
    value: bytes | None = await _awaited(redis.get(keys.signature(deployment)))
    return stored.readable(Signature, value, keys.signature(deployment), stored.MAX_RECORD_BYTES)


def _records(values: Iterable[bytes | None]) -> list[WorkerRecord]:
    return stored.messages(WorkerRecord, values, keys.worker("*"), stored.MAX_RECORD_BYTES)


async def _awaited(reply: Any) -> Any:
    # redis-py annotates these commands as sync-or-async, which no type checker can await.
    return await reply
