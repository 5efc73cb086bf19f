"""Who keeps outputs where jobs have none takes no part in them, and everybody is told."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from click.testing import CliRunner
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from kernelport import Client, FailedPreconditionError
from kernelport.broker import keys
from kernelport.cli.deployments import deployments
from kernelport.cli.doctor import doctor
from kernelport.config.settings import bundled_deployments
from kernelport.jobs import storage
from kernelport.jobs.artifacts import Artifacts
from kernelport.jobs.storage import SharedStorage
from kernelport.supervisor.processes import Child
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.worker_command import worker_command
from kernelport.v1 import job_pb2 as pb
from kernelport.v1 import job_pb2_grpc
from tests.broker.servers import serving_redis
from tests.cli.running import kernelport
from tests.conftest import START_TIMEOUT_S, discard, serving_stack, stack_settings
from tests.jobs.calls import JobCalls, journal_item
from tests.stack.models import HELD, pipeline, write_deployments
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


class View:
    """What processes make of the storage, one comparison at a time."""

    def __init__(self, redis_url: str, folder: Path) -> None:
        self.redis = Redis.from_url(redis_url)
        self._url = redis_url
        self._folder = folder

    def of(self, storage_name: str, front_door: str = "") -> SharedStorage:
        """One that has been compared."""
        view = SharedStorage(self.redis, Artifacts(str(self._folder / storage_name)), front_door)
        view.compare()
        return view

    def refuses(self, view: SharedStorage) -> bool:
        view.compare()
        return bool(view.refusal)

    def leave(self, view: SharedStorage) -> None:
        async def leave() -> None:
            async with AsyncRedis.from_url(self._url) as redis:
                await view.leave(redis)

        asyncio.run(leave())


@pytest.fixture
def views(stack: Stack, tmp_path: Path) -> Iterator[View]:
    view = View(stack.settings.redis_url.removesuffix("/0") + "/9", tmp_path)
    with view.redis:
        yield view
        view.redis.flushdb()


def test_the_storage_is_that_of_the_front_doors_that_live(views: View, tmp_path: Path) -> None:
    assert not views.of("a").refusal, "no front door has said anything"
    first, second = views.of("a", "first"), views.of("a", "second")
    other = views.of("b", "other")
    assert f"whose files are at {tmp_path / 'a'}: a front door on {socket.gethostname()} keeps" in other.refusal
    assert not views.refuses(first), "it was not in the other one's power"
    assert "is not the front door's at" in views.of("b").refusal

    views.leave(first)
    assert views.of("b", "newcomer").refusal, "the second one lives"
    views.leave(second)
    assert views.refuses(other), "it was told once: those of the jobs may be about to come back"
    last = views.of("b", "last")
    assert not last.refusal
    assert not views.refuses(other)
    assert views.of("a", "first again").refusal

    views.redis.flushdb()  # Redis has lost it
    assert not views.refuses(last)
    assert views.refuses(first)


def test_a_front_door_that_has_died_holds_the_storage_for_a_while(views: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "HOLD_S", 0.5)
    views.of("a", "dead")
    assert views.of("b", "early").refusal
    wait_for(lambda: not views.of("b", "late").refusal)


def test_one_of_an_earlier_version_holds_nothing_and_takes_nothing(views: View) -> None:
    views.redis.hset(keys.JOB_STORAGE, mapping={"id": "0" * 32, "url": "/earlier"})
    ours = views.of("a", "ours")
    assert not ours.refusal, "as it was between those of that version"
    views.redis.hset(keys.JOB_STORAGE, "id", "0" * 32)  # another one of them starts
    assert not views.refuses(ours)
    assert not views.of("a").refusal


def test_a_second_stack_with_another_storage_ends_and_the_jobs_of_the_first_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNELPORT_TEST_JOURNAL", str(tmp_path / "journal"))
    settings = stack_settings(write_deployments(tmp_path, journal=pipeline("Journal", batching={"max_batch": 1})))

    def finished(stack: Stack, job_id: str) -> pb.Job:
        with grpc.insecure_channel(stack.target) as channel:
            return JobCalls(job_pb2_grpc.JobServiceStub(channel)).wait(job_id)

    def submitted(stack: Stack, *seconds: float) -> str:
        with grpc.insecure_channel(stack.target) as channel:
            items = [journal_item(*each) for each in enumerate(seconds)]
            return JobCalls(job_pb2_grpc.JobServiceStub(channel)).submit("journal", items).id

    with serving_redis(tmp_path) as server:
        with Stack(settings, ["journal"], tmp_path / "first", server.url) as first:
            first.wait_ready(START_TIMEOUT_S)
            job_id = submitted(first, 0.0, HELD, 0.0)
            wait_for((tmp_path / "journal").exists)
            told = kernelport(
                *("up", "--deployments-file", settings.deployments_file, "--redis-url", server.url),
                *("--listen", "127.0.0.1:0", "--state-dir", tmp_path / "second"),
                expect=1,
            )
            assert f"jobs on this Redis, whose files are at {tmp_path / 'first' / 'artifacts'}: a front" in told.stderr
            (tmp_path / "go").touch()
            assert finished(first, job_id).state == pb.JOB_STATE_SUCCEEDED
        with Stack(settings, ["journal"], tmp_path / "second", server.url) as second:
            second.wait_ready(START_TIMEOUT_S)
            with Client(second.target) as client:  # the worker came before the front door
                wait_for(lambda: not any(each.jobs_refused for each in client.deployment("journal").workers))
            job = finished(second, submitted(second, 0.0))
            assert job.state == pb.JOB_STATE_SUCCEEDED
            assert job.output_url == str(tmp_path / "second" / "artifacts" / job.id)
