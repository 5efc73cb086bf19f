"""A Redis of its own, and notifiers on it."""

import subprocess
from collections.abc import Callable, Iterator

import pytest
from redis import Redis
from redis.exceptions import RedisError

from kernelport.jobs.webhooks.notifier import Notifier
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.redis_server import find_redis_server, redis_command
from tests.waiting import wait_for

LOOPBACK = "127.0.0.0/8"


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command = redis_command(find_redis_server(), port, tmp_path_factory.mktemp("redis"))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        url = f"redis://127.0.0.1:{port}/0"
        with Redis.from_url(url) as connected:
            wait_for(lambda: _answers(connected))
        yield url
        server.terminate()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as connected:
        connected.flushall()
        yield connected


@pytest.fixture
def notify(redis_url: str) -> Iterator[Callable[..., Notifier]]:
    """Starts a notifier, as a front door or worker does."""
    started: list[tuple[Notifier, Redis]] = []

    def start(networks: str = LOOPBACK) -> Notifier:
        connected = Redis.from_url(redis_url)
        notifier = Notifier(connected, networks)
        notifier.start()
        started.append((notifier, connected))
        return notifier

    yield start
    for notifier, connected in started:
        notifier.stop()
        notifier.join()
        connected.close()


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False
