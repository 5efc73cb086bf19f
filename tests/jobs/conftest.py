"""JobService of the shared stack, and stacks whose one deployment keeps a journal."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import grpc
import pytest

from kernelport.stack import Stack
from kernelport.v1 import job_pb2_grpc
from tests.data_plane.conftest import Plane, plane
from tests.jobs.calls import JobCalls

__all__ = ["plane"]


@pytest.fixture
def jobs(stack: Stack) -> Iterator[JobCalls]:
    """Calls to the shared stack."""
    with grpc.insecure_channel(stack.target) as channel:
        yield JobCalls(job_pb2_grpc.JobServiceStub(channel))


@pytest.fixture
def jobs_of() -> Iterator[Callable[[Plane], JobCalls]]:
    """Calls to a plane."""
    with ExitStack() as channels:

        def connect(running: Plane) -> JobCalls:
            channel = channels.enter_context(grpc.insecure_channel(running.stack.target))
            return JobCalls(job_pb2_grpc.JobServiceStub(channel))

        yield connect
