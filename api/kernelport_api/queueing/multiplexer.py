"""A connection to Redis that callers share: for the two commands that every request pays for.

redis-py's client takes a connection out of a pool for each command, waits for its answer and puts it back. Here
commands go out as they come and answers are handed out in their order, so a command costs little more than its bytes.
"""

import asyncio
import contextlib
import math
from collections import deque
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError, RedisError, ResponseError, TimeoutError

TICK_S = 1.0


class NotSentError(ConnectionError):
    """There is no connection to send a command on: Redis knows nothing of it."""


class Multiplexer:
    """Commands out, answers in, on one connection; connects again when it has broken.

    Args:
        redis: says where and how to connect. Its connections must have no time limit.
        patience_s: after so many seconds without any answer while one is due, the connection is taken to be dead.
            Seconds in which this process itself stood still do not count: answers may have come meanwhile.
    """

    def __init__(self, redis: Redis, patience_s: float) -> None:
        self._pool: Any = redis.connection_pool
        self._patience = round(patience_s / TICK_S)
        self._connecting = asyncio.Lock()
        self._connection: Any = None
        self._answers: deque[asyncio.Future[Any]] = deque()
        self._silent_ticks = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def call(self, *command: Any) -> Any:
        """Sends a command; gives its answer.

        Raises:
            NotSentError: Redis cannot be reached.
            RedisError: what Redis said, or that it did not answer.
        """
        if self._connection is None:
            await self._connect()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        await self._connection.send_packed_command(hiredis.pack_command(command), check_health=False)
        return await answer

    async def close(self) -> None:
        """Ends the connection; commands without an answer fail."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fail(ConnectionError("closed"))

    async def _connect(self) -> None:
        async with self._connecting:  # callers that come meanwhile wait for the same connection
            if self._connection is not None:
                return
            connection = self._pool.make_connection()
            try:
                await connection.connect()
            except RedisError as error:
                raise NotSentError(str(error)) from error
            for task in self._tasks:
                task.cancel()
            self._connection = connection
            self._silent_ticks = 0
            self._tasks = [asyncio.create_task(self._read(connection)), asyncio.create_task(self._watch(connection))]

    async def _read(self, connection: Any) -> None:
        while True:
            try:
                result = await connection.read_response(timeout=math.inf)
            except ResponseError as error:
                result = error
            except (RedisError, OSError) as error:
                return await self._fail(error, connection)
            self._silent_ticks = 0
            answer = self._answers.popleft()
            if answer.done():  # its caller has gone
                continue
            if isinstance(result, ResponseError):
                answer.set_exception(result)
            else:
                answer.set_result(result)

    async def _watch(self, connection: Any) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._silent_ticks = self._silent_ticks + 1 if self._answers else 0
            if self._silent_ticks > self._patience:
                return await self._fail(TimeoutError(f"no answer within {self._patience * TICK_S:g} s"), connection)

    async def _fail(self, error: Exception, connection: Any = None) -> None:
        """Fails every command without an answer; the next call connects anew."""
        if connection is not None and connection is not self._connection:
            return  # another one has taken its place
        failed, self._answers = self._answers, deque()
        broken, self._connection = self._connection, None
        for answer in failed:
            if not answer.done():
                answer.set_exception(error if isinstance(error, RedisError) else ConnectionError(str(error)))
        if broken is not None:
            with contextlib.suppress(RedisError, OSError):
                await broken.disconnect(nowait=True)
