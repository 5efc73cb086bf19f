"""What retention deletes and when, whatever else Redis holds and whatever the clock of the front door says."""

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis import Redis

from kernelport.broker import keys
from kernelport.jobs import finishing, scripts, sweeping
from kernelport.jobs.artifacts import Artifacts
from kernelport.jobs.finishing import Finisher
from kernelport.jobs.records import JobRecord
from kernelport.jobs.storage import SharedStorage
from kernelport.jobs.sweeping import Sweeper
from tests.broker.servers import serving_redis

FIRST, BEHIND = "0190b8e0000-00000001", "0190b8e0000-00000002"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with serving_redis(tmp_path_factory.mktemp("redis")) as serving, Redis.from_url(serving.url) as connected:
        yield connected


@pytest.fixture
def redis(server: Redis) -> Redis:
    server.flushall()
    return server


def sweep(redis: Redis, folder: Path) -> None:
    """What a front door does in a second."""
    artifacts = Artifacts(str(folder))
    Sweeper(redis, artifacts, SharedStorage(redis, artifacts))._work()


def put(redis: Redis, job: str, due: int = 1, **fields: str | int) -> None:
    """A job that is over, due to be deleted."""
    redis.hset(keys.job(job), mapping={"state": "succeeded", "spec": "", "expires": due, **fields})
    redis.zadd(keys.EXPIRING_JOBS, {job: due})


def renew(redis: Redis, folder: Path, job: str, **before: int) -> None:
    """Renews the lease of a finisher that read the job when it was as it is, but for `before`."""
    artifacts = Artifacts(str(folder))
    fields = redis.hgetall(keys.job(job)) | {name.encode(): str(value).encode() for name, value in before.items()}
    Finisher(redis, artifacts, SharedStorage(redis, artifacts))._renew(JobRecord(job, fields), finishing.LEASE_S)


def foreign_state(redis: Redis) -> None:
    put(redis, FIRST, state="x")


def no_end(redis: Redis) -> None:
    put(redis, FIRST)
    redis.hdel(keys.job(FIRST), "expires")


def other_kind(redis: Redis) -> None:
    redis.set(keys.job(FIRST), "")
    redis.zadd(keys.EXPIRING_JOBS, {FIRST: 1})


@pytest.mark.parametrize("plug", [foreign_state, no_end, other_kind])
def test_a_job_that_cannot_expire_keeps_none_behind_it(
    plug: Callable[[Redis], None], redis: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plug(redis)
    put(redis, BEHIND, due=2)
    sweep(redis, tmp_path)
    assert not redis.exists(keys.job(BEHIND))
    assert redis.zcard(keys.EXPIRING_JOBS) == 0
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == (plug is not no_end)


def test_redis_says_when_a_retention_is_over(redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A front door whose clock is ahead deletes nothing early, and goes on with what is due."""
    ahead = SimpleNamespace(time=lambda: time.time() + 3600, monotonic=time.monotonic)
    for module in (sweeping, finishing):
        monkeypatch.setattr(module, "time", ahead, raising=False)
    due = round(time.time() * 1e6) + 600_000_000
    put(redis, FIRST, due=due)
    put(redis, BEHIND)
    sweep(redis, tmp_path)
    assert redis.zscore(keys.EXPIRING_JOBS, FIRST) == due
    assert not redis.exists(keys.job(BEHIND))

    redis.zadd(keys.FINISHING_JOBS, {FIRST: 1})
    renew(redis, tmp_path, FIRST)
    assert 1 < redis.zscore(keys.FINISHING_JOBS, FIRST) < (time.time() + 2 * finishing.LEASE_S) * 1e6


def test_a_job_that_is_handed_over_again_waits_for_no_finisher_that_saw_it_before(redis: Redis, tmp_path: Path) -> None:
    put(redis, FIRST, round=2)
    redis.zadd(keys.FINISHING_JOBS, {FIRST: 1})
    renew(redis, tmp_path, FIRST, round=1)
    assert redis.zscore(keys.FINISHING_JOBS, FIRST) == 1


def test_a_job_that_was_resumed_meanwhile_is_kept_to_its_new_end(redis: Redis) -> None:
    due = round(time.time() * 1e6) + 600_000_000
    put(redis, FIRST, expires=due)
    assert scripts.run(redis, "delete", FIRST, "expire", 0) == [b"kept"]
    assert redis.zscore(keys.EXPIRING_JOBS, FIRST) == due
