"""The figures of deployments: percentiles, and an hour that does not grow."""

import itertools
import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from kernelport.broker import keys
from kernelport_api.services import figures
from kernelport_api.services.figures import Figures, percentile
from tests.broker.servers import serving_redis


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which tests set."""
    clock = [1_700_000_000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    return clock


@pytest.fixture
def counted() -> Figures:
    nothing: Any = None
    return Figures(["speech"], nothing, nothing)


def test_percentiles_are_those_of_the_times_to_a_tenth(counted: Figures) -> None:
    for milliseconds in range(1, 1001):
        counted.observe("speech", milliseconds / 1000, failed=False)
    told = counted.shown("speech")
    assert told["p50_s"] == pytest.approx(0.5, rel=0.1)
    assert told["p95_s"] == pytest.approx(0.95, rel=0.1)
    assert percentile(Counter(), 0.5) is None


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e5])
def test_times_of_any_length_are_counted(counted: Figures, seconds: float) -> None:
    counted.observe("speech", seconds, failed=True)
    told = counted.shown("speech")
    assert told["minute"]["failed"] == 1
    assert math.isfinite(told["p50_s"])


def test_an_hour_is_kept_and_no_more(counted: Figures, now: list[float]) -> None:
    for _ in range(1000):
        counted.observe("speech", 0.1, failed=False)
        now[0] += 60
    assert len(counted.minutes("speech")) <= figures.MINUTES
    assert sum(map(len, counted._minutes.values())) <= figures.MINUTES
    now[0] += 3600
    assert counted.minutes("speech") == []
    assert counted.shown("speech")["minute"] is None


def test_minutes_without_anything_are_left_out(counted: Figures, now: list[float]) -> None:
    for _ in range(3):
        counted.observe("speech", 0.1, failed=False)
        now[0] += 600
    starts = [minute["unix_s"] for minute in counted.minutes("speech")]
    assert [second - first for first, second in itertools.pairwise(starts)] == [600, 600]


class _Idle:
    """A dispatcher that has nothing under way."""

    def waiting(self) -> dict[str, list[Any]]:
        return {}


@pytest.mark.parametrize("tenant", ["default", "acme"])
async def test_what_jobs_of_any_tenant_have_done_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tenant: str
) -> None:
    monkeypatch.setattr(figures, "_FRESH_S", 0.0)
    idle: Any = _Idle()
    with serving_redis(tmp_path) as server:
        async with Redis.from_url(server.url) as redis:
            counted = Figures(["speech"], redis, idle)
            await redis.hset(keys.TENANTS, "acme", "{}")  # type: ignore[misc]
            await redis.zadd(keys.owned(keys.JOBS, tenant), {"a-job": 1, "of-others": 2})
            unreadable = {"deployment": "speech", "failed": "many"}  # is skipped
            await redis.hset(keys.job("of-others"), mapping=unreadable)  # type: ignore[misc]
            job = {"deployment": "speech", "created": int(time.time() * 2e6), "succeeded": 0, "failed": 0}
            for done in (2, 5):
                fields = {**job, "succeeded": done, "audio_us": 0, "backend_us": 0}
                await redis.hset(keys.job("a-job"), mapping=fields)  # type: ignore[misc]
                await counted.refresh()
    assert sum(minute["items"] for minute in counted.minutes("speech")) == 5
