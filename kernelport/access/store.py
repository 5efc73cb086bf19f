"""Keys and tenants in Redis. Front doors have all of them in memory, and look whether they have changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from redis.asyncio import Redis

from kernelport.access.records import KeyRecord, TenantRecord, decode, encode
from kernelport.broker import keys, stored
from kernelport.broker.lua_files import LuaFiles

_FILES = LuaFiles("kernelport.access")
_NOTHING = b""


@dataclass(frozen=True)
class Snapshot:
    """All keys and tenants at one moment.

    Attributes:
        version: another one once any of them has changed.
        keys, tenants: by id, and by name.
        raw: the keys as they are stored, by id.
        used: when each key was used last, in seconds of Unix time.
    """

    version: bytes = _NOTHING
    keys: Mapping[str, KeyRecord] = field(default_factory=dict)
    tenants: Mapping[str, TenantRecord] = field(default_factory=dict)
    raw: Mapping[str, bytes] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)


class AccessStore:
    """Every method raises RedisError when Redis cannot be asked."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def version(self) -> bytes:
        """The version of all that there is."""
        version: Any = await self._redis.get(keys.KEYS_VERSION)
        return version or _NOTHING

    async def read(self) -> Snapshot:
        """All that there is."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.get(keys.KEYS_VERSION)
            for name in (keys.KEYS, keys.TENANTS, keys.KEYS_USED):
                pipeline.hgetall(name)
            version, found, tenants, used = await pipeline.execute()
        return Snapshot(
            version or _NOTHING,
            _records(KeyRecord, found, keys.KEYS),
            _records(TenantRecord, tenants, keys.TENANTS),
            {stored.name(key_id): value for key_id, value in found.items()},
            {stored.name(key_id): _seconds(at) for key_id, at in used.items()},
        )

    async def change_key(
        self, key_id: str, old: bytes | None, new: KeyRecord | None, *, is_first: bool = False
    ) -> bool:
        """Makes a key, changes or removes it; False, and nothing, when somebody has changed it meanwhile.

        Args:
            old: as it was stored; None when there was none.
            new: None removes it.
            is_first: whether there must be no other key.
        """
        values = [old or _NOTHING, encode(new) if new else _NOTHING]
        change = script(self._redis, "change")
        return bool(await change(keys=[keys.KEYS, keys.KEYS_VERSION], args=[key_id, *values, int(is_first)]))

    async def put_tenant(self, tenant: TenantRecord) -> None:
        """Keeps what is known of a tenant, in place of what there was."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(keys.TENANTS, tenant.name, encode(tenant))
            pipeline.incr(keys.KEYS_VERSION)
            await pipeline.execute()

    async def note_used(self, used: Mapping[str, int]) -> None:
        """Keeps when keys were used last, in seconds of Unix time, by their ids."""
        mapping: dict[Any, Any] = dict(used)
        await self._of(self._redis.hset(keys.KEYS_USED, mapping=mapping))

    async def forget_used(self, key_id: str) -> None:
        """A key is no more."""
        await self._of(self._redis.hdel(keys.KEYS_USED, key_id))

    async def signing_secret(self, new: bytes) -> bytes:
        """What sessions and addresses are signed with: `new` where there is none yet."""
        await self._redis.set(keys.SIGNING, new, nx=True)
        kept: Any = await self._redis.get(keys.SIGNING)
        return kept or new

    @staticmethod
    async def _of(answer: Any) -> Any:  # annotated as sync-or-async
        return await answer


def _records(kind: Any, found: Mapping[bytes, bytes], where: str) -> dict[str, Any]:
    read = {stored.name(name): decode(kind, value, f"{where} {stored.name(name)}") for name, value in found.items()}
    return {name: record for name, record in read.items() if record is not None}


def _seconds(value: bytes) -> int:
    try:
        return stored.number(value, keys.KEYS_USED)
    except stored.StoredError as error:
        stored.tell(error)
        return 0


@cache
def script(redis: Redis, name: str) -> Any:
    """A script of the folder `lua`, which is called with `keys` and `args`."""
    return redis.register_script(_FILES.source(name))
