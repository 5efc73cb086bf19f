"""The state of each process of a stack."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker.connections import problem
from kernelport.broker.registry import is_live
from kernelport.health import LIVE, told_reason
from kernelport.supervisor.processes import Child

_SERVING = health_pb2.HealthCheckResponse.SERVING


@dataclass(frozen=True)
class Status:
    """One line of the live status.

    Attributes:
        state: `starting`, `serving`, `restarting`, `failed` for a worker that never got to work, or `failing` for a
            Redis that cannot be reached or refuses writes, and a front door that takes no calls.
        reason: how the process ended last, or what Redis or the front door says; empty when it has served since, or has
            never ended.
    """

    name: str
    state: str
    pid: int | None
    restarts: int
    reason: str


class Monitor:
    """Looks at processes.

    Args:
        workers: the deployments of the worker processes, by their names.
        worker_ids: the ids of those workers in the registry, by the same names.
        flower: the environment of a Flower, if there is to be one.
    """

    def __init__(
        self, redis: Redis, workers: Mapping[str, str], worker_ids: Mapping[str, str], flower: Mapping[str, str] | None
    ) -> None:
        self._redis = redis
        self._workers = workers
        self._worker_ids = worker_ids
        self._flower = flower
        self._served_after: dict[str, int] = {}  # how often a process had been started when it was last seen to serve

    def forget(self, name: str) -> None:
        """A process is gone; another one may get its name."""
        self._served_after.pop(name, None)

    def serves(self, name: str, health: health_pb2_grpc.HealthStub) -> bool:
        """Whether a front door runs, and where it is a worker's name, whether that worker serves its deployment."""
        try:
            ours = name not in self._workers or is_live(self._redis, self._worker_ids[name])
        except RedisError:
            return False
        return ours and _asked(health, self._workers.get(name, LIVE)) == (True, "")

    def status_of(self, child: Child, health: health_pb2_grpc.HealthStub) -> Status:
        """The state of a process."""
        starts = child.restarts  # before it is asked: it may end meanwhile
        if child.has_failed:
            state = "failed"
        elif child.pid is None:
            state = "restarting"
        elif child.name == "redis":
            return self.status_of_redis(child)
        elif child.name == "flower":
            state = "serving" if self._flower_answers() else "starting"
        elif child.name.startswith("front-door"):
            is_ready, why_not = _asked(health, "")
            if not is_ready and why_not:
                return Status(child.name, "failing", child.pid, child.restarts, why_not)
            state = "serving" if is_ready or self.serves(child.name, health) else "starting"
        else:
            state = "serving" if self.serves(child.name, health) else "starting"
        if state == "serving":
            self._served_after[child.name] = starts
        is_new = child.has_failed or child.restarts > self._served_after.get(child.name, 0)
        return Status(child.name, state, child.pid, child.restarts, child.reason if is_new else "")

    def status_of_redis(self, child: Child | None) -> Status:
        """The state of a Redis that runs, here as a child or elsewhere."""
        why_not = problem(self._redis)
        pid, restarts = (child.pid, child.restarts) if child else (None, 0)
        return Status("redis", "failing" if why_not else "serving", pid, restarts, why_not)

    def _flower_answers(self) -> bool:
        told = self._flower or {}
        host, port = told["FLOWER_ADDRESS"] or "127.0.0.1", int(told["FLOWER_PORT"])
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            return False
        return True


def _asked(health: health_pb2_grpc.HealthStub, service: str) -> tuple[bool, str]:
    """Whether a service of the front door is served; if it says so, why not."""
    check: Any = health.Check  # type: ignore[attr-defined]
    try:
        answer, call = check.with_call(health_pb2.HealthCheckRequest(service=service), timeout=2)
    except grpc.RpcError:
        return False, ""
    return answer.status == _SERVING, told_reason(call.initial_metadata())
