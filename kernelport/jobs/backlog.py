"""What waits for the workers of a deployment: what an autoscaler goes by."""

from dataclasses import dataclass
from typing import Self

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from kernelport.jobs import scripts


@dataclass(frozen=True)
class Backlog:
    """The bulk work of one deployment.

    Attributes:
        jobs: that are active.
        items: that no worker has taken yet.
        cost: of those items, in the unit of kernelport.items: bytes of text for speech, else bytes of inputs.
        running: items that workers hold.
    """

    jobs: int
    items: int
    cost: int
    running: int

    @classmethod
    def read(cls, redis: Redis, deployment: str) -> Self:
        """The backlog now."""
        backlog, looked_at = cls(0, 0, 0, 0), 0
        while True:
            looked_at, *some = map(int, scripts.run(redis, "backlog", deployment, looked_at))
            backlog = backlog._with(*some)
            if not looked_at:
                return backlog

    @classmethod
    async def read_async(cls, redis: AsyncRedis, deployment: str) -> Self:
        """The backlog now, by an asyncio client."""
        backlog, looked_at = cls(0, 0, 0, 0), 0
        while True:
            looked_at, *some = map(int, await scripts.run(redis, "backlog", deployment, looked_at))
            backlog = backlog._with(*some)
            if not looked_at:
                return backlog

    def _with(self, jobs: int, items: int, cost: int, running: int) -> Self:
        """This and the backlog of further jobs."""
        return type(self)(self.jobs + jobs, self.items + items, self.cost + cost, self.running + running)
