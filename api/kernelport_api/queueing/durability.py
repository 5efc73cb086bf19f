"""What callers are told is done is on the disk of Redis first, where Redis can tell."""

import asyncio
import contextlib
import functools
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from redis import Redis as ThreadRedis
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from kernelport.broker import durability, keys
from kernelport.broker.connections import outage
from kernelport.errors import UnavailableError
from kernelport_api.queueing.redis_errors import RETRY_AFTER_S, reached, unreachable

log = logging.getLogger(__name__)

# Callers whose writes end so close together wait together.
GATHER_S = 0.02
WAITING_S = durability.WAIT_S + 3.0
# How long what was found wanting is taken to be so.
LOOK_AGAIN_S = 60.0
# How long a Redis is taken to be the same one: a new one is not there that soon.
SAME_S = 0.2

Answer = TypeVar("Answer")
Method = Callable[[Any, Any, Any], Awaitable[Answer]]


class Durability:
    """Waits for the disk of Redis, for all callers of a front door.

    `WAITAOF` is about writes of its own connection, and keeps that connection busy. So callers write over whichever
    connection comes, and a mark is written after them: the append-only file keeps the order of writes, so what stands
    before a mark is on the disk when the mark is. A Redis that was started again in between may have lost the writes
    and have the mark: its run id tells.

    Args:
        redis: for what is answered at once.
        patient: for waiting; its time limit is `WAITING_S`.
        asked: to ask, from a thread, whether Redis can tell at all.
    """

    def __init__(self, redis: Redis, patient: Redis, asked: ThreadRedis) -> None:
        self._redis = redis
        self._patient = patient
        self._asked = asked
        self._why_not: str | None = None
        self._looked_at = 0.0
        self._next: asyncio.Task[str | None] | None = None
        self._run_id, self._seen_at = "", -math.inf

    async def probe(self) -> None:
        """Finds out whether Redis can tell when a write is on its disk, and says so in the log when it cannot."""
        try:
            found = await asyncio.to_thread(durability.why_not, self._asked)
        except RedisError as error:
            outage.tell(error)
            return
        if found is not None and found != self._why_not:
            log.warning("acknowledged work may be lost when Redis dies: %s", found)
        self._why_not, self._looked_at = found, time.monotonic()

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """What was written in the block is on the disk of Redis when it ends without an error, or Redis cannot tell.

        Raises:
            UnavailableError: when Redis cannot be reached, does not get to its disk, or was started again meanwhile;
                what was written may be there all the same.
        """
        if self._why_not is not None and time.monotonic() - self._looked_at >= LOOK_AGAIN_S:
            await self.probe()
        if self._why_not is not None:
            yield
            return
        if time.monotonic() - self._seen_at > SAME_S:
            self._see(await reached(self._redis.info("server")))
        before = self._run_id
        yield
        if self._next is None:
            self._next = asyncio.create_task(self._wait())
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())  # its callers may be gone
        if await asyncio.shield(self._next) not in (before, None):
            raise _uncertain("Redis was started again meanwhile")

    def _see(self, server: Mapping[str, Any]) -> None:
        self._run_id, self._seen_at = str(server["run_id"]), time.monotonic()

    async def _wait(self) -> str | None:
        """The run id of the Redis that has on its disk what was written before this began; None when it cannot tell."""
        await asyncio.sleep(GATHER_S)
        self._next = None  # whoever comes from now on may write later than the mark
        try:
            async with self._patient.pipeline(transaction=False) as mark:
                mark.set(keys.ON_DISK, "", ex=keys.ON_DISK_TTL_S)
                mark.execute_command(*durability.WAIT)
                mark.info("server")
                _, (synced, _), server = await mark.execute()
        except OutOfMemoryError as error:
            raise unreachable(error) from error
        except ResponseError:
            await self.probe()
            return None
        except RedisError as error:
            raise _uncertain(str(error)) from error
        if synced:
            self._see(server)
            return self._run_id
        await self.probe()
        if self._why_not is None:
            raise _uncertain(f"Redis has not written to its disk for {durability.WAIT_S:g} s")
        return None


def on_disk(method: Method[Answer]) -> Method[Answer]:
    """Wraps a method of a servicer that has a `durability`: it answers once what it wrote is on the disk of Redis."""

    @functools.wraps(method)
    async def wrapped(self: Any, request: Any, context: Any) -> Answer:
        async with self.durability.kept():
            return await method(self, request, context)

    return wrapped


def _uncertain(why: str) -> UnavailableError:
    return UnavailableError(
        f"{why}: the call may have been taken or not; repeat it, with the same request_id where it has one",
        retry_after_s=RETRY_AFTER_S,
    )
