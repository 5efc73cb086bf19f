"""Calls are counted against the quotas of tenants and keys, in Redis, for all front doors together.

What a front door has in flight is its own to say: with each call that comes, and each that is over, it says how many
there are now, so that nothing it said before has to be undone. Others take it for gone once its heartbeat is. Many
calls are counted in one round trip: the more of them are in flight, the longer one gathers what comes.
"""

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple

import msgpack
from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport.access.quotas import CALL_QUOTAS, QuotaExceededError, Quotas
from kernelport.access.store import script
from kernelport.broker.connections import outage
from kernelport.errors import KernelPortError
from kernelport.jobs.inputs import characters
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.queueing.redis_errors import unreachable

# Of calls counted in one round trip: Redis does nothing else meanwhile, for about a millisecond.
MOST_AT_ONCE = 256
AGAIN_S = 0.2
# From one round trip to the next: so much for each call in flight, little beside the time that they take of each other.
GATHERED_S_A_CALL, MOST_GATHERED_S = 0.0001, 0.005
# How soon to come again where nobody knows when somebody else's call will be over.
RETRY_AFTER_S = 1.0

Holder = tuple[str, Quotas]


class _Call:
    """A call, from when it comes until it is over."""

    __slots__ = ("answer", "characters", "day", "holders", "size")

    def __init__(self, holders: Sequence[Holder], characters: int, size: int) -> None:
        self.holders = holders
        self.characters = characters
        self.size = size
        self.day = 0
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Amounts(NamedTuple):
    """What a call that came to nothing gives back."""

    holder: str
    day: int
    characters: int
    size: int


class CallQuotas:
    """Counts the calls of one front door.

    Args:
        front_door: its name, as its heartbeat has it.
    """

    def __init__(self, redis: Redis, front_door: str) -> None:
        self._script = script(redis, "count_calls")
        self._front_door = front_door
        self._in_flight: dict[str, int] = {}
        self._entered = 0
        self._told_at = -MOST_GATHERED_S
        self._quotas: dict[str, Quotas] = {}
        self._coming: list[_Call] = []
        self._changed: set[str] = set()
        self._given_back: list[_Amounts] = []
        self._telling: asyncio.Task[None] | None = None

    def counted(self, holders: Sequence[Holder], request: pb.InferRequest, size: int) -> "Counted":
        """Stands around a call. One that comes to an error gives back what it took of a day's amounts; one whose caller
        hangs up does not: it may have been run.

        Args:
            holders: whose quotas it counts against; usually nobody's.
            size: of the request, in bytes.

        Raises:
            QuotaExceededError: on entry, when it would pass one; says when to come again.
            UnavailableError: on entry, when Redis cannot be asked.
        """
        return Counted(self, holders, request, size)

    async def enter(self, holders: Sequence[Holder], characters: int, size: int) -> _Call:
        """Counts a call in, as `counted` does."""
        call = _Call(holders, characters, size)
        self._coming.append(call)
        self._tell()
        try:
            await call.answer
        except asyncio.CancelledError:
            if call.answer.done() and not call.answer.cancelled() and call.answer.exception() is None:
                self.leave(call, gives_back=True)
            raise
        return call

    def leave(self, call: _Call, *, gives_back: bool) -> None:
        """Counts a call out."""
        self._entered -= 1
        for holder, _ in call.holders:
            self._in_flight[holder] -= 1
            self._changed.add(holder)
            if gives_back and (call.characters or call.size):
                self._given_back.append(_Amounts(holder, call.day, call.characters, call.size))
        self._tell()

    def _tell(self) -> None:
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._keep_telling())

    async def _keep_telling(self) -> None:
        while self._coming or self._changed or self._given_back:
            gathers_s = min(MOST_GATHERED_S, self._entered * GATHERED_S_A_CALL)
            await asyncio.sleep(self._told_at + gathers_s - time.monotonic())
            self._told_at = time.monotonic()
            coming, self._coming = self._coming[:MOST_AT_ONCE], self._coming[MOST_AT_ONCE:]
            changed, self._changed = self._changed, set()
            given_back, self._given_back = self._given_back, []
            try:
                await self._count(coming, changed, given_back)
            except RedisError as error:
                outage.tell(error)
                for call in coming:
                    if not call.answer.done():
                        call.answer.set_exception(unreachable(error))
                self._changed |= changed | {holder for call in coming for holder, _ in call.holders}
                await asyncio.sleep(AGAIN_S)

    async def _count(self, coming: Sequence[_Call], changed: set[str], given_back: Sequence[_Amounts]) -> None:
        for call in coming:
            self._quotas.update(call.holders)
        names = list(dict.fromkeys([*changed, *(holder for call in coming for holder, _ in call.holders)]))
        names += [each.holder for each in given_back if each.holder not in names]
        number = {name: place for place, name in enumerate(names, 1)}
        told = [
            self._front_door,
            [[name, self._in_flight.get(name, 0), *self._quotas[name].of_calls()] for name in names],
            [[call.characters, call.size, *(number[name] for name, _ in call.holders)] for call in coming],
            [[number[each.holder], each.day, each.characters, each.size] for each in given_back],
        ]
        day, *answers = await self._script(args=[msgpack.packb(told)])
        for call, answer in zip(coming, answers, strict=True):
            self._answer(call, day, answer, names)
        for name in names:
            if not self._in_flight.get(name) and name not in self._changed:
                self._in_flight.pop(name, None)

    def _answer(self, call: _Call, day: int, answer: Any, names: Sequence[str]) -> None:
        if answer:
            if not call.answer.done():
                call.answer.set_exception(_exceeded(names[answer[0] - 1], dict(call.holders), answer))
            return
        call.day = day
        self._entered += 1
        for holder, _ in call.holders:
            self._in_flight[holder] = self._in_flight.get(holder, 0) + 1
        if call.answer.done():  # its caller has gone
            self.leave(call, gives_back=True)
        else:
            call.answer.set_result(None)


class Counted:
    """See `CallQuotas.counted`."""

    __slots__ = ("_call", "_holders", "_quotas", "_request", "_size")

    def __init__(self, quotas: CallQuotas, holders: Sequence[Holder], request: pb.InferRequest, size: int) -> None:
        self._quotas = quotas
        self._holders = holders
        self._request = request
        self._size = size
        self._call: _Call | None = None

    async def __aenter__(self) -> None:
        if self._holders:
            self._call = await self._quotas.enter(self._holders, characters(self._request.inputs), self._size)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._call is not None:
            self._quotas.leave(self._call, gives_back=isinstance(error, KernelPortError))


def _exceeded(holder: str, holders: dict[str, Quotas], answer: Sequence[int]) -> QuotaExceededError:
    _, number, used, wait_ms = answer
    quota = CALL_QUOTAS[number - 1]
    retry_after_s = RETRY_AFTER_S if wait_ms < 0 else max(0.001, wait_ms / 1000)
    return QuotaExceededError.by(holder, quota, getattr(holders[holder], quota), used, retry_after_s)
