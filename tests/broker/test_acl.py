"""The users of Redis that docs/security.md names suffice for front doors and for workers, and for nothing else."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from redis.exceptions import NoPermissionError

from kernelport import Client
from kernelport.broker import keys
from kernelport.broker.connections import connect
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.running_file import joined_environment
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.worker_command import worker_command
from kernelport.v1.job_pb2 import JOB_STATE_SUCCEEDED
from kernelport_ops.chaos.disk import recording
from tests.broker.servers import Server, serving_redis
from tests.conftest import START_TIMEOUT_S, discard, stack_settings
from tests.docs.pages import REPOSITORY
from tests.http.calls import ask
from tests.waiting import wait_for

NAME, VOICE = "identity-onnx", "hibari-en"
X = {"x": np.ones((1, 1, 2, 2), np.float32)}


def users() -> dict[str, str]:
    """The rules of each user, as the page has them."""
    text = (REPOSITORY / "docs" / "security.md").read_text()
    return dict(re.findall(r"^user (\S+) (.*)$", text, re.MULTILINE))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_redis(tmp_path_factory.mktemp("redis")) as running:
        with connect(running.url) as redis:
            for name, rules in users().items():
                redis.execute_command("ACL", "SETUSER", name, "reset", *rules.replace("PASSWORD", "secret").split())
        yield running


def url(server: Server, user: str) -> str:
    return f"redis://{user}:secret@127.0.0.1:{server.port}/0"


@contextmanager
def working(server: Server, stack: Stack, folder: Path, key: str) -> Iterator[None]:
    """A worker with a user of its own."""
    told = joined_environment(folder) | {"KERNELPORT_REDIS_URL": url(server, "kernelport-worker")}
    with (
        (folder / "worker.log").open("wb") as log,
        subprocess.Popen(
            worker_command([NAME, VOICE]), env={**os.environ, **told, "KERNELPORT_LOG_FILE": ""}, stdout=log, stderr=log
        ) as worker,
    ):
        try:
            with Client(stack.target, api_key=key) as client:
                wait_for(lambda: sum(bool(each.workers) for each in client.deployments()) == 2, START_TIMEOUT_S)
            yield
        finally:
            worker.terminate()


def test_front_doors_and_workers_need_no_more_than_their_users_may(server: Server, tmp_path: Path) -> None:
    settings = replace(stack_settings(bundled_deployments()), first_key_file=str(tmp_path / "first-key"))
    with Stack(settings, [], tmp_path, url(server, "kernelport-front-door")) as stack:
        try:
            stack.wait_ready(START_TIMEOUT_S)
            key = (tmp_path / "first-key").read_text().strip()
            with working(server, stack, tmp_path, key):
                do_everything(stack, key)
        finally:
            discard(stack.children.values())
    with connect(server.url) as redis:
        denied = {(entry["username"], entry["reason"], entry["object"]) for entry in redis.acl_log()}
        left = {key.decode() for key in redis.scan_iter()}
    assert denied == set()
    assert all(key.startswith("kp") for key in left)


def do_everything(stack: Stack, key: str) -> None:
    with Client(stack.target, timeout_s=60, api_key=key) as client:
        assert np.array_equal(client.infer(NAME, X)["y"], X["x"])
        client.infer(NAME, X, request_id="once")
        client.infer(NAME, {"x": np.ones((1, 1, 256, 256), np.float32)})
        assert len(list(client.stream(VOICE, "Down, down. Would the fall never come to an end?"))) > 1
        client.add_voice("anna", recording(1), consent="given", owner="o")
        client.access.set_tenant("default", quotas={"bytes_a_day": 1e9})  # of items, workers count what is left of it
        job = client.jobs.submit(NAME, [X] * 20, request_id="job")
        assert client.jobs.wait(job.id).state == JOB_STATE_SUCCEEDED
        client.jobs.delete(job.id, delete_outputs=True)
        client.delete_voice("anna")
        client.access.create_key("other", scopes=["admin"])
        client.access.set_tenant("acme", quotas={"calls": 3})
        cancelled = client.jobs.submit("luxtts", ["Nobody speaks it."])
        client.jobs.cancel(cancelled.id)
        client.jobs.wait(cancelled.id)
    assert ask(stack.url, "GET", "/v1/files", headers={"X-API-Key": key}).status == 200


@pytest.mark.parametrize("user", ["kernelport-front-door", "kernelport-worker"])
@pytest.mark.parametrize(
    "command",
    [
        ("FLUSHALL",),
        ("CONFIG", "SET", "maxmemory", "1"),
        ("KEYS", "*"),
        ("GET", "others"),
        ("SET", "others", "1"),
        ("ACL", "LIST"),
        ("SHUTDOWN",),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("MODULE", "LIST"),
        ("SCRIPT", "FLUSH"),
        ("EVAL", "return redis.call('GET', 'others')", "0"),
    ],
    ids=" ".join,
)
def test_they_may_do_nothing_else(server: Server, user: str, command: tuple[str, ...]) -> None:
    with connect(url(server, user)) as redis, pytest.raises(Exception, match=r"(?i)permission"):
        redis.execute_command(*command)


def test_workers_see_nothing_of_keys(server: Server) -> None:
    with connect(url(server, "kernelport-worker")) as redis:
        for key in (keys.KEYS, keys.SIGNING, keys.FILES):
            with pytest.raises(NoPermissionError):
                redis.type(key)
