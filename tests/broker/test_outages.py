"""A Redis that goes away, comes back, or refuses: how soon work goes on, and what is said."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kernelport import Client, KernelPortError
from kernelport.broker.connections import connect
from kernelport.supervisor.stack import Stack
from tests.broker.servers import Server
from tests.cli.running import called
from tests.waiting import wait_for

X = {"x": np.ones((1, 1, 2, 2), np.float32)}
BACK_S = 2.0
# Longer than workers' heartbeats last, and than Celery's own pauses between its tries to connect.
AWAY_S = 8.0
# How soon is what these are about: nothing beside them may take their time. What a test before has broken may take a
# while longer to be whole again.
pytestmark = pytest.mark.alone


@pytest.fixture
def client(shared: Stack) -> Iterator[Client]:
    with Client(shared.target, timeout_s=1) as connected:
        yield connected


def test_work_goes_on_as_soon_as_redis_is_back(shared: Stack, server: Server, client: Client) -> None:
    client.infer("identity-onnx", X, timeout_s=10)
    server.kill()
    time.sleep(AWAY_S)  # how long it is away is what this is about
    server.start()
    assert _answered_after_s(client) < BACK_S
    for log in _logs(shared):
        assert log.read_text().count("waiting for Redis") <= 2, "each kind of trouble is told once"


def test_work_goes_on_when_connections_are_reset(server: Server, client: Client) -> None:
    client.infer("identity-onnx", X, timeout_s=10)
    with connect(server.url) as redis:
        for kind in ("normal", "pubsub"):
            redis.client_kill_filter(_type=kind, skipme=True)  # type: ignore[no-untyped-call]
    assert _answered_after_s(client) < BACK_S


def test_a_redis_that_refuses_writes_is_told_and_nobody_ends(shared: Stack, server: Server, client: Client) -> None:
    pids = {name: child.pid for name, child in shared.children.items()}
    where = {"KERNELPORT_TARGET": shared.target, "KERNELPORT_REDIS_URL": server.url}
    with connect(server.url) as redis:
        redis.config_set("min-replicas-to-write", 1)
        try:
            with pytest.raises(KernelPortError, match="NOREPLICAS"):
                client.infer("identity-onnx", X)
            assert "Redis cannot be asked: NOREPLICAS" in called("health", expect=1, **where).stderr
            assert "NOREPLICAS" in called("doctor", **where).stdout
            (line,) = (line for line in shared.status() if line.name == "redis")
            assert (line.state, line.reason) == ("failing", "NOREPLICAS Not enough good replicas to write.")
            for log in _logs(shared):
                wait_for(lambda log=log: log.read_text().count("NOREPLICAS") >= 1)  # type: ignore[misc]
        finally:
            redis.config_set("min-replicas-to-write", 0)
    assert _answered_after_s(client) < BACK_S
    assert {name: child.pid for name, child in shared.children.items()} == pids
    for log in _logs(shared):
        assert log.read_text().count("NOREPLICAS") == 1


def test_a_worker_waits_for_a_redis_that_is_a_replica_for_a_while(
    shared: Stack, server: Server, client: Client
) -> None:
    worker = shared.children["worker-identity-onnx"]
    pid, log = worker.pid, worker.log_file
    client.infer("identity-onnx", X, timeout_s=10)  # the worker asks for more itself now, not through Celery
    before = log.read_text().count("Connection to broker lost")
    with connect(server.url) as redis:
        redis.replicaof("127.0.0.1", "1")  # nobody is there
        try:
            wait_for(lambda: "waiting for Redis: READONLY" in log.read_text())
            time.sleep(BACK_S)  # how long it is one is what this is about
        finally:
            redis.replicaof("NO", "ONE")
    assert _answered_after_s(client) < BACK_S
    assert log.read_text().count("Connection to broker lost") <= before + 1
    assert "Celery 6" not in log.read_text()
    assert worker.pid == pid


def _answered_after_s(client: Client) -> float:
    began = time.monotonic()

    def answers() -> bool:
        try:
            client.infer("identity-onnx", X)
        except KernelPortError:
            return False
        return True

    wait_for(answers)
    return time.monotonic() - began


def _logs(stack: Stack) -> list[Path]:
    return [stack.children[name].log_file for name in ("front-door", "worker-identity-onnx")]
