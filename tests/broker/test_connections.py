"""One URL, one way to Redis, and what is said of a Redis that does not do its work."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from celery import Celery
from redis.exceptions import ConnectionError, ReadOnlyError, RedisError, ResponseError

from kernelport import Client
from kernelport.broker.connections import Outage, connect, connect_async, parameters, passes, problem, shown
from kernelport.broker.queues import celery_config
from kernelport.config.settings import Settings
from tests.broker.conftest import stack_on
from tests.broker.servers import LOGIN, PASSWORD, USER, Server, certificate, tls_in_front_of

X = {"x": np.ones((1, 1, 2, 2), np.float32)}


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("redis://", {"host": "localhost", "port": 6379, "db": 0}),
        (f"redis://{LOGIN}@h:1/2", {"host": "h", "port": 1, "db": 2, "username": USER, "password": PASSWORD}),
        ("redis://:p@[::1]:1?db=3", {"host": "::1", "port": 1, "db": 3, "password": "p"}),
        (f"unix://{LOGIN}@/run/r.sock?db=4", {"path": "/run/r.sock", "db": 4, "username": USER, "password": PASSWORD}),
    ],
)
def test_what_a_url_says(url: str, found: dict[str, Any]) -> None:
    parsed = parameters(url)
    del parsed["connection_class"]
    assert parsed == found
    assert "p" not in shown(url).replace("run/r.sock", "").partition(" ")[0].replace("localhost", "")


@pytest.mark.parametrize(
    "url",
    [
        "http://:hush@h",
        "redis://:hush@h:port",
        "redis://:hush@h/zero",
        "redis://:hush@h/-1",
        "redis://:hush#@h",
        "redis://:hush@h?password=hush",
        "redis://:hush@h?ssl_ca_certs=hush",
        "rediss://:hush@h?ssl=hush",
        "unix://:hush@",
        "unix://:hush@run/hush.sock",
    ],
)
def test_what_is_no_url_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        Settings.from_environment({"KERNELPORT_REDIS_URL": url})
    assert "KERNELPORT_REDIS_URL: expected a URL such as redis://" in str(refused.value)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("kind", ["socket", "tls"])
def test_every_process_goes_the_way_that_the_url_says(server: Server, tmp_path: Path, kind: str) -> None:
    pem = certificate(tmp_path, "ours")
    with tls_in_front_of(server, pem) as port:
        url = {
            "socket": f"unix://{LOGIN}@{server.socket}?db=3",
            "tls": f"rediss://{LOGIN}@localhost:{port}/4?ssl_ca_certs={quote(str(pem))}",
        }[kind]
        with stack_on(url, tmp_path / "state") as stack, Client(stack.target, timeout_s=30) as client:
            assert np.array_equal(client.infer("identity-onnx", X)["y"], X["x"])
            assert {line.name: line.state for line in stack.status()}["redis"] == "serving"
        logs = "".join(file.read_text() for file in (tmp_path / "state" / "logs").iterdir())
    assert PASSWORD not in logs
    assert quote(PASSWORD, safe="") not in logs


def test_a_certificate_that_nobody_vouches_for_is_refused_on_every_connection(server: Server, tmp_path: Path) -> None:
    ours, theirs = certificate(tmp_path, "ours"), certificate(tmp_path, "theirs")
    with tls_in_front_of(server, ours) as port:
        for trusted, is_refused in ((ours, False), (theirs, True)):
            url = f"rediss://{LOGIN}@localhost:{port}/0?ssl_ca_certs={quote(str(trusted))}"
            said = {"threads": _said(lambda url=url: connect(url).ping())}  # type: ignore[misc]
            said["asyncio"] = _said(lambda url=url: asyncio.run(_ping(url)))  # type: ignore[misc]
            said["celery"] = _said(lambda url=url: _reach_by_celery(url))  # type: ignore[misc]
            assert {way: "certificate verify failed" in words for way, words in said.items()} == dict.fromkeys(
                said, is_refused
            ), said


def _said(call: Callable[[], Any]) -> str:
    try:
        call()
    except Exception as error:
        return str(error)
    return ""


async def _ping(url: str) -> None:
    async with connect_async(url, 5) as redis:
        await redis.get("a")


def _reach_by_celery(url: str) -> None:
    app = Celery("asking", set_as_current=False)
    app.config_from_object(celery_config(replace(Settings(), redis_url=url)))
    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=0)


async def test_callers_beyond_the_pool_wait_for_a_connection(server: Server) -> None:
    async with connect_async(server.url, 5) as redis:
        waits = (redis.blpop(["nothing comes here"], timeout=0.05) for _ in range(300))  # type: ignore[arg-type]
        assert await asyncio.gather(*waits) == [None] * 300


@pytest.mark.parametrize(
    ("setting", "value", "usual", "told"),
    [
        ("min-replicas-to-write", 1, 0, "NOREPLICAS Not enough good replicas to write."),
        ("maxmemory", 1, 0, "OOM command not allowed when used memory > 'maxmemory'."),
    ],
)
def test_a_redis_that_refuses_writes_is_told_in_its_own_words(
    server: Server, setting: str, value: int, usual: int, told: str
) -> None:
    with connect(server.url) as redis:
        redis.config_set(setting, value)
        try:
            assert problem(redis) == told
        finally:
            redis.config_set(setting, usual)
        assert problem(redis) == ""


def test_a_replica_and_a_wrong_password_are_told_and_waited_for(server: Server) -> None:
    with connect(server.url) as redis:
        redis.replicaof("127.0.0.1", "1")  # type: ignore[no-untyped-call]
        try:
            assert problem(redis) == "READONLY You can't write against a read only replica."
        finally:
            redis.replicaof("no", "one")  # type: ignore[no-untyped-call]
    with connect(f"redis://{quote(USER)}:wrong@127.0.0.1:{server.port}/0") as redis:
        assert problem(redis).startswith("WRONGPASS")
        with pytest.raises(RedisError) as refused:
            redis.ping()
        assert passes(refused.value)


def test_trouble_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outage = Outage()
    outage.over()
    for _ in range(100):
        outage.tell(ConnectionError("refused"))
        outage.tell(ReadOnlyError("You can't write. script: 0f, on @user_script:1.", status_code="READONLY"))
        outage.tell(ResponseError("Command # 1 (SET a hush) of pipeline caused error: ('MISCONF Errors.',)"))
    outage.over()
    outage.over()
    outage.tell(ConnectionError("closed"))
    assert caplog.messages == [
        "waiting for Redis: refused",
        "waiting for Redis: READONLY You can't write.",
        "waiting for Redis: MISCONF Errors.",
        "Redis is back",
        "waiting for Redis: closed",
    ]
