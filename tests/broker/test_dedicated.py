"""A client of one connection answers as redis-py's own does, and outlives its connection."""

from collections.abc import Iterator

import pytest
from redis import Redis
from redis.exceptions import ResponseError, TimeoutError

from kernelport.broker.connections import connect
from kernelport.broker.dedicated import DedicatedClient
from kernelport.supervisor.stack import Stack

LIST, TEXT, SET, SCORES, HASH = (f"test:dedicated:{kind}" for kind in ("list", "text", "set", "scores", "hash"))


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    """The shared stack's."""
    with connect(stack.settings.redis_url, timeout_s=0.5) as client:
        yield client
        client.delete(LIST, TEXT, SET, SCORES, HASH)


def test_it_answers_as_the_client_of_redis_py_does(redis: Redis) -> None:
    dedicated = DedicatedClient.of(redis)
    redis.rpush(LIST, b"\xff", "zwei", 3)
    redis.set(TEXT, "\N{GREEK SMALL LETTER ALPHA}")
    redis.sadd(SET, "a", "b")
    redis.zadd(SCORES, {"a": 1, "b": 2.5})
    redis.hset(HASH, "a", "b")
    for ask in (
        lambda client: client.lrange(LIST, 0, -1),
        lambda client: client.get(TEXT),
        lambda client: (client.brpop(["nobody's", LIST], 1), client.rpush(LIST, 3)),
        lambda client: client.brpop("nobody's", 0.01),
        lambda client: client.script_load("return 1"),
        lambda client: client.exists(TEXT, LIST),
        lambda client: client.smembers(SET),
        lambda client: client.mget(TEXT, "nobody's"),
        lambda client: client.hgetall(HASH),
        lambda client: client.zrange(SCORES, 0, -1, withscores=True),
        lambda client: client.set(TEXT, "", nx=True),
        lambda client: client.type(TEXT),
        lambda client: client.config_get("save"),
    ):
        assert ask(dedicated) == ask(redis)


def test_it_asks_again_on_a_fresh_connection_when_its_own_was_closed(redis: Redis) -> None:
    dedicated = DedicatedClient.of(redis)
    first = dedicated.client_id()
    redis.client_kill_filter(_id=first)
    assert dedicated.ping()
    assert dedicated.client_id() != first


def test_what_redis_refuses_is_an_error_and_the_next_command_is_answered(redis: Redis) -> None:
    dedicated = DedicatedClient.of(redis)
    redis.set(TEXT, "no list")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        dedicated.llen(TEXT)
    assert dedicated.get(TEXT) == b"no list"


def test_an_answer_that_comes_too_late_is_nobodys(redis: Redis) -> None:
    dedicated = DedicatedClient.of(redis)
    with pytest.raises(TimeoutError):
        dedicated.blpop("nobody's", 1)  # half a second is all that its connection has
    assert dedicated.ping()
