"""What is acknowledged is on the disk of Redis, where Redis can tell."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from kernelport import Client, UnavailableError
from kernelport.broker import durability, keys, scripts
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.redis_server import find_redis_server, redis_command
from kernelport.v1.dead_letter_pb2 import DeadLetter
from kernelport_api.queueing.durability import Durability
from kernelport_ops.chaos.disk import SlowDisk, recording
from tests.cli.running import called
from tests.conftest import serving_stack, stack_settings
from tests.waiting import wait_for

ITEM = {"x": np.zeros((1, 1, 1, 4), np.float32)}


class Server:
    """A Redis that a test may kill and start again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._command = redis_command(find_redis_server(), self.port, folder)
        self.redis = Redis(port=self.port)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_for(self._answers)

    def restart(self) -> None:
        self.process.kill()
        self.process.wait()
        self.start()

    def _answers(self) -> bool:
        try:
            return bool(self.redis.ping())
        except RedisError:
            return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    yield started
    started.redis.close()
    started.process.kill()
    started.process.wait()


@asynccontextmanager
async def waiting_for(server: Server) -> AsyncIterator[Durability]:
    async with AsyncRedis(port=server.port) as redis, AsyncRedis(port=server.port) as patient:
        found = Durability(redis, patient, server.redis)
        await found.probe()
        yield found


async def write(server: Server, waiting: Durability, then: Callable[[], None] = lambda: None) -> None:
    """A call that writes; `then` happens before it is acknowledged."""
    async with waiting.kept():
        server.redis.set("a", "b")
        await asyncio.to_thread(then)


async def test_callers_share_a_wait_and_pay_none_where_redis_cannot_tell(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    def waits() -> int:
        found: Any = server.redis.info("commandstats")
        return int(found.get("cmdstat_waitaof", {"calls": 0})["calls"])

    async with waiting_for(server) as waiting:
        before = waits()
        await asyncio.gather(*(write(server, waiting) for _ in range(50)))
        assert 0 < waits() - before < 10
        assert caplog.text == ""

    server.redis.config_set("appendonly", "no")
    async with waiting_for(server) as waiting:
        assert "acknowledged work may be lost when Redis dies: Redis refuses WAITAOF" in caplog.text
        before = waits()
        await write(server, waiting)
        assert waits() == before

    server.redis.config_set("appendonly", "yes")
    server.redis.config_set("appendfsync", "no")
    async with waiting_for(server):
        assert "`appendfsync no`" in caplog.text


async def test_a_redis_that_was_started_again_in_between_has_nothing_acknowledged(server: Server) -> None:
    async with waiting_for(server) as waiting:
        with pytest.raises(UnavailableError, match=r"started again meanwhile.*may have been taken or not"):
            await write(server, waiting, server.restart)
        await write(server, waiting)


async def test_a_disk_that_takes_too_long_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durability, "WAIT", ("WAITAOF", 1, 0, 50))
    async with waiting_for(server) as waiting:
        server.redis.config_set("appendfsync", "no")
        monkeypatch.setattr(durability, "why_not", lambda _: None)
        with pytest.raises(UnavailableError, match=r"not written to its disk.*may have been taken or not"):
            await write(server, waiting)


def test_a_dead_letter_is_on_the_disk_before_its_caller_is_told(server: Server) -> None:
    server.redis.config_set("appendfsync", "no")
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(scripts.bury, server.redis, DeadLetter(id="l", deployment="d"))
        wait_for(lambda: server.redis.hexists(keys.dead_letters("d"), "l"))
        assert not told.done()
        server.redis.config_set("appendfsync", "always")
        told.result()


def test_jobs_and_voices_are_acknowledged_once_they_are_on_the_disk(tmp_path: Path) -> None:
    with (
        serving_stack(stack_settings(bundled_deployments()), [], tmp_path) as stack,
        Client(stack.target, timeout_s=30) as client,
        Redis.from_url(stack.settings.redis_url) as redis,
        ThreadPoolExecutor(1) as pool,
    ):

        def acknowledged(call: Callable[[], Any], is_written: Callable[[], Any]) -> Any:
            redis.config_set("appendfsync", "no")
            told = pool.submit(call)
            wait_for(is_written)
            assert not told.done()
            redis.config_set("appendfsync", "always")
            return told.result()

        acknowledged(lambda: client.jobs.submit("identity-onnx", [ITEM]), lambda: redis.zcard(keys.JOBS))
        voice = acknowledged(
            lambda: client.add_voice("a", recording(1), consent="given", owner="o"), lambda: redis.hlen(keys.VOICES)
        )
        assert voice.name == "a"
        acknowledged(lambda: client.delete_voice("a"), lambda: not redis.hlen(keys.VOICES))
        assert "is on the disk of Redis first" in called("doctor", "--redis-url", stack.settings.redis_url).stdout

        redis_pid = stack.children["redis"].pid
        assert redis_pid is not None
        os.kill(redis_pid, signal.SIGKILL)
        wait_for(lambda: stack.children["redis"].pid not in (None, redis_pid))
        assert wait_for(lambda: jobs_kept(redis)) == 1


def jobs_kept(redis: Redis) -> int | None:
    """None while Redis starts."""
    try:
        kept: Any = redis.zcard(keys.JOBS)
    except RedisError:
        return None
    return int(kept)


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("cc") is None, reason="a slow disk is made by a small C library, and there is no cc")
def test_nothing_acknowledged_is_lost_when_a_redis_on_a_slow_disk_is_killed(tmp_path: Path) -> None:
    disk = SlowDisk(tmp_path / "disk")
    with disk.serving():
        acknowledged, gone = disk.round(seed=3, least=20)
    assert acknowledged >= 20
    assert gone == []
