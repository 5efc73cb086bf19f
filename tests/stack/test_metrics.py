"""The Prometheus endpoints of front door and workers."""

import contextlib
import itertools
import os
import re
import socket
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernelport import Client, DeadlineExceededError, InvalidArgumentError, NotFoundError
from kernelport.config.settings import bundled_deployments
from kernelport.errors import StackError
from kernelport.supervisor.stack import Stack
from tests.conftest import START_TIMEOUT_S, serving_stack, stack_settings
from tests.stack.models import pipeline, write_deployments
from tests.waiting import wait_for

_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_FIRST_PORTS = itertools.cycle(range(20_000 + 1_000 * _PROCESS, 21_000 + 1_000 * _PROCESS, 20))
LABELS = {
    "operation",
    "kind",
    "deployment",
    "tenant",
    "status",
    "outcome",
    "reason",
    "state",
    "method",
    "process",
    "le",
    "implementation",
    "major",
    "minor",
    "patchlevel",
    "version",
    "generation",
}


def test_front_door_and_workers_show_what_they_did(tmp_path: Path) -> None:
    port = free_ports(2)
    table = write_deployments(tmp_path, sleeper=pipeline("Sleeper"))
    settings = replace(stack_settings(table), metrics_listen=f"127.0.0.1:{port}")
    with (
        serving_stack(settings, ["sleeper"], tmp_path / "state") as stack,
        Client(stack.target, timeout_s=30) as client,
    ):
        for _ in range(3):
            client.infer("sleeper", {"seconds": np.array([0], np.float32)})
        with pytest.raises(InvalidArgumentError):
            client.infer("sleeper", {})
        for name in ("gone", "gone-too"):
            with pytest.raises(NotFoundError):
                client.infer(name, {})
        served = '{deployment="sleeper"'
        front_door = wait_for(lambda: _scrape(port, f"kernelport_live_workers{served}}} 1.0"))
        worker = wait_for(lambda: _scrape(port + 1, "kernelport_batch_requests_sum"))
        for _ in range(3):
            with pytest.raises(DeadlineExceededError):
                client.infer("sleeper", {"seconds": np.array([0.5], np.float32)}, timeout_s=0.2)
        counts = wait_for(lambda: found if sum((found := _requests_by_status(port)).values()) == 7 else None)
    assert f'kernelport_requests_total{served},status="OK"}} 3.0' in front_door
    assert f'kernelport_requests_total{served},status="INVALID_ARGUMENT"}} 1.0' in front_door
    for name in ("queue_seconds", "batching_seconds"):
        assert f"kernelport_{name}_count{served}}} " in front_door
    assert f'kernelport_request_seconds_count{served},outcome="ok"}} 3.0' in front_door
    assert f'kernelport_request_seconds_count{served},outcome="failed"}} 1.0' in front_door
    assert 'kernelport_requests_total{deployment="(unknown)",status="NOT_FOUND"} 2.0' in front_door
    assert f"kernelport_batch_requests_sum{served}}} 3.0" in worker
    assert f"kernelport_backend_seconds_count{served}}} " in worker
    assert _label_names(front_door) | _label_names(worker) <= LABELS
    assert set(counts) <= {"OK", "INVALID_ARGUMENT", "CANCELLED", "DEADLINE_EXCEEDED"}, "giving up is no error"


def test_a_taken_metrics_port_stops_the_start_with_its_reason(tmp_path: Path) -> None:
    port = free_ports(2)
    settings = replace(stack_settings(bundled_deployments()), metrics_listen=f"127.0.0.1:{port}")
    with (
        socket.create_server(("127.0.0.1", port + 1)),
        Stack(settings, ["identity-onnx"], tmp_path) as stack,
        pytest.raises(StackError, match=f"cannot show metrics at 127.0.0.1:{port + 1}"),
    ):
        stack.wait_ready(START_TIMEOUT_S)


def free_ports(count: int) -> int:
    """The first of so many free ports in a row. Neither another process of these tests takes them nor the system by
    itself: its own begin at 32768."""
    while True:
        port = next(_FIRST_PORTS)
        with contextlib.suppress(OSError), contextlib.ExitStack() as taken:
            for index in range(count):
                taken.enter_context(socket.create_server(("127.0.0.1", port + index)))
            return port


def _scrape(port: int, expected: str) -> str | None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        text: str = response.read().decode()
    return text if expected in text else None


def _requests_by_status(port: int) -> dict[str, float]:
    text = _scrape(port, "kernelport_requests_total") or ""
    served = r'^kernelport_requests_total{deployment="sleeper",status="(\w+)"} (\S+)$'
    return {status: float(count) for status, count in re.findall(served, text, re.MULTILINE)}


def _label_names(text: str) -> set[str]:
    series = [line for line in text.splitlines() if "{" in line and not line.startswith("#")]
    return {
        pair.partition("=")[0] for line in series for pair in line[line.index("{") + 1 : line.index("}")].split(",")
    }
