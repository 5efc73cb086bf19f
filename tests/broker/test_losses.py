"""When a worker counts as dead."""

import json
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from kernelport import keys
from kernelport.connections import connect
from kernelport.internal.v1.queue_pb2 import Batch, BatchItem, WorkerRecord
from kernelport.queues import celery_message, queue_keys
from kernelport.registry import beat
from kernelport.settings import Settings
from kernelport.v1.dead_letter_pb2 import Attempt
from kernelport.v1.deployment_pb2 import Worker
from kernelport_api.losses import Losses
from tests.broker.servers import Server
from tests.waiting import wait_for

MODEL, WORKER, TTL_S = "elsewhere", "alive", 2.0
RECORD = WorkerRecord(worker=Worker(id=WORKER))


@pytest.fixture
def redis(server: Server) -> Iterator[Redis]:
    with connect(server.url) as connected:
        yield connected
        connected.flushdb()


@pytest.fixture
def losses(redis: Redis) -> Iterator[None]:
    looking = Losses(redis, TTL_S)
    looking.start()
    yield
    looking.stop()


def take_batch(redis: Redis) -> None:
    """The worker has a batch in hand."""
    batch = json.loads(celery_message(Batch(deployment=MODEL, id="b", front_door="a", items=[BatchItem(id=b"1")])))
    redis.hset(keys.UNACKED, "b", json.dumps([batch, "", f"kp.{MODEL}"]))
    redis.zadd(keys.UNACKED_INDEX, {"b": time.time()})
    redis.rpush(keys.attempts("b"), Attempt(worker=WORKER).SerializeToString())


def test_the_shortest_heartbeat_that_may_be_set_finds_the_dead(redis: Redis) -> None:
    ttl_s = Settings.from_environment({"KERNELPORT_HEARTBEAT_TTL_S": "1"}).heartbeat_ttl_s
    looking = Losses(redis, ttl_s)
    looking.start()
    try:
        take_batch(redis)
        wait_for(lambda: redis.llen(queue_keys(MODEL)[0]) == 1, 3 * ttl_s)
    finally:
        looking.stop()


def test_no_worker_counts_as_dead_because_redis_took_no_heartbeats(redis: Redis, losses: None) -> None:
    take_batch(redis)
    for _ in range(4):
        beat(redis, RECORD, TTL_S)
        time.sleep(TTL_S / 2)  # for longer than it takes to be sure
    redis.config_set("min-replicas-to-write", 1)
    wait_for(lambda: not redis.exists(keys.worker(WORKER)))
    time.sleep(1.0)  # how long Redis refuses is what this is about
    redis.config_set("min-replicas-to-write", 0)
    time.sleep(1.0)  # the worker is late, and still in time
    assert redis.hexists(keys.UNACKED, "b")
    beat(redis, RECORD, TTL_S)
    wait_for(lambda: redis.llen(queue_keys(MODEL)[0]) == 1, what="the worker is dead now")
