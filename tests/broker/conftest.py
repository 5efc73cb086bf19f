"""A Redis that others use, too, and a stack on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from kernelport.broker.connections import connect
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from tests.broker.servers import Server, serving_redis
from tests.conftest import START_TIMEOUT_S, discard, stack_settings


@contextmanager
def stack_on(redis_url: str, folder: Path) -> Iterator[Stack]:
    """A stack with one worker on a Redis that is there; ready."""
    with Stack(stack_settings(bundled_deployments()), ["identity-onnx"], folder, redis_url) as stack:
        try:
            stack.wait_ready(START_TIMEOUT_S)
            yield stack
        finally:
            discard(stack.children.values())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Redis, with a user of odd name and password beside the usual one."""
    with serving_redis(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
def redis(server: Server) -> Iterator[Redis]:
    """A connection to it; afterwards it is empty."""
    with connect(server.url) as connected:
        yield connected
        connected.flushdb()


@pytest.fixture(scope="module")
def shared(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack on it. Tests leave both as they found them."""
    with stack_on(server.url, tmp_path_factory.mktemp("shared")) as stack:
        yield stack
