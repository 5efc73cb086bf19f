"""Keys and tenants in Redis. Front doors have all of them in memory, and look whether they have changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from redis.asyncio import Redis

from kernelport.access.records import KeyRecord, TenantRecord, decode, encode, is_sound
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
        used: when each key was used last, in seconds of Unix time.
        stored: how many keys are stored, also such as cannot be read.
    """

    version: bytes = _NOTHING
    keys: Mapping[str, KeyRecord] = field(default_factory=dict)
    tenants: Mapping[str, TenantRecord] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    stored: int = 0


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
            {stored.name(key_id): _seconds(at) for key_id, at in used.items()},
            len(found),
        )

    async def change_key(self, key_id: str, new: KeyRecord | None, version: bytes) -> bool:
        """Makes a key, its tenant where there is none of the name, changes or removes it; False, and nothing, when
        somebody has changed any key or tenant meanwhile.

        Args:
            new: None removes it.
            version: of all that there was when this was decided.
        """
        key = encode(new) if new else _NOTHING
        tenant = (new.tenant, encode(TenantRecord(new.tenant))) if new else (_NOTHING, _NOTHING)
        hashes = [keys.KEYS, keys.TENANTS, keys.KEYS_VERSION]
        return bool(await script(self._redis, "change")(keys=hashes, args=[version, key_id, key, *tenant]))

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
    read: dict[str, Any] = {}
    for name, value in ((stored.name(name), value) for name, value in found.items()):
        record = decode(kind, value, f"{where} {name}")
        if record is not None and is_sound(record, name):
            read[name] = record
        elif record is not None:
            stored.tell(stored.StoredError(f"{where} {name}: expected a {kind.__name__} of this name, for a tenant"))
    return read


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
