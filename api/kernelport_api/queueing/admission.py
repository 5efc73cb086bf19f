"""Whether a deployment takes one more request: limits that hold for all front doors together.

Each front door tells the others what waits for an answer at its own, with its heartbeat. So the limits cost a request
nothing, a front door that dies takes its share with it, and they can be passed by what arrives between two heartbeats.
"""

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys, registry, stored
from kernelport.broker.clock import clock
from kernelport.broker.connections import outage
from kernelport.broker.memory import BULK_SHARE, CALLS_SHARE, left
from kernelport.config.deployments import Limits
from kernelport.counting import counted
from kernelport.errors import ResourceExhaustedError
from kernelport.internal.v1.queue_pb2 import FrontDoorRecord, Load
from kernelport.v1.deployment_pb2 import FrontDoor

log = logging.getLogger(__name__)

HEARTBEAT_S = 0.25
HEARTBEAT_TTL_MS = 5000
# The drain rate is measured over this long.
RATE_WINDOW_S = 5.0
SHORTEST_RETRY_S, LONGEST_RETRY_S = 0.1, 60.0
_NEAR_LIMIT = "Redis is near its memory limit"


@dataclass
class _Waiting:
    """What waits at other front doors: sums of what they say, which may be more than a field of a message holds."""

    requests: int = 0
    bytes: int = 0


_NOTHING = _Waiting()


class Drain:
    """How fast a deployment answers, here."""

    def __init__(self) -> None:
        self._answered_at: deque[float] = deque(maxlen=1000)

    def note(self) -> None:
        """One more request is answered."""
        self._answered_at.append(time.monotonic())

    def rate(self) -> float:
        """Requests a second over the last few seconds; 0 when there were none."""
        now = time.monotonic()
        while self._answered_at and now - self._answered_at[0] > RATE_WINDOW_S:
            self._answered_at.popleft()
        return len(self._answered_at) / max(1e-3, now - self._answered_at[0]) if self._answered_at else 0.0


class Admission:
    """The limits of every deployment, and what waits here and elsewhere."""

    def __init__(self, redis: Redis, about: Callable[[], FrontDoor], result_bytes: int) -> None:
        """
        Args:
            about: what others are told of this front door.
            result_bytes: of a deployment's results that are kept for their request ids, at most.
        """
        self._redis = redis
        self._front_door = about().name
        self._about = about
        self._result_bytes = result_bytes
        # Of the deployments that a request with an id has ever come for here: kept bytes by when they are gone.
        self._kept: dict[str, dict[int, int]] = {}
        # Of the deployments that anything has ever come for here, and that any front door tells about.
        self._here: dict[str, Load] = {}
        self._elsewhere: dict[str, _Waiting] = {}
        self._drain: defaultdict[str, Drain] = defaultdict(Drain)
        self._calls_are_full = self._bulk_is_full = False

    def enter(self, deployment: str, limits: Limits, size: int) -> None:
        """Counts a request of `size` bytes in.

        Raises:
            ResourceExhaustedError: when it would pass a limit; says when to try again.
        """
        here = self._here.get(deployment) or self._here.setdefault(deployment, Load(deployment=deployment))
        elsewhere = self._elsewhere.get(deployment, _NOTHING)
        requests = here.requests + elsewhere.requests
        if requests >= limits.max_waiting:
            waiting = counted(requests, "request waits", "requests wait")
            self._refuse(deployment, f"{waiting}, of at most {limits.max_waiting}")
        if here.bytes + elsewhere.bytes + size > limits.max_waiting_bytes:
            self._refuse(
                deployment, f"{here.bytes + elsewhere.bytes} bytes wait, of at most {limits.max_waiting_bytes}"
            )
        if self._calls_are_full:
            self._refuse(deployment, _NEAR_LIMIT)
        here.requests += 1
        here.bytes += size
        here.accepted += 1

    def turn_away(self, deployment: str, size: int) -> None:
        """Takes back that a request was counted in: it asks for nothing that could be queued."""
        here = self._here[deployment]
        here.requests -= 1
        here.bytes -= size
        here.accepted -= 1

    def leave(self, deployment: str, size: int) -> None:
        """Counts a request out, whatever became of it."""
        here = self._here[deployment]
        here.requests -= 1
        here.bytes -= size
        here.answered += 1
        self._drain[deployment].note()

    def check_payload(self, deployment: str) -> None:
        """Raises ResourceExhaustedError when no request may travel through Redis that is too large for the queue."""
        if self._bulk_is_full:
            self._refuse(deployment, f"{_NEAR_LIMIT}, and takes small requests only")

    def check_kept(self, deployment: str) -> None:
        """Raises ResourceExhaustedError when one more result is not to be kept for a request id."""
        if self._bulk_is_full:
            self._refuse(deployment, f"{_NEAR_LIMIT}, and keeps no results for request ids")
        kept = self._kept.setdefault(deployment, {})
        bytes_ = sum(kept.values())
        if bytes_ >= self._result_bytes:
            raise ResourceExhaustedError(
                f'request_id: results of "{deployment}" that are kept have {counted(bytes_, "byte")}, of at most '
                f"{self._result_bytes} (KERNELPORT_RESULT_BYTES)",
                retry_after_s=min(LONGEST_RETRY_S, max(SHORTEST_RETRY_S, min(kept) - clock.now())),
            )

    async def keep_sharing(self) -> None:
        """Tells other front doors what waits here, and learns what waits there, for ever."""
        while True:
            try:
                await self._share()
                outage.over()
            except RedisError as error:
                outage.tell(error)
            await asyncio.sleep(HEARTBEAT_S)

    async def leave_for_good(self) -> None:
        """Takes this front door off the list of those that live."""
        await self._redis.delete(keys.front_door(self._front_door))

    async def _share(self) -> None:
        record = FrontDoorRecord(name=self._front_door, loads=self._here.values(), front_door=self._about())
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.set(keys.front_door(self._front_door), record.SerializeToString(), px=HEARTBEAT_TTL_MS)
            pipeline.sadd(keys.FRONT_DOORS, self._front_door)
            pipeline.expire(keys.FRONT_DOORS, keys.INDEX_TTL_S)
            pipeline.info("memory")
            *_, memory = await pipeline.execute()
        self._calls_are_full, self._bulk_is_full = (left(memory, share) < 0 for share in (CALLS_SHARE, BULK_SHARE))
        for name in list(self._kept):
            self._kept[name] = await self._kept_of(name)
        values = await registry.indexed(self._redis, keys.FRONT_DOORS, keys.front_door)
        elsewhere: dict[str, _Waiting] = {}
        for record in stored.messages(FrontDoorRecord, values, keys.front_door("*")):
            for load in record.loads if record.name != self._front_door else ():
                there = elsewhere.setdefault(load.deployment, _Waiting())
                there.requests += load.requests
                there.bytes += load.bytes
        self._elsewhere = elsewhere

    async def _kept_of(self, deployment: str) -> dict[int, int]:
        key = keys.kept(deployment)
        found: Any = await self._redis.hgetall(key)
        try:
            kept = {stored.number(ends, key): stored.number(value, key) for ends, value in found.items()}
        except stored.StoredError as error:
            stored.tell(error)
            return {}
        return {ends: value for ends, value in kept.items() if ends > clock.now()}

    def _refuse(self, deployment: str, why: str) -> None:
        rate = self._drain[deployment].rate()
        retry_after_s = min(LONGEST_RETRY_S, max(SHORTEST_RETRY_S, 1 / rate)) if rate else 1.0
        raise ResourceExhaustedError(f'"{deployment}" is full: {why}', retry_after_s=retry_after_s)
