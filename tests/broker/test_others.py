"""Others on the same Redis, and in the same environment: neither side disturbs the other, and nothing ends ours."""

import base64
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
from celery import Celery
from redis import Redis

from kernelport import Client
from kernelport.broker import keys
from kernelport.broker.connections import connect
from kernelport.broker.queues import LARGEST_ENTRY_BYTES, celery_config, celery_message, job_message
from kernelport.internal.v1.queue_pb2 import Batch, BatchItem, Completion, Reply
from kernelport.supervisor.stack import Stack
from tests.broker.servers import Server
from tests.waiting import wait_for

X = {"x": np.ones((1, 1, 2, 2), np.float32)}
QUEUE = "kp.identity-onnx"


@pytest.fixture
def redis(server: Server) -> Iterator[Redis]:
    with connect(server.url) as connected:
        yield connected


@pytest.fixture
def client(shared: Stack) -> Iterator[Client]:
    with Client(shared.target, timeout_s=30) as connected:
        yield connected


def test_another_teams_celery_neither_hears_ours_nor_is_heard(shared: Stack, server: Server, redis: Redis) -> None:
    ours, theirs = (Celery(name, set_as_current=False) for name in ("ours", "theirs"))
    ours.config_from_object(celery_config(shared.settings))
    theirs.config_from_object({"broker_url": server.url})
    try:
        assert len(ours.control.ping(timeout=5, limit=1)) == 1
        assert theirs.control.ping(timeout=1) == []
        theirs.control.shutdown()
        assert len(ours.control.ping(timeout=5, limit=1)) == 1
        routes: Any = redis.keys("*binding*")
        assert any(key.startswith(b"kp:binding") for key in routes)
        assert not any(b"kp" in key or b"kernelport" in key for key in routes if key.startswith(b"_kombu"))
    finally:
        ours.close()
        theirs.close()


def test_what_another_program_is_told_is_not_meant_for_our_worker_and_flower() -> None:
    show = "import kernelport_workers.app as it; print(it.app.conf.broker_url, it.app.conf.result_backend)"
    others = {"CELERY_BROKER_URL": "redis://theirs/0", "CELERY_RESULT_BACKEND": "redis://theirs/1"}
    told = {"KERNELPORT_REDIS_URL": "redis://ours:1/2", **others}
    finished = subprocess.run(
        [sys.executable, "-c", show], env={**os.environ, **told}, capture_output=True, text=True, timeout=60, check=True
    )
    assert finished.stdout == "redis://:@ours:1/2 None\n"


def test_a_proxy_is_not_asked_for_what_is_on_this_machine(shared: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Client(shared.target, timeout_s=10) as client:
        assert client.deployments()
    assert {line.state for line in shared.status()} == {"serving"}


def _forged(**changes: Any) -> bytes:
    """One of our messages with some parts of its envelope changed."""
    batch = Batch(id="forged", front_door="f", deployment="identity-onnx", items=[BatchItem(id=b"1")])
    message = json.loads(celery_message(batch))
    for name, value in changes.items():
        group, _, field = name.partition("__")
        if field:
            message[group][field] = value
        else:
            message[group.replace("_", "-") if group.startswith("content") else group] = value
    return json.dumps(message).encode()


def test_an_entry_is_json_whatever_its_ids_are() -> None:
    ticket = 'a "ticket"\n\\'
    assert json.loads(job_message("identity-onnx", ticket))["headers"]["id"] == ticket


def _body(*arguments: Any) -> str:
    return base64.b64encode(msgpack.packb([arguments, {}, {}])).decode()


def _batch(**fields: Any) -> bytes:
    given = {"id": "b", "front_door": "f", "deployment": "identity-onnx", "items": [BatchItem(id=b"1")], **fields}
    return celery_message(Batch(**given))


ALIEN = {
    "no JSON": b"\xff\x00 nothing",
    "too deep": b"[" * 100_000,
    "JSON of another kind": b"[1]",
    "no properties": b"{}",
    "another team's task": _forged(headers__task="theirs.add"),
    "a task of Celery's own": _forged(headers__task="celery.map"),
    "pickle": _forged(content_type="application/x-python-serialize", body=base64.b64encode(pickle.dumps({})).decode()),
    "no base64": _forged(body="a"),
    "no arguments": _forged(body=_body()),
    "arguments of another kind": _forged(body=_body({"a": 1})),
    "no batch": _forged(body=_body(b"\xff\xff\xff")),
    "an id that is a path": _forged(properties__delivery_tag="../../etc"),
    "a batch whose id is a path": _batch(id="../../etc"),
    "a batch of nothing": _batch(items=[]),
    "a front door that is no name": _batch(front_door="a:b"),
    "another deployment": _batch(deployment="luxtts"),
    "any key as a claim": _batch(items=[BatchItem(id=b"1", request_claim="kp:voices")]),
    "any key as a result": _batch(items=[BatchItem(id=b"1", result_key="kp:voices")]),
    "a job of another deployment": job_message("luxtts", "ticket"),
    "a ticket that is a path": job_message("identity-onnx", "../ticket"),
}


@pytest.mark.parametrize("is_idle", [True, False], ids=["idle", "busy"])
def test_what_is_no_message_of_ours_is_dropped_told_and_ends_nobody(
    shared: Stack, redis: Redis, client: Client, is_idle: bool
) -> None:
    worker = shared.children["worker-identity-onnx"]
    pid, log = worker.pid, worker.log_file
    if is_idle:  # then entries come through Celery one by one, else in one go between two calls
        for name, entry in ALIEN.items():
            before = log.stat().st_size
            redis.lpush(QUEUE, entry)
            said = wait_for(lambda before=before: log.read_bytes()[before:], what=f"a word about {name}")  # type: ignore[misc]
            assert b"dropped" in said, name
    else:
        before = log.read_text().count("dropped")
        for entry in ALIEN.values():
            client.infer("identity-onnx", X)
            redis.lpush(QUEUE, entry)
        wait_for(lambda: log.read_text().count("dropped") >= before + len(ALIEN), what="a word about each")
    assert np.array_equal(client.infer("identity-onnx", X)["y"], X["x"])
    assert worker.pid == pid
    wait_for(lambda: not redis.hlen(keys.UNACKED), what="nothing left over")


def test_an_entry_that_is_too_large_is_dropped_before_it_is_read(shared: Stack, redis: Redis, client: Client) -> None:
    worker = shared.children["worker-identity-onnx"]
    pid = worker.pid
    redis.lpush(QUEUE, bytes(LARGEST_ENTRY_BYTES + 1))
    wait_for(lambda: f"expected at most {LARGEST_ENTRY_BYTES:,} bytes" in worker.log_file.read_text())
    client.infer("identity-onnx", X)
    assert worker.pid == pid


def test_a_delivery_that_cannot_be_read_keeps_nobody_elses_from_coming_back(redis: Redis, shared: Stack) -> None:
    redis.hset(keys.UNACKED, "junk", "no JSON")
    redis.zadd(keys.UNACKED_INDEX, {"junk": time.time() - 3600})
    wait_for(lambda: not redis.zcard(keys.UNACKED_INDEX), what="the record's end")
    assert not redis.hexists(keys.UNACKED, "junk")


def test_records_that_cannot_be_read_are_skipped_and_told_once(shared: Stack, redis: Redis, client: Client) -> None:
    front_door = shared.children["front-door"]
    pid, junk = front_door.pid, b"\xff\xff\xff"
    (name,) = (key for key in redis.smembers(keys.FRONT_DOORS))  # type: ignore[union-attr]
    for index, key in ((keys.WORKERS, keys.worker), (keys.FRONT_DOORS, keys.front_door)):
        redis.sadd(index, "junk", junk)
        redis.set(key("junk"), junk, ex=5)
    redis.hset(keys.VOICES, "junk", junk)
    redis.hset(keys.dead_letters("identity-onnx"), "junk", junk)
    claim = Reply(completions=[Completion(id=b"nobody's", response_claim=keys.VOICES)]).SerializeToString()
    redis.lpush(keys.replies(name.decode()), junk, claim)
    try:
        assert client.voices() == []
        assert client.dead_letters("identity-onnx") == []
        for _ in range(20):
            client.infer("identity-onnx", X)
        log = front_door.log_file
        skipped = ("kp:worker:*", "kp:front-door:*", "kp:replies:", keys.VOICES, keys.dead_letters("identity-onnx"))
        wait_for(lambda: all(key in log.read_text() for key in skipped))
        assert log.read_text().count("kp:worker:*") == 1
        assert front_door.pid == pid
        assert redis.exists(keys.VOICES)
    finally:
        redis.delete(keys.VOICES, keys.dead_letters("identity-onnx"))
