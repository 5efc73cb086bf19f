"""Commands in other terminals find what `kernelport up` runs."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from kernelport import Client
from kernelport.cli.options import default_target
from kernelport.config.settings import DEFAULT_LISTEN, bundled_deployments
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.running_file import Running, find_running
from kernelport.supervisor.stack import Stack
from tests.cli.running import called
from tests.conftest import START_TIMEOUT_S, serving_stack, stack_settings
from tests.waiting import wait_for

NAME = "identity-onnx"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def running(state: Path) -> Iterator[Stack]:
    """A stack with two workers of a deployment."""
    with serving_stack(stack_settings(bundled_deployments()), [NAME, NAME], state) as stack:
        yield stack


@contextmanager
def _terminal(command: Sequence[str], state: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """A command in a terminal that knows no more than the state folder."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("KERNELPORT_")}
    process = subprocess.Popen(
        [sys.executable, "-m", *command], env={**known, "KERNELPORT_STATE_DIR": str(state)}, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def test_a_deployment_gets_as_many_workers_as_one_starts_in_whatever_terminal(running: Stack, state: Path) -> None:
    with Client(running.target, timeout_s=30) as client:

        def workers() -> int:
            return client.deployment(NAME).live_workers

        wait_for(lambda: workers() == 2)
        with _terminal(["kernelport.cli", "worker", NAME], state):
            wait_for(lambda: workers() == 3, 60)
            queue = ["-Q", f"kp.{NAME}", "-P", "threads", "-c", "1", "-n", "by-hand@here"]
            with _terminal(["celery", "-A", "kernelport_workers.app", "worker", *queue], state):
                wait_for(lambda: workers() == 4, 60)
                large = np.ones((4, 8, 64, 64), np.float32)  # travels through the folder in memory
                for _ in range(8):
                    assert np.array_equal(client.infer(NAME, {"x": large})["y"], large)


def test_a_worker_and_flower_come_back_with_the_stack(tmp_path: Path) -> None:
    settings, page = stack_settings(bundled_deployments()), f"127.0.0.1:{free_port()}"
    with ExitStack() as terminals:
        with Stack(settings, [], tmp_path) as stack:
            terminals.enter_context(_terminal(["kernelport.cli", "worker", NAME], tmp_path))
            terminals.enter_context(_terminal(["kernelport.cli", "flower", "--flower-listen", page], tmp_path))
            stack.wait_ready(START_TIMEOUT_S)
            _wait_for_worker_and_flower(stack, page)
        with Stack(settings, [], tmp_path) as again:
            again.wait_ready(START_TIMEOUT_S)
            _wait_for_worker_and_flower(again, page)


def _wait_for_worker_and_flower(stack: Stack, page: str) -> None:
    with Client(stack.target, timeout_s=30) as client:
        wait_for(lambda: client.deployment(NAME).live_workers, 60, "a worker of the stack")
    wait_for(lambda: _listens(page), 60)


def _listens(address: str) -> bool:
    host, port = address.split(":")
    with suppress(OSError):
        socket.create_connection((host, int(port))).close()
        return True
    return False


def test_flower_ends_at_the_first_word_though_redis_is_away(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    command = [
        "kernelport.cli",
        "flower",
        "--flower-listen",
        address,
        "--redis-url",
        f"redis://127.0.0.1:{free_port()}",
    ]
    with _terminal(command, tmp_path) as flower:
        wait_for(lambda: _listens(address), 60)
        flower.terminate()
        assert flower.wait(30) == 0


@pytest.mark.parametrize("command", [("worker", NAME), ("flower",)])
def test_without_a_stack_it_says_how_to_start_one(command: tuple[str, ...], tmp_path: Path) -> None:
    told = called(*command, "--state-dir", tmp_path, expect=2).stderr
    assert f"no stack runs on {tmp_path}: `kernelport up` starts one" in told


def test_a_worker_that_reaches_no_redis_says_which_and_ends(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "kernelport.cli", "worker", NAME, "--redis-url", f"redis://{address}/0"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 1
    assert told.stderr.startswith(f"kernelport worker: cannot use the Redis at {address} (database 0): ")


def test_a_state_folder_that_is_named_stands_for_no_other_stack(tmp_path: Path) -> None:
    told = called("jobs", "list", KERNELPORT_STATE_DIR=str(tmp_path), KERNELPORT_TARGET="", expect=2).stderr
    assert f"no stack runs on {tmp_path}, which KERNELPORT_STATE_DIR names" in told


def test_a_stack_that_was_killed_stands_for_no_other_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kernelport" / "running.json"
    file.parent.mkdir()
    file.write_text('{"pid": 99999999, "target": "127.0.0.1:50071", "environment": {}}')
    where = {"XDG_STATE_HOME": str(tmp_path), "KERNELPORT_STATE_DIR": "", "KERNELPORT_TARGET": ""}
    gone = f"the stack of {file.parent}, at 127.0.0.1:50071, no longer runs; `kernelport up` starts it"
    for command in (("jobs", "list"), ("say", "Hello.")):
        assert gone in called(*command, expect=2, **where).stderr
    for command in (("health",), ("health", "--live")):
        told = called(*command, expect=1, **where).stderr
        assert gone in told
        assert "Usage" not in told, "nothing is wrong with the command"
    assert gone in called("jobs", "list", expect=2, **where | {"KERNELPORT_STATE_DIR": str(file.parent)}).stderr
    elsewhere = f"127.0.0.1:{free_port()}"
    assert f"cannot connect to {elsewhere}" in called("keys", "list", "--target", elsewhere, expect=1, **where).stderr
    assert "no longer runs" in called("doctor", COLUMNS="400", **where).stdout, "it tells the rest, too"
    file.unlink()  # as a stack does that is stopped
    for name, value in where.items():
        monkeypatch.setenv(name, value)
    assert default_target() == DEFAULT_LISTEN


def test_doctor_does_not_advise_to_start_what_runs(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"

    def said_of_redis() -> str:
        facts = dict(line.split("\t", 1) for line in called("doctor", "--state-dir", tmp_path).stdout.splitlines())
        return facts["Redis"]

    assert said_of_redis().endswith("; `kernelport up` starts its own")
    Running(os.getpid(), "127.0.0.1:1", {"KERNELPORT_REDIS_URL": url}).write(tmp_path)
    said = said_of_redis()
    assert "cannot be used" in said
    assert "starts its own" not in said


def test_commands_find_the_front_door_and_redis(running: Stack, state: Path) -> None:
    where = {"KERNELPORT_STATE_DIR": str(state)}
    assert NAME in called("deployments", "list", **where).stdout
    assert called("health", "--deployment", NAME, **where).stdout == "serving\n"
    assert " answers" in called("doctor", **where).stdout
    nowhere = {"KERNELPORT_TARGET": "", "KERNELPORT_STATE_DIR": str(state / "none")}
    assert called("health", "--state-dir", state, **nowhere).stdout == "serving\n"
    assert f"no stack runs on {state / 'none'}" in called("health", expect=1, **nowhere).stderr


def test_only_its_user_can_read_what_a_stack_writes_down(running: Stack, state: Path) -> None:
    assert (state / "running.json").stat().st_mode & 0o777 == 0o600
    found = find_running(state)
    assert found is not None
    assert found.target == running.target


def test_what_another_user_has_written_down_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Running(os.getpid(), "127.0.0.1:1", {"KERNELPORT_CUSTOM_OPS": "1"}).write(tmp_path)
    assert find_running(tmp_path) is not None
    monkeypatch.setattr(os, "getuid", lambda: (tmp_path / "running.json").stat().st_uid + 1)
    assert find_running(tmp_path) is None


def test_a_stack_that_has_stopped_is_not_found(tmp_path: Path) -> None:
    with Stack(stack_settings(bundled_deployments()), [], tmp_path):
        assert find_running(tmp_path) is not None
    assert find_running(tmp_path) is None
    (tmp_path / "running.json").write_text('{"pid": 99999999, "target": "x", "environment": {}}')
    assert find_running(tmp_path) is None


@pytest.mark.parametrize("workers", ["nobody=2", "identity-onnx=0", "identity-onnx=many", "identity-onnx"])
def test_a_count_of_workers_that_makes_no_sense_is_refused(workers: str) -> None:
    told = called("up", "--deployments", NAME, "--workers", workers, expect=2)
    assert "expected" in told.stderr or "not started" in told.stderr
