"""`kernelport restart` replaces the front door of a running stack, and nobody is refused or loses a call."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import pytest

from kernelport import Client
from kernelport.supervisor.restarting import Restarter
from kernelport.supervisor.stack import Stack
from kernelport_api import listeners
from kernelport_api.doors.http.server import listener
from tests.conftest import START_TIMEOUT_S, discard, stack_settings, sync_each_write
from tests.operations.scraping import value
from tests.stack.models import pipeline, write_deployments
from tests.stack.test_metrics import free_ports
from tests.waiting import is_running, wait_for

CALLERS = 4
STOP_S = 10.0
BODY = b'{"inputs": [{"name": "seconds", "shape": [1], "datatype": "FP32", "data": [0.005]}]}'


def never() -> bool:
    return False


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    file = write_deployments(tmp_path, sleeper=pipeline("Sleeper"))
    settings = replace(stack_settings(file), metrics_listen=f"127.0.0.1:{free_ports(2)}", stop_s=STOP_S)
    with Stack(settings, ["sleeper"], tmp_path / "state") as running:
        try:
            running.wait_ready(START_TIMEOUT_S)
            sync_each_write(running)
            yield running
        finally:
            discard(running.children.values())


@pytest.fixture
def restarter(stack: Stack, tmp_path: Path) -> Restarter:
    return Restarter(stack, tmp_path / "state")


@contextmanager
def beside(*works: Callable[[], None]) -> Iterator[Counter[str]]:
    """Does some things again and again, each in threads of its own; counts what each did, and what it raised."""
    seen, over = Counter[str](), threading.Event()

    def again(work: Callable[[], None]) -> None:
        while not over.is_set():
            try:
                work()
                seen[work.__name__] += 1
            except Exception as error:
                seen[f"{work.__name__}: {error!r}"] += 1

    threads = [threading.Thread(target=again, args=(work,)) for work in works for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


def front_door(stack: Stack) -> int:
    return wait_for(lambda: stack.children["front-door"].pid or 0)


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_connections_and_calls_go_on(stack: Stack, restarter: Restarter) -> None:
    _, _, http_port = stack.settings.http_listen.rpartition(":")
    addresses = [("127.0.0.1", port_of(each)) for each in (stack.target, stack.settings.http_listen)]
    with Client(stack.target, timeout_s=20) as client:

        def call() -> None:
            client.infer("sleeper", {"seconds": np.array([0.005], np.float32)})

        def call_over_http() -> None:
            """As HTTP clients do: after a 503, once more when it says so."""
            request = urllib.request.Request(
                f"http://127.0.0.1:{http_port}/v2/models/sleeper/infer", BODY, {"content-type": "application/json"}
            )
            for _ in range(20):
                try:
                    with urllib.request.urlopen(request, timeout=20) as answer:
                        answer.read()
                    return
                except HTTPError as error:
                    if error.code != 503:
                        raise
                    time.sleep(int(error.headers["retry-after-ms"]) / 1000)
            raise AssertionError("never answered")

        def connect() -> None:
            for address in addresses:
                socket.create_connection(address, timeout=5).close()
            time.sleep(0.002)

        with beside(call, call_over_http, connect) as seen:
            wait_for(lambda: min(seen["call"], seen["call_over_http"], seen["connect"]) > 20)
            for _ in range(2):
                before = front_door(stack)
                assert restarter.restart(never) == {}
                assert front_door(stack) != before
                assert not is_running(before)
                so_far = seen["call"]
                wait_for(lambda so_far=so_far: seen["call"] > so_far + 20)
        assert set(seen) == {"call", "call_over_http", "connect"}, seen
    assert value(port_of(stack.settings.metrics_listen), "requests_total", "sleeper", "OK")


def test_a_call_in_flight_is_answered_by_the_front_door_that_goes(stack: Stack, restarter: Restarter) -> None:
    with Client(stack.target, timeout_s=20, max_retries=0) as client:
        answers = []
        call = threading.Thread(
            target=lambda: answers.append(client.infer("sleeper", {"seconds": np.array([4], np.float32)}))
        )
        call.start()
        metrics = port_of(stack.settings.metrics_listen)
        wait_for(lambda: value(metrics, "waiting_requests", "sleeper") == 1)
        assert restarter.restart(never) == {}
        call.join()
        assert len(answers) == 1


def test_a_taken_port_stays_an_error(stack: Stack, restarter: Restarter) -> None:
    assert restarter.restart(never) == {}
    for address in (stack.settings.listen, stack.settings.http_listen, stack.settings.metrics_listen):
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port_of(address)))
    told = {**os.environ, **replace(stack.settings, http_listen="", metrics_listen="").to_environment()}
    for arguments in ([], ["--beside", "1"]):
        other_door = [sys.executable, "-m", "kernelport_api", *arguments]
        ended = subprocess.run(other_door, env=told, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 1
        assert "cannot listen on" in ended.stderr


def test_the_old_one_goes_on_when_no_new_one_comes_up(stack: Stack, restarter: Restarter) -> None:
    before = front_door(stack)
    file = stack.settings.deployments_file
    was = file.read_text()
    file.write_text("deployments: {sleeper: {}}")
    (reason,) = restarter.restart(never).values()
    assert "sleeper.backend: required" in reason
    assert front_door(stack) == before
    with Client(stack.target, timeout_s=20) as client:
        client.infer("sleeper", {"seconds": np.zeros(1, np.float32)})
        file.write_text(was)
        assert restarter.restart(never) == {}
        client.infer("sleeper", {"seconds": np.zeros(1, np.float32)})
    assert not is_running(before)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no say in who gets a connection")
def test_connections_come_to_one_of_both_and_stay_there() -> None:
    def arrivals(listens: socket.socket, others: int) -> int:
        """How many of so many connections come to a socket."""
        made = [socket.create_connection(listens.getsockname()) for _ in range(others)]
        listens.setblocking(False)
        found = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                listens.accept()[0].close()
                found += 1
        for each in made:
            each.close()
        return found

    with listener("127.0.0.1:0") as old:
        port = old.getsockname()[1]
        listeners.open_up([port], is_open=True)
        with listener(f"127.0.0.1:{port}", shared=True) as new:
            listeners.steer([port], 0)
            assert arrivals(old, 50) == 50
            listeners.steer([port], 1)
            assert arrivals(new, 50) == 50
            old.close()
            assert arrivals(new, 50) == 50
            listeners.stop_steering([port])
            with listener(f"127.0.0.1:{port}", shared=True):
                assert 0 < arrivals(new, 100) < 100
