"""Reads this front door's reply list and hands each completion to whoever waits for it."""

import asyncio
import logging

from redis.exceptions import RedisError

from kernelport.broker import keys, stored
from kernelport.broker.connections import RETRY_S, outage
from kernelport.internal.v1.queue_pb2 import Completion, Reply
from kernelport_api.queueing.multiplexer import Multiplexer

log = logging.getLogger(__name__)

BLOCK_S = 1.0
# So many replies stay in Redis after they have been read: for less than the time of their key, however few come.
KEPT = 64


class ReplyReader:
    """The one reader of a front door's replies, on a line of its own.

    A connection that breaks takes along what Redis has just answered. So replies are moved to another list as they are
    read, and are read again from there; a completion that comes twice is dropped.
    """

    def __init__(self, connection: Multiplexer, front_door: str) -> None:
        self.front_door = front_door
        self.key, self.received_key = keys.replies(front_door), keys.received(front_door)
        self._connection = connection
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
                await self._read_again()
                while True:
                    await self._read_some()
            except RedisError as error:
                outage.tell(error)
                await asyncio.sleep(RETRY_S)

    async def _read_again(self) -> None:
        self._take(await self._connection.call("LRANGE", self.received_key, 0, -1))
        # A reply to nobody: with it the key is there, and keeps its time when others come and go.
        await self._connection.call("LPUSH", self.received_key, b"")
        await self._forget()

    async def _read_some(self) -> None:
        """Reads KEPT replies, or those that come until none does for a while."""
        for _ in range(KEPT):
            # A front door that stood still must find these replies when it goes on, and so nothing but the line's own
            # patience ends this wait.
            reply = await self._connection.call("BLMOVE", self.key, self.received_key, "RIGHT", "LEFT", BLOCK_S)
            if reply is None:
                break
            self._take([reply])
        await self._forget()

    async def _forget(self) -> None:
        """All replies that were read are here, but for the last they are dropped."""
        await self._connection.call("LTRIM", self.received_key, 0, 0)
        await self._connection.call("EXPIRE", self.received_key, keys.RECEIVED_TTL_S)

    def _take(self, replies: list[bytes]) -> None:
        for reply in stored.messages(Reply, replies, self.key):
            for completion in reply.completions:
                future = self._waiting.get(completion.id)
                if future is not None and not future.done():
                    future.set_result(completion)
