"""A worker that gets a SIGHUP goes by its deployments file again, as far as it can without another model."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from kernelport import Client
from kernelport.supervisor.stack import Stack
from kernelport.v1.deployment_pb2 import Worker
from tests.cli.running import called
from tests.conftest import serving_stack, stack_settings
from tests.stack.models import pipeline, write_deployments
from tests.waiting import wait_for


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path, limits={"max_attempts": 1})


@pytest.fixture
def stack(file: Path, tmp_path: Path) -> Iterator[Stack]:
    """A stack whose worker dies over a request for a negative time."""
    settings = replace(stack_settings(file), heartbeat_ttl_s=2.0)
    with serving_stack(settings, ["sleeper"], tmp_path / "state") as running:
        yield running


def write(folder: Path, **policy: Any) -> Path:
    return write_deployments(folder, sleeper=pipeline("Sleeper", **policy))


def worker_of(client: Client) -> Worker:
    (found,) = client.deployment("sleeper").workers
    return found


def tell(client: Client) -> None:
    os.kill(worker_of(client).pid, signal.SIGHUP)


def shown(stack: Stack) -> str:
    return called("deployments", "show", "sleeper", "--target", stack.target).stdout


def log_of(stack: Stack) -> str:
    return stack.children["worker-sleeper"].log_file.read_text()


def test_limits_hold_at_once_and_a_model_takes_another_worker(stack: Stack, file: Path) -> None:
    with Client(stack.target, timeout_s=20) as client:
        before = worker_of(client)
        assert "differs" not in shown(stack)
        assert before.deployments_file == str(file)
        assert f"version {before.version}, {file}" in shown(stack)

        write(file.parent, limits={"max_attempts": 2}, timeouts={"step_s": 7})
        tell(client)
        wait_for(lambda: worker_of(client).settings != before.settings)
        assert worker_of(client).pid == before.pid
        assert "differs    what the deployments file said of it: " in shown(stack), "the front door has not read it yet"
        stack.read_again("front-door")
        wait_for(lambda: "differs" not in shown(stack))
        assert worker_of(client).settings == client.deployment("sleeper").settings

        now = worker_of(client).settings
        file.write_text("deployments: {sleeper: {}}")
        tell(client)
        wait_for(lambda: "the deployments stay as they were: " in log_of(stack))
        assert worker_of(client).settings == now

        write(file.parent, device="cuda")
        tell(client)
        wait_for(lambda: "takes a new worker" in log_of(stack))
        file.write_text(yaml.safe_dump({"deployments": {}}))
        tell(client)
        wait_for(lambda: "until it is stopped" in log_of(stack))
        assert worker_of(client).settings == now
        assert client.infer("sleeper", {"seconds": np.zeros(1, np.float32)})["pid"] == before.pid


def test_a_time_limit_holds_for_the_worker_that_has_read_it(stack: Stack, file: Path) -> None:
    with Client(stack.target, timeout_s=20) as client:
        write(file.parent, limits={"max_attempts": 1}, timeouts={"step_s": 0.5})
        before = worker_of(client)
        tell(client)
        wait_for(lambda: worker_of(client).settings != before.settings)
        with pytest.raises(Exception, match="given up as dead letter"):
            client.infer("sleeper", {"seconds": np.array([60], np.float32)})
        assert "passed its step limit of 0.5 s" in log_of(stack)


@pytest.mark.parametrize("names_redis", [False, True], ids=["of a stack", "of a Redis"])
def test_the_command_passes_it_on(stack: Stack, file: Path, tmp_path: Path, names_redis: bool) -> None:
    where = ["--redis-url", stack.settings.redis_url, "--deployments-file", str(file)] if names_redis else []
    command = [sys.executable, "-m", "kernelport.cli", "worker", "sleeper", "--state-dir", str(tmp_path / "state")]
    with (
        Client(stack.target, timeout_s=20) as client,
        subprocess.Popen([*command, *where], stdin=subprocess.DEVNULL) as process,
    ):
        ids = {worker_of(client).id}

        def of_command() -> Worker | None:
            return next((each for each in client.deployment("sleeper").workers if each.id not in ids), None)

        before = wait_for(of_command, 60)
        assert (before.pid == process.pid) == names_redis
        write(file.parent, timeouts={"step_s": 7})
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: (now := of_command()) and now.settings != before.settings)
        assert of_command().pid == before.pid  # type: ignore[union-attr]
        process.terminate()
        assert process.wait(30) == 0
