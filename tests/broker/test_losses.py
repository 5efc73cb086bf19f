"""When a worker counts as dead."""

import json
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from kernelport.broker import keys
from kernelport.broker.connections import connect
from kernelport.broker.queues import celery_message, queue_keys
from kernelport.broker.registry import beat, closed, connection_id
from kernelport.config.settings import Settings
from kernelport.internal.v1.queue_pb2 import Batch, BatchItem, WorkerRecord
from kernelport.v1.dead_letter_pb2 import Attempt
from kernelport.v1.deployment_pb2 import Worker
from kernelport_api.queueing.losses import Losses
from tests.broker.servers import Server
from tests.waiting import wait_for

MODEL, WORKER, TTL_S = "elsewhere", "alive", 2.0
RECORD = WorkerRecord(worker=Worker(id=WORKER))


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


def test_a_worker_is_missed_when_its_connection_is_closed(redis: Redis) -> None:
    presence = redis.client()
    record = WorkerRecord(worker=Worker(id=WORKER), redis_client=connection_id(presence))
    assert closed(redis, [record, WorkerRecord(worker=Worker(id="of 0.1.0"))]) == []
    redis.client_kill_filter(_id=str(record.redis_client))
    wait_for(lambda: closed(redis, [record]) == [record])


def test_where_redis_does_not_tell_of_connections_nobody_is_missed(redis: Redis, server: Server) -> None:
    redis.acl_setuser("restricted", enabled=True, nopass=True, keys="*", commands=["+@all", "-client"])
    with connect(server.url.replace("//", "//restricted:any@")) as restricted:
        assert connection_id(restricted.client()) == 0
        assert closed(restricted, [WorkerRecord(worker=Worker(id=WORKER), redis_client=2**62)]) == []


def test_a_worker_whose_connection_is_closed_has_time_to_tell_of_another(redis: Redis) -> None:
    def looks() -> int:
        return int(redis.info("commandstats").get("cmdstat_client|list", {}).get("calls", 0))

    take_batch(redis)
    beat(redis, WorkerRecord(worker=Worker(id=WORKER), redis_client=2**62), 60.0)
    looking, before = Losses(redis, 60.0), looks()
    looking.start()
    try:
        wait_for(lambda: looks() >= before + 3)
        assert redis.hexists(keys.UNACKED, "b")
    finally:
        looking.stop()
