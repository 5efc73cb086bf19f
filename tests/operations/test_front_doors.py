"""Several front doors share one address, and each call is answered by whichever the system gives it to."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest

from kernelport import Client
from kernelport.broker import keys
from kernelport.broker.connections import connect
from kernelport.config.settings import bundled_deployments
from kernelport.errors import StackError
from kernelport.supervisor.ports import reserve
from kernelport.supervisor.restarting import Restarter
from kernelport.supervisor.stack import Stack
from kernelport.v1 import deployment_pb2, deployment_pb2_grpc
from tests.conftest import START_TIMEOUT_S, discard, stack_settings
from tests.http.calls import ask
from tests.operations.scraping import value
from tests.operations.test_restarting import beside, never
from tests.stack.test_metrics import free_ports
from tests.waiting import is_running, wait_for

COUNT = 3
REQUEST_ID = "kernelport-request-id"


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def shared(state_dir: Path) -> Iterator[tuple[Stack, int]]:
    """A stack of several front doors, and the port at which the metrics of all are shown."""
    port = free_ports(1)
    settings = replace(stack_settings(bundled_deployments()), metrics_listen=f"127.0.0.1:{port}")
    with Stack(settings, [], state_dir, front_doors=COUNT) as stack:
        try:
            stack.wait_ready(START_TIMEOUT_S)
            yield stack, port
        finally:
            discard(stack.children.values())


def over_http(stack: Stack) -> str:
    """The front door that answers a call on a new connection."""
    return ask(stack.url, "GET", "/v1/models").headers[REQUEST_ID].partition(".")[0]


def over_grpc(stack: Stack) -> str:
    """The same over gRPC."""
    with grpc.insecure_channel(stack.target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = deployment_pb2_grpc.DeploymentServiceStub(channel)  # type: ignore[no-untyped-call]
        _, call = stub.ListDeployments.with_call(deployment_pb2.ListDeploymentsRequest())
        return str(dict(call.trailing_metadata())[REQUEST_ID]).partition(".")[0]


def test_all_of_them_answer_over_grpc_and_http(shared: tuple[Stack, int]) -> None:
    stack, port = shared
    seen: dict[str, set[str]] = {"grpc": set(), "http": set()}
    calls = 0

    def everyone() -> bool:
        nonlocal calls
        calls += 1
        seen["http"].add(over_http(stack))
        seen["grpc"].add(over_grpc(stack))
        return all(len(names) == COUNT for names in seen.values())

    wait_for(everyone)
    assert seen["grpc"] == seen["http"]
    assert value(port, "calls_total", "GET /v1/models", "OK") == calls
    assert value(port, "calls_total", "DeploymentService/ListDeployments", "OK") == calls


def test_what_they_read_in_one_place_is_not_added_up(shared: tuple[Stack, int]) -> None:
    stack, port = shared
    with connect(stack.settings.redis_url, START_TIMEOUT_S) as redis:
        redis.hset(keys.REDELIVERIES, "identity-onnx", 5)
    assert wait_for(lambda: value(port, "redeliveries_total", "identity-onnx")) == 5
    assert value(port, "redis_up") == 1


def test_one_that_dies_comes_back_and_the_others_go_on(shared: tuple[Stack, int]) -> None:
    stack, port = shared
    pid = stack.children["front-door-2"].pid
    assert pid is not None
    before = {over_http(stack) for _ in range(64)}
    assert len(before) == COUNT
    counted = value(port, "calls_total", "GET /v1/models", "OK") or 0
    os.kill(pid, signal.SIGKILL)
    states = {each.name: each.state for each in stack.status()}
    assert (states["front-door"], states["front-door-3"]) == ("serving", "serving")
    wait_for(lambda: stack.children["front-door-2"].restarts == 1)
    wait_for(lambda: all(each.state == "serving" for each in stack.status()))
    after = {over_http(stack) for _ in range(64)}
    assert value(port, "calls_total", "GET /v1/models", "OK") == counted + 64, "a sum never falls"
    assert len(after & before) == COUNT - 1
    assert len(after) == COUNT


def test_each_is_replaced_and_nobody_is_refused(shared: tuple[Stack, int], state_dir: Path) -> None:
    stack, port = shared
    before = {over_http(stack) for _ in range(64)}
    pids = {name: stack.children[name].pid for name in stack.front_doors}

    def call_over_http() -> None:
        """As HTTP clients do: again after a 503, which says when."""
        while (answer := ask(stack.url, "GET", "/v1/models")).status == HTTPStatus.SERVICE_UNAVAILABLE:
            time.sleep(int(answer.headers["retry-after-ms"]) / 1000)
        assert answer.status == HTTPStatus.OK

    def call_over_grpc() -> None:
        with Client(stack.target, timeout_s=20) as client:
            client.deployments()

    with beside(call_over_http, call_over_grpc) as seen:
        wait_for(lambda: min(seen["call_over_http"], seen["call_over_grpc"]) > 20)
        assert Restarter(stack, state_dir).restart(never) == {}
        so_far = dict(seen)
        wait_for(lambda: all(seen[name] > count + 20 for name, count in so_far.items()))
    assert set(seen) == {"call_over_http", "call_over_grpc"}, seen
    assert not any(pid and is_running(pid) for pid in pids.values())
    after = {over_http(stack) for _ in range(64)}
    assert len(after) == COUNT
    assert not after & before
    assert value(port, "redis_up") == 1
    assert {each.state for each in stack.status()} == {"serving"}


def test_an_address_is_theirs_though_connections_of_one_that_has_stopped_are_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stopped:
        place = stopped.getsockname()
        with socket.create_connection(place) as caller:
            stopped.accept()[0].close()
            assert caller.recv(1) == b""
    with reserve(f"127.0.0.1:{place[1]}"):
        for option in (socket.SO_REUSEADDR, socket.SO_BROADCAST):
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, option, 1)
                with pytest.raises(OSError, match="in use"):
                    other.bind(place)


def test_their_addresses_are_nobody_else_s(shared: tuple[Stack, int], tmp_path: Path) -> None:
    stack, _ = shared
    where = urlsplit(stack.url)
    with pytest.raises(OSError, match="in use"):
        socket.create_server((str(where.hostname), int(where.port or 0)))
    settings = replace(stack.settings, metrics_listen="")
    with pytest.raises(StackError, match=r"cannot listen on .*--listen"):
        Stack(settings, [], tmp_path, front_doors=2).start()
