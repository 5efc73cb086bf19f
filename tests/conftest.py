"""Fixtures that several rooms of the test suite share: real stacks on free loopback ports."""

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from redis import Redis

from kernelport import Client
from kernelport.config.settings import PREFIX, Settings, bundled_deployments, drop_variables
from kernelport.supervisor.processes import Child
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2_grpc
from tests.jobs.calls import JobCalls

# Tests say what they mean to be set: what a contributor's shell has is for the stack beside them.
drop_variables(PREFIX)
# What `kernelport up` takes by default, one stack of several that run at the same time gets.
os.environ["KERNELPORT_HTTP_LISTEN"] = "127.0.0.1:0"

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0
BUNDLED = ("identity-onnx", "helion-demo", "hibari-en")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Redis, a front door and one worker for each bundled deployment. Tests leave it as they found it."""
    settings = stack_settings(bundled_deployments())
    with Stack(settings, BUNDLED, tmp_path_factory.mktemp("stack")) as running:
        running.wait_ready(START_TIMEOUT_S)
        sync_each_write(running)
        yield running


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    """A client of the shared stack."""
    with Client(stack.target, timeout_s=30) as connected:
        yield connected


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    """A connection to the Redis of the shared stack, or of the module's own."""
    with Redis.from_url(stack.settings.redis_url) as connected:
        yield connected


@pytest.fixture
def jobs(stack: Stack) -> Iterator[JobCalls]:
    """Calls to the JobService of the same stack."""
    with grpc.insecure_channel(stack.target) as channel:
        yield JobCalls(job_pb2_grpc.JobServiceStub(channel))


@contextmanager
def serving_stack(settings: Settings, deployments: Sequence[str], folder: Path) -> Iterator[Stack]:
    """A stack of one test or module, ready. In the end its processes are killed: others test how they stop."""
    with Stack(settings, deployments, folder) as stack:
        try:
            stack.wait_ready(START_TIMEOUT_S)
            sync_each_write(stack)
            yield stack
        finally:
            discard(stack.children.values())


def sync_each_write(stack: Stack) -> None:
    """Has Redis bring each write to the disk at once: else every verb of a job waits for it, up to a second."""
    with Redis.from_url(stack.settings.redis_url) as redis:
        redis.config_set("appendfsync", "always")


def discard(children: Iterable[Child]) -> None:
    """Kills processes: a Celery worker would take more than a second to stop. `make coverage` lets them end, as what
    is killed cannot tell which lines it ran."""
    children = list(children)
    for child in children:
        child.terminate()
    for child in children:
        if "coverage" in sys.modules:
            child.join(STOP_TIMEOUT_S)
        if (pid := child.pid) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def stack_settings(deployments_file: Path) -> Settings:
    """Settings of a stack on free ports."""
    return replace(
        Settings(),
        listen="127.0.0.1:0",
        http_listen="127.0.0.1:0",
        deployments_file=deployments_file,
        webhook_networks="127.0.0.0/8",
    )
