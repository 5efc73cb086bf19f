"""What every method has in common, on a server of the test's own."""

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from kernelport_api.calls import AccessLog
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.grpc.methods import Methods


async def test_a_call_beyond_those_in_progress_is_told_when_to_come_back() -> None:
    server = grpc.aio.server()
    service: Any = Methods(server, Calls(1), AccessLog("test"))
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, service)
    port = server.add_insecure_port("127.0.0.1:0")
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Check(health_pb2.HealthCheckRequest())
        status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)
        watch.cancel()
        await server.stop(None)


async def test_callers_that_hang_up_do_not_count_for_ever() -> None:
    server, calls = grpc.aio.server(), Calls(1)
    service: Any = Methods(server, calls, AccessLog("test"))
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, service)
    port = server.add_insecure_port("127.0.0.1:0")
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for _ in range(3):
            watch = stub.Watch(health_pb2.HealthCheckRequest())
            await watch.read()
            watch.cancel()
            await calls.finished(asyncio.get_running_loop().time() + 10)
    await server.stop(None)
