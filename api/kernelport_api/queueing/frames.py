"""The pieces of one answer on their way to its caller: in order, each once, and never many."""

import asyncio
from collections import deque
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys
from kernelport.broker.clock import clock
from kernelport.broker.connections import outage
from kernelport.errors import FieldViolation, InvalidArgumentError, KernelPortError, UnavailableError
from kernelport.internal.v1.queue_pb2 import Completion
from kernelport.v1 import inference_pb2 as pb

# So many are kept for a caller who does not take them; then its worker pauses, until there are no more than the others.
MOST_KEPT, FEW_KEPT = 8, 4
RETRY_AFTER_S = 0.2
# While Redis is away, it is tried this often to tell workers.
TELL_AGAIN_S = 0.1


class Frames:
    """What workers have sent of one answer, and its caller has not taken.

    Args:
        first: the index of the first piece that is wanted.
        set_paused: tells workers whether to make more.
    """

    def __init__(self, first: int, set_paused: Callable[[bool], None]) -> None:
        self._expected = first
        self._set_paused = set_paused
        self._kept: deque[Completion] = deque()
        self._arrived = asyncio.Event()
        self._error: KernelPortError | None = None
        self._is_paused = False

    def deliver(self, completion: Completion) -> None:
        """Takes what came from a worker. A piece that is there already is dropped: after the death of a worker, another
        one may make it again. Behind the last message there is one more, which is empty."""
        if completion.error or completion.out_of_reach:
            self._keep(completion)
        elif completion.sequence == self._expected:
            self._expected += 1
            self._keep(completion)
        elif completion.sequence > self._expected:
            self.fail(UnavailableError("a part of the answer was lost on its way", retry_after_s=RETRY_AFTER_S))
        elif not completion.more and completion.sequence + 1 == self._expected:
            end = pb.InferResponse(sequence=self._expected, last=True).SerializeToString()
            self._keep(Completion(id=completion.id, response=end, sequence=self._expected))
        elif not completion.more:
            found = f"the number of messages in the answer, got {self._expected}"
            violation = FieldViolation("resume_from", f"expected at most {completion.sequence + 1}, {found}")
            self.fail(InvalidArgumentError.of([violation]))

    def fail(self, error: KernelPortError) -> None:
        """Ends the answer behind what has come of it."""
        self._error = self._error or error
        self._arrived.set()

    async def take(self) -> Completion:
        """The next piece, once it is there.

        Raises:
            KernelPortError: why there is none.
        """
        while not self._kept:
            if self._error is not None:
                raise self._error
            self._arrived.clear()
            await self._arrived.wait()
        completion = self._kept.popleft()
        if self._is_paused and len(self._kept) <= FEW_KEPT:
            self._pause(False)
        return completion

    def close(self) -> list[Completion]:
        """The caller takes no more; what has come of it and was not taken."""
        if self._is_paused:
            self._pause(False)
        return list(self._kept)

    def _keep(self, completion: Completion) -> None:
        self._kept.append(completion)
        self._arrived.set()
        if not self._is_paused and completion.more and len(self._kept) >= MOST_KEPT:
            self._pause(True)

    def _pause(self, is_paused: bool) -> None:
        self._is_paused = is_paused
        self._set_paused(is_paused)


class Pauses:
    """Tells workers whose listeners are far behind, as soon as Redis can be reached."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # What workers are still to be told, by request.
        self._untold: dict[bytes, bool] = {}
        self._telling: asyncio.Task[None] | None = None

    def set(self, request_id: bytes, is_paused: bool) -> None:
        """The listener of a request is far behind, or no longer so."""
        self._untold[request_id] = is_paused
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while self._untold:
            told = dict(self._untold)
            begun = {each: clock.now() for each, is_paused in told.items() if is_paused}
            over = [each for each, is_paused in told.items() if not is_paused]
            try:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    if begun:
                        pipeline.zadd(keys.PAUSED, begun)
                        pipeline.expire(keys.PAUSED, keys.PAUSED_TTL_S)
                    if over:
                        pipeline.zrem(keys.PAUSED, *over)
                    pipeline.zremrangebyscore(keys.PAUSED, 0, clock.now() - keys.PAUSED_TTL_S)
                    await pipeline.execute()
            except RedisError as error:
                outage.tell(error)
                await asyncio.sleep(TELL_AGAIN_S)
                continue
            for each, is_paused in told.items():
                if self._untold.get(each) is is_paused:
                    del self._untold[each]
        self._telling = None
