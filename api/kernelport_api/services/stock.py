"""What tenants keep here, against the quotas of who calls: items of jobs that wait, bytes that are stored, voices.

It is looked at when more comes. What several calls bring at the same moment may pass a quota by as much.
"""

import itertools
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
from redis.asyncio import Redis

from kernelport.access.quotas import QuotaExceededError
from kernelport.broker import keys, stored
from kernelport.jobs.census import ACTIVE
from kernelport_api import calls
from kernelport_api.queueing.redis_errors import reached

# How soon it makes sense to bring more items.
RETRY_AFTER_S = 5.0
_AT_ONCE = 500


def least(quota: str) -> tuple[str, int] | None:
    """The smallest limit of this kind for who calls, and whose it is; None where there is none."""
    limits = [
        (limit, holder)
        for holder, quotas in calls.current().principal.stock
        if (limit := getattr(quotas, quota)) is not None
    ]
    return (min(limits)[1], int(min(limits)[0])) if limits else None


class Stock:
    """Looks at what the tenant of the current call has."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def check_items(self, more: int) -> None:
        """Raises QuotaExceededError when so many more items of jobs may not wait."""
        if more and (limited := least("items_waiting")) is not None:
            holder, limit = limited
            used = sum([_waiting(*fields) async for fields in self._jobs("state", "items", "succeeded", "failed")])
            if used + more > limit:
                raise QuotaExceededError.by(holder, "items_waiting", limit, used, RETRY_AFTER_S)

    async def check_bytes(self, more: int) -> None:
        """Raises QuotaExceededError when so many more bytes of files and outputs may not be stored."""
        if (limited := least("stored_bytes")) is not None:
            holder, limit = limited
            used = sum([_number(value) async for (value,) in self._jobs("output_bytes")])
            files = await reached(self._redis.hvals(keys.owned(keys.FILES, calls.current().principal.tenant)))
            used += sum(map(_size, files))
            if used + more > limit or used >= limit:
                raise QuotaExceededError.by(holder, "stored_bytes", limit, used, None)

    async def _jobs(self, *fields: str) -> AsyncIterator[list[bytes | None]]:
        """Fields of each of the tenant's jobs."""
        key = keys.owned(keys.JOBS, calls.current().principal.tenant)
        jobs: Iterable[bytes] = iter(await reached(self._redis.zrange(key, 0, -1)))
        while some := list(itertools.islice(jobs, _AT_ONCE)):
            async with self._redis.pipeline(transaction=False) as pipeline:
                for job in some:
                    pipeline.hmget(keys.job(stored.name(job)), *fields)
                for found in await reached(pipeline.execute()):
                    yield found


def _waiting(state: bytes | None, items: bytes | None, *done: bytes | None) -> int:
    """The items of a job that are still to be done."""
    is_active = state is not None and state.decode(errors="replace") in ACTIVE
    return _number(items) - sum(map(_number, done)) if is_active else 0


def _number(value: bytes | None) -> int:
    return int(value) if value and value.isdigit() else 0


def _size(record: bytes) -> int:
    try:
        found: Any = msgspec.json.decode(record)
        return int(found["bytes"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return 0
