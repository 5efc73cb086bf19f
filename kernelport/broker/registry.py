"""Which workers are alive: written by their heartbeats, read by front doors.

A record expires by itself in Redis, so no clocks are compared and a machine that vanished needs nobody to notice. It
names a connection of the worker, too: one that has been closed tells sooner that the worker has died.

Beside it, and from before it loads its models, a worker holds the revision of each of its deployments: workers of
another revision are refused meanwhile.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ResponseError

from kernelport.broker import keys, stored
from kernelport.broker.scripts import script
from kernelport.internal.v1.queue_pb2 import FrontDoorRecord, WorkerRecord
from kernelport.signature import Signature
from kernelport.v1.deployment_pb2 import FrontDoor

BEATS_PER_TTL = 5
ASKED, DRAINED = b"asked", b"done"


@dataclass(frozen=True)
class RevisionHold:
    """That a worker serves, or is about to serve, a revision of a deployment.

    Attributes:
        until_ms: when it ends unless the worker renews it: milliseconds of Unix time, by the clock of Redis.
    """

    deployment: str
    worker: str
    host: str
    revision: str
    until_ms: int


def hold_revisions(
    redis: Redis, worker: str, host: str, revisions: Mapping[str, str], ttl_s: float, roll: bool
) -> RevisionHold | None:
    """Holds the revisions of a worker's deployments, all or none, for another `ttl_s` seconds.

    Args:
        revisions: by deployment.
        roll: whether workers that hold other revisions are no hindrance. They are none to one that holds its own.

    Returns:
        what is in the way: a hold on another revision.
    """
    ttl = (round(ttl_s * 1000), max(keys.INDEX_TTL_S, round(ttl_s) + 1))
    found: Any = script(redis, "hold_revisions")(
        keys=[keys.revisions(name) for name in revisions], args=[worker, host, *ttl, int(roll), *revisions.values()]
    )
    if found is None:
        return None
    number, other, held = found
    until_ms, revision, other_host = held.decode().split(" ", 2)
    return RevisionHold(list(revisions)[number - 1], other.decode(), other_host, revision, int(until_ms))


def holds_revision(redis: Redis, deployment: str, worker_id: str) -> bool:
    """Whether a worker serves a deployment, or is about to: none of another revision comes in its way any more."""
    return bool(redis.hexists(keys.revisions(deployment), worker_id))


def release(redis: Redis, worker_id: str, deployments: Iterable[str]) -> None:
    """A worker takes no more work: other revisions of its deployments may come."""
    with redis.pipeline(transaction=False) as pipeline:
        for name in deployments:
            pipeline.hdel(keys.revisions(name), worker_id)
        pipeline.execute()


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


def connection_id(presence: Redis) -> int:
    """The id of the connection that a worker holds for as long as it lives; 0 when Redis does not say.

    Args:
        presence: a client of one connection.
    """
    try:
        return int(presence.client_id())
    except ResponseError:  # an old or restricted Redis, or a proxy: the heartbeat tells alone
        return 0


def closed(redis: Redis, records: Iterable[WorkerRecord]) -> list[WorkerRecord]:
    """Those of some workers whose connections are not there: they have died, or are about to tell of a new one."""
    known = [record for record in records if record.redis_client > 0]
    if not known:
        return []
    try:
        found: Any = redis.client_list(client_id=[record.redis_client for record in known])
    except ResponseError:  # not allowed here, or not known
        return []
    there = {int(client["id"]) for client in found}
    return [record for record in known if record.redis_client not in there]


def forget(redis: Redis, worker_id: str, deployments: Iterable[str] = ()) -> bool:
    """Takes a worker that stops, or is known to be dead, out at once; False when it was not in.

    Args:
        deployments: of which it may hold a revision.
    """
    with redis.pipeline(transaction=False) as pipeline:
        pipeline.delete(keys.worker(worker_id))
        pipeline.srem(keys.WORKERS, worker_id)
        for name in deployments:
            pipeline.hdel(keys.revisions(name), worker_id)
        return bool(pipeline.execute()[0])


def is_live(redis: Redis, worker_id: str) -> bool:
    """Whether a worker is in the registry: it has loaded its models, and takes work."""
    return bool(redis.exists(keys.worker(worker_id)))


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


def read_workers(redis: Redis) -> list[WorkerRecord]:
    """The records of all live workers."""
    ids: Any = redis.smembers(keys.WORKERS)
    values: Any = redis.mget([keys.worker(stored.name(each)) for each in ids]) if ids else []
    return _records(values)


def read_front_doors(redis: Redis) -> list[FrontDoor]:
    """What all live front doors say of themselves."""
    ids: Any = redis.smembers(keys.FRONT_DOORS)
    values: Any = redis.mget([keys.front_door(stored.name(each)) for each in ids]) if ids else []
    return _front_doors(values)


def count_live(redis: Redis) -> Counter[str]:
    """How many live workers serve each deployment."""
    return Counter(served.name for record in read_workers(redis) for served in record.deployments)


async def live_workers(redis: AsyncRedis) -> list[WorkerRecord]:
    """The records of all live workers."""
    return _records(await indexed(redis, keys.WORKERS, keys.worker))


async def front_doors(redis: AsyncRedis) -> list[FrontDoor]:
    """The live front doors, those that say nothing of themselves with their names alone; sorted by host and process."""
    return _front_doors(await indexed(redis, keys.FRONT_DOORS, keys.front_door))


async def indexed(redis: AsyncRedis, index: str, key: Callable[[str], str]) -> list[bytes]:
    """The records of the ids in an index. Ids whose records have expired are dropped from it.

    Args:
        key: of the record of an id.
    """
    ids: list[bytes] = list(await _awaited(redis.smembers(index)))
    if not ids:
        return []
    wanted = [key(stored.name(each)) for each in ids]
    values: list[bytes | None] = await _awaited(redis.mget(wanted))
    gone = [place for place, value in enumerate(values) if value is None]
    if gone:
        drop = script(redis, "drop_gone")
        await drop(keys=[index, *(wanted[place] for place in gone)], args=[ids[place] for place in gone])
    return [value for value in values if value is not None]


async def last_signature(redis: AsyncRedis, deployment: str) -> Signature | None:
    """What the deployment's model takes and gives, as the last worker that loaded it found; None when none has."""
    value: bytes | None = await _awaited(redis.get(keys.signature(deployment)))
    return stored.readable(Signature, value, keys.signature(deployment), stored.MAX_RECORD_BYTES)


def _records(values: Iterable[bytes | None]) -> list[WorkerRecord]:
    return stored.messages(WorkerRecord, values, keys.worker("*"), stored.MAX_RECORD_BYTES)


def _front_doors(values: Iterable[bytes | None]) -> list[FrontDoor]:
    records = stored.messages(FrontDoorRecord, values, keys.front_door("*"))
    found = [record.front_door if record.HasField("front_door") else FrontDoor(name=record.name) for record in records]
    return sorted(found, key=lambda each: (each.host, each.pid, each.name))


async def _awaited(reply: Any) -> Any:
    # redis-py annotates these commands as sync-or-async, which no type checker can await.
    return await reply
