"""What every method has in common, on a server of the test's own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from kernelport_api.calls import AccessLog
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.grpc.methods import Methods
from tests.access.doors import LETS_ALL_IN


@contextlib.asynccontextmanager
async def serving_health(calls: Calls) -> AsyncIterator[Any]:
    """A stub of the health service on a server that counts its calls."""
    server = grpc.aio.server()
    service: Any = Methods(server, calls, AccessLog("test"), LETS_ALL_IN)
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, service)
    port = server.add_insecure_port("127.0.0.1:0")
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield health_pb2_grpc.HealthStub(channel)
        await server.stop(None)


async def test_a_call_beyond_those_in_progress_is_told_when_to_come_back() -> None:
    async with serving_health(Calls(1)) as stub:
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Check(health_pb2.HealthCheckRequest())
        status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)
        watch.cancel()


async def test_callers_that_hang_up_do_not_count_for_ever() -> None:
    calls = Calls(1)
    async with serving_health(calls) as stub:
        for _ in range(3):
            watch = stub.Watch(health_pb2.HealthCheckRequest())
            await watch.read()
            watch.cancel()
            await calls.finished(asyncio.get_running_loop().time() + 10)
