"""Live workers: what they serve, what they have in hand, and that they are to go."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from kernelport.broker import keys
from kernelport.broker.in_hand import InHand, in_hand
from kernelport.broker.registry import ASKED
from kernelport.config.deployments import Deployment
from kernelport.errors import NotFoundError
from kernelport.shapes import plain
from kernelport_api.queueing.live_workers import WorkerView
from kernelport_api.queueing.redis_errors import reached


class WorkerNotFoundError(NotFoundError):
    """No live worker has this id."""

    reason = "WORKER_NOT_FOUND"


class Workers:
    """The workers of every deployment."""

    def __init__(self, redis: Redis, deployments: Mapping[str, Deployment], workers: WorkerView) -> None:
        self._redis = redis
        self._deployments = deployments
        self._workers = workers

    async def all(self) -> list[dict[str, Any]]:
        """Every live worker by its id, as the contract has it, and the `deployments` that it serves, whether it is
        `draining`, and what it has in hand: `batches` of calls, and `jobs` with the number of items of each."""
        told = self._live()
        draining = set(await self._draining(list(told)))
        having = await reached(in_hand(self._redis, list(self._deployments)))
        for worker_id, each in told.items():
            has = having.get(worker_id, InHand())
            each |= {"draining": worker_id in draining, "batches": has.batches, "jobs": dict(sorted(has.items.items()))}
        return [told[worker_id] for worker_id in sorted(told)]

    async def drain(self, worker_id: str) -> None:
        """Asks a worker to take no more work, finish what it has, and end.

        Raises:
            WorkerNotFoundError: no live worker has this id.
        """
        if worker_id not in self._live():
            raise WorkerNotFoundError(f'worker: no live worker is named "{worker_id}"')
        await reached(self._redis.set(keys.drain(worker_id), ASKED, ex=keys.DRAIN_TTL_S, nx=True))

    def _live(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for name in sorted(self._deployments):
            for worker in self._workers.workers(name):
                if worker.id not in found:
                    found[worker.id] = {**plain(worker), "deployments": []}
                found[worker.id]["deployments"].append(name)
        return found

    async def _draining(self, worker_ids: list[str]) -> list[str]:
        if not worker_ids:
            return []
        found = await reached(self._redis.mget([keys.drain(worker_id) for worker_id in worker_ids]))
        return [worker_id for worker_id, value in zip(worker_ids, found, strict=True) if value is not None]
