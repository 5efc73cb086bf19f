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
from kernelport.internal.v1.queue_pb2 import WorkerRecord
from kernelport.signature import Signature

BEATS_PER_TTL = 5
ASKED, DRAINED = b"asked", b"done"

# A hold is `<until when, in milliseconds by the clock of Redis> <revision> <host>`, by the id of its worker.
# KEYS: the holds on each deployment ...
# ARGV: worker, host, milliseconds that the holds last, seconds that the keys do, 1 to hold beside other revisions, the
# worker's revision of each deployment ...
# Returns false when all are held; else nothing has changed, and it returns the number of the key where another revision
# is held, by whom, and the hold that lasts longest.
_HOLD = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i, key in ipairs(KEYS) do
  local holds, revision = redis.call('HGETALL', key), ARGV[5 + i]
  local ours, latest, other = false, 0, nil
  for j = 1, #holds, 2 do
    local until_ms, held = string.match(holds[j + 1], '^(%d+) (%S+)')
    until_ms = tonumber(until_ms or 0)  -- of what is no hold: it goes
    if until_ms <= now then
      redis.call('HDEL', key, holds[j])
    elseif held == revision then
      ours = ours or holds[j] == ARGV[1]
    elseif until_ms > latest then
      latest, other = until_ms, {i, holds[j], holds[j + 1]}
    end
  end
  if other and not ours and ARGV[5] ~= '1' then return other end
end
for i, key in ipairs(KEYS) do
  redis.call('HSET', key, ARGV[1], string.format('%.0f %s %s', now + ARGV[3], ARGV[5 + i], ARGV[2]))
  redis.call('EXPIRE', key, ARGV[4])
end
return false
"""

# KEYS: the index, the record of each id ...  ARGV: the ids ...
# Between the look at a record and this its owner may have written it again.
_DROP_GONE = """
for i, id in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then redis.call('SREM', KEYS[1], id) end
end
"""


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
    script = redis.register_script(_HOLD)
    ttl = (round(ttl_s * 1000), max(keys.INDEX_TTL_S, round(ttl_s) + 1))
    found: Any = script(
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


def count_live(redis: Redis) -> Counter[str]:
    """How many live workers serve each deployment."""
    return Counter(served.name for record in read_workers(redis) for served in record.deployments)


async def live_workers(redis: AsyncRedis) -> list[WorkerRecord]:
    """The records of all live workers."""
    return _records(await indexed(redis, keys.WORKERS, keys.worker))


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
        known = [index, *(wanted[place] for place in gone)]
        await _awaited(redis.eval(_DROP_GONE, len(known), *known, *(ids[place] for place in gone)))
    return [value for value in values if value is not None]


async def last_signature(redis: AsyncRedis, deployment: str) -> Signature | None:
    """What the deployment's model takes and gives, as the last worker that loaded it found; None when none has."""
    value: bytes | None = await _awaited(redis.get(keys.signature(deployment)))
    return stored.readable(Signature, value, keys.signature(deployment), stored.MAX_RECORD_BYTES)


def _records(values: Iterable[bytes | None]) -> list[WorkerRecord]:
    return stored.messages(WorkerRecord, values, keys.worker("*"), stored.MAX_RECORD_BYTES)


async def _awaited(reply: Any) -> Any:
    # redis-py annotates these commands as sync-or-async, which no type checker can await.
    return await reply
