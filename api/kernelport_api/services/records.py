"""Small records by id, as JSON in a hash of Redis, each until its time is over."""

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

import msgspec
from msgspec import Meta
from redis.asyncio import Redis

from kernelport.broker import keys, stored
from kernelport.broker.clock import clock
from kernelport.errors import ResourceExhaustedError
from kernelport_api import calls
from kernelport_api.queueing.redis_errors import reached

MOST_RECORDS = 10_000
RETRY_AFTER_S = 60.0

Record = dict[str, Any]
_Whole = Annotated[int, Meta(ge=0, le=2**53)]


class FileRecord(TypedDict):
    """What is known of an uploaded file, whose id names its folder, too."""

    id: Annotated[str, Meta(pattern=r"\Afile-[0-9a-f]{24}\Z")]
    bytes: _Whole
    created_at: _Whole
    filename: str
    purpose: str
    forget_at: _Whole


class BatchRecord(TypedDict):
    """What is known of a batch."""

    id: str
    job: str
    created_at: _Whole
    forget_at: _Whole
    input_file_id: str
    metadata: dict[str, str]
    model: str
    response_format: str
    errors: list[dict[str, Any]]
    refused: _Whole
    refused_file: str
    total: _Whole


class Records:
    """Those of one kind that the tenant of the current call has, by `id`, each until `forget_at` in Unix seconds.

    Args:
        key: of the hash that has them, for the default tenant.
        kind: what a record has; what has something else is none.
    """

    def __init__(self, redis: Redis, key: str, kind: type[FileRecord] | type[BatchRecord]) -> None:
        self._redis = redis
        self._of_all = key
        self._kind = kind

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
        record = self._read(record_id, value) if value is not None else None
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
        values: Mapping[bytes, bytes] = await reached(self._redis.hgetall(self._key))
        found = (self._read(stored.name(record_id), value) for record_id, value in values.items())
        return [record for record in found if record is not None]

    def _read(self, record_id: str, value: bytes) -> Record | None:
        """A record; None when the bytes are none of this id, which is told in the log."""
        try:
            record: Any = msgspec.json.decode(value, type=self._kind)
            if record["id"] == record_id:
                return dict(record)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        stored.tell(stored.StoredError(f"{self._key} {record_id}: expected the JSON of a {self._kind.__name__}"))
        return None
