"""The state of each process of a stack."""

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker.connections import problem
from kernelport.broker.registry import is_live
from kernelport.errors import StackError
from kernelport.health import LIVE, told_reason
from kernelport.supervisor.front_doors import FrontDoors
from kernelport.supervisor.processes import Child
from kernelport.supervisor.workers import Workers

READY_POLL_S = 0.05
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
    """Looks at the processes of a stack.

    Args:
        children: the processes that there are, by their names.
        flower: the environment of a Flower, if there is to be one.
    """

    def __init__(
        self,
        redis: Redis,
        children: Mapping[str, Child],
        front_doors: FrontDoors,
        workers: Workers,
        flower: Mapping[str, str] | None,
    ) -> None:
        self._redis = redis
        self._children = children
        self._front_doors = front_doors
        self._workers = workers
        self._flower = flower
        self._served_after: dict[str, int] = {}  # how often a process had been started when it was last seen to serve

    def forget(self, name: str) -> None:
        """A process is gone; another one may get its name."""
        self._served_after.pop(name, None)

    def wait_for(
        self,
        names: Sequence[str],
        deadline: float,
        stopped: Callable[[], bool],
        check: Callable[[], None] = lambda: None,
    ) -> dict[str, str]:
        """Waits until each of the processes serves or has failed, or until `stopped`.

        Args:
            deadline: of the monotonic clock.
            check: is called now and then; what it raises ends the wait.

        Returns:
            why those that do not serve do not, by name.
        """
        began, failed, waiting = time.monotonic(), dict[str, str](), list(names)
        with self._front_doors.health() as health:
            while waiting and not stopped():
                child = self._children[waiting[0]]
                if self._serves(child.name, health(child.name)):
                    waiting.pop(0)
                elif child.has_failed or time.monotonic() > deadline:
                    late = f"was not ready within {deadline - began:.0f} s"
                    reason = child.reason if child.has_failed else late
                    failed[waiting.pop(0)] = f"{child.name} {reason}; its log is {child.log_file}"
                else:
                    check()
                    time.sleep(READY_POLL_S)
        return failed

    def check_services(self) -> None:
        """Raises StackError when a worker was refused, or anything else has ended while it started."""
        self._check_workers()
        for child in self._children.values():
            if child.restarts and not child.name.startswith("worker-"):
                raise StackError(
                    f"{child.name} ended while starting; its log {child.log_file} ends:\n{child.log_tail()}"
                )

    def statuses(self) -> list[Status]:
        """The state of every process now.

        Raises:
            StackError: when a worker was refused.
        """
        self._check_workers()
        with self._front_doors.health() as health:
            return [self._status_of(child, health(child.name)) for child in self._children.values()]

    def _check_workers(self) -> None:
        for child in self._children.values():
            if child.was_refused:
                raise StackError(f"{child.name} {child.reason}; its log is {child.log_file}")

    def _serves(self, name: str, health: health_pb2_grpc.HealthStub) -> bool:
        """Whether a front door runs, and where it is a worker's name, whether that worker serves its deployment."""
        try:
            ours = name not in self._workers.ids or is_live(self._redis, self._workers.ids[name])
        except RedisError:
            return False
        return ours and _asked(health, self._workers.deployments.get(name, LIVE)) == (True, "")

    def _status_of(self, child: Child, health: health_pb2_grpc.HealthStub) -> Status:
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
            state = "serving" if is_ready or self._serves(child.name, health) else "starting"
        else:
            state = "serving" if self._serves(child.name, health) else "starting"
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
