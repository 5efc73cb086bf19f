"""A front door that is told to stop cancels no call, and ends in time."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from kernelport import AsyncClient, UnavailableError
from kernelport.errors import from_call
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.stack import Stack
from kernelport_api.calls import AccessLog
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.grpc.draining import stop
from kernelport_api.doors.grpc.methods import Methods
from tests.access.doors import LETS_ALL_IN

X = {"x": np.ones((1, 1, 2, 2), np.float32)}
REQUEST = health_pb2.HealthCheckRequest()
STOP_S = 4.0


class Slow:
    """A server with a method that answers when it may, and the usual one that tells of its health for ever."""

    def __init__(self) -> None:
        self.server = grpc.aio.server()
        self.calls, self.watches = Calls(), Calls()
        self.has_begun, self.may_answer = asyncio.Event(), asyncio.Event()
        answering = grpc.unary_unary_rpc_method_handler(self._answer, health_pb2.HealthCheckRequest.FromString)
        handler = grpc.method_handlers_generic_handler("test.Slow", {"Answer": answering})
        Methods(self.server, self.calls, AccessLog("test"), LETS_ALL_IN).add_generic_rpc_handlers((handler,))
        self.health = health.aio.HealthServicer()
        watched: Any = Methods(self.server, self.watches, AccessLog("test"), LETS_ALL_IN)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, watched)

    async def _answer(self, _: object, __: object) -> bytes:
        self.has_begun.set()
        await self.may_answer.wait()
        return b"answered"

    async def stop(self) -> None:
        await stop(self.server, (self.calls,), self.watches, STOP_S)


@asynccontextmanager
async def slow() -> AsyncIterator[tuple[Slow, Any, grpc.aio.Channel]]:
    """The server, its method, and a connection to it."""
    served = Slow()
    port = served.server.add_insecure_port("127.0.0.1:0")
    await served.server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        serialize = health_pb2.HealthCheckRequest.SerializeToString
        yield served, channel.unary_unary("/test.Slow/Answer", request_serializer=serialize), channel
    await served.server.stop(None)


async def test_what_is_in_flight_is_answered_and_the_rest_sent_away() -> None:
    async with slow() as (served, answer, _):
        in_flight = asyncio.ensure_future(answer(REQUEST))
        await served.has_begun.wait()
        stopping = asyncio.create_task(served.stop())
        await asyncio.sleep(0)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await answer(REQUEST)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
        assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)
        assert from_call(refused.value).reason == "STOPPING"
        served.may_answer.set()
        assert await in_flight == b"answered"
        began = time.monotonic()
        await stopping
        assert time.monotonic() - began < STOP_S / 2, "nothing is left to wait for"


async def test_who_calls_meanwhile_is_held_until_the_connection_is_told_to_go_elsewhere() -> None:
    async with slow() as (served, answer, channel):
        await channel.channel_ready()
        stopping = asyncio.create_task(served.stop())
        await asyncio.sleep(0)
        held = answer(REQUEST)
        assert await held.code() is grpc.StatusCode.UNAVAILABLE
        assert channel.get_state() is not grpc.ChannelConnectivity.READY, "the next call would come here, too"
        await stopping


async def test_what_outlasts_the_time_is_told_so() -> None:
    async with slow() as (served, answer, _):
        in_flight = asyncio.ensure_future(answer(REQUEST))
        await served.has_begun.wait()
        began = time.monotonic()
        await served.stop()
        assert time.monotonic() - began < STOP_S
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await in_flight
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "may still run" in str(ended.value.details())


async def test_who_watches_its_health_does_not_hold_it_up() -> None:
    async with slow() as (served, _, channel):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(REQUEST)
        await watch.read()
        await served.health.enter_graceful_shutdown()
        began = time.monotonic()
        await served.stop()
        assert time.monotonic() - began < STOP_S / 2
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await watch.read()
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


@contextmanager
def second_front_door(stack: Stack, folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Another front door of a stack."""
    settings = replace(
        stack.settings, listen=f"127.0.0.1:{free_port()}", http_listen="", metrics_listen="", stop_s=STOP_S
    )
    with (folder / "front-door.log").open("wb") as log:
        command = [sys.executable, "-m", "kernelport_api"]
        process = subprocess.Popen(command, env={**os.environ, **settings.to_environment()}, stdout=log, stderr=log)
    try:
        with grpc.insecure_channel(settings.listen) as channel:
            grpc.channel_ready_future(channel).result(60)
        yield process, settings.listen
    finally:
        process.kill()
        process.wait()


async def test_callers_who_know_another_front_door_are_answered_there(stack: Stack, tmp_path: Path) -> None:
    answered = 0
    with second_front_door(stack, tmp_path) as (process, target):
        async with AsyncClient(f"ipv4:{target},{stack.target}", timeout_s=20) as client:

            async def call_on() -> None:
                nonlocal answered
                while process.poll() is None or answered < 400:
                    await client.infer("identity-onnx", X)
                    answered += 1
                    if answered == 100:
                        process.send_signal(signal.SIGTERM)

            await asyncio.gather(*(call_on() for _ in range(16)))
        assert process.returncode == 0


async def test_callers_in_a_crowd_are_answered_or_sent_away(stack: Stack, tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    with second_front_door(stack, tmp_path) as (process, target):
        async with AsyncClient(target, timeout_s=20, max_retries=0) as client:

            async def call_on() -> None:
                while not seen[UnavailableError.__name__] or seen["answered"] < 100:
                    try:
                        await client.infer("identity-onnx", X)
                        seen["answered"] += 1
                        if seen["answered"] == 100:
                            process.send_signal(signal.SIGTERM)
                    except Exception as error:
                        seen[type(error).__name__] += 1

            await asyncio.gather(*(call_on() for _ in range(16)))
        assert process.wait(STOP_S) == 0
    assert set(seen) == {"answered", UnavailableError.__name__}
