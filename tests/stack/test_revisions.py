"""Workers of another revision do not mix in: one Redis, and models of one name that differ."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import parser
from redis import Redis

from kernelport import Client
from kernelport.broker.registry import hold_revisions
from kernelport.errors import REFUSED
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.worker_command import worker_command
from tests.cli.running import called, kernelport
from tests.conftest import serving_stack, stack_settings
from tests.waiting import wait_for

TTL_S = 2.0


def write_scale(folder: Path, factor: float) -> Path:
    """A deployments file whose `scale`, alias `rolled`, multiplies by a factor, and the model in the same folder."""
    folder.mkdir()
    graph = f"scale (float[N] x) => (float[N] y) <float k = {{{factor}}}> {{ y = Mul(x, k) }}"
    onnx.save(parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {graph}'), folder / "scale.onnx")
    manifest = {"id": "scale", "source": {"kind": "local", "path": "."}, "format": "onnx", "backend": "onnx"}
    (folder / "manifest.yaml").write_text(yaml.safe_dump({**manifest, "files": {"model": "scale.onnx"}}))
    entry = {"manifest": "manifest.yaml", "backend": "onnx", "image": "i", "batching": {"max_batch": 1}}
    (folder / "deployments.yaml").write_text(yaml.safe_dump({"deployments": {"scale": entry, "rolled": entry}}))
    return folder / "deployments.yaml"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that multiplies by 2."""
    folder = tmp_path_factory.mktemp("served")
    settings = replace(stack_settings(write_scale(folder / "two", 2.0)), heartbeat_ttl_s=TTL_S)
    with serving_stack(settings, ["scale"], folder / "state") as stack:
        yield stack


@contextmanager
def worker(
    stack: Stack, deployments: Path, name: str = "scale", **changes: object
) -> Iterator["subprocess.Popen[str]"]:
    """One more worker on the stack's Redis."""
    settings = replace(stack.settings, deployments_file=deployments, shared_dir="", **changes)  # type: ignore[arg-type]
    process = subprocess.Popen(
        worker_command([name]),
        env={**os.environ, **settings.to_environment()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def live(client: Client, name: str = "scale") -> int:
    return int(client.deployment(name).live_workers)


def factors(client: Client, name: str = "scale") -> set[float]:
    """By what twenty requests are multiplied."""
    return {float(client.infer(name, {"x": np.ones(1, np.float32)})["y"][0]) for _ in range(20)}


def test_a_worker_with_another_model_is_refused_and_one_with_the_same_is_not(served: Stack, tmp_path: Path) -> None:
    with (
        Client(served.target, timeout_s=30) as client,
        worker(served, write_scale(tmp_path / "three", 3.0)) as other,
        worker(served, write_scale(tmp_path / "also two", 2.0)),
    ):
        _, said = other.communicate(timeout=60)
        assert other.returncode == REFUSED
        wait_for(lambda: live(client) == 2)
        here, theirs = socket.gethostname(), client.deployment("scale").workers[0].revision
        last = said.splitlines()[-1]
        assert "cannot serve scale: worker " in last
        assert f"on {here} serves revision {theirs} of it, and this is revision " in last
        assert f" on {here}; with --roll" in last
        assert factors(client) == {2.0}
    with Client(served.target, timeout_s=30) as client:
        wait_for(lambda: live(client) == 1)


def test_serve_of_another_model_ends_and_answers_nobody(served: Stack, tmp_path: Path) -> None:
    write_scale(tmp_path / "three", 3.0)
    finished = kernelport(
        *("serve", "--model-path", tmp_path / "three" / "scale.onnx", "--redis-url", served.settings.redis_url),
        *("--listen", f"127.0.0.1:{free_port()}", "--state-dir", tmp_path / "state"),
        expect=1,
    )
    last = finished.stderr.splitlines()[-1]
    assert last.startswith(
        f"error: worker-scale ended with code {REFUSED}: kernelport worker: cannot serve scale: worker "
    )
    assert not (tmp_path / "state" / "logs" / "front-door.log").exists(), "its front door has never run"


def test_rolled_revisions_serve_side_by_side_until_the_old_one_has_drained(served: Stack, tmp_path: Path) -> None:
    two, three = write_scale(tmp_path / "two", 2.0), write_scale(tmp_path / "three", 3.0)
    with Client(served.target, timeout_s=30) as client, worker(served, two, "rolled") as old_process:
        wait_for(lambda: live(client, "rolled") == 1)
        (old,) = client.deployment("rolled").workers
        with worker(served, three, "rolled", roll=True):
            wait_for(lambda: live(client, "rolled") == 2)
            (new,) = [each for each in client.deployment("rolled").workers if each.id != old.id]
            shown = called("deployments", "show", "rolled", "--target", served.target).stdout
            for each in (old, new):
                assert f"  revision   {each.revision} on {socket.gethostname()} (cpu, onnxruntime " in shown

            made_by = {old.revision: 2.0, new.revision: 3.0}
            one = {"x": np.ones(1, np.float32)}
            job = client.jobs.wait(client.jobs.submit("rolled", [(str(n), one) for n in range(200)]).id)
            items = list(client.jobs.items(job.id))
            assert {item.revision for item in items} == set(made_by)
            for item in items:
                with np.load(client.jobs.fetch(job.id, item, tmp_path / "items")) as arrays:
                    assert arrays["y"] == made_by[item.revision]
            kept = {float(client.infer("rolled", one, request_id="once")["y"][0]) for _ in range(20)}
            assert len(kept) == 1

            old_process.send_signal(signal.SIGTERM)
            old_process.communicate(timeout=30)
            wait_for(lambda: [each.id for each in client.deployment("rolled").workers] == [new.id])
            assert factors(client, "rolled") == {3.0}


def test_a_worker_that_was_away_does_not_come_back_beside_another_revision(served: Stack, tmp_path: Path) -> None:
    two, three = write_scale(tmp_path / "two", 2.0), write_scale(tmp_path / "three", 3.0)
    with Client(served.target, timeout_s=30) as client, worker(served, two, "rolled") as away:
        wait_for(lambda: live(client, "rolled") == 1)
        away.send_signal(signal.SIGSTOP)
        with worker(served, three, "rolled"):  # waits until the other's hold is over
            wait_for(lambda: live(client, "rolled") == 1 and factors(client, "rolled") == {3.0})
            away.send_signal(signal.SIGCONT)
            _, said = away.communicate(timeout=30)
            assert away.returncode == REFUSED
            assert "cannot serve rolled: worker " in said.splitlines()[-1]
            assert factors(client, "rolled") == {3.0}


def test_of_many_revisions_that_start_at_once_one_holds(served: Stack) -> None:
    revisions = [f"{number:016x}" for number in range(16)]
    with Redis.from_url(served.settings.redis_url) as redis, ThreadPoolExecutor(16) as pool:

        def holds(revision: str) -> bool:
            return hold_revisions(redis, f"worker {revision}", "a host", {"raced": revision}, 60, roll=False) is None

        assert sorted(pool.map(holds, revisions)) == [False] * 15 + [True]
