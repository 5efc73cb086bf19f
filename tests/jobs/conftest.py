"""JobService of the shared stack, and stacks whose one deployment keeps a journal."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import grpc
import pytest
from redis import Redis

from kernelport import Client
from kernelport.stack import Stack
from kernelport.v1 import job_pb2_grpc
from tests.conftest import serving_stack, stack_settings
from tests.data_plane.conftest import LEASE_S, Plane, plane
from tests.jobs.calls import JobCalls
from tests.stack.models import pipeline, write_deployments

__all__ = ["plane"]


@pytest.fixture
def jobs(stack: Stack) -> Iterator[JobCalls]:
    """Calls to the shared stack."""
    with grpc.insecure_channel(stack.target) as channel:
        yield JobCalls(job_pb2_grpc.JobServiceStub(channel))


@pytest.fixture(scope="module")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A worker that runs jobs in batches of two, for tests that leave it alive."""
    folder = tmp_path_factory.mktemp("plane")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KERNELPORT_TEST_JOURNAL", str(folder / "journal"))
        file = write_deployments(folder, journal=pipeline("Journal", batching={"max_batch": 2}))
        settings = replace(stack_settings(file), lease_s=LEASE_S, heartbeat_ttl_s=2.0)
        with (
            serving_stack(settings, ["journal"], folder / "state") as stack,
            Client(stack.target, timeout_s=60) as client,
            Redis.from_url(stack.settings.redis_url) as redis,
        ):
            yield Plane(stack, client, redis, folder / "journal")


@pytest.fixture
def running(shared_plane: Plane) -> Plane:
    """The shared plane, its journal empty."""
    shared_plane.journal.unlink(missing_ok=True)
    return shared_plane


@pytest.fixture
def jobs_of() -> Iterator[Callable[[Plane], JobCalls]]:
    """Calls to a plane."""
    with ExitStack() as channels:

        def connect(running: Plane) -> JobCalls:
            channel = channels.enter_context(grpc.insecure_channel(running.stack.target))
            return JobCalls(job_pb2_grpc.JobServiceStub(channel))

        yield connect
