"""Stacks whose one deployment keeps a journal."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import grpc
import pytest

from kernelport.v1 import job_pb2_grpc
from tests.data_plane.conftest import Plane, plane, running, serving_plane
from tests.jobs.calls import JobCalls

__all__ = ["plane", "running"]


@pytest.fixture(scope="module")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A worker that runs jobs in batches of two, for tests that leave it alive."""
    with serving_plane(tmp_path_factory.mktemp("plane"), batching={"max_batch": 2}) as started:
        yield started


@pytest.fixture
def jobs_of() -> Iterator[Callable[[Plane], JobCalls]]:
    """Calls to a plane."""
    with ExitStack() as channels:

        def connect(running: Plane) -> JobCalls:
            channel = channels.enter_context(grpc.insecure_channel(running.stack.target))
            return JobCalls(job_pb2_grpc.JobServiceStub(channel))

        yield connect
