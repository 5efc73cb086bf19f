"""The tenants that there are: each has a set of its own jobs."""

from collections.abc import Iterable
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from kernelport.broker import keys, stored
from kernelport.names import DEFAULT_TENANT, is_tenant_name


def tenants(redis: Redis) -> list[str]:
    """All tenants, the default one first."""
    found: Any = redis.hkeys(keys.TENANTS)
    return _sorted(found)


async def tenants_async(redis: AsyncRedis) -> list[str]:
    """All tenants, the default one first, by an asyncio client."""
    found: Any = redis.hkeys(keys.TENANTS)
    return _sorted(await found)


def _sorted(found: Iterable[bytes]) -> list[str]:
    names = {name for name in map(stored.name, found) if is_tenant_name(name)}
    return [DEFAULT_TENANT, *sorted(names - {DEFAULT_TENANT})]
