"""A stack whose one deployment keeps a journal of what it runs, with leases short enough to wait for."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis

from kernelport import Client
from kernelport.internal.v1.queue_pb2 import FrontDoorRecord
from kernelport.stack import Stack
from kernelport.stack.worker_command import worker_command
from tests.conftest import START_TIMEOUT_S, discard, stack_settings
from tests.stack.models import pipeline, write_deployments

LEASE_S = 3.0


@dataclass
class Plane:
    """A running stack, its client and Redis, and the journal of its model."""

    stack: Stack
    client: Client
    redis: Redis
    journal: Path

    def infer(self, number: int, seconds: float = 0.0, **options: Any) -> int:
        inputs = {"number": np.array([number], np.int64), "seconds": np.array([seconds], np.float32)}
        return int(self.client.infer("journal", inputs, **options)["number"][0])

    def entries(self) -> list[int]:
        """The numbers of the requests that reached the model, in order."""
        if not self.journal.exists():
            return []
        return [int(line.split()[0]) for line in self.journal.read_text().splitlines()]

    def unanswered(self) -> int:
        """Batches delivered to a worker and not acknowledged."""
        count: Any = self.redis.zcard("kp:unacked_index")
        return int(count)

    def waiting(self) -> int:
        """Requests without an answer, as front doors have last told each other."""
        records = [self.redis.get(key) for key in self.redis.scan_iter("kp:front-door:*")]
        return sum(load.requests for value in records for load in FrontDoorRecord.FromString(value).loads)

    def start_worker(self, environment: dict[str, str] | None = None) -> "subprocess.Popen[bytes]":
        """One more worker, which the stack knows nothing of; told what the stack's own are told, or something else."""
        return subprocess.Popen(
            worker_command(["journal"]),
            env={**os.environ, **(environment or self.stack.settings.to_environment())},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def worker_pid(self) -> int:
        pid = self.stack.children["worker-journal"].pid
        assert pid is not None
        return pid


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Plane]]:
    """Starts a plane; keyword arguments are the deployment's policy, `settings` changes the stack's settings."""
    started: list[Plane] = []

    def start(workers: bool = True, settings: dict[str, Any] | None = None, **policy: Any) -> Plane:
        journal = tmp_path / "journal"
        monkeypatch.setenv("KERNELPORT_TEST_JOURNAL", str(journal))
        file = write_deployments(tmp_path, journal=pipeline("Journal", **policy))
        changed = replace(stack_settings(file), **{"lease_s": LEASE_S, "heartbeat_ttl_s": 2.0, **(settings or {})})
        stack = Stack(changed, ["journal"] if workers else [], tmp_path / "state")
        stack.start()
        client = Client(stack.target, timeout_s=60)
        running = Plane(stack, client, Redis.from_url(stack.settings.redis_url), journal)
        started.append(running)
        stack.wait_ready(START_TIMEOUT_S)
        return running

    yield start
    for running in started:
        running.client.close()
        running.redis.close()
        discard(running.stack.children.values())
        running.stack.stop()
