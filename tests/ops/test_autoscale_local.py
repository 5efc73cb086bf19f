"""The autoscaler's own worker processes: one that cannot come up is not waited for."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from redis import Redis

from kernelport.broker.registry import read_workers
from kernelport.config.deployments import load_autoscale, load_deployments
from kernelport.config.settings import Settings
from kernelport_ops.autoscale.controller import Controller
from kernelport_ops.autoscale.demand import DemandReader
from kernelport_ops.autoscale.lock import Lock
from kernelport_ops.autoscale.providers.local import LocalProvider
from tests.broker.servers import serving_redis
from tests.stack.models import pipeline
from tests.waiting import wait_for

BOOT_LIMIT_S = 600.0


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with serving_redis(tmp_path_factory.mktemp("redis")) as server, Redis.from_url(server.url) as redis:
        yield redis


def controller(redis: Redis, folder: Path, model: str) -> tuple[Controller, LocalProvider]:
    """An autoscaler that wants one worker of a model."""
    file = folder / "deployments.yaml"
    local = {"provider": "local", "local": {"slots": 1, "boot_limit_s": BOOT_LIMIT_S}}
    entry = pipeline(model, scaling={"min": 1, "max": 1})
    file.write_text(yaml.safe_dump({"deployments": {"scaled": entry}, "autoscale": local}))
    where = redis.connection_pool.connection_kwargs
    url = f"redis://{where['host']}:{where['port']}/0"
    settings = replace(Settings(), redis_url=url, deployments_file=file, stop_s=5.0)
    deployments, autoscale = load_deployments(file), load_autoscale(file)
    provider = LocalProvider(autoscale.local, settings, folder / "logs", redis)
    lock = Lock(redis, autoscale.fleet)
    return Controller(redis, deployments, autoscale, provider, DemandReader(redis), lock, settings.stop_s), provider


def test_a_worker_that_cannot_come_up_is_given_up_at_once_and_said_to_fail(redis: Redis, tmp_path: Path) -> None:
    autoscaler, provider = controller(redis, tmp_path, "Unloadable")
    try:
        plan = wait_for(
            lambda: next((each for each in autoscaler.run_once() or () if each.launches.held_back), None), 120
        )
        assert plan.launches.held_back == "failing"
        assert not provider.machines(), "its slot is free for another"
    finally:
        provider.close()


def test_a_worker_that_dies_is_out_of_the_registry_at_once_and_comes_back(redis: Redis, tmp_path: Path) -> None:
    autoscaler, provider = controller(redis, tmp_path, "Sleeper")
    try:
        (first,) = wait_for(lambda: autoscaler.run_once() and read_workers(redis), 60)
        os.kill(first.worker.pid, signal.SIGKILL)
        wait_for(lambda: not read_workers(redis), 5, "rather than when its heartbeat is overdue")
        wait_for(lambda: autoscaler.run_once() and read_workers(redis), 60)
    finally:
        provider.close()
