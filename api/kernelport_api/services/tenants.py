"""Whose things the current call is shown in a list: its tenant's own; all tenants' where it comes from an admin."""

from redis.asyncio import Redis

from kernelport.broker.tenants import tenants_async
from kernelport_api import calls
from kernelport_api.queueing.redis_errors import reached


async def seen_tenants(redis: Redis) -> list[str]:
    """The tenants."""
    principal = calls.current().principal
    found: list[str] = await reached(tenants_async(redis)) if principal.is_admin else [principal.tenant]
    return found if principal.tenant in found else [principal.tenant, *found]
