"""A worker that keeps outputs where the front door does not look takes no part in jobs, and everybody is told."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from redis import Redis

from kernelport import Client, FailedPreconditionError
from kernelport.broker import keys
from kernelport.cli.deployments import deployments
from kernelport.cli.doctor import doctor
from kernelport.config.settings import bundled_deployments
from kernelport.jobs.artifacts import Artifacts
from kernelport.jobs.storage import SharedStorage
from kernelport.supervisor.processes import Child
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.worker_command import worker_command
from kernelport.v1 import job_pb2 as pb
from tests.conftest import discard, serving_stack, stack_settings
from tests.waiting import wait_for

MODEL = "identity-onnx"
INPUTS = {"x": np.zeros((1, 1, 1, 4), np.float32)}


@contextmanager
def foreign_worker(stack: Stack, folder: Path) -> Iterator[Child]:
    """A worker as on another machine: its folder of outputs is its own."""
    settings = replace(stack.settings, artifacts=str(folder / "elsewhere"), worker_id="foreign", metrics_listen="")
    environment = {**os.environ, **settings.to_environment(), "PYTHONUNBUFFERED": "1"}
    worker = Child("worker", worker_command([MODEL]), environment, folder / "foreign.log")
    worker.start()
    try:
        yield worker
    finally:
        discard([worker])


def test_a_worker_that_sees_another_storage_takes_no_items_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(stack_settings(bundled_deployments()), artifacts=str(tmp_path / "outputs"))
    with (
        serving_stack(settings, [MODEL], tmp_path / "state") as stack,
        Client(stack.target, timeout_s=30) as client,
        foreign_worker(stack, tmp_path) as foreign,
    ):
        wait_for(lambda: "foreign" in {worker.id for worker in client.deployment(MODEL).workers}, 60)
        reasons = {worker.id: worker.jobs_refused for worker in client.deployment(MODEL).workers}
        refused = reasons.pop("foreign")
        assert f"its storage at {tmp_path / 'elsewhere'} is not the front door's at {tmp_path / 'outputs'}" in refused
        assert set(reasons.values()) == {""}
        assert "takes no part in jobs" in foreign.log_file.read_text()
        shown = CliRunner().invoke(deployments, ["show", MODEL, "--target", stack.target])
        assert f"takes no items of jobs: {refused}" in shown.output

        job = client.jobs.submit(MODEL, [INPUTS] * 40)
        assert client.jobs.wait(job.id).state == pb.JOB_STATE_SUCCEEDED
        assert len(list((tmp_path / "outputs" / job.id).glob("*.npz"))) == 40, "none is elsewhere"
        assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == [".kernelport-storage"]

        discard([stack.children[f"worker-{MODEL}"]])
        wait_for(lambda: {worker.id for worker in client.deployment(MODEL).workers} == {"foreign"}, 30)
        with pytest.raises(FailedPreconditionError, match="takes items of jobs: foreign: its storage"):
            client.jobs.submit(MODEL, [INPUTS])
        assert client.infer(MODEL, INPUTS)["y"].shape == (1, 1, 1, 4), "calls need no storage"

        for variable, value in {**stack.settings.to_environment(), "COLUMNS": "300"}.items():
            monkeypatch.setenv(variable, value)
        assert "as at the front door" in CliRunner().invoke(doctor).output
        monkeypatch.setenv("KERNELPORT_ARTIFACTS", str(tmp_path / "elsewhere"))
        assert "workers here take no jobs: its storage at" in CliRunner().invoke(doctor).output


def test_the_front_door_that_started_last_decides_and_the_other_is_told(stack: Stack, tmp_path: Path) -> None:
    with Redis.from_url(stack.settings.redis_url.removesuffix("/0") + "/9") as redis:
        first, last = (SharedStorage(redis, Artifacts(str(tmp_path / name)), decides=True) for name in ("a", "b"))
        worker = SharedStorage(redis, Artifacts(str(tmp_path / "a")))
        worker.compare()
        assert worker.refusal == "", "no front door has said anything"
        first.compare()
        last.compare()
        for storage in (first, last, worker):
            storage.compare()
        assert "is not the front door's at" in first.refusal
        assert last.refusal == ""
        assert worker.refusal == first.refusal
        redis.delete(keys.JOB_STORAGE)  # Redis has lost it
        last.compare()
        first.compare()
        assert (bool(first.refusal), last.refusal) == (True, "")
        redis.delete(keys.JOB_STORAGE)
