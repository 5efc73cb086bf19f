"""The system under chaos: a stack, several workers of one deployment, and processes full of callers."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis.exceptions import RedisError

from kernelport.broker import keys, registry
from kernelport.broker.connections import connect
from kernelport.config.settings import Settings
from kernelport.internal.v1.queue_pb2 import WorkerRecord
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.processes import Child
from kernelport.supervisor.redis_server import find_redis_server, redis_command
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.worker_command import worker_command
from kernelport_ops.chaos.refusals import Gate, Refusals

DEPLOYMENT = "chaos"
# Long tasks have a deployment and a worker of their own, which nobody kills or pauses.
STEADY = "steady"
# Answers piece by piece.
RECITING = "reciting"
FRONT_DOOR, REDIS = "front-door", "redis"
CLAIM_BYTES = 16 * 2**10
MAX_WAITING = 64
HEARTBEAT_TTL_S = 2.0
STOP_S = 10.0
START_S = 60.0
CALLERS_STOP_S = 90.0
POLL_S = 0.05
# Redis answers within this, or counts as away.
REDIS_TIMEOUT_S = 1.0
MODEL_FOLDER = Path(__file__).resolve().parents[2] / "chaos"


class ChaosError(Exception):
    """The run cannot go on; the message says why."""


class System:
    """Redis, a front door, workers and callers. A context manager: on exit every process is gone.

    Args:
        folder: for state, logs, the journal and the callers' records; made if need be.
        workers: how many workers the deployment has.
        lease_s: seconds of a lease.
        changes: other settings.
    """

    def __init__(self, folder: Path, workers: int, lease_s: float, **changes: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.journal = folder / "journal"
        self._deployments_file = write_deployments(folder)
        settings = Settings(
            listen="127.0.0.1:0",
            deployments_file=self._deployments_file,
            lease_s=lease_s,
            heartbeat_ttl_s=HEARTBEAT_TTL_S,
            claim_bytes=CLAIM_BYTES,
            stop_s=STOP_S,
            **changes,
        )
        port = free_port()
        self._redis_command = redis_command(find_redis_server(), port, folder / "redis")
        self._gate = Gate(port)
        self.stack = Stack(settings, [], folder / "state", f"redis://127.0.0.1:{self._gate.port}/0")
        self.redis = connect(f"redis://127.0.0.1:{port}/0", REDIS_TIMEOUT_S)
        self.refusals = Refusals(self.redis, self._gate, folder / "redis")
        self.workers = [f"{DEPLOYMENT}-{index}" for index in range(workers)]
        self._own: dict[str, Child] = {}
        self.callers: dict[str, Child] = {}
        self.records: list[Path] = []

    @property
    def served(self) -> dict[str, Child]:
        """Every process that serves, by name."""
        return {**self.stack.children, **self._own}

    def start(self) -> None:
        """Starts everything but callers; returns when it serves.

        Raises:
            ChaosError: when a process does not serve in time; with the end of its log.
        """
        self._gate.start()
        (self.folder / "redis").mkdir()
        self._own[REDIS] = Child(REDIS, self._redis_command, os.environ, self.folder / "redis.log")
        self._own[REDIS].start()
        self._wait_for(REDIS)
        self.stack.start()
        for name in (*self.workers, f"{STEADY}-0"):
            self._own[name] = self._start_worker(name)
        for name in self.served:
            self._wait_for(name)

    def start_callers(self, name: str, deployment: str, **options: Any) -> Child:
        """Starts a process of callers; `options` are those of its command."""
        records = self.folder / f"{name}.jsonl"
        self.records.append(records)
        options = {"target": self.stack.target, "deployment": deployment, "out": records, **options}
        command = [sys.executable, "-m", "kernelport_ops.chaos.callers"]
        for option, value in options.items():
            command += [f"--{option.replace('_', '-')}", str(value)]
        self.callers[name] = Child(name, command, os.environ, self.folder / f"{name}.log")
        self.callers[name].start()
        return self.callers[name]

    def stop_callers(self) -> None:
        """Lets callers end their calls; each process has a bound on its time, and is killed past it."""
        for child in self.callers.values():
            child.terminate()
        ends_at = time.monotonic() + CALLERS_STOP_S
        for child in self.callers.values():
            child.join(max(0.0, ends_at - time.monotonic()))

    def is_back(self, name: str) -> bool:
        """Whether a process that serves is at work now."""
        child = self.served[name]
        if child.pid is None:
            return False
        if name == FRONT_DOOR:
            return is_serving(self.stack.target)
        try:
            if name == REDIS:
                return bool(self.redis.ping())
            record: Any = self.redis.get(keys.worker(name))
        except RedisError:
            return False
        return record is not None and WorkerRecord.FromString(record).worker.pid == child.pid

    def stop(self) -> None:
        """Stops every process, callers first."""
        redis = self._own.pop(REDIS, None)
        own = [*self.callers.values(), *self._own.values()]
        for child in own:
            child.terminate()
        for child in own:
            child.join(STOP_S + 5)
        self.stack.stop()
        if redis is not None:
            redis.terminate()
            redis.join(STOP_S)
        self.redis.close()
        self._gate.stop()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_for(self, name: str) -> None:
        if not wait_until(lambda: self.is_back(name), START_S):
            tail = self.served[name].log_tail()
            raise ChaosError(f"{name} does not serve after {START_S:g} s; its log ends:\n{tail}")

    def _start_worker(self, name: str) -> Child:
        settings = replace(self.stack.settings, worker_id=name)
        path = os.pathsep.join(filter(None, (str(MODEL_FOLDER), os.environ.get("PYTHONPATH", ""))))
        environment = {
            **os.environ,
            **settings.to_environment(),
            "PYTHONPATH": path,
            "PYTHONUNBUFFERED": "1",
            "KERNELPORT_CHAOS_JOURNAL": str(self.journal),
        }
        command = worker_command([name.rpartition("-")[0]])
        child = Child(name, command, environment, self.folder / f"{name}.log", lambda: self._forget(name))
        child.start()
        return child

    def _forget(self, name: str) -> bool:
        """As the stack does when a worker dies: front doors learn of it at once."""
        try:
            return registry.forget(self.redis, name)
        except RedisError:
            return True  # the record expires by itself


def is_serving(target: str) -> bool:
    """Whether a front door answers at an address, within two seconds."""
    with grpc.insecure_channel(target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        try:
            health.Check(health_pb2.HealthCheckRequest(), timeout=2)  # type: ignore[attr-defined]
        except grpc.RpcError:
            return False
        return True


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Waits for a condition; False when it does not come true within `timeout_s` seconds."""
    ends_at = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends_at:
            return False
        time.sleep(POLL_S)
    return True


def write_deployments(folder: Path) -> Path:
    """The file of the deployments that chaos runs serve, in a folder."""
    entry = {"backend": "onnx", "image": "chaos", "pipeline": "chaos_model:Chaos"}
    chaos = {**entry, "limits": {"max_waiting": MAX_WAITING}}
    steady = {**entry, "timeouts": {"request_s": 3600.0}}
    reciting = {**entry, "pipeline": "chaos_model:Reciting"}
    file = folder / "deployments.yaml"
    file.write_text(yaml.safe_dump({"deployments": {DEPLOYMENT: chaos, STEADY: steady, RECITING: reciting}}))
    return file
