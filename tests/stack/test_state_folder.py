"""The state folder: closed to other users of the machine, and where other terminals find the embedded Redis."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from kernelport import Client
from kernelport.broker.connections import parameters
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.running_file import find_running
from kernelport.supervisor.stack import Stack
from tests.cli.running import called
from tests.conftest import START_TIMEOUT_S, discard, stack_settings
from tests.waiting import descendants, wait_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home") / "state"


@pytest.fixture(scope="module")
def embedded(folder: Path) -> Iterator[Stack]:
    """A stack without workers, made under the umask that most systems have."""
    usual = os.umask(0o022)
    try:
        with Stack(stack_settings(bundled_deployments()), [], folder) as stack:
            stack.wait_ready(START_TIMEOUT_S)
            yield stack
            discard([stack.children["front-door"]])
    finally:
        os.umask(usual)


def test_nobody_else_reads_what_is_in_it(embedded: Stack, folder: Path) -> None:
    outputs = folder / "artifacts"  # closed itself; what is in it others may make, too
    paths = [path for path in [folder, *folder.rglob("*")] if outputs not in path.parents]
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert any(path.suffix == ".aof" for path in found), "the test looks at the data of Redis"
    assert {path: oct(mode) for path, mode in found.items() if mode & 0o077} == {}


def test_redis_answers_nobody_without_the_password_and_no_command_line_has_it(embedded: Stack) -> None:
    found = parameters(embedded.settings.redis_url)
    with Redis(port=found["port"]) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(os.getpid())]
    assert any(b"redis-server" in line for line in lines)
    assert not any(found["password"].encode() in line for line in lines)
    assert found["password"] not in repr(embedded.settings)


def test_other_terminals_find_it_by_the_state_folder(embedded: Stack, folder: Path) -> None:
    where = {"KERNELPORT_STATE_DIR": str(folder), "KERNELPORT_TARGET": embedded.target}
    assert called("health", **where).stdout == "serving\n"
    report = " ".join(called("doctor", **where, COLUMNS="400").stdout.split())
    assert "answers and takes writes" in report
    assert "Redis and state are closed to other users" in report
    (folder / "redis.conf").chmod(0o644)
    assert "open to other users: redis.conf" in " ".join(called("doctor", **where, COLUMNS="400").stdout.split())
    (folder / "redis.conf").chmod(0o600)
    worker = subprocess.Popen(
        [sys.executable, "-m", "kernelport.cli", "worker", "identity-onnx"],
        env={**os.environ, **where},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with Client(embedded.target, timeout_s=30) as client:
            wait_for(lambda: client.deployment("identity-onnx").live_workers == 1)
        assert called("health", "--worker", **where).stdout == "serving\n"
    finally:
        worker.kill()
        worker.wait()


def test_a_stack_that_is_gone_is_not_found(tmp_path: Path) -> None:
    with Stack(stack_settings(bundled_deployments()), [], tmp_path) as stack:
        running = find_running(tmp_path)
        assert running is not None
        assert running.redis_url == stack.settings.redis_url
        stack.wait_ready(START_TIMEOUT_S)
        discard(stack.children.values())
    assert find_running(tmp_path) is None
    ended = subprocess.Popen(["true"])
    ended.wait()
    replace(running, pid=ended.pid).write(tmp_path)
    assert find_running(tmp_path) is None, "its process was killed"


@pytest.fixture
def taken() -> Iterator[None]:
    """The usual address for HTTP is taken, by this test or somebody else."""
    with ExitStack() as held:
        with suppress(OSError):
            held.enter_context(socket.create_server(("127.0.0.1", 8000)))
        yield


@pytest.mark.usefixtures("taken")
def test_a_second_one_is_told_where_the_first_is_and_nothing_before(embedded: Stack, folder: Path) -> None:
    second = called("up", "--state-dir", folder, expect=1)
    where = f"{folder}, at {embedded.target}, as process {os.getpid()}"
    assert second.stderr == f"error: another stack runs on {where}: stop it, or give this one its own --state-dir\n"


@pytest.mark.usefixtures("taken")
def test_a_deployment_that_there_is_not_is_told_before_anything_else(embedded: Stack, folder: Path) -> None:
    told = called("up", "--deployments", "hibari", "--state-dir", folder, expect=2).stderr
    assert "no deployment is named 'hibari'" in told
    assert "without HTTP" not in told
    assert "another stack" not in told
