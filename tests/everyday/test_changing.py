"""A running stack is changed, and no request is lost."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from kernelport import Client, InternalError, NotFoundError
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor import own_file
from kernelport.supervisor.running_file import find_running
from tests.cli.running import called
from tests.conftest import START_TIMEOUT_S
from tests.operations.scraping import value
from tests.stack.models import pipeline
from tests.stack.test_metrics import free_ports
from tests.waiting import wait_for

X = np.ones((1, 1, 2, 2), np.float32)
IDENTITY = {"manifest": str(bundled_deployments().parent / "models/sample-manifest.yaml"), "backend": "onnx"}
ABSENT = {"pipeline": "no_such.module:Model", "backend": "helion"}
DOUBLED = """<ir_version: 8, opset_import: ["" : 17]> doubled (float[N] x) => (float[N] y) { y = Add(x, x) }"""
SQUARED = """<ir_version: 8, opset_import: ["" : 17]> squared (float[N] x) => (float[N] y) { y = Mul(x, x) }"""

UNKNOWN = """<ir_version: 8, opset_import: ["mine" : 1]> unknown (float[N] x) => (float[N] y) { y = mine.Op(x) }"""


@pytest.fixture(autouse=True)
def target() -> None:
    """Commands find the stack of a test by its state folder alone."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A deployments file with `steady` and `changing`."""
    path = tmp_path / "mine.yaml"
    _write(path, steady=IDENTITY, changing=IDENTITY)
    return path


@pytest.fixture
def metrics_port() -> int:
    """Where the front door shows its metrics; those of the workers are at the ports after it."""
    return 1 + free_ports(5)


@pytest.fixture
def state(tmp_path: Path, file: Path, metrics_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The state folder of `kernelport up`."""
    monkeypatch.setenv("KERNELPORT_STATE_DIR", str(tmp_path / "state"))
    log = tmp_path / "up.log"
    listen = ["--listen", "127.0.0.1:0", "--metrics-listen", f"127.0.0.1:{metrics_port}"]
    command = ["kernelport.cli", "up", "--deployments-file", str(file), *listen]
    with log.open("wb") as output:
        up = subprocess.Popen([sys.executable, "-m", *command], stdout=output, stderr=output)
    try:
        wait_for(lambda: "listens on" in log.read_text() or up.poll() is not None, START_TIMEOUT_S)
        assert up.poll() is None, log.read_text()
        yield tmp_path / "state"
        assert up.poll() is None, log.read_text()
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0, log.read_text()


def test_nothing_is_lost_while_deployments_come_change_and_go(state: Path, file: Path, tmp_path: Path) -> None:
    with Client(_target(state), timeout_s=30) as client, _callers(client, "steady", "changing") as answered:
        before = client.deployment("changing").workers[0].pid
        _write(file, steady=IDENTITY, changing={**IDENTITY, "batching": {"max_batch": 3}}, new=IDENTITY)
        assert "is as its deployments file says" in called("deployments", "reload").stdout
        assert client.deployment("changing").policy.max_batch == 3
        (worker,) = client.deployment("changing").workers
        assert worker.pid == before, "it takes other limits as it runs"
        assert worker.settings == client.deployment("changing").settings
        _write(file, steady=IDENTITY, changing={**IDENTITY, "batching": {"axes": "off"}}, new=IDENTITY)
        called("deployments", "reload")
        (worker,) = client.deployment("changing").workers
        assert worker.pid != before
        assert np.array_equal(client.infer("new", {"x": X})["y"], X)

        onnx.save(onnx.parser.parse_model(DOUBLED), tmp_path / "doubled.onnx")
        refusal = called("deployments", "add", f"steady={tmp_path / 'doubled.onnx'}", expect=2).stderr
        assert f"steady is deployed already, by {file}; NAME=FILE gives" in refusal
        refusal = called("serve", "--model-path", tmp_path / "doubled.onnx", "--name", "steady", expect=2).stderr
        assert f"steady is deployed already, by {file}; --name gives" in refusal
        called("serve", "--model-path", tmp_path / "doubled.onnx")
        assert client.infer("doubled", {"x": [1, 2]})["y"].tolist() == [2, 4]
        unchanged = client.deployment("steady").workers[0].pid
        onnx.save(onnx.parser.parse_model(SQUARED), tmp_path / "doubled.onnx")
        called("deployments", "reload")
        assert client.infer("doubled", {"x": [1, 3]})["y"].tolist() == [1, 9], "a file that was replaced where it is"
        assert client.deployment("steady").workers[0].pid == unchanged
        assert "doubled is removed" in called("deployments", "remove", "doubled").stdout
        with pytest.raises(NotFoundError, match="doubled"):
            client.infer("doubled", {"x": [1, 2]})
        so_far = sum(answered.values())
        wait_for(lambda: sum(answered.values()) > so_far)


def test_what_waits_for_a_deployment_is_answered_before_it_goes(state: Path, file: Path) -> None:
    with Client(_target(state), timeout_s=60) as client:
        os.kill(pid := client.deployment("changing").workers[0].pid, signal.SIGSTOP)
        answers: list[np.ndarray] = []
        calls = [
            threading.Thread(target=lambda: answers.append(client.infer("changing", {"x": X})["y"])) for _ in range(8)
        ]
        for call in calls:
            call.start()
        _write(file, steady=IDENTITY)
        going_on = threading.Timer(1.0, os.kill, (pid, signal.SIGCONT))
        going_on.start()
        called("deployments", "reload")
        for call in calls:
            call.join()
        going_on.join()
        assert len(answers) == 8
        with pytest.raises(NotFoundError):
            client.infer("changing", {"x": X})
        wait_for(lambda: not Path(f"/proc/{pid}").exists())


def test_metrics_stay_at_the_ports_that_are_scraped(state: Path, file: Path, metrics_port: int) -> None:
    def since(worker: int) -> float | None:
        return value(metrics_port + worker, "process_start_time_seconds")

    changing, steady = since(1), since(2)
    other = {**IDENTITY, "batching": {"axes": "off"}}
    _write(file, steady=IDENTITY, changing=other)
    called("deployments", "reload")
    wait_for(lambda: since(1) not in (None, changing), what="the successor shows its own where the other did")
    assert (since(2), since(3)) == (steady, None)
    _write(file, steady=IDENTITY)
    called("deployments", "reload")
    assert since(1) is None
    _write(file, steady=IDENTITY, new=IDENTITY)
    called("deployments", "reload")
    wait_for(lambda: since(1), what="a port that was left is used again")
    assert (since(2), since(3)) == (steady, None)


def test_a_request_is_followed_through_the_death_of_its_worker(state: Path, file: Path) -> None:
    _write(file, steady=IDENTITY, changing=IDENTITY, sleeper=pipeline("Sleeper", limits={"max_attempts": 1}))
    called("deployments", "reload")
    with Client(_target(state), timeout_s=60) as client, pytest.raises(InternalError):
        client.infer("sleeper", {"seconds": np.array([-1], np.float32)}, request_id="deadly")
    told = called("trace", "deadly").stdout.splitlines()
    (line,) = [each for each in told if each.startswith("up: ")]
    assert " is dead: " in line
    assert line.endswith("is queued again")


def test_what_cannot_be_changed_stays_as_it_was(state: Path, file: Path, tmp_path: Path) -> None:
    with Client(_target(state), timeout_s=30) as client:
        onnx.save(onnx.parser.parse_model(UNKNOWN), tmp_path / "broken.onnx")
        assert "cannot load broken: " in called("deployments", "add", tmp_path / "broken.onnx", expect=1).stderr
        assert {each.name for each in client.deployments()} == {"steady", "changing"}
        told = called("deployments", "remove", "steady", expect=2).stderr
        assert f"Take it out of {file}, then: kernelport deployments reload" in " ".join(told.split())
        file.write_text(f"deployments: {{steady: {{}}, absent: {ABSENT}}}")
        told = called("deployments", "reload", expect=2).stderr
        assert "steady.backend: required" in told
        assert "absent" not in told, "this terminal may be in another folder than the stack"
        assert np.array_equal(client.infer("steady", {"x": X})["y"], X)


def test_what_is_still_left_out_is_named_by_each_reload(state: Path, file: Path) -> None:
    _write(file, steady=IDENTITY, changing=IDENTITY, absent=ABSENT)
    why = "absent: cannot import 'no_such.module:Model'"
    assert why in called("deployments", "reload", expect=1).stderr
    told = called("deployments", "reload")
    assert f"still left out: {why}" in told.stderr
    assert "the stack is as its deployments file says as far as it can run here" in told.stdout


def test_the_front_door_is_replaced(state: Path) -> None:
    with Client(_target(state), timeout_s=30) as client, _callers(client, "steady"):
        before = client.deployment("steady").front_doors[0].pid
        assert f"take calls at {_target(state)}" in called("restart").stdout
        (door,) = client.deployment("steady").front_doors
        assert door.pid != before


def test_additions_at_the_same_moment_all_stay(tmp_path: Path, file: Path) -> None:
    own_file.begin_own_file(tmp_path, file)
    names = [f"model-{number}" for number in range(32)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: own_file.add(tmp_path, name, IDENTITY), names))
    assert sorted(own_file.added(tmp_path)) == sorted(names)


def _write(path: Path, **entries: object) -> None:
    path.write_text(yaml.safe_dump({"deployments": entries}))


def _target(state: Path) -> str:
    running = find_running(state)
    assert running is not None
    return running.target


@contextmanager
def _callers(client: Client, *deployments: str) -> Iterator[dict[str, int]]:
    """Two callers of each deployment, one call after the other; each must be answered."""
    answered, failed, over = dict.fromkeys(deployments, 0), list[BaseException](), threading.Event()

    def call(name: str) -> None:
        try:
            while not over.wait(0.02):
                assert np.array_equal(client.infer(name, {"x": X})["y"], X)
                answered[name] += 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=call, args=(name,)) for name in deployments for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        over.set()
        for thread in threads:
            thread.join()
        assert not failed
        assert min(answered.values()) > 0
