"""Reads this front door's reply list and hands each completion to whoever waits for it."""

import asyncio
import logging
from collections.abc import Callable

from redis.exceptions import RedisError

from kernelport.broker import keys, stored
from kernelport.broker.connections import RETRY_S, outage
from kernelport.internal.v1.queue_pb2 import Completion, Reply
from kernelport_api.queueing.frames import Frames
from kernelport_api.queueing.multiplexer import Multiplexer

log = logging.getLogger(__name__)

BLOCK_S = 1.0
READ_AT_ONCE = 64


class ReplyReader:
    """The one reader of a front door's replies, on a connection of its own.

    Args:
        drop: is given what nobody waits for any more.
    """

    def __init__(self, connection: Multiplexer, front_door: str, drop: Callable[[Completion], None]) -> None:
        self.front_door = front_door
        self.key = keys.replies(front_door)
        self._connection = connection
        self._drop = drop
        self._waiting: dict[bytes, asyncio.Future[Completion]] = {}
        self._streams: dict[bytes, Frames] = {}

    def expect(self, request_id: bytes) -> "asyncio.Future[Completion]":
        """A future of the request's completion. Call `abandon` when done with it."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        return future

    def expect_frames(self, request_id: bytes, frames: Frames) -> "asyncio.Future[Completion]":
        """The same of a request that is answered in pieces, which go to `frames`; the future is of the last one."""
        self._streams[request_id] = frames
        return self.expect(request_id)

    def abandon(self, request_id: bytes) -> None:
        """Stops waiting; a completion that still comes is dropped."""
        self._waiting.pop(request_id, None)
        self._streams.pop(request_id, None)

    async def run(self) -> None:
        """Reads for ever; waits for Redis while it is out of reach."""
        while True:
            try:
                # Redis has given these replies away when it answers: a front door that stood still must find them when
                # it goes on, and so nothing but the connection's own patience ends this wait.
                entry = await self._connection.call("BLMPOP", BLOCK_S, 1, self.key, "RIGHT", "COUNT", READ_AT_ONCE)
            except RedisError as error:
                outage.tell(error)
                await asyncio.sleep(RETRY_S)
                continue
            if entry is not None:
                for reply in stored.messages(Reply, entry[1], self.key):
                    self._deliver(reply)

    def _deliver(self, reply: Reply) -> None:
        for completion in reply.completions:
            frames = self._streams.get(completion.id)
            if frames is not None:
                frames.deliver(completion)
                if completion.more:
                    continue
            future = self._waiting.get(completion.id)
            if future is not None and not future.done():
                future.set_result(completion)
            elif frames is None:
                self._drop(completion)
