"""The autoscaler with real workers: from zero and back, and workers that finish before they go."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from redis import Redis

from kernelport import Client
from kernelport.broker import keys
from kernelport.broker.registry import ask_to_drain, is_drained
from kernelport.config.deployments import load_autoscale, load_deployments
from kernelport.supervisor.stack import Stack
from kernelport_ops.autoscale.controller import Controller, Plan
from kernelport_ops.autoscale.demand import DemandReader
from kernelport_ops.autoscale.lock import Lock
from kernelport_ops.autoscale.providers.lambda_cloud.client import Client as CloudClient
from kernelport_ops.autoscale.providers.lambda_cloud.pacer import Pacer
from kernelport_ops.autoscale.providers.lambda_cloud.provider import LambdaProvider
from kernelport_ops.autoscale.providers.lambda_cloud.secrets import LambdaSecrets
from kernelport_ops.autoscale.providers.provider import ProviderError
from tests.conftest import START_TIMEOUT_S, stack_settings
from tests.ops.fake_lambda.clocks import ScaledClock
from tests.ops.fake_lambda.cloud import KEY, FakeCloud
from tests.ops.fake_lambda.faults import Faults
from tests.ops.fake_lambda.processes import Processes
from tests.ops.fake_lambda.server import serve
from tests.stack.models import pipeline
from tests.waiting import is_running, wait_for

SCALE = 30.0
AUTOSCALE = {
    "provider": "lambda",
    "budget": {"per_hour": 4.0, "per_day": 40.0},
    "lambda_cloud": {"ssh_key": "key", "registry": "ghcr.io/owner", "instance_types": ["gpu_1x_a10"]},
}


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """Redis and a front door, and nobody who serves."""
    monkeypatch.setenv("KERNELPORT_TEST_JOURNAL", str(tmp_path / "journal"))
    scaling = {"max": 2, "idle_s": 60.0, "cool_down_s": 5.0}
    entry = pipeline("Journal", on_no_worker="wait", batching={"max_batch": 4}, scaling=scaling)
    file = tmp_path / "deployments.yaml"
    file.write_text(yaml.safe_dump({"deployments": {"journal": entry}, "autoscale": AUTOSCALE}))
    settings = replace(stack_settings(file), lease_s=3.0, heartbeat_ttl_s=2.0)
    with Stack(settings, [], tmp_path / "state") as running:
        running.wait_ready(START_TIMEOUT_S)
        yield running


def answers_of(stack: Stack, pool: ThreadPoolExecutor, numbers: range, seconds: float) -> list["Future[int]"]:
    def infer(number: int) -> int:
        with Client(stack.target, timeout_s=110) as client:
            inputs = {"number": np.array([number], np.int64), "seconds": np.array([seconds], np.float32)}
            return int(client.infer("journal", inputs)["number"][0])

    return [pool.submit(infer, number) for number in numbers]


def runs_of(tmp_path: Path) -> list[int]:
    return [int(line.split()[0]) for line in (tmp_path / "journal").read_text().splitlines()]


class Cloud:
    """A fake cloud whose instances are real workers, and an autoscaler for it; time passes `SCALE` times as fast."""

    def __init__(self, stack: Stack, redis: Redis, folder: Path, faults: Faults) -> None:
        self.clock = ScaledClock(SCALE)
        variables = {**stack.settings.to_environment(), "KERNELPORT_HEARTBEAT_TTL_S": "2"}
        variables.pop("KERNELPORT_REDIS_URL")
        self.processes = Processes(folder / "machines", variables)
        self.cloud = FakeCloud(self.clock.time, self.processes, faults, seed=5, enforce_rates=False)
        self._stack, self._redis = stack, redis

    def controller(self, url: str) -> Controller:
        file = self._stack.settings.deployments_file
        deployments, autoscale = load_deployments(file), load_autoscale(file)
        assert autoscale.lambda_cloud is not None
        client = CloudClient(KEY, url, Pacer(self.clock), timeout_s=20)
        secrets = LambdaSecrets(redis_url=self._stack.settings.redis_url)
        provider = LambdaProvider(
            client, autoscale.lambda_cloud, "main", deployments, self._redis, secrets, self.clock.monotonic
        )
        demand = DemandReader(self._redis)
        lock = Lock(self._redis, "main")
        return Controller(
            self._redis, deployments, autoscale, provider, demand, lock, stop_s=200.0, now=self.clock.time
        )


def run_once(controller: Controller, cloud: FakeCloud) -> list[Plan]:
    cloud.advance()
    try:
        return controller.run_once() or []
    except ProviderError:
        return []


@pytest.mark.alone  # time passes so fast for the cloud that a busy machine would cost it dollars
def test_from_zero_to_serving_after_a_burst_and_back_to_zero(stack: Stack, tmp_path: Path) -> None:
    with Redis.from_url(stack.settings.redis_url) as redis, ThreadPoolExecutor(24) as pool:
        setup = Cloud(stack, redis, tmp_path, Faults(boot_s=60.0, boot_spread=0.1, late_s=20.0))
        with serve(setup.cloud) as url:
            controller = setup.controller(url)
            run_once(controller, setup.cloud)
            assert not setup.cloud.instances
            calls = answers_of(stack, pool, range(24), 0.05)
            wait_for(lambda: run_once(controller, setup.cloud) and all(call.done() for call in calls), 100)
            assert [call.result() for call in calls] == list(range(24))
            assert sorted(runs_of(tmp_path)) == list(range(24))

            controller = setup.controller(url)  # a restart in the middle
            redis.delete(keys.autoscale_lock("main"))
            wait_for(lambda: run_once(controller, setup.cloud) and setup.cloud.rate() == 0, 60, "all machines gone")
            assert not setup.processes.running
            assert len(set(setup.cloud.launches)) == len(setup.cloud.launches) <= 3
            assert setup.cloud.cost(0, setup.clock.time()) < 4.0


def test_a_worker_that_is_asked_to_finishes_what_it_has_and_goes(stack: Stack, tmp_path: Path) -> None:
    environment = {**os.environ, **stack.settings.to_environment(), "KERNELPORT_WORKER_ID": "machine.0"}
    with Redis.from_url(stack.settings.redis_url) as redis, ThreadPoolExecutor(12) as pool:
        command = [sys.executable, "-m", "kernelport.cli", "worker", "journal"]
        worker = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            calls = answers_of(stack, pool, range(12), 0.3)
            wait_for(lambda: (tmp_path / "journal").exists(), 60, "the first request at work")
            ask_to_drain(redis, "machine.0")
            assert worker.wait(60) == 0
            assert is_drained(redis, "machine.0")
            finished = runs_of(tmp_path)
            assert len(finished) < 12, "it took no more"
            second = subprocess.Popen(
                command,
                env={**environment, "KERNELPORT_WORKER_ID": "machine.1"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                assert [call.result(100) for call in calls] == list(range(12))
            finally:
                second.terminate()
                second.wait(60)
            assert sorted(runs_of(tmp_path)) == list(range(12)), "nothing was lost, and nothing ran twice"
        finally:
            worker.kill()
            worker.wait()


def test_local_workers_come_with_the_work_and_go_without_it(stack: Stack, tmp_path: Path) -> None:
    file = stack.settings.deployments_file
    document = yaml.safe_load(file.read_text())
    document["deployments"]["journal"]["scaling"].update(idle_s=2.0, cool_down_s=0.5)
    document["autoscale"] = {"provider": "local", "local": {"slots": 2}}
    file.write_text(yaml.safe_dump(document))
    environment = {**os.environ, **stack.settings.to_environment()}
    command = [sys.executable, "-m", "kernelport.cli", "autoscale", "--state-dir", str(tmp_path / "scaler")]

    dry = subprocess.run([*command, "--dry-run"], env=environment, capture_output=True, text=True, check=True)
    assert dry.stdout.startswith("journal: 0 ready, 0 starting, 0 wanted: nothing waits")
    assert "would: do nothing" in dry.stdout

    autoscaler = subprocess.Popen(
        [*command, "--interval", "0.3"], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        with Redis.from_url(stack.settings.redis_url) as redis, ThreadPoolExecutor(16) as pool:
            calls = answers_of(stack, pool, range(16), 0.1)
            assert [call.result(100) for call in calls] == list(range(16))
            pids = [worker.pid for worker in Client(stack.target).deployment("journal").workers]
            assert pids
            wait_for(lambda: not any(is_running(pid) for pid in pids), 60, "no worker left")
            assert sorted(runs_of(tmp_path)) == list(range(16))
            assert not redis.smembers(keys.WORKERS)
    finally:
        autoscaler.send_signal(signal.SIGTERM)
        _, told = autoscaler.communicate(timeout=60)
    assert autoscaler.returncode == 0
    assert "launch process" in told
