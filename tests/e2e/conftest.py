"""Fixtures of the end-to-end tests: a raw channel, and a stack whose deployments are slow, failing or not served."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kernelport.supervisor.processes import Child
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.worker_command import worker_command
from tests.conftest import START_TIMEOUT_S, discard, stack_settings
from tests.stack.models import pipeline, write_deployments
from tests.waiting import wait_for

WORKER_STOP_S = 30.0
SMALL_MESSAGE_BYTES = 2**20
SMALL_ANSWER_BYTES = 2**21
OWN_LIMIT_S = 0.3


@pytest.fixture
def channel(stack: Stack) -> Iterator[grpc.Channel]:
    """A plain gRPC channel to the shared stack, with gRPC's own defaults."""
    with grpc.insecure_channel(stack.target) as connected:
        yield connected


@pytest.fixture(scope="session")
def odd_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A front door that takes messages of up to 1 MiB, before five deployments that each go wrong in a way.

    `sleeper` takes as long as it is asked to, `hurried` is the same with a time limit of its own, `fragile` fails when
    asked to, `quitter` by sys.exit, `broad` answers with as much as it is asked for, of which its worker lets through
    2 MiB, `nobody` has no worker.
    """
    folder = tmp_path_factory.mktemp("odd")
    deployments = write_deployments(
        folder,
        sleeper=pipeline("Sleeper"),
        hurried=pipeline("Sleeper", timeouts={"request_s": OWN_LIMIT_S}),
        fragile={"backend": "onnx", "image": "test", "pipeline": "tests.e2e.models:Fragile"},
        broad={"backend": "onnx", "image": "test", "pipeline": "tests.e2e.models:Broad"},
        quitter={"backend": "onnx", "image": "test", "pipeline": "tests.e2e.models:Quitter"},
        nobody=pipeline("Sleeper"),
    )
    settings = replace(
        stack_settings(deployments), max_message_bytes=SMALL_MESSAGE_BYTES, max_answer_bytes=SMALL_ANSWER_BYTES
    )
    served = ["sleeper", "hurried", "fragile", "broad", "quitter"]
    with Stack(settings, [], folder) as stack, shared_worker(stack, served, folder):
        yield stack


@contextmanager
def shared_worker(stack: Stack, deployments: Sequence[str], folder: Path) -> Iterator[Child]:
    """One worker process that serves several deployments of a running stack."""
    environment = {**os.environ, **stack.settings.to_environment()}
    worker = Child("worker", worker_command(deployments), environment, folder / "worker.log")
    worker.start()
    try:
        with grpc.insecure_channel(stack.target) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for name in deployments:
                wait_for(lambda name=name: _serves(health, name, worker), START_TIMEOUT_S, f"{name} serving")
        yield worker
    finally:
        discard([worker])
        worker.join(WORKER_STOP_S)


def _serves(health: health_pb2_grpc.HealthStub, name: str, worker: Child) -> bool:
    assert not worker.restarts, f"the worker ended:\n{worker.log_tail()}"
    request = health_pb2.HealthCheckRequest(service=name)
    try:
        answer = health.Check(request, timeout=10, wait_for_ready=True)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:  # the front door listens before it knows its deployments' health
            return False
        raise
    return answer.status == health_pb2.HealthCheckResponse.SERVING
