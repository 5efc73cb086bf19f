"""What is noted as delivered may be of anybody's making: it keeps no batch of a dead worker back."""

import json
from dataclasses import replace

import pytest
from celery import Celery
from redis import Redis

from kernelport.broker import keys
from kernelport.broker.leases import end_leases
from kernelport.broker.queues import celery_config, celery_message, job_message, queue_keys
from kernelport.config.settings import Settings
from kernelport.internal.v1.queue_pb2 import Batch, BatchItem
from kernelport.v1.dead_letter_pb2 import Attempt
from tests.broker.servers import Server

MODEL = "elsewhere"
ATTEMPT = Attempt(worker="dead").SerializeToString()
BATCH = json.loads(celery_message(Batch(deployment=MODEL, id="batch", front_door="a", items=[BatchItem(id=b"1")])))
TICKET = json.loads(job_message(MODEL, "ticket"))
FORGED = {
    b"\xff": b"{}",
    b"none": None,
    b"no-json": b"\xff",
    b"deep": b"[" * 100_000,
    b"number": b"1",
    b"short": json.dumps([BATCH]).encode(),
    b"no-queue": json.dumps([BATCH, "", None]).encode(),
    b"no-message": json.dumps([{"properties": {}}, "", f"kp.{MODEL}"]).encode(),
}


def deliver(redis: Redis, tag: bytes, record: bytes | None) -> None:
    redis.zadd(keys.UNACKED_INDEX, {tag: 1})
    if record is not None:
        redis.hset(keys.UNACKED, tag, record)


@pytest.mark.parametrize("attempt", [ATTEMPT, b"\xff", None])
def test_a_forged_delivery_keeps_back_no_batch_of_a_dead_worker(attempt: bytes | None, redis: Redis) -> None:
    for tag, record in FORGED.items():
        deliver(redis, tag, record)
        if attempt is not None:
            redis.rpush(b"kp:attempts:" + tag, attempt)
    deliver(redis, b"batch", json.dumps([BATCH, "", f"kp.{MODEL}"]).encode())
    redis.rpush(keys.attempts("batch"), ATTEMPT)
    assert end_leases(redis, "dead".__eq__) == 1
    assert [json.loads(entry) for entry in redis.lrange(queue_keys(MODEL)[0], 0, -1)] == [BATCH]


@pytest.mark.parametrize("taken", [b"\xff", b"[]", b"{}", b"[" * 100_000])
def test_a_ticket_whose_slice_cannot_be_read_is_nobodys(taken: bytes, redis: Redis) -> None:
    deliver(redis, b"ticket", json.dumps([TICKET, "", f"kp.{MODEL}"]).encode())
    redis.hset(keys.taken_slices(MODEL), "ticket", taken)
    assert end_leases(redis, lambda worker: True) == 0


@pytest.mark.parametrize("record", [record for record in FORGED.values() if record is not None])
def test_a_forged_delivery_whose_lease_runs_out_is_dropped_in_a_line(
    record: bytes, redis: Redis, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(redis, b"forged", record)
    with Celery("kernelport", set_as_current=False) as app:
        app.config_from_object(celery_config(replace(Settings(), redis_url=server.url)))
        with app.connection_for_read() as connection:
            connection.default_channel.qos.restore_by_tag("forged")
    assert not redis.hexists(keys.UNACKED, "forged")
    assert [entry.levelname for entry in caplog.records] == ["ERROR"]
    assert "dropped the record of a delivery" in caplog.text
    assert "Traceback" not in caplog.text
