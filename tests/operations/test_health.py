"""A front door says when it cannot take calls, and why; that it lives is another question."""

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis import Redis

from kernelport.config.settings import bundled_deployments
from kernelport.health import LIVE
from kernelport.supervisor.stack import Stack
from tests.cli.running import called
from tests.conftest import serving_stack, stack_settings
from tests.waiting import wait_for

MODEL = "identity-onnx"
Status = health_pb2.HealthCheckResponse


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with serving_stack(replace(stack_settings(bundled_deployments())), [MODEL], tmp_path / "state") as running:
        yield running


@contextmanager
def redis_away(stack: Stack) -> Iterator[None]:
    """Redis stands still in the block."""
    pid = stack.children["redis"].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def over_http(url: str) -> tuple[int, Any]:
    """Status and body of an answer."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_without_redis_a_front_door_is_not_ready_and_says_why_but_lives(stack: Stack, tmp_path: Path) -> None:
    where = {"KERNELPORT_TARGET": stack.target, "KERNELPORT_STATE_DIR": str(tmp_path / "none")}
    with grpc.insecure_channel(stack.target) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]

        def status(service: str) -> int:
            return int(check(health_pb2.HealthCheckRequest(service=service), timeout=10).status)

        assert status("") == status(MODEL) == status(LIVE) == Status.SERVING
        with redis_away(stack):
            wait_for(lambda: status("") == Status.NOT_SERVING, 12)
            assert status(MODEL) == Status.NOT_SERVING
            assert status(LIVE) == Status.SERVING
            said = called("health", expect=1, **where).stderr
            assert "NOT_SERVING: waiting for Redis: Timeout" in said
            assert called("health", "--live", **where).stdout == "live\n"
            code, answer = over_http(f"{stack.url}/health")
            assert (code, answer["status"]) == (503, "not serving")
            assert "Timeout" in answer["reason"]
            assert over_http(f"{stack.url}/v2/health/ready")[0] == 503
            assert over_http(f"{stack.url}/v2/health/live")[0] == 200
            states = {line.name: line for line in stack.status()}
            assert states["front-door"].state == "failing"
            assert "waiting for Redis" in states["front-door"].reason
        wait_for(lambda: status("") == status(MODEL) == Status.SERVING, 12)
        assert called("health", **where).stdout == "serving\n"
        assert over_http(f"{stack.url}/health") == (200, {"status": "serving"})


def test_with_a_redis_that_is_full_a_front_door_is_not_ready_and_says_so(stack: Stack, tmp_path: Path) -> None:
    where = {"KERNELPORT_TARGET": stack.target, "KERNELPORT_STATE_DIR": str(tmp_path / "none")}
    redis_url = {"KERNELPORT_REDIS_URL": stack.settings.redis_url}
    with grpc.insecure_channel(stack.target) as channel, Redis.from_url(stack.settings.redis_url) as redis:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]

        def status(service: str = "") -> int:
            return int(check(health_pb2.HealthCheckRequest(service=service), timeout=10).status)

        redis.setrange("ballast", 2**25, b"x")  # beside which a connection more or less is little
        held = redis.info("memory")["used_memory"]
        for limit, told in ((held // 2, "OOM"), (round(1.02 * held), "it is full")):
            wait_for(lambda: status() == status(MODEL) == Status.SERVING, 12)
            redis.config_set("maxmemory", limit)
            assert called("health", expect=1, **where, **redis_url).stderr, "who asks Redis itself knows at once"
            wait_for(lambda: status() == Status.NOT_SERVING, 10, "within seconds")
            assert status(LIVE) == Status.SERVING
            assert told in called("health", expect=1, **where).stderr
            assert over_http(f"{stack.url}/health")[0] == 503
            redis.config_set("maxmemory", 0)
        wait_for(lambda: status() == status(MODEL) == Status.SERVING, 12)
