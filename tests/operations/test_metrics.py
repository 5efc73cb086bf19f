"""What an operator asks, answered by the metrics of processes that die, wait and lose their Redis."""

import contextlib
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
import yaml

from kernelport import Client, InternalError, NotFoundError
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2 as pb
from kernelport.v1 import job_pb2_grpc
from tests.conftest import serving_stack, stack_settings
from tests.jobs.calls import JobCalls, journal_item
from tests.operations.scraping import scrape, value
from tests.stack.models import HELD, pipeline
from tests.stack.test_metrics import free_ports
from tests.waiting import wait_for

ATTEMPTS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Has the journal of the model, and the file that lets it go on."""
    folder = tmp_path_factory.mktemp("metrics")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERNELPORT_TEST_JOURNAL", str(folder / "journal"))
        yield folder


@pytest.fixture(scope="module")
def table(folder: Path) -> Path:
    """A deployment whose requests say how long they take, and whether they kill their worker."""
    scaling = {"max": 1, "idle_s": 600.0}
    entry = pipeline("Journal", on_no_worker="wait", limits={"max_attempts": ATTEMPTS}, scaling=scaling)
    file = folder / "deployments.yaml"
    local = {"provider": "local", "local": {"slots": 1}}
    file.write_text(yaml.safe_dump({"deployments": {"journal": entry}, "autoscale": local}))
    return file


@pytest.fixture(scope="module")
def shown(table: Path, folder: Path) -> Iterator[tuple[Stack, int]]:
    """A stack and the port of its front door's metrics; those of its worker are at the port after it."""
    port = free_ports(2)
    settings = replace(stack_settings(table), metrics_listen=f"127.0.0.1:{port}", lease_s=3.0, heartbeat_ttl_s=2.0)
    with serving_stack(settings, ["journal"], folder / "state") as stack:
        yield stack, port


def kill_workers(target: str) -> None:
    """Sends a request over which workers die until it is given up."""
    inputs = {"number": np.array([1], np.int64), "seconds": np.array([-1], np.float32)}
    with Client(target, timeout_s=60) as client, pytest.raises(InternalError, match="given up"):
        client.infer("journal", inputs)


def test_deaths_and_redeliveries_are_known_though_the_workers_are_gone(shown: tuple[Stack, int]) -> None:
    stack, port = shown
    assert wait_for(lambda: value(port, "redeliveries_total", "journal") == 0)
    kill_workers(stack.target)
    wait_for(lambda: value(port, "redeliveries_total", "journal") == ATTEMPTS)
    wait_for(lambda: value(port, "worker_deaths_total", "journal") == ATTEMPTS)


def test_calls_are_counted_by_method_and_status_whatever_is_asked_for(shown: tuple[Stack, int]) -> None:
    stack, port = shown
    with Client(stack.target, timeout_s=60) as client:
        for name in ("gone", "gone-too"):
            with pytest.raises(NotFoundError):
                client.infer(name, {})
    for path in (
        "/health",
        "/api/jobs/0123456789ab-01234567",
        "/api/jobs/0123456789ab-89abcdef",
        "/nowhere",
        "/no/where",
    ):
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"{stack.url}{path}", timeout=10).close()
    assert value(port, "requests_total", "(unknown)", "NOT_FOUND") == 2
    assert value(port, "calls_total", "InferenceService/Infer", "NOT_FOUND") == 2
    assert value(port, "calls_total", "GET /health", "OK") == 1
    assert value(port, "calls_total", "GET /api/jobs/{job}", "404") == 2
    assert value(port, "calls_total", "(unknown)", "404") == 2


def test_jobs_are_shown_by_state_and_age_and_items_by_what_went_wrong(shown: tuple[Stack, int], folder: Path) -> None:
    stack, port = shown
    with grpc.insecure_channel(stack.target) as channel:
        jobs = JobCalls(job_pb2_grpc.JobServiceStub(channel))
        over = jobs.wait(jobs.submit("journal", [journal_item(1, -1)]).id)
        assert over.state == pb.JOB_STATE_FAILED
        assert value(port + 1, "job_items_total", "journal", "failed", "workers_died") == 1
        jobs.submit("journal", [journal_item(2, HELD)])
        wait_for(lambda: value(port, "jobs", "journal", "failed") == 1 == value(port, "jobs", "journal", "running"))
        assert value(port, "jobs", "journal", "succeeded") == 0
        assert (value(port, "oldest_job_seconds", "journal", "running") or 0) > 0
        assert value(port, "oldest_job_seconds", "journal", "failed") is None
        (folder / "go").touch()
        wait_for(lambda: value(port + 1, "job_items_total", "journal", "succeeded", "") == 1)


def test_what_cannot_be_known_while_redis_is_away_is_not_shown(shown: tuple[Stack, int]) -> None:
    stack, port = shown
    wait_for(lambda: value(port, "live_workers", "journal") == 1 == value(port, "redis_up"))
    wait_for(lambda: value(port + 1, "redis_up") == 1)
    found = scrape(port)
    assert found["redis_seconds"][""] < 1
    assert found["redis_memory_bytes"][""] > 0
    assert "redis_memory_used_ratio" not in found, "this Redis has no limit"
    redis = stack.children["redis"].pid
    assert redis is not None
    os.kill(redis, signal.SIGSTOP)
    try:
        for each in (port, port + 1):
            wait_for(lambda each=each: value(each, "redis_up") == 0)
        wait_for(lambda: "live_workers" not in scrape(port))
        gone = {"redis_seconds", "redis_memory_bytes", "queue_batches", "jobs", "redeliveries_total"}
        wait_for(lambda: not gone & scrape(port).keys(), what="nothing that Redis would have to tell")
        assert value(port, "waiting_requests", "journal") == 0, "that is the front door's own to know"
    finally:
        os.kill(redis, signal.SIGCONT)
    wait_for(lambda: value(port, "live_workers", "journal") == 1 == value(port, "redis_up"))


def test_an_autoscaler_and_its_workers_show_theirs(table: Path, tmp_path: Path) -> None:
    port = free_ports(2)
    with serving_stack(stack_settings(table), [], tmp_path / "state") as stack:
        options = ("--metrics-listen", f"127.0.0.1:{port}", "--interval", "0.5", "--deployments-file", str(table))
        command = [sys.executable, "-m", "kernelport_ops.autoscale", *options, "--state-dir", str(tmp_path / "state")]
        scaler = subprocess.Popen(command, env={**os.environ, **stack.settings.to_environment()})
        try:
            kill_workers(stack.target)
            wait_for(lambda: value(port, "process_deaths_total", "journal", "worker") == ATTEMPTS)
            assert value(port, "redis_up") == 1
            assert wait_for(lambda: value(port, "autoscale_workers", "journal", "wanted")) == 1
            assert value(port, "autoscale_held_back", "journal", "budget") == 0
            assert value(port, "autoscale_budget_dollars", "day") is None, "there is no budget"
            wait_for(lambda: value(port + 1, "redis_up") == 1, what="the metrics of the worker on the first slot")
        finally:
            scaler.terminate()
            scaler.wait(60)


def test_up_shows_which_of_its_processes_died(table: Path, tmp_path: Path) -> None:
    before = free_ports(3)
    options = (
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        f"127.0.0.1:{before + 1}",
        "--deployments-file",
        str(table),
    )
    command = [sys.executable, "-m", "kernelport.cli", "up", *options, "--state-dir", str(tmp_path / "state")]
    up = subprocess.Popen(command, env={**os.environ, "KERNELPORT_HTTP_LISTEN": ""})
    try:
        wait_for(lambda: value(before + 1, "live_workers", "journal") == 1, 60)
        assert value(before, "process_restarts_total", "", "redis") == 0
        target = yaml.safe_load((tmp_path / "state" / "running.json").read_text())["target"]
        kill_workers(target)
        wait_for(lambda: value(before, "process_deaths_total", "journal", "worker") == ATTEMPTS)
        wait_for(lambda: value(before, "process_restarts_total", "journal", "worker") == ATTEMPTS)
    finally:
        up.terminate()
        up.wait(60)
