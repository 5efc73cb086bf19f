"""Values of megabytes, written and read in pieces."""

import asyncio
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from kernelport.broker import large
from kernelport.broker.connections import connect_async
from kernelport.broker.large import PIECE_BYTES
from tests.broker.servers import Server

KEY = "kp:claim:x"


@pytest.mark.parametrize(
    "size", [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 5 * PIECE_BYTES // 2]
)
def test_what_is_written_in_pieces_is_read_whole(redis: Redis, server: Server, size: int) -> None:
    value = bytes(range(256)) * (size // 256) + bytes(size % 256)

    async def there_and_back() -> bytes | None:
        async with connect_async(server.url, 3.0) as client:
            await large.write_async(client, KEY, value, 60)
            return await large.read_async(client, KEY, b"tail")

    large.write(redis, KEY, value, 60)
    assert large.read(redis, KEY) == value == redis.get(KEY)
    assert asyncio.run(there_and_back()) == value + b"tail"
    assert 50 < redis.ttl(KEY) <= 60


def test_what_is_not_there_is_none(redis: Redis) -> None:
    redis.set("small", b"small")
    redis.set("large", bytes(2 * PIECE_BYTES + 1))
    assert large.read_all(redis, ["gone", "small", "large"]) == [None, b"small", bytes(2 * PIECE_BYTES + 1)]
    assert large.read_all(redis, []) == []


class Interrupted:
    """A Redis whose key meets something in the middle of being written or read, as often as said."""

    def __init__(self, redis: Redis, after: str, times: int, what: str) -> None:
        self._redis, self._after, self._times, self._what = redis, after, times, what

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)

    def pipeline(self, transaction: bool) -> Any:
        """What is done together counts by its first command."""
        pipeline, interrupted = self._redis.pipeline(transaction=transaction), self

        class Pipeline:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                pipeline.reset()

            def execute_command(self, *command: Any) -> None:
                pipeline.execute_command(*command)

            def getrange(self, *arguments: Any) -> None:
                pipeline.getrange(*arguments)

            def execute(self) -> Any:
                commands = [command for command, _ in pipeline.command_stack]
                answers = pipeline.execute()
                answers[0] = interrupted._disturbed(commands[0], answers[0])
                return answers

        return Pipeline()

    def execute_command(self, *command: Any) -> Any:
        return self._disturbed(command, self._redis.execute_command(*command))

    def _disturbed(self, command: Any, answer: Any) -> Any:
        if command[0] == self._after and self._times:
            self._times -= 1
            if self._what == "expires":
                self._redis.delete(command[1])
            else:  # as after a connection that broke before the answer came
                answer = self._redis.execute_command(*command)
        return answer


@pytest.mark.parametrize(("after", "what"), [("SET", "expires"), ("APPEND", "expires"), ("APPEND", "is sent twice")])
def test_a_value_that_is_disturbed_while_it_is_written_is_written_again(redis: Redis, after: str, what: str) -> None:
    value = b"a" * PIECE_BYTES + b"b" * PIECE_BYTES + b"c"
    large.write(Interrupted(redis, after, 1, what), KEY, value, 60)  # type: ignore[arg-type]
    assert redis.get(KEY) == value


def test_a_value_that_cannot_be_written_is_an_error(redis: Redis) -> None:
    with pytest.raises(RedisError, match="could not be written"):
        large.write(Interrupted(redis, "SET", 3, "expires"), KEY, bytes(2 * PIECE_BYTES), 60)  # type: ignore[arg-type]
    assert not redis.exists(KEY)


def test_of_a_value_for_which_there_is_no_room_nothing_is_left(redis: Redis, server: Server) -> None:
    used = int(redis.info("memory")["used_memory"])
    redis.config_set("maxmemory", used + 4 * PIECE_BYTES)

    async def fill() -> None:
        async with connect_async(server.url, 3.0) as client:
            await large.write_async(client, KEY, bytes(8 * PIECE_BYTES), 60)

    try:
        with pytest.raises(OutOfMemoryError):
            large.write(redis, KEY, bytes(8 * PIECE_BYTES), 60)
        assert not redis.exists(KEY)
        with pytest.raises(OutOfMemoryError):
            asyncio.run(fill())
        assert not redis.exists(KEY)
    finally:
        redis.config_set("maxmemory", 0)


def test_a_value_expires_whatever_happens_while_it_is_written(redis: Redis) -> None:
    steps = large._writing(KEY, bytes(3 * PIECE_BYTES), 60)
    large._run(redis, (commands for commands in [next(steps), steps.send(None)]))
    assert 50 < redis.ttl(KEY) <= 60
    redis.delete(KEY)
    large._run(redis, (commands for commands in [steps.send(2 * PIECE_BYTES)]))
    assert 50 < redis.ttl(KEY) <= 60, "though this piece was the first of a key that had expired"


def test_a_value_that_expires_while_it_is_read_is_none(redis: Redis) -> None:
    redis.set(KEY, bytes(3 * PIECE_BYTES))
    assert large.read(Interrupted(redis, "GETRANGE", 1, "expires"), KEY) is None  # type: ignore[arg-type]
