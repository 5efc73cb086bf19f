"""What the embedded stack promises of its processes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from redis import Redis
from redis.exceptions import RedisError

from kernelport import Client, DeadlineExceededError, UnavailableError
from kernelport.cli.foreground import status_line
from kernelport.config.settings import bundled_deployments
from kernelport.errors import StackError
from kernelport.supervisor import processes
from kernelport.supervisor.flower import flower_environment
from kernelport.supervisor.monitor import Status
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.processes import MOST_STARTS, Child
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.worker_command import worker_command
from tests.cli.running import called
from tests.conftest import serving_stack, stack_settings
from tests.stack.models import pipeline, write_deployments
from tests.waiting import descendants, is_running, wait_for

NOW = {"seconds": np.array([0], np.float32)}
OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.mark.skipif(not OUTGOING_PORTS.exists(), reason="the system does not tell which ports connections get")
def test_the_port_of_a_service_is_none_that_an_outgoing_connection_gets() -> None:
    first, last = map(int, OUTGOING_PORTS.read_text().split())
    assert not [port for port in (free_port() for _ in range(20)) if first <= port <= last]


def test_a_killed_worker_is_known_dead_at_once_and_comes_back(tmp_path: Path) -> None:
    settings = stack_settings(write_deployments(tmp_path, sleeper=pipeline("Sleeper")))
    with (
        serving_stack(settings, ["sleeper"], tmp_path / "state") as stack,
        Client(stack.target, timeout_s=30) as client,
    ):
        first = int(client.infer("sleeper", NOW)["pid"][0])

        os.kill(first, signal.SIGKILL)
        wait_for(lambda: not is_running(first))
        refusal = wait_for(lambda: refusal_of(client), timeout_s=2)
        assert refusal.retry_after_s is not None

        wait_for(lambda: client.deployment("sleeper").live_workers == 1)
        assert int(client.infer("sleeper", NOW)["pid"][0]) != first


def test_a_status_shows_how_a_process_ended_until_it_serves_again(tmp_path: Path) -> None:
    settings = stack_settings(write_deployments(tmp_path, sleeper=pipeline("Sleeper")))
    with serving_stack(settings, ["sleeper"], tmp_path / "state") as stack:

        def shown() -> tuple[str, str]:
            return next((each.state, each.reason) for each in stack.status() if each.name == "worker-sleeper")

        def kill(name: str) -> None:
            pid = stack.children[name].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)

        kill("worker-sleeper")
        wait_for(lambda: shown()[1] == "was ended by signal 9 (Killed)")
        wait_for(lambda: shown() == ("serving", ""))
        kill("front-door")
        wait_for(lambda: shown() == ("starting", ""))


def test_a_process_starts_without_what_others_have_hooked_to_forks(tmp_path: Path) -> None:
    """gRPC, of which this process has threads, aborts now and then in its own hook."""
    hooked: list[None] = []
    os.register_at_fork(before=lambda: hooked.append(None))
    assert reason_of(["true"], tmp_path) == "ended with code 0"
    assert not hooked


@pytest.mark.thorough
def test_processes_start_while_this_one_makes_calls(stack: Stack, tmp_path: Path) -> None:
    ended = threading.Event()

    def call(client: Client) -> None:
        while not ended.is_set():
            client.deployments()

    with Client(stack.target, timeout_s=30) as client, ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call, client) for _ in range(4)]
        try:
            reasons = {reason_of(["true"], tmp_path) for _ in range(200)}
        finally:
            ended.set()
    assert reasons == {"ended with code 0"}
    assert [each.result() for each in calls] == [None] * 4


def test_a_command_that_cannot_be_run_says_so(tmp_path: Path) -> None:
    said = reason_of(["no-such-program"], tmp_path)
    assert said == "ended with code 1: cannot run no-such-program: No such file or directory"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'kernelport worker: no model'; echo at work; exit 1", "ended with code 1: kernelport worker: no model"),
        ("echo at work; kill -9 $$", "was ended by signal 9 (Killed)"),
    ],
)
def test_no_other_line_of_its_log_is_taken_for_a_process_s_last_words(tmp_path: Path, script: str, reason: str) -> None:
    assert reason_of(["sh", "-c", script], tmp_path) == reason


def reason_of(command: list[str], folder: Path) -> str:
    """How a process ended the first time."""
    ended = threading.Event()

    def on_exit() -> bool:
        ended.set()
        return True

    child = Child("child", command, os.environ, folder / "child.log", on_exit)
    child.start()
    assert ended.wait(30)
    wait_for(lambda: child.reason)
    child.terminate()
    child.join(30)
    return child.reason


def refusal_of(client: Client) -> UnavailableError | None:
    """How a call is refused; None while one may still be let in because the front door has not looked again."""
    try:
        client.infer("sleeper", NOW, timeout_s=0.2)
    except UnavailableError as error:
        return error
    except DeadlineExceededError:
        pass
    return None


def test_calls_in_flight_finish_when_the_front_door_is_told_to_stop(tmp_path: Path) -> None:
    settings = stack_settings(write_deployments(tmp_path, sleeper=pipeline("Sleeper")))
    with (
        serving_stack(settings, ["sleeper"], tmp_path / "state") as stack,
        Client(stack.target, timeout_s=30) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        call = pool.submit(client.infer, "sleeper", {"seconds": np.array([1.5], np.float32)})
        wait_for(lambda: stack_is_busy(stack))
        stack.children["front-door"].terminate()
        assert int(call.result()["pid"][0]) > 0
        front_door = stack.children["front-door"]
        wait_for(lambda: front_door.pid is None)


def stack_is_busy(stack: Stack) -> bool:
    with Redis.from_url(stack.settings.redis_url) as redis:
        return bool(redis.zcard("kp:unacked_index"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_up_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    up = subprocess.Popen(
        [
            *(sys.executable, "-m", "kernelport.cli", "up", "--deployments", "identity-onnx"),
            *("--listen", f"127.0.0.1:{port}", "--state-dir", str(tmp_path)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert up.stdout is not None
    with up.stdout:
        assert f"127.0.0.1:{port}" in up.stdout.readline()
        children = descendants(up.pid)
        assert len(children) >= 3, "Redis, the front door and a worker"
        up.send_signal(number)
        code = up.wait(60)
    wait_for(lambda: not any(is_running(pid) for pid in children), what="no process left")
    assert code == (0 if number != signal.SIGKILL else -signal.SIGKILL)


def test_two_stacks_cannot_share_a_state_directory(tmp_path: Path, stack: Stack) -> None:
    settings, redis_url = stack_settings(bundled_deployments()), stack.settings.redis_url
    with Stack(settings, [], tmp_path, redis_url), pytest.raises(StackError, match="--state-dir"):
        Stack(settings, [], tmp_path, redis_url).start()


def test_a_taken_port_is_a_clear_error(tmp_path: Path, stack: Stack) -> None:
    second = Stack(stack.settings, [], tmp_path, redis_url=stack.settings.redis_url)
    with pytest.raises(StackError, match=f"cannot listen on {stack.settings.listen}"):
        second.start()


def test_a_taken_port_of_flower_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        flower = flower_environment(address, tmp_path, print)
        with pytest.raises(StackError, match=f"cannot listen on {address}"):
            Stack(stack_settings(bundled_deployments()), [], tmp_path / "state", flower=flower).start()


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (Status("redis", "serving", 7, 0, ""), "redis: serving (pid 7, 0 restarts)"),
        (
            Status("redis", "failing", 7, 1, "LOADING Redis is loading the dataset in memory"),
            "redis: failing (pid 7, 1 restart): LOADING Redis is loading the dataset in memory",
        ),
        (
            Status("front-door", "failing", 7, 0, "waiting for Redis: Timeout"),
            "front-door: failing (pid 7, 0 restarts): waiting for Redis: Timeout",
        ),
        (
            Status("worker-a", "restarting", None, 2, "was ended by signal 9 (Killed)"),
            "worker-a: restarting (pid None, 2 restarts); last, it was ended by signal 9 (Killed)",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Status) else "",
)
def test_a_line_of_the_status_says_what_is_or_how_it_ended(status: Status, line: str) -> None:
    assert status_line(status) == line


def test_up_serves_what_loads_and_says_of_the_rest_why_it_does_not(tmp_path: Path) -> None:
    absent = {**pipeline("Sleeper"), "pipeline": "no_such_module:Model"}
    file = write_deployments(tmp_path, broken=pipeline("Unloadable"), absent=absent, sleeper=pipeline("Sleeper"))
    port = free_port()
    up = subprocess.Popen(
        [
            *(sys.executable, "-m", "kernelport.cli", "up", "--deployments", "broken,absent,sleeper"),
            *("--listen", f"127.0.0.1:{port}", "--state-dir", str(tmp_path), "--deployments-file", str(file)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        text=True,
    )
    assert up.stdout is not None
    with up.stdout, contextlib.ExitStack() as ending:
        ending.callback(up.kill)
        said: list[str] = []
        awaited = {"worker-sleeper: serving", "worker-broken: failed"}  # in whichever order
        while awaited and (line := up.stdout.readline()):
            said.append(line)
            awaited = {words for words in awaited if words not in line}
        with Client(f"127.0.0.1:{port}", timeout_s=30) as client:
            assert int(client.infer("sleeper", NOW)["pid"][0]) > 0
            (tmp_path / "no_such_module.py").write_text("from tests.stack.models import Sleeper as Model\n")
            told = called("deployments", "reload", "--state-dir", tmp_path, expect=1).stderr
            assert "the weights are missing" in told, "what still cannot start"
            assert int(client.infer("absent", NOW)["pid"][0]) > 0, "what was asked for starts once it can"
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0
    why = "ended with code 1: kernelport worker: cannot load broken: the weights are missing: run the download"
    assert f"worker-broken: failed (pid None, {MOST_STARTS - 1} restarts); last, it {why}\n" in said
    assert any(
        line.startswith("leaving out absent of ") and ": cannot import 'no_such_module:Model'" in line for line in said
    )


def test_serve_of_a_model_that_cannot_be_loaded_ends_with_its_reason(tmp_path: Path) -> None:
    model = """<ir_version: 8, opset_import: ["mine" : 1]> g (float[N] x) => (float[N] y) { y = mine.Op(x) }"""
    onnx.save(onnx.parser.parse_model(model), tmp_path / "damaged.onnx")
    command = ["serve", "--model-path", "damaged.onnx", "--listen", "127.0.0.1:0", "--state-dir", "state"]
    finished = subprocess.run(
        [sys.executable, "-m", "kernelport.cli", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert finished.returncode == 1
    last = finished.stderr.splitlines()[-1]
    assert last.startswith("error: worker-damaged ended with code 1: kernelport worker: cannot load damaged: ONNX Run")


def test_serve_of_a_file_that_is_no_model_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "damaged.onnx").write_bytes(b"not a model")
    told = called("serve", "--model-path", tmp_path / "damaged.onnx", "--state-dir", tmp_path / "state", expect=2)
    assert "damaged.onnx: expected an ONNX model" in told.stderr
    assert not (tmp_path / "state" / "logs").exists()


def test_a_load_that_hangs_ends_even_where_no_thread_comes_to_run(stack: Stack, tmp_path: Path) -> None:
    file = write_deployments(tmp_path, hung=pipeline("Hung", timeouts={"load_s": 0.5}))
    finished = subprocess.run(
        worker_command(["hung"]),
        env={**os.environ, **replace(stack.settings, deployments_file=file).to_environment()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 1
    assert "loading hung" in finished.stderr
    assert "Timeout (0:00:02.500000)!" in finished.stderr
    assert "models.py" in finished.stderr, "it shows where it hangs"


@pytest.mark.parametrize("has_worked", [False, True])
def test_a_child_that_never_got_to_work_is_given_up_and_any_other_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_worked: bool
) -> None:
    monkeypatch.setattr(processes, "FIRST_BACKOFF_S", 0.01)
    command = ["sh", "-c", "echo no such voice; exit 3"]
    child = Child("child", command, {**os.environ}, tmp_path / "log", on_exit=lambda: has_worked)
    child.start()
    try:
        wait_for(lambda: child.has_failed or child.restarts > MOST_STARTS)
        assert child.has_failed is not has_worked
        assert child.reason == "ended with code 3: no such voice"
        assert has_worked or (tmp_path / "log").read_text().count("no such voice") == MOST_STARTS
    finally:
        child.terminate()
        child.join(10)


def test_what_was_queued_survives_a_restart_of_the_embedded_redis(tmp_path: Path) -> None:
    settings = stack_settings(write_deployments(tmp_path, sleeper=pipeline("Sleeper")))
    with Stack(settings, [], tmp_path / "state") as stack, Redis.from_url(stack.settings.redis_url) as redis:
        redis.lpush("kp.sleeper", b"waiting")
        wait_for(lambda: redis.info("persistence")["aof_pending_bio_fsync"] == 0)
        redis_process = stack.children["redis"]
        first = redis_process.pid
        assert first is not None
        os.kill(first, signal.SIGTERM)
        wait_for(lambda: redis_process.pid not in (None, first))
        wait_for(lambda: _answers(redis))
        assert redis.lrange("kp.sleeper", 0, -1) == [b"waiting"]


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False
