"""Where nobody needs a key, and where a front door does not start without one."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from kernelport import Client, UnauthenticatedError
from kernelport.access.first_key import first_key
from kernelport.access.tokens import new_key_id, new_token
from kernelport.broker import keys
from kernelport.config.settings import Settings, SettingsError
from kernelport.supervisor.stack import Stack
from tests.broker.servers import serving_redis
from tests.http.calls import ask
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(autouse=True)
def empty(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.flushdb()


def start(redis_url: str, **variables: str) -> "subprocess.Popen[str]":
    told = {f"KERNELPORT_{name}": value for name, value in variables.items()}
    environment = {**os.environ, "KERNELPORT_REDIS_URL": redis_url, "KERNELPORT_HTTP_LISTEN": "", **told}
    command = [sys.executable, "-m", "kernelport_api"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("variable", ["LISTEN", "HTTP_LISTEN"])
def test_listening_elsewhere_without_keys_is_refused_and_says_what_to_do(variable: str, redis_url: str) -> None:
    process = start(redis_url, **{"LISTEN": "127.0.0.1:0", variable: f"0.0.0.0:{free_port()}"})
    _, said = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "0.0.0.0" in said
    for cure in ("--first-key-file", "KERNELPORT_FIRST_KEY_FILE", "127.0.0.1", "--insecure"):
        assert cure in said


def test_a_first_key_file_opens_it_for_whoever_has_the_key(redis_url: str, tmp_path: Path) -> None:
    file, port = tmp_path / "secrets" / "key", free_port()
    process = start(redis_url, LISTEN=f"0.0.0.0:{port}", FIRST_KEY_FILE=str(file))
    try:
        token = wait_for(lambda: file.exists() and file.read_text().strip(), 60)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        with Client(f"127.0.0.1:{port}", api_key=token) as client:
            assert [key.name for key in client.access.list_keys()] == ["first"]
        with Client(f"127.0.0.1:{port}") as nobody, pytest.raises(UnauthenticatedError) as refused:
            nobody.deployments()
        assert refused.value.reason == "KEY_MISSING"
    finally:
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert str(file) in said
    assert token not in said


def test_insecure_says_that_anybody_may(redis_url: str) -> None:
    port = free_port()
    process = start(redis_url, LISTEN=f"0.0.0.0:{port}", INSECURE="1")
    try:
        with Client(f"127.0.0.1:{port}", max_retries=9, timeout_s=60) as client:
            assert client.deployments()
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_on_loopback_nobody_needs_a_key_until_there_is_one(stack: Stack) -> None:
    with Client(stack.target) as client:
        assert client.deployments()
        _, token = client.access.create_key("mine", scopes=["admin"])
        with pytest.raises(UnauthenticatedError):
            client.deployments()
        assert ask(stack.url, "GET", "/api/jobs").status == 401
        with Client(stack.target, api_key=token) as admin:
            assert admin.deployments()
            assert admin.access.revoke_key("mine")
        assert client.deployments()


def test_the_first_key_makes_no_other_where_there_is_one(redis_url: str) -> None:
    first, second = (new_token(new_key_id()) for _ in range(2))
    for token in (first, second):
        port = free_port()
        process = start(redis_url, LISTEN=f"0.0.0.0:{port}", FIRST_KEY=token)
        try:
            with Client(f"127.0.0.1:{port}", api_key=first, max_retries=9, timeout_s=60) as client:
                assert len(client.access.list_keys()) == 1
        finally:
            process.terminate()
            process.communicate(timeout=60)
    with Redis.from_url(redis_url) as redis:
        assert redis.hlen(keys.KEYS) == 1


def test_a_first_key_that_is_none_is_told_without_telling_it() -> None:
    with pytest.raises(SettingsError, match="KERNELPORT_FIRST_KEY: expected a key") as refused:
        first_key(replace(Settings(), first_key="hunter2"), 0)
    assert "hunter2" not in str(refused.value)


def test_an_empty_file_is_no_first_key_and_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    with pytest.raises(SettingsError, match="KERNELPORT_FIRST_KEY_FILE: expected a key"):
        first_key(replace(Settings(), first_key_file=str(tmp_path / "key")), 0)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
