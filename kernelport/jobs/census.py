"""How many jobs there are, of which state, and how old they are: for metrics."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Self

from redis.asyncio import Redis

from kernelport.broker import keys, stored
from kernelport.broker.tenants import tenants_async
from kernelport.jobs import scripts
from kernelport.jobs.records import MICROSECONDS
from kernelport.telemetry.metrics import UNKNOWN

# Of a job that is not over, and of one that is.
ACTIVE, OVER = ("pending", "running", "finishing", "deleting"), ("succeeded", "failed", "cancelled", "expired")


@dataclass(frozen=True)
class Census:
    """The jobs that Redis knows, by deployment and state; a deployment that has any has a number for every state.

    Attributes:
        jobs: how many.
        oldest_s: seconds since the oldest was created, of those that are not over.
    """

    jobs: Counter[tuple[str, ...]] = field(default_factory=Counter)
    oldest_s: dict[tuple[str, ...], float] = field(default_factory=dict)

    @classmethod
    async def take(cls, redis: Redis, deployments: Collection[str]) -> Self:
        """Looks at every job.

        Args:
            deployments: those that are told apart; the jobs of all others count together.

        Raises:
            RedisError: when Redis cannot be asked.
        """
        census = cls()
        for tenant in await tenants_async(redis):
            await census._take(redis, keys.owned(keys.JOBS, tenant), deployments)
        return census

    async def _take(self, redis: Redis, jobs: str, deployments: Collection[str]) -> None:
        looked_at = 0
        while True:
            looked_at, *found = await scripts.run(redis, "census", looked_at, jobs)
            fields = iter(found)
            for deployment, state, count, age_us in zip(fields, fields, fields, fields, strict=True):
                name = stored.name(deployment)
                self._add(name if name in deployments else UNKNOWN, stored.name(state), count, age_us)
            if not looked_at:
                return

    def _add(self, deployment: str, state: str, count: int, age_us: int) -> None:
        if state not in ACTIVE and state not in OVER:
            return  # nobody of ours has written it
        for each in (*ACTIVE, *OVER):
            self.jobs[deployment, each] += 0
        self.jobs[deployment, state] += count
        if state in ACTIVE:
            key = (deployment, state)
            self.oldest_s[key] = max(self.oldest_s.get(key, 0.0), age_us / MICROSECONDS)
