"""What the autoscaler tells of its machines and plans."""

import json
from typing import Any

from redis.asyncio import Redis

from kernelport.broker import keys, stored
from kernelport_api.queueing.redis_errors import reached


class Fleet:
    """Reads the autoscaler's report.

    Args:
        name: of the fleet.
    """

    def __init__(self, redis: Redis, name: str) -> None:
        self._redis = redis
        self._name = name

    async def report(self) -> dict[str, Any] | None:
        """What the autoscaler has told last, as `kernelport_ops.autoscale.report` makes it; None when there is none.

        Raises:
            UnavailableError: Redis cannot be reached.
        """
        key = keys.autoscale_report(self._name)
        value: bytes | None = await reached(self._redis.get(key))
        if value is None:
            return None
        try:
            told = json.loads(value)
            if not isinstance(told, dict):
                raise TypeError
        except (ValueError, TypeError, RecursionError):
            stored.tell(stored.StoredError(f"{key}: expected an object as JSON, got {value!r:.80}"))
            return None
        return told

    async def dollars_per_worker_hour(self, deployment: str) -> float | None:
        """What a worker of a deployment costs now; None when the autoscaler has none of it."""
        told = await self.report()
        machines = [each for each in (told or {}).get("machines", ()) if each["deployment"] == deployment]
        workers = sum(each["workers"] for each in machines)
        return sum(each["price"] for each in machines) / workers if workers else None
