"""What tenants use: counted here for calls, by workers for jobs; told by day, for whoever has to bill it.

What the callers of a front door have used it tells Redis once a second; of one that is killed the last second is lost.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgpack
from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport.access.store import script
from kernelport.broker import keys, stored
from kernelport.broker.clock import clock
from kernelport.broker.connections import outage
from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.jobs.inputs import characters
from kernelport.v1 import access_pb2 as pb
from kernelport.v1.inference_pb2 import InferRequest
from kernelport_api import calls
from kernelport_api.calls import Call
from kernelport_api.queueing.redis_errors import reached

INTERVAL_S = 1.0
MOST_DAYS = 400
DEFAULT_DAYS = 31
_EPOCH = date(1970, 1, 1)
_MICRO, _NANO = 1e6, 1e9


@dataclass
class _Used:
    """What a tenant has used, as Redis names it: times in microseconds, money in billionths of a dollar."""

    used_us: int = 0
    nano_dollars: int = 0
    calls: int = 0
    characters: int = 0
    bytes: int = 0
    audio_us: int = 0


class Usage:
    """Counts what callers use, and tells what tenants have used.

    Args:
        front_door: its name.
    """

    def __init__(self, redis: Redis, front_door: str) -> None:
        self._redis = redis
        self._front_door = front_door
        # By tenant.
        self._used: dict[str, _Used] = {}
        # What is on its way, until Redis has it for certain.
        self._told: Mapping[str, int] = {}
        self._times = 0

    def note(self, call: Call, answered: InferRequest | None = None, size: int = 0) -> None:
        """Counts a call that is over.

        Args:
            answered: the request; None when it was not answered well: then only the time of the model counts.
            size: of the request, in bytes.
        """
        used = self._used.get(call.principal.tenant)
        if used is None:
            used = self._used[call.principal.tenant] = _Used()
        used.used_us += call.used_us
        used.nano_dollars += call.nano_dollars
        if answered is not None:
            used.calls += 1
            used.characters += characters(answered.inputs)
            used.bytes += size
            used.audio_us += call.audio_us

    async def keep_telling(self) -> None:
        """Tells Redis of it, until it is cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self.tell()

    async def tell(self) -> None:
        """Tells Redis of what it has not been told yet; what it cannot take now is told next time."""
        if not self._told:
            self._told = {
                f"{tenant}:{what}": amount
                for tenant, used in self._used.items()
                for what, amount in asdict(used).items()
                if amount
            }
            self._used = {}
            self._times += 1
        if self._told:
            try:
                packed = msgpack.packb(self._told)
                await script(self._redis, "tell_usage")(args=[self._front_door, self._times, packed])
                self._told = {}
            except RedisError as error:
                outage.tell(error)

    async def by_day(self, request: pb.GetUsageRequest) -> list[pb.Usage]:
        """What tenants have used, by day and tenant. Who is no admin sees that of the own one.

        Raises:
            InvalidArgumentError: the days are none, or too many.
        """
        days, principal = _days(request), calls.current().principal
        async with self._redis.pipeline(transaction=False) as pipeline:
            for day in days:
                pipeline.hgetall(keys.usage(str((day - _EPOCH).days)))
            found = await reached(pipeline.execute())
        rows = [row for day, used in zip(days, found, strict=True) for row in _rows(day, used)]
        wanted = request.tenant if principal.is_admin else principal.tenant
        return [row for row in rows if row.tenant == wanted or not wanted]


def _days(request: pb.GetUsageRequest) -> Sequence[date]:
    last = _day("last_day", request.last_day, datetime.fromtimestamp(clock.now(), UTC).date())
    before = min(DEFAULT_DAYS - 1, (last - date.min).days)
    first = _day("first_day", request.first_day, last - timedelta(days=before))
    count = (last - first).days + 1
    if not 1 <= count <= MOST_DAYS:
        found = f"expected at most {MOST_DAYS} days up to {last}, got {first}"
        raise InvalidArgumentError.of([FieldViolation("first_day", found)])
    return [first + timedelta(days=number) for number in range(count)]


def _day(field: str, text: str, default: date) -> date:
    try:
        return date.fromisoformat(text) if text else default
    except ValueError as error:
        raise InvalidArgumentError.of(
            [FieldViolation(field, f"expected a day such as 2026-01-31, got {text[:40]!r}")]
        ) from error


def _rows(day: date, used: Mapping[bytes, bytes]) -> list[pb.Usage]:
    """What Redis has of a day, by tenant."""
    amounts: dict[str, dict[str, Any]] = {}
    for field, value in used.items():
        tenant, _, what = stored.name(field).partition(":")
        try:
            amounts.setdefault(tenant, {})[what] = max(0, stored.number(value, keys.usage("*")))
        except stored.StoredError as error:
            stored.tell(error)
    return [
        pb.Usage(
            day=day.isoformat(),
            tenant=tenant,
            calls=told.get("calls", 0),
            items=told.get("items", 0),
            characters=told.get("characters", 0),
            bytes=told.get("bytes", 0),
            audio_s=told.get("audio_us", 0) / _MICRO,
            model_s=told.get("used_us", 0) / _MICRO,
            dollars=told.get("nano_dollars", 0) / _NANO,
        )
        for tenant, told in sorted(amounts.items())
    ]
