"""Storage that takes nothing for a while holds no call, and loses no item."""

import os
import resource
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernelport import Client
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2 as pb
from tests.conftest import serving_stack, stack_settings
from tests.jobs.calls import JobCalls, manifest, tiny
from tests.operations.scraping import value
from tests.stack.test_metrics import free_ports
from tests.waiting import wait_for

MODEL = "identity-onnx"
WORKER = f"worker-{MODEL}"
X = {"x": np.ones((1, 1, 2, 2), np.float32)}
ITEMS, LARGE = 30, 40_000  # numbers in an item, of 4 bytes
LIMIT_BYTES = 100_000
PATIENCE_S, CALLING_S, MOST_S = 30.0, 6.0, 2.0


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    metrics_listen = f"127.0.0.1:{free_ports(2)}"
    settings = replace(
        stack_settings(bundled_deployments()), storage_patience_s=PATIENCE_S, metrics_listen=metrics_listen
    )
    with serving_stack(settings, [MODEL], tmp_path / "state") as running:
        yield running


def refuse_files(stack: Stack) -> tuple[int, int]:
    """Has the kernel refuse to let the worker's files grow past a limit, as on a full disk; returns the old limit."""
    pid = stack.children[WORKER].pid
    assert pid is not None
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, unlimited[1]))
    return unlimited


def items() -> list[pb.NewItem]:
    return [tiny(f"item-{number}", 1.0, LARGE) for number in range(ITEMS)]


def test_calls_go_on_beside_a_job_that_cannot_be_kept(stack: Stack, jobs: JobCalls) -> None:
    unlimited = refuse_files(stack)
    job = jobs.submit(MODEL, items())
    log = stack.children[WORKER].log_file
    wait_for(lambda: "cannot write" in log.read_text())
    with Client(stack.target, timeout_s=60) as client:
        until = time.monotonic() + CALLING_S
        slowest_s = 0.0
        while time.monotonic() < until:
            began = time.monotonic()
            client.infer(MODEL, X)
            slowest_s = max(slowest_s, time.monotonic() - began)
    assert slowest_s < MOST_S
    metrics_port = int(stack.settings.metrics_listen.rpartition(":")[2]) + 1
    assert (value(metrics_port, "storage_failures_total", "write") or 0) > 0
    assert jobs.get(job.id).state == pb.JOB_STATE_RUNNING
    pid = stack.children[WORKER].pid
    assert pid is not None
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    over = jobs.wait(job.id)
    assert over.state == pb.JOB_STATE_SUCCEEDED
    assert len(manifest(over)) == ITEMS
    assert (value(metrics_port, "storage_seconds_count", "write") or 0) >= ITEMS, "those that went well"


def test_what_a_worker_had_not_kept_when_it_died_runs_again(stack: Stack, jobs: JobCalls) -> None:
    refuse_files(stack)
    job = jobs.submit(MODEL, items())
    worker = stack.children[WORKER]
    wait_for(lambda: "cannot write" in worker.log_file.read_text())
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    over = jobs.wait(job.id)
    assert over.state == pb.JOB_STATE_SUCCEEDED
    assert {row["state"] for row in manifest(over)} == {"succeeded"}
    assert len(manifest(over)) == ITEMS
