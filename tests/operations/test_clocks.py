"""The clocks of machines may differ: nothing but what people are shown goes by them."""

import logging
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from redis import Redis

from kernelport import Client
from kernelport.broker.clock import Clock, off
from kernelport.cli.jobs import formatting
from kernelport.config.settings import Settings
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.worker_command import worker_command
from kernelport.v1 import job_pb2 as pb
from tests.cli.running import called
from tests.conftest import serving_stack, stack_settings
from tests.operations.scraping import value
from tests.stack.models import pipeline, write_deployments
from tests.waiting import wait_for

HOUR_S = 3600.0
OFF = pytest.mark.parametrize("off_s", [HOUR_S, -HOUR_S], ids=["ahead", "behind"])
LEASE_S = 2.0
BODY = b'{"inputs": [{"name": "seconds", "shape": [1], "datatype": "FP32", "data": [0]}]}'
# What Python runs first in a process whose machine has another time.
SET_CLOCK = """import time
now, now_ns = time.time, time.time_ns
time.time = lambda: now() + {0}
time.time_ns = lambda: now_ns() + round({0} * 1e9)
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack on a machine whose clock is right, with a worker that sleeps."""
    folder = tmp_path_factory.mktemp("clocks")
    file = write_deployments(folder, sleeper=pipeline("Sleeper"), other=pipeline("Sleeper"))
    settings = replace(stack_settings(file), lease_s=LEASE_S, heartbeat_ttl_s=2.0)
    with serving_stack(settings, ["sleeper"], folder / "state") as running:
        yield running


@contextmanager
def elsewhere(command: Sequence[str], settings: Settings, off_s: float, log: Path) -> Iterator[None]:
    """A process on a machine whose clock is off."""
    (log.parent / "sitecustomize.py").write_text(SET_CLOCK.format(off_s))
    path = os.pathsep.join([str(log.parent), *filter(None, sys.path)])
    told = {**os.environ, **settings.to_environment(), "PYTHONPATH": path}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=told, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def worker(stack: Stack, name: str, off_s: float, log: Path) -> Iterator[int]:
    """One that serves a deployment; gives the port of its metrics."""
    port, worker_id = free_port(), f"off{off_s:+.0f}"
    settings = replace(stack.settings, shared_dir="", worker_id=worker_id, metrics_listen=f"127.0.0.1:{port}")
    with elsewhere(worker_command([name]), settings, off_s, log), Client(stack.target) as client:
        wait_for(lambda: worker_id in {each.id for each in client.deployment(name).workers}, 60)
        yield port


def slept(client: Client, name: str, seconds: float) -> int:
    """The process that has done so."""
    return int(client.infer(name, {"seconds": np.array([seconds], np.float32)})["pid"][0])


def asked(url: str, request_id: str) -> bytes:
    """The answer of a front door to a request with an id."""
    headers = {"content-type": "application/json", "idempotency-key": request_id}
    request = urllib.request.Request(f"{url}/v2/models/sleeper/infer", BODY, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return bytes(answer.read())


@OFF
def test_a_worker_that_is_off_serves_right_and_says_so(stack: Stack, tmp_path: Path, off_s: float) -> None:
    log = tmp_path / "worker.log"
    with worker(stack, "other", off_s, log) as port, Client(stack.target, timeout_s=10) as client:
        assert slept(client, "other", 0) > 0
        deadline = datetime.now().astimezone() + timedelta(minutes=10)
        items = [{"seconds": np.zeros(1, np.float32)}] * 3
        job = client.jobs.wait(client.jobs.submit("other", items, deadline=deadline).id)
        assert job.state == pb.JOB_STATE_SUCCEEDED
        for moment_us in (job.created_unix_us, job.started_unix_us, job.finished_unix_us):
            assert abs(moment_us / 1e6 - time.time()) < 60
        assert all(abs(item.finished_unix_us / 1e6 - time.time()) < 60 for item in client.jobs.items(job.id))

        told = off(off_s)
        assert f"this machine's clock {told} that of Redis" in log.read_text()
        shown = called("deployments", "show", "other", "--target", stack.target).stdout
        assert re.search(rf"differs +clock: that of worker off[+-]3600, on \S+, {told} that of Redis", shown)
        wait_for(lambda: abs((value(port, "clock_ahead_seconds") or 0) - off_s) < 60)


@OFF
def test_a_worker_that_is_off_leaves_others_what_they_have(stack: Stack, tmp_path: Path, off_s: float) -> None:
    with Client(stack.target, timeout_s=20) as client, worker(stack, "sleeper", off_s, tmp_path / "worker.log"):

        def sleep(seconds: float) -> int:
            return slept(client, "sleeper", seconds)

        with ThreadPoolExecutor(2) as pool:
            wait_for(lambda: len(set(pool.map(sleep, [0.05] * 2))) == 2)
            # The leases would be over by then, were they not renewed by those who have these batches.
            assert len(set(pool.map(sleep, [1.5 * LEASE_S] * 2))) == 2
    with Redis.from_url(stack.settings.redis_url) as redis:
        assert not redis.hgetall("kp:redeliveries")


@OFF
def test_a_front_door_that_is_off_takes_calls_like_another(stack: Stack, tmp_path: Path, off_s: float) -> None:
    listen, http_listen = (f"127.0.0.1:{free_port()}" for _ in range(2))
    settings = replace(stack.settings, listen=listen, http_listen=http_listen, metrics_listen="")
    with elsewhere([sys.executable, "-m", "kernelport_api"], settings, off_s, tmp_path / "front-door.log"):
        with grpc.insecure_channel(listen) as channel:
            grpc.channel_ready_future(channel).result(60)
        # Over gRPC, Python would compare the shifted clock with one of C that is not.
        assert asked(f"http://{http_listen}", f"kept-{off_s}") == asked(stack.url, f"kept-{off_s}")
        with Client(listen, timeout_s=10) as client:
            inputs = {"seconds": np.zeros(1, np.float32)}
            deadline = datetime.now().astimezone() + timedelta(minutes=10)
            job = client.jobs.wait(client.jobs.submit("sleeper", [inputs], deadline=deadline).id)
            assert job.state == pb.JOB_STATE_SUCCEEDED
            assert abs(job.created_unix_us / 1e6 - time.time()) < 60
        shown = called("deployments", "show", "sleeper", "--target", stack.target).stdout
        assert re.search(rf"differs +clock: that of front door \w+, on \S+, {off(off_s)} that of Redis", shown)


def test_a_client_that_is_off_asks_for_a_deadline_by_the_clock_of_all(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Behind(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) - timedelta(seconds=HOUR_S)

    monkeypatch.setattr(formatting, "datetime", Behind)
    minutes = formatting.Deadline().convert("10m", None, None)
    with Client(stack.target, timeout_s=20) as client:
        job = client.jobs.submit("sleeper", [{"seconds": np.full(1, 0.1, np.float32)}] * 50, deadline=minutes)
        assert abs(job.spec.deadline_unix_us / 1e6 - time.time() - 600) < 60
        client.jobs.wait(client.jobs.cancel(job.id).id)
        resumed = client.jobs.resume(job.id, deadline=2 * minutes)
        assert abs(resumed.spec.deadline_unix_us / 1e6 - time.time() - 1200) < 60


def test_a_clock_that_is_set_moves_no_deadline(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Redis.from_url(stack.settings.redis_url) as redis:
        real, clock = time.time, Clock()
        clock.measure(redis)
        assert abs(clock.now() - real()) < 1
        assert not clock.told_ahead_s
        monkeypatch.setattr(time, "time", lambda: real() + HOUR_S)
        assert abs(clock.now() - real()) < 1, "it goes by a clock that nobody sets"
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                clock.measure(redis)
        assert abs(clock.now() - real()) < 1
        assert round(clock.told_ahead_s) == HOUR_S
        assert caplog.text.count("is 3,600 s ahead of that of Redis") == 1

        late = Clock()
        assert abs(late.now() - real()) > HOUR_S / 2, "nobody knows better yet"
        late.measure(redis)
        assert abs(late.now() - real()) < 1


def test_doctor_compares_clocks(stack: Stack) -> None:
    told = called("doctor", "--redis-url", stack.settings.redis_url, "--target", stack.target).stdout
    assert "agrees with that of Redis" in " ".join(told.split())
