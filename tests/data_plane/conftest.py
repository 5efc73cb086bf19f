"""A stack whose one deployment keeps a journal of what it runs, with leases short enough to wait for."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis

from kernelport import Client, UnavailableError
from kernelport.broker import keys
from kernelport.internal.v1.queue_pb2 import FrontDoorRecord
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.worker_command import worker_command
from tests.conftest import serving_stack, stack_settings
from tests.stack.models import pipeline, write_deployments
from tests.waiting import wait_for

JOURNAL = "KERNELPORT_TEST_JOURNAL"
LEASE_S = 3.0
# Longer than a machine with other work to do keeps a live worker from telling that it lives.
HEARTBEAT_TTL_S = 4.0


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

    def batch_sizes(self) -> list[int]:
        """How many requests ran together with each of those, itself included."""
        return [int(line.split()[1]) for line in self.journal.read_text().splitlines()]

    def release(self) -> None:
        """Lets requests that are HELD go on, now and later."""
        (self.journal.parent / "go").touch()

    def is_at_rest(self) -> bool:
        """Whether its front door answers, its one worker lives, and nothing waits or runs."""
        try:
            live = self.client.deployment("journal").live_workers
        except UnavailableError:
            return False
        return live == 1 and not self.unanswered() and not self.redis.exists("kp.journal")

    def unanswered(self) -> int:
        """Batches delivered to a worker and not acknowledged."""
        count: Any = self.redis.zcard("kp:unacked_index")
        return int(count)

    def waiting(self) -> int:
        """Requests without an answer, as front doors have last told each other."""
        records = [self.redis.get(key) for key in self.redis.scan_iter("kp:front-door:*")]
        return sum(load.requests for value in records for load in FrontDoorRecord.FromString(value).loads)

    def cancelled(self) -> int:
        """How many requests workers were told of that nobody waits for any more."""
        count: Any = self.redis.zcard(keys.CANCELLED)
        return int(count)

    def start_worker(self, environment: dict[str, str] | None = None) -> "subprocess.Popen[bytes]":
        """One more worker, which the stack knows nothing of; told what the stack's own are told, or something else."""
        return subprocess.Popen(
            worker_command(["journal"]),
            env={
                **os.environ,
                **(environment or self.stack.settings.to_environment()),
                JOURNAL: str(self.journal),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def worker_pid(self) -> int:
        pid = self.stack.children["worker-journal"].pid
        assert pid is not None
        return pid


@contextmanager
def serving_plane(
    folder: Path, workers: bool = True, settings: dict[str, Any] | None = None, **policy: Any
) -> Iterator[Plane]:
    """A plane whose deployment has this policy; `settings` changes the stack's settings."""
    file = write_deployments(folder, journal=pipeline("Journal", **policy))
    changed = replace(
        stack_settings(file), **{"lease_s": LEASE_S, "heartbeat_ttl_s": HEARTBEAT_TTL_S, **(settings or {})}
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(JOURNAL, str(folder / "journal"))
        with (
            serving_stack(changed, ["journal"] if workers else [], folder / "state") as stack,
            Client(stack.target, timeout_s=60, max_retries=0) as client,
            Redis.from_url(stack.settings.redis_url) as redis,
        ):
            yield Plane(stack, client, redis, folder / "journal")


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Callable[..., Plane]]:
    """Starts a plane of the test's own; the arguments are those of `serving_plane`."""
    with ExitStack() as planes:
        yield lambda **options: planes.enter_context(serving_plane(tmp_path, **options))


@pytest.fixture(scope="module")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A plane for the tests of a module; what they end of its processes, it starts again."""
    with serving_plane(tmp_path_factory.mktemp("plane")) as started:
        yield started


@pytest.fixture
def running(shared_plane: Plane) -> Plane:
    """The shared plane, whole again after what the test before did to it, and its journal empty."""
    shared_plane.release()
    wait_for(shared_plane.is_at_rest)
    for name in ("journal", "go"):
        (shared_plane.journal.parent / name).unlink(missing_ok=True)
    return shared_plane
