"""The steps of a batch's life that must happen whole or not at all: Lua scripts, each behind a typed function.

A batch is *taken* by a worker, which counts the attempt; then *completed*, or *split* into single requests after its
worker died. Whichever comes first counts; what comes after it is dropped.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Self

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from kernelport.broker import durability, keys, stored
from kernelport.broker.queues import BATCH_MARK, queue_name
from kernelport.internal.v1.queue_pb2 import Batch
from kernelport.v1.dead_letter_pb2 import Attempt, DeadLetter

_UNACKED = [keys.UNACKED, keys.UNACKED_INDEX]
_STEPS_OF_RESULT_TTL = 8

# What a worker must know of a batch before it runs it: the attempts at it, this one included (none when it is done),
# and how many cancelled requests there are, of whatever batch. It makes keys from ids, as
# kernelport/broker/keys.py does.
_COUNT = """
local function count(batch, attempt, ttl_s)
  local attempts, cancelled = 'kp:attempts:' .. batch, redis.call('ZCARD', 'kp:cancelled')
  if redis.call('EXISTS', 'kp:done:' .. batch) == 1 then return {{}, cancelled} end
  -- The same attempt again: the worker did not hear back, and repeats itself.
  if redis.call('LINDEX', attempts, -1) ~= attempt then redis.call('RPUSH', attempts, attempt) end
  redis.call('EXPIRE', attempts, ttl_s)
  return {redis.call('LRANGE', attempts, 0, -1), cancelled}
end
"""

# What kombu does when it delivers a message: its tag and content are kept until it is acknowledged.
# An entry without a tag is not kept: nobody can acknowledge it.
# KEYS: unacked, unacked index.  ARGV: Unix time in seconds, what marks an entry as a batch, this attempt, its TTL.
# Returns its count if it is a batch.
_DELIVER = (
    _COUNT
    + """
local function deliver(list, entry)
  local tag = string.match(entry, '"delivery_tag": ?"([^"]+)"')
  if not tag then return nil end
  local queue = string.match(list, '^[^\6]+')
  redis.call('ZADD', KEYS[2], ARGV[1], tag)
  redis.call('HSET', KEYS[1], tag, '[' .. entry .. ', "", "' .. queue .. '"]')
  return string.find(entry, ARGV[2], 1, true) and count(tag, ARGV[3], ARGV[4]) or nil
end
"""
)

# KEYS: unacked, unacked index.  ARGV: a delivery tag.
_ACKNOWLEDGE = """
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
"""

# KEYS: those of deliver, the lists of the queues ...  ARGV: those of deliver.
# Returns the first entry of the first list that has one, as delivered, and its count.
_TAKE_NEXT = (
    _DELIVER
    + """
for i = 3, #KEYS do
  local entry = redis.call('RPOP', KEYS[i])
  if entry then return {entry, deliver(KEYS[i], entry)} end
end
return false
"""
)

# KEYS: those of deliver, the list it was popped off.  ARGV: those of deliver, the entry.
# Returns how many more are on the list, and its count.
_NOTE_DELIVERY = _DELIVER + "return {redis.call('LLEN', KEYS[3]), deliver(KEYS[3], ARGV[5])}"

# ARGV: batch, this attempt, TTL of attempts.
_COUNT_ATTEMPT = _COUNT + "return count(ARGV[1], ARGV[2], ARGV[3])"

# KEYS: those of acknowledge, done, attempts, the list that gets values, what is kept, result hashes ...
# ARGV: that of acknowledge, TTL of done, TTL of the list (0: for good), TTL of results, a response for each result hash
# ..., values ...
# An empty response drops the hash, so that the request may run again. What is kept is counted by the second at which it
# is gone, rounded up, so that there are few of these.
# Returns 1, or 0 when the batch was done before and nothing but its acknowledgement is due.
_FINISH = f"""
local first = redis.call('SET', KEYS[3], '', 'NX', 'EX', ARGV[2])
if first then
  redis.call('DEL', KEYS[4])
  local kept = 0
  for i = 7, #KEYS do
    local response = ARGV[i - 2]
    if response == '' then
      redis.call('DEL', KEYS[i])
    elseif redis.call('EXISTS', KEYS[i]) == 1 then
      kept = kept + redis.call('HSETNX', KEYS[i], 'response', response) * (#response + {keys.RESULT_OVERHEAD_BYTES})
      redis.call('EXPIRE', KEYS[i], ARGV[4])
    end
  end
  if kept > 0 then
    local now, step = tonumber(redis.call('TIME')[1]), math.ceil(ARGV[4] / {_STEPS_OF_RESULT_TTL})
    for _, ends in ipairs(redis.pcall('HKEYS', KEYS[6])) do
      if (tonumber(ends) or 0) <= now then redis.call('HDEL', KEYS[6], ends) end
    end
    local ends = string.format('%.0f', math.ceil((now + ARGV[4]) / step) * step)
    redis.pcall('HINCRBY', KEYS[6], ends, kept)  -- the answer goes out, whatever others have written there
    redis.call('EXPIRE', KEYS[6], ARGV[4] + step)
  end
  redis.call('LPUSH', KEYS[5], unpack(ARGV, #KEYS - 1))
  if ARGV[3] ~= '0' then redis.call('EXPIRE', KEYS[5], ARGV[3]) end
end
{_ACKNOWLEDGE}
return first and 1 or 0
"""

# KEYS: result hash.  ARGV: digest of the request, id of the call, TTL in milliseconds.
# Returns false when the caller is the first; else the digest and the response (false while there is none).
_HOLD_REQUEST_ID = """
if redis.call('HSETNX', KEYS[1], 'digest', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'call', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return false
end
return redis.call('HMGET', KEYS[1], 'digest', 'response')
"""

# KEYS: the queue's list, result hashes ...
# ARGV: message, and for each hash the id of the call, and until when the hash lasts in milliseconds of Unix time.
# Returns 1; or 0, and nothing is done, when a hash is not the call's any more.
_PUBLISH_CLAIMED = """
for i = 2, #KEYS do
  if redis.call('HGET', KEYS[i], 'call') ~= ARGV[2 * i - 2] then return 0 end
end
for i = 2, #KEYS do redis.call('PEXPIREAT', KEYS[i], ARGV[2 * i - 1], 'GT') end
redis.call('LPUSH', KEYS[1], ARGV[1])
return 1
"""

# KEYS: unacked, the queue's lists, one a priority ..., done and attempts of each id ...
# ARGV: how many lists, message, the ids: the batch's own, then those of the requests it may have been split into.
# Returns 1 when none of them is anywhere: not queued, not delivered, never taken and not done.
_IS_LOST = """
local lists = tonumber(ARGV[1])
if redis.call('EXISTS', unpack(KEYS, lists + 2)) > 0 then return 0 end
for i = 3, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then return 0 end
end
for list = 2, lists + 1 do
  if redis.call('LPOS', KEYS[list], ARGV[2]) then return 0 end
  -- kombu words a message anew when it puts it back, and workers word those of single requests.
  for _, entry in ipairs(redis.call('LRANGE', KEYS[list], 0, -1)) do
    for i = 3, #ARGV do
      if string.find(entry, '"' .. ARGV[i] .. '"', 1, true) then return 0 end
    end
  end
end
return 1
"""

# KEYS: any.  ARGV: the command that tells the length of one.
# Returns the place of each key that is not empty, and its length.
_LENGTHS = """
local found = {}
for i, key in ipairs(KEYS) do
  local length = redis.call(ARGV[1], key)
  if length > 0 then
    found[#found + 1] = i
    found[#found + 1] = length
  end
end
return found
"""
# Redis does nothing else meanwhile: half a millisecond.
_LENGTHS_AT_ONCE = 1000


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
    found = _script(redis, _TAKE_NEXT)(keys=[*_UNACKED, *queue_keys], args=_delivery(attempt))
    if found is None:
        return None
    entry, *counted = found
    return entry, DeliveryState.of(counted[0]) if counted else None


def record_unacked(redis: Redis, queue_key: str, entry: bytes, attempt: Attempt) -> tuple[DeliveryState | None, bool]:
    """Notes a message that was popped off a queue's list as delivered; counts the attempt when it is a batch.

    Returns:
        what was counted, and whether there are more messages on the list.
    """
    return read_unacked(_script(redis, _NOTE_DELIVERY)(keys=[*_UNACKED, queue_key], args=[*_delivery(attempt), entry]))


def unacked_command(redis: Redis, queue_key: str, entry: bytes, attempt: Attempt) -> list[Any]:
    """The command that does the same, if Redis knows the script by now."""
    sha = _script(redis, _NOTE_DELIVERY).sha
    return ["EVALSHA", sha, 3, *_UNACKED, queue_key, *_delivery(attempt), entry]


def read_unacked(found: Any) -> tuple[DeliveryState | None, bool]:
    """What Redis answers to that command, as `record_unacked` gives it."""
    more, *counted = found
    return (DeliveryState.of(counted[0]) if counted else None), more > 0


def _delivery(attempt: Attempt) -> list[str | bytes | float]:
    return [time.time(), BATCH_MARK, attempt.SerializeToString(), keys.ATTEMPTS_TTL_S]


def unacked_tag(entry: bytes) -> bytes:
    """The tag under which a queue entry was noted as delivered, whatever else it is; empty when it was not noted."""
    found = re.search(rb'"delivery_tag": ?"([^"]+)"', entry)
    return found[1] if found else b""


def acknowledge(redis: Redis, tag: str | bytes) -> None:
    """A delivered message is done."""
    _script(redis, _ACKNOWLEDGE)(keys=_UNACKED, args=[tag])


def count_attempt(redis: Redis, batch_id: str, attempt: Attempt) -> DeliveryState:
    """Counts an attempt at a batch."""
    return DeliveryState.of(
        _script(redis, _COUNT_ATTEMPT)(args=[batch_id, attempt.SerializeToString(), keys.ATTEMPTS_TTL_S])
    )


def complete(
    redis: Redis, batch: Batch, reply: bytes, results: Mapping[str, bytes], done_ttl_s: float, result_ttl_s: float
) -> bool:
    """Hands a batch's reply to the front door that asked; False when another worker was first. Acknowledges the batch.

    Args:
        results: responses to keep, by the key of their request id; an empty one frees the id.
        done_ttl_s: seconds in which the batch could be delivered again.
        result_ttl_s: seconds for which results are kept.
    """
    return bool(
        _script(redis, _FINISH)(
            keys=[
                *_UNACKED,
                keys.done(batch.id),
                keys.attempts(batch.id),
                keys.replies(batch.front_door),
                keys.kept(batch.deployment),
                *results,
            ],
            args=[batch.id, _whole(done_ttl_s), keys.REPLIES_TTL_S, _whole(result_ttl_s), *results.values(), reply],
        )
    )


def split(redis: Redis, batch: Batch, messages: Sequence[bytes], done_ttl_s: float) -> bool:
    """Queues Celery messages in a batch's place; False when the batch was done before. Acknowledges the batch."""
    return bool(
        _script(redis, _FINISH)(
            keys=[
                *_UNACKED,
                keys.done(batch.id),
                keys.attempts(batch.id),
                queue_name(batch.deployment),
                keys.kept(batch.deployment),
            ],
            args=[batch.id, _whole(done_ttl_s), 0, 0, *messages],
        )
    )


def bury(redis: Redis, letter: DeadLetter) -> None:
    """Keeps a dead letter, on the disk of Redis where that can be had; the same one again replaces itself."""
    durability.write(redis, "HSET", keys.dead_letters(letter.deployment), letter.id, letter.SerializeToString())


@dataclass(frozen=True)
class IdempotencyHold:
    """A call's hold on a request id: the key of its result, and the id of the call."""

    key: str
    call: bytes


async def hold_request_id(
    redis: AsyncRedis, hold: IdempotencyHold, digest: bytes, ttl_s: float
) -> tuple[bytes, bytes | None] | None:
    """Claims a request id for `ttl_s` seconds; None when it was free.

    Returns:
        else the digest of the request that holds it, and its response once there is one.
    """
    found = await _script(redis, _HOLD_REQUEST_ID)(keys=[hold.key], args=[digest, hold.call, round(ttl_s * 1000)])
    return None if found is None else (found[0], found[1])


async def publish_held(redis: AsyncRedis, queue_key: str, message: bytes, holds: Mapping[IdempotencyHold, int]) -> bool:
    """Queues a message, and makes the holds of its requests last; False, and neither, when one of them is lost.

    Args:
        holds: until when each lasts, in milliseconds of Unix time.
    """
    hashes = [hold.key for hold in holds]
    args = [value for hold, ends_at_ms in holds.items() for value in (hold.call, ends_at_ms)]
    return bool(await _script(redis, _PUBLISH_CLAIMED)(keys=[queue_key, *hashes], args=[message, *args]))


async def is_lost(redis: AsyncRedis, batch_id: str, requests: int, message: bytes, queue_keys: Sequence[str]) -> bool:
    """Whether a published batch is nowhere: its worker died after Redis gave the message out, and before it was noted.

    Args:
        requests: how many it has.
        message: the queue entry as published.
        queue_keys: the lists of its queue, one a priority.
    """
    ids = [batch_id, *(single_id(batch_id, index) for index in range(requests))]
    known = [key for each in ids for key in (keys.done(each), keys.attempts(each))]
    lost = await _script(redis, _IS_LOST)(
        keys=[keys.UNACKED, *queue_keys, *known], args=[len(queue_keys), message, *ids]
    )
    return bool(lost)


async def lengths(redis: AsyncRedis, command: Literal["LLEN", "HLEN", "ZCARD"], names: Sequence[str]) -> dict[str, int]:
    """How long each of these keys is, of those that are not empty: where few are, many cost little to look at."""
    found: dict[str, int] = {}
    for first in range(0, len(names), _LENGTHS_AT_ONCE):
        some = names[first : first + _LENGTHS_AT_ONCE]
        places_and_lengths = iter(await _script(redis, _LENGTHS)(keys=some, args=[command]))
        found |= {some[place - 1]: length for place, length in zip(places_and_lengths, places_and_lengths, strict=True)}
    return found


def single_id(batch_id: str, index: int) -> str:
    """The id of the batch that carries one request of a batch that was split."""
    return f"{batch_id}.{index}"


@cache
def _script(redis: Redis | AsyncRedis, source: str) -> Any:
    return redis.register_script(source)


def _whole(seconds: float) -> int:
    return max(1, round(seconds))
