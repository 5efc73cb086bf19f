"""Reads this front door's reply list and hands each completion to whoever waits for it."""

import asyncio
import logging
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, TimeoutError

from kernelport import keys
from kernelport.internal.v1.queue_pb2 import Completion, Reply

log = logging.getLogger(__name__)

BLOCK_S = 1.0
# Redis answers within BLOCK_S; after so many times that, the connection is taken to be dead.
PATIENCE = 5
RETRY_S = 0.2
READ_AT_ONCE = 64


class ReplyReader:
    """The one reader of a front door's replies.

    Args:
        redis: a client without a time limit on its connections.
    """

    def __init__(self, redis: Redis, front_door: str) -> None:
        self.front_door = front_door
        self.key = keys.replies(front_door)
        self._redis = redis
        self._waiting: dict[bytes, asyncio.Future[Completion]] = {}

    def expect(self, request_id: bytes) -> "asyncio.Future[Completion]":
        """A future of the request's completion. Call `abandon` when done with it."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        return future

    def abandon(self, request_id: bytes) -> None:
        """Stops waiting; a completion that still comes is dropped."""
        self._waiting.pop(request_id, None)

    async def run(self) -> None:
        """Reads for ever; waits for Redis while it is out of reach."""
        while True:
            try:
                entry = await self._read()
            except RedisError as error:
                log.warning("cannot read replies: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            if entry is not None:
                for value in entry[1]:
                    self._deliver(Reply.FromString(value))

    async def _read(self) -> Any:
        """Takes the next replies off the list; None when none come for a while.

        The connection has no time limit of its own: Redis has given these replies away when it answers, and a front
        door that stood still must find them when it goes on, not a limit that has passed meanwhile.
        """
        reading = asyncio.ensure_future(self._redis.blmpop(BLOCK_S, 1, self.key, direction="RIGHT", count=READ_AT_ONCE))
        try:
            for _ in range(PATIENCE):  # a pause takes one turn, however long it is
                if (await asyncio.wait({reading}, timeout=BLOCK_S))[0]:
                    return reading.result()
            raise TimeoutError(f"no answer within {PATIENCE * BLOCK_S:g} s")
        finally:
            reading.cancel()

    def _deliver(self, reply: Reply) -> None:
        for completion in reply.completions:
            future = self._waiting.get(completion.id)
            if future is not None and not future.done():
                future.set_result(completion)
