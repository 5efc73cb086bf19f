"""What a request id stands for once its request has run, above all large results, which are handed over one by one."""

import asyncio
import secrets

import pytest
from redis import Redis

from kernelport.broker import keys, large, scripts
from kernelport.broker.connections import connect_async
from kernelport.broker.scripts import IdempotencyHold
from kernelport.internal.v1.queue_pb2 import Batch
from tests.broker.servers import Server

BATCH = Batch(id="b", deployment="d", front_door="f")
RESULT = keys.result("id")
LARGE = b"\x0a" * (5 * 2**19)


def earlier(url: str) -> tuple[bytes, bytes | None] | None:
    """What a call finds that comes with the id; None where it is the first."""

    async def hold() -> tuple[bytes, bytes | None] | None:
        async with connect_async(url, 3.0) as redis:
            return await scripts.hold_request_id(redis, IdempotencyHold(RESULT, b"call"), b"digest", 10)

    return asyncio.run(hold())


@pytest.fixture(autouse=True)
def _held(redis: Redis, server: Server) -> None:
    assert earlier(server.url) is None


def staged(redis: Redis, response: bytes) -> bytes:
    """What stands for a large response, which is there."""
    key = keys.response(secrets.token_hex(4))
    large.write(redis, key, response, keys.STAGED_TTL_S)
    return scripts.response_at(key)


def complete(redis: Redis, result: bytes) -> bool:
    return scripts.complete(redis, BATCH, b"reply", {RESULT: result}, 60, 100)


def test_a_large_result_is_kept_once_its_batch_is_done(redis: Redis, server: Server) -> None:
    kept = staged(redis, LARGE)
    assert earlier(server.url) == (b"digest", None), "nobody reads what may yet be lost"
    assert complete(redis, kept)
    assert earlier(server.url) == (b"digest", LARGE)
    (key,) = redis.keys("kp:response:*")
    assert 90 < redis.ttl(RESULT) <= 100
    assert 90 < redis.ttl(key) <= 100
    (kept,) = redis.hvals(keys.kept(BATCH.deployment))
    assert int(kept) == len(LARGE) + keys.RESULT_OVERHEAD_BYTES


def test_of_two_runs_the_one_that_was_answered_with_is_kept(redis: Redis, server: Server) -> None:
    slow, quick = staged(redis, LARGE), staged(redis, b"quick" + LARGE)
    assert complete(redis, quick)
    assert not complete(redis, slow)
    assert earlier(server.url) == (b"digest", b"quick" + LARGE)


def test_a_result_that_stands_is_not_replaced_by_another_batch(redis: Redis, server: Server) -> None:
    assert complete(redis, b"small")
    again = Batch(id="b2", deployment="d", front_door="f")
    kept = staged(redis, LARGE)
    assert scripts.complete(redis, again, b"reply", {RESULT: kept}, 60, 100)
    assert earlier(server.url) == (b"digest", b"small")
    assert set(redis.hkeys(RESULT)) == {b"digest", b"call", b"response"}


def test_a_failure_frees_the_id(redis: Redis, server: Server) -> None:
    assert complete(redis, b"")
    assert earlier(server.url) is None


def test_a_hold_that_has_expired_keeps_nothing(redis: Redis, server: Server) -> None:
    redis.delete(RESULT)
    assert complete(redis, staged(redis, LARGE))
    assert not redis.exists(RESULT, keys.kept(BATCH.deployment))
