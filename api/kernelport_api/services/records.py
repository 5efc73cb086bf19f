"""Small records by id, as JSON in a hash of Redis, each until its time is over."""

from typing import Any

import msgspec
from redis.asyncio import Redis

from kernelport.broker import keys, stored
from kernelport.broker.clock import clock
from kernelport.errors import ResourceExhaustedError
from kernelport_api import calls
from kernelport_api.queueing.redis_errors import reached

MOST_RECORDS = 10_000
RETRY_AFTER_S = 60.0

Record = dict[str, Any]


class Records:
    """Those of one kind that the tenant of the current call has. A record has `id`, and `forget_at` in Unix seconds.

    Args:
        key: of the hash that has them, for the default tenant.
    """

    def __init__(self, redis: Redis, key: str) -> None:
        self._redis = redis
        self._of_all = key

    @property
    def _key(self) -> str:
        return keys.owned(self._of_all, calls.current().principal.tenant)

    async def put(self, record: Record) -> None:
        """Keeps a record, in place of one of the same id.

        Raises:
            ResourceExhaustedError: there are too many.
        """
        if await reached(self._redis.hlen(self._key)) >= MOST_RECORDS and not await self.over():
            found = f"there are {MOST_RECORDS:,} already, which is the limit: delete some"
            raise ResourceExhaustedError(found, retry_after_s=RETRY_AFTER_S)
        await reached(self._redis.hset(self._key, record["id"], msgspec.json.encode(record)))

    async def get(self, record_id: str) -> Record | None:
        """One that is not over; None when there is none."""
        value = await reached(self._redis.hget(self._key, record_id))
        record = _read(value, self._key) if value is not None else None
        return record if record and record["forget_at"] > clock.now() else None

    async def all(self) -> list[Record]:
        """Those that are not over."""
        return [record for record in await self._read_all() if record["forget_at"] > clock.now()]

    async def over(self) -> list[Record]:
        """Those whose time is over."""
        return [record for record in await self._read_all() if record["forget_at"] <= clock.now()]

    async def forget(self, record_id: str) -> None:
        """Deletes one."""
        await reached(self._redis.hdel(self._key, record_id))

    async def _read_all(self) -> list[Record]:
        values = await reached(self._redis.hvals(self._key))
        return [record for value in values if (record := _read(value, self._key)) is not None]


def _read(value: bytes, key: str) -> Record | None:
    """A record; None when the bytes are none, which is told in the log."""
    try:
        record = msgspec.json.decode(value)
        if isinstance(record, dict) and isinstance(record.get("forget_at"), (int, float)) and "id" in record:
            return record
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    stored.tell(stored.StoredError(f"{key}: expected the JSON of a record"))
    return None
