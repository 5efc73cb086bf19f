"""A message that was waited for is noted as delivered, whatever happens to the note's connection."""

from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from kernelport.broker import keys, scripts
from kernelport.broker.dedicated import DedicatedClient
from kernelport.broker.queues import celery_message, queue_name
from kernelport.internal.v1.queue_pb2 import Batch
from kernelport.supervisor.stack import Stack
from kernelport.v1.dead_letter_pb2 import Attempt
from kernelport_workers.consumer.unacked import UnackedRecord

QUEUE = queue_name("nobodys")
ATTEMPT = Attempt(worker="first", unix_us=1)


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    """The shared stack's, whose queues nobody but the test uses here."""
    with Redis.from_url(stack.settings.redis_url) as client:
        yield client
        scripts.acknowledge(client, "noted")
        client.delete(QUEUE, keys.attempts("noted"))


def _nothing(redis: Redis, line: Redis) -> None:
    """All goes well."""


def _forget_scripts(redis: Redis, line: Redis) -> None:
    redis.script_flush()


def _cut_off(redis: Redis, line: Redis) -> None:
    redis.client_kill_filter(_id=line.client_id())


@pytest.mark.parametrize("happen", [_nothing, _forget_scripts, _cut_off])
def test_a_delivery_is_noted_once(redis: Redis, happen: Callable[[Redis, Redis], None]) -> None:
    line = DedicatedClient.of(redis)
    redis.lpush(QUEUE, "another message")
    happen(redis, line)
    note = UnackedRecord(line, QUEUE, celery_message(Batch(id="noted", deployment="nobodys")), ATTEMPT)
    state = note.wait()
    assert state is not None
    assert (state.attempts, note.more_wait) == ([ATTEMPT], True)
    assert note.wait() == state
    assert redis.hexists(keys.UNACKED, "noted")
    assert redis.llen(keys.attempts("noted")) == 1
    scripts.acknowledge(redis, "noted")
    assert not redis.hexists(keys.UNACKED, "noted")
    assert redis.zscore(keys.UNACKED_INDEX, "noted") is None
