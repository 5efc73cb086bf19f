"""The front door's view of who serves what, kept fresh by reading the registry."""

import asyncio
import logging
import time
from collections.abc import Container
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport.broker.connections import outage
from kernelport.broker.registry import last_signature, live_workers
from kernelport.config.deployments import Batching, Deployment
from kernelport.internal.v1.queue_pb2 import WorkerRecord
from kernelport.signature import Declared, Signature
from kernelport.stacking import Stacking
from kernelport.v1.deployment_pb2 import Worker

log = logging.getLogger(__name__)

REFRESH_INTERVAL_S = 0.25
# A request for a deployment that nobody seems to serve looks again, but not more often than this.
RECHECK_INTERVAL_S = 0.05


# Of a worker that runs one after the other: one batch runs while the next is on its way.
BATCHES_PER_WORKER = 2


@dataclass(frozen=True)
class Model:
    """What a deployment's model takes and gives, and what follows from it.

    Attributes:
        stacking: how requests are stacked; None when they are not: then a batch is any mixture of them.
    """

    signature: Signature
    declared: Declared
    stacking: Stacking | None


class WorkerView:
    """Live workers and signatures by deployment.

    A Redis that stands still, or is away, lets the records of workers expire that have not been able to renew them. So
    whoever was known before it came back counts as live until there was time for a heartbeat.

    Args:
        heartbeat_ttl_s: seconds after its last heartbeat at which a worker counts as dead.
    """

    def __init__(self, redis: Redis, deployments: Container[str], heartbeat_ttl_s: float) -> None:
        self._redis = redis
        self._deployments = deployments
        self._heartbeat_ttl_s = heartbeat_ttl_s
        self._records: list[WorkerRecord] = []
        self._sure_at = 0.0
        self._workers: dict[str, list[Worker]] = {}
        self._paces: dict[str, list[float]] = {}
        self._models: dict[str, Model] = {}
        self._shared_folders: dict[str, set[str]] = {}
        self._of_0_1_0: set[str] = set()
        self._capacities: dict[str, int] = {}
        self._of_pieces: set[str] = set()
        self._refreshed_at = 0.0
        self._lock = asyncio.Lock()

    def workers(self, deployment: str) -> list[Worker]:
        """The deployment's live workers, as of the last refresh."""
        return self._workers.get(deployment, [])

    def counts(self) -> dict[str, int]:
        """How many live workers each deployment has, of those that have any, as of the last refresh."""
        return {name: len(workers) for name, workers in self._workers.items()}

    def seconds_a_letter(self, deployment: str) -> float:
        """What a letter is expected to take the fastest of a voice's live workers: seconds of compute; 0 while one of
        them has not measured it."""
        return min(self._paces.get(deployment, [0.0]))

    def all_share(self, deployment: str, folder_id: str) -> bool:
        """Whether every live worker of the deployment sees the shared folder of this id."""
        return self._shared_folders.get(deployment) == {folder_id}

    def batching(self, deployment: Deployment) -> Batching:
        """What may share a batch, or a slice of a job, now. A worker of version 0.1.0 stacks the requests to an ONNX
        model as a trial at load suggested, whatever batch they are in: while one serves, each request travels alone."""
        if deployment.name in self._of_0_1_0 and deployment.backend == "onnx" and deployment.pipeline is None:
            return deployment.batching.model_copy(update={"max_batch": 1})
        return deployment.batching

    def answers_in_pieces(self, deployment: str) -> bool:
        """Whether a live worker of the deployment gives an answer piece by piece, as it is made."""
        return deployment in self._of_pieces

    def batching_of_calls(self, deployment: Deployment) -> Batching:
        """The same for calls: each travels alone to a worker that answers in pieces, and takes many in hand."""
        if self.answers_in_pieces(deployment.name):
            return deployment.batching.model_copy(update={"max_batch": 1})
        return self.batching(deployment)

    def capacity(self, deployment: str) -> int:
        """How many batches may be in flight: as many as the live workers take in hand, and at least one worker's."""
        return self._capacities.get(deployment, BATCHES_PER_WORKER)

    def served_model(self, deployment: str) -> Model | None:
        """What is known of a model that live workers serve, as of the last refresh."""
        return self._models.get(deployment) if deployment in self._workers else None

    async def signature(self, deployment: str) -> Signature | None:
        """What the deployment's model takes and gives; None until a worker has loaded it once.

        Raises:
            RedisError: when Redis cannot be asked.
        """
        model = await self.model(deployment)
        return None if model is None else model.signature

    async def model(self, deployment: str) -> Model | None:
        """What is known of the deployment's model; None until a worker has loaded it once.

        Raises:
            RedisError: when Redis cannot be asked.
        """
        if deployment not in self._models:
            found = await last_signature(self._redis, deployment)
            if found is None:
                return None
            self._know(deployment, found)
        return self._models[deployment]

    async def is_served(self, deployment: str) -> bool:
        """Whether a live worker serves the deployment; looks again when none is known.

        Raises:
            RedisError: when Redis cannot be asked.
        """
        if not self.workers(deployment):
            await self.look_again()
        return bool(self.workers(deployment))

    async def look_again(self) -> None:
        """Reads the registry, unless that was done just now.

        Raises:
            RedisError: when Redis cannot be asked.
        """
        await self._refresh_if_older_than(RECHECK_INTERVAL_S)

    async def refresh(self) -> None:
        """Reads the registry.

        Raises:
            RedisError: when Redis cannot be asked.
        """
        await self._refresh_if_older_than(0.0)

    async def keep_fresh(self) -> None:
        """Refreshes for ever. While Redis is out of reach, nobody counts as live."""
        while True:
            try:
                await self.refresh()
            except RedisError as error:
                outage.tell(error)
                self._workers = {}
            await asyncio.sleep(REFRESH_INTERVAL_S)

    async def _refresh_if_older_than(self, age_s: float) -> None:
        async with self._lock:  # callers that queue up here share one look
            if time.monotonic() - self._refreshed_at < age_s:
                return
            found = await live_workers(self._redis)
            now = time.monotonic()
            if self._refreshed_at and now - self._refreshed_at > self._heartbeat_ttl_s / 2:
                self._sure_at = now + self._heartbeat_ttl_s
            if now < self._sure_at:
                told = {record.worker.id for record in found}
                found += [record for record in self._records if record.worker.id not in told]
            self._take(found)
            self._records, self._refreshed_at = found, now

    def _take(self, records: list[WorkerRecord]) -> None:
        workers: dict[str, list[Worker]] = {}
        paces: dict[str, list[float]] = {}
        shared_folders: dict[str, set[str]] = {}
        signatures: dict[str, Signature] = {}
        of_0_1_0: set[str] = set()
        capacities: dict[str, int] = {}
        of_pieces: set[str] = set()
        # Of two revisions side by side the newer one, which is to stay, says what the model takes.
        for record in sorted(records, key=lambda record: (record.worker.ready_unix_s, record.worker.id)):
            for served in record.deployments:
                if served.name not in self._deployments:
                    continue
                worker = Worker(revision=served.revision, compute_path=served.compute_path, settings=served.settings)
                worker.MergeFrom(record.worker)
                workers.setdefault(served.name, []).append(worker)
                shared_folders.setdefault(served.name, set()).add(record.shared_folder)
                capacities[served.name] = capacities.get(served.name, 0) + (served.capacity or BATCHES_PER_WORKER)
                paces.setdefault(served.name, []).append(served.seconds_a_letter)
                signatures[served.name] = served.signature
                if not served.revision:
                    of_0_1_0.add(served.name)
                if served.capacity:
                    of_pieces.add(served.name)
        for name, signature in signatures.items():
            self._know(name, signature)
        self._workers, self._paces, self._shared_folders, self._of_0_1_0 = workers, paces, shared_folders, of_0_1_0
        self._capacities, self._of_pieces = capacities, of_pieces

    def _know(self, deployment: str, signature: Signature) -> None:
        known = self._models.get(deployment)
        if known is None or known.signature != signature:
            self._models[deployment] = Model(signature, Declared(signature.inputs), Stacking.of(signature))
