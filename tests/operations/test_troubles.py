"""The table in docs/operations.md of what breaks: each row is tried, and what it says is seen is seen."""

import contextlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import pytest
import yaml
from redis import Redis
from redis.exceptions import RedisError

from kernelport import Client, KernelPortError, ResourceExhaustedError
from kernelport.jobs.artifacts import Artifacts
from kernelport.jobs.storage import SharedStorage
from kernelport.supervisor.own_file import own_file
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.processes import Child
from kernelport.supervisor.redis_server import find_redis_server, redis_command
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.worker_command import worker_command
from kernelport.v1 import job_pb2 as pb
from kernelport.v1 import job_pb2_grpc
from tests.conftest import serving_stack, stack_settings
from tests.docs.pages import REPOSITORY
from tests.jobs.calls import JobCalls, journal_item
from tests.monitoring.expressions import existing_metrics, rules
from tests.operations.scraping import value
from tests.stack.models import pipeline
from tests.stack.test_metrics import free_ports
from tests.waiting import wait_for

NAME = "journal"
HANGS_S = 4000.0


class Row(NamedTuple):
    """A row of the table: what breaks, and what there is between backticks in the columns behind it."""

    breaks: str
    metrics: list[str]
    alerts: list[str]
    lines: list[str]


def table_rows() -> list[Row]:
    """The rows of the table."""
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    table = text.partition("| what breaks | metric |")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    return [Row(row[0], *(re.findall(r"`([^`]+)`", column) for column in row[1:4])) for row in rows]


ROWS = {row.breaks: row for row in table_rows()}


@dataclass
class Running:
    """A stack to break.

    Attributes:
        port: of the front door's metrics; those of the worker are at the next.
        told: what processes beside the stack have said, and what supervises it.
    """

    stack: Stack
    port: int
    folder: Path
    told: Path

    def logs(self) -> str:
        """All that has been said."""
        files = [self.told, *(self.folder / "state" / "logs").glob("*.log")]
        return "\n".join(file.read_text(errors="replace") for file in files)

    def say(self, command: list[str], **environment: str) -> None:
        """Runs a process to its end; what it says is with the logs."""
        known = {**os.environ, **self.stack.settings.to_environment(), "KERNELPORT_LOG_FILE": "", **environment}
        with self.told.open("ab") as output:
            subprocess.run(command, env=known, stdout=output, stderr=output, check=False, timeout=60)

    def call(self, seconds: float, name: str = NAME) -> None:
        """A call that fails."""
        with Client(self.stack.target, timeout_s=60) as client, pytest.raises(KernelPortError):
            client.infer(name, inputs_of(seconds))

    def wait_served(self) -> None:
        """Waits for the worker, which may be starting again."""
        wait_for(lambda: value(self.port, "live_workers", NAME) == 1, 60)

    def pid(self, name: str) -> int:
        """Of a process of the stack, which may be starting again."""
        return wait_for(lambda: self.stack.children[name].pid or 0, 60)


def inputs_of(seconds: float) -> dict[str, np.ndarray]:
    """Of a call that takes so long."""
    return {"number": np.array([1], np.int64), "seconds": np.array([seconds], np.float32)}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("troubles")
    entries = {
        NAME: pipeline("Journal", limits={"max_attempts": 1}, timeouts={"step_s": 1.0}),
        "nobody": pipeline("Journal"),
        "broken": pipeline("NoSuchClass"),
    }
    file = folder / "deployments.yaml"
    file.write_text(yaml.safe_dump({"deployments": entries}))
    port = free_ports(4)
    settings = replace(
        stack_settings(file),
        metrics_listen=f"127.0.0.1:{port}",
        lease_s=2.0,
        heartbeat_ttl_s=2.0,
        storage_patience_s=1.0,
    )
    handler = logging.FileHandler(folder / "told.log")
    logging.getLogger("kernelport").addHandler(handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERNELPORT_TEST_JOURNAL", str(folder / "journal"))
        with serving_stack(settings, [NAME], folder / "state") as stack:
            yield Running(stack, port, folder, folder / "told.log")
    logging.getLogger("kernelport").removeHandler(handler)
    handler.close()


@contextlib.contextmanager
def job_calls(running: Running) -> Iterator[JobCalls]:
    with grpc.insecure_channel(running.stack.target) as channel:
        yield JobCalls(job_pb2_grpc.JobServiceStub(channel))


def kill_a_worker(running: Running) -> None:
    os.kill(running.pid(f"worker-{NAME}"), signal.SIGKILL)
    wait_for(lambda: (value(running.port, "worker_deaths_total", NAME) or 0) > 0)


def hang(running: Running) -> None:
    running.wait_served()
    running.call(HANGS_S)


def poison(running: Running) -> None:
    running.wait_served()
    running.call(-1)
    wait_for(lambda: (value(running.port, "kept_dead_letters", NAME) or 0) > 0)


def ask_nobody(running: Running) -> None:
    running.call(0, "nobody")
    wait_for(lambda: value(running.port, "live_workers", "nobody") == 0)


def start_a_broken_worker(running: Running) -> None:
    running.stack.add_worker("broken", roll=False)
    wait_for(lambda: running.stack.children["worker-broken"].has_failed, 100)
    running.stack.retire(["worker-broken"])


def serve_another_model(running: Running) -> None:
    running.wait_served()
    other = running.folder / "other.yaml"
    other.write_text(yaml.safe_dump({"deployments": {NAME: pipeline("Sleeper")}}))
    where = {"KERNELPORT_DEPLOYMENTS_FILE": str(other), "KERNELPORT_METRICS_LISTEN": ""}
    running.say(worker_command([NAME]), **where)


def kill_the_front_door(running: Running) -> None:
    os.kill(running.pid("front-door"), signal.SIGKILL)
    wait_for(lambda: value(running.port, "redis_up") is None)
    wait_for(lambda: value(running.port, "redis_up") == 1, 60)


def stop_redis(running: Running) -> None:
    redis = running.pid("redis")
    os.kill(redis, signal.SIGSTOP)
    try:
        wait_for(lambda: value(running.port, "redis_up") == 0)
        wait_for(lambda: "waiting for Redis: " in running.logs())
    finally:
        os.kill(redis, signal.SIGCONT)
    wait_for(lambda: value(running.port, "redis_up") == 1)


def fill_redis(running: Running) -> None:
    running.wait_served()
    with (
        Redis.from_url(running.stack.settings.redis_url) as redis,
        Client(running.stack.target, timeout_s=60) as client,
    ):

        def is_refused() -> bool:
            try:
                client.infer(NAME, inputs_of(0))
            except ResourceExhaustedError:
                return True
            return False

        redis.config_set("maxmemory", redis.info("memory")["used_memory"] * 100 // 99)
        try:
            wait_for(lambda: (value(running.port, "redis_memory_used_ratio") or 0) > 0.8)
            wait_for(is_refused)
        finally:
            redis.config_set("maxmemory", 0)
        wait_for(lambda: not is_refused())


def damage_a_file(running: Running) -> None:
    data, port = running.folder / "damaged", free_port()
    data.mkdir()
    command = redis_command(find_redis_server(), port, data)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    with Redis(port=port) as redis:

        def fill() -> bool:
            with contextlib.suppress(RedisError):
                return bool(redis.mset({str(number): number for number in range(500)}))
            return False

        wait_for(fill)
        redis.mset({str(number): number for number in range(500)})
    process.terminate()
    process.wait(30)
    (log,) = (data / "appendonlydir").glob("*.incr.aof")
    content = log.read_bytes()
    log.write_bytes(content[: len(content) // 2] + bytes(64) + content[len(content) // 2 + 64 :])
    running.say(command)
    shutil.rmtree(data)


def refuse_files(running: Running) -> None:
    running.wait_served()
    artifacts = Path(running.stack.settings.artifacts)
    moved = artifacts.rename(artifacts.with_name("moved"))
    artifacts.write_text("a file where the folder should be")
    with job_calls(running) as jobs:
        try:
            job = jobs.submit(NAME, [journal_item(1)])
            wait_for(lambda: (value(running.port + 1, "storage_failures_total", "write") or 0) > 0)
            over = jobs.wait(job.id)
            assert over.state == pb.JOB_STATE_FAILED
            assert over.reason.startswith("cannot write ")
        finally:
            artifacts.unlink()
            moved.rename(artifacts)


def see_another_storage(running: Running) -> None:
    with Redis.from_url(running.stack.settings.redis_url) as redis:
        SharedStorage(redis, Artifacts(str(running.folder / "elsewhere"))).compare()


def come_with_another_storage(running: Running) -> None:
    elsewhere = str(running.folder / "elsewhere")
    running.say([sys.executable, "-m", "kernelport_api"], KERNELPORT_ARTIFACTS=elsewhere, KERNELPORT_METRICS_LISTEN="")


def come_without_storage(running: Running) -> None:
    elsewhere = str(running.folder / "other-state")
    own = {"KERNELPORT_ARTIFACTS": "", "KERNELPORT_STATE_DIR": elsewhere, "KERNELPORT_METRICS_LISTEN": ""}
    running.say([sys.executable, "-m", "kernelport_api"], **own)  # it ends as its address is taken


def fail_a_job(running: Running) -> None:
    running.wait_served()
    with job_calls(running) as jobs:
        assert jobs.wait(jobs.submit(NAME, [journal_item(2, -1)]).id).state == pb.JOB_STATE_FAILED
    wait_for(lambda: (value(running.port, "jobs", NAME, "failed") or 0) > 0)


def break_the_table(running: Running) -> None:
    file = own_file(running.folder / "state")
    before = file.read_text()
    file.write_text("deployments: nonsense")
    running.stack.read_again("front-door")
    wait_for(lambda: "the deployments stay as they were" in running.logs())
    file.write_text(before)


def set_what_cannot_be(running: Running) -> None:
    running.say([sys.executable, "-m", "kernelport_api"], KERNELPORT_LEASE_S="-1")


def take_an_address(running: Running) -> None:
    running.say([sys.executable, "-m", "kernelport_api"], KERNELPORT_METRICS_LISTEN="")


def stay(running: Running) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    child = Child("deaf", [sys.executable, "-c", deaf], dict(os.environ), running.folder / "deaf.log")
    child.start()
    wait_for(lambda: "deaf" in child.log_tail())
    child.terminate()
    child.join(0.1)


def autoscale_without_redis(running: Running) -> None:
    file = running.folder / "scaled.yaml"
    entry = pipeline("Journal", on_no_worker="wait", scaling={"max": 1})
    file.write_text(yaml.safe_dump({"deployments": {NAME: entry}, "autoscale": {"provider": "local"}}))
    options = ["--once", "--deployments-file", str(file), "--redis-url", "redis://127.0.0.1:1/0"]
    running.say([sys.executable, "-m", "kernelport_ops.autoscale", *options], KERNELPORT_METRICS_LISTEN="")


TRIALS: dict[str, Callable[[Running], None]] = {
    "a worker dies": kill_a_worker,
    "a model hangs": hang,
    "a request kills its workers": poison,
    "nobody serves a deployment": ask_nobody,
    "a worker does not start": start_a_broken_worker,
    "another model has the name": serve_another_model,
    "the front door dies": kill_the_front_door,
    "Redis is away": stop_redis,
    "Redis is full": fill_redis,
    "a file of Redis is damaged": damage_a_file,
    "storage refuses": refuse_files,
    "a worker sees another storage": see_another_storage,
    "a front door is told another storage, and ends": come_with_another_storage,
    "a front door that is told none sees another storage, and serves calls alone": come_without_storage,
    "jobs fail": fail_a_job,
    "the deployments file is wrong": break_the_table,
    "a setting cannot be right": set_what_cannot_be,
    "an address is taken": take_an_address,
    "a process does not stop": stay,
    "the autoscaler fails": autoscale_without_redis,
}
# What would take minutes, or another's machines: tests of alerts have their metrics.
UNTRIED = {"more is asked than workers can do", "storage is slow", "the budget is spent"}


def test_each_row_is_tried_or_named() -> None:
    assert ROWS.keys() == TRIALS.keys() | UNTRIED


def test_the_table_names_metrics_and_alerts_that_exist_and_all_alerts() -> None:
    alerts = {rule["alert"] for rule in rules()}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in existing_metrics()}
    for row in ROWS.values():
        assert set(row.metrics) <= families
        assert set(row.alerts) <= alerts
    assert {alert for row in ROWS.values() for alert in row.alerts} == alerts


@pytest.mark.parametrize("breaks", TRIALS)
def test_what_breaks_is_seen(breaks: str, running: Running) -> None:
    TRIALS[breaks](running)
    assert ROWS[breaks].lines
    for line in ROWS[breaks].lines:
        pattern = ".*".join(re.escape(part) for part in line.replace("NAME", "...").split("..."))
        wait_for(lambda pattern=pattern: re.search(pattern, running.logs()), what=line)  # type: ignore[misc]
