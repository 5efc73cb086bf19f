"""The worker processes of a stack: what they are called, and what Redis knows of them."""

import itertools
import os
import secrets
from collections.abc import Collection, Sequence

from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys, tallies
from kernelport.broker.leases import end_leases
from kernelport.broker.registry import forget, holds_revision, read_workers
from kernelport.internal.v1.queue_pb2 import ServedDeployment


class Workers:
    """Names them, and looks them up.

    Attributes:
        deployments: of the processes, by their names: `worker-NAME`, `worker-NAME-2` and so on.
        ids: of those workers in the registry, by the same names.
    """

    def __init__(self, redis: Redis, deployments: Sequence[str]) -> None:
        """
        Args:
            deployments: one worker each; so many as a name is there times.
        """
        self.deployments: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self._redis = redis
        for deployment in deployments:
            self.add(deployment)

    def add(self, deployment: str) -> str:
        """The name of one more."""
        numbers = (f"worker-{deployment}{f'-{number}' if number > 1 else ''}" for number in itertools.count(1))
        name = next(name for name in numbers if name not in self.deployments)
        self.deployments[name] = deployment
        self.ids[name] = f"{name.removeprefix('worker-')}-{os.getpid()}-{secrets.token_hex(3)}"
        return name

    def remove(self, name: str) -> None:
        """One is gone for good."""
        del self.deployments[name], self.ids[name]

    def served(self) -> dict[str, ServedDeployment]:
        """What each serves that does, by name; none while Redis is out of reach."""
        try:
            records = {record.worker.id: record for record in read_workers(self._redis)}
        except RedisError:
            return {}
        return {
            name: served
            for name, worker_id in self.ids.items()
            if worker_id in records
            for served in records[worker_id].deployments
        }

    def are_admitted(self, failed: Collection[str]) -> bool:
        """Whether no worker of another revision comes in the way of ours any more, nor ours in theirs.

        Args:
            failed: the names of those that no longer count.
        """
        try:
            return all(
                name in failed or holds_revision(self._redis, deployment, self.ids[name])
                for name, deployment in self.deployments.items()
            )
        except RedisError:
            return True  # as the front door is to say

    def end(self, name: str) -> bool:
        """Tells Redis that the process of one has ended, so that front doors learn of it at once, rather than when its
        heartbeat is overdue, and what it had in hand is queued again.

        Returns:
            whether it had been in the registry: it had loaded its model then.
        """
        return end_worker(self._redis, self.ids[name], self.deployments[name])


def end_worker(redis: Redis, worker_id: str, deployment: str) -> bool:
    """What `Workers.end` does, of any worker process."""
    try:
        was_in = forget(redis, worker_id, [deployment])
        if was_in:
            tallies.count(redis, keys.WORKER_DEATHS, [deployment])
        end_leases(redis, worker_id.__eq__)
        redis.delete(keys.drain(worker_id))  # it was for the process that has ended
        return was_in
    except RedisError:
        return True  # nobody knows whether it had begun to serve; the record expires by itself
